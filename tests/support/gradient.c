/* Gradients against finite differences; gradient.h says of what. */
#include "support/gradient.h"
#include <check.h>
#include <math.h>
#include <stdlib.h>

/* Values are multiples of 2^-8 and steps powers of two, so that x + h is exact in f32 and only the differences' own error remains:
 * Richardson's extrapolation leaves a term of h^4. */
#define STEP 0x1p-7
#define TOLERANCE 2e-6

static uint64_t seed;

/* Multiples of 2^-8 in (-2, 2), away from the kinks at 0 by more than a step. */
static float grid(uint64_t *random)
{
    int value = (int)(test_random(random) % 1000) - 500;
    if (abs(value) < 8) value = 8;
    return (float)value / 256.0f;
}

float *test_grid(int n)
{
    float *values = malloc((size_t)n * sizeof *values);
    ck_assert_ptr_nonnull(values);
    for (int i = 0; i < n; i++) values[i] = grid(&seed);
    return values;
}

static double evaluate(const test_objective *o)
{
    if (o->other) return o->other(o);
    double *y = test_problem_oracle(&o->forward, o->in, NULL, 0), sum = 0;
    ck_assert_ptr_nonnull(y);
    for (int i = 0; i < mcl__shape_elements(o->forward.out[0]); i++)
        sum += y[i] * (o->dy ? (double)o->dy[i] : o->weight);
    free(y);
    return sum;
}

static double central(const test_objective *o, float *x, float h)
{
    float middle = *x;
    *x = middle + h;
    double above = evaluate(o);
    *x = middle - h;
    double below = evaluate(o);
    *x = middle;
    return (above - below) / (2 * (double)h);
}

void test_expect_gradient(const test_objective *o, float *x, int n, const double *gradient)
{
    double scale = 1;
    ck_assert_ptr_nonnull(gradient);
    for (int i = 0; i < n; i++) scale = fmax(scale, fabs(gradient[i]));
    for (int i = 0; i < n; i++) {
        double wide = central(o, &x[i], (float)STEP), narrow = central(o, &x[i], (float)STEP / 2);
        double difference = (4 * narrow - wide) / 3;
        ck_assert_msg(fabs(difference - gradient[i]) <= TOLERANCE * scale,
                      "element %d: differences give %.9g, the oracle %.9g", i, difference, gradient[i]);
    }
}

void test_gradient_infer(mcl__problem *problem)
{
    mcl_error error = {0};
    mcl_status status = test_problem_infer(problem, &error);
    ck_assert_msg(status == MCL_OK, "%s", error.text);
}

void test_expect_backward(const test_objective *o, float *x, mcl__op_kind op, mcl__attrs attrs, mcl__shape a_shape, void *a,
                          mcl__shape b_shape, mcl__dtype b_dtype, void *b, mcl__shape dx)
{
    mcl__problem backward = {.op = op, .attrs = attrs};
    test_problem_input(&backward, MCL_F32, a_shape.rank, a_shape.d);
    if (b) test_problem_input(&backward, b_dtype, b_shape.rank, b_shape.d);
    test_gradient_infer(&backward);
    ck_assert(mcl__shape_equal(backward.out[0], dx));
    double *gradient = test_problem_oracle(&backward, (void *[]){a, b}, NULL, 0);
    test_expect_gradient(o, x, mcl__shape_elements(dx), gradient);
    free(gradient);
}

void test_objective_free(test_objective *o)
{
    for (int i = 0; i < o->forward.inputs; i++) free(o->in[i]);
    free(o->dy);
}
