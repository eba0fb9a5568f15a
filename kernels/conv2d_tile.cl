/* Convolution and its gradients, register-tiled, for groups = 1; a dense layer is the 1x1 case. Made for CPUs, where a
 * work-group is one work-item and a vector one register; correct everywhere.
 *
 * conv2d_gather: forward and data gradient (conv2d_tile.h says how both are one sum)
 *                         channels of the target
 *               block 0: [VW|VW|..NV]   block 1: [VW|VW|..NV] ...
 *   P pixels    +--------------------+
 *   of one      | sum[P][NV], one    |   global id 0: tile of P pixels, id 1: block, id 2: class
 *   class       | work-item          |   source pixels outside the picture are the zeros that follow the weights
 *               +--------------------+
 *   w: [blocks][taps][run][NV * VW], zeros beyond the last channel, then `run` zeros (conv2d_block in conv2d_forms.cl makes it)
 *
 * conv2d_weight: the weight gradient
 *                         columns: K
 *               [VW|VW|..NV]; the last vector of a tail is moved left to end at K, and stores only its own columns
 *   CB rows     +--------------------+   global id 0: (row block, column block), column blocks next to each other,
 *   of one tap  | sum[CB][NV]        |   id 1: tap, id 2: chunk of picture rows
 *               +--------------------+
 *   Each chunk has its own copy of dw; conv2d_reduce in conv2d_forms.cl adds them in order. */
#include "args.h"
#include "conv2d_tile.h"
#include "lanes.h"
#include "pointwise.h"

#ifndef NV
#define NV 2 /* vectors of a tile */
#endif
#ifndef P
#define P 12 /* pixels of a tile */
#endif
#ifndef CB
#define CB 12 /* rows of a weight gradient's tile */
#endif
#define WIDTH (NV * VW)

__attribute__((reqd_work_group_size(LOCAL, 1, 1)))
__kernel void conv2d_gather(__global const float *restrict x, __global const float *restrict w, __global float *restrict y
                            EPILOGUE_PARAMS, mcl_gather_args a)
{
    const int first = (int)get_global_id(0) * P, block = (int)get_global_id(1);
    const int class_h = (int)get_global_id(2) / a.classes_w, class_w = (int)get_global_id(2) % a.classes_w;
    const int QH = (a.TH - class_h + a.classes_h - 1) / a.classes_h, QW = (a.TW - class_w + a.classes_w - 1) / a.classes_w;
    const int pixels = a.N * QH * QW, taps = a.KH * a.KW;
    if (first >= pixels) return;

    /* Pixels past the last one are computed as the last one and not stored. */
    int h[P], v[P], picture[P];
    VECTOR sum[P][NV];
#pragma unroll
    for (int i = 0; i < P; i++) {
        const int pixel = min(first + i, pixels - 1);
        v[i] = pixel % QW * a.step_w;
        h[i] = pixel / QW % QH * a.step_h;
        picture[i] = pixel / (QW * QH) * a.SH;
#pragma unroll
        for (int j = 0; j < NV; j++) sum[i][j] = (VECTOR)(0.0f);
    }

    __global const float *zeros = w + (int)get_global_size(1) * taps * a.run * WIDTH;
    for (int r = 0; r < a.KH; r++) {
        const int over_h = class_h + a.base_h + r * a.slope_h, shift_h = over_h / a.classes_h;
        if (over_h != shift_h * a.classes_h) continue;
        for (int s = 0; s < a.KW; s++) {
            const int over_w = class_w + a.base_w + s * a.slope_w, shift_w = over_w / a.classes_w;
            if (over_w != shift_w * a.classes_w) continue;

            __global const float *source[P];
            int any = 0;
#pragma unroll
            for (int i = 0; i < P; i++) {
                const int sh = h[i] + shift_h, sw = v[i] + shift_w;
                const int inside = (uint)sh < (uint)a.SH && (uint)sw < (uint)a.SW;
                source[i] = inside ? x + ((picture[i] + sh) * a.SW + sw) * a.pitch : zeros;
                any |= inside;
            }
            if (!any) continue;

            __global const float *weight = w + (block * taps + r * a.KW + s) * a.run * WIDTH;
            for (int c = 0; c < a.run; c++) {
                VECTOR across[NV];
#pragma unroll
                for (int j = 0; j < NV; j++) across[j] = VLOAD(j, weight);
                weight += WIDTH;
#pragma unroll
                for (int i = 0; i < P; i++) {
                    const VECTOR value = (VECTOR)(source[i][c]);
#pragma unroll
                    for (int j = 0; j < NV; j++) sum[i][j] = fma(value, across[j], sum[i][j]);
                }
            }
        }
    }

#pragma unroll
    for (int i = 0; i < P; i++) {
        const int pixel = first + i;
        if (pixel < pixels) {
            const int th = class_h + pixel / QW % QH * a.classes_h, tw = class_w + pixel % QW * a.classes_w;
            const int row = (pixel / (QW * QH) * a.TH + th) * a.TW + tw;
#pragma unroll
            for (int j = 0; j < NV; j++) FINISH(sum[i][j], y, row, block * WIDTH + j * VW, a.TC);
        }
    }
}

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
                if (moved == 0) VSTORE(sum[i][j], 0, p);
                else if (moved < VW) store_part(sum[i][j], p, moved, VW - moved);
            }
        }
    }
}
