/* Bounds for convolutions that were computed by Winograd's minimal filtering. */
#ifndef MCL_ORACLE_WINOGRAD_H
#define MCL_ORACLE_WINOGRAD_H
#include "ops/oracle/approximate.h"
#include "ops/oracle/oracle.h"

/* `value` is what conv2d or conv2d_bwd_data define for element `index`; the oracle's algorithm is one of Winograd's. */
mcl__approx mcl__winograd_sum(const mcl__oracle *oracle, int64_t index, double value);
/* The same for conv2d_bwd_weight. */
mcl__approx mcl__winograd_weight_sum(const mcl__oracle *oracle, int64_t index, double value);

#endif
