/* A plan: a graph lowered for the model's device, its memory placed, every launch bound, ready to be replayed. Running it
 * allocates nothing, binds nothing and waits for nothing (but a full ring). */
#ifndef MCL_GRAPH_PLAN_H
#define MCL_GRAPH_PLAN_H
#include "graph/graph.h"

typedef struct mcl__plan mcl__plan;

typedef enum mcl__recompute { MCL__RECOMPUTE_AUTO, MCL__RECOMPUTE_ON, MCL__RECOMPUTE_OFF } mcl__recompute;

typedef struct mcl__plan_options {
    bool no_fuse;          /* `fuse: off` */
    mcl__recompute recompute; /* make cheap activations again in the backward pass; auto: those that are nearly free, and all when
                               * there is too little memory else */
    bool no_share;         /* every tensor its own memory, for tests */
    const char *variant;   /* force variants by name; NULL: the device's option, else choose */
    bool dry;              /* for its statistics alone: nothing is allocated, bound or compiled, however little memory there is */
} mcl__plan_options;

typedef struct mcl__plan_statistics {
    int nodes, launches[MCL__SEGMENTS], derive_launches, products; /* products: served by a library */
    uint64_t planned_bytes; /* peak of activations, gradients of activations and workspace, as placed */
    uint64_t sum_bytes;     /* the same tensors and workspaces without sharing */
    uint64_t derived_bytes, model_bytes, data_bytes;
    double flops;           /* of one replay */
} mcl__plan_statistics;

/* The passes over the graph that a plan begins with; for those who want to know its nodes and no plan. */
mcl_status mcl__plan_prepare(mcl__graph *graph, const mcl__plan_options *options);

/* Takes the graph (destroyed with the plan, or on failure). Makes every slab, so that too little memory shows here, unless the
 * device puts it off to its use: MCL_ERROR_MEMORY says how much was wanted and how much there is. */
mcl_status mcl__plan_create(mcl__graph *graph, const mcl__plan_options *options, mcl__plan **plan, mcl_error *error);
void mcl__plan_destroy(mcl__plan *plan);

/* Writes the step block through the ring (in queue order), then replays segments. Running UPDATE raises the model's generation;
 * derived forms are remade before COMPUTE where they are older. */
mcl_status mcl__plan_step(mcl__plan *plan, const mcl_step *step);
mcl_status mcl__plan_run(mcl__plan *plan, mcl__segment segment);
/* Which place LOAD reads from now on, of tensors that have two: 0, as it is at first, or 1. */
void mcl__plan_place(mcl__plan *plan, int place);

/* Where a kept or bound tensor is. */
mcl__view mcl__plan_view(const mcl__plan *plan, int tensor);
const mcl__graph *mcl__plan_graph(const mcl__plan *plan);
mcl__plan_statistics mcl__plan_get_statistics(const mcl__plan *plan);

/* Replays COMPUTE node by node (LOAD and the step block done before) and names the first node, in order, with a NaN or infinity
 * in a floating-point output: *name (the plan's), *backward. *name NULL: none found. Waits; slow. */
mcl_status mcl__plan_find_bad(mcl__plan *plan, const char **name, const char **op, bool *backward);

/* One node as it was lowered: what it is, and what it has to do. */
typedef struct mcl__node_report {
    const char *name, *variant; /* live as long as the plan; variant NULL: a view, without any work */
    const char *choice;         /* the variant with its parameters */
    mcl__origin origin;         /* who chose it */
    mcl__algorithm algorithm;
    char op[96], shape[64];     /* "conv2d +bias +relu"; of the first output */
    int launches;
    double flops, bytes;        /* read and written, each tensor once, and workspace */
} mcl__node_report;
mcl__node_report mcl__plan_node(const mcl__plan *plan, int node);

/* Adds what serves each node that something else could serve too, as rows that a checkpoint records. */
mcl_status mcl__plan_choices(const mcl__plan *plan, mcl__tuning *rows, mcl_error *error);

/* Replays every segment once, the step block done before, and adds each node's device time to seconds[node], and that of derived
 * forms to seconds[nodes of the graph]. The device was opened with profiling. Waits after each node. */
mcl_status mcl__plan_profile(mcl__plan *plan, double *seconds);

/* The text of --explain: a line a node (name, operator, output shape, variant and who chose it, launches, bytes, library products),
 * then totals, peak memory, what a batch needs. Allocated with malloc. */
char *mcl__plan_explain(const mcl__plan *plan);

#endif
