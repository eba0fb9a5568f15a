/* Processes that compile beside this one: what they are asked for, that it is found afterwards, and that nothing but time is lost
 * where they cannot help. This program is the helper too, as `monocle` is. */
#include "device/helper.h"
#include "fixture.h"
#include <errno.h>
#include <ftw.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { KERNELS = 6, FLOATS = 64 };

static char cache_home[] = "/tmp/monocle-test-helpers-XXXXXX";
static const char *self;
static int started; /* times that helpers were */
static int codes;

static void count_starts(mcl_log_level level, const char *message, void *user)
{
    (void)level, (void)user;
    started += strstr(message, "processes compile kernels") != NULL;
}

static int add_code(const char *path, const struct stat *info, int flag, struct FTW *place)
{
    (void)info, (void)place;
    const char *end = strrchr(path, '.');
    codes += flag == FTW_F && end && strcmp(end, ".so") == 0;
    return 0;
}

/* Kernels that PoCL has machine code for. */
static int count_codes(void)
{
    char folder[256];
    snprintf(folder, sizeof folder, "%s/monocle/pocl", cache_home);
    codes = 0;
    nftw(folder, add_code, 16, FTW_PHYS);
    return codes;
}

typedef struct launches {
    mcl_device *device;
    mcl_buffer *buffer;
    mcl__launch *launch[KERNELS];
    size_t items;
    int first;
} launches;

/* Launches of programs whose constants begin with `first`. */
static void make(const mcl_device_options *options, int first, int kernels, size_t items, launches *l)
{
    const size_t local = 8, global = (items + 7) / 8 * 8;
    *l = (launches){.device = open_opencl(options), .items = items, .first = first};
    CK_OK(l->device, mcl_buffer_create(l->device, global * sizeof(float), &l->buffer));
    for (int i = 0; i < kernels; i++) {
        char constants[32];
        mcl__kernel *kernel;
        snprintf(constants, sizeof constants, "-DCONSTANT=%d.0f", first + i);
        mcl__kernel_key key = {"test", "fixed", constants, NULL};
        CK_OK(l->device, mcl__kernel_get(l->device, &key, &kernel));
        mcl__arg arg = view_arg(l->buffer, 0, global * sizeof(float));
        CK_OK(l->device, mcl__launch_kernel(l->device, kernel, "fixed", &arg, 1, 1, &global, &local, &l->launch[i]));
    }
}

static void run_one(const launches *l, int i)
{
    float value = 0.0f;
    CK_OK(l->device, mcl__launch_run(l->device, l->launch[i]));
    CK_OK(l->device, mcl_buffer_read(l->buffer, (l->items - 1) * sizeof value, sizeof value, &value));
    ck_assert_float_eq(value, (float)(l->first + i));
}

static void forget(launches *l)
{
    for (int i = 0; i < KERNELS; i++) mcl__launch_destroy(l->device, l->launch[i]);
    mcl_buffer_destroy(l->buffer);
    mcl_device_close(l->device);
}

/* Makes so many launches, runs them and looks at what they wrote; returns how many of their kernels were compiled already when the
 * first had run, the first among them. */
static int run(const mcl_device_options *options, int first, int kernels, size_t items)
{
    launches l;
    int before = count_codes();
    started = 0;
    make(options, first, kernels, items, &l);
    run_one(&l, 0);
    int early = count_codes() - before;
    for (int i = 1; i < kernels; i++) run_one(&l, i);
    forget(&l);
    return early;
}

static mcl_device_options helped_by(const char *helper) { return (mcl_device_options){.helper = helper, .threads = 2}; }

START_TEST(what_is_new_is_compiled_by_helpers_once)
{
    const mcl_device_options options = helped_by(self);
    ck_assert_int_eq(run(&options, 100, KERNELS, FLOATS), KERNELS);
    ck_assert_int_eq(started, 1);
    ck_assert_int_eq(run(&options, 100, KERNELS, FLOATS), 0);
    ck_assert_int_eq(started, 0);
}
END_TEST

START_TEST(a_few_are_not_worth_it)
{
    const mcl_device_options options = helped_by(self);
    for (int again = 0; again < 2; again++) {
        ck_assert_int_eq(run(&options, 150, 3, FLOATS), !again);
        ck_assert_int_eq(started, 0);
    }
    ck_assert_int_eq(run(&options, 150, KERNELS, FLOATS), 0); /* three are new, and the first is not */
    ck_assert_int_eq(started, 0);
}
END_TEST

