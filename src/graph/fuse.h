/* Rewriting a graph's nodes. */
#ifndef MCL_GRAPH_FUSE_H
#define MCL_GRAPH_FUSE_H
#include "graph/graph.h"

/* Drops dead nodes (dead NULL: none) and sorts the rest by segment, each in the order it had. */
mcl_status mcl__graph_order(mcl__graph *graph, const bool *dead);

/* Takes the gradients of activations that end at bounds into the batch normalisation before them. Before fusion. */
mcl_status mcl__graph_mask(mcl__graph *graph);

/* Makes cheap activations again in the backward pass instead of keeping them; *count: how many. After fusion. */
mcl_status mcl__graph_recompute(mcl__graph *graph, int *count);

#endif
