/* Fusion: a map whose input nobody else reads becomes the end of the node that makes this input, be that a map or an operator
 * that takes an epilogue. The fused node stands where the map stood: all that either needed has been computed by then. */
#include "graph/fuse.h"
#include <stdlib.h>
#include <string.h>

typedef struct fusion {
    mcl__graph *graph;
    int *readers; /* of each tensor; those that outlive the plan's launches count as read once more */
    bool *dead;   /* nodes that became part of another */
} fusion;

static int epilogue_tensors(const mcl__epilogue *epilogue)
{
    return mcl__epilogue_tensors_of(epilogue, 0, epilogue->count);
}

static int own_inputs(const mcl__node *node)
{
    return node->inputs - epilogue_tensors(&node->epilogue) - mcl__epilogue_has_dropout(&node->epilogue);
}

static void count_readers(fusion *work)
{
    const mcl__graph *graph = work->graph;
    for (int i = 0; i < graph->tensors; i++)
        work->readers[i] = graph->tensor[i].kept || graph->tensor[i].bound.buffer || graph->tensor[i].alias >= 0;
    for (int n = 0; n < graph->nodes; n++)
        for (int i = 0; i < graph->node[n].inputs; i++) work->readers[graph->node[n].in[i]]++;
}

/* Would `producer`, moved behind the nodes up to `map`, read something that one of them writes? (A persistent tensor.) */
static bool overwritten(const mcl__graph *graph, int producer, int map)
{
    const mcl__node *node = &graph->node[producer];
    for (int n = producer + 1; n < map; n++)
        for (int o = 0; o < graph->node[n].outputs; o++)
            if (mcl__node_reads(node, graph->node[n].out[o])) return true;
    return false;
}

/* The node that could end with map node `map` applied to its input `x`, or -1. */
static int candidate(const fusion *work, int map, int x)
{
    const mcl__graph *graph = work->graph;
    int producer = graph->tensor[x].producer;
    if (work->readers[x] != 1 || producer < 0 || producer >= map) return -1;
    const mcl__node *node = &graph->node[producer], *end = &graph->node[map];
    bool takes = node->op == MCL__OP_map || mcl__op_get(node->op)->takes_epilogue;
    if (!takes || node->segment != end->segment || node->outputs != 1) return -1;
    if (node->epilogue.count + end->epilogue.count > MCL_EPILOGUE_MAX) return -1;
    int tensors = epilogue_tensors(&node->epilogue) + epilogue_tensors(&end->epilogue);
    if (tensors > MCL_MAP_TENSORS || own_inputs(node) + tensors + 1 > MCL__MAX_OPERANDS) return -1;
    return overwritten(graph, producer, map) ? -1 : producer;
}

/* Inputs of the fused node: the producer's own, the tensors of its codes, those of the map's, the step block. */
static void fuse_into(fusion *work, int producer, int map)
{
    mcl__graph *graph = work->graph;
    const mcl__node *first = &graph->node[producer], *second = &graph->node[map];
    mcl__node fused = *first;
    fused.inputs = own_inputs(first) + epilogue_tensors(&first->epilogue);
    for (int i = 0; i < epilogue_tensors(&second->epilogue); i++) fused.in[fused.inputs++] = second->in[1 + i];
    for (int i = 0; i < second->epilogue.count; i++) fused.epilogue.code[fused.epilogue.count++] = second->epilogue.code[i];
    if (mcl__epilogue_has_dropout(&fused.epilogue)) fused.in[fused.inputs++] = graph->step;
    fused.out[0] = second->out[0];
    graph->tensor[first->out[0]].producer = -1;
    work->dead[producer] = true;
    graph->node[map] = fused;
}

static void try_map(fusion *work, int map)
{
    mcl__node *node = &work->graph->node[map];
    int producer = candidate(work, map, node->in[0]);
    if (node->epilogue.count > 0 && node->epilogue.code[0].code == MCL_EP_ADD) {
        /* a + b is b + a: the later of the two gets the sum, so that less has to move */
        int other = candidate(work, map, node->in[1]);
        if (other > producer) {
            int swap = node->in[0];
            node->in[0] = node->in[1];
            node->in[1] = swap;
            producer = other;
        }
    }
    if (producer >= 0) fuse_into(work, producer, map);
}

/* Statistics of x become outputs of the node that makes x, which has the values at hand. */
static void try_stats(fusion *work, int stats)
{
    mcl__graph *graph = work->graph;
    mcl__node *node = &graph->node[stats];
    int x = node->in[0], producer = graph->tensor[x].producer;
    mcl__node *maker = producer >= 0 && producer < stats ? &graph->node[producer] : NULL;
    if (!maker || !mcl__op_get(maker->op)->takes_epilogue || maker->segment != node->segment || maker->outputs != 1) return;
    if (work->dead[producer] || maker->out[0] != x || maker->epilogue.count == MCL_EPILOGUE_MAX) return;
    maker->epilogue.code[maker->epilogue.count++] = (mcl_epilogue_code){.code = MCL_EP_STATS};
    for (int i = 0; i < 2; i++) maker->out[maker->outputs++] = node->out[i];
    work->dead[stats] = true;
}

bool mcl__node_reads(const mcl__node *node, int tensor)
{
    for (int i = 0; i < node->inputs; i++)
        if (node->in[i] == tensor) return true;
    return false;
}

bool mcl__graph_only_read(const mcl__graph *graph, int tensor)
{
    if (graph->tensor[tensor].kept || graph->tensor[tensor].bound.buffer) return false;
    for (int i = 0; i < graph->tensors; i++)
        if (graph->tensor[i].alias == tensor) return false;
    return true;
}

mcl_status mcl__graph_order(mcl__graph *graph, const bool *dead)
{
    mcl__node *kept = malloc((size_t)(graph->nodes > 0 ? graph->nodes : 1) * sizeof *kept);
    if (!kept) return mcl__fail(&graph->error, MCL_ERROR_MEMORY, "no memory for the graph");
    int count = 0;
    for (int segment = 0; segment < MCL__SEGMENTS; segment++)
        for (int n = 0; n < graph->nodes; n++)
            if (graph->node[n].segment == (mcl__segment)segment && !(dead && dead[n])) kept[count++] = graph->node[n];
    memcpy(graph->node, kept, (size_t)count * sizeof *kept);
    graph->nodes = count;
    free(kept);
    for (int n = 0; n < count; n++)
        for (int i = 0; i < graph->node[n].outputs; i++) graph->tensor[graph->node[n].out[i]].producer = n;
    return MCL_OK;
}

mcl_status mcl__graph_fuse(mcl__graph *graph)
{
    MCL_TRY(mcl__graph_mask(graph));
    MCL_TRY(mcl__graph_commute(graph));
    fusion work = {.graph = graph};
    work.readers = calloc((size_t)graph->tensors, sizeof *work.readers);
    work.dead = calloc((size_t)(graph->nodes > 0 ? graph->nodes : 1), sizeof *work.dead);
    if (work.readers && work.dead) {
        count_readers(&work);
        for (int n = 0; n < graph->nodes; n++)
            if (graph->node[n].op == MCL__OP_map) try_map(&work, n);
        for (int n = 0; n < graph->nodes; n++)
            if (graph->node[n].op == MCL__OP_batch_norm_stats) try_stats(&work, n);
        mcl__graph_order(graph, work.dead);
    } else {
        mcl__fail(&graph->error, MCL_ERROR_MEMORY, "no memory for the graph");
    }
    free(work.readers);
    free(work.dead);
    return graph->error.status;
}
