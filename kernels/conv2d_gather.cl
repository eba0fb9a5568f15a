/* Forward convolution and data gradient, register-tiled, for groups = 1; a dense layer is the 1x1 case. Made for CPUs, where a
 * work-group is one work-item and a vector one register; correct everywhere. conv2d_tile.h says how both are one sum.
 *                         channels of the target
 *               block 0: [VW|VW|..NV]   block 1: [VW|VW|..NV] ...
 *   P pixels    +--------------------+
 *   of one      | sum[P][NV], one    |   global id 0: tile of P pixels, id 1: block, id 2: class
 *   class       | work-item          |   source pixels outside the picture are the zeros that follow the weights
 *               +--------------------+
 *   w: [blocks][taps][run][NV * VW], zeros beyond the last channel, then `run` zeros (conv2d_forms.cl makes it)
 * The weight gradient has a file of its own: drivers compile whole programs. A step of depth is 2 * P * WIDTH FLOP for P + WIDTH
 * floats: on GPUs 1.3 to 2 for a byte asked (README.md). */
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
#define WIDTH (NV * VW)

/* total += P pixels * weights of one tap, `run` deep. Each step asks for `pace` floats of the pixels that the next tile reads, and
 * for the next pixel that is written. On CPUs a function that is called: in sight of the rest PoCL's compiler keeps half of the
 * sums in memory (12 ms for what takes 7). */
#if LOCAL == 1
__attribute__((noinline))
#endif
void add_tap(VECTOR total[P][NV], __global const float *const source[P], __global const float *weight, int run,
             __global const float *ahead, int pace, __global const float *target, int target_pitch)
{
    VECTOR sum[P][NV];
#pragma unroll
    for (int i = 0; i < P; i++)
#pragma unroll
        for (int j = 0; j < NV; j++) sum[i][j] = total[i][j];
    for (int c = 0; c < run; c++) {
        VECTOR across[NV];
        PREFETCH(ahead);
        PREFETCH(target);
        ahead += pace, target += target_pitch;
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
#pragma unroll
    for (int i = 0; i < P; i++)
#pragma unroll
        for (int j = 0; j < NV; j++) total[i][j] = sum[i][j];
}

/* The target's row of a pixel of the class. */
int row_of(int pixel, int class_h, int class_w, int QH, int QW, mcl_gather_args a)
{
    const int th = class_h + pixel / QW % QH * a.classes_h, tw = class_w + pixel % QW * a.classes_w;
    return (pixel / (QW * QH) * a.TH + th) * a.TW + tw;
}

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

    __global const float *target = y + row_of(first, class_h, class_w, QH, QW, a) * a.TC + block * WIDTH;
    __global const float *zeros = w + ((a.TC - 1) / WIDTH + 1) * taps * a.run * WIDTH;
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
            add_tap(sum, source, weight, a.run, source[P - 1] + a.step_w * a.pitch, P * a.step_w * a.pitch / a.run, target,
                    a.classes_w * a.TC);
        }
    }

#pragma unroll
    for (int i = 0; i < P; i++) {
        const int pixel = first + i;
        if (pixel < pixels) {
            const int row = row_of(pixel, class_h, class_w, QH, QW, a);
#pragma unroll
            for (int j = 0; j < NV; j++) FINISH(sum[i][j], y, row, block * WIDTH + j * VW, a.TC);
        }
    }
}
