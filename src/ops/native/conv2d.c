/* The three passes of the convolution as its definition reads: the reference that every other variant must equal. */
#include "ops/native/native.h"
#include <string.h>

/* One output pixel: y (K) from x (N,H,W,C) at the window of (n, oh, ow). */
static void pixel_fwd(const mcl_conv2d_args *a, const float *x, const float *w, float *y, int n, int oh, int ow)
{
    int Cg = a->C / a->groups, Kg = a->K / a->groups;
    memset(y, 0, (size_t)a->K * sizeof *y);
    for (int r = 0; r < a->KH; r++) {
        int h = oh * a->stride_h - a->pad_h + r * a->dilation_h;
        if (h < 0 || h >= a->H) continue;
        for (int s = 0; s < a->KW; s++) {
            int column = ow * a->stride_w - a->pad_w + s * a->dilation_w;
            if (column < 0 || column >= a->W) continue;
            const float *pixel = x + (((size_t)n * a->H + h) * a->W + column) * a->C;
            const float *tap = w + ((size_t)r * a->KW + s) * Cg * a->K;
            for (int g = 0; g < a->groups; g++)
                for (int c = 0; c < Cg; c++) mcl__native_axpy(Kg, pixel[g * Cg + c], tap + (size_t)c * a->K + g * Kg, y + g * Kg);
        }
    }
}

void mcl__native_conv2d_fwd(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer, *w = arg[1].pointer;
    float *y = arg[2].pointer;
    const mcl_conv2d_args *a = arg[3].pointer;
#pragma omp parallel for collapse(2) schedule(static) if (mcl__native_worth(mcl__native_conv2d_work(a)))
    for (int n = 0; n < a->N; n++)
        for (int oh = 0; oh < a->OH; oh++)
            for (int ow = 0; ow < a->OW; ow++)
                pixel_fwd(a, x, w, y + (((size_t)n * a->OH + oh) * a->OW + ow) * a->K, n, oh, ow);
}

static float dot(int n, const float *x, const float *y)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* One input pixel: dx (C) from the windows that contain it. */
static void pixel_bwd(const mcl_conv2d_args *a, const float *dy, const float *w, float *dx, int n, int h, int column)
{
    int Cg = a->C / a->groups, Kg = a->K / a->groups;
    memset(dx, 0, (size_t)a->C * sizeof *dx);
    for (int r = 0; r < a->KH; r++) {
        int oh = mcl__native_window(h, r, a->stride_h, a->pad_h, a->dilation_h, a->OH);
        for (int s = 0; oh >= 0 && s < a->KW; s++) {
            int ow = mcl__native_window(column, s, a->stride_w, a->pad_w, a->dilation_w, a->OW);
            if (ow < 0) continue;
            const float *pixel = dy + (((size_t)n * a->OH + oh) * a->OW + ow) * a->K;
            const float *tap = w + ((size_t)r * a->KW + s) * Cg * a->K;
            for (int g = 0; g < a->groups; g++)
                for (int c = 0; c < Cg; c++)
                    dx[g * Cg + c] += dot(Kg, pixel + g * Kg, tap + (size_t)c * a->K + g * Kg);
        }
    }
}

void mcl__native_conv2d_bwd_data(const mcl__native_arg *arg)
{
    const float *dy = arg[0].pointer, *w = arg[1].pointer;
    float *dx = arg[2].pointer;
    const mcl_conv2d_args *a = arg[3].pointer;
#pragma omp parallel for collapse(2) schedule(static) if (mcl__native_worth(mcl__native_conv2d_work(a)))
    for (int n = 0; n < a->N; n++)
        for (int h = 0; h < a->H; h++)
            for (int column = 0; column < a->W; column++)
                pixel_bwd(a, dy, w, dx + (((size_t)n * a->H + h) * a->W + column) * a->C, n, h, column);
}

/* dw[r][s][c][k .. k + count) of the group's output channels, summed over all windows in double. */
static void weight_bwd(const mcl_conv2d_args *a, const float *x, const float *dy, float *dw, int r, int s, int c, int k,
                       int count)
{
    double sum[MCL__NATIVE_BLOCK] = {0};
    for (int n = 0; n < a->N; n++)
        for (int oh = 0; oh < a->OH; oh++) {
            int h = oh * a->stride_h - a->pad_h + r * a->dilation_h;
            if (h < 0 || h >= a->H) continue;
            for (int ow = 0; ow < a->OW; ow++) {
                int column = ow * a->stride_w - a->pad_w + s * a->dilation_w;
                if (column < 0 || column >= a->W) continue;
                double value = x[(((size_t)n * a->H + h) * a->W + column) * a->C + c];
                const float *pixel = dy + (((size_t)n * a->OH + oh) * a->OW + ow) * a->K + k;
                for (int i = 0; i < count; i++) sum[i] += value * (double)pixel[i];
            }
        }
    for (int i = 0; i < count; i++) dw[i] = (float)sum[i];
}

void mcl__native_conv2d_bwd_weight(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer, *dy = arg[1].pointer;
    float *dw = arg[2].pointer;
    const mcl_conv2d_args *a = arg[3].pointer;
    int Cg = a->C / a->groups, Kg = a->K / a->groups, rows = a->KH * a->KW * Cg;
#pragma omp parallel for collapse(2) schedule(static) if (mcl__native_worth(mcl__native_conv2d_work(a)))
    for (int row = 0; row < rows; row++)
        for (int g = 0; g < a->groups; g++)
            for (int k = 0; k < Kg; k += MCL__NATIVE_BLOCK) {
                int tap = row / Cg, count = Kg - k < MCL__NATIVE_BLOCK ? Kg - k : MCL__NATIVE_BLOCK;
                weight_bwd(a, x, dy, dw + (size_t)row * a->K + g * Kg + k, tap / a->KW, tap % a->KW, g * Cg + row % Cg,
                           g * Kg + k, count);
            }
}
