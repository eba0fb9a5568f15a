/* Shapes that layers infer, and what they refuse, with the layer's name and the shapes. */
#include "nn/layer.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

static mcl_network *net;
static mcl_error error;
static mcl_tensor x, flat;

static void start(void)
{
    net = mcl_network_create("test");
    error = (mcl_error){0};
    x = mcl_input(net, 12, 10, 6);
    flat = mcl_flatten(net, x, &(mcl_simple_options){"flat"});
}

static void stop(void)
{
    mcl_network_destroy(net);
}

static void expect_shape(mcl_tensor y, int rank, int a, int b, int c)
{
    ck_assert_msg(y >= 0, "%s", net->error.text);
    mcl__shape shape = net->layer[y].shape, expected = {rank, {a, b, c}};
    char text[2][64];
    ck_assert_msg(mcl__shape_equal(shape, expected), "%s, not %s", mcl__shape_text(shape, text[0]),
                  mcl__shape_text(expected, text[1]));
}

START_TEST(shapes)
{
    expect_shape(flat, 1, 720, 0, 0);
    expect_shape(mcl_conv2d(net, x, &(mcl_conv2d_options){.filters = 8, .kernel = 3}), 3, 10, 8, 8);
    expect_shape(mcl_conv2d(net, x, &(mcl_conv2d_options){.filters = 8, .kernel = 3, .stride = 2, .padding = 1}), 3, 6, 5, 8);
    expect_shape(mcl_conv2d(net, x, &(mcl_conv2d_options){.filters = 8, .kernel = 1, .kernel_w = 7, .stride_w = 3}), 3, 12, 2, 8);
    expect_shape(mcl_conv2d(net, x, &(mcl_conv2d_options){.filters = 8, .kernel = 3, .padding = 1, .kernel_w = 1, .padding_w = -1}),
                 3, 12, 10, 8);
    expect_shape(mcl_conv2d(net, x, &(mcl_conv2d_options){.filters = 6, .kernel = 3, .dilation = 2, .dilation_w = 4, .groups = 6}),
                 3, 8, 2, 6);
    expect_shape(mcl_max_pool(net, x, &(mcl_pool_options){.kernel = 3}), 3, 4, 3, 6);
    expect_shape(mcl_max_pool(net, x, &(mcl_pool_options){.kernel = 3, .stride = 2, .padding = 1}), 3, 6, 5, 6);
    expect_shape(mcl_avg_pool(net, x, &(mcl_pool_options){.kernel = 1, .stride = 2}), 3, 6, 5, 6);
    expect_shape(mcl_avg_pool(net, x, &(mcl_pool_options){.kernel = 2, .kernel_w = 5}), 3, 6, 2, 6);
    expect_shape(mcl_global_avg_pool(net, x, NULL), 3, 1, 1, 6);
    expect_shape(mcl_batch_norm(net, x, NULL), 3, 12, 10, 6);
    expect_shape(mcl_activation(net, flat, NULL), 1, 720, 0, 0);
    expect_shape(mcl_dropout(net, x, NULL), 3, 12, 10, 6);
    expect_shape(mcl_add(net, x, x, NULL), 3, 12, 10, 6);
    expect_shape(mcl_concat(net, (mcl_tensor[]){x, x, x}, 3, NULL), 3, 12, 10, 18);
    expect_shape(mcl_slice(net, x, &(mcl_slice_options){.y = 2, .channel = 1, .width = 4, .channels = 3}), 3, 10, 4, 3);
    expect_shape(mcl_pad(net, x, &(mcl_pad_options){.top = 1, .right = 2, .channels_before = 3, .channels_after = 4}), 3, 13, 12,
                 13);
    expect_shape(mcl_dense(net, flat, &(mcl_dense_options){.units = 7}), 1, 7, 0, 0);
    ck_assert_str_eq(net->layer[2].name, "conv2d_1");
    ck_assert_str_eq(net->layer[4].name, "conv2d_3");
}
END_TEST

