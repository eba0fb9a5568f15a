/* One operator's problem: memory, launches and time; see measure.h. */
#include "bench/measure.h"
#include "support/problem.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MOST_LAUNCHES 64
#define MOST_SETS 16
#define FAR_BYTES 256e6 /* of all sets together: more than a cache holds */

typedef struct memory {
    mcl_buffer *in[MCL__MAX_OPERANDS], *out[MCL__MAX_OUTPUTS], *derived[4], *workspace[6];
} memory;

void bench_stop(const char *what, const mcl_error *error)
{
    fprintf(stderr, "bench: %s: %s\n", what, error ? error->text : "");
    exit(1);
}

/* Floats in [-0.5, 0.5), small numbers in integers and bytes (taps of a window, labels), zeros in structs. */
static void fill(void *values, uint64_t bytes, mcl__dtype dtype)
{
    if (dtype == MCL_F32)
        for (uint64_t i = 0; i < bytes / 4; i++) ((float *)values)[i] = (float)((i * 7919) % 1000) / 1000.0f - 0.5f;
    if (dtype == MCL_I32)
        for (uint64_t i = 0; i < bytes / 4; i++) ((int32_t *)values)[i] = (int32_t)(i % 10);
    if (dtype == MCL_U8)
        for (uint64_t i = 0; i < bytes; i++) ((uint8_t *)values)[i] = (uint8_t)(i * 7919 % 1000 % 4);
}

static mcl_buffer *make(mcl_device *device, uint64_t bytes, mcl__dtype dtype)
{
    mcl_buffer *buffer = NULL;
    void *values = calloc(bytes, 1);
    if (!values || mcl_buffer_create(device, bytes, &buffer) != MCL_OK) bench_stop("memory", mcl_device_error(device));
    fill(values, bytes, dtype);
    mcl_buffer_write(buffer, 0, bytes, values);
    free(values);
    return buffer;
}

static void make_memory(mcl_device *device, const mcl__problem *problem, const mcl__lowered *lowered, memory *m)
{
    for (int i = 0; i < problem->inputs; i++) m->in[i] = make(device, test_problem_in_bytes(problem, i), problem->in_dtype[i]);
    for (int i = 0; i < problem->outputs; i++) m->out[i] = make(device, test_problem_out_bytes(problem, i), MCL_BYTES);
    for (int i = 0; i < lowered->deriveds; i++) m->derived[i] = make(device, lowered->derived[i].bytes, MCL_BYTES);
    for (int i = 0; i < lowered->workspaces; i++) m->workspace[i] = make(device, lowered->workspace[i], MCL_BYTES);
}

static void free_memory(memory *m, const mcl__problem *problem, const mcl__lowered *lowered)
{
    for (int i = 0; i < problem->inputs; i++) mcl_buffer_destroy(m->in[i]);
    for (int i = 0; i < problem->outputs; i++) mcl_buffer_destroy(m->out[i]);
    for (int i = 0; i < lowered->deriveds; i++) mcl_buffer_destroy(m->derived[i]);
    for (int i = 0; i < lowered->workspaces; i++) mcl_buffer_destroy(m->workspace[i]);
}

static mcl__view view_of(const memory *m, mcl__operand operand)
{
    mcl_buffer *buffer = operand.kind == MCL__OPERAND_IN          ? m->in[operand.index]
                         : operand.kind == MCL__OPERAND_OUT       ? m->out[operand.index]
                         : operand.kind == MCL__OPERAND_WORKSPACE ? m->workspace[operand.index]
                                                                  : m->derived[operand.index];
    return (mcl__view){buffer, operand.offset, mcl__buffer_bytes(buffer) - operand.offset};
}

