/* Weight gradient of 3x3 and 5x5 convolutions of stride 1 by Winograd's minimal filtering (winograd.h), of one group: the
 * transpose of the convolution's own formula in its weights. Made for CPUs, as conv2d_winograd.cl is.
 *                     columns: K                       global id 0: part, some groups of tiles, id 1: block of rows and columns
 *          block 0 | block 1 | ...                     for each group of tiles:
 *   rows: +--------+                                      V = B^T x B      [POINTS][tile][rows]
 *   C     | one    |                                      U = A dy A^T     [POINTS][tile][columns]
 *         | item   |                                      M += V^T U       [POINTS][rows][columns], the tiles being the depth
 *         +--------+                                   dw = G^T M G
 * A part, that is an item's groups of tiles, has a copy of dw of its own; conv2d_reduce in conv2d_forms.cl adds them in order.
 * Blocks are equal within one channel and no smaller than VW; a vector that would pass the end of a block is moved back to end
 * with it, and does some channels twice. Register tiles may pass a block's end, where V and U are 0. */
#include "args.h"
#include "lanes.h"
#include "pointwise.h"
#include "winograd_sources.h"

#ifndef NV
#define NV 2 /* vectors of a register tile */
#endif
#ifndef P
#define P 8 /* rows of a register tile */
#endif
#define WIDTH (NV * VW)

/* U of tiles [first, first + count), channels [k0, k0 + columns). */
void winograd_gradients(__global const float *restrict dy, __local float *restrict u, int first, int count, int k0, int columns,
                        int pitch, mcl_winograd_args a)
{
    const int tiles = a.tiles_h * a.tiles_w;
    VECTOR half_way[SIDE][TILE];
    for (int t = 0; t < count; t++) {
        const int tile = first + t;
        const int h = tile / a.tiles_w % a.tiles_h * TILE, left = tile % a.tiles_w * TILE;
        int inside[TILE], line[TILE]; /* of the tile's rows */
        for (int r = 0; r < TILE; r++) {
            inside[r] = h + r < a.TH ? -1 : 0;
            line[r] = (tile / tiles * a.TH + min(h + r, a.TH - 1)) * a.TW * a.K + k0;
        }
        for (int k = 0; k < columns; k += VW) {
            const int from = min(k, columns - VW);
            __local float *to = u + t * a.columns + from;
#pragma unroll 1
            for (int s = 0; s < TILE; s++) {
                VECTOR d[TILE], out[SIDE];
                const int within = left + s < a.TW;
                const int shift = (within ? left + s : 0) * a.K + from;
#pragma unroll
                for (int r = 0; r < TILE; r++)
                    d[r] = LANES_AND(VLOAD(0, dy + line[r] + shift), within ? inside[r] : 0);
                winograd_gradient(d, out);
#pragma unroll
                for (int r = 0; r < SIDE; r++) half_way[r][s] = out[r];
            }
#pragma unroll 1
            for (int r = 0; r < SIDE; r++) {
                VECTOR out[SIDE];
                winograd_gradient(half_way[r], out);
#pragma unroll
                for (int s = 0; s < SIDE; s++) LOCAL_AT(to + (r * SIDE + s) * pitch, 0) = out[s];
            }
        }
    }
}

/* 0 in channels [used, channels) of all points and tiles, which nothing else writes. */
void winograd_clear_rest(__local float *values, int used, int channels, int pitch, int tiles)
{
    for (int q = 0; q < POINTS; q++)
        for (int t = 0; t < tiles; t++)
            for (int c = used; c < channels; c++) values[q * pitch + t * channels + c] = 0.0f;
}

/* M = V^T U, or M += V^T U after the first group. While it multiplies, it asks memory for `weights`, which are
 * written next. */