/* Each makes one bad layer and gives what the message must have. */
static const char *big_kernel(void)
{
    mcl_conv2d(net, x, &(mcl_conv2d_options){.name = "c", .filters = 8, .kernel = 3, .kernel_w = 11});
    return "layer \"c\" (conv2d): a window of (3, 11) with padding (0, 0) does not fit the input (12, 10, 6)";
}
static const char *dilated_kernel(void)
{
    mcl_conv2d(net, x, &(mcl_conv2d_options){.name = "c", .filters = 8, .kernel = 3, .dilation = 7});
    return "layer \"c\" (conv2d): a window of (3, 3), dilation (7, 7) with padding (0, 0) does not fit the input (12, 10, 6)";
}
static const char *bad_groups(void)
{
    mcl_conv2d(net, x, &(mcl_conv2d_options){.name = "c", .filters = 8, .kernel = 3, .groups = 4});
    return "4 groups divide neither or only one of the channels of the input (12, 10, 6) and 8 filters";
}
static const char *no_filters(void)
{
    mcl_conv2d(net, x, &(mcl_conv2d_options){.name = "c", .kernel = 3});
    return "layer \"c\" (conv2d): filters is missing";
}
static const char *no_options(void)
{
    mcl_conv2d(net, x, NULL);
    return "layer \"conv2d_1\" (conv2d): filters is missing";
}
static const char *negative_stride(void)
{
    mcl_conv2d(net, x, &(mcl_conv2d_options){.name = "c", .filters = 1, .kernel = 3, .stride = -1});
    return "stride is -1: it must be 1 to 16777216";
}
static const char *huge_weight(void)
{
    mcl_conv2d(net, x, &(mcl_conv2d_options){.name = "c", .filters = 1 << 24, .kernel = 8});
    return "the weight (8, 8, 6, 16777216) for the input (12, 10, 6) has 2^31 elements or more";
}
static const char *huge_output(void)
{
    mcl_pad(net, x, &(mcl_pad_options){.name = "p", .top = 1 << 23, .left = 1 << 23});
    return "layer \"p\" (pad): the output (8388620, 8388618, 6) is not a shape";
}
static const char *conv_of_vector(void)
{
    mcl_conv2d(net, flat, &(mcl_conv2d_options){.name = "c", .filters = 8, .kernel = 3});
    return "layer \"c\" (conv2d): wants an input (H, W, C), but has (720)";
}
static const char *dense_of_picture(void)
{
    mcl_dense(net, x, &(mcl_dense_options){.name = "d", .units = 3});
    return "layer \"d\" (dense): wants an input (C), but has (12, 10, 6): flatten it first";
}
static const char *bad_add(void)
{
    mcl_add(net, x, flat, &(mcl_simple_options){"a"});
    return "layer \"a\" (add): adds tensors of different shapes, (12, 10, 6) and (720)";
}
static const char *bad_concat(void)
{
    mcl_tensor y = mcl_max_pool(net, x, &(mcl_pool_options){.kernel = 2});
    mcl_concat(net, (mcl_tensor[]){x, y}, 2, &(mcl_simple_options){"a"});
    return "layer \"a\" (concat): joins channels of different shapes, (12, 10, 6) and (6, 5, 6)";
}
static const char *empty_concat(void)
{
    mcl_concat(net, NULL, 0, &(mcl_simple_options){"a"});
    return "layer \"a\" (concat): joins 1 to 16 tensors, not 0";
}
static const char *bad_slice(void)
{
    mcl_slice(net, x, &(mcl_slice_options){.name = "s", .y = 10, .height = 3});
    return "layer \"s\" (slice): the part (3, 0, 0) from (10, 0, 0) is not inside the input (12, 10, 6)";
}
static const char *slice_of_flat(void)
{
    mcl_slice(net, flat, &(mcl_slice_options){.name = "s", .channel = 10});
    return "layer \"s\" (slice): its input is a flattened (12, 10, 6): do this before the flatten";
}
static const char *pool_padding(void)
{
    mcl_max_pool(net, x, &(mcl_pool_options){.name = "p", .kernel = 2, .padding = 2});
    return "padding (2, 2) is more than half of the kernel (2, 2)";
}
static const char *large_pool(void)
{
    mcl_tensor y = mcl_pad(net, x, &(mcl_pad_options){.top = 100, .left = 100});
    mcl_max_pool(net, y, &(mcl_pool_options){.name = "p", .kernel = 17});
    return "layer \"p\" (max_pool): a kernel of (17, 17) has more than 256 pixels";
}
static const char *bad_drop(void)
{
    mcl_dropout(net, x, &(mcl_dropout_options){.name = "d", .drop = 1});
    return "layer \"d\" (dropout): drop is 1: it must be in (0, 1)";
}
static const char *bad_slope(void)
{
    mcl_activation(net, x, &(mcl_activation_options){.name = "a", .kind = MCL_LEAKY_RELU, .slope = -1});
    return "slope is -1";
}
static const char *bad_eps(void)
{
    mcl_batch_norm(net, x, &(mcl_batch_norm_options){.name = "b", .eps = -1});
    return "eps is -1";
}
static const char *taken_name(void)
{
    mcl_flatten(net, x, &(mcl_simple_options){"flat"});
    return "layer \"flat\" (flatten): the name is taken";
}
static const char *odd_name(void)
{
    mcl_flatten(net, x, &(mcl_simple_options){"a/b"});
    return "a name has letters";
}
static const char *no_tensor(void)
{
    mcl_flatten(net, 99, &(mcl_simple_options){"f"});
    return "layer \"f\" (flatten): its input 99 is no tensor of this network";
}
static const char *second_input(void)
{
    mcl_input(net, 1, 1, 1);
    return "a network has one input";
}
static const char *picture_logits(void)
{
    return "layer \"input\" (input): logits are (classes), but this is (12, 10, 6): flatten it";
}
static const char *unused(void)
{
    mcl_tensor y = mcl_dense(net, flat, &(mcl_dense_options){.name = "d", .units = 3});
    mcl_dense(net, flat, &(mcl_dense_options){.name = "e", .units = 3});
    ck_assert_int_eq(mcl_network_finish(net, y, &error), MCL_ERROR_INVALID);
    return "layer \"e\" (dense): nothing reads its output";
}

