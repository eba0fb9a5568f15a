/* What the device remembers of a step, the gates on what persists, and the optimisers. Gradient, parameters and
 * optimiser state lie at equal offsets of their slabs. */
#include "ops/native/native.h"
#include <math.h>
#include <string.h>

void mcl__native_outcome(const mcl__native_arg *arg)
{
    const float *loss = arg[0].pointer, *hit = arg[1].pointer;
    const mcl_step *step = arg[2].pointer;
    mcl_state *state = arg[3].pointer;
    const mcl_rows_args *a = arg[4].pointer;
    double loss_sum = 0, hits = 0;
    for (int i = 0; i < a->rows; i++) {
        loss_sum += (double)loss[i];
        hits += (double)hit[i];
    }
    mcl_outcome *slot = &state->history[step->slot];
    slot->loss_sum = (float)loss_sum + (step->micro_batch > 0 ? slot->loss_sum : 0.0f);
    slot->hits = (float)hits + (step->micro_batch > 0 ? slot->hits : 0.0f);
    slot->step = step->step;
}

void mcl__native_accumulate(const mcl__native_arg *arg)
{
    const mcl_step *step = arg[1].pointer;
    const mcl_slab_args *a = arg[3].pointer;
    const float *g = (const float *)arg[0].pointer + a->offset;
    float *acc = (float *)arg[2].pointer + a->offset;
    if (step->micro_batch == 0) memcpy(acc, g, (size_t)a->n * sizeof *acc);
    else
        for (int i = 0; i < a->n; i++) acc[i] += g[i];
}

#define SQUARES_PARTS 64

static double squares_of_range(const float *g, int n)
{
    double part[SQUARES_PARTS] = {0}, squares = 0;
#pragma omp parallel for schedule(static) if (mcl__native_worth(n))
    for (int p = 0; p < SQUARES_PARTS; p++) {
        int end = (int)((int64_t)n * (p + 1) / SQUARES_PARTS);
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int i = (int)((int64_t)n * p / SQUARES_PARTS); i < end; i++) sum += (double)g[i] * (double)g[i];
        part[p] = sum;
    }
    for (int p = 0; p < SQUARES_PARTS; p++) squares += part[p];
    return squares;
}

static double squares_of(const float *g, const mcl_squares_args *a)
{
    int behind = a->first + a->known;
    return squares_of_range(g, a->first) + squares_of_range(g + behind, a->n - behind);
}

void mcl__native_square_sum(const mcl__native_arg *arg)
{
    *(float *)arg[1].pointer = (float)squares_of(arg[0].pointer, arg[2].pointer);
}

void mcl__native_guard(const mcl__native_arg *arg)
{
    const mcl_step *step = arg[1].pointer;
    const float *known = arg[2].pointer;
    mcl_state *state = arg[3].pointer;
    const mcl_squares_args *a = arg[4].pointer;
    mcl_outcome *slot = &state->history[step->slot];
    slot->gradient_norm = (float)sqrt(squares_of(arg[0].pointer, a) + (a->known > 0 ? (double)*known : 0.0));
    if (state->first_bad == 0 && !(isfinite(slot->gradient_norm) && isfinite(slot->loss_sum)))
        state->first_bad = step->step;
}

void mcl__native_sgd(const mcl__native_arg *arg)
{
    const mcl_step *step = arg[1].pointer;
    const mcl_state *state = arg[2].pointer;
    const mcl_sgd_args *a = arg[5].pointer;
    if (state->first_bad) return;
    const float *g = (const float *)arg[0].pointer + a->offset;
    float *p = (float *)arg[3].pointer + a->offset, *m = (float *)arg[4].pointer + a->offset;
    float rate = step->group[a->group].learning_rate, momentum = a->momentum;
#pragma omp parallel for simd schedule(static) if (mcl__native_worth(a->n))
    for (int i = 0; i < a->n; i++) {
        float d = g[i] + a->decay * p[i];
        if (momentum != 0.0f) {
            m[i] = step->step == 1 ? d : momentum * m[i] + a->one_minus_dampening * d;
            d = a->nesterov ? d + momentum * m[i] : m[i];
        }
        p[i] = p[i] - rate * d;
    }
}

void mcl__native_adam(const mcl__native_arg *arg)
{
    const mcl_step *step = arg[1].pointer;
    const mcl_state *state = arg[2].pointer;
    const mcl_adam_args *a = arg[6].pointer;
    if (state->first_bad) return;
    const float *g = (const float *)arg[0].pointer + a->offset;
    float *p = (float *)arg[3].pointer + a->offset, *m = (float *)arg[4].pointer + a->offset;
    float *v = (float *)arg[5].pointer + a->offset;
    const mcl_step_group now = step->group[a->group];
    float shrink = a->decoupled ? 1.0f - now.learning_rate * a->decay : 1.0f, decay = a->decoupled ? 0.0f : a->decay;
#pragma omp parallel for simd schedule(static) if (mcl__native_worth(a->n))
    for (int i = 0; i < a->n; i++) {
        float d = g[i] + decay * p[i];
        m[i] = a->beta1 * m[i] + a->one_minus_beta1 * d;
        v[i] = a->beta2 * v[i] + a->one_minus_beta2 * d * d;
        float slope = m[i] * now.bias_correction1 / (sqrtf(v[i] * now.bias_correction2) + a->eps);
        p[i] = shrink * p[i] - now.learning_rate * slope;
    }
}

void mcl__native_commit(const mcl__native_arg *arg)
{
    const mcl_state *state = arg[1].pointer;
    const mcl_slab_args *a = arg[3].pointer;
    const float *pending = arg[0].pointer;
    float *running = arg[2].pointer;
    if (state->first_bad) return;
    memcpy(running + a->offset, pending + a->offset, (size_t)a->n * sizeof *running);
}
