/* Sums of products of unsigned and signed bytes, for a row of pixels:
 *     acc[p][o] += sum over s, i of x[p * step + offsets[s] + i] * w[...]
 * Weights lie in blocks of up to 16 outputs: [block][segment][four inputs][output][input of the four]; what a segment lacks to a multiple
 * of four has weight 0. One instruction multiplies four inputs for all outputs of a block where the machine has one. */
typedef struct {
    const int32_t *offsets;
    int32_t segments, quads;
    ptrdiff_t step, stride;
} dot_shape;

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)

static inline __attribute__((always_inline)) void dot_tile(const uint8_t *x, const dot_shape *s, const int8_t *w, ptrdiff_t block,
    ptrdiff_t width, int32_t *acc, __mmask16 lanes, const int pixels, const int blocks)
{
    __m512i sum[8][4], weights[4];
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++) {
#pragma GCC unroll 4
        for (int b = 0; b < blocks; b++)
            sum[p][b] = _mm512_maskz_loadu_epi32(lanes, acc + p * s->stride + b * 16);
    }
    for (int32_t segment = 0; segment < s->segments; segment++) {
        const uint8_t *at = x + s->offsets[segment];
        for (int32_t q = 0; q < s->quads; q++, at += 4, w += width) {
#pragma GCC unroll 4
            for (int b = 0; b < blocks; b++)
                weights[b] = _mm512_maskz_loadu_epi32(lanes, w + b * block);
#pragma GCC unroll 8
            for (int p = 0; p < pixels; p++) {
                int32_t four;
                memcpy(&four, at + p * s->step, 4);
                const __m512i inputs = _mm512_set1_epi32(four);
#pragma GCC unroll 4
                for (int b = 0; b < blocks; b++)
                    sum[p][b] = _mm512_dpbusd_epi32(sum[p][b], inputs, weights[b]);
            }
        }
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++) {
#pragma GCC unroll 4
        for (int b = 0; b < blocks; b++)
            _mm512_mask_storeu_epi32(acc + p * s->stride + b * 16, lanes, sum[p][b]);
    }
}

static inline __attribute__((always_inline)) void dot_stripe(const uint8_t *x, const dot_shape *s, int32_t pixels, const int8_t *w,
    ptrdiff_t block, ptrdiff_t width, int32_t *acc, __mmask16 lanes, const int blocks)
{
    for (; pixels >= 8; pixels -= 8, x += 8 * s->step, acc += 8 * s->stride)
        dot_tile(x, s, w, block, width, acc, lanes, 8, blocks);
    for (; pixels >= 4; pixels -= 4, x += 4 * s->step, acc += 4 * s->stride)
        dot_tile(x, s, w, block, width, acc, lanes, 4, blocks);
    for (; pixels >= 2; pixels -= 2, x += 2 * s->step, acc += 2 * s->stride)
        dot_tile(x, s, w, block, width, acc, lanes, 2, blocks);
    if (pixels > 0)
        dot_tile(x, s, w, block, width, acc, lanes, 1, blocks);
}

static void dot(const uint8_t *x, const int32_t *offsets, int32_t segments, int32_t quads, int32_t step, int32_t pixels, const int8_t *w,
    int32_t outs, int32_t *acc, int32_t stride)
{
    const dot_shape s = {offsets, segments, quads, step, stride};
    const ptrdiff_t block = (ptrdiff_t)segments * quads * 64;
    if (pixels == 1) {
        for (; outs >= 64; outs -= 64, w += 4 * block, acc += 64)
            dot_tile(x, &s, w, block, 64, acc, 0xFFFF, 1, 4);
    }
    for (; outs >= 32; outs -= 32, w += 2 * block, acc += 32)
        dot_stripe(x, &s, pixels, w, block, 64, acc, 0xFFFF, 2);
    for (; outs >= 16; outs -= 16, w += block, acc += 16)
        dot_stripe(x, &s, pixels, w, block, 64, acc, 0xFFFF, 1);
    if (outs > 0)
        dot_stripe(x, &s, pixels, w, block, 4 * outs, acc, (__mmask16)((1U << outs) - 1U), 1);
}

#else

static void dot_lanes(const uint8_t *x, const dot_shape *s, const int8_t *restrict w, int32_t lanes, int32_t *restrict acc)
{
    for (int32_t segment = 0; segment < s->segments; segment++) {
        const uint8_t *at = x + s->offsets[segment];
        for (int32_t q = 0; q < s->quads; q++, at += 4, w += 4 * lanes) {
#if defined(__ARM_FEATURE_SIMD32)
            uint32_t four;
            memcpy(&four, at, 4);
            const uint16x2_t even = __uxtb16(four), odd = __uxtb16(four >> 8);
            for (int32_t o = 0; o < lanes; o++) {
                uint32_t weights;
                memcpy(&weights, w + 4 * o, 4);
                acc[o] = __smlad(__sxtb16((int8x4_t)weights), (int16x2_t)even, acc[o]);
                acc[o] = __smlad(__sxtb16((int8x4_t)(weights >> 8)), (int16x2_t)odd, acc[o]);
            }
#else
            for (int32_t o = 0; o < lanes; o++)
                acc[o] += at[0] * w[4 * o] + at[1] * w[4 * o + 1] + at[2] * w[4 * o + 2] + at[3] * w[4 * o + 3];
#endif
        }
    }
}

