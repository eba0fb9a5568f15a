/* Dense (fully connected) layers.
 *   y (R,K) = x (R,C) * w (C,K);  dx = dy * w^T;  dw = x^T * dy. The bias is an epilogue.
 * Where the guard asks for it (attrs.dense.squares), the sum of squares of dw is an output, too. */
#include "ops/conv2d.h"
#include "ops/epilogue.h"
#include "ops/product.h"
#include "ops/signature.h"

mcl_dense_args mcl__dense_args(const mcl__problem *problem)
{
    const mcl__shape *in = problem->in;
    if (problem->op == MCL__OP_dense_bwd_data) return (mcl_dense_args){in[0].d[0], in[1].d[0], in[0].d[1]};
    return (mcl_dense_args){in[0].d[0], in[0].d[1], in[1].d[1]};
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
    MCL_TRY(set_output(problem, problem->in[0].d[1], problem->in[1].d[1], error));
    if (!problem->attrs.dense.squares) return MCL_OK;
    return mcl__signature_output(problem, 1, mcl__shape_of_vector(1), MCL_F32, error);
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

/* All but the reference are the convolution's. The first is not for gradients of weights. */
static const mcl__variant variants[] = {
    {"vector", mcl__dense_vector_applicable, mcl__lower_dense_vector},
    {"native_gemm", mcl__conv2d_native_gemm_applicable, mcl__conv2d_lower_native_gemm},
    {"library", mcl__conv2d_library_applicable, mcl__conv2d_lower_library, .yields = mcl__conv2d_library_yields},
    {"gemm", mcl__conv2d_gemm_applicable, mcl__conv2d_lower_gemm, mcl__conv2d_gemm_takes_prologue, mcl__conv2d_gemm_takes_stats,
     .candidates = mcl__conv2d_gemm_candidates},
    {"product", mcl__product_applicable, mcl__lower_product, mcl__product_takes_prologue, mcl__product_takes_stats,
     mcl__product_takes_squares},
    {"tile", mcl__conv2d_tile_applicable, mcl__conv2d_lower_tile, .candidates = mcl__conv2d_tile_candidates},
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
    .variants = variants + 1,
};
