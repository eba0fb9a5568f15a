/* The native device: memory, registered kernels, copies, fills, fences and the profile. */
#include "device/device.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define OK(expression) ck_assert_int_eq(expression, MCL_OK)

typedef struct pair { int32_t n; float offset; } pair;

/* y[i] = x[i] * factor + offset, i < n, and a count of 7 beyond */
static void all_kinds(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer;
    float *y = arg[1].pointer, *scratch = arg[5].pointer;
    const pair *p = arg[4].pointer;
    for (int i = 0; i < p->n; i++) scratch[i] = x[i] * arg[3].f32;
    for (int i = 0; i < p->n; i++) y[i] = scratch[i] + p->offset;
    y[p->n] = (float)arg[2].i32;
}

static const mcl__native_kernel kernels[] = {{"test_all_kinds", all_kinds}};

static mcl_device *open_native(const mcl_device_options *options)
{
    mcl_device *device;
    mcl_error error = {0};
    mcl__native_register(kernels, 1);
    mcl__native_register(kernels, 1); /* twice does nothing */
    mcl_status status = mcl_device_open("native", options, &device, &error);
    ck_assert_msg(status == MCL_OK, "%s", error.text);
    return device;
}

START_TEST(describes_itself)
{
    mcl_device *device = open_native(NULL);
    const mcl_device_info *info = mcl_device_get_info(device);
    ck_assert_int_eq(info->type, MCL_DEVICE_NATIVE);
    ck_assert_str_eq(info->selector, "native");
    ck_assert_str_ne(info->name, "");
    ck_assert_uint_gt(info->memory, 1 << 20);
    ck_assert_uint_ge(info->compute_units, 1);
    ck_assert_int_ge(device->threads, 1);
    ck_assert_uint_eq(info->alignment, 64);
    mcl_device_close(device);
}
END_TEST

