/* A network's life: creation, the checks that end its description, and what can be asked of it. */
#include "nn/layer.h"
#include "base/json.h"
#include "base/random.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mcl__layer_kind_name(mcl__layer_kind kind)
{
    static const char *const names[] = {
#define MCL_LAYER(kind, name) [MCL__LAYER_##kind] = name,
#include "nn/layers.def"
#undef MCL_LAYER
    };
    assert((size_t)kind < sizeof names / sizeof *names);
    return names[kind];
}

const mcl__layer *mcl__layer_find(const mcl_network *network, const char *name)
{
    for (size_t i = 0; i < network->layers; i++)
        if (!strcmp(network->layer[i].name, name)) return &network->layer[i];
    return NULL;
}

/* What fits, cut between characters; checkpoints hold it as JSON, so what is no UTF-8 is not kept. */
static void keep_name(mcl_network *network, const char *name)
{
    size_t end = strnlen(name, sizeof network->name);
    if (end == sizeof network->name)
        do end--;
        while (end > 0 && ((unsigned char)name[end] & 0xC0) == 0x80);
    memcpy(network->name, name, end);
    network->name[end] = 0;
    if (mcl__json_carries(network->name)) return;
    for (char *at = network->name; *at; at++)
        if ((unsigned char)*at >= 0x80) *at = '?';
}

mcl_network *mcl_network_create(const char *name)
{
    mcl_network *network = calloc(1, sizeof *network);
    if (!network) return NULL;
    keep_name(network, name ? name : "network");
    network->logits = -1;
    return network;
}

void mcl_network_destroy(mcl_network *network)
{
    if (!network) return;
    free(network->layer);
    free(network);
}

/* Every layer but the last must be read by another: one that is not was surely meant to be. */
static mcl_status check_used(const mcl_network *network, mcl_error *error)
{
    bool *used = calloc(network->layers, sizeof *used);
    if (!used) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a network");
    mcl_status status = MCL_OK;
    used[network->logits] = true;
    for (size_t i = network->layers; i-- > 0;)
        for (int j = 0; j < network->layer[i].inputs; j++) used[network->layer[i].in[j]] = true;
    for (size_t i = 0; i < network->layers && status == MCL_OK; i++)
        if (!used[i])
            status = mcl__fail(error, MCL_ERROR_INVALID, "layer \"%s\" (%s): nothing reads its output", network->layer[i].name,
                               mcl__layer_kind_name(network->layer[i].kind));
    free(used);
    return status;
}

typedef struct stream { uint32_t number; const char *purpose; char path[160]; } stream;

static int by_number(const void *a, const void *b)
{
    uint32_t x = ((const stream *)a)->number, y = ((const stream *)b)->number;
    return (x > y) - (x < y);
}

static int streams_of(const mcl_network *network, const mcl__layer *layer, stream out[3])
{
    mcl__layer_tensors tensors;
    int count = 0;
    mcl__layer_get_tensors(network, layer, &tensors);
    for (int i = 0; i < tensors.parameters; i++, count++) {
        out[count] = (stream){.purpose = "init"};
        snprintf(out[count].path, sizeof out[count].path, "%s", tensors.slot[i].name);
    }
    if (layer->kind == MCL__LAYER_DROPOUT) {
        out[count] = (stream){.purpose = "dropout"};
        snprintf(out[count++].path, sizeof out[0].path, "%s", layer->name);
    }
    for (int i = 0; i < count; i++) out[i].number = mcl__random_stream(out[i].purpose, out[i].path);
    return count;
}

/* Two purposes with one stream would draw the same numbers. */
static mcl_status check_streams(const mcl_network *network, mcl_error *error)
{
    stream *streams = calloc(network->layers * 3, sizeof *streams);
    if (!streams) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a network");
    mcl_status status = MCL_OK;
    size_t count = 0;
    for (size_t i = 0; i < network->layers; i++) count += (size_t)streams_of(network, &network->layer[i], streams + count);
    qsort(streams, count, sizeof *streams, by_number);
    for (size_t i = 1; i < count && status == MCL_OK; i++)
        if (streams[i].number == streams[i - 1].number)
            status = mcl__fail(error, MCL_ERROR_INVALID, "%s/%s and %s/%s share a stream of random numbers: rename a layer",
                               streams[i - 1].purpose, streams[i - 1].path, streams[i].purpose, streams[i].path);
    free(streams);
    return status;
}

static mcl_status check_logits(const mcl_network *network, int logits, mcl_error *error)
{
    char text[64];
    if (logits < 0 || (size_t)logits >= network->layers)
        return mcl__fail(error, MCL_ERROR_INVALID, "tensor %d, given as logits, is not in this network", logits);
    const mcl__layer *layer = &network->layer[logits];
    if (layer->shape.rank != 1)
        return mcl__fail(error, MCL_ERROR_SHAPE, "layer \"%s\" (%s): logits are (classes), but this is %s: flatten it", layer->name,
                         mcl__layer_kind_name(layer->kind), mcl__shape_text(layer->shape, text));
    if (layer->flatten[0])
        return mcl__fail(error, MCL_ERROR_UNSUPPORTED, "layer \"%s\" (%s): logits cannot be a flattened (%d, %d, %d)", layer->name,
                         mcl__layer_kind_name(layer->kind), layer->flatten[0], layer->flatten[1], layer->flatten[2]);
    return MCL_OK;
}

mcl_status mcl_network_finish(mcl_network *network, mcl_tensor logits, mcl_error *error)
{
    if (!network) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a network");
    mcl_error *own = &network->error;
    mcl_status status = own->status;
    if (status == MCL_OK && network->logits >= 0) return mcl__fail(error, MCL_ERROR_INVALID, "the network is finished already");
    if (status == MCL_OK) status = check_logits(network, logits, own);
    if (status == MCL_OK) {
        network->logits = logits;
        status = check_used(network, own);
    }
    if (status == MCL_OK) status = check_streams(network, own);
    if (status == MCL_OK) return MCL_OK;
    network->logits = -1;
    return mcl__fail(error, status, "%s", own->text);
}

const char *mcl_network_name(const mcl_network *network)
{
    return network->name;
}

int mcl_network_classes(const mcl_network *network)
{
    return network->logits < 0 ? 0 : network->layer[network->logits].shape.d[0];
}

void mcl_network_input_shape(const mcl_network *network, int *height, int *width, int *channels)
{
    mcl__shape shape = network->layers ? network->layer[0].shape : (mcl__shape){0};
    *height = shape.d[0];
    *width = shape.d[1];
    *channels = shape.d[2];
}

int64_t mcl_network_parameter_count(const mcl_network *network)
{
    int64_t count = 0;
    for (size_t i = 0; i < network->layers; i++) {
        mcl__layer_tensors tensors;
        mcl__layer_get_tensors(network, &network->layer[i], &tensors);
        for (int j = 0; j < tensors.parameters; j++) count += mcl__shape_elements(tensors.slot[j].shape);
    }
    return count;
}
