/* Lowers convolutions of one group to the register tiles of kernels/conv2d_gather.cl and conv2d_weight.cl: weights are
 * blocked (a derived form), then forward and data gradient gather; the weight gradient adds up in chunks of the batch,
 * reduced in a fixed order. */
#include "conv2d_tile.h"
#include "base/divide.h"
#include "ops/conv2d.h"
#include "ops/epilogue.h"
#include <limits.h>

/* A tile of P pixels (or CB rows) x NV vectors of VW floats. P * NV + NV accumulators and operands live in registers: 32 of
 * 512 bits or 16 of 256 on the CPUs that this was tuned for. A GPU's work-item has a smaller tile and many neighbours. */
typedef struct tile {
    int P, NV, VW, local;
} tile;

static const tile cpu_tiles[] = {{14, 1, 16, 1}, {12, 2, 16, 1}, {8, 3, 16, 1}, {6, 4, 16, 1}};
static const tile short_cpu_tiles[] = {{12, 1, 8, 1}, {4, 3, 8, 1}, {6, 2, 8, 1}};
static const tile gpu_tiles[] = {{2, 2, 4, 64}, {8, 1, 4, 64}, {8, 2, 4, 64}, {4, 4, 4, 64}};

static const tile *tiles_of(const mcl__capabilities *capabilities, int *count)
{
    bool gpu = capabilities->type == MCL_DEVICE_GPU || capabilities->type == MCL_DEVICE_ACCELERATOR;
    bool wide = !gpu && mcl__tile_lanes(capabilities) == 16;
    *count = wide ? sizeof cpu_tiles / sizeof *cpu_tiles : gpu ? sizeof gpu_tiles / sizeof *gpu_tiles
                                                               : sizeof short_cpu_tiles / sizeof *short_cpu_tiles;
    if (gpu && capabilities->few_registers) *count = 1; /* of the others every one spills */
    return gpu ? gpu_tiles : wide ? cpu_tiles : short_cpu_tiles;
}

/* The tile that wastes the fewest columns; of equals, the last in the list, the quickest. */
static int best_tile(int columns, const mcl__capabilities *capabilities)
{
    int count, best = 0, least = INT_MAX;
    const tile *tiles = tiles_of(capabilities, &count);
    for (int i = 0; i < count; i++) {
        int width = tiles[i].NV * tiles[i].VW, covered = mcl__ceil_div(columns, width) * width;
        if (covered <= least) least = covered, best = i;
    }
    return best;
}

/* All tiles, the one for the columns of the result (for the weight gradient, of dy) first. */
int mcl__conv2d_tile_candidates(const mcl__problem *problem, const mcl__capabilities *capabilities, mcl__parameters *list)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    int columns = mcl__conv2d_pass_of(problem) == MCL__BWD_DATA ? a.C : a.K;
    int count, best = best_tile(columns, capabilities), used = 0;
    const tile *tiles = tiles_of(capabilities, &count);
    for (int i = 0; i < count; i++) {
        const tile *t = &tiles[i == 0 ? best : i <= best ? i - 1 : i];
        list[used++] = (mcl__parameters){{t->P, t->NV, t->VW, t->local}};
    }
    return used;
}

static tile choose_tile(const mcl__lowering *lowering)
{
    const mcl__capabilities *capabilities = mcl__lowering_capabilities(lowering);
    const int *value = mcl__lowering_parameters(lowering)->value;
    tile chosen = {value[0], value[1], value[2], value[3]};
    if (capabilities->max_work_group && (uint64_t)chosen.local > capabilities->max_work_group)
        chosen.local = (int)capabilities->max_work_group;
    return chosen;
}

/* Pictures of few channels are copied into a border of zeros first: then a whole kernel row is one run of KW * C floats. */
#define BORDER_CHANNELS 8

static bool wants_border(const mcl_conv2d_args *a)
{
    return a->C <= BORDER_CHANNELS && a->KW > 1 && a->dilation_w == 1;
}

static mcl_border_args border_of(const mcl_conv2d_args *a)
{
    return (mcl_border_args){
        .N = a->N,
        .H = a->H,
        .W = a->W,
        .C = a->C,
        .pad_h = a->pad_h,
        .pad_w = a->pad_w,
        .PH = (a->OH - 1) * a->stride_h + (a->KH - 1) * a->dilation_h + 1,
        .PW = (a->OW - 1) * a->stride_w + (a->KW - 1) * a->dilation_w + 1,
    };
}

