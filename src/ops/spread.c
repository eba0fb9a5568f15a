/* Launch sizes by the shape of the machine. */
#include "ops/spread.h"
#include "base/divide.h"

#define CPU_WIDTH 16
#define GPU_WIDTH 4
#define CPU_FLOATS 4096     /* a work-group on a CPU is worth its start from about here */
#define CPU_GROUPS 32       /* at most as many for each compute unit: enough to balance */
#define CPU_PART (1 << 15)  /* floats a part of a reduction */
#define CPU_ROWS 32         /* at least, so that what parts leave is little beside what they read */
#define CPU_TILE 4          /* of 8 rows, memory brings 144 channels at three quarters of the pace (Zen 4) */
#define GPU_ROWS 32
#define GPU_TILE 32
#define SHORT_TILE 16       /* of GPUs with few registers: compilers may keep a tile */
#define GPU_ITEMS (1 << 17) /* work-items that fill any GPU */
#define MAX_PARTS 256       /* one work-item adds a channel's parts */

static bool on_cpu(const mcl__lowering *lowering)
{
    return mcl__lowering_capabilities(lowering)->type == MCL_DEVICE_CPU;
}

bool mcl__on_opencl(const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    (void)problem;
    return capabilities->type != MCL_DEVICE_NATIVE;
}

int mcl__spread_width(const mcl__lowering *lowering)
{
    return on_cpu(lowering) ? CPU_WIDTH : GPU_WIDTH;
}

int mcl__spread_width_dividing(const mcl__lowering *lowering, int number)
{
    int width = mcl__spread_width(lowering);
    while (number % width) width /= 2;
    return width;
}

int mcl__spread_width_of_rows(const mcl__lowering *lowering, int C)
{
    if (!on_cpu(lowering)) return mcl__spread_width_dividing(lowering, C);
    int width = mcl__spread_width(lowering);
    while (C < width) width /= 2;
    return width;
}

int mcl__spread_width_from(const mcl__lowering *lowering, int offset)
{
    return on_cpu(lowering) ? mcl__spread_width(lowering) : mcl__spread_width_dividing(lowering, offset);
}

const char *mcl__spread_aligned(const mcl__lowering *lowering)
{
    return on_cpu(lowering) ? "" : " -DALIGNED";
}

static int at_least_one(int64_t n)
{
    return n < 1 ? 1 : (int)n;
}

void mcl__spread_items(mcl__lowering *lowering, int items, int cost)
{
    if (!on_cpu(lowering)) {
        mcl__lower_linear(lowering, (size_t)items);
        return;
    }
    int most = CPU_GROUPS * at_least_one(mcl__lowering_capabilities(lowering)->compute_units);
    int64_t groups = ((int64_t)items * cost - 1) / CPU_FLOATS + 1;
    if (groups > items) groups = items;
    size_t global = (size_t)(groups < most ? groups : most), local = 1;
    mcl__lower_sizes(lowering, 1, &global, &local);
}

/* The sizes along columns and rows; work-groups along columns first. */
static void choose_grid(const mcl__lowering *lowering, int columns, int rows, size_t global[2], size_t local[2])
{
    uint64_t largest = mcl__lowering_capabilities(lowering)->max_work_group;
    size_t items = on_cpu(lowering) || (largest && largest < 128) ? 1 : 128;
    local[0] = local[1] = 1;
    while (local[0] < items && local[0] < (size_t)columns) local[0] *= 2;
    while (local[0] * local[1] < items && local[1] < (size_t)rows) local[1] *= 2;
    global[0] = ((size_t)columns + local[0] - 1) / local[0] * local[0];
    global[1] = ((size_t)rows + local[1] - 1) / local[1] * local[1];
}

void mcl__spread_grid(mcl__lowering *lowering, int columns, int rows)
{
    size_t global[2], local[2];
    choose_grid(lowering, columns, rows, global, local);
    mcl__lower_sizes(lowering, 2, global, local);
}

void mcl__spread_lines(mcl__lowering *lowering, int across, int lines)
{
    mcl__spread_grid(lowering, on_cpu(lowering) ? 1 : across, lines);
}

void mcl__spread_pixels(mcl__lowering *lowering, int vectors, int pixels, int lines)
{
    size_t global[3] = {1, 1, (size_t)lines}, local[3] = {1, 1, 1};
    if (!on_cpu(lowering)) choose_grid(lowering, vectors, pixels, global, local);
    mcl__lower_sizes(lowering, 3, global, local);
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

mcl__row_split mcl__split_rows(const mcl__lowering *lowering, int rows, int C)
{
    bool cpu = on_cpu(lowering);
    bool few = mcl__lowering_capabilities(lowering)->few_registers;
    mcl__row_split split = {.width = mcl__spread_width_of_rows(lowering, C), .tile = cpu ? CPU_TILE : few ? SHORT_TILE : GPU_TILE};
    split.vectors = mcl__ceil_div(C, split.width);
    int most = cpu ? mcl__ceil_div(rows * C, CPU_PART) : at_least_one(GPU_ITEMS / split.vectors);
    int parts = smaller(mcl__ceil_div(rows, cpu ? CPU_ROWS : GPU_ROWS), smaller(most, MAX_PARTS));
    split.rows_each = mcl__round_up(mcl__ceil_div(rows, parts), split.tile);
    split.parts = mcl__ceil_div(rows, split.rows_each);
    return split;
}

int mcl__split_stride(mcl__row_split split)
{
    return split.vectors * split.width;
}

uint64_t mcl__split_bytes(mcl__row_split split)
{
    return (uint64_t)split.parts * (uint64_t)mcl__split_stride(split) * sizeof(float);
}

void mcl__lower_operands(mcl__lowering *lowering, const mcl__problem *problem, const void *args, size_t bytes)
{
    for (int i = 0; i < problem->inputs; i++) mcl__lower_arg(lowering, mcl__in(i));
    for (int i = 0; i < problem->outputs; i++) mcl__lower_arg(lowering, mcl__out(i));
    mcl__lower_arg_blob(lowering, args, bytes);
}
