/* Pooling over windows of KH x KW, as PyTorch does it with ceil_mode off:
 *   OH = (H + 2 * pad_h - KH) / stride_h + 1, and the same for the width
 *   max      the largest of a window; padding never is. Its gradient goes to the first largest, remembered as a byte.
 *   average  the sum of a window over KH * KW (count_padding) or over its pixels inside the picture
 *   global average   over all H * W pixels
 * x (N,H,W,C) -> y (N,OH,OW,C). */
#include "ops/signature.h"
#include "ops/spread.h"

static bool is_backward(mcl__op_kind op)
{
    return op == MCL__OP_max_pool_bwd || op == MCL__OP_avg_pool_bwd || op == MCL__OP_global_avg_pool_bwd;
}

static bool is_global(mcl__op_kind op)
{
    return op == MCL__OP_global_avg_pool || op == MCL__OP_global_avg_pool_bwd;
}

static mcl_pool_args pool_args(const mcl__problem *problem)
{
    const mcl__attrs *attrs = &problem->attrs;
    mcl__shape x = problem->in[0], y = problem->out[0];
    if (is_backward(problem->op)) {
        x = problem->out[0];
        y = problem->in[0];
    }
    mcl_pool_args args = {.N = x.d[0], .H = x.d[1], .W = x.d[2], .C = x.d[3], .OH = y.d[1], .OW = y.d[2]};
    if (is_global(problem->op)) {
        args.KH = args.stride_h = args.H;
        args.KW = args.stride_w = args.W;
    } else {
        args.KH = attrs->pool.KH;
        args.KW = attrs->pool.KW;
        args.stride_h = attrs->pool.stride_h;
        args.stride_w = attrs->pool.stride_w;
        args.pad_h = attrs->pool.pad_h;
        args.pad_w = attrs->pool.pad_w;
        args.count_padding = attrs->pool.count_padding;
    }
    args.inverse_area = (float)(1.0 / ((double)args.KH * args.KW));
    return args;
}

/* --- Shapes --- */

static mcl_status check_axis(const char *op, const char *axis, int size, int K, int stride, int pad, mcl_error *error)
{
    if (K < 1 || stride < 1 || pad < 0)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: %s has window %d, stride %d, padding %d; they must be at least 1, 1 and 0",
                         op, axis, K, stride, pad);
    if (pad > K / 2)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: padding %d of the %s is more than half the window of %d", op, pad, axis, K);
    if (size + 2 * (int64_t)pad < K)
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: a window of %d does not fit a %s of %d with padding %d", op, K, axis, size,
                         pad);
    return MCL_OK;
}

/* The shape of y from x's. */
static mcl_status pooled(const mcl__problem *problem, mcl__shape x, mcl__shape *y, mcl_error *error)
{
    const mcl__attrs *a = &problem->attrs;
    const char *op = mcl__op_get(problem->op)->name;
    *y = x;
    MCL_TRY(check_axis(op, "height", x.d[1], a->pool.KH, a->pool.stride_h, a->pool.pad_h, error));
    MCL_TRY(check_axis(op, "width", x.d[2], a->pool.KW, a->pool.stride_w, a->pool.pad_w, error));
    y->d[1] = (int)((x.d[1] + 2 * (int64_t)a->pool.pad_h - a->pool.KH) / a->pool.stride_h) + 1;
    y->d[2] = (int)((x.d[2] + 2 * (int64_t)a->pool.pad_w - a->pool.KW) / a->pool.stride_w) + 1;
    return MCL_OK;
}

static mcl_status check_index(const mcl__problem *problem, mcl_error *error)
{
    if ((int64_t)problem->attrs.pool.KH * problem->attrs.pool.KW > 256)
        return mcl__fail(error, MCL_ERROR_INVALID, "max_pool: a window of %d x %d has more than 256 pixels", problem->attrs.pool.KH,
                         problem->attrs.pool.KW);
    return MCL_OK;
}

static mcl_status infer_forward(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"x", MCL__FORM_IMAGES}};
    mcl__shape y;
    MCL_TRY(MCL__SIGNATURE(problem, rules, error));
    MCL_TRY(pooled(problem, problem->in[0], &y, error));
    if (problem->op == MCL__OP_max_pool) {
        MCL_TRY(check_index(problem, error));
        MCL_TRY(mcl__signature_output(problem, 1, y, MCL_U8, error));
    }
    return mcl__signature_output(problem, 0, y, MCL_F32, error);
}

/* dx, whose pooled shape must be dy's. */
static mcl_status infer_dx(mcl__problem *problem, mcl_error *error)
{
    mcl__shape dy = problem->in[0], dx = dy, y;
    char text[64], text_x[64], text_y[64];
    dx.d[1] = problem->attrs.pool.H;
    dx.d[2] = problem->attrs.pool.W;
    MCL_TRY(mcl__signature_output(problem, 0, dx, MCL_F32, error));
    MCL_TRY(pooled(problem, dx, &y, error));
    if (mcl__shape_equal(y, dy)) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_SHAPE, "%s: dy has shape %s, but %s pools to %s", mcl__op_get(problem->op)->name,
                     mcl__shape_text(dy, text), mcl__shape_text(dx, text_x), mcl__shape_text(y, text_y));
}

static mcl_status infer_max_bwd(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"dy", MCL__FORM_IMAGES}, {"index", MCL__FORM_INDEX}};
    MCL_TRY(MCL__SIGNATURE(problem, rules, error));
    MCL_TRY(check_index(problem, error));
    return infer_dx(problem, error);
}

