/* Two-dimensional convolution (cross-correlation, as the field has it), its data gradient and its weight gradient.
 *   y[n][oh][ow][k] = sum over r, s, c of w[r][s][c][k] * x[n][h][v][g * C/groups + c], where g = k / (K/groups),
 *   h = oh*stride_h - pad_h + r*dilation_h, v = ow*stride_w - pad_w + s*dilation_w; outside the picture x is 0
 * x (N,H,W,C), w (KH,KW,C/groups,K), y (N,OH,OW,K), OH = (H + 2 pad_h - dilation_h (KH-1) - 1) / stride_h + 1. */
#include "ops/conv2d.h"
#include "ops/epilogue.h"
#include "ops/native/native.h"
#include "ops/product.h"

static mcl_conv2d_args dense_as_conv2d(const mcl__problem *problem)
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

static bool is_dense(const mcl__problem *problem)
{
    return problem->op == MCL__OP_dense || problem->op == MCL__OP_dense_bwd_data || problem->op == MCL__OP_dense_bwd_weight;
}

mcl_conv2d_args mcl__conv2d_args(const mcl__problem *problem)
{
    if (is_dense(problem)) return dense_as_conv2d(problem);
    mcl__shape x = problem->in[0], y = problem->out[0];
    if (problem->op == MCL__OP_conv2d_bwd_data) x = problem->out[0], y = problem->in[0];
    if (problem->op == MCL__OP_conv2d_bwd_weight) y = problem->in[1];
    const mcl__attrs *t = &problem->attrs;
    return (mcl_conv2d_args){
        .N = x.d[0],
        .H = x.d[1],
        .W = x.d[2],
        .C = x.d[3],
        .OH = y.d[1],
        .OW = y.d[2],
        .K = y.d[3],
        .KH = t->conv.KH,
        .KW = t->conv.KW,
        .stride_h = t->conv.stride_h,
        .stride_w = t->conv.stride_w,
        .pad_h = t->conv.pad_h,
        .pad_w = t->conv.pad_w,
        .dilation_h = t->conv.dilation_h,
        .dilation_w = t->conv.dilation_w,
        .groups = t->conv.groups,
    };
}

/* --- shapes */

#define LARGEST (1 << 20) /* of kernel, stride, padding and dilation: keeps every position within an int */

static const char *name_of(const mcl__problem *problem)
{
    return mcl__op_get(problem->op)->name;
}

static mcl_status check_attrs(const mcl__problem *problem, mcl_error *error)
{
    const mcl__attrs *t = &problem->attrs;
    const struct {
        const char *what;
        int value, least;
    } rows[] = {
        {"kernel height", t->conv.KH, 1},
        {"kernel width", t->conv.KW, 1},
        {"stride (vertical)", t->conv.stride_h, 1},
        {"stride (horizontal)", t->conv.stride_w, 1},
        {"padding (vertical)", t->conv.pad_h, 0},
        {"padding (horizontal)", t->conv.pad_w, 0},
        {"dilation (vertical)", t->conv.dilation_h, 1},
        {"dilation (horizontal)", t->conv.dilation_w, 1},
        {"number of groups", t->conv.groups, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].value < rows[i].least || rows[i].value > LARGEST)
            return mcl__fail(error, MCL_ERROR_INVALID, "%s: the %s is %d; it must be %d to %d", name_of(problem), rows[i].what,
                             rows[i].value, rows[i].least, LARGEST);
    return MCL_OK;
}

/* Both operands f32 with four dimensions. */
static mcl_status check_operands(const mcl__problem *problem, const char *first, const char *second, mcl_error *error)
{
    const char *names[] = {first, second};
    char text[64];
    if (problem->inputs < 2) return mcl__fail(error, MCL_ERROR_INVALID, "%s takes two inputs", name_of(problem));
    for (int i = 0; i < 2; i++) {
        if (problem->in_dtype[i] != MCL_F32)
            return mcl__fail(error, MCL_ERROR_DTYPE, "%s: the %s must be f32", name_of(problem), names[i]);
        if (problem->in[i].rank != 4)
            return mcl__fail(error, MCL_ERROR_SHAPE, "%s: the %s must have four dimensions, not %s", name_of(problem), names[i],
                             mcl__shape_text(problem->in[i], text));
    }
    return check_attrs(problem, error);
}

