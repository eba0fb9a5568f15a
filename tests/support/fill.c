/* Awkward values for every operator's inputs: zeros of both signs, ties, the kinks of activations, negatives, and what
 * must be valid (labels, orders, pool indices, variances, step blocks). */
#include "support/problem.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

uint64_t test_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

double test_uniform(uint64_t *state, double low, double high)
{
    return low + (high - low) * (double)(test_random(state) >> 11) * 0x1p-53;
}

int test_problem_step_input(const mcl__problem *problem)
{
    for (int i = problem->inputs - 1; i >= 0; i--)
        if (problem->in_dtype[i] == MCL_BYTES && mcl__shape_elements(problem->in[i]) == (int)sizeof(mcl_step)) return i;
    return -1;
}

/* --- Rules: what one tensor is filled with ------------------------------------------------------------------------ */

typedef struct filling {
    const mcl__problem *problem;
    uint64_t random, seed;
    mcl__shape shape;
    int n;
} filling;

static float awkward(uint64_t *random)
{
    static const float kinks[] = {0.0f, -0.0f, 1.0f, -1.0f, 6.0f, 7.5f, -2.0f, 0.5f};
    uint64_t draw = test_random(random) % 32;
    return draw < 8 ? kinks[draw] : (float)test_uniform(random, -2, 2);
}

