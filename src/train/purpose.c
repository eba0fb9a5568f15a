/* Composes a network with loading, loss, gradients and update into graphs, and turns these into plans. */
#include "train/purpose.h"
#include "base/clock.h"
#include "base/random.h"
#include "train/trainer.h"
#include <stdlib.h>
#include <string.h>

static mcl_status graph_failed(mcl__graph *graph, mcl_error *error)
{
    mcl_status status = mcl__fail(error, graph->error.status, "%s", graph->error.text);
    mcl__graph_destroy(graph);
    return status;
}

/* Adds LOAD: x (batch,H,W,C) and the labels, which have the next id. */
static int add_load(mcl__graph *graph, const mcl__feed *feed, int batch, const mcl_train_options *augmentation)
{
    int inputs[6];
    mcl__feed_tensors(feed, graph, inputs);
    inputs[5] = graph->step;
    mcl__attrs attrs = {0};
    attrs.load.N = batch;
    attrs.load.H = feed->pictures->H;
    attrs.load.W = feed->pictures->W;
    attrs.load.streamed = !feed->pictures->resident;
    attrs.load.flip = augmentation && augmentation->flip;
    attrs.load.crop = augmentation ? augmentation->crop : 0;
    attrs.load.stream = mcl__random_stream("augment", "load");
    return mcl__graph_node(graph, MCL__LOAD, "load", MCL__OP_load, &attrs, NULL, inputs, 6);
}

static int add_loss(mcl__graph *graph, int logits, int labels)
{
    int loss = mcl__graph_node(graph, MCL__COMPUTE, "loss", MCL__OP_softmax_cross_entropy, NULL, NULL,
                               (int[]){logits, labels, graph->step}, 3);
    mcl__graph_node_into(graph, MCL__COMPUTE, "outcome", MCL__OP_outcome, NULL, (int[]){loss, loss + 1, graph->step}, 3,
                         (int[]){graph->record}, 1);
    return loss;
}

static const mcl__recompute recompute[] = {[MCL_RECOMPUTE_AUTO] = MCL__RECOMPUTE_AUTO,
                                          [MCL_RECOMPUTE_ON] = MCL__RECOMPUTE_ON,
                                          [MCL_RECOMPUTE_OFF] = MCL__RECOMPUTE_OFF};

/* A whole step: loading, forward, loss, backward, update. */
static mcl_status train_graph(mcl__model *model, const mcl_network *network, const mcl__feed *feed, int batch,
                              const mcl_train_options *options, int *logits, mcl__graph **made, mcl_error *error)
{
    mcl__graph *graph;
    if (mcl__graph_create(model, true, &graph) != MCL_OK) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the graph");
    int x = add_load(graph, feed, batch, options);
    *logits = mcl__network_emit(network, graph, x);
    int loss = add_loss(graph, *logits, x + 1);
    if (graph->error.status != MCL_OK || mcl__graph_differentiate(graph, loss) != MCL_OK || mcl__graph_update(graph) != MCL_OK)
        return graph_failed(graph, error);
    *made = graph;
    return MCL_OK;
}

static mcl__plan_options plan_options(const mcl_train_options *options)
{
    return (mcl__plan_options){.no_fuse = options->no_fuse, .recompute = recompute[options->recompute]};
}

mcl_status mcl__purpose_train(mcl__model *model, const mcl_network *network, const mcl__feed *feed, int batch,
                              const mcl_train_options *options, mcl__purpose *purpose, mcl_error *error)
{
    mcl__graph *graph;
    mcl__plan_options how = plan_options(options);
    purpose->batch = batch;
    purpose->probabilities = -1;
    MCL_TRY(train_graph(model, network, feed, batch, options, &purpose->logits, &graph, error));
    return mcl__plan_create(graph, &how, &purpose->plan, error);
}

mcl_status mcl__purpose_train_nodes(mcl__model *model, const mcl_network *network, const mcl__feed *feed, int batch,
                                    const mcl_train_options *options, mcl__graph **graph, mcl_error *error)
{
    int logits;
    mcl__plan_options how = plan_options(options);
    MCL_TRY(train_graph(model, network, feed, batch, options, &logits, graph, error));
    mcl_status status = mcl__plan_prepare(*graph, &how);
    if (status == MCL_OK) return MCL_OK;
    status = graph_failed(*graph, error);
    *graph = NULL;
    return status;
}

static mcl_status evaluate_graph(mcl__model *model, const mcl_network *network, const mcl__feed *feed, mcl__purpose *purpose,
                                 mcl__graph **made, mcl_error *error)
{
    mcl__graph *graph;
    if (mcl__graph_create(model, false, &graph) != MCL_OK) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the graph");
    int x = add_load(graph, feed, feed->batch, NULL);
    purpose->batch = feed->batch;
    purpose->logits = mcl__network_emit(network, graph, x);
    add_loss(graph, purpose->logits, x + 1);
    purpose->probabilities =
        mcl__graph_node(graph, MCL__COMPUTE, "probabilities", MCL__OP_softmax, NULL, NULL, &purpose->logits, 1);
    if (graph->error.status != MCL_OK) return graph_failed(graph, error);
    graph->tensor[purpose->probabilities].kept = true;
    *made = graph;
    return MCL_OK;
}

mcl_status mcl__purpose_evaluate(mcl__model *model, const mcl_network *network, const mcl__feed *feed, bool no_fuse,
                                 mcl__purpose *purpose, mcl_error *error)
{
    mcl__graph *graph;
    MCL_TRY(evaluate_graph(model, network, feed, purpose, &graph, error));
    return mcl__plan_create(graph, &(mcl__plan_options){.no_fuse = no_fuse}, &purpose->plan, error);
}

