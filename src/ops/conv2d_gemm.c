/* Lowers convolutions of one group and dense layers to the products of kernels/conv2d_gemm.cl and conv2d_gemm_weight.cl, whose
 * work-groups share tiles in local memory: for GPUs. */
#include "base/divide.h"
#include "ops/batch_norm.h"
#include "ops/conv2d.h"
#include "ops/epilogue.h"
#include <stdint.h>
#include <stdlib.h>

typedef mcl__gemm_tile tile;
static const tile tiles[] = {{16, 16, 2, 2}, {8, 16, 2, 2}, {16, 16, 2, 1}, {16, 16, 1, 1},
                             {8, 16, 1, 1},  {4, 16, 2, 1}, {4, 16, 1, 1}};
enum {
    TILES = sizeof tiles / sizeof *tiles,
    NARROW = 16,   /* columns of the last two, which are for results of no more */
    /* What tiles are chosen for, whatever the batch and the device: a new batch size builds no program, and parts of statistics,
     * which are rows of tiles, depend on the problem alone. */
    PICTURES = 128,
    UNITS = 64,
    STORED = 8 /* storing a tile's sums, and adding them, moves as many floats as so many slices of it (128x128) */
};
#define COPIES_BYTES (16 << 20) /* of all copies of a result together */

static int rows_of(tile t)
{
    return 4 * t.GY * t.RV;
}

static int columns_of(tile t)
{
    return 4 * t.GX * t.CV;
}

static bool tile_fits(tile t, const mcl__capabilities *capabilities)
{
    uint64_t floats = (uint64_t)MCL_GEMM_DEPTH * (uint64_t)(rows_of(t) + columns_of(t) + 2 * MCL_GEMM_PADDING);
    return capabilities->max_work_group >= (uint64_t)(t.GX * t.GY) && capabilities->local_memory >= floats * sizeof(float);
}

/* Groups that keep so many units busy: a few on each, which wait in turn; more of the narrow tiles' small ones. */
static int slots_of(tile t, int units)
{
    return (columns_of(t) <= NARROW ? 8 : 2) * units;
}

static int64_t groups_of(tile t, int64_t rows, int columns)
{
    return (rows + rows_of(t) - 1) / rows_of(t) * mcl__ceil_div(columns, columns_of(t));
}

/* A product of so many rows in each of its classes, and slices of depth in the one of most taps. */
typedef struct extent {
    int64_t rows;
    int columns, classes, slices;
    bool cut; /* along its depth, which keeps every slot busy */
} extent;

/* Taps of one axis that reach a class, at most. */
static int taps_of_class(int count, int slope, int classes)
{
    return mcl__ceil_div(count, classes / mcl__common_divisor(classes, abs(slope)));
}

static extent extent_of(const mcl_gather_args *g)
{
    return (extent){
        .rows = (int64_t)g->N * mcl__ceil_div(g->TH, g->classes_h) * mcl__ceil_div(g->TW, g->classes_w),
        .columns = g->TC,
        .classes = g->classes_h * g->classes_w,
        .slices = taps_of_class(g->KH, g->slope_h, g->classes_h) * taps_of_class(g->KW, g->slope_w, g->classes_w) *
                  mcl__ceil_div(g->run, MCL_GEMM_DEPTH),
    };
}

/* The longest work of a group, in slices, if depth has so many parts. */
static int64_t length_of(extent e, int64_t parts)
{
    return (e.slices + parts - 1) / parts + (parts > 1 ? STORED : 0);
}

/* Parts of the depth: with few groups as many as the device has slots for at once, none shorter than what it costs. */
static int64_t parts_of(tile t, extent e, int slots)
{
    int64_t parts = slots / (groups_of(t, e.rows, e.columns) * e.classes);
    int64_t most[] = {e.slices / STORED, COPIES_BYTES / (int64_t)sizeof(float) / (e.rows * e.classes * e.columns)};
    for (size_t i = 0; i < sizeof most / sizeof *most; i++)
        if (parts > most[i]) parts = most[i];
    return parts > 1 && length_of(e, parts) < e.slices ? parts : 1;
}

