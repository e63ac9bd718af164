// The kernels of Spikeloom's CUDA target, in whole numbers.
//
// Values lie as [rows, sample]: rows are ticks times samples, tick by tick; pictures have their channels innermost, padded to fours with
// zeros. A layer is a struct of constants, so that each gets kernels of its own. Sums are kept in 32 bits and wrap: the network's compiler
// has proven that results fit, and then they are exact whatever happened on the way. >> of a negative number rounds down.
#ifndef SPIKELOOM_KERNELS_CUH
#define SPIKELOOM_KERNELS_CUH

#include "device.cuh"

namespace spikeloom {

static_assert((-3 >> 1) == -2, "a shift to the right must round down");

constexpr int BLOCK = 256;

inline dim3 blocks(int64_t count, int each, int along = 1)
{
    return dim3(static_cast<unsigned>((count + each - 1) / each), static_cast<unsigned>(along), 1);
}

__device__ __forceinline__ int32_t plus(int32_t a, int32_t b)
{
    return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
}

__device__ __forceinline__ int32_t times(int32_t a, int32_t b)
{
    return static_cast<int32_t>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b));
}

// --- what a word of inputs and a word of weights add to a sum ---------------------------------------------------------------------------

// Four bytes by four signed bytes.
template <bool SIGNED> struct Quad {
    using Word = uint32_t;
    using Weight = uint32_t;
    static __device__ __forceinline__ int32_t add(int32_t sum, uint32_t x, uint32_t w)
    {
#ifdef __CUDA_ARCH__
        int32_t result;
        if (SIGNED)
            asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(x), "r"(w), "r"(sum));
        else
            asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(result) : "r"(x), "r"(w), "r"(sum));
        return result;
#else
        for (int byte = 0; byte < 32; byte += 8) {
            const uint8_t value = static_cast<uint8_t>(x >> byte);
            const int32_t level = SIGNED ? static_cast<int8_t>(value) : value;
            sum = plus(sum, level * static_cast<int8_t>(static_cast<uint8_t>(w >> byte)));
        }
        return sum;
#endif
    }
};

// One number of type X by one of type W.
template <class X, class W> struct Single {
    using Word = X;
    using Weight = W;
    static __device__ __forceinline__ int32_t add(int32_t sum, X x, W w) { return plus(sum, times(x, w)); }
};

struct Planes {
    uint32_t positive, negative;
};

// 32 spikes by 32 weights of -1, 0, +1.
struct Ternary {
    using Word = uint32_t;
    using Weight = Planes;
    static __device__ __forceinline__ int32_t add(int32_t sum, uint32_t x, Planes w)
    {
        return sum + __popc(x & w.positive) - __popc(x & w.negative);
    }
};

// --- where the inputs of a layer's output lie -------------------------------------------------------------------------------------------

// The window of one place of the output; an affine layer has windows of one place. Constants of a layer L: HEIGHT, WIDTH of the input,
// DEPTH words a place, SAMPLE words a row, OUT_H, OUT_W, TAPS_H, TAPS_W, and strides, paddings, dilations.
template <class L> struct Window {
    int64_t base;
    int top, left;
    __device__ __forceinline__ explicit Window(int64_t position)
    {
        const int place = static_cast<int>(position % (L::OUT_H * L::OUT_W));
        base = position / (L::OUT_H * L::OUT_W) * L::SAMPLE;
        top = place / L::OUT_W * L::STRIDE_H - L::PAD_H;
        left = place % L::OUT_W * L::STRIDE_W - L::PAD_W;
    }
    // Where word k of the window lies; -1 outside of the picture.
    __device__ __forceinline__ int64_t at(int k) const
    {
        const int tap = k / L::DEPTH, depth = k % L::DEPTH;
        const int y = top + tap / L::TAPS_W * L::DILATION_H, x = left + tap % L::TAPS_W * L::DILATION_W;
        const bool inside = y >= 0 && y < L::HEIGHT && x >= 0 && x < L::WIDTH;
        return inside ? base + static_cast<int64_t>(y * L::WIDTH + x) * L::DEPTH + depth : -1;
    }
};

// Where number o of a place of the output lies.
template <class L> __device__ __forceinline__ int64_t answer(int64_t position, int o)
{
    constexpr int PLACES = L::OUT_H * L::OUT_W;
    return position / PLACES * L::OUT_SAMPLE + position % PLACES * L::OUT_DEPTH + o;
}

