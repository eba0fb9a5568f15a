/* The guard need not read a gradient whose squares were added up when it was written. One is taken so, the largest, where the
 * kernel that makes it does that at a fraction of what reading it again takes: of networks with dense layers that is most of what
 * there is to read (97 % of lenet's parameters). Only where each step has one backward pass. */
#include "base/divide.h"
#include "graph/fuse.h"
#include <assert.h>

#define LEAST (1 << 16) /* parameters: fewer are read in the time of another launch */

/* Where the node writes in the gradient slab, or -1. */
static int slot_offset(const mcl__graph *graph, const mcl__node *node)
{
    mcl__view bound = graph->tensor[node->out[0]].bound;
    return bound.buffer && bound.buffer == graph->model->gradient.buffer ? (int)(bound.offset / sizeof(float)) : -1;
}

static int elements(const mcl__graph *graph, const mcl__node *node)
{
    return mcl__shape_elements(graph->tensor[node->out[0]].shape);
}

static mcl__node with_squares(const mcl__node *node)
{
    mcl__node asked = *node;
    asked.attrs.dense.squares = 1;
    return asked;
}

static bool can_take(const mcl__graph *graph, const mcl__node *node, const mcl__capabilities *capabilities, const char *force)
{
    if (node->op != MCL__OP_dense_bwd_weight || node->outputs != 1 || slot_offset(graph, node) < 0) return false;
    mcl__node asked = with_squares(node);
    mcl__problem problem = mcl__graph_problem(graph, &asked);
    return mcl__tuning_takes_squares(&graph->model->tuning, &problem, capabilities, force);
}

static mcl__node *find_guard(mcl__graph *graph)
{
    for (int n = 0; n < graph->nodes; n++)
        if (graph->node[n].op == MCL__OP_guard) return &graph->node[n];
    return NULL;
}

mcl_status mcl__graph_squares(mcl__graph *graph, const mcl__capabilities *capabilities, const char *force)
{
    if (graph->error.status != MCL_OK) return graph->error.status;
    mcl__node *guard = find_guard(graph), *largest = NULL;
    if (!guard || graph->tensor[guard->in[0]].bound.buffer != graph->model->gradient.buffer) return MCL_OK;
    for (int n = 0; n < graph->nodes; n++) {
        mcl__node *node = &graph->node[n];
        if (!can_take(graph, node, capabilities, force) || elements(graph, node) < LEAST) continue;
        if (!largest || elements(graph, node) > elements(graph, largest)) largest = node;
    }
    if (!largest) return MCL_OK;

    int first = slot_offset(graph, largest), known = mcl__round_up(elements(graph, largest), MCL_SQUARES_STEP);
    assert(first % MCL_SQUARES_STEP == 0 && first + known <= graph->model->gradient.elements); /* model.c aligns; zeros between */
    int squares = mcl__graph_unmade(graph, largest->name, (mcl__shape){1, {1}}, MCL_F32);
    if (squares < 0) return graph->error.status;
    *largest = with_squares(largest);
    largest->out[largest->outputs++] = squares;
    guard->in[guard->inputs++] = squares;
    guard->attrs.guard.first = first;
    guard->attrs.guard.known = known;
    return MCL_OK;
}
