// CUDA on the CPU, one thread after the other, so that the very source that nvcc compiles also runs without a GPU (slowly): g++ -x c++.
//
// Blocks run one after the other. Where threads wait for each other (`launch<true>`) each is a fibre of its own: a barrier or a ballot
// hands over to the next until all have arrived. Memory of a block is static memory. Integers wrap as they do on the device. Emitted by
// Spikeloom.
#ifndef SPIKELOOM_EMULATE_H
#define SPIKELOOM_EMULATE_H

#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(...)
#define __restrict__ __restrict

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
using cudaStream_t = void *;

inline dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace spikeloom {

// Threads of one block that wait for each other.
class Fibres {
  public:
    static Fibres &all()
    {
        static Fibres fibres;
        return fibres;
    }

    // Every thread of a block runs `work` once.
    void run(int count, const std::function<void()> &work)
    {
        while (static_cast<int>(fibres.size()) < count)
            add();
        job = &work;
        threads = count;
        for (int i = 0; i < count; ++i)
            fibres[i]->done = false;
        for (bool some = true; some;) {
            some = false;
            for (current = 0; current < count; ++current)
                if (!fibres[current]->done) {
                    enter(*fibres[current]);
                    some = true;
                }
        }
    }

    void barrier()
    {
        const uint64_t mine = passed;
        if (++waiting == threads) {
            waiting = 0;
            ++passed;
        }
        while (passed == mine)
            yield();
    }

    uint32_t ballot(bool yes)
    {
        Warp &warp = warps[current / 32];
        const uint64_t mine = warp.passed;
        warp.votes |= static_cast<uint32_t>(yes) << (current % 32);
        if (++warp.waiting == 32) {
            warp.result = warp.votes;
            warp.votes = 0;
            warp.waiting = 0;
            ++warp.passed;
        }
        while (warp.passed == mine)
            yield();
        return warp.result;
    }

  private:
    static constexpr size_t STACK = 1 << 16;
    struct Fibre {
        ucontext_t context;
        jmp_buf point;
        std::unique_ptr<char[]> stack;
        bool begun = false, done = true;
    };
    struct Warp {
        uint32_t votes = 0, result = 0;
        int waiting = 0;
        uint64_t passed = 0;
    };
    std::vector<std::unique_ptr<Fibre>> fibres;
    Warp warps[32];
    jmp_buf outside;
    ucontext_t outer;
    const std::function<void()> *job = nullptr;
    int threads = 0, current = 0, waiting = 0;
    uint64_t passed = 0;

    void add()
    {
        auto fibre = std::make_unique<Fibre>();
        fibre->stack.reset(new char[STACK]);
        getcontext(&fibre->context);
        fibre->context.uc_stack.ss_sp = fibre->stack.get();
        fibre->context.uc_stack.ss_size = STACK;
        fibre->context.uc_link = nullptr;
        makecontext(&fibre->context, &Fibres::live, 0);
        fibres.push_back(std::move(fibre));
    }

    static void live()
    {
        for (;;) {
            (*all().job)();
            all().fibres[all().current]->done = true;
            all().yield();
        }
    }

    void enter(Fibre &fibre)
    {
        threadIdx = dim3(static_cast<unsigned>(current), 0, 0);
        if (_setjmp(outside) != 0)
            return;
        if (fibre.begun)
            _longjmp(fibre.point, 1);
        fibre.begun = true;
        setcontext(&fibre.context);
    }

    void yield()
    {
        if (_setjmp(fibres[current]->point) == 0)
            _longjmp(outside, 1);
    }
};

template <bool GROUPED, class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, int count, cudaStream_t, Arguments... arguments)
{
    gridDim = grid;
    blockDim = dim3(static_cast<unsigned>(count));
    const std::function<void()> work = [&] { kernel(static_cast<Parameters>(arguments)...); };
    for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; ++x) {
            blockIdx = dim3(x, y, 0);
            if (GROUPED) {
                Fibres::all().run(count, work);
                continue;
            }
            for (int thread = 0; thread < count; ++thread) {
                threadIdx = dim3(static_cast<unsigned>(thread), 0, 0);
                kernel(static_cast<Parameters>(arguments)...);
            }
        }
}

// Memory begins as what no layer may count on.
inline void *reserved(size_t bytes) { return std::memset(std::malloc(bytes ? bytes : 1), 0x5A, bytes ? bytes : 1); }
inline void released(void *place) { std::free(place); }
inline void to_device(void *to, const void *from, size_t bytes) { std::memcpy(to, from, bytes); }
inline void to_host(void *to, const void *from, size_t bytes) { std::memcpy(to, from, bytes); }

}  // namespace spikeloom

inline void __syncthreads() { spikeloom::Fibres::all().barrier(); }
inline uint32_t __ballot_sync(uint32_t, int yes) { return spikeloom::Fibres::all().ballot(yes != 0); }
inline int __popc(uint32_t word) { return __builtin_popcount(word); }

#endif
