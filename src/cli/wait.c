/* Threads of drivers wait awake for a while: see <monocle/wait.h>. */
#include <monocle/wait.h>

MCL_API int pthread_cond_wait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex)
{
    return mcl_cond_wait(condition, mutex);
}
