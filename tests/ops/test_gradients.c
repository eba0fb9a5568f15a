/* Every gradient formula of the oracle against finite differences of the oracle's own forward values, all in double.
 * What devices compute is tied to the oracle by the conformance test. */
#include "support/problem.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values are multiples of 2^-8 and steps powers of two, so that x + h is exact in f32 and only the differences' own
 * error remains: Richardson's extrapolation leaves a term of h^4. */
#define STEP 0x1p-7
#define TOLERANCE 2e-6

static uint64_t seed;

/* Multiples of 2^-8 in (-2, 2), away from the kinks at 0 by more than a step. */
static float grid(uint64_t *random)
{
    int value = (int)(test_random(random) % 1000) - 500;
    if (abs(value) < 8) value = 8;
    return (float)value / 256.0f;
}

static float *grid_tensor(int n)
{
    float *values = malloc((size_t)n * sizeof *values);
    ck_assert_ptr_nonnull(values);
    for (int i = 0; i < n; i++) values[i] = grid(&seed);
    return values;
}

/* sum(dy * forward(inputs)), a number that everything here differentiates. */
typedef struct objective {
    mcl__problem forward;
    void *in[MCL__MAX_OPERANDS];
    float *dy; /* NULL: all ones times `weight` */
    double weight;
    double (*other)(const struct objective *); /* instead of `forward` */
} objective;

static double evaluate(const objective *o)
{
    if (o->other) return o->other(o);
    double *y = test_problem_oracle(&o->forward, o->in, NULL, 0), sum = 0;
    ck_assert_ptr_nonnull(y);
    for (int i = 0; i < mcl__shape_elements(o->forward.out[0]); i++)
        sum += y[i] * (o->dy ? (double)o->dy[i] : o->weight);
    free(y);
    return sum;
}

static double central(const objective *o, float *x, float h)
{
    float middle = *x;
    *x = middle + h;
    double above = evaluate(o);
    *x = middle - h;
    double below = evaluate(o);
    *x = middle;
    return (above - below) / (2 * (double)h);
}

/* d objective / d x[i] for all n elements of one of its inputs must be gradient[i]. */
static void expect_gradient(const objective *o, float *x, int n, const double *gradient)
{
    double scale = 1;
    ck_assert_ptr_nonnull(gradient);
    for (int i = 0; i < n; i++) scale = fmax(scale, fabs(gradient[i]));
    for (int i = 0; i < n; i++) {
        double wide = central(o, &x[i], (float)STEP), narrow = central(o, &x[i], (float)STEP / 2);
        double difference = (4 * narrow - wide) / 3;
        ck_assert_msg(fabs(difference - gradient[i]) <= TOLERANCE * scale,
                      "element %d: differences give %.9g, the oracle %.9g", i, difference, gradient[i]);
    }
}

static void infer(mcl__problem *problem)
{
    mcl_error error = {0};
    mcl_status status = test_problem_infer(problem, &error);
    ck_assert_msg(status == MCL_OK, "%s", error.text);
}

/* The backward operator with these two inputs (b may be absent), its values checked against differences in x. */
static void expect_backward(const objective *o, float *x, mcl__op_kind op, mcl__attrs attrs, mcl__shape a_shape,
                            void *a, mcl__shape b_shape, mcl__dtype b_dtype, void *b, mcl__shape dx)
{
    mcl__problem backward = {.op = op, .attrs = attrs};
    test_problem_input(&backward, MCL_F32, a_shape.rank, a_shape.d);
    if (b) test_problem_input(&backward, b_dtype, b_shape.rank, b_shape.d);
    infer(&backward);
    ck_assert(mcl__shape_equal(backward.out[0], dx));
    double *gradient = test_problem_oracle(&backward, (void *[]){a, b}, NULL, 0);
    expect_gradient(o, x, mcl__shape_elements(dx), gradient);
    free(gradient);
}

static void free_inputs(objective *o)
{
    for (int i = 0; i < o->forward.inputs; i++) free(o->in[i]);
    free(o->dy);
}

/* --- Convolution and dense layers --------------------------------------------------------------------------------- */

