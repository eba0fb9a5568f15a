/* Depthwise convolution (groups = C = K) and its data gradient, as one gather:
 *   target[n][h][v][c] = sum over taps of source[n][row(h, r)][column(v, s)][c] * w[tap][c]
 *
 *   global id 0: vectors of WIDTH channels id, id + global size, ...; id 1: `chunk` lines (n, h) of the target
 *
 * A work-item walks its lines in tiles of COLUMNS pixels, and in each tile the channels, so that all memory is read and written
 * in order. A source vector is loaded once a tile and row and joins all the sums that it is a term of: target p of a tile reads
 * source u through tap s where u * CLASSES = p * STEP + s * SLOPE, which is known when this is compiled.
 *
 *            u: 0   1   2   3   4   5         3 taps, 4 columns, stride 1 (STEP, SLOPE and CLASSES 1)
 *   target   0: s0  s1  s2
 *            1:     s0  s1  s2
 *            2:         s0  s1  s2
 *            3:             s0  s1  s2
 *
 * x (N,SH,SW,C), w (KH,KW,1,C), y (N,TH,TW,C). WIDTH divides C. With STATS a work-item
 * leaves the statistics of its lines, part id 1, in `partial`, where it keeps them meanwhile (stats.h). */
#include "conv2d_tile.h"
#include "pointwise.h"
#include "stats.h"
#include "vector.h"

#ifndef TAPS_H
#define TAPS_H 3
#define TAPS_W 3
#endif
#ifndef STEP
#define STEP 1
#define SLOPE 1
#define CLASSES 1
#endif
#ifndef COLUMNS
#define COLUMNS 4
#endif
#ifndef EPILOGUE
#define EPILOGUE_PARAMS
#define EPILOGUE(T, LOAD, v, row, channel, channels)
#endif
#ifndef PROLOGUE
#define PROLOGUE_PARAMS
#define PROLOGUE_ARGS
#define PROLOGUE(T, LOAD, v, channel)
#endif
#ifndef STATS
#define STATS 0
#endif

/* Source columns that a tile reads, from the column of its target 0 on. */
#define FIRST (SLOPE < 0 ? SLOPE * (TAPS_W - 1) / CLASSES : 0)
#define LAST (((COLUMNS - 1) * STEP + (SLOPE > 0 ? SLOPE * (TAPS_W - 1) : 0)) / CLASSES)

/* Adds one source row to a tile's sums. `row` is the row's first pixel at this channel, `left` the source column of target 0. */
__attribute__((always_inline))
inline void add_row(vec sum[COLUMNS], global const float *row, global const float *weights, int left, int inside, int channel,
                    mcl_depthwise_args a PROLOGUE_PARAMS)
{
    vec weight[TAPS_W];
#pragma unroll
    for (int s = 0; s < TAPS_W; s++) weight[s] = VLOAD(weights + s * a.tap_step * a.C);
#pragma unroll
    for (int u = FIRST; u <= LAST; u++) {
        if (!inside && (uint)(left + u) >= (uint)a.SW) continue;
        vec value = VLOAD(row + (left + u) * a.C);
        PROLOGUE(vec, VLOAD, value, channel)
#pragma unroll
        for (int p = 0; p < COLUMNS; p++)
#pragma unroll
            for (int s = 0; s < TAPS_W; s++)
                if (u * CLASSES == p * STEP + s * SLOPE) sum[p] = fma(value, weight[s], sum[p]);
    }
}

/* The source row that tap row r of target row h reads, or -1. */
int source_row(int h, int r, mcl_depthwise_args a)
{
    const int at = h * a.step_h + a.base_h + r * a.slope_h;
    return at >= 0 && at % a.classes_h == 0 && at / a.classes_h < a.SH ? at / a.classes_h : -1;
}

/* Joins the first `rows` vectors of a tile to the statistics at mean and squares, which are of `count` rows so far. */
__attribute__((always_inline))
inline void add_stats(vec sum[COLUMNS], int rows, float count, global float *mean, global float *squares)
{
    vec m = count > 0.0f ? VLOAD(mean) : (vec)0.0f, m2 = count > 0.0f ? VLOAD(squares) : (vec)0.0f;
    vec tile_mean = 0.0f, tile_squares = 0.0f;
#pragma unroll
    for (int p = 0; p < COLUMNS; p++) tile_mean += p < rows ? sum[p] : (vec)0.0f;
    tile_mean *= 1.0f / (float)rows;
#pragma unroll
    for (int p = 0; p < COLUMNS; p++) {
        const vec apart = p < rows ? sum[p] - tile_mean : (vec)0.0f;
        tile_squares += apart * apart;
    }
    STATS_JOIN(vec, m, m2, count, tile_mean, tile_squares, (float)rows);
    VSTORE(m, mean);
    VSTORE(m2, squares);
}

kernel void conv2d_depthwise(global const float *restrict x, global const float *restrict w, global float *restrict y,
                             global float *restrict partial, mcl_depthwise_args a PROLOGUE_PARAMS EPILOGUE_PARAMS)
{
    const int item = (int)get_global_id(1), end = min((item + 1) * a.chunk, a.lines);
    int done = 0; /* pixels */
    for (int line = item * a.chunk; line < end; line++) {
        const int picture = line / a.TH * a.SH;
        int row[TAPS_H];
#pragma unroll
        for (int r = 0; r < TAPS_H; r++) row[r] = source_row(line % a.TH, r, a);

        for (int v = a.first; v < a.TW; v += COLUMNS) {
            const int left = (v * STEP + a.base_w) / CLASSES, inside = left + FIRST >= 0 && left + LAST < a.SW;
            const int rows = min(a.TW - v, COLUMNS);
            for (int channel = (int)get_global_id(0) * WIDTH; channel < a.C; channel += (int)get_global_size(0) * WIDTH) {
                vec sum[COLUMNS];
#pragma unroll
                for (int p = 0; p < COLUMNS; p++) sum[p] = (vec)(0.0f);
#pragma unroll
                for (int r = 0; r < TAPS_H; r++) {
                    if (row[r] < 0) continue;
                    global const float *source = x + (picture + row[r]) * a.SW * a.C + channel;
                    global const float *weights = w + (r * TAPS_W + a.first_tap) * a.C + channel;
                    if (inside) add_row(sum, source, weights, left, 1, channel, a PROLOGUE_ARGS);
                    else add_row(sum, source, weights, left, 0, channel, a PROLOGUE_ARGS);
                }
#pragma unroll
                for (int p = 0; p < COLUMNS; p++) {
                    if ((uint)(v + p) >= (uint)a.TW) continue;
                    const int pixel = line * a.TW + v + p;
                    EPILOGUE(vec, VLOAD, sum[p], pixel, channel, a.C)
                    VSTORE(sum[p], y + pixel * a.C + channel);
                }
                if (STATS)
                    add_stats(sum, rows, (float)done, partial + STATS_MEAN(item, a.C) + channel,
                              partial + STATS_M2(item, a.parts, a.C) + channel);
            }
            done += rows;
        }
    }
    if (STATS && get_global_id(0) == 0 && item < a.parts) partial[STATS_COUNT(item, a.parts, a.C)] = (float)done;
}
