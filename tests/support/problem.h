/* Runs one operator's problem on one device with one variant, outside any graph: fills inputs with awkward values,
 * lowers, makes buffers between guard bytes, launches, and reads the outputs back. For conformance and the operators'
 * tests. */
#ifndef MCL_TEST_PROBLEM_H
#define MCL_TEST_PROBLEM_H
#include "ops/op.h"

/* A problem with its tensors in host memory, in the problem's dtypes. */
typedef struct test_problem {
    mcl__problem problem;
    void *in[MCL__MAX_OPERANDS];
    void *out[MCL__MAX_OUTPUTS]; /* before a run: what outputs hold, NaN where nothing `updates`; after it: the result */
    mcl__algorithm algorithm;     /* after a run: how the result was computed */
} test_problem;

/* Building a problem by hand: test_problem_input appends an input; test_problem_infer then fills the outputs. */
void test_problem_input(mcl__problem *problem, mcl__dtype dtype, int rank, const int *size);
#define TEST_SHAPE(...) (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), (const int[]){__VA_ARGS__}
/* A code of the prologue, and its tensors; before the epilogue's. */
void test_problem_prologue(mcl__problem *problem, mcl_epilogue_code code);
/* Appends a code and its tensors for an output of this shape; a DROPOUT's step block is appended by test_problem_infer. */
void test_problem_code(mcl__problem *problem, mcl_epilogue_code code, int rank, const int *size);
mcl_status test_problem_infer(mcl__problem *problem, mcl_error *error);

uint64_t test_problem_in_bytes(const mcl__problem *problem, int input);
uint64_t test_problem_out_bytes(const mcl__problem *problem, int output);
/* The input that holds the step block, or -1. */
int test_problem_step_input(const mcl__problem *problem);

/* Allocates and fills tensors for an inferred problem: zeros, ties, kinks, negatives; labels, orders and pool indices
 * that are valid; variances that are positive. The same seed gives the same values. Frees with test_problem_free. */
void test_problem_fill(test_problem *test, uint64_t seed);
void test_problem_free(test_problem *test);

typedef struct test_run {
    const char *variant;              /* force this one; NULL: the default */
    const mcl__capabilities *pretend; /* lower for these; NULL: the device's own */
    bool in_place;                    /* out[0] in the memory of in[0]; only where the operator allows it */
    bool twice;                       /* run again and require the same bits */
    bool bare;                        /* no guard bytes: for an interpreter that sees itself what leaves a buffer */
    char served_by[48];               /* out: the variant that computed */
    int commands;                     /* out: how many it took */
} test_run;

/* Computes test->out on the device. Fails, with a text that says what, on any error of lowering or device, a write
 * outside a tensor or to an input, or different bits in the second run. */
mcl_status test_problem_run(mcl_device *device, test_problem *test, test_run *run, mcl_error *error);

/* The worst error / bound over all outputs against the oracle (<= 1 passes). `before` holds what outputs held, for
 * operators that update (may be NULL for others). The text says which element was worst. */
double test_problem_check(const test_problem *test, void *const *before, int64_t limit, char text[256]);

/* All values of an output from the oracle; the caller frees them. NULL where the oracle fails. */
double *test_problem_oracle(const mcl__problem *problem, void *const *in, void *const *before, int output);

/* Copies of the outputs (to keep what they held before a run). */
void test_problem_copy_outputs(const test_problem *test, void *copies[MCL__MAX_OUTPUTS]);
void test_problem_free_outputs(void *copies[MCL__MAX_OUTPUTS]);

/* Random numbers of the tests alone. */
uint64_t test_random(uint64_t *state);
double test_uniform(uint64_t *state, double low, double high);
#endif
