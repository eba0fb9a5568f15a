/* The plans of a run: a training step, and an evaluation that also serves prediction. They share one model. */
#ifndef MCL_TRAIN_PURPOSE_H
#define MCL_TRAIN_PURPOSE_H
#include "nn/network.h"
#include "train/feed.h"
#include <stdatomic.h>

typedef struct mcl__purpose {
    mcl__plan *plan;
    int batch;
    int logits, probabilities; /* tensors; probabilities in evaluation only */
} mcl__purpose;

/* A training step of `batch` samples (one micro-batch). */
mcl_status mcl__purpose_train(mcl__model *model, const mcl_network *network, const mcl__feed *feed, int batch,
                              const mcl_train_options *options, mcl__purpose *purpose, mcl_error *error);
/* Bytes on the device of the plans that these would make, without making them: of any batch, with a feed's shape. */
mcl_status mcl__purpose_train_bytes(mcl__model *model, const mcl_network *network, const mcl__feed *feed,
                                    const mcl_train_options *options, uint64_t *bytes, mcl_error *error);
mcl_status mcl__purpose_evaluate_bytes(mcl__model *model, const mcl_network *network, const mcl__feed *feed, bool no_fuse,
                                       uint64_t *bytes, mcl_error *error);
/* The nodes that this plan would have, without one: nothing is lowered, placed or compiled. Destroy the graph. */
mcl_status mcl__purpose_train_nodes(mcl__model *model, const mcl_network *network, const mcl__feed *feed, int batch,
                                    const mcl_train_options *options, mcl__graph **graph, mcl_error *error);
/* Loss, hits and probabilities of a batch. */
mcl_status mcl__purpose_evaluate(mcl__model *model, const mcl_network *network, const mcl__feed *feed, bool no_fuse,
                                 mcl__purpose *purpose, mcl_error *error);
void mcl__purpose_destroy(mcl__purpose *purpose);

/* Mean loss and accuracy over the feed's sequence of `count` samples; zeros when there are none. Waits now and then, and looks
 * whether it is to stop (NULL: it is not): MCL_ERROR_INTERRUPTED. */
mcl_status mcl__purpose_metrics(mcl__purpose *purpose, mcl__feed *feed, const int32_t *indices, int count,
                                const atomic_bool *stop, mcl_metrics *metrics, mcl_error *error);

mcl__optimiser mcl__optimiser_of(const mcl_train_options *options);
/* The model of a network: slots with their optimiser groups. options NULL: for evaluation only. */
mcl_status mcl__model_for(mcl_device *device, const mcl_network *network, const mcl_train_options *options, mcl__model **model,
                          mcl_error *error);
#endif