/* Weights (KH,KW,C/groups,K) against C channels in and K out (0: any K). */
static mcl_status check_weights(const mcl__problem *problem, const char *what, int C, int K, mcl_error *error)
{
    const mcl__attrs *t = &problem->attrs;
    mcl__shape w = problem->in[1];
    char text0[64], text1[64];
    int groups = t->conv.groups;
    if (w.d[0] == t->conv.KH && w.d[1] == t->conv.KW && C % groups == 0 && w.d[2] == C / groups && w.d[3] % groups == 0 &&
        (K == 0 || w.d[3] == K))
        return MCL_OK;
    return mcl__fail(error, MCL_ERROR_SHAPE, "%s: %s %s does not fit weights %s with a %dx%d kernel and %d group%s",
                     name_of(problem), what, mcl__shape_text(problem->in[0], text0), mcl__shape_text(w, text1), t->conv.KH,
                     t->conv.KW, groups, groups == 1 ? "" : "s");
}

/* Positions of a kernel along one axis; less than 1 when it does not fit. */
static int positions(int size, int pad, int kernel, int dilation, int stride)
{
    int64_t room = (int64_t)size + 2 * (int64_t)pad - (int64_t)dilation * (kernel - 1) - 1;
    return room < 0 ? 0 : (int)(room / stride + 1);
}

static int output_height(const mcl__attrs *t, int H)
{
    return positions(H, t->conv.pad_h, t->conv.KH, t->conv.dilation_h, t->conv.stride_h);
}

static int output_width(const mcl__attrs *t, int W)
{
    return positions(W, t->conv.pad_w, t->conv.KW, t->conv.dilation_w, t->conv.stride_w);
}

static mcl_status set_output(mcl__problem *problem, mcl__shape shape, mcl_error *error)
{
    char text[64];
    problem->outputs = 1;
    problem->out[0] = shape;
    problem->out_dtype[0] = MCL_F32;
    if (!mcl__shape_valid(shape))
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: a result of shape %s is empty or has 2^31 elements or more", name_of(problem),
                         mcl__shape_text(shape, text));
    return mcl__epilogue_check(problem, error);
}

static mcl_status infer_fwd(mcl__problem *problem, mcl_error *error)
{
    MCL_TRY(check_operands(problem, "input", "weights", error));
    const mcl__attrs *t = &problem->attrs;
    mcl__shape x = problem->in[0];
    char text0[64], text1[64];
    MCL_TRY(check_weights(problem, "input", x.d[3], 0, error));
    int OH = output_height(t, x.d[1]), OW = output_width(t, x.d[2]);
    if (OH < 1 || OW < 1)
        return mcl__fail(error, MCL_ERROR_SHAPE, "conv2d: input %s is smaller than the kernel of weights %s (padding %d, %d)",
                         mcl__shape_text(x, text0), mcl__shape_text(problem->in[1], text1), t->conv.pad_h, t->conv.pad_w);
    return set_output(problem, (mcl__shape){4, {x.d[0], OH, OW, problem->in[1].d[3]}}, error);
}

/* The gradient of y must have y's size for an input of H x W. */
static mcl_status check_gradient(const mcl__problem *problem, mcl__shape dy, int H, int W, mcl_error *error)
{
    const mcl__attrs *t = &problem->attrs;
    char text[64];
    if (H >= 1 && W >= 1 && dy.d[1] == output_height(t, H) && dy.d[2] == output_width(t, W)) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_SHAPE, "%s: gradient %s does not fit an input of %d x %d, which gives %d x %d",
                     name_of(problem), mcl__shape_text(dy, text), H, W, output_height(t, H), output_width(t, W));
}

static mcl_status infer_bwd_data(mcl__problem *problem, mcl_error *error)
{
    MCL_TRY(check_operands(problem, "gradient", "weights", error));
    const mcl__attrs *t = &problem->attrs;
    mcl__shape dy = problem->in[0], w = problem->in[1];
    if (w.d[2] > LARGEST || t->conv.groups > INT32_MAX / w.d[2])
        return mcl__fail(error, MCL_ERROR_SHAPE, "conv2d_bwd_data: %d groups of %d channels", t->conv.groups, w.d[2]);
    int C = w.d[2] * t->conv.groups;
    MCL_TRY(check_weights(problem, "gradient", C, dy.d[3], error));
    MCL_TRY(check_gradient(problem, dy, t->conv.H, t->conv.W, error));
    return set_output(problem, (mcl__shape){4, {dy.d[0], t->conv.H, t->conv.W, C}}, error);
}

