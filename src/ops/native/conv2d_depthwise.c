/* Depthwise convolutions, one filter a channel: direct loops whose innermost runs over the channels. */
#include "ops/native/native.h"
#include <string.h>

bool mcl__native_conv2d_depthwise(const mcl_conv2d_args *args) { return args->groups == args->C && args->K == args->C; }

/* y[i] += w[i] * x[i] */
static void multiply_add(int n, const float *restrict w, const float *restrict x, float *restrict y)
{
    for (int i = 0; i < n; i++) y[i] += w[i] * x[i];
}

/* x: (N,H,W,C).  w: (KH,KW,C).  y: (N,OH,OW,C). */
void mcl__native_conv2d_depthwise_fwd(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer, *w = arg[1].pointer;
    float *y = arg[2].pointer;
    const mcl_conv2d_args *a = arg[3].pointer;
#pragma omp parallel for collapse(2) schedule(static) if (mcl__native_worth(mcl__native_conv2d_work(a)))
    for (int n = 0; n < a->N; n++)
        for (int oh = 0; oh < a->OH; oh++)
            for (int ow = 0; ow < a->OW; ow++) {
                float *target = y + (((size_t)n * a->OH + oh) * a->OW + ow) * a->C;
                memset(target, 0, (size_t)a->C * sizeof *target);
                for (int r = 0; r < a->KH; r++) {
                    int h = oh * a->stride_h - a->pad_h + r * a->dilation_h;
                    for (int s = 0; h >= 0 && h < a->H && s < a->KW; s++) {
                        int column = ow * a->stride_w - a->pad_w + s * a->dilation_w;
                        if (column < 0 || column >= a->W) continue;
                        multiply_add(a->C, w + ((size_t)r * a->KW + s) * a->C,
                                     x + (((size_t)n * a->H + h) * a->W + column) * a->C, target);
                    }
                }
            }
}

void mcl__native_conv2d_depthwise_bwd_data(const mcl__native_arg *arg)
{
    const float *dy = arg[0].pointer, *w = arg[1].pointer;
    float *dx = arg[2].pointer;
    const mcl_conv2d_args *a = arg[3].pointer;
#pragma omp parallel for collapse(2) schedule(static) if (mcl__native_worth(mcl__native_conv2d_work(a)))
    for (int n = 0; n < a->N; n++)
        for (int h = 0; h < a->H; h++)
            for (int column = 0; column < a->W; column++) {
                float *target = dx + (((size_t)n * a->H + h) * a->W + column) * a->C;
                memset(target, 0, (size_t)a->C * sizeof *target);
                for (int r = 0; r < a->KH; r++) {
                    int oh = mcl__native_window(h, r, a->stride_h, a->pad_h, a->dilation_h, a->OH);
                    for (int s = 0; oh >= 0 && s < a->KW; s++) {
                        int ow = mcl__native_window(column, s, a->stride_w, a->pad_w, a->dilation_w, a->OW);
                        if (ow < 0) continue;
                        multiply_add(a->C, w + ((size_t)r * a->KW + s) * a->C,
                                     dy + (((size_t)n * a->OH + oh) * a->OW + ow) * a->C, target);
                    }
                }
            }
}

#define TAPS 8 /* of one row of the filter, summed in one walk: a line of pixels is in the cache for all but the first */

/* Adds to line (channels [c, c + count)) the products of one line of outputs with the pixels under tap s. */
static void line_bwd(const mcl_conv2d_args *a, const float *x, const float *dy, float *line, int s, int c, int count)
{
    for (int ow = 0; ow < a->OW; ow++) {
        int column = ow * a->stride_w - a->pad_w + s * a->dilation_w;
        if (column < 0 || column >= a->W) continue;
        multiply_add(count, x + (size_t)column * a->C + c, dy + (size_t)ow * a->C + c, line);
    }
}

/* dw of channels [c, c + count) and taps (r, [s, s + taps)): float over a line of pixels, double over the lines. */
static void taps_bwd(const mcl_conv2d_args *a, const float *x, const float *dy, float *dw, int r, int s, int taps, int c,
                     int count)
{
    double sum[TAPS][MCL__NATIVE_BLOCK] = {{0}};
    for (int n = 0; n < a->N; n++)
        for (int oh = 0; oh < a->OH; oh++) {
            int h = oh * a->stride_h - a->pad_h + r * a->dilation_h;
            if (h < 0 || h >= a->H) continue;
            for (int t = 0; t < taps; t++) {
                float line[MCL__NATIVE_BLOCK] = {0};
                line_bwd(a, x + ((size_t)n * a->H + h) * a->W * a->C, dy + ((size_t)n * a->OH + oh) * a->OW * a->C, line,
                         s + t, c, count);
                for (int i = 0; i < count; i++) sum[t][i] += (double)line[i];
            }
        }
    for (int t = 0; t < taps; t++)
        for (int i = 0; i < count; i++) dw[((size_t)r * a->KW + s + t) * a->C + c + i] = (float)sum[t][i];
}

void mcl__native_conv2d_depthwise_bwd_weight(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer, *dy = arg[1].pointer;
    float *dw = arg[2].pointer;
    const mcl_conv2d_args *a = arg[3].pointer;
#pragma omp parallel for collapse(3) schedule(static) if (mcl__native_worth(mcl__native_conv2d_work(a)))
    for (int r = 0; r < a->KH; r++)
        for (int s = 0; s < a->KW; s += TAPS)
            for (int c = 0; c < a->C; c += MCL__NATIVE_BLOCK) {
                int taps = a->KW - s < TAPS ? a->KW - s : TAPS;
                int count = a->C - c < MCL__NATIVE_BLOCK ? a->C - c : MCL__NATIVE_BLOCK;
                taps_bwd(a, x, dy, dw, r, s, taps, c, count);
            }
}
