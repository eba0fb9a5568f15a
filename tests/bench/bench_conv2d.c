/* GFLOP/s of the variants of convolutions and dense layers: bench_conv2d [DEVICE [VARIANT [BATCH [FILTER [far]]]]]. FILTER is
 * part of a line's name ("1x1", "32x32   96->24"); `far` operands come from memory. Derived forms are made every time, as in
 * training, with everything else of a variant. The figure is the best of a few rounds. */
#include "bench/measure.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct layer {
    int size, C, K, kernel, stride, groups;
} layer;

/* A layer of size 0 is a dense one. */
static const layer layers[] = {
    {32, 3, 64, 3, 1, 1},    {32, 3, 16, 3, 1, 1},    {28, 1, 32, 5, 1, 1},    {14, 32, 64, 5, 1, 1},     {32, 64, 64, 3, 1, 1},
    {16, 128, 128, 3, 1, 1}, {8, 256, 256, 3, 1, 1},  {4, 512, 512, 3, 1, 1},  {2, 512, 512, 3, 1, 1},    {32, 16, 16, 3, 1, 1},
    {16, 32, 32, 3, 1, 1},   {8, 64, 64, 3, 1, 1},    {32, 64, 128, 3, 2, 1},  {16, 128, 256, 3, 2, 1},   {8, 256, 512, 3, 2, 1},
    {32, 16, 32, 3, 2, 1},   {32, 64, 128, 1, 2, 1},  {16, 128, 256, 1, 2, 1}, {32, 16, 96, 1, 1, 1},     {32, 96, 24, 1, 1, 1},
    {32, 24, 144, 1, 1, 1},  {16, 192, 32, 1, 1, 1},  {16, 32, 192, 1, 1, 1},  {8, 64, 384, 1, 1, 1},     {8, 384, 64, 1, 1, 1},
    {8, 160, 960, 1, 1, 1},  {4, 960, 320, 1, 1, 1},  {4, 320, 1280, 1, 1, 1}, {0, 784, 512, 1, 1, 1},    {0, 512, 512, 1, 1, 1},
    {0, 512, 10, 1, 1, 1},   {0, 3136, 512, 1, 1, 1}, {32, 96, 96, 3, 1, 96},  {16, 192, 192, 3, 2, 192}, {8, 576, 576, 3, 1, 576},
    {16, 64, 128, 3, 1, 4},
};

static void bench(mcl_device *device, const mcl__problem *problem, const char *variant, bool far, char text[64])
{
    bench_figures f = bench_problem(device, problem, variant, far);
    snprintf(text, 64, "%7.1f %7.3f %-9.9s", f.flops / f.seconds * 1e-9, f.seconds * 1e3, f.variant);
}

static void set(mcl__problem *problem, int input, mcl__shape shape)
{
    problem->in[input] = shape;
    problem->in_dtype[input] = MCL_F32;
    problem->inputs = 2;
}

static void describe(layer l, mcl__problem pass[3], int batch)
{
    mcl__op_kind first = l.size ? MCL__OP_conv2d : MCL__OP_dense;
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
    mcl__shape x = {4, {batch, l.size, l.size, l.C}}, w = {4, {l.kernel, l.kernel, l.C / l.groups, l.K}};
    if (!l.size) x = (mcl__shape){2, {batch, l.C}}, w = (mcl__shape){2, {l.C, l.K}};
    mcl_error error = {0};
    for (int i = 0; i < 3; i++) {
        pass[i] = (mcl__problem){.op = first + (mcl__op_kind)i};
        if (l.size) pass[i].attrs = attrs;
        set(&pass[i], 0, i == 1 ? pass[0].out[0] : x);
        set(&pass[i], 1, i == 2 ? pass[0].out[0] : w);
        if (mcl__op_get(pass[i].op)->infer(&pass[i], &error) != MCL_OK) bench_stop("shapes", &error);
    }
}

int main(int argc, char **argv)
{
    mcl_error error = {0};
    mcl_device *device = NULL;
    const char *variant = argc > 2 && strcmp(argv[2], "auto") ? argv[2] : NULL, *filter = argc > 4 ? argv[4] : "";
    int batch = argc > 3 ? atoi(argv[3]) : 64;
    bool far = argc > 5 && !strcmp(argv[5], "far");
    mcl__ops_register_native();
    if (mcl_device_open(argc > 1 ? argv[1] : "auto", NULL, &device, &error) != MCL_OK) bench_stop("device", &error);
    printf("%s, batch %d: GFLOP/s, ms, variant\n%-28s %-26s %-26s %-26s\n", mcl_device_get_info(device)->name, batch, "", "forward",
           "data gradient", "weight gradient");
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        layer l = layers[i];
        mcl__problem pass[3];
        char name[64], text[3][64];
        snprintf(name, sizeof name, "%2dx%-2d %4d->%-4d %dx%d s%d g%-4d", l.size, l.size, l.C, l.K, l.kernel, l.kernel, l.stride,
                 l.groups);
        if (!strstr(name, filter)) continue;
        describe(l, pass, batch);
        for (int p = 0; p < 3; p++) bench(device, &pass[p], variant, far, text[p]);
        printf("%s %s %s %s\n", name, text[0], text[1], text[2]);
        fflush(stdout);
    }
    mcl_device_close(device);
    return 0;
}
