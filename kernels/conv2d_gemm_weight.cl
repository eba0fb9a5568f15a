/* Weight gradient of a convolution for GPUs, for groups = 1; a dense layer is the 1x1 case. conv2d_gemm.h draws the tile and counts
 * its bytes.
 *   group 0: COLUMNS channels of dy, 1: ROWS rows of dw, which are (tap, channel of x), 2: chunk of picture rows of dy
 *   depth: the chunk's pixels in slices of DEPTH; the next slice is on its way while one is added
 * Each chunk has its own copy of dw; conv2d_reduce in conv2d_forms.cl adds them in order. What tap and channel a row is, is found
 * once; pixels are followed by adding DEPTH to a number whose digits are picture, row and column. A prologue is applied to what has
 * arrived of x, on its way into local memory. */
#include "conv2d_gemm.h"
#include "pointwise.h"

#ifndef SHARED_TAP
#define SHARED_TAP 0 /* 1: four rows that begin at a multiple of 4 have one tap */
#endif
#define PIECES (SHARED_TAP ? 1 : 4) /* taps of four rows */
#define ROW_LINES (4 * ITEMS / ROWS) /* pixels that all items load at a time */
#define COLUMN_LINES (4 * ITEMS / COLUMNS)

/* The four rows of dw that an item loads: source position at pixel (0, 0) and channel. */
typedef struct places { int h[PIECES], v[PIECES], c[PIECES]; } places;
typedef struct pixel { int number, n, h, w; } pixel;

places place_rows(int row, mcl_weight_args a)
{
    places at;
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
        const int tap = (row + i) / a.rows;
        at.c[i] = (row + i) % a.rows;
        at.h[i] = tap < a.KH * a.KW ? tap / a.KW * a.dilation_h - a.pad_h : FAR_OUTSIDE;
        at.v[i] = tap % a.KW * a.dilation_w - a.pad_w;
    }
    return at;
}

pixel pixel_at(int number, mcl_weight_args a)
{
    return (pixel){number, number / (a.OW * a.OH), number / a.OW % a.OH, number % a.OW};
}

/* step: of DEPTH pixels */
pixel advance(pixel p, pixel step, mcl_weight_args a)
{
    p.number += DEPTH;
    p.w += step.w;
    p.h += step.h;
    p.n += step.n;
    if (p.w >= a.OW) p.w -= a.OW, p.h++;
    if (p.h >= a.OH) p.h -= a.OH, p.n++;
    return p;
}

/* The index of what row i multiplies at pixel p; -1 outside the picture and behind the chunk, where it is 0. */
int source_of(const places *at, int i, pixel p, int last, mcl_weight_args a)
{
    const int h = p.h * a.stride_h + at->h[i], v = p.w * a.stride_w + at->v[i];
    const int inside = p.number < last && (uint)h < (uint)a.XH && (uint)v < (uint)a.XW;
    return inside ? ((p.n * a.XH + h) * a.XW + v) * a.pitch + at->c[i] : -1;
}

/* x at the item's rows and pixel p. Bit i of `inside`: is row i in the picture? */
float4 load_rows(__global const float *x, const places *at, pixel p, int last, int *inside, mcl_weight_args a)
{
#if SHARED_TAP
    const int source = source_of(at, 0, p, last, a);
    *inside = source >= 0;
    return source < 0 ? (float4)(0.0f) : *(__global const float4 *)(x + source);
#else
    float piece[4];
    *inside = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int source = source_of(at, i, p, last, a);
        piece[i] = source < 0 ? 0.0f : x[source];
        *inside |= (source >= 0) << i;
    }
    return (float4)(piece[0], piece[1], piece[2], piece[3]);
#endif
}

/* What the prologue makes of loaded rows; outside the picture they stay 0. */
float4 prepared(float4 value, const places *at, int inside PROLOGUE_PARAMS)
{
#if PROLOGUED && SHARED_TAP
    const int part = 4;
    if (inside) {
        PROLOGUE(float4, LOAD_SOME, value, at->c[0])
    }
#elif PROLOGUED
    float piece[4] = {value.x, value.y, value.z, value.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (inside >> i & 1) {
            PROLOGUE(float, LOAD_ONE, piece[i], at->c[i])
        }
    }
    value = (float4)(piece[0], piece[1], piece[2], piece[3]);
#endif
    return value;
}

