/* Products whose rows are gathered from pictures: forward and data gradient of dense layers and convolutions. Made for CPUs,
 * where a work-group is one work-item, a vector one register, and local memory its cache. product_args.h says what is summed.
 *                              columns: panels of WIDTH = NV * VW
 *                         [VW|VW|..NV] [VW|VW|..NV] ...
 *   `block` rows      P   +----------+ +----------+     global id 0: `span` rows, id 1: `panels` panels,
 *   in tiles of P         | sum      | |          |     id 2: group and class
 *                     P   +----------+ +----------+
 *                         |          | |          |
 * Depth is cut into parts of DEPTH, whose sums wait in y. For each part an item stages its rows (the zeros of a border among
 * them, and what the prologue makes of the others) and `held` panels of weights at a time, so that the inner loop reads local
 * memory at constant distances. Tiles follow along a row of panels, so that whole rows of the target are written, or down a panel,
 * which then stays in the first cache (a.down). While it multiplies, it asks memory for the weights that it stages next, for the
 * rows of the next block, and for those that it writes.
 * With STATS an item leaves the statistics of its rows in `partial` (stats.h). */
#include "pointwise.h"
#include "product_rows.h"
#include "stats.h"

#ifndef NV
#define NV 2 /* vectors of a tile */
#endif
#ifndef P
#define P 12 /* rows of a tile */
#endif
#ifndef DEPTH
#define DEPTH 256
#endif
#ifndef STATS
#define STATS 0
#endif
#define WIDTH (NV * VW)
#define PITCH (DEPTH + VW) /* of a staged row: what is copied beyond its end does no harm */
#define ROW_AHEAD (4 * VW) /* floats of a row of weights to ask for beforehand */

/* The transpose of VW vectors: each round is a perfect shuffle of all their elements. */
void transpose(VECTOR v[VW])
{
#pragma unroll
    for (int round = 1; round < VW; round *= 2) {
        VECTOR next[VW];
#pragma unroll
        for (int i = 0; i < VW / 2; i++) {
            next[2 * i].even = v[i].lo;
            next[2 * i].odd = v[i + VW / 2].lo;
            next[2 * i + 1].even = v[i].hi;
            next[2 * i + 1].odd = v[i + VW / 2].hi;
        }
#pragma unroll
        for (int i = 0; i < VW; i++) v[i] = next[i];
    }
}

/* `count` rows of a panel from weights whose columns are next to each other; `left` columns exist. */
void stage_plain(__local float *panel, __global const float *w, int count, int left, int stride)
{
    for (int d = 0; d < count; d++, panel += WIDTH, w += stride) {
        if (left >= WIDTH) {
#pragma unroll
            for (int j = 0; j < NV; j++) LOCAL_AT(panel, j) = GLOBAL_AT_CONST(w, j);
        } else {
            for (int j = 0; j < NV; j++)
                LOCAL_AT(panel, j) = left >= (j + 1) * VW ? GLOBAL_AT_CONST(w, j)
                                     : left > j * VW      ? load_part(w + j * VW, left - j * VW)
                                                          : (VECTOR)(0.0f);
        }
    }
}

/* The same from weights whose rows are next to each other. */
void stage_transposed(__local float *panel, __global const float *w, int count, int left, int stride)
{
    for (int j = 0; j < WIDTH; j += VW) {
        int d = 0;
        for (; left - j >= VW && d + VW <= count; d += VW) {
            VECTOR v[VW];
#pragma unroll
            for (int i = 0; i < VW; i++) {
                v[i] = GLOBAL_AT_CONST(w + (j + i) * stride + d, 0);
                PREFETCH(w + (j + i) * stride + d + ROW_AHEAD);
            }
            transpose(v);
#pragma unroll
            for (int i = 0; i < VW; i++) LOCAL_AT(panel + (d + i) * WIDTH + j, 0) = v[i];
        }
        for (; d < count; d++)
            for (int i = j; i < j + VW; i++) panel[d * WIDTH + i] = i < left ? w[i * stride + d] : 0.0f;
    }
}

