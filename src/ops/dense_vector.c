/* Lowers dense layers of few rows, as the prediction of one picture has, and those of few columns to kernels/dense_vector.cl and
 * dense_vector_group.cl, forward and data gradient; 1x1 convolutions too. */
#include "base/divide.h"
#include "ops/conv2d.h"
#include "ops/epilogue.h"
#include "ops/spread.h"
#include "product_args.h"

enum {
    SHORT = 8,            /* rows or columns, at most */
    LEAST = 16,           /* products for each of the sums that a dot folds, of a data gradient; else others do better */
    LANES = 16,           /* floats of a CPU's vector */
    ITEMS = 32,           /* of a sum on CPUs, at most, each with ... */
    ITEM_WEIGHTS = 65536, /* ... no fewer of these. Parts depend on the shape alone, and bits on the parts */
    GROUPS = 256,         /* the same on GPUs, ... */
    GROUP_DEPTH = 64,     /* ... by the depth of a part */
    GROUP = 256,          /* items of a work-group, at most */
    GROUP_BYTES = 20480,  /* of local memory, at most */
    RUN = 4096            /* floats that an item of a dot reads, at least */
};

/* Batches of one to four share a program. */
static int class_of_rows(int rows)
{
    return rows <= SHORT / 2 ? SHORT / 2 : SHORT;
}

typedef enum way { NEITHER, SUM, DOT } way;

static way way_of(const mcl__problem *problem)
{
    mcl_conv2d_args a = mcl__conv2d_args(problem);
    int rows = a.N * a.OH * a.OW;
    bool few = rows <= SHORT;
    if (!mcl__conv2d_is_product(&a)) return NEITHER;
    switch (mcl__conv2d_pass_of(problem)) {
    case MCL__FWD:
        return a.K <= SHORT ? DOT : few ? SUM : NEITHER;
    case MCL__BWD_DATA:
        return few && a.K >= LEAST * class_of_rows(rows) ? DOT : NEITHER;
    default:
        return NEITHER;
    }
}

bool mcl__dense_vector_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    bool gpu = capabilities->type == MCL_DEVICE_GPU && capabilities->max_work_group >= GROUP &&
               capabilities->local_memory >= GROUP_BYTES;
    return (gpu || capabilities->type == MCL_DEVICE_CPU) && way_of(problem) != NEITHER;
}

static int class_of_columns(int columns)
{
    int class = 1;
    while (class < columns) class *= 2;
    return class;
}

static bool on_gpu(const mcl__lowering *lowering)
{
    return mcl__lowering_capabilities(lowering)->type == MCL_DEVICE_GPU;
}

static void begin_group_kernel(mcl__lowering *lowering, const char *name, const char *prelude, int class, const size_t local[2],
                               int width)
{
    mcl__lower_kernel(lowering, "dense_vector_group", name, prelude, "-DSHORT=%d -DLANES=%d -DLINES=%d -DWIDTH=%d%s", class,
                      (int)local[0], (int)local[1], width, mcl__spread_aligned(lowering));
}

/* --- sum */

/* Of the depth: as many as make `wanted` items, unless each had less than `least`. */
static int parts_of(int depth, int blocks, int wanted, int least)
{
    int parts = wanted / blocks, most = depth / least;
    if (parts > most) parts = most;
    return parts > 1 ? mcl__ceil_div(depth, mcl__ceil_div(depth, parts)) : 1;
}

/* Adds the copies of the result that parts left. */
static void lower_finish(mcl__lowering *lowering, const mcl__problem *problem, mcl__operand copies, int count,
                         const mcl_vector_args *args)
{
    char prelude[MCL__PRELUDE_BYTES];
    int taken = mcl__epilogue_plain(&problem->epilogue, 0);
    mcl__lower_kernel(lowering, "dense_vector_group", "dense_vector_finish",
                      mcl__epilogue_prelude(&problem->epilogue, 0, taken, prelude), NULL);
    mcl__lower_arg(lowering, copies);
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg_i32(lowering, count);
    mcl__lower_arg_blob(lowering, args, sizeof *args);
    mcl__epilogue_bind(lowering, problem, 0, taken);
    mcl__lower_linear(lowering, (size_t)args->rows * (size_t)args->columns);
}

