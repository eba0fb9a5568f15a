/* Weight gradient of a convolution, register-tiled, for groups = 1; a dense layer is the 1x1 case.
 *                         columns: K
 *               [VW|VW|..NV]; the last vector of a tail is moved left to end at K, and stores only its own columns
 *   CB rows     +--------------------+   global id 0: (row block, column block), column blocks next to each other,
 *   of one tap  | sum[CB][NV]        |   id 1: tap, id 2: chunk of picture rows
 *               +--------------------+
 *   Each chunk has its own copy of dw; conv2d_reduce in conv2d_forms.cl adds them in order. CB <= rows, VW <= K.
 *   A pixel is 2 * CB * WIDTH FLOP for CB + WIDTH floats: on GPUs 1.3 to 2 for a byte asked (README.md). */
#include "args.h"
#include "conv2d_tile.h"
#include "lanes.h"

#ifndef NV
#define NV 2 /* vectors of a tile */
#endif
#ifndef CB
#define CB 12 /* rows of a tile */
#endif
#define WIDTH (NV * VW)

/* The first output column whose source lies at or right of `column`: ceil(column / stride), at least 0. */
int first_at(int column, int stride)
{
    return column > 0 ? (column + stride - 1) / stride : 0;
}

__attribute__((reqd_work_group_size(LOCAL, 1, 1)))
__kernel void conv2d_weight(__global const float *restrict x, __global const float *restrict dy, __global float *restrict dw,
                            mcl_weight_args a)
{
    const int tile = (int)get_global_id(0), tap = (int)get_global_id(1), chunk = (int)get_global_id(2);
    if (tile >= a.row_blocks * a.column_blocks) return;
    const int own_row = tile / a.column_blocks * CB, own_column = tile % a.column_blocks * WIDTH;
    /* A tail's tile is moved back to end with the tensor. */
    const int row0 = min(own_row, a.rows - CB);
    int column[NV];
    VECTOR sum[CB][NV];
#pragma unroll
    for (int j = 0; j < NV; j++) {
        column[j] = min(own_column + j * VW, a.K - VW);
#pragma unroll
        for (int i = 0; i < CB; i++) sum[i][j] = (VECTOR)(0.0f);
    }

    const int shift_h = tap / a.KW * a.dilation_h - a.pad_h, shift_w = tap % a.KW * a.dilation_w - a.pad_w;
    const int begin = first_at(-shift_w, a.stride_w), end = min(first_at(a.XW - shift_w, a.stride_w), a.OW);
    const int last = min((chunk + 1) * a.chunk, a.N * a.OH);
    for (int line = chunk * a.chunk; line < last; line++) {
        const int h = line % a.OH * a.stride_h + shift_h;
        if ((uint)h >= (uint)a.XH) continue;
        __global const float *source = x + ((line / a.OH * a.XH + h) * a.XW + begin * a.stride_w + shift_w) * a.pitch + row0;
        __global const float *gradient = dy + (line * a.OW + begin) * a.K;
        for (int o = begin; o < end; o++) {
            VECTOR across[NV];
#pragma unroll
            for (int j = 0; j < NV; j++) across[j] = VLOAD(0, gradient + column[j]);
#pragma unroll
            for (int i = 0; i < CB; i++) {
                const VECTOR value = (VECTOR)(source[i]);
#pragma unroll
                for (int j = 0; j < NV; j++) sum[i][j] = fma(value, across[j], sum[i][j]);
            }
            source += a.stride_w * a.pitch;
            gradient += a.K;
        }
    }

    __global float *target = dw + (chunk * a.KH * a.KW + tap) * a.rows * a.K;
#pragma unroll
    for (int i = 0; i < CB; i++) {
        if (row0 + i >= own_row) {
#pragma unroll
            for (int j = 0; j < NV; j++) {
                __global float *p = target + (row0 + i) * a.K + column[j];
                const int moved = own_column + j * VW - column[j];
                if (moved == 0) GLOBAL_AT(p, 0) = sum[i][j];
                else if (moved < VW) store_part(sum[i][j], p, moved, VW - moved);
            }
        }
    }
}
