/* The oracle: every operator's values in double precision, element by element, from the operator's definition alone. It
 * shares no code with kernels or native; tuner, verification and tests check every variant against it. */
#ifndef MCL_ORACLE_H
#define MCL_ORACLE_H
#include "ops/op.h"

typedef struct mcl__oracle mcl__oracle;

/* Prepares what an operator needs from a whole tensor (batch statistics, row maxima). in[i] points at the host copies of the
 * problem's inputs, in the problem's dtypes; they stay borrowed. initial_out[i]: what outputs held before, for operators that
 * update (NULL otherwise). */
mcl_status mcl__oracle_create(const mcl__problem *problem, const void *const *in, const void *const *initial_out,
                              mcl__oracle **oracle, mcl_error *error);
/* Element `index` of output `output`, epilogue included, and a bound on the error of an f32 computation of it, made from the
 * number of terms and their magnitudes (sum of |terms| * c * eps), never a round number. */
double mcl__oracle_value(const mcl__oracle *oracle, int output, int64_t index, double *bound);
/* From now on bounds are those of a variant that computes by `algorithm`; until then, of the plain sum. */
mcl_status mcl__oracle_expect(mcl__oracle *oracle, mcl__algorithm algorithm, mcl_error *error);
void mcl__oracle_destroy(mcl__oracle *oracle);

/* Checks a computed output: all elements when there are at most `limit`, else all edges and `limit` drawn ones. Returns the
 * largest error / bound; *worst is its index. NaN anywhere counts as infinite, unless the oracle has NaN there too. */
double mcl__oracle_check(const mcl__oracle *oracle, int output, const void *computed, int64_t limit, int64_t *worst);
#endif
