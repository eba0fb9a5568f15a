/* What a training, or a predictor, takes on its device by its batch, and the largest batch that fits: counted on plans that are not
 * made. */
#ifndef MCL_TRAIN_NEED_H
#define MCL_TRAIN_NEED_H
#include "train/purpose.h"

typedef struct mcl__need {
    mcl__model *model;
    const mcl_network *network;
    const mcl__pictures *pictures;
    const mcl_train_options *options; /* of a training, resolved; NULL: of none */
    int count;                        /* pictures that it trains on */
    int evaluated;                    /* at most, in one evaluation; 0: none */
} mcl__need;

/* Bytes of everything that depends on the batch: plans, and what batches are fed through. */
mcl_status mcl__need_bytes(const mcl__need *need, int batch, uint64_t *bytes, mcl_error *error);
/* Of at most `most`, with activations made again where that is left to us and fits only so; 0: none. */
int mcl__need_largest(const mcl__need *need, int most, uint64_t room);

/* Adds to the text of a failure for lack of memory which batch would fit beside what is allocated now. Returns its status. */
mcl_status mcl__need_advise(const mcl__need *need, int batch, mcl_error *error);
/* A line for --explain, of a training: what a picture more takes, and what fits beside `used` bytes. malloc'ed. */
char *mcl__need_text(const mcl__need *need, int batch, uint64_t used);
#endif
