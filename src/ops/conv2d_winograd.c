/* Lowers 3x3 and 5x5 convolutions of stride 1 and one group to kernels/conv2d_winograd.cl and conv2d_winograd_weight.cl, which
 * explain the blocks that are chosen here: what a work-item has in scratch must fit a core's cache. No bit of a result depends on
 * how many cores there are; some do on how much local memory they have. */
#include "conv2d_tile.h"
#include "base/divide.h"
#include "ops/batch_norm.h"
#include "ops/conv2d.h"
#include "ops/epilogue.h"
#include <assert.h>
#include <limits.h>

/* --- whatever the device */

int mcl__winograd_points(int size, int taps)
{
    return (size + taps - 1) * (size + taps - 1);
}

void mcl__lower_winograd_algorithm(mcl__lowering *lowering, int size, int taps)
{
    mcl__lower_algorithm(lowering, size == 4 ? MCL__WINOGRAD_4_3 : taps == 3 ? MCL__WINOGRAD_2_3 : MCL__WINOGRAD_2_5);
}

static int64_t tiles_of(mcl__shape tiled, int size)
{
    return (int64_t)tiled.d[0] * mcl__ceil_div(tiled.d[1], size) * mcl__ceil_div(tiled.d[2], size);
}

static mcl__shape tiled_by(const mcl__problem *problem)
{
    return problem->op == MCL__OP_conv2d_bwd_weight ? problem->in[1] : problem->out[0];
}

/* Pictures of few pixels fill no large tiles. */
int mcl__winograd_sizes(const mcl__problem *problem, int sizes[2])
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    mcl__shape tiled = tiled_by(problem);
    if ((a.KH != 3 && a.KH != 5) || a.KW != a.KH || a.stride_h != 1 || a.stride_w != 1 || a.dilation_h != 1 || a.dilation_w != 1 ||
        a.groups != 1)
        return 0;
    sizes[0] = 2;
    if (a.KH == 5) return 1;
    bool small_first = tiles_of(tiled, 2) * mcl__winograd_points(2, 3) < tiles_of(tiled, 4) * mcl__winograd_points(4, 3);
    sizes[0] = small_first ? 2 : 4, sizes[1] = small_first ? 4 : 2;
    return 2;
}

mcl_winograd_args mcl__winograd_args(const mcl__problem *problem, int size)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    mcl__shape source = problem->in[0], target = tiled_by(problem);
    bool backward = problem->op == MCL__OP_conv2d_bwd_data;
    return (mcl_winograd_args){
        .N = a.N,
        .SH = source.d[1],
        .SW = source.d[2],
        .C = source.d[3],
        .TH = target.d[1],
        .TW = target.d[2],
        .K = target.d[3],
        .base_h = backward ? a.pad_h - (a.KH - 1) : -a.pad_h,
        .base_w = backward ? a.pad_w - (a.KW - 1) : -a.pad_w,
        .transposed = backward,
        .tiles_h = mcl__ceil_div(target.d[1], size),
        .tiles_w = mcl__ceil_div(target.d[2], size),
    };
}

/* --- a sum over channels of the source */

enum {
    COLUMNS = 64,       /* most of the target's channels in a block */
    MOST_DEPTH = 64,    /* and of the source's: what the kernel leaves room for, whatever the depth */
    LEAST_COLUMNS = 32, /* the smallest that these may be limited to */
    LEAST_DEPTH = 16,
    MOST_TILES = 66,  /* in scratch together, */
    LEAST_GROUP = 11, /* or tiles whose weights stay; fewer, for which weights are transformed again, do not pay */
    ITEMS = 16,       /* most work-items of a compute unit for each block of columns: enough that one which is late does less */
    WEIGHTS = 6,      /* transforming a block's weights takes as long as this many tiles */
    PARTS = 64,       /* most parts of statistics, whose bits depend on them */
    LEAST_TILES = 32  /* fewer do not pay for transforming the weights */
};

/* What stages cost beside the products, in products of a vector: transforming a vector of weights as many as WEIGHTS, a value of
 * the source SOURCE over the channels of a block that share it, and storing a vector of sums to load it again SUMS. Sampled in
 * tiles of 4x4 on a Zen 3, the source's waiting for memory included; nothing was measured for caches of less than 512 KB, nor
 * for tiles of 2x2. */
