/* How far Winograd's minimal filtering may be from the sum that it stands for: the same transforms and products on absolute
 * values, times the roundings on the longest way through them. So the bound knows how much cancels in the transforms, which
 * the plain sum's terms do not. (Barabasz et al. 2018, arXiv:1803.10986, section 4; Higham, Accuracy and Stability of
 * Numerical Algorithms, section 3.1. Matrices: Lavin and Gray 2015, arXiv:1509.09308; F(2, 5) is Cook's and Toom's product at
 * the points of F(4, 3), by the same formulae.) */
#include "ops/oracle/winograd.h"
#include "ops/oracle/family.h"
#include <stdlib.h>

enum { MOST = 6, MOST_TILE = 4, MOST_TAPS = 5 }; /* points, results and weights along an axis */

/* A: points x results, G: points x weights, B: points x source (the transpose of B in the literature). The roundings of
 * one axis: B^T d, G g, A^T m, and for the weight gradient A dy and G^T m. Constants that are no f32, such as 1/6, count
 * as one. */
typedef struct scheme {
    int tile, taps, side;
    double A[MOST][MOST_TILE], G[MOST][MOST_TAPS];
    const double (*B)[MOST];
    int source, weight, target, gradient, weight_gradient;
} scheme;

static const double source6[MOST][MOST] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                           {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
static const double source4[MOST][MOST] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}};

static const scheme schemes[] = {
    [MCL__WINOGRAD_4_3] = {.tile = 4,
                           .taps = 3,
                           .side = 6,
                           .A = {{1, 0, 0, 0}, {1, 1, 1, 1}, {1, -1, 1, -1}, {1, 2, 4, 8}, {1, -2, 4, -8}, {0, 0, 0, 1}},
                           .G = {{1. / 4, 0, 0},
                                 {-1. / 6, -1. / 6, -1. / 6},
                                 {-1. / 6, 1. / 6, -1. / 6},
                                 {1. / 24, 1. / 12, 1. / 6},
                                 {1. / 24, -1. / 12, 1. / 6},
                                 {0, 0, 1}},
                           .B = source6,
                           .source = 2,
                           .weight = 4,
                           .target = 3,
                           .gradient = 2,
                           .weight_gradient = 4},
    [MCL__WINOGRAD_2_5] = {.tile = 2,
                           .taps = 5,
                           .side = 6,
                           .A = {{1, 0}, {1, 1}, {1, -1}, {1, 2}, {1, -2}, {0, 1}},
                           .G = {{1. / 4},
                                 {-1. / 6, -1. / 6, -1. / 6, -1. / 6, -1. / 6},
                                 {-1. / 6, 1. / 6, -1. / 6, 1. / 6, -1. / 6},
                                 {1. / 24, 1. / 12, 1. / 6, 1. / 3, 2. / 3},
                                 {1. / 24, -1. / 12, 1. / 6, -1. / 3, 2. / 3},
                                 {0, 0, 0, 0, 1}},
                           .B = source6,
                           .source = 2,
                           .weight = 5,
                           .target = 3,
                           .gradient = 1,
                           .weight_gradient = 4},
    [MCL__WINOGRAD_2_3] = {.tile = 2,
                           .taps = 3,
                           .side = 4,
                           .A = {{1, 0}, {1, 1}, {1, -1}, {0, -1}},
                           .G = {{1, 0, 0}, {1. / 2, 1. / 2, 1. / 2}, {1. / 2, -1. / 2, 1. / 2}, {0, 0, 1}},
                           .B = source4,
                           .source = 1,
                           .weight = 2,
                           .target = 2,
                           .gradient = 1,
                           .weight_gradient = 2},
};

/* out (rows x rows, packed) = |left| m |left|^T for m (inner x inner), left being the first `inner` columns of a matrix with
 * `width` columns. */
static void transform(const double *matrix, int width, int rows, int inner, double m[MOST][MOST], double *out)
{
    double half_way[MOST][MOST] = {{0}};
    for (int x = 0; x < rows; x++)
        for (int j = 0; j < inner; j++)
            for (int i = 0; i < inner; i++) half_way[x][j] += fabs(matrix[x * width + i]) * m[i][j];
    for (int x = 0; x < rows; x++)
        for (int y = 0; y < rows; y++) {
            double sum = 0;
            for (int j = 0; j < inner; j++) sum += half_way[x][j] * fabs(matrix[y * width + j]);
            out[x * rows + y] = sum;
        }
}

/* One channel's tile at (n, row, column), 0 outside the picture: absolute values of an input (in[0] behind the prologue), and
 * their errors. */