/* Loads a slice, of whose columns the item's first are those of pixel q, and moves its rows' pixels on. Called, not inlined, its
 * arrays would lie on a stack. */
__attribute__((always_inline))
inline void load_slice(float4 row[ROW_LOADS], int inside[ROW_LOADS], float4 across[COLUMN_LOADS], __global const float *x,
                       __global const float *dy, const places *at, pixel p[ROW_LOADS], pixel step, int column, int q, int last,
                       mcl_weight_args a)
{
#pragma unroll
    for (int i = 0; i < ROW_LOADS; i++) {
        row[i] = load_rows(x, at, p[i], last, &inside[i], a);
        p[i] = advance(p[i], step, a);
    }
#pragma unroll
    for (int j = 0; j < COLUMN_LOADS; j++) {
        const int number = q + j * COLUMN_LINES;
        across[j] = load_some(dy, number * a.K + column, number < last ? a.K - column : 0, a.K % 4 == 0);
    }
}

__attribute__((reqd_work_group_size(GX, GY, 1)))
__kernel void conv2d_gemm_weight(__global const float *restrict x, __global const float *restrict dy, __global float *restrict dw,
                                 mcl_weight_args a PROLOGUE_PARAMS)
{
    __local float rows[DEPTH * ROW_PITCH] __attribute__((aligned(16)));
    __local float columns[DEPTH * COLUMN_PITCH] __attribute__((aligned(16)));
    const int tx = (int)get_local_id(0), ty = (int)get_local_id(1), item = ty * GX + tx;
    const int chunk = GROUP_ID(2, 1);
    const int first_row = GROUP_ID(1, GY) * ROWS, first_column = (int)get_group_id(0) * COLUMNS;
    const int first = chunk * a.chunk * a.OW, last = min(first + a.chunk * a.OW, a.N * a.OH * a.OW);

    /* An item loads the same four rows, and the same four columns, of several pixels. */
    const int row_line = item / (ROWS / 4), row_place = item % (ROWS / 4) * 4;
    const int column_line = item / (COLUMNS / 4), column_place = item % (COLUMNS / 4) * 4;
    const places at = place_rows(first_row + row_place, a);
    const pixel step = pixel_at(DEPTH, a);
    pixel p[ROW_LOADS];
    int inside[ROW_LOADS];
    float4 sum[4 * RV][CV], row[ROW_LOADS], across[COLUMN_LOADS];
#pragma unroll
    for (int i = 0; i < ROW_LOADS; i++) p[i] = pixel_at(first + row_line + i * ROW_LINES, a);
#pragma unroll
    for (int i = 0; i < 4 * RV; i++)
#pragma unroll
        for (int j = 0; j < CV; j++) sum[i][j] = (float4)(0.0f);

    load_slice(row, inside, across, x, dy, &at, p, step, first_column + column_place, first + column_line, last, a);
    for (int q = first + DEPTH; q < last + DEPTH; q += DEPTH) {
#pragma unroll
        for (int i = 0; i < ROW_LOADS; i++)
            store_along(rows + (row_line + i * ROW_LINES) * ROW_PITCH + row_place, prepared(row[i], &at, inside[i] PROLOGUE_ARGS));
#pragma unroll
        for (int j = 0; j < COLUMN_LOADS; j++)
            store_along(columns + (column_line + j * COLUMN_LINES) * COLUMN_PITCH + column_place, across[j]);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (q < last) load_slice(row, inside, across, x, dy, &at, p, step, first_column + column_place, q + column_line, last, a);
        multiply(sum, rows, columns, tx, ty);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    __global float *copy = dw + chunk * a.KH * a.KW * a.rows * a.K;
#pragma unroll
    for (int i = 0; i < 4 * RV; i++) {
        const int result = first_row + 4 * (ty + i / 4 * GY) + i % 4;
        if (result < a.KH * a.KW * a.rows) {
#pragma unroll
            for (int j = 0; j < CV; j++) FINISH(sum[i][j], copy, result, first_column + 4 * (tx + j * GX), a.K);
        }
    }
}
