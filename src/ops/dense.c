/* Dense (fully connected) layers.
 *   y (R,K) = x (R,C) * w (C,K);  dx = dy * w^T;  dw = x^T * dy. The bias is an epilogue. */
#include "ops/conv2d.h"
#include "ops/epilogue.h"
#include "ops/product.h"

mcl_dense_args mcl__dense_args(const mcl__problem *problem)
{
    const mcl__shape *in = problem->in;
    switch (problem->op) {
    case MCL__OP_dense_bwd_data:
        return (mcl_dense_args){in[0].d[0], in[1].d[0], in[0].d[1]};
    case MCL__OP_dense_bwd_weight:
        return (mcl_dense_args){in[0].d[0], in[0].d[1], in[1].d[1]};
    default:
        return (mcl_dense_args){in[0].d[0], in[0].d[1], in[1].d[1]};
    }
}

/* The two operands are f32 matrices, and dimension `a` of the first is dimension `b` of the second. */
static mcl_status check_operands(const mcl__problem *problem, const char *first, int a, const char *second, int b, mcl_error *error)
{
    const mcl__op *op = mcl__op_get(problem->op);
    char text0[64], text1[64];
    if (problem->inputs < 2) return mcl__fail(error, MCL_ERROR_INVALID, "%s takes two inputs", op->name);
    if (problem->in_dtype[0] != MCL_F32 || problem->in_dtype[1] != MCL_F32)
        return mcl__fail(error, MCL_ERROR_DTYPE, "%s: %s and %s must be f32", op->name, first, second);
    if (problem->in[0].rank != 2 || problem->in[1].rank != 2 || problem->in[0].d[a] != problem->in[1].d[b])
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: %s %s does not fit %s %s", op->name, first,
                         mcl__shape_text(problem->in[0], text0), second, mcl__shape_text(problem->in[1], text1));
    return MCL_OK;
}

static mcl_status set_output(mcl__problem *problem, int rows, int columns, mcl_error *error)
{
    char text[64];
    problem->outputs = 1;
    problem->out[0] = (mcl__shape){2, {rows, columns}};
    problem->out_dtype[0] = MCL_F32;
    if (!mcl__shape_valid(problem->out[0]))
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: a result of shape %s has 2^31 elements or more",
                         mcl__op_get(problem->op)->name, mcl__shape_text(problem->out[0], text));
    return mcl__epilogue_check(problem, error);
}

static mcl_status infer_fwd(mcl__problem *problem, mcl_error *error)
{
    MCL_TRY(check_operands(problem, "input", 1, "weights", 0, error));
    return set_output(problem, problem->in[0].d[0], problem->in[1].d[1], error);
}

static mcl_status infer_bwd_data(mcl__problem *problem, mcl_error *error)
{
    MCL_TRY(check_operands(problem, "gradient", 1, "weights", 1, error));
    return set_output(problem, problem->in[0].d[0], problem->in[1].d[0], error);
}

static mcl_status infer_bwd_weight(mcl__problem *problem, mcl_error *error)
{
    MCL_TRY(check_operands(problem, "input", 0, "gradient", 0, error));
    return set_output(problem, problem->in[0].d[1], problem->in[1].d[1], error);
}

static void gradient(mcl__builder *builder, const mcl__node_view *node)
{
    int x = node->inputs[0], w = node->inputs[1], dy = mcl__build_gradient(builder, node->outputs[0]);
    if (node->epilogue && node->epilogue->count > 0) {
        mcl__build_fail(builder, MCL_ERROR_INVALID, "dense: differentiation comes before fusion");
        return;
    }
    if (mcl__build_wanted(builder, x))
        mcl__build_contribute(builder, x, mcl__build(builder, MCL__OP_dense_bwd_data, NULL, NULL, (int[]){dy, w}, 2));
    if (mcl__build_wanted(builder, w))
        mcl__build_contribute(builder, w, mcl__build(builder, MCL__OP_dense_bwd_weight, NULL, NULL, (int[]){x, dy}, 2));
}

static double flops(const mcl__problem *problem)
{
    mcl_dense_args dense = mcl__dense_args(problem);
    return 2.0 * dense.rows * dense.C * dense.K;
}

/* --- library: one product */

static bool library_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)problem;
    return capabilities->gemm;
}

static void lower_library(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_dense_args d = mcl__dense_args(problem);
    mcl__gemm gemm;
    switch (problem->op) {
    case MCL__OP_dense_bwd_data:
        gemm = (mcl__gemm){.transpose_b = true, .M = d.rows, .N = d.C, .K = d.K, .lda = d.K, .ldb = d.K, .ldc = d.C, .alpha = 1};
        break;
    case MCL__OP_dense_bwd_weight:
        gemm = (mcl__gemm){.transpose_a = true, .M = d.C, .N = d.K, .K = d.rows, .lda = d.C, .ldb = d.K, .ldc = d.K, .alpha = 1};
        break;
    default:
        gemm = (mcl__gemm){.M = d.rows, .N = d.K, .K = d.C, .lda = d.C, .ldb = d.K, .ldc = d.K, .alpha = 1};
    }
    mcl__lower_gemm(lowering, &gemm, mcl__in(0), mcl__in(1), mcl__out(0));
    mcl__lower_epilogue(lowering, problem, 0);
}

/* --- the convolution's */

