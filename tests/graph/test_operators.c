/* Operators by hand against plain loops: values, gradients as adjoints, shapes and refusals. */
#include "nets.h"
#include <monocle/operators.h>

/* An array with a buffer of its own; filled with numbers drawn from `seed`, or left alone when it is 0. */
typedef struct owned { mcl_array array; float *host; int count; } owned;

static owned make(mcl_device *device, uint32_t seed, int rank, int a, int b, int c, int d)
{
    owned made = {.array = {.rank = rank, .size = {a, b, c, d}}, .count = 1};
    for (int i = 0; i < rank; i++) made.count *= made.array.size[i];
    made.host = calloc((size_t)made.count, sizeof *made.host);
    ck_assert_ptr_nonnull(made.host);
    for (int i = 0; seed && i < made.count; i++) {
        seed = seed * 1664525u + 1013904223u;
        made.host[i] = (float)(int32_t)seed * 0x1p-31f;
    }
    ck_assert_int_eq(mcl_buffer_create(device, (uint64_t)made.count * sizeof(float), &made.array.buffer), MCL_OK);
    ck_assert_int_eq(mcl_buffer_write(made.array.buffer, 0, (uint64_t)made.count * sizeof(float), made.host), MCL_OK);
    return made;
}

static const float *fetch(owned *array)
{
    ck_assert_int_eq(mcl_buffer_read(array->array.buffer, 0, (uint64_t)array->count * sizeof(float), array->host), MCL_OK);
    return array->host;
}

static void drop(owned *arrays, int count)
{
    for (int i = 0; i < count; i++) {
        mcl_buffer_destroy(arrays[i].array.buffer);
        free(arrays[i].host);
    }
}

static double dot(const owned *a, const owned *b)
{
    double sum = 0;
    for (int i = 0; i < a->count; i++) sum += (double)a->host[i] * (double)b->host[i];
    return sum;
}

/* Element (n, oh, ow, k) of a convolution with stride (2, 1), padding (1, 0), dilation (1, 2) and two groups. */
static double conv_element(const owned *x, const owned *w, const owned *bias, int n, int oh, int ow, int k)
{
    const int *sx = x->array.size, *sw = w->array.size;
    double sum = bias->host[k];
    for (int r = 0; r < sw[0]; r++)
        for (int s = 0; s < sw[1]; s++)
            for (int c = 0; c < sw[2]; c++) {
                int h = oh * 2 - 1 + r, v = ow + 2 * s, channel = k / (sw[3] / 2) * sw[2] + c;
                if (h < 0 || h >= sx[1] || v < 0 || v >= sx[2]) continue;
                sum += (double)x->host[((n * sx[1] + h) * sx[2] + v) * sx[3] + channel] *
                       (double)w->host[((r * sw[1] + s) * sw[2] + c) * sw[3] + k];
            }
    return sum;
}

START_TEST(convolution_and_its_gradients)
{
    TEST_DEVICE(device);
    enum { X, WEIGHT, BIAS, Y, DY, DX, DW, ALL };
    mcl_error error = {0};
    owned a[ALL] = {make(device, 1, 4, 2, 7, 9, 6), make(device, 2, 4, 3, 3, 3, 4), make(device, 3, 1, 4, 0, 0, 0),
                    make(device, 0, 4, 2, 4, 5, 4), make(device, 4, 4, 2, 4, 5, 4), make(device, 0, 4, 2, 7, 9, 6),
                    make(device, 0, 4, 3, 3, 3, 4)};
    mcl_conv2d_options options = {.stride = 2, .stride_w = 1, .padding = 1, .padding_w = -1, .dilation_w = 2, .groups = 2};
    EXPECT(mcl_conv2d_forward(a[X].array, a[WEIGHT].array, &a[BIAS].array, &options, a[Y].array, &error), error);
    fetch(&a[Y]);
    for (int i = 0; i < a[Y].count; i++) {
        double expected = conv_element(&a[X], &a[WEIGHT], &a[BIAS], i / 80, i / 20 % 4, i / 4 % 5, i % 4);
        ck_assert_double_eq_tol(a[Y].host[i], expected, 1e-5);
    }
    /* sum(y * dy), without the bias, is linear in x and in w: it equals sum(x * dx) and sum(w * dw). */
    EXPECT(mcl_conv2d_forward(a[X].array, a[WEIGHT].array, NULL, &options, a[Y].array, &error), error);
    EXPECT(mcl_conv2d_backward_data(a[DY].array, a[WEIGHT].array, &options, a[DX].array, &error), error);
    EXPECT(mcl_conv2d_backward_weight(a[X].array, a[DY].array, &options, a[DW].array, &error), error);
    for (int i = Y; i < ALL; i++) fetch(&a[i]);
    ck_assert_double_eq_tol(dot(&a[Y], &a[DY]), dot(&a[X], &a[DX]), 1e-4);
    ck_assert_double_eq_tol(dot(&a[Y], &a[DY]), dot(&a[WEIGHT], &a[DW]), 1e-4);
    ck_assert_double_ne(dot(&a[Y], &a[DY]), 0);
    drop(a, ALL);
}
END_TEST