// --- weighted sums ----------------------------------------------------------------------------------------------------------------------

// All weights: 16·M places by 16·N numbers of each a block, words of inputs and weights through the block's memory.
template <class L, int M, int N>
__global__ void __launch_bounds__(256) product(const typename L::Op::Word *__restrict__ x, typename L::Y *__restrict__ y, int64_t positions)
{
    using Op = typename L::Op;
    constexpr int DEEP = 16, WORDS = L::TAPS_H * L::TAPS_W * L::DEPTH;
    __shared__ typename Op::Word a[DEEP][16 * M + 1];
    __shared__ typename Op::Weight b[DEEP][16 * N];
    const int thread = static_cast<int>(threadIdx.x), low = thread % 16, high = thread / 16;
    const int64_t first = static_cast<int64_t>(blockIdx.x) * 16 * M;
    const int column = static_cast<int>(blockIdx.y) * 16 * N;
    int32_t sums[M][N] = {};
    for (int begin = 0; begin < WORDS; begin += DEEP) {
#pragma unroll
        for (int m = 0; m < M; ++m) {
            const int64_t position = first + m * 16 + high;
            const int64_t at = position < positions && begin + low < WORDS ? Window<L>(position).at(begin + low) : -1;
            a[low][m * 16 + high] = at < 0 ? typename Op::Word(0) : x[at];
        }
        for (int i = thread; i < DEEP * 16 * N; i += 256) {
            const int k = begin + i / (16 * N), o = column + i % (16 * N);
            b[i / (16 * N)][i % (16 * N)] = k < WORDS && o < L::OUT ? L::weight()[k * L::OUT + o] : typename Op::Weight{};
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEEP; ++k)
#pragma unroll
            for (int m = 0; m < M; ++m)
#pragma unroll
                for (int n = 0; n < N; ++n)
                    sums[m][n] = Op::add(sums[m][n], a[k][m * 16 + high], b[k][n * 16 + low]);
        __syncthreads();
    }
    for (int m = 0; m < M; ++m)
        for (int n = 0; n < N; ++n) {
            const int64_t position = first + m * 16 + high;
            const int o = column + n * 16 + low;
            if (position < positions && o < L::OUT_USED)
                y[answer<L>(position, o)] = static_cast<typename L::Y>(plus(sums[m][n], L::bias(o)));
        }
}

// Only the weights of active inputs: a block finds those of one place's window (ballots put them side by side), then each thread gathers
// their weights for one number of the output.
template <class L>
__global__ void __launch_bounds__(128) gather(const typename L::Op::Word *__restrict__ x, typename L::Y *__restrict__ y)
{
    constexpr int WORDS = L::TAPS_H * L::TAPS_W * L::DEPTH;
    __shared__ int32_t which[128], level[128], found[4];
    const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
    const int64_t position = blockIdx.x;
    const int o = static_cast<int>(blockIdx.y) * 128 + thread;
    const Window<L> window(position);
    int32_t sum = o < L::OUT_USED ? L::bias(o) : 0;
    for (int begin = 0; begin < WORDS; begin += 128) {
        const int k = begin + thread;
        const int64_t at = k < WORDS ? window.at(k) : -1;
        const int32_t value = at < 0 ? 0 : x[at];
        const uint32_t active = __ballot_sync(0xFFFFFFFFU, value != 0);
        if (lane == 0)
            found[warp] = __popc(active);
        __syncthreads();
        int before = __popc(active & ((1U << lane) - 1U)), all = 0;
        for (int other = 0; other < 4; ++other) {
            before += other < warp ? found[other] : 0;
            all += found[other];
        }
        if (value != 0) {
            which[before] = k;
            level[before] = value;
        }
        __syncthreads();
        if (o < L::OUT)
            for (int event = 0; event < all; ++event)
                sum = plus(sum, times(level[event], L::weight()[which[event] * L::OUT + o]));
        __syncthreads();
    }
    if (o < L::OUT_USED)
        y[answer<L>(position, o)] = static_cast<typename L::Y>(sum);
}