static const struct {
    int N, H, W, C, K, KH, KW, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
} convolutions[] = {
    {2, 5, 5, 2, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {1, 7, 6, 2, 2, 3, 2, 2, 3, 1, 0, 1, 2, 1},
    {2, 4, 5, 4, 6, 3, 3, 1, 2, 2, 1, 1, 1, 2}, {1, 6, 6, 3, 3, 3, 3, 2, 2, 1, 1, 1, 1, 3},
    {1, 5, 5, 2, 4, 3, 3, 1, 1, 2, 2, 2, 2, 2}, {3, 3, 3, 3, 2, 1, 1, 2, 2, 0, 0, 1, 1, 1},
};

START_TEST(conv2d)
{
    int N = convolutions[_i].N, H = convolutions[_i].H, W = convolutions[_i].W, C = convolutions[_i].C,
        K = convolutions[_i].K;
    mcl__attrs attrs = {.conv = {convolutions[_i].KH, convolutions[_i].KW, convolutions[_i].stride_h,
                                 convolutions[_i].stride_w, convolutions[_i].pad_h, convolutions[_i].pad_w,
                                 convolutions[_i].dilation_h, convolutions[_i].dilation_w, convolutions[_i].groups, 0,
                                 0}};
    objective o = {.forward = {.op = MCL__OP_conv2d, .attrs = attrs}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(N, H, W, C));
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(attrs.conv.KH, attrs.conv.KW, C / attrs.conv.groups, K));
    infer(&o.forward);
    for (int i = 0; i < 2; i++) o.in[i] = grid_tensor(mcl__shape_elements(o.forward.in[i]));
    o.dy = grid_tensor(mcl__shape_elements(o.forward.out[0]));
    expect_backward(&o, o.in[1], MCL__OP_conv2d_bwd_weight, attrs, o.forward.in[0], o.in[0], o.forward.out[0], MCL_F32,
                    o.dy, o.forward.in[1]);
    attrs.conv.H = H, attrs.conv.W = W;
    expect_backward(&o, o.in[0], MCL__OP_conv2d_bwd_data, attrs, o.forward.out[0], o.dy, o.forward.in[1], MCL_F32,
                    o.in[1], o.forward.in[0]);
    free_inputs(&o);
}
END_TEST

START_TEST(dense)
{
    objective o = {.forward = {.op = MCL__OP_dense}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(3, 5));
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(5, 4));
    infer(&o.forward);
    o.in[0] = grid_tensor(15), o.in[1] = grid_tensor(20), o.dy = grid_tensor(12);
    expect_backward(&o, o.in[0], MCL__OP_dense_bwd_data, (mcl__attrs){0}, o.forward.out[0], o.dy, o.forward.in[1],
                    MCL_F32, o.in[1], o.forward.in[0]);
    expect_backward(&o, o.in[1], MCL__OP_dense_bwd_weight, (mcl__attrs){0}, o.forward.in[0], o.in[0], o.forward.out[0],
                    MCL_F32, o.dy, o.forward.in[1]);
    free_inputs(&o);
}
END_TEST

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
    objective o = {.forward = {.op = MCL__OP_map}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(5, 12));
    test_problem_code(&o.forward, activations[_i], TEST_SHAPE(5, 12));
    infer(&o.forward);
    o.in[0] = grid_tensor(N), o.dy = grid_tensor(N);
    spread(o.in[0], N);
    double *y = test_problem_oracle(&o.forward, o.in, NULL, 0);
    float *rounded = malloc(N * sizeof *rounded);
    for (int i = 0; i < N; i++) rounded[i] = (float)y[i];

    mcl__problem backward = {.op = MCL__OP_map};
    mcl_epilogue_code code = activations[_i];
    code.code = MCL_EP_DACT;
    test_problem_input(&backward, MCL_F32, TEST_SHAPE(5, 12));
    test_problem_code(&backward, code, TEST_SHAPE(5, 12));
    infer(&backward);
    double *gradient = test_problem_oracle(&backward, (void *[]){o.dy, rounded}, NULL, 0);
    expect_gradient(&o, o.in[0], N, gradient);
    free(y), free(rounded), free(gradient);
    free_inputs(&o);
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
    infer(&problem);
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
    objective o = {.forward = {.op = MCL__OP_map}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(4, 24));
    mcl_epilogue_code code = {.code = MCL_EP_DROPOUT, .alpha = 1 / 0.75f, .threshold = 0xc0000000u, .stream = 9};
    test_problem_code(&o.forward, code, TEST_SHAPE(4, 24));
    infer(&o.forward);
    o.in[0] = grid_tensor(N), o.in[1] = step, o.dy = grid_tensor(N);
    double *gradient = test_problem_oracle(&o.forward, (void *[]){o.dy, step}, NULL, 0);
    int kept = 0;
    for (int i = 0; i < N; i++) kept += gradient[i] != 0;
    ck_assert_int_gt(kept, N / 2);
    ck_assert_int_lt(kept, N);
    expect_gradient(&o, o.in[0], N, gradient);
    free(gradient);
    free_inputs(&o);
}
END_TEST

