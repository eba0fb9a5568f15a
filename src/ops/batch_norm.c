/* Batch normalisation by channel (Ioffe and Szegedy 2015, arXiv:1502.03167), in pieces that fuse with their neighbours:
 *   stats   mean and biased variance of x over all but the last axis
 *   finish  scale = gamma / sqrt(variance + eps), shift = beta - mean * scale; then y = map SCALE_SHIFT of x
 *   track   running = (1 - momentum) * running + momentum * batch, the variance unbiased, into pending slabs
 * In training, with s = 1 / sqrt(variance + eps) and xhat = (x - mean) * s, the gradients are
 *   dbeta = sum dy,  dgamma = sum dy * xhat,  dx = scale * (dy - dbeta / rows - xhat * dgamma / rows).
 * An activation behind it that is flat outside of bounds needs no pass of its own there: attrs.norm.act says that dy is the
 * gradient behind it, which counts where x * scale + shift lies between the bounds.
 * In evaluation the statistics are constants: dx = dy * scale, and gamma and beta have no gradient. */
#include "ops/batch_norm.h"
#include "base/divide.h"
#include "ops/signature.h"
#include "ops/spread.h"
#include <math.h>

static mcl_batch_norm_args norm_args(const mcl__problem *problem)
{
    int C = mcl__shape_channels(problem->in[0]), rows = mcl__shape_elements(problem->in[0]) / C;
    if (problem->op == MCL__OP_batch_norm_track) rows = problem->attrs.norm.rows;
    return (mcl_batch_norm_args){
        .rows = rows,
        .C = C,
        .eps = problem->attrs.norm.eps,
        .momentum = problem->attrs.norm.momentum,
        .inverse_rows = (float)(1.0 / rows),
        .unbias = rows > 1 ? (float)((double)rows / (rows - 1)) : 1.0f,
        .low = problem->attrs.norm.act ? 0.0f : NAN,
        .high = problem->attrs.norm.act == MCL_ACT_RELU6 ? 6.0f : NAN,
    };
}

/* Checks rules and attributes; `outputs` vectors of C. */
static mcl_status infer_vectors(mcl__problem *problem, const mcl__rule *rules, int count, int outputs, mcl_error *error)
{
    MCL_TRY(mcl__signature_check(problem, rules, count, error));
    if (!(problem->attrs.norm.eps >= 0 && isfinite(problem->attrs.norm.eps) && problem->attrs.norm.momentum >= 0 &&
          problem->attrs.norm.momentum <= 1))
        return mcl__fail(error, MCL_ERROR_INVALID,
                         "batch normalisation: eps must be 0 or more and momentum in 0 .. 1, not %g and %g",
                         (double)problem->attrs.norm.eps, (double)problem->attrs.norm.momentum);
    if (problem->attrs.norm.act && problem->attrs.norm.act != MCL_ACT_RELU && problem->attrs.norm.act != MCL_ACT_RELU6)
        return mcl__fail(error, MCL_ERROR_INVALID, "batch normalisation: the gradient of activation %d is no part of it",
                         problem->attrs.norm.act);
    for (int i = 0; i < outputs; i++)
        MCL_TRY(mcl__signature_output(problem, i, mcl__shape_of_vector(mcl__shape_channels(problem->in[0])), MCL_F32, error));
    return MCL_OK;
}

#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* --- Gradient --- */

bool mcl__batch_norm_gradient(mcl__builder *builder, const mcl__node_view *map, int dy)
{
    mcl__op_kind kind;
    mcl__node_view finish, stats;
    int x = map->inputs[0];
    if (!mcl__build_producer(builder, map->inputs[1], &kind, &finish) || kind != MCL__OP_batch_norm_finish) return false;
    int mean = finish.inputs[0], variance = finish.inputs[1], gamma = finish.inputs[2], beta = finish.inputs[3];
    int scale = finish.outputs[0], shift = finish.outputs[1];
    const mcl__attrs attrs = *finish.attrs;
    if (!mcl__build_producer(builder, mean, &kind, &stats) || kind != MCL__OP_batch_norm_stats || stats.inputs[0] != x)
        return false;
    if (map->inputs[1] != scale || map->inputs[2] != shift) return false;

    int reduce[] = {x, dy, mean, variance, scale, shift};
    int dgamma = mcl__build(builder, MCL__OP_batch_norm_bwd_reduce, &attrs, NULL, reduce, COUNT(reduce)), dbeta = dgamma + 1;
    if (dgamma < 0) return true;
    if (mcl__build_wanted(builder, gamma)) mcl__build_contribute(builder, gamma, dgamma);
    if (mcl__build_wanted(builder, beta)) mcl__build_contribute(builder, beta, dbeta);
    if (!mcl__build_wanted(builder, x)) return true;
    int data[] = {x, dy, mean, variance, scale, shift, dgamma, dbeta};
    mcl__build_contribute(builder, x, mcl__build(builder, MCL__OP_batch_norm_bwd_data, &attrs, NULL, data, COUNT(data)));
    return true;
}

