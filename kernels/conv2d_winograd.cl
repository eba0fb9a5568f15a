/* Forward convolution and data gradient of 3x3 and 5x5 kernels of stride 1 by Winograd's minimal filtering (winograd.h), of one
 * group. Made for CPUs: a work-group is one work-item, whose stages hand over through local memory that stays in a core's cache.
 *                        columns: channels of the target
 *                 block 0 | block 1 | ...                     global id 0: `span` groups of tiles, id 1: block of columns
 *   group of   +----------+                                    for each block of the source's channels:
 *   tiles      | one      |                                      U = G g G^T    [POINTS][panel][depth][WIDTH]
 *              | work-item|                                      V = B^T d B    [tile][POINTS][depth]
 *              +----------+                                      M += V U, a register tile of P tiles x NV vectors at a time
 *                                                              y = A^T M A      M: [tile][POINTS][columns]
 * Where a block's columns are one register tile and no more than its only block of channels, M takes the place of V. While it
 * multiplies, an item that has all channels of both asks memory for the pixels that it transforms next and for those that it
 * writes; one that has several blocks of the source's channels, for the weights of the next block.
 * With parts > 0 it leaves statistics of the target in `partial` (stats.h): part p is of groups p * chunk ..., and `span` is a
 * multiple of chunk, so that no sum depends on how groups are shared among items.
 * A product in the POINTS transformed values of a tile takes the place of TAPS^2 TILE^2 products: 4 times fewer for 3x3 in tiles
 * of 4x4, 2.8 times for 5x5 in tiles of 2x2. For each of its tiles, an item transforms `depth` channels to use them in `columns`
 * channels. Tiles of V stand as far apart as those of MOST_DEPTH channels, so that one program with constant distances serves all
 * depths.
 * Blocks are equal within one channel; a vector that would pass the end of a block is moved back to end with it, and
 * does some channels twice. So C >= VW and K >= VW, and no block is smaller. */
#include "args.h"
#include "conv2d_tile.h"
#include "lanes.h"
#include "pointwise.h"
#include "stats.h"
#include "winograd_sources.h"

#ifndef NV
#define NV 2 /* vectors of a register tile */
#endif
#ifndef P
#define P 11 /* transformed tiles of a register tile */
#endif
#ifndef MOST_DEPTH
#define MOST_DEPTH 64 /* channels of the source in a block */
#endif
#ifndef MOST_COLUMNS
#define MOST_COLUMNS 64 /* channels of the target in a block */
#endif
#define WIDTH (NV * VW)
/* Floats from a point to the next one in U: a vector more than it has, or all would have one place in a cache. */
#define U_PITCH(a) ((a).depth * (a).columns + VW)
#define V_TILE (POINTS * MOST_DEPTH) /* floats from a tile to the next one in V */

/* The vectors of weights of all taps for each of VW channels of the source from c on, and for channels k ... of the target. */
void winograd_read_weights(__global const float *restrict w, VECTOR patch[TAPS * TAPS][VW], int c, int k, mcl_winograd_args a)
{
#pragma unroll 1
    for (int tap = 0; tap < TAPS * TAPS; tap++) {
        VECTOR row[VW];
        if (a.transposed) {
            __global const float *from = w + ((TAPS * TAPS - 1 - tap) * a.K + k) * a.C + c;
#pragma unroll
            for (int i = 0; i < VW; i++) row[i] = VLOAD(0, from + i * a.C);
            lanes_transpose(row);
        } else {
            __global const float *from = w + (tap * a.C + c) * a.K + k;
#pragma unroll
            for (int i = 0; i < VW; i++) row[i] = VLOAD(0, from + i * a.K);
        }
#pragma unroll
        for (int i = 0; i < VW; i++) patch[tap][i] = row[i];
    }
}

/* U of channels [c0, c0 + depth) of the source and [k0, k0 + columns) of the target. While it transforms a patch of VW x VW
 * channels it asks memory for the next one. */
