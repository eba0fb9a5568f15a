/* For programs that compute on a CPU through PoCL. Its threads sleep whenever a launch leaves them without work, some hundred
 * times a step, and waking one takes longer than a small launch: 3 microseconds on a core that is awake, 25 to 50 on a virtual
 * machine's halted one. A program can have them look for work for 50 microseconds before they sleep (steps of batch 32 on two
 * cores: resnet20 takes 0.92 of the time, mlp 0.87):
 *
 *   MCL_API int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) { return mcl_cond_wait(condition, mutex); }
 *
 * in a source of the program, which exports the symbol to the libraries that it loads: link it with -rdynamic, or with
 * -Wl,--export-dynamic-symbol=pthread_cond_wait. `monocle` does. From then on all threads of the process wait like this, its own
 * too. POSIX lets pthread_cond_wait return when nothing was signalled: callers look again, in a loop, and again call. */
#ifndef MONOCLE_WAIT_H
#define MONOCLE_WAIT_H
#include <monocle/status.h>
#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As pthread_cond_wait, whose codes it returns. While a CPU device of PoCL is open the first calls in a row return 0 without a
 * signal; not where the device has more than 16 threads, or more than the process has CPUs (by its affinity, or the quota of its
 * control group), nor with MONOCLE_SPIN=0 in the environment when the device was opened. */
MCL_API int mcl_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);

#ifdef __cplusplus
}
#endif
#endif
