/* Waiting for a condition: awake for a while, then asleep. While it is awake a thread gives its caller, who looks whether there is
 * work, one look after another; looks of all threads together are as frequent however many threads there are, for each takes the
 * lock that work is handed out under. */
#include "device/wait.h"
#include "device/backend.h"
#include <monocle/wait.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    AWAKE = 50000,    /* nanoseconds before a thread sleeps; 20000 and 200000 gain less */
    LOOK = 250,       /* nanoseconds from one look to the next, for each thread of the device */
    APART = 10000,    /* nanoseconds between two calls: there was work */
    MOST_THREADS = 16 /* more would want measuring */
};

static atomic_int devices, look; /* those open; nanoseconds from one look to the next */

bool mcl__wait_awake_begin(uint32_t threads)
{
    const char *wanted = getenv("MONOCLE_SPIN");
    if (threads < 2 || threads > MOST_THREADS || threads > (uint32_t)mcl__usable_cpus()) return false;
    if (wanted && strcmp(wanted, "0") == 0) return false;
    atomic_store(&look, LOOK * (int)threads);
    atomic_fetch_add(&devices, 1);
    return true;
}

void mcl__wait_awake_end(void)
{
    atomic_fetch_sub(&devices, 1);
}

static int64_t nanoseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Lets the core's other thread, where it has one, go first. */
static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* pthread_cond_wait itself may be what calls this. */
static int sleep_on(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    const struct timespec never = {.tv_sec = sizeof(time_t) > 4 ? (time_t)((int64_t)1 << 40) : INT32_MAX};
    pthread_cond_timedwait(condition, mutex, &never);
    return 0;
}

int mcl_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    static _Thread_local int64_t began, ended; /* of the calls in a row so far, the first one and the last one */
    if (atomic_load_explicit(&devices, memory_order_relaxed) == 0) return sleep_on(condition, mutex);
    int64_t now = nanoseconds(), until = now + atomic_load_explicit(&look, memory_order_relaxed);
    if (now - ended > APART) began = now;
    if (now - began > AWAKE) {
        ended = 0;
        return sleep_on(condition, mutex);
    }
    pthread_mutex_unlock(mutex);
    while (nanoseconds() < until) relax();
    pthread_mutex_lock(mutex);
    ended = nanoseconds();
    return 0;
}
