/* Blocks of tensors: slice takes one out, pad puts one among zeros, concat puts several side by side, reshape keeps the
 * elements under another shape. All four are linear, and each one's gradient is another of them. */
#include "ops/signature.h"
#include "ops/spread.h"

/* --- Shapes --- */

static mcl_status infer_region(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"x", MCL__FORM_ANY}};
    MCL_TRY(MCL__SIGNATURE(problem, rules, error));
    const char *op = mcl__op_get(problem->op)->name;
    mcl__shape x = problem->in[0], y = problem->attrs.region.size;
    char text_x[64], text_y[64];
    MCL_TRY(mcl__signature_output(problem, 0, y, MCL_F32, error));
    bool fits = x.rank == y.rank;
    for (int i = 0; fits && i < x.rank; i++) {
        int offset = problem->attrs.region.offset[i], part = problem->op == MCL__OP_slice ? y.d[i] : x.d[i];
        int whole = problem->op == MCL__OP_slice ? x.d[i] : y.d[i];
        fits = offset >= 0 && (int64_t)offset + part <= whole;
    }
    if (fits) return MCL_OK;
    const int *offset = problem->attrs.region.offset;
    return mcl__fail(error, MCL_ERROR_SHAPE, "%s: %s at offset (%d, %d, %d, %d) does not lie inside %s", op,
                     mcl__shape_text(problem->op == MCL__OP_slice ? y : x, text_y), offset[0], offset[1], offset[2], offset[3],
                     mcl__shape_text(problem->op == MCL__OP_slice ? x : y, text_x));
}

static mcl_status infer_concat(mcl__problem *problem, mcl_error *error)
{
    int axis = problem->attrs.concat.axis;
    char text[64], text_first[64];
    if (problem->inputs < 1) return mcl__fail(error, MCL_ERROR_INVALID, "concat takes at least one tensor");
    mcl__shape y = problem->in[0];
    if (axis < 0 || axis >= y.rank)
        return mcl__fail(error, MCL_ERROR_INVALID, "concat: there is no axis %d in %s", axis, mcl__shape_text(y, text));
    int64_t along = 0;
    for (int i = 0; i < problem->inputs; i++) {
        mcl__shape x = problem->in[i], rest = x;
        if (!mcl__shape_valid(x))
            return mcl__fail(error, MCL_ERROR_SHAPE, "concat: input %d has the impossible shape %s", i, mcl__shape_text(x, text));
        if (problem->in_dtype[i] != MCL_F32) return mcl__fail(error, MCL_ERROR_DTYPE, "concat: input %d is not f32", i);
        rest.d[axis] = y.d[axis];
        if (!mcl__shape_equal(rest, y))
            return mcl__fail(error, MCL_ERROR_SHAPE, "concat: %s and %s differ in more than axis %d",
                             mcl__shape_text(problem->in[0], text_first), mcl__shape_text(x, text), axis);
        along += x.d[axis];
    }
    y.d[axis] = along > INT32_MAX ? 0 : (int)along; /* 0: no shape that is possible */
    return mcl__signature_output(problem, 0, y, MCL_F32, error);
}

static mcl_status infer_reshape(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"x", MCL__FORM_ANY}};
    mcl__shape size = problem->attrs.region.size;
    char text[64], text_size[64];
    MCL_TRY(MCL__SIGNATURE(problem, rules, error));
    MCL_TRY(mcl__signature_output(problem, 0, size, MCL_F32, error));
    if (mcl__shape_elements(problem->in[0]) == mcl__shape_elements(size)) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_SHAPE, "reshape: %s has not as many elements as %s", mcl__shape_text(problem->in[0], text),
                     mcl__shape_text(size, text_size));
}

/* --- Gradients --- */

/* dy under op: a slice or pad of x's size, its offset that of the node (or on one axis). */
static void contribute(mcl__builder *builder, mcl__op_kind op, const mcl__attrs *attrs, int dy, int x)
{
    mcl__attrs inverse = {.region = {.size = mcl__build_shape(builder, x)}};
    for (int i = 0; i < 4; i++) inverse.region.offset[i] = attrs->region.offset[i];
    mcl__build_contribute(builder, x, mcl__build(builder, op, &inverse, NULL, &dy, 1));
}

static void invert(mcl__builder *builder, const mcl__node_view *node, mcl__op_kind op)
{
    int x = node->inputs[0], dy = mcl__build_gradient(builder, node->outputs[0]);
    if (dy >= 0 && mcl__build_wanted(builder, x)) contribute(builder, op, node->attrs, dy, x);
}

