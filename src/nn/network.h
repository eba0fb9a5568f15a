/* The logical network behind <monocle/network.h>: a list of layers, and what is made of it: parameter slots, initial weights,
 * graph nodes. */
#ifndef MCL_NN_NETWORK_H
#define MCL_NN_NETWORK_H
#include "base/yaml.h"
#include "graph/graph.h"
#include <monocle/network.h>

/* The slots of parameters (with their optimiser group 0) and running statistics, in layer order; *slots freed with free(). */
mcl_status mcl__network_slots(const mcl_network *network, mcl__slot **parameters, int *parameter_count, mcl__slot **runnings,
                              int *running_count, mcl_error *error);

/* Initial values: weights as PyTorch's layers start (Kaiming uniform with a = sqrt(5): bound 1/sqrt(fan in), biases the same
 * bound, batch norm 1 and 0, running 0 and 1), from Philox stream "init/<slot name>", the same bits on every device: element s
 * of the logical tensor in file (PyTorch) order, b = 0, t = 0. They are drawn by a thread of their own from begin on, so that
 * the caller can make plans meanwhile; end waits for it, writes them into the model, and frees. The network and the model stay
 * as they are in between. end(NULL) does nothing. */
typedef struct mcl__initial mcl__initial;
mcl_status mcl__initial_begin(const mcl_network *network, mcl__model *model, uint64_t seed, mcl__initial **initial,
                              mcl_error *error);
mcl_status mcl__initial_end(mcl__initial *initial, mcl_error *error);
mcl_status mcl__network_initialise(const mcl_network *network, mcl__model *model, uint64_t seed, mcl_error *error); /* both */

/* Adds the forward nodes for input x (N,H,W,C) and returns the logits (N,classes). graph->training decides dropout and batch
 * statistics. Dropout's stream is "dropout/<layer name>". -1 on failure (graph->error). */
int mcl__network_emit(const mcl_network *network, mcl__graph *graph, int x);

/* From YAML: a name, or a mapping with `input: [H, W, C]` and `layers:`. classes > 0 is checked against the logits. Default
 * input shape and classes (0: none) come from the data. Errors have file:line:column. */
mcl_status mcl__network_from_yaml(const mcl__yaml_node *node, int height, int width, int channels, int classes,
                                  mcl_network **network, mcl_error *error);

/* Between a slot's logical order here and PyTorch's order in files: conv (KH,KW,C/g,K) <-> (K,C/g,KH,KW), dense (C,K) <-> (K,C)
 * with the flatten permutation, vectors as they are. shape[] of the file tensor, rank returned. */
int mcl__slot_file_shape(const mcl__slot *slot, int shape[4]);
void mcl__slot_to_file(const mcl__slot *slot, const float *logical, float *file);
void mcl__slot_from_file(const mcl__slot *slot, const float *file, float *logical);
/* The same for columns [first, first + count) of the last axis alone; a vector is one column. file: those columns only. */
int mcl__slot_columns(const mcl__slot *slot);
void mcl__slot_columns_from_file(const mcl__slot *slot, int first, int count, const float *file, float *logical);

#endif
