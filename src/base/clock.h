/* The time since some moment in the past, which nobody sets. */
#ifndef MCL_BASE_CLOCK_H
#define MCL_BASE_CLOCK_H
#include <stdint.h>
#include <time.h>

static inline int64_t mcl__nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline double mcl__seconds(void) { return 1e-9 * (double)mcl__nanoseconds(); }
#endif
