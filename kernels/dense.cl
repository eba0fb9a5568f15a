/* Dense layers, the reference: one work-item an output element.
 *   dense_fwd         x (R,C), w (C,K)  -> y (R,K)     y = x w
 *   dense_bwd_data    dy (R,K), w       -> dx (R,C)    dx = dy w^T
 *   dense_bwd_weight  x, dy             -> dw (C,K)    dw = x^T dy */
#include "args.h"

__kernel void dense_fwd(__global const float *x, __global const float *w, __global float *y, mcl_dense_args a)
{
    const int i = (int)get_global_id(0), k = i % a.K, row = i / a.K;
    if (row >= a.rows) return;
    float sum = 0.0f;
    for (int c = 0; c < a.C; c++) sum = fma(x[row * a.C + c], w[c * a.K + k], sum);
    y[i] = sum;
}

__kernel void dense_bwd_data(__global const float *dy, __global const float *w, __global float *dx, mcl_dense_args a)
{
    const int i = (int)get_global_id(0), c = i % a.C, row = i / a.C;
    if (row >= a.rows) return;
    float sum = 0.0f;
    for (int k = 0; k < a.K; k++) sum = fma(dy[row * a.K + k], w[c * a.K + k], sum);
    dx[i] = sum;
}

__kernel void dense_bwd_weight(__global const float *x, __global const float *dy, __global float *dw, mcl_dense_args a)
{
    const int i = (int)get_global_id(0), k = i % a.K, c = i / a.K;
    if (c >= a.C) return;
    float sum = 0.0f;
    for (int row = 0; row < a.rows; row++) sum = fma(x[row * a.C + c], dy[row * a.K + k], sum);
    dw[i] = sum;
}
