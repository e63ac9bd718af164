/* Sums of products of unsigned and signed bytes, for a row of pixels:
 *     acc[p][o] += sum over s, i of x[p * step + offsets[s] + i] * w[...]
 * Weights lie in blocks of up to 16 outputs: [block][segment][four inputs][output][input of the four]; what a segment lacks to a multiple
 * of four has weight 0. One instruction multiplies four inputs for all outputs of a block where the machine has one. */
#if defined(__AVX512VNNI__) && defined(__AVX512BW__)

static inline __attribute__((always_inline)) void dot_tile(const uint8_t *x, const int32_t *offsets, int32_t segments, int32_t quads,
    int32_t step, const int8_t *w, ptrdiff_t block, ptrdiff_t width, int32_t *acc, int32_t stride, __mmask16 lanes, const int pixels,
    const int blocks)
{
    __m512i sum[8][4], weights[4];
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++) {
#pragma GCC unroll 4
        for (int b = 0; b < blocks; b++)
            sum[p][b] = _mm512_maskz_loadu_epi32(lanes, acc + p * stride + b * 16);
    }
    for (int32_t s = 0; s < segments; s++) {
        const uint8_t *at = x + offsets[s];
        for (int32_t q = 0; q < quads; q++, at += 4, w += width) {
#pragma GCC unroll 4
            for (int b = 0; b < blocks; b++)
                weights[b] = _mm512_maskz_loadu_epi32(lanes, w + b * block);
#pragma GCC unroll 8
            for (int p = 0; p < pixels; p++) {
                int32_t four;
                memcpy(&four, at + p * step, 4);
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
            _mm512_mask_storeu_epi32(acc + p * stride + b * 16, lanes, sum[p][b]);
    }
}

static inline __attribute__((always_inline)) void dot_stripe(const uint8_t *x, const int32_t *offsets, int32_t segments, int32_t quads,
    int32_t step, int32_t pixels, const int8_t *w, ptrdiff_t block, ptrdiff_t width, int32_t *acc, int32_t stride, __mmask16 lanes,
    const int blocks)
{
    int32_t p = 0;
    for (; pixels - p >= 8; p += 8)
        dot_tile(x + p * step, offsets, segments, quads, step, w, block, width, acc + p * stride, stride, lanes, 8, blocks);
    for (; pixels - p >= 4; p += 4)
        dot_tile(x + p * step, offsets, segments, quads, step, w, block, width, acc + p * stride, stride, lanes, 4, blocks);
    for (; pixels - p >= 2; p += 2)
        dot_tile(x + p * step, offsets, segments, quads, step, w, block, width, acc + p * stride, stride, lanes, 2, blocks);
    for (; p < pixels; p++)
        dot_tile(x + p * step, offsets, segments, quads, step, w, block, width, acc + p * stride, stride, lanes, 1, blocks);
}

static void dot(const uint8_t *x, const int32_t *offsets, int32_t segments, int32_t quads, int32_t step, int32_t pixels, const int8_t *w,
    int32_t outs, int32_t *acc, int32_t stride)
{
    const ptrdiff_t block = (ptrdiff_t)segments * quads * 64;
    int32_t o = 0;
    if (pixels == 1) {
        for (; outs - o >= 64; o += 64, w += 4 * block)
            dot_tile(x, offsets, segments, quads, step, w, block, 64, acc + o, stride, 0xFFFF, 1, 4);
    }
    for (; outs - o >= 32; o += 32, w += 2 * block)
        dot_stripe(x, offsets, segments, quads, step, pixels, w, block, 64, acc + o, stride, 0xFFFF, 2);
    for (; outs - o >= 16; o += 16, w += block)
        dot_stripe(x, offsets, segments, quads, step, pixels, w, block, 64, acc + o, stride, 0xFFFF, 1);
    if (o < outs) {
        const __mmask16 lanes = (__mmask16)((1U << (outs - o)) - 1U);
        dot_stripe(x, offsets, segments, quads, step, pixels, w, block, 4 * (outs - o), acc + o, stride, lanes, 1);
    }
}

#else

static void dot_lanes(const uint8_t *x, const int32_t *offsets, int32_t segments, int32_t quads, const int8_t *restrict w, int32_t lanes,
    int32_t *restrict acc)
{
    for (int32_t s = 0; s < segments; s++) {
        const uint8_t *at = x + offsets[s];
        for (int32_t q = 0; q < quads; q++, at += 4, w += 4 * lanes) {
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

#if defined(__AVX2__)
/* x0 w0 + x2 w2 and x1 w1 + x3 w3 in 16 bits each, so that nothing is cut off. */
static inline __m256i dot_four(__m256i sum, __m256i even, __m256i odd, __m256i weights)
{
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even, _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8)));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(odd, _mm256_srai_epi16(weights, 8)));
}

static inline __attribute__((always_inline)) void dot_tile(const uint8_t *x, const int32_t *offsets, int32_t segments, int32_t quads,
    int32_t step, const int8_t *w, int32_t *acc, int32_t stride, const int pixels)
{
    const __m256i low = _mm256_set1_epi16(0x00FF);
    __m256i sum[4][2];
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++) {
        sum[p][0] = _mm256_loadu_si256((const __m256i *)(const void *)(acc + p * stride));
        sum[p][1] = _mm256_loadu_si256((const __m256i *)(const void *)(acc + p * stride + 8));
    }
    for (int32_t s = 0; s < segments; s++) {
        const uint8_t *at = x + offsets[s];
        for (int32_t q = 0; q < quads; q++, at += 4, w += 64) {
            const __m256i first = _mm256_loadu_si256((const __m256i *)(const void *)w);
            const __m256i second = _mm256_loadu_si256((const __m256i *)(const void *)(w + 32));
#pragma GCC unroll 4
            for (int p = 0; p < pixels; p++) {
                int32_t four;
                memcpy(&four, at + p * step, 4);
                const __m256i inputs = _mm256_set1_epi32(four);
                const __m256i even = _mm256_and_si256(inputs, low), odd = _mm256_srli_epi16(inputs, 8);
                sum[p][0] = dot_four(sum[p][0], even, odd, first);
                sum[p][1] = dot_four(sum[p][1], even, odd, second);
            }
        }
    }
#pragma GCC unroll 4
    for (int p = 0; p < pixels; p++) {
        _mm256_storeu_si256((__m256i *)(void *)(acc + p * stride), sum[p][0]);
        _mm256_storeu_si256((__m256i *)(void *)(acc + p * stride + 8), sum[p][1]);
    }
}
#endif

static void dot(const uint8_t *x, const int32_t *offsets, int32_t segments, int32_t quads, int32_t step, int32_t pixels, const int8_t *w,
    int32_t outs, int32_t *acc, int32_t stride)
{
    const ptrdiff_t block = (ptrdiff_t)segments * quads * 64;
    for (int32_t o = 0; o < outs; o += 16, w += block) {
        int32_t p = 0;
#if defined(__AVX2__)
        if (outs - o >= 16) {
            for (; pixels - p >= 4; p += 4)
                dot_tile(x + p * step, offsets, segments, quads, step, w, acc + p * stride + o, stride, 4);
            for (; p < pixels; p++)
                dot_tile(x + p * step, offsets, segments, quads, step, w, acc + p * stride + o, stride, 1);
        }
#endif
        if (outs - o >= 16) {
            for (; p < pixels; p++)
                dot_lanes(x + p * step, offsets, segments, quads, w, 16, acc + p * stride + o);
        }
        for (; p < pixels; p++)
            dot_lanes(x + p * step, offsets, segments, quads, w, outs - o, acc + p * stride + o);
    }
}

#endif
