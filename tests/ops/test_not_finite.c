/* NaN and infinity: every reduction, pool and loss lets them through to where the guard sees them, on native and OpenCL, in
 * every variant. Padding and labels out of range never pass for values. */
#include "support/problem.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))
enum { DEVICES = 2 };

static mcl_device *device_of(int which)
{
    static mcl_device *opened[DEVICES];
    static const char *const selectors[DEVICES] = {"native", "cpu"};
    mcl_error error = {0};
    mcl__ops_register_native();
    if (!opened[which] && mcl_device_open(selectors[which], NULL, &opened[which], &error) != MCL_OK)
        fprintf(stderr, "skipped: %s: %s\n", selectors[which], error.text);
    return opened[which];
}

static const char *const variants[] = {NULL, "reference"};

static void compute(test_problem *test, mcl_device *device, const char *variant)
{
    mcl_error error = {0};
    test_run run = {.variant = variant};
    mcl_status status = test_problem_run(device, test, &run, &error);
    ck_assert_msg(status == MCL_OK, "%s", error.text);
}

#define WINDOW {.pool = {.KH = 3, .KW = 3, .stride_h = 2, .stride_w = 2, .pad_h = 1, .pad_w = 1, .H = 9, .W = 9}}

/* A NaN at in[0][at] must reach out[output][reaches] and leave out[output][spares] alone. */
static const struct { mcl__op_kind op; mcl__attrs attrs; int rank, d[4], at, output, reaches, spares; } cases[] = {
    {MCL__OP_channel_sum, {{{0}}}, 2, {700, 34}, 650 * 34 + 33, 0, 33, 32},
    {MCL__OP_batch_norm_stats, {{{0}}}, 2, {700, 34}, 650 * 34 + 33, 0, 33, 32},
    {MCL__OP_batch_norm_stats, {{{0}}}, 2, {700, 34}, 650 * 34 + 33, 1, 33, 32},
    {MCL__OP_max_pool, WINDOW, 4, {1, 9, 9, 16}, (4 * 9 + 4) * 16 + 3, 0, (2 * 5 + 2) * 16 + 3, (2 * 5 + 2) * 16 + 4},
    {MCL__OP_max_pool, WINDOW, 4, {1, 9, 9, 3}, 2, 0, 2, 1},
    {MCL__OP_avg_pool, WINDOW, 4, {1, 9, 9, 16}, 5, 0, 5, 4},
    {MCL__OP_global_avg_pool, {{{0}}}, 4, {2, 9, 9, 16}, 7, 0, 7, 16 + 7},
    {MCL__OP_softmax, {{{0}}}, 2, {3, 10}, 10, 0, 19, 9},
    {MCL__OP_softmax, {{{0}}}, 2, {3, 10}, 19, 0, 10, 9},
    {MCL__OP_map, {{{0}}}, 2, {3, 7}, 20, 0, 20, 19},
};

START_TEST(nan_goes_through)
{
    int which = _i % DEVICES, index = _i / DEVICES;
    mcl_device *device = device_of(which);
    if (!device) return;
    for (size_t v = 0; v < COUNT(variants); v++) {
        test_problem test = {.problem = {.op = cases[index].op, .attrs = cases[index].attrs}};
        mcl_error error = {0};
        test_problem_input(&test.problem, MCL_F32, cases[index].rank, cases[index].d);
        if (cases[index].op == MCL__OP_map)
            test.problem.epilogue = (mcl__epilogue){1, {{.code = MCL_EP_ACT, .act = MCL_ACT_RELU6}}};
        ck_assert_msg(test_problem_infer(&test.problem, &error) == MCL_OK, "%s", error.text);
        test_problem_fill(&test, 2);
        ((float *)test.in[0])[cases[index].at] = NAN;
        compute(&test, device, variants[v]);
        const float *out = test.out[cases[index].output];
        ck_assert_msg(isnan(out[cases[index].reaches]), "case %d: %g hides the NaN", index, (double)out[cases[index].reaches]);
        ck_assert_msg(!isnan(out[cases[index].spares]), "case %d: a NaN where none belongs", index);
        test_problem_free(&test);
    }
}
END_TEST

/* A label that no class has makes the loss NaN instead of reading beyond the row; padding rows stay 0 all the same. */
START_TEST(bad_labels_show)
{
    static const int32_t bad[] = {-1, 10, INT32_MAX, INT32_MIN};
    mcl_device *device = device_of(_i % DEVICES);
    if (!device) return;
    test_problem test = {.problem = {.op = MCL__OP_softmax_cross_entropy}};
    mcl_error error = {0};
    test_problem_input(&test.problem, MCL_F32, TEST_SHAPE(5, 10));
    test_problem_input(&test.problem, MCL_I32, TEST_SHAPE(5));
    test_problem_input(&test.problem, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_step)));
    ck_assert_msg(test_problem_infer(&test.problem, &error) == MCL_OK, "%s", error.text);
    test_problem_fill(&test, 2);
    ((mcl_step *)test.in[2])->valid_samples = 4;
    ((int32_t *)test.in[1])[2] = bad[_i / DEVICES];
    ((int32_t *)test.in[1])[4] = bad[_i / DEVICES];
    compute(&test, device, NULL);
    const float *loss = test.out[0], *hit = test.out[1];
    ck_assert(isfinite(loss[1]) && isnan(loss[2]) && hit[2] == 0.0f);
    ck_assert(loss[4] == 0.0f && hit[4] == 0.0f);
    test_problem_free(&test);
}
END_TEST

/* Largest of a window of negatives beside padding, and of a window of -infinity: never the padding, and an index inside. */
START_TEST(padding_is_never_the_largest)
{
    mcl_device *device = device_of(_i % DEVICES);
    if (!device) return;
    for (size_t v = 0; v < COUNT(variants); v++) {
        test_problem test = {.problem = {.op = MCL__OP_max_pool, .attrs = WINDOW}};
        mcl_error error = {0};
        test_problem_input(&test.problem, MCL_F32, TEST_SHAPE(1, 9, 9, 16));
        ck_assert_msg(test_problem_infer(&test.problem, &error) == MCL_OK, "%s", error.text);
        test_problem_fill(&test, 2);
        for (int i = 0; i < 9 * 9 * 16; i++) ((float *)test.in[0])[i] = i % 2 ? -INFINITY : -3.0f;
        compute(&test, device, variants[v]);
        ck_assert(((float *)test.out[0])[0] == -3.0f && ((float *)test.out[0])[1] == -INFINITY);
        ck_assert_int_eq(((unsigned char *)test.out[1])[0], 4);
        ck_assert_int_eq(((unsigned char *)test.out[1])[1], 4);
        test_problem_free(&test);
    }
}
END_TEST

static int run_all(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed;
}

int main(void)
{
    Suite *suite = suite_create("not finite");
    TCase *group = tcase_create("devices");
    tcase_set_timeout(group, 120);
    tcase_add_loop_test(group, nan_goes_through, 0, COUNT(cases) * DEVICES);
    tcase_add_loop_test(group, bad_labels_show, 0, 4 * DEVICES);
    tcase_add_loop_test(group, padding_is_never_the_largest, 0, DEVICES);
    suite_add_tcase(suite, group);
    int failed = run_all(suite);
    for (int i = 0; i < DEVICES; i++) mcl_device_close(device_of(i));
    return failed != 0;
}
