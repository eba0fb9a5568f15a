/* Weight gradient of a depthwise convolution (groups = C = K); the kernel is TAPS_H x TAPS_W.
 *   global id 0: vector of VW channels, id 1: chunk of `chunk` lines (n, oh) of dy; sums all taps at once, into its own copy of
 *   dw, which conv2d_reduce in conv2d_forms.cl adds in order
 * x (N,H,W,C), dy (N,OH,OW,C), copies (chunks,KH,KW,1,C). With TAIL the last vector may be cut off by C. */
#include "args.h"
#include "lanes.h"

#ifndef TAPS_H
#define TAPS_H 3
#endif
#ifndef TAPS_W
#define TAPS_W 3
#endif
#ifndef TAIL
#define TAIL 1
#endif

#if TAIL
#define LOAD(p) (part >= VW ? VLOAD(0, p) : load_part(p, part))
#else
#define LOAD(p) VLOAD(0, p)
#endif

__attribute__((reqd_work_group_size(LOCAL, 1, 1)))
__kernel void conv2d_depthwise_bwd_weight(__global const float *restrict x, __global const float *restrict dy,
                                          __global float *restrict copies, int chunk, mcl_conv2d_args a)
{
    const int channel = (int)get_global_id(0) * VW, copy = (int)get_global_id(1), part = a.C - channel;
    if (part <= 0) return;
    VECTOR sum[TAPS_H * TAPS_W];
#pragma unroll
    for (int i = 0; i < TAPS_H * TAPS_W; i++) sum[i] = (VECTOR)(0.0f);

    const int last = min((copy + 1) * chunk, a.N * a.OH);
    for (int line = copy * chunk; line < last; line++) {
        const int top = line % a.OH * a.stride_h - a.pad_h, picture = line / a.OH * a.H;
        for (int ow = 0; ow < a.OW; ow++) {
            const VECTOR gradient = LOAD(dy + (line * a.OW + ow) * a.C + channel);
            const int left = ow * a.stride_w - a.pad_w;
#pragma unroll
            for (int r = 0; r < TAPS_H; r++) {
                const int h = top + r * a.dilation_h;
                if ((uint)h >= (uint)a.H) continue;
                __global const float *source = x + (picture + h) * a.W * a.C + channel;
#pragma unroll
                for (int s = 0; s < TAPS_W; s++) {
                    const int v = left + s * a.dilation_w;
                    if ((uint)v < (uint)a.W) sum[r * TAPS_W + s] = fma(LOAD(source + v * a.C), gradient, sum[r * TAPS_W + s]);
                }
            }
        }
    }

    __global float *target = copies + copy * TAPS_H * TAPS_W * a.C + channel;
#pragma unroll
    for (int i = 0; i < TAPS_H * TAPS_W; i++) {
        if (part >= VW) VSTORE(sum[i], 0, target + i * a.C);
        else store_part(sum[i], target + i * a.C, 0, part);
    }
}
