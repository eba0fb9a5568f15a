/* Waiting for a condition: awake for a while, then asleep. While it is awake a thread gives its caller, who looks whether there is
 * work, one look after another; the more threads a device has, the longer it is from look to look, for each takes the lock that
 * work is handed out under. */
#include "device/wait.h"
#include "base/clock.h"
#include "base/machine.h"
#include <errno.h>
#include <monocle/wait.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    AWAKE = 50000,      /* nanoseconds before a thread sleeps; 200000 gain less */
    LOOK = 250,         /* nanoseconds from one look to the next, for each thread of the device; 80 gain no more */
    APART = 3000,       /* nanoseconds from a look to the next call: there was work, for looking takes less than one microsecond */
    MOST_LOOKS = 10000, /* then it sleeps, whatever the time: a caller may take long for each look */
    MOST_THREADS = 16   /* more would want measuring */
};

static atomic_int devices, look; /* those open; from one look to the next, for the one opened last: PoCL's share their threads */

bool mcl__wait_awake_begin(uint32_t threads)
{
    const char *wanted = getenv("MONOCLE_SPIN");
    if (threads < 2 || threads > MOST_THREADS || threads > (uint32_t)mcl__usable_cpus()) return false;
    if (threads > mcl__cpu_quota()) return false;
    if (wanted && strcmp(wanted, "0") == 0) return false;
    atomic_store(&look, LOOK * (int)threads);
    atomic_fetch_add(&devices, 1);
    return true;
}

void mcl__wait_awake_end(void)
{
    atomic_fetch_sub(&devices, 1);
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
    int code = pthread_cond_timedwait(condition, mutex, &never);
    return code == ETIMEDOUT ? 0 : code;
}

int mcl_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    static _Thread_local int64_t began, ended; /* of the looks in a row so far, the first one and the last one */
    static _Thread_local int looks;            /* since it last slept */
    if (atomic_load_explicit(&devices, memory_order_relaxed) == 0) return sleep_on(condition, mutex);
    int64_t now = mcl__nanoseconds(), until = now + atomic_load_explicit(&look, memory_order_relaxed);
    if (now - ended > APART) began = now;
    if (now - began > AWAKE || looks == MOST_LOOKS) {
        ended = looks = 0;
        return sleep_on(condition, mutex);
    }
    looks++;
    int code = pthread_mutex_unlock(mutex);
    if (code != 0) return code;
    while (mcl__nanoseconds() < until) relax();
    code = pthread_mutex_lock(mutex);
    if (code == 0) pthread_testcancel();
    ended = mcl__nanoseconds();
    return code;
}