/* y = code(x, t...): the gradient of a bias or shift is channel_sum(dy), of a scale channel_sum(dy * x), of x dy *
 * scale. */
START_TEST(bias_scale_shift_add)
{
    enum { ROWS = 6, C = 5, N = ROWS * C };
    objective o = {.forward = {.op = MCL__OP_map}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(ROWS, C));
    test_problem_code(&o.forward, (mcl_epilogue_code){.code = MCL_EP_SCALE_SHIFT}, TEST_SHAPE(ROWS, C));
    test_problem_code(&o.forward, (mcl_epilogue_code){.code = MCL_EP_BIAS}, TEST_SHAPE(ROWS, C));
    test_problem_code(&o.forward, (mcl_epilogue_code){.code = MCL_EP_ADD}, TEST_SHAPE(ROWS, C));
    test_problem_code(&o.forward, (mcl_epilogue_code){.code = MCL_EP_SCALE, .alpha = 1}, TEST_SHAPE(ROWS, C));
    infer(&o.forward);
    for (int i = 0; i < 5; i++) o.in[i] = grid_tensor(mcl__shape_elements(o.forward.in[i]));
    o.dy = grid_tensor(N);
    mcl__problem sum = {.op = MCL__OP_channel_sum};
    test_problem_input(&sum, MCL_F32, TEST_SHAPE(ROWS, C));
    infer(&sum);
    double *of_shift = test_problem_oracle(&sum, (void *[]){o.dy}, NULL, 0), dx[N], dadd[N];
    float product[N];
    for (int i = 0; i < N; i++) {
        product[i] = o.dy[i] * ((float *)o.in[0])[i]; /* exact: 10-bit factors */
        dx[i] = (double)o.dy[i] * (double)((float *)o.in[1])[i % C];
        dadd[i] = (double)o.dy[i];
    }
    double *of_scale = test_problem_oracle(&sum, (void *[]){product}, NULL, 0);
    expect_gradient(&o, o.in[0], N, dx);
    expect_gradient(&o, o.in[1], C, of_scale);
    expect_gradient(&o, o.in[2], C, of_shift);
    expect_gradient(&o, o.in[3], C, of_shift);
    expect_gradient(&o, o.in[4], N, dadd);
    free(of_shift), free(of_scale);
    free_inputs(&o);
}
END_TEST

/* --- Batch normalisation, training mode --------------------------------------------------------------------------- */

enum { BN_ROWS = 12, BN_C = 3, BN_N = BN_ROWS * BN_C };
#define BN_EPS 1e-3f

/* The paper's formula in double, and the activation behind it; in: x, gamma, beta. y, before the activation, may be NULL. */
static double batch_norm_formula(const objective *o, double *y, int act)
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
static double batch_norm_objective(const objective *o) { return batch_norm_formula(o, NULL, 0); }
static double batch_norm_relu_objective(const objective *o) { return batch_norm_formula(o, NULL, MCL_ACT_RELU); }
static double batch_norm_relu6_objective(const objective *o) { return batch_norm_formula(o, NULL, MCL_ACT_RELU6); }

