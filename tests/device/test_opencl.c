/* The device layer on OpenCL: selection, buffers and views, launches, fences, counters, failures, the probe. */
#include "device/opencl/opencl.h"
#include "device/peak.h"
#include "device/probe.h"
#include "fixture.h"
#include "ops/op.h"
#include <locale.h>
#include <math.h>

START_TEST(lists_native_last)
{
    mcl_device_info *devices;
    int count;
    char *notes;
    mcl_error error = {0};
    ck_assert_int_eq(mcl_device_list(&devices, &count, &notes, &error), MCL_OK);
    ck_assert_int_ge(count, 2);
    ck_assert_str_eq(devices[count - 1].selector, "native");
    ck_assert_int_ne(devices[0].type, MCL_DEVICE_NATIVE);
    ck_assert_uint_gt(devices[0].max_allocation, 0);
    ck_assert_uint_ge(devices[0].alignment, 64);
    free(devices);
    free(notes);
}
END_TEST

static void expect_open(const char *selector, const char *reason)
{
    mcl_device *device;
    mcl_error error = {0};
    mcl_status status = mcl_device_open(selector, NULL, &device, &error);
    ck_assert_msg(status == MCL_OK, "%s: %s", selector, error.text);
    ck_assert_msg(strstr(mcl_device_reason(device), reason) != NULL, "%s: reason is \"%s\"", selector,
                  mcl_device_reason(device));
    ck_assert_int_gt(device->threads, 0);
    mcl_device_close(device);
}

START_TEST(selects)
{
    mcl_device_info *devices;
    int count;
    char part[8];
    ck_assert_int_eq(mcl_device_list(&devices, &count, NULL, NULL), MCL_OK);
    snprintf(part, sizeof part, "%.6s", devices[0].name);
    expect_open(devices[0].selector, "asked for as");
    expect_open(part, "whose name has");
    expect_open("native", "asked for by name");
    expect_open("NATIVE", "asked for by name");
    setenv("MONOCLE_DEVICE", "native", 1);
    expect_open(NULL, "asked for by name");
    setenv("MONOCLE_DEVICE", "", 1);
    expect_open(NULL, devices[0].type == MCL_DEVICE_GPU ? "GPU" : "no GPU");
    unsetenv("MONOCLE_DEVICE");
    free(devices);
}
END_TEST

START_TEST(refuses_what_is_not_there)
{
    static const char *const selectors[] = {"9:9", "-1:0", "no such device", "0:99"};
    for (size_t i = 0; i < COUNT(selectors); i++) {
        mcl_device *device;
        mcl_error error = {0};
        ck_assert_int_eq(mcl_device_open(selectors[i], NULL, &device, &error), MCL_ERROR_NOT_FOUND);
        ck_assert_ptr_null(device);
        ck_assert_ptr_nonnull(strstr(error.text, selectors[i]));
        ck_assert_ptr_nonnull(strstr(error.text, "native"));
    }
    mcl_device *device;
    mcl_device_options options = {.gemm = "fast"};
    mcl_error error = {0};
    ck_assert_int_eq(mcl_device_open("native", &options, &device, &error), MCL_ERROR_INVALID);
}
END_TEST

START_TEST(gpu_fails_where_there_is_none)
{
    mcl_device_info *devices;
    int count;
    bool has_gpu = false;
    ck_assert_int_eq(mcl_device_list(&devices, &count, NULL, NULL), MCL_OK);
    for (int i = 0; i < count; i++) has_gpu |= devices[i].type == MCL_DEVICE_GPU;
    free(devices);
    mcl_device *device;
    mcl_error error = {0};
    ck_assert_int_eq(mcl_device_open("gpu", NULL, &device, &error), has_gpu ? MCL_OK : MCL_ERROR_NOT_FOUND);
    mcl_device_close(device);
}
END_TEST

