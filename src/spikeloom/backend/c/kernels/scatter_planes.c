/* Event-driven, ternary: every active input adds its column to all sums. */
static void NAME(const uint8_t *x, int32_t inputs, const WT *w, ptrdiff_t pitch, int32_t outs, AT *acc)
{
    uint16_t list[CHUNK];
    WT digits[PLANES_DIGITS][PLANES_WIDE];
    const int32_t words = (int32_t)pitch / 2;
    for (int32_t from = 0; from < inputs; from += CHUNK, x += CHUNK, w += CHUNK * pitch) {
        const int32_t found = ACTIVE(x, inputs - from < CHUNK ? inputs - from : CHUNK, list);
        for (int32_t first = 0; found > 0 && first < pitch; first += PLANES_WIDE) {
            const int here = pitch - first < PLANES_WIDE ? (int)(pitch - first) : PLANES_WIDE;
            const int last = ADD_digits(list, found, w + first, pitch, here, digits);
            for (int k = 0; k < here; k++) {
                const int minus = first + k >= words;
                const int32_t o = (first + k - (minus ? words : 0)) * BITS;
                ADD_told(digits, k, last, minus, outs - o, acc + o);
            }
        }
    }
}
