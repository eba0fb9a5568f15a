/* The oracle's pooling. A window's pixels outside the picture never count as the largest. */
#include "ops/oracle/family.h"

/* The pixel of window (oh, ow) at (r, s), as an index into x, or -1 outside. */
static int64_t pixel(const mcl__problem *p, mcl__shape x, mcl__position y, int r, int s)
{
    int64_t h = y.d[1] * p->attrs.pool.stride_h - p->attrs.pool.pad_h + r;
    int64_t w = y.d[2] * p->attrs.pool.stride_w - p->attrs.pool.pad_w + s;
    if (h < 0 || h >= x.d[1] || w < 0 || w >= x.d[2]) return -1;
    return ((y.d[0] * x.d[1] + h) * x.d[2] + w) * x.d[3] + y.d[3];
}

static mcl__approx max_pool(const mcl__oracle *oracle, int output, int64_t index)
{
    const mcl__problem *p = &oracle->problem;
    mcl__position y = mcl__oracle_position(p->out[0], index);
    double largest = 0;
    int at = -1;
    for (int r = 0; r < p->attrs.pool.KH; r++)
        for (int s = 0; s < p->attrs.pool.KW; s++) {
            int64_t from = pixel(p, p->in[0], y, r, s);
            if (from < 0) continue;
            double value = mcl__oracle_in(oracle, 0, from);
            if (at >= 0 && value <= largest) continue;
            largest = value;
            at = r * p->attrs.pool.KW + s;
        }
    return mcl__exact(output == 0 ? largest : at);
}

static mcl__approx average(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    const mcl__problem *p = &oracle->problem;
    mcl__position y = mcl__oracle_position(p->out[0], index);
    double sum = 0, magnitude = 0, inside = 0;
    for (int r = 0; r < p->attrs.pool.KH; r++)
        for (int s = 0; s < p->attrs.pool.KW; s++) {
            int64_t from = pixel(p, p->in[0], y, r, s);
            if (from < 0) continue;
            double value = mcl__oracle_in(oracle, 0, from);
            sum += value, magnitude += fabs(value), inside++;
        }
    double divisor = p->attrs.pool.count_padding ? (double)p->attrs.pool.KH * p->attrs.pool.KW : inside;
    return mcl__sum(sum / divisor, magnitude / divisor, inside, 6);
}

/* The sum, over the windows that contain pixel `index` of dx, of share(dy): what each window gives to this pixel. */
static mcl__approx gather(const mcl__oracle *oracle, int64_t index,
                          double (*share)(const mcl__oracle *oracle, mcl__position y, int64_t window, int r, int s),
                          double units)
{
    const mcl__problem *p = &oracle->problem;
    mcl__shape out = p->in[0];
    mcl__position x = mcl__oracle_position(p->out[0], index);
    double sum = 0, magnitude = 0, terms = 0;
    for (int r = 0; r < p->attrs.pool.KH; r++)
        for (int s = 0; s < p->attrs.pool.KW; s++) {
            int64_t top = x.d[1] + p->attrs.pool.pad_h - r, left = x.d[2] + p->attrs.pool.pad_w - s;
            if (top < 0 || left < 0 || top % p->attrs.pool.stride_h || left % p->attrs.pool.stride_w) continue;
            mcl__position y = {{x.d[0], top / p->attrs.pool.stride_h, left / p->attrs.pool.stride_w, x.d[3]}};
            if (y.d[1] >= out.d[1] || y.d[2] >= out.d[2]) continue;
            double term = share(oracle, y, mcl__oracle_index(out, y), r, s);
            sum += term, magnitude += fabs(term), terms++;
        }
    return mcl__sum(sum, magnitude, terms, units);
}

static double to_the_largest(const mcl__oracle *oracle, mcl__position y, int64_t window, int r, int s)
{
    (void)y;
    bool chosen = ((const uint8_t *)oracle->in[1])[window] == r * oracle->problem.attrs.pool.KW + s;
    return chosen ? mcl__oracle_in(oracle, 0, window) : 0;
}

static double to_each(const mcl__oracle *oracle, mcl__position y, int64_t window, int r, int s)
{
    (void)r;
    (void)s;
    const mcl__problem *p = &oracle->problem;
    double inside = 0;
    for (int i = 0; i < p->attrs.pool.KH; i++)
        for (int j = 0; j < p->attrs.pool.KW; j++) inside += pixel(p, p->out[0], y, i, j) >= 0;
    if (p->attrs.pool.count_padding) inside = (double)p->attrs.pool.KH * p->attrs.pool.KW;
    return mcl__oracle_in(oracle, 0, window) / inside;
}

static mcl__approx max_pool_backward(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    return gather(oracle, index, to_the_largest, 0);
}

static mcl__approx average_backward(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    return gather(oracle, index, to_each, 6);
}

static mcl__approx global_average(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    mcl__shape x = oracle->problem.in[0];
    int64_t pixels = (int64_t)x.d[1] * x.d[2], n = index / x.d[3], c = index % x.d[3];
    double sum = 0, magnitude = 0;
    for (int64_t i = 0; i < pixels; i++) {
        double value = mcl__oracle_in(oracle, 0, (n * pixels + i) * x.d[3] + c);
        sum += value, magnitude += fabs(value);
    }
    return mcl__sum(sum / (double)pixels, magnitude / (double)pixels, (double)pixels, 6);
}

static mcl__approx global_average_backward(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    mcl__position x = mcl__oracle_position(oracle->problem.out[0], index);
    mcl__shape dx = oracle->problem.out[0];
    double dy = mcl__oracle_in(oracle, 0, x.d[0] * dx.d[3] + x.d[3]);
    return mcl__rounded(dy / ((double)dx.d[1] * dx.d[2]), 0, 6);
}

const mcl__oracle_family mcl__oracle_max_pool = {.inputs = 1, .value = max_pool};
const mcl__oracle_family mcl__oracle_max_pool_bwd = {.inputs = 2, .value = max_pool_backward};
const mcl__oracle_family mcl__oracle_avg_pool = {.inputs = 1, .value = average};
const mcl__oracle_family mcl__oracle_avg_pool_bwd = {.inputs = 1, .value = average_backward};
const mcl__oracle_family mcl__oracle_global_avg_pool = {.inputs = 1, .value = global_average};
const mcl__oracle_family mcl__oracle_global_avg_pool_bwd = {.inputs = 1, .value = global_average_backward};
