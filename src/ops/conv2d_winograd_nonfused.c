/* Lowers 3x3 and 5x5 convolutions of stride 1 and one group, for GPUs, to Winograd's minimal filtering whose stages are launches of
 * their own: kernels/conv2d_winograd_transforms.cl, and between them the products of conv2d_winograd_product.cl, with the tiles of
 * conv2d_gemm.h. Transformed tiles go through memory, a block of them at a time: as many as keep the device busy, so that a large
 * cache may hold them, and at most 64 MiB, whatever the batch. No program depends on the batch either. */
#include "base/divide.h"
#include "ops/conv2d.h"
#include "ops/epilogue.h"
#include "ops/spread.h"
#include <limits.h>

#define BLOCK_BYTES (64 << 20)  /* most that V and M, or, for the weight gradient, V and U have in workspace together */
#define COPIES_BYTES (16 << 20) /* of M for the weight gradient, where it has several parts */
enum {
    LEAST_CHANNELS = 16, /* fewer do not pay for the transforms */
    MOST_ROWS = 128,     /* of a product's tile */
    BLOCK_ROWS = 1024,   /* tiles of a block that products' tiles are chosen for */
    WAVES = 8,           /* of groups that a block keeps the device busy for */
    LEAST_DEPTH = 64,    /* tiles that a part of the weight gradient adds: some slices for each time that sums are stored, ... */
    MOST_DEPTH = 512     /* ... and enough of them */
};

/* A candidate: results of a tile along an axis, and the product's tile. */
typedef struct choice { int size; mcl__gemm_tile tile; } choice;

static choice chosen(const mcl__lowering *lowering)
{
    const int *value = mcl__lowering_parameters(lowering)->value;
    return (choice){value[0], {value[1], value[2], value[3], value[4]}};
}

/* Tiles that a block has room for. */
static int most_tiles(const mcl_winograd_args *a, int points)
{
    return (int)(BLOCK_BYTES / ((int64_t)points * (a->C + a->K) * (int64_t)sizeof(float)));
}

static bool fits(const mcl_winograd_args *a, int points)
{
    return most_tiles(a, points) >= MOST_ROWS && (int64_t)points * a->C * a->K < INT_MAX &&
           (int64_t)a->N * a->tiles_h * a->tiles_w < INT_MAX;
}

/* Equal blocks of about `wanted` tiles, a multiple of `unit`. */
static int choose_block(const mcl_winograd_args *a, int points, int64_t wanted, int unit)
{
    int tiles = a->N * a->tiles_h * a->tiles_w, most = most_tiles(a, points) / unit * unit;
    if (wanted < most) most = mcl__round_up((int)wanted, unit);
    int block = mcl__round_up(mcl__ceil_div(tiles, mcl__ceil_div(tiles, most)), unit);
    return block < tiles ? block : tiles;
}

/* Begins a launch of a transform whose vectors are of so many channels, and ends one. */
static void begin_transform(mcl__lowering *lowering, const char *name, const char *prelude, const mcl__problem *problem,
                            int channels)
{
    mcl__lower_kernel(lowering, "conv2d_winograd_transforms", name, prelude, "-DTILE=%d -DTAPS=%d -DVW=%d", chosen(lowering).size,
                      problem->attrs.conv.KH, channels % 2 ? 1 : 2);
}

static void end_transform(mcl__lowering *lowering, const mcl_winograd_args *args, int channels, int rows)
{
    mcl__lower_arg_blob(lowering, args, sizeof *args);
    mcl__spread_grid(lowering, channels % 2 ? channels : channels / 2, rows);
}

static void lower_source(mcl__lowering *lowering, const mcl__problem *problem, const char *prelude, mcl__operand v,
                         const mcl_winograd_args *args, int first)
{
    begin_transform(lowering, "conv2d_winograd_source", prelude, problem, args->C);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, v);
    mcl__prologue_bind(lowering, problem);
    mcl__lower_arg_i32(lowering, first);
    end_transform(lowering, args, args->C, args->group);
}

static void lower_product(mcl__lowering *lowering, mcl__operand v, mcl__operand u, mcl__operand m,
                          const mcl_winograd_product_args *args, int parts, bool source_transposed)
{
    mcl__gemm_tile t = chosen(lowering).tile;
    size_t local[] = {(size_t)t.GX, (size_t)t.GY, 1};
    size_t global[] = {(size_t)mcl__gemm_groups(t, 1, args->columns) * local[0],
                       (size_t)mcl__gemm_groups(t, args->rows, 1) * local[1], (size_t)args->points * (size_t)parts};
    mcl__lower_kernel(lowering, "conv2d_winograd_product", "conv2d_winograd_product", NULL,
                      "-DGX=%d -DGY=%d -DRV=%d -DCV=%d -DSOURCE_TRANSPOSED=%d", t.GX, t.GY, t.RV, t.CV, source_transposed);
    mcl__lower_arg(lowering, v);
    mcl__lower_arg(lowering, u);
    mcl__lower_arg(lowering, m);
    mcl__lower_arg_blob(lowering, args, sizeof *args);
    mcl__lower_sizes(lowering, 3, global, local);
}