static mcl_status infer_bwd_weight(mcl__problem *problem, mcl_error *error)
{
    MCL_TRY(check_operands(problem, "input", "gradient", error));
    const mcl__attrs *t = &problem->attrs;
    mcl__shape x = problem->in[0], dy = problem->in[1];
    char text0[64], text1[64];
    if (x.d[0] != dy.d[0] || x.d[3] % t->conv.groups || dy.d[3] % t->conv.groups)
        return mcl__fail(error, MCL_ERROR_SHAPE, "conv2d_bwd_weight: input %s does not fit gradient %s with %d group%s",
                         mcl__shape_text(x, text0), mcl__shape_text(dy, text1), t->conv.groups, t->conv.groups == 1 ? "" : "s");
    MCL_TRY(check_gradient(problem, dy, x.d[1], x.d[2], error));
    return set_output(problem, (mcl__shape){4, {t->conv.KH, t->conv.KW, x.d[3] / t->conv.groups, dy.d[3]}}, error);
}

/* --- gradient */

static void gradient(mcl__builder *builder, const mcl__node_view *node)
{
    int x = node->inputs[0], w = node->inputs[1], dy = mcl__build_gradient(builder, node->outputs[0]);
    mcl__attrs attrs = *node->attrs;
    if (node->epilogue && node->epilogue->count > 0) {
        mcl__build_fail(builder, MCL_ERROR_INVALID, "conv2d: differentiation comes before fusion");
        return;
    }
    if (mcl__build_wanted(builder, x)) {
        mcl__shape shape = mcl__build_shape(builder, x);
        attrs.conv.H = shape.d[1], attrs.conv.W = shape.d[2];
        mcl__build_contribute(builder, x, mcl__build(builder, MCL__OP_conv2d_bwd_data, &attrs, NULL, (int[]){dy, w}, 2));
    }
    if (mcl__build_wanted(builder, w))
        mcl__build_contribute(builder, w, mcl__build(builder, MCL__OP_conv2d_bwd_weight, node->attrs, NULL, (int[]){x, dy}, 2));
}

static double flops(const mcl__problem *problem)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    return 2.0 * a.N * a.OH * a.OW * a.K * a.KH * a.KW * (a.C / a.groups);
}

/* --- variants of one launch that take the logical tensors: the reference, and the native device's */

mcl__conv2d_pass mcl__conv2d_pass_of(const mcl__problem *problem)
{
    switch (problem->op) {
    case MCL__OP_conv2d_bwd_data:
    case MCL__OP_dense_bwd_data:
        return MCL__BWD_DATA;
    case MCL__OP_conv2d_bwd_weight:
    case MCL__OP_dense_bwd_weight:
        return MCL__BWD_WEIGHT;
    default:
        return MCL__FWD;
    }
}

void mcl__conv2d_lower_pass(mcl__lowering *lowering, const mcl__problem *problem, const mcl__conv2d_lower passes[3])
{
    mcl_conv2d_args conv = mcl__conv2d_args(problem);
    passes[mcl__conv2d_pass_of(problem)](lowering, problem, &conv);
}

static void lower_plain(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv, const char *name,
                        uint64_t workspace)
{
    mcl__operand scratch = mcl__out(0);
    if (workspace > 0) scratch = mcl__lower_workspace(lowering, workspace);
    mcl__lower_kernel(lowering, "conv2d", name, NULL, NULL);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, mcl__out(0));
    if (workspace > 0) mcl__lower_arg(lowering, scratch);
    mcl__lower_arg_blob(lowering, conv, sizeof *conv);
    mcl__lower_linear(lowering, (size_t)mcl__shape_elements(problem->out[0]));
    mcl__lower_epilogue(lowering, problem, 0);
}

static void lower_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    static const char *const names[] = {"conv2d_fwd", "conv2d_bwd_data", "conv2d_bwd_weight"};
    mcl_conv2d_args conv = mcl__conv2d_args(problem);
    lower_plain(lowering, problem, &conv, names[mcl__conv2d_pass_of(problem)], 0);
}

