/* The native convolutions and dense layers, all passes of all implementations, against plain loops in double, on shapes
 * with edges: sizes of 1, primes, strides that leave a rest, padding, dilation, groups. */
#include "native_support.h"
#include "ops/native/tile.h"
#include <omp.h>

static const mcl_conv2d_args convolutions[] = {
    /* N  H   W   C   OH  OW  K   KH KW  stride pad  dilation groups */
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {2, 5, 7, 3, 5, 7, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {3, 8, 6, 4, 4, 3, 6, 3, 3, 2, 2, 1, 1, 1, 1, 2},
    {2, 9, 9, 5, 4, 4, 7, 1, 1, 2, 2, 0, 0, 1, 1, 1},
    {2, 7, 5, 13, 7, 5, 17, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {2, 7, 5, 6, 7, 5, 9, 1, 1, 1, 1, 0, 0, 1, 1, 3},
    {1, 11, 10, 2, 7, 6, 3, 3, 3, 1, 1, 0, 0, 2, 2, 1},
    {2, 9, 12, 3, 5, 4, 4, 5, 2, 2, 3, 2, 0, 1, 1, 1},
    {1, 6, 6, 2, 10, 10, 2, 3, 3, 1, 1, 3, 3, 1, 1, 1}, /* windows that lie wholly in the padding */
    {2, 9, 7, 5, 9, 7, 5, 3, 3, 1, 1, 1, 1, 1, 1, 5},   /* depthwise */
    {3, 9, 8, 70, 5, 4, 70, 3, 3, 2, 2, 1, 1, 1, 1, 70},
    {2, 4, 20, 3, 4, 20, 3, 1, 11, 1, 1, 0, 5, 1, 1, 3},
    {1, 9, 8, 4, 5, 4, 4, 3, 3, 1, 1, 0, 0, 2, 2, 4},
    {2, 6, 6, 3, 6, 6, 6, 3, 3, 1, 1, 1, 1, 1, 1, 3},   /* two filters a channel */
    {40, 8, 8, 2, 8, 8, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1},  /* several parts of a weight gradient */
    {1, 40, 33, 1, 40, 33, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1}, /* one sample in several areas */
    {17, 32, 32, 1, 32, 32, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {2, 5, 3, 150, 5, 3, 100, 3, 3, 1, 1, 1, 1, 1, 1, 1},  /* several blocks along each sum */
    {2, 5, 3, 300, 5, 3, 450, 1, 1, 1, 1, 0, 0, 1, 1, 1},  /* several areas each way */
    {1, 4, 3, 260, 4, 3, 120, 3, 3, 1, 1, 1, 1, 1, 1, 2},  /* the same in groups */
    {1, 14, 14, 40, 14, 14, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1}, /* areas that end within a tile, blocks within a line of taps */
    {2, 13, 11, 3, 5, 4, 5, 3, 3, 3, 3, 2, 2, 2, 2, 1},   /* phases of a stride that a dilation does not share */
    {2, 12, 10, 3, 3, 2, 5, 3, 3, 4, 4, 1, 1, 2, 2, 1},   /* ... shares a factor of: some phases have no taps */
    {2, 7, 9, 4, 3, 4, 6, 2, 2, 2, 2, 0, 0, 2, 2, 2},     /* ... is equal to */
    {1, 3, 2, 5, 2, 1, 3, 1, 1, 2, 3, 0, 0, 1, 1, 1},     /* a stride beyond the picture */
};

typedef struct sums { double *y, *y_size, *dx, *dx_size, *dw, *dw_size; } sums;

/* All three passes in one walk over the terms. */
static sums convolve(const mcl_conv2d_args *a, const float *x, const float *w, const float *dy)
{
    int Cg = a->C / a->groups, Kg = a->K / a->groups;
    size_t X = (size_t)a->N * a->H * a->W * a->C, Y = (size_t)a->N * a->OH * a->OW * a->K, W = (size_t)a->KH * a->KW * Cg * a->K;
    double *all = calloc(2 * (X + Y + W), sizeof *all);
    ck_assert_ptr_nonnull(all);
    sums s = {all, all + Y, all + 2 * Y, all + 2 * Y + X, all + 2 * Y + 2 * X, all + 2 * Y + 2 * X + W};
    for (int o = 0; o < a->N * a->OH * a->OW; o++)
        for (int t = 0; t < a->KH * a->KW; t++) {
            int n = o / (a->OH * a->OW), h = o / a->OW % a->OH * a->stride_h - a->pad_h + t / a->KW * a->dilation_h;
            int column = o % a->OW * a->stride_w - a->pad_w + t % a->KW * a->dilation_w;
            if (h < 0 || h >= a->H || column < 0 || column >= a->W) continue;
            for (int c = 0; c < Cg; c++)
                for (int k = 0; k < a->K; k++) {
                    size_t i = (((size_t)n * a->H + h) * a->W + column) * a->C + k / Kg * Cg + c;
                    size_t j = ((size_t)t * Cg + c) * a->K + k, l = (size_t)o * a->K + k;
                    double forward = (double)x[i] * (double)w[j], data = (double)dy[l] * (double)w[j];
                    double weight = (double)x[i] * (double)dy[l];
                    s.y[l] += forward, s.y_size[l] += fabs(forward);
                    s.dx[i] += data, s.dx_size[i] += fabs(data);
                    s.dw[j] += weight, s.dw_size[j] += fabs(weight);
                }
        }
    return s;
}

/* One pass of one implementation: in bounds, equal to the loop, and the same bits with other threads. */
static void check_pass(const mcl_conv2d_args *a, mcl__native_function pass, const char *what, const float *in0, const float *in1,
                       const double *expected, const double *size, size_t n, int64_t terms, uint64_t workspace)
{
    float *out[2];
    for (int run = 0; run < 2; run++) {
        size_t words = (size_t)workspace / sizeof(float);
        float *scratch = malloc((size_t)workspace + sizeof(float));
        out[run] = malloc((n + 1) * sizeof(float));
        ck_assert(scratch && out[run]);
        for (size_t i = 0; i <= words; i++) scratch[i] = NAN;
        for (size_t i = 0; i < n; i++) out[run][i] = NAN;
        scratch[words] = out[run][n] = 12345.0f;
        mcl__native_arg arg[5] = {{.pointer = (void *)in0}, {.pointer = (void *)in1}, {.pointer = out[run]}};
        arg[3].pointer = workspace ? (void *)scratch : (void *)a;
        arg[4].pointer = (void *)a;
        omp_set_num_threads(run ? 3 : 1);
        pass(arg);
        ck_assert_float_eq(scratch[words], 12345.0f);
        ck_assert_float_eq(out[run][n], 12345.0f);
        free(scratch);
    }
    for (size_t i = 0; i < n; i++) near((double)out[0][i], expected[i], size[i], terms, what, (int64_t)i);
    ck_assert_mem_eq(out[0], out[1], n * sizeof(float));
    free(out[0]);
    free(out[1]);
}

START_TEST(convolution)
{
    const mcl_conv2d_args *a = &convolutions[_i];
    int Cg = a->C / a->groups;
    size_t X = (size_t)a->N * a->H * a->W * a->C, Y = (size_t)a->N * a->OH * a->OW * a->K, W = (size_t)a->KH * a->KW * Cg * a->K;
    float *x = numbers(X, 1), *w = numbers(W, 2), *dy = numbers(Y, 3);
    sums s = convolve(a, x, w, dy);
    static const struct { const char *name; mcl__native_function fwd, bwd_data, bwd_weight; } ways[] = {
        {"reference", mcl__native_conv2d_fwd, mcl__native_conv2d_bwd_data, mcl__native_conv2d_bwd_weight},
        {"gemm", mcl__native_conv2d_gemm_fwd, mcl__native_conv2d_gemm_bwd_data, mcl__native_conv2d_gemm_bwd_weight},
        {"depthwise", mcl__native_conv2d_depthwise_fwd, mcl__native_conv2d_depthwise_bwd_data,
         mcl__native_conv2d_depthwise_bwd_weight},
    };
    for (int i = 0; i < (mcl__native_conv2d_depthwise(a) ? 3 : 2); i++) {
        uint64_t of_data = i == 1 ? mcl__native_conv2d_gemm_bwd_data_workspace(a) : 0;
        uint64_t of_weight = i == 1 ? mcl__native_conv2d_gemm_bwd_weight_workspace(a) : 0;
        char what[64];
        snprintf(what, sizeof what, "%s y", ways[i].name);
        check_pass(a, ways[i].fwd, what, x, w, s.y, s.y_size, Y, a->KH * a->KW * Cg, 0);
        snprintf(what, sizeof what, "%s dx", ways[i].name);
        check_pass(a, ways[i].bwd_data, what, dy, w, s.dx, s.dx_size, X, a->KH * a->KW * a->K / a->groups, of_data);
        snprintf(what, sizeof what, "%s dw", ways[i].name);
        check_pass(a, ways[i].bwd_weight, what, x, dy, s.dw, s.dw_size, W, (int64_t)a->N * a->OH * a->OW, of_weight);
    }
    free(s.y);
    free(x);
    free(w);
    free(dy);
}
END_TEST

/* Every tile that this processor runs, not only the one that serves: all of a block but what lies outside the tile. */
START_TEST(tiles)
{
    enum { DEPTH = 7 };
    _Alignas(64) static mcl__block a, b, c, before;
    float *values = numbers(MCL__BLOCK * MCL__BLOCK_PITCH, 1);
    for (int i = 0; i < MCL__BLOCK * MCL__BLOCK_PITCH; i++) a[i] = values[i], b[i] = values[i] * values[i], before[i] = -values[i];
    bool transposed = _i & 1, add = _i & 2;
    for (int t = 0; mcl__tile_get(t); t++) {
        const mcl__tile *tile = mcl__tile_get(t);
        ck_assert_int_eq(MCL__BLOCK % tile->rows + MCL__BLOCK % tile->columns, 0);
        memcpy(c, before, sizeof c);
        (transposed ? tile->transposed : tile->plain)(DEPTH, a, b, c, add);
        for (int i = 0; i < MCL__BLOCK; i++)
            for (int j = 0; j < MCL__BLOCK_PITCH; j++) {
                int at = i * MCL__BLOCK_PITCH + j;
                double sum = add ? (double)before[at] : 0, size = fabs(sum);
                for (int k = 0; k < DEPTH; k++) {
                    double left = (double)(transposed ? a[k * MCL__BLOCK_PITCH + i] : a[i * MCL__BLOCK_PITCH + k]);
                    sum += left * (double)b[k * MCL__BLOCK_PITCH + j], size += fabs(left * (double)b[k * MCL__BLOCK_PITCH + j]);
                }
                if (i < tile->rows && j < tile->columns) near((double)c[at], sum, size, DEPTH + 1, tile->name, at);
                else ck_assert_float_eq(c[at], before[at]);
            }
    }
    free(values);
}
END_TEST

START_TEST(dense)
{
    static const mcl_dense_args shapes[] = {{1, 1, 1}, {3, 7, 5}, {17, 33, 10}};
    const mcl_dense_args *a = &shapes[_i];
    float *x = numbers((size_t)a->rows * a->C, 1), *w = numbers((size_t)a->C * a->K, 2);
    float *dx = numbers((size_t)a->rows * a->C, 3), *dw = numbers((size_t)a->C * a->K, 4);
    float *dy = numbers((size_t)a->rows * a->K, 5), *y = numbers((size_t)a->rows * a->K, 6);
    mcl__native_dense_fwd((mcl__native_arg[]){{x}, {w}, {y}, {(void *)a}});
    mcl__native_dense_bwd_data((mcl__native_arg[]){{dy}, {w}, {dx}, {(void *)a}});
    mcl__native_dense_bwd_weight((mcl__native_arg[]){{x}, {dy}, {dw}, {(void *)a}});
    for (int r = 0; r < a->rows; r++)
        for (int k = 0; k < a->K; k++) {
            double sum = 0;
            for (int c = 0; c < a->C; c++) sum += (double)x[r * a->C + c] * (double)w[c * a->K + k];
            near((double)y[r * a->K + k], sum, a->C, a->C, "y", r * a->K + k);
        }
    for (int r = 0; r < a->rows; r++)
        for (int c = 0; c < a->C; c++) {
            double sum = 0;
            for (int k = 0; k < a->K; k++) sum += (double)dy[r * a->K + k] * (double)w[c * a->K + k];
            near((double)dx[r * a->C + c], sum, a->K, a->K, "dx", r * a->C + c);
        }
    for (int c = 0; c < a->C; c++)
        for (int k = 0; k < a->K; k++) {
            double sum = 0;
            for (int r = 0; r < a->rows; r++) sum += (double)x[r * a->C + c] * (double)dy[r * a->K + k];
            near((double)dw[c * a->K + k], sum, a->rows, a->rows, "dw", c * a->K + k);
        }
    float *all[] = {x, w, dy, y, dx, dw};
    for (int i = 0; i < COUNT(all); i++) free(all[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("native convolutions");
    TCase *tcase = tcase_create("convolutions");
    tcase_add_loop_test(tcase, convolution, 0, COUNT(convolutions));
    tcase_add_loop_test(tcase, tiles, 0, 4);
    tcase_add_loop_test(tcase, dense, 0, 3);
    suite_add_tcase(suite, tcase);
    return run_native(suite);
}
