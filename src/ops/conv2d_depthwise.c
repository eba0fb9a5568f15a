/* Lowers depthwise convolutions (one filter a channel) to kernels/conv2d_depthwise*.cl. There are no products to tile: memory
 * bounds them, so a work-item walks lines of the picture through all channels: one, or on CPUs a strip of them. */
#include "conv2d_tile.h"
#include "ops/batch_norm.h"
#include "ops/conv2d.h"
#include "ops/epilogue.h"
#include "ops/spread.h"
#include <stdlib.h>

#define MOST_TAPS 25    /* sums of the weight gradient are held in registers */
#define MOST_STRIDE 8   /* horizontally: a tile of the data gradient has a pixel of each step at least */
#define MOST_COLUMNS 64 /* of the source that one tile reads: its code is written out for each */
#define PIXELS 32       /* of a line that the weight gradient takes between storing its sums */
#define GPU_HELD 96     /* floats in registers of a GPU's work-item: at 108 some compilers spill, of 255 registers */
#define ROWS 4          /* of a tile, on CPUs with 32 registers, ... */
#define ROWS_TAPS 9     /* ... whose registers hold its sums beside so many taps */

/* Pixels of a tile: all of them use a source vector that was loaded once. Whole numbers of steps for the data gradient. */
static int columns_of(int stride)
{
    return stride <= 4 ? 4 / stride * stride : stride;
}

bool mcl__conv2d_depthwise_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    return capabilities->type != MCL_DEVICE_NATIVE && a.groups == a.C && a.K == a.C && a.groups > 1 && a.KH <= MOST_TAPS &&
           a.KW <= MOST_TAPS && a.KH * a.KW <= MOST_TAPS && a.stride_w <= MOST_STRIDE && a.dilation_w <= MOST_COLUMNS &&
           (columns_of(a.stride_w) - 1) * a.stride_w + (a.KW - 1) * a.dilation_w < MOST_COLUMNS;
}

/* How target columns and taps meet source columns; see the kernel. */
typedef struct columns {
    int step, slope, classes;
} columns;

/* Not the data gradient's, whose tiles may begin outside; and of the final result, so that all codes must be the kernel's. */
bool mcl__conv2d_depthwise_takes_stats(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)capabilities;
    return problem->op == MCL__OP_conv2d && mcl__epilogue_all_plain(&problem->epilogue);
}

/* It is computed once for each source row of a strip, or again for every row of taps beside as many products: less than a map's
 * memory costs. */
bool mcl__conv2d_depthwise_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)problem, (void)capabilities;
    return true;
}

/* Parts of statistics, and copies of dw, added in order: enough work-items for the device, of its class but not of its size, so
 * that bits do not depend on that. */
static int most_parts(const mcl__capabilities *capabilities)
{
    return capabilities->type == MCL_DEVICE_CPU ? 32 : 256;
}

/* Floats of a vector, on CPUs no more than of a register. Compilers write out the rows of taps and may have all of these in
 * registers at once, for each channel: weights, or their sums, the tile's pixels, and the row of `across` pixels that they meet.
 * CPUs spill to a near cache. */
static int width_of(const mcl__lowering *lowering, const mcl_conv2d_args *a, int across)
{
    int width = mcl__spread_width_dividing(lowering, a->C), held = a->KH * a->KW + columns_of(a->stride_w) + across;
    bool cpu = mcl__lowering_capabilities(lowering)->type == MCL_DEVICE_CPU;
    while (cpu && width > mcl__tile_lanes(mcl__lowering_capabilities(lowering))) width /= 2;
    while (!cpu && width > 1 && width * held > GPU_HELD) width /= 2;
    return width;
}

/* Rows of a tile: several where a column's taps stand side by side, in the source and in the target. */
static int rows_of(const mcl_depthwise_args *args, const columns *w, int taps, const mcl__capabilities *capabilities)
{
    bool even = args->step_h == 1 && args->slope_h == 1 && args->classes_h == 1 && w->step == 1 && w->classes == 1;
    bool registers = mcl__cpu_unrolls(capabilities) && mcl__tile_lanes(capabilities) == 16;
    return even && registers && taps <= ROWS_TAPS && args->TH > ROWS / 2 ? ROWS : 1;
}