bool mcl__conv2d_native_gemm_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)problem;
    return capabilities->type == MCL_DEVICE_NATIVE;
}

void mcl__conv2d_lower_native_gemm(mcl__lowering *lowering, const mcl__problem *problem)
{
    static const char *const names[] = {"conv2d_gemm_fwd", "conv2d_gemm_bwd_data", "conv2d_gemm_bwd_weight"};
    mcl_conv2d_args conv = mcl__conv2d_args(problem);
    mcl__conv2d_pass pass = mcl__conv2d_pass_of(problem);
    uint64_t workspace = 0;
    if (pass == MCL__BWD_DATA) workspace = mcl__native_conv2d_gemm_bwd_data_workspace(&conv);
    if (pass == MCL__BWD_WEIGHT) workspace = mcl__native_conv2d_gemm_bwd_weight_workspace(&conv);
    lower_plain(lowering, problem, &conv, names[pass], workspace);
}

static bool native_depthwise_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl_conv2d_args args = mcl__conv2d_args(problem);
    return capabilities->type == MCL_DEVICE_NATIVE && mcl__native_conv2d_depthwise(&args);
}

static void lower_native_depthwise(mcl__lowering *lowering, const mcl__problem *problem)
{
    static const char *const names[] = {"conv2d_depthwise_fwd", "conv2d_depthwise_bwd_data", "conv2d_depthwise_bwd_weight"};
    mcl_conv2d_args conv = mcl__conv2d_args(problem);
    lower_plain(lowering, problem, &conv, names[mcl__conv2d_pass_of(problem)], 0);
}

/* --- library: 1x1 convolutions are products of (N*H*W, C) and (C, K), dense layers of (rows, C) and (C, K) */

bool mcl__conv2d_is_product(const mcl_conv2d_args *a)
{
    return a->KH == 1 && a->KW == 1 && a->stride_h == 1 && a->stride_w == 1 && a->pad_h == 0 && a->pad_w == 0 && a->groups == 1;
}

/* CLBlast copies and transposes large matrices with rows along dimension 1, as few as 8 of them in a work-group (NVIDIA's default
 * of its kernel Pad), rounded up to a tile's 256 at most; and GPUs take no more than 65,535 groups there, or drop the others
 * without a word (opencl/quirks.c). */
enum { LIBRARY_ROWS = 8 * 65535 / 256 * 256 };

bool mcl__conv2d_library_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    bool short_enough = capabilities->type == MCL_DEVICE_CPU || (int64_t)a.N * a.OH * a.OW <= LIBRARY_ROWS;
    return capabilities->gemm && mcl__conv2d_is_product(&a) && short_enough;
}

void mcl__conv2d_lower_library(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    int rows = a.N * a.OH * a.OW;
    const mcl__gemm gemm[] = {
        [MCL__FWD] = {.M = rows, .N = a.K, .K = a.C, .lda = a.C, .ldb = a.K, .ldc = a.K, .alpha = 1},
        [MCL__BWD_DATA] = {.transpose_b = true, .M = rows, .N = a.C, .K = a.K, .lda = a.K, .ldb = a.K, .ldc = a.C, .alpha = 1},
        [MCL__BWD_WEIGHT] = {.transpose_a = true, .M = a.C, .N = a.K, .K = rows, .lda = a.C, .ldb = a.K, .ldc = a.K, .alpha = 1},
    };
    mcl__lower_gemm(lowering, &gemm[mcl__conv2d_pass_of(problem)], mcl__in(0), mcl__in(1), mcl__out(0));
    mcl__lower_epilogue(lowering, problem, 0);
}

/* Where sums are deep and wide, weights that are blocked once a step and pixels that are read as they are beat what is staged for
 * every block of rows: forward, 128 -> 256 channels at stride 2, 6.9 ms against 9.2 (64 pictures of 16x16). Not of the
 * largest weights: two blocked copies would cost more memory than the time is worth. */
static bool product_yields(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    enum { MANY = 64, MOST_WEIGHTS = 1 << 19 };
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    mcl__conv2d_pass pass = mcl__conv2d_pass_of(problem);
    int taps = a.KH * a.KW, strides = a.stride_h * a.stride_w;
    if (problem->prologue.count > 0 || !mcl__conv2d_tile_applicable(problem, capabilities)) return false;
    if (pass == MCL__BWD_WEIGHT) return taps >= 25;
    if ((int64_t)taps * a.C * a.K > MOST_WEIGHTS) return false;
    if (pass == MCL__FWD) return taps > 1 && a.C >= MANY / 2 && a.K >= MANY;
    return taps * strides > 1 && a.K >= MANY;
}

