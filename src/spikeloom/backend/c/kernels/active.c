/* The places of numbers that are not 0 among up to CHUNK: nothing is done for eight bytes of silence but to look at them. */
static int32_t NAME(const XT *x, int32_t count, uint16_t *list)
{
    int32_t found = 0, i = 0;
    for (; count - i >= EIGHT; i += EIGHT) {
        uint64_t eight;
        memcpy(&eight, x + i, 8);
        if (eight == 0)
            continue;
        for (int32_t place = i; place < i + EIGHT; place++) {
            list[found] = (uint16_t)place;
            found += x[place] != 0;
        }
    }
    for (; i < count; i++) {
        list[found] = (uint16_t)i;
        found += x[i] != 0;
    }
    return found;
}
