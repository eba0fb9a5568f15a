/* Lowers depthwise convolutions (one filter a channel) to kernels/conv2d_depthwise*.cl: no products to tile, so a work-item
 * walks a line of the picture with a vector of channels. */
#include "ops/conv2d.h"
#include "ops/epilogue.h"

#define MOST_TAPS 25 /* weights, and sums of the weight gradient, are held in registers */
#define COPIES 128   /* of dw, added in order; a number of its own so that bits do not depend on the device's size */

bool mcl__conv2d_depthwise_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    return capabilities->type != MCL_DEVICE_NATIVE && a.groups == a.C && a.K == a.C && a.groups > 1 && a.KH <= MOST_TAPS &&
           a.KW <= MOST_TAPS && a.KH * a.KW <= MOST_TAPS && (int64_t)a.KH * a.KW * a.C * COPIES < INT32_MAX;
}

typedef struct lanes {
    int width, local;
} lanes;

static lanes lanes_of(const mcl__capabilities *capabilities)
{
    bool gpu = capabilities->type == MCL_DEVICE_GPU || capabilities->type == MCL_DEVICE_ACCELERATOR;
    return gpu ? (lanes){2, 32} : (lanes){16, 1};
}

static void begin(mcl__lowering *lowering, const mcl_conv2d_args *a, const char *source, const char *name, const char *prelude)
{
    lanes l = lanes_of(mcl__lowering_capabilities(lowering));
    mcl__lower_kernel(lowering, source, name, prelude, "-DVW=%d -DTAPS_H=%d -DTAPS_W=%d -DTAIL=%d -DLOCAL=%d", l.width, a->KH,
                      a->KW, a->C % l.width != 0, l.local);
}

static void end(mcl__lowering *lowering, const mcl_conv2d_args *a, int lines)
{
    lanes l = lanes_of(mcl__lowering_capabilities(lowering));
    int each = l.width * l.local;
    size_t global[] = {(size_t)((a->C + each - 1) / each) * (size_t)l.local, (size_t)lines}, local[] = {(size_t)l.local, 1};
    mcl__lower_sizes(lowering, 2, global, local);
}

static void lower_lines(mcl__lowering *lowering, const mcl__problem *problem, const char *name, int lines)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    char prelude[MCL__PRELUDE_BYTES];
    int taken = mcl__epilogue_plain(&problem->epilogue, 0);
    begin(lowering, &a, "conv2d_depthwise", name, mcl__epilogue_prelude(&problem->epilogue, 0, taken, prelude));
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__epilogue_bind(lowering, problem, 0, taken);
    mcl__lower_arg_blob(lowering, &a, sizeof a);
    end(lowering, &a, lines);
    mcl__lower_epilogue(lowering, problem, taken);
}

void mcl__conv2d_depthwise_fwd(mcl__lowering *lowering, const mcl__problem *problem)
{
    lower_lines(lowering, problem, "conv2d_depthwise_fwd", problem->out[0].d[0] * problem->out[0].d[1]);
}

void mcl__conv2d_depthwise_bwd_data(mcl__lowering *lowering, const mcl__problem *problem)
{
    lower_lines(lowering, problem, "conv2d_depthwise_bwd_data", problem->out[0].d[0] * problem->out[0].d[1]);
}

void mcl__conv2d_depthwise_bwd_weight(mcl__lowering *lowering, const mcl__problem *problem)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    int lines = a.N * a.OH, chunk = (lines + COPIES - 1) / COPIES, copies = (lines + chunk - 1) / chunk;
    int elements = mcl__shape_elements(problem->out[0]);
    mcl__operand target = mcl__out(0);
    if (copies > 1) target = mcl__lower_workspace(lowering, (uint64_t)copies * (uint64_t)elements * sizeof(float));
    begin(lowering, &a, "conv2d_depthwise_weight", "conv2d_depthwise_bwd_weight", NULL);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, target);
    mcl__lower_arg_i32(lowering, chunk);
    mcl__lower_arg_blob(lowering, &a, sizeof a);
    end(lowering, &a, copies);
    if (copies > 1) mcl__conv2d_reduce(lowering, target, elements, copies);
}