#define MOST_TAPS 64   /* of a kernel, along one axis */
#define MOST_STRIDE 64 /* a data gradient has a class of target pixels for each step of it, squared */

/* Are all the kernels' indices ints? Padding to whole blocks and borders makes tensors larger than they are. */
bool mcl__conv2d_tile_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    if (capabilities->type == MCL_DEVICE_NATIVE || a.groups != 1 || a.K < 2) return false;
    if (a.KH > MOST_TAPS || a.KW > MOST_TAPS || a.stride_h > MOST_STRIDE || a.stride_w > MOST_STRIDE) return false;
    int64_t widest = 64, taps = a.KH * a.KW, C = a.C, K = a.K;
    int64_t blocked = taps * (C + widest) * (K + widest);
    mcl_border_args b = border_of(&a);
    int64_t area = (int64_t)b.PH * b.PW;
    return blocked < INT_MAX && area < INT_MAX && (!wants_border(&a) || area * a.N * C < INT_MAX);
}

static mcl__operand lower_border(mcl__lowering *lowering, const mcl_border_args *args)
{
    size_t elements = (size_t)args->N * (size_t)args->PH * (size_t)args->PW * (size_t)args->C;
    mcl__operand bordered = mcl__lower_workspace(lowering, elements * sizeof(float));
    mcl__lower_kernel(lowering, "conv2d_forms", "conv2d_border", NULL, NULL);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, bordered);
    mcl__lower_arg_blob(lowering, args, sizeof *args);
    mcl__lower_linear(lowering, elements);
    return bordered;
}

/* The blocked form of the weights, in[1], with `run` zeros behind it. */
static mcl__operand lower_blocks(mcl__lowering *lowering, const mcl_block_args *args, int group, const char *form)
{
    size_t elements = ((size_t)args->blocks * (size_t)args->taps * (size_t)args->width + 1) * (size_t)args->run;
    mcl__operand blocked =
        mcl__lower_derived(lowering, 1, elements * sizeof(float), "%s %dx%dx%d", form, args->taps, args->run, args->width);
    mcl__lower_kernel(lowering, "conv2d_forms", "conv2d_block", NULL, NULL);
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, blocked);
    mcl__lower_arg_blob(lowering, args, sizeof *args);
    /* Groups of the tiles' size: on a CPU an item's own loops are what becomes vectors. */
    size_t items = ((size_t)args->blocks * (size_t)args->taps + 1) * (size_t)mcl__ceil_div(args->run, MCL_BLOCK_ROWS),
           local = (size_t)group;
    size_t global = (items + local - 1) / local * local;
    mcl__lower_sizes(lowering, 1, &global, &local);
    mcl__lower_derived_end(lowering);
    return blocked;
}

mcl__operand mcl__conv2d_transposed(mcl__lowering *lowering, int C, int K)
{
    mcl_block_args block = {.blocks = K, .taps = 1, .run = C, .width = 1, .columns = K, .stride = K};
    return lower_blocks(lowering, &block, 1, "transposed");
}

/* Emits the gather with as much of the epilogue as a prelude holds; the rest follows as a map. */
static void lower_gather(mcl__lowering *lowering, const mcl__problem *problem, const mcl_gather_args *args, tile t,
                         mcl__operand source, mcl__operand weights)
{
    char prelude[MCL__PRELUDE_BYTES];
    int taken = mcl__epilogue_plain(&problem->epilogue, 0);
    int pixels = args->N * mcl__ceil_div(args->TH, args->classes_h) * mcl__ceil_div(args->TW, args->classes_w);
    int tiles = mcl__ceil_div(pixels, t.P);
    size_t global[] = {(size_t)mcl__ceil_div(tiles, t.local) * (size_t)t.local, (size_t)mcl__ceil_div(args->TC, t.NV * t.VW),
                       (size_t)args->classes_h * (size_t)args->classes_w};
    size_t local[] = {(size_t)t.local, 1, 1};

    mcl__lower_kernel(lowering, "conv2d_gather", "conv2d_gather", mcl__epilogue_prelude(&problem->epilogue, 0, taken, prelude),
                      "-DP=%d -DNV=%d -DVW=%d -DLOCAL=%d", t.P, t.NV, t.VW, t.local);
    mcl__lower_arg(lowering, source);
    mcl__lower_arg(lowering, weights);
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__epilogue_bind(lowering, problem, 0, taken);
    mcl__lower_arg_blob(lowering, args, sizeof *args);
    mcl__lower_sizes(lowering, 3, global, local);
    mcl__lower_epilogue(lowering, problem, taken);
}

