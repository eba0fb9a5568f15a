/* The native kernels: the reference of every operator as a plain C function, and the fast convolutions. Their results
 * do not depend on the number of threads: work is cut, and sums are taken, along borders that shapes alone decide. */
#ifndef MCL_OPS_NATIVE_H
#define MCL_OPS_NATIVE_H
#include "args.h"
#include "device/device.h"
#include "step.h"

#define MCL_NATIVE(name) void mcl__native_##name(const mcl__native_arg *arg);
#include "ops/native/kernels.def"
#undef MCL_NATIVE

/* y[i] += a * x[i] */
static inline void mcl__native_axpy(int n, float a, const float *restrict x, float *restrict y)
{
    for (int i = 0; i < n; i++) y[i] += a * x[i];
}

/* The output position whose window has tap `t` on input position `i`, or -1. */
static inline int mcl__native_window(int i, int t, int stride, int pad, int dilation, int outputs)
{
    int o = i + pad - t * dilation;
    return o < 0 || o % stride || o / stride >= outputs ? -1 : o / stride;
}

/* Is this much work, in elements or in products of a sum, worth a team of threads? */
static inline bool mcl__native_worth(double work) { return work > 16384; }
static inline double mcl__native_conv2d_work(const mcl_conv2d_args *a)
{
    return (double)a->N * a->OH * a->OW * a->K * a->KH * a->KW * (a->C / a->groups);
}

/* Bytes of workspace of the conv2d_gemm kernels that take one. Never 0. */
uint64_t mcl__native_conv2d_gemm_bwd_data_workspace(const mcl_conv2d_args *args);
uint64_t mcl__native_conv2d_gemm_bwd_weight_workspace(const mcl_conv2d_args *args);
/* Do the conv2d_depthwise kernels serve this? One input and one output channel a group. */
bool mcl__native_conv2d_depthwise(const mcl_conv2d_args *args);

/* Sums over rows for each channel, in double, cut into parts by the number of rows alone. `add` adds the terms of rows
 * [first, end) for channels [channel, channel + count) to sum and second (count each, at most MCL__NATIVE_BLOCK);
 * `finish` takes the whole sums. */
#define MCL__NATIVE_BLOCK 64
typedef struct mcl__native_reduction {
    const float *x, *dy;   /* (rows, C); what add() reads */
    const float *mean, *variance, *scale, *shift;
    float low, high;       /* of x * scale + shift: where dy counts */
    float *out, *out2;     /* (C); what finish() writes */
    int rows, C;
    float eps;
    void (*add)(const struct mcl__native_reduction *reduction, int first, int end, int channel, int count,
                double *sum, double *second);
    void (*finish)(const struct mcl__native_reduction *reduction, int channel, double sum, double second);
} mcl__native_reduction;
void mcl__native_reduce(const mcl__native_reduction *reduction);

#endif