/* One operator of the chain: its values, rounded to f32 as they would lie in memory. */
static float *chain(mcl__op_kind op, int act, int output, int inputs, const mcl__shape *shape, void *const *in,
                    double **exact)
{
    mcl__problem problem = {.op = op, .attrs = {.norm = {BN_EPS, 0.1f, BN_ROWS, act}}};
    for (int i = 0; i < inputs; i++) test_problem_input(&problem, MCL_F32, shape[i].rank, shape[i].d);
    if (op == MCL__OP_map) problem.epilogue = (mcl__epilogue){1, {{.code = MCL_EP_SCALE_SHIFT}}};
    infer(&problem);
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
    static const struct { int act; double (*objective)(const objective *o); } behind[] = {
        {0, batch_norm_objective}, {MCL_ACT_RELU, batch_norm_relu_objective}, {MCL_ACT_RELU6, batch_norm_relu6_objective}};
    objective o = {.other = behind[_i].objective, .forward = {.inputs = 3}};
    o.in[0] = grid_tensor(BN_N), o.in[1] = grid_tensor(BN_C), o.in[2] = grid_tensor(BN_C), o.dy = grid_tensor(BN_N);

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
    expect_gradient(&o, o.in[1], BN_C, dgamma);
    expect_gradient(&o, o.in[2], BN_C, dbeta);
    void *data_in[] = {o.in[0], o.dy, mean, variance, scale, shift, dgamma_rounded, dbeta_rounded};
    float *dx_rounded = chain(MCL__OP_batch_norm_bwd_data, behind[_i].act, 0, 8, shapes, data_in, &dx);
    expect_gradient(&o, o.in[0], BN_N, dx);
    free(mean), free(variance), free(scale), free(shift), free(y), free(y_rounded);
    free(dgamma), free(dbeta), free(dx), free(dgamma_rounded), free(dbeta_rounded), free(dx_rounded);
    free_inputs(&o);
}
END_TEST

/* --- Pools -------------------------------------------------------------------------------------------------------- */

static const struct { int N, H, W, C, KH, KW, stride_h, stride_w, pad_h, pad_w, count_padding; } pools[] = {
    {2, 4, 4, 2, 2, 2, 2, 2, 0, 0, 0}, {1, 7, 6, 3, 3, 3, 2, 2, 1, 1, 0}, {1, 5, 5, 2, 3, 2, 1, 1, 1, 1, 1},
    {1, 6, 7, 1, 3, 2, 2, 3, 1, 0, 1}, {2, 5, 5, 1, 2, 2, 3, 3, 0, 0, 0},
};

static objective pool_objective(mcl__op_kind op, int row)
{
    objective o = {.forward = {.op = op}};
    o.forward.attrs.pool.KH = pools[row].KH, o.forward.attrs.pool.KW = pools[row].KW;
    o.forward.attrs.pool.stride_h = pools[row].stride_h, o.forward.attrs.pool.stride_w = pools[row].stride_w;
    o.forward.attrs.pool.pad_h = pools[row].pad_h, o.forward.attrs.pool.pad_w = pools[row].pad_w;
    o.forward.attrs.pool.count_padding = pools[row].count_padding;
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(pools[row].N, pools[row].H, pools[row].W, pools[row].C));
    infer(&o.forward);
    o.in[0] = grid_tensor(mcl__shape_elements(o.forward.in[0]));
    o.dy = grid_tensor(mcl__shape_elements(o.forward.out[0]));
    o.forward.attrs.pool.H = pools[row].H, o.forward.attrs.pool.W = pools[row].W;
    return o;
}

