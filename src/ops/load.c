/* A batch from a data set of bytes: gathered by the epoch's order, cropped, flipped and normalised in one pass, to the same
 * bits on every device. pixels (S,H,W,C), labels (S) -> x (N,H,W,C) = (value - mean[c]) * inverse_deviation[c], y (N).
 * Streamed, pixels and labels are the batch itself. kernels/args.h has the formulas and the random words. */
#include "ops/signature.h"
#include "ops/spread.h"

enum {
    MAX_CROP = 4096, /* far beyond any use, and no sum of offsets overflows */
    MOST_CHANNELS = 64 /* of the wide kernel, whose items keep their means */
};

static mcl_status infer(mcl__problem *problem, mcl_error *error)
{
    static const mcl__rule rules[] = {{"pixels", MCL__FORM_PIXELS},        {"labels", MCL__FORM_LABELS},
                                      {"order", MCL__FORM_ORDER},          {"mean", MCL__FORM_PER_CHANNEL},
                                      {"deviation", MCL__FORM_PER_CHANNEL}, {"step", MCL__FORM_STEP}};
    const mcl__attrs *attrs = &problem->attrs;
    char text[64];
    MCL_TRY(MCL__SIGNATURE(problem, rules, error));
    mcl__shape pixels = problem->in[0], x = {4, {attrs->load.N, attrs->load.H, attrs->load.W, pixels.d[3]}};
    if (pixels.d[1] != x.d[1] || pixels.d[2] != x.d[2] || (attrs->load.streamed && pixels.d[0] < x.d[0]))
        return mcl__fail(error, MCL_ERROR_SHAPE, "load: pixels of shape %s do not fill %d samples of %d x %d",
                         mcl__shape_text(pixels, text), x.d[0], x.d[1], x.d[2]);
    if (attrs->load.crop < 0 || attrs->load.crop > MAX_CROP)
        return mcl__fail(error, MCL_ERROR_INVALID, "load: a crop of %d pixels, not of 0 .. %d", attrs->load.crop, MAX_CROP);
    MCL_TRY(mcl__signature_output(problem, 0, x, MCL_F32, error));
    return mcl__signature_output(problem, 1, mcl__shape_of_vector(x.d[0]), MCL_I32, error);
}

static double flops(const mcl__problem *problem)
{
    return 2.0 * mcl__shape_elements(problem->out[0]);
}

static mcl_load_args args_of(const mcl__problem *problem)
{
    const mcl__attrs *attrs = &problem->attrs;
    return (mcl_load_args){
        .N = attrs->load.N, .H = attrs->load.H, .W = attrs->load.W, .C = problem->in[0].d[3], .streamed = attrs->load.streamed,
        .flip = attrs->load.flip, .crop = attrs->load.crop, .stream = attrs->load.stream,
    };
}

static void lower_reference(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_load_args args = args_of(problem);
    mcl__lower_kernel(lowering, "load", "load", NULL, NULL);
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    mcl__spread_lines(lowering, args.W, args.N * args.H);
}

/* A picture has as many channels as a data set, so that they cost no program more. */
static bool wide_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    return capabilities->type == MCL_DEVICE_CPU && problem->in[0].d[3] <= MOST_CHANNELS;
}

static void lower_wide(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_load_args args = args_of(problem);
    mcl__lower_kernel(lowering, "load", "load_wide", NULL, "-DCHANNELS=%d -DWIDTH=%d", args.C, mcl__spread_width(lowering));
    mcl__lower_operands(lowering, problem, &args, sizeof args);
    mcl__spread_items(lowering, args.N * args.H, args.W * args.C);
}

static const mcl__variant variants[] = {{"wide", wide_applicable, lower_wide}, {"reference", NULL, lower_reference}, {0}};

const mcl__op mcl__op_load = {
    .name = "load", .inputs = 6, .outputs = 2, .infer = infer, .flops = flops, .variants = variants,
};
