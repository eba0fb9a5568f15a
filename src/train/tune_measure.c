/* Measuring the choices for one problem. Each is a plan of a single node between the same tensors, as training has it: with its
 * workspace, and with the other forms of its parameters made every time. */
#include "base/clock.h"
#include "base/random.h"
#include "ops/oracle/oracle.h"
#include "train/bench.h"
#include "train/feed.h"
#include "train/tune.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_ROUNDS = 5, MOST_ROUNDS = 25, JUDGED_ROUNDS = 3, MOST_REPEATS = 200, MOST_CHECKED = 4000 };
static const double sample_seconds = 2e-3;  /* a sample is at least so long, */
static const double choice_seconds = 0.15;  /* and a choice is sampled for so long */
static const double hopeless_at_once = 2.5; /* times the fastest so far, in a first run; */
static const double hopeless = 1.25;        /* the least of a few samples over the median of the fastest */
static const double checked_terms = 2e6;    /* of the oracle's sums, a result */

typedef struct trial {
    mcl__plan *plan; /* NULL: out of the race */
    double second[MOST_ROUNDS];
    int samples, repeats;
} trial;

typedef struct stand {
    mcl_device *device;
    const mcl__problem *problem;
    mcl__model *model;
    mcl_buffer *in[MCL__MAX_OPERANDS], *out[MCL__MAX_OUTPUTS];
    void *in_host[MCL__MAX_OPERANDS], *before[MCL__MAX_OUTPUTS], *got[MCL__MAX_OUTPUTS];
    mcl__oracle *oracle;
    trial trial[MCL__MOST_CHOICES];
    void (*tell)(const mcl__tune_news *news, void *user);
    void *user;
} stand;

static void tell(const stand *s, mcl__tune_stage stage, int choice, double seconds)
{
    s->tell(&(mcl__tune_news){.stage = stage, .choice = choice, .seconds = seconds}, s->user);
}

static void tell_failed(const stand *s, int choice, mcl_status status, const char *text)
{
    mcl__tune_news news = {.stage = MCL__TUNE_FAILED, .choice = choice, .passing = status == MCL_ERROR_MEMORY};
    snprintf(news.text, sizeof news.text, "%.*s", (int)sizeof news.text - 1, text);
    s->tell(&news, s->user);
}

/* --- Tensors -------------------------------------------------------------------------------------------------------------- */

static uint64_t bytes_of(mcl__shape shape, mcl__dtype dtype)
{
    return (uint64_t)mcl__shape_elements(shape) * mcl__dtype_bytes(dtype);
}

static float draw(uint32_t *state)
{
    return (float)(mcl__random_filler(state) >> 8) * 0x1p-23f - 1.0f;
}

/* A tap of its window that lies inside the picture, as max_pool_bwd expects of its indices. */
static uint8_t tap_inside(const mcl__problem *problem, int index)
{
    const mcl__attrs *a = &problem->attrs;
    const int *d = problem->in[1].d;
    int oh = index / (d[3] * d[2]) % d[1], ow = index / d[3] % d[2];
    int r = a->pool.pad_h - oh * a->pool.stride_h, c = a->pool.pad_w - ow * a->pool.stride_w;
    return (uint8_t)((r > 0 ? r : 0) * a->pool.KW + (c > 0 ? c : 0));
}

/* Inputs that are variances or sums of squares, and so must be positive. */
static bool positive(mcl__op_kind op, int input)
{
    return ((op == MCL__OP_batch_norm_bwd_reduce || op == MCL__OP_batch_norm_bwd_data) && input == 3) ||
           (op == MCL__OP_guard && input == 2);
}

/* Hits are counted: 0 or 1. */
static bool counted(mcl__op_kind op, int input) { return op == MCL__OP_outcome && input == 1; }

