/* What the active channels of one pixel add to the sums around it, for ternary weights: all of a column is counted at once. */
static void NAME(const XT *x, const uint16_t *list, int32_t found, const window *s, const WT *w, ptrdiff_t pitch, AT *acc, int32_t y,
    int32_t column)
{
    WT digits[PLANES_DIGITS][PLANES_WIDE];
    const int32_t words = s->words / 2;
    (void)x;
    for (int32_t first = 0; first < pitch; first += PLANES_WIDE) {
        const int here = pitch - first < PLANES_WIDE ? (int)(pitch - first) : PLANES_WIDE;
        const int last = ADD_digits(list, found, w + first, pitch, here, digits);
        for (int k = 0; k < here; k++) {
            const int32_t tap = (first + k) / s->words, rest = (first + k) % s->words, o = rest % words * BITS;
            const int32_t down = y + s->pad_height - tap / s->kernel_width * s->dilation_height, oy = down / s->step_height;
            const int32_t kx = s->kernel_width - 1 - tap % s->kernel_width;
            const int32_t across = column + s->pad_width - kx * s->dilation_width, ox = across / s->step_width;
            if (down < 0 || oy * s->step_height != down || oy >= s->out_height)
                continue;
            if (across < 0 || ox * s->step_width != across || ox >= s->out_width)
                continue;
            ADD_told(digits, k, last, rest >= words, s->outs - o, acc + (oy * s->out_width + ox) * s->outs + o);
        }
    }
}
