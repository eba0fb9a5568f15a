/* The native kernels but convolution and dense against plain loops in double: every code of a map, NaN, dropout's draws,
 * statistics far from zero, ties in pools, regions, the loss, the update and its gate, and the load to the bit. */
#include "native_support.h"
#include "philox.h"
#include "pointwise.h"

/* --- point-wise */

static double expected_point(double v, int code, int act, double alpha, double t, double u)
{
    double result[] = {
        [MCL_EP_BIAS] = v + t, [MCL_EP_SCALE_SHIFT] = v * t + u, [MCL_EP_ADD] = v + t, [MCL_EP_SCALE] = v * alpha};
    double forward[] = {[MCL_ACT_RELU] = fmax(v, 0), [MCL_ACT_RELU6] = fmin(fmax(v, 0), 6),
                        [MCL_ACT_LEAKY_RELU] = v > 0 ? v : alpha * v, [MCL_ACT_SIGMOID] = 1 / (1 + exp(-v)),
                        [MCL_ACT_TANH] = tanh(v)};
    double slope[] = {[MCL_ACT_RELU] = t > 0, [MCL_ACT_RELU6] = t > 0 && t < 6, [MCL_ACT_LEAKY_RELU] = t > 0 ? 1 : alpha,
                      [MCL_ACT_SIGMOID] = t * (1 - t), [MCL_ACT_TANH] = 1 - t * t};
    return code == MCL_EP_ACT ? forward[act] : code == MCL_EP_DACT ? v * slope[act] : result[code];
}

/* Every code alone, then all tensors used at once; channel counts below, at and above a tile. */
START_TEST(map_codes)
{
    static const int channels[] = {1, 3, 64, 1023, 1024, 1025, 2500};
    int C = channels[_i], rows = C > 1000 ? 3 : 1100, n = C * rows;
    float *x = numbers((size_t)n, 1), *t[MCL_MAP_TENSORS], *y = numbers((size_t)n, 9);
    for (int i = 0; i < MCL_MAP_TENSORS; i++) t[i] = numbers((size_t)n, 10 + (uint32_t)i);
    for (int i = 0; i < n; i++) {
        x[i] *= 8;
        t[0][i] = i % 5 == 0 ? 0.0f : i % 7 == 0 ? 6.0f : t[0][i] * 8;
    }
    for (int code = MCL_EP_BIAS; code <= MCL_EP_SCALE; code++)
        for (int act = 1; act <= MCL_ACT_TANH; act++) {
            if (code == MCL_EP_DROPOUT || (act > 1 && code != MCL_EP_ACT && code != MCL_EP_DACT)) continue;
            mcl_map_args args = {.elements = n, .channels = C, .count = 1, .code = {{code, act, 0.25f, 0, 0}}};
            mcl__native_map((mcl__native_arg[]){{x}, {y}, {t[0]}, {t[1]}, {x}, {x}, {x}, {x}, {x}, {x}, {&args}});
            for (int i = 0; i < n; i++) {
                int at = MCL_POINT_BY_CHANNEL(code) ? i % C : i;
                double expected = expected_point((double)x[i], code, act, 0.25, (double)t[0][at], (double)t[1][at]);
                near((double)y[i], expected, 64, 1, "map", i);
            }
        }
    mcl_map_args args = {.elements = n, .channels = C, .count = 6,
                         .code = {{MCL_EP_SCALE_SHIFT, 0, 0, 0, 0}, {MCL_EP_ADD, 0, 0, 0, 0}, {MCL_EP_BIAS, 0, 0, 0, 0},
                                  {MCL_EP_SCALE_SHIFT, 0, 0, 0, 0}, {MCL_EP_ACT, MCL_ACT_RELU, 0, 0, 0},
                                  {MCL_EP_DACT, MCL_ACT_TANH, 0, 0, 0}}};
    float *in_place = malloc((size_t)n * sizeof *in_place);
    memcpy(in_place, x, (size_t)n * sizeof *in_place);
    mcl__native_map((mcl__native_arg[]){{in_place}, {in_place}, {t[0]}, {t[1]}, {t[2]}, {t[3]}, {t[4]}, {t[5]}, {t[6]}, {x},
                                        {&args}});
    for (int i = 0; i < n; i++) {
        int c = i % C;
        double v = (double)x[i] * (double)t[0][c] + (double)t[1][c] + (double)t[2][i] + (double)t[3][c];
        v = fmax(v * (double)t[4][c] + (double)t[5][c], 0) * (1 - (double)t[6][i] * (double)t[6][i]);
        near((double)in_place[i], v, 64, 6, "six codes", i);
    }
    for (int i = 0; i < MCL_MAP_TENSORS; i++) free(t[i]);
    free(in_place);
    free(x);
    free(y);
}
END_TEST

