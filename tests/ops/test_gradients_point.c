/* Gradients of point-wise codes and of batch normalisation, which are built of several operators, against finite differences. */
#include "support/gradient.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>

/* --- Pointwise codes ---------------------------------------------------------------------------------------------- */

/* With integers for the kinks' neighbours: ReLU6's upper end is passed too. */
static void spread(float *x, int n)
{
    for (int i = 0; i < n; i++) x[i] *= 4;
}

static const mcl_epilogue_code activations[] = {
    {.code = MCL_EP_ACT, .act = MCL_ACT_RELU},    {.code = MCL_EP_ACT, .act = MCL_ACT_RELU6},
    {.code = MCL_EP_ACT, .act = MCL_ACT_SIGMOID}, {.code = MCL_EP_ACT, .act = MCL_ACT_LEAKY_RELU, .alpha = 0.125f},
    {.code = MCL_EP_ACT, .act = MCL_ACT_TANH},
};

/* DACT reads the activation's output, so that is rounded to f32 once: the tolerance covers it. */
START_TEST(activation)
{
    enum { N = 60 };
    test_objective o = {.forward = {.op = MCL__OP_map}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(5, 12));
    test_problem_code(&o.forward, activations[_i], TEST_SHAPE(5, 12));
    test_gradient_infer(&o.forward);
    o.in[0] = test_grid(N), o.dy = test_grid(N);
    spread(o.in[0], N);
    double *y = test_problem_oracle(&o.forward, o.in, NULL, 0);
    float *rounded = malloc(N * sizeof *rounded);
    for (int i = 0; i < N; i++) rounded[i] = (float)y[i];

    mcl__problem backward = {.op = MCL__OP_map};
    mcl_epilogue_code code = activations[_i];
    code.code = MCL_EP_DACT;
    test_problem_input(&backward, MCL_F32, TEST_SHAPE(5, 12));
    test_problem_code(&backward, code, TEST_SHAPE(5, 12));
    test_gradient_infer(&backward);
    double *gradient = test_problem_oracle(&backward, (void *[]){o.dy, rounded}, NULL, 0);
    test_expect_gradient(&o, o.in[0], N, gradient);
    free(y), free(rounded), free(gradient);
    test_objective_free(&o);
}
END_TEST

/* At the kinks themselves, where differences say nothing: the convention of PyTorch. */
START_TEST(kinks)
{
    static const struct { int act; float y, slope;
    } at[] = {
        {MCL_ACT_RELU, 0, 0}, {MCL_ACT_RELU6, 0, 0}, {MCL_ACT_RELU6, 6, 0}, {MCL_ACT_LEAKY_RELU, 0, 0.125f},
        {MCL_ACT_RELU, 1, 1},
    };
    float dy = 1, y = at[_i].y;
    mcl__problem problem = {.op = MCL__OP_map};
    test_problem_input(&problem, MCL_F32, TEST_SHAPE(1, 1));
    test_problem_code(&problem, (mcl_epilogue_code){.code = MCL_EP_DACT, .act = at[_i].act, .alpha = 0.125f},
                      TEST_SHAPE(1, 1));
    test_gradient_infer(&problem);
    double *dx = test_problem_oracle(&problem, (void *[]){&dy, &y}, NULL, 0);
    ck_assert(dx && dx[0] == (double)at[_i].slope);
    free(dx);
}
END_TEST

/* Dropout is linear: its gradient is the same code on dy, with the same mask. */
START_TEST(dropout)
{
    enum { N = 96 };
    mcl_step *step = calloc(1, sizeof *step);
    *step = (mcl_step){.step = 3, .batch_offset = 1, .seed_low = 77, .seed_high = 5};
    test_objective o = {.forward = {.op = MCL__OP_map}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(4, 24));
    mcl_epilogue_code code = {.code = MCL_EP_DROPOUT, .alpha = 1 / 0.75f, .threshold = 0xc0000000u, .stream = 9};
    test_problem_code(&o.forward, code, TEST_SHAPE(4, 24));
    test_gradient_infer(&o.forward);
    o.in[0] = test_grid(N), o.in[1] = step, o.dy = test_grid(N);
    double *gradient = test_problem_oracle(&o.forward, (void *[]){o.dy, step}, NULL, 0);
    int kept = 0;
    for (int i = 0; i < N; i++) kept += gradient[i] != 0;
    ck_assert_int_gt(kept, N / 2);
    ck_assert_int_lt(kept, N);
    test_expect_gradient(&o, o.in[0], N, gradient);
    free(gradient);
    test_objective_free(&o);
}
END_TEST

