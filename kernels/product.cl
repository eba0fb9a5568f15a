/* Products whose rows are gathered from pictures: forward and data gradient of dense layers and convolutions. Made for CPUs,
 * where a work-group is one work-item, a vector one register, and local memory its cache. product_args.h says what is summed.
 *                              columns: panels of WIDTH = NV * VW
 *                         [VW|VW|..NV] [VW|VW|..NV] ...
 *   `block` rows      P   +----------+ +----------+     global id 0: block of rows, id 1: `panels` panels,
 *   in tiles of P         | sum      | |          |     id 2: group and class
 *                     P   +----------+ +----------+
 *                         |          | |          |
 * Depth is cut into parts of DEPTH, whose sums wait in y. For each part an item stages its rows (the zeros of a border among
 * them) and, one after the other, its panels of weights, so that the inner loop reads local memory at constant distances. */
#include "pointwise.h"
#include "product_rows.h"

#ifndef NV
#define NV 2 /* vectors of a tile */
#endif
#ifndef P
#define P 12 /* rows of a tile */
#endif
#ifndef DEPTH
#define DEPTH 256
#endif
#define WIDTH (NV * VW)
#define PITCH (DEPTH + VW) /* of a staged row: what is copied beyond its end does no harm */

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
            for (int i = 0; i < VW; i++) v[i] = GLOBAL_AT_CONST(w + (j + i) * stride + d, 0);
            transpose(v);
#pragma unroll
            for (int i = 0; i < VW; i++) LOCAL_AT(panel + (d + i) * WIDTH + j, 0) = v[i];
        }
        for (; d < count; d++)
            for (int i = j; i < j + VW; i++) panel[d * WIDTH + i] = i < left ? w[i * stride + d] : 0.0f;
    }
}

void stage_panel(__local float *panel, __global const float *w, int left, int first, int count, taps t, mcl_product_args a)
{
    for (int d = first; d < first + count;) {
        const int line = d / t.length, tap = d % t.length / a.run, c = d % a.run, rows = min(a.run - c, first + count - d);
        const int along = !a.joined ? line % t.lines : a.shift_w < 0 ? t.columns - 1 - tap : tap;
        __global const float *source = w + ((t.r + line / t.lines * a.every_h) * a.KW + t.s + along * a.every_w) * a.tap_stride;
        if (a.column_stride == 1) stage_plain(panel, source + c * a.depth_stride, rows, left, a.depth_stride);
        else stage_transposed(panel, source + c, rows, left, a.column_stride);
        d += rows;
        panel += rows * WIDTH;
    }
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
__kernel void product(__global const float *restrict x, __global const float *restrict w, __global float *restrict y
                      EPILOGUE_PARAMS, mcl_product_args a)
{
    __local float panel[DEPTH * WIDTH], result[P * WIDTH];
    __local places at;
#if STAGED
    __local float staged[ROWS * PITCH];
#endif
    const int group = (int)get_global_id(2) % a.groups, class = (int)get_global_id(2) / a.groups;
    const int class_h = class / a.classes_w, class_w = class % a.classes_w;
    const int QH = (a.TH - class_h + a.classes_h - 1) / a.classes_h, QW = (a.TW - class_w + a.classes_w - 1) / a.classes_w;
    const int first_row = (int)get_global_id(0) * a.block, count = min(a.block, a.N * QH * QW - first_row);
    if (count <= 0) return;
    const int rows = (count + P - 1) / P * P;
    const taps t = taps_of(class_h, class_w, a);
    const int depth = t.rows * t.columns * a.run, parts = max(1, (depth + DEPTH - 1) / DEPTH), even = (depth + parts - 1) / parts;
    const int first_column = (int)get_global_id(1) * a.panels * WIDTH;
    const int last_column = min(a.columns, first_column + a.panels * WIDTH);
    place_rows(&at, first_row, rows, count, class_h, class_w, a);

    for (int q = 0; q < parts; q++) { /* once, too, for a class that no tap reaches */
        const int first = q * even, part = min(even, depth - first), last = q == parts - 1;
#if STAGED
        stage_rows(staged, PITCH, &at, x, rows, first, part, group, t, a);
#endif
        for (int column = first_column; column < last_column; column += WIDTH) {
            const int left = a.columns - column, whole = left >= WIDTH, channel = group * a.columns + column;
            stage_panel(panel, w + group * a.group_stride + column * a.column_stride, left, first, part, t, a);
            for (int row = 0; row < rows; row += P) {
                __local const float *across = panel;
                __local const int *target = at.target + row;
                const int tall = min(P, count - row), direct = whole && tall == P;
                VECTOR sum[P][NV];
                if (q == 0) {
#pragma unroll
                    for (int i = 0; i < P; i++)
#pragma unroll
                        for (int j = 0; j < NV; j++) sum[i][j] = (VECTOR)(0.0f);
                } else {
                    fetch_tile(result, y + channel, target, tall, left, a.TC);
#pragma unroll
                    for (int i = 0; i < P; i++)
#pragma unroll
                        for (int j = 0; j < NV; j++) sum[i][j] = LOCAL_AT_CONST(result + i * WIDTH, j);
                }
#if STAGED
                __local const float *value = staged + row * PITCH;
#define VALUE(i) value[(i) * PITCH + d]
#else
                __global const float *value[P];
#pragma unroll
                for (int i = 0; i < P; i++)
                    value[i] = x + at.source[row + i] + group * a.run + first;
#define VALUE(i) value[i][d]
#endif
                for (int d = 0; d < part; d++) {
                    VECTOR b[NV];
#pragma unroll
                    for (int j = 0; j < NV; j++) b[j] = LOCAL_AT_CONST(across, j);
                    across += WIDTH;
#pragma unroll
                    for (int i = 0; i < P; i++) {
                        const VECTOR v = (VECTOR)(VALUE(i));
#pragma unroll
                        for (int j = 0; j < NV; j++) sum[i][j] = fma(v, b[j], sum[i][j]);
                    }
                }
                if (direct && !last) {
#pragma unroll
                    for (int i = 0; i < P; i++)
#pragma unroll
                        for (int j = 0; j < NV; j++) GLOBAL_AT(y + target[i] * a.TC + channel, j) = sum[i][j];
                    continue;
                }
#pragma unroll
                for (int i = 0; i < P; i++)
#pragma unroll
                    for (int j = 0; j < NV; j++) LOCAL_AT(result + i * WIDTH, j) = sum[i][j];
                for (int i = 0; i < tall; i++) {
                    for (int j = 0; j < NV; j++) {
                        VECTOR v = LOCAL_AT(result + i * WIDTH, j);
                        __global float *p = y + target[i] * a.TC + channel + j * VW;
                        FINISH_ROW(v, p, target[i], channel + j * VW, left - j * VW)
                    }
                }
            }
        }
    }
}
