/* Batch normalisation, for other operators' files: the merge of partial statistics behind a kernel that ends in STATS, and the
 * gradient, which spans three nodes (statistics, finish, map): the map's gradient asks for it. */
#ifndef MCL_OPS_BATCH_NORM_H
#define MCL_OPS_BATCH_NORM_H
#include "ops/op.h"

/* Partial statistics of a result of C channels, in the layout of kernels/stats.h. A variant that takes STATS has its kernel
 * write `parts` of them, each over rows of its own, and ends with the merge: mean into out(1), variance into out(2). */
uint64_t mcl__stats_bytes(int parts, int C);
void mcl__lower_stats_merge(mcl__lowering *lowering, mcl__operand partial, int parts, int C);

/* `map`: a SCALE_SHIFT of x whose gradient is dy. Where scale and shift come from statistics of this same x, adds the
 * gradients of x, gamma and beta and returns true. */
bool mcl__batch_norm_gradient(mcl__builder *builder, const mcl__node_view *map, int dy);

#endif
