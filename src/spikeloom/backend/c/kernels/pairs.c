/* Numbers from places to places. */
static void NAME(const XT *restrict x, const IT *restrict places, int32_t count, AT *restrict out)
{
    for (int32_t i = 0; i < count; i++)
        out[places[2 * i]] = (AT)x[places[2 * i + 1]];
}