START_TEST(buffers_hold_bytes)
{
    mcl_device *device = open_opencl(NULL);
    mcl_buffer *buffer;
    uint8_t out[1000], in[1000];
    for (int i = 0; i < 1000; i++) in[i] = (uint8_t)(i * 7);
    CK_OK(device, mcl_buffer_create(device, 1000, &buffer));
    ck_assert_uint_eq(mcl__buffer_bytes(buffer), 1000);
    ck_assert_ptr_eq(mcl__buffer_device(buffer), device);
    CK_OK(device, mcl_buffer_write(buffer, 0, 1000, in));
    CK_OK(device, mcl_buffer_write(buffer, 17, 3, "abc"));
    CK_OK(device, mcl_buffer_read(buffer, 1, 999, out));
    memcpy(in + 17, "abc", 3);
    ck_assert_mem_eq(out, in + 1, 999);
    mcl_device_counters counters = mcl_device_get_counters(device);
    ck_assert_uint_eq(counters.allocations, 1);
    ck_assert_uint_eq(counters.waits, 3);
    ck_assert_uint_eq(counters.bytes_allocated, 1000);
    mcl_buffer_destroy(buffer);
    mcl_buffer_destroy(NULL);
    counters = mcl_device_get_counters(device);
    ck_assert_uint_eq(counters.bytes_allocated, 0);
    ck_assert_uint_eq(counters.peak_bytes_allocated, 1000);
    mcl_device_close(device);
    mcl_device_close(NULL);
}
END_TEST

/* PoCL drives GPUs, too; to buffers there, pages of the host would be far away. */
START_TEST(quirks_of_a_cpu_are_not_a_gpus)
{
    mcl_device_info info = {.platform = "Portable Computing Language", .type = MCL_DEVICE_CPU};
    const unsigned of_cpus = MCL__CL_HOST_PAGES | MCL__CL_SLEEPS | MCL__CL_BITCODE, of_both = MCL__CL_BUILTINS | MCL__CL_KEEPS_CODE;
    ck_assert_uint_eq(mcl__cl_quirks(&info), of_cpus | of_both);
    info.type = MCL_DEVICE_GPU;
    ck_assert_uint_eq(mcl__cl_quirks(&info), of_both);
}
END_TEST

/* What is written at once stays, whoever uses the pages first meanwhile. */
START_TEST(zeros_are_zeros)
{
    static uint32_t out[1 << 20];
    mcl_device *device = open_opencl(NULL);
    const size_t sizes[] = {4, 4100, 1 << 20, sizeof out};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        mcl_buffer *buffer;
        uint32_t word = 0xabcdu;
        size_t words = sizes[i] / sizeof word, at = words / 2 * sizeof word;
        CK_OK(device, mcl__buffer_create_zeros(device, sizes[i], &buffer));
        CK_OK(device, mcl_buffer_write(buffer, at, sizeof word, &word));
        CK_OK(device, mcl_buffer_read(buffer, 0, sizes[i], out));
        for (size_t w = 0; w < words; w++) ck_assert_uint_eq(out[w], w == words / 2 ? word : 0);
        mcl_buffer_destroy(buffer);
        CK_OK(device, mcl__buffer_create_zeros(device, sizes[i], &buffer));
        mcl_buffer_destroy(buffer); /* while its pages are being used first */
    }
    ck_assert_int_eq(mcl__buffer_create_zeros(device, 0, &(mcl_buffer *){NULL}), MCL_ERROR_INVALID);
    mcl_device_close(device);
}
END_TEST

