/* Event-driven convolution: every active input adds its weights to all sums whose windows hold it. Weights: [input channel][row][column
 * from the right][output of the group], so that with step 1 one run of weights meets one run of sums. */
static void NAME(const XT *x, const window *s, const WT *restrict w, AT *restrict acc)
{
    uint16_t list[CHUNK];
    const int32_t row = s->width * s->channels, outs = s->group_outs;
    for (int32_t y = 0; y < s->height; y++) {
        for (int32_t from = 0; from < row; from += CHUNK) {
            const XT *const at = x + y * s->pitch + from;
            const int32_t found = ACTIVE(at, row - from < CHUNK ? row - from : CHUNK, list);
            for (int32_t e = 0; e < found; e++) {
                const int32_t column = (from + list[e]) / s->channels, channel = (from + list[e]) % s->channels;
                const AT i = (AT)at[list[e]];
                (void)i;
                for (int32_t ky = 0; ky < s->kernel_height; ky++) {
                    const int32_t down = y + s->pad_height - ky * s->dilation_height, oy = down / s->step_height;
                    if (down < 0 || oy * s->step_height != down || oy >= s->out_height)
                        continue;
                    const WT *const weights = w + (ptrdiff_t)(channel * s->kernel_height + ky) * s->kernel_width * outs;
                    AT *const sums = acc + oy * s->out_width * s->outs + channel / s->group_ins * outs;
                    const int32_t right = column + s->pad_width;
                    if (s->run) { /* sums right - kernel_width + 1 to right, as far as there are any */
                        const int32_t first = right - s->kernel_width + 1, low = first < 0 ? 0 : first;
                        const int32_t high = right < s->out_width ? right : s->out_width - 1;
                        const WT *restrict a = weights + (low - first) * outs;
                        AT *restrict to = sums + low * outs;
                        for (int32_t o = 0; o < (high - low + 1) * outs; o++)
                            to[o] = (AT)(to[o] + LEVEL(i, a[o]));
                        continue;
                    }
                    for (int32_t kx = 0; kx < s->kernel_width; kx++) {
                        const int32_t across = right - kx * s->dilation_width, ox = across / s->step_width;
                        if (across < 0 || ox * s->step_width != across || ox >= s->out_width)
                            continue;
                        const WT *restrict a = weights + (s->kernel_width - 1 - kx) * outs;
                        AT *restrict to = sums + ox * s->outs;
                        for (int32_t o = 0; o < outs; o++)
                            to[o] = (AT)(to[o] + LEVEL(i, a[o]));
                    }
                }
            }
        }
    }
}
