/* Runs of numbers to other places. */
static void NAME(const XT *restrict x, const IT *restrict runs, int32_t count, AT *restrict out)
{
    for (int32_t run = 0; run < count; run++, runs += 3) {
        for (int32_t i = 0; i < runs[2]; i++)
            out[runs[0] + i] = (AT)x[runs[1] + i];
    }
}