/* What flows through the statistics is part of the map's gradient. Asked for anything else, there is none. */
static void no_gradient_of_its_own(mcl__builder *builder, const mcl__node_view *node)
{
    for (int i = 0; i < node->output_count; i++)
        if (mcl__build_gradient(builder, node->outputs[i]) >= 0)
            mcl__build_fail(builder, MCL_ERROR_UNSUPPORTED,
                            "statistics of batch normalisation have a gradient only through its result");
}

/* --- Kernels --- */

/* Kernels that have no use for vectors come from the program of those that have, rather than from one more. */
static void name_kernel(mcl__lowering *lowering, const char *name, int width)
{
    int tile = mcl__split_rows(lowering, 1, 1).tile;
    mcl__lower_kernel(lowering, "batch_norm", name, NULL, "-DWIDTH=%d%s -DTILE=%d", width, mcl__spread_aligned(lowering), tile);
}

/* One work-item a channel, a kernel of one name: the references of all that end in vectors of C. */
static void lower_channels(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_batch_norm_args args = norm_args(problem);
    name_kernel(lowering, mcl__op_get(problem->op)->name, mcl__spread_width_of_rows(lowering, args.C));
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    mcl__lower_linear(lowering, (size_t)args.C);
}

uint64_t mcl__stats_bytes(int parts, int C)
{
    return (uint64_t)parts * (2 * (uint64_t)C + 1) * sizeof(float);
}

#define MERGED 8 /* channels of a group that joins parts on GPUs, whose vectors divide C, */
#define LANES 32 /* and its items a channel, fewer where groups must be smaller */

/* Joins parts of statistics that were made in vectors of `width`. */
static void lower_merge(mcl__lowering *lowering, mcl__operand partial, int parts, int C, int width, int first_output)
{
    const mcl__capabilities *capabilities = mcl__lowering_capabilities(lowering);
    bool cpu = capabilities->type == MCL_DEVICE_CPU;
    int lanes = LANES;
    while (lanes > 1 && capabilities->max_work_group && (uint64_t)(MERGED * lanes) > capabilities->max_work_group) lanes /= 2;
    size_t local[] = {MERGED, (size_t)lanes}, global[] = {(size_t)mcl__round_up(C, MERGED), (size_t)lanes};

    if (cpu) name_kernel(lowering, "batch_norm_stats_merge", width);
    else mcl__lower_kernel(lowering, "batch_norm_merge", "batch_norm_stats_merge_group", NULL, "-DCHANNELS=%d -DLANES=%d", MERGED,
                           lanes);
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg(lowering, mcl__out(first_output));
    mcl__lower_arg(lowering, mcl__out(first_output + 1));
    mcl__lower_arg_i32(lowering, C);
    mcl__lower_arg_i32(lowering, parts);
    if (cpu) mcl__lower_linear(lowering, (size_t)C);
    else mcl__lower_sizes(lowering, 2, global, local);
}

void mcl__lower_stats_merge(mcl__lowering *lowering, mcl__operand partial, int parts, int C)
{
    lower_merge(lowering, partial, parts, C, mcl__spread_width_dividing(lowering, C), 1); /* partials of C channels */
}

static void lower_stats_split(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_batch_norm_args args = norm_args(problem);
    mcl__row_split split = mcl__split_rows(lowering, args.rows, args.C);
    mcl__operand partial = mcl__lower_workspace(lowering, mcl__stats_bytes(split.parts, mcl__split_stride(split)));

    name_kernel(lowering, "batch_norm_stats_part", split.width);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__lower_arg_i32(lowering, split.parts);
    mcl__lower_arg_i32(lowering, split.rows_each);
    mcl__spread_lines(lowering, split.vectors, split.parts);
    lower_merge(lowering, partial, split.parts, args.C, split.width, 0);
}

static void lower_reduce_split(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_batch_norm_args args = norm_args(problem);
    mcl__row_split split = mcl__split_rows(lowering, args.rows, args.C);
    mcl__operand partial = mcl__lower_workspace(lowering, 2 * mcl__split_bytes(split));

    name_kernel(lowering, "batch_norm_bwd_reduce_part", split.width);
    static const int taken[] = {0, 1, 2, 4, 5}; /* x, dy, mean, scale, shift */
    for (int i = 0; i < COUNT(taken); i++) mcl__lower_arg(lowering, mcl__in(taken[i]));
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__lower_arg_i32(lowering, split.parts);
    mcl__lower_arg_i32(lowering, split.rows_each);
    mcl__spread_lines(lowering, split.vectors, split.parts);

    name_kernel(lowering, "batch_norm_bwd_reduce_merge", split.width);
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg(lowering, mcl__in(3));
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg(lowering, mcl__out(1));
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__lower_arg_i32(lowering, split.parts);
    mcl__lower_linear(lowering, (size_t)args.C);
}

#define ROWS_EACH 16 /* of dx for one work-item on a GPU: the channel's numbers are worked out once for them */