START_TEST(nan_propagates)
{
    for (int act = 1; act <= MCL_ACT_TANH; act++) {
        ck_assert(isnan(mcl_point(NAN, MCL_EP_ACT, act, 0.1f, 0, 0)));
        ck_assert(isnan(mcl_point(NAN, MCL_EP_DACT, act, 0.1f, 0.5f, 0)));
    }
    float row[] = {1, NAN, 2, 0}, p[4], loss[1], hit[1], d[4];
    int32_t label[] = {2};
    mcl_softmax_args args = {1, 4};
    mcl_step step = {.valid_samples = 1, .inverse_valid = 1};
    mcl__native_softmax_fwd((mcl__native_arg[]){{row}, {p}, {&args}});
    mcl__native_softmax_cross_entropy_fwd((mcl__native_arg[]){{row}, {label}, {&step}, {loss}, {hit}, {&args}});
    mcl__native_softmax_cross_entropy_bwd((mcl__native_arg[]){{row}, {label}, {&step}, {d}, {&args}});
    ck_assert(isnan(loss[0]));
    for (int i = 0; i < 4; i++) ck_assert(isnan(p[i]) && isnan(d[i]));
    row[1] = 0;
    label[0] = 4; /* no such class: NaN, and nothing outside is read */
    mcl__native_softmax_cross_entropy_fwd((mcl__native_arg[]){{row}, {label}, {&step}, {loss}, {hit}, {&args}});
    ck_assert(isnan(loss[0]) && hit[0] == 0);
}
END_TEST

/* Each element's decision is its own word's, whatever the tile; kept values are scaled; the rate is right. */
START_TEST(dropout)
{
    enum { SAMPLE = 1501, SAMPLES = 40, N = SAMPLE * SAMPLES };
    const float keep = 0.7f;
    const uint32_t threshold = (uint32_t)((double)keep * 4294967296.0);
    mcl_step step = {.step = 9, .batch_offset = 64, .seed_low = 123, .seed_high = 456};
    mcl_map_args args = {.elements = N, .channels = 19, .sample_elements = SAMPLE, .count = 1,
                         .code = {{MCL_EP_DROPOUT, 0, 1 / keep, 77, threshold}}};
    float *x = numbers(N, 1), *y = numbers(N, 2);
    mcl__native_map((mcl__native_arg[]){{x}, {y}, {x}, {x}, {x}, {x}, {x}, {x}, {x}, {&step}, {&args}});
    int kept = 0, together = 0, before = 0;
    for (int i = 0; i < N; i++) {
        mcl_philox4 drawn = mcl_philox(123, 456, (uint32_t)(i % SAMPLE / 4), (uint32_t)(64 + i / SAMPLE), 9, 77);
        int keeps = drawn.word[i % SAMPLE % 4] < threshold;
        ck_assert_float_eq(y[i], keeps ? x[i] * (1 / keep) : 0.0f);
        kept += keeps;
        together += keeps && before;
        before = keeps;
    }
    /* five standard deviations: the rate, and the rate of neighbours kept together */
    ck_assert_double_eq_tol((double)kept / N, (double)keep, 5 * sqrt(0.7 * 0.3 / N));
    ck_assert_double_eq_tol((double)together / N, 0.49, 5 * sqrt(0.49 * 0.51 / N) * 1.5);
    free(x);
    free(y);
}
END_TEST

