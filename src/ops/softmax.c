/* Softmax over rows of logits (R,C), and the cross-entropy of labels:
 *   probabilities = exp(logits - m) / sum exp(logits - m), m the row's largest
 *   loss = log(sum exp(logits - m)) + m - logits[label];  hit = 1 where the first largest logit is the label's
 *   dlogits = (softmax - onehot(label)) * step.inverse_valid, the gradient of the mean over the step's valid samples
 * Rows from step.valid_samples on are padding and give 0. */
#include "ops/signature.h"
#include "ops/spread.h"

static const mcl__rule labelled[] = {{"logits", MCL__FORM_MATRIX}, {"labels", MCL__FORM_LABELS}, {"step", MCL__FORM_STEP}};

static mcl_status infer_softmax(mcl__problem *problem, mcl_error *error)
{
    return mcl__signature_like_first(problem, labelled, 1, error);
}

static mcl_status infer_loss(mcl__problem *problem, mcl_error *error)
{
    MCL_TRY(MCL__SIGNATURE(problem, labelled, error));
    mcl__shape rows = mcl__shape_of_vector(problem->in[0].d[0]);
    MCL_TRY(mcl__signature_output(problem, 0, rows, MCL_F32, error));
    return mcl__signature_output(problem, 1, rows, MCL_F32, error);
}

static mcl_status infer_loss_bwd(mcl__problem *problem, mcl_error *error)
{
    return mcl__signature_like_first(problem, labelled, 3, error);
}

/* The loss is where differentiation starts: there is no gradient of it to multiply with. */
static void loss_gradient(mcl__builder *builder, const mcl__node_view *node)
{
    if (!mcl__build_wanted(builder, node->inputs[0])) return;
    mcl__build_contribute(builder, node->inputs[0],
                          mcl__build(builder, MCL__OP_softmax_cross_entropy_bwd, NULL, NULL, node->inputs, 3));
}

#define FLOPS_EACH 5 /* compare, subtract, exp, add, divide */

static double flops(const mcl__problem *problem)
{
    return (double)FLOPS_EACH * mcl__shape_elements(problem->in[0]);
}

static mcl_softmax_args name_kernel(mcl__lowering *lowering, const mcl__problem *problem, bool group)
{
    static const char *const names[MCL__OP_COUNT][2] = {
        [MCL__OP_softmax] = {"softmax_fwd", "softmax_fwd_group"},
        [MCL__OP_softmax_cross_entropy] = {"softmax_cross_entropy_fwd", "softmax_cross_entropy_fwd_group"},
        [MCL__OP_softmax_cross_entropy_bwd] = {"softmax_cross_entropy_bwd", "softmax_cross_entropy_bwd_group"},
    };
    mcl_softmax_args args = {.rows = problem->in[0].d[0], .C = problem->in[0].d[1]};
    mcl__lower_kernel(lowering, "softmax", names[problem->op][group], NULL, NULL);
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    return args;
}

static void lower_rows(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_softmax_args args = name_kernel(lowering, problem, false);
    mcl__spread_items(lowering, args.rows, FLOPS_EACH * args.C);
}

/* --- group: a work-group for each row, where neighbouring work-items must read neighbours and each gets some --- */

static bool group_applies(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    return capabilities->type == MCL_DEVICE_GPU && capabilities->max_work_group >= MCL_GROUP && problem->in[0].d[1] >= MCL_GROUP;
}

static void lower_group(mcl__lowering *lowering, const mcl__problem *problem)
{
    size_t local = MCL_GROUP, global = local * (size_t)name_kernel(lowering, problem, true).rows;
    mcl__lower_sizes(lowering, 1, &global, &local);
}

static const mcl__variant variants[] = {{"group", group_applies, lower_group}, {"reference", NULL, lower_rows}, {0}};

const mcl__op mcl__op_softmax = {
    .name = "softmax", .inputs = 1, .outputs = 1, .infer = infer_softmax, .flops = flops, .variants = variants,
};
const mcl__op mcl__op_softmax_cross_entropy = {
    .name = "softmax_cross_entropy", .inputs = 3, .outputs = 2, .infer = infer_loss, .gradient = loss_gradient, .flops = flops,
    .variants = variants,
};
const mcl__op mcl__op_softmax_cross_entropy_bwd = {
    .name = "softmax_cross_entropy_bwd", .inputs = 3, .outputs = 1, .infer = infer_loss_bwd, .flops = flops, .variants = variants,
};