START_TEST(runs_a_kernel_with_every_kind_of_argument)
{
    mcl_device *device = open_native(&(mcl_device_options){.profiling = true});
    float values[8] = {1, 2, 3, 4, 5, 6, 7, 8}, result[5];
    mcl_buffer *buffer;
    OK(mcl_buffer_create(device, 256, &buffer));
    OK(mcl_buffer_write(buffer, 64, sizeof values, values));
    mcl__kernel *kernel, *again;
    OK(mcl__kernel_get(device, &(mcl__kernel_key){"any", "test_all_kinds", NULL, NULL}, &kernel));
    OK(mcl__kernel_get(device, &(mcl__kernel_key){"any", "test_all_kinds", NULL, NULL}, &again));
    ck_assert_ptr_eq(kernel, again);
    pair p = {4, 0.5f};
    mcl__arg args[] = {{MCL__ARG_VIEW, {.view = {buffer, 64, 32}}}, {MCL__ARG_VIEW, {.view = {buffer, 128, 32}}},
                       {MCL__ARG_I32, {.i32 = 7}},                  {MCL__ARG_F32, {.f32 = 2.0f}},
                       {MCL__ARG_BLOB, {.blob = {&p, sizeof p}}},   {MCL__ARG_LOCAL, {.local = 16}}};
    mcl__launch *launch;
    const size_t global = 4;
    OK(mcl__launch_kernel(device, kernel, "label", args, 6, 1, &global, NULL, &launch));
    p.offset = 100; /* the blob was copied */
    for (int i = 0; i < 3; i++) OK(mcl__launch_run(device, launch));
    OK(mcl_buffer_read(buffer, 128, sizeof result, result));
    for (int i = 0; i < 4; i++) ck_assert_float_eq(result[i], values[i] * 2 + 0.5f);
    ck_assert_float_eq(result[4], 7);
    mcl_kernel_time *rows;
    int count;
    OK(mcl_device_profile(device, &rows, &count));
    ck_assert_int_eq(count, 1);
    ck_assert_str_eq(rows[0].kernel, "label");
    ck_assert_uint_eq(rows[0].launches, 3);
    ck_assert(rows[0].seconds >= 0);
    free(rows);
    mcl__launch_destroy(device, launch);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

START_TEST(names_an_unknown_kernel)
{
    mcl_device *device = open_native(NULL);
    mcl__kernel *kernel;
    ck_assert_int_eq(mcl__kernel_get(device, &(mcl__kernel_key){"x", "no_such_kernel", NULL, NULL}, &kernel), MCL_ERROR_BUILD);
    ck_assert_ptr_nonnull(strstr(mcl_device_error(device)->text, "no_such_kernel"));
    mcl_device_close(device);
}
END_TEST

START_TEST(refuses_more_memory_than_there_is)
{
    mcl_device *device = open_native(NULL);
    mcl_buffer *buffer;
    ck_assert_int_eq(mcl_buffer_create(device, UINT64_MAX, &buffer), MCL_ERROR_MEMORY);
    mcl_device_close(device);
    device = open_native(NULL);
    ck_assert_int_eq(mcl_buffer_create(device, mcl_device_get_info(device)->memory + 1, &buffer), MCL_ERROR_MEMORY);
    mcl_device_close(device);
}
END_TEST

START_TEST(copies_and_fills)
{
    mcl_device *device = open_native(NULL);
    mcl_buffer *buffer;
    mcl__launch *fill, *copy;
    mcl__fence *fence;
    uint32_t words[32];
    OK(mcl_buffer_create(device, sizeof words, &buffer));
    OK(mcl__launch_fill(device, "fill", (mcl__view){buffer, 0, 64}, 0x12345678u, &fill));
    OK(mcl__launch_copy(device, "copy", (mcl__view){buffer, 0, 64}, (mcl__view){buffer, 64, 64}, &copy));
    OK(mcl__launch_run(device, fill));
    OK(mcl__launch_run(device, copy));
    OK(mcl__fence_create(device, &fence));
    OK(mcl__fence_wait(device, fence));
    OK(mcl__read_async(device, (mcl__view){buffer, 0, sizeof words}, words));
    OK(mcl__fence_record(device, fence));
    OK(mcl__fence_wait(device, fence));
    for (int i = 0; i < 32; i++) ck_assert_uint_eq(words[i], 0x12345678u);
    mcl__fence_destroy(device, fence);
    mcl__launch_destroy(device, copy);
    mcl__launch_destroy(device, fill);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

START_TEST(zeros_are_zeros)
{
    mcl_device *device = open_native(NULL);
    mcl_buffer *buffer;
    uint32_t words[64] = {1};
    OK(mcl__buffer_create_zeros(device, sizeof words, &buffer));
    OK(mcl_buffer_read(buffer, 0, sizeof words, words));
    for (int i = 0; i < 64; i++) ck_assert_uint_eq(words[i], 0);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

START_TEST(maps_in_place)
{
    mcl_device *device = open_native(NULL);
    mcl_buffer *buffer;
    uint32_t word = 0;
    void *host;
    OK(mcl_buffer_create(device, 256, &buffer));
    mcl__view view = {buffer, 64, sizeof word};
    OK(mcl__map(device, view, &host));
    *(uint32_t *)host = 0xabcdu;
    OK(mcl__unmap(device, view, host));
    OK(mcl_buffer_read(buffer, 64, sizeof word, &word));
    ck_assert_uint_eq(word, 0xabcdu);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

START_TEST(has_no_library)
{
    mcl_device *device = open_native(NULL);
    const char *why = NULL;
    ck_assert(!mcl__gemm_available(device, &why));
    ck_assert_ptr_nonnull(why);
    mcl_device_close(device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("native device");
    TCase *tcase = tcase_create("native");
    tcase_add_test(tcase, describes_itself);
    tcase_add_test(tcase, runs_a_kernel_with_every_kind_of_argument);
    tcase_add_test(tcase, names_an_unknown_kernel);
    tcase_add_test(tcase, refuses_more_memory_than_there_is);
    tcase_add_test(tcase, copies_and_fills);
    tcase_add_test(tcase, zeros_are_zeros);
    tcase_add_test(tcase, maps_in_place);
    tcase_add_test(tcase, has_no_library);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK); /* OpenMP's threads do not survive a fork */
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
