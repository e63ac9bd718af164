/* Event-driven, ternary: a column is two planes of bits over the outputs, +1 and -1, [input][+1, -1][BITS outputs a word]. */
static inline void NAME(const WORD *w, int32_t words, int32_t outs, AT *restrict acc)
{
    for (int32_t k = 0; k < words; k++, acc += BITS, outs -= BITS) {
        const uint32_t plus = w[k], minus = w[words + k];
        if ((plus | minus) == 0)
            continue;
        if (outs >= BITS) {
            for (int32_t o = 0; o < BITS; o++)
                acc[o] = (AT)(acc[o] + (AT)((plus >> o) & 1U) - (AT)((minus >> o) & 1U));
        } else {
            for (int32_t o = 0; o < outs; o++)
                acc[o] = (AT)(acc[o] + (AT)((plus >> o) & 1U) - (AT)((minus >> o) & 1U));
        }
    }
}