/* Where depth `d` of a class's weights begins. */
__global const float *depth_of(__global const float *w, int d, taps t, mcl_product_args a)
{
    const int line = d / t.length, tap = d % t.length / a.run;
    const int along = !a.joined ? line % t.lines : a.shift_w < 0 ? t.columns - 1 - tap : tap;
    return w + ((t.r + line / t.lines * a.every_h) * a.KW + t.s + along * a.every_w) * a.tap_stride + d % a.run * a.depth_stride;
}

void stage_panel(__local float *panel, __global const float *w, int left, int first, int count, taps t, mcl_product_args a)
{
    for (int d = first; d < first + count;) {
        const int rows = min(a.run - d % a.run, first + count - d);
        __global const float *source = depth_of(w, d, t, a);
        if (a.column_stride == 1) stage_plain(panel, source, rows, left, a.depth_stride);
        else stage_transposed(panel, source, rows, left, a.column_stride);
        d += rows;
        panel += rows * WIDTH;
    }
}

/* What is staged next, of which each tile asks for a vector of every row, while it multiplies. Not of weights that staging
 * transposes: it reads along rows, which memory follows by itself. */
typedef struct upcoming {
    __global const float *weights;
    int pitch, vectors;
} upcoming;

/* Behind panels that end at column `to`, of depths [first, end): more panels of them, the next part, or what the next item begins
 * with. */
upcoming upcoming_weights(__global const float *w, int to, int first_column, int last_column, int first, int end, int depth, taps t,
                          mcl_product_args a)
{
    upcoming next = {w, 0, 0};
    const int more = to < last_column, over = !more && end >= depth, column = more ? to : over ? last_column : first_column;
    const int d = more ? first : over ? 0 : end;
    if (a.stays || a.column_stride != 1 || column >= a.columns || depth == 0) return next;
    next.weights = depth_of(w, d, t, a) + column;
    next.pitch = a.depth_stride;
    next.vectors = min(a.held * WIDTH, a.columns - column) / VW;
    return next;
}

/* Sums of `tall` rows that wait in y, into local memory. */
void fetch_tile(__local float *result, __global const float *y, __local const int *target, int tall, int left, int TC)
{
    for (int i = 0; i < tall; i++, result += WIDTH) {
        __global const float *p = y + target[i] * TC;
        for (int j = 0; j < NV; j++) {
            if (left >= (j + 1) * VW) LOCAL_AT(result, j) = GLOBAL_AT_CONST(p, j);
            else if (left > j * VW) LOCAL_AT(result, j) = load_part(p + j * VW, left - j * VW);
        }
    }
}

/* result += rows * panel, `part` deep, where `fresh` results begin at 0; each step into depth asks for `pace` floats from `ahead`
 * on, and `written` from `below`. A function of its own, since a compiler that has the rest in sight keeps other things than sums
 * in registers. */
void add_products(__local float *result, __local const float *panel,
#if STAGED
                  __local const float *value, int part, int fresh,
#define VALUE(i) value[(i) * PITCH + d]
#else
                  __global const float *x, __local const int *source, int part, int fresh,
#define VALUE(i) value[i][d]
#endif
                  __global const float *ahead, int pace, __global const float *below, int written)
{
    VECTOR sum[P][NV];
#if !STAGED
    __global const float *value[P];
#pragma unroll
    for (int i = 0; i < P; i++) value[i] = x + source[i];
#endif
#pragma unroll
    for (int i = 0; i < P; i++)
#pragma unroll
        for (int j = 0; j < NV; j++) sum[i][j] = fresh ? (VECTOR)(0.0f) : LOCAL_AT_CONST(result + i * WIDTH, j);
    for (int d = 0; d < part; d++, panel += WIDTH, ahead += pace, below += written) {
        VECTOR b[NV];
        PREFETCH(ahead);
        PREFETCH(below);
#pragma unroll
        for (int j = 0; j < NV; j++) b[j] = LOCAL_AT_CONST(panel, j);
#pragma unroll
        for (int i = 0; i < P; i++) {
            const VECTOR v = (VECTOR)(VALUE(i));
#pragma unroll
            for (int j = 0; j < NV; j++) sum[i][j] = fma(v, b[j], sum[i][j]);
        }
    }
#pragma unroll
    for (int i = 0; i < P; i++)
#pragma unroll
        for (int j = 0; j < NV; j++) LOCAL_AT(result + i * WIDTH, j) = sum[i][j];
}

