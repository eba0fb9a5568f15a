/* Convolution, the reference: one work-item an output element, sums in the order r, s, c (or n, oh, ow). args.h has the formula.
 *   conv2d_fwd         x (N,H,W,C), w (KH,KW,C/groups,K) -> y (N,OH,OW,K)    item = element of y
 *   conv2d_bwd_data    dy (N,OH,OW,K), w                 -> dx (N,H,W,C)     item = element of dx
 *   conv2d_bwd_weight  x, dy                             -> dw like w        item = element of dw */
#include "args.h"

__kernel void conv2d_fwd(__global const float *x, __global const float *w, __global float *y, mcl_conv2d_args a)
{
    const int i = (int)get_global_id(0);
    if (i >= a.N * a.OH * a.OW * a.K) return;
    const int k = i % a.K, ow = i / a.K % a.OW, oh = i / (a.K * a.OW) % a.OH, n = i / (a.K * a.OW * a.OH);
    const int depth = a.C / a.groups, first = k / (a.K / a.groups) * depth;
    float sum = 0.0f;
    for (int r = 0; r < a.KH; r++) {
        const int h = oh * a.stride_h - a.pad_h + r * a.dilation_h;
        if (h < 0 || h >= a.H) continue;
        for (int s = 0; s < a.KW; s++) {
            const int v = ow * a.stride_w - a.pad_w + s * a.dilation_w;
            if (v < 0 || v >= a.W) continue;
            __global const float *pixel = x + ((n * a.H + h) * a.W + v) * a.C + first;
            __global const float *weight = w + (r * a.KW + s) * depth * a.K + k;
            for (int c = 0; c < depth; c++) sum = fma(pixel[c], weight[c * a.K], sum);
        }
    }
    y[i] = sum;
}

/* The output position that reads input position `at` through a tap, or -1. */
int reader(int at, int stride, int limit)
{
    return at >= 0 && at % stride == 0 && at / stride < limit ? at / stride : -1;
}

__kernel void conv2d_bwd_data(__global const float *dy, __global const float *w, __global float *dx, mcl_conv2d_args a)
{
    const int i = (int)get_global_id(0);
    if (i >= a.N * a.H * a.W * a.C) return;
    const int c = i % a.C, v = i / a.C % a.W, h = i / (a.C * a.W) % a.H, n = i / (a.C * a.W * a.H);
    const int depth = a.C / a.groups, width = a.K / a.groups, first = c / depth * width;
    float sum = 0.0f;
    for (int r = 0; r < a.KH; r++) {
        const int oh = reader(h + a.pad_h - r * a.dilation_h, a.stride_h, a.OH);
        if (oh < 0) continue;
        for (int s = 0; s < a.KW; s++) {
            const int ow = reader(v + a.pad_w - s * a.dilation_w, a.stride_w, a.OW);
            if (ow < 0) continue;
            __global const float *pixel = dy + ((n * a.OH + oh) * a.OW + ow) * a.K + first;
            __global const float *weight = w + ((r * a.KW + s) * depth + c % depth) * a.K + first;
            for (int k = 0; k < width; k++) sum = fma(pixel[k], weight[k], sum);
        }
    }
    dx[i] = sum;
}

__kernel void conv2d_bwd_weight(__global const float *x, __global const float *dy, __global float *dw, mcl_conv2d_args a)
{
    const int i = (int)get_global_id(0), depth = a.C / a.groups;
    if (i >= a.KH * a.KW * depth * a.K) return;
    const int k = i % a.K, c = k / (a.K / a.groups) * depth + i / a.K % depth;
    const int s = i / (a.K * depth) % a.KW, r = i / (a.K * depth * a.KW);
    float sum = 0.0f;
    for (int n = 0; n < a.N; n++) {
        for (int oh = 0; oh < a.OH; oh++) {
            const int h = oh * a.stride_h - a.pad_h + r * a.dilation_h;
            if (h < 0 || h >= a.H) continue;
            for (int ow = 0; ow < a.OW; ow++) {
                const int v = ow * a.stride_w - a.pad_w + s * a.dilation_w;
                if (v < 0 || v >= a.W) continue;
                sum = fma(x[((n * a.H + h) * a.W + v) * a.C + c], dy[((n * a.OH + oh) * a.OW + ow) * a.K + k], sum);
            }
        }
    }
    dw[i] = sum;
}