mcl_gather_args mcl__conv2d_gather_fwd(const mcl_conv2d_args *a)
{
    return (mcl_gather_args){
        .N = a->N,
        .SH = a->H,
        .SW = a->W,
        .pitch = a->C,
        .run = a->C,
        .TH = a->OH,
        .TW = a->OW,
        .TC = a->K,
        .KH = a->KH,
        .KW = a->KW,
        .classes_h = 1,
        .classes_w = 1,
        .base_h = -a->pad_h,
        .base_w = -a->pad_w,
        .slope_h = a->dilation_h,
        .slope_w = a->dilation_w,
        .step_h = a->stride_h,
        .step_w = a->stride_w,
    };
}

mcl_gather_args mcl__conv2d_gather_bwd(const mcl_conv2d_args *a)
{
    return (mcl_gather_args){
        .N = a->N,
        .SH = a->OH,
        .SW = a->OW,
        .pitch = a->K,
        .run = a->K,
        .TH = a->H,
        .TW = a->W,
        .TC = a->C,
        .KH = a->KH,
        .KW = a->KW,
        .classes_h = a->stride_h,
        .classes_w = a->stride_w,
        .base_h = a->pad_h,
        .base_w = a->pad_w,
        .slope_h = -a->dilation_h,
        .slope_w = -a->dilation_w,
        .step_h = 1,
        .step_w = 1,
    };
}

mcl__operand mcl__conv2d_tile_source(mcl__lowering *lowering, const mcl_conv2d_args *a, mcl_gather_args *gather)
{
    *gather = mcl__conv2d_gather_fwd(a);
    if (!wants_border(a)) return mcl__in(0);
    mcl_border_args border = border_of(a);
    gather->SH = border.PH, gather->SW = border.PW;
    gather->base_h = gather->base_w = 0;
    gather->run = a->KW * a->C;
    gather->KW = 1;
    return lower_border(lowering, &border);
}

static void lower_fwd(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    tile t = choose_tile(lowering);
    mcl_gather_args gather;
    mcl__operand source = mcl__conv2d_tile_source(lowering, a, &gather);
    mcl_block_args block = {
        .blocks = mcl__ceil_div(a->K, t.NV * t.VW),
        .taps = gather.KH * gather.KW,
        .run = gather.run,
        .width = t.NV * t.VW,
        .columns = a->K,
        .tap_stride = gather.run * a->K,
        .stride = a->K,
    };
    mcl__operand weights = lower_blocks(lowering, &block, t.local, "forward");
    lower_gather(lowering, problem, &gather, t, source, weights);
}

static void lower_bwd_data(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    tile t = choose_tile(lowering);
    mcl_gather_args gather = mcl__conv2d_gather_bwd(a);
    mcl_block_args block = {
        .blocks = mcl__ceil_div(a->C, t.NV * t.VW),
        .taps = a->KH * a->KW,
        .run = a->K,
        .width = t.NV * t.VW,
        .columns = a->C,
        .tap_stride = a->C * a->K,
        .stride = a->K,
        .transposed = 1,
    };
    mcl__operand weights = lower_blocks(lowering, &block, t.local, "backward");
    lower_gather(lowering, problem, &gather, t, mcl__in(0), weights);
}

/* --- weight gradient */

#define CHUNK_BYTES (1 << 20)   /* of x and dy that one chunk reads: what a core's cache holds */
#define COPIES_BYTES (16 << 20) /* of all copies of dw together */
#define LEAST_ITEMS 4096        /* work-items that keep a GPU busy */

/* Rows of a tile: the most that registers hold, but spread evenly over `rows`; few different ones, each is a program. */
static int choose_rows(int rows, int largest)
{
    static const int sizes[] = {14, 12, 8, 6, 4, 3, 2, 1};
    int best = 1, least = INT_MAX;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int size = sizes[i];
        if (size > largest || size > rows) continue;
        int cost = mcl__ceil_div(rows, size) * (2 * size + 3); /* a row's multiply-adds, and loads of the columns */
        if (cost < least) least = cost, best = size;
    }
    return best;
}

