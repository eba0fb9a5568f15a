/* Building and running one operator's problem; see problem.h. */
#include "support/problem.h"
#include "ops/oracle/oracle.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 4096, GUARD_BYTE = 0x5a }; /* more than the work-items that rounding up a launch adds can reach */
#define NAN_PATTERN 0x7fc0a5a5u

void test_problem_input(mcl__problem *problem, mcl__dtype dtype, int rank, const int *size)
{
    mcl__shape shape = {.rank = rank};
    memcpy(shape.d, size, (size_t)rank * sizeof(int));
    problem->in[problem->inputs] = shape;
    problem->in_dtype[problem->inputs++] = dtype;
}

void test_problem_code(mcl__problem *problem, mcl_epilogue_code code, int rank, const int *size)
{
    int channels = size[rank - 1];
    switch (code.code) {
    case MCL_EP_SCALE_SHIFT:
        test_problem_input(problem, MCL_F32, 1, &channels);
        test_problem_input(problem, MCL_F32, 1, &channels);
        break;
    case MCL_EP_BIAS: test_problem_input(problem, MCL_F32, 1, &channels); break;
    case MCL_EP_ADD:
    case MCL_EP_DACT: test_problem_input(problem, MCL_F32, rank, size); break;
    default: break;
    }
    problem->epilogue.code[problem->epilogue.count++] = code;
}

void test_problem_prologue(mcl__problem *problem, mcl_epilogue_code code)
{
    int channels = mcl__shape_channels(problem->in[0]);
    for (int i = 0; i < mcl__epilogue_tensors(&code); i++) test_problem_input(problem, MCL_F32, 1, &channels);
    problem->prologue.code[problem->prologue.count++] = code;
}

mcl_status test_problem_infer(mcl__problem *problem, mcl_error *error)
{
    for (int i = 0; i < problem->epilogue.count; i++)
        if (problem->epilogue.code[i].code == MCL_EP_DROPOUT) {
            test_problem_input(problem, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_step)));
            break;
        }
    const mcl__op *op = mcl__op_get(problem->op);
    if (!op) return mcl__fail(error, MCL_ERROR_UNSUPPORTED, "operator %d is missing", (int)problem->op);
    return op->infer(problem, error);
}

uint64_t test_problem_in_bytes(const mcl__problem *problem, int input)
{
    return (uint64_t)mcl__shape_elements(problem->in[input]) * mcl__dtype_bytes(problem->in_dtype[input]);
}

uint64_t test_problem_out_bytes(const mcl__problem *problem, int output)
{
    return (uint64_t)mcl__shape_elements(problem->out[output]) * mcl__dtype_bytes(problem->out_dtype[output]);
}

void test_problem_free(test_problem *test)
{
    for (int i = 0; i < MCL__MAX_OPERANDS; i++) {
        free(test->in[i]);
        test->in[i] = NULL;
    }
    test_problem_free_outputs(test->out);
}

void test_problem_copy_outputs(const test_problem *test, void *copies[MCL__MAX_OUTPUTS])
{
    memset(copies, 0, MCL__MAX_OUTPUTS * sizeof *copies);
    for (int i = 0; i < test->problem.outputs; i++) {
        uint64_t bytes = test_problem_out_bytes(&test->problem, i);
        copies[i] = malloc(bytes);
        if (copies[i]) memcpy(copies[i], test->out[i], bytes);
    }
}

void test_problem_free_outputs(void *copies[MCL__MAX_OUTPUTS])
{
    for (int i = 0; i < MCL__MAX_OUTPUTS; i++) {
        free(copies[i]);
        copies[i] = NULL;
    }
}

/* --- Tensors on the device, between guard bytes ------------------------------------------------------------------- */

typedef struct tensor {
    mcl_buffer *buffer;
    mcl__view view;
    uint64_t before, total; /* guard bytes before the tensor, size of the buffer */
    char what[24];
} tensor;

static mcl_status device_failure(mcl_device *device, mcl_status status, mcl_error *error, const char *what)
{
    if (status == MCL_OK) return MCL_OK;
    const mcl_error *first = mcl_device_error(device);
    return mcl__fail(error, status, "%s: %s", what, first->status != MCL_OK ? first->text : "refused");
}

