/* The nodes after the backward pass: gradients of micro-batches are added up, the whole gradient is checked, and the optimiser
 * moves parameters and running statistics. Slabs are tensors here, so that one launch serves all parameters of a group. */
#include "graph/graph.h"
#include <stdio.h>

static int slab_tensor(mcl__graph *graph, const char *name, const mcl__slab *slab)
{
    return mcl__graph_tensor(graph, name, (mcl__shape){1, {slab->elements}}, MCL_F32, mcl__slab_view(slab, NULL));
}

/* In `compute`, because that is what micro-batches repeat. Returns the gradient of the whole step. */
static int add_accumulation(mcl__graph *graph)
{
    const mcl__model *model = graph->model;
    int gradient = slab_tensor(graph, "gradients", &model->gradient);
    if (!model->optimiser.accumulate) return gradient;
    int sum = slab_tensor(graph, "accumulated gradients", &model->accumulated);
    mcl__graph_node_into(graph, MCL__COMPUTE, "accumulate", MCL__OP_accumulate, NULL, (int[]){gradient, graph->step}, 2, &sum, 1);
    return sum;
}

static mcl__attrs sgd_attrs(const mcl__model *model, int group)
{
    const mcl__optimiser *optimiser = &model->optimiser;
    return (mcl__attrs){.sgd = {.group = group, .offset = model->group_offset[group], .n = model->group_elements[group],
                                .nesterov = optimiser->nesterov, .momentum = optimiser->momentum,
                                .dampening = optimiser->dampening, .decay = optimiser->decay[group]}};
}

static mcl__attrs adam_attrs(const mcl__model *model, int group)
{
    const mcl__optimiser *optimiser = &model->optimiser;
    return (mcl__attrs){.adam = {.group = group, .offset = model->group_offset[group], .n = model->group_elements[group],
                                 .decoupled = optimiser->kind == MCL__OPTIMISER_ADAMW, .beta1 = optimiser->beta1,
                                 .beta2 = optimiser->beta2, .eps = optimiser->eps, .decay = optimiser->decay[group]}};
}

static void add_optimiser(mcl__graph *graph, int gradient)
{
    const mcl__model *model = graph->model;
    bool sgd = model->optimiser.kind == MCL__OPTIMISER_SGD;
    int inputs[] = {gradient, graph->step, graph->record}, outputs[3] = {slab_tensor(graph, "parameters", &model->value)};
    for (int i = 0; i < (sgd ? 1 : 2); i++) /* without momentum SGD leaves its second output alone, and any memory will do */
        outputs[1 + i] = model->state[i].buffer ? slab_tensor(graph, "optimiser state", &model->state[i]) : outputs[0];
    for (int group = 0; group < model->optimiser.groups; group++) {
        char name[32];
        if (model->group_elements[group] == 0) continue;
        snprintf(name, sizeof name, "update group %d", group);
        mcl__attrs attrs = sgd ? sgd_attrs(model, group) : adam_attrs(model, group);
        mcl__graph_node_into(graph, MCL__UPDATE, name, sgd ? MCL__OP_sgd : MCL__OP_adam, &attrs, inputs, 3, outputs, sgd ? 2 : 3);
    }
}

mcl_status mcl__graph_update(mcl__graph *graph)
{
    const mcl__model *model = graph->model;
    if (graph->error.status != MCL_OK) return graph->error.status;
    if (!model->gradient.buffer || model->optimiser.kind == MCL__OPTIMISER_NONE)
        return mcl__fail(&graph->error, MCL_ERROR_INVALID, "the model was made without an optimiser");
    int gradient = add_accumulation(graph);
    mcl__graph_node_into(graph, MCL__REDUCE, "guard", MCL__OP_guard, NULL, (int[]){gradient, graph->step}, 2, &graph->record, 1);
    add_optimiser(graph, gradient);
    if (model->runnings > 0) {
        int pending = slab_tensor(graph, "pending statistics", &model->pending);
        int running = slab_tensor(graph, "running statistics", &model->running_value);
        mcl__graph_node_into(graph, MCL__UPDATE, "running statistics", MCL__OP_commit, NULL, (int[]){pending, graph->record}, 2,
                             &running, 1);
    }
    return graph->error.status;
}