static void fill_input(const mcl__problem *problem, int input, void *host)
{
    int n = mcl__shape_elements(problem->in[input]), classes = mcl__shape_channels(problem->in[0]);
    uint32_t state = (uint32_t)input + 1;
    switch (problem->in_dtype[input]) {
    case MCL_F32:
        for (int i = 0; i < n; i++) ((float *)host)[i] = draw(&state);
        for (int i = 0; i < n && positive(problem->op, input); i++) ((float *)host)[i] = fabsf(((float *)host)[i]) + 0.1f;
        for (int i = 0; i < n && counted(problem->op, input); i++) ((float *)host)[i] = (float)(i & 1);
        break;
    case MCL_I32:
        for (int i = 0; i < n; i++) ((int32_t *)host)[i] = i % classes;
        break;
    case MCL_U8:
        for (int i = 0; i < n; i++)
            ((uint8_t *)host)[i] = problem->op == MCL__OP_max_pool_bwd ? tap_inside(problem, i) : (uint8_t)i;
        break;
    case MCL_BYTES:
        if (n == (int)sizeof(mcl_step))
            *(mcl_step *)host =
                (mcl_step){.step = 1, .valid_samples = problem->in[0].d[0], .seed_low = 1, .group[0] = {1e-3f, 1, 1}};
        break;
    }
}

/* What is not an update's starts as NaN, so that what is not written shows. */
static void fill_output(const mcl__problem *problem, int output, void *host)
{
    uint32_t state = 99;
    if (problem->out_dtype[output] != MCL_F32) return;
    for (int i = 0; i < mcl__shape_elements(problem->out[output]); i++)
        ((float *)host)[i] = mcl__op_get(problem->op)->updates ? fabsf(draw(&state)) : NAN;
}

static mcl_status make_tensors(stand *s, mcl_error *error)
{
    const mcl__problem *p = s->problem;
    for (int i = 0; i < p->inputs; i++) {
        uint64_t bytes = bytes_of(p->in[i], p->in_dtype[i]);
        s->in_host[i] = calloc(bytes, 1);
        if (!s->in_host[i]) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for what is measured");
        fill_input(p, i, s->in_host[i]);
        MCL_TRY(mcl_buffer_create(s->device, bytes, &s->in[i]));
        MCL_TRY(mcl_buffer_write(s->in[i], 0, bytes, s->in_host[i]));
    }
    for (int i = 0; i < p->outputs; i++) {
        uint64_t bytes = bytes_of(p->out[i], p->out_dtype[i]);
        s->before[i] = calloc(bytes, 1);
        s->got[i] = malloc(bytes);
        if (!s->before[i] || !s->got[i]) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for what is measured");
        fill_output(p, i, s->before[i]);
        MCL_TRY(mcl_buffer_create(s->device, bytes, &s->out[i]));
    }
    return mcl__oracle_create(p, (const void *const *)s->in_host, (const void *const *)s->before, &s->oracle, error);
}

static void clear_stand(stand *s)
{
    for (int i = 0; i < MCL__MOST_CHOICES; i++) mcl__plan_destroy(s->trial[i].plan);
    for (int i = 0; i < MCL__MAX_OPERANDS; i++) mcl_buffer_destroy(s->in[i]), free(s->in_host[i]);
    for (int i = 0; i < MCL__MAX_OUTPUTS; i++) mcl_buffer_destroy(s->out[i]), free(s->before[i]), free(s->got[i]);
    mcl__oracle_destroy(s->oracle);
    mcl__model_destroy(s->model);
}

/* --- One choice ----------------------------------------------------------------------------------------------------------- */

static mcl_status make_plan(const stand *s, const char *choice, mcl__plan **plan, mcl_error *error)
{
    mcl__graph *graph;
    const mcl__problem *p = s->problem;
    int in[MCL__MAX_OPERANDS], out[MCL__MAX_OUTPUTS];
    if (mcl__graph_create(s->model, true, &graph) != MCL_OK) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a graph");
    for (int i = 0; i < p->inputs; i++)
        in[i] = mcl__graph_tensor(graph, "in", p->in[i], p->in_dtype[i], (mcl__view){s->in[i], 0, mcl__buffer_bytes(s->in[i])});
    for (int i = 0; i < p->outputs; i++)
        out[i] =
            mcl__graph_tensor(graph, "out", p->out[i], p->out_dtype[i], (mcl__view){s->out[i], 0, mcl__buffer_bytes(s->out[i])});
    mcl__graph_problem_node(graph, "tune", p, in, out);
    MCL_TRY(mcl__plan_create(graph, &(mcl__plan_options){.no_fuse = true, .recompute = MCL__RECOMPUTE_OFF, .variant = choice}, plan,
                             error));
    if (strcmp(mcl__plan_node(*plan, 0).choice, choice) == 0) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_UNSUPPORTED, "does not apply");
}

