/* The graph: tensors and nodes of one purpose at one batch size, from loading a batch to updating parameters. Layers add the
 * forward part, differentiation adds the backward part, mcl__graph_update the rest; passes then see all of it. */
#ifndef MCL_GRAPH_GRAPH_H
#define MCL_GRAPH_GRAPH_H
#include "graph/model.h"

/* What runs together, in this order. Other forms of parameters have no nodes: a plan makes them before COMPUTE. */
typedef enum mcl__segment { MCL__LOAD, MCL__COMPUTE, MCL__REDUCE, MCL__UPDATE, MCL__SEGMENTS } mcl__segment;

typedef struct mcl__tensor {
    const char *name; /* in the graph's arena */
    mcl__shape shape;
    mcl__dtype dtype;
    mcl__view bound;  /* persistent or given: where it lives; bound.buffer NULL: the plan places it */
    mcl__view second; /* what LOAD alone reads may lie here in its other turns; second.buffer NULL: it is in one place */
    bool parameter;   /* its derived forms follow the model's generation */
    bool kept;        /* read by the host after the plan ran: memory not shared with later tensors */
    int slot;         /* trainable parameter: index in model->parameter; else -1 */
    int alias;        /* a view of this tensor; -1: none */
    int producer;     /* node; -1: none */
} mcl__tensor;

typedef struct mcl__node {
    mcl__op_kind op;
    mcl__segment segment;
    const char *name; /* the layer's path, "layer1.0.conv1", or what it is for */
    mcl__attrs attrs;
    mcl__prologue prologue;
    mcl__epilogue epilogue;
    int inputs, outputs;
    int in[MCL__MAX_OPERANDS], out[MCL__MAX_OUTPUTS];
    bool backward; /* made by differentiation */
} mcl__node;

typedef struct mcl__graph {
    mcl__model *model;
    mcl__tensor *tensor;
    mcl__node *node;
    int tensors, nodes, tensor_capacity, node_capacity;
    int step, record; /* tensors of the step block and the run's record */
    bool training;
    mcl__arena arena;
    mcl_error error;  /* the first failure; adding to a failed graph does nothing and gives -1 */
} mcl__graph;

mcl_status mcl__graph_create(mcl__model *model, bool training, mcl__graph **graph);
void mcl__graph_destroy(mcl__graph *graph);

/* Tensors that nothing computes: bound to memory that the caller owns. */
int mcl__graph_tensor(mcl__graph *graph, const char *name, mcl__shape shape, mcl__dtype dtype, mcl__view bound);
/* Gives such a tensor, which only nodes of LOAD read, a second place of the same size: mcl__plan_place chooses. */
void mcl__graph_second_place(mcl__graph *graph, int tensor, mcl__view second);
int mcl__graph_parameter(mcl__graph *graph, const char *name);             /* of the model, by slot name; -1 and error if missing */
int mcl__graph_running(mcl__graph *graph, const char *name, bool pending); /* running statistic, or its pending value */

/* A node; shapes are inferred and checked, the text of a failure begins with the node's name. Returns its first output; the
 * next outputs' ids follow it. epilogue NULL: none. */
int mcl__graph_node(mcl__graph *graph, mcl__segment segment, const char *name, mcl__op_kind op, const mcl__attrs *attrs,
                    const mcl__epilogue *epilogue, const int *inputs, int count);
/* A node whose outputs are existing tensors (persistent ones, or slices of slabs). */
void mcl__graph_node_into(mcl__graph *graph, mcl__segment segment, const char *name, mcl__op_kind op, const mcl__attrs *attrs,
                          const int *inputs, int count, const int *outputs, int output_count);
/* A node with just this work, prologue and epilogue included, between existing tensors of the problem's shapes. */
void mcl__graph_problem_node(mcl__graph *graph, const char *name, const mcl__problem *problem, const int *inputs,
                             const int *outputs);
/* y = code(x, tensors) as a map; t and u -1 when unused; the step block is added for DROPOUT. */
int mcl__graph_map(mcl__graph *graph, const char *name, const mcl_epilogue_code *code, int x, int t, int u);

/* Adds the gradient of the loss (an output of a loss operator) with respect to every trainable parameter it depends on; each
 * lands in the model's gradient slab. Parameters that the loss does not depend on get zeros. */
mcl_status mcl__graph_differentiate(mcl__graph *graph, int loss);
/* Adds to compute, where micro-batches are accumulated, the sum of their gradients; to reduce the guard; to update the optimiser
 * (one node a group) and the commit of running statistics. */
mcl_status mcl__graph_update(mcl__graph *graph);

/* A tensor that nothing makes yet; -1 on error. */
int mcl__graph_unmade(mcl__graph *graph, const char *name, mcl__shape shape, mcl__dtype dtype);
/* Another of the same name, shape and type. */
int mcl__graph_twin(mcl__graph *graph, int tensor);

/* Fusion: chains of map nodes become one, and move into the epilogue of their producer, where the intermediate has no other
 * reader and is not kept; at most six codes. Statistics by channel end the epilogue of what makes their input. */
mcl_status mcl__graph_fuse(mcl__graph *graph);

mcl__problem mcl__graph_problem(const mcl__graph *graph, const mcl__node *node);
double mcl__graph_flops(const mcl__graph *graph, const mcl__node *node);

#endif
