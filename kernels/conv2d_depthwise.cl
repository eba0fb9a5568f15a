/* Depthwise convolution (groups = C = K) and its data gradient, as one gather:
 *   target[n][h][v][c] = sum over taps of source[n][row(h, r)][column(v, s)][c] * w[tap][c]
 *
 *   global id 0: vectors of WIDTH channels id, id + global size, ...; id 1: `chunk` strips of ROWS lines (n, h) of the target
 *
 * A work-item walks its strips in tiles of ROWS x COLUMNS pixels, and in each tile the channels, so that all memory is read and
 * written in order. A source vector is loaded once a tile and joins all the sums that it is a term of: target column p of a tile
 * reads source column u through tap s where u * CLASSES = p * STEP + s * SLOPE, which is known when this is compiled.
 *
 *            u: 0   1   2   3   4   5         3 taps, 4 columns, stride 1 (STEP, SLOPE and CLASSES 1)
 *   target   0: s0  s1  s2
 *            1:     s0  s1  s2
 *            2:         s0  s1  s2
 *            3:             s0  s1  s2
 *
 * So it is with rows where ROWS is above 1: their step, slope and classes are 1 then, and target row i reads source row i + r.
 * While it computes, it asks memory for what the next tile reads and writes: new pixels of new rows, in the order in which their
 * channels lie there, not in that of the channels here, which memory follows at two thirds of the pace (measured on Zen 4).
 * x (N,SH,SW,C), w (KH,KW,1,C), y (N,TH,TW,C). WIDTH divides C. With STATS a work-item
 * leaves the statistics of its strips, part id 1, in `partial`, where it keeps them meanwhile (stats.h).
 * Memory bounds it: 3x3 taps are 2.25 FLOP for a byte needed, in tiles of 1x4 pixels 0.6 for a byte asked (README.md). */
#include "conv2d_tile.h"
#include "epilogue.h"
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
#ifndef ROWS
#define ROWS 1
#endif
#ifndef STATS
#define STATS 0
#endif

/* Source columns that a tile reads, from the column of its target 0 on. */
#define FIRST (SLOPE < 0 ? SLOPE * (TAPS_W - 1) / CLASSES : 0)
#define LAST (((COLUMNS - 1) * STEP + (SLOPE > 0 ? SLOPE * (TAPS_W - 1) : 0)) / CLASSES)
#define MORE (COLUMNS * STEP / CLASSES) /* that the next tile adds */

/* Source rows that a tile reads, and the tap row through which target row i reads the q-th. */
#define SOURCES (ROWS + TAPS_H - 1)
#define TAP_ROW(q, i) (ROWS == 1 ? (q) : (q) - (i))

/* Adds the q-th source row to a tile's sums. `row` is its first pixel at this channel, `left` the source column of target 0. */
__attribute__((always_inline))
inline void add_row(vec sum[ROWS][COLUMNS], int q, global const float *row, global const float *w, int left, int inside,
                    int channel, mcl_depthwise_args a PROLOGUE_PARAMS)
{
    vec weight[ROWS][TAPS_W];
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int s = 0; s < TAPS_W; s++)
            if (TAP_ROW(q, i) >= 0 && TAP_ROW(q, i) < TAPS_H)
                weight[i][s] = VLOAD(w + (a.first_tap + a.tap_step * (TAP_ROW(q, i) * TAPS_W + s)) * a.C + channel);
#pragma unroll
    for (int u = FIRST; u <= LAST; u++) {
        if (!inside && (uint)(left + u) >= (uint)a.SW) continue;
        vec value = VLOAD(row + (left + u) * a.C);
        PROLOGUE(vec, VLOAD, value, channel)
#pragma unroll
        for (int i = 0; i < ROWS; i++)
#pragma unroll
            for (int p = 0; p < COLUMNS; p++)
#pragma unroll
                for (int s = 0; s < TAPS_W; s++)
                    if (TAP_ROW(q, i) >= 0 && TAP_ROW(q, i) < TAPS_H && u * CLASSES == p * STEP + s * SLOPE)
                        sum[i][p] = fma(value, weight[i][s], sum[i][p]);
    }
}

/* The source row that tap row r of target row h reads, or -1. */
int source_row(int h, int r, mcl_depthwise_args a)
{
    const int at = h * a.step_h + a.base_h + r * a.slope_h;
    return at >= 0 && at % a.classes_h == 0 && at / a.classes_h < a.SH ? at / a.classes_h : -1;
}

