/* The shape of an event-driven convolution. */
typedef struct {
    int32_t height, width, channels, groups, pitch, out_height, out_width, outs, group_ins, group_outs, words, kernel_height, kernel_width, step_height,
        step_width, dilation_height, dilation_width, pad_height, pad_width, run;
} window;
