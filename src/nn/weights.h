/* Between a model and safetensors: values and running statistics under PyTorch's names, in its order of elements. */
#ifndef MCL_NN_WEIGHTS_H
#define MCL_NN_WEIGHTS_H
#include "nn/network.h"
#include "nn/safetensors.h"

/* Tensors whose names begin so are state of a run beside its weights: loading weights does not mind them. */
#define MCL__WEIGHTS_STATE "monocle."

/* Adds every parameter and running statistic, layer by layer, with a `num_batches_tracked` (I64, `batches`) for each batch
 * normalisation, as PyTorch's strict loading wants it. */
mcl_status mcl__weights_add(const mcl_network *network, mcl__model *model, int64_t batches, mcl__safetensors_writer *writer,
                            mcl_error *error);
/* Takes them all from a file. Nothing is written to the model unless names and shapes fit throughout: a tensor that is
 * missing or of another shape is named with both shapes, and one that the network does not have is an error too (except
 * num_batches_tracked and MCL__WEIGHTS_STATE). F64 is rounded to F32. */
mcl_status mcl__weights_take(mcl__model *model, const mcl__safetensors *file, mcl_error *error);
/* The same from the file of that name. */
mcl_status mcl__weights_load(mcl__model *model, const char *path, mcl_error *error);

/* One slab of the model, slots by name with `prefix` ("monocle.momentum.") before it, elements in file order. take checks
 * names and shapes of all before it writes any. */
mcl_status mcl__weights_add_slab(mcl__model *model, const mcl__slab *slab, const mcl__slot *slots, int count, const char *prefix,
                                 mcl__safetensors_writer *writer, mcl_error *error);
mcl_status mcl__weights_take_slab(mcl__model *model, const mcl__slab *slab, const mcl__slot *slots, int count, const char *prefix,
                                  const mcl__safetensors *file, mcl_error *error);

#endif
