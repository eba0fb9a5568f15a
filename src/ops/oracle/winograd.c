/* How far Winograd's minimal filtering may be from the sum that it stands for: the same transforms and products on absolute
 * values, times the roundings on the longest way through them. So the bound knows how much cancels in the transforms, which
 * the plain sum's terms do not. (Barabasz et al. 2018, arXiv:1803.10986, section 4; Higham, Accuracy and Stability of
 * Numerical Algorithms, section 3.1. Matrices: Lavin and Gray 2015, arXiv:1509.09308.) */
#include "ops/oracle/winograd.h"
#include "ops/oracle/family.h"

enum { MOST = 6 }; /* points along an axis */

/* A: points x results, G: points x weights, B: points x source (the transpose of B in the literature). The roundings of
 * one axis: B^T d, G g, A^T m, and for the weight gradient A dy and G^T m. Constants that are no f32, such as 1/6, count
 * as one. */
typedef struct scheme {
    int tile, side;
    double A[MOST][4], G[MOST][3], B[MOST][MOST];
    int source, weight, target, gradient, weight_gradient;
} scheme;

static const scheme schemes[] = {
    [MCL__WINOGRAD4] = {.tile = 4,
                        .side = 6,
                        .A = {{1, 0, 0, 0}, {1, 1, 1, 1}, {1, -1, 1, -1}, {1, 2, 4, 8}, {1, -2, 4, -8}, {0, 0, 0, 1}},
                        .G = {{1. / 4, 0, 0},
                              {-1. / 6, -1. / 6, -1. / 6},
                              {-1. / 6, 1. / 6, -1. / 6},
                              {1. / 24, 1. / 12, 1. / 6},
                              {1. / 24, -1. / 12, 1. / 6},
                              {0, 0, 1}},
                        .B = {{4, 0, -5, 0, 1, 0},
                              {0, -4, -4, 1, 1, 0},
                              {0, 4, -4, -1, 1, 0},
                              {0, -2, -1, 2, 1, 0},
                              {0, 2, -1, -2, 1, 0},
                              {0, 4, 0, -5, 0, 1}},
                        .source = 2,
                        .weight = 4,
                        .target = 3,
                        .gradient = 2,
                        .weight_gradient = 4},
};

/* out (rows x columns) = |left| m |right|^T for m (inner x inner), left and right being the first `inner` columns of a
 * matrix with `width` columns. */
