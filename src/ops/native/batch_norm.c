/* Batch normalisation in its parts. The statistics are taken in double around the first row, so that a mean far from
 * zero costs no accuracy. */
#include "ops/native/native.h"
#include <math.h>

static void add_moments(const mcl__native_reduction *reduction, int first, int end, int channel, int count, double *sum,
                        double *second)
{
    const float *shift = reduction->x + channel;
    for (int row = first; row < end; row++) {
        const float *x = reduction->x + (size_t)row * reduction->C + channel;
        for (int i = 0; i < count; i++) {
            double d = (double)x[i] - (double)shift[i];
            sum[i] += d;
            second[i] += d * d;
        }
    }
}

static void finish_moments(const mcl__native_reduction *reduction, int channel, double sum, double second)
{
    double mean = sum / reduction->rows, variance = second / reduction->rows - mean * mean;
    reduction->out[channel] = (float)((double)reduction->x[channel] + mean);
    reduction->out2[channel] = (float)(variance < 0 ? 0 : variance);
}

void mcl__native_batch_norm_stats(const mcl__native_arg *arg)
{
    const mcl_batch_norm_args *a = arg[3].pointer;
    mcl__native_reduction reduction = {.x = arg[0].pointer, .out = arg[1].pointer, .out2 = arg[2].pointer,
                                       .rows = a->rows, .C = a->C, .add = add_moments, .finish = finish_moments};
    mcl__native_reduce(&reduction);
}

void mcl__native_batch_norm_finish(const mcl__native_arg *arg)
{
    const float *mean = arg[0].pointer, *variance = arg[1].pointer, *gamma = arg[2].pointer, *beta = arg[3].pointer;
    float *scale = arg[4].pointer, *shift = arg[5].pointer;
    const mcl_batch_norm_args *a = arg[6].pointer;
    for (int c = 0; c < a->C; c++) {
        scale[c] = gamma[c] / sqrtf(variance[c] + a->eps);
        shift[c] = beta[c] - mean[c] * scale[c];
    }
}

/* The first micro-batch of a step starts from the running statistics, the others from what is pending. */
void mcl__native_batch_norm_track(const mcl__native_arg *arg)
{
    const float *mean = arg[0].pointer, *variance = arg[1].pointer;
    const float *running_mean = arg[2].pointer, *running_variance = arg[3].pointer;
    const mcl_step *step = arg[4].pointer;
    float *pending_mean = arg[5].pointer, *pending_variance = arg[6].pointer;
    const mcl_batch_norm_args *a = arg[7].pointer;
    float keep = 1.0f - a->momentum;
    for (int c = 0; c < a->C; c++) {
        float old_mean = step->micro_batch == 0 ? running_mean[c] : pending_mean[c];
        float old_variance = step->micro_batch == 0 ? running_variance[c] : pending_variance[c];
        pending_mean[c] = old_mean * keep + a->momentum * mean[c];
        pending_variance[c] = old_variance * keep + a->momentum * (variance[c] * a->unbias);
    }
}

/* dy where the activation behind z is not flat, else 0. Both comparisons are made, so that loops over this become vectors. */
static float counted(float dy, float z, float low, float high)
{
    return ((z <= low) | (z >= high)) ? 0.0f : dy;
}

static void add_gradients(const mcl__native_reduction *reduction, int first, int end, int channel, int count,
                          double *restrict sum, double *restrict second)
{
    const float *mean = reduction->mean + channel, *scale = reduction->scale + channel, *shift = reduction->shift + channel;
    const float low = reduction->low, high = reduction->high;
    for (int row = first; row < end; row++) {
        size_t at = (size_t)row * reduction->C + channel;
        const float *x = reduction->x + at, *dy = reduction->dy + at;
        float d[MCL__NATIVE_BLOCK]; /* in a loop of its own: compilers make vectors of either, not of both in one */
        for (int i = 0; i < count; i++) d[i] = counted(dy[i], x[i] * scale[i] + shift[i], low, high);
        for (int i = 0; i < count; i++) {
            sum[i] += (double)d[i] * ((double)x[i] - (double)mean[i]);
            second[i] += (double)d[i];
        }
    }
}

static void finish_gradients(const mcl__native_reduction *reduction, int channel, double sum, double second)
{
    reduction->out[channel] = (float)(sum / sqrt((double)reduction->variance[channel] + (double)reduction->eps));
    reduction->out2[channel] = (float)second;
}

void mcl__native_batch_norm_bwd_reduce(const mcl__native_arg *arg)
{
    const mcl_batch_norm_args *a = arg[8].pointer;
    mcl__native_reduction reduction = {.x = arg[0].pointer, .dy = arg[1].pointer, .mean = arg[2].pointer,
                                       .variance = arg[3].pointer, .scale = arg[4].pointer, .shift = arg[5].pointer,
                                       .low = a->low, .high = a->high, .out = arg[6].pointer, .out2 = arg[7].pointer,
                                       .rows = a->rows, .C = a->C, .eps = a->eps, .add = add_gradients,
                                       .finish = finish_gradients};
    mcl__native_reduce(&reduction);
}

/* dx = scale * (dy - mean(dy) - xhat * mean(dy * xhat)), the means being dbeta / rows and dgamma / rows. */
void mcl__native_batch_norm_bwd_data(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer, *dy = arg[1].pointer, *mean = arg[2].pointer, *variance = arg[3].pointer;
    const float *scale = arg[4].pointer, *shift = arg[5].pointer, *dgamma = arg[6].pointer, *dbeta = arg[7].pointer;
    float *dx = arg[8].pointer;
    const mcl_batch_norm_args *a = arg[9].pointer;
#pragma omp parallel for schedule(static) if (mcl__native_worth((double)a->rows * a->C))
    for (int part = 0; part < MCL__NATIVE_BLOCK; part++) {
        int first = (int)((int64_t)a->rows * part / MCL__NATIVE_BLOCK);
        int end = (int)((int64_t)a->rows * (part + 1) / MCL__NATIVE_BLOCK);
        for (int channel = 0; first < end && channel < a->C; channel += MCL__NATIVE_BLOCK) {
            int count = a->C - channel < MCL__NATIVE_BLOCK ? a->C - channel : MCL__NATIVE_BLOCK;
            float rstd[MCL__NATIVE_BLOCK], slope[MCL__NATIVE_BLOCK], level[MCL__NATIVE_BLOCK];
            for (int i = 0; i < count; i++) {
                int c = channel + i;
                rstd[i] = 1.0f / sqrtf(variance[c] + a->eps);
                slope[i] = dgamma[c] * a->inverse_rows;
                level[i] = dbeta[c] * a->inverse_rows;
            }
            for (int row = first; row < end; row++) {
                size_t at = (size_t)row * a->C + channel;
                for (int i = 0; i < count; i++) {
                    float xhat = (x[at + i] - mean[channel + i]) * rstd[i];
                    float z = x[at + i] * scale[channel + i] + shift[channel + i];
                    float d = counted(dy[at + i], z, a->low, a->high);
                    dx[at + i] = scale[channel + i] * (d - level[i] - xhat * slope[i]);
                }
            }
        }
    }
}