static mcl_status bytes_of(mcl__graph *graph, mcl__plan_options how, uint64_t *bytes, mcl_error *error)
{
    mcl__plan *plan;
    how.dry = true;
    MCL_TRY(mcl__plan_create(graph, &how, &plan, error));
    mcl__plan_statistics statistics = mcl__plan_get_statistics(plan);
    *bytes = statistics.planned_bytes + statistics.derived_bytes;
    mcl__plan_destroy(plan);
    return MCL_OK;
}

mcl_status mcl__purpose_train_bytes(mcl__model *model, const mcl_network *network, const mcl__feed *feed,
                                    const mcl_train_options *options, uint64_t *bytes, mcl_error *error)
{
    mcl__graph *graph;
    int logits;
    MCL_TRY(train_graph(model, network, feed, feed->batch, options, &logits, &graph, error));
    return bytes_of(graph, plan_options(options), bytes, error);
}

mcl_status mcl__purpose_evaluate_bytes(mcl__model *model, const mcl_network *network, const mcl__feed *feed, bool no_fuse,
                                       uint64_t *bytes, mcl_error *error)
{
    mcl__graph *graph;
    mcl__purpose unmade;
    MCL_TRY(evaluate_graph(model, network, feed, &unmade, &graph, error));
    return bytes_of(graph, (mcl__plan_options){.no_fuse = no_fuse}, bytes, error);
}

void mcl__purpose_destroy(mcl__purpose *purpose)
{
    mcl__plan_destroy(purpose->plan);
    purpose->plan = NULL;
}

mcl_status mcl__purpose_metrics(mcl__purpose *purpose, mcl__feed *feed, const int32_t *indices, int count,
                                const atomic_bool *stop, mcl_metrics *metrics, mcl_error *error)
{
    mcl__model *model = mcl__plan_graph(purpose->plan)->model;
    mcl_device *device = model->device;
    double loss = 0, hits = 0, since = mcl__seconds();
    *metrics = (mcl_metrics){0};
    if (count == 0) return MCL_OK;
    MCL_TRY(mcl__feed_begin(feed, indices, count, 0, error));
    int batches = (count + feed->batch - 1) / feed->batch;
    for (int i = 0, read = 0, ahead = 1; i < batches; i++) {
        int first = i * feed->batch, valid = count - first < feed->batch ? count - first : feed->batch;
        mcl_step step = {.step = i + 1, .first_sample = first, .valid_samples = valid, .slot = (i + 1) % MCL_HISTORY,
                         .inverse_valid = 1.0f / (float)valid};
        MCL_TRY(mcl__feed_next(feed, valid, error));
        MCL_TRY_DEVICE(device, mcl__plan_step(purpose->plan, &step), error);
        MCL_TRY(mcl__feed_load(feed, purpose->plan, error));
        MCL_TRY_DEVICE(device, mcl__plan_run(purpose->plan, MCL__COMPUTE), error);
        if (i + 1 < batches && i + 1 - read < ahead) continue;
        mcl_state state;
        MCL_TRY_DEVICE(device, mcl__model_record(model, &state), error);
        if (stop && atomic_load(stop)) return mcl__fail(error, MCL_ERROR_INTERRUPTED, "stopped while pictures were evaluated");
        double now = mcl__seconds();
        ahead = mcl__steps_ahead((now - since) / (i + 1 - read));
        since = now;
        for (; read <= i; read++) {
            const mcl_outcome *outcome = &state.history[(read + 1) % MCL_HISTORY];
            loss += outcome->loss_sum;
            hits += outcome->hits;
        }
    }
    *metrics = (mcl_metrics){.loss = loss / count, .accuracy = hits / count, .samples = count};
    return MCL_OK;
}

static const mcl__optimiser_kind optimiser_kinds[] = {
    [MCL_SGD] = MCL__OPTIMISER_SGD, [MCL_ADAM] = MCL__OPTIMISER_ADAM, [MCL_ADAMW] = MCL__OPTIMISER_ADAMW};

mcl__optimiser mcl__optimiser_of(const mcl_train_options *options)
{
    return (mcl__optimiser){
        .kind = optimiser_kinds[options->optimiser],
        .momentum = options->momentum,
        .dampening = options->dampening,
        .nesterov = options->nesterov,
        .beta1 = options->beta1,
        .beta2 = options->beta2,
        .eps = options->eps,
        .groups = options->decay_weights_only ? 2 : 1,
        .decay = {options->weight_decay, 0},
        .accumulate = options->micro_batches > 1,
    };
}

mcl_status mcl__model_for(mcl_device *device, const mcl_network *network, const mcl_train_options *options, mcl__model **model,
                          mcl_error *error)
{
    mcl__slot *parameter, *running;
    int parameters, runnings;
    MCL_TRY(mcl__network_slots(network, &parameter, &parameters, &running, &runnings, error));
    mcl__optimiser optimiser;
    if (options) {
        optimiser = mcl__optimiser_of(options);
        for (int i = 0; i < parameters && optimiser.groups > 1; i++) parameter[i].group = parameter[i].shape.rank == 1;
    }
    mcl_status status =
        mcl__model_create(device, parameter, parameters, running, runnings, options ? &optimiser : NULL, model, error);
    free(parameter);
    free(running);
    return status;
}