/* content NULL: the tensor starts as NaN. */
static mcl_status tensor_write(mcl_device *device, tensor *t, const void *content, mcl_error *error)
{
    unsigned char *bytes = malloc(t->total);
    if (!bytes) return mcl__fail(error, MCL_ERROR_MEMORY, "test tensor of %llu bytes", (unsigned long long)t->total);
    memset(bytes, GUARD_BYTE, t->total);
    if (content) {
        memcpy(bytes + t->before, content, t->view.bytes);
    } else {
        uint32_t nan_pattern = NAN_PATTERN;
        for (uint64_t i = 0; i < t->view.bytes; i++) bytes[t->before + i] = ((unsigned char *)&nan_pattern)[i % 4];
    }
    mcl_status status = mcl_buffer_write(t->buffer, 0, t->total, bytes);
    free(bytes);
    return device_failure(device, status, error, t->what);
}

/* Reads the tensor into content (may be NULL); fails where a guard byte changed, or `expected` (may be NULL) did. */
static mcl_status tensor_read(mcl_device *device, const tensor *t, void *content, const void *expected,
                              mcl_error *error)
{
    unsigned char *bytes = malloc(t->total);
    if (!bytes) return mcl__fail(error, MCL_ERROR_MEMORY, "test tensor of %llu bytes", (unsigned long long)t->total);
    mcl_status status = device_failure(device, mcl_buffer_read(t->buffer, 0, t->total, bytes), error, t->what);
    for (uint64_t i = 0; status == MCL_OK && i < t->total; i++) {
        bool inside = i >= t->before && i < t->before + t->view.bytes;
        if (!inside && bytes[i] != GUARD_BYTE)
            status = mcl__fail(error, MCL_ERROR_INVALID, "%s: byte %lld of %llu was written", t->what,
                               (long long)i - (long long)t->before, (unsigned long long)t->view.bytes);
    }
    if (status == MCL_OK && expected && memcmp(bytes + t->before, expected, t->view.bytes) != 0)
        status = mcl__fail(error, MCL_ERROR_INVALID, "%s was changed", t->what);
    if (status == MCL_OK && content) memcpy(content, bytes + t->before, t->view.bytes);
    free(bytes);
    return status;
}

/* --- Binding and running ------------------------------------------------------------------------------------------ */

enum { MAX_WORK = 6, MAX_DERIVED = 4 };
typedef struct session {
    mcl_device *device;
    test_problem *test;
    test_run *run;
    mcl__lowered lowered;
    tensor in[MCL__MAX_OPERANDS], out[MCL__MAX_OUTPUTS], workspace[MAX_WORK], derived[MAX_DERIVED];
    mcl__launch **launch;
} session;

static mcl_status tensor_create(const session *s, tensor *t, const char *kind, int index, uint64_t bytes,
                                const void *content, mcl_error *error)
{
    uint64_t alignment = mcl_device_get_info(s->device)->alignment;
    snprintf(t->what, sizeof t->what, "%s %d", kind, index);
    t->before = alignment ? alignment : 64; /* views start aligned */
    t->total = t->before + (bytes + 3) / 4 * 4 + GUARD;
    if (s->run->bare) t->before = 0, t->total = bytes;
    MCL_TRY(device_failure(s->device, mcl_buffer_create(s->device, t->total, &t->buffer), error, t->what));
    t->view = (mcl__view){t->buffer, t->before, bytes};
    return tensor_write(s->device, t, content, error);
}

static mcl__view session_view(const session *s, mcl__operand operand)
{
    const tensor *t = NULL;
    switch (operand.kind) {
    case MCL__OPERAND_IN: t = &s->in[operand.index]; break;
    case MCL__OPERAND_OUT: t = s->run->in_place && operand.index == 0 ? &s->in[0] : &s->out[operand.index]; break;
    case MCL__OPERAND_WORKSPACE: t = &s->workspace[operand.index]; break;
    case MCL__OPERAND_DERIVED: t = &s->derived[operand.index]; break;
    }
    mcl__view view = t->view;
    view.offset += operand.offset;
    view.bytes -= operand.offset;
    return view;
}