/* --- forward and data gradient */

static mcl__operand lower_weights(mcl__lowering *lowering, const mcl__problem *problem, const mcl_winograd_args *args, int points)
{
    uint64_t bytes = (uint64_t)points * (uint64_t)args->C * (uint64_t)args->K * sizeof(float);
    mcl__operand u = mcl__lower_derived(lowering, 1, bytes, "winograd %d %s", chosen(lowering).size,
                                        args->transposed ? "backward" : "forward");
    begin_transform(lowering, "conv2d_winograd_weights", NULL, problem, args->K);
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, u);
    end_transform(lowering, args, args->K, args->C);
    mcl__lower_derived_end(lowering);
    return u;
}

static void lower_target(mcl__lowering *lowering, const mcl__problem *problem, const char *prelude, mcl__operand m,
                         const mcl_winograd_args *args, int first, int taken)
{
    begin_transform(lowering, "conv2d_winograd_target", prelude, problem, args->K);
    mcl__lower_arg(lowering, m);
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__epilogue_bind(lowering, problem, 0, taken);
    mcl__lower_arg_i32(lowering, first);
    end_transform(lowering, args, args->K, args->group);
}

/* Tiles of which products keep the device busy for long enough. */
static int64_t busy_tiles(const mcl_winograd_args *a, int points, mcl__gemm_tile t, const mcl__capabilities *capabilities)
{
    int rows = mcl__gemm_rows(t);
    int64_t wanted = (int64_t)WAVES * mcl__gemm_slots(t, capabilities), groups = points * mcl__gemm_groups(t, rows, a->K);
    return (wanted + groups - 1) / groups * rows;
}

/* Emits the sum with as much of the epilogue as a prelude holds; the rest follows as a map. */
static void lower_sum(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    choice c = chosen(lowering);
    int points = mcl__winograd_points(c.size, a->KH), taken = mcl__epilogue_plain(&problem->epilogue, 0);
    mcl_winograd_args args = mcl__winograd_args(problem, c.size);
    int tiles = args.N * args.tiles_h * args.tiles_w;
    args.group = choose_block(&args, points, busy_tiles(&args, points, c.tile, mcl__lowering_capabilities(lowering)),
                              mcl__gemm_rows(c.tile));
    uint64_t line = (uint64_t)points * (uint64_t)args.group * sizeof(float);
    char text[MCL__PRELUDE_BYTES];
    const char *prelude = mcl__problem_prelude(problem, taken, text);

    mcl__lower_winograd_algorithm(lowering, c.size, a->KH);
    mcl__operand u = lower_weights(lowering, problem, &args, points);
    mcl__operand v = mcl__lower_workspace(lowering, line * (uint64_t)args.C);
    mcl__operand m = mcl__lower_workspace(lowering, line * (uint64_t)args.K);
    for (int first = 0; first < tiles; first += args.group) {
        mcl_winograd_product_args product = {
            .points = points,
            .rows = tiles - first < args.group ? tiles - first : args.group,
            .depth = args.C,
            .columns = args.K,
            .source_pitch = args.group * args.C,
            .factor_pitch = args.C * args.K,
            .sum_pitch = args.group * args.K,
            .chunk = args.C,
        };
        lower_source(lowering, problem, prelude, v, &args, first);
        lower_product(lowering, v, u, m, &product, 1, false);
        lower_target(lowering, problem, prelude, m, &args, first, taken);
    }
    mcl__lower_epilogue(lowering, problem, taken);
}

/* --- weight gradient */

/* Copies of the sums, for every slot of the device. The sums' order, and so their bits, depend on it. */
static int choose_parts(const mcl_winograd_args *a, int points, mcl__gemm_tile t, const mcl__capabilities *capabilities)
{
    int tiles = a->N * a->tiles_h * a->tiles_w;
    int64_t groups = points * mcl__gemm_groups(t, a->C, a->K), sums = (int64_t)points * a->C * a->K;
    int64_t parts = (mcl__gemm_slots(t, capabilities) + groups - 1) / groups;
    int64_t most[] = {COPIES_BYTES / (sums * (int64_t)sizeof(float)), tiles / LEAST_DEPTH, most_tiles(a, points) / LEAST_DEPTH};
    for (size_t i = 0; i < sizeof most / sizeof *most; i++)
        if (parts > most[i]) parts = most[i];
    return parts > 1 ? (int)parts : 1;
}

