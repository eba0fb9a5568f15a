/* The three products of a dense layer as plain loops: the reference. Speed is the library's product's work. */
#include "ops/native/native.h"
#include <string.h>

void mcl__native_dense_fwd(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer, *w = arg[1].pointer;
    float *y = arg[2].pointer;
    const mcl_dense_args *a = arg[3].pointer;
#pragma omp parallel for schedule(static) if (mcl__native_worth((double)a->rows * a->C * a->K))
    for (int row = 0; row < a->rows; row++) {
        float *out = y + (size_t)row * a->K;
        memset(out, 0, (size_t)a->K * sizeof *out);
        for (int c = 0; c < a->C; c++) mcl__native_axpy(a->K, x[(size_t)row * a->C + c], w + (size_t)c * a->K, out);
    }
}

void mcl__native_dense_bwd_data(const mcl__native_arg *arg)
{
    const float *dy = arg[0].pointer, *w = arg[1].pointer;
    float *dx = arg[2].pointer;
    const mcl_dense_args *a = arg[3].pointer;
#pragma omp parallel for schedule(static) if (mcl__native_worth((double)a->rows * a->C * a->K))
    for (int row = 0; row < a->rows; row++)
        for (int c = 0; c < a->C; c++) {
            const float *gradient = dy + (size_t)row * a->K, *weights = w + (size_t)c * a->K;
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int k = 0; k < a->K; k++) sum += gradient[k] * weights[k];
            dx[(size_t)row * a->C + c] = sum;
        }
}

void mcl__native_dense_bwd_weight(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer, *dy = arg[1].pointer;
    float *dw = arg[2].pointer;
    const mcl_dense_args *a = arg[3].pointer;
#pragma omp parallel for schedule(static) if (mcl__native_worth((double)a->rows * a->C * a->K))
    for (int c = 0; c < a->C; c++) {
        float *out = dw + (size_t)c * a->K;
        memset(out, 0, (size_t)a->K * sizeof *out);
        for (int row = 0; row < a->rows; row++)
            mcl__native_axpy(a->K, x[(size_t)row * a->C + c], dy + (size_t)row * a->K, out);
    }
}
