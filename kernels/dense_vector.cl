/* Products with one short side: one matrix bounds them, which is read once, as it lies. Made for CPUs, where a work-group is one
 * work-item; dense_vector_group.cl is for GPUs. A dense layer of few rows goes forward as a sum, and its data gradient as a dot;
 * one of few columns goes forward as a dot.
 *   dense_vector_sum   y (rows, columns) = x (rows, depth) w (depth, columns)
 *                      id 0: NV vectors of columns, for SHORT rows; id 1: a part of the depth, whose sums are copy id 1 of y
 *   dense_vector_dot   y (rows, columns) = matrix (rows, depth) vectors (columns, depth)^T
 *                      id 0: a run of rows, in tiles of TALL, for SHORT columns
 * SHORT is a class: of so many rows or columns those that are not there repeat the last, and are not stored. */
#include "lanes.h"
#include "pointwise.h"
#include "product_args.h"

#ifndef SHORT
#define SHORT 4
#endif
#ifndef NV
#define NV 4
#endif

/* --- sum: each of SETS sums of a result takes a row of w in turn, so that none waits for the one before it */

#define SETS (NV < 4 ? 4 / NV : 1)
#define ROWS_AHEAD 8

/* NV vectors at p, or, where fewer than these can be read, the `left` floats that are there. */
__attribute__((always_inline))
inline void load_row(VECTOR v[NV], __global const float *p, int whole, int left)
{
#pragma unroll
    for (int j = 0; j < NV; j++)
        v[j] = whole || left >= (j + 1) * VW ? GLOBAL_AT_CONST(p, j)
               : left > j * VW               ? load_part(p + j * VW, left - j * VW)
                                             : (VECTOR)(0.0f);
}

/* Adds row c of w times column c of x. */
__attribute__((always_inline))
inline void add_row(VECTOR sum[SHORT][NV], __global const float *x, __global const float *w, int c, int whole, int left,
                    mcl_vector_args a)
{
    const size_t ahead = ROWS_AHEAD * (size_t)a.columns;
    VECTOR v[NV];
    w += c * a.columns;
    load_row(v, w, whole, left);
#pragma unroll
    for (int j = 0; j < NV; j++) PREFETCH(w + ahead + j * VW);
#pragma unroll
    for (int r = 0; r < SHORT; r++) {
        const VECTOR factor = x[min(r, a.rows - 1) * a.depth + c];
#pragma unroll
        for (int j = 0; j < NV; j++) sum[r][j] = fma(factor, v[j], sum[r][j]);
    }
}

__attribute__((reqd_work_group_size(1, 1, 1)))
__kernel void dense_vector_sum(__global const float *restrict x, __global const float *restrict w, __global float *restrict y,
                               mcl_vector_args a EPILOGUE_PARAMS)
{
    const int channel = (int)get_global_id(0) * NV * VW, left = a.columns - channel;
    const int last = min(((int)get_global_id(1) + 1) * a.share, a.depth);
    /* Behind the end of a row stands the next one; only at the end of w are vectors not to be read whole. */
    const int whole = min(last, a.depth - (max(NV * VW - left, 0) + a.columns - 1) / a.columns);
    int c = (int)get_global_id(1) * a.share;
    VECTOR sum[SETS][SHORT][NV], result[SHORT * NV];
#pragma unroll
    for (int i = 0; i < SETS * SHORT * NV; i++) sum[i / (SHORT * NV)][i / NV % SHORT][i % NV] = 0.0f;

    for (; c + SETS <= whole; c += SETS)
#pragma unroll
        for (int s = 0; s < SETS; s++) add_row(sum[s], x, w + channel, c + s, 1, left, a);
    for (; c < last; c++) add_row(sum[0], x, w + channel, c, c < whole, left, a);

#pragma unroll
    for (int i = 0; i < SHORT * NV; i++) {
        result[i] = sum[0][i / NV][i % NV];
#pragma unroll
        for (int s = 1; s < SETS; s++) result[i] += sum[s][i / NV][i % NV];
    }
    y += (int)get_global_id(1) * a.rows * a.columns;
#pragma unroll 1
    for (int i = 0; i < min(SHORT, a.rows) * NV; i++) FINISH(result[i], y, i / NV, channel + i % NV * VW, a.columns);
}

