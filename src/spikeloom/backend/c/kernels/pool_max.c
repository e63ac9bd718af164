/* The maxima of a row of windows; what is outside does not count. */
static void NAME(const XT *restrict x, int32_t pitch, int32_t channels, int32_t height, int32_t width, int32_t kernel_height,
    int32_t kernel_width, int32_t top, int32_t left, int32_t step, int32_t columns, XT *restrict acc)
{
    const int32_t first = top < 0 ? 0 : top, last = top + kernel_height > height ? height : top + kernel_height;
    for (int32_t column = 0; column < columns; column++, left += step, acc += channels) {
        const int32_t from = left < 0 ? 0 : left, to = left + kernel_width > width ? width : left + kernel_width;
        for (int32_t c = 0; c < channels; c++)
            acc[c] = x[first * pitch + from * channels + c];
        for (int32_t y = first; y < last; y++) {
            for (int32_t i = from; i < to; i++) {
                const XT *restrict at = x + y * pitch + i * channels;
                for (int32_t c = 0; c < channels; c++)
                    acc[c] = at[c] > acc[c] ? at[c] : acc[c];
            }
        }
    }
}
