/* A machine without any OpenCL driver: the loader finds nothing, and plain C computes. */
#include "fixture.h"

START_TEST(native_is_listed_alone)
{
    mcl_device_info *devices;
    int count;
    char *notes;
    ck_assert_int_eq(mcl_device_list(&devices, &count, &notes, NULL), MCL_OK);
    ck_assert_int_eq(count, 1);
    ck_assert_str_eq(devices[0].selector, "native");
    ck_assert_ptr_nonnull(strstr(notes, "no OpenCL driver"));
    free(devices);
    free(notes);
}
END_TEST

START_TEST(auto_takes_native_and_says_so)
{
    static const char *const selectors[] = {"auto", "cpu", "native"};
    for (size_t i = 0; i < COUNT(selectors); i++) {
        mcl_device *device;
        mcl_error error = {0};
        ck_assert_msg(mcl_device_open(selectors[i], NULL, &device, &error) == MCL_OK, "%s", error.text);
        ck_assert_int_eq(mcl_device_get_info(device)->type, MCL_DEVICE_NATIVE);
        if (i == 0) ck_assert_ptr_nonnull(strstr(mcl_device_reason(device), "no OpenCL driver is installed"));
        mcl_device_close(device);
    }
}
END_TEST

START_TEST(a_gpu_is_not_found)
{
    static const char *const selectors[] = {"gpu", "0:0", "radeon"};
    for (size_t i = 0; i < COUNT(selectors); i++) {
        mcl_device *device;
        mcl_error error = {0};
        ck_assert_int_eq(mcl_device_open(selectors[i], NULL, &device, &error), MCL_ERROR_NOT_FOUND);
        ck_assert_ptr_nonnull(strstr(error.text, "no OpenCL driver is installed"));
    }
}
END_TEST

int main(void)
{
    setenv("OCL_ICD_VENDORS", "/nonexistent/", 1); /* read by the loader at its first call */
    unsetenv("MONOCLE_DEVICE");
    Suite *suite = suite_create("no driver");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, native_is_listed_alone);
    tcase_add_test(tests, auto_takes_native_and_says_so);
    tcase_add_test(tests, a_gpu_is_not_found);
    suite_add_tcase(suite, tests);
    return run_suite(suite, false);
}
