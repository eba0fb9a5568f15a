/* A training on made-up pictures that lie on the device already: what `bench` measures and `tune` takes its problems from. */
#ifndef MCL_TRAIN_RIG_H
#define MCL_TRAIN_RIG_H
#include "train/purpose.h"

typedef struct mcl__rig {
    mcl_device *device;         /* borrowed, as the network; set before anything else */
    const mcl_network *network;
    mcl_train_options options;  /* resolved */
    mcl__model *model;
    mcl__pictures pictures;
    mcl__feed feed;
    mcl__initial *initial;      /* being drawn; NULL: written, or not begun */
    mcl__purpose train;         /* from mcl__rig_plan */
    int step;
} mcl__rig;

/* The model and `pictures` >= batch pictures; no kernel is compiled for them. After a failure too, end with mcl__rig_destroy. */
mcl_status mcl__rig_create(mcl__rig *rig, const mcl_train_options *options, int pictures, mcl_error *error);
mcl_status mcl__rig_plan(mcl__rig *rig, mcl_error *error);
void mcl__rig_destroy(mcl__rig *rig);

/* Writes the step block of the next step. */
mcl_status mcl__rig_write_step(mcl__rig *rig);
/* Enqueues steps one after another, then waits; host[count] gets the processor time of this thread that each took to enqueue,
 * *seconds the time until all were done. */
mcl_status mcl__rig_steps(mcl__rig *rig, int count, double *host, double *seconds);
#endif
