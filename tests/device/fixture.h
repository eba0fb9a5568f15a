/* An OpenCL device with kernels of the test's own, in a folder that goes away with the process. */
#ifndef MCL_TEST_DEVICE_FIXTURE_H
#define MCL_TEST_DEVICE_FIXTURE_H
#include "device/device.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SKIPPED 77
#define COUNT(table) (sizeof(table) / sizeof *(table))

static char kernel_folder[] = "/tmp/monocle-test-kernels-XXXXXX";

static inline void put_file(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) abort();
}

static inline void remove_folder(const char *folder)
{
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) fprintf(stderr, "%s stays\n", folder);
}

static const char kernel_text[] = "#include \"scale.h\"\n"
                                  "#include \"scale.h\"\n" /* once each */
                                  "typedef struct { int n; float offset; } pair;\n"
                                  "__kernel void all_kinds(__global const float *x, __global float *y, int n, float "
                                  "factor, pair args, __local float *tile) {\n"
                                  "  int i = get_global_id(0), l = get_local_id(0);\n"
                                  "  tile[l] = i < n ? x[i] : 0.0f; barrier(CLK_LOCAL_MEM_FENCE);\n"
                                  "  if (i < args.n) y[i] = SCALE(tile[l]) * factor + args.offset; }\n"
                                  "__kernel __attribute__((reqd_work_group_size(8, 1, 1))) void fixed(__global float "
                                  "*y) { y[get_global_id(0)] = CONSTANT; }\n";

static const char include_text[] = "#define SCALE(x) (2.0f * (x))\n#ifndef CONSTANT\n#define CONSTANT 1.0f\n#endif\n";

static inline void make_kernels(void)
{
    if (!mkdtemp(kernel_folder)) abort();
    put_file(kernel_folder, "test.cl", kernel_text);
    put_file(kernel_folder, "scale.h", include_text);
    put_file(kernel_folder, "broken.cl", "__kernel void broken(__global float *y) { y[0] = undeclared_thing; }\n");
    setenv("MONOCLE_KERNELS", kernel_folder, 1);
}

/* The selector of the first OpenCL device; NULL: none here. */
static inline const char *opencl_selector(void)
{
    static char selector[16];
    mcl_device_info *devices;
    int count;
    if (mcl_device_list(&devices, &count, NULL, NULL) != MCL_OK) return NULL;
    snprintf(selector, sizeof selector, "%s", devices[0].selector);
    bool found = devices[0].type != MCL_DEVICE_NATIVE;
    free(devices);
    return found ? selector : NULL;
}

static inline mcl_device *open_opencl(const mcl_device_options *options)
{
    mcl_device *device;
    mcl_error error = {0};
    mcl_status status = mcl_device_open(opencl_selector(), options, &device, &error);
    ck_assert_msg(status == MCL_OK, "%s", error.text);
    return device;
}

#define CK_OK(device, expression) \
    do { \
        mcl_status status_ = (expression); \
        ck_assert_msg(status_ == MCL_OK, "%s: %s", #expression, mcl_device_error(device)->text); \
    } while (0)

static inline mcl__arg view_arg(mcl_buffer *buffer, uint64_t offset, uint64_t bytes)
{
    return (mcl__arg){MCL__ARG_VIEW, {.view = {buffer, offset, bytes}}};
}

/* Runs `fixed` with a constant over 64 floats and returns the first. */
static inline float run_fixed(mcl_device *device, const char *constants)
{
    mcl__kernel *kernel;
    mcl__launch *launch;
    mcl_buffer *buffer;
    float values[64];
    const size_t global = 64, local = 8;
    mcl__kernel_key key = {"test", "fixed", constants, NULL};
    CK_OK(device, mcl_buffer_create(device, sizeof values, &buffer));
    CK_OK(device, mcl__kernel_get(device, &key, &kernel));
    mcl__arg arg = view_arg(buffer, 0, sizeof values);
    CK_OK(device, mcl__launch_kernel(device, kernel, "fixed", &arg, 1, 1, &global, &local, &launch));
    CK_OK(device, mcl__launch_run(device, launch));
    CK_OK(device, mcl_buffer_read(buffer, 0, sizeof values, values));
    mcl__launch_destroy(device, launch);
    mcl_buffer_destroy(buffer);
    return values[63] == values[0] ? values[0] : -1.0f;
}

/* Runs a suite in this process: a fork after an OpenCL device was opened hangs. */
static inline int run_suite(Suite *suite, bool needs_opencl)
{
    make_kernels();
    if (needs_opencl && !opencl_selector()) {
        fprintf(stderr, "skipped: no OpenCL device\n");
        remove_folder(kernel_folder);
        return SKIPPED;
    }
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    remove_folder(kernel_folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
#endif
