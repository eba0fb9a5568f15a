/* What a checkpoint carries beside tensors: a JSON text in the safetensors metadata under "monocle". */
#ifndef MCL_TRAIN_CHECKPOINT_H
#define MCL_TRAIN_CHECKPOINT_H
#include "base/json.h"
#include "nn/weights.h"
#include "train/trainer.h"

/* The facts that prediction needs. Strings belong to the JSON. */
typedef struct mcl__card {
    json_t *json;
    const char *network; /* YAML, or NULL */
    int H, W, C, classes;
    mcl_resize resize;
    mcl_preprocessing preprocessing;
} mcl__card;

/* Reads and checks the metadata of an opened checkpoint. Release with mcl__card_free. */
mcl_status mcl__card_read(const mcl__safetensors *file, mcl__card *card, mcl_error *error);
const char *mcl__card_class(const mcl__card *card, int index); /* "" past the end */
void mcl__card_free(mcl__card *card);
#endif