/* --- reductions and normalisation */

START_TEST(batch_norm)
{
    static const struct { int rows, C; float mean; } shapes[] = {{1, 1, 0}, {7, 3, 1}, {1000, 70, 1000}, {70001, 2, -30000}};
    int rows = shapes[_i].rows, C = shapes[_i].C, n = rows * C;
    float unbias = rows > 1 ? (float)((double)rows / (rows - 1)) : 1;
    mcl_batch_norm_args a = {rows, C, 1e-5f, 0.1f, (float)(1.0 / rows), unbias, NAN, NAN};
    float *x = numbers((size_t)n, 1), *dy = numbers((size_t)n, 2), *dx = numbers((size_t)n, 3), *gamma = numbers((size_t)C, 4);
    float *beta = numbers((size_t)C, 5), mean[70], variance[70], scale[70], shift[70], dgamma[70], dbeta[70], sum[70];
    for (int i = 0; i < n; i++) x[i] += shapes[_i].mean;
    mcl__native_batch_norm_stats((mcl__native_arg[]){{x}, {mean}, {variance}, {&a}});
    mcl__native_batch_norm_finish((mcl__native_arg[]){{mean}, {variance}, {gamma}, {beta}, {scale}, {shift}, {&a}});
    mcl__native_batch_norm_bwd_reduce(
        (mcl__native_arg[]){{x}, {dy}, {mean}, {variance}, {scale}, {shift}, {dgamma}, {dbeta}, {&a}});
    mcl__native_batch_norm_bwd_data(
        (mcl__native_arg[]){{x}, {dy}, {mean}, {variance}, {scale}, {shift}, {dgamma}, {dbeta}, {dx}, {&a}});
    mcl_rows_args rows_args = {rows, C};
    mcl__native_channel_sum((mcl__native_arg[]){{dy}, {sum}, {&rows_args}});
    for (int c = 0; c < C; c++) {
        double m = 0, v = 0, g = 0, b = 0, size = 0;
        for (int r = 0; r < rows; r++) m += (double)x[r * C + c] / rows;
        for (int r = 0; r < rows; r++) v += ((double)x[r * C + c] - m) * ((double)x[r * C + c] - m) / rows;
        near((double)mean[c], m, 0, 1, "mean", c);
        near((double)variance[c], v, 0, 1, "variance", c);
        double rstd = 1 / sqrt((double)variance[c] + (double)a.eps);
        for (int r = 0; r < rows; r++) {
            double term = (double)dy[r * C + c] * ((double)x[r * C + c] - (double)mean[c]) * rstd;
            g += term;
            size += fabs(term);
            b += (double)dy[r * C + c];
        }
        near((double)dgamma[c], g, size, 1, "dgamma", c);
        near((double)dbeta[c], b, rows, 1, "dbeta", c);
        ck_assert_float_eq(sum[c], dbeta[c]);
        for (int r = 0; r < rows; r++) {
            double xhat = ((double)x[r * C + c] - (double)mean[c]) * rstd;
            double expected = (double)gamma[c] * rstd * ((double)dy[r * C + c] - b / rows - xhat * g / rows);
            near((double)dx[r * C + c], expected, 4 * rstd, 4, "dx", r * C + c);
        }
    }
    float *all[] = {x, dy, dx, gamma, beta};
    for (int i = 0; i < COUNT(all); i++) free(all[i]);
}
END_TEST

START_TEST(batch_norm_tracks)
{
    float mean[] = {2}, variance[] = {4}, running_mean[] = {1}, running_variance[] = {3}, pending_mean[] = {8};
    float pending_variance[] = {9};
    mcl_batch_norm_args a = {5, 1, 1e-5f, 0.25f, 0.2f, 1.25f, NAN, NAN};
    for (int micro = 0; micro < 2; micro++) {
        mcl_step step = {.micro_batch = micro};
        mcl__native_batch_norm_track((mcl__native_arg[]){{mean}, {variance}, {running_mean}, {running_variance}, {&step},
                                                         {pending_mean}, {pending_variance}, {&a}});
        ck_assert_float_eq(pending_mean[0], micro ? 1.4375f : 1.25f);
        ck_assert_float_eq(pending_variance[0], micro ? 3.875f : 3.5f);
    }
}
END_TEST

