/* Gradient formulae of the oracle against finite differences of the oracle's own forward values, all in double. What devices
 * compute is tied to the oracle by the conformance test. */
#ifndef MCL_TEST_GRADIENT_H
#define MCL_TEST_GRADIENT_H
#include "support/problem.h"

/* n values of the kind that differences are exact of: not near 0, where formulae have kinks. The caller frees them. */
float *test_grid(int n);

/* sum(dy * forward(inputs)), a number that everything here differentiates. */
typedef struct test_objective {
    mcl__problem forward;
    void *in[MCL__MAX_OPERANDS];
    float *dy; /* NULL: all ones times `weight` */
    double weight;
    double (*other)(const struct test_objective *); /* instead of `forward` */
} test_objective;

/* Infers the outputs, or fails the test. */
void test_gradient_infer(mcl__problem *problem);
/* d objective / d x[i] for all n elements of one of its inputs must be gradient[i]. */
void test_expect_gradient(const test_objective *o, float *x, int n, const double *gradient);
/* The backward operator with these two inputs (b may be absent), its values checked against differences in x. */
void test_expect_backward(const test_objective *o, float *x, mcl__op_kind op, mcl__attrs attrs, mcl__shape a_shape, void *a,
                          mcl__shape b_shape, mcl__dtype b_dtype, void *b, mcl__shape dx);
/* Frees what it points to. */
void test_objective_free(test_objective *o);
#endif