static void lower_sum(mcl__lowering *lowering, const mcl__problem *problem, int rows, int C, int K)
{
    bool gpu = on_gpu(lowering);
    int class = class_of_rows(rows), width = gpu ? mcl__spread_width_dividing(lowering, K) : LANES;
    size_t local[] = {gpu ? 16 : 1, gpu ? (size_t)(GROUP / 4 / class) : 1};
    int vectors = gpu ? (int)local[0] : K <= LANES ? 1 : K <= 2 * LANES ? 2 : 4, span = vectors * width;
    int blocks = mcl__ceil_div(K, span);
    int parts = gpu ? parts_of(C, blocks, GROUPS, GROUP_DEPTH) : parts_of(C, blocks, ITEMS, ITEM_WEIGHTS / span);
    int plain = mcl__epilogue_plain(&problem->epilogue, 0), taken = parts > 1 ? 0 : plain;
    mcl_vector_args args = {.rows = rows, .depth = C, .columns = K, .share = mcl__ceil_div(C, parts)};
    size_t global[] = {(size_t)blocks * local[0], (size_t)parts * local[1]};
    char text[MCL__PRELUDE_BYTES];
    const char *prelude = mcl__epilogue_prelude(&problem->epilogue, 0, taken, text);
    mcl__operand target = mcl__out(0);
    if (parts > 1) target = mcl__lower_workspace(lowering, (uint64_t)parts * (uint64_t)rows * (uint64_t)K * sizeof(float));

    if (gpu) begin_group_kernel(lowering, "dense_vector_sum_group", prelude, class, local, width);
    else mcl__lower_kernel(lowering, "dense_vector", "dense_vector_sum", prelude, "-DSHORT=%d -DNV=%d", class, vectors);
    mcl__lower_arg(lowering, mcl__in(0));
    mcl__lower_arg(lowering, mcl__in(1));
    mcl__lower_arg(lowering, target);
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__epilogue_bind(lowering, problem, 0, taken);
    mcl__lower_sizes(lowering, 2, global, local);
    if (parts > 1) lower_finish(lowering, problem, target, parts, &args);
    mcl__lower_epilogue(lowering, problem, plain);
}

/* --- dot */

/* Rows of an item on CPUs, whole tiles of them. */
static int run_of(const mcl_vector_args *a, int tall)
{
    int rows = mcl__ceil_div(RUN, a->depth), most = mcl__ceil_div(a->rows, ITEMS);
    return mcl__round_up(rows > most ? rows : most, tall);
}

static void lower_dot(mcl__lowering *lowering, const mcl__problem *problem, mcl__operand matrix, mcl__operand vectors, int class,
                      mcl_vector_args args)
{
    bool gpu = on_gpu(lowering);
    int taken = mcl__epilogue_plain(&problem->epilogue, 0), tall = gpu ? 2 : LANES / class;
    size_t local[] = {gpu ? 32 : 1, gpu ? GROUP / 32 : 1};
    args.share = gpu ? tall * (int)local[1] : run_of(&args, tall);
    size_t global[] = {(size_t)mcl__ceil_div(args.rows, args.share) * local[0], local[1]};
    char text[MCL__PRELUDE_BYTES];
    const char *prelude = mcl__epilogue_prelude(&problem->epilogue, 0, taken, text);

    int width = mcl__spread_width_dividing(lowering, args.depth);
    if (gpu) begin_group_kernel(lowering, "dense_vector_dot_group", prelude, class, local, width);
    else mcl__lower_kernel(lowering, "dense_vector", "dense_vector_dot", prelude, "-DSHORT=%d", class);
    mcl__lower_arg(lowering, matrix);
    mcl__lower_arg(lowering, vectors);
    mcl__lower_arg(lowering, mcl__out(0));
    mcl__lower_arg_blob(lowering, &args, sizeof args);
    mcl__epilogue_bind(lowering, problem, 0, taken);
    mcl__lower_sizes(lowering, 2, global, local);
    mcl__lower_epilogue(lowering, problem, taken);
}

static void lower_fwd(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    int rows = a->N * a->OH * a->OW;
    if (way_of(problem) == SUM) {
        lower_sum(lowering, problem, rows, a->C, a->K);
        return;
    }
    mcl__operand columns = a->K > 1 ? mcl__conv2d_transposed(lowering, a->C, a->K) : mcl__in(1);
    lower_dot(lowering, problem, mcl__in(0), columns, class_of_columns(a->K),
              (mcl_vector_args){.rows = rows, .depth = a->C, .columns = a->K});
}

static void lower_bwd_data(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *a)
{
    int rows = a->N * a->OH * a->OW;
    lower_dot(lowering, problem, mcl__in(1), mcl__in(0), class_of_rows(rows),
              (mcl_vector_args){.rows = a->C, .depth = a->K, .columns = rows, .swapped = 1});
}

void mcl__lower_dense_vector(mcl__lowering *lowering, const mcl__problem *problem)
{
    static const mcl__conv2d_lower passes[3] = {lower_fwd, lower_bwd_data};
    mcl__conv2d_lower_pass(lowering, problem, passes);
}
