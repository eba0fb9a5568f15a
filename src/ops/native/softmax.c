/* Softmax and its cross-entropy, a row at a time, around the row's largest logit. NaN anywhere in a row makes its whole
 * result NaN, and so does a label outside 0 .. C - 1. */
#include "ops/native/native.h"
#include <math.h>

/* The first of the largest. */
static int largest(const float *row, int C)
{
    int best = 0;
    for (int c = 1; c < C; c++)
        if (row[c] > row[best]) best = c;
    return best;
}

static float exp_sum(const float *row, int C, float shift)
{
    double sum = 0;
    for (int c = 0; c < C; c++) sum += (double)expf(row[c] - shift);
    return (float)sum;
}

static void softmax_row(const float *row, int C, float *p)
{
    float shift = row[largest(row, C)], sum = exp_sum(row, C, shift);
    for (int c = 0; c < C; c++) p[c] = expf(row[c] - shift) / sum;
}

void mcl__native_softmax_fwd(const mcl__native_arg *arg)
{
    const float *logits = arg[0].pointer;
    float *p = arg[1].pointer;
    const mcl_softmax_args *a = arg[2].pointer;
    for (int row = 0; row < a->rows; row++) softmax_row(logits + (size_t)row * a->C, a->C, p + (size_t)row * a->C);
}

static bool known(int label, int C) { return label >= 0 && label < C; }

void mcl__native_softmax_cross_entropy_fwd(const mcl__native_arg *arg)
{
    const float *logits = arg[0].pointer;
    const int32_t *labels = arg[1].pointer;
    const mcl_step *step = arg[2].pointer;
    float *loss = arg[3].pointer, *hit = arg[4].pointer;
    const mcl_softmax_args *a = arg[5].pointer;
    for (int i = 0; i < a->rows; i++) {
        const float *row = logits + (size_t)i * a->C;
        int best = largest(row, a->C);
        bool valid = i < step->valid_samples;
        float target = known(labels[i], a->C) ? row[labels[i]] : NAN;
        loss[i] = valid ? logf(exp_sum(row, a->C, row[best])) + (row[best] - target) : 0.0f;
        hit[i] = valid && best == labels[i] ? 1.0f : 0.0f;
    }
}

void mcl__native_softmax_cross_entropy_bwd(const mcl__native_arg *arg)
{
    const float *logits = arg[0].pointer;
    const int32_t *labels = arg[1].pointer;
    const mcl_step *step = arg[2].pointer;
    float *dlogits = arg[3].pointer;
    const mcl_softmax_args *a = arg[4].pointer;
    for (int i = 0; i < a->rows; i++) {
        const float *row = logits + (size_t)i * a->C;
        float *d = dlogits + (size_t)i * a->C;
        float scale = known(labels[i], a->C) ? step->inverse_valid : NAN;
        if (i < step->valid_samples) softmax_row(row, a->C, d);
        for (int c = 0; c < a->C; c++)
            d[c] = i < step->valid_samples ? (d[c] - (c == labels[i] ? 1.0f : 0.0f)) * scale : 0.0f;
    }
}
