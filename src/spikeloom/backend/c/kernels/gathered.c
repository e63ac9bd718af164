/* Numbers from other places. */
static void NAME(const XT *restrict x, const IT *restrict places, int32_t count, AT *restrict out)
{
    for (int32_t i = 0; i < count; i++)
        out[i] = (AT)x[places[i]];
}
