/* Sums since the first tick. */
static void NAME(const XT *restrict x, int32_t count, AT *restrict total)
{
    for (int32_t i = 0; i < count; i++)
        total[i] = (AT)(total[i] + x[i]);
}