/* Distinct values, further apart than a step: no tie comes or goes. */
START_TEST(max_pool)
{
    objective o = pool_objective(MCL__OP_max_pool, _i);
    float *x = o.in[0];
    int n = mcl__shape_elements(o.forward.in[0]), windows = mcl__shape_elements(o.forward.out[0]);
    for (int i = 0; i < n; i++) x[i] = (float)(i * 37 % n - n / 2) * 0.125f;
    double *place = test_problem_oracle(&o.forward, o.in, NULL, 1);
    unsigned char *index = malloc((size_t)windows);
    for (int i = 0; i < windows; i++) index[i] = (unsigned char)place[i];
    expect_backward(&o, x, MCL__OP_max_pool_bwd, o.forward.attrs, o.forward.out[0], o.dy, o.forward.out[0], MCL_U8,
                    index, o.forward.in[0]);
    free(place), free(index);
    free_inputs(&o);
}
END_TEST

/* Of equals the first in row-major order takes the gradient. */
START_TEST(max_pool_ties)
{
    objective o = pool_objective(MCL__OP_max_pool, 0);
    for (int i = 0; i < mcl__shape_elements(o.forward.in[0]); i++) ((float *)o.in[0])[i] = -1.5f;
    double *place = test_problem_oracle(&o.forward, o.in, NULL, 1);
    for (int i = 0; i < mcl__shape_elements(o.forward.out[0]); i++) ck_assert_double_eq(place[i], 0);
    free(place);
    free_inputs(&o);
}
END_TEST

START_TEST(avg_pool)
{
    objective o = pool_objective(MCL__OP_avg_pool, _i);
    expect_backward(&o, o.in[0], MCL__OP_avg_pool_bwd, o.forward.attrs, o.forward.out[0], o.dy, o.forward.out[0],
                    MCL_F32, NULL, o.forward.in[0]);
    free_inputs(&o);
}
END_TEST

START_TEST(global_avg_pool)
{
    objective o = {.forward = {.op = MCL__OP_global_avg_pool}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(2, 3, 5, 4));
    infer(&o.forward);
    o.in[0] = grid_tensor(2 * 15 * 4), o.dy = grid_tensor(8);
    mcl__attrs attrs = {.pool = {.H = 3, .W = 5}};
    expect_backward(&o, o.in[0], MCL__OP_global_avg_pool_bwd, attrs, o.forward.out[0], o.dy, o.forward.out[0], MCL_F32,
                    NULL, o.forward.in[0]);
    free_inputs(&o);
}
END_TEST

/* --- Regions: slice and pad are each other's gradient ------------------------------------------------------------- */

START_TEST(slice_and_pad)
{
    static const mcl__shape large = {4, {2, 5, 4, 3}}, small = {4, {1, 3, 4, 2}};
    static const int offset[4] = {1, 2, 0, 1};
    mcl__attrs slice = {.region = {.size = small}}, pad = {.region = {.size = large}};
    memcpy(slice.region.offset, offset, sizeof offset);
    memcpy(pad.region.offset, offset, sizeof offset);
    for (int way = 0; way < 2; way++) {
        mcl__shape x = way ? small : large, y = way ? large : small;
        objective o = {.forward = {.op = way ? MCL__OP_pad : MCL__OP_slice, .attrs = way ? pad : slice}};
        test_problem_input(&o.forward, MCL_F32, x.rank, x.d);
        infer(&o.forward);
        ck_assert(mcl__shape_equal(o.forward.out[0], y));
        o.in[0] = grid_tensor(mcl__shape_elements(x)), o.dy = grid_tensor(mcl__shape_elements(y));
        expect_backward(&o, o.in[0], way ? MCL__OP_slice : MCL__OP_pad, way ? slice : pad, y, o.dy, y, MCL_F32, NULL,
                        x);
        free_inputs(&o);
    }
}
END_TEST

START_TEST(concat)
{
    enum { INPUTS = 3 };
    int axis = _i;
    objective o = {.forward = {.op = MCL__OP_concat, .attrs = {.concat = {axis}}}};
    for (int i = 0; i < INPUTS; i++) {
        int size[4] = {2, 3, 2, 3};
        size[axis] = i + 1;
        test_problem_input(&o.forward, MCL_F32, 4, size);
        o.in[i] = grid_tensor(mcl__shape_elements(o.forward.in[i]));
    }
    infer(&o.forward);
    o.dy = grid_tensor(mcl__shape_elements(o.forward.out[0]));
    mcl__attrs slice = {0};
    for (int i = 0; i < INPUTS; i++) {
        slice.region.size = o.forward.in[i];
        expect_backward(&o, o.in[i], MCL__OP_slice, slice, o.forward.out[0], o.dy, o.forward.out[0], MCL_F32, NULL,
                        o.forward.in[i]);
        slice.region.offset[axis] += i + 1;
    }
    free_inputs(&o);
}
END_TEST