/* Vectors no longer than K, so that a tail can be moved back into the tensor. */
static tile weight_tile(int rows, int K, tile t)
{
    while (t.VW > K) t.VW /= 2;
    while (t.NV > 1 && (t.NV - 1) * t.VW >= K) t.NV--;
    t.P = choose_rows(rows, t.P);
    return t;
}

/* Picture rows of a chunk, from the shape (and, on a GPU, the tiles there are) alone: the sum's order, and so its bits, depend
 * on it. A chunk's pixels stay in a cache while all tiles read them; copies of dw stay small against x and dy. */
static int choose_chunk(const mcl_conv2d_args *a, int items, bool gpu)
{
    int64_t lines = (int64_t)a->N * a->OH, weights = (int64_t)a->KH * a->KW * a->C * a->K;
    int64_t line_bytes = 4 * ((int64_t)a->OW * a->K + (int64_t)a->stride_h * a->W * a->C);
    int64_t chunks = lines * line_bytes / CHUNK_BYTES, most = COPIES_BYTES / (4 * weights);
    if (gpu && chunks < LEAST_ITEMS / items) chunks = LEAST_ITEMS / items;
    if (chunks > most) chunks = most;
    if (chunks > lines) chunks = lines;
    if (chunks < 1) chunks = 1;
    return (int)((lines + chunks - 1) / chunks);
}

void mcl__conv2d_reduce(mcl__lowering *lowering, mcl__operand copies, int elements, int chunks)
{
    mcl__lower_kernel(lowering, "conv2d_forms", "conv2d_reduce", NULL, NULL);
    mcl__lower_arg(lowering, copies);
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg_i32(lowering, elements);
    mcl__lower_arg_i32(lowering, chunks);
    mcl__lower_linear(lowering, (size_t)elements);
}

mcl_weight_args mcl__conv2d_weight_args(const mcl_conv2d_args *a)
{
    return (mcl_weight_args){
        .N = a->N,
        .XH = a->H,
        .XW = a->W,
        .pitch = a->C,
        .rows = a->C,
        .OH = a->OH,
        .OW = a->OW,
        .K = a->K,
        .KH = a->KH,
        .KW = a->KW,
        .stride_h = a->stride_h,
        .stride_w = a->stride_w,
        .pad_h = a->pad_h,
        .pad_w = a->pad_w,
        .dilation_h = a->dilation_h,
        .dilation_w = a->dilation_w,
    };
}

static void lower_bwd_weight(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    mcl_weight_args args = mcl__conv2d_weight_args(a);
    mcl__operand source = mcl__in(0), target = mcl__out(0);
    if (wants_border(a)) {
        mcl_border_args border = border_of(a);
        source = lower_border(lowering, &border);
        args.XH = border.PH, args.XW = border.PW;
        args.pad_h = args.pad_w = 0;
        args.rows = a->KW * a->C;
        args.KW = 1;
    }
    tile t = weight_tile(args.rows, a->K, choose_tile(lowering));
    args.row_blocks = mcl__ceil_div(args.rows, t.P);
    args.column_blocks = mcl__ceil_div(a->K, t.NV * t.VW);
    int tiles = args.row_blocks * args.column_blocks, taps = args.KH * args.KW;
    args.chunk = choose_chunk(a, tiles * taps, t.local > 1);
    int chunks = mcl__ceil_div(a->N * a->OH, args.chunk), elements = mcl__shape_elements(problem->out[0]);
    if (chunks > 1) target = mcl__lower_workspace(lowering, (uint64_t)chunks * (uint64_t)elements * sizeof(float));

    size_t global[] = {(size_t)mcl__ceil_div(tiles, t.local) * (size_t)t.local, (size_t)taps, (size_t)chunks};
    size_t local[] = {(size_t)t.local, 1, 1};
    mcl__lower_kernel(lowering, "conv2d_weight", "conv2d_weight", NULL, "-DCB=%d -DNV=%d -DVW=%d -DLOCAL=%d", t.P, t.NV, t.VW,
                      t.local);
    mcl__lower_arg(lowering, source);
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, target);
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__lower_sizes(lowering, 3, global, local);
    if (chunks > 1) mcl__conv2d_reduce(lowering, target, elements, chunks);
}

void mcl__conv2d_lower_tile(mcl__lowering *lowering, const mcl__problem *problem)
{
    static const mcl__conv2d_lower passes[] = {lower_fwd, lower_bwd_data, lower_bwd_weight};
    mcl__conv2d_lower_pass(lowering, problem, passes);
}
