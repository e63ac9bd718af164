/* One filter for each channel, for a row of pixels: acc[p][c] += sum over s of x[p * step + offsets[s] + c] * w[s][c]. */
static void NAME(const XT *restrict x, const int32_t *offsets, int32_t taps, int32_t step, int32_t pixels, const WT *restrict w,
    int32_t channels, AT *restrict acc)
{
    for (int32_t p = 0; p < pixels; p++, x += step, acc += channels) {
        for (int32_t s = 0; s < taps; s++) {
            const XT *restrict at = x + offsets[s];
            for (int32_t c = 0; c < channels; c++)
                acc[c] = (AT)(acc[c] + (AT)at[c] * w[s * channels + c]);
        }
    }
}
