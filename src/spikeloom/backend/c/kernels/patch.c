/* `count` bits of packed words from bit `from` on, put behind the first `at` bits of a patch whose later bits are 0. */
static void append(const uint32_t *words, int32_t from, int32_t count, uint32_t *patch, int32_t at)
{
    while (count > 0) {
        const int32_t taken = count < 32 ? count : 32, left = from & 31, right = at & 31;
        uint32_t bits = words[from >> 5] >> left;
        if (left + taken > 32)
            bits |= words[(from >> 5) + 1] << (32 - left);
        if (taken < 32)
            bits &= (1U << taken) - 1U;
        patch[at >> 5] |= bits << right;
        if (right + taken > 32)
            patch[(at >> 5) + 1] |= bits >> (32 - right);
        from += taken;
        at += taken;
        count -= taken;
    }
}

/* The bits that one pixel sees, from packed rows. */
static void patched(const uint32_t *rows, const int32_t *row, const int32_t *bit, int32_t segments, int32_t length, int32_t words,
    int32_t from, uint32_t *patch, int32_t size)
{
    for (int32_t i = 0; i < size; i++)
        patch[i] = 0;
    for (int32_t s = 0; s < segments; s++)
        append(rows + row[s] * words, from + bit[s], length, patch, s * length);
}
