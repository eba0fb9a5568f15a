/* The products between the transforms of conv2d_winograd_transforms.cl, for GPUs: as many of one shape as a tile has points.
 * conv2d_gemm.h draws the tile and counts its bytes.
 *   group 0: COLUMNS columns, 1: ROWS rows, 2: part of the depth and point
 *   convolution:      M = V U     V [points][rows: tiles][depth: C], U [points][depth][columns: K]
 *   weight gradient:  M = V^T U   V [points][depth: tiles][rows: C], U as above                           SOURCE_TRANSPOSED
 * A part adds a.chunk of the depth, in slices of DEPTH, the next of which is on its way while one is added, and has sums M
 * [points][rows][columns] of its own; with a.begun what is there already joins them. */
#include "conv2d_gemm.h"

#ifndef SOURCE_TRANSPOSED
#define SOURCE_TRANSPOSED 0
#endif

/* Vector `place` of a slice of depths d ... < depth and rows (or columns) first ... < count, of a matrix whose neighbours in memory
 * are these, [depth][count], or the depths, [count][depth]. */
float4 load_along(__global const float *x, int place, int width, int first, int count, int d, int depth)
{
    const int line = d + place / (width / 4), at = first + place % (width / 4) * 4;
    return load_some(x, line * count + at, line < depth ? count - at : 0, count % 4 == 0);
}

float4 load_across(__global const float *x, int place, int first, int count, int d, int depth)
{
    const int at = first + place / (DEPTH / 4), from = d + place % (DEPTH / 4) * 4;
    return load_some(x, at * depth + from, at < count ? depth - from : 0, depth % 4 == 0);
}

/* A slice from depth d on, before `end`. Called, not inlined, its arrays would lie on a stack. */
__attribute__((always_inline))
inline void load_slice(float4 row[ROW_LOADS], float4 column[COLUMN_LOADS], __global const float *v, __global const float *u,
                       int item, int first_row, int first_column, int d, int end, mcl_winograd_product_args a)
{
#pragma unroll
    for (int i = 0; i < ROW_LOADS; i++)
#if SOURCE_TRANSPOSED
        row[i] = load_along(v, item + i * ITEMS, ROWS, first_row, a.rows, d, end);
#else
        row[i] = load_across(v, item + i * ITEMS, first_row, a.rows, d, end);
#endif
#pragma unroll
    for (int j = 0; j < COLUMN_LOADS; j++)
        column[j] = load_along(u, item + j * ITEMS, COLUMNS, first_column, a.columns, d, end);
}

void store_slice(__local float *rows, __local float *columns, const float4 row[ROW_LOADS], const float4 column[COLUMN_LOADS],
                 int item)
{
#pragma unroll
    for (int i = 0; i < ROW_LOADS; i++) {
        const int place = item + i * ITEMS;
#if SOURCE_TRANSPOSED
        store_along(rows + place / (ROWS / 4) * ROW_PITCH + place % (ROWS / 4) * 4, row[i]);
#else
        store_across(rows + place % (DEPTH / 4) * 4 * ROW_PITCH + place / (DEPTH / 4), ROW_PITCH, row[i]);
#endif
    }
#pragma unroll
    for (int j = 0; j < COLUMN_LOADS; j++) {
        const int place = item + j * ITEMS;
        store_along(columns + place / (COLUMNS / 4) * COLUMN_PITCH + place % (COLUMNS / 4) * 4, column[j]);
    }
}

__attribute__((reqd_work_group_size(GX, GY, 1)))
__kernel void conv2d_winograd_product(__global const float *restrict v, __global const float *restrict u,
                                      __global float *restrict m, mcl_winograd_product_args a)
{
    __local float rows[DEPTH * ROW_PITCH] __attribute__((aligned(16)));
    __local float columns[DEPTH * COLUMN_PITCH] __attribute__((aligned(16)));
    const int tx = (int)get_local_id(0), ty = (int)get_local_id(1), item = ty * GX + tx;
    const int point = GROUP_ID(2, 1) % a.points, part = GROUP_ID(2, 1) / a.points;
    const int first_row = GROUP_ID(1, GY) * ROWS, first_column = (int)get_group_id(0) * COLUMNS;
    const int begin = part * a.chunk, end = min(begin + a.chunk, a.depth);
    float4 sum[4 * RV][CV], row[ROW_LOADS], column[COLUMN_LOADS];
    v += point * a.source_pitch;
    u += point * a.factor_pitch;
    m += GROUP_ID(2, 1) * a.sum_pitch;
#pragma unroll
    for (int i = 0; i < 4 * RV; i++)
#pragma unroll
        for (int j = 0; j < CV; j++) sum[i][j] = (float4)(0.0f);

    load_slice(row, column, v, u, item, first_row, first_column, begin, end, a);
    for (int d = begin + DEPTH; d < end + DEPTH; d += DEPTH) {
        store_slice(rows, columns, row, column, item);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (d < end) load_slice(row, column, v, u, item, first_row, first_column, d, end, a);
        multiply(sum, rows, columns, tx, ty);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

#pragma unroll
    for (int i = 0; i < 4 * RV; i++) {
        const int result = first_row + 4 * (ty + i / 4 * GY) + i % 4;
        if (result < a.rows) {
#pragma unroll
            for (int j = 0; j < CV; j++) {
                const int first = first_column + 4 * (tx + j * GX);
                if (a.begun) sum[i][j] += load_some(m, result * a.columns + first, a.columns - first, a.columns % 4 == 0);
                FINISH(sum[i][j], m, result, first, a.columns);
            }
        }
    }
}