/* Joins the first `tall` rows and `wide` columns of a tile to the statistics at mean and squares, which are of `count` pixels. */
__attribute__((always_inline))
inline void add_stats(vec sum[ROWS][COLUMNS], int tall, int wide, float count, global float *mean, global float *squares)
{
    vec m = count > 0.0f ? VLOAD(mean) : (vec)0.0f, m2 = count > 0.0f ? VLOAD(squares) : (vec)0.0f;
    vec tile_mean = 0.0f, tile_squares = 0.0f;
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int p = 0; p < COLUMNS; p++) tile_mean += i < tall && p < wide ? sum[i][p] : (vec)0.0f;
    tile_mean *= 1.0f / (float)(tall * wide);
#pragma unroll
    for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int p = 0; p < COLUMNS; p++) {
            const vec apart = i < tall && p < wide ? sum[i][p] - tile_mean : (vec)0.0f;
            tile_squares += apart * apart;
        }
    STATS_JOIN(vec, m, m2, count, tile_mean, tile_squares, (float)(tall * wide));
    VSTORE(m, mean);
    VSTORE(m2, squares);
}

kernel void conv2d_depthwise(global const float *restrict x, global const float *restrict w, global float *restrict y,
                             global float *restrict partial, mcl_depthwise_args a PROLOGUE_PARAMS EPILOGUE_PARAMS)
{
    const int item = (int)get_global_id(1), strips = (a.TH + ROWS - 1) / ROWS, end = min((item + 1) * a.chunk, a.N * strips);
    int done = 0; /* pixels */
    for (int strip = item * a.chunk; strip < end; strip++) {
        const int picture = strip / strips, h = strip % strips * ROWS, tall = min(a.TH - h, ROWS);
        int row[SOURCES];
#pragma unroll
        for (int q = 0; q < SOURCES; q++) row[q] = source_row(h, q, a);

        for (int v = a.first; v < a.TW; v += COLUMNS) {
            const int left = (v * STEP + a.base_w) / CLASSES, inside = left + FIRST >= 0 && left + LAST < a.SW;
            const int wide = min(a.TW - v, COLUMNS);
            for (int channel = (int)get_global_id(0) * WIDTH; channel < a.C; channel += (int)get_global_size(0) * WIDTH) {
                vec sum[ROWS][COLUMNS];
#pragma unroll
                for (int i = 0; i < ROWS; i++)
#pragma unroll
                    for (int p = 0; p < COLUMNS; p++) sum[i][p] = (vec)(0.0f);
#pragma unroll
                for (int q = 0; q < SOURCES; q++) {
                    if (row[q] < 0) continue;
                    if (SLOPE < 0 ? q == 0 : q >= SOURCES - ROWS * STEP) {
#pragma unroll
                        for (int p = 0; p < MORE; p++)
                            PREFETCH(x + ((picture * a.SH + row[q]) * a.SW + left + LAST + 1) * a.C + (channel * MORE + p * WIDTH));
                    }
                    global const float *source = x + (picture * a.SH + row[q]) * a.SW * a.C + channel;
                    if (inside) add_row(sum, q, source, w, left, 1, channel, a PROLOGUE_ARGS);
                    else add_row(sum, q, source, w, left, 0, channel, a PROLOGUE_ARGS);
                }
#pragma unroll
                for (int i = 0; i < ROWS; i++)
#pragma unroll
                    for (int p = 0; p < COLUMNS; p++) {
                        PREFETCH(y + ((picture * a.TH + h + i) * a.TW + v + COLUMNS) * a.C + channel * COLUMNS + p * WIDTH);
                        if (i >= tall || (uint)(v + p) >= (uint)a.TW) continue;
                        const int pixel = (picture * a.TH + h + i) * a.TW + v + p;
                        EPILOGUE(vec, VLOAD, sum[i][p], pixel, channel, a.C)
                        VSTORE(sum[i][p], y + pixel * a.C + channel);
                    }
                if (STATS)
                    add_stats(sum, tall, wide, (float)done, partial + STATS_MEAN(item, a.C) + channel,
                              partial + STATS_M2(item, a.parts, a.C) + channel);
            }
            done += tall * wide;
        }
    }
    if (STATS && get_global_id(0) == 0 && item < a.parts) partial[STATS_COUNT(item, a.parts, a.C)] = (float)done;
}