START_TEST(dense_and_its_gradients)
{
    TEST_DEVICE(device);
    enum { X, WEIGHT, BIAS, Y, DY, DX, DW, DBIAS, ALL };
    mcl_error error = {0};
    owned a[ALL] = {make(device, 1, 2, 5, 7, 0, 0), make(device, 2, 2, 7, 3, 0, 0), make(device, 3, 1, 3, 0, 0, 0),
                    make(device, 0, 2, 5, 3, 0, 0), make(device, 4, 2, 5, 3, 0, 0), make(device, 0, 2, 5, 7, 0, 0),
                    make(device, 0, 2, 7, 3, 0, 0), make(device, 0, 1, 3, 0, 0, 0)};
    EXPECT(mcl_dense_forward(a[X].array, a[WEIGHT].array, &a[BIAS].array, a[Y].array, &error), error);
    fetch(&a[Y]);
    for (int i = 0; i < 15; i++) {
        double sum = a[BIAS].host[i % 3];
        for (int c = 0; c < 7; c++) sum += (double)a[X].host[i / 3 * 7 + c] * (double)a[WEIGHT].host[c * 3 + i % 3];
        ck_assert_double_eq_tol(a[Y].host[i], sum, 1e-5);
    }
    EXPECT(mcl_dense_forward(a[X].array, a[WEIGHT].array, NULL, a[Y].array, &error), error);
    EXPECT(mcl_dense_backward_data(a[DY].array, a[WEIGHT].array, a[DX].array, &error), error);
    EXPECT(mcl_dense_backward_weight(a[X].array, a[DY].array, a[DW].array, &error), error);
    EXPECT(mcl_bias_backward(a[DY].array, a[DBIAS].array, &error), error);
    for (int i = Y; i < ALL; i++) fetch(&a[i]);
    ck_assert_double_eq_tol(dot(&a[Y], &a[DY]), dot(&a[X], &a[DX]), 1e-4);
    ck_assert_double_eq_tol(dot(&a[Y], &a[DY]), dot(&a[WEIGHT], &a[DW]), 1e-4);
    for (int k = 0; k < 3; k++) {
        double sum = 0;
        for (int r = 0; r < 5; r++) sum += (double)a[DY].host[r * 3 + k];
        ck_assert_double_eq_tol(a[DBIAS].host[k], sum, 1e-5);
    }
    drop(a, ALL);
}
END_TEST

