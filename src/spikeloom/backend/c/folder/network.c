/* A spiking network in whole numbers, emitted by Spikeloom. Steps run in order, once a tick. */
#include "{prefix}.h"

#include <stddef.h>
#include <string.h>

#include "{prefix}_weights.h"

{includes}/* x / 2^s rounded down. */
#if (-1 >> 1) == -1
#define SHIFTED(x, s) ((x) >> (s))
#else
#define SHIFTED(x, s) ((x) < 0 ? ~(~(x) >> (s)) : (x) >> (s))
#endif

/* Event-driven kernels look at so many inputs at once. An active input adds its weight, or its weight times its level. */
#define CHUNK 1024
#define PLANES_WIDE 16
#define PLANES_DIGITS 13 /* CHUNK fits, in threes */
#define CARRY(a, b, c) (((a) & (b)) | (((a) ^ (b)) & (c)))
#define LEVEL_ONE(level, weight) (weight)
#define LEVEL_TIMES(level, weight) ((level) * (weight))

/* Keeps gcc from interleaving passes over the same sums (-floop-unroll-and-jam), which makes event-driven kernels ten times as slow. */
#if defined(__GNUC__)
#define APART() __asm__ volatile("" ::: "memory")
#else
#define APART() ((void)0)
#endif

{memory}
{kernels}
{functions}
static void all_steps(const {input} *input)
{{
{unused}{calls}
}}

void {prefix}_reset(void)
{{
{resets}}}

void {prefix}_tick(const {prefix}_input_t *input, {prefix}_output_t *output)
{{
    all_steps(input);
{give}
}}

void {prefix}_run(const {prefix}_input_t *input, {prefix}_output_t *output)
{{
    {prefix}_reset();
    {prefix}_tick(input, output);
    for (int32_t tick = 1; tick < {ticks}; tick++) {{
        all_steps(input);
{sum}
    }}
}}
