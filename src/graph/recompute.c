/* Less memory for a little work: an activation that a map makes of one tensor or a sum of two is not kept for the backward pass,
 * but made again just before it is first read there. Only where what the map reads lives that long anyway: of residual blocks that
 * follow each other it is every second sum. The numbers stay the same. */
#include "graph/fuse.h"
#include "graph/memory.h"
#include <stdlib.h>
#include <string.h>

/* Numbers by channel, activations and a sum: nothing is drawn. */
static bool cheap(const mcl__node *node)
{
    if (node->op != MCL__OP_map || node->backward || node->segment != MCL__COMPUTE || node->outputs != 1) return false;
    for (int i = 0; i < node->epilogue.count; i++) {
        int code = node->epilogue.code[i].code;
        if (code != MCL_EP_BIAS && code != MCL_EP_SCALE_SHIFT && code != MCL_EP_ACT && code != MCL_EP_SCALE &&
            code != MCL_EP_ADD)
            return false;
    }
    return true;
}

/* Is a tensor bound to memory, or read by `node` or a later one? */
static bool alive_at(const mcl__graph *graph, int tensor, int node)
{
    if (graph->tensor[tensor].bound.buffer) return true;
    for (int n = node; n < graph->nodes; n++)
        if (mcl__node_reads(&graph->node[n], tensor)) return true;
    return false;
}

/* The node before which the result of node `map` is to be made again, or -1. */
static int remake_at(const mcl__graph *graph, int map)
{
    const mcl__node *node = &graph->node[map];
    int y = node->out[0], first = -1;
    bool forward = false;
    if (!cheap(node) || !mcl__graph_only_read(graph, y)) return -1;
    for (int n = map + 1; n < graph->nodes && first < 0; n++) {
        if (!mcl__node_reads(&graph->node[n], y)) continue;
        if (graph->node[n].backward) first = n;
        else forward = true;
    }
    if (!forward || first < 0) return -1;
    for (int i = 0; i < node->inputs; i++) { /* numbers by channel are too small to count */
        bool large = mcl__tensor_bytes(&graph->tensor[node->in[i]]) == mcl__tensor_bytes(&graph->tensor[y]);
        if (large && !alive_at(graph, node->in[i], first)) return -1;
    }
    return first;
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

/* The work of a node, in FLOPs: its own, and those that a device could do while its activations move. Of GPUs that are 10 to 60 for
 * a byte, of CPUs 4. */
static double cost(const mcl__graph *graph, const mcl__node *node)
{
    enum { FLOPS_A_BYTE = 30 };
    double bytes = 0;
    for (int i = 0; i < node->inputs + node->outputs; i++) {
        const mcl__tensor *tensor = &graph->tensor[i < node->inputs ? node->in[i] : node->out[i - node->inputs]];
        if (!tensor->bound.buffer && tensor->alias < 0) bytes += (double)mcl__tensor_bytes(tensor);
    }
    return mcl__graph_flops(graph, node) + FLOPS_A_BYTE * bytes;
}

mcl_status mcl__graph_recompute(mcl__graph *graph, double share, int *count)
{
    double left = 0;
    *count = 0;
    if (graph->error.status != MCL_OK || graph->nodes == 0) return graph->error.status;
    for (int n = 0; n < graph->nodes; n++) left += share * cost(graph, &graph->node[n]);
    int *before = malloc((size_t)graph->nodes * sizeof *before), *twin = malloc((size_t)graph->nodes * sizeof *twin);
    for (int map = 0; before && twin && map < graph->nodes; map++) {
        before[map] = cost(graph, &graph->node[map]) > left ? -1 : remake_at(graph, map);
        if (before[map] < 0) continue;
        left -= cost(graph, &graph->node[map]);
        int y = graph->node[map].out[0];
        twin[map] = mcl__graph_twin(graph, y);
        if (twin[map] < 0) break;
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
