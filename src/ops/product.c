/* Lowers dense layers and convolutions to kernels/product.cl: one launch that reads everything as it is. */
#include "ops/product.h"
#include "base/divide.h"
#include "ops/batch_norm.h"
#include "ops/conv2d.h"
#include "ops/epilogue.h"
#include <stdlib.h>

enum {
    LEAST_COLUMNS = 16,
    ITEMS_A_UNIT = 8,  /* at least, */
    SHARES_A_UNIT = 2, /* of the columns, each of which stages all rows again */
    ITEMS = 128,       /* no more items than these, or as many as are wanted, where one can take several blocks */
    STATS_ITEMS = 64,  /* both where there are statistics, whatever the device: bits depend on their parts */
    HELD = 64 << 10,   /* floats */
    CACHE = 6 << 10,   /* floats of the first cache, of 32 KB, that are for panels */
    NEAR = 24,         /* rows */
    BATCH_TILE = 11    /* rows */
};

mcl__product_tiles mcl__product_tiles_of(const mcl__capabilities *capabilities)
{
    static const mcl__product_tile of_16[] = {{24, 1, 16}, {12, 2, 16}, {8, 3, 16}, {6, 4, 16}};
    static const mcl__product_tile of_8[] = {{12, 1, 8}, {6, 2, 8}, {4, 3, 8}};
    return mcl__tile_lanes(capabilities) == 16 ? (mcl__product_tiles){of_16, 4} : (mcl__product_tiles){of_8, 3};
}

/* Most rows and depth of what an item stages, by what local memory holds. */
typedef struct extent {
    int rows, depth;
} extent;
static const extent extents[] = {{144, 256}, {48, 48}};

static int clamp(int value, int least, int most)
{
    return value < least ? least : value > most ? most : value;
}

/* By the columns that tiles cover. A single vector loads a value for each multiply-add, and takes 1.3 times as long for it; of 8
 * floats twice, and 4x3 1.2 times as long as 6x2. */
static double tile_cost(mcl__product_tile t, int columns)
{
    double pace = t.VW == 16 ? (t.NV == 1 ? 1.3 : 1.0) : t.NV == 1 ? 2.0 : t.NV == 3 ? 1.2 : 1.0;
    return pace * mcl__round_up(columns, t.NV * t.VW);
}

/* The cheapest tile; of equals, the second. Not 6x4, whose short rows are staged for too few columns. The rows have no say,
 * since a batch of another size is to take the same program. */
static mcl__product_tile choose_tile(int columns, const mcl__capabilities *capabilities)
{
    mcl__product_tiles tiles = mcl__product_tiles_of(capabilities);
    mcl__product_tile best = tiles.at[1];
    for (int i = 0; i < tiles.count && i < 3; i++)
        if (tile_cost(tiles.at[i], columns) < tile_cost(best, columns)) best = tiles.at[i];
    return best;
}

/* A dense layer's rows are a batch: 32, 64, 128 and 256 in tiles of 12 are up to 13 % more rows, in tiles of 11 they are 3 % (mlp's
 * step with 32 pictures takes 0.96 of the time, with 64 0.95, with 128 and 256 the same; Xeon with AVX-512). A batch of 24 or 48
 * has the worse of it, by as much. Not of statistics, whose bits depend on the tile. */
static mcl__product_tile fit_batch(mcl__product_tile t, const mcl__problem *problem, bool stats)
{
    bool batch = problem->op == MCL__OP_dense || problem->op == MCL__OP_dense_bwd_data;
    return batch && !stats && t.VW == 16 && t.P == BATCH_TILE + 1 ? (mcl__product_tile){BATCH_TILE, t.NV, t.VW} : t;
}

#define LARGEST 64 /* taps and strides along one axis */

/* Floats of local memory that an item takes, with one panel of the widest, in vectors of so many lanes. */
static int floats_of(extent e, int lanes)
{
    return e.rows * (e.depth + lanes) + e.depth * 3 * lanes + 24 * lanes + 5 * e.rows;
}

static const extent *choose_extent(const mcl__capabilities *capabilities)
{
    int lanes = mcl__tile_lanes(capabilities);
    for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
        if (capabilities->local_memory >= sizeof(float) * (uint64_t)floats_of(extents[i], lanes)) return &extents[i];
    }
    return NULL;
}

bool mcl__product_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    mcl__conv2d_pass pass = mcl__conv2d_pass_of(problem);
    if (capabilities->type != MCL_DEVICE_CPU || !choose_extent(capabilities)) return false;
    if (a.KH > LARGEST || a.KW > LARGEST || a.stride_h > LARGEST || a.stride_w > LARGEST) return false;
    if (pass == MCL__BWD_WEIGHT) return mcl__product_weight_fits(problem, &a, capabilities);
    /* Of few channels most lanes idle, and the register tile does better. */
    return a.groups > 1 || (pass == MCL__FWD ? a.K : a.C) >= LEAST_COLUMNS;
}