#if STATS
/* Joins a tile's `tall` finished rows to the statistics of a panel's columns, `left` of them, which are of `count` rows so far. */
void join_stats(__global float *mean, __global float *squares, __local const float *result, int tall, int left, float count)
{
    for (int j = 0; j < NV && j * VW < left; j++) {
        const int part = min(left - j * VW, VW);
        VECTOR total = (VECTOR)(0.0f), tile_squares = (VECTOR)(0.0f), m = (VECTOR)(0.0f), m2 = (VECTOR)(0.0f);
        for (int i = 0; i < tall; i++) total += LOCAL_AT_CONST(result + i * WIDTH, j);
        const VECTOR tile_mean = total * (1.0f / (float)tall);
        for (int i = 0; i < tall; i++) {
            const VECTOR apart = LOCAL_AT_CONST(result + i * WIDTH, j) - tile_mean;
            tile_squares = fma(apart, apart, tile_squares);
        }
        if (count > 0.0f) {
            m = part == VW ? GLOBAL_AT_CONST(mean, j) : load_part(mean + j * VW, part);
            m2 = part == VW ? GLOBAL_AT_CONST(squares, j) : load_part(squares + j * VW, part);
        }
        STATS_JOIN(VECTOR, m, m2, count, tile_mean, tile_squares, (float)tall);
        if (part == VW) {
            GLOBAL_AT(mean, j) = m;
            GLOBAL_AT(squares, j) = m2;
        } else {
            store_part(m, mean + j * VW, 0, part);
            store_part(m2, squares + j * VW, 0, part);
        }
    }
}
#endif

/* The kernel's parameters for the epilogue stand in no function, so what finishes a row is text of the kernel. */
#define FINISH_ROW(v, p, row, channel, there)                        \
    if (there >= VW) {                                               \
        if (last) {                                                  \
            EPILOGUE(VECTOR, LOAD_WHOLE, v, row, channel, a.TC)      \
        }                                                            \
        GLOBAL_AT(p, 0) = v;                                         \
    } else if (there > 0) {                                          \
        const int part = there;                                      \
        if (last) {                                                  \
            EPILOGUE(VECTOR, LOAD_PART, v, row, channel, a.TC)       \
        }                                                            \
        store_part(v, p, 0, part);                                   \
    }

