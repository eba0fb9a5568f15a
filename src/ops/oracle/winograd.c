/* How far Winograd's minimal filtering may be from the sum that it stands for: the same transforms and products on absolute
 * values, times the roundings on the longest way through them. So the bound knows how much cancels in the transforms, which
 * the plain sum's terms do not. (Barabasz et al. 2018, arXiv:1803.10986, section 4; Higham, Accuracy and Stability of
 * Numerical Algorithms, section 3.1. Matrices: Lavin and Gray 2015, arXiv:1509.09308.) */
#include "ops/oracle/winograd.h"
#include "ops/oracle/family.h"

enum { MOST = 6 }; /* points along an axis */

/* A: points x results, G: points x weights, B: points x source (the transpose of B in the literature). The roundings of
 * one axis: B^T d, G g, A^T m. Constants that are no f32, such as 1/6, count as one. */
typedef struct scheme {
    int tile, side;
    double A[MOST][4], G[MOST][3], B[MOST][MOST];
    int source, weight, target;
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
                        .target = 3},
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

/* One channel's tile at (n, row, column), 0 outside the picture: absolute values of in[0] behind the prologue, and their errors. */
static void read_source(const mcl__oracle *oracle, int64_t n, int64_t row, int64_t column, int64_t c, int side,
                        double tile[MOST][MOST], double errors[MOST][MOST])
{
    mcl__shape shape = oracle->problem.in[0];
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++) {
            int64_t h = row + i, w = column + j;
            mcl__position at = {{n, h, w, c}};
            mcl__approx value = {0, 0};
            if (h >= 0 && w >= 0 && h < shape.d[1] && w < shape.d[2])
                value = mcl__oracle_source(oracle, mcl__oracle_index(shape, at));
            tile[i][j] = fabs(value.value) + value.error;
            errors[i][j] = value.error;
        }
}

/* One channel's part of result (i, j) of a tile whose weights are transformed already. */
static double part_of(const scheme *s, double d[MOST][MOST], double weight[MOST][MOST], int64_t i, int64_t j)
{
    double source[MOST][MOST], sum = 0;
    transform(&s->B[0][0], MOST, s->side, s->side, d, source);
    for (int a = 0; a < s->side; a++)
        for (int b = 0; b < s->side; b++) sum += fabs(s->A[a][i] * s->A[b][j]) * source[a][b] * weight[a][b];
    return sum;
}

static mcl__approx bounded(double value, double magnitude, double carried, double terms, double roundings, const scheme *s)
{
    /* What flushed denormals lose in a point is weighted by the last transform. */
    double weight = 0;
    for (int x = 0; x < s->side; x++) weight += fabs(s->A[x][s->tile - 1]);
    return (mcl__approx){value, carried + magnitude * (terms + roundings) * MCL__UNIT + terms * weight * weight * MCL__TINY};
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
        read_source(oracle, y.d[0], row, column, c, s->side, d, errors);
        for (int a = 0; a < 3; a++)
            for (int b = 0; b < 3; b++) {
                mcl__position at = {{backward ? 2 - a : a, backward ? 2 - b : b, backward ? y.d[3] : c, backward ? c : y.d[3]}};
                g[a][b] = fabs(mcl__oracle_in(oracle, 1, mcl__oracle_index(p->in[1], at)));
            }
        transform(&s->G[0][0], 3, s->side, 3, g, weight);
        magnitude += part_of(s, d, weight, i, j);
        if (p->prologue.count > 0) carried += part_of(s, errors, weight, i, j);
    }
    return bounded(value, magnitude, carried, channels, 2 * (s->source + s->weight + s->target), s);
}