static const double SOURCE = 18, SUMS = 2.8;

/* TILE and TAPS, a register tile, most channels of the source and of the target in a block, how many blocks there are, and the
 * most tiles that are in scratch together. */
typedef struct shape { int tile, taps, P, NV, VW, depth, columns, depth_blocks, column_blocks, most; } shape;

/* Of a block, in which a tile of the source has `depth` floats for each point: MOST_DEPTH in memory, fewer in a cache. */
static uint64_t scratch_bytes(const shape *s, int depth, int group)
{
    int floats = s->depth * s->columns + s->VW + group * (depth + s->columns);
    return (uint64_t)mcl__winograd_points(s->tile, s->taps) * (uint64_t)floats * sizeof(float);
}

/* All channels of the source are in one block: a work-item keeps its transformed weights. */
static bool weights_stay(const shape *s)
{
    return s->depth_blocks == 1;
}

/* Most tiles that are in scratch together, a multiple of P: few where their weights stay there, and else as many as leave a quarter
 * of `local` to the tensors. 0: there is no room. */
static int most_tiles(const shape *s, uint64_t local)
{
    int fewest = mcl__round_up(LEAST_GROUP, s->P), most = MOST_TILES / s->P * s->P;
    if (weights_stay(s)) return scratch_bytes(s, MOST_DEPTH, fewest) <= local ? fewest : 0;
    while (scratch_bytes(s, s->depth, most) > local / 4 * 3 || scratch_bytes(s, MOST_DEPTH, most) > local) {
        most -= s->P;
        if (most < fewest) return 0;
    }
    return most;
}

/* Of a product, with its share of the other stages and of the columns that register tiles add. */
static double cost_of(const shape *s, int K)
{
    double stages = SOURCE / s->columns;
    if (!weights_stay(s)) stages += (double)WEIGHTS / s->most + SUMS / s->depth;
    return s->columns * s->column_blocks * (1 + stages) / K;
}

/* Blocks that make the most of what stays in a cache: all channels of a source that has few, so that weights stay; else fewer
 * channels, and more tiles for each time that the weights are transformed. The smaller the cache the smaller are blocks: in 512 KB
 * those of 32x64 channels would leave room for 6 tiles, those of 16x64 do for 18 (resnet18's step takes 0.80 of the time on a
 * Zen 3, with its layers of 64 channels and the weight gradients, which now fit). Register tiles have 11 transformed tiles, which
 * round 32, 64, 128 ... up by 3 %, where 13 add up to 22; of short vectors 6. False where none fits. */
static bool choose_shape(shape *best, int tile, int taps, int C, int K, int lanes, uint64_t local)
{
    double least = 0;
    for (int columns = COLUMNS; columns >= LEAST_COLUMNS; columns /= 2)
        for (int depth = MOST_DEPTH; depth >= LEAST_DEPTH; depth /= 2) {
            shape s = {.tile = tile, .taps = taps, .depth = depth, .P = lanes == 8 ? 6 : 11, .VW = lanes};
            bool more_than_needed = C <= depth / 2 && depth > LEAST_DEPTH;
            s.NV = K < 2 * lanes ? 1 : 2;
            s.depth_blocks = mcl__ceil_div(C, depth), s.column_blocks = mcl__ceil_div(K, columns);
            s.columns = mcl__round_up(mcl__ceil_div(K, s.column_blocks), s.NV * lanes);
            if (more_than_needed || C / s.depth_blocks < lanes || (depth == MOST_DEPTH && !weights_stay(&s))) continue;
            s.most = most_tiles(&s, local);
            if (s.most == 0 || (least > 0 && cost_of(&s, K) >= least)) continue;
            least = cost_of(&s, K), *best = s;
        }
    return least > 0;
}

/* Tiles that are in scratch together: equal groups of a multiple of P, but for weights that stay. */
static int choose_group(const shape *s, int tiles)
{
    return weights_stay(s) ? s->most : mcl__round_up(mcl__ceil_div(tiles, mcl__ceil_div(tiles, s->most)), s->P);
}