/* What an item stages of the weights at a time: all of them where they may stay, else panels of a part that are staged together.
 * Whole rows of the target are then written one after the other, which memory takes faster than columns of them; but where sums
 * wait there between parts, it is panels that should come from the first cache. Returns how many floats they take. */
static int64_t choose_held(mcl_product_args *a, const extent *e, int64_t depth, mcl__product_tile t,
                           const mcl__capabilities *capabilities)
{
    int width = t.NV * t.VW;
    int64_t panel = width * (depth < e->depth ? depth : e->depth), all = depth * width * a->panels, most = HELD / panel;
    int64_t spare = (int64_t)(capabilities->local_memory / sizeof(float)) - floats_of(*e, t.VW);
    a->stays = all <= HELD && all <= spare;
    if (most > 1 + spare / panel) most = 1 + spare / panel;
    a->held = a->stays ? a->panels : clamp(most > a->panels ? a->panels : (int)most, 1, a->panels);
    a->down = !a->stays && depth > e->depth && panel <= CACHE && a->held * panel > CACHE;
    return a->stays ? all : a->held * panel;
}

/* How many items there are to be: `wanted` at least, but where columns have to be shared among them no more than `sharing`, and
 * in all no more than `enough`. */
typedef struct item_counts { int wanted, sharing, enough; } item_counts;

/* An item's share: blocks of the most rows and all columns, since then rows are read from memory once; less of both where there
 * would be fewer items than wanted, and several blocks where there would be more than enough, since weights are then staged
 * once. The blocks, on which bits depend, do not depend on `sharing`. */
static void divide(mcl_product_args *a, mcl__product_tile t, int most, int rows, int others, item_counts items, size_t global[2])
{
    int panels = mcl__ceil_div(a->columns, t.NV * t.VW), blocks = mcl__ceil_div(rows, most);
    int shares = clamp(mcl__ceil_div(items.wanted, blocks * others), 1, panels);
    shares = mcl__ceil_div(panels, mcl__ceil_div(panels, shares));
    if (blocks * shares * others < items.wanted)
        blocks = clamp(items.wanted / (shares * others), blocks, mcl__ceil_div(rows, t.P));
    a->block = mcl__ceil_div(mcl__ceil_div(rows, blocks), t.P) * t.P;
    blocks = mcl__ceil_div(rows, a->block);
    a->span = a->block * mcl__ceil_div(blocks, items.enough);
    blocks = mcl__ceil_div(rows, a->span);
    a->panels = mcl__ceil_div(panels, clamp(mcl__ceil_div(items.sharing, blocks * others), 1, shares));
    global[0] = (size_t)blocks;
    global[1] = (size_t)mcl__ceil_div(panels, a->panels);
}

/* A group's rows follow each other in the source. */
static bool rows_follow(const mcl_product_args *a)
{
    return a->KH * a->KW * a->groups * a->classes_h * a->classes_w * a->step_h * a->step_w == 1 && a->base_h == 0 && a->base_w == 0;
}

/* Where an item's weights stay, blocks may be small: their rows stay near, and memory brings the next while these are
 * multiplied. */
static void shorten_blocks(mcl_product_args *a, mcl__product_tile t)
{
    if (!a->stays) return;
    if (a->block > NEAR) a->block = NEAR / t.P * t.P;
    if (rows_follow(a)) a->pace = mcl__ceil_div(t.P, a->panels);
}

/* Whether rows are copied to where the inner loop finds them at constant distances. Of 8 floats a vector even those that could be
 * read as they are: a value is then spread over a vector by an instruction of its own, and beside pointers to all rows PoCL's
 * compiler spreads all of them first and keeps sums in memory (mlp's step takes 0.6 of the time with staging, mobilenet_v2's 0.92;
 * Zen 3). With 16 floats multiply-adds spread what they read, and staging takes longer. */
static bool wants_staging(const mcl__problem *problem, const mcl_product_args *a, mcl__product_tile t)
{
    bool as_it_is = a->KH * a->KW == 1 && a->base_h == 0 && a->base_w == 0 && problem->prologue.count == 0;
    return !as_it_is || t.VW < 16;
}

/* Not of data gradients, whose classes share a block's rows; and of the final result, so that all codes must be the kernel's. */
bool mcl__product_takes_stats(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)capabilities;
    return (problem->op == MCL__OP_conv2d || problem->op == MCL__OP_dense) && mcl__epilogue_all_plain(&problem->epilogue);
}

/* Once for each tap and share of columns, while rows are staged: less than a map's memory costs. */
bool mcl__product_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)problem, (void)capabilities;
    return true;
}