/* --- dot: a tile is one vector of results, result p * SHORT + n of row p and column n */

#define TALL (VW / SHORT)
#define AHEAD 512 /* floats */
#define LANE ((int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))

/* The first `count` < VW floats at p, of a tensor that ends at `end`; 0 in the other lanes. */
__attribute__((always_inline))
inline VECTOR load_tail(__global const float *p, __global const float *end, int count)
{
    return end - p >= VW ? LANES_AND(GLOBAL_AT_CONST(p, 0), LANE < (int16)(count)) : load_part(p, count);
}

/* Adds a vector of each of the tile's rows times one of each column. */
__attribute__((always_inline))
inline void add_products(VECTOR sum[VW], const VECTOR row[TALL], const VECTOR column[SHORT])
{
#pragma unroll
    for (int i = 0; i < VW; i++) sum[i] = fma(row[i / SHORT], column[i % SHORT], sum[i]);
}

/* The tile whose first row is m. */
VECTOR dot_tile(__global const float *matrix, __global const float *vectors, int m, mcl_vector_args a)
{
    const int tail = a.depth % VW, whole = a.depth - tail;
    const int ahead = a.depth < 4 * AHEAD ? TALL * a.depth : AHEAD; /* the same place of the next tile, or of the row */
    VECTOR sum[VW], v[SHORT], u[TALL];
    __global const float *row[TALL], *column[SHORT];
#pragma unroll
    for (int i = 0; i < VW; i++) sum[i] = 0.0f;
#pragma unroll
    for (int p = 0; p < TALL; p++) row[p] = matrix + min(m + p, a.rows - 1) * a.depth;
#pragma unroll
    for (int n = 0; n < SHORT; n++) column[n] = vectors + min(n, a.columns - 1) * a.depth;

    for (int d = 0; d < whole; d += VW) {
#pragma unroll
        for (int n = 0; n < SHORT; n++) v[n] = GLOBAL_AT_CONST(column[n] + d, 0);
#pragma unroll
        for (int p = 0; p < TALL; p++) {
            u[p] = GLOBAL_AT_CONST(row[p] + d, 0);
            PREFETCH(row[p] + d + ahead);
        }
        add_products(sum, u, v);
    }
    if (tail > 0) {
#pragma unroll
        for (int n = 0; n < SHORT; n++) v[n] = load_tail(column[n] + whole, vectors + a.columns * a.depth, tail);
#pragma unroll
        for (int p = 0; p < TALL; p++) u[p] = load_tail(row[p] + whole, matrix + a.rows * a.depth, tail);
        add_products(sum, u, v);
    }
    lanes_transpose(sum);
#pragma unroll
    for (int i = 1; i < VW; i++) sum[0] += sum[i];
    return sum[0];
}

__attribute__((reqd_work_group_size(1, 1, 1)))
__kernel void dense_vector_dot(__global const float *restrict matrix, __global const float *restrict vectors,
                               __global float *restrict y, mcl_vector_args a EPILOGUE_PARAMS)
{
    const int first = (int)get_global_id(0) * a.share, last = min(first + a.share, a.rows);
    for (int m = first; m < last; m += TALL) {
        float result[VW];
        VSTORE(dot_tile(matrix, vectors, m, a), 0, result);
#pragma unroll 1
        for (int i = 0; i < VW; i++) {
            const int p = m + i / SHORT, n = i % SHORT;
            if (p >= last || n >= a.columns) continue;
            const int row = a.swapped ? n : p, channel = a.swapped ? p : n, channels = a.swapped ? a.rows : a.columns;
            float v = result[i];
            EPILOGUE(float, LOAD_ONE, v, row, channel, channels)
            y[row * channels + channel] = v;
        }
    }
}