/* --- pooling and regions */

static const mcl_pool_args pools[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1.0f},      {2, 5, 7, 3, 2, 3, 2, 2, 2, 2, 0, 0, 1, 0.25f},
    {2, 7, 6, 5, 4, 3, 3, 3, 2, 2, 1, 1, 0, 1 / 9.0f},  {2, 7, 6, 5, 4, 3, 3, 3, 2, 2, 1, 1, 1, 1 / 9.0f},
    {1, 6, 5, 2, 6, 5, 3, 3, 1, 1, 1, 1, 0, 1 / 9.0f},  {1, 9, 4, 3, 2, 4, 2, 1, 5, 1, 0, 0, 1, 0.5f},
};

START_TEST(pooling)
{
    const mcl_pool_args *a = &pools[_i];
    size_t X = (size_t)a->N * a->H * a->W * a->C, Y = (size_t)a->N * a->OH * a->OW * a->C;
    float *x = numbers(X, 1), *dy = numbers(Y, 2), *y = numbers(Y, 3), *dx = numbers(X, 4);
    float *mean = numbers(Y, 5), *dmean = numbers(X, 6);
    uint8_t *index = malloc(Y);
    double *max_gradient = calloc(2 * X, sizeof *max_gradient), *mean_gradient = max_gradient + X;
    for (size_t i = 0; i < X; i++) x[i] = (float)(int)(x[i] * 4); /* ties */
    if (X > 20) x[17] = NAN;
    mcl__native_max_pool_fwd((mcl__native_arg[]){{x}, {y}, {index}, {(void *)a}});
    mcl__native_max_pool_bwd((mcl__native_arg[]){{dy}, {index}, {dx}, {(void *)a}});
    mcl__native_avg_pool_fwd((mcl__native_arg[]){{x}, {mean}, {(void *)a}});
    mcl__native_avg_pool_bwd((mcl__native_arg[]){{dy}, {dmean}, {(void *)a}});
    for (size_t o = 0; o < Y; o++) {
        int pixel = (int)(o / a->C), c = (int)(o % a->C);
        int ow = pixel % a->OW, oh = pixel / a->OW % a->OH, n = pixel / a->OW / a->OH;
        double best = -INFINITY, sum = 0;
        size_t inside[16], best_at = 0;
        int count = 0, tap = -1;
        for (int t = 0; t < a->KH * a->KW; t++) {
            int h = oh * a->stride_h - a->pad_h + t / a->KW, w = ow * a->stride_w - a->pad_w + t % a->KW;
            if (h < 0 || h >= a->H || w < 0 || w >= a->W) continue;
            size_t i = (((size_t)n * a->H + h) * a->W + w) * a->C + c;
            inside[count++] = i;
            sum += (double)x[i];
            if (tap < 0 || (double)x[i] > best || (isnan(x[i]) && !isnan(best))) best = (double)x[i], best_at = i, tap = t;
        }
        double share = 1.0 / (a->count_padding ? a->KH * a->KW : count);
        ck_assert(isnan(best) ? isnan(y[o]) : (double)y[o] == best);
        ck_assert_int_eq(index[o], tap);
        if (isnan(sum)) ck_assert(isnan(mean[o]));
        else near((double)mean[o], sum * share, 4, count, "mean", (int64_t)o);
        max_gradient[best_at] += (double)dy[o];
        for (int k = 0; k < count; k++) mean_gradient[inside[k]] += (double)dy[o] * share;
    }
    for (size_t i = 0; i < X; i++) {
        near((double)dx[i], max_gradient[i], 9, 9, "max gradient", (int64_t)i);
        near((double)dmean[i], mean_gradient[i], 9, 9, "mean gradient", (int64_t)i);
    }
    float *all[] = {x, dy, y, dx, mean, dmean};
    for (int i = 0; i < COUNT(all); i++) free(all[i]);
    free(index);
    free(max_gradient);
}
END_TEST