static mcl_status bind_kernel(session *s, const mcl__command *command, mcl__launch **launch)
{
    mcl__arg args[MCL__MAX_ARGS];
    for (int i = 0; i < command->args; i++) {
        const mcl__command_arg *from = &command->arg[i];
        switch (from->kind) {
        case MCL__COMMAND_OPERAND: args[i] = (mcl__arg){MCL__ARG_VIEW, {.view = session_view(s, from->operand)}}; break;
        case MCL__COMMAND_I32: args[i] = (mcl__arg){MCL__ARG_I32, {.i32 = from->i32}}; break;
        case MCL__COMMAND_BLOB: args[i] = (mcl__arg){MCL__ARG_BLOB, {.blob = {from->blob, from->blob_bytes}}}; break;
        case MCL__COMMAND_LOCAL: args[i] = (mcl__arg){MCL__ARG_LOCAL, {.local = (size_t)from->i32}}; break;
        }
    }
    mcl__kernel *kernel = NULL;
    MCL_TRY(mcl__kernel_get(s->device, &command->key, &kernel));
    return mcl__launch_kernel(s->device, kernel, command->key.name, args, command->args, command->dimensions,
                              command->global, command->local[0] ? command->local : NULL, launch);
}

static mcl_status bind(session *s, const mcl__command *command, mcl__launch **launch)
{
    if (command->kind == MCL__COMMAND_KERNEL) return bind_kernel(s, command, launch);
    mcl__gemm gemm = command->gemm;
    gemm.a = session_view(s, command->arg[0].operand);
    gemm.b = session_view(s, command->arg[1].operand);
    gemm.c = session_view(s, command->arg[2].operand);
    return mcl__launch_gemm(s->device, "gemm", &gemm, launch);
}

static mcl_status session_open(session *s, mcl_error *error)
{
    test_problem *test = s->test;
    const mcl__problem *problem = &test->problem;
    mcl__capabilities capabilities = s->run->pretend ? *s->run->pretend : mcl__capabilities_of(s->device);
    MCL_TRY(mcl__lower(problem, &capabilities, s->run->variant, &s->lowered, error));
    snprintf(s->run->served_by, sizeof s->run->served_by, "%s", s->lowered.variant->name);
    test->algorithm = s->lowered.algorithm;
    s->run->commands = s->lowered.commands;
    for (int i = 0; i < problem->inputs; i++)
        MCL_TRY(tensor_create(s, &s->in[i], "input", i, test_problem_in_bytes(problem, i), test->in[i], error));
    bool updates = mcl__op_get(problem->op)->updates;
    for (int i = 0; i < problem->outputs; i++)
        MCL_TRY(tensor_create(s, &s->out[i], "output", i, test_problem_out_bytes(problem, i),
                              updates ? test->out[i] : NULL, error));
    for (int i = 0; i < s->lowered.workspaces; i++)
        MCL_TRY(tensor_create(s, &s->workspace[i], "workspace", i, s->lowered.workspace[i], NULL, error));
    for (int i = 0; i < s->lowered.deriveds; i++)
        MCL_TRY(tensor_create(s, &s->derived[i], "derived", i, s->lowered.derived[i].bytes, NULL, error));
    s->launch = calloc((size_t)s->lowered.commands + 1, sizeof *s->launch);
    if (!s->launch) return mcl__fail(error, MCL_ERROR_MEMORY, "launches");
    for (int i = 0; i < s->lowered.commands; i++)
        MCL_TRY(device_failure(s->device, bind(s, &s->lowered.command[i], &s->launch[i]), error, "binding"));
    return MCL_OK;
}

static void session_close(session *s)
{
    for (int i = 0; s->launch && i < s->lowered.commands; i++) mcl__launch_destroy(s->device, s->launch[i]);
    free(s->launch);
    for (int i = 0; i < MCL__MAX_OPERANDS; i++) mcl_buffer_destroy(s->in[i].buffer);
    for (int i = 0; i < MCL__MAX_OUTPUTS; i++) mcl_buffer_destroy(s->out[i].buffer);
    for (int i = 0; i < MAX_WORK; i++) mcl_buffer_destroy(s->workspace[i].buffer);
    for (int i = 0; i < MAX_DERIVED; i++) mcl_buffer_destroy(s->derived[i].buffer);
    mcl__lowered_free(&s->lowered);
}

