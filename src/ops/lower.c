/* Lowering: picks the variant that serves a problem and collects the commands that it emits. Errors are sticky: after the
 * first, emitters do nothing and mcl__lower reports it. Everything a command points to lives in the lowering's arena. */
#include "ops/choice.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINEAR_LOCAL 256 /* work-items a group of a launch with one work-item an element */

struct mcl__lowering {
    const mcl__capabilities *capabilities;
    const char *force;
    mcl__parameters parameters; /* of the variant that is lowering */
    mcl__operand in[MCL__MAX_OPERANDS], result[MCL__MAX_OUTPUTS]; /* what the present problem's inputs and outputs stand for */
    mcl__lowered *out;
    mcl_error *error;
    mcl_status status;
    int derive; /* the derived tensor being made, or -1 */
    int room;   /* allocated commands */
};

/* Text or data in the lowering's arena; NULL, and an error, when there is no memory. */
static const void *kept(mcl__lowering *lowering, const void *copy)
{
    if (!copy && lowering->status == MCL_OK)
        lowering->status = mcl__fail(lowering->error, MCL_ERROR_MEMORY, "no memory for a lowered operator");
    return copy;
}

static const void *keep(mcl__lowering *lowering, const void *data, size_t bytes)
{
    return kept(lowering, mcl__arena_copy(&lowering->out->arena, data, bytes));
}

static const char *keep_text(mcl__lowering *lowering, const char *text)
{
    return text ? keep(lowering, text, strlen(text)) : NULL;
}

static const char *keep_format(mcl__lowering *lowering, const char *format, va_list list)
{
    return format ? kept(lowering, mcl__arena_format(&lowering->out->arena, format, list)) : NULL;
}

/* The present command: the last one begun. */
static mcl__command *present(mcl__lowering *lowering)
{
    assert(lowering->out->commands > 0);
    return &lowering->out->command[lowering->out->commands - 1];
}

static mcl__command *append(mcl__lowering *lowering, mcl__command_kind kind)
{
    mcl__lowered *out = lowering->out;
    if (lowering->status != MCL_OK) return NULL;
    if (out->commands == lowering->room) {
        int room = lowering->room ? 2 * lowering->room : 4;
        mcl__command *command = realloc(out->command, (size_t)room * sizeof *command);
        if (!command) {
            lowering->status = mcl__fail(lowering->error, MCL_ERROR_MEMORY, "no memory for a lowered operator");
            return NULL;
        }
        out->command = command;
        lowering->room = room;
    }
    mcl__command *command = &out->command[out->commands++];
    *command = (mcl__command){.kind = kind, .derive = lowering->derive};
    return command;
}

mcl__operand mcl__lower_workspace(mcl__lowering *lowering, uint64_t bytes)
{
    mcl__lowered *out = lowering->out;
    assert(bytes > 0 && out->workspaces < (int)(sizeof out->workspace / sizeof out->workspace[0]));
    out->workspace[out->workspaces] = bytes;
    return (mcl__operand){MCL__OPERAND_WORKSPACE, out->workspaces++, 0};
}

mcl__operand mcl__lower_derived(mcl__lowering *lowering, int input, uint64_t bytes, const char *form_format, ...)
{
    mcl__lowered *out = lowering->out;
    assert(lowering->derive < 0 && bytes > 0 && out->deriveds < (int)(sizeof out->derived / sizeof out->derived[0]));
    mcl__derived *derived = &out->derived[out->deriveds];
    *derived = (mcl__derived){.input = input, .bytes = bytes};
    va_list list;
    va_start(list, form_format);
    int length = vsnprintf(derived->form, sizeof derived->form, form_format, list);
    va_end(list);
    assert(length > 0 && length < (int)sizeof derived->form);
    (void)length;
    lowering->derive = out->deriveds++;
    return (mcl__operand){MCL__OPERAND_DERIVED, lowering->derive, 0};
}

void mcl__lower_derived_end(mcl__lowering *lowering)
{
    assert(lowering->derive >= 0);
    lowering->derive = -1;
}

