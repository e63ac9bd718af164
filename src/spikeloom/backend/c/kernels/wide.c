/* Sums of products for a row of pixels: acc[p][o] += sum over s, i of x[p * step + offsets[s] + i] * w[s][i][o]. */
static void NAME(const XT *x, const int32_t *offsets, int32_t segments, int32_t length, int32_t step, int32_t pixels, const WT *restrict w,
    int32_t outs, AT *restrict acc, int32_t stride)
{
    for (int32_t p = 0; p < pixels; p++, x += step, acc += stride) {
        const WT *restrict column = w;
        for (int32_t s = 0; s < segments; s++) {
            for (int32_t i = 0; i < length; i++, column += outs) {
                const AT value = (AT)x[offsets[s] + i];
                for (int32_t o = 0; o < outs; o++)
                    acc[o] = (AT)(acc[o] + value * column[o]);
            }
        }
    }
}