static mcl_status run(const stand *s, mcl__plan *plan, int repeats, double *seconds)
{
    double start = mcl__seconds();
    for (int i = 0; i < repeats; i++) MCL_TRY(mcl__plan_run(plan, MCL__COMPUTE));
    MCL_TRY(mcl_device_finish(s->device));
    *seconds = (mcl__seconds() - start) / repeats;
    return MCL_OK;
}

/* All elements of small results, and thousands of large ones, or as many as long sums allow. */
static int64_t checked_elements(const mcl__problem *problem)
{
    const mcl__op *op = mcl__op_get(problem->op);
    double each = op->flops ? op->flops(problem) / 2 / mcl__shape_elements(problem->out[0]) : 1;
    return (int64_t)fmin(MOST_CHECKED, fmax(16, checked_terms / fmax(each, 1)));
}

static mcl_status check_output(const mcl__oracle *oracle, int output, const stand *s, int which, int64_t limit, mcl_error *error)
{
    int64_t worst = 0;
    double ratio = mcl__oracle_check(oracle, output, s->got[which], limit, &worst);
    if (ratio <= 1) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_INVALID, "gives a wrong result: element %lld of output %d is off by %.3g of the bound",
                     (long long)worst, which, ratio);
}

/* Statistics are those of the results as they were computed, which have been checked: from scratch, each would be a sum over as
 * many of the oracle's results as a channel has. */
static mcl_status check_stats(const stand *s, mcl_error *error)
{
    const mcl__shape *out = s->problem->out;
    mcl__problem stats = {.op = MCL__OP_batch_norm_stats, .inputs = 1, .outputs = 2, .in = {out[0]}, .out = {out[1], out[2]}};
    mcl__oracle *oracle;
    MCL_TRY(mcl__oracle_create(&stats, (const void *const *)s->got, NULL, &oracle, error));
    mcl_status status = check_output(oracle, 0, s, 1, MOST_CHECKED, error);
    if (status == MCL_OK) status = check_output(oracle, 1, s, 2, MOST_CHECKED, error);
    mcl__oracle_destroy(oracle);
    return status;
}

static mcl_status check(const stand *s, mcl__plan *plan, mcl_error *error)
{
    const mcl__problem *p = s->problem;
    mcl__node_report node = mcl__plan_node(plan, 0);
    double ignored;
    for (int i = 0; i < p->outputs; i++) MCL_TRY(mcl_buffer_write(s->out[i], 0, mcl__buffer_bytes(s->out[i]), s->before[i]));
    MCL_TRY(run(s, plan, 1, &ignored));
    for (int i = 0; i < p->outputs; i++) MCL_TRY(mcl_buffer_read(s->out[i], 0, mcl__buffer_bytes(s->out[i]), s->got[i]));
    MCL_TRY(mcl__oracle_expect(s->oracle, node.algorithm, error));
    bool stats = mcl__epilogue_has_stats(&p->epilogue);
    for (int i = 0; i < (stats ? 1 : p->outputs); i++) MCL_TRY(check_output(s->oracle, i, s, i, checked_elements(p), error));
    return stats ? check_stats(s, error) : MCL_OK;
}

