/* Optimisers, as PyTorch's: SGD with momentum, Nesterov and weight decay, and Adam with its decoupled form AdamW (Kingma and
 * Ba 2014, arXiv:1412.6980; Loshchilov and Hutter 2017, arXiv:1711.05101). The formulas stand in kernels/args.h. One
 * launch serves a range of the slabs; nothing is written once state.first_bad is set. */
#include "ops/signature.h"
#include "ops/spread.h"

static mcl_status infer_update(mcl__problem *problem, int group, int offset, int n, mcl_error *error)
{
    static const mcl__rule rules[] = {{"gradient", MCL__FORM_VECTOR}, {"step", MCL__FORM_STEP}, {"state", MCL__FORM_STATE}};
    const mcl__op *op = mcl__op_get(problem->op);
    MCL_TRY(MCL__SIGNATURE(problem, rules, error));
    if (group < 0 || group >= MCL_STEP_GROUPS)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: parameter group %d, but there are %d", op->name, group, MCL_STEP_GROUPS);
    if (n < 1 || offset < 0 || (int64_t)offset + n > problem->in[0].d[0])
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: %d parameters from %d on do not lie in a slab of %d", op->name, n, offset,
                         problem->in[0].d[0]);
    for (int i = 0; i < op->outputs; i++) MCL_TRY(mcl__signature_output(problem, i, problem->in[0], MCL_F32, error));
    return MCL_OK;
}

static void lower_update(mcl__lowering *lowering, const mcl__problem *problem, const void *args, size_t bytes, int n, int width)
{
    const mcl__op *op = mcl__op_get(problem->op);
    mcl__lower_kernel(lowering, "update", op->name, NULL, "-DWIDTH=%d%s", width, mcl__spread_aligned(lowering));
    mcl__lower_operands(lowering, problem, args, bytes);
    mcl__spread_items(lowering, (n - 1) / width + 1, width * (1 + op->outputs));
}

/* --- SGD --- */

static mcl_status infer_sgd(mcl__problem *problem, mcl_error *error)
{
    return infer_update(problem, problem->attrs.sgd.group, problem->attrs.sgd.offset, problem->attrs.sgd.n, error);
}

static double flops_sgd(const mcl__problem *problem)
{
    return (problem->attrs.sgd.nesterov ? 9.0 : 7.0) * problem->attrs.sgd.n;
}

static void lower_sgd(mcl__lowering *lowering, const mcl__problem *problem, int width)
{
    const mcl__attrs *a = &problem->attrs;
    mcl_sgd_args args = {.n = a->sgd.n, .offset = a->sgd.offset, .group = a->sgd.group, .nesterov = a->sgd.nesterov,
                         .momentum = a->sgd.momentum, .one_minus_dampening = (float)(1.0 - (double)a->sgd.dampening),
                         .decay = a->sgd.decay};
    lower_update(lowering, problem, &args, sizeof args, args.n, width);
}

static void lower_sgd_wide(mcl__lowering *lowering, const mcl__problem *problem)
{
    lower_sgd(lowering, problem, mcl__spread_width_from(lowering, problem->attrs.sgd.offset));
}

static void lower_sgd_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    lower_sgd(lowering, problem, 1);
}

static const mcl__variant sgd_variants[] = {
    {"wide", mcl__on_opencl, lower_sgd_wide}, {"reference", NULL, lower_sgd_reference}, {0}};

const mcl__op mcl__op_sgd = {
    .name = "sgd", .inputs = 3, .outputs = 2, .updates = true, .infer = infer_sgd, .flops = flops_sgd, .variants = sgd_variants,
};

/* --- Adam --- */

static mcl_status infer_adam(mcl__problem *problem, mcl_error *error)
{
    return infer_update(problem, problem->attrs.adam.group, problem->attrs.adam.offset, problem->attrs.adam.n, error);
}

static double flops_adam(const mcl__problem *problem)
{
    return 17.0 * problem->attrs.adam.n;
}

static void lower_adam(mcl__lowering *lowering, const mcl__problem *problem, int width)
{
    const mcl__attrs *a = &problem->attrs;
    mcl_adam_args args = {.n = a->adam.n, .offset = a->adam.offset, .group = a->adam.group, .decoupled = a->adam.decoupled,
                          .beta1 = a->adam.beta1, .beta2 = a->adam.beta2,
                          .one_minus_beta1 = (float)(1.0 - (double)a->adam.beta1),
                          .one_minus_beta2 = (float)(1.0 - (double)a->adam.beta2), .eps = a->adam.eps, .decay = a->adam.decay};
    lower_update(lowering, problem, &args, sizeof args, args.n, width);
}

static void lower_adam_wide(mcl__lowering *lowering, const mcl__problem *problem)
{
    lower_adam(lowering, problem, mcl__spread_width_from(lowering, problem->attrs.adam.offset));
}

static void lower_adam_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    lower_adam(lowering, problem, 1);
}

static const mcl__variant adam_variants[] = {
    {"wide", mcl__on_opencl, lower_adam_wide}, {"reference", NULL, lower_adam_reference}, {0}};

const mcl__op mcl__op_adam = {
    .name = "adam", .inputs = 3, .outputs = 3, .updates = true, .infer = infer_adam, .flops = flops_adam, .variants = adam_variants,
};