START_TEST(pointwise)
{
    TEST_DEVICE(device);
    enum { X, Z, Y, DX, ALL };
    mcl_error error = {0};
    owned a[ALL] = {make(device, 5, 3, 3, 4, 5, 0), make(device, 6, 3, 3, 4, 5, 0), make(device, 0, 3, 3, 4, 5, 0),
                    make(device, 0, 3, 3, 4, 5, 0)};
    mcl_activation_options leaky = {.kind = MCL_LEAKY_RELU}, tangent = {.kind = MCL_TANH}, none = {.kind = (mcl_activation_kind)17};
    EXPECT(mcl_activation_forward(a[X].array, NULL, a[Y].array, &error), error);
    fetch(&a[Y]);
    for (int i = 0; i < a[X].count; i++) ck_assert_double_eq_tol(a[Y].host[i], fmax(a[X].host[i], 0), 1e-7);
    EXPECT(mcl_activation_forward(a[X].array, &leaky, a[Y].array, &error), error);
    fetch(&a[Y]);
    for (int i = 0; i < a[X].count; i++)
        ck_assert_double_eq_tol(a[Y].host[i], a[X].host[i] > 0 ? (double)a[X].host[i] : 0.01 * (double)a[X].host[i], 1e-7);
    EXPECT(mcl_activation_forward(a[X].array, &tangent, a[Y].array, &error), error);
    EXPECT(mcl_activation_backward(a[Z].array, a[Y].array, &tangent, a[DX].array, &error), error);
    fetch(&a[DX]);
    for (int i = 0; i < a[X].count; i++) {
        double y = tanh(a[X].host[i]);
        ck_assert_double_eq_tol(a[DX].host[i], a[Z].host[i] * (1 - y * y), 1e-6);
    }
    EXPECT(mcl_add_forward(a[X].array, a[Z].array, a[Y].array, &error), error);
    fetch(&a[Y]);
    for (int i = 0; i < a[X].count; i++) ck_assert_double_eq_tol(a[Y].host[i], (double)a[X].host[i] + (double)a[Z].host[i], 1e-6);
    ck_assert_int_eq(mcl_activation_forward(a[X].array, &none, a[Y].array, NULL), MCL_ERROR_INVALID);
    drop(a, ALL);
}
END_TEST

START_TEST(pools_and_softmax)
{
    TEST_DEVICE(device);
    enum { X, Y, INDEX, DX, MEAN, ALL };
    mcl_error error = {0};
    owned a[ALL] = {make(device, 7, 4, 1, 4, 4, 3), make(device, 0, 4, 1, 2, 2, 3), make(device, 0, 4, 1, 2, 2, 3),
                    make(device, 0, 4, 1, 4, 4, 3), make(device, 0, 4, 1, 1, 1, 3)};
    mcl_pool_options options = {.kernel = 2};
    EXPECT(mcl_max_pool_forward(a[X].array, &options, a[Y].array, a[INDEX].array, &error), error);
    EXPECT(mcl_max_pool_backward(a[Y].array, a[INDEX].array, &options, a[DX].array, &error), error);
    fetch(&a[Y]);
    fetch(&a[DX]);
    double squares = 0;
    for (int i = 0; i < a[Y].count; i++) {
        int h = i / 6 * 2, v = i / 3 % 2 * 2, c = i % 3;
        double most = -2;
        for (int p = 0; p < 4; p++) most = fmax(most, a[X].host[((h + p / 2) * 4 + v + p % 2) * 3 + c]);
        ck_assert_double_eq(a[Y].host[i], most);
        squares += most * most;
    }
    ck_assert_double_eq_tol(dot(&a[X], &a[DX]), squares, 1e-5);
    EXPECT(mcl_avg_pool_forward(a[X].array, &options, a[Y].array, &error), error);
    EXPECT(mcl_global_avg_pool_forward(a[X].array, a[MEAN].array, &error), error);
    fetch(&a[Y]);
    fetch(&a[MEAN]);
    for (int c = 0; c < 3; c++) {
        double mean = 0, of_means = 0;
        for (int p = 0; p < 16; p++) mean += (double)a[X].host[p * 3 + c] / 16;
        for (int p = 0; p < 4; p++) of_means += (double)a[Y].host[p * 3 + c] / 4;
        ck_assert_double_eq_tol(a[MEAN].host[c], mean, 1e-6);
        ck_assert_double_eq_tol(of_means, mean, 1e-6);
    }
    mcl_array logits = {a[X].array.buffer, 0, 2, {12, 4}}, probabilities = {a[DX].array.buffer, 0, 2, {12, 4}};
    EXPECT(mcl_softmax_forward(logits, probabilities, &error), error);
    fetch(&a[DX]);
    for (int i = 0; i < 48; i++) {
        double sum = 0;
        for (int c = 0; c < 4; c++) sum += exp(a[X].host[i / 4 * 4 + c]);
        ck_assert_double_eq_tol(a[DX].host[i], exp(a[X].host[i]) / sum, 1e-6);
    }
    drop(a, ALL);
}
END_TEST