/* On both sides of where the driver has other code. Were it compiled for the wrong side, it would be compiled again. */
START_TEST(large_launches_have_code_of_their_own)
{
    static const size_t items[] = {65528, 65536, 100000};
    const mcl_device_options options = helped_by(self);
    for (size_t i = 0; i < COUNT(items); i++) {
        int before = count_codes();
        ck_assert_int_eq(run(&options, 200, KERNELS, items[i]), i < 2 ? KERNELS : 0);
        ck_assert_int_eq(count_codes() - before, i < 2 ? KERNELS : 0);
    }
}
END_TEST

/* That all is right in spite of them, run() sees. */
START_TEST(helpers_that_cannot_help_cost_nothing)
{
    static const char *const helpers[] = {"/no/such/program", "/bin/false", "/bin/true", "/", ""};
    for (size_t i = 0; i < COUNT(helpers); i++) {
        const mcl_device_options options = helped_by(helpers[i]);
        ck_assert_int_eq(run(&options, 300 + (int)i * KERNELS, KERNELS, FLOATS), 1);
    }
    const mcl_device_options options = helped_by(self);
    setenv("HELPER_DIES", "1", 1);
    ck_assert_int_eq(run(&options, 400, KERNELS, FLOATS), 1);
    unsetenv("HELPER_DIES");
    ck_assert_int_eq(run(&options, 400, KERNELS, FLOATS), 0); /* compiled here, which is as good */
    ck_assert_int_eq(started, 0);
}
END_TEST

START_TEST(they_are_asked_only_where_they_can_help)
{
    const mcl_device_options refused[] = {
        {.helper = self, .threads = 1}, {.helper = self, .threads = 2, .no_cache = true}, {.threads = 2}};
    for (size_t i = 0; i < COUNT(refused); i++) {
        run(&refused[i], 500 + (int)i * KERNELS, KERNELS, FLOATS);
        ck_assert_int_eq(started, 0);
    }
    const mcl_device_options options = helped_by(self);
    setenv("MONOCLE_HELPER", "1", 1); /* as in a helper */
    run(&options, 550, KERNELS, FLOATS);
    unsetenv("MONOCLE_HELPER");
    ck_assert_int_eq(started, 0);
    setenv("POCL_KERNEL_CACHE", "0", 1);
    run(&options, 560, KERNELS, FLOATS);
    unsetenv("POCL_KERNEL_CACHE");
    ck_assert_int_eq(started, 0);
}
END_TEST

/* The helper sleeps for ever; whoever closes the device does not. */
START_TEST(nobody_waits_for_what_is_not_run)
{
    launches l;
    const mcl_device_options options = helped_by(self);
    setenv("HELPER_SLEEPS", "1", 1);
    started = 0;
    make(&options, 600, KERNELS, FLOATS, &l);
    unsetenv("HELPER_SLEEPS");
    ck_assert_int_eq(started, 1);
    forget(&l);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    ck_assert_int_eq(errno, ECHILD);
}
END_TEST

/* What a helper is told by others than the library. */
START_TEST(a_helper_refuses_what_it_does_not_know)
{
    static const struct { const char *arguments; int status; } rows[] = {
        {MONOCLE_VERSION " 0:0", 0}, {"", 1}, {"9.9.9 0:0", 1}, {MONOCLE_VERSION, 1}, {MONOCLE_VERSION " no-such-device", 1},
        {MONOCLE_VERSION " 0:0 x y", 1}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char command[600];
        int ends[2];
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
        close(ends[0]); /* there is nothing to ask */
        snprintf(command, sizeof command, "'%s' " MCL__HELPER_WORD " %s <&%d 2>/dev/null", self, rows[i].arguments, ends[1]);
        int status = system(command);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == rows[i].status, "%s: %d", rows[i].arguments, status);
        close(ends[1]);
    }
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], MCL__HELPER_WORD) == 0) {
        if (getenv("HELPER_DIES")) abort();
        if (getenv("HELPER_SLEEPS")) pause();
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
    tcase_add_test(cases, a_few_are_not_worth_it);
    tcase_add_test(cases, large_launches_have_code_of_their_own);
    tcase_add_test(cases, helpers_that_cannot_help_cost_nothing);
    tcase_add_test(cases, they_are_asked_only_where_they_can_help);
    tcase_add_test(cases, nobody_waits_for_what_is_not_run);
    tcase_add_test(cases, a_helper_refuses_what_it_does_not_know);
    suite_add_tcase(suite, cases);
    int status = SKIPPED;
    if (pocl) status = run_suite(suite, true);
    else fprintf(stderr, "skipped: no device that compiles one kernel at a time\n");
    remove_folder(cache_home);
    return status;
}
