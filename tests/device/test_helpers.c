/* Processes that compile beside this one: what they are asked for, that it is found afterwards, and that nothing but time is lost
 * where they cannot help. This program is the helper too, as `monocle` is. */
#include "device/helper.h"
#include "fixture.h"
#include <dirent.h>

enum { KERNELS = 6, FLOATS = 64 };

static char cache_home[] = "/tmp/monocle-test-helpers-XXXXXX";
static const char *self;
static int started; /* times that helpers were */

static void count_starts(mcl_log_level level, const char *message, void *user)
{
    (void)level, (void)user;
    started += strstr(message, "processes compile kernels") != NULL;
}

static int marks(void)
{
    char folder[256];
    int count = 0;
    snprintf(folder, sizeof folder, "%s/monocle/compiled", cache_home);
    DIR *listing = opendir(folder);
    for (struct dirent *item; listing && (item = readdir(listing));) count += item->d_name[0] != '.';
    if (listing) closedir(listing);
    return count;
}

/* Makes launches of `count` programs, whose constants begin with `first`, runs them and looks at what they wrote; returns how many
 * marks helpers have put. `again` launches the same kernels a second time, of other sizes. */
static int run(const char *helper, int first, int count, size_t items, bool again)
{
    mcl__launch *launch[2 * KERNELS];
    mcl_buffer *buffer;
    int before = marks(), launches = again ? 2 * count : count;
    const size_t local = 8;
    mcl_device *device = open_opencl(&(mcl_device_options){.helper = helper});
    CK_OK(device, mcl_buffer_create(device, items * sizeof(float), &buffer));
    for (int i = 0; i < launches; i++) {
        char constants[32];
        mcl__kernel *kernel;
        size_t global = i < count ? items : local;
        snprintf(constants, sizeof constants, "-DCONSTANT=%d.0f", first + i % count);
        mcl__kernel_key key = {"test", "fixed", constants, NULL};
        CK_OK(device, mcl__kernel_get(device, &key, &kernel));
        mcl__arg arg = view_arg(buffer, 0, items * sizeof(float));
        CK_OK(device, mcl__launch_kernel(device, kernel, "fixed", &arg, 1, 1, &global, &local, &launch[i]));
    }
    for (int i = 0; i < launches; i++) {
        float value;
        uint64_t last = i < count ? items - 1 : local - 1;
        CK_OK(device, mcl__launch_run(device, launch[i]));
        CK_OK(device, mcl_buffer_read(buffer, last * sizeof value, sizeof value, &value));
        ck_assert_float_eq(value, (float)(first + i % count));
        mcl__launch_destroy(device, launch[i]);
    }
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
    return marks() - before;
}

START_TEST(what_is_new_is_compiled_by_helpers_once)
{
    started = 0;
    ck_assert_int_eq(run(self, 100, KERNELS, FLOATS, false), KERNELS);
    ck_assert_int_eq(started, 1);
    ck_assert_int_eq(run(self, 100, KERNELS, FLOATS, true), 0);
    ck_assert_int_eq(started, 1);
    ck_assert_int_eq(run(self, 100 - KERNELS / 2, KERNELS, FLOATS, false), 0); /* a few new ones are not worth it */
    ck_assert_int_eq(started, 1);
}
END_TEST

START_TEST(large_launches_are_kernels_of_their_own)
{
    ck_assert_int_eq(run(self, 200, KERNELS, 65536, true), 2 * KERNELS);
    ck_assert_int_eq(run(self, 200, KERNELS, FLOATS, false), 0);
    ck_assert_int_eq(run(self, 200, KERNELS, 65536, false), 0);
}
END_TEST

/* That everything is right in spite of them, run() sees. */
START_TEST(helpers_that_cannot_help_cost_nothing)
{
    static const char *const helpers[] = {"/no/such/program", "/bin/false", "/bin/cat", "/bin/true", ""};
    for (size_t i = 0; i < COUNT(helpers); i++)
        ck_assert_int_eq(run(helpers[i], 300 + (int)i * KERNELS, KERNELS, FLOATS, false), 0);
    setenv("HELPER_DIES", "1", 1);
    ck_assert_int_eq(run(self, 400, KERNELS, FLOATS, false), 0);
    unsetenv("HELPER_DIES");
    ck_assert_int_eq(run(self, 400, KERNELS, FLOATS, false), KERNELS);
}
END_TEST

/* A device that is closed before it has launched anything. */
START_TEST(nobody_waits_for_what_is_not_run)
{
    mcl_buffer *buffer;
    const size_t global = FLOATS, local = 8;
    mcl_device *device = open_opencl(&(mcl_device_options){.helper = self});
    CK_OK(device, mcl_buffer_create(device, FLOATS * sizeof(float), &buffer));
    for (int i = 0; i < KERNELS; i++) {
        char constants[32];
        mcl__kernel *kernel;
        mcl__launch *launch;
        snprintf(constants, sizeof constants, "-DCONSTANT=%d.0f", 500 + i);
        CK_OK(device, mcl__kernel_get(device, &(mcl__kernel_key){"test", "fixed", constants, NULL}, &kernel));
        mcl__arg arg = view_arg(buffer, 0, FLOATS * sizeof(float));
        CK_OK(device, mcl__launch_kernel(device, kernel, "fixed", &arg, 1, 1, &global, &local, &launch));
        mcl__launch_destroy(device, launch);
    }
    mcl_buffer_destroy(buffer);
    mcl_device_close(device);
}
END_TEST

/* What a helper is told by others than the library. */
START_TEST(a_helper_refuses_what_it_does_not_know)
{
    static const char *const commands[] = {"", " 9.9.9 0:0", " " MONOCLE_VERSION, " " MONOCLE_VERSION " no-such-device",
                                           " " MONOCLE_VERSION " 0:0 x y"};
    char command[600];
    for (size_t i = 0; i < COUNT(commands); i++) {
        snprintf(command, sizeof command, "'%s' " MCL__HELPER_WORD "%s </dev/null 2>/dev/null", self, commands[i]);
        ck_assert_int_ne(system(command), 0);
    }
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], MCL__HELPER_WORD) == 0) {
        if (getenv("HELPER_DIES")) abort();
        _exit(mcl__helper_run(argc - 1, argv + 1));
    }
    self = argv[0];
    if (!mkdtemp(cache_home)) return EXIT_FAILURE;
    setenv("XDG_CACHE_HOME", cache_home, 1);
    unsetenv("POCL_CACHE_DIR");
    mcl_set_log(count_starts, NULL);
    mcl_device_info *devices;
    int count;
    bool pocl = mcl_device_list(&devices, &count, NULL, NULL) == MCL_OK && strstr(devices[0].platform, "Portable Computing");
    free(devices);
    Suite *suite = suite_create("device/helpers");
    TCase *cases = tcase_create("helpers");
    tcase_set_timeout(cases, 300);
    tcase_add_test(cases, what_is_new_is_compiled_by_helpers_once);
    tcase_add_test(cases, large_launches_are_kernels_of_their_own);
    tcase_add_test(cases, helpers_that_cannot_help_cost_nothing);
    tcase_add_test(cases, nobody_waits_for_what_is_not_run);
    tcase_add_test(cases, a_helper_refuses_what_it_does_not_know);
    suite_add_tcase(suite, cases);
    int status = SKIPPED;
    if (pocl) status = run_suite(suite, true);
    else fprintf(stderr, "skipped: no device that compiles one kernel at a time\n");
    remove_folder(cache_home);
    return status;
}
