/* Depthwise convolution (groups = C = K) and its data gradient, as one gather:
 *   target[n][h][v][c] = sum over taps of source[n][row(h, r)][column(v, s)][c] * w[tap][c]
 *
 *   global id 0: vectors of WIDTH channels id, id + global size, ...; id 1: line (n, h) of the target
 *
 * A work-item walks its line in tiles of COLUMNS pixels, and in each tile the channels, so that all memory is read and written
 * in order. A source vector is loaded once a tile and row and joins all the sums that it is a term of: target p of a tile reads
 * source u through tap s where u * CLASSES = p * STEP + s * SLOPE, which is known when this is compiled.
 *
 *            u: 0   1   2   3   4   5         3 taps, 4 columns, stride 1 (STEP, SLOPE and CLASSES 1)
 *   target   0: s0  s1  s2
 *            1:     s0  s1  s2
 *            2:         s0  s1  s2
 *            3:             s0  s1  s2
 *
 * x (N,SH,SW,C), w (KH,KW,1,C), y (N,TH,TW,C).
 * WIDTH divides C. */
#include "conv2d_tile.h"
#include "pointwise.h"
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

/* Source columns that a tile reads, from the column of its target 0 on. */
#define FIRST (SLOPE < 0 ? SLOPE * (TAPS_W - 1) / CLASSES : 0)
#define LAST (((COLUMNS - 1) * STEP + (SLOPE > 0 ? SLOPE * (TAPS_W - 1) : 0)) / CLASSES)

/* Adds one source row to a tile's sums. `row` is the row's first pixel at this channel, `left` the source column of target 0. */
__attribute__((always_inline))
inline void add_row(vec sum[COLUMNS], global const float *row, global const float *weights, int left, int inside,
                    mcl_depthwise_args a)
{
    vec weight[TAPS_W];
#pragma unroll
    for (int s = 0; s < TAPS_W; s++) weight[s] = VLOAD(weights + s * a.tap_step * a.C);
#pragma unroll
    for (int u = FIRST; u <= LAST; u++) {
        if (!inside && (uint)(left + u) >= (uint)a.SW) continue;
        const vec value = VLOAD(row + (left + u) * a.C);
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

kernel void conv2d_depthwise(global const float *restrict x, global const float *restrict w, global float *restrict y
                             EPILOGUE_PARAMS, mcl_depthwise_args a)
{
    const int line = (int)get_global_id(1), picture = line / a.TH * a.SH;
    if (line >= a.lines) return;
    int row[TAPS_H];
#pragma unroll
    for (int r = 0; r < TAPS_H; r++) row[r] = source_row(line % a.TH, r, a);

    for (int v = a.first; v < a.TW; v += COLUMNS) {
        const int left = (v * STEP + a.base_w) / CLASSES, inside = left + FIRST >= 0 && left + LAST < a.SW;
        for (int channel = (int)get_global_id(0) * WIDTH; channel < a.C; channel += (int)get_global_size(0) * WIDTH) {
            vec sum[COLUMNS];
#pragma unroll
            for (int p = 0; p < COLUMNS; p++) sum[p] = (vec)(0.0f);
#pragma unroll
            for (int r = 0; r < TAPS_H; r++) {
                if (row[r] < 0) continue;
                global const float *source = x + (picture + row[r]) * a.SW * a.C + channel;
                global const float *weights = w + (r * TAPS_W + a.first_tap) * a.C + channel;
                if (inside) add_row(sum, source, weights, left, 1, a);
                else add_row(sum, source, weights, left, 0, a);
            }
#pragma unroll
            for (int p = 0; p < COLUMNS; p++) {
                if ((uint)(v + p) >= (uint)a.TW) continue;
                const int pixel = line * a.TW + v + p;
                EPILOGUE(vec, VLOAD, sum[p], pixel, channel, a.C)
                VSTORE(sum[p], y + pixel * a.C + channel);
            }
        }
    }
}
