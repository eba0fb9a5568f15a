/* GFLOP/s of the convolution family's variants: bench_conv2d [DEVICE [VARIANT [BATCH]]]. Derived forms are made
 * every time, as in training, with everything else of a variant. The figure is the best of a few rounds. */
#include "ops/op.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct layer {
    int size, C, K, kernel, stride, groups;
} layer;

static const layer layers[] = {
    {32, 3, 64, 3, 1, 1},   {32, 64, 64, 3, 1, 1},     {16, 128, 128, 3, 1, 1},  {8, 256, 256, 3, 1, 1}, {4, 512, 512, 3, 1, 1},
    {32, 64, 128, 3, 2, 1}, {16, 128, 256, 3, 2, 1},   {8, 256, 512, 3, 2, 1},   {32, 64, 128, 1, 2, 1}, {32, 96, 24, 1, 1, 1},
    {16, 192, 32, 1, 1, 1}, {8, 160, 960, 1, 1, 1},    {1, 3136, 512, 1, 1, 1},  {28, 1, 32, 5, 1, 1},   {14, 32, 64, 5, 1, 1},
    {32, 96, 96, 3, 1, 96}, {16, 192, 192, 3, 2, 192}, {8, 576, 576, 3, 1, 576},
};

typedef struct memory {
    mcl_buffer *in[2], *out, *derived[4], *workspace[6];
} memory;

static void stop(const char *what, const mcl_error *error)
{
    fprintf(stderr, "bench_conv2d: %s: %s\n", what, error ? error->text : "");
    exit(1);
}

static mcl_buffer *make(mcl_device *device, uint64_t bytes, bool fill)
{
    mcl_buffer *buffer = NULL;
    if (mcl_buffer_create(device, bytes, &buffer) != MCL_OK) stop("memory", mcl_device_error(device));
    float *values = calloc(bytes / 4, 4);
    for (uint64_t i = 0; fill && i < bytes / 4; i++) values[i] = (float)((i * 7919) % 1000) / 1000.0f - 0.5f;
    mcl_buffer_write(buffer, 0, bytes, values);
    free(values);
    return buffer;
}

static mcl__view view_of(const memory *m, mcl__operand operand)
{
    mcl_buffer *buffer = operand.kind == MCL__OPERAND_IN          ? m->in[operand.index]
                         : operand.kind == MCL__OPERAND_OUT       ? m->out
                         : operand.kind == MCL__OPERAND_WORKSPACE ? m->workspace[operand.index]
                                                                  : m->derived[operand.index];
    return (mcl__view){buffer, operand.offset, mcl__buffer_bytes(buffer) - operand.offset};
}

static mcl__launch *bind(mcl_device *device, const memory *m, const mcl__command *command)
{
    mcl__launch *launch = NULL;
    mcl_status status;
    if (command->kind == MCL__COMMAND_GEMM) {
        mcl__gemm gemm = command->gemm;
        gemm.a = view_of(m, command->arg[0].operand);
        gemm.b = view_of(m, command->arg[1].operand);
        gemm.c = view_of(m, command->arg[2].operand);
        status = mcl__launch_gemm(device, "bench", &gemm, &launch);
    } else {
        mcl__arg args[MCL__MAX_ARGS];
        mcl__kernel *kernel = NULL;
        for (int i = 0; i < command->args; i++) {
            const mcl__command_arg *arg = &command->arg[i];
            if (arg->kind == MCL__COMMAND_OPERAND) args[i] = (mcl__arg){MCL__ARG_VIEW, {.view = view_of(m, arg->operand)}};
            if (arg->kind == MCL__COMMAND_I32) args[i] = (mcl__arg){MCL__ARG_I32, {.i32 = arg->i32}};
            if (arg->kind == MCL__COMMAND_BLOB) args[i] = (mcl__arg){MCL__ARG_BLOB, {.blob = {arg->blob, arg->blob_bytes}}};
        }
        status = mcl__kernel_get(device, &command->key, &kernel);
        if (status == MCL_OK)
            status = mcl__launch_kernel(device, kernel, "bench", args, command->args, command->dimensions, command->global,
                                        command->local[0] ? command->local : NULL, &launch);
    }
    if (status != MCL_OK) stop("launch", mcl_device_error(device));
    return launch;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one run, the best of several rounds in about 0.2 s. */
static double measure(mcl_device *device, mcl__launch **launches, int count)
{
    double best = 1e9;
    for (int i = 0; i < count; i++) mcl__launch_run(device, launches[i]);
    mcl_device_finish(device);
    double begin = now();
    for (int round = 0; round < 3 || (round < 30 && now() - begin < 0.3); round++) {
        double start = now();
        for (int i = 0; i < count; i++) mcl__launch_run(device, launches[i]);
        if (mcl_device_finish(device) != MCL_OK) stop("run", mcl_device_error(device));
        double seconds = now() - start;
        if (seconds < best) best = seconds;
    }
    return best;
}

static void bench(mcl_device *device, const mcl__problem *problem, const char *variant, char text[64])
{
    mcl__capabilities capabilities = mcl__capabilities_of(device);
    mcl__lowered lowered;
    mcl_error error = {0};
    memory m = {0};
    mcl__launch *launches[16];
    if (mcl__lower(problem, &capabilities, variant, &lowered, &error) != MCL_OK) stop("lowering", &error);
    for (int i = 0; i < 2; i++) m.in[i] = make(device, 4 * (uint64_t)mcl__shape_elements(problem->in[i]), true);
    m.out = make(device, 4 * (uint64_t)mcl__shape_elements(problem->out[0]), false);
    for (int i = 0; i < lowered.deriveds; i++) m.derived[i] = make(device, lowered.derived[i].bytes, false);
    for (int i = 0; i < lowered.workspaces; i++) m.workspace[i] = make(device, lowered.workspace[i], false);
    for (int i = 0; i < lowered.commands; i++) launches[i] = bind(device, &m, &lowered.command[i]);

    double seconds = measure(device, launches, lowered.commands);
    snprintf(text, 64, "%7.1f %7.3f %-9.9s", mcl__op_get(problem->op)->flops(problem) / seconds * 1e-9, seconds * 1e3,
             lowered.variant->name);

    for (int i = 0; i < lowered.commands; i++) mcl__launch_destroy(device, launches[i]);
    for (int i = 0; i < 2; i++) mcl_buffer_destroy(m.in[i]);
    for (int i = 0; i < lowered.deriveds; i++) mcl_buffer_destroy(m.derived[i]);
    for (int i = 0; i < lowered.workspaces; i++) mcl_buffer_destroy(m.workspace[i]);
    mcl_buffer_destroy(m.out);
    mcl__lowered_free(&lowered);
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
    if (mcl_device_open(argc > 1 ? argv[1] : "auto", NULL, &device, &error) != MCL_OK) stop("device", &error);
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
        if (mcl__op_get(y.op)->infer(&y, &error) != MCL_OK) stop("shapes", &error);
        set(&dx, 0, y.out[0]);
        set(&dx, 1, y.in[1]);
        set(&dw, 0, y.in[0]);
        set(&dw, 1, y.out[0]);
        if (mcl__op_get(dx.op)->infer(&dx, &error) != MCL_OK || mcl__op_get(dw.op)->infer(&dw, &error) != MCL_OK)
            stop("shapes", &error);
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
