/* Compares the network with golden vectors: those of @PREFIX@_golden.h, or those of a file.
 *
 *     @PREFIX@_test [FILE]
 *
 * FILE holds 64-bit whole numbers of this machine: samples, 1 if there is an input for each tick, all inputs, all outputs. */
#include <inttypes.h>
#include <stdio.h>

#include "@PREFIX@.h"
#include "@PREFIX@_golden.h"

int @PREFIX@_test(void);

static @PREFIX@_output_t given[@UPPER@_OUTPUT_SIZE];

/* Whether an answer is wrong, said in a line. */
static int compared(long sample, int streamed, const @PREFIX@_input_t *input, const @PREFIX@_output_t *output)
{
    if (streamed) {
        static @PREFIX@_output_t now[@UPPER@_OUTPUT_SIZE];
        @PREFIX@_reset();
        for (int tick = 0; tick < @UPPER@_TICKS; tick++) {
            @PREFIX@_tick(input + tick * @UPPER@_INPUT_SIZE, now);
            for (int i = 0; i < @UPPER@_OUTPUT_SIZE; i++)
                given[i] = (@PREFIX@_output_t)(tick == 0 ? now[i] : given[i] + now[i]);
        }
    } else {
        @PREFIX@_run(input, given);
    }
    for (int i = 0; i < @UPPER@_OUTPUT_SIZE; i++) {
        if (given[i] != output[i]) {
            printf("sample %ld: output %d is %ld, should be %ld\n", sample, i, (long)given[i], (long)output[i]);
            return 1;
        }
    }
    return 0;
}

static void summed(long samples, long mismatches)
{
    printf("@PREFIX@: %ld samples, %ld mismatches\n", samples, mismatches);
}

/* How many of the golden vectors are answered otherwise than they should be. */
int @PREFIX@_test(void)
{
    const int inputs = @UPPER@_INPUT_SIZE * (@UPPER@_GOLDEN_STREAMED ? @UPPER@_TICKS : 1);
    int mismatches = 0;
    for (int sample = 0; sample < @UPPER@_GOLDEN_SAMPLES; sample++)
        mismatches += compared(sample, @UPPER@_GOLDEN_STREAMED, @PREFIX@_golden_inputs + sample * inputs,
            @PREFIX@_golden_outputs + sample * @UPPER@_OUTPUT_SIZE);
    summed(@UPPER@_GOLDEN_SAMPLES, mismatches);
    return mismatches;
}

#ifndef @UPPER@_NO_MAIN
static @PREFIX@_input_t shown[@UPPER@_TICKS * @UPPER@_INPUT_SIZE];
static @PREFIX@_output_t wanted[@UPPER@_OUTPUT_SIZE];

static int64_t number(FILE *file, int *good)
{
    int64_t value = 0;
    *good &= fread(&value, sizeof value, 1, file) == 1;
    return value;
}

static int from_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    int good = 1;
    if (file == NULL) {
        fprintf(stderr, "%s cannot be read\n", path);
        return 2;
    }
    const int64_t samples = number(file, &good);
    const int streamed = (int)number(file, &good), inputs = @UPPER@_INPUT_SIZE * (streamed ? @UPPER@_TICKS : 1);
    long mismatches = 0;
    for (int64_t sample = 0; good && sample < samples; sample++) {
        for (int i = 0; i < inputs; i++)
            shown[i] = (@PREFIX@_input_t)number(file, &good);
        for (int i = 0; i < @UPPER@_OUTPUT_SIZE; i++)
            wanted[i] = (@PREFIX@_output_t)number(file, &good);
        mismatches += good ? compared((long)sample, streamed, shown, wanted) : 0;
    }
    fclose(file);
    if (!good) {
        fprintf(stderr, "%s ends too early\n", path);
        return 2;
    }
    summed((long)samples, mismatches);
    return mismatches > 0;
}

int main(int count, char **words)
{
    return count > 1 ? from_file(words[1]) : @PREFIX@_test() > 0;
}
#endif
