/* How many of `count` ascending thresholds a number reaches. */
static inline int32_t NAME(const XT *at, int32_t count, AT h)
{
    int32_t reached = 0;
    while (count > 1) {
        const int32_t half = count / 2;
        reached += at[reached + half - 1] <= h ? half : 0;
        count -= half;
    }
    return reached + (at[reached] <= h ? 1 : 0);
}
