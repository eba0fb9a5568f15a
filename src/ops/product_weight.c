/* Lowers weight gradients of dense layers and convolutions to kernels/product_weight.cl, a product over pixels, in blocks of the
 * result and chunks of pixels that are added in a fixed order. */
#include "base/divide.h"
#include "ops/conv2d.h"
#include "ops/epilogue.h"
#include "ops/outcome.h"
#include "ops/product.h"

enum {
    MOST_DEPTH = 64, /* pixels of a part: what a tile reads of them stays in the first cache; the kernel's ROWS */
    LEAST_DEPTH = 8,
    LEAST_CHUNK = 64,    /* pixels of an item */
    ITEMS = 16,          /* wanted, for a device of this class but not its size: bits depend on it */
    SCRATCH = 640 << 10, /* bytes: what a core's cache holds beside what is read */
    KEPT = 5 * MOST_DEPTH * 4 + 16 * 4 /* bytes of local memory beside scratch: places, and a vector of squares */
};

/* What the choice of blocks weighs, in multiply-adds of a vector: reading a vector, staging it as well, and a vector of a copy
 * that is written, read and added. */
enum { READ = 2, STAGE = 6, COPY = 12 };

static const int block_counts[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128}; /* along one side of dw */
enum { COUNTS = sizeof block_counts / sizeof *block_counts };

/* Floats from a staged pixel to the next: room for a tile, and for what is copied beyond the end; an odd number of vectors, since
 * a power of two would use few sets of a cache. */
static int pitch_of(int floats, int lanes)
{
    return ((mcl__round_up(floats, lanes) / lanes + 1) | 1) * lanes;
}

static int64_t sums_of(const mcl_product_block_args *b)
{
    return (int64_t)b->sum_rows * (b->swapped ? b->rows : b->columns);
}

typedef struct extent {
    int rows, columns, groups; /* of dw, which every group has */
    int64_t pixels, scratch;   /* bytes */
    bool follow;               /* a pixel of dy belongs to the same pixel of x, ... */
    bool plain;                /* ... as it is */
} extent;

/* What a multiply-add costs in a tile. Its loads beside 24 of them: 11 (8x3) are hidden, 25 (24x1) are not. Of short vectors 6x2 is
 * the quickest, 4x3 takes 1.08 and 12x1 1.21 times as long. */
static double pace_of(mcl__product_tile t)
{
    return t.VW == 16 ? 1 + (t.P + t.NV - 11) / 70.0 : t.NV == 1 ? 1.21 : t.NV == 2 ? 1 : 1.08;
}

/* The blocks that `b` counts, in tiles of t, and what they cost; false where they do not fit. */
static bool divide(mcl_product_block_args *b, mcl__product_tile t, extent e, double *cost)
{
    int width = t.NV * t.VW, blocks = b->row_blocks * b->column_blocks;
    b->rows = mcl__round_up(mcl__ceil_div(e.rows, b->row_blocks), b->swapped ? width : t.P);
    b->columns = mcl__round_up(mcl__ceil_div(e.columns, b->column_blocks), b->swapped ? t.P : width);
    if (mcl__ceil_div(e.rows, b->rows) != b->row_blocks || mcl__ceil_div(e.columns, b->columns) != b->column_blocks) return false;
    b->source_pitch = pitch_of(b->rows, t.VW), b->gradient_pitch = pitch_of(b->columns, t.VW);
    b->sum_rows = mcl__round_up(b->swapped ? b->columns : b->rows, t.VW);
    b->follow = e.follow, b->direct = e.plain && blocks == 1;
    int64_t depth = (e.scratch / (int64_t)sizeof(float) - sums_of(b)) / (b->source_pitch + b->gradient_pitch);
    if (depth < LEAST_DEPTH) return false;
    b->depth = depth > MOST_DEPTH ? MOST_DEPTH : (int)depth;

    int64_t chunks = mcl__ceil_div(ITEMS, blocks * e.groups), most = e.pixels / LEAST_CHUNK,
            elements = (int64_t)e.rows * e.columns * e.groups;
    if (most > INT32_MAX / elements) most = INT32_MAX / elements;
    if (chunks > most) chunks = most > 1 ? most : 1;
    b->chunk = (int)((e.pixels + chunks - 1) / chunks);
    double tiled = (double)b->rows * b->columns * blocks * pace_of(t);
    double read = (b->direct ? READ : STAGE) * ((double)e.rows * b->column_blocks + (double)e.columns * b->row_blocks);
    *cost = (double)e.pixels * (tiled * (1 + 4.0 / b->depth) + read);
    if (chunks > 1) *cost += (double)(COPY * chunks) * e.rows * e.columns;
    return true;
}

