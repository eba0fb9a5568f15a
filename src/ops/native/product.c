/* A product in three levels: areas of C, which threads share; blocks of A and B along the sum, copied so that they lie
 * densely in the second-level cache, in an order that suits the innermost loop; and there tiles that live in registers.
 * A pair of blocks costs 2 * BLOCK^2 copies and BLOCK^3 multiply-adds. Areas at the edges compute whole tiles too: what a
 * block has beyond its area is zero there, and is never stored. */
#include "ops/native/product.h"
#include "base/divide.h"
#include "ops/native/native.h"
#include <string.h>

#define ROW_STEP 12 /* multiples of every tile's rows and columns */
#define COLUMN_STEP 32

static int least(int a, int b) { return a < b ? a : b; }

/* The size of equal pieces, none larger than a block, that an extent of C is cut into. */
static int piece(int extent, int step)
{
    int pieces = mcl__ceil_div(extent, MCL__BLOCK), size = mcl__ceil_div(extent, pieces);
    return mcl__round_up(size, step);
}

static int pieces(int extent, int step) { return mcl__ceil_div(extent, piece(extent, step)); }

int mcl__native_product_areas(int M, int N) { return pieces(M, ROW_STEP) * pieces(N, COLUMN_STEP); }

/* What tiles read of a block (rows,columns) beyond what was loaded, (loaded_rows,loaded_columns). */
static void clear_surplus(float *block, int rows, int columns, int loaded_rows, int loaded_columns)
{
    for (int i = 0; i < rows; i++) {
        int first = i < loaded_rows ? loaded_columns : 0;
        memset(block + i * MCL__BLOCK_PITCH + first, 0, (size_t)(columns - first) * sizeof *block);
    }
}

/* c (rows,columns) = a * b over `depth` terms, or gains it. A column of tiles keeps its part of b in the first-level cache. */
static void multiply(const mcl__tile *tile, bool transposed, int rows, int columns, int depth, const float *a, const float *b,
                     float *c, bool add)
{
    mcl__tile_product product = transposed ? tile->transposed : tile->plain;
    for (int j = 0; j < columns; j += tile->columns)
        for (int i = 0; i < rows; i += tile->rows)
            product(depth, transposed ? a + i : a + i * MCL__BLOCK_PITCH, b + j, c + i * MCL__BLOCK_PITCH + j, add);
}

/* One part of the sums of one area of C. */
static void area_product(const mcl__product *p, const mcl__tile *tile, const mcl__area *area)
{
    _Alignas(64) mcl__block a, b, c;
    int first = area->part * p->part, end = least(p->K - first, p->part) + first;
    int rows = mcl__round_up(area->rows, tile->rows), columns = mcl__round_up(area->columns, tile->columns);
    for (int k = first; k < end; k += MCL__BLOCK) {
        int depth = least(MCL__BLOCK, end - k);
        mcl__area of_a = {area->index, area->part, area->row, area->rows, k, depth};
        if (p->transposed) of_a = (mcl__area){area->index, area->part, k, depth, area->row, area->rows};
        mcl__area of_b = {area->index, area->part, k, depth, area->column, area->columns};
        p->load_a(p->context, &of_a, a);
        p->load_b(p->context, &of_b, b);
        if (p->transposed) clear_surplus(a, depth, rows, depth, area->rows);
        else clear_surplus(a, rows, depth, area->rows, depth);
        clear_surplus(b, depth, columns, depth, area->columns);
        multiply(tile, p->transposed, area->rows, area->columns, depth, a, b, c, k > first);
    }
    if (first >= end) memset(c, 0, (size_t)area->rows * MCL__BLOCK_PITCH * sizeof *c); /* a sum of no terms */
    p->store(p->context, area, c);
}

void mcl__native_product(const mcl__product *p)
{
    const mcl__tile *tile = mcl__tile_get(0);
    int rows = piece(p->M, ROW_STEP), columns = piece(p->N, COLUMN_STEP);
    int down = pieces(p->M, ROW_STEP), across = pieces(p->N, COLUMN_STEP), parts = p->K > 0 ? (p->K - 1) / p->part + 1 : 1;
    int64_t tasks = (int64_t)p->count * parts * down * across;
#pragma omp parallel for schedule(dynamic) if (tasks > 1 && mcl__native_worth((double)p->count * p->M * p->N * (p->K + 1)))
    for (int64_t task = 0; task < tasks; task++) {
        int column = (int)(task % across) * columns, row = (int)(task / across % down) * rows;
        int64_t rest = task / across / down;
        mcl__area area = {(int)(rest / parts), (int)(rest % parts), row, least(rows, p->M - row), column,
                          least(columns, p->N - column)};
        area_product(p, tile, &area);
    }
}

/* As many multiply-adds as a product of size^3 takes, on blocks that stay in the cache: what the products above can reach. */
void mcl__native_peak_product(const mcl__native_arg *arg)
{
    const mcl__tile *tile = mcl__tile_get(0);
    int side = arg[0].i32 / MCL__BLOCK;
#pragma omp parallel
    {
        _Alignas(64) mcl__block a = {0}, b = {0}, c = {0};
#pragma omp for schedule(static)
        for (int task = 0; task < side * side * side; task++)
            multiply(tile, false, MCL__BLOCK, MCL__BLOCK, MCL__BLOCK, a, b, c, true);
    }
}
