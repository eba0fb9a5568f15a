/* From layers to the graph's nodes: the forward part of a training or evaluation step at the batch size of x. */
#include "nn/layer.h"
#include "base/random.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* tensor[i]: the graph's tensor of layer i. */
typedef struct emitter { const mcl_network *network; mcl__graph *graph; int *tensor, batch; } emitter;

static int node(emitter *e, const mcl__layer *layer, mcl__op_kind op, const mcl__attrs *attrs, const int *inputs, int count)
{
    return mcl__graph_node(e->graph, MCL__COMPUTE, layer->name, op, attrs, NULL, inputs, count);
}

/* The layer's tensor `what`: "weight", "running_mean". */
static int parameter(emitter *e, const mcl__layer *layer, const char *what)
{
    char name[sizeof((mcl__slot *)0)->name];
    snprintf(name, sizeof name, "%s.%s", layer->name, what);
    return mcl__graph_parameter(e->graph, name);
}

static int running(emitter *e, const mcl__layer *layer, const char *what, bool pending)
{
    char name[sizeof((mcl__slot *)0)->name];
    snprintf(name, sizeof name, "%s.%s", layer->name, what);
    return mcl__graph_running(e->graph, name, pending);
}

static mcl__shape with_batch(const emitter *e, mcl__shape sample)
{
    mcl__shape shape = {sample.rank + 1, {e->batch}};
    for (int i = 0; i < sample.rank; i++) shape.d[i + 1] = sample.d[i];
    return shape;
}

/* Convolution or dense: the product, then the bias as a map, which fusion moves back into it. */
static int emit_product(emitter *e, const mcl__layer *layer, const int *x)
{
    mcl__op_kind op = layer->kind == MCL__LAYER_CONV2D ? MCL__OP_conv2d : MCL__OP_dense;
    int y = node(e, layer, op, &layer->attrs, (int[]){x[0], parameter(e, layer, "weight")}, 2);
    if (!layer->bias) return y;
    return mcl__graph_map(e->graph, layer->name, &(mcl_epilogue_code){.code = MCL_EP_BIAS}, y, parameter(e, layer, "bias"), -1);
}

/* Statistics of the batch in training, where the running ones are tracked beside; the running ones otherwise. */
static int emit_batch_norm(emitter *e, const mcl__layer *layer, const int *x)
{
    int mean = running(e, layer, "running_mean", false), variance = running(e, layer, "running_var", false);
    if (e->graph->training) {
        mcl__attrs attrs = layer->attrs;
        attrs.norm.rows = e->batch * (mcl__shape_elements(layer->shape) / mcl__shape_channels(layer->shape));
        int of_batch = node(e, layer, MCL__OP_batch_norm_stats, &layer->attrs, x, 1);
        mcl__graph_node_into(e->graph, MCL__COMPUTE, layer->name, MCL__OP_batch_norm_track, &attrs,
                             (int[]){of_batch, of_batch + 1, mean, variance, e->graph->step}, 5,
                             (int[]){running(e, layer, "running_mean", true), running(e, layer, "running_var", true)}, 2);
        mean = of_batch;
        variance = of_batch + 1;
    }
    int scale = node(e, layer, MCL__OP_batch_norm_finish, &layer->attrs,
                     (int[]){mean, variance, parameter(e, layer, "weight"), parameter(e, layer, "bias")}, 4);
    return mcl__graph_map(e->graph, layer->name, &(mcl_epilogue_code){.code = MCL_EP_SCALE_SHIFT}, x[0], scale, scale + 1);
}

static int emit_activation(emitter *e, const mcl__layer *layer, const int *x)
{
    mcl_epilogue_code code = {.code = MCL_EP_ACT, .act = layer->act, .alpha = layer->alpha};
    return mcl__graph_map(e->graph, layer->name, &code, x[0], -1, -1);
}

static int emit_dropout(emitter *e, const mcl__layer *layer, const int *x)
{
    if (!e->graph->training) return x[0];
    double keep = 1 - (double)layer->drop, threshold = floor(keep * 0x1p32);
    mcl_epilogue_code code = {.code = MCL_EP_DROPOUT, .alpha = (float)(1 / keep),
                              .stream = mcl__random_stream("dropout", layer->name),
                              .threshold = threshold >= 0x1p32 ? UINT32_MAX : (uint32_t)threshold};
    return mcl__graph_map(e->graph, layer->name, &code, x[0], -1, -1);
}

