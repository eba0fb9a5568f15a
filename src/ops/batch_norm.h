/* The gradient of batch normalisation spans three nodes (statistics, finish, map); the map's gradient asks for it here. */
#ifndef MCL_OPS_BATCH_NORM_H
#define MCL_OPS_BATCH_NORM_H
#include "ops/op.h"

/* `map`: a SCALE_SHIFT of x whose gradient is dy. Where scale and shift come from statistics of this same x, adds the
 * gradients of x, gamma and beta and returns true. */
bool mcl__batch_norm_gradient(mcl__builder *builder, const mcl__node_view *map, int dy);

#endif
