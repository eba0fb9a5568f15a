/* Products with one short side for GPUs: what dense_vector.cl says, where a work-group of LANES x LINES items shares each sum.
 * Neighbours along id 0 read vectors of the matrix that are next to each other. Memory bounds both: 2 * rows FLOP for 4 bytes.
 *   dense_vector_sum_group   group 0: LANES vectors of columns, for SHORT rows; group 1: a part of the depth, of which a line takes
 *                            each LINES-th row
 *   dense_vector_dot_group   group 0: LINES * TALL rows, for SHORT columns; a line's items divide the depth among them
 *   dense_vector_finish      adds the copies of y that parts of the depth left, an item an element */
#include "epilogue.h"
#include "group_id.h"
#include "pointwise.h"
#include "product_args.h"
#include "vector.h"

#ifndef SHORT
#define SHORT 4
#endif
#ifndef LANES
#define LANES 16
#define LINES 16
#endif
#define ITEMS (LANES * LINES)

#define SPAN (LANES * WIDTH) /* columns of a group */

__attribute__((reqd_work_group_size(LANES, LINES, 1)))
kernel void dense_vector_sum_group(global const float *restrict x, global const float *restrict w, global float *restrict y,
                                   mcl_vector_args a EPILOGUE_PARAMS)
{
    local vec share[LINES * SHORT * LANES];
    local const float *shared = (local const float *)share;
    const int lane = (int)get_local_id(0), line = (int)get_local_id(1), column = (int)get_global_id(0) * WIDTH;
    const int part = GROUP_ID(1, LINES), last = min((part + 1) * a.share, a.depth);
    vec sum[SHORT];
#pragma unroll
    for (int r = 0; r < SHORT; r++) sum[r] = 0.0f;
    for (int c = part * a.share + line; column < a.columns && c < last; c += LINES) {
        const vec v = VLOAD(w + c * a.columns + column);
#pragma unroll
        for (int r = 0; r < SHORT; r++) sum[r] = fma((vec)(x[min(r, a.rows - 1) * a.depth + c]), v, sum[r]);
    }
#pragma unroll
    for (int r = 0; r < SHORT; r++) share[(line * SHORT + r) * LANES + lane] = sum[r];
    barrier(CLK_LOCAL_MEM_FENCE);

    y += part * a.rows * a.columns;
    for (int i = line * LANES + lane; i < SHORT * SPAN; i += ITEMS) {
        const int row = i / SPAN, channel = (int)get_group_id(0) * SPAN + i % SPAN;
        float v = 0.0f;
        for (int q = 0; q < LINES; q++) v += shared[q * SHORT * SPAN + i];
        if (row < a.rows && channel < a.columns) {
            EPILOGUE(float, LOAD_ONE, v, row, channel, a.columns)
            y[row * a.columns + channel] = v;
        }
    }
}

#define TALL 2
#define PITCH (LANES + 1) /* so that items which add neighbouring results read different banks */

__attribute__((reqd_work_group_size(LANES, LINES, 1)))
kernel void dense_vector_dot_group(global const float *restrict matrix, global const float *restrict vectors,
                                   global float *restrict y, mcl_vector_args a EPILOGUE_PARAMS)
{
    local float share[LINES * TALL * SHORT * PITCH];
    const int lane = (int)get_local_id(0), line = (int)get_local_id(1), first = (int)get_group_id(0) * LINES * TALL;
    vec sum[TALL][SHORT], v[SHORT];
#pragma unroll
    for (int i = 0; i < TALL * SHORT; i++) sum[i / SHORT][i % SHORT] = 0.0f;
    for (int d = lane * WIDTH; d < a.depth; d += LANES * WIDTH) {
#pragma unroll
        for (int n = 0; n < SHORT; n++) v[n] = VLOAD(vectors + min(n, a.columns - 1) * a.depth + d);
#pragma unroll
        for (int p = 0; p < TALL; p++) {
            const vec u = VLOAD(matrix + min(first + line * TALL + p, a.rows - 1) * a.depth + d);
#pragma unroll
            for (int n = 0; n < SHORT; n++) sum[p][n] = fma(u, v[n], sum[p][n]);
        }
    }
#pragma unroll
    for (int i = 0; i < TALL * SHORT; i++)
        share[(line * TALL * SHORT + i) * PITCH + lane] = sum_lanes(sum[i / SHORT][i % SHORT]);
    barrier(CLK_LOCAL_MEM_FENCE);

    for (int i = line * LANES + lane; i < LINES * TALL * SHORT; i += ITEMS) {
        const int p = first + i / SHORT, n = i % SHORT;
        const int row = a.swapped ? n : p, channel = a.swapped ? p : n, channels = a.swapped ? a.rows : a.columns;
        float v = 0.0f;
        for (int q = 0; q < LANES; q++) v += share[i * PITCH + q];
        if (p < a.rows && n < a.columns) {
            EPILOGUE(float, LOAD_ONE, v, row, channel, channels)
            y[row * channels + channel] = v;
        }
    }
}

kernel void dense_vector_finish(global const float *restrict copies, global float *restrict y, int count, mcl_vector_args a
                                EPILOGUE_PARAMS)
{
    const int i = (int)get_global_id(0), row = i / a.columns, channel = i % a.columns;
    if (row >= a.rows) return;
    float v = 0.0f;
    for (int q = 0; q < count; q++) v += copies[q * a.rows * a.columns + i];
    EPILOGUE(float, LOAD_ONE, v, row, channel, a.columns)
    y[i] = v;
}