void winograd_weights(__global const float *restrict w, __local float *restrict u, int c0, int depth, int k0, int columns,
                      mcl_winograd_args a)
{
    const int pitch = U_PITCH(a);
    VECTOR patch[TAPS * TAPS][VW], half_way[SIDE][TAPS];
    for (int k = 0; k < a.columns; k += VW)
        for (int c = 0; c < depth; c += VW) {
            const int from = min(c, depth - VW), ends = c + VW >= depth;
            const int next_c = c0 + (ends ? 0 : min(c + VW, depth - VW)), next_k = k0 + min(ends ? k + VW : k, columns - VW);
            __global const float *next = w + (a.transposed ? next_k * a.C + next_c : next_c * a.K + next_k);
            winograd_read_weights(w, patch, c0 + from, k0 + min(k, columns - VW), a);
            for (int i = 0; i < VW; i++, next += a.transposed ? a.C : a.K) {
#pragma unroll
                for (int tap = 0; tap < TAPS * TAPS; tap++) PREFETCH(next + tap * a.C * a.K);
                __local float *to = u + (k / WIDTH * a.depth + from + i) * WIDTH + k % WIDTH;
#pragma unroll 1
                for (int s = 0; s < TAPS; s++) {
                    VECTOR g[TAPS], out[SIDE];
#pragma unroll
                    for (int r = 0; r < TAPS; r++) g[r] = patch[r * TAPS + s][i];
                    winograd_weight(g, out);
#pragma unroll
                    for (int r = 0; r < SIDE; r++) half_way[r][s] = out[r];
                }
#pragma unroll 1
                for (int r = 0; r < SIDE; r++) {
                    VECTOR out[SIDE];
                    winograd_weight(half_way[r], out);
#pragma unroll
                    for (int s = 0; s < SIDE; s++) LOCAL_AT(to + (r * SIDE + s) * pitch, 0) = out[s];
                }
            }
        }
}

/* The weights of channels [c0, c0 + depth) of the source and [k0, k0 + columns) of the target. */
weight_block weights_at(__global const float *w, int c0, int depth, int k0, int columns, mcl_winograd_args a)
{
    const weight_block block = {w + (a.transposed ? k0 * a.C + c0 : c0 * a.K + k0), a.transposed ? columns : depth,
                                a.transposed ? depth : columns, a.transposed ? a.C : a.K, a.C * a.K};
    return block;
}

/* M = V U, or M += V U after the first block of channels. */
void winograd_products(__local const float *restrict u, __local const float *v, __local float *m, int count, int depth, int columns,
                       int begun, upcoming source_next, upcoming target_next, weight_block weights_next, mcl_winograd_args a)
{
    const int tiles = (columns + WIDTH - 1) / WIDTH * ((count + P - 1) / P);
    for (int q = 0, done = 0; q < POINTS; q++)
        for (int k = 0; k < columns; k += WIDTH)
            for (int t = 0; t < count; t += P, done++) {
                winograd_ask_weights(weights_next, done, POINTS * tiles);
                __local const float *weight = u + q * U_PITCH(a) + k * a.depth;
                __local const float *source = v + t * V_TILE + q * a.depth;
                __local float *target = m + t * a.sum_tile + q * a.sum_point + k;
                VECTOR sum[P][NV];
#pragma unroll
                for (int i = 0; i < P; i++)
#pragma unroll
                    for (int j = 0; j < NV; j++)
                        sum[i][j] = begun ? VLOAD(j, target + i * a.sum_tile) : (VECTOR)(0.0f);
                for (int c = 0; c < depth; c++) {
                    VECTOR across[NV];
                    PREFETCH(source_next.at);
                    PREFETCH(target_next.at);
                    source_next.at += source_next.pace, target_next.at += target_next.pace;
#pragma unroll
                    for (int j = 0; j < NV; j++) across[j] = VLOAD(j, weight + c * WIDTH);
#pragma unroll
                    for (int i = 0; i < P; i++) {
                        const VECTOR value = (VECTOR)(source[i * V_TILE + c]);
#pragma unroll
                        for (int j = 0; j < NV; j++) sum[i][j] = fma(value, across[j], sum[i][j]);
                    }
                }
#pragma unroll
                for (int i = 0; i < P; i++)
#pragma unroll
                    for (int j = 0; j < NV; j++) LOCAL_AT(target + i * a.sum_tile, j) = sum[i][j];
            }
}

/* The results of one tile and one vector of channels. */
void winograd_targets(__local const float *restrict m, VECTOR result[TILE][TILE], int pitch)
{
    VECTOR half_way[TILE][SIDE];
#pragma unroll 1
    for (int s = 0; s < SIDE; s++) {
        VECTOR point[SIDE], out[TILE];
#pragma unroll
        for (int r = 0; r < SIDE; r++) point[r] = VLOAD(0, m + (r * SIDE + s) * pitch);
        winograd_target(point, out);
#pragma unroll
        for (int r = 0; r < TILE; r++) half_way[r][s] = out[r];
    }
#pragma unroll 1
    for (int r = 0; r < TILE; r++) winograd_target(half_way[r], result[r]);
}