/* What is to be done where there is the most of it: multiply-adds, and floats from local memory. */
static int64_t cost_of(tile t, extent e)
{
    int64_t groups = groups_of(t, e.rows, e.columns) * e.classes, slots = e.cut ? 1 : slots_of(t, UNITS);
    int64_t parts = e.cut ? 1 : parts_of(t, e, slots_of(t, UNITS));
    return (groups * parts + slots - 1) / slots * length_of(e, parts) * t.GX * t.GY * (16 * t.RV * t.CV + 4 * (t.RV + t.CV));
}

/* The tiles for so many columns that the device has room for, the cheapest first; of equals, the larger. */
static int list_tiles(extent e, const mcl__capabilities *capabilities, mcl__parameters *list)
{
    int count = 0, best = 0;
    int64_t least = INT64_MAX;
    for (int i = 0; i < TILES; i++) {
        tile t = tiles[i];
        int64_t cost = cost_of(t, e);
        if (!tile_fits(t, capabilities) || (columns_of(t) <= NARROW) != (e.columns <= NARROW)) continue;
        if (capabilities->few_registers && t.RV * t.CV > 1) continue; /* more than 16 sums spill */
        if (cost < least) least = cost, best = count;
        list[count++] = (mcl__parameters){{t.GX, t.GY, t.RV, t.CV}};
    }
    if (count == 0) return 0;
    mcl__parameters first = list[best];
    for (int i = best; i > 0; i--) list[i] = list[i - 1];
    list[0] = first;
    return count;
}

static tile chosen(const mcl__lowering *lowering)
{
    const int *value = mcl__lowering_parameters(lowering)->value;
    return (tile){value[0], value[1], value[2], value[3]};
}

/* The rows of a weight gradient are its results, those of the other passes pixels: of PICTURES, whatever the batch. */
static extent usual_extent(const mcl__problem *problem)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    mcl__conv2d_pass pass = mcl__conv2d_pass_of(problem);
    if (pass == MCL__BWD_WEIGHT) return (extent){a.KH * a.KW * a.C, a.K, 1, 1, true};
    a.N = PICTURES;
    mcl_gather_args g = pass == MCL__BWD_DATA ? mcl__conv2d_gather_bwd(&a) : mcl__conv2d_gather_fwd(&a);
    return extent_of(&g);
}

/* A weight gradient whose rows have taps of their own, of which an item of the narrow tiles loads many. */
static bool keeps_many_places(const mcl__problem *problem)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    return mcl__conv2d_pass_of(problem) == MCL__BWD_WEIGHT && a.C % 4 != 0 && a.K <= NARROW;
}

int mcl__conv2d_gemm_candidates(const mcl__problem *problem, const mcl__capabilities *capabilities, mcl__parameters *list)
{
    if (capabilities->type != MCL_DEVICE_GPU || !mcl__conv2d_tile_applicable(problem, capabilities)) return 0;
    if (capabilities->few_registers && keeps_many_places(problem)) return 0;
    return list_tiles(usual_extent(problem), capabilities, list);
}

bool mcl__conv2d_gemm_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl__parameters list[MCL__MOST_CANDIDATES];
    return mcl__conv2d_gemm_candidates(problem, capabilities, list) > 0;
}

static int units_of(const mcl__capabilities *capabilities)
{
    return capabilities->compute_units > 0 ? (int)capabilities->compute_units : 1;
}

/* Not of data gradients, whose classes share a tile's rows; and of the final result, so that all codes must be the kernel's. */
bool mcl__conv2d_gemm_takes_stats(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)capabilities;
    return mcl__conv2d_pass_of(problem) == MCL__FWD && mcl__epilogue_all_plain(&problem->epilogue);
}

/* A loaded value serves as many multiply-adds as a tile has columns, 16 to 128, beside which a few operations more are little,
 * and a map's 8 bytes an element are not. */