/* Launches everything and reads outputs into `out`, checking all guards. */
static mcl_status session_compute(session *s, void *const *out, mcl_error *error)
{
    for (int i = 0; i < s->lowered.commands; i++)
        MCL_TRY(device_failure(s->device, mcl__launch_run(s->device, s->launch[i]), error, "running"));
    MCL_TRY(device_failure(s->device, mcl_device_finish(s->device), error, "finishing"));
    for (int i = 0; i < s->test->problem.inputs; i++) {
        bool shared = s->run->in_place && i == 0;
        MCL_TRY(tensor_read(s->device, &s->in[i], shared ? out[0] : NULL, shared ? NULL : s->test->in[i], error));
    }
    for (int i = s->run->in_place ? 1 : 0; i < s->test->problem.outputs; i++)
        MCL_TRY(tensor_read(s->device, &s->out[i], out[i], NULL, error));
    for (int i = 0; i < s->lowered.workspaces; i++)
        MCL_TRY(tensor_read(s->device, &s->workspace[i], NULL, NULL, error));
    for (int i = 0; i < s->lowered.deriveds; i++) MCL_TRY(tensor_read(s->device, &s->derived[i], NULL, NULL, error));
    return MCL_OK;
}

/* The second run starts from the same tensors, in the memory that the first one left behind otherwise. */
static mcl_status session_repeat(session *s, void *const *before, mcl_error *error)
{
    mcl_status status = MCL_OK;
    void *again[MCL__MAX_OUTPUTS] = {0};
    bool updates = mcl__op_get(s->test->problem.op)->updates;
    if (s->run->in_place) MCL_TRY(tensor_write(s->device, &s->in[0], s->test->in[0], error));
    for (int i = 0; i < s->test->problem.outputs; i++)
        MCL_TRY(tensor_write(s->device, &s->out[i], updates ? before[i] : NULL, error));
    test_problem_copy_outputs(s->test, again);
    MCL_TRY_DONE(session_compute(s, again, error));
    for (int i = 0; i < s->test->problem.outputs; i++)
        if (memcmp(again[i], s->test->out[i], test_problem_out_bytes(&s->test->problem, i)) != 0)
            status = mcl__fail(error, MCL_ERROR_INVALID, "output %d has other bits in a second run", i);
done:
    test_problem_free_outputs(again);
    return status;
}

mcl_status test_problem_run(mcl_device *device, test_problem *test, test_run *run, mcl_error *error)
{
    session s = {.device = device, .test = test, .run = run};
    void *before[MCL__MAX_OUTPUTS] = {0};
    mcl_status status = MCL_OK;
    test_problem_copy_outputs(test, before);
    MCL_TRY_DONE(session_open(&s, error));
    MCL_TRY_DONE(session_compute(&s, test->out, error));
    if (run->twice) MCL_TRY_DONE(session_repeat(&s, before, error));
done:
    session_close(&s);
    test_problem_free_outputs(before);
    return status;
}

double test_problem_check(const test_problem *test, void *const *before, int64_t limit, char text[256])
{
    mcl__oracle *oracle = NULL;
    mcl_error error = {0};
    double worst = 0;
    if (text) text[0] = 0;
    mcl_status status =
        mcl__oracle_create(&test->problem, (const void *const *)test->in, (const void *const *)before, &oracle, &error);
    if (status == MCL_OK) status = mcl__oracle_expect(oracle, test->algorithm, &error);
    if (status != MCL_OK) {
        if (text) snprintf(text, 256, "oracle: %.200s", error.text);
        mcl__oracle_destroy(oracle);
        return INFINITY;
    }
    for (int output = 0; output < test->problem.outputs; output++) {
        int64_t index = 0;
        double ratio = mcl__oracle_check(oracle, output, test->out[output], limit, &index);
        if (!(ratio <= worst)) {
            double bound, value = mcl__oracle_value(oracle, output, index, &bound);
            worst = ratio;
            if (!text) continue;
            double computed =
                test->problem.out_dtype[output] == MCL_F32 ? (double)((const float *)test->out[output])[index] : NAN;
            snprintf(text, 256, "output %d element %lld is %.9g, should be %.9g +- %.3g", output, (long long)index,
                     computed, value, bound);
        }
    }
    mcl__oracle_destroy(oracle);
    return worst;
}

double *test_problem_oracle(const mcl__problem *problem, void *const *in, void *const *before, int output)
{
    mcl__oracle *oracle = NULL;
    if (mcl__oracle_create(problem, (const void *const *)in, (const void *const *)before, &oracle, NULL) != MCL_OK)
        return NULL;
    int n = mcl__shape_elements(problem->out[output]) / (problem->out_dtype[output] == MCL_BYTES ? 4 : 1);
    double *values = malloc((size_t)n * sizeof *values);
    for (int i = 0; values && i < n; i++) values[i] = mcl__oracle_value(oracle, output, i, NULL);
    mcl__oracle_destroy(oracle);
    return values;
}
