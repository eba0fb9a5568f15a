/* The oracle's one table, and the check of a computed tensor against it. */
#include "ops/oracle/oracle.h"
#include "ops/oracle/family.h"
#include "ops/oracle/winograd.h"
#include <stdlib.h>
#include <string.h>

/* reshape is missing on purpose: it computes nothing. */
static const mcl__oracle_family *const families[MCL__OP_COUNT] = {
    [MCL__OP_load] = &mcl__oracle_load,
    [MCL__OP_conv2d] = &mcl__oracle_conv2d,
    [MCL__OP_conv2d_bwd_data] = &mcl__oracle_conv2d_bwd_data,
    [MCL__OP_conv2d_bwd_weight] = &mcl__oracle_conv2d_bwd_weight,
    [MCL__OP_dense] = &mcl__oracle_dense,
    [MCL__OP_dense_bwd_data] = &mcl__oracle_dense_bwd_data,
    [MCL__OP_dense_bwd_weight] = &mcl__oracle_dense_bwd_weight,
    [MCL__OP_map] = &mcl__oracle_map,
    [MCL__OP_channel_sum] = &mcl__oracle_channel_sum,
    [MCL__OP_batch_norm_stats] = &mcl__oracle_batch_norm_stats,
    [MCL__OP_batch_norm_finish] = &mcl__oracle_batch_norm_finish,
    [MCL__OP_batch_norm_track] = &mcl__oracle_batch_norm_track,
    [MCL__OP_batch_norm_bwd_reduce] = &mcl__oracle_batch_norm_bwd_reduce,
    [MCL__OP_batch_norm_bwd_data] = &mcl__oracle_batch_norm_bwd_data,
    [MCL__OP_max_pool] = &mcl__oracle_max_pool,
    [MCL__OP_max_pool_bwd] = &mcl__oracle_max_pool_bwd,
    [MCL__OP_avg_pool] = &mcl__oracle_avg_pool,
    [MCL__OP_avg_pool_bwd] = &mcl__oracle_avg_pool_bwd,
    [MCL__OP_global_avg_pool] = &mcl__oracle_global_avg_pool,
    [MCL__OP_global_avg_pool_bwd] = &mcl__oracle_global_avg_pool_bwd,
    [MCL__OP_slice] = &mcl__oracle_slice,
    [MCL__OP_pad] = &mcl__oracle_pad,
    [MCL__OP_concat] = &mcl__oracle_concat,
    [MCL__OP_softmax] = &mcl__oracle_softmax,
    [MCL__OP_softmax_cross_entropy] = &mcl__oracle_softmax_cross_entropy,
    [MCL__OP_softmax_cross_entropy_bwd] = &mcl__oracle_softmax_cross_entropy_bwd,
    [MCL__OP_outcome] = &mcl__oracle_outcome,
    [MCL__OP_accumulate] = &mcl__oracle_accumulate,
    [MCL__OP_square_sum] = &mcl__oracle_square_sum,
    [MCL__OP_guard] = &mcl__oracle_guard,
    [MCL__OP_sgd] = &mcl__oracle_sgd,
    [MCL__OP_adam] = &mcl__oracle_adam,
    [MCL__OP_commit] = &mcl__oracle_commit,
};

/* Elements of a shape; the oracle links without the operators. */
static int64_t elements(mcl__shape shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape.rank; i++) count *= shape.d[i];
    return count;
}

static bool ends_in_stats(const mcl__problem *problem)
{
    const mcl__epilogue *epilogue = &problem->epilogue;
    return epilogue->count > 0 && epilogue->code[epilogue->count - 1].code == MCL_EP_STATS;
}

/* A struct output is checked word by word. */
static int64_t checked_elements(const mcl__problem *problem, int output)
{
    int64_t count = elements(problem->out[output]);
    return problem->out_dtype[output] == MCL_BYTES ? count / 4 : count;
}

mcl__position mcl__oracle_position(mcl__shape shape, int64_t index)
{
    mcl__position position = {{0}};
    for (int i = shape.rank - 1; i >= 0; i--) {
        position.d[4 - shape.rank + i] = index % shape.d[i];
        index /= shape.d[i];
    }
    return position;
}

int64_t mcl__oracle_index(mcl__shape shape, mcl__position position)
{
    int64_t index = 0;
    for (int i = 0; i < shape.rank; i++) index = index * shape.d[i] + position.d[4 - shape.rank + i];
    return index;
}

/* They are made again, a channel at a time, with the bounds of the present algorithm. */
static void forget_stats(mcl__oracle *oracle)
{
    for (int64_t i = 0; oracle->result_stats && i < 4 * elements(oracle->problem.out[1]); i++) oracle->result_stats[i] = NAN;
}