#define REFUSES(code, expression, word) \
    do { \
        error = (mcl_error){0}; \
        ck_assert_int_eq(expression, code); \
        ck_assert_msg(strstr(error.text, word), "%s", error.text); \
    } while (0)

START_TEST(mistakes_are_refused)
{
    TEST_DEVICE(device);
    mcl_error error;
    owned a[2] = {make(device, 8, 2, 64, 64, 0, 0), make(device, 0, 2, 64, 64, 0, 0)};
    mcl_array x = a[0].array, y = a[1].array, bad;
    bad = y, bad.size[0] = 65;
    REFUSES(MCL_ERROR_INVALID, mcl_softmax_forward(x, bad, &error), "16384");
    bad = y, bad.size[0] = 63;
    REFUSES(MCL_ERROR_SHAPE, mcl_softmax_forward(x, bad, &error), "(63, 64)");
    bad = y, bad.rank = 5;
    REFUSES(MCL_ERROR_SHAPE, mcl_softmax_forward(x, bad, &error), "y");
    bad = y, bad.size[1] = 0;
    REFUSES(MCL_ERROR_SHAPE, mcl_softmax_forward(x, bad, &error), "y");
    bad = y, bad.size[0] = bad.size[1] = 1 << 20;
    REFUSES(MCL_ERROR_SHAPE, mcl_softmax_forward(x, bad, &error), "2^31");
    bad = y, bad.offset = UINT64_MAX - 3;
    REFUSES(MCL_ERROR_INVALID, mcl_softmax_forward(x, bad, &error), "y");
    bad = y, bad.buffer = NULL;
    REFUSES(MCL_ERROR_INVALID, mcl_softmax_forward(x, bad, &error), "buffer");
    REFUSES(MCL_ERROR_INVALID, mcl_softmax_forward(bad, y, &error), "buffer");
    REFUSES(MCL_ERROR_INVALID, mcl_softmax_forward(x, x, &error), "share");
    REFUSES(MCL_ERROR_SHAPE, mcl_global_avg_pool_forward(x, y, &error), "(64, 64)");
    mcl_array picture = {x.buffer, 0, 4, {1, 8, 8, 8}}, out = {y.buffer, 0, 4, {1, 8, 8, 8}};
    REFUSES(MCL_ERROR_INVALID, mcl_avg_pool_forward(picture, NULL, out, &error), "window");
    REFUSES(MCL_ERROR_INVALID, mcl_conv2d_backward_weight(picture, picture, &(mcl_conv2d_options){.padding = -1}, out, &error),
            "padding");
    uint32_t alignment = mcl_device_get_info(device)->alignment;
    if (alignment > 4) {
        bad = y, bad.size[0] = 1, bad.offset = 4;
        mcl_array row = x;
        row.size[0] = 1;
        REFUSES(MCL_ERROR_INVALID, mcl_softmax_forward(row, bad, &error), "divide");
    }
    mcl_device *other = test_device(1 - _i);
    if (other) {
        owned far = make(other, 0, 2, 64, 64, 0, 0);
        REFUSES(MCL_ERROR_INVALID, mcl_softmax_forward(x, far.array, &error), "another device");
        drop(&far, 1);
    }
    ck_assert_int_eq(mcl_device_error(device)->status, MCL_OK);
    ck_assert_int_eq(mcl_softmax_forward(x, y, NULL), MCL_OK);
    drop(a, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("operators");
    TCase *tcase = tcase_create("devices");
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, convolution_and_its_gradients, 0, DEVICES);
    tcase_add_loop_test(tcase, dense_and_its_gradients, 0, DEVICES);
    tcase_add_loop_test(tcase, pointwise, 0, DEVICES);
    tcase_add_loop_test(tcase, pools_and_softmax, 0, DEVICES);
    tcase_add_loop_test(tcase, mistakes_are_refused, 0, DEVICES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
