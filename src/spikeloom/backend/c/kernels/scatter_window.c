/* Event-driven convolution: every active input adds its weights to all sums whose windows hold it; the active channels of a pixel together.
 * Weights: [input channel][row][column from the right][output of the group], so that with step 1 one run of weights meets one run of sums. */
static void NAME(const XT *x, const window *s, const WT *w, AT *acc)
{
    uint16_t list[CHUNK];
    const ptrdiff_t pitch = (ptrdiff_t)s->kernel_height * s->kernel_width * s->words;
    for (int32_t y = 0; y < s->height; y++) {
        for (int32_t i = 0; i < s->width * s->groups; i++) {
            const int32_t column = i / s->groups, group = i % s->groups;
            for (int32_t from = group * s->group_ins; from < (group + 1) * s->group_ins; from += CHUNK) {
                const XT *const here = x + y * s->pitch + column * s->channels + from;
                const int32_t left = (group + 1) * s->group_ins - from;
                const int32_t found = ACTIVE(here, left < CHUNK ? left : CHUNK, list);
                if (found > 0)
                    TAPS(here, list, found, s, w + from * pitch, pitch, acc + group * s->group_outs, y, column);
            }
        }
    }
}
