/* The convolution family, every variant against the oracle, at sizes around the edges of tiles, vectors and borders; also as
 * a GPU would get them (smaller tiles, larger work-groups). */
#include "support/problem.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct shape_row {
    int N, H, W, C, K, KH, KW, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
} shape_row;

static const shape_row rows[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1},    {2, 7, 5, 3, 10, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {3, 8, 8, 16, 17, 3, 3, 1, 1, 1, 1, 1, 1, 1},  {2, 9, 7, 17, 64, 3, 3, 2, 2, 1, 1, 1, 1, 1},
    {2, 8, 8, 32, 70, 3, 3, 2, 2, 1, 1, 1, 1, 1},  {1, 11, 13, 13, 33, 5, 3, 3, 2, 2, 0, 1, 1, 1},
    {2, 12, 9, 9, 48, 3, 3, 1, 2, 2, 3, 2, 2, 1},  {1, 28, 28, 1, 32, 5, 5, 1, 1, 2, 2, 1, 1, 1},
    {2, 6, 6, 4, 5, 2, 4, 1, 1, 0, 3, 1, 1, 1},    {5, 3, 3, 20, 24, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {3, 7, 7, 12, 31, 1, 1, 2, 2, 0, 0, 1, 1, 1},  {2, 2, 2, 65, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {1, 5, 5, 8, 6, 3, 3, 1, 1, 4, 4, 1, 1, 1},    {2, 9, 9, 2, 16, 7, 7, 3, 3, 3, 3, 1, 1, 1},
    {2, 6, 6, 8, 12, 3, 3, 1, 1, 1, 1, 1, 1, 2},   {2, 7, 7, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 16},
    {2, 9, 8, 19, 19, 3, 3, 2, 2, 1, 1, 1, 1, 19}, {1, 8, 9, 35, 35, 5, 5, 2, 1, 2, 2, 1, 2, 35},
    {2, 5, 5, 6, 12, 3, 3, 1, 1, 1, 1, 1, 1, 6},   {130, 4, 4, 33, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1},
};

static const struct {
    int rows, C, K;
} dense_rows[] = {{1, 1, 1}, {13, 10, 4}, {14, 33, 64}, {29, 17, 10}, {7, 130, 65}, {40, 3, 50}};

static const char *const variants[] = {"native_depthwise", "native_gemm", "depthwise", "tile", "reference"};

static const mcl_epilogue_code codes[] = {
    {.code = MCL_EP_BIAS},
    {.code = MCL_EP_SCALE_SHIFT},
    {.code = MCL_EP_ADD},
    {.code = MCL_EP_ACT, .act = MCL_ACT_LEAKY_RELU, .alpha = 0.1f},
    {.code = MCL_EP_DROPOUT, .alpha = 2.0f, .threshold = 1u << 31, .stream = 7},
    {.code = MCL_EP_SCALE, .alpha = 0.3f},
};

static mcl_device *device;
static int served[sizeof variants / sizeof variants[0]];

/* Each program costs a build, so only some problems run as on a GPU too. */
static void run_variants(mcl__problem *problem, const char *what, bool as_gpu)
{
    mcl__capabilities gpu = mcl__capabilities_of(device);
    bool opencl = gpu.type != MCL_DEVICE_NATIVE;
    gpu.type = MCL_DEVICE_GPU;
    mcl_error error = {0};
    test_problem test = {.problem = *problem};
    ck_assert_msg(test_problem_infer(&test.problem, &error) == MCL_OK, "%s: %s", what, error.text);
    for (size_t v = 0; v < 2 * sizeof variants / sizeof variants[0]; v++) {
        size_t index = v / 2;
        test_run run = {.variant = variants[index], .twice = true, .pretend = v % 2 ? &gpu : NULL};
        char text[256];
        if (v % 2 && (!opencl || !as_gpu)) continue;
        test_problem_fill(&test, 11 + v);
        ck_assert_msg(test_problem_run(device, &test, &run, &error) == MCL_OK, "%s %s: %s", what, variants[index], error.text);
        served[index] += !strcmp(run.served_by, variants[index]);
        double worst = test_problem_check(&test, NULL, 100000, text);
        ck_assert_msg(worst <= 1, "%s, %s %s (%s): %g bounds: %s", what, mcl__op_get(problem->op)->name, run.served_by,
                      v % 2 ? "as a GPU" : "as it is", worst, text);
        test_problem_free(&test);
    }
}

static void add_codes(mcl__problem *problem, int rank, const int *size)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) test_problem_code(problem, codes[i], rank, size);
}

