/* Sums begin with the bias of each output. */
static void NAME(AT *restrict acc, int32_t pixels, const XT *restrict bias, int32_t outs)
{
    for (int32_t p = 0; p < pixels; p++, acc += outs) {
        for (int32_t o = 0; o < outs; o++)
            acc[o] = (AT)bias[o];
    }
}