static void fill_awkward(filling *f, void *out)
{
    for (int i = 0; i < f->n; i++) ((float *)out)[i] = awkward(&f->random);
}
/* Multiples of a half: many are equal. */
static void fill_ties(filling *f, void *out)
{
    for (int i = 0; i < f->n; i++) ((float *)out)[i] = (float)((int)(test_random(&f->random) % 7) - 4) * 0.5f;
}
static void fill_positive(filling *f, void *out)
{
    for (int i = 0; i < f->n; i++) ((float *)out)[i] = (float)test_uniform(&f->random, 0.1, 2);
}
static void fill_not_negative(filling *f, void *out)
{
    for (int i = 0; i < f->n; i++) ((float *)out)[i] = fabsf(awkward(&f->random));
}
static void fill_hits(filling *f, void *out)
{
    for (int i = 0; i < f->n; i++) ((float *)out)[i] = (float)(test_random(&f->random) & 1);
}
/* Every other seed: channels far from zero, which plain sums of squares lose. Channel 0 is constant then. */
static void fill_channels(filling *f, void *out)
{
    int channels = mcl__shape_channels(f->shape);
    for (int i = 0; i < f->n; i++) {
        float value = awkward(&f->random);
        if (f->seed & 1) value = i % channels == 0 ? 3.3f : value * 0.25f + (float)(i % channels * 37 - 500);
        ((float *)out)[i] = value;
    }
}
/* Rows of ordinary, large and equal logits. */
static void fill_logits(filling *f, void *out)
{
    int channels = mcl__shape_channels(f->shape);
    for (int i = 0; i < f->n; i++) {
        float value = awkward(&f->random);
        int row = i / channels % 4;
        ((float *)out)[i] = row == 1                          ? value * 60
                            : row == 2                        ? floorf(value)
                            : row == 3 && f->n > 4 * channels ? 1.5f
                                                              : value;
    }
}
static void fill_labels(filling *f, void *out)
{
    int classes = f->problem->op == MCL__OP_load ? 10 : mcl__shape_channels(f->problem->in[0]);
    for (int i = 0; i < f->n; i++) ((int32_t *)out)[i] = (int32_t)(test_random(&f->random) % (uint64_t)classes);
}
static void fill_order(filling *f, void *out)
{
    int32_t *order = out;
    for (int i = 0; i < f->n; i++) {
        int j = (int)(test_random(&f->random) % (uint64_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
}
static void fill_bytes(filling *f, void *out)
{
    for (int i = 0; i < f->n; i++) ((unsigned char *)out)[i] = (unsigned char)test_random(&f->random);
}
/* Any position of the window that lies inside the picture. */
static void fill_pool_index(filling *f, void *out)
{
    const mcl__attrs *attrs = &f->problem->attrs;
    for (int i = 0; i < f->n; i++) {
        int ow = i / f->shape.d[3] % f->shape.d[2], oh = i / f->shape.d[3] / f->shape.d[2] % f->shape.d[1], r, s;
        do {
            r = (int)(test_random(&f->random) % (uint64_t)attrs->pool.KH);
            s = (int)(test_random(&f->random) % (uint64_t)attrs->pool.KW);
        } while ((unsigned)(oh * attrs->pool.stride_h - attrs->pool.pad_h + r) >= (unsigned)attrs->pool.H ||
                 (unsigned)(ow * attrs->pool.stride_w - attrs->pool.pad_w + s) >= (unsigned)attrs->pool.W);
        ((unsigned char *)out)[i] = (unsigned char)(r * attrs->pool.KW + s);
    }
}
/* A slab of gradients, at times with something in it that must be noticed. */
static void fill_gradients(filling *f, void *out)
{
    fill_awkward(f, out);
    if (f->problem->op == MCL__OP_guard && f->seed % 4 == 3)
        ((float *)out)[f->n - 1] = f->seed % 8 == 3 ? NAN : -INFINITY;
}

static void fill_known_squares(filling *f, void *out)
{
    fill_not_negative(f, out);
    if (f->seed % 6 == 5) *(float *)out = f->seed % 12 == 5 ? NAN : INFINITY;
}

static int samples_of(const mcl__problem *problem)
{
    if (problem->op == MCL__OP_load) return problem->attrs.load.N;
    return problem->in[0].d[0];
}

static void fill_step(filling *f, void *out)
{
    int samples = samples_of(f->problem);
    mcl_step step = {
        .step = f->seed % 3 == 0 ? 1 : 7, .epoch = 1, .batch_offset = 5, .micro_batch = (int)(f->seed & 1)};
    step.valid_samples = samples > 2 ? samples - 1 : samples;
    step.slot = step.step % MCL_HISTORY;
    step.inverse_valid = 1.0f / (float)step.valid_samples;
    step.seed_low = (unsigned)test_random(&f->random);
    step.seed_high = (unsigned)test_random(&f->random);
    if (f->problem->op == MCL__OP_load && f->problem->in[2].d[0] > samples) step.first_sample = 1;
    for (int g = 0; g < MCL_STEP_GROUPS; g++) {
        step.group[g].learning_rate = 0.01f * (float)(g + 1);
        step.group[g].bias_correction1 = (float)(1 / (1 - pow(0.9, step.step)));
        step.group[g].bias_correction2 = (float)(1 / (1 - pow(0.999, step.step)));
    }
    memcpy(out, &step, sizeof step);
}

static void fill_state(filling *f, void *out)
{
    mcl_state state = {.first_bad = f->seed % 4 == 2 ? 3 : 0};
    for (int i = 0; i < MCL_HISTORY; i++)
        state.history[i] = (mcl_outcome){(float)test_uniform(&f->random, 0, 9), (float)(i % 5), (float)i, i};
    if (f->problem->op == MCL__OP_guard && f->seed % 5 == 1) /* the loss was bad, the gradient is not */
        for (int i = 0; i < MCL_HISTORY; i++) state.history[i].loss_sum = NAN;
    memcpy(out, &state, sizeof state);
}

static const struct {
    mcl__op_kind op;
    int input; /* from 0, or -1 - output */
    void (*fill)(filling *f, void *out);
} rules[] = {
    {MCL__OP_load, 0, fill_bytes},
    {MCL__OP_load, 1, fill_labels},
    {MCL__OP_load, 2, fill_order},
    {MCL__OP_load, 4, fill_positive},
    {MCL__OP_batch_norm_stats, 0, fill_channels},
    {MCL__OP_batch_norm_finish, 1, fill_positive},
    {MCL__OP_batch_norm_track, 1, fill_positive},
    {MCL__OP_batch_norm_track, 3, fill_positive},
    {MCL__OP_batch_norm_track, -2, fill_positive},
    {MCL__OP_batch_norm_bwd_reduce, 3, fill_positive},
    {MCL__OP_batch_norm_bwd_data, 3, fill_positive},
    {MCL__OP_max_pool, 0, fill_ties},
    {MCL__OP_max_pool_bwd, 1, fill_pool_index},
    {MCL__OP_softmax, 0, fill_logits},
    {MCL__OP_softmax_cross_entropy, 0, fill_logits},
    {MCL__OP_softmax_cross_entropy, 1, fill_labels},
    {MCL__OP_softmax_cross_entropy_bwd, 0, fill_logits},
    {MCL__OP_softmax_cross_entropy_bwd, 1, fill_labels},
    {MCL__OP_outcome, 0, fill_not_negative},
    {MCL__OP_outcome, 1, fill_hits},
    {MCL__OP_guard, 0, fill_gradients},
    {MCL__OP_guard, 2, fill_known_squares},
    {MCL__OP_adam, -3, fill_not_negative},
};

static void fill_one(filling *f, int input, mcl__shape shape, mcl__dtype dtype, void *out)
{
    f->shape = shape;
    f->n = mcl__shape_elements(shape);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].op == f->problem->op && rules[i].input == input) {
            rules[i].fill(f, out);
            return;
        }
    if (dtype == MCL_F32) fill_awkward(f, out);
    else if (dtype != MCL_BYTES) memset(out, 0, (size_t)f->n * mcl__dtype_bytes(dtype));
    else if (f->n == (int)sizeof(mcl_step)) fill_step(f, out);
    else fill_state(f, out);
}

/* What an activation of this kind gives out, its ends and kinks included. */
static void fill_activation(uint64_t *random, int act, float *out, int n)
{
    for (int i = 0; i < n; i++) {
        float value = awkward(random);
        switch (act) {
        case MCL_ACT_RELU: value = fmaxf(value, 0.0f); break;
        case MCL_ACT_RELU6: value = fminf(fmaxf(value, 0.0f), 6.0f); break;
        case MCL_ACT_SIGMOID: value = fminf(fmaxf(value * 0.25f + 0.5f, 0.0f), 1.0f); break;
        case MCL_ACT_TANH: value = fminf(fmaxf(value * 0.5f, -1.0f), 1.0f); break;
        default: break;
        }
        out[i] = value;
    }
}

static void fill_epilogue(test_problem *test, uint64_t *random)
{
    const mcl__problem *problem = &test->problem;
    int next = mcl__epilogue_input(problem, 0);
    for (int i = 0; i < problem->epilogue.count; i++) {
        const mcl_epilogue_code *code = &problem->epilogue.code[i];
        if (code->code == MCL_EP_DACT)
            fill_activation(random, code->act, test->in[next], mcl__shape_elements(problem->in[next]));
        next += mcl__epilogue_tensors(code);
    }
}

void test_problem_fill(test_problem *test, uint64_t seed)
{
    const mcl__problem *problem = &test->problem;
    filling f = {.problem = problem, .random = seed * 0x2545f4914f6cdd1du, .seed = seed};
    for (int i = 0; i < problem->inputs; i++) {
        test->in[i] = malloc(test_problem_in_bytes(problem, i));
        if (!test->in[i]) abort();
        fill_one(&f, i, problem->in[i], problem->in_dtype[i], test->in[i]);
    }
    fill_epilogue(test, &f.random);
    for (int i = 0; i < problem->outputs; i++) {
        test->out[i] = calloc(1, test_problem_out_bytes(problem, i));
        if (!test->out[i]) abort();
        if (mcl__op_get(problem->op)->updates) fill_one(&f, -1 - i, problem->out[i], problem->out_dtype[i], test->out[i]);
    }
}