/* What the busiest unit does, in tiles, if an item that keeps its weights has `span` chunks of `tiles`. */
static int64_t busiest(int chunks, int tiles, int blocks, int span, int units)
{
    int64_t items = (int64_t)mcl__ceil_div(chunks, span) * blocks;
    return (items + units - 1) / units * (WEIGHTS + (int64_t)span * tiles);
}

/* Chunks of an item: of all that take within 3 % of the least time, the fewest, so that an item which is late does less. */
static int choose_span(int chunks, int tiles, int blocks, int units)
{
    int span = chunks;
    int64_t least = INT64_MAX;
    for (int n = 1; n <= ITEMS * units && n <= chunks; n++) {
        int64_t time = busiest(chunks, tiles, blocks, mcl__ceil_div(chunks, n), units);
        if (time < least) least = time;
    }
    for (int n = 1; n <= ITEMS * units && n <= chunks; n++)
        if (busiest(chunks, tiles, blocks, mcl__ceil_div(chunks, n), units) <= least + least / 32) span = mcl__ceil_div(chunks, n);
    return span;
}

/* The chosen one of the candidates. */
static int tile_of(const mcl__lowering *lowering)
{
    return mcl__lowering_parameters(lowering)->value[0];
}

/* Emits the sum with as much of the epilogue as a prelude holds; the rest follows as a map. */
static void lower_sum(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    const mcl__capabilities *capabilities = mcl__lowering_capabilities(lowering);
    int tile = tile_of(lowering), taken = mcl__epilogue_plain(&problem->epilogue, 0);
    mcl_winograd_args args = mcl__winograd_args(problem, tile);
    shape s = {0};
    bool found = choose_shape(&s, tile, a->KH, args.C, args.K, mcl__tile_lanes(capabilities), capabilities->local_memory);
    assert(found);
    (void)found;
    args.depth_blocks = s.depth_blocks, args.column_blocks = s.column_blocks;
    args.columns = s.columns, args.depth = s.depth;
    args.in_place = weights_stay(&s) && s.columns <= s.NV * s.VW && s.columns <= s.depth;
    args.sum_tile = mcl__winograd_points(tile, a->KH) * (args.in_place ? MOST_DEPTH : s.columns);
    args.sum_point = args.in_place ? s.depth : s.columns;
    int tiles = args.N * args.tiles_h * args.tiles_w;
    int units = capabilities->compute_units > 1 ? (int)capabilities->compute_units : 1;
    args.group = choose_group(&s, tiles);
    int groups = mcl__ceil_div(tiles, args.group);
    bool stats = mcl__epilogue_has_stats(&problem->epilogue) && mcl__conv2d_winograd_takes_stats(problem, capabilities);
    args.chunk = stats ? mcl__ceil_div(groups, PARTS) : 1;
    int chunks = mcl__ceil_div(groups, args.chunk);
    args.span = args.chunk * (weights_stay(&s) ? choose_span(chunks, args.chunk * args.group, args.column_blocks, units) : 1);
    args.parts = stats ? chunks : 0;
    mcl__operand partial = stats ? mcl__lower_workspace(lowering, mcl__stats_bytes(chunks, args.K)) : mcl__out(0);

    char prelude[MCL__PRELUDE_BYTES];
    size_t global[] = {(size_t)mcl__ceil_div(groups, args.span), (size_t)args.column_blocks}, local[] = {1, 1};
    mcl__lower_winograd_algorithm(lowering, tile, a->KH);
    mcl__lower_kernel(lowering, "conv2d_winograd", "conv2d_winograd", mcl__problem_prelude(problem, taken, prelude),
                      "-DTILE=%d -DTAPS=%d -DVW=%d -DNV=%d -DP=%d -DMOST_DEPTH=%d -DMOST_COLUMNS=%d", tile, a->KH, s.VW,
                      s.NV, s.P, MOST_DEPTH, COLUMNS);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg(lowering, partial);
    mcl__prologue_bind(lowering, problem);
    mcl__epilogue_bind(lowering, problem, 0, taken);
    mcl__lower_arg_local(lowering, (size_t)scratch_bytes(&s, MOST_DEPTH, args.group));
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__lower_sizes(lowering, 2, global, local);
    if (stats) mcl__lower_stats_merge(lowering, partial, chunks, args.K);
    mcl__lower_epilogue(lowering, problem, taken);
}