static mcl__problem conv_problem(const shape_row *r, mcl__op_kind op)
{
    mcl__problem p = {.op = op};
    p.attrs.conv.KH = r->KH, p.attrs.conv.KW = r->KW, p.attrs.conv.stride_h = r->stride_h, p.attrs.conv.stride_w = r->stride_w;
    p.attrs.conv.pad_h = r->pad_h, p.attrs.conv.pad_w = r->pad_w, p.attrs.conv.dilation_h = r->dilation_h;
    p.attrs.conv.dilation_w = r->dilation_w, p.attrs.conv.groups = r->groups, p.attrs.conv.H = r->H, p.attrs.conv.W = r->W;
    int OH = (r->H + 2 * r->pad_h - r->dilation_h * (r->KH - 1) - 1) / r->stride_h + 1;
    int OW = (r->W + 2 * r->pad_w - r->dilation_w * (r->KW - 1) - 1) / r->stride_w + 1;
    if (op != MCL__OP_conv2d_bwd_data) test_problem_input(&p, MCL_F32, TEST_SHAPE(r->N, r->H, r->W, r->C));
    if (op != MCL__OP_conv2d) test_problem_input(&p, MCL_F32, TEST_SHAPE(r->N, OH, OW, r->K));
    if (op != MCL__OP_conv2d_bwd_weight) test_problem_input(&p, MCL_F32, TEST_SHAPE(r->KH, r->KW, r->C / r->groups, r->K));
    if (op == MCL__OP_conv2d && r->N % 2) add_codes(&p, TEST_SHAPE(r->N, OH, OW, r->K));
    if (op == MCL__OP_conv2d_bwd_data && r->N == 3) add_codes(&p, TEST_SHAPE(r->N, r->H, r->W, r->C));
    return p;
}

START_TEST(convolution)
{
    const shape_row *r = &rows[_i];
    char what[64];
    snprintf(what, sizeof what, "row %d", _i);
    for (int pass = 0; pass < 3; pass++) {
        mcl__problem problem = conv_problem(r, (mcl__op_kind)(MCL__OP_conv2d + pass));
        run_variants(&problem, what, r->N == 2 && r->KH == 3);
    }
}
END_TEST

START_TEST(dense)
{
    int R = dense_rows[_i].rows, C = dense_rows[_i].C, K = dense_rows[_i].K;
    char what[64];
    snprintf(what, sizeof what, "dense row %d", _i);
    mcl__problem y = {.op = MCL__OP_dense}, dx = {.op = MCL__OP_dense_bwd_data}, dw = {.op = MCL__OP_dense_bwd_weight};
    test_problem_input(&y, MCL_F32, TEST_SHAPE(R, C));
    test_problem_input(&y, MCL_F32, TEST_SHAPE(C, K));
    if (_i == 1) add_codes(&y, TEST_SHAPE(R, K));
    run_variants(&y, what, _i == 3);
    test_problem_input(&dx, MCL_F32, TEST_SHAPE(R, K));
    test_problem_input(&dx, MCL_F32, TEST_SHAPE(C, K));
    run_variants(&dx, what, _i == 3);
    test_problem_input(&dw, MCL_F32, TEST_SHAPE(R, C));
    test_problem_input(&dw, MCL_F32, TEST_SHAPE(R, K));
    run_variants(&dw, what, _i == 3);
}
END_TEST

static mcl_status infer(mcl__op_kind op, mcl__shape first, mcl__shape second, mcl__attrs attrs, mcl_error *error)
{
    mcl__problem p = {.op = op, .attrs = attrs, .inputs = 2, .in = {first, second}};
    *error = (mcl_error){0};
    return mcl__op_get(op)->infer(&p, error);
}