static int emit_add(emitter *e, const mcl__layer *layer, const int *x)
{
    return mcl__graph_map(e->graph, layer->name, &(mcl_epilogue_code){.code = MCL_EP_ADD}, x[0], x[1], -1);
}

static int emit_pool(emitter *e, const mcl__layer *layer, const int *x)
{
    mcl__op_kind op = layer->kind == MCL__LAYER_MAX_POOL   ? MCL__OP_max_pool
                    : layer->kind == MCL__LAYER_AVG_POOL ? MCL__OP_avg_pool
                                                         : MCL__OP_global_avg_pool;
    return node(e, layer, op, &layer->attrs, x, 1);
}

static int emit_concat(emitter *e, const mcl__layer *layer, const int *x)
{
    mcl__attrs attrs = {.concat = {.axis = layer->shape.rank}};
    return layer->inputs == 1 ? x[0] : node(e, layer, MCL__OP_concat, &attrs, x, layer->inputs);
}

/* slice and pad, with the batch's axis put before the sample's. */
static int emit_region(emitter *e, const mcl__layer *layer, const int *x)
{
    mcl__attrs attrs = {.region = {.size = with_batch(e, layer->shape)}};
    for (int i = 0; i < layer->shape.rank; i++) attrs.region.offset[i + 1] = layer->attrs.region.offset[i];
    return node(e, layer, layer->kind == MCL__LAYER_SLICE ? MCL__OP_slice : MCL__OP_pad, &attrs, x, 1);
}

static int emit_flatten(emitter *e, const mcl__layer *layer, const int *x)
{
    mcl__attrs attrs = {.region = {.size = with_batch(e, layer->shape)}};
    return node(e, layer, MCL__OP_reshape, &attrs, x, 1);
}

static int (*const emitters[])(emitter *, const mcl__layer *, const int *) = {
    [MCL__LAYER_CONV2D] = emit_product,    [MCL__LAYER_DENSE] = emit_product,
    [MCL__LAYER_BATCH_NORM] = emit_batch_norm, [MCL__LAYER_ACTIVATION] = emit_activation,
    [MCL__LAYER_MAX_POOL] = emit_pool,     [MCL__LAYER_AVG_POOL] = emit_pool,
    [MCL__LAYER_GLOBAL_AVG_POOL] = emit_pool, [MCL__LAYER_DROPOUT] = emit_dropout,
    [MCL__LAYER_ADD] = emit_add,           [MCL__LAYER_CONCAT] = emit_concat,
    [MCL__LAYER_SLICE] = emit_region,      [MCL__LAYER_PAD] = emit_region,
    [MCL__LAYER_FLATTEN] = emit_flatten,
};

int mcl__network_emit(const mcl_network *network, mcl__graph *graph, int x)
{
    char have[64], want[64];
    if (graph->error.status != MCL_OK || x < 0) return -1;
    emitter e = {.network = network, .graph = graph, .batch = graph->tensor[x].shape.d[0]};
    mcl__shape input = with_batch(&e, network->layer[0].shape);
    if (network->logits < 0 || !mcl__shape_equal(graph->tensor[x].shape, input)) {
        mcl__fail(&graph->error, MCL_ERROR_SHAPE, "network %s takes %s, but is given %s", network->name,
                  mcl__shape_text(input, want), mcl__shape_text(graph->tensor[x].shape, have));
        return -1;
    }
    e.tensor = calloc(network->layers, sizeof *e.tensor);
    if (!e.tensor) {
        mcl__fail(&graph->error, MCL_ERROR_MEMORY, "no memory for the graph of %s", network->name);
        return -1;
    }
    e.tensor[0] = x;
    for (size_t i = 1; i < network->layers; i++) {
        const mcl__layer *layer = &network->layer[i];
        int inputs[MCL__MAX_OPERANDS];
        for (int j = 0; j < layer->inputs; j++) inputs[j] = e.tensor[layer->in[j]];
        e.tensor[i] = emitters[layer->kind](&e, layer, inputs);
    }
    int logits = e.tensor[network->logits];
    free(e.tensor);
    return graph->error.status == MCL_OK ? logits : -1;
}