/* --- weight gradient */

enum {
    MOST_ITEMS = 32,   /* blocks and parts are the items, for a device of this class but not its size */
    LEAST_GROUPS = 8,  /* of a part, which makes a copy of the result; */
    SHARED_GROUPS = 4, /* of two parts together, where nothing else is shared; */
    COUNTED = 16       /* smaller ones count as of this size */
};

/* Tiles in scratch together: sums are loaded and stored once for each group. */
static const int group_sizes[] = {32, 16, 12, 8};
enum { GROUP_SIZES = sizeof group_sizes / sizeof *group_sizes };

static uint64_t weight_scratch_bytes(const mcl_winograd_args *a, int points, int lanes)
{
    int floats = a->rows * a->columns + a->group * (a->rows + a->columns) + 2 * lanes;
    return (uint64_t)points * (uint64_t)floats * sizeof(float);
}

static int weight_vectors(int K, int lanes)
{
    return K < 2 * lanes ? 1 : 2;
}

/* Of a register tile, whose sums are 16 vectors, or 12 of 8 floats. */
static int weight_rows(int K, int lanes)
{
    return (lanes == 16 ? 16 : 12) / weight_vectors(K, lanes);
}

/* Both sides are transformed again for each block of the other's channels. Register tiles may pass the end of a block's rows. */
static double weight_cost_of(const mcl_winograd_args *a)
{
    double stages = SOURCE / a->columns + SOURCE / a->rows + SUMS / a->group;
    return (double)a->rows * a->depth_blocks * a->columns * a->column_blocks * (1 + stages);
}

/* The cheapest blocks and groups that `local` has room for; groups of no tiles where none fits. */
static void choose_blocks(mcl_winograd_args *args, int points, int lanes, uint64_t local)
{
    mcl_winograd_args a = *args;
    double least = 0;
    for (int rows = COLUMNS; rows >= LEAST_COLUMNS; rows /= 2)
        for (int columns = COLUMNS; columns >= LEAST_COLUMNS; columns /= 2)
            for (int i = 0; i < GROUP_SIZES; i++) {
                a.depth_blocks = mcl__ceil_div(a.C, rows), a.column_blocks = mcl__ceil_div(a.K, columns);
                a.rows = mcl__round_up(mcl__ceil_div(a.C, a.depth_blocks), weight_rows(a.K, lanes));
                a.columns = mcl__round_up(mcl__ceil_div(a.K, a.column_blocks), weight_vectors(a.K, lanes) * lanes);
                a.group = group_sizes[i];
                if (weight_scratch_bytes(&a, points, lanes) > local || (least > 0 && weight_cost_of(&a) >= least)) continue;
                least = weight_cost_of(&a), *args = a;
            }
}

/* Equal groups of tiles in parts, equal within one group; these are as many as keep threads busy where blocks of channels do not,
 * and a power of two, which units share evenly. Groups of 12 do not make more parts than those of 16. lenet's second convolution
 * with 32 pictures takes twice as long in 32 parts as in 16, and in 8 parts 0.9 of what it takes in 16 (Zen 3). */
static void choose_parts(mcl_winograd_args *args)
{
    int tiles = args->N * args->tiles_h * args->tiles_w, size = args->group > COUNTED ? args->group : COUNTED;
    int groups = mcl__ceil_div(tiles, size), blocks = args->depth_blocks * args->column_blocks, parts = 1;
    args->group = mcl__ceil_div(tiles, mcl__ceil_div(tiles, args->group));
    if (blocks == 1 && groups >= SHARED_GROUPS) parts = 2;
    while (2 * parts * blocks <= MOST_ITEMS && 2 * parts * LEAST_GROUPS <= groups) parts *= 2;
    args->parts = parts;
}