START_TEST(global_pooling)
{
    float x[2 * 3 * 2 * 2], y[4], dx[24];
    for (int i = 0; i < 24; i++) x[i] = (float)i;
    mcl_pool_args a = {.N = 2, .H = 3, .W = 2, .C = 2, .OH = 1, .OW = 1, .KH = 3, .KW = 2, .inverse_area = 1 / 6.0f};
    mcl__native_global_avg_pool_fwd((mcl__native_arg[]){{x}, {y}, {&a}});
    const double expected[] = {5, 6, 17, 18};
    for (int i = 0; i < 4; i++) near((double)y[i], expected[i], 18, 6, "global", i);
    mcl__native_global_avg_pool_bwd((mcl__native_arg[]){{y}, {dx}, {&a}});
    for (int i = 0; i < 24; i++) near((double)dx[i], expected[i / 12 * 2 + i % 2] / 6, 3, 6, "global gradient", i);
}
END_TEST

START_TEST(regions)
{
    static const mcl_region_args shapes[] = {
        {{2, 3, 2, 4}, {3, 5, 4, 7}, {-1, -2, 0, -3}, 1}, /* slice */
        {{3, 5, 4, 9}, {2, 3, 2, 4}, {1, 2, 0, 3}, 1},    /* pad */
        {{2, 3, 2, 9}, {2, 3, 2, 4}, {0, 0, 0, 5}, 0},    /* concatenation, last axis */
        {{5, 3, 2, 4}, {2, 3, 2, 4}, {3, 0, 0, 0}, 0},
        {{1, 1, 1, 1}, {1, 1, 1, 1}, {0, 0, 0, 0}, 1},
    };
    const mcl_region_args *a = &shapes[_i];
    int n = a->D[0] * a->D[1] * a->D[2] * a->D[3];
    float *src = numbers((size_t)a->S[0] * a->S[1] * a->S[2] * a->S[3], 1), *dst = malloc((size_t)n * sizeof *dst);
    for (int i = 0; i < n; i++) dst[i] = 99;
    mcl__native_region((mcl__native_arg[]){{src}, {dst}, {(void *)a}});
    for (int i = 0; i < n; i++) {
        int rest = i, from[4], inside = 1, at = 0;
        for (int axis = 3; axis >= 0; axis--) {
            from[axis] = rest % a->D[axis] - a->offset[axis];
            rest /= a->D[axis];
            inside = inside && from[axis] >= 0 && from[axis] < a->S[axis];
        }
        for (int axis = 0; axis < 4; axis++) at = at * a->S[axis] + from[axis];
        ck_assert_float_eq(dst[i], inside ? src[at] : a->zero_outside ? 0.0f : 99.0f);
    }
    free(src);
    free(dst);
}
END_TEST

/* --- loss and update */

START_TEST(cross_entropy)
{
    enum { R = 5, C = 7 };
    float *logits = numbers(R * C, 1), p[R * C], d[R * C], loss[R], hit[R];
    int32_t labels[R] = {0, 6, 3, 2, 1};
    for (int i = 0; i < R * C; i++) logits[i] *= 100;
    for (int c = 0; c < C; c++) logits[2 * C + c] = 5; /* all equal: the first counts as the largest */
    mcl_step step = {.valid_samples = 4, .inverse_valid = 0.25f};
    mcl_softmax_args a = {R, C};
    mcl__native_softmax_fwd((mcl__native_arg[]){{logits}, {p}, {&a}});
    mcl__native_softmax_cross_entropy_fwd((mcl__native_arg[]){{logits}, {labels}, {&step}, {loss}, {hit}, {&a}});
    mcl__native_softmax_cross_entropy_bwd((mcl__native_arg[]){{logits}, {labels}, {&step}, {d}, {&a}});
    for (int r = 0; r < R; r++) {
        double most = -INFINITY, sum = 0;
        int first = 0;
        for (int c = 0; c < C; c++)
            if ((double)logits[r * C + c] > most) most = (double)logits[r * C + c], first = c;
        for (int c = 0; c < C; c++) sum += exp((double)logits[r * C + c] - most);
        double valid = r < 4;
        near((double)loss[r], valid * (log(sum) + most - (double)logits[r * C + labels[r]]), 200, 1, "loss", r);
        ck_assert_float_eq(hit[r], valid != 0 && first == labels[r] ? 1.0f : 0.0f);
        for (int c = 0; c < C; c++) {
            double expected = exp((double)logits[r * C + c] - most) / sum;
            near((double)p[r * C + c], expected, 100, 1, "p", r * C + c);
            near((double)d[r * C + c], valid * (expected - (c == labels[r])) / 4, 100, 1, "d", r * C + c);
        }
    }
    free(logits);
}
END_TEST