static void lower_gradient(mcl__lowering *lowering, const mcl__problem *problem, mcl__operand u, const mcl_winograd_args *args,
                           int first)
{
    begin_transform(lowering, "conv2d_winograd_gradient", NULL, problem, args->K);
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, u);
    mcl__lower_arg_i32(lowering, first);
    end_transform(lowering, args, args->K, args->group);
}

static void lower_bwd_weight(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    choice c = chosen(lowering);
    int points = mcl__winograd_points(c.size, a->KH);
    mcl_winograd_args args = mcl__winograd_args(problem, c.size);
    int tiles = args.N * args.tiles_h * args.tiles_w;
    args.parts = choose_parts(&args, points, c.tile, mcl__lowering_capabilities(lowering));
    args.group = choose_block(&args, points, (int64_t)args.parts * MOST_DEPTH, 1);
    uint64_t line = (uint64_t)points * (uint64_t)args.group * sizeof(float), sums = (uint64_t)points * (uint64_t)args.C;
    char prelude[MCL__PRELUDE_BYTES];

    mcl__lower_winograd_algorithm(lowering, c.size, a->KH);
    mcl__operand v = mcl__lower_workspace(lowering, line * (uint64_t)args.C);
    mcl__operand u = mcl__lower_workspace(lowering, line * (uint64_t)args.K);
    mcl__operand m = mcl__lower_workspace(lowering, (uint64_t)args.parts * sums * (uint64_t)args.K * sizeof(float));
    for (int first = 0; first < tiles; first += args.group) {
        mcl_winograd_product_args product = {
            .points = points,
            .rows = args.C,
            .depth = tiles - first < args.group ? tiles - first : args.group,
            .columns = args.K,
            .source_pitch = args.group * args.C,
            .factor_pitch = args.group * args.K,
            .sum_pitch = args.C * args.K,
            .begun = first > 0,
        };
        product.chunk = mcl__ceil_div(product.depth, args.parts);
        lower_source(lowering, problem, mcl__problem_prelude(problem, 0, prelude), v, &args, first);
        lower_gradient(lowering, problem, u, &args, first);
        lower_product(lowering, v, u, m, &product, args.parts, true);
    }
    begin_transform(lowering, "conv2d_winograd_weight_gradient", NULL, problem, args.K);
    mcl__lower_arg(lowering, m);
    mcl__lower_arg(lowering, mcl__out(0));
    end_transform(lowering, &args, args.K, args.C);
}

/* --- which problems */

/* The tiles of products, whose rows are channels for the weight gradient, else a block's tiles, whatever the batch. */
static int list_tiles(const mcl__problem *problem, const mcl_winograd_args *a, const mcl__capabilities *capabilities,
                      mcl__parameters *list)
{
    bool channels = mcl__conv2d_pass_of(problem) == MCL__BWD_WEIGHT;
    return mcl__gemm_tiles(channels ? a->C : BLOCK_ROWS, a->K, capabilities, list);
}

int mcl__conv2d_winograd_nonfused_candidates(const mcl__problem *problem, const mcl__capabilities *capabilities,
                                             mcl__parameters *list)
{
    int sizes[2], count = 0;
    if (capabilities->type != MCL_DEVICE_GPU) return 0;
    for (int i = 0, found = mcl__winograd_sizes(problem, sizes); i < found; i++) {
        mcl__parameters tiles[MCL__MOST_CANDIDATES];
        mcl_winograd_args args = mcl__winograd_args(problem, sizes[i]);
        if (args.C < LEAST_CHANNELS || args.K < LEAST_CHANNELS) continue;
        if (!fits(&args, mcl__winograd_points(sizes[i], problem->attrs.conv.KH))) continue;
        for (int k = 0, tiled = list_tiles(problem, &args, capabilities, tiles); k < tiled; k++) {
            const int *t = tiles[k].value;
            list[count++] = (mcl__parameters){{sizes[i], t[0], t[1], t[2], t[3]}};
        }
    }
    return count;
}

bool mcl__conv2d_winograd_nonfused_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl__parameters list[MCL__MOST_CANDIDATES];
    return mcl__conv2d_winograd_nonfused_candidates(problem, capabilities, list) > 0;
}

/* Computed again where tiles overlap, which costs less than a pass over memory. */
bool mcl__conv2d_winograd_nonfused_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)problem, (void)capabilities;
    return true;
}

void mcl__conv2d_lower_winograd_nonfused(mcl__lowering *lowering, const mcl__problem *problem)
{
    static const mcl__conv2d_lower passes[] = {lower_sum, lower_sum, lower_bwd_weight};
    mcl__conv2d_lower_pass(lowering, problem, passes);
}
