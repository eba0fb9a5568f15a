/* Rewriting a graph's nodes. */
#ifndef MCL_GRAPH_FUSE_H
#define MCL_GRAPH_FUSE_H
#include "graph/graph.h"

/* Drops dead nodes (dead NULL: none) and sorts the rest by segment, each in the order it had. */
mcl_status mcl__graph_order(mcl__graph *graph, const bool *dead);

/* Takes the gradients of activations that end at bounds into the batch normalisation before them. Before fusion. */
mcl_status mcl__graph_mask(mcl__graph *graph);

/* Takes the gradients of activations before max pooling to where they are small. Before fusion. */
mcl_status mcl__graph_commute(mcl__graph *graph);

/* Applies normalisation and activation where their result is read, if the variants of all readers do so while loading. After
 * fusion. */
mcl_status mcl__graph_prologue(mcl__graph *graph, const mcl__capabilities *capabilities, const char *force);

/* Has the largest gradient's kernel add up the squares that the guard needs. After prologues, whose variants have a say. */
mcl_status mcl__graph_squares(mcl__graph *graph, const mcl__capabilities *capabilities, const char *force);

bool mcl__node_reads(const mcl__node *node, int tensor);
/* Is a tensor there only for the nodes that read it: not kept, not bound to memory, without views? */
bool mcl__graph_only_read(const mcl__graph *graph, int tensor);

/* Makes cheap activations again in the backward pass instead of keeping them, the first of the graph first, as long as that adds no
 * more than this share to what the graph computes and moves; *count: how many. After fusion. */
mcl_status mcl__graph_recompute(mcl__graph *graph, double share, int *count);

#endif
