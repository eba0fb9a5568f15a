/* Point-wise codes over a whole tensor: y = codes(x), the formulas of kernels/pointwise.h. y may take x's memory.
 * Each code has a gradient; a list of several is made by fusion, after differentiation. */
#include "ops/batch_norm.h"
#include "ops/epilogue.h"
#include "ops/spread.h"
#include <math.h>

static mcl_status check_codes(const mcl__epilogue *epilogue, mcl_error *error)
{
    int tensors = 0;
    for (int i = 0; i < epilogue->count; i++) {
        const mcl_epilogue_code *code = &epilogue->code[i];
        bool acts = code->code == MCL_EP_ACT || code->code == MCL_EP_DACT;
        tensors += mcl__epilogue_tensors(code);
        if (acts && (code->act < MCL_ACT_RELU || code->act > MCL_ACT_TANH))
            return mcl__fail(error, MCL_ERROR_INVALID, "map: there is no activation %d", code->act);
        if (acts && code->act == MCL_ACT_LEAKY_RELU && !(code->alpha > 0 && isfinite(code->alpha)))
            return mcl__fail(error, MCL_ERROR_INVALID, "map: the slope of a leaky ReLU must be above 0, not %g",
                             (double)code->alpha);
    }
    if (tensors > MCL_MAP_TENSORS)
        return mcl__fail(error, MCL_ERROR_INVALID, "map: its codes take %d tensors, more than %d", tensors, MCL_MAP_TENSORS);
    return MCL_OK;
}

static mcl_status infer(mcl__problem *problem, mcl_error *error)
{
    char text[64];
    if (problem->inputs < 1) return mcl__fail(error, MCL_ERROR_INVALID, "map takes a tensor");
    if (!mcl__shape_valid(problem->in[0]))
        return mcl__fail(error, MCL_ERROR_SHAPE, "map: x has the impossible shape %s", mcl__shape_text(problem->in[0], text));
    if (problem->in_dtype[0] != MCL_F32) return mcl__fail(error, MCL_ERROR_DTYPE, "map: x is not f32");
    problem->out[0] = problem->in[0];
    problem->out_dtype[0] = MCL_F32;
    problem->outputs = 1;
    MCL_TRY(mcl__epilogue_check(problem, error));
    return check_codes(&problem->epilogue, error);
}

/* dx of the codes whose derivative is another code on dy, with the same numbers. */
static int apply_to(mcl__builder *builder, const mcl_epilogue_code *code, int kind, int dy, int tensor)
{
    mcl_epilogue_code derivative = *code;
    derivative.code = kind;
    return mcl__build_map(builder, &derivative, dy, tensor, -1);
}

/* dy * scale, scale by channel: SCALE_SHIFT with a shift of zeros. */
static int scale_by_channel(mcl__builder *builder, int dy, int scale)
{
    mcl_epilogue_code zero = {.code = MCL_EP_SCALE, .alpha = 0.0f}, multiply = {.code = MCL_EP_SCALE_SHIFT};
    return mcl__build_map(builder, &multiply, dy, scale, mcl__build_map(builder, &zero, scale, -1, -1));
}

static void scale_shift_gradient(mcl__builder *builder, const mcl__node_view *node, int dy)
{
    int x = node->inputs[0], scale = node->inputs[1], shift = node->inputs[2];
    if (mcl__batch_norm_gradient(builder, node, dy)) return;
    if (mcl__build_wanted(builder, scale))
        mcl__build_fail(builder, MCL_ERROR_UNSUPPORTED,
                        "a scale by channel has a gradient only where it comes from batch normalisation over this batch");
    if (mcl__build_wanted(builder, shift))
        mcl__build_contribute(builder, shift, mcl__build(builder, MCL__OP_channel_sum, NULL, NULL, &dy, 1));
    if (mcl__build_wanted(builder, x)) mcl__build_contribute(builder, x, scale_by_channel(builder, dy, scale));
}

