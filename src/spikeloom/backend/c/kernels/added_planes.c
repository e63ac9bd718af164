/* Ternary columns of active inputs, added to sums: planes of bits over the outputs, [input][+1, -1][BITS outputs a word]. Columns are counted
 * in binary digits for all outputs of a word at once, eight columns by carry-save adders, and only then told apart. */
static inline __attribute__((always_inline)) void NAME_counted(const uint16_t *list, int32_t many, const WORD *w, ptrdiff_t pitch,
    const int words, WORD (*restrict digits)[PLANES_WIDE], const int last)
{
    for (; many >= 8; many -= 8, list += 8) {
        const WORD *restrict a = w + list[0] * pitch, *restrict b = w + list[1] * pitch;
        const WORD *restrict c = w + list[2] * pitch, *restrict d = w + list[3] * pitch;
        const WORD *restrict e = w + list[4] * pitch, *restrict f = w + list[5] * pitch;
        const WORD *restrict g = w + list[6] * pitch, *restrict h = w + list[7] * pitch;
        APART();
        for (int k = 0; k < words; k++) {
            WORD sum = digits[0][k], twos = digits[1][k], fours = digits[2][k];
            const WORD ab = (WORD)CARRY(sum, a[k], b[k]);
            sum = (WORD)(sum ^ a[k] ^ b[k]);
            const WORD cd = (WORD)CARRY(sum, c[k], d[k]);
            sum = (WORD)(sum ^ c[k] ^ d[k]);
            const WORD low = (WORD)CARRY(twos, ab, cd);
            twos = (WORD)(twos ^ ab ^ cd);
            const WORD ef = (WORD)CARRY(sum, e[k], f[k]);
            sum = (WORD)(sum ^ e[k] ^ f[k]);
            const WORD gh = (WORD)CARRY(sum, g[k], h[k]);
            digits[0][k] = (WORD)(sum ^ g[k] ^ h[k]);
            const WORD high = (WORD)CARRY(twos, ef, gh);
            digits[1][k] = (WORD)(twos ^ ef ^ gh);
            WORD carry = (WORD)CARRY(fours, low, high);
            digits[2][k] = (WORD)(fours ^ low ^ high);
#pragma GCC unroll 16
            for (int digit = 3; digit < last; digit++) {
                const WORD held = digits[digit][k];
                digits[digit][k] = (WORD)(held ^ carry);
                carry = (WORD)(held & carry);
            }
        }
    }
    for (; many > 0; many--, list++) {
        const WORD *restrict a = w + list[0] * pitch;
        APART();
        for (int k = 0; k < words; k++) {
            WORD carry = a[k];
#pragma GCC unroll 16
            for (int digit = 0; digit < last; digit++) {
                const WORD held = digits[digit][k];
                digits[digit][k] = (WORD)(held ^ carry);
                carry = (WORD)(held & carry);
            }
        }
    }
}

/* What is counted in `words` words of the columns of active inputs, from the digit of ones on; gives how many digits there are. */
static int NAME_digits(const uint16_t *list, int32_t found, const WORD *w, ptrdiff_t pitch, int words, WORD (*digits)[PLANES_WIDE])
{
    int last = 1;
    while (found >> last > 0)
        last++;
    memset(digits, 0, PLANES_DIGITS * sizeof digits[0]);
    if (words < PLANES_WIDE)
        NAME_counted(list, found, w, pitch, words, digits, 11);
    else if (last > 5)
        NAME_counted(list, found, w, pitch, PLANES_WIDE, digits, 11);
    else
        NAME_counted(list, found, w, pitch, PLANES_WIDE, digits, 5);
    return last;
}

/* Adds what word k counted to the sums of its outputs, or takes it away; three digits at a time. */
static inline void NAME_told(WORD (*digits)[PLANES_WIDE], int k, int last, int minus, int32_t left, AT *restrict to)
{
    for (int digit = 0; digit < last; digit += 3) {
        const uint32_t one = digits[digit][k], two = digits[digit + 1][k], four = digits[digit + 2][k];
        const AT times = (AT)(minus ? -(1 << digit) : 1 << digit);
        if ((one | two | four) == 0)
            continue;
#define TOLD(o) (AT)(to[o] + times * (AT)((one >> o & 1U) | (two >> o & 1U) << 1 | (four >> o & 1U) << 2))
        if (left >= BITS) {
            for (int32_t o = 0; o < BITS; o++)
                to[o] = TOLD(o);
        } else {
            for (int32_t o = 0; o < left; o++)
                to[o] = TOLD(o);
        }
#undef TOLD
    }
}
