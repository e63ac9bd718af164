/* Event-driven ternary convolution: planes [input channel][row][column][+1, -1][BITS outputs a word]. */
static void NAME(const uint8_t *x, const window *s, const WORD *w, int32_t words, AT *restrict acc)
{
    uint16_t list[CHUNK];
    const int32_t row = s->width * s->channels;
    for (int32_t y = 0; y < s->height; y++) {
        for (int32_t from = 0; from < row; from += CHUNK) {
            const uint8_t *const at = x + y * s->pitch + from;
            const int32_t found = ACTIVE(at, row - from < CHUNK ? row - from : CHUNK, list);
            for (int32_t e = 0; e < found; e++) {
                const int32_t column = (from + list[e]) / s->channels, channel = (from + list[e]) % s->channels;
                for (int32_t ky = 0; ky < s->kernel_height; ky++) {
                    const int32_t down = y + s->pad_height - ky * s->dilation_height, oy = down / s->step_height;
                    if (down < 0 || oy * s->step_height != down || oy >= s->out_height)
                        continue;
                    for (int32_t kx = 0; kx < s->kernel_width; kx++) {
                        const int32_t across = column + s->pad_width - kx * s->dilation_width, ox = across / s->step_width;
                        if (across < 0 || ox * s->step_width != across || ox >= s->out_width)
                            continue;
                        const ptrdiff_t tap = (channel * s->kernel_height + ky) * s->kernel_width + kx;
                        COLUMN(w + tap * 2 * words, words, s->outs, acc + (oy * s->out_width + ox) * s->outs);
                    }
                }
            }
        }
    }
}