static mcl_status bind_kernel(mcl_device *device, const memory *m, const mcl__command *command, mcl__launch **launch)
{
    mcl__arg args[MCL__MAX_ARGS];
    mcl__kernel *kernel = NULL;
    for (int i = 0; i < command->args; i++) {
        const mcl__command_arg *arg = &command->arg[i];
        if (arg->kind == MCL__COMMAND_OPERAND) args[i] = (mcl__arg){MCL__ARG_VIEW, {.view = view_of(m, arg->operand)}};
        if (arg->kind == MCL__COMMAND_I32) args[i] = (mcl__arg){MCL__ARG_I32, {.i32 = arg->i32}};
        if (arg->kind == MCL__COMMAND_LOCAL) args[i] = (mcl__arg){MCL__ARG_LOCAL, {.local = (size_t)arg->i32}};
        if (arg->kind == MCL__COMMAND_BLOB) args[i] = (mcl__arg){MCL__ARG_BLOB, {.blob = {arg->blob, arg->blob_bytes}}};
    }
    MCL_TRY(mcl__kernel_get(device, &command->key, &kernel));
    return mcl__launch_kernel(device, kernel, "bench", args, command->args, command->dimensions, command->global,
                              command->local[0] ? command->local : NULL, launch);
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
        status = bind_kernel(device, m, command, &launch);
    }
    if (status != MCL_OK) bench_stop("launch", mcl_device_error(device));
    return launch;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one run, the best of several rounds in about 0.3 s. */
static double measure(mcl_device *device, mcl__launch **launches, int count)
{
    double best = 1e9;
    for (int i = 0; i < count; i++) mcl__launch_run(device, launches[i]);
    mcl_device_finish(device);
    double begin = now();
    for (int round = 0; round < 3 || (round < 30 && now() - begin < 0.3); round++) {
        double start = now();
        for (int i = 0; i < count; i++) mcl__launch_run(device, launches[i]);
        if (mcl_device_finish(device) != MCL_OK) bench_stop("run", mcl_device_error(device));
        double seconds = now() - start;
        if (seconds < best) best = seconds;
    }
    return best;
}

static double bytes_of(const mcl__problem *problem)
{
    uint64_t bytes = 0;
    for (int i = 0; i < problem->inputs; i++) bytes += test_problem_in_bytes(problem, i);
    for (int i = 0; i < problem->outputs; i++)
        bytes += test_problem_out_bytes(problem, i) * (mcl__op_get(problem->op)->updates ? 2 : 1);
    return (double)bytes;
}

bench_figures bench_problem(mcl_device *device, const mcl__problem *problem, const char *variant, bool far)
{
    mcl__capabilities capabilities = mcl__capabilities_of(device);
    const mcl__op *op = mcl__op_get(problem->op);
    mcl__lowered lowered;
    mcl_error error = {0};
    memory m[MOST_SETS] = {0};
    mcl__launch *launches[MOST_SETS * MOST_LAUNCHES];
    bench_figures figures = {.bytes = bytes_of(problem)};
    int sets = !far ? 1 : figures.bytes * MOST_SETS < FAR_BYTES ? MOST_SETS : (int)(FAR_BYTES / figures.bytes) + 1;
    if (mcl__lower(problem, &capabilities, variant, &lowered, &error) != MCL_OK) bench_stop("lowering", &error);
    if (lowered.commands > MOST_LAUNCHES) bench_stop("too many launches", NULL);
    for (int s = 0; s < sets; s++) {
        make_memory(device, problem, &lowered, &m[s]);
        for (int i = 0; i < lowered.commands; i++) launches[s * lowered.commands + i] = bind(device, &m[s], &lowered.command[i]);
    }

    figures.seconds = measure(device, launches, sets * lowered.commands) / sets;
    figures.flops = op->flops ? op->flops(problem) : mcl__shape_elements(problem->out[0]);
    snprintf(figures.variant, sizeof figures.variant, "%s", lowered.variant->name);

    for (int i = 0; i < sets * lowered.commands; i++) mcl__launch_destroy(device, launches[i]);
    for (int s = 0; s < sets; s++) free_memory(&m[s], problem, &lowered);
    mcl__lowered_free(&lowered);
    return figures;
}