/* y = code(x, t...): the gradient of a bias or shift is channel_sum(dy), of a scale channel_sum(dy * x), of x dy *
 * scale. */
START_TEST(bias_scale_shift_add)
{
    enum { ROWS = 6, C = 5, N = ROWS * C };
    test_objective o = {.forward = {.op = MCL__OP_map}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(ROWS, C));
    test_problem_code(&o.forward, (mcl_epilogue_code){.code = MCL_EP_SCALE_SHIFT}, TEST_SHAPE(ROWS, C));
    test_problem_code(&o.forward, (mcl_epilogue_code){.code = MCL_EP_BIAS}, TEST_SHAPE(ROWS, C));
    test_problem_code(&o.forward, (mcl_epilogue_code){.code = MCL_EP_ADD}, TEST_SHAPE(ROWS, C));
    test_problem_code(&o.forward, (mcl_epilogue_code){.code = MCL_EP_SCALE, .alpha = 1}, TEST_SHAPE(ROWS, C));
    test_gradient_infer(&o.forward);
    for (int i = 0; i < 5; i++) o.in[i] = test_grid(mcl__shape_elements(o.forward.in[i]));
    o.dy = test_grid(N);
    mcl__problem sum = {.op = MCL__OP_channel_sum};
    test_problem_input(&sum, MCL_F32, TEST_SHAPE(ROWS, C));
    test_gradient_infer(&sum);
    double *of_shift = test_problem_oracle(&sum, (void *[]){o.dy}, NULL, 0), dx[N], dadd[N];
    float product[N];
    for (int i = 0; i < N; i++) {
        product[i] = o.dy[i] * ((float *)o.in[0])[i]; /* exact: 10-bit factors */
        dx[i] = (double)o.dy[i] * (double)((float *)o.in[1])[i % C];
        dadd[i] = (double)o.dy[i];
    }
    double *of_scale = test_problem_oracle(&sum, (void *[]){product}, NULL, 0);
    test_expect_gradient(&o, o.in[0], N, dx);
    test_expect_gradient(&o, o.in[1], C, of_scale);
    test_expect_gradient(&o, o.in[2], C, of_shift);
    test_expect_gradient(&o, o.in[3], C, of_shift);
    test_expect_gradient(&o, o.in[4], N, dadd);
    free(of_shift), free(of_scale);
    test_objective_free(&o);
}
END_TEST

/* --- Batch normalisation, training mode --------------------------------------------------------------------------- */

enum { BN_ROWS = 12, BN_C = 3, BN_N = BN_ROWS * BN_C };
#define BN_EPS 1e-3f

/* The paper's formula in double, and the activation behind it; in: x, gamma, beta. y, before the activation, may be NULL. */
static double batch_norm_formula(const test_objective *o, double *y, int act)
{
    const float *x = o->in[0], *gamma = o->in[1], *beta = o->in[2];
    double sum = 0;
    for (int c = 0; c < BN_C; c++) {
        double mean = 0, variance = 0;
        for (int r = 0; r < BN_ROWS; r++) mean += (double)x[r * BN_C + c] / BN_ROWS;
        for (int r = 0; r < BN_ROWS; r++) variance += pow((double)x[r * BN_C + c] - mean, 2) / BN_ROWS;
        for (int r = 0; r < BN_ROWS; r++) {
            int i = r * BN_C + c;
            double value = (double)gamma[c] * ((double)x[i] - mean) / sqrt(variance + (double)BN_EPS) + (double)beta[c];
            if (y) y[i] = value;
            if (act == MCL_ACT_RELU || act == MCL_ACT_RELU6) value = fmax(value, 0);
            if (act == MCL_ACT_RELU6) value = fmin(value, 6);
            sum += value * (double)o->dy[i];
        }
    }
    return sum;
}
static double batch_norm_objective(const test_objective *o) { return batch_norm_formula(o, NULL, 0); }
static double batch_norm_relu_objective(const test_objective *o) { return batch_norm_formula(o, NULL, MCL_ACT_RELU); }
static double batch_norm_relu6_objective(const test_objective *o) { return batch_norm_formula(o, NULL, MCL_ACT_RELU6); }

