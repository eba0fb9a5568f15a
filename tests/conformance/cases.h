/* The problems that every variant of every operator is checked on: sizes of 1, primes, and sizes around each tile's
 * edge. */
#ifndef MCL_CONFORMANCE_CASES_H
#define MCL_CONFORMANCE_CASES_H
#include "ops/op.h"

typedef struct conformance_case {
    mcl__problem problem; /* not inferred yet */
    uint64_t seed;
} conformance_case;

typedef struct conformance_cases {
    conformance_case *at;
    int count;
} conformance_cases;

/* The problems of an operator whose inputs have `largest` elements or fewer, all together; 0: all. Free with free(cases.at). */
conformance_cases conformance_cases_of(mcl__op_kind op, int64_t largest);
#endif