/* Micro-batches add up, the norm is taken, a NaN is remembered with its step, and then nothing persistent moves. */
START_TEST(records_and_gates)
{
    enum { N = 10007, OFFSET = 5 };
    static mcl_state state;
    memset(&state, 0, sizeof state);
    mcl_step step = {.step = 3, .slot = 3, .group = {{.learning_rate = 0.5f}}};
    float loss[] = {1, 2, 3}, hit[] = {1, 0, 1};
    mcl_rows_args rows = {3, 1};
    for (step.micro_batch = 0; step.micro_batch < 2; step.micro_batch++)
        mcl__native_outcome((mcl__native_arg[]){{loss}, {hit}, {&step}, {&state}, {&rows}});
    ck_assert_float_eq(state.history[3].loss_sum, 12);
    ck_assert_float_eq(state.history[3].hits, 4);
    ck_assert_int_eq(state.history[3].step, 3);

    float *g = numbers(N + OFFSET, 1), *acc = numbers(N + OFFSET, 2), *p = numbers(N + OFFSET, 3), *m = numbers(N + OFFSET, 4);
    mcl_slab_args slab = {N, OFFSET};
    mcl_squares_args whole = {.n = N + OFFSET}, apart = {.n = N + OFFSET, .known = OFFSET};
    float known = 0, sum;
    float untouched = acc[OFFSET - 1];
    for (step.micro_batch = 0; step.micro_batch < 2; step.micro_batch++)
        mcl__native_accumulate((mcl__native_arg[]){{g}, {&step}, {acc}, {&slab}});
    double squares = 0;
    for (int i = OFFSET; i < N + OFFSET; i++) {
        ck_assert_float_eq(acc[i], g[i] + g[i]);
        squares += (double)acc[i] * (double)acc[i];
    }
    ck_assert_float_eq(acc[OFFSET - 1], untouched);
    for (int i = 0; i < OFFSET; i++) known += acc[i] * acc[i];
    mcl__native_square_sum((mcl__native_arg[]){{acc}, {&sum}, {&whole}});
    near((double)sum, squares + (double)known, 0, 1, "squares", 0);
    mcl__native_guard((mcl__native_arg[]){{acc}, {&step}, {acc}, {&state}, {&whole}});
    near((double)state.history[3].gradient_norm, sqrt(squares + (double)known), 0, 1, "norm", 0);
    known = 7;
    mcl__native_guard((mcl__native_arg[]){{acc}, {&step}, {&known}, {&state}, {&apart}});
    near((double)state.history[3].gradient_norm, sqrt(squares + 7), 0, 1, "norm", 0);
    ck_assert_int_eq(state.first_bad, 0);

    acc[N] = INFINITY;
    for (step.step = step.slot = 4; step.step < 6; step.step++)
        mcl__native_guard((mcl__native_arg[]){{acc}, {&step}, {acc}, {&state}, {&whole}});
    ck_assert_int_eq(state.first_bad, 4);
    float *before = malloc((N + OFFSET) * sizeof *before);
    memcpy(before, p, (N + OFFSET) * sizeof *before);
    mcl_sgd_args sgd = {.n = N, .offset = OFFSET};
    mcl_adam_args adam = {.n = N, .offset = OFFSET, .eps = 1};
    mcl__native_sgd((mcl__native_arg[]){{acc}, {&step}, {&state}, {p}, {m}, {&sgd}});
    mcl__native_adam((mcl__native_arg[]){{acc}, {&step}, {&state}, {p}, {m}, {m}, {&adam}});
    mcl__native_commit((mcl__native_arg[]){{acc}, {&state}, {p}, {&slab}});
    ck_assert_mem_eq(p, before, (N + OFFSET) * sizeof *before);
    state.first_bad = 0;
    mcl__native_commit((mcl__native_arg[]){{acc}, {&state}, {p}, {&slab}});
    ck_assert_float_eq(p[OFFSET - 1], before[OFFSET - 1]);
    ck_assert_mem_eq(p + OFFSET, acc + OFFSET, N * sizeof *p);
    float *all[] = {g, acc, p, m, before};
    for (int i = 0; i < COUNT(all); i++) free(all[i]);
}
END_TEST

