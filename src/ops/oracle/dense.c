/* The oracle's dense layers and the gradient of a bias. */
#include "ops/oracle/family.h"

/* A dot product of `count` pairs: elements of in[0], behind the prologue, from a by a_step, of in[1] from b by b_step. */
static mcl__approx dot(const mcl__oracle *oracle, int64_t count, int64_t a, int64_t a_step, int64_t b, int64_t b_step)
{
    mcl__products products = {0};
    for (int64_t i = 0; i < count; i++)
        mcl__products_add(&products, mcl__oracle_source(oracle, a + i * a_step), mcl__oracle_in(oracle, 1, b + i * b_step));
    return mcl__products_sum(products);
}

static mcl__approx forward(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    int64_t C = oracle->problem.in[1].d[0], K = oracle->problem.in[1].d[1], r = index / K, k = index % K;
    return dot(oracle, C, r * C, 1, k, K);
}

static mcl__approx backward_data(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    int64_t C = oracle->problem.in[1].d[0], K = oracle->problem.in[1].d[1], r = index / C, c = index % C;
    return dot(oracle, K, r * K, 1, c * K, 1);
}

static mcl__approx weight_gradient(const mcl__oracle *oracle, int64_t index)
{
    int64_t rows = oracle->problem.in[0].d[0], C = oracle->problem.in[0].d[1], K = oracle->problem.in[1].d[1];
    return dot(oracle, rows, index / K, C, index % K, K);
}

/* Output 1 is the sum of squares of output 0, and carries the errors of each. */
static mcl__approx backward_weight(const mcl__oracle *oracle, int output, int64_t index)
{
    if (output == 0) return weight_gradient(oracle, index);
    int64_t terms = (int64_t)oracle->problem.out[0].d[0] * oracle->problem.out[0].d[1];
    double sum = 0, carried = 0;
    for (int64_t i = 0; i < terms; i++) {
        mcl__approx weight = weight_gradient(oracle, i), square = mcl__multiply(weight, weight);
        sum += square.value, carried += square.error;
    }
    mcl__approx squares = mcl__sum(sum, sum + carried, (double)terms, 1);
    squares.error += carried;
    return squares;
}

static mcl__approx channel_sum(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    mcl__shape x = oracle->problem.in[0];
    int64_t C = x.d[x.rank - 1], rows = 1;
    for (int i = 0; i < x.rank - 1; i++) rows *= x.d[i];
    double sum = 0, magnitude = 0;
    for (int64_t r = 0; r < rows; r++) {
        double term = mcl__oracle_in(oracle, 0, r * C + index);
        sum += term, magnitude += fabs(term);
    }
    return mcl__sum(sum, magnitude, (double)rows, 0);
}

const mcl__oracle_family mcl__oracle_dense = {.inputs = 2, .value = forward};
const mcl__oracle_family mcl__oracle_dense_bwd_data = {.inputs = 2, .value = backward_data};
const mcl__oracle_family mcl__oracle_dense_bwd_weight = {.inputs = 2, .value = backward_weight};
const mcl__oracle_family mcl__oracle_channel_sum = {.inputs = 1, .value = channel_sum};
