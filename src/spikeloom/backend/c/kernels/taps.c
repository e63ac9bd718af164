/* What the active channels of one pixel add to the sums around it. */
static inline void NAME(const XT *x, const uint16_t *list, int32_t found, const window *s, const WT *w, ptrdiff_t pitch,
    AT *acc, int32_t y, int32_t column)
{
    const int32_t right = column + s->pad_width;
    for (int32_t ky = 0; ky < s->kernel_height; ky++) {
        const int32_t down = y + s->pad_height - ky * s->dilation_height, oy = down / s->step_height;
        if (down < 0 || oy * s->step_height != down || oy >= s->out_height)
            continue;
        const WT *const weights = w + ky * s->kernel_width * s->words;
        AT *const sums = acc + oy * s->out_width * s->outs;
        if (s->run) { /* sums right - kernel_width + 1 to right, as far as there are any */
            const int32_t first = right - s->kernel_width + 1, low = first < 0 ? 0 : first;
            const int32_t high = right < s->out_width ? right : s->out_width - 1;
            if (high >= low)
                ADD(x, list, found, weights + (low - first) * s->words, pitch, (high - low + 1) * s->words, sums + low * s->outs);
            continue;
        }
        for (int32_t kx = 0; kx < s->kernel_width; kx++) {
            const int32_t across = right - kx * s->dilation_width, ox = across / s->step_width;
            if (across < 0 || ox * s->step_width != across || ox >= s->out_width)
                continue;
            ADD(x, list, found, weights + (s->kernel_width - 1 - kx) * s->words, pitch, s->group_outs, sums + ox * s->outs);
        }
    }
}