void mcl__lower_kernel(mcl__lowering *lowering, const char *source, const char *name, const char *prelude,
                       const char *constants_format, ...)
{
    va_list list;
    va_start(list, constants_format);
    mcl__kernel_key key = {.source = keep_text(lowering, source),
                           .name = keep_text(lowering, name),
                           .prelude = keep_text(lowering, prelude),
                           .constants = keep_format(lowering, constants_format, list)};
    va_end(list);
    mcl__command *command = append(lowering, MCL__COMMAND_KERNEL);
    if (command) command->key = key;
}

static void add_arg(mcl__lowering *lowering, mcl__command_arg arg)
{
    if (lowering->status != MCL_OK) return;
    mcl__command *command = present(lowering);
    assert(command->args < MCL__MAX_ARGS);
    command->arg[command->args++] = arg;
}

/* The node's own operand behind an operand of the present problem. */
static mcl__operand resolve(const mcl__lowering *lowering, mcl__operand operand)
{
    if (operand.kind != MCL__OPERAND_IN && operand.kind != MCL__OPERAND_OUT) return operand;
    mcl__operand own = operand.kind == MCL__OPERAND_IN ? lowering->in[operand.index] : lowering->result[operand.index];
    own.offset += operand.offset;
    return own;
}

void mcl__lower_arg(mcl__lowering *lowering, mcl__operand operand)
{
    operand = resolve(lowering, operand);
    add_arg(lowering, (mcl__command_arg){.kind = MCL__COMMAND_OPERAND, .operand = operand});
}

void mcl__lower_arg_i32(mcl__lowering *lowering, int32_t value)
{
    add_arg(lowering, (mcl__command_arg){.kind = MCL__COMMAND_I32, .i32 = value});
}

void mcl__lower_arg_blob(mcl__lowering *lowering, const void *data, size_t bytes)
{
    add_arg(lowering,
            (mcl__command_arg){.kind = MCL__COMMAND_BLOB, .blob = keep(lowering, data, bytes), .blob_bytes = bytes});
}

void mcl__lower_arg_local(mcl__lowering *lowering, size_t bytes)
{
    assert(bytes <= INT32_MAX);
    add_arg(lowering, (mcl__command_arg){.kind = MCL__COMMAND_LOCAL, .i32 = (int32_t)bytes});
}

void mcl__lower_sizes(mcl__lowering *lowering, int dimensions, const size_t *global, const size_t *local)
{
    if (lowering->status != MCL_OK) return;
    mcl__command *command = present(lowering);
    assert(dimensions >= 1 && dimensions <= 3);
    command->dimensions = dimensions;
    for (int i = 0; i < dimensions; i++) {
        assert(!local || global[i] % local[i] == 0);
        command->global[i] = global[i];
        command->local[i] = local ? local[i] : 0;
    }
}

void mcl__lower_linear(mcl__lowering *lowering, size_t items)
{
    size_t local = LINEAR_LOCAL, largest = (size_t)lowering->capabilities->max_work_group;
    if (largest && local > largest) local = largest;
    size_t global = (items + local - 1) / local * local;
    mcl__lower_sizes(lowering, 1, &global, &local);
}

void mcl__lower_gemm(mcl__lowering *lowering, const mcl__gemm *gemm, mcl__operand a, mcl__operand b, mcl__operand c)
{
    mcl__command *command = append(lowering, MCL__COMMAND_GEMM);
    if (!command) return;
    command->gemm = *gemm;
    command->gemm.a = command->gemm.b = command->gemm.c = (mcl__view){0};
    mcl__lower_arg(lowering, a);
    mcl__lower_arg(lowering, b);
    mcl__lower_arg(lowering, c);
}

bool mcl__variant_applies(const mcl__variant *variant, const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    return !variant->applicable || variant->applicable(problem, capabilities);
}

bool mcl__variant_named(const mcl__variant *variant, const char *force)
{
    size_t length = strlen(variant->name);
    return strncmp(force, variant->name, length) == 0 && strchr(":(", force[length]);
}

const mcl__variant *mcl__lower_variant(const mcl__problem *problem, const mcl__capabilities *capabilities, const char *force)
{
    const mcl__variant *variants = mcl__op_get(problem->op)->variants;
    for (const mcl__variant *v = variants; force && v && v->name; v++)
        if (mcl__variant_named(v, force) && mcl__variant_applies(v, problem, capabilities)) return v;
    for (const mcl__variant *v = variants; v && v->name; v++)
        if (mcl__variant_applies(v, problem, capabilities) && !(v->yields && v->yields(problem, capabilities))) return v;
    return NULL;
}

