/* Depthwise convolution (groups = C = K), a vector of channels a work-item; the kernel is TAPS_H x TAPS_W.
 *   conv2d_depthwise_fwd         global id 0: vector of VW channels, id 1: line (n, oh) of y; walks the line
 *   conv2d_depthwise_bwd_data    the same over lines (n, h) of dx
 * x (N,H,W,C), w (KH,KW,1,C), y (N,OH,OW,C). With TAIL the last vector may be cut off by C. */
#include "args.h"
#include "lanes.h"
#include "pointwise.h"

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
__kernel void conv2d_depthwise_fwd(__global const float *restrict x, __global const float *restrict w, __global float *restrict y
                                   EPILOGUE_PARAMS, mcl_conv2d_args a)
{
    const int channel = (int)get_global_id(0) * VW, line = (int)get_global_id(1), part = a.C - channel;
    if (part <= 0) return;
    VECTOR weight[TAPS_H * TAPS_W];
#pragma unroll
    for (int i = 0; i < TAPS_H * TAPS_W; i++) weight[i] = LOAD(w + i * a.C + channel);

    const int top = line % a.OH * a.stride_h - a.pad_h, picture = line / a.OH * a.H;
    for (int ow = 0; ow < a.OW; ow++) {
        const int left = ow * a.stride_w - a.pad_w;
        VECTOR sum = (VECTOR)(0.0f);
#pragma unroll
        for (int r = 0; r < TAPS_H; r++) {
            const int h = top + r * a.dilation_h;
            if ((uint)h >= (uint)a.H) continue;
            __global const float *source = x + (picture + h) * a.W * a.C + channel;
#pragma unroll
            for (int s = 0; s < TAPS_W; s++) {
                const int v = left + s * a.dilation_w;
                if ((uint)v < (uint)a.W) sum = fma(LOAD(source + v * a.C), weight[r * TAPS_W + s], sum);
            }
        }
        FINISH(sum, y, line * a.OW + ow, channel, a.C);
    }
}

/* The output position that reads input position `at` through a tap, or -1. */
int reader(int at, int stride, int limit)
{
    return at >= 0 && at % stride == 0 && at / stride < limit ? at / stride : -1;
}

__attribute__((reqd_work_group_size(LOCAL, 1, 1)))
__kernel void conv2d_depthwise_bwd_data(__global const float *restrict dy, __global const float *restrict w,
                                        __global float *restrict dx EPILOGUE_PARAMS, mcl_conv2d_args a)
{
    const int channel = (int)get_global_id(0) * VW, line = (int)get_global_id(1), part = a.C - channel;
    if (part <= 0) return;
    VECTOR weight[TAPS_H * TAPS_W];
#pragma unroll
    for (int i = 0; i < TAPS_H * TAPS_W; i++) weight[i] = LOAD(w + i * a.C + channel);

    int source[TAPS_H]; /* first element of the line of dy that tap row r reads, or -1 */
#pragma unroll
    for (int r = 0; r < TAPS_H; r++) {
        const int oh = reader(line % a.H + a.pad_h - r * a.dilation_h, a.stride_h, a.OH);
        source[r] = oh < 0 ? -1 : (line / a.H * a.OH + oh) * a.OW * a.C + channel;
    }
    for (int v = 0; v < a.W; v++) {
        VECTOR sum = (VECTOR)(0.0f);
#pragma unroll
        for (int s = 0; s < TAPS_W; s++) {
            const int ow = reader(v + a.pad_w - s * a.dilation_w, a.stride_w, a.OW);
            if (ow < 0) continue;
#pragma unroll
            for (int r = 0; r < TAPS_H; r++)
                if (source[r] >= 0) sum = fma(LOAD(dy + source[r] + ow * a.C), weight[r * TAPS_W + s], sum);
        }
        FINISH(sum, dx, line * a.W + v, channel, a.C);
    }
}
