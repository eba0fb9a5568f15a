/* Differentiation: walks the nodes from the loss backwards and lets each operator add the nodes of its gradient through the
 * builder of op.h. A tensor's contributions are added up, in an order that the graph fixes, when they are first asked for. */
#include "base/arena.h"
#include "graph/graph.h"
#include "graph/memory.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct contribution { int tensor, gradient; } contribution; /* tensor -1: merged into an earlier one */

struct mcl__builder {
    mcl__graph *graph;
    mcl__node *forward; /* a copy of the nodes to differentiate: it stays where it is while nodes are added */
    int nodes, tensors; /* of the forward part */
    bool *wanted;       /* for each of those tensors: does it depend on a trainable parameter? */
    contribution *contribution;
    size_t contributions, capacity;
    const char *name;   /* of the layer that is being differentiated */
};

static bool failed(const mcl__builder *builder)
{
    return builder->graph->error.status != MCL_OK;
}

int mcl__build(mcl__builder *builder, mcl__op_kind op, const mcl__attrs *attrs, const mcl__epilogue *epilogue, const int *inputs,
               int count)
{
    mcl__graph *graph = builder->graph;
    int first = mcl__graph_node(graph, MCL__COMPUTE, builder->name, op, attrs, epilogue, inputs, count);
    if (first >= 0) graph->node[graph->nodes - 1].backward = true;
    return first;
}

mcl__shape mcl__build_shape(const mcl__builder *builder, int tensor)
{
    if (tensor < 0 || tensor >= builder->graph->tensors) return (mcl__shape){1, {1}};
    return builder->graph->tensor[tensor].shape;
}

int mcl__build_map(mcl__builder *builder, const mcl_epilogue_code *code, int x, int t, int u)
{
    mcl__graph *graph = builder->graph;
    int y = mcl__graph_map(graph, builder->name, code, x, t, u);
    if (y >= 0) graph->node[graph->nodes - 1].backward = true;
    return y;
}

bool mcl__build_wanted(const mcl__builder *builder, int tensor)
{
    return tensor >= 0 && tensor < builder->tensors && builder->wanted[tensor];
}

static bool takes_epilogue(const mcl__graph *graph, int tensor)
{
    int producer = graph->tensor[tensor].producer;
    return producer >= 0 && mcl__op_get(graph->node[producer].op)->takes_epilogue;
}

/* What the sum starts with: the last contribution that an operator made which can add the others in its epilogue, else the
 * last one. */
static contribution *first_summand(mcl__builder *builder, int tensor)
{
    contribution *first = NULL;
    bool takes = false;
    for (size_t i = 0; i < builder->contributions; i++) {
        contribution *item = &builder->contribution[i];
        if (item->tensor != tensor) continue;
        bool can = takes_epilogue(builder->graph, item->gradient);
        if (can || !takes) first = item;
        takes |= can;
    }
    return first;
}

int mcl__build_gradient(mcl__builder *builder, int tensor)
{
    mcl_epilogue_code add = {.code = MCL_EP_ADD};
    contribution *sum = failed(builder) || tensor < 0 ? NULL : first_summand(builder, tensor);
    if (!sum) return -1;
    for (size_t i = 0; i < builder->contributions; i++) {
        contribution *item = &builder->contribution[i];
        if (item->tensor != tensor || item == sum) continue;
        sum->gradient = mcl__build_map(builder, &add, sum->gradient, item->gradient, -1);
        item->tensor = -1;
    }
    return sum->gradient;
}

void mcl__build_contribute(mcl__builder *builder, int tensor, int gradient)
{
    char one[64], other[64];
    if (failed(builder) || gradient < 0 || !mcl__build_wanted(builder, tensor)) return;
    mcl__shape shape = mcl__build_shape(builder, tensor), given = mcl__build_shape(builder, gradient);
    if (!mcl__shape_equal(shape, given)) {
        mcl__build_fail(builder, MCL_ERROR_SHAPE, "a gradient of %s for a tensor of %s", mcl__shape_text(given, one),
                        mcl__shape_text(shape, other));
        return;
    }
    if (!mcl__grow(&builder->contribution, &builder->capacity, builder->contributions + 1, sizeof *builder->contribution)) {
        mcl__build_fail(builder, MCL_ERROR_MEMORY, "no memory for the graph");
        return;
    }
    builder->contribution[builder->contributions++] = (contribution){tensor, gradient};
}

static mcl__node_view view_of(const mcl__node *node)
{
    return (mcl__node_view){&node->attrs, &node->epilogue, node->in, node->out, node->inputs, node->outputs};
}

