/* Event-driven: every active input adds the column of its weights, w[input], to all sums. */
static void NAME(const XT *x, int32_t inputs, const WT *w, ptrdiff_t pitch, int32_t outs, AT *acc)
{
    uint16_t list[CHUNK];
    for (int32_t from = 0; from < inputs; from += CHUNK, x += CHUNK, w += CHUNK * pitch) {
        const int32_t found = ACTIVE(x, inputs - from < CHUNK ? inputs - from : CHUNK, list);
        ADD(x, list, found, w, pitch, outs, acc);
    }
}
