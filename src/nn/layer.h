/* The list of layers inside a network. Shapes are those of one sample: (H,W,C), or (C) after a flatten. A layer's inputs
 * come before it in the list; a tensor is the index of the layer that makes it. */
#ifndef MCL_NN_LAYER_H
#define MCL_NN_LAYER_H
#include "nn/network.h"

typedef enum mcl__layer_kind {
#define MCL_LAYER(kind, name) MCL__LAYER_##kind,
#include "nn/layers.def"
#undef MCL_LAYER
} mcl__layer_kind;

#define MCL__LAYER_NAME 140 /* leaves room for ".num_batches_tracked" in a slot's name */

typedef struct mcl__layer {
    mcl__layer_kind kind;
    char name[MCL__LAYER_NAME];
    mcl__shape shape; /* of the output */
    int in[MCL__MAX_OPERANDS], inputs;
    mcl__attrs attrs; /* conv, pool, norm; region without the batch's axis */
    bool bias;
    int act;          /* MCL_ACT_... */
    float alpha;      /* leaky slope */
    float drop;
    /* A vector that lists a picture (H,W,C) in that order, while PyTorch's lists (C,H,W). 0 where the orders are equal. */
    int flatten[3];
} mcl__layer;

struct mcl_network {
    char name[64];
    mcl__layer *layer;
    size_t layers, capacity;
    int logits; /* -1 until finished */
    mcl_error error;
};

const char *mcl__layer_kind_name(mcl__layer_kind kind);
const mcl__layer *mcl__layer_find(const mcl_network *network, const char *name); /* NULL: none */

/* A layer's tensors that persist, in PyTorch's order: parameters, then running statistics. fan_in: of the
 * weight, 0 where there is none to draw. */
typedef struct mcl__layer_tensors { mcl__slot slot[4]; int parameters, runnings, fan_in; } mcl__layer_tensors;
void mcl__layer_get_tensors(const mcl_network *network, const mcl__layer *layer, mcl__layer_tensors *tensors);

#endif