bool mcl__conv2d_gemm_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)problem, (void)capabilities;
    return true;
}

/* What both kernels of the product are compiled with. It does not tell how many parts there are, since a batch may change that. */
typedef struct program {
    tile tile;
    bool transposed, stats;
    int taken; /* codes of the epilogue */
} program;

static void name_kernel(mcl__lowering *lowering, const mcl__problem *problem, const char *name, program p)
{
    char prelude[MCL__PRELUDE_BYTES];
    mcl__lower_kernel(lowering, "conv2d_gemm", name, mcl__problem_prelude(problem, p.taken, prelude),
                      "-DGX=%d -DGY=%d -DRV=%d -DCV=%d -DTRANSPOSED=%d -DSTATS=%d", p.tile.GX, p.tile.GY, p.tile.RV, p.tile.CV,
                      p.transposed, p.stats);
}

static void lower_add(mcl__lowering *lowering, const mcl__problem *problem, const mcl_gather_args *args, program p,
                      mcl__operand copies, int parts)
{
    name_kernel(lowering, problem, "conv2d_gemm_add", p);
    mcl__lower_arg(lowering, copies);
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg_i32(lowering, parts);
    mcl__lower_arg_blob(lowering, args, sizeof *args);
    mcl__epilogue_bind(lowering, problem, 0, p.taken);
    mcl__lower_linear(lowering, (size_t)(args->N * args->TH * args->TW) * (size_t)mcl__ceil_div(args->TC, 4));
}

/* Emits the product with as much of the epilogue as a prelude holds; the rest follows as a map. */
static void lower_product(mcl__lowering *lowering, const mcl__problem *problem, const mcl_gather_args *args, mcl__operand source,
                          bool transposed)
{
    tile t = chosen(lowering);
    extent e = extent_of(args);
    program p = {t, transposed, .taken = mcl__epilogue_plain(&problem->epilogue, 0)};
    p.stats = mcl__epilogue_has_stats(&problem->epilogue) &&
              mcl__conv2d_gemm_takes_stats(problem, mcl__lowering_capabilities(lowering));
    int blocks = mcl__ceil_div((int)e.rows, rows_of(t));
    int slices = mcl__ceil_div(e.slices, (int)parts_of(t, e, slots_of(t, units_of(mcl__lowering_capabilities(lowering)))));
    int parts = mcl__ceil_div(e.slices, slices), elements = mcl__shape_elements(problem->out[0]);
    mcl__operand partial = mcl__out(0);
    if (parts > 1) partial = mcl__lower_workspace(lowering, (uint64_t)parts * (uint64_t)elements * sizeof(float));
    else if (p.stats) partial = mcl__lower_workspace(lowering, mcl__stats_bytes(blocks, args->TC));
    size_t local[] = {(size_t)t.GX, (size_t)t.GY, 1};
    size_t global[] = {(size_t)mcl__ceil_div(args->TC, columns_of(t)) * local[0], (size_t)blocks * local[1],
                       (size_t)e.classes * (size_t)parts};

    name_kernel(lowering, problem, "conv2d_gemm", p);
    mcl__lower_arg(lowering, source);
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg_i32(lowering, parts > 1 ? slices : 0);
    mcl__lower_arg_blob(lowering, args, sizeof *args);
    mcl__prologue_bind(lowering, problem);
    mcl__epilogue_bind(lowering, problem, 0, p.taken);
    mcl__lower_sizes(lowering, 3, global, local);
    if (parts > 1) lower_add(lowering, problem, args, p, partial, parts);
    if (p.stats && parts > 1) mcl__lower_stats(lowering, problem);
    else if (p.stats) mcl__lower_stats_merge(lowering, partial, blocks, args->TC);
    mcl__lower_epilogue(lowering, problem, p.taken);
}