bool mcl__build_producer(const mcl__builder *builder, int tensor, mcl__op_kind *op, mcl__node_view *view)
{
    if (tensor < 0 || tensor >= builder->tensors) return false;
    int producer = builder->graph->tensor[tensor].producer;
    if (producer < 0 || producer >= builder->nodes) return false;
    *op = builder->forward[producer].op;
    *view = view_of(&builder->forward[producer]);
    return true;
}

void mcl__build_fail(mcl__builder *builder, mcl_status status, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    mcl__fail(&builder->graph->error, status, "%s: %s", builder->name, text);
}

static void find_wanted(mcl__builder *builder)
{
    const mcl__graph *graph = builder->graph;
    for (int i = 0; i < builder->tensors; i++) builder->wanted[i] = graph->tensor[i].slot >= 0;
    for (int n = 0; n < builder->nodes; n++) {
        const mcl__node *node = &builder->forward[n];
        bool any = false;
        for (int i = 0; i < node->inputs; i++) any |= builder->wanted[node->in[i]];
        for (int i = 0; i < node->outputs; i++) builder->wanted[node->out[i]] |= any;
    }
}

static bool has_gradient(const mcl__builder *builder, const mcl__node *node)
{
    for (int i = 0; i < node->outputs; i++)
        for (size_t j = 0; j < builder->contributions; j++)
            if (builder->contribution[j].tensor == node->out[i]) return true;
    return false;
}

static void walk_back(mcl__builder *builder, int loss)
{
    for (int n = builder->nodes - 1; n >= 0 && !failed(builder); n--) {
        const mcl__node *node = &builder->forward[n];
        const mcl__op *op = mcl__op_get(node->op);
        bool is_loss = n == builder->graph->tensor[loss].producer;
        if (node->segment != MCL__COMPUTE || (!is_loss && !has_gradient(builder, node))) continue;
        if (!mcl__build_wanted(builder, node->out[0])) continue;
        builder->name = node->name;
        mcl__node_view view = view_of(node);
        if (op->gradient) op->gradient(builder, &view);
        else mcl__build_fail(builder, MCL_ERROR_UNSUPPORTED, "%s has no gradient", op->name);
    }
}

/* A gradient is written where the optimiser reads it: the node that makes it gets the slab's view as its output. Where that
 * memory is taken (the gradient of another parameter) or nothing made it in this pass, a map copies it. */
static void place_gradient(mcl__builder *builder, int parameter, int gradient)
{
    mcl__graph *graph = builder->graph;
    const mcl__slot *slot = &graph->model->parameter[graph->tensor[parameter].slot];
    mcl__view view = mcl__slab_view(&graph->model->gradient, slot);
    mcl__tensor *root = &graph->tensor[mcl__graph_root(graph, gradient)];
    if (!root->bound.buffer && root->producer >= builder->nodes && mcl__tensor_bytes(root) == view.bytes) {
        root->bound = view;
        return;
    }
    mcl_epilogue_code copy = {.code = MCL_EP_SCALE, .alpha = 1.0f};
    int y = mcl__build_map(builder, &copy, gradient, -1, -1);
    if (y >= 0) graph->tensor[y].bound = view;
}

static void place_gradients(mcl__builder *builder)
{
    for (int i = 0; i < builder->tensors && !failed(builder); i++) {
        if (builder->graph->tensor[i].slot < 0) continue;
        builder->name = builder->graph->tensor[i].name;
        int gradient = mcl__build_gradient(builder, i);
        if (gradient >= 0) place_gradient(builder, i, gradient);
    }
}

mcl_status mcl__graph_differentiate(mcl__graph *graph, int loss)
{
    if (graph->error.status != MCL_OK) return graph->error.status;
    if (!graph->model->gradient.buffer)
        return mcl__fail(&graph->error, MCL_ERROR_INVALID, "the model was made for evaluation only: it has no gradients");
    if (loss < 0 || loss >= graph->tensors || graph->tensor[loss].producer < 0)
        return mcl__fail(&graph->error, MCL_ERROR_INVALID, "no node makes the loss");
    mcl__builder builder = {.graph = graph, .nodes = graph->nodes, .tensors = graph->tensors, .name = "loss"};
    builder.forward = malloc((size_t)graph->nodes * sizeof *builder.forward);
    builder.wanted = calloc((size_t)graph->tensors, sizeof *builder.wanted);
    if (builder.forward && builder.wanted) {
        memcpy(builder.forward, graph->node, (size_t)graph->nodes * sizeof *builder.forward);
        find_wanted(&builder);
        walk_back(&builder, loss);
        place_gradients(&builder);
    } else {
        mcl__fail(&graph->error, MCL_ERROR_MEMORY, "no memory for the graph");
    }
    free(builder.forward);
    free(builder.wanted);
    free(builder.contribution);
    return graph->error.status;
}