// Convolutions in groups: a thread for each number; constants GROUP_IN, GROUP_OUT besides.
template <class L>
__global__ void __launch_bounds__(256) grouped(const typename L::Op::Word *__restrict__ x, typename L::Y *__restrict__ y, int64_t positions)
{
    const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int64_t position = index / L::OUT_USED;
    const int o = static_cast<int>(index % L::OUT_USED);
    if (position >= positions)
        return;
    const Window<L> window(position);
    int32_t sum = L::bias(o);
    if (o < L::OUT)
        for (int tap = 0; tap < L::TAPS_H * L::TAPS_W; ++tap) {
            const int64_t at = window.at(tap * L::DEPTH + o / L::GROUP_OUT * L::GROUP_IN);
            for (int i = 0; at >= 0 && i < L::GROUP_IN; ++i)
                sum = plus(sum, times(x[at + i], L::weight()[(tap * L::GROUP_IN + i) * L::OUT + o]));
        }
    y[answer<L>(position, o)] = static_cast<typename L::Y>(sum);
}

// Spikes in words: 32 neighbours of a place each, by ballot. FROM numbers a place become TO words.
template <class X, int FROM, int TO, int PLACES, int SAMPLE>
__global__ void __launch_bounds__(256) packed(const X *__restrict__ x, uint32_t *__restrict__ y, int64_t words)
{
    const int64_t word = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
    if (word >= words)  // a whole warp leaves
        return;
    const int lane = static_cast<int>(threadIdx.x) % 32, number = static_cast<int>(word % TO) * 32 + lane;
    const int64_t place = word / TO;
    const int64_t at = place / PLACES * SAMPLE + place % PLACES * FROM + number;
    const uint32_t spikes = __ballot_sync(0xFFFFFFFFU, number < FROM && x[number < FROM ? at : 0] != 0);
    if (lane == 0)
        y[word] = spikes;
}

// --- pooling ----------------------------------------------------------------------------------------------------------------------------

// The sum or the maximum of each window; constants of `Window`, and CHANNELS of DEPTH.
template <class L>
__global__ void __launch_bounds__(256) pooled(const typename L::X *__restrict__ x, typename L::Y *__restrict__ y, int64_t positions)
{
    const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int64_t position = index / L::DEPTH;
    const int channel = static_cast<int>(index % L::DEPTH);
    if (position >= positions)
        return;
    const Window<L> window(position);
    int32_t kept = 0;
    bool some = !L::MAXIMUM;
    for (int tap = 0; channel < L::CHANNELS && tap < L::TAPS_H * L::TAPS_W; ++tap) {
        const int64_t at = window.at(tap * L::DEPTH + channel);
        if (at < 0)
            continue;
        const int32_t value = x[at];
        kept = !L::MAXIMUM ? plus(kept, value) : some && kept > value ? kept : value;
        some = true;
    }
    y[answer<L>(position, channel)] = static_cast<typename L::Y>(kept);
}

// The change from tick to tick of the maximum of the sums since the first: all ticks in one thread, sums in registers.
template <class L>
__global__ void __launch_bounds__(256)
    greatest(const typename L::X *__restrict__ x, typename L::Y *__restrict__ y, int64_t positions, int64_t read_step, int64_t write_step)
{
    constexpr int TAPS = L::TAPS_H * L::TAPS_W;
    const int64_t index = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int64_t position = index / L::DEPTH;
    const int channel = static_cast<int>(index % L::DEPTH);
    if (position >= positions)
        return;
    const Window<L> window(position);
    int32_t sums[TAPS] = {}, before = 0;
    for (int tick = 0; tick < L::TICKS; ++tick) {
        int32_t most = 0;
        bool some = false;
#pragma unroll
        for (int tap = 0; tap < TAPS; ++tap) {
            const int64_t at = window.at(tap * L::DEPTH + channel);
            if (at < 0 || channel >= L::CHANNELS)
                continue;
            sums[tap] = plus(sums[tap], x[tick * read_step + at]);
            most = some && most > sums[tap] ? most : sums[tap];
            some = true;
        }
        y[tick * write_step + answer<L>(position, channel)] = static_cast<typename L::Y>(most - before);
        before = most;
    }
}

// --- neurons ----------------------------------------------------------------------------------------------------------------------------

// How many of K ascending thresholds h reaches.
template <int K, class N> __device__ __forceinline__ int crossed(const N *__restrict__ thresholds, int32_t h)
{
    int low = 0, high = K;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (h >= thresholds[middle])
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

}  // namespace spikeloom

#endif