/* A border's zeros are no padding behind a prologue. */
static void lower_fwd(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    mcl_gather_args gather = mcl__conv2d_gather_fwd(a);
    mcl__operand source = problem->prologue.count > 0 ? mcl__in(0) : mcl__conv2d_tile_source(lowering, a, &gather);
    lower_product(lowering, problem, &gather, source, false);
}

static void lower_bwd_data(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    mcl_gather_args gather = mcl__conv2d_gather_bwd(a);
    lower_product(lowering, problem, &gather, mcl__in(0), true);
}

/* --- weight gradient */

#define LEAST_PIXELS 64         /* of a chunk: some slices of depth for each time that sums are stored */

/* Picture rows of a chunk: enough chunks for every slot of the device. The sum's order, and so its bits, depend on it. */
static int choose_chunk(const mcl_conv2d_args *a, int64_t groups, int elements, int slots)
{
    int64_t lines = (int64_t)a->N * a->OH, chunks = (slots + groups - 1) / groups;
    int64_t most[] = {COPIES_BYTES / ((int64_t)sizeof(float) * elements), lines * a->OW / LEAST_PIXELS, lines};
    for (size_t i = 0; i < sizeof most / sizeof *most; i++)
        if (chunks > most[i]) chunks = most[i];
    return (int)(chunks > 1 ? (lines + chunks - 1) / chunks : lines);
}

static void lower_bwd_weight(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    tile t = chosen(lowering);
    int elements = mcl__shape_elements(problem->out[0]), rows = elements / a->K;
    mcl_weight_args args = mcl__conv2d_weight_args(a);
    args.row_blocks = mcl__ceil_div(rows, rows_of(t));
    args.column_blocks = mcl__ceil_div(a->K, columns_of(t));
    int64_t groups = groups_of(t, rows, a->K);
    args.chunk = choose_chunk(a, groups, elements, slots_of(t, units_of(mcl__lowering_capabilities(lowering))));
    int chunks = mcl__ceil_div(a->N * a->OH, args.chunk);
    mcl__operand target = mcl__out(0);
    if (chunks > 1) target = mcl__lower_workspace(lowering, (uint64_t)chunks * (uint64_t)elements * sizeof(float));

    size_t local[] = {(size_t)t.GX, (size_t)t.GY, 1};
    size_t global[] = {(size_t)args.column_blocks * local[0], (size_t)args.row_blocks * local[1], (size_t)chunks};
    char prelude[MCL__PRELUDE_BYTES];
    mcl__lower_kernel(lowering, "conv2d_gemm_weight", "conv2d_gemm_weight", mcl__problem_prelude(problem, 0, prelude),
                      "-DGX=%d -DGY=%d -DRV=%d -DCV=%d -DSHARED_TAP=%d", t.GX, t.GY, t.RV, t.CV, a->C % 4 == 0);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, target);
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__prologue_bind(lowering, problem);
    mcl__lower_sizes(lowering, 3, global, local);
    if (chunks > 1) mcl__conv2d_reduce(lowering, target, elements, chunks);
}

void mcl__conv2d_lower_gemm(mcl__lowering *lowering, const mcl__problem *problem)
{
    static const mcl__conv2d_lower passes[] = {lower_fwd, lower_bwd_data, lower_bwd_weight};
    mcl__conv2d_lower_pass(lowering, problem, passes);
}

/* --- for others' products */

int mcl__gemm_rows(mcl__gemm_tile t)
{
    return rows_of(t);
}

int64_t mcl__gemm_groups(mcl__gemm_tile t, int rows, int columns)
{
    return groups_of(t, rows, columns);
}

int mcl__gemm_slots(mcl__gemm_tile t, const mcl__capabilities *capabilities)
{
    return slots_of(t, units_of(capabilities));
}

int mcl__gemm_tiles(int rows, int columns, const mcl__capabilities *capabilities, mcl__parameters *list)
{
    return list_tiles((extent){.rows = rows, .columns = columns, .classes = 1, .slices = 1, .cut = true}, capabilities, list);
}
