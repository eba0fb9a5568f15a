/* Forward convolution and data gradient for GPUs, as a product that never stores its gathered rows, for groups = 1; a dense layer
 * is the 1x1 case. conv2d_tile.h says how both are one sum, conv2d_gemm.h draws the tile and counts its bytes.
 *   group 0: COLUMNS channels of the target, 1: ROWS pixels of a class, 2: the class, and the part of the depth
 *   depth: taps of the class, each in slices of DEPTH source channels; the next slice is on its way while one is added
 *   w: [taps][run][TC], or, TRANSPOSED, [taps][TC][run]
 * Where a tap of a row is in the picture is found once a tap, by the items that load the row. A prologue is applied to what has
 * arrived, on its way into local memory.
 * Where there are several parts, of `slices` each (0: there is one), a part's sums are a copy of y in `partial`, 0 where a class of
 * few taps has no slice left, and conv2d_gemm_add, an item of which has four channels of a row, adds them in order and finishes
 * them.
 * With STATS, which have one class, and one part, group 1 leaves the statistics of its rows in `partial` (stats.h). */
#include "conv2d_gemm.h"
#include "pointwise.h"
#include "stats.h"

#ifndef TRANSPOSED
#define TRANSPOSED 0
#endif
#ifndef STATS
#define STATS 0
#endif
#define QUADS (DEPTH / 4)     /* vectors of a row's slice, loaded by items next to each other */
#define LINES (ITEMS / QUADS) /* rows that all items load at a time */

/* The rows that an item loads: source position under tap (0, 0). */
typedef struct places { int picture[ROW_LOADS], h[ROW_LOADS], v[ROW_LOADS]; } places;
typedef struct tap { int r, s, shift_h, shift_w; } tap;

/* Moves on to the next tap that reaches the class; 0 behind the last. */
int next_tap(tap *t, int class_h, int class_w, mcl_gather_args a)
{
    for (;;) {
        if (++t->s == a.KW) t->s = 0, t->r++;
        if (t->r >= a.KH) return 0;
        const int over_h = class_h + a.base_h + t->r * a.slope_h, over_w = class_w + a.base_w + t->s * a.slope_w;
        t->shift_h = over_h / a.classes_h;
        t->shift_w = over_w / a.classes_w;
        if (over_h == t->shift_h * a.classes_h && over_w == t->shift_w * a.classes_w) return 1;
    }
}

/* Goes to a slice of the class's depth: its tap, and its first channel c. 0 behind the last. */
int find_slice(tap *t, int *c, int slice, int class_h, int class_w, mcl_gather_args a)
{
    const int each = (a.run + DEPTH - 1) / DEPTH;
    *t = (tap){0, -1, 0, 0};
    *c = slice % each * DEPTH;
    for (int taps = slice / each; taps >= 0; taps--)
        if (!next_tap(t, class_h, class_w, a)) return 0;
    return 1;
}

/* Where the tap finds each row in x; -1 outside the picture. */
void locate(int source[ROW_LOADS], const places *at, tap t, mcl_gather_args a)
{
#pragma unroll
    for (int i = 0; i < ROW_LOADS; i++) {
        const int h = at->h[i] + t.shift_h, v = at->v[i] + t.shift_w;
        source[i] = (uint)h < (uint)a.SH && (uint)v < (uint)a.SW ? ((at->picture[i] + h) * a.SW + v) * a.pitch : -1;
    }
}

void load_rows(float4 value[ROW_LOADS], __global const float *x, const int source[ROW_LOADS], int d, mcl_gather_args a)
{
    const int aligned = a.run % 4 == 0 && a.pitch % 4 == 0;
#pragma unroll
    for (int i = 0; i < ROW_LOADS; i++) value[i] = load_some(x, source[i] + d, source[i] < 0 ? 0 : a.run - d, aligned);
}

/* What the prologue makes of loaded rows, of which `part` channels exist; outside the picture they stay 0. Weights are 0 behind the
 * last channel, so that what stands there in a row is of no account. */
void prepare_rows(float4 value[ROW_LOADS], const int source[ROW_LOADS], int channel, int part PROLOGUE_PARAMS)
{
#if PROLOGUED
#pragma unroll
    for (int i = 0; i < ROW_LOADS; i++) {
        if (source[i] >= 0) {
            PROLOGUE(float4, LOAD_SOME, value[i], channel)
        }
    }
#endif
}