START_TEST(stochastic_gradient_descent)
{
    static const mcl_sgd_args cases[] = {{.momentum = 0}, {.momentum = 0.9f, .one_minus_dampening = 1, .decay = 0.01f},
                                         {.momentum = 0.9f, .one_minus_dampening = 1, .decay = 0.01f, .nesterov = 1},
                                         {.momentum = 0.5f, .one_minus_dampening = 0.25f}};
    enum { N = 37, OFFSET = 3 };
    static mcl_state state;
    memset(&state, 0, sizeof state);
    mcl_sgd_args a = cases[_i];
    a.n = N, a.offset = OFFSET, a.group = 2;
    float *p = numbers(N + OFFSET + 1, 1), *m = numbers(N + OFFSET + 1, 2);
    double P[N + OFFSET + 1], M[N + OFFSET + 1];
    for (int i = 0; i <= N + OFFSET; i++) P[i] = (double)p[i], M[i] = (double)m[i];
    for (int t = 1; t <= 5; t++) {
        mcl_step step = {.step = t, .group = {{0}, {0}, {.learning_rate = 0.1f}}};
        float *g = numbers(N + OFFSET + 1, 10 + (uint32_t)t);
        mcl__native_sgd((mcl__native_arg[]){{g}, {&step}, {&state}, {p}, {m}, {&a}});
        for (int i = OFFSET; i < N + OFFSET; i++) {
            double d = (double)g[i] + (double)a.decay * P[i], momentum = (double)a.momentum;
            if (momentum > 0) M[i] = t == 1 ? d : momentum * M[i] + (double)a.one_minus_dampening * d;
            P[i] -= (double)0.1f * (momentum == 0 ? d : a.nesterov ? d + momentum * M[i] : M[i]);
        }
        free(g);
    }
    for (int i = 0; i <= N + OFFSET; i++) {
        near((double)p[i], P[i], 4, 5, "p", i);
        near((double)m[i], M[i], 4, 5, "m", i);
    }
    free(p);
    free(m);
}
END_TEST

START_TEST(adam)
{
    enum { N = 37, OFFSET = 3 };
    static mcl_state state;
    memset(&state, 0, sizeof state);
    mcl_adam_args a = {N, OFFSET, 1, _i, 0.9f, 0.999f, 1 - 0.9f, 1 - 0.999f, 1e-8f, 0.1f};
    float *p = numbers(N + OFFSET + 1, 1), m[N + OFFSET + 1] = {0}, v[N + OFFSET + 1] = {0};
    double P[N + OFFSET + 1], M[N + OFFSET + 1] = {0}, V[N + OFFSET + 1] = {0};
    for (int i = 0; i <= N + OFFSET; i++) P[i] = (double)p[i];
    for (int t = 1; t <= 5; t++) {
        double correction1 = 1 / (1 - pow(0.9, t)), correction2 = 1 / (1 - pow(0.999, t));
        mcl_step step = {.step = t, .group = {{0}, {0.01f, (float)correction1, (float)correction2, 0}}};
        float *g = numbers(N + OFFSET + 1, 10 + (uint32_t)t);
        mcl__native_adam((mcl__native_arg[]){{g}, {&step}, {&state}, {p}, {m}, {v}, {&a}});
        for (int i = OFFSET; i < N + OFFSET; i++) {
            double d = (double)g[i];
            if (_i) P[i] -= 0.01 * 0.1 * P[i];
            else d += 0.1 * P[i];
            M[i] = 0.9 * M[i] + 0.1 * d;
            V[i] = 0.999 * V[i] + 0.001 * d * d;
            P[i] -= 0.01 * (M[i] * correction1) / (sqrt(V[i] * correction2) + 1e-8);
        }
        free(g);
    }
    for (int i = 0; i <= N + OFFSET; i++) near((double)p[i], P[i], 4, 20, "p", i); /* 1 - beta2 has 1e-5 of its own */
    free(p);
}
END_TEST