/* A library's product is followed by a map of the epilogue (8 bytes a result), by statistics (4 a result) and preceded by a map of
 * the prologue (8 an element of in(0)), where gemm does these on the way. Predicted: gemm takes a quarter longer for the product
 * itself, and memory moves a byte in the time of BALANCE FLOP; so it is the faster one below some 256 channels. */
bool mcl__conv2d_library_yields(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    enum { BALANCE = 16, SLOWER = 4 }; /* by one part in so many */
    const mcl__epilogue *epilogue = &problem->epilogue;
    if (capabilities->gemm_asked || !mcl__conv2d_gemm_applicable(problem, capabilities)) return false;
    bool whole = mcl__epilogue_points(epilogue) > 0 && mcl__epilogue_all_plain(epilogue);
    bool stats = mcl__epilogue_has_stats(epilogue) && mcl__conv2d_gemm_takes_stats(problem, capabilities);
    double results = mcl__shape_elements(problem->out[0]), bytes = results * (whole ? 8 : 0) + results * (stats ? 4 : 0);
    if (problem->prologue.count > 0) bytes += 8.0 * mcl__shape_elements(problem->in[0]);
    return bytes * BALANCE * SLOWER > mcl__op_get(problem->op)->flops(problem);
}

/* The first is not for gradients of weights. */
static const mcl__variant variants[] = {
    {"vector", mcl__dense_vector_applicable, mcl__lower_dense_vector},
    {"native_depthwise", native_depthwise_applicable, lower_native_depthwise},
    {"native_gemm", mcl__conv2d_native_gemm_applicable, mcl__conv2d_lower_native_gemm},
    {"library", mcl__conv2d_library_applicable, mcl__conv2d_lower_library, .yields = mcl__conv2d_library_yields},
    {"depthwise", mcl__conv2d_depthwise_applicable, mcl__conv2d_lower_depthwise, mcl__conv2d_depthwise_takes_prologue,
     mcl__conv2d_depthwise_takes_stats},
    {"winograd", mcl__conv2d_winograd_applicable, mcl__conv2d_lower_winograd, mcl__conv2d_winograd_takes_prologue,
     mcl__conv2d_winograd_takes_stats, .candidates = mcl__conv2d_winograd_candidates},
    {"gemm", mcl__conv2d_gemm_applicable, mcl__conv2d_lower_gemm, mcl__conv2d_gemm_takes_prologue, mcl__conv2d_gemm_takes_stats,
     .candidates = mcl__conv2d_gemm_candidates},
    {"product", mcl__product_applicable, mcl__lower_product, mcl__product_takes_prologue, mcl__product_takes_stats,
     .yields = product_yields},
    {"tile", mcl__conv2d_tile_applicable, mcl__conv2d_lower_tile, .candidates = mcl__conv2d_tile_candidates},
    {"winograd_nonfused", mcl__conv2d_winograd_nonfused_applicable, mcl__conv2d_lower_winograd_nonfused,
     mcl__conv2d_winograd_nonfused_takes_prologue, .candidates = mcl__conv2d_winograd_nonfused_candidates},
    {"reference", NULL, lower_reference},
    {0},
};

const mcl__op mcl__op_conv2d = {
    .name = "conv2d",
    .inputs = 2,
    .outputs = 1,
    .takes_prologue = true,
    .takes_epilogue = true,
    .infer = infer_fwd,
    .gradient = gradient,
    .flops = flops,
    .variants = variants,
};
const mcl__op mcl__op_conv2d_bwd_data = {
    .name = "conv2d_bwd_data",
    .inputs = 2,
    .outputs = 1,
    .takes_epilogue = true,
    .infer = infer_bwd_data,
    .flops = flops,
    .variants = variants,
};
const mcl__op mcl__op_conv2d_bwd_weight = {
    .name = "conv2d_bwd_weight",
    .inputs = 2,
    .outputs = 1,
    .takes_prologue = true,
    .infer = infer_bwd_weight,
    .flops = flops,
    .variants = variants + 1,
};
