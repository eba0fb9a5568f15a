/* What a network's layers keep on a device: the slots of parameters and running statistics, and the order of their elements in
 * files, which is PyTorch's. */
#include "nn/layer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mcl__slot *add_slot(mcl__layer_tensors *tensors, const mcl__layer *layer, const char *what, mcl__shape shape)
{
    mcl__slot *slot = &tensors->slot[tensors->parameters + tensors->runnings];
    snprintf(slot->name, sizeof slot->name, "%s.%s", layer->name, what);
    slot->shape = shape;
    return slot;
}

static void set_flatten(mcl__slot *slot, const int flatten[3])
{
    slot->flatten_h = flatten[0];
    slot->flatten_w = flatten[1];
    slot->flatten_c = flatten[2];
}

void mcl__layer_get_tensors(const mcl_network *network, const mcl__layer *layer, mcl__layer_tensors *tensors)
{
    *tensors = (mcl__layer_tensors){0};
    int K = mcl__shape_channels(layer->shape);
    mcl__shape vector = {1, {K}};
    if (layer->kind == MCL__LAYER_CONV2D) {
        int C = mcl__shape_channels(network->layer[layer->in[0]].shape) / layer->attrs.conv.groups;
        add_slot(tensors, layer, "weight", (mcl__shape){4, {layer->attrs.conv.KH, layer->attrs.conv.KW, C, K}});
        tensors->fan_in = layer->attrs.conv.KH * layer->attrs.conv.KW * C;
    } else if (layer->kind == MCL__LAYER_DENSE) {
        const mcl__layer *from = &network->layer[layer->in[0]];
        set_flatten(add_slot(tensors, layer, "weight", (mcl__shape){2, {from->shape.d[0], K}}), from->flatten);
        tensors->fan_in = from->shape.d[0];
    } else if (layer->kind == MCL__LAYER_BATCH_NORM) {
        static const char *const names[] = {"weight", "bias", "running_mean", "running_var"};
        for (int i = 0; i < 4; i++) {
            set_flatten(add_slot(tensors, layer, names[i], vector), layer->flatten);
            if (i < 2) tensors->parameters++;
            else tensors->runnings++;
        }
    }
    if (tensors->fan_in == 0) return;
    tensors->parameters = 1;
    if (!layer->bias) return;
    add_slot(tensors, layer, "bias", vector);
    tensors->parameters = 2;
}

mcl_status mcl__network_slots(const mcl_network *network, mcl__slot **parameters, int *parameter_count, mcl__slot **runnings,
                              int *running_count, mcl_error *error)
{
    *parameter_count = *running_count = 0;
    *parameters = calloc(2 * network->layers + 1, sizeof **parameters);
    *runnings = calloc(2 * network->layers + 1, sizeof **runnings);
    if (!*parameters || !*runnings) {
        free(*parameters);
        free(*runnings);
        *parameters = *runnings = NULL;
        return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the slots of %s", network->name);
    }
    for (size_t i = 0; i < network->layers; i++) {
        mcl__layer_tensors tensors;
        mcl__layer_get_tensors(network, &network->layer[i], &tensors);
        for (int j = 0; j < tensors.parameters; j++) (*parameters)[(*parameter_count)++] = tensors.slot[j];
        for (int j = 0; j < tensors.runnings; j++) (*runnings)[(*running_count)++] = tensors.slot[tensors.parameters + j];
    }
    return MCL_OK;
}

int mcl__slot_file_shape(const mcl__slot *slot, int shape[4])
{
    const int *d = slot->shape.d;
    switch (slot->shape.rank) {
    case 4: shape[0] = d[3], shape[1] = d[2], shape[2] = d[0], shape[3] = d[1]; break;
    case 2: shape[0] = d[1], shape[1] = d[0]; break;
    default: memcpy(shape, d, (size_t)slot->shape.rank * sizeof *shape);
    }
    return slot->shape.rank;
}

/* Logical tensors are rows by K: element k of row r stands at k * rows + file_row(r) in a file, where rows that run over
 * (pixels, C) here run over (C, pixels). A vector has K = 1. */
typedef struct order { size_t rows, K, pixels, C; } order;

static order order_of(const mcl__slot *slot)
{
    size_t K = slot->shape.rank == 1 ? 1 : (size_t)mcl__shape_channels(slot->shape);
    order o = {.rows = (size_t)mcl__shape_elements(slot->shape) / K, .K = K, .pixels = 1, .C = 1};
    if (slot->shape.rank == 4) {
        o.C = (size_t)slot->shape.d[2];
        o.pixels = o.rows / o.C;
    } else if (slot->flatten_h > 0) {
        o.C = (size_t)slot->flatten_c;
        o.pixels = (size_t)slot->flatten_h * (size_t)slot->flatten_w;
    }
    return o;
}

static size_t file_row(const order *o, size_t row)
{
    return o->C == 1 ? row : row % o->C * o->pixels + row / o->C;
}

void mcl__slot_to_file(const mcl__slot *slot, const float *logical, float *file)
{
    order o = order_of(slot);
    for (size_t row = 0; row < o.rows; row++)
        for (size_t k = 0, at = file_row(&o, row); k < o.K; k++) file[k * o.rows + at] = logical[row * o.K + k];
}

int mcl__slot_columns(const mcl__slot *slot) { return (int)order_of(slot).K; }

void mcl__slot_columns_from_file(const mcl__slot *slot, int first, int count, const float *file, float *logical)
{
    order o = order_of(slot);
    for (size_t row = 0; row < o.rows; row++) {
        float *to = logical + row * o.K + (size_t)first;
        for (size_t k = 0, at = file_row(&o, row); k < (size_t)count; k++) to[k] = file[k * o.rows + at];
    }
}

void mcl__slot_from_file(const mcl__slot *slot, const float *file, float *logical)
{
    mcl__slot_columns_from_file(slot, 0, mcl__slot_columns(slot), file, logical);
}
