/* Normalised activations that nobody writes: a map of scale and shift by channel, perhaps with an activation, becomes the prologue
 * of the nodes that read its result, where each node of the forward pass applies it while it loads. In the backward pass a weight
 * gradient whose kernels do not is given the map's result in workspace by lowering: then that is made again rather than kept. */
#include "graph/fuse.h"
#include <stdlib.h>
#include <string.h>

/* SCALE_SHIFT, or SCALE_SHIFT and ACT. */
static bool normalises(const mcl__node *node)
{
    const mcl__epilogue *codes = &node->epilogue;
    if (node->op != MCL__OP_map || node->backward || node->segment != MCL__COMPUTE || node->outputs != 1) return false;
    if (codes->count < 1 || codes->count > MCL__PROLOGUE_MAX || codes->code[0].code != MCL_EP_SCALE_SHIFT) return false;
    return codes->count == 1 || codes->code[1].code == MCL_EP_ACT;
}

/* The reader of the map's result with its codes as a prologue; its tensors stand behind the operator's own inputs. */
static mcl__node with_prologue(const mcl__node *reader, const mcl__node *map)
{
    mcl__node node = *reader;
    int own = mcl__op_get(node.op)->inputs, added = map->inputs - 1;
    memmove(&node.in[own + added], &reader->in[own], (size_t)(reader->inputs - own) * sizeof *node.in);
    memcpy(&node.in[own], &map->in[1], (size_t)added * sizeof *node.in);
    node.inputs += added;
    node.in[0] = map->in[0];
    node.prologue.count = map->epilogue.count;
    for (int i = 0; i < map->epilogue.count; i++) node.prologue.code[i] = map->epilogue.code[i];
    return node;
}

/* Can this reader of the map's result do without? `applies`: it must apply the codes itself. */
static bool can_take(const mcl__graph *graph, const mcl__node *reader, const mcl__node *map, bool applies,
                     const mcl__capabilities *capabilities, const char *force)
{
    if (!mcl__op_get(reader->op)->takes_prologue || reader->prologue.count > 0) return false;
    if (reader->inputs + map->inputs - 1 > MCL__MAX_OPERANDS) return false;
    for (int i = 1; i < reader->inputs; i++)
        if (reader->in[i] == map->out[0]) return false;
    mcl__node taken = with_prologue(reader, map);
    mcl__problem problem = mcl__graph_problem(graph, &taken);
    return !applies || mcl__tuning_takes_prologue(&graph->model->tuning, &problem, capabilities, force);
}

static bool all_can_take(const mcl__graph *graph, const mcl__node *map, const mcl__capabilities *capabilities, const char *force)
{
    int y = map->out[0];
    if (!mcl__graph_only_read(graph, y)) return false;
    for (int n = 0; n < graph->nodes; n++) {
        const mcl__node *reader = &graph->node[n];
        if (mcl__node_reads(reader, y) && !can_take(graph, reader, map, !reader->backward, capabilities, force)) return false;
    }
    return true;
}

mcl_status mcl__graph_prologue(mcl__graph *graph, const mcl__capabilities *capabilities, const char *force)
{
    if (graph->error.status != MCL_OK) return graph->error.status;
    bool *dead = calloc((size_t)(graph->nodes > 0 ? graph->nodes : 1), sizeof *dead);
    if (!dead) return mcl__fail(&graph->error, MCL_ERROR_MEMORY, "no memory for the graph");
    for (int m = 0; m < graph->nodes; m++) {
        const mcl__node *map = &graph->node[m];
        if (!normalises(map) || !all_can_take(graph, map, capabilities, force)) continue;
        for (int n = m + 1; n < graph->nodes; n++)
            if (mcl__node_reads(&graph->node[n], map->out[0])) graph->node[n] = with_prologue(&graph->node[n], map);
        dead[m] = true;
    }
    mcl__graph_order(graph, dead);
    free(dead);
    return graph->error.status;
}