void winograd_products(__local const float *restrict u, __local const float *restrict v, __local float *restrict m, int count,
                       int u_pitch, int v_pitch, int begun, upcoming source_next, upcoming gradient_next,
                       weight_block weights, mcl_winograd_args a)
{
    const int tiles = a.columns / WIDTH * (a.rows / P);
    for (int q = 0, done = 0; q < POINTS; q++)
        for (int k = 0; k < a.columns; k += WIDTH)
            for (int c = 0; c < a.rows; c += P, done++) {
                winograd_ask_weights(weights, done, POINTS * tiles);
                __local const float *gradient = u + q * u_pitch + k;
                __local const float *source = v + q * v_pitch + c;
                __local float *target = m + (q * a.rows + c) * a.columns + k;
                VECTOR sum[P][NV];
#pragma unroll
                for (int i = 0; i < P; i++)
#pragma unroll
                    for (int j = 0; j < NV; j++)
                        sum[i][j] = begun ? LOCAL_AT(target + i * a.columns, j) : (VECTOR)(0.0f);
                for (int t = 0; t < count; t++) {
                    VECTOR across[NV];
                    PREFETCH(source_next.at);
                    PREFETCH(gradient_next.at);
                    source_next.at += source_next.pace, gradient_next.at += gradient_next.pace;
#pragma unroll
                    for (int j = 0; j < NV; j++) across[j] = LOCAL_AT_CONST(gradient, j);
#pragma unroll
                    for (int i = 0; i < P; i++) {
                        const VECTOR value = (VECTOR)(source[i]);
#pragma unroll
                        for (int j = 0; j < NV; j++) sum[i][j] = fma(value, across[j], sum[i][j]);
                    }
                    gradient += a.columns;
                    source += a.rows;
                }
#pragma unroll
                for (int i = 0; i < P; i++)
#pragma unroll
                    for (int j = 0; j < NV; j++) LOCAL_AT(target + i * a.columns, j) = sum[i][j];
            }
}

/* The taps of row c, channels k ..., from M. */
void winograd_store_weights(__local const float *restrict m, __global float *restrict dw, mcl_winograd_args a)
{
    VECTOR half_way[TAPS][SIDE];
    const int pitch = a.rows * a.columns;
#pragma unroll 1
    for (int s = 0; s < SIDE; s++) {
        VECTOR point[SIDE], out[TAPS];
#pragma unroll
        for (int r = 0; r < SIDE; r++) point[r] = LOCAL_AT_CONST(m + (r * SIDE + s) * pitch, 0);
        winograd_weight_gradient(point, out);
#pragma unroll
        for (int r = 0; r < TAPS; r++) half_way[r][s] = out[r];
    }
#pragma unroll 1
    for (int r = 0; r < TAPS; r++) {
        VECTOR out[TAPS];
        winograd_weight_gradient(half_way[r], out);
#pragma unroll
        for (int s = 0; s < TAPS; s++) GLOBAL_AT(dw + (r * TAPS + s) * a.C * a.K, 0) = out[s];
    }
}

__attribute__((reqd_work_group_size(1, 1, 1)))
__kernel void conv2d_winograd_weight(__global const float *restrict x, __global const float *restrict dy,
                                     __global float *restrict dw PROLOGUE_PARAMS, __local float *restrict scratch,
                                     mcl_winograd_args a)
{
    const int part = (int)get_global_id(0), block = (int)get_global_id(1);
    const int row_block = block / a.column_blocks, column_block = block % a.column_blocks;
    const int c0 = row_block * a.C / a.depth_blocks, rows = (row_block + 1) * a.C / a.depth_blocks - c0;
    const int k0 = column_block * a.K / a.column_blocks, columns = (column_block + 1) * a.K / a.column_blocks - k0;
    /* A vector more for each point: else the points' places in a cache would be the same. */
    const int v_pitch = a.group * a.rows + VW, u_pitch = a.group * a.columns + VW;
    __local float *m = scratch, *v = m + POINTS * a.rows * a.columns, *u = v + POINTS * v_pitch;

    winograd_clear_rest(v, rows, a.rows, v_pitch, a.group);
    winograd_clear_rest(u, columns, a.columns, u_pitch, a.group);
    dw += (part * TAPS * TAPS * a.C + c0) * a.K + k0;
    const int tiles = a.N * a.tiles_h * a.tiles_w, groups = (tiles - 1) / a.group + 1;
    const int begin = (int)((long)part * groups / a.parts), end = (int)((long)(part + 1) * groups / a.parts);
    for (int g = begin; g < end; g++) {
        const int first = g * a.group, count = min(a.group, tiles - first), ends = g + 1 == end;
        const weight_block weights = {dw, ends ? rows : 0, columns, a.K, a.C * a.K};
        const int steps = POINTS * (a.columns / WIDTH) * (a.rows / P) * count;
        winograd_sources(x, v, first, count, c0, rows, a.rows, v_pitch, a PROLOGUE_ARGS);
        winograd_gradients(dy, u, first, count, k0, columns, u_pitch, a);
        winograd_products(u, v, m, count, u_pitch, v_pitch, g > begin,
                          upcoming_tiles(x, first + a.group, rows == a.C ? count : 0, a.SH, a.SW * a.C, steps, a),
                          upcoming_tiles(dy, first + a.group, columns == a.K ? count : 0, a.TH, a.TW * a.K, steps, a),
                          weights, a);
    }
    for (int c = 0; c < rows; c++)
        for (int k = 0; k < columns; k += VW) {
            const int from = min(k, columns - VW);
            winograd_store_weights(m + c * a.columns + from, dw + c * a.K + from, a);
        }
}
