// What the network needs of the machine: CUDA, or (compiled as plain C++) its emulation on the CPU. Emitted by Spikeloom.
#ifndef SPIKELOOM_DEVICE_CUH
#define SPIKELOOM_DEVICE_CUH

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#include <cstdio>
#include <cstdlib>
#include <cuda_runtime.h>

namespace spikeloom {

inline void checked(cudaError_t error)
{
    if (error != cudaSuccess) {
        std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
        std::exit(3);
    }
}

// A kernel on a grid; GROUPED says that its threads wait for each other, which only the emulation has to know.
template <bool GROUPED, class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, int threads, cudaStream_t stream, Arguments... arguments)
{
    kernel<<<grid, threads, 0, stream>>>(Parameters(arguments)...);
    checked(cudaGetLastError());
}

inline void *reserved(size_t bytes)
{
    void *place = nullptr;
    checked(cudaMalloc(&place, bytes ? bytes : 1));
    return place;
}

inline void released(void *place) { checked(cudaFree(place)); }
inline void to_device(void *to, const void *from, size_t bytes) { checked(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice)); }
inline void to_host(void *to, const void *from, size_t bytes) { checked(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost)); }

}  // namespace spikeloom
#else
#include "emulate.h"
#endif

#endif