/* Which of the candidates `force` asks for; 0 where it asks for none, or for one that is not there. */
static int asked_candidate(const char *force, const char *variant, const mcl__parameters *list, int count)
{
    const char *how = force + strlen(variant);
    char choice[MCL__CHOICE];
    if (*how == ':') return atoi(how + 1) > 0 && atoi(how + 1) < count ? atoi(how + 1) : 0;
    for (int i = 0; *how && i < count; i++) {
        mcl__choice_text(variant, &list[i], choice);
        if (strcmp(choice, force) == 0) return i;
    }
    return 0;
}

static mcl__parameters choose_parameters(const mcl__lowering *lowering, const mcl__variant *variant, const mcl__problem *problem)
{
    mcl__parameters list[MCL__MOST_CANDIDATES] = {0};
    int count = variant->candidates ? variant->candidates(problem, lowering->capabilities, list) : 0;
    bool asked = lowering->force && mcl__variant_named(variant, lowering->force);
    assert(count <= MCL__MOST_CANDIDATES);
    return list[asked ? asked_candidate(lowering->force, variant->name, list, count) : 0];
}

/* Emits another operator's problem, whose inputs and outputs are operands of this node, with the variant that serves it. */
static void lower_part(mcl__lowering *lowering, const mcl__problem *part, const mcl__operand *in, const mcl__operand *out)
{
    mcl__lowering whole = *lowering;
    const mcl__variant *variant = mcl__lower_variant(part, lowering->capabilities, lowering->force);
    assert(variant && part->prologue.count == 0 && !mcl__epilogue_has_stats(&part->epilogue));
    for (int i = 0; i < part->inputs; i++) lowering->in[i] = resolve(&whole, in[i]);
    for (int i = 0; i < part->outputs; i++) lowering->result[i] = resolve(&whole, out[i]);
    lowering->parameters = choose_parameters(lowering, variant, part);
    variant->lower(lowering, part);
    lowering->parameters = whole.parameters;
    memcpy(lowering->in, whole.in, sizeof whole.in);
    memcpy(lowering->result, whole.result, sizeof whole.result);
}

/* A map of codes on x, whose tensors are the problem's inputs from `tensor` on; the step block is its last input. */
static void lower_map(mcl__lowering *lowering, const mcl__problem *problem, mcl__shape shape, mcl__operand x, mcl__operand y,
                      int tensor, const mcl_epilogue_code *code, int count)
{
    mcl__problem map = {.op = MCL__OP_map, .inputs = 1, .outputs = 1, .in[0] = shape, .out[0] = shape};
    mcl__operand in[MCL__MAX_OPERANDS] = {x};
    for (int i = 0; i < count; i++) map.epilogue.code[map.epilogue.count++] = code[i];
    for (int left = mcl__epilogue_tensors_of(&map.epilogue, 0, count); left > 0; left--) {
        map.in[map.inputs] = problem->in[tensor];
        in[map.inputs++] = mcl__in(tensor++);
    }
    if (mcl__epilogue_has_dropout(&map.epilogue)) {
        map.in_dtype[map.inputs] = MCL_BYTES;
        map.in[map.inputs] = problem->in[problem->inputs - 1];
        in[map.inputs++] = mcl__in(problem->inputs - 1);
    }
    lower_part(lowering, &map, in, &y);
}

void mcl__lower_epilogue(mcl__lowering *lowering, const mcl__problem *problem, int first)
{
    int count = mcl__epilogue_points(&problem->epilogue) - first;
    if (count <= 0) return;
    lower_map(lowering, problem, problem->out[0], mcl__out(0), mcl__out(0), mcl__epilogue_input(problem, first),
              &problem->epilogue.code[first], count);
}