static void read_tile(const mcl__oracle *oracle, int input, int64_t n, int64_t row, int64_t column, int64_t c, int side,
                      double tile[MOST][MOST], double errors[MOST][MOST])
{
    mcl__shape shape = oracle->problem.in[input];
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++) {
            int64_t h = row + i, w = column + j;
            mcl__position at = {{n, h, w, c}};
            mcl__approx value = {0, 0};
            if (h >= 0 && w >= 0 && h < shape.d[1] && w < shape.d[2]) {
                int64_t index = mcl__oracle_index(shape, at);
                value = input == 0 ? mcl__oracle_source(oracle, index) : mcl__exact(mcl__oracle_in(oracle, input, index));
            }
            tile[i][j] = fabs(value.value) + value.error;
            errors[i][j] = value.error;
        }
}

/* What all elements share: the transforms of absolute values, a tile's source by channel and what multiplies it (the weights'
 * transform, or a tile of dy), `points` each; and the source's errors where it comes through a prologue. */
struct mcl__winograd {
    int points, tiles_h, tiles_w, tiles, channels, columns;
    double *source, *errors; /* tile, channel */
    double *factor;          /* column, channel; of the weight gradient: tile, column */
};

static void transform_source(const mcl__oracle *oracle, const scheme *s, const mcl__winograd *w, int top, int left)
{
    for (int tile = 0; tile < w->tiles; tile++) {
        int64_t n = tile / (w->tiles_h * w->tiles_w);
        int64_t row = tile / w->tiles_w % w->tiles_h * s->tile + top, column = tile % w->tiles_w * s->tile + left;
        for (int c = 0; c < w->channels; c++) {
            double values[MOST][MOST], errors[MOST][MOST];
            int64_t at = ((int64_t)tile * w->channels + c) * w->points;
            read_tile(oracle, 0, n, row, column, c, s->side, values, errors);
            transform(&s->B[0][0], MOST, s->side, s->side, values, w->source + at);
            if (w->errors) transform(&s->B[0][0], MOST, s->side, s->side, errors, w->errors + at);
        }
    }
}

static void transform_weights(const mcl__oracle *oracle, const scheme *s, const mcl__winograd *w)
{
    const mcl__problem *p = &oracle->problem;
    bool backward = p->op == MCL__OP_conv2d_bwd_data;
    for (int column = 0; column < w->columns; column++)
        for (int c = 0; c < w->channels; c++) {
            double g[MOST][MOST];
            for (int a = 0; a < s->taps; a++)
                for (int b = 0; b < s->taps; b++) {
                    mcl__position at = {{backward ? s->taps - 1 - a : a, backward ? s->taps - 1 - b : b, backward ? column : c,
                                         backward ? c : column}};
                    g[a][b] = fabs(mcl__oracle_in(oracle, 1, mcl__oracle_index(p->in[1], at)));
                }
            transform(&s->G[0][0], MOST_TAPS, s->side, s->taps, g, w->factor + ((int64_t)column * w->channels + c) * w->points);
        }
}

static void transform_gradient(const mcl__oracle *oracle, const scheme *s, const mcl__winograd *w)
{
    for (int tile = 0; tile < w->tiles; tile++) {
        int64_t n = tile / (w->tiles_h * w->tiles_w);
        int64_t row = tile / w->tiles_w % w->tiles_h * s->tile, column = tile % w->tiles_w * s->tile;
        for (int k = 0; k < w->columns; k++) {
            double g[MOST][MOST], exact[MOST][MOST];
            read_tile(oracle, 1, n, row, column, k, s->tile, g, exact);
            transform(&s->A[0][0], MOST_TILE, s->side, s->tile, g, w->factor + ((int64_t)tile * w->columns + k) * w->points);
        }
    }
}

mcl__winograd *mcl__winograd_prepare(const mcl__oracle *oracle)
{
    const mcl__problem *p = &oracle->problem;
    const scheme *s = &schemes[oracle->algorithm];
    bool weight = p->op == MCL__OP_conv2d_bwd_weight;
    mcl__shape tiled = weight ? p->in[1] : p->out[0];
    mcl__winograd *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    w->points = s->side * s->side;
    w->tiles_h = (tiled.d[1] + s->tile - 1) / s->tile;
    w->tiles_w = (tiled.d[2] + s->tile - 1) / s->tile;
    w->tiles = tiled.d[0] * w->tiles_h * w->tiles_w;
    w->channels = p->in[0].d[3];
    w->columns = tiled.d[3];
    size_t sources = (size_t)w->tiles * (size_t)w->channels * (size_t)w->points;
    size_t factors = (size_t)(weight ? w->tiles : w->channels) * (size_t)w->columns * (size_t)w->points;
    w->source = malloc(sources * sizeof(double));
    w->factor = malloc(factors * sizeof(double));
    w->errors = p->prologue.count > 0 ? malloc(sources * sizeof(double)) : NULL;
    if (!w->source || !w->factor || (p->prologue.count > 0 && !w->errors)) {
        mcl__winograd_free(w);
        return NULL;
    }
    int sign = p->op == MCL__OP_conv2d_bwd_data ? 1 : -1, border = sign > 0 ? s->taps - 1 : 0;
    transform_source(oracle, s, w, sign * p->attrs.conv.pad_h - border, sign * p->attrs.conv.pad_w - border);
    if (weight)
        transform_gradient(oracle, s, w);
    else
        transform_weights(oracle, s, w);
    return w;
}

