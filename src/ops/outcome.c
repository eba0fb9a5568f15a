/* What the device remembers of a step, and the gates on what persists:
 *   outcome     the batch's loss and hits into the step's slot of the history
 *   accumulate  the gradients of micro-batches into one slab
 *   square_sum  what the guard adds up, of one tensor
 *   guard       the gradient's norm into the slot; first_bad becomes this step when the norm or the loss is not finite
 *   commit      pending running statistics become the running ones, unless a step was bad */
#include "ops/outcome.h"
#include "base/divide.h"
#include "ops/signature.h"
#include "ops/spread.h"

static mcl_status infer_state(mcl__problem *problem, const mcl__rule *rules, int count, mcl_error *error)
{
    MCL_TRY(mcl__signature_check(problem, rules, count, error));
    return mcl__signature_output(problem, 0, mcl__shape_of_vector(sizeof(mcl_state)), MCL_BYTES, error);
}

static mcl_slab_args slab_args(const mcl__problem *problem)
{
    return (mcl_slab_args){.n = problem->in[0].d[0]};
}

/* All fast variants share one program, also those that have no use for vectors. */
static void name_kernel(mcl__lowering *lowering, const char *name)
{
    bool cpu = mcl__lowering_capabilities(lowering)->type == MCL_DEVICE_CPU;
    mcl__lower_kernel(lowering, "outcome", name, NULL, "-DWIDTH=%d%s%s", mcl__spread_width(lowering),
                      mcl__spread_aligned(lowering), cpu ? " -DCONTIGUOUS" : "");
}

static void one_group(mcl__lowering *lowering)
{
    size_t size = MCL_GROUP;
    mcl__lower_sizes(lowering, 1, &size, &size);
}

static bool group_applies(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)problem;
    return mcl__squares_finish_applies(capabilities);
}

/* --- outcome --- */

static mcl_status infer_outcome(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"loss", MCL__FORM_VECTOR}, {"hit", MCL__FORM_LIKE_FIRST}, {"step", MCL__FORM_STEP}};
    return infer_state(problem, rules, 3, error);
}

static mcl_rows_args outcome_args(const mcl__problem *problem)
{
    return (mcl_rows_args){.rows = problem->in[0].d[0], .C = 1};
}

static void lower_outcome_group(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_rows_args args = outcome_args(problem);
    name_kernel(lowering, "outcome_group");
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    one_group(lowering);
}

static void lower_outcome_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_rows_args args = outcome_args(problem);
    mcl__lower_kernel(lowering, "outcome", "outcome", NULL, NULL);
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    mcl__lower_linear(lowering, 1);
}

static const mcl__variant outcome_variants[] = {
    {"group", group_applies, lower_outcome_group}, {"reference", NULL, lower_outcome_reference}, {0}};

const mcl__op mcl__op_outcome = {
    .name = "outcome", .inputs = 3, .outputs = 1, .updates = true, .infer = infer_outcome, .variants = outcome_variants,
};

/* --- square_sum and guard --- */

static mcl_status infer_square_sum(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"x", MCL__FORM_ANY}};
    MCL_TRY(mcl__signature_check(problem, rules, 1, error));
    return mcl__signature_output(problem, 0, mcl__shape_of_vector(1), MCL_F32, error);
}

static mcl_status infer_guard(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"gradient", MCL__FORM_VECTOR}, {"step", MCL__FORM_STEP}, {"squares", MCL__FORM_VECTOR}};
    int first = problem->attrs.guard.first, known = problem->attrs.guard.known;
    MCL_TRY(infer_state(problem, rules, known > 0 ? 3 : 2, error));
    if (known == 0 && first == 0) return MCL_OK;
    int n = problem->in[0].d[0];
    bool whole = first % MCL_SQUARES_STEP == 0 && (known % MCL_SQUARES_STEP == 0 || known == n - first);
    if (first < 0 || known < 1 || first > n || known > n - first || !whole || problem->in[2].d[0] != 1)
        return mcl__fail(error, MCL_ERROR_SHAPE, "guard: one sum of squares is of whole vectors of a slab of %d, not %d from %d on",
                         n, known, first);
    return MCL_OK;
}

static mcl_squares_args squares_args(const mcl__problem *problem)
{
    mcl_squares_args args = {.n = mcl__shape_elements(problem->in[0])};
    if (problem->op == MCL__OP_guard) args.first = problem->attrs.guard.first, args.known = problem->attrs.guard.known;
    return args;
}

static double flops_squares(const mcl__problem *problem)
{
    mcl_squares_args args = squares_args(problem);
    return 2.0 * (args.n - args.known);
}

