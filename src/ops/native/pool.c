/* Pooling over windows and over whole planes. The gradients gather: each input pixel adds up the windows that contain
 * it, in a fixed order. */
#include "ops/native/native.h"
#include <string.h>

typedef struct span { int first, end; } span;

/* The taps of the window of output `o` that lie on inputs 0 .. size - 1. */
static span taps(int o, int stride, int pad, int kernel, int size)
{
    int start = o * stride - pad;
    return (span){start < 0 ? -start : 0, size - start < kernel ? size - start : kernel};
}

/* The output whose window has tap `t` on input `i`, or -1. */
static int window(int i, int t, int stride, int pad, int outputs)
{
    int o = i + pad - t;
    return o < 0 || o % stride || o / stride >= outputs ? -1 : o / stride;
}

/* Of x, which is never smaller than y where pooling pools. */
static double elements(const mcl_pool_args *a) { return (double)a->N * a->H * a->W * a->C; }

static size_t pixel(int n, int H, int W, int C, int h, int w) { return (((size_t)n * H + h) * W + w) * C; }

/* The first of the largest wins, and the first NaN over all. Every comparison is made, so that this becomes vectors. */
static void max_tap(int C, int tap, const float *restrict x, float *restrict y, uint8_t *restrict index)
{
    for (int c = 0; c < C; c++) {
        int wins = (x[c] > y[c]) | ((x[c] != x[c]) & (y[c] == y[c]));
        y[c] = wins ? x[c] : y[c];
        index[c] = (uint8_t)(wins ? tap : index[c]);
    }
}

void mcl__native_max_pool_fwd(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer;
    float *y = arg[1].pointer;
    uint8_t *index = arg[2].pointer;
    const mcl_pool_args *a = arg[3].pointer;
#pragma omp parallel for collapse(2) schedule(static) if (mcl__native_worth(elements(a)))
    for (int n = 0; n < a->N; n++)
        for (int oh = 0; oh < a->OH; oh++)
            for (int ow = 0; ow < a->OW; ow++) {
                span rows = taps(oh, a->stride_h, a->pad_h, a->KH, a->H);
                span columns = taps(ow, a->stride_w, a->pad_w, a->KW, a->W);
                size_t out = pixel(n, a->OH, a->OW, a->C, oh, ow);
                for (int r = rows.first; r < rows.end; r++)
                    for (int s = columns.first; s < columns.end; s++) {
                        const float *in = x + pixel(n, a->H, a->W, a->C, oh * a->stride_h - a->pad_h + r,
                                                    ow * a->stride_w - a->pad_w + s);
                        int tap = r * a->KW + s;
                        if (r > rows.first || s > columns.first) {
                            max_tap(a->C, tap, in, y + out, index + out);
                            continue;
                        }
                        memcpy(y + out, in, (size_t)a->C * sizeof *y);
                        memset(index + out, tap, (size_t)a->C);
                    }
            }
}

/* Adds to dx (C) what window (oh, ow) gives it through this tap. */
static void max_tap_bwd(int C, int tap, const float *restrict dy, const uint8_t *restrict index, float *restrict dx)
{
    for (int c = 0; c < C; c++) {
        float gradient = dy[c];
        dx[c] += index[c] == tap ? gradient : 0.0f;
    }
}

void mcl__native_max_pool_bwd(const mcl__native_arg *arg)
{
    const float *dy = arg[0].pointer;
    const uint8_t *index = arg[1].pointer;
    float *dx = arg[2].pointer;
    const mcl_pool_args *a = arg[3].pointer;
#pragma omp parallel for collapse(2) schedule(static) if (mcl__native_worth(elements(a)))
    for (int n = 0; n < a->N; n++)
        for (int h = 0; h < a->H; h++)
            for (int w = 0; w < a->W; w++) {
                float *target = dx + pixel(n, a->H, a->W, a->C, h, w);
                memset(target, 0, (size_t)a->C * sizeof *target);
                for (int r = a->KH - 1; r >= 0; r--) {
                    int oh = window(h, r, a->stride_h, a->pad_h, a->OH);
                    for (int s = a->KW - 1; oh >= 0 && s >= 0; s--) {
                        int ow = window(w, s, a->stride_w, a->pad_w, a->OW);
                        size_t out = pixel(n, a->OH, a->OW, a->C, oh, ow < 0 ? 0 : ow);
                        if (ow >= 0) max_tap_bwd(a->C, r * a->KW + s, dy + out, index + out, target);
                    }
                }
            }
}

