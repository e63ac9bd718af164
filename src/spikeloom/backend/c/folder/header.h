/* A spiking network in whole numbers ({kernels} kernels), emitted by Spikeloom.
 *
 *     {prefix}_run(input, output)      all {ticks} tick(s) of one input from rest; output is the sum over them
 *     {prefix}_reset(), {prefix}_tick(input, output)      the same step by step: an input for each tick, output is that tick's
 *
 * There is one network, its memory is static: calls do not overlap.
 *
 * Who has the input x on the network's scale hands over round(x / step), half to even, within {upper}_INPUT_LOW and _HIGH;
 * step = {step}, as a fraction {upper}_INPUT_STEP_NUM / _DEN. An answer on the network's scale is output * unit / {upper}_TICKS;
 * unit = {unit}, as a fraction {upper}_OUTPUT_UNIT_NUM / _DEN. Numbers lie in the order of the dimensions, the last one innermost.
 *
 * Memory, in bytes:
{table}
 */
#ifndef {upper}_H
#define {upper}_H

#include <stdint.h>

{facts}

typedef {input} {prefix}_input_t;
typedef {output} {prefix}_output_t;

void {prefix}_reset(void);
void {prefix}_tick(const {prefix}_input_t *input, {prefix}_output_t *output);
void {prefix}_run(const {prefix}_input_t *input, {prefix}_output_t *output);

#endif
