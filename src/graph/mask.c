/* The gradient of an activation behind batch normalisation, dz = dy where y is not at a bound, needs no pass of its own: where
 * nothing else reads dz, the two gradients of batch normalisation take dy and find what counts from their x. So y is read by
 * one node less of the backward pass, and dz is never written. Before fusion, when a map is one code. */
#include "graph/fuse.h"
#include <stdlib.h>

/* The node that makes `tensor` as a map of one code of this kind, or NULL. */
static const mcl__node *map_of(const mcl__graph *graph, int tensor, int code)
{
    int producer = graph->tensor[tensor].producer;
    const mcl__node *node = producer >= 0 ? &graph->node[producer] : NULL;
    return node && node->op == MCL__OP_map && node->epilogue.count == 1 && node->epilogue.code[0].code == code ? node : NULL;
}

static bool ends_at_bounds(int act)
{
    return act == MCL_ACT_RELU || act == MCL_ACT_RELU6;
}

/* The map dz = activation'(y) * dy behind a gradient of batch normalisation that can do this itself, or NULL. */
static const mcl__node *derivative_before(const mcl__graph *graph, const mcl__node *node)
{
    if (node->op != MCL__OP_batch_norm_bwd_reduce && node->op != MCL__OP_batch_norm_bwd_data) return NULL;
    const mcl__node *derivative = map_of(graph, node->in[1], MCL_EP_DACT);
    const mcl__node *activation = derivative ? map_of(graph, derivative->in[1], MCL_EP_ACT) : NULL;
    const mcl__node *scaled = activation ? map_of(graph, activation->in[0], MCL_EP_SCALE_SHIFT) : NULL;
    if (!scaled || scaled->in[0] != node->in[0] || scaled->in[1] != node->in[4] || scaled->in[2] != node->in[5]) return NULL;
    int act = derivative->epilogue.code[0].act;
    return act == activation->epilogue.code[0].act && ends_at_bounds(act) && node->attrs.norm.act == 0 ? derivative : NULL;
}

/* Does anything but such gradients need dz? */
static bool read_by_others(const mcl__graph *graph, int dz)
{
    if (!mcl__graph_only_read(graph, dz)) return true;
    for (int n = 0; n < graph->nodes; n++) {
        const mcl__node *node = &graph->node[n];
        for (int i = 0; i < node->inputs; i++)
            if (node->in[i] == dz && (i != 1 || !derivative_before(graph, node))) return true;
    }
    return false;
}

/* The derivative's node has no readers afterwards, and goes. */
static void take(mcl__graph *graph, const mcl__node *derivative)
{
    int dz = derivative->out[0], act = derivative->epilogue.code[0].act;
    for (int n = 0; n < graph->nodes; n++) {
        mcl__node *node = &graph->node[n];
        if (node == derivative || node->inputs < 2 || node->in[1] != dz) continue;
        node->in[1] = derivative->in[0];
        node->attrs.norm.act = act;
    }
}

mcl_status mcl__graph_mask(mcl__graph *graph)
{
    if (graph->error.status != MCL_OK) return graph->error.status;
    bool *dead = calloc((size_t)(graph->nodes > 0 ? graph->nodes : 1), sizeof *dead);
    if (!dead) return mcl__fail(&graph->error, MCL_ERROR_MEMORY, "no memory for the graph");
    for (int n = 0; n < graph->nodes; n++) {
        const mcl__node *derivative = derivative_before(graph, &graph->node[n]);
        if (!derivative || read_by_others(graph, derivative->out[0])) continue;
        dead[derivative - graph->node] = true;
        take(graph, derivative);
    }
    mcl__graph_order(graph, dead);
    free(dead);
    return graph->error.status;
}