/* Joins the first `rows` rows and `line` columns of a tile to the statistics of `count` pixels. */
void winograd_join(VECTOR result[TILE][TILE], int rows, int line, float count, VECTOR *mean, VECTOR *squares)
{
    VECTOR m = *mean, m2 = *squares, tile_mean = (VECTOR)(0.0f), tile_squares = (VECTOR)(0.0f);
    const float pixels = (float)(rows * line);
#pragma unroll 1
    for (int i = 0; i < rows; i++)
#pragma unroll 1
        for (int j = 0; j < line; j++) tile_mean += result[i][j];
    tile_mean *= 1.0f / pixels;
#pragma unroll 1
    for (int i = 0; i < rows; i++)
#pragma unroll 1
        for (int j = 0; j < line; j++) {
            const VECTOR apart = result[i][j] - tile_mean;
            tile_squares += apart * apart;
        }
    STATS_JOIN(VECTOR, m, m2, count, tile_mean, tile_squares, pixels);
    *mean = m, *squares = m2;
}

__attribute__((reqd_work_group_size(1, 1, 1)))
__kernel void conv2d_winograd(__global const float *restrict x, __global const float *restrict w, __global float *restrict y,
                              __global float *restrict partial PROLOGUE_PARAMS EPILOGUE_PARAMS, __local float *restrict scratch,
                              mcl_winograd_args a)
{
    const int block = (int)get_global_id(1), k0 = block * a.K / a.column_blocks;
    const int columns = (block + 1) * a.K / a.column_blocks - k0, tiles = a.tiles_h * a.tiles_w;
    __local float *u = scratch, *v = u + POINTS * U_PITCH(a), *m = a.in_place ? v : v + a.group * V_TILE;
    VECTOR result[TILE][TILE], mean[MOST_COLUMNS / VW], squares[MOST_COLUMNS / VW];
    int done = 0; /* pixels of the part */

    for (int s = 0; s < a.span; s++) {
        const int first = ((int)get_global_id(0) * a.span + s) * a.group, count = min(a.group, a.N * tiles - first);
        if (count <= 0) return;
        for (int b = 0; b < a.depth_blocks; b++) {
            const int c0 = b * a.C / a.depth_blocks, depth = (b + 1) * a.C / a.depth_blocks - c0;
            const int steps = POINTS * ((columns + WIDTH - 1) / WIDTH) * ((count + P - 1) / P) * depth;
            const int asked = depth == a.C && columns == a.K ? count : 0;
            if (s == 0 || a.depth_blocks > 1) winograd_weights(w, u, c0, depth, k0, columns, a);
            winograd_sources(x, v, first, (count + P - 1) / P * P, c0, depth, V_TILE, a.depth, a PROLOGUE_ARGS);
            const int next = (b + 1) * a.C / a.depth_blocks, next_depth = b + 1 < a.depth_blocks ? depth : 0;
            winograd_products(u, v, m, count, depth, columns, b > 0,
                              upcoming_tiles(x, first + a.group, asked, a.SH, a.SW * a.C, steps, a),
                              upcoming_tiles(y, first, asked, a.TH, a.TW * a.K, steps, a),
                              weights_at(w, next, next_depth, k0, next_depth ? columns : 0, a), a);
        }
        if (done == 0)
            for (int i = 0; i < MOST_COLUMNS / VW; i++) mean[i] = squares[i] = (VECTOR)(0.0f);
        for (int t = 0; t < count; t++) {
            const int tile = first + t, h = tile / a.tiles_w % a.tiles_h * TILE, left = tile % a.tiles_w * TILE;
            const int rows = min(TILE, a.TH - h), line = min(TILE, a.TW - left);
            const int corner = (tile / tiles * a.TH + h) * a.TW + left;
            for (int k = 0; k < columns; k += VW) {
                const int channel = k0 + min(k, columns - VW);
                winograd_targets(m + t * a.sum_tile + k, result, a.sum_point);
#pragma unroll 1
                for (int i = 0; i < rows; i++)
#pragma unroll 1
                    for (int j = 0; j < line; j++) {
                        const int row = corner + i * a.TW + j;
                        VECTOR value = result[i][j];
                        EPILOGUE(VECTOR, LOAD_WHOLE, value, row, channel, a.K)
                        GLOBAL_AT(y + row * a.K + channel, 0) = value;
                        result[i][j] = value;
                    }
                if (a.parts > 0) winograd_join(result, rows, line, (float)done, &mean[k / VW], &squares[k / VW]);
            }
            done += rows * line;
        }
        if (a.parts > 0 && ((s + 1) % a.chunk == 0 || first + count == a.N * tiles)) {
            const int part = first / a.group / a.chunk;
            for (int k = 0; k < columns; k += VW) {
                const int channel = k0 + min(k, columns - VW);
                VSTORE(mean[k / VW], 0, partial + STATS_MEAN(part, a.K) + channel);
                VSTORE(squares[k / VW], 0, partial + STATS_M2(part, a.parts, a.K) + channel);
            }
            if (block == 0) partial[STATS_COUNT(part, a.parts, a.K)] = (float)done;
            done = 0;
        }
    }
}
