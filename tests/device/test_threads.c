/* The budget of threads reaches a CPU device that reads it only once, at the first look at its platform. */
#include "fixture.h"

START_TEST(the_budget_is_kept)
{
    mcl_device *device;
    mcl_error error = {0};
    mcl_device_options options = {.threads = 1};
    ck_assert_msg(mcl_device_open("cpu", &options, &device, &error) == MCL_OK, "%s", error.text);
    ck_assert_int_eq(device->threads, 1);
    if (strstr(device->info.platform, "Portable Computing Language")) ck_assert_uint_eq(device->info.compute_units, 1);
    mcl_device_close(device);
}
END_TEST

START_TEST(a_negative_budget_is_refused)
{
    mcl_device *device;
    mcl_device_options options = {.threads = -1};
    ck_assert_int_eq(mcl_device_open("native", &options, &device, NULL), MCL_ERROR_INVALID);
}
END_TEST

int main(void)
{
    unsetenv("POCL_MAX_PTHREAD_COUNT");
    unsetenv("POCL_CPU_MAX_CU_COUNT");
    Suite *suite = suite_create("threads");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, the_budget_is_kept);
    tcase_add_test(tests, a_negative_budget_is_refused);
    suite_add_tcase(suite, tests);
    return run_suite(suite, false);
}
