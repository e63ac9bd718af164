/* Columns of weights of active inputs, each times the level of its input, added to sums: up to four at a time, which together fit PT, and
 * BLOCK sums at a time. */
static inline __attribute__((always_inline)) void NAME_some(const XT *x, const uint16_t *list, const WT *restrict w, ptrdiff_t pitch,
    int32_t count, AT *restrict acc, const int many)
{
    const WT *restrict a = w + list[0] * pitch, *restrict b = w + list[many > 1] * pitch;
    const WT *restrict c = w + list[many > 2 ? 2 : 0] * pitch, *restrict d = w + list[many > 2 ? 3 : 0] * pitch;
    const PT i = (PT)x[list[0]], j = (PT)x[list[many > 1]], k = (PT)x[list[many > 2 ? 2 : 0]], l = (PT)x[list[many > 2 ? 3 : 0]];
    (void)i, (void)j, (void)k, (void)l;
#define SUM(o) \
    (PT)(LEVEL(i, a[o]) + (many > 1 ? LEVEL(j, b[o]) : 0) + (many > 2 ? LEVEL(k, c[o]) : 0) + (many > 2 ? LEVEL(l, d[o]) : 0))
    int32_t o = 0;
    for (; count - o >= BLOCK; o += BLOCK) {
        for (int32_t n = o; n < o + BLOCK; n++)
            acc[n] = (AT)(acc[n] + SUM(n));
    }
    for (; o < count; o++)
        acc[o] = (AT)(acc[o] + SUM(o));
#undef SUM
}

static inline void NAME(const XT *x, const uint16_t *list, int32_t found, const WT *w, ptrdiff_t pitch, int32_t count, AT *acc)
{
    for (; found >= 4; found -= 4, list += 4) {
        APART();
        NAME_some(x, list, w, pitch, count, acc, 4);
    }
    if (found >= 2) {
        NAME_some(x, list, w, pitch, count, acc, 2);
        found -= 2, list += 2;
    }
    if (found > 0)
        NAME_some(x, list, w, pitch, count, acc, 1);
}
