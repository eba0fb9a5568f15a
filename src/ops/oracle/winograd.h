/* Bounds for convolutions that were computed by Winograd's minimal filtering. */
#ifndef MCL_ORACLE_WINOGRAD_H
#define MCL_ORACLE_WINOGRAD_H
#include "ops/oracle/approximate.h"
#include "ops/oracle/oracle.h"

/* What the bounds of all elements share, for an oracle whose problem and algorithm are set; NULL: no memory. */
typedef struct mcl__winograd mcl__winograd;
mcl__winograd *mcl__winograd_prepare(const mcl__oracle *oracle);
void mcl__winograd_free(mcl__winograd *winograd);

/* `value` is what conv2d or conv2d_bwd_data define for element `index`; the oracle's algorithm is one of Winograd's. */
mcl__approx mcl__winograd_sum(const mcl__oracle *oracle, int64_t index, double value);
/* The same for conv2d_bwd_weight. */
mcl__approx mcl__winograd_weight_sum(const mcl__oracle *oracle, int64_t index, double value);

#endif
