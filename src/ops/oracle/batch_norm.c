/* The oracle's batch normalisation (Ioffe and Szegedy 2015), with PyTorch's running statistics. */
#include "ops/oracle/family.h"
#include <stdlib.h>

static int64_t rows_of(mcl__shape x)
{
    int64_t rows = 1;
    for (int i = 0; i < x.rank - 1; i++) rows *= x.d[i];
    return rows;
}

/* Mean and biased variance of each channel, and the mean of absolute values for the bounds: prepared[3 * c ...]. */
static mcl_status prepare_stats(mcl__oracle *oracle, mcl_error *error)
{
    mcl__shape x = oracle->problem.in[0];
    int64_t C = x.d[x.rank - 1], rows = rows_of(x);
    double *moment = oracle->prepared = calloc((size_t)C * 3, sizeof *moment);
    if (!moment) return mcl__fail(error, MCL_ERROR_MEMORY, "the oracle's statistics");
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < C; c++) {
            double value = mcl__oracle_in(oracle, 0, r * C + c);
            moment[3 * c] += value / (double)rows;
            moment[3 * c + 2] += fabs(value) / (double)rows;
        }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < C; c++) {
            double difference = mcl__oracle_in(oracle, 0, r * C + c) - moment[3 * c];
            moment[3 * c + 1] += difference * difference / (double)rows;
        }
    return MCL_OK;
}

/* The bound of the variance is what two passes, Welford's or Chan's updating formulas keep, error <= n u kappa with
 * kappa^2 = 1 + mean^2 / variance (Chan, Golub, LeVeque 1983), and plain sums of squares (kappa^2) do not. The square
 * of the mean's own error remains where the variance is 0. */
mcl__approx mcl__oracle_moment(int which, double rows, double mean, double variance, double magnitude)
{
    mcl__approx of_mean = mcl__sum(mean, magnitude, rows, 3);
    if (which == 0) return of_mean;
    double conditioned = sqrt(variance) * sqrt(variance + mean * mean);
    return (mcl__approx){variance,
                         (rows + 8) * MCL__UNIT * conditioned + 4 * of_mean.error * of_mean.error + MCL__TINY};
}

static mcl__approx stats(const mcl__oracle *oracle, int output, int64_t index)
{
    const double *moment = &oracle->prepared[3 * index];
    return mcl__oracle_moment(output, (double)rows_of(oracle->problem.in[0]), moment[0], moment[1], moment[2]);
}

static mcl__approx scale_of(mcl__approx variance, double eps, double gamma)
{
    mcl__approx deviation = mcl__square_root(mcl__add(variance, mcl__exact(eps)));
    /* one rounding more than the division: 1 / deviation times gamma, or rsqrt */
    return mcl__multiply(mcl__exact(gamma), mcl__divide(mcl__exact(1), deviation));
}

static mcl__approx finish(const mcl__oracle *oracle, int output, int64_t index)
{
    mcl__approx scale = scale_of(mcl__exact(mcl__oracle_in(oracle, 1, index)), (double)oracle->problem.attrs.norm.eps,
                                 mcl__oracle_in(oracle, 2, index));
    if (output == 0) return scale;
    mcl__approx product = mcl__multiply(mcl__exact(mcl__oracle_in(oracle, 0, index)), scale);
    return mcl__subtract(mcl__exact(mcl__oracle_in(oracle, 3, index)), product);
}

static mcl__approx channel_scale(const mcl__oracle *oracle, int variance, int64_t channel)
{
    return scale_of(mcl__exact(mcl__oracle_in(oracle, variance, channel)), (double)oracle->problem.attrs.norm.eps, 1);
}

/* Inputs x, dy, ..., scale, shift (4 and 5): dy behind the activation of x * scale + shift. Where that is nearer to one of the
 * activation's kinks than its own rounding error, dy may count or not. */
static mcl__approx counted(const mcl__oracle *oracle, int64_t index, int64_t channel)
{
    int act = oracle->problem.attrs.norm.act;
    double dy = mcl__oracle_in(oracle, 1, index), high = act == MCL_ACT_RELU6 ? 6 : INFINITY;
    if (!act) return mcl__exact(dy);
    mcl__approx product =
        mcl__multiply(mcl__exact(mcl__oracle_in(oracle, 0, index)), mcl__exact(mcl__oracle_in(oracle, 4, channel)));
    mcl__approx z = mcl__add(product, mcl__exact(mcl__oracle_in(oracle, 5, channel)));
    bool either = fabs(z.value) <= z.error || fabs(z.value - high) <= z.error;
    return (mcl__approx){z.value > 0 && z.value < high ? dy : 0, either ? fabs(dy) : 0};
}

/* Inputs x, dy, mean, variance, scale, shift: dgamma = sum dy * xhat, dbeta = sum dy. */
static mcl__approx backward_reduce(const mcl__oracle *oracle, int output, int64_t channel)
{
    mcl__shape x = oracle->problem.in[0];
    int64_t C = x.d[x.rank - 1], rows = rows_of(x);
    double mean = mcl__oracle_in(oracle, 2, channel), inverse = channel_scale(oracle, 3, channel).value;
    double sum = 0, magnitude = 0, doubt = 0;
    for (int64_t r = 0; r < rows; r++) {
        mcl__approx dy = counted(oracle, r * C + channel, channel);
        double factor = output == 0 ? (mcl__oracle_in(oracle, 0, r * C + channel) - mean) * inverse : 1;
        sum += dy.value * factor, magnitude += (fabs(dy.value) + dy.error) * fabs(factor), doubt += dy.error * fabs(factor);
    }
    /* inside a term: the difference, two products, and the 13 units of 1 / sqrt */
    mcl__approx result = mcl__sum(sum, magnitude, (double)rows, output == 0 ? 16 : 0);
    result.error += doubt;
    return result;
}