/* Only a device that cannot go on is a failure here. */
static mcl_status try_choice(stand *s, const char *choice, int index, double *best)
{
    trial *t = &s->trial[index];
    mcl_error cause = {0};
    double seconds = 0;
    tell(s, MCL__TUNE_BEGIN, index, 0);
    mcl_status status = make_plan(s, choice, &t->plan, &cause);
    if (status == MCL_OK) status = check(s, t->plan, &cause);
    if (status == MCL_OK) status = run(s, t->plan, 1, &seconds);
    if (status == MCL_OK) {
        bool hopeless_now = *best > 0 && seconds > hopeless_at_once * *best;
        tell(s, MCL__TUNE_RIGHT, index, seconds);
        t->repeats = (int)fmin(MOST_REPEATS, fmax(1, sample_seconds / seconds));
        *best = *best > 0 ? fmin(*best, seconds) : seconds;
        if (!hopeless_now) return MCL_OK;
        tell(s, MCL__TUNE_MEDIAN, index, seconds);
    } else {
        const mcl_error *device = mcl_device_error(s->device);
        tell_failed(s, index, status,
                    *cause.text                ? cause.text
                    : device->status != MCL_OK ? device->text
                                               : mcl_status_sentence(status));
    }
    mcl__plan_destroy(t->plan);
    t->plan = NULL;
    return mcl_device_error(s->device)->status;
}

/* --- The race ------------------------------------------------------------------------------------------------------------- */

static double median(const trial *t)
{
    double sorted[MOST_ROUNDS];
    memcpy(sorted, t->second, (size_t)t->samples * sizeof *sorted);
    return mcl__median(sorted, t->samples);
}

static double least(const trial *t)
{
    double value = t->second[0];
    for (int i = 1; i < t->samples; i++) value = fmin(value, t->second[i]);
    return value;
}

static void leave(stand *s, int index)
{
    tell(s, MCL__TUNE_MEDIAN, index, median(&s->trial[index]));
    mcl__plan_destroy(s->trial[index].plan);
    s->trial[index].plan = NULL;
}

static void drop_hopeless(stand *s, int count)
{
    double best = INFINITY;
    for (int i = 0; i < count; i++)
        if (s->trial[i].plan) best = fmin(best, median(&s->trial[i]));
    for (int i = 0; i < count; i++)
        if (s->trial[i].plan && least(&s->trial[i]) > hopeless * best) leave(s, i);
}

static mcl_status race(stand *s, int count)
{
    double start = mcl__seconds();
    for (int round = 0; round < MOST_ROUNDS; round++) {
        int left = 0;
        for (int i = 0; i < count; i++) {
            trial *t = &s->trial[i];
            if (!t->plan) continue;
            tell(s, MCL__TUNE_TIMING, i, 0);
            MCL_TRY(run(s, t->plan, t->repeats, &t->second[t->samples]));
            t->samples++;
            left++;
        }
        if (round + 1 >= JUDGED_ROUNDS) drop_hopeless(s, count);
        if (left == 0 || (round + 1 >= LEAST_ROUNDS && mcl__seconds() - start > choice_seconds * left)) break;
    }
    for (int i = 0; i < count; i++)
        if (s->trial[i].plan) leave(s, i);
    return MCL_OK;
}

mcl_status mcl__tune_measure(mcl_device *device, const mcl__problem *problem, const char (*choice)[MCL__CHOICE], int count,
                             void (*telling)(const mcl__tune_news *news, void *user), void *user, mcl_error *error)
{
    double best = 0;
    mcl_status status;
    stand *s = calloc(1, sizeof *s);
    if (!s) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for what is measured");
    *s = (stand){.device = device, .problem = problem, .tell = telling, .user = user};
    MCL_TRY_DONE(mcl__model_create(device, NULL, 0, NULL, 0, NULL, &s->model, error));
    MCL_TRY_DONE(make_tensors(s, error));
    for (int i = 0; i < count; i++) MCL_TRY_DONE(try_choice(s, choice[i], i, &best));
    MCL_TRY_DONE(race(s, count));
    tell(s, MCL__TUNE_DONE, 0, 0);
done:
    clear_stand(s);
    free(s);
    if (status != MCL_OK) mcl__device_error_to(device, status, error);
    return status;
}
