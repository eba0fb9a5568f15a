/* Sums of squares, for other operators' files: a weight gradient whose kernel adds up the squares of what it writes ends with this
 * launch, and the guard need not read that gradient again. */
#ifndef MCL_OPS_OUTCOME_H
#define MCL_OPS_OUTCOME_H
#include "ops/op.h"

bool mcl__squares_finish_applies(const mcl__capabilities *capabilities);
/* `squares` = the sum of `parts` floats, in an order of its own that is always the same. */
void mcl__lower_squares_finish(mcl__lowering *lowering, mcl__operand partial, int parts, mcl__operand squares);

#endif