/* --- Loss --------------------------------------------------------------------------------------------------------- */

/* The mean over the valid rows; the last row is padding and has no gradient. */
START_TEST(softmax_cross_entropy)
{
    enum { ROWS = 5, C = 7 };
    objective o = {.forward = {.op = MCL__OP_softmax_cross_entropy}, .weight = 0.25};
    mcl_step *step = calloc(1, sizeof *step);
    *step = (mcl_step){.step = 1, .valid_samples = ROWS - 1, .inverse_valid = 0.25f};
    int32_t *labels = calloc(ROWS, sizeof *labels);
    for (int r = 0; r < ROWS; r++) labels[r] = (r * 3) % C;
    mcl__problem backward = {.op = MCL__OP_softmax_cross_entropy_bwd};
    mcl__problem *both[] = {&o.forward, &backward};
    for (int i = 0; i < 2; i++) {
        test_problem_input(both[i], MCL_F32, TEST_SHAPE(ROWS, C));
        test_problem_input(both[i], MCL_I32, TEST_SHAPE(ROWS));
        test_problem_input(both[i], MCL_BYTES, TEST_SHAPE((int)sizeof *step));
        infer(both[i]);
    }
    o.in[0] = grid_tensor(ROWS * C), o.in[1] = labels, o.in[2] = step;
    double *gradient = test_problem_oracle(&backward, o.in, NULL, 0);
    for (int c = 0; c < C; c++) ck_assert_double_eq(gradient[(ROWS - 1) * C + c], 0);
    expect_gradient(&o, o.in[0], ROWS * C, gradient);
    free(gradient);
    free_inputs(&o);
}
END_TEST

/* --- Every operator with a gradient is above ---------------------------------------------------------------------- */

START_TEST(all_covered)
{
    static const bool covered[MCL__OP_COUNT] = {
        [MCL__OP_conv2d] = true, [MCL__OP_dense] = true, [MCL__OP_map] = true, [MCL__OP_batch_norm_stats] = true,
        [MCL__OP_batch_norm_finish] = true, [MCL__OP_max_pool] = true, [MCL__OP_avg_pool] = true,
        [MCL__OP_global_avg_pool] = true, [MCL__OP_slice] = true, [MCL__OP_pad] = true, [MCL__OP_concat] = true,
        [MCL__OP_softmax_cross_entropy] = true,
        [MCL__OP_reshape] = true, /* the same elements: nothing to differentiate */
    };
    for (int i = 0; i < MCL__OP_COUNT; i++) {
        const mcl__op *op = mcl__op_get((mcl__op_kind)i);
        ck_assert_msg(!op->gradient || covered[i], "%s has a gradient that no test differentiates", op->name);
    }
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

int main(void)
{
    Suite *suite = suite_create("gradients");
    TCase *tests = tcase_create("finite differences");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, conv2d, 0, COUNT(convolutions));
    tcase_add_test(tests, dense);
    tcase_add_loop_test(tests, activation, 0, COUNT(activations));
    tcase_add_loop_test(tests, kinks, 0, 5);
    tcase_add_test(tests, dropout);
    tcase_add_test(tests, bias_scale_shift_add);
    tcase_add_loop_test(tests, batch_norm, 0, 3);
    tcase_add_loop_test(tests, max_pool, 0, COUNT(pools));
    tcase_add_test(tests, max_pool_ties);
    tcase_add_loop_test(tests, avg_pool, 0, COUNT(pools));
    tcase_add_test(tests, global_avg_pool);
    tcase_add_test(tests, slice_and_pad);
    tcase_add_loop_test(tests, concat, 0, 4);
    tcase_add_test(tests, softmax_cross_entropy);
    tcase_add_test(tests, all_covered);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
