/* Runs one operator's problem over and over, outside any graph. For the programs that measure. */
#ifndef MCL_BENCH_MEASURE_H
#define MCL_BENCH_MEASURE_H
#include "ops/op.h"

typedef struct bench_figures {
    double seconds;   /* one run: the best of a few rounds */
    double bytes;     /* of every operand once (twice where an operator updates it) */
    double flops;
    char variant[24]; /* that served */
} bench_figures;

/* Measures an inferred problem on the device with this variant (NULL: the default). Derived forms are made every time, as in
 * training, with everything else of a variant. `far` operands come from memory, as most do in a network: there are so many of
 * them, used in turn, that no core's cache holds them. Ends the program where anything fails. */
bench_figures bench_problem(mcl_device *device, const mcl__problem *problem, const char *variant, bool far);

/* Says what failed, and ends the program. error may be NULL. */
void bench_stop(const char *what, const mcl_error *error);

#endif
