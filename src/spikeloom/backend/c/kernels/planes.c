/* Ternary weights as two planes of bits, +1 and -1: 32 of them are counted at once. */
static inline int32_t ones(uint32_t word)
{
#if defined(__POPCNT__)
    return __builtin_popcount(word);
#else
    word -= (word >> 1) & 0x55555555U;
    word = (word & 0x33333333U) + ((word >> 2) & 0x33333333U);
    return (int32_t)((((word + (word >> 4)) & 0x0F0F0F0FU) * 0x01010101U) >> 24);
#endif
}

/* Bit `bit` of `count` numbers, packed. */
static void packed(const uint8_t *x, int32_t count, int32_t bit, uint32_t *words)
{
    for (; count > 0; x += 32, count -= 32, words++) {
        uint32_t word = 0;
        if (count >= 32) {
            for (int32_t part = 0; part < 4; part++) {
                uint64_t eight;
                memcpy(&eight, x + 8 * part, 8);
                eight = (eight >> bit) & 0x0101010101010101U;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
                eight = (eight * 0x8040201008040201U) >> 56;
#else
                eight = (eight * 0x0102040810204080U) >> 56;
#endif
                word |= (uint32_t)eight << (8 * part);
            }
        } else {
            for (int32_t i = 0; i < count; i++)
                word |= (((uint32_t)x[i] >> bit) & 1U) << i;
        }
        *words = word;
    }
}