/* The weights of channel c ... of a tap. */
void load_columns(float4 value[COLUMN_LOADS], __global const float *w, int item, int first_column, int c, tap t, mcl_gather_args a)
{
    const int number = t.r * a.KW + t.s;
#pragma unroll
    for (int j = 0; j < COLUMN_LOADS; j++) {
#if TRANSPOSED
        const int column = first_column + item / QUADS + j * LINES, d = c + item % QUADS * 4;
        value[j] = load_some(w, (number * a.TC + column) * a.run + d, column < a.TC ? a.run - d : 0, a.run % 4 == 0);
#else
        const int place = item + j * ITEMS, d = c + place / (COLUMNS / 4), column = first_column + place % (COLUMNS / 4) * 4;
        value[j] = load_some(w, (number * a.run + d) * a.TC + column, d < a.run ? a.TC - column : 0, a.TC % 4 == 0);
#endif
    }
}

void store_slices(__local float *rows, __local float *columns, const float4 row[ROW_LOADS], const float4 column[COLUMN_LOADS],
                  int item)
{
#pragma unroll
    for (int i = 0; i < ROW_LOADS; i++)
        store_across(rows + item % QUADS * 4 * ROW_PITCH + item / QUADS + i * LINES, ROW_PITCH, row[i]);
#pragma unroll
    for (int j = 0; j < COLUMN_LOADS; j++) {
#if TRANSPOSED
        store_across(columns + item % QUADS * 4 * COLUMN_PITCH + item / QUADS + j * LINES, COLUMN_PITCH, column[j]);
#else
        const int place = item + j * ITEMS;
        store_along(columns + place / (COLUMNS / 4) * COLUMN_PITCH + place % (COLUMNS / 4) * 4, column[j]);
#endif
    }
}

#if STATS
/* Rows that item ty has of a tile of `left`. */
int rows_of_item(int ty, int left)
{
    int count = 0;
#pragma unroll
    for (int i = 0; i < RV; i++) count += clamp(left - 4 * (ty + i * GY), 0, 4);
    return count;
}

/* Mean and squared distances from it of an item's finished rows, into its line of both, [GY][COLUMNS]. */
void item_stats(__local float *mean, __local float *squares, float4 value[4 * RV][CV], int tx, int ty, int left)
{
    const float share = 1.0f / (float)max(1, rows_of_item(ty, left));
#pragma unroll
    for (int j = 0; j < CV; j++) {
        float4 total = (float4)(0.0f), apart = (float4)(0.0f);
#pragma unroll
        for (int i = 0; i < 4 * RV; i++)
            if (4 * (ty + i / 4 * GY) + i % 4 < left) total += value[i][j];
        const float4 middle = total * share;
#pragma unroll
        for (int i = 0; i < 4 * RV; i++)
            if (4 * (ty + i / 4 * GY) + i % 4 < left) apart = fma(value[i][j] - middle, value[i][j] - middle, apart);
        store_along(mean + ty * COLUMNS + 4 * (tx + j * GX), middle);
        store_along(squares + ty * COLUMNS + 4 * (tx + j * GX), apart);
    }
}

/* Joins what the items have of a tile's columns, in order, to the statistics of the group's rows, which are `wanted` or not. Every
 * item does, some for columns that others have too: behind a condition PoCL's work-items lose count of themselves. */
void group_stats(__global float *partial, __local const float *mean, __local const float *squares, int item, int first_column,
                 int wanted, int rows, int first_row, int C)
{
    const int channel = first_column + item, block = first_row / ROWS, parts = (rows - 1) / ROWS + 1, left = rows - first_row;
    float m = 0.0f, m2 = 0.0f, count = 0.0f;
    for (int i = item % COLUMNS, ty = 0; ty < GY; ty++, i += COLUMNS) {
        const float added = (float)rows_of_item(ty, left);
        if (added == 0.0f) continue;
        STATS_JOIN(float, m, m2, count, mean[i], squares[i], added);
        count += added;
    }
    if (wanted && item < COLUMNS && channel < C) {
        partial[STATS_MEAN(block, C) + channel] = m;
        partial[STATS_M2(block, parts, C) + channel] = m2;
    }
    if (wanted && channel == 0) partial[STATS_COUNT(block, parts, C)] = count;
}
#endif