static void lower_gather(mcl__lowering *lowering, const mcl__problem *problem, mcl_depthwise_args args, columns w)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    const mcl__capabilities *capabilities = mcl__lowering_capabilities(lowering);
    int across = ((columns_of(a.stride_w) - 1) * w.step + (a.KW - 1) * abs(w.slope)) / w.classes + 1;
    int width = width_of(lowering, &a, across), taken = mcl__epilogue_plain(&problem->epilogue, 0);
    bool stats = mcl__epilogue_has_stats(&problem->epilogue) && mcl__conv2d_depthwise_takes_stats(problem, capabilities);
    char prelude[MCL__PRELUDE_BYTES];
    mcl__operand partial = mcl__out(0);
    int rows = rows_of(&args, &w, a.KH * a.KW, capabilities), strips = args.N * ((args.TH - 1) / rows + 1);
    args.chunk = stats ? (strips - 1) / most_parts(capabilities) + 1 : 1;
    args.parts = (strips - 1) / args.chunk + 1;
    if (stats) partial = mcl__lower_workspace(lowering, mcl__stats_bytes(args.parts, a.C));

    mcl__lower_kernel(lowering, "conv2d_depthwise", "conv2d_depthwise", mcl__problem_prelude(problem, taken, prelude),
                      "-DWIDTH=%d%s -DTAPS_H=%d -DTAPS_W=%d -DSTEP=%d -DSLOPE=%d -DCLASSES=%d -DROWS=%d "
                      "-DCOLUMNS=%d -DSTATS=%d",
                      width, mcl__spread_aligned(lowering), a.KH, a.KW, w.step, w.slope, w.classes, rows, columns_of(a.stride_w),
                      stats);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__prologue_bind(lowering, problem);
    mcl__epilogue_bind(lowering, problem, 0, taken);
    mcl__spread_lines(lowering, a.C / width, args.parts);
    if (stats) mcl__lower_stats_merge(lowering, partial, args.parts, a.C);
    mcl__lower_epilogue(lowering, problem, taken);
}

static void lower_fwd(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    mcl_depthwise_args args = {
        .N = a->N,
        .SH = a->H,
        .SW = a->W,
        .TH = a->OH,
        .TW = a->OW,
        .C = a->C,
        .step_h = a->stride_h,
        .base_h = -a->pad_h,
        .slope_h = a->dilation_h,
        .classes_h = 1,
        .base_w = -a->pad_w,
        .tap_step = 1,
    };
    lower_gather(lowering, problem, args, (columns){a->stride_w, a->dilation_w, 1});
}

/* With a stride of 1 the data gradient is a convolution with the taps in reverse order, and the same program. */
static void lower_bwd_data(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    mcl_depthwise_args args = {
        .N = a->N,
        .SH = a->OH,
        .SW = a->OW,
        .TH = a->H,
        .TW = a->W,
        .C = a->C,
        .step_h = 1,
        .base_h = a->pad_h,
        .slope_h = -a->dilation_h,
        .classes_h = a->stride_h,
        .base_w = a->pad_w,
        .first = -(a->pad_w % a->stride_w),
        .tap_step = 1,
    };
    columns w = {1, -a->dilation_w, a->stride_w};
    if (a->stride_w == 1) {
        args.base_h = a->pad_h - (a->KH - 1) * a->dilation_h;
        args.slope_h = a->dilation_h;
        args.base_w = a->pad_w - (a->KW - 1) * a->dilation_w;
        args.first_tap = a->KH * a->KW - 1;
        args.tap_step = -1;
        w.slope = a->dilation_w;
    }
    lower_gather(lowering, problem, args, w);
}

static void lower_bwd_weight(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    bool by_source = a->stride_h == 1 && a->stride_w == 1;
    int pixels = by_source ? a->W : a->OW, lines = a->N * (by_source ? a->H : a->OH);
    int met = (columns_of(a->stride_w) - 1) * a->stride_w + (a->KW - 1) * a->dilation_w + 1;
    int width = width_of(lowering, a, met), elements = mcl__shape_elements(problem->out[0]);
    char prelude[MCL__PRELUDE_BYTES];
    int most = most_parts(mcl__lowering_capabilities(lowering));
    if (most > INT32_MAX / elements) most = INT32_MAX / elements;
    int chunk = (lines - 1) / most + 1, copies = (lines - 1) / chunk + 1;
    mcl__operand target = mcl__out(0);
    if (copies > 1) target = mcl__lower_workspace(lowering, (uint64_t)copies * (uint64_t)elements * sizeof(float));
    mcl__lower_kernel(lowering, "conv2d_depthwise_weight", "conv2d_depthwise_bwd_weight",
                      mcl__problem_prelude(problem, 0, prelude),
                      "-DWIDTH=%d%s -DTAPS_H=%d -DTAPS_W=%d -DSTRIDE=%d -DDILATION=%d -DCOLUMNS=%d -DBY_SOURCE=%d", width,
                      mcl__spread_aligned(lowering), a->KH, a->KW, a->stride_w, a->dilation_w, columns_of(a->stride_w), by_source);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, target);
    mcl__lower_arg_i32(lowering, chunk);
    mcl__lower_arg_i32(lowering, pixels < PIXELS ? PIXELS / pixels : 1);
    mcl__lower_arg_blob(lowering, a, sizeof *a);
    mcl__prologue_bind(lowering, problem);
    mcl__spread_lines(lowering, a->C / width, copies);
    if (copies > 1) mcl__conv2d_reduce(lowering, target, elements, copies);
}

void mcl__conv2d_lower_depthwise(mcl__lowering *lowering, const mcl__problem *problem)
{
    static const mcl__conv2d_lower passes[] = {lower_fwd, lower_bwd_data, lower_bwd_weight};
    mcl__conv2d_lower_pass(lowering, problem, passes);
}
