/* GFLOP/s of the convolution family's variants: bench_conv2d [DEVICE [VARIANT [BATCH]]]. Derived forms are made
 * every time, as in training, with everything else of a variant. The figure is the best of a few rounds. */
#include "bench/measure.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct layer {
    int size, C, K, kernel, stride, groups;
} layer;

static const layer layers[] = {
    {32, 3, 64, 3, 1, 1},   {32, 64, 64, 3, 1, 1},     {16, 128, 128, 3, 1, 1},  {8, 256, 256, 3, 1, 1}, {4, 512, 512, 3, 1, 1},
    {32, 64, 128, 3, 2, 1}, {16, 128, 256, 3, 2, 1},   {8, 256, 512, 3, 2, 1},   {32, 64, 128, 1, 2, 1}, {32, 96, 24, 1, 1, 1},
    {16, 192, 32, 1, 1, 1}, {8, 160, 960, 1, 1, 1},    {1, 3136, 512, 1, 1, 1},  {28, 1, 32, 5, 1, 1},   {14, 32, 64, 5, 1, 1},
    {32, 96, 96, 3, 1, 96}, {16, 192, 192, 3, 2, 192}, {8, 576, 576, 3, 1, 576},
};

static void bench(mcl_device *device, const mcl__problem *problem, const char *variant, char text[64])
{
    bench_figures f = bench_problem(device, problem, variant);
    snprintf(text, 64, "%7.1f %7.3f %-9.9s", f.flops / f.seconds * 1e-9, f.seconds * 1e3, f.variant);
}

static void set(mcl__problem *problem, int input, mcl__shape shape)
{
    problem->in[input] = shape;
    problem->in_dtype[input] = MCL_F32;
    problem->inputs = 2;
}

int main(int argc, char **argv)
{
    mcl_error error = {0};
    mcl_device *device = NULL;
    const char *variant = argc > 2 && strcmp(argv[2], "auto") ? argv[2] : NULL;
    int batch = argc > 3 ? atoi(argv[3]) : 64;
    mcl__ops_register_native();
    if (mcl_device_open(argc > 1 ? argv[1] : "auto", NULL, &device, &error) != MCL_OK) bench_stop("device", &error);
    printf("%s, batch %d: GFLOP/s, ms, variant\n%-28s %-26s %-26s %-26s\n", mcl_device_get_info(device)->name, batch, "", "forward",
           "data gradient", "weight gradient");
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        layer l = layers[i];
        mcl__problem y = {.op = MCL__OP_conv2d}, dx = {.op = MCL__OP_conv2d_bwd_data}, dw = {.op = MCL__OP_conv2d_bwd_weight};
        mcl__attrs attrs = {.conv = {.KH = l.kernel,
                                     .KW = l.kernel,
                                     .stride_h = l.stride,
                                     .stride_w = l.stride,
                                     .pad_h = l.kernel / 2,
                                     .pad_w = l.kernel / 2,
                                     .dilation_h = 1,
                                     .dilation_w = 1,
                                     .groups = l.groups,
                                     .H = l.size,
                                     .W = l.size}};
        char text[3][64];
        y.attrs = dx.attrs = dw.attrs = attrs;
        set(&y, 0, (mcl__shape){4, {batch, l.size, l.size, l.C}});
        set(&y, 1, (mcl__shape){4, {l.kernel, l.kernel, l.C / l.groups, l.K}});
        if (mcl__op_get(y.op)->infer(&y, &error) != MCL_OK) bench_stop("shapes", &error);
        set(&dx, 0, y.out[0]);
        set(&dx, 1, y.in[1]);
        set(&dw, 0, y.in[0]);
        set(&dw, 1, y.out[0]);
        if (mcl__op_get(dx.op)->infer(&dx, &error) != MCL_OK || mcl__op_get(dw.op)->infer(&dw, &error) != MCL_OK)
            bench_stop("shapes", &error);
        bench(device, &y, variant, text[0]);
        bench(device, &dx, variant, text[1]);
        bench(device, &dw, variant, text[2]);
        printf("%2dx%-2d %4d->%-4d %dx%d s%d g%-4d %s %s %s\n", l.size, l.size, l.C, l.K, l.kernel, l.kernel, l.stride, l.groups,
               text[0], text[1], text[2]);
        fflush(stdout);
    }
    mcl_device_close(device);
    return 0;
}