static void gradient(mcl__builder *builder, const mcl__node_view *node)
{
    const mcl_epilogue_code *code = &node->epilogue->code[0];
    int x = node->inputs[0], y = node->outputs[0], dy = mcl__build_gradient(builder, y);
    if (dy < 0) return;
    if (node->epilogue->count != 1) {
        mcl__build_fail(builder, MCL_ERROR_INVALID, "a gradient is wanted of a map of %d codes; fusion comes after differentiation",
                        node->epilogue->count);
        return;
    }
    bool wanted = mcl__build_wanted(builder, x);
    switch (code->code) {
    case MCL_EP_SCALE_SHIFT: scale_shift_gradient(builder, node, dy); return;
    case MCL_EP_BIAS:
        if (mcl__build_wanted(builder, node->inputs[1]))
            mcl__build_contribute(builder, node->inputs[1], mcl__build(builder, MCL__OP_channel_sum, NULL, NULL, &dy, 1));
        if (wanted) mcl__build_contribute(builder, x, dy);
        return;
    case MCL_EP_ADD:
        if (wanted) mcl__build_contribute(builder, x, dy);
        if (mcl__build_wanted(builder, node->inputs[1])) mcl__build_contribute(builder, node->inputs[1], dy);
        return;
    case MCL_EP_ACT:
        if (wanted) mcl__build_contribute(builder, x, apply_to(builder, code, MCL_EP_DACT, dy, y));
        return;
    case MCL_EP_SCALE:
    case MCL_EP_DROPOUT:
        if (wanted) mcl__build_contribute(builder, x, apply_to(builder, code, code->code, dy, -1));
        return;
    default: mcl__build_fail(builder, MCL_ERROR_UNSUPPORTED, "no gradient is known of map code %d", code->code);
    }
}

static double flops(const mcl__problem *problem)
{
    return (double)mcl__shape_elements(problem->out[0]) * problem->epilogue.count;
}

static bool has_channel_code(const mcl__epilogue *epilogue, int first, int count)
{
    for (int i = first; i < first + count; i++)
        if (epilogue->code[i].code == MCL_EP_BIAS || epilogue->code[i].code == MCL_EP_SCALE_SHIFT) return true;
    return false;
}

/* Codes [first, first + plain), then a dropout if one follows, as one launch. Returns the first code not done. */
static int lower_run(mcl__lowering *lowering, const mcl__problem *problem, int first)
{
    const mcl__epilogue *epilogue = &problem->epilogue;
    int plain = mcl__epilogue_plain(epilogue, first), end = first + plain, width = mcl__spread_width(lowering), dropout = 0;
    char prelude[MCL__PRELUDE_BYTES];
    mcl_map_args args = mcl__map_args(problem, first, 0);
    if (has_channel_code(epilogue, first, plain)) width = mcl__spread_width_dividing(lowering, args.channels);
    else args.channels = args.elements;
    if (end < mcl__epilogue_points(epilogue)) {
        dropout = args.sample_elements % 4 == 0 && width >= 4 ? 4 : 1;
        args.code[0] = epilogue->code[end++];
    }
    mcl__lower_kernel(lowering, "map", "map_compiled", mcl__epilogue_prelude(epilogue, first, plain, prelude),
                      "-DWIDTH=%d%s -DDROPOUT=%d", width, mcl__spread_aligned(lowering), dropout);
    mcl__lower_arg(lowering, first == 0 ? mcl__in(0) : mcl__out(0));
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg(lowering, dropout ? mcl__in(problem->inputs - 1) : mcl__in(0));
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__epilogue_bind(lowering, problem, first, plain);
    mcl__spread_items(lowering, (args.elements - 1) / width + 1, width);
    return end;
}

static void lower_compiled(mcl__lowering *lowering, const mcl__problem *problem)
{
    int done = 0;
    do done = lower_run(lowering, problem, done);
    while (done < mcl__epilogue_points(&problem->epilogue));
}

static void lower_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_map_args args = mcl__map_args(problem, 0, mcl__epilogue_points(&problem->epilogue));
    int tensors = mcl__epilogue_tensors_of(&problem->epilogue, 0, problem->epilogue.count);
    bool dropout = mcl__epilogue_has_dropout(&problem->epilogue);

    mcl__lower_kernel(lowering, "map", "map", NULL, NULL);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__out(0));
    for (int i = 0; i < MCL_MAP_TENSORS; i++) mcl__lower_arg(lowering, mcl__in(i < tensors ? 1 + i : 0));
    mcl__lower_arg(lowering, mcl__in(dropout ? problem->inputs - 1 : 0));
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__lower_linear(lowering, (size_t)args.elements);
}

static const mcl__variant variants[] = {{"compiled", mcl__on_opencl, lower_compiled}, {"reference", NULL, lower_reference}, {0}};

const mcl__op mcl__op_map = {
    .name = "map", .inputs = 1, .outputs = 1, .takes_epilogue = true, .in_place = true,
    .infer = infer, .gradient = gradient, .flops = flops, .variants = variants,
};