static mcl_status infer_avg_bwd(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"dy", MCL__FORM_IMAGES}};
    MCL_TRY(MCL__SIGNATURE(problem, rules, error));
    return infer_dx(problem, error);
}

static mcl_status infer_global(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"x", MCL__FORM_IMAGES}};
    MCL_TRY(MCL__SIGNATURE(problem, rules, error));
    mcl__shape y = {4, {problem->in[0].d[0], 1, 1, problem->in[0].d[3]}};
    return mcl__signature_output(problem, 0, y, MCL_F32, error);
}

static mcl_status infer_global_bwd(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"dy", MCL__FORM_IMAGES}};
    char text[64];
    MCL_TRY(MCL__SIGNATURE(problem, rules, error));
    mcl__shape dx = problem->in[0];
    if (dx.d[1] != 1 || dx.d[2] != 1)
        return mcl__fail(error, MCL_ERROR_SHAPE, "global_avg_pool_bwd: dy %s is not one pixel a sample", mcl__shape_text(dx, text));
    dx.d[1] = problem->attrs.pool.H;
    dx.d[2] = problem->attrs.pool.W;
    return mcl__signature_output(problem, 0, dx, MCL_F32, error);
}

/* --- Gradients --- */

static void add_backward(mcl__builder *builder, const mcl__node_view *node, mcl__op_kind op, int index)
{
    int x = node->inputs[0], dy = mcl__build_gradient(builder, node->outputs[0]);
    if (dy < 0 || !mcl__build_wanted(builder, x)) return;
    mcl__attrs attrs = *node->attrs;
    mcl__shape shape = mcl__build_shape(builder, x);
    attrs.pool.H = shape.d[1];
    attrs.pool.W = shape.d[2];
    mcl__build_contribute(builder, x, mcl__build(builder, op, &attrs, NULL, (int[]){dy, index}, index < 0 ? 1 : 2));
}

static void max_gradient(mcl__builder *builder, const mcl__node_view *node)
{
    add_backward(builder, node, MCL__OP_max_pool_bwd, node->outputs[1]);
}

static void avg_gradient(mcl__builder *builder, const mcl__node_view *node)
{
    add_backward(builder, node, MCL__OP_avg_pool_bwd, -1);
}

static void global_gradient(mcl__builder *builder, const mcl__node_view *node)
{
    add_backward(builder, node, MCL__OP_global_avg_pool_bwd, -1);
}

/* --- Kernels --- */

static double flops(const mcl__problem *problem)
{
    mcl_pool_args args = pool_args(problem);
    return (double)args.N * args.OH * args.OW * args.C * args.KH * args.KW;
}

/* A work-item walks a row of pixels: of `rows` (N,rows,pixels,C). */
static void lower_rows(mcl__lowering *lowering, const mcl__problem *problem, const char *name, mcl__shape rows, int width)
{
    mcl_pool_args args = pool_args(problem);
    mcl__lower_kernel(lowering, "pool", name, NULL, "-DWIDTH=%d%s", width, mcl__spread_aligned(lowering));
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    mcl__spread_pixels(lowering, rows.d[3] / width, rows.d[2], rows.d[0] * rows.d[1]);
}

static const char *const names[MCL__OP_COUNT] = {
    [MCL__OP_max_pool] = "max_pool_fwd",
    [MCL__OP_max_pool_bwd] = "max_pool_bwd",
    [MCL__OP_avg_pool] = "avg_pool_fwd",
    [MCL__OP_avg_pool_bwd] = "avg_pool_bwd",
    [MCL__OP_global_avg_pool] = "global_avg_pool_fwd",
    [MCL__OP_global_avg_pool_bwd] = "global_avg_pool_bwd",
};

static void lower_wide(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_pool_args args = pool_args(problem);
    int width = mcl__spread_width_dividing(lowering, args.C);
    bool apart = args.stride_h >= args.KH && args.stride_w >= args.KW;
    if (problem->op == MCL__OP_max_pool_bwd && apart)
        lower_rows(lowering, problem, "max_pool_bwd_apart", problem->in[0], width);
    else
        lower_rows(lowering, problem, names[problem->op], problem->out[0], width);
}

static void lower_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    lower_rows(lowering, problem, names[problem->op], problem->out[0], 1);
}

static const mcl__variant variants[] = {{"wide", mcl__on_opencl, lower_wide}, {"reference", NULL, lower_reference}, {0}};

const mcl__op mcl__op_max_pool = {
    .name = "max_pool", .inputs = 1, .outputs = 2, .infer = infer_forward, .gradient = max_gradient, .flops = flops,
    .variants = variants,
};
const mcl__op mcl__op_max_pool_bwd = {
    .name = "max_pool_bwd", .inputs = 2, .outputs = 1, .infer = infer_max_bwd, .flops = flops, .variants = variants,
};
const mcl__op mcl__op_avg_pool = {
    .name = "avg_pool", .inputs = 1, .outputs = 1, .infer = infer_forward, .gradient = avg_gradient, .flops = flops,
    .variants = variants,
};
const mcl__op mcl__op_avg_pool_bwd = {
    .name = "avg_pool_bwd", .inputs = 1, .outputs = 1, .infer = infer_avg_bwd, .flops = flops, .variants = variants,
};
const mcl__op mcl__op_global_avg_pool = {
    .name = "global_avg_pool", .inputs = 1, .outputs = 1, .infer = infer_global, .gradient = global_gradient, .flops = flops,
    .variants = variants,
};
const mcl__op mcl__op_global_avg_pool_bwd = {
    .name = "global_avg_pool_bwd", .inputs = 1, .outputs = 1, .infer = infer_global_bwd, .flops = flops, .variants = variants,
};
