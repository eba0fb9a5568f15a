/* For programs that compute on a CPU through PoCL. Its threads sleep whenever a launch leaves them without work, some hundred
 * times a step, and waking one takes longer than a small launch: 3 microseconds on a core that is awake, 25 to 50 on a virtual
 * machine's halted one. A program can have them look for work for 50 microseconds before they sleep (resnet20 on two cores: steps
 * of batch 32 take 0.91 of the time, of 128 0.95):
 *
 *   int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) { return mcl_cond_wait(condition, mutex); }
 *
 * in a source of the program, which exports the symbol to the libraries that it loads: link it with -rdynamic, or with
 * -Wl,--export-dynamic-symbol=pthread_cond_wait. `monocle` does. POSIX lets pthread_cond_wait return when nothing was signalled,
 * so that every caller looks again, and again calls. */
#ifndef MONOCLE_WAIT_H
#define MONOCLE_WAIT_H
#include <monocle/status.h>
#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As pthread_cond_wait: *mutex is the caller's before and after; returns 0. While a device of PoCL is open, of no more threads than
 * the process has CPUs and no more than 16, and MONOCLE_SPIN is not 0 in the environment, the first calls in a row return without
 * a signal. */
MCL_API int mcl_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);

#ifdef __cplusplus
}
#endif
#endif
