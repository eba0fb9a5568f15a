/* Every gradient formula of the oracle against finite differences: convolutions, dense layers, pools, regions and the loss. Those
 * of point-wise codes and batch normalisation are in test_gradients_point.c. */
#include "support/gradient.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

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
    test_objective o = {.forward = {.op = MCL__OP_conv2d, .attrs = attrs}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(N, H, W, C));
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(attrs.conv.KH, attrs.conv.KW, C / attrs.conv.groups, K));
    test_gradient_infer(&o.forward);
    for (int i = 0; i < 2; i++) o.in[i] = test_grid(mcl__shape_elements(o.forward.in[i]));
    o.dy = test_grid(mcl__shape_elements(o.forward.out[0]));
    test_expect_backward(&o, o.in[1], MCL__OP_conv2d_bwd_weight, attrs, o.forward.in[0], o.in[0], o.forward.out[0], MCL_F32, o.dy,
                         o.forward.in[1]);
    attrs.conv.H = H, attrs.conv.W = W;
    test_expect_backward(&o, o.in[0], MCL__OP_conv2d_bwd_data, attrs, o.forward.out[0], o.dy, o.forward.in[1], MCL_F32, o.in[1],
                         o.forward.in[0]);
    test_objective_free(&o);
}
END_TEST

START_TEST(dense)
{
    test_objective o = {.forward = {.op = MCL__OP_dense}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(3, 5));
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(5, 4));
    test_gradient_infer(&o.forward);
    o.in[0] = test_grid(15), o.in[1] = test_grid(20), o.dy = test_grid(12);
    test_expect_backward(&o, o.in[0], MCL__OP_dense_bwd_data, (mcl__attrs){0}, o.forward.out[0], o.dy, o.forward.in[1], MCL_F32,
                         o.in[1], o.forward.in[0]);
    test_expect_backward(&o, o.in[1], MCL__OP_dense_bwd_weight, (mcl__attrs){0}, o.forward.in[0], o.in[0], o.forward.out[0],
                         MCL_F32, o.dy, o.forward.in[1]);
    test_objective_free(&o);
}
END_TEST

/* --- Pools -------------------------------------------------------------------------------------------------------- */

static const struct { int N, H, W, C, KH, KW, stride_h, stride_w, pad_h, pad_w, count_padding; } pools[] = {
    {2, 4, 4, 2, 2, 2, 2, 2, 0, 0, 0}, {1, 7, 6, 3, 3, 3, 2, 2, 1, 1, 0}, {1, 5, 5, 2, 3, 2, 1, 1, 1, 1, 1},
    {1, 6, 7, 1, 3, 2, 2, 3, 1, 0, 1}, {2, 5, 5, 1, 2, 2, 3, 3, 0, 0, 0},
};

static test_objective pool_objective(mcl__op_kind op, int row)
{
    test_objective o = {.forward = {.op = op}};
    o.forward.attrs.pool.KH = pools[row].KH, o.forward.attrs.pool.KW = pools[row].KW;
    o.forward.attrs.pool.stride_h = pools[row].stride_h, o.forward.attrs.pool.stride_w = pools[row].stride_w;
    o.forward.attrs.pool.pad_h = pools[row].pad_h, o.forward.attrs.pool.pad_w = pools[row].pad_w;
    o.forward.attrs.pool.count_padding = pools[row].count_padding;
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(pools[row].N, pools[row].H, pools[row].W, pools[row].C));
    test_gradient_infer(&o.forward);
    o.in[0] = test_grid(mcl__shape_elements(o.forward.in[0]));
    o.dy = test_grid(mcl__shape_elements(o.forward.out[0]));
    o.forward.attrs.pool.H = pools[row].H, o.forward.attrs.pool.W = pools[row].W;
    return o;
}

/* Distinct values, further apart than a step: no tie comes or goes. */
START_TEST(max_pool)
{
    test_objective o = pool_objective(MCL__OP_max_pool, _i);
    float *x = o.in[0];
    int n = mcl__shape_elements(o.forward.in[0]), windows = mcl__shape_elements(o.forward.out[0]);
    for (int i = 0; i < n; i++) x[i] = (float)(i * 37 % n - n / 2) * 0.125f;
    double *place = test_problem_oracle(&o.forward, o.in, NULL, 1);
    unsigned char *index = malloc((size_t)windows);
    for (int i = 0; i < windows; i++) index[i] = (unsigned char)place[i];
    test_expect_backward(&o, x, MCL__OP_max_pool_bwd, o.forward.attrs, o.forward.out[0], o.dy, o.forward.out[0], MCL_U8, index,
                         o.forward.in[0]);
    free(place), free(index);
    test_objective_free(&o);
}
END_TEST