/* --- load */

/* To the bit, from the definition. */
START_TEST(load)
{
    enum { S = 9, H = 5, W = 4, C = 3, N = 6 };
    uint8_t pixels[S * H * W * C];
    int32_t labels[S], order[S] = {8, 3, 5, 0, 7, 1, 2, 6, 4}, y[N];
    float mean[C] = {100.5f, 20.25f, 77.125f}, inverse[C] = {0.013f, 0.017f, 0.031f}, x[N * H * W * C];
    for (int i = 0; i < S * H * W * C; i++) pixels[i] = (uint8_t)(i * 73 + i / 7);
    for (int i = 0; i < S; i++) labels[i] = 10 * i;
    mcl_load_args a = {N, H, W, C, _i & 1, _i & 2, _i & 4 ? 2 : 0, 55};
    mcl_step step = {.step = 4, .first_sample = 2, .valid_samples = 5, .batch_offset = 96, .seed_low = 7, .seed_high = 8};
    mcl__native_load((mcl__native_arg[]){{pixels}, {labels}, {order}, {mean}, {inverse}, {&step}, {x}, {y}, {&a}});
    for (int b = 0; b < N; b++) {
        int from = b < 5 ? b : 0, sample = a.streamed ? from : order[2 + from], crop = a.crop;
        uint32_t word[3];
        for (uint32_t s = 0; s < 3; s++) word[s] = mcl_random_word(7, 8, s, (uint32_t)(96 + b), 4, 55);
        int flip = a.flip && word[0] % 2, down = crop ? (int)(((uint64_t)word[1] * 5) >> 32) - 2 : 0;
        int right = crop ? (int)(((uint64_t)word[2] * 5) >> 32) - 2 : 0;
        ck_assert_int_eq(y[b], labels[sample]);
        for (int i = 0; i < H * W * C; i++) {
            int h = i / (W * C) + down, w = i / C % W, c = i % C;
            w = (flip ? W - 1 - w : w) + right;
            float expected = 0;
            if (h >= 0 && h < H && w >= 0 && w < W) {
                float value = (float)pixels[((sample * H + h) * W + w) * C + c] - mean[c];
                expected = value * inverse[c];
            }
            ck_assert_float_eq(x[b * H * W * C + i], expected);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("native kernels");
    TCase *tcase = tcase_create("kernels");
    tcase_add_loop_test(tcase, map_codes, 0, 7);
    tcase_add_test(tcase, nan_propagates);
    tcase_add_test(tcase, dropout);
    tcase_add_loop_test(tcase, batch_norm, 0, 4);
    tcase_add_test(tcase, batch_norm_tracks);
    tcase_add_loop_test(tcase, pooling, 0, COUNT(pools));
    tcase_add_test(tcase, global_pooling);
    tcase_add_loop_test(tcase, regions, 0, 5);
    tcase_add_test(tcase, cross_entropy);
    tcase_add_test(tcase, records_and_gates);
    tcase_add_loop_test(tcase, stochastic_gradient_descent, 0, 4);
    tcase_add_loop_test(tcase, adam, 0, 2);
    tcase_add_loop_test(tcase, load, 0, 8);
    suite_add_tcase(suite, tcase);
    return run_native(suite);
}
