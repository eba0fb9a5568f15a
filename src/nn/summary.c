/* The table that `mcl_network_summary` gives: layers, shapes, parameters, work and memory. */
#include "nn/layer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double window_area(const mcl__layer *layer)
{
    return (double)layer->attrs.pool.KH * layer->attrs.pool.KW;
}

/* Of one sample, forward; a multiplication and an addition count as two. */
static double layer_flops(const mcl_network *network, const mcl__layer *layer)
{
    mcl__layer_tensors tensors;
    double elements = (double)mcl__shape_elements(layer->shape), bias = layer->bias ? elements : 0;
    mcl__layer_get_tensors(network, layer, &tensors);
    switch (layer->kind) {
    case MCL__LAYER_CONV2D:
    case MCL__LAYER_DENSE: return 2 * elements * tensors.fan_in + bias;
    case MCL__LAYER_BATCH_NORM: return 2 * elements;
    case MCL__LAYER_MAX_POOL:
    case MCL__LAYER_AVG_POOL: return elements * window_area(layer);
    case MCL__LAYER_GLOBAL_AVG_POOL: return (double)mcl__shape_elements(network->layer[layer->in[0]].shape);
    case MCL__LAYER_ACTIVATION:
    case MCL__LAYER_DROPOUT:
    case MCL__LAYER_ADD: return elements;
    default: return 0;
    }
}

static int64_t layer_parameters(const mcl_network *network, const mcl__layer *layer)
{
    mcl__layer_tensors tensors;
    int64_t count = 0;
    mcl__layer_get_tensors(network, layer, &tensors);
    for (int i = 0; i < tensors.parameters; i++) count += mcl__shape_elements(tensors.slot[i].shape);
    return count;
}

/* Is a layer computed at the end of the one before it, so that only one of the two outputs is in memory? */
static bool joins_producer(const mcl_network *network, const mcl__layer *layer, const int *readers)
{
    static const bool pointwise[] = {[MCL__LAYER_ACTIVATION] = true, [MCL__LAYER_DROPOUT] = true, [MCL__LAYER_ADD] = true,
                                     [MCL__LAYER_FLATTEN] = true};
    if ((size_t)layer->kind >= sizeof pointwise || !pointwise[layer->kind]) return false;
    mcl__layer_kind from = network->layer[layer->in[0]].kind;
    return layer->kind == MCL__LAYER_FLATTEN || (readers[layer->in[0]] == 1 && from != MCL__LAYER_INPUT);
}

/* Bytes of a training step for one sample: what the forward pass keeps, and the two largest gradients. */
static double activation_bytes(const mcl_network *network)
{
    int *readers = calloc(network->layers, sizeof *readers);
    if (!readers) return 0;
    double kept = 0, largest = 0;
    for (size_t i = 0; i < network->layers; i++)
        for (int j = 0; j < network->layer[i].inputs; j++) readers[network->layer[i].in[j]]++;
    for (size_t i = 0; i < network->layers; i++) {
        const mcl__layer *layer = &network->layer[i];
        double bytes = 4 * (double)mcl__shape_elements(layer->shape);
        if (bytes > largest) largest = bytes;
        if (layer->kind == MCL__LAYER_MAX_POOL) bytes *= 1.25; /* the index of the largest, a byte each */
        if (!joins_producer(network, layer, readers)) kept += bytes;
    }
    free(readers);
    return kept + 2 * largest;
}

static const char *with_unit(double value, const char *const units[], double step, char text[32])
{
    int i = 0;
    while (value >= step && units[i + 1]) {
        value /= step;
        i++;
    }
    snprintf(text, 32, i == 0 ? "%.0f %s" : "%.2f %s", value, units[i]);
    return text;
}

static const char *flops_text(double flops, char text[32])
{
    static const char *const units[] = {"", "k", "M", "G", "T", NULL};
    return with_unit(flops, units, 1000, text);
}

static const char *bytes_text(double bytes, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", NULL};
    return with_unit(bytes, units, 1024, text);
}

static void print_rows(FILE *out, const mcl_network *network)
{
    int wide = 5;
    for (size_t i = 0; i < network->layers; i++) {
        int length = (int)strlen(network->layer[i].name);
        if (length > wide) wide = length;
    }
    fprintf(out, "%-*s  %-15s  %-18s  %12s  %10s\n", wide, "layer", "kind", "output", "parameters", "FLOPs");
    for (size_t i = 0; i < network->layers; i++) {
        const mcl__layer *layer = &network->layer[i];
        char shape[64], flops[32], parameters[32] = "-";
        int64_t count = layer_parameters(network, layer);
        if (count) snprintf(parameters, sizeof parameters, "%lld", (long long)count);
        double work = layer_flops(network, layer);
        fprintf(out, "%-*s  %-15s  %-18s  %12s  %10s\n", wide, layer->name, mcl__layer_kind_name(layer->kind),
                mcl__shape_text(layer->shape, shape), parameters, work > 0 ? flops_text(work, flops) : "-");
    }
}

char *mcl_network_summary(const mcl_network *network, int batch)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out) return NULL;
    char number[3][32];
    double flops = 0, parameters = (double)mcl_network_parameter_count(network);
    for (size_t i = 0; i < network->layers; i++) flops += layer_flops(network, &network->layer[i]);
    fprintf(out, "network %s\n", network->name);
    print_rows(out, network);
    fprintf(out, "parameters: %lld (%s)\n", (long long)mcl_network_parameter_count(network), bytes_text(4 * parameters, number[0]));
    fprintf(out, "forward: %s FLOPs a sample\n", flops_text(flops, number[0]));
    if (batch > 0)
        fprintf(out, "a training step of %d samples: about %s (activations %s; parameters, gradients and momentum %s)\n", batch,
                bytes_text(activation_bytes(network) * batch + 12 * parameters, number[0]),
                bytes_text(activation_bytes(network) * batch, number[1]), bytes_text(12 * parameters, number[2]));
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}