#if defined(__SSE2__)
/* Vectors of 8 or 4 sums. Products of even and of odd bytes are added in pairs of 16 bits, so that nothing is cut off. */
#if defined(__AVX2__)
typedef __m256i dot_vector;
#define DOT_SUMS 8
#define DOT_PIXELS 4
#define DOT_ALL(number) _mm256_set1_epi32(number)
#define DOT_LOAD(from) _mm256_loadu_si256((const __m256i *)(const void *)(from))
#define DOT_STORE(to, sums) _mm256_storeu_si256((__m256i *)(void *)(to), sums)
#define DOT_ADD(a, b) _mm256_add_epi32(a, b)
#define DOT_PAIRS(a, b) _mm256_madd_epi16(a, b)
#define DOT_EVEN(weights) _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8)
#define DOT_ODD(weights) _mm256_srai_epi16(weights, 8)
#else
typedef __m128i dot_vector;
#define DOT_SUMS 4
#define DOT_PIXELS 2
#define DOT_ALL(number) _mm_set1_epi32(number)
#define DOT_LOAD(from) _mm_loadu_si128((const __m128i *)(const void *)(from))
#define DOT_STORE(to, sums) _mm_storeu_si128((__m128i *)(void *)(to), sums)
#define DOT_ADD(a, b) _mm_add_epi32(a, b)
#define DOT_PAIRS(a, b) _mm_madd_epi16(a, b)
#define DOT_EVEN(weights) _mm_srai_epi16(_mm_slli_epi16(weights, 8), 8)
#define DOT_ODD(weights) _mm_srai_epi16(weights, 8)
#endif
#define DOT_PARTS (16 / DOT_SUMS)

static inline __attribute__((always_inline)) void dot_tile(const uint8_t *x, const dot_shape *s, const int8_t *w, int32_t *acc,
    const int pixels)
{
    dot_vector sum[DOT_PIXELS][DOT_PARTS];
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++) {
#pragma GCC unroll 4
        for (int b = 0; b < DOT_PARTS; b++)
            sum[p][b] = DOT_LOAD(acc + p * s->stride + b * DOT_SUMS);
    }
    for (int32_t segment = 0; segment < s->segments; segment++) {
        const uint8_t *at = x + s->offsets[segment];
        for (int32_t q = 0; q < s->quads; q++, at += 4, w += 64) {
#pragma GCC unroll 4
            for (int b = 0; b < DOT_PARTS; b++) {
                const dot_vector weights = DOT_LOAD(w + 4 * DOT_SUMS * b), even = DOT_EVEN(weights), odd = DOT_ODD(weights);
#pragma GCC unroll 4
                for (int p = 0; p < pixels; p++) {
                    uint32_t four;
                    memcpy(&four, at + p * s->step, 4);
                    sum[p][b] = DOT_ADD(sum[p][b], DOT_PAIRS(DOT_ALL((int32_t)(four & 0x00FF00FFU)), even));
                    sum[p][b] = DOT_ADD(sum[p][b], DOT_PAIRS(DOT_ALL((int32_t)(four >> 8 & 0x00FF00FFU)), odd));
                }
            }
        }
    }
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++) {
#pragma GCC unroll 4
        for (int b = 0; b < DOT_PARTS; b++)
            DOT_STORE(acc + p * s->stride + b * DOT_SUMS, sum[p][b]);
    }
}

static void dot_block(const uint8_t *x, const dot_shape *s, int32_t pixels, const int8_t *w, int32_t *acc)
{
    for (; pixels >= DOT_PIXELS; pixels -= DOT_PIXELS, x += DOT_PIXELS * s->step, acc += DOT_PIXELS * s->stride)
        dot_tile(x, s, w, acc, DOT_PIXELS);
    for (; pixels > 0; pixels--, x += s->step, acc += s->stride)
        dot_tile(x, s, w, acc, 1);
}
#else
static void dot_block(const uint8_t *x, const dot_shape *s, int32_t pixels, const int8_t *w, int32_t *acc)
{
    for (; pixels > 0; pixels--, x += s->step, acc += s->stride)
        dot_lanes(x, s, w, 16, acc);
}
#endif

static void dot(const uint8_t *x, const int32_t *offsets, int32_t segments, int32_t quads, int32_t step, int32_t pixels, const int8_t *w,
    int32_t outs, int32_t *acc, int32_t stride)
{
    const dot_shape s = {offsets, segments, quads, step, stride};
    for (; outs >= 16; outs -= 16, w += (ptrdiff_t)segments * quads * 64, acc += 16)
        dot_block(x, &s, pixels, w, acc);
    if (outs > 0) {
        for (; pixels > 0; pixels--, x += step, acc += stride)
            dot_lanes(x, &s, w, outs, acc);
    }
}

#endif