static void transform(const double *matrix, int width, int rows, int inner, double m[MOST][MOST], double out[MOST][MOST])
{
    double half_way[MOST][MOST] = {{0}};
    for (int x = 0; x < rows; x++)
        for (int j = 0; j < inner; j++)
            for (int i = 0; i < inner; i++) half_way[x][j] += fabs(matrix[x * width + i]) * m[i][j];
    for (int x = 0; x < rows; x++)
        for (int y = 0; y < rows; y++) {
            out[x][y] = 0;
            for (int j = 0; j < inner; j++) out[x][y] += half_way[x][j] * fabs(matrix[y * width + j]);
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

/* The part of result (i, j) that one tile has whose other factor is transformed already; `last`, of `width` columns, is the
 * transpose of the last transform. */
static double part_of(const scheme *s, const double *last, int width, double d[MOST][MOST], double factor[MOST][MOST], int64_t i,
                      int64_t j)
{
    double source[MOST][MOST], sum = 0;
    transform(&s->B[0][0], MOST, s->side, s->side, d, source);
    for (int a = 0; a < s->side; a++)
        for (int b = 0; b < s->side; b++) sum += fabs(last[a * width + i] * last[b * width + j]) * source[a][b] * factor[a][b];
    return sum;
}

/* Flushed denormals lose TINY in a point, which the last transform weights, by `lost` along an axis. */
static mcl__approx bounded(double value, double magnitude, double carried, double terms, double roundings, double lost)
{
    return (mcl__approx){value, carried + magnitude * (terms + roundings) * MCL__UNIT + terms * lost * lost * MCL__TINY};
}

/* The sum of the absolute values in the last of a matrix' columns, which has the largest of A and of G. */
static double last_column(const double *matrix, int width, int rows)
{
    double sum = 0;
    for (int x = 0; x < rows; x++) sum += fabs(matrix[x * width + width - 1]);
    return sum;
}

mcl__approx mcl__winograd_sum(const mcl__oracle *oracle, int64_t index, double value)
{
    const mcl__problem *p = &oracle->problem;
    const scheme *s = &schemes[oracle->algorithm];
    bool backward = p->op == MCL__OP_conv2d_bwd_data;
    mcl__position y = mcl__oracle_position(p->out[0], index);
    int64_t i = y.d[1] % s->tile, j = y.d[2] % s->tile;
    int64_t row = y.d[1] - i + (backward ? p->attrs.conv.pad_h - 2 : -p->attrs.conv.pad_h);
    int64_t column = y.d[2] - j + (backward ? p->attrs.conv.pad_w - 2 : -p->attrs.conv.pad_w);
    double magnitude = 0, carried = 0;
    int channels = p->in[0].d[3];
    for (int c = 0; c < channels; c++) {
        double d[MOST][MOST], errors[MOST][MOST], g[MOST][MOST], weight[MOST][MOST];
        read_tile(oracle, 0, y.d[0], row, column, c, s->side, d, errors);
        for (int a = 0; a < 3; a++)
            for (int b = 0; b < 3; b++) {
                mcl__position at = {{backward ? 2 - a : a, backward ? 2 - b : b, backward ? y.d[3] : c, backward ? c : y.d[3]}};
                g[a][b] = fabs(mcl__oracle_in(oracle, 1, mcl__oracle_index(p->in[1], at)));
            }
        transform(&s->G[0][0], 3, s->side, 3, g, weight);
        magnitude += part_of(s, &s->A[0][0], 4, d, weight, i, j);
        if (p->prologue.count > 0) carried += part_of(s, &s->A[0][0], 4, errors, weight, i, j);
    }
    double lost = last_column(&s->A[0][0], 4, s->side);
    return bounded(value, magnitude, carried, channels, 2 * (s->source + s->weight + s->target), lost);
}

mcl__approx mcl__winograd_weight_sum(const mcl__oracle *oracle, int64_t index, double value)
{
    const mcl__problem *p = &oracle->problem;
    const scheme *s = &schemes[oracle->algorithm];
    mcl__position w = mcl__oracle_position(p->out[0], index); /* r, s, c, k */
    mcl__shape dy = p->in[1];
    double magnitude = 0, carried = 0, tiles = 0;
    for (int64_t n = 0; n < dy.d[0]; n++)
        for (int64_t row = 0; row < dy.d[1]; row += s->tile)
            for (int64_t column = 0; column < dy.d[2]; column += s->tile, tiles++) {
                double d[MOST][MOST], errors[MOST][MOST], g[MOST][MOST], exact[MOST][MOST], gradient[MOST][MOST];
                read_tile(oracle, 0, n, row - p->attrs.conv.pad_h, column - p->attrs.conv.pad_w, w.d[2], s->side, d, errors);
                read_tile(oracle, 1, n, row, column, w.d[3], s->tile, g, exact);
                transform(&s->A[0][0], 4, s->side, s->tile, g, gradient);
                magnitude += part_of(s, &s->G[0][0], 3, d, gradient, w.d[0], w.d[1]);
                if (p->prologue.count > 0) carried += part_of(s, &s->G[0][0], 3, errors, gradient, w.d[0], w.d[1]);
            }
    double lost = last_column(&s->G[0][0], 3, s->side);
    return bounded(value, magnitude, carried, tiles, 2 * (s->source + s->gradient + s->weight_gradient), lost);
}