static mcl_conv2d_args as_conv2d(const mcl__problem *problem)
{
    mcl_dense_args d = mcl__dense_args(problem);
    return (mcl_conv2d_args){.N = d.rows,
                             .H = 1,
                             .W = 1,
                             .C = d.C,
                             .OH = 1,
                             .OW = 1,
                             .K = d.K,
                             .KH = 1,
                             .KW = 1,
                             .stride_h = 1,
                             .stride_w = 1,
                             .dilation_h = 1,
                             .dilation_w = 1,
                             .groups = 1};
}

static void lower_native_gemm(mcl__lowering *lowering, const mcl__problem *problem)
{
    static void (*const passes[])(mcl__lowering *, const mcl__problem *, const mcl_conv2d_args *) = {
        mcl__conv2d_native_fwd, mcl__conv2d_native_bwd_data, mcl__conv2d_native_bwd_weight};
    mcl_conv2d_args conv = as_conv2d(problem);
    passes[problem->op - MCL__OP_dense](lowering, problem, &conv);
}

static int gemm_candidates(const mcl__problem *problem, const mcl__capabilities *capabilities, mcl__parameters *list)
{
    mcl_conv2d_args conv = as_conv2d(problem);
    return mcl__conv2d_gemm_candidates(problem, &conv, capabilities, list);
}

static bool gemm_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl__parameters list[MCL__MOST_CANDIDATES];
    return gemm_candidates(problem, capabilities, list) > 0;
}

static void lower_gemm(mcl__lowering *lowering, const mcl__problem *problem)
{
    static void (*const passes[])(mcl__lowering *, const mcl__problem *, const mcl_conv2d_args *) = {
        mcl__conv2d_gemm_fwd, mcl__conv2d_gemm_bwd_data, mcl__conv2d_gemm_bwd_weight};
    mcl_conv2d_args conv = as_conv2d(problem);
    passes[problem->op - MCL__OP_dense](lowering, problem, &conv);
}

static bool product_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl_conv2d_args conv = as_conv2d(problem);
    if (problem->op == MCL__OP_dense_bwd_weight) return mcl__product_weight_fits(problem, &conv, capabilities);
    return mcl__product_fits(&conv, problem->op == MCL__OP_dense ? conv.K : conv.C, capabilities);
}

static void lower_product(mcl__lowering *lowering, const mcl__problem *problem)
{
    static void (*const passes[])(mcl__lowering *, const mcl__problem *, const mcl_conv2d_args *) = {
        mcl__product_fwd, mcl__product_bwd_data, mcl__product_bwd_weight};
    mcl_conv2d_args conv = as_conv2d(problem);
    passes[problem->op - MCL__OP_dense](lowering, problem, &conv);
}

static bool tile_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl_conv2d_args conv = as_conv2d(problem);
    return mcl__conv2d_tile_fits(&conv, capabilities);
}

static void lower_tile(mcl__lowering *lowering, const mcl__problem *problem)
{
    static void (*const passes[])(mcl__lowering *, const mcl__problem *, const mcl_conv2d_args *) = {
        mcl__conv2d_tile_fwd, mcl__conv2d_tile_bwd_data, mcl__conv2d_tile_bwd_weight};
    mcl_conv2d_args conv = as_conv2d(problem);
    passes[problem->op - MCL__OP_dense](lowering, problem, &conv);
}

static int tile_candidates(const mcl__problem *problem, const mcl__capabilities *capabilities, mcl__parameters *list)
{
    mcl_dense_args dense = mcl__dense_args(problem);
    return mcl__conv2d_tile_candidates(problem->op == MCL__OP_dense_bwd_data ? dense.C : dense.K, capabilities, list);
}

/* --- reference */

static void lower_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_dense_args args = mcl__dense_args(problem);
    static const char *const names[] = {"dense_fwd", "dense_bwd_data", "dense_bwd_weight"};
    mcl__lower_kernel(lowering, "dense", names[problem->op - MCL__OP_dense], NULL, NULL);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__lower_linear(lowering, (size_t)mcl__shape_elements(problem->out[0]));
    mcl__lower_epilogue(lowering, problem, 0);
}

static const mcl__variant variants[] = {
    {"native_gemm", mcl__conv2d_native, lower_native_gemm},
    {"library", library_applicable, lower_library},
    {"gemm", gemm_applicable, lower_gemm, .candidates = gemm_candidates},
    {"product", product_applicable, lower_product, mcl__product_takes_prologue, mcl__product_takes_stats},
    {"tile", tile_applicable, lower_tile, .candidates = tile_candidates},
    {"reference", NULL, lower_reference},
    {0},
};

const mcl__op mcl__op_dense = {
    .name = "dense",
    .inputs = 2,
    .outputs = 1,
    .takes_prologue = true,
    .takes_epilogue = true,
    .infer = infer_fwd,
    .gradient = gradient,
    .flops = flops,
    .variants = variants,
};
const mcl__op mcl__op_dense_bwd_data = {
    .name = "dense_bwd_data",
    .inputs = 2,
    .outputs = 1,
    .takes_epilogue = true,
    .infer = infer_bwd_data,
    .flops = flops,
    .variants = variants,
};
const mcl__op mcl__op_dense_bwd_weight = {
    .name = "dense_bwd_weight",
    .inputs = 2,
    .outputs = 1,
    .takes_prologue = true,
    .infer = infer_bwd_weight,
    .flops = flops,
    .variants = variants,
};
