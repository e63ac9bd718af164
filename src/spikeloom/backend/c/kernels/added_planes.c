/* Ternary columns of active inputs, added to sums: planes of bits over the outputs, [input][+1, -1][BITS outputs a word]. Columns are counted
 * in binary digits for all outputs of a word at once, eight columns by carry-save adders, and only then told apart. */
static inline __attribute__((always_inline)) void NAME_carried(WORD (*digits)[PLANES_WIDE], WORD *restrict carry, const int words, int first,
    int last)
{
    for (int digit = first; digit < last; digit++) {
        WORD *restrict here = digits[digit];
        for (int k = 0; k < words; k++) {
            const WORD next = (WORD)(here[k] & carry[k]);
            here[k] = (WORD)(here[k] ^ carry[k]);
            carry[k] = next;
        }
    }
}

static inline __attribute__((always_inline)) void NAME_counted(const uint16_t *list, int32_t many, const WORD *w, ptrdiff_t pitch,
    const int words, WORD (*digits)[PLANES_WIDE], int last)
{
    WORD carry[PLANES_WIDE];
    for (; many >= 8; many -= 8, list += 8) {
        WORD *restrict one = digits[0], *restrict two = digits[1], *restrict four = digits[2];
        const WORD *restrict a = w + list[0] * pitch, *restrict b = w + list[1] * pitch;
        const WORD *restrict c = w + list[2] * pitch, *restrict d = w + list[3] * pitch;
        const WORD *restrict e = w + list[4] * pitch, *restrict f = w + list[5] * pitch;
        const WORD *restrict g = w + list[6] * pitch, *restrict h = w + list[7] * pitch;
        APART();
        for (int k = 0; k < words; k++) {
            uint32_t sum = one[k], twos = two[k], fours = four[k];
            const uint32_t ab = CARRY(sum, a[k], b[k]);
            sum = sum ^ a[k] ^ b[k];
            const uint32_t cd = CARRY(sum, c[k], d[k]);
            sum = sum ^ c[k] ^ d[k];
            const uint32_t low = CARRY(twos, ab, cd);
            twos = twos ^ ab ^ cd;
            const uint32_t ef = CARRY(sum, e[k], f[k]);
            sum = sum ^ e[k] ^ f[k];
            const uint32_t gh = CARRY(sum, g[k], h[k]);
            sum = sum ^ g[k] ^ h[k];
            const uint32_t high = CARRY(twos, ef, gh);
            one[k] = (WORD)sum;
            two[k] = (WORD)(twos ^ ef ^ gh);
            carry[k] = (WORD)CARRY(fours, low, high);
            four[k] = (WORD)(fours ^ low ^ high);
        }
        NAME_carried(digits, carry, words, 3, last);
    }
    for (; many > 0; many--, list++) {
        const WORD *restrict a = w + list[0] * pitch;
        for (int k = 0; k < words; k++)
            carry[k] = a[k];
        NAME_carried(digits, carry, words, 0, last);
    }
}

static void NAME(const uint8_t *x, const uint16_t *list, int32_t found, const WORD *w, ptrdiff_t pitch, int32_t outs, AT *restrict acc)
{
    const int32_t words = (outs + BITS - 1) / BITS;
    int last = 1;
    (void)x;
    while (found >> last > 0)
        last++;
    for (int32_t from = 0; from < words; from += PLANES_WIDE) {
        const int32_t here = words - from < PLANES_WIDE ? words - from : PLANES_WIDE;
        WORD digits[2][PLANES_DIGITS][PLANES_WIDE];
        for (int sign = 0; sign < 2; sign++) {
            memset(digits[sign], 0, (size_t)(last > 3 ? last : 3) * sizeof digits[sign][0]);
            if (here == PLANES_WIDE)
                NAME_counted(list, found, w + sign * words + from, pitch, PLANES_WIDE, digits[sign], last);
            else
                NAME_counted(list, found, w + sign * words + from, pitch, here, digits[sign], last);
        }
        for (int32_t k = 0; k < here; k++) {
            AT *restrict to = acc + (from + k) * BITS;
            const int32_t left = outs - (from + k) * BITS;
            for (int digit = 0; digit < last; digit++) {
                const uint32_t plus = digits[0][digit][k], minus = digits[1][digit][k];
                if ((plus | minus) == 0)
                    continue;
                if (left >= BITS) {
                    for (int32_t o = 0; o < BITS; o++)
                        to[o] = (AT)(to[o] + (((AT)(plus >> o & 1U) - (AT)(minus >> o & 1U)) * (1 << digit)));
                } else {
                    for (int32_t o = 0; o < left; o++)
                        to[o] = (AT)(to[o] + (((AT)(plus >> o & 1U) - (AT)(minus >> o & 1U)) * (1 << digit)));
                }
            }
        }
    }
}