/* Impossible shapes: the text has both. */
START_TEST(impossible_shapes)
{
    mcl__attrs attrs = {.conv = {.KH = 3, .KW = 3, .stride_h = 1, .stride_w = 1, .dilation_h = 1, .dilation_w = 1, .groups = 1}};
    mcl__shape x = {4, {2, 8, 8, 4}}, w = {4, {3, 3, 5, 6}};
    mcl_error error;
    ck_assert_int_eq(infer(MCL__OP_conv2d, x, w, attrs, &error), MCL_ERROR_SHAPE);
    ck_assert_ptr_nonnull(strstr(error.text, "(2, 8, 8, 4)"));
    ck_assert_ptr_nonnull(strstr(error.text, "(3, 3, 5, 6)"));
    w.d[2] = 4;
    ck_assert_int_eq(infer(MCL__OP_conv2d, x, w, attrs, &error), MCL_OK);
    x.d[1] = 2;
    ck_assert_int_eq(infer(MCL__OP_conv2d, x, w, attrs, &error), MCL_ERROR_SHAPE);
    x.d[1] = 8;
    attrs.conv.groups = 3;
    ck_assert_int_eq(infer(MCL__OP_conv2d, x, w, attrs, &error), MCL_ERROR_SHAPE);
    attrs.conv.groups = 1;
    attrs.conv.stride_h = 0;
    ck_assert_int_eq(infer(MCL__OP_conv2d, x, w, attrs, &error), MCL_ERROR_INVALID);
    attrs.conv.stride_h = 1;
    attrs.conv.H = 9, attrs.conv.W = 8;
    ck_assert_int_eq(infer(MCL__OP_conv2d_bwd_data, (mcl__shape){4, {2, 6, 6, 6}}, w, attrs, &error), MCL_ERROR_SHAPE);
    ck_assert_int_eq(infer(MCL__OP_conv2d_bwd_weight, x, (mcl__shape){4, {2, 5, 6, 6}}, attrs, &error), MCL_ERROR_SHAPE);
    ck_assert_int_eq(infer(MCL__OP_dense, (mcl__shape){2, {4, 10}}, (mcl__shape){2, {11, 3}}, attrs, &error), MCL_ERROR_SHAPE);
    ck_assert_ptr_nonnull(strstr(error.text, "(4, 10)"));
    ck_assert_ptr_nonnull(strstr(error.text, "(11, 3)"));
    mcl__shape large = {4, {30000, 300, 300, 1}};
    ck_assert_int_eq(infer(MCL__OP_conv2d, large, (mcl__shape){4, {3, 3, 1, 6}}, attrs, &error), MCL_ERROR_SHAPE);
}
END_TEST

/* Runs the suite on one device; -1: no such device. */
static int run_on(const char *selector, const char *gemm)
{
    mcl_error error = {0};
    mcl_device_options options = {.gemm = gemm};
    if (mcl_device_open(selector, &options, &device, &error) != MCL_OK) {
        fprintf(stderr, "SKIPPED on %s: %s\n", selector, error.text);
        return -1;
    }
    Suite *suite = suite_create(mcl_device_get_info(device)->name);
    TCase *tcase = tcase_create("conv2d");
    tcase_add_loop_test(tcase, convolution, 0, (int)(sizeof rows / sizeof rows[0]));
    tcase_add_loop_test(tcase, dense, 0, (int)(sizeof dense_rows / sizeof dense_rows[0]));
    tcase_add_test(tcase, impossible_shapes);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    mcl_device_close(device);
    return failed;
}

int main(void)
{
    mcl__ops_register_native();
    int native = run_on("native", NULL), opencl = run_on("cpu", "own"), missing = 0;
    for (size_t v = 0; opencl >= 0 && v < sizeof variants / sizeof variants[0]; v++)
        if (served[v] == 0) fprintf(stderr, "variant %s never served\n", variants[v]), missing++;
    return native != 0 || opencl > 0 || missing > 0;
}