__attribute__((reqd_work_group_size(GX, GY, 1)))
__kernel void conv2d_gemm(__global const float *restrict x, __global const float *restrict w, __global float *restrict y,
                          __global float *restrict partial, int slices, mcl_gather_args a PROLOGUE_PARAMS EPILOGUE_PARAMS)
{
    __local float rows[DEPTH * ROW_PITCH] __attribute__((aligned(16)));
    __local float columns[DEPTH * COLUMN_PITCH] __attribute__((aligned(16)));
    const int tx = (int)get_local_id(0), ty = (int)get_local_id(1), item = ty * GX + tx;
    const int classes = a.classes_h * a.classes_w, class = GROUP_ID(2, 1) % classes, part = GROUP_ID(2, 1) / classes;
    const int class_h = class / a.classes_w, class_w = class % a.classes_w, alone = slices == 0;
    const int QH = (a.TH - class_h + a.classes_h - 1) / a.classes_h, QW = (a.TW - class_w + a.classes_w - 1) / a.classes_w;
    const int pixels = a.N * QH * QW;
    const int first_row = GROUP_ID(1, GY) * ROWS, first_column = (int)get_group_id(0) * COLUMNS;
    if (first_row >= pixels) return;

    places at;
#pragma unroll
    for (int i = 0; i < ROW_LOADS; i++) {
        const int pixel = first_row + item / QUADS + i * LINES;
        at.v[i] = pixel % QW * a.step_w;
        at.h[i] = pixel < pixels ? pixel / QW % QH * a.step_h : FAR_OUTSIDE;
        at.picture[i] = pixel / (QW * QH) * a.SH;
    }
    float4 sum[4 * RV][CV];
#pragma unroll
    for (int i = 0; i < 4 * RV; i++)
#pragma unroll
        for (int j = 0; j < CV; j++) sum[i][j] = (float4)(0.0f);

    tap t;
    int source[ROW_LOADS], c, left = slices, more = find_slice(&t, &c, part * slices, class_h, class_w, a);
    float4 row[ROW_LOADS], column[COLUMN_LOADS];
    if (more) {
        locate(source, &at, t, a);
        load_rows(row, x, source, c + item % QUADS * 4, a);
        load_columns(column, w, item, first_column, c, t, a);
    }
    while (more) {
        prepare_rows(row, source, c + item % QUADS * 4, a.run - c - item % QUADS * 4 PROLOGUE_ARGS);
        store_slices(rows, columns, row, column, item);
        barrier(CLK_LOCAL_MEM_FENCE);
        c += DEPTH;
        more = --left != 0;
        if (more && c >= a.run) {
            c = 0;
            more = next_tap(&t, class_h, class_w, a);
            if (more) locate(source, &at, t, a);
        }
        if (more) {
            load_rows(row, x, source, c + item % QUADS * 4, a);
            load_columns(column, w, item, first_column, c, t, a);
        }
        multiply(sum, rows, columns, tx, ty);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    __global float *copy = partial + part * a.N * a.TH * a.TW * a.TC;
#pragma unroll
    for (int i = 0; i < 4 * RV; i++) {
        const int pixel = first_row + 4 * (ty + i / 4 * GY) + i % 4;
        if (pixel < pixels) {
            const int th = class_h + pixel / QW % QH * a.classes_h, tw = class_w + pixel % QW * a.classes_w;
            const int target_row = (pixel / (QW * QH) * a.TH + th) * a.TW + tw;
#pragma unroll
            for (int j = 0; j < CV; j++) {
                const int channel = first_column + 4 * (tx + j * GX);
                if (alone) FINISH(sum[i][j], y, target_row, channel, a.TC);
                else store_some(copy, target_row * a.TC + channel, a.TC - channel, sum[i][j]);
            }
        }
    }
#if STATS
    item_stats(rows, columns, sum, tx, ty, pixels - first_row);
    barrier(CLK_LOCAL_MEM_FENCE);
    group_stats(partial, rows, columns, item, first_column, alone, pixels, first_row, a.TC);
#endif
}

__kernel void conv2d_gemm_add(__global const float *restrict copies, __global float *restrict y, int parts, mcl_gather_args a
                              EPILOGUE_PARAMS)
{
    const int vectors = (a.TC + 3) / 4, row = (int)get_global_id(0) / vectors, channel = (int)get_global_id(0) % vectors * 4;
    const int rows = a.N * a.TH * a.TW;
    if (row >= rows) return;
    float4 sum = (float4)(0.0f);
    for (int q = 0; q < parts; q++)
        sum += load_some(copies, (q * rows + row) * a.TC + channel, a.TC - channel, a.TC % 4 == 0);
    FINISH(sum, y, row, channel, a.TC);
}
