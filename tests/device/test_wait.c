/* Waiting awake, then asleep; and that a driver's threads come by, for which this program exports a symbol as `monocle` does. */
#include "device/backend.h"
#include "base/machine.h"
#include "device/wait.h"
#include "fixture.h"
#include <monocle/wait.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static pthread_t test_thread;
static atomic_int others; /* waits of threads that are not the test's */
static bool slow;         /* a waiter takes long for each look */

MCL_API int pthread_cond_wait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex)
{
    if (!pthread_equal(pthread_self(), test_thread)) atomic_fetch_add(&others, 1);
    return mcl_cond_wait(condition, mutex);
}

/* A thread that waits for `signalled`. */
typedef struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool signalled;
    int returns; /* of the wait, before it was signalled */
    double seconds; /* of processor time, of the thread */
} waiter;

static double seconds_of(clockid_t clock)
{
    struct timespec time;
    ck_assert_int_eq(clock_gettime(clock, &time), 0);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void *wait_for_signal(void *argument)
{
    waiter *w = argument;
    pthread_mutex_lock(&w->lock);
    while (!w->signalled) {
        mcl_cond_wait(&w->changed, &w->lock);
        if (pthread_mutex_trylock(&w->lock) == 0) w->returns = INT32_MIN; /* the lock was not its own */
        if (!w->signalled) w->returns++;
        for (double end = seconds_of(CLOCK_MONOTONIC) + 2e-5; slow && seconds_of(CLOCK_MONOTONIC) < end;) continue;
    }
    pthread_mutex_unlock(&w->lock);
    w->seconds = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

static waiter wait_a_while(long milliseconds)
{
    static waiter w;
    w = (waiter){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    ck_assert_int_eq(pthread_create(&w.thread, NULL, wait_for_signal, &w), 0);
    nanosleep(&(struct timespec){0, milliseconds * 1000000}, NULL);
    pthread_mutex_lock(&w.lock);
    w.signalled = true;
    pthread_cond_broadcast(&w.changed);
    pthread_mutex_unlock(&w.lock);
    ck_assert_int_eq(pthread_join(w.thread, NULL), 0);
    return w;
}

/* As for a device of two threads; false, and said, where the process has not so many CPUs. */
static bool begin(void)
{
    bool two = mcl__wait_awake_begin(2);
    if (!two) fprintf(stderr, "skipped: there are no two CPUs\n");
    return two;
}

START_TEST(without_a_device_it_sleeps)
{
    ck_assert_int_eq(wait_a_while(50).returns, 0);
}
END_TEST

START_TEST(awake_it_looks_and_then_sleeps)
{
    if (!begin()) return;
    waiter w = wait_a_while(200);
    mcl__wait_awake_end();
    ck_assert_int_gt(w.returns, 0);
    ck_assert_msg(w.seconds < 0.05, "%g s of processor time in 0.2 s of waiting", w.seconds);
    ck_assert_int_eq(wait_a_while(50).returns, 0);
}
END_TEST

START_TEST(a_caller_that_is_slow_to_look_sleeps)
{
    if (!begin()) return;
    slow = true;
    waiter w = wait_a_while(600);
    slow = false;
    mcl__wait_awake_end();
    ck_assert_int_gt(w.returns, 0);
    ck_assert_msg(w.seconds < 0.45, "%g s of processor time in 0.6 s of waiting", w.seconds);
}
END_TEST

START_TEST(who_stays_awake)
{
    if (begin()) mcl__wait_awake_end();
    ck_assert(!mcl__wait_awake_begin(1));
    ck_assert(!mcl__wait_awake_begin(17));
    ck_assert(!mcl__wait_awake_begin((uint32_t)mcl__usable_cpus() + 1));
    setenv("MONOCLE_SPIN", "0", 1);
    ck_assert(!mcl__wait_awake_begin(2));
    unsetenv("MONOCLE_SPIN");
}
END_TEST

START_TEST(threads_of_pocl_come_by)
{
    mcl_device *device;
    if (mcl_device_open("Portable Computing Language", NULL, &device, NULL) != MCL_OK) {
        fprintf(stderr, "skipped: no PoCL\n");
        return;
    }
    uint32_t units = mcl_device_get_info(device)->compute_units;
    atomic_store(&others, 0);
    for (int i = 0; i < 20; i++) ck_assert(run_fixed(device, "-DCONSTANT=3.0f") == 3.0f);
    if (units > 1) ck_assert_int_gt(atomic_load(&others), 0);
    bool awake = mcl__wait_awake_begin(units); /* as the device has asked */
    if (awake) mcl__wait_awake_end();
    ck_assert(awake == (wait_a_while(50).returns > 0));
    mcl_device_close(device);
    ck_assert_int_eq(wait_a_while(50).returns, 0);
}
END_TEST

int main(void)
{
    test_thread = pthread_self();
    unsetenv("MONOCLE_SPIN");
    Suite *suite = suite_create("wait");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, without_a_device_it_sleeps);
    tcase_add_test(tests, awake_it_looks_and_then_sleeps);
    tcase_add_test(tests, a_caller_that_is_slow_to_look_sleeps);
    tcase_add_test(tests, who_stays_awake);
    tcase_add_test(tests, threads_of_pocl_come_by);
    suite_add_tcase(suite, tests);
    return run_suite(suite, false);
}