static void lower_product(mcl__lowering *lowering, const mcl__problem *problem, mcl_product_args *a)
{
    const mcl__capabilities *capabilities = mcl__lowering_capabilities(lowering);
    char prelude[MCL__PRELUDE_BYTES];
    int taken = mcl__epilogue_plain(&problem->epilogue, 0), classes = a->classes_h * a->classes_w;
    int rows = a->N * mcl__ceil_div(a->TH, a->classes_h) * mcl__ceil_div(a->TW, a->classes_w);
    bool stats = mcl__epilogue_has_stats(&problem->epilogue) && mcl__product_takes_stats(problem, capabilities);
    int units = clamp((int)capabilities->compute_units, 1, 1 << 16);
    size_t local[] = {1, 1, 1}, global[3] = {0, 0, (size_t)classes * (size_t)a->groups};
    mcl__product_tile t = fit_batch(choose_tile(a->columns, capabilities), problem, stats);
    const extent *e = choose_extent(capabilities);
    bool staged = wants_staging(problem, a, t);
    item_counts items = {.wanted = stats ? STATS_ITEMS : ITEMS_A_UNIT * units};
    items.sharing = staged ? SHARES_A_UNIT * units : items.wanted;
    items.enough = stats ? STATS_ITEMS : items.wanted > ITEMS ? items.wanted : ITEMS;
    mcl__operand partial = mcl__out(0);
    divide(a, t, e->rows / t.P * t.P, rows, classes * a->groups, items, global);
    int64_t floats = choose_held(a, e, (int64_t)a->KH * a->KW * a->run, t, capabilities);
    shorten_blocks(a, t);
    if (stats) partial = mcl__lower_workspace(lowering, mcl__stats_bytes((int)global[0], a->TC));

    mcl__lower_kernel(lowering, "product", "product", mcl__problem_prelude(problem, taken, prelude),
                      "-DP=%d -DNV=%d -DVW=%d -DROWS=%d -DDEPTH=%d -DSTAGED=%d -DSTATS=%d", t.P, t.NV, t.VW, e->rows, e->depth,
                      staged, stats);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg_local(lowering, (size_t)floats * sizeof(float));
    mcl__lower_arg_blob(lowering, a, sizeof *a);
    mcl__prologue_bind(lowering, problem);
    mcl__epilogue_bind(lowering, problem, 0, taken);
    mcl__lower_sizes(lowering, 3, global, local);
    if (stats) mcl__lower_stats_merge(lowering, partial, (int)global[0], a->TC);
    mcl__lower_epilogue(lowering, problem, taken);
}

/* How taps of a class follow each other. */
static void set_taps(mcl_product_args *a, bool prologue)
{
    a->every_h = a->classes_h / mcl__common_divisor(a->classes_h, abs(a->slope_h));
    a->every_w = a->classes_w / mcl__common_divisor(a->classes_w, abs(a->slope_w));
    a->shift_w = a->slope_w * a->every_w / a->classes_w;
    a->joined = !prologue && a->run == a->pitch && abs(a->shift_w) == 1;
}

/* The product that gathers so, whose weights are `depth_stride` and `column_stride` apart along its sum and its columns. */
static mcl_product_args gathered(mcl_gather_args g, const mcl_conv2d_args *a, int depth_stride, int column_stride, bool prologue)
{
    mcl_product_args args = {
        .N = g.N,
        .SH = g.SH,
        .SW = g.SW,
        .pitch = g.pitch,
        .run = g.run / a->groups,
        .TH = g.TH,
        .TW = g.TW,
        .TC = g.TC,
        .columns = g.TC / a->groups,
        .KH = g.KH,
        .KW = g.KW,
        .classes_h = g.classes_h,
        .classes_w = g.classes_w,
        .base_h = g.base_h,
        .base_w = g.base_w,
        .slope_h = g.slope_h,
        .slope_w = g.slope_w,
        .step_h = g.step_h,
        .step_w = g.step_w,
        .tap_stride = a->C / a->groups * a->K,
        .depth_stride = depth_stride,
        .column_stride = column_stride,
        .group_stride = a->K / a->groups,
        .groups = a->groups,
    };
    set_taps(&args, prologue);
    return args;
}

mcl_product_args mcl__product_fwd_args(const mcl__problem *problem, const mcl_conv2d_args *a)
{
    return gathered(mcl__conv2d_gather_fwd(a), a, a->K, 1, problem->prologue.count > 0);
}

static void lower_fwd(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    mcl_product_args args = mcl__product_fwd_args(problem, a);
    lower_product(lowering, problem, &args);
}

static void lower_bwd_data(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    mcl_product_args args = gathered(mcl__conv2d_gather_bwd(a), a, 1, a->K, false);
    lower_product(lowering, problem, &args);
}

void mcl__lower_product(mcl__lowering *lowering, const mcl__problem *problem)
{
    static const mcl__conv2d_lower passes[] = {lower_fwd, lower_bwd_data, mcl__product_weight_lower};
    mcl__conv2d_lower_pass(lowering, problem, passes);
}