void mcl__winograd_free(mcl__winograd *w)
{
    if (!w) return;
    free(w->source);
    free(w->errors);
    free(w->factor);
    free(w);
}

/* A run of transformed tiles or channels: the first one, and the distance between two, in points' doubles. */
typedef struct run { const double *first; int64_t step; } run;

/* The sum over `terms` products of sources and factors, by point, through the last transform to result (i, j); `last`, of `width`
 * columns, is its transpose. */
static double sum_of(const scheme *s, const double *last, int width, run source, run factor, int64_t terms, int64_t i, int64_t j)
{
    double sums[MOST * MOST] = {0}, sum = 0;
    int points = s->side * s->side;
    for (int64_t term = 0; term < terms; term++) {
        const double *x = source.first + term * source.step * points, *y = factor.first + term * factor.step * points;
        for (int point = 0; point < points; point++) sums[point] += x[point] * y[point];
    }
    for (int a = 0; a < s->side; a++)
        for (int b = 0; b < s->side; b++) sum += fabs(last[a * width + i] * last[b * width + j]) * sums[a * s->side + b];
    return sum;
}

/* Flushed denormals lose TINY in a point, which the last transform weights, by `lost` along an axis. */
static mcl__approx bounded(double value, double magnitude, double carried, double terms, double roundings, double lost)
{
    return (mcl__approx){value, carried + magnitude * (terms + roundings) * MCL__UNIT + terms * lost * lost * MCL__TINY};
}

/* The sum of the absolute values in a matrix' column; the last one has the largest, of A and of G. */
static double column_sum(const double *matrix, int width, int rows, int column)
{
    double sum = 0;
    for (int x = 0; x < rows; x++) sum += fabs(matrix[x * width + column]);
    return sum;
}

mcl__approx mcl__winograd_sum(const mcl__oracle *oracle, int64_t index, double value)
{
    const mcl__winograd *w = oracle->winograd;
    const scheme *s = &schemes[oracle->algorithm];
    mcl__position y = mcl__oracle_position(oracle->problem.out[0], index);
    int64_t i = y.d[1] % s->tile, j = y.d[2] % s->tile;
    int64_t tile = (y.d[0] * w->tiles_h + y.d[1] / s->tile) * w->tiles_w + y.d[2] / s->tile;
    int64_t source = tile * w->channels * w->points;
    run factor = {w->factor + y.d[3] * w->channels * w->points, 1};
    double magnitude = sum_of(s, &s->A[0][0], MOST_TILE, (run){w->source + source, 1}, factor, w->channels, i, j);
    double carried = w->errors ? sum_of(s, &s->A[0][0], MOST_TILE, (run){w->errors + source, 1}, factor, w->channels, i, j) : 0;
    double lost = column_sum(&s->A[0][0], MOST_TILE, s->side, s->tile - 1);
    return bounded(value, magnitude, carried, w->channels, 2 * (s->source + s->weight + s->target), lost);
}

mcl__approx mcl__winograd_weight_sum(const mcl__oracle *oracle, int64_t index, double value)
{
    const mcl__winograd *w = oracle->winograd;
    const scheme *s = &schemes[oracle->algorithm];
    mcl__position at = mcl__oracle_position(oracle->problem.out[0], index); /* r, s, c, k */
    int64_t source = at.d[2] * w->points;
    run factor = {w->factor + at.d[3] * w->points, w->columns};
    double magnitude =
        sum_of(s, &s->G[0][0], MOST_TAPS, (run){w->source + source, w->channels}, factor, w->tiles, at.d[0], at.d[1]);
    double carried =
        w->errors ? sum_of(s, &s->G[0][0], MOST_TAPS, (run){w->errors + source, w->channels}, factor, w->tiles, at.d[0], at.d[1])
                  : 0;
    double lost = column_sum(&s->G[0][0], MOST_TAPS, s->side, s->taps - 1);
    return bounded(value, magnitude, carried, w->tiles, 2 * (s->source + s->gradient + s->weight_gradient), lost);
}