/* Partial sums: a few long runs on a CPU, enough work-items to fill a GPU. */
#define CPU_PARTS 64
#define GPU_PARTS 8192

/* Where nothing is known, the kernel gets any tensor for it. */
static void lower_squares_operands(mcl__lowering *lowering, const mcl__problem *problem, mcl__operand source, mcl_squares_args args)
{
    mcl__lower_arg(lowering, source);
    if (problem->op == MCL__OP_guard) {
        mcl__lower_arg(lowering, mcl__in(1));
        mcl__lower_arg(lowering, mcl__in(args.known > 0 ? 2 : 0));
    }
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg_blob(lowering, &args, sizeof args);
}

bool mcl__squares_finish_applies(const mcl__capabilities *capabilities)
{
    return capabilities->type != MCL_DEVICE_NATIVE && capabilities->max_work_group >= MCL_GROUP;
}

void mcl__lower_squares_finish(mcl__lowering *lowering, mcl__operand partial, int parts, mcl__operand squares)
{
    mcl_squares_args args = {.parts = parts};
    name_kernel(lowering, "squares_finish");
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg(lowering, squares);
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    one_group(lowering);
}

static void lower_squares_split(mcl__lowering *lowering, const mcl__problem *problem)
{
    bool cpu = mcl__lowering_capabilities(lowering)->type == MCL_DEVICE_CPU;
    mcl_squares_args args = squares_args(problem);
    int vectors = mcl__ceil_div(args.n - args.known, mcl__spread_width(lowering)), most = cpu ? CPU_PARTS : GPU_PARTS;
    args.parts = vectors < 1 ? 1 : vectors < most ? vectors : most;
    mcl__operand partial = mcl__lower_workspace(lowering, (uint64_t)args.parts * sizeof(float));

    name_kernel(lowering, "squares_part");
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    if (cpu) mcl__spread_grid(lowering, args.parts, 1);
    else mcl__lower_linear(lowering, (size_t)args.parts);

    if (problem->op == MCL__OP_square_sum) {
        mcl__lower_squares_finish(lowering, partial, args.parts, mcl__out(0));
        return;
    }
    name_kernel(lowering, "guard_finish");
    lower_squares_operands(lowering, problem, partial, args);
    one_group(lowering);
}

static void lower_squares_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl__lower_kernel(lowering, "outcome", mcl__op_get(problem->op)->name, NULL, NULL);
    lower_squares_operands(lowering, problem, mcl__in(0), squares_args(problem));
    mcl__lower_linear(lowering, 1);
}

static const mcl__variant squares_variants[] = {
    {"split", group_applies, lower_squares_split}, {"reference", NULL, lower_squares_reference}, {0}};

const mcl__op mcl__op_square_sum = {
    .name = "square_sum", .inputs = 1, .outputs = 1, .infer = infer_square_sum, .flops = flops_squares,
    .variants = squares_variants,
};
const mcl__op mcl__op_guard = {
    .name = "guard", .inputs = -1, .outputs = 1, .updates = true, .infer = infer_guard, .flops = flops_squares,
    .variants = squares_variants,
};

/* --- accumulate and commit --- */

static mcl_status infer_accumulate(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"gradient", MCL__FORM_VECTOR}, {"step", MCL__FORM_STEP}};
    return mcl__signature_like_first(problem, rules, 2, error);
}

static mcl_status infer_commit(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"pending", MCL__FORM_VECTOR}, {"state", MCL__FORM_STATE}};
    return mcl__signature_like_first(problem, rules, 2, error);
}

/* After its kernel is named. */
static void lower_slab(mcl__lowering *lowering, const mcl__problem *problem, int width)
{
    mcl_slab_args args = slab_args(problem);
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    mcl__spread_items(lowering, (args.n - 1) / width + 1, width);
}

static void lower_slab_wide(mcl__lowering *lowering, const mcl__problem *problem)
{
    name_kernel(lowering, mcl__op_get(problem->op)->name);
    lower_slab(lowering, problem, mcl__spread_width(lowering));
}

static void lower_slab_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl__lower_kernel(lowering, "outcome", mcl__op_get(problem->op)->name, NULL, NULL);
    lower_slab(lowering, problem, 1);
}

static const mcl__variant slab_variants[] = {
    {"wide", mcl__on_opencl, lower_slab_wide}, {"reference", NULL, lower_slab_reference}, {0}};

const mcl__op mcl__op_accumulate = {
    .name = "accumulate", .inputs = 2, .outputs = 1, .updates = true, .infer = infer_accumulate, .variants = slab_variants,
};
const mcl__op mcl__op_commit = {
    .name = "commit", .inputs = 2, .outputs = 1, .updates = true, .infer = infer_commit, .variants = slab_variants,
};