mcl_status mcl__oracle_create(const mcl__problem *problem, const void *const *in, const void *const *initial_out,
                              mcl__oracle **oracle, mcl_error *error)
{
    *oracle = NULL;
    const mcl__oracle_family *family = (unsigned)problem->op < MCL__OP_COUNT ? families[problem->op] : NULL;
    if (!family) return mcl__fail(error, MCL_ERROR_UNSUPPORTED, "operator %d has no oracle", (int)problem->op);
    mcl__oracle *made = calloc(1, sizeof *made);
    if (!made) return mcl__fail(error, MCL_ERROR_MEMORY, "an oracle");
    made->problem = *problem;
    made->family = family;
    for (int i = 0; i < problem->inputs; i++) {
        made->in[i] = in[i];
        if (problem->in_dtype[i] != MCL_BYTES) continue;
        if (elements(problem->in[i]) == sizeof(mcl_step)) made->step = in[i];
        if (elements(problem->in[i]) == sizeof(mcl_state)) made->state = in[i];
    }
    for (int i = 0; initial_out && i < problem->outputs; i++) made->initial[i] = initial_out[i];
    if (ends_in_stats(problem)) {
        made->result_stats = malloc(4 * (size_t)elements(problem->out[1]) * sizeof *made->result_stats);
        forget_stats(made);
        if (!made->result_stats) {
            mcl__oracle_destroy(made);
            return mcl__fail(error, MCL_ERROR_MEMORY, "the oracle's statistics");
        }
    }
    if (problem->prologue.count > 0 && !(made->sources = mcl__oracle_sources(made))) {
        mcl__oracle_destroy(made);
        return mcl__fail(error, MCL_ERROR_MEMORY, "the oracle's sources");
    }
    mcl_status status = family->prepare ? family->prepare(made, error) : MCL_OK;
    if (status != MCL_OK) {
        mcl__oracle_destroy(made);
        return status;
    }
    *oracle = made;
    return MCL_OK;
}

mcl_status mcl__oracle_expect(mcl__oracle *oracle, mcl__algorithm algorithm, mcl_error *error)
{
    oracle->algorithm = algorithm;
    forget_stats(oracle);
    mcl__winograd_free(oracle->winograd);
    oracle->winograd = NULL;
    if (algorithm == MCL__DIRECT) return MCL_OK;
    oracle->winograd = mcl__winograd_prepare(oracle);
    return oracle->winograd ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "the oracle's transforms");
}

void mcl__oracle_destroy(mcl__oracle *oracle)
{
    if (!oracle) return;
    mcl__winograd_free(oracle->winograd);
    free(oracle->prepared);
    free(oracle->result_stats);
    free(oracle->sources);
    free(oracle);
}

mcl__approx mcl__oracle_result(const mcl__oracle *oracle, int64_t index)
{
    mcl__approx value = oracle->family->value(oracle, 0, index);
    return oracle->problem.epilogue.count > 0 ? mcl__oracle_epilogue(oracle, index, value) : value;
}

double mcl__oracle_value(const mcl__oracle *oracle, int output, int64_t index, double *bound)
{
    mcl__approx value = output == 0              ? mcl__oracle_result(oracle, index)
                      : oracle->result_stats != NULL ? mcl__oracle_stats(oracle, output - 1, index)
                                                     : oracle->family->value(oracle, output, index);
    if (bound) *bound = value.error;
    return value.value;
}

static double computed_value(const mcl__oracle *oracle, int output, const void *computed, int64_t index)
{
    switch (oracle->problem.out_dtype[output]) {
    case MCL_F32: return ((const float *)computed)[index];
    case MCL_I32: return ((const int32_t *)computed)[index];
    case MCL_U8: return ((const uint8_t *)computed)[index];
    case MCL_BYTES: break;
    }
    const char *word = (const char *)computed + 4 * index;
    int32_t whole;
    float number;
    memcpy(&whole, word, 4);
    memcpy(&number, word, 4);
    return oracle->family->whole && oracle->family->whole(output, index) ? (double)whole : (double)number;
}

/* Error over bound of one element. A NaN is right only where the oracle has one, an infinity likewise. */
static double ratio_at(const mcl__oracle *oracle, int output, const void *computed, int64_t index)
{
    double bound, value = mcl__oracle_value(oracle, output, index, &bound);
    double got = computed_value(oracle, output, computed, index);
    if (isnan(value)) return isnan(got) ? 0 : INFINITY;
    if (value == got) return 0;
    double error = fabs(value - got);
    if (!isfinite(error) || !(bound > 0)) return INFINITY;
    return error / bound;
}

/* Which elements of a large tensor to look at: the n-th of those at or next to an end of each axis, then drawn ones. */
static int64_t edge_element(mcl__shape shape, int n)
{
    mcl__position position = {{0}};
    for (int axis = 0; axis < shape.rank; axis++) {
        int size = shape.d[axis], near_end[5] = {0, 1, size / 2, size - 2, size - 1};
        int at = near_end[n % 5];
        position.d[4 - shape.rank + axis] = at < 0 || at >= size ? 0 : at;
        n /= 5;
    }
    return mcl__oracle_index(shape, position);
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

double mcl__oracle_check(const mcl__oracle *oracle, int output, const void *computed, int64_t limit, int64_t *worst)
{
    mcl__shape shape = oracle->problem.out[output];
    int64_t count = checked_elements(&oracle->problem, output), looked_at = count;
    int edges = 0;
    if (count > limit && oracle->problem.out_dtype[output] != MCL_BYTES) {
        edges = 1;
        for (int axis = 0; axis < shape.rank; axis++) edges *= 5;
        looked_at = edges + limit;
    }
    double largest = -1;
    for (int64_t i = 0; i < looked_at; i++) {
        int64_t index = edges == 0  ? i
                        : i < edges ? edge_element(shape, (int)i)
                                    : (int64_t)(mix((uint64_t)i) % (uint64_t)count);
        double ratio = ratio_at(oracle, output, computed, index);
        if (ratio > largest) {
            largest = ratio;
            if (worst) *worst = index;
        }
    }
    return largest;
}
