/* Less memory for a little work: an activation that a map of channels' numbers makes is not kept for the backward pass, but made
 * again just before it is first read there. Only where the map's own input lives that long anyway. The numbers stay the same. */
#include "graph/fuse.h"
#include <stdlib.h>
#include <string.h>

/* Numbers by channel and activations: nothing large but x is read again, and nothing is drawn. */
static bool cheap(const mcl__node *node)
{
    if (node->op != MCL__OP_map || node->backward || node->segment != MCL__COMPUTE || node->outputs != 1) return false;
    for (int i = 0; i < node->epilogue.count; i++) {
        int code = node->epilogue.code[i].code;
        if (code != MCL_EP_BIAS && code != MCL_EP_SCALE_SHIFT && code != MCL_EP_ACT && code != MCL_EP_SCALE) return false;
    }
    return true;
}

static bool reads(const mcl__node *node, int tensor)
{
    for (int i = 0; i < node->inputs; i++)
        if (node->in[i] == tensor) return true;
    return false;
}

/* The node before which the result of node `map` is to be made again, or -1. */
static int remake_at(const mcl__graph *graph, int map)
{
    const mcl__node *node = &graph->node[map];
    int y = node->out[0], x = node->in[0], first = -1;
    bool forward = false, alive = graph->tensor[x].bound.buffer != NULL;
    if (!cheap(node) || !mcl__graph_only_read(graph, y)) return -1;
    for (int n = map + 1; n < graph->nodes; n++) {
        if (reads(&graph->node[n], y)) {
            if (!graph->node[n].backward) forward = true;
            else if (first < 0) first = n;
        }
        alive |= first >= 0 && reads(&graph->node[n], x);
    }
    return forward && alive ? first : -1;
}

/* Nodes in a new order: those that make something again each before the first that reads it. */
static mcl_status insert(mcl__graph *graph, const int *before, const int *twin, int count)
{
    mcl__node *node = malloc((size_t)(graph->nodes + count) * sizeof *node);
    if (!node) return mcl__fail(&graph->error, MCL_ERROR_MEMORY, "no memory for the graph");
    int made = 0;
    for (int n = 0; n < graph->nodes; n++) {
        for (int map = 0; map < n; map++) {
            if (before[map] != n) continue;
            node[made] = graph->node[map];
            node[made].backward = true;
            node[made++].out[0] = twin[map];
        }
        node[made++] = graph->node[n];
    }
    free(graph->node);
    graph->node = node;
    graph->nodes = graph->node_capacity = made;
    return mcl__graph_order(graph, NULL);
}

mcl_status mcl__graph_recompute(mcl__graph *graph, int *count)
{
    *count = 0;
    if (graph->error.status != MCL_OK || graph->nodes == 0) return graph->error.status;
    int *before = malloc((size_t)graph->nodes * sizeof *before), *twin = malloc((size_t)graph->nodes * sizeof *twin);
    for (int map = 0; before && twin && map < graph->nodes; map++) {
        int source = graph->tensor[graph->node[map].in[0]].producer;
        bool gone = source >= 0 && source < map && before[source] >= 0; /* its own input is not kept */
        before[map] = gone ? -1 : remake_at(graph, map);
        if (before[map] < 0) continue;
        int y = graph->node[map].out[0];
        twin[map] = mcl__graph_twin(graph, y);
        for (int n = before[map]; n < graph->nodes; n++)
            for (int i = 0; i < graph->node[n].inputs; i++)
                if (graph->node[n].backward && graph->node[n].in[i] == y) graph->node[n].in[i] = twin[map];
        ++*count;
    }
    if (!before || !twin) mcl__fail(&graph->error, MCL_ERROR_MEMORY, "no memory for the graph");
    else if (*count > 0 && graph->error.status == MCL_OK) insert(graph, before, twin, *count);
    free(before);
    free(twin);
    return graph->error.status;
}