static void lower_data_wide(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_batch_norm_args args = norm_args(problem);
    mcl__row_split split = mcl__split_rows(lowering, args.rows, args.C);
    int width = mcl__spread_width_dividing(lowering, args.C), parts = split.parts;
    if (mcl__lowering_capabilities(lowering)->type != MCL_DEVICE_CPU) parts = (args.rows - 1) / ROWS_EACH + 1;
    name_kernel(lowering, "batch_norm_bwd_data", width);
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    mcl__spread_lines(lowering, args.C / width, parts);
}

static void lower_data_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_batch_norm_args args = norm_args(problem);
    mcl__lower_kernel(lowering, "batch_norm", "batch_norm_bwd_data", NULL, NULL);
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    mcl__spread_grid(lowering, args.C, args.rows);
}

static const mcl__variant channel_variants[] = {{"reference", NULL, lower_channels}, {0}};

/* --- Operators --- */

static mcl_status infer_stats(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"x", MCL__FORM_ANY}};
    return infer_vectors(problem, rules, COUNT(rules), 2, error);
}

static double flops_stats(const mcl__problem *problem)
{
    return 4.0 * mcl__shape_elements(problem->in[0]);
}

static const mcl__variant stats_variants[] = {
    {"split", mcl__on_opencl, lower_stats_split}, {"reference", NULL, lower_channels}, {0}};

const mcl__op mcl__op_batch_norm_stats = {
    .name = "batch_norm_stats", .inputs = 1, .outputs = 2, .infer = infer_stats, .gradient = no_gradient_of_its_own,
    .flops = flops_stats, .variants = stats_variants,
};

static mcl_status infer_finish(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"mean", MCL__FORM_VECTOR},
                                      {"variance", MCL__FORM_LIKE_FIRST},
                                      {"gamma", MCL__FORM_LIKE_FIRST},
                                      {"beta", MCL__FORM_LIKE_FIRST}};
    return infer_vectors(problem, rules, COUNT(rules), 2, error);
}

const mcl__op mcl__op_batch_norm_finish = {
    .name = "batch_norm_finish", .inputs = 4, .outputs = 2, .infer = infer_finish, .gradient = no_gradient_of_its_own,
    .variants = channel_variants,
};

static mcl_status infer_track(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"mean", MCL__FORM_VECTOR},
                                      {"variance", MCL__FORM_LIKE_FIRST},
                                      {"running mean", MCL__FORM_LIKE_FIRST},
                                      {"running variance", MCL__FORM_LIKE_FIRST},
                                      {"step", MCL__FORM_STEP}};
    if (problem->attrs.norm.rows < 1)
        return mcl__fail(error, MCL_ERROR_INVALID, "batch_norm_track: statistics of %d rows", problem->attrs.norm.rows);
    return infer_vectors(problem, rules, COUNT(rules), 2, error);
}

const mcl__op mcl__op_batch_norm_track = {
    .name = "batch_norm_track", .inputs = 5, .outputs = 2, .updates = true, .infer = infer_track, .variants = channel_variants,
};

static mcl_status infer_reduce(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {
        {"x", MCL__FORM_ANY}, {"dy", MCL__FORM_LIKE_FIRST}, {"mean", MCL__FORM_PER_CHANNEL}, {"variance", MCL__FORM_PER_CHANNEL},
        {"scale", MCL__FORM_PER_CHANNEL}, {"shift", MCL__FORM_PER_CHANNEL}};
    return infer_vectors(problem, rules, COUNT(rules), 2, error);
}

static double flops_reduce(const mcl__problem *problem)
{
    return 8.0 * mcl__shape_elements(problem->in[0]);
}

static const mcl__variant reduce_variants[] = {
    {"split", mcl__on_opencl, lower_reduce_split}, {"reference", NULL, lower_channels}, {0}};

const mcl__op mcl__op_batch_norm_bwd_reduce = {
    .name = "batch_norm_bwd_reduce", .inputs = 6, .outputs = 2, .infer = infer_reduce, .flops = flops_reduce,
    .variants = reduce_variants,
};

static mcl_status infer_data(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"x", MCL__FORM_ANY}, {"dy", MCL__FORM_LIKE_FIRST}, {"mean", MCL__FORM_PER_CHANNEL},
                                      {"variance", MCL__FORM_PER_CHANNEL}, {"scale", MCL__FORM_PER_CHANNEL},
                                      {"shift", MCL__FORM_PER_CHANNEL}, {"dgamma", MCL__FORM_PER_CHANNEL},
                                      {"dbeta", MCL__FORM_PER_CHANNEL}};
    MCL_TRY(infer_vectors(problem, rules, COUNT(rules), 0, error));
    return mcl__signature_output(problem, 0, problem->in[0], MCL_F32, error);
}

static double flops_data(const mcl__problem *problem)
{
    return 9.0 * mcl__shape_elements(problem->in[0]);
}

static const mcl__variant data_variants[] = {
    {"wide", mcl__on_opencl, lower_data_wide}, {"reference", NULL, lower_data_reference}, {0}};

const mcl__op mcl__op_batch_norm_bwd_data = {
    .name = "batch_norm_bwd_data", .inputs = 8, .outputs = 1, .in_place = true, .infer = infer_data, .flops = flops_data,
    .variants = data_variants,
};
