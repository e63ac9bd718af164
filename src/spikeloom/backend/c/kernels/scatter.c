/* Event-driven: every active input adds the column of its weights, w[input][output], to all sums. */
static void NAME(const XT *x, int32_t inputs, const WT *restrict w, int32_t outs, AT *restrict acc)
{
    uint16_t list[CHUNK];
    for (int32_t from = 0; from < inputs; from += CHUNK, x += CHUNK, w += (ptrdiff_t)CHUNK * outs) {
        const int32_t found = ACTIVE(x, inputs - from < CHUNK ? inputs - from : CHUNK, list);
        int32_t e = 0;
        for (; found - e >= 4; e += 4) {
            const WT *restrict a = w + (ptrdiff_t)list[e] * outs, *restrict b = w + (ptrdiff_t)list[e + 1] * outs;
            const WT *restrict c = w + (ptrdiff_t)list[e + 2] * outs, *restrict d = w + (ptrdiff_t)list[e + 3] * outs;
            const AT i = (AT)x[list[e]], j = (AT)x[list[e + 1]], k = (AT)x[list[e + 2]], l = (AT)x[list[e + 3]];
            (void)i, (void)j, (void)k, (void)l;
            for (int32_t o = 0; o < outs; o++)
                acc[o] = (AT)(acc[o] + LEVEL(i, a[o]) + LEVEL(j, b[o]) + LEVEL(k, c[o]) + LEVEL(l, d[o]));
        }
        for (; e < found; e++) {
            const WT *restrict a = w + (ptrdiff_t)list[e] * outs;
            const AT i = (AT)x[list[e]];
            (void)i;
            for (int32_t o = 0; o < outs; o++)
                acc[o] = (AT)(acc[o] + LEVEL(i, a[o]));
        }
    }
}
