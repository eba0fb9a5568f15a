/* What the tests of native kernels share: numbers, a comparison with a bound, and how a suite is run. */
#ifndef MCL_TEST_NATIVE_SUPPORT_H
#define MCL_TEST_NATIVE_SUPPORT_H
#include "ops/native/native.h"
#include "philox.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof *(table)))
#define EPSILON 1.2e-7 /* of f32, two roundings a term */

/* n numbers in [-1, 1); a stream gives the same ones every time. */
static inline float *numbers(size_t n, uint32_t stream)
{
    float *values = malloc((n ? n : 1) * sizeof *values);
    ck_assert_ptr_nonnull(values);
    for (size_t i = 0; i < n; i++)
        values[i] = MCL_RANDOM_UNIFORM(mcl_random_word(1, 2, (uint32_t)i, 0, 0, stream)) * 2 - 1;
    return values;
}

/* Within the error of `terms` terms whose magnitudes add up to `size`. */
static inline void near(double value, double expected, double size, int64_t terms, const char *what, int64_t at)
{
    double bound = (size + fabs(expected)) * EPSILON * ((double)terms + 4);
    ck_assert_msg(fabs(value - expected) <= bound, "%s[%lld] is %.9g, not %.9g within %.3g", what, (long long)at, value,
                  expected, bound);
}

/* Without a fork, which OpenMP's threads do not survive. */
static inline int run_native(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