static const char *(*const bad[])(void) = {
    big_kernel, dilated_kernel, bad_groups, no_filters, no_options, negative_stride, huge_weight, huge_output, conv_of_vector,
    dense_of_picture, bad_add, bad_concat, empty_concat, bad_slice, slice_of_flat, pool_padding, large_pool, bad_drop, bad_slope,
    bad_eps, taken_name, odd_name, no_tensor, second_input, picture_logits, unused,
};

START_TEST(refuses)
{
    const char *expected = bad[_i]();
    mcl_status status = mcl_network_finish(net, x, &error);
    ck_assert_int_ne(status, MCL_OK);
    ck_assert_msg(strstr(error.text, expected) != NULL, "\"%s\" lacks \"%s\"", error.text, expected);
    ck_assert_int_eq(mcl_network_classes(net), 0);
}
END_TEST

START_TEST(first_failure_stays)
{
    ck_assert_int_lt(mcl_dense(net, x, &(mcl_dense_options){.name = "first", .units = 3}), 0);
    ck_assert_int_lt(mcl_dense(net, -1, &(mcl_dense_options){.name = "second", .units = 3}), 0);
    ck_assert_int_eq(mcl_network_finish(net, -1, &error), MCL_ERROR_SHAPE);
    ck_assert_ptr_nonnull(strstr(error.text, "\"first\""));
    ck_assert_ptr_null(strstr(error.text, "\"second\""));
}
END_TEST

/* Checkpoints hold the name as JSON. */
START_TEST(long_names_are_cut_between_characters)
{
    static const struct { const char *given, *kept; } names[] = {
        {"caf\xe9", "caf?"},
        {"x\xe5\xb1\x82", "x\xe5\xb1\x82"},
        {"a12345678901234567890123456789012345678901234567890123456789\xe5\xb1\x82",
         "a12345678901234567890123456789012345678901234567890123456789\xe5\xb1\x82"},
        {"ab12345678901234567890123456789012345678901234567890123456789\xe5\xb1\x82",
         "ab12345678901234567890123456789012345678901234567890123456789"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        mcl_network *network = mcl_network_create(names[i].given);
        ck_assert_str_eq(mcl_network_name(network), names[i].kept);
        mcl_network_destroy(network);
    }
}
END_TEST

START_TEST(finished_is_finished)
{
    mcl_tensor y = mcl_dense(net, flat, &(mcl_dense_options){.units = 3});
    ck_assert_int_eq(mcl_network_finish(net, y, &error), MCL_OK);
    ck_assert_int_eq(mcl_network_classes(net), 3);
    ck_assert_int_eq(mcl_network_parameter_count(net), 720 * 3 + 3);
    ck_assert_int_lt(mcl_flatten(net, x, NULL), 0);
    mcl_network_destroy(NULL);
}
END_TEST

START_TEST(summary_has_every_layer)
{
    mcl_tensor y = mcl_dense(net, flat, &(mcl_dense_options){.name = "head", .units = 3});
    ck_assert_int_eq(mcl_network_finish(net, y, &error), MCL_OK);
    char *text = mcl_network_summary(net, 32);
    ck_assert_ptr_nonnull(strstr(text, "head"));
    ck_assert_ptr_nonnull(strstr(text, "(12, 10, 6)"));
    ck_assert_ptr_nonnull(strstr(text, "parameters: 2163 (8.45 KiB)"));
    ck_assert_ptr_nonnull(strstr(text, "forward: 4.32 k"));
    ck_assert_ptr_nonnull(strstr(text, "a training step of 32 samples"));
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nn/layers");
    TCase *tests = tcase_create("layers");
    tcase_add_checked_fixture(tests, start, stop);
    tcase_add_test(tests, shapes);
    tcase_add_loop_test(tests, refuses, 0, COUNT(bad));
    tcase_add_test(tests, first_failure_stays);
    tcase_add_test(tests, long_names_are_cut_between_characters);
    tcase_add_test(tests, finished_is_finished);
    tcase_add_test(tests, summary_has_every_layer);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
