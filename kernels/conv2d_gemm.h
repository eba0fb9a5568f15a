/* What the products of conv2d_gemm.cl, conv2d_gemm_weight.cl and conv2d_winograd_product.cl share: a tile of results for a
 * work-group, whose operands pass through local memory in slices of DEPTH.
 *                             COLUMNS = 4 * GX * CV of the target's channels
 *                     4 of item tx = 0 | 1 | .. GX - 1, then again for j = 1 .. CV - 1
 *   ROWS = 4 * GY * RV   +----+----+----        item (tx, ty) owns rows 4 * (ty + i * GY) ... + 3, i < RV, and
 *     4 of item ty = 0   |4x4 |    |            columns 4 * (tx + j * GX) ... + 3, j < CV: 16 * RV * CV sums in registers
 *                    1   +----+----+----        local: rows [DEPTH][ROW_PITCH], columns [DEPTH][COLUMN_PITCH]
 * Arithmetic for what is asked of memory, in FLOP per byte, and registers of an item as compilers for gfx1030 and sm_80 count them,
 * forward with the longest epilogue and for the weight gradient with a prologue (the most of their programs; none spills; the 16 or
 * 20 bytes of private memory are the parts of a vector at an edge, load_part and store_part):
 *   tile     items  RV CV  global memory  local memory  forward  weight gradient
 *   64x32    8x16   1  1       10.7           1.0        92   94    111   96
 *   64x64    16x16  1  1       16             1.0        85   72    104   91
 *   128x64   16x16  2  1       21.3           1.33      126  116    145  123
 *   128x64   8x16   2  2       21.3           2.0       192  165    213  198
 *   128x128  16x16  2  2       32             2.0       179  153    201  160
 *   64x16     4x16  1  1        6.4           1.0       107  118    128  125
 *   128x16    4x16  2  1        7.1           1.33      172  158    197  203
 * A step of depth reads ROWS + COLUMNS floats into local memory for ROWS * COLUMNS multiply-adds; of these an item reads 4 * (RV +
 * CV) for 16 * RV * CV. What caches hold between groups is not counted; README.md says what a card needs. */
#ifndef MCL_CONV2D_GEMM_H
#define MCL_CONV2D_GEMM_H
#define VW 4
#include "args.h"
#include "conv2d_tile.h"
#include "group_id.h"
#include "lanes.h"

#ifndef GX
#define GX 16 /* work-items of a group, along columns and rows */
#define GY 16
#define RV 1 /* vectors of 4 rows and of 4 columns of an item */
#define CV 1
#endif
#define ITEMS (GX * GY)
#define ROWS (4 * GY * RV)
#define COLUMNS (4 * GX * CV)
#define DEPTH MCL_GEMM_DEPTH

/* Four floats more than a row: items that store a column of a slice meet in pairs at a bank, not in fours. Vectors stay aligned. */
#define ROW_PITCH (ROWS + MCL_GEMM_PADDING)
#define COLUMN_PITCH (COLUMNS + MCL_GEMM_PADDING)

/* Vectors of a slice that an item loads. */
#define ROW_LOADS (ROWS * DEPTH / (4 * ITEMS))
#define COLUMN_LOADS (COLUMNS * DEPTH / (4 * ITEMS))

#define FAR_OUTSIDE (-(1 << 30)) /* a position that no tap brings into a picture */

/* x[at...], of which `left` elements exist: 0 in the others. `aligned`: at is a multiple of 4. */
float4 load_some(__global const float *x, int at, int left, int aligned)
{
    float4 v = (float4)(0.0f);
    if (left >= 4) {
        v = aligned ? *(__global const float4 *)(x + at) : vload4(0, x + at);
    } else if (left > 0) {
        v.x = x[at];
        if (left > 1) v.y = x[at + 1];
        if (left > 2) v.z = x[at + 2];
    }
    return v;
}

/* The `left` elements that exist of v to y[at...]. */
void store_some(__global float *y, int at, int left, float4 v)
{
    if (left >= 4) vstore4(v, 0, y + at);
    else if (left > 0) store_part(v, y + at, 0, left);
}

void store_along(__local float *slice, float4 v)
{
    *(__local float4 *)slice = v;
}

/* Four depths of one row. */
void store_across(__local float *slice, int pitch, float4 v)
{
    slice[0] = v.x;
    slice[pitch] = v.y;
    slice[2 * pitch] = v.z;
    slice[3 * pitch] = v.w;
}

/* What a prologue loads by channel, `part` of them. */
#define LOAD_SOME(p) load_some(p, 0, part, 0)

/* Adds a slice to an item's sums. */
void multiply(float4 sum[4 * RV][CV], __local const float *rows, __local const float *columns, int tx, int ty)
{
    rows += 4 * ty;
    columns += 4 * tx;
#pragma unroll 4
    for (int d = 0; d < DEPTH; d++, rows += ROW_PITCH, columns += COLUMN_PITCH) {
        float4 across[CV];
#pragma unroll
        for (int j = 0; j < CV; j++) across[j] = *(__local const float4 *)(columns + 4 * j * GX);
#pragma unroll
        for (int i = 0; i < RV; i++) {
            const float4 value = *(__local const float4 *)(rows + 4 * i * GY);
#pragma unroll
            for (int j = 0; j < CV; j++) {
                sum[4 * i][j] = fma((float4)(value.x), across[j], sum[4 * i][j]);
                sum[4 * i + 1][j] = fma((float4)(value.y), across[j], sum[4 * i + 1][j]);
                sum[4 * i + 2][j] = fma((float4)(value.z), across[j], sum[4 * i + 2][j]);
                sum[4 * i + 3][j] = fma((float4)(value.w), across[j], sum[4 * i + 3][j]);
            }
        }
    }
}

#endif