/* The cheapest way to divide dw; a tile of no rows where none fits. */
static mcl__product_tile choose_blocks(mcl_product_block_args *best, extent e, mcl__product_tiles tiles)
{
    mcl__product_tile tile = {0};
    double least = 0;
    for (int i = 0; i < 2 * tiles.count * COUNTS * COUNTS; i++) {
        mcl__product_tile t = tiles.at[i / (2 * COUNTS * COUNTS)];
        mcl_product_block_args b = {.swapped = i / (COUNTS * COUNTS) % 2,
                                    .row_blocks = block_counts[i / COUNTS % COUNTS],
                                    .column_blocks = block_counts[i % COUNTS]};
        double cost;
        if (!divide(&b, t, e, &cost) || (tile.P && cost >= least)) continue;
        least = cost, *best = b, tile = t;
    }
    return tile;
}

static mcl__product_tile blocks_for(mcl_product_block_args *best, const mcl__problem *problem, const mcl_conv2d_args *a,
                                    const mcl__capabilities *capabilities)
{
    int64_t local = (int64_t)capabilities->local_memory - KEPT;
    bool moved = a->KH > 1 || a->KW > 1 || a->stride_h > 1 || a->stride_w > 1 || a->pad_h > 0 || a->pad_w > 0;
    extent e = {
        .rows = a->KH * a->KW * (a->C / a->groups),
        .columns = a->K / a->groups,
        .groups = a->groups,
        .pixels = (int64_t)a->N * a->OH * a->OW,
        .scratch = local < SCRATCH ? local : SCRATCH,
        .follow = !moved && a->groups == 1,
        .plain = !moved && a->groups == 1 && problem->prologue.count == 0,
    };
    return choose_blocks(best, e, mcl__product_tiles_of(capabilities));
}

bool mcl__product_weight_fits(const mcl__problem *problem, const mcl_conv2d_args *a, const mcl__capabilities *capabilities)
{
    mcl_product_block_args b;
    return mcl__cpu_unrolls(capabilities) && blocks_for(&b, problem, a, capabilities).P > 0;
}

static int chunks_of(const mcl_product_block_args *b, const mcl_conv2d_args *a)
{
    return mcl__ceil_div(a->N * a->OH * a->OW, b->chunk);
}

/* Of dense layers, which are one group; not in chunks, which another kernel adds. */
bool mcl__product_takes_squares(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    mcl_product_block_args b;
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    if (!mcl__attrs_have_squares(problem->op, &problem->attrs) || !mcl__squares_finish_applies(capabilities)) return false;
    return blocks_for(&b, problem, &a, capabilities).P > 0 && chunks_of(&b, &a) == 1;
}

void mcl__product_weight_lower(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    char prelude[MCL__PRELUDE_BYTES];
    mcl_product_block_args b = {0};
    mcl_product_args args = mcl__product_fwd_args(problem, a);
    mcl__product_tile t = blocks_for(&b, problem, a, mcl__lowering_capabilities(lowering));
    int chunks = chunks_of(&b, a), elements = mcl__shape_elements(problem->out[0]);
    int blocks = b.row_blocks * b.column_blocks;
    bool squares = mcl__product_takes_squares(problem, mcl__lowering_capabilities(lowering));
    mcl__operand target = mcl__out(0), partial = mcl__out(0);
    if (chunks > 1) target = mcl__lower_workspace(lowering, (uint64_t)chunks * (uint64_t)elements * sizeof(float));
    if (squares) partial = mcl__lower_workspace(lowering, (uint64_t)blocks * sizeof(float));
    size_t scratch = (size_t)sums_of(&b) + (size_t)b.depth * (size_t)(b.source_pitch + b.gradient_pitch);
    size_t global[] = {(size_t)blocks, (size_t)chunks, (size_t)a->groups}, local[] = {1, 1, 1};

    mcl__lower_kernel(lowering, "product_weight", "product_weight", mcl__problem_prelude(problem, 0, prelude),
                      "-DP=%d -DNV=%d -DVW=%d -DROWS=%d -DSQUARES=%d", t.P, t.NV, t.VW, MOST_DEPTH, squares);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, target);
    mcl__lower_arg(lowering, partial);
    mcl__lower_arg_local(lowering, scratch * sizeof(float));
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__lower_arg_blob(lowering, &b, sizeof b);
    mcl__prologue_bind(lowering, problem);
    mcl__lower_sizes(lowering, 3, global, local);
    if (chunks > 1) mcl__conv2d_reduce(lowering, target, elements, chunks);
    if (squares) mcl__lower_squares_finish(lowering, partial, blocks, mcl__out(1));
}