/* Of no parts where there is no room. */
static mcl_winograd_args weight_args(const mcl__problem *problem, int tile, int lanes, uint64_t local)
{
    mcl_winograd_args args = mcl__winograd_args(problem, tile);
    choose_blocks(&args, mcl__winograd_points(tile, problem->attrs.conv.KH), lanes, local);
    if (args.group > 0) choose_parts(&args);
    return args;
}

static void lower_bwd_weight(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    const mcl__capabilities *capabilities = mcl__lowering_capabilities(lowering);
    int tile = tile_of(lowering), lanes = mcl__tile_lanes(capabilities);
    mcl_winograd_args args = weight_args(problem, tile, lanes, capabilities->local_memory);
    int parts = args.parts, elements = mcl__shape_elements(problem->out[0]);
    assert(parts > 0);
    mcl__operand target = mcl__out(0);
    char prelude[MCL__PRELUDE_BYTES];
    if (parts > 1) target = mcl__lower_workspace(lowering, (uint64_t)parts * (uint64_t)elements * sizeof(float));
    size_t global[] = {(size_t)parts, (size_t)args.depth_blocks * (size_t)args.column_blocks}, local[] = {1, 1};
    mcl__lower_winograd_algorithm(lowering, tile, a->KH);
    mcl__lower_kernel(lowering, "conv2d_winograd_weight", "conv2d_winograd_weight", mcl__problem_prelude(problem, 0, prelude),
                      "-DTILE=%d -DTAPS=%d -DVW=%d -DNV=%d -DP=%d", tile, a->KH, lanes, weight_vectors(a->K, lanes),
                      weight_rows(a->K, lanes));
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, target);
    mcl__prologue_bind(lowering, problem);
    mcl__lower_arg_local(lowering, (size_t)weight_scratch_bytes(&args, mcl__winograd_points(tile, a->KH), lanes));
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__lower_sizes(lowering, 2, global, local);
    if (parts > 1) mcl__conv2d_reduce(lowering, target, elements, parts);
}

/* --- which problems */

static bool fits(const mcl__problem *problem, int tile, int lanes, uint64_t local)
{
    int taps = problem->attrs.conv.KH;
    mcl_winograd_args args = mcl__winograd_args(problem, tile);
    if (problem->op == MCL__OP_conv2d_bwd_weight) return weight_args(problem, tile, lanes, local).parts > 0;
    shape s;
    return choose_shape(&s, tile, taps, args.C, args.K, lanes, local);
}

int mcl__conv2d_winograd_candidates(const mcl__problem *problem, const mcl__capabilities *capabilities, mcl__parameters *list)
{
    int sizes[2], count = 0, lanes = mcl__tile_lanes(capabilities);
    if (!mcl__cpu_unrolls(capabilities)) return 0;
    for (int i = 0, found = mcl__winograd_sizes(problem, sizes); i < found; i++) {
        mcl_winograd_args args = mcl__winograd_args(problem, sizes[i]);
        int64_t tiles = tiles_of(tiled_by(problem), sizes[i]);
        if (args.C < lanes || args.K < lanes || tiles < LEAST_TILES || tiles >= INT_MAX) continue;
        if (fits(problem, sizes[i], lanes, capabilities->local_memory)) list[count++].value[0] = sizes[i];
    }
    return count;
}

bool mcl__conv2d_winograd_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl__parameters list[MCL__MOST_CANDIDATES];
    return mcl__conv2d_winograd_candidates(problem, capabilities, list) > 0;
}

/* It is computed again for each block of columns and where tiles overlap (2.25 times for tiles of 4x4, 4 for 2x2, 9 for those of
 * 5x5, where it was not measured), beside the transform's own twelve steps an element. */
bool mcl__conv2d_winograd_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)problem, (void)capabilities;
    return true;
}

/* Where the kernel takes the whole epilogue. */
bool mcl__conv2d_winograd_takes_stats(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)capabilities;
    return mcl__epilogue_all_plain(&problem->epilogue);
}

void mcl__conv2d_lower_winograd(mcl__lowering *lowering, const mcl__problem *problem)
{
    static const mcl__conv2d_lower passes[] = {lower_sum, lower_sum, lower_bwd_weight};
    mcl__conv2d_lower_pass(lowering, problem, passes);
}