/* Inputs x, dy, mean, variance, scale, shift, dgamma, dbeta: dx = scale * (dy - dbeta / rows - xhat * dgamma / rows). */
static mcl__approx backward_data(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    mcl__shape x = oracle->problem.in[0];
    int64_t channel = index % x.d[x.rank - 1];
    double rows = (double)rows_of(x), inverse = channel_scale(oracle, 3, channel).value;
    double normal = (mcl__oracle_in(oracle, 0, index) - mcl__oracle_in(oracle, 2, channel)) * inverse;
    mcl__approx dy = counted(oracle, index, channel);
    double term[3] = {dy.value, -mcl__oracle_in(oracle, 7, channel) / rows, -normal * mcl__oracle_in(oracle, 6, channel) / rows};
    double factor = mcl__oracle_in(oracle, 4, channel);
    double sum = term[0] + term[1] + term[2], magnitude = fabs(term[0]) + dy.error + fabs(term[1]) + fabs(term[2]);
    /* 13 units of 1 / sqrt inside xhat, and the products of each term */
    mcl__approx result = mcl__sum(factor * sum, fabs(factor) * magnitude, 3, 13 + 5);
    result.error += fabs(factor) * dy.error;
    return result;
}

/* Inputs mean, variance, running mean, running variance, step. running + momentum * (batch - running), the variance
 * unbiased; from the second micro-batch on, what an earlier one left pending takes the place of the running value. */
static mcl__approx track(const mcl__oracle *oracle, int output, int64_t index)
{
    double momentum = (double)oracle->problem.attrs.norm.momentum;
    double batch = mcl__oracle_in(oracle, output, index);
    double running = oracle->step->micro_batch > 0 ? mcl__oracle_initial(oracle, output, index)
                                                   : mcl__oracle_in(oracle, 2 + output, index);
    double rows = oracle->problem.attrs.norm.rows;
    mcl__approx fresh = mcl__exact(batch);
    if (output == 1 && rows > 1) fresh = mcl__rounded(batch * rows / (rows - 1), 0, 2);
    mcl__approx kept = mcl__multiply(mcl__subtract(mcl__exact(1), mcl__exact(momentum)), mcl__exact(running));
    mcl__approx value = mcl__add(kept, mcl__multiply(mcl__exact(momentum), fresh));
    /* running + momentum * (batch - running) rounds the difference instead */
    value.error += 3 * MCL__UNIT * (fabs(running) + momentum * fabs(batch));
    return value;
}

/* Moments of output 0 for a problem that ends in STATS; result_stats[4 * c ...] = mean, variance, mean of absolute values, root
 * of the mean square of the elements' errors; made when channel c is first asked for (mean NaN until then). */
static void add_channel(const mcl__oracle *oracle, int64_t channel, double *moment)
{
    mcl__shape y = oracle->problem.out[0];
    int64_t C = y.d[y.rank - 1], rows = rows_of(y);
    double *value = malloc((size_t)rows * sizeof *value), mean = 0, variance = 0, magnitude = 0, error = 0;
    for (int64_t r = 0; value && r < rows; r++) {
        mcl__approx element = mcl__oracle_result(oracle, r * C + channel);
        value[r] = element.value;
        mean += element.value / (double)rows;
        magnitude += fabs(element.value) / (double)rows;
        error += element.error * element.error / (double)rows;
    }
    for (int64_t r = 0; value && r < rows; r++) variance += (value[r] - mean) * (value[r] - mean) / (double)rows;
    if (value) moment[0] = mean, moment[1] = variance, moment[2] = magnitude, moment[3] = sqrt(error);
    free(value);
}

/* The statistics are those of elements that are off by e, in the root of the mean square: the mean moves by no more than e, the
 * deviation neither (it is a distance), so the variance by 2 e deviation + e^2. */
mcl__approx mcl__oracle_stats(const mcl__oracle *oracle, int which, int64_t channel)
{
    double *moment = &oracle->result_stats[4 * channel];
    if (isnan(moment[0])) add_channel(oracle, channel, moment);
    double e = moment[3], deviation = sqrt(moment[1]) + e;
    mcl__approx exact = mcl__oracle_moment(which, (double)rows_of(oracle->problem.out[0]), fabs(moment[0]) + e,
                                           deviation * deviation, moment[2] + e);
    return (mcl__approx){moment[which], exact.error + (which == 0 ? e : 2 * sqrt(moment[1]) * e + e * e)};
}

const mcl__oracle_family mcl__oracle_batch_norm_stats = {.inputs = 1, .prepare = prepare_stats, .value = stats};
const mcl__oracle_family mcl__oracle_batch_norm_finish = {.inputs = 4, .value = finish};
const mcl__oracle_family mcl__oracle_batch_norm_track = {.inputs = 5, .value = track};
const mcl__oracle_family mcl__oracle_batch_norm_bwd_reduce = {.inputs = 6, .value = backward_reduce};
const mcl__oracle_family mcl__oracle_batch_norm_bwd_data = {.inputs = 8, .value = backward_data};