/* On a CPU the host writes where kernels read; elsewhere it is told to copy. What lies beside stays. */
START_TEST(maps_in_place_on_a_cpu)
{
    mcl_device *device = open_opencl(NULL);
    uint32_t align = mcl_device_get_info(device)->alignment, words[2] = {1, 2};
    mcl_buffer *buffer;
    void *host;
    CK_OK(device, mcl_buffer_create(device, 2 * align, &buffer));
    CK_OK(device, mcl_buffer_write(buffer, align, sizeof words, words));
    mcl__view view = {buffer, align, sizeof words};
    CK_OK(device, mcl__map(device, view, &host));
    ck_assert((host != NULL) == (mcl_device_get_info(device)->type == MCL_DEVICE_CPU));
    if (host) {
        ck_assert_uint_eq(((uint32_t *)host)[1], 2);
        *(uint32_t *)host = 0xabcdu;
    }
    CK_OK(device, mcl__unmap(device, view, host));
    CK_OK(device, mcl_buffer_read(buffer, align, sizeof words, words));
    ck_assert_uint_eq(words[0], host ? 0xabcdu : 1);
    ck_assert_uint_eq(words[1], 2);
    device->info.type = MCL_DEVICE_GPU;
    CK_OK(device, mcl__map(device, view, &host));
    ck_assert_ptr_null(host);
    CK_OK(device, mcl__unmap(device, view, host));
    ck_assert_int_eq(mcl__map(device, (mcl__view){buffer, align, 2 * align}, &host), MCL_ERROR_INVALID);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

START_TEST(first_failure_is_kept)
{
    mcl_device *device = open_opencl(NULL);
    mcl_buffer *buffer;
    char byte = 0;
    CK_OK(device, mcl_buffer_create(device, 100, &buffer));
    ck_assert_int_eq(mcl_buffer_write(buffer, UINT64_MAX, 2, &byte), MCL_ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(mcl_device_error(device)->text, "outside the buffer's 100"));
    ck_assert_int_eq(mcl_buffer_write(buffer, 0, 1, &byte), MCL_ERROR_INVALID);
    ck_assert_int_eq(mcl_device_finish(device), MCL_ERROR_INVALID);
    mcl_buffer *none;
    ck_assert_int_eq(mcl_buffer_create(device, 1, &none), MCL_ERROR_INVALID);
    ck_assert_ptr_null(none);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

START_TEST(out_of_memory_says_how_much)
{
    mcl_device *device = open_opencl(NULL);
    mcl_buffer *buffer;
    ck_assert_int_eq(mcl_buffer_create(device, (uint64_t)1 << 50, &buffer), MCL_ERROR_MEMORY);
    const char *text = mcl_device_error(device)->text;
    ck_assert_ptr_nonnull(strstr(text, "1073741824.0 MiB"));
    ck_assert_ptr_nonnull(strstr(text, "largest single allocation"));
    mcl_device_close(device);
}
END_TEST

typedef struct pair { int32_t n; float offset; } pair;

START_TEST(launches_take_all_kinds_of_arguments)
{
    mcl_device *device = open_opencl(NULL);
    mcl_buffer *buffer;
    mcl__kernel *kernel, *again;
    mcl__launch *launch;
    uint64_t at = 4 * (uint64_t)device->info.alignment;
    float x[64], y[64];
    for (int i = 0; i < 64; i++) x[i] = (float)i;
    CK_OK(device, mcl_buffer_create(device, 2 * at + sizeof y, &buffer));
    CK_OK(device, mcl_buffer_write(buffer, at, sizeof x, x));
    mcl__kernel_key key = {"test", "all_kinds", NULL, NULL};
    CK_OK(device, mcl__kernel_get(device, &key, &kernel));
    CK_OK(device, mcl__kernel_get(device, &key, &again));
    ck_assert_ptr_eq(kernel, again);
    pair args = {64, 0.5f};
    mcl__arg bound[] = {
        view_arg(buffer, at, sizeof x),
        view_arg(buffer, 2 * at, sizeof y),
        {MCL__ARG_I32, {.i32 = 60}},
        {MCL__ARG_F32, {.f32 = 3.0f}},
        {MCL__ARG_BLOB, {.blob = {&args, sizeof args}}},
        {MCL__ARG_LOCAL, {.local = 16 * sizeof(float)}},
    };
    const size_t global = 64, local = 16;
    CK_OK(device, mcl__launch_kernel(device, kernel, "layer all_kinds", bound, 6, 1, &global, &local, &launch));
    args.offset = 1000.0f; /* copied when bound */
    mcl_device_counters before = mcl_device_get_counters(device);
    ck_assert_uint_eq(before.bindings, 6);
    for (int i = 0; i < 3; i++) CK_OK(device, mcl__launch_run(device, launch));
    mcl_device_counters after = mcl_device_get_counters(device);
    ck_assert_uint_eq(after.launches, before.launches + 3);
    ck_assert_uint_eq(after.bindings, before.bindings);
    ck_assert_uint_eq(after.waits, before.waits);
    CK_OK(device, mcl_buffer_read(buffer, 2 * at, sizeof y, y));
    for (int i = 0; i < 64; i++) ck_assert_float_eq(y[i], (i < 60 ? (float)i * 6.0f : 0.0f) + 0.5f);
    mcl__launch_destroy(device, launch);
    mcl__launch_destroy(device, NULL);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

START_TEST(constants_and_preludes_make_programs)
{
    mcl_device *device = open_opencl(&(mcl_device_options){.no_cache = true});
    ck_assert_float_eq(run_fixed(device, NULL), 1.0f);
    ck_assert_float_eq(run_fixed(device, "-DCONSTANT=7.0f"), 7.0f);
    ck_assert_float_eq(run_fixed(device, "-DCONSTANT=7.0f"), 7.0f);
    ck_assert_uint_eq(mcl_device_get_counters(device).programs_built, 2);
    mcl__kernel *kernel;
    mcl__kernel_key key = {"test", "made", NULL,
                           "#include \"scale.h\"\n__kernel void made(__global float *y) { y[0] = SCALE(4.0f); }"};
    CK_OK(device, mcl__kernel_get(device, &key, &kernel));
    ck_assert_uint_eq(mcl_device_get_counters(device).programs_built, 3);
    mcl_device_close(device);
}
END_TEST

/* Each row is wrong in one way; all fail when bound, with the label in the text. */
START_TEST(wrong_launches_are_refused)
{
    static const struct { size_t global, local; int count; uint64_t offset; const char *text; } rows[] = {
        {64, 7, 1, 0, "divide"}, {64, 16, 1, 0, "requires work-groups of 8x1x1"}, {0, 8, 1, 0, "divide"},
        {64, 8, 0, 0, "takes 1 arguments"}, {64, 8, 1, 4, "alignment"}, {64, 8, 1, 4096, "outside"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        mcl_device *device = open_opencl(NULL);
        mcl_buffer *buffer;
        mcl__kernel *kernel;
        mcl__launch *launch;
        mcl__kernel_key key = {"test", "fixed", NULL, NULL};
        CK_OK(device, mcl_buffer_create(device, 4096, &buffer));
        CK_OK(device, mcl__kernel_get(device, &key, &kernel));
        mcl__arg arg = view_arg(buffer, rows[i].offset, 256);
        ck_assert_int_eq(mcl__launch_kernel(device, kernel, "conv1 fixed", &arg, rows[i].count, 1, &rows[i].global,
                                            &rows[i].local, &launch),
                         MCL_ERROR_INVALID);
        ck_assert_ptr_null(launch);
        const char *text = mcl_device_error(device)->text;
        ck_assert_msg(strstr(text, rows[i].text) && strstr(text, "conv1 fixed"), "row %zu: %s", i, text);
        mcl_buffer_destroy(buffer);
        mcl_device_close(device);
    }
}
END_TEST

/* A group larger than the kernel can have is cut to one that it can, and every work-item still runs. */
START_TEST(large_groups_shrink)
{
    mcl_device *device = open_opencl(NULL);
    size_t largest = (size_t)mcl_device_get_info(device)->max_work_group, local = 6 * largest, global = 2 * local;
    mcl_buffer *buffer;
    mcl__kernel *kernel;
    mcl__launch *launch;
    mcl__kernel_key key = {"test", "numbered", NULL,
                           "__kernel void numbered(__global int *y) { y[get_global_id(0)] = get_global_id(0); }"};
    int *numbers = calloc(global, sizeof *numbers);
    CK_OK(device, mcl_buffer_create(device, global * sizeof *numbers, &buffer));
    CK_OK(device, mcl__kernel_get(device, &key, &kernel));
    mcl__arg arg = view_arg(buffer, 0, global * sizeof *numbers);
    CK_OK(device, mcl__launch_kernel(device, kernel, "numbered", &arg, 1, 1, &global, &local, &launch));
    CK_OK(device, mcl__launch_run(device, launch));
    CK_OK(device, mcl_buffer_read(buffer, 0, global * sizeof *numbers, numbers));
    for (size_t i = 0; i < global; i++) ck_assert_int_eq(numbers[i], (int)i);
    free(numbers);
    mcl__launch_destroy(device, launch);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

/* Groups of 4x1x1: along dimensions 1 and 2, which have 5 and 3 of them, two are enqueued at a time. */
START_TEST(launches_in_pieces)
{
    enum { X = 8, Y = 5, Z = 3 };
    const size_t global[] = {X, Y, Z}, local[] = {4, 1, 1};
    const char *source = "__kernel void placed(__global int *y) { size_t i = (get_global_id(2) * 5 + get_global_id(1)) * 8 + "
                         "get_global_id(0); y[i] += (int)i + 1; }";
    for (int pieces = 0; pieces < 2; pieces++) {
        mcl_device *device = open_opencl(&(mcl_device_options){.profiling = true});
        mcl_buffer *buffer;
        mcl__kernel *kernel;
        mcl__launch *launch;
        mcl_kernel_time *rows;
        int count, numbers[X * Y * Z] = {0};
        mcl__kernel_key key = {"test", "placed", NULL, source};
        if (pieces) mcl__cl(device)->most_groups = 2;
        CK_OK(device, mcl_buffer_create(device, sizeof numbers, &buffer));
        CK_OK(device, mcl_buffer_write(buffer, 0, sizeof numbers, numbers));
        CK_OK(device, mcl__kernel_get(device, &key, &kernel));
        mcl__arg arg = view_arg(buffer, 0, sizeof numbers);
        CK_OK(device, mcl__launch_kernel(device, kernel, "placed", &arg, 1, 3, global, local, &launch));
        CK_OK(device, mcl__launch_run(device, launch));
        CK_OK(device, mcl_buffer_read(buffer, 0, sizeof numbers, numbers));
        for (int i = 0; i < X * Y * Z; i++) ck_assert_int_eq(numbers[i], i + 1);
        CK_OK(device, mcl_device_profile(device, &rows, &count));
        ck_assert_int_eq(count, 1);
        ck_assert_uint_eq(rows[0].launches, pieces ? 6 : 1);
        free(rows);
        mcl__launch_destroy(device, launch);
        mcl_buffer_destroy(buffer);
        mcl_device_close(device);
    }
}
END_TEST

START_TEST(copies_and_fills)
{
    mcl_device *device = open_opencl(NULL);
    mcl_buffer *buffer;
    mcl__launch *fill, *copy;
    uint32_t words[100];
    CK_OK(device, mcl_buffer_create(device, sizeof words, &buffer));
    CK_OK(device, mcl__launch_fill(device, "clear", (mcl__view){buffer, 0, sizeof words}, 0, &fill));
    CK_OK(device, mcl__launch_run(device, fill));
    mcl__launch_destroy(device, fill);
    CK_OK(device, mcl__launch_fill(device, "fill", (mcl__view){buffer, 40, 80}, 0xdeadbeefu, &fill));
    CK_OK(device, mcl__launch_copy(device, "copy", (mcl__view){buffer, 40, 4}, (mcl__view){buffer, 300, 4}, &copy));
    CK_OK(device, mcl__launch_run(device, fill));
    CK_OK(device, mcl__launch_run(device, copy));
    CK_OK(device, mcl_buffer_read(buffer, 0, sizeof words, words));
    for (uint32_t i = 0; i < 100; i++) ck_assert_uint_eq(words[i], (i >= 10 && i < 30) || i == 75 ? 0xdeadbeefu : 0u);
    mcl__launch_destroy(device, fill);
    mcl__launch_destroy(device, copy);
    ck_assert_int_eq(mcl__launch_copy(device, "copy", (mcl__view){buffer, 0, 8}, (mcl__view){buffer, 4, 8}, &copy),
                     MCL_ERROR_INVALID);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

START_TEST(fences_order_transfers)
{
    mcl_device *device = open_opencl(NULL);
    mcl_buffer *buffer;
    mcl__fence *fence;
    int in[256], out[256] = {0};
    for (int i = 0; i < 256; i++) in[i] = i * i;
    CK_OK(device, mcl_buffer_create(device, sizeof in, &buffer));
    CK_OK(device, mcl__fence_create(device, &fence));
    CK_OK(device, mcl__fence_wait(device, fence));
    for (int round = 0; round < 3; round++) {
        in[0] = round;
        CK_OK(device, mcl__write_async(device, (mcl__view){buffer, 0, sizeof in}, in));
        CK_OK(device, mcl__read_async(device, (mcl__view){buffer, 0, sizeof in}, out));
        CK_OK(device, mcl__fence_record(device, fence));
        CK_OK(device, mcl__fence_wait(device, fence));
        ck_assert_mem_eq(in, out, sizeof in);
    }
    ck_assert_uint_eq(mcl_device_get_counters(device).waits, 4);
    mcl__fence_destroy(device, fence);
    mcl__fence_destroy(device, NULL);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

START_TEST(build_failures_show_the_log)
{
    mcl_device *device = open_opencl(NULL);
    mcl__kernel *kernel;
    mcl__kernel_key key = {"broken", "broken", "-DTILE=8", NULL};
    ck_assert_int_eq(mcl__kernel_get(device, &key, &kernel), MCL_ERROR_BUILD);
    const char *text = mcl_device_error(device)->text;
    ck_assert_msg(strstr(text, "broken.cl") && strstr(text, "-DTILE=8") && strstr(text, "undeclared_thing"), "%s",
                  text);
    mcl_device_close(device);
}
END_TEST

START_TEST(missing_sources_and_kernels)
{
    static const struct { mcl__kernel_key key; const char *text; } rows[] = {
        {{"test", "no_such_kernel", NULL, NULL}, "no_such_kernel"},
        {{"no_such_file", "x", NULL, NULL}, "no_such_file.cl"},
        {{"test", "fixed", NULL, "#include \"../secret.h\"\n"}, "plain names"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        mcl_device *device = open_opencl(NULL);
        mcl__kernel *kernel;
        ck_assert_int_eq(mcl__kernel_get(device, &rows[i].key, &kernel), MCL_ERROR_BUILD);
        ck_assert_msg(strstr(mcl_device_error(device)->text, rows[i].text) != NULL, "%s",
                      mcl_device_error(device)->text);
        mcl_device_close(device);
    }
}
END_TEST

/* Where such a locale is installed; a float constant of a kernel must not lose its fraction. */
START_TEST(builds_in_a_comma_locale)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ru_RU.UTF-8"};
    const char *set = NULL;
    for (size_t i = 0; i < COUNT(names) && !set; i++) set = setlocale(LC_ALL, names[i]);
    if (!set) fprintf(stderr, "skipped in part: no locale with a decimal comma is installed\n");
    mcl_device *device = open_opencl(&(mcl_device_options){.no_cache = true});
    ck_assert_float_eq(run_fixed(device, "-DCONSTANT=2.25f"), 2.25f);
    mcl_device_close(device);
    setlocale(LC_ALL, "C");
}
END_TEST

START_TEST(profiles_by_label)
{
    mcl_device *device = open_opencl(&(mcl_device_options){.profiling = true});
    mcl_buffer *buffer;
    mcl__launch *fill;
    mcl_kernel_time *rows;
    int count;
    CK_OK(device, mcl_buffer_create(device, 1 << 10, &buffer));
    CK_OK(device, mcl__launch_fill(device, "clear", (mcl__view){buffer, 0, 1 << 10}, 0, &fill));
    for (int i = 0; i < 1200; i++) CK_OK(device, mcl__launch_run(device, fill)); /* more than are kept unread */
    run_fixed(device, NULL);
    CK_OK(device, mcl_device_profile(device, &rows, &count));
    ck_assert_int_eq(count, 2);
    int clear = strcmp(rows[0].kernel, "clear") == 0 ? 0 : 1;
    ck_assert_str_eq(rows[clear].kernel, "clear");
    ck_assert_uint_eq(rows[clear].launches, 1200);
    ck_assert_double_gt(rows[clear].seconds, 0);
    ck_assert_double_ge(rows[0].seconds, rows[1].seconds);
    ck_assert_str_eq(rows[1 - clear].kernel, "fixed");
    free(rows);
    mcl__launch_destroy(device, fill);
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

/* A core does between 1e8 and 1e13 multiply-adds a second, and no copy is slower than a disk. The kernels are the library's own. */
START_TEST(measures_its_peak)
{
    const char *opencl = opencl_selector(), *selectors[] = {opencl, "native"};
    char folder[512];
    mcl__ops_register_native(); /* native's product is an operator's */
    snprintf(folder, sizeof folder, "%s/kernels", getenv("MONOCLE_SOURCE"));
    for (int i = 0; i < 2; i++) {
        mcl_device *device;
        mcl__peak peak;
        ck_assert_int_eq(mcl_device_open(selectors[i], &(mcl_device_options){.kernels = folder}, &device, NULL), MCL_OK);
        uint64_t before = device->counters.bytes_allocated;
        ck_assert_msg(mcl__peak_measure(device, &peak) == MCL_OK, "%s", mcl_device_error(device)->text);
        ck_assert_double_gt(peak.flops, 1e8);
        ck_assert_double_gt(peak.bandwidth, 1e7);
        ck_assert_uint_eq(device->counters.bytes_allocated, before);
        mcl_device_close(device);
    }
}
END_TEST

START_TEST(probe_tests_what_is_claimed)
{
    mcl_device *device = open_opencl(NULL);
    mcl__probe probe;
    CK_OK(device, mcl__device_probe(device, &probe));
    ck_assert(probe.bf16_storage.works);
    ck_assert(!probe.fp64.claimed || probe.fp64.works);
    ck_assert_int_gt(probe.quirk_count, 0);
    ck_assert(probe.gemm == (probe.gemm_why_not == NULL));
    ck_assert_int_eq(mcl_device_error(device)->status, MCL_OK);
    mcl_device_close(device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("opencl device");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, lists_native_last);
    tcase_add_test(tests, selects);
    tcase_add_test(tests, refuses_what_is_not_there);
    tcase_add_test(tests, gpu_fails_where_there_is_none);
    tcase_add_test(tests, buffers_hold_bytes);
    tcase_add_test(tests, quirks_of_a_cpu_are_not_a_gpus);
    tcase_add_test(tests, zeros_are_zeros);
    tcase_add_test(tests, maps_in_place_on_a_cpu);
    tcase_add_test(tests, first_failure_is_kept);
    tcase_add_test(tests, out_of_memory_says_how_much);
    tcase_add_test(tests, launches_take_all_kinds_of_arguments);
    tcase_add_test(tests, constants_and_preludes_make_programs);
    tcase_add_test(tests, wrong_launches_are_refused);
    tcase_add_test(tests, large_groups_shrink);
    tcase_add_test(tests, copies_and_fills);
    tcase_add_test(tests, fences_order_transfers);
    tcase_add_test(tests, build_failures_show_the_log);
    tcase_add_test(tests, missing_sources_and_kernels);
    tcase_add_test(tests, builds_in_a_comma_locale);
    tcase_add_test(tests, launches_in_pieces);
    tcase_add_test(tests, profiles_by_label);
    tcase_add_test(tests, measures_its_peak);
    tcase_add_test(tests, probe_tests_what_is_claimed);
    suite_add_tcase(suite, tests);
    return run_suite(suite, true);
}
