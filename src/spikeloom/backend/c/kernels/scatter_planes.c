/* Event-driven, ternary: every active input adds its column to all sums. */
static void NAME(const uint8_t *x, int32_t inputs, const WORD *w, int32_t words, int32_t outs, AT *restrict acc)
{
    uint16_t list[CHUNK];
    for (int32_t from = 0; from < inputs; from += CHUNK, x += CHUNK) {
        const int32_t found = ACTIVE(x, inputs - from < CHUNK ? inputs - from : CHUNK, list);
        for (int32_t e = 0; e < found; e++)
            COLUMN(w + (ptrdiff_t)(from + list[e]) * 2 * words, words, outs, acc);
    }
}