/* Of equals the first in row-major order takes the gradient. */
START_TEST(max_pool_ties)
{
    test_objective o = pool_objective(MCL__OP_max_pool, 0);
    for (int i = 0; i < mcl__shape_elements(o.forward.in[0]); i++) ((float *)o.in[0])[i] = -1.5f;
    double *place = test_problem_oracle(&o.forward, o.in, NULL, 1);
    for (int i = 0; i < mcl__shape_elements(o.forward.out[0]); i++) ck_assert_double_eq(place[i], 0);
    free(place);
    test_objective_free(&o);
}
END_TEST

START_TEST(avg_pool)
{
    test_objective o = pool_objective(MCL__OP_avg_pool, _i);
    test_expect_backward(&o, o.in[0], MCL__OP_avg_pool_bwd, o.forward.attrs, o.forward.out[0], o.dy, o.forward.out[0], MCL_F32,
                         NULL, o.forward.in[0]);
    test_objective_free(&o);
}
END_TEST

START_TEST(global_avg_pool)
{
    test_objective o = {.forward = {.op = MCL__OP_global_avg_pool}};
    test_problem_input(&o.forward, MCL_F32, TEST_SHAPE(2, 3, 5, 4));
    test_gradient_infer(&o.forward);
    o.in[0] = test_grid(2 * 15 * 4), o.dy = test_grid(8);
    mcl__attrs attrs = {.pool = {.H = 3, .W = 5}};
    test_expect_backward(&o, o.in[0], MCL__OP_global_avg_pool_bwd, attrs, o.forward.out[0], o.dy, o.forward.out[0], MCL_F32, NULL,
                         o.forward.in[0]);
    test_objective_free(&o);
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
        test_objective o = {.forward = {.op = way ? MCL__OP_pad : MCL__OP_slice, .attrs = way ? pad : slice}};
        test_problem_input(&o.forward, MCL_F32, x.rank, x.d);
        test_gradient_infer(&o.forward);
        ck_assert(mcl__shape_equal(o.forward.out[0], y));
        o.in[0] = test_grid(mcl__shape_elements(x)), o.dy = test_grid(mcl__shape_elements(y));
        test_expect_backward(&o, o.in[0], way ? MCL__OP_slice : MCL__OP_pad, way ? slice : pad, y, o.dy, y, MCL_F32, NULL, x);
        test_objective_free(&o);
    }
}
END_TEST

START_TEST(concat)
{
    enum { INPUTS = 3 };
    int axis = _i;
    test_objective o = {.forward = {.op = MCL__OP_concat, .attrs = {.concat = {axis}}}};
    for (int i = 0; i < INPUTS; i++) {
        int size[4] = {2, 3, 2, 3};
        size[axis] = i + 1;
        test_problem_input(&o.forward, MCL_F32, 4, size);
        o.in[i] = test_grid(mcl__shape_elements(o.forward.in[i]));
    }
    test_gradient_infer(&o.forward);
    o.dy = test_grid(mcl__shape_elements(o.forward.out[0]));
    mcl__attrs slice = {0};
    for (int i = 0; i < INPUTS; i++) {
        slice.region.size = o.forward.in[i];
        test_expect_backward(&o, o.in[i], MCL__OP_slice, slice, o.forward.out[0], o.dy, o.forward.out[0], MCL_F32, NULL,
                             o.forward.in[i]);
        slice.region.offset[axis] += i + 1;
    }
    test_objective_free(&o);
}
END_TEST

/* --- Loss --------------------------------------------------------------------------------------------------------- */

/* The mean over the valid rows; the last row is padding and has no gradient. */
START_TEST(softmax_cross_entropy)
{
    enum { ROWS = 5, C = 7 };
    test_objective o = {.forward = {.op = MCL__OP_softmax_cross_entropy}, .weight = 0.25};
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
        test_gradient_infer(both[i]);
    }
    o.in[0] = test_grid(ROWS * C), o.in[1] = labels, o.in[2] = step;
    double *gradient = test_problem_oracle(&backward, o.in, NULL, 0);
    for (int c = 0; c < C; c++) ck_assert_double_eq(gradient[(ROWS - 1) * C + c], 0);
    test_expect_gradient(&o, o.in[0], ROWS * C, gradient);
    free(gradient);
    test_objective_free(&o);
}
END_TEST

/* --- Every operator with a gradient is in one of the two files ------------------------------------------------------ */

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
