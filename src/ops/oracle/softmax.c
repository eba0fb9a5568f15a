/* The oracle's softmax and cross-entropy. Prepared for each row: the largest logit m, the sum of exp(x - m), that sum's
 * error, and the first place of the largest. */
#include "ops/oracle/family.h"
#include <stdlib.h>

enum { LARGEST, SUM, SUM_ERROR, FIRST, NUMBERS };

/* exp(x - m): the difference rounds once, which the exponential magnifies by its size; exp is within 3 ulp. */
static mcl__approx exponential(double x, double m)
{
    double value = exp(x - m);
    return (mcl__approx){value, value * (fabs(x - m) + 6) * MCL__UNIT + MCL__TINY};
}

static mcl_status prepare(mcl__oracle *oracle, mcl_error *error)
{
    int64_t rows = oracle->problem.in[0].d[0], C = oracle->problem.in[0].d[1];
    oracle->prepared = calloc((size_t)rows * NUMBERS, sizeof *oracle->prepared);
    if (!oracle->prepared) return mcl__fail(error, MCL_ERROR_MEMORY, "the oracle's rows");
    for (int64_t r = 0; r < rows; r++) {
        double *row = oracle->prepared + r * NUMBERS;
        for (int64_t c = 0; c < C; c++)
            if (mcl__oracle_in(oracle, 0, r * C + c) > mcl__oracle_in(oracle, 0, r * C + (int64_t)row[FIRST]))
                row[FIRST] = (double)c;
        row[LARGEST] = mcl__oracle_in(oracle, 0, r * C + (int64_t)row[FIRST]);
        for (int64_t c = 0; c < C; c++) {
            mcl__approx term = exponential(mcl__oracle_in(oracle, 0, r * C + c), row[LARGEST]);
            row[SUM] += term.value;
            row[SUM_ERROR] += term.error;
        }
        row[SUM_ERROR] += (double)C * MCL__UNIT * row[SUM];
    }
    return MCL_OK;
}

static mcl__approx probability(const mcl__oracle *oracle, int64_t index)
{
    const double *row = oracle->prepared + index / oracle->problem.in[0].d[1] * NUMBERS;
    mcl__approx share = mcl__divide(exponential(mcl__oracle_in(oracle, 0, index), row[LARGEST]),
                                    (mcl__approx){row[SUM], row[SUM_ERROR]});
    share.error += MCL__UNIT * share.value; /* times a reciprocal instead of a division */
    return share;
}

static mcl__approx softmax(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    return probability(oracle, index);
}

static int32_t label_of(const mcl__oracle *oracle, int64_t row) { return ((const int32_t *)oracle->in[1])[row]; }

static mcl__approx cross_entropy(const mcl__oracle *oracle, int output, int64_t r)
{
    const double *row = oracle->prepared + r * NUMBERS;
    int32_t label = label_of(oracle, r);
    if (r >= oracle->step->valid_samples) return mcl__exact(0);
    if (output == 1) return mcl__exact((int32_t)row[FIRST] == label);
    mcl__approx logarithm = mcl__function(log(row[SUM]), (mcl__approx){row[SUM], row[SUM_ERROR]}, 1 / row[SUM], 6);
    mcl__approx x = mcl__exact(mcl__oracle_in(oracle, 0, r * oracle->problem.in[0].d[1] + label));
    mcl__approx loss = mcl__subtract(mcl__add(mcl__exact(row[LARGEST]), logarithm), x);
    /* any order of the three terms */
    loss.error += MCL__UNIT * (fabs(row[LARGEST]) + fabs(x.value) + fabs(logarithm.value));
    return loss;
}

static mcl__approx cross_entropy_backward(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    int64_t C = oracle->problem.in[0].d[1], r = index / C;
    if (r >= oracle->step->valid_samples) return mcl__exact(0);
    mcl__approx difference = mcl__subtract(probability(oracle, index), mcl__exact(label_of(oracle, r) == index % C));
    return mcl__multiply(difference, mcl__exact((double)oracle->step->inverse_valid));
}

const mcl__oracle_family mcl__oracle_softmax = {.inputs = 1, .prepare = prepare, .value = softmax};
const mcl__oracle_family mcl__oracle_softmax_cross_entropy = {.inputs = 3, .prepare = prepare, .value = cross_entropy};
const mcl__oracle_family mcl__oracle_softmax_cross_entropy_bwd = {
    .inputs = 3, .prepare = prepare, .value = cross_entropy_backward};
