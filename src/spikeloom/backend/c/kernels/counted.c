/* acc[o] += `times` * (how many spikes meet weights +1 less how many meet -1). Planes: [word][+1, -1][output], the last bits as bytes. */
static void NAME(const uint32_t *patch, int32_t words, int32_t bytes, AT times, const uint32_t *restrict w, const uint8_t *restrict last,
    int32_t outs, AT *restrict acc)
{
    (void)times;
    for (int32_t k = 0; k < words; k++, w += 2 * outs) {
        const uint32_t word = patch[k];
        if (word == 0)
            continue;
        for (int32_t o = 0; o < outs; o++)
            acc[o] = (AT)(acc[o] + TIMES(ones(word & w[o]) - ones(word & w[outs + o])));
    }
    for (int32_t k = 0; k < bytes; k++, last += 2 * outs) {
        const uint32_t word = (patch[words] >> (8 * k)) & 0xFFU;
        if (word == 0)
            continue;
        for (int32_t o = 0; o < outs; o++)
            acc[o] = (AT)(acc[o] + TIMES(ones(word & last[o]) - ones(word & last[outs + o])));
    }
}