/* One operator of the chain: its values, rounded to f32 as they would lie in memory. */
static float *chain(mcl__op_kind op, int act, int output, int inputs, const mcl__shape *shape, void *const *in,
                    double **exact)
{
    mcl__problem problem = {.op = op, .attrs = {.norm = {BN_EPS, 0.1f, BN_ROWS, act}}};
    for (int i = 0; i < inputs; i++) test_problem_input(&problem, MCL_F32, shape[i].rank, shape[i].d);
    if (op == MCL__OP_map) problem.epilogue = (mcl__epilogue){1, {{.code = MCL_EP_SCALE_SHIFT}}};
    test_gradient_infer(&problem);
    double *values = test_problem_oracle(&problem, in, NULL, output);
    ck_assert_ptr_nonnull(values);
    int n = mcl__shape_elements(problem.out[output]);
    float *rounded = malloc((size_t)n * sizeof *rounded);
    for (int i = 0; i < n; i++) rounded[i] = (float)values[i];
    if (exact) *exact = values;
    else free(values);
    return rounded;
}

START_TEST(batch_norm)
{
    const mcl__shape picture = {4, {2, 3, 2, BN_C}}, channel = {1, {BN_C}};
    const mcl__shape shapes[] = {picture, picture, channel, channel, channel, channel, channel, channel};
    const mcl__shape finish_shapes[] = {channel, channel, channel, channel}, map_shapes[] = {picture, channel, channel};
    static const struct { int act; double (*objective)(const test_objective *o); } behind[] = {
        {0, batch_norm_objective}, {MCL_ACT_RELU, batch_norm_relu_objective}, {MCL_ACT_RELU6, batch_norm_relu6_objective}};
    test_objective o = {.other = behind[_i].objective, .forward = {.inputs = 3}};
    o.in[0] = test_grid(BN_N), o.in[1] = test_grid(BN_C), o.in[2] = test_grid(BN_C), o.dy = test_grid(BN_N);

    float *mean = chain(MCL__OP_batch_norm_stats, 0, 0, 1, shapes, (void *[]){o.in[0]}, NULL);
    float *variance = chain(MCL__OP_batch_norm_stats, 0, 1, 1, shapes, (void *[]){o.in[0]}, NULL);
    void *finish_in[] = {mean, variance, o.in[1], o.in[2]};
    float *scale = chain(MCL__OP_batch_norm_finish, 0, 0, 4, finish_shapes, finish_in, NULL);
    float *shift = chain(MCL__OP_batch_norm_finish, 0, 1, 4, finish_shapes, finish_in, NULL);
    double *y, formula[BN_N], *dgamma, *dbeta, *dx;
    float *y_rounded = chain(MCL__OP_map, 0, 0, 3, map_shapes, (void *[]){o.in[0], scale, shift}, &y);
    batch_norm_formula(&o, formula, 0);
    for (int i = 0; i < BN_N; i++) ck_assert_double_eq_tol(y[i], formula[i], 2e-6);

    void *reduce_in[] = {o.in[0], o.dy, mean, variance, scale, shift};
    float *dgamma_rounded = chain(MCL__OP_batch_norm_bwd_reduce, behind[_i].act, 0, 6, shapes, reduce_in, &dgamma);
    float *dbeta_rounded = chain(MCL__OP_batch_norm_bwd_reduce, behind[_i].act, 1, 6, shapes, reduce_in, &dbeta);
    test_expect_gradient(&o, o.in[1], BN_C, dgamma);
    test_expect_gradient(&o, o.in[2], BN_C, dbeta);
    void *data_in[] = {o.in[0], o.dy, mean, variance, scale, shift, dgamma_rounded, dbeta_rounded};
    float *dx_rounded = chain(MCL__OP_batch_norm_bwd_data, behind[_i].act, 0, 8, shapes, data_in, &dx);
    test_expect_gradient(&o, o.in[0], BN_N, dx);
    free(mean), free(variance), free(scale), free(shift), free(y), free(y_rounded);
    free(dgamma), free(dbeta), free(dx), free(dgamma_rounded), free(dbeta_rounded), free(dx_rounded);
    test_objective_free(&o);
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void)
{
    Suite *suite = suite_create("gradients of points");
    TCase *tests = tcase_create("finite differences");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, activation, 0, COUNT(activations));
    tcase_add_loop_test(tests, kinks, 0, 5);
    tcase_add_test(tests, dropout);
    tcase_add_test(tests, bias_scale_shift_add);
    tcase_add_loop_test(tests, batch_norm, 0, 3);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