__attribute__((reqd_work_group_size(1, 1, 1)))
__kernel void product(__global const float *restrict x, __global const float *restrict w, __global float *restrict y,
                      __global float *restrict partial, __local float *panels, mcl_product_args a PROLOGUE_PARAMS EPILOGUE_PARAMS)
{
    __local float result[P * WIDTH];
    __local places at;
#if STAGED
    __local float staged[ROWS * PITCH];
#endif
    const int item = (int)get_global_id(0);
    const int group = (int)get_global_id(2) % a.groups, class = (int)get_global_id(2) / a.groups;
    const int class_h = class / a.classes_w, class_w = class % a.classes_w;
    const int QH = (a.TH - class_h + a.classes_h - 1) / a.classes_h, QW = (a.TW - class_w + a.classes_w - 1) / a.classes_w;
    const int end = min((item + 1) * a.span, a.N * QH * QW);
    const taps t = taps_of(class_h, class_w, a);
    const int depth = t.rows * t.columns * a.run, parts = max(1, (depth + DEPTH - 1) / DEPTH), even = (depth + parts - 1) / parts;
    const int first_column = (int)get_global_id(1) * a.panels * WIDTH;
    const int last_column = min(a.columns, first_column + a.panels * WIDTH), whole = last_column - first_column == a.TC;

    for (int step = 0; step < (end - item * a.span + a.block - 1) / a.block * parts; step++) {
        /* a class that no tap reaches has one part, too, of depth 0 */
        const int q = step % parts, first = q * even, part = min(even, depth - first), last = q == parts - 1;
        const int done = step / parts * a.block, first_row = item * a.span + done, count = min(a.block, end - first_row);
        const int rows = (count + P - 1) / P * P;
        /* floats of the target's next rows to ask for, for each step into depth, while a tile's row of panels is multiplied */
        const int steps = max(1, a.held * part), written = whole && !a.down ? (P * a.classes_w * a.TC + steps - 1) / steps : 0;
        if (q == 0) place_rows(&at, first_row, rows, count, class_h, class_w, a);
#if STAGED
        stage_rows(staged, PITCH, &at, x, rows, first, part, group, t, a PROLOGUE_ARGS);
#endif
        for (int from = first_column; from < last_column; from += a.held * WIDTH) {
            const int to = min(from + a.held * WIDTH, last_column);
            __local float *weights = panels + (a.stays ? first * a.held * WIDTH : 0);
            for (int column = from; column < to && !(a.stays && done > 0); column += WIDTH)
                stage_panel(weights + (column - from) * part, w + group * a.group_stride + column * a.column_stride,
                            a.columns - column, first, part, t, a);
            const upcoming coming = upcoming_weights(w + group * a.group_stride, from + a.held * WIDTH, first_column, last_column,
                                                     first, first + part, depth, t, a);
            for (int tile = 0; tile < rows / P * a.held; tile++) {
                const int row = (a.down ? tile % (rows / P) : tile / a.held) * P;
                const int column = from + (a.down ? tile / (rows / P) : tile % a.held) * WIDTH;
                const int left = a.columns - column, channel = group * a.columns + column, tall = min(P, count - row);
                __local const int *target = at.target + row;
                __local const float *panel = weights + (column - from) * part;
                int pace = a.pace;
                __global const float *ahead = pace ? x + min(first_row + count + row, end) * a.pitch +
                                                         (first * a.held + tile % a.held * part) * pace
                                                   : y + *target * a.TC + channel;
                if (tile < coming.vectors) ahead = coming.weights + tile * VW, pace = coming.pitch;
                if (column >= to) continue;
                /* the next tile, or near it where a line of pixels ends */
                __global const float *below = y + min(*target + P * a.classes_w, a.N * a.TH * a.TW - 1) * a.TC +
                                              tile % a.held * part * written;
                if (q > 0) fetch_tile(result, y + channel, target, tall, left, a.TC);
#if STAGED
                add_products(result, panel, staged + row * PITCH, part, q == 0, ahead, pace, below, written);
#else
                add_products(result, panel, x + group * a.run + first, at.source + row, part, q == 0, ahead, pace, below, written);
#endif
                for (int i = 0; i < tall; i++) {
                    for (int j = 0; j < NV; j++) {
                        VECTOR v = LOCAL_AT(result + i * WIDTH, j);
                        __global float *p = y + target[i] * a.TC + channel + j * VW;
                        FINISH_ROW(v, p, target[i], channel + j * VW, left - j * VW)
                        if (STATS) LOCAL_AT(result + i * WIDTH, j) = v;
                    }
                }
#if STATS
                if (last)
                    join_stats(partial + STATS_MEAN(item, a.TC) + channel,
                               partial + STATS_M2(item, (int)get_global_size(0), a.TC) + channel, result, tall, left,
                               (float)(done + row));
#endif
            }
        }
    }
#if STATS
    if (get_global_id(1) == 0 && get_global_id(2) == 0)
        partial[STATS_COUNT(item, (int)get_global_size(0), a.TC)] = (float)max(0, end - item * a.span);
#endif
}
