/* The oracle's convolutions: each element as the sum that defines it. */
#include "ops/oracle/family.h"
#include "ops/oracle/winograd.h"

typedef struct geometry { int64_t N, H, W, C, OH, OW, K, channels, filters; /* the last two: of one group */ } geometry;

static geometry geometry_of(const mcl__problem *problem, mcl__shape x, mcl__shape y)
{
    geometry g = {x.d[0], x.d[1], x.d[2], x.d[3], y.d[1], y.d[2], y.d[3], 0, 0};
    g.channels = g.C / problem->attrs.conv.groups;
    g.filters = g.K / problem->attrs.conv.groups;
    return g;
}

static mcl__approx forward(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    const mcl__problem *p = &oracle->problem;
    geometry g = geometry_of(p, p->in[0], p->out[0]);
    mcl__position y = mcl__oracle_position(p->out[0], index);
    int64_t k = y.d[3], first = k / g.filters * g.channels;
    mcl__products products = {0};
    for (int r = 0; r < p->attrs.conv.KH; r++)
        for (int s = 0; s < p->attrs.conv.KW; s++) {
            int64_t h = y.d[1] * p->attrs.conv.stride_h - p->attrs.conv.pad_h + r * p->attrs.conv.dilation_h;
            int64_t w = y.d[2] * p->attrs.conv.stride_w - p->attrs.conv.pad_w + s * p->attrs.conv.dilation_w;
            if (h < 0 || h >= g.H || w < 0 || w >= g.W) continue;
            for (int64_t c = 0; c < g.channels; c++)
                mcl__products_add(&products,
                                  mcl__oracle_source(oracle, ((y.d[0] * g.H + h) * g.W + w) * g.C + first + c),
                                  mcl__oracle_in(oracle, 1, ((r * p->attrs.conv.KW + s) * g.channels + c) * g.K + k));
        }
    if (oracle->algorithm != MCL__DIRECT) return mcl__winograd_sum(oracle, index, products.sum);
    return mcl__products_sum(products);
}

/* The output coordinate that tap `tap` takes from input coordinate `at`, or -1. */
static int64_t reached(int64_t at, int tap, int stride, int pad, int dilation, int64_t size)
{
    int64_t from = at + pad - (int64_t)tap * dilation;
    if (from < 0 || from % stride != 0 || from / stride >= size) return -1;
    return from / stride;
}

static mcl__approx backward_data(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    const mcl__problem *p = &oracle->problem;
    geometry g = geometry_of(p, p->out[0], p->in[0]);
    mcl__position x = mcl__oracle_position(p->out[0], index);
    int64_t group = x.d[3] / g.channels, c = x.d[3] % g.channels;
    double sum = 0, magnitude = 0, terms = 0;
    for (int r = 0; r < p->attrs.conv.KH; r++)
        for (int s = 0; s < p->attrs.conv.KW; s++) {
            int64_t oh =
                reached(x.d[1], r, p->attrs.conv.stride_h, p->attrs.conv.pad_h, p->attrs.conv.dilation_h, g.OH);
            int64_t ow =
                reached(x.d[2], s, p->attrs.conv.stride_w, p->attrs.conv.pad_w, p->attrs.conv.dilation_w, g.OW);
            if (oh < 0 || ow < 0) continue;
            for (int64_t k = group * g.filters; k < (group + 1) * g.filters; k++) {
                double term = mcl__oracle_in(oracle, 0, ((x.d[0] * g.OH + oh) * g.OW + ow) * g.K + k) *
                              mcl__oracle_in(oracle, 1, ((r * p->attrs.conv.KW + s) * g.channels + c) * g.K + k);
                sum += term, magnitude += fabs(term), terms++;
            }
        }
    if (oracle->algorithm != MCL__DIRECT) return mcl__winograd_sum(oracle, index, sum);
    return mcl__sum(sum, magnitude, terms, 1);
}

static mcl__approx backward_weight(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    const mcl__problem *p = &oracle->problem;
    geometry g = geometry_of(p, p->in[0], p->in[1]);
    mcl__position w = mcl__oracle_position(p->out[0], index); /* r, s, c, k */
    int64_t k = w.d[3], c = k / g.filters * g.channels + w.d[2];
    mcl__products products = {0};
    for (int64_t n = 0; n < g.N; n++)
        for (int64_t oh = 0; oh < g.OH; oh++) {
            int64_t h = oh * p->attrs.conv.stride_h - p->attrs.conv.pad_h + w.d[0] * p->attrs.conv.dilation_h;
            if (h < 0 || h >= g.H) continue;
            for (int64_t ow = 0; ow < g.OW; ow++) {
                int64_t at = ow * p->attrs.conv.stride_w - p->attrs.conv.pad_w + w.d[1] * p->attrs.conv.dilation_w;
                if (at < 0 || at >= g.W) continue;
                mcl__products_add(&products, mcl__oracle_source(oracle, ((n * g.H + h) * g.W + at) * g.C + c),
                                  mcl__oracle_in(oracle, 1, ((n * g.OH + oh) * g.OW + ow) * g.K + k));
            }
        }
    if (oracle->algorithm != MCL__DIRECT) return mcl__winograd_weight_sum(oracle, index, products.sum);
    return mcl__products_sum(products);
}

const mcl__oracle_family mcl__oracle_conv2d = {.inputs = 2, .value = forward};
const mcl__oracle_family mcl__oracle_conv2d_bwd_data = {.inputs = 2, .value = backward_data};
const mcl__oracle_family mcl__oracle_conv2d_bwd_weight = {.inputs = 2, .value = backward_weight};