/* in[0] behind the prologue, in workspace, which stands for in(0) from here on. */
static void lower_prologue(mcl__lowering *lowering, const mcl__problem *problem)
{
    uint64_t bytes = (uint64_t)mcl__shape_elements(problem->in[0]) * mcl__dtype_bytes(problem->in_dtype[0]);
    mcl__operand source = mcl__lower_workspace(lowering, bytes);
    lower_map(lowering, problem, problem->in[0], mcl__in(0), source, mcl__op_get(problem->op)->inputs, problem->prologue.code,
              problem->prologue.count);
    lowering->in[0] = source;
}

void mcl__lower_stats(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl__problem stats = {.op = MCL__OP_batch_norm_stats, .inputs = 1, .outputs = 2, .in[0] = problem->out[0],
                          .out = {problem->out[1], problem->out[2]}};
    mcl__operand in = mcl__out(0), out[] = {mcl__out(1), mcl__out(2)};
    lower_part(lowering, &stats, &in, out);
}

static void lower_squares(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl__problem squares = {.op = MCL__OP_square_sum, .inputs = 1, .outputs = 1, .in[0] = problem->out[0],
                            .out[0] = problem->out[1]};
    mcl__operand in = mcl__out(0), out = mcl__out(1);
    lower_part(lowering, &squares, &in, &out);
}

void mcl__lower_algorithm(mcl__lowering *lowering, mcl__algorithm algorithm)
{
    lowering->out->algorithm = algorithm;
}

const mcl__capabilities *mcl__lowering_capabilities(const mcl__lowering *lowering)
{
    return lowering->capabilities;
}

const mcl__parameters *mcl__lowering_parameters(const mcl__lowering *lowering)
{
    return &lowering->parameters;
}

bool mcl__lower_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities, const char *force)
{
    const mcl__variant *variant = mcl__lower_variant(problem, capabilities, force);
    return variant && variant->takes_prologue && variant->takes_prologue(problem, capabilities);
}

bool mcl__lower_takes_squares(const mcl__problem *problem, const mcl__capabilities *capabilities, const char *force)
{
    const mcl__variant *variant = mcl__lower_variant(problem, capabilities, force);
    return variant && variant->takes_squares && variant->takes_squares(problem, capabilities);
}

static void lower_whole(mcl__lowering *lowering, const mcl__problem *problem, const mcl__variant *variant)
{
    const mcl__capabilities *capabilities = lowering->capabilities;
    for (int i = 0; i < MCL__MAX_OPERANDS; i++) lowering->in[i] = mcl__in(i);
    for (int i = 0; i < MCL__MAX_OUTPUTS; i++) lowering->result[i] = mcl__out(i);
    if (problem->prologue.count > 0 && !(variant->takes_prologue && variant->takes_prologue(problem, capabilities)))
        lower_prologue(lowering, problem);
    lowering->parameters = choose_parameters(lowering, variant, problem);
    mcl__choice_text(variant->name, variant->candidates ? &lowering->parameters : NULL, lowering->out->choice);
    variant->lower(lowering, problem);
    if (mcl__epilogue_has_stats(&problem->epilogue) && !(variant->takes_stats && variant->takes_stats(problem, capabilities)))
        mcl__lower_stats(lowering, problem);
    if (mcl__attrs_have_squares(problem->op, &problem->attrs) &&
        !(variant->takes_squares && variant->takes_squares(problem, capabilities)))
        lower_squares(lowering, problem);
}

mcl_status mcl__lower(const mcl__problem *problem, const mcl__capabilities *capabilities, const char *force, mcl__lowered *out,
                      mcl_error *error)
{
    *out = (mcl__lowered){0};
    if (!mcl__op_get(problem->op)->variants) return MCL_OK;
    out->variant = mcl__lower_variant(problem, capabilities, force);
    if (!out->variant)
        return mcl__fail(error, MCL_ERROR_UNSUPPORTED, "no kernel variant of %s applies", mcl__op_get(problem->op)->name);
    mcl__lowering lowering = {.capabilities = capabilities, .force = force, .out = out,
                              .error = error, .derive = -1};
    lower_whole(&lowering, problem, out->variant);
    assert(lowering.derive < 0);
    if (lowering.status != MCL_OK) mcl__lowered_free(out);
    return lowering.status;
}

void mcl__lowered_free(mcl__lowered *lowered)
{
    if (!lowered) return;
    mcl__arena_clear(&lowered->arena);
    free(lowered->command);
    *lowered = (mcl__lowered){0};
}