static void slice_gradient(mcl__builder *builder, const mcl__node_view *node) { invert(builder, node, MCL__OP_pad); }
static void pad_gradient(mcl__builder *builder, const mcl__node_view *node) { invert(builder, node, MCL__OP_slice); }
static void reshape_gradient(mcl__builder *builder, const mcl__node_view *node) { invert(builder, node, MCL__OP_reshape); }

static void concat_gradient(mcl__builder *builder, const mcl__node_view *node)
{
    int dy = mcl__build_gradient(builder, node->outputs[0]), axis = node->attrs->concat.axis, offset = 0;
    if (dy < 0) return;
    for (int i = 0; i < node->input_count; i++) {
        mcl__attrs part = {.region = {.size = {0}}};
        part.region.offset[axis] = offset;
        if (mcl__build_wanted(builder, node->inputs[i])) contribute(builder, MCL__OP_slice, &part, dy, node->inputs[i]);
        offset += mcl__build_shape(builder, node->inputs[i]).d[axis];
    }
}

/* --- Kernels --- */

/* Axis i of a tensor of this rank among the kernel's four: the last stays last, the others come first. */
static int kernel_axis(int rank, int i)
{
    return i == rank - 1 ? 3 : i;
}

static mcl_region_args region_args(mcl__shape dst, mcl__shape src, const int *offset, int sign, bool zero_outside)
{
    mcl_region_args args = {.D = {1, 1, 1, 1}, .S = {1, 1, 1, 1}, .zero_outside = zero_outside};
    for (int i = 0; i < dst.rank; i++) {
        int axis = kernel_axis(dst.rank, i);
        args.D[axis] = dst.d[i];
        args.S[axis] = src.d[i];
        args.offset[axis] = sign * offset[i];
    }
    return args;
}

/* One launch that copies input `input`; in vectors of whatever divides all that it meets on the last axis. */
static void lower_region(mcl__lowering *lowering, int input, mcl_region_args args, bool wide)
{
    int width = 1;
    if (wide) {
        width = mcl__spread_width_dividing(lowering, args.D[3]);
        while (args.S[3] % width || args.offset[3] % width) width /= 2;
        args.D[3] /= width;
        args.S[3] /= width;
        args.offset[3] /= width;
    }
    const int *walked = args.zero_outside ? args.D : args.S;
    mcl__lower_kernel(lowering, "region", "region", NULL, "-DWIDTH=%d%s", width, mcl__spread_aligned(lowering));
    mcl__lower_arg(lowering, mcl__in(input));
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__spread_lines(lowering, walked[2] * walked[3], walked[0] * walked[1]);
}

static void lower_block(mcl__lowering *lowering, const mcl__problem *problem, bool wide)
{
    int sign = problem->op == MCL__OP_slice ? -1 : 1;
    lower_region(lowering, 0, region_args(problem->out[0], problem->in[0], problem->attrs.region.offset, sign, true), wide);
}

static void lower_concat(mcl__lowering *lowering, const mcl__problem *problem, bool wide)
{
    int offset[4] = {0}, axis = problem->attrs.concat.axis;
    for (int i = 0; i < problem->inputs; i++) {
        lower_region(lowering, i, region_args(problem->out[0], problem->in[i], offset, 1, false), wide);
        offset[axis] += problem->in[i].d[axis];
    }
}

static void lower_wide(mcl__lowering *lowering, const mcl__problem *problem)
{
    (problem->op == MCL__OP_concat ? lower_concat : lower_block)(lowering, problem, true);
}

static void lower_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    (problem->op == MCL__OP_concat ? lower_concat : lower_block)(lowering, problem, false);
}

static double no_flops(const mcl__problem *problem)
{
    (void)problem;
    return 0;
}

static const mcl__variant variants[] = {{"wide", mcl__on_opencl, lower_wide}, {"reference", NULL, lower_reference}, {0}};

const mcl__op mcl__op_slice = {
    .name = "slice", .inputs = 1, .outputs = 1, .infer = infer_region, .gradient = slice_gradient, .flops = no_flops,
    .variants = variants,
};
const mcl__op mcl__op_pad = {
    .name = "pad",
    .inputs = 1,
    .outputs = 1,
    .infer = infer_region,
    .gradient = pad_gradient,
    .flops = no_flops,
    .variants = variants,
};
const mcl__op mcl__op_concat = {
    .name = "concat", .inputs = -1, .outputs = 1, .infer = infer_concat, .gradient = concat_gradient, .flops = no_flops,
    .variants = variants,
};
const mcl__op mcl__op_reshape = {
    .name = "reshape", .inputs = 1, .outputs = 1, .view = true, .infer = infer_reshape, .gradient = reshape_gradient,
    .flops = no_flops,
};