/* 1 / the number of pixels that the window of (oh, ow) averages over. */
static float inverse_count(const mcl_pool_args *a, int oh, int ow)
{
    if (a->count_padding) return a->inverse_area;
    span rows = taps(oh, a->stride_h, a->pad_h, a->KH, a->H), columns = taps(ow, a->stride_w, a->pad_w, a->KW, a->W);
    return 1.0f / (float)((rows.end - rows.first) * (columns.end - columns.first));
}

/* y[i] += a * x[i] */
static void axpy(int n, float a, const float *restrict x, float *restrict y)
{
    for (int i = 0; i < n; i++) y[i] += a * x[i];
}

static void multiply(int n, float a, float *y)
{
    for (int i = 0; i < n; i++) y[i] *= a;
}

void mcl__native_avg_pool_fwd(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer;
    float *y = arg[1].pointer;
    const mcl_pool_args *a = arg[2].pointer;
#pragma omp parallel for collapse(2) schedule(static) if (mcl__native_worth(elements(a)))
    for (int n = 0; n < a->N; n++)
        for (int oh = 0; oh < a->OH; oh++)
            for (int ow = 0; ow < a->OW; ow++) {
                span rows = taps(oh, a->stride_h, a->pad_h, a->KH, a->H);
                span columns = taps(ow, a->stride_w, a->pad_w, a->KW, a->W);
                float *target = y + pixel(n, a->OH, a->OW, a->C, oh, ow);
                memset(target, 0, (size_t)a->C * sizeof *target);
                for (int r = rows.first; r < rows.end; r++)
                    for (int s = columns.first; s < columns.end; s++)
                        axpy(a->C, 1.0f, x + pixel(n, a->H, a->W, a->C, oh * a->stride_h - a->pad_h + r,
                                                   ow * a->stride_w - a->pad_w + s), target);
                multiply(a->C, inverse_count(a, oh, ow), target);
            }
}

void mcl__native_avg_pool_bwd(const mcl__native_arg *arg)
{
    const float *dy = arg[0].pointer;
    float *dx = arg[1].pointer;
    const mcl_pool_args *a = arg[2].pointer;
#pragma omp parallel for collapse(2) schedule(static) if (mcl__native_worth(elements(a)))
    for (int n = 0; n < a->N; n++)
        for (int h = 0; h < a->H; h++)
            for (int w = 0; w < a->W; w++) {
                float *target = dx + pixel(n, a->H, a->W, a->C, h, w);
                memset(target, 0, (size_t)a->C * sizeof *target);
                for (int r = a->KH - 1; r >= 0; r--) {
                    int oh = window(h, r, a->stride_h, a->pad_h, a->OH);
                    for (int s = a->KW - 1; oh >= 0 && s >= 0; s--) {
                        int ow = window(w, s, a->stride_w, a->pad_w, a->OW);
                        if (ow < 0) continue;
                        axpy(a->C, inverse_count(a, oh, ow), dy + pixel(n, a->OH, a->OW, a->C, oh, ow), target);
                    }
                }
            }
}

void mcl__native_global_avg_pool_fwd(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer;
    float *y = arg[1].pointer;
    const mcl_pool_args *a = arg[2].pointer;
#pragma omp parallel for schedule(static) if (mcl__native_worth(elements(a)))
    for (int n = 0; n < a->N; n++) {
        float *target = y + (size_t)n * a->C;
        memset(target, 0, (size_t)a->C * sizeof *target);
        for (int i = 0; i < a->H * a->W; i++) axpy(a->C, 1.0f, x + pixel(n, 1, a->H * a->W, a->C, 0, i), target);
        multiply(a->C, a->inverse_area, target);
    }
}

void mcl__native_global_avg_pool_bwd(const mcl__native_arg *arg)
{
    const float *dy = arg[0].pointer;
    float *dx = arg[1].pointer;
    const mcl_pool_args *a = arg[2].pointer;
#pragma omp parallel for schedule(static) if (mcl__native_worth(elements(a)))
    for (int n = 0; n < a->N; n++)
        for (int i = 0; i < a->H * a->W; i++) {
            const float *source = dy + (size_t)n * a->C;
            float *target = dx + pixel(n, 1, a->H * a->W, a->C, 0, i);
            for (int c = 0; c < a->C; c++) target[c] = source[c] * a->inverse_area;
        }
}
