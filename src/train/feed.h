/* Where batches come from: pictures that live on the device as bytes, or that stream to it from the decoding threads. Both
 * give the same bits. A device with memory of its own gets the next streamed batch while it computes with the present one. */
#ifndef MCL_TRAIN_FEED_H
#define MCL_TRAIN_FEED_H
#include "data/data.h"
#include "graph/plan.h"
#include <monocle/train.h>

/* The data set as a device sees it; shared by every feed. */
typedef struct mcl__pictures {
    mcl_device *device;
    mcl_dataset *data;
    int H, W, C, count;
    bool resident;
    mcl_buffer *pixels, *labels; /* resident: all samples */
    mcl_buffer *statistics;      /* mean (C), then, aligned, inverse_deviation (C) */
    uint64_t deviation_offset;
} mcl__pictures;

mcl_status mcl__pictures_create(mcl_device *device, mcl_dataset *data, const mcl_preprocessing *preprocessing,
                                mcl_residence residence, mcl__pictures *pictures, mcl_error *error);
/* None: batches are handed in through the feed's buffers, for prediction. */
mcl_status mcl__pictures_create_empty(mcl_device *device, int H, int W, int C, const mcl_preprocessing *preprocessing,
                                      mcl__pictures *pictures, mcl_error *error);
/* Writes other statistics to the device: those of a checkpoint, in place of the ones just fitted. */
mcl_status mcl__pictures_normalise(mcl__pictures *pictures, const mcl_preprocessing *preprocessing, mcl_error *error);
void mcl__pictures_destroy(mcl__pictures *pictures);

#define MCL__FEED_RING 4 /* batches of the host: a multiple of the device's places */
#define MCL__FEED_PLACES 2

/* One sequence of samples cut into batches. */
typedef struct mcl__feed {
    const mcl__pictures *pictures;
    int batch, capacity;       /* samples a batch; of an order */
    mcl_buffer *order;         /* resident: sample indices */
    int32_t *order_host[2];    /* alternate, so that one may still be on its way */
    mcl__fence *order_fence[2];
    int order_turn;
    uint64_t labels_offset;    /* streamed: a batch is pixels, then, aligned, labels */
    int places;                /* batches on the device: two, in turn, where uploads overlap what is computed; else one */
    struct { mcl_buffer *batch; mcl__fence *read; } place[MCL__FEED_PLACES]; /* read: by LOAD, where there are two */
    mcl__stream *stream;
    struct { mcl__staging batch; mcl__fence *uploaded; } ring[MCL__FEED_RING];
    int turn;                  /* the present batch of the ring, and so its place */
} mcl__feed;

mcl_status mcl__feed_create(const mcl__pictures *pictures, int batch, int capacity, mcl__feed *feed, mcl_error *error);
/* One without memory, for plans that are made for their statistics alone. Nothing to destroy. */
mcl__feed mcl__feed_shape(const mcl__pictures *pictures, int batch, int capacity);
uint64_t mcl__feed_bytes(const mcl__feed *feed); /* on the device, once it is created */
void mcl__feed_destroy(mcl__feed *feed);
/* Begins a sequence: indices of samples, `first` the position that the next batch starts at. */
mcl_status mcl__feed_begin(mcl__feed *feed, const int32_t *indices, int count, int first, mcl_error *error);
/* Enqueues what the next batch of `valid` samples needs before LOAD runs. Batches come in order. */
mcl_status mcl__feed_next(mcl__feed *feed, int valid, mcl_error *error);
/* Runs LOAD of a plan with the feed's tensors on that batch, once it is on the device; once a batch. */
mcl_status mcl__feed_load(mcl__feed *feed, mcl__plan *plan, mcl_error *error);

/* The tensors that the load operator reads, added to a graph: pixels, labels, order, mean, inverse deviation. */
void mcl__feed_tensors(const mcl__feed *feed, mcl__graph *graph, int tensors[5]);

/* Hands a failed device's error on. */
mcl_status mcl__device_error_to(mcl_device *device, mcl_status status, mcl_error *error);
#define MCL_TRY_DEVICE(device, expression, error)                                                        \
    do {                                                                                                 \
        mcl_status mcl_try_device_ = (expression);                                                       \
        if (mcl_try_device_ != MCL_OK) return mcl__device_error_to(device, mcl_try_device_, error);      \
    } while (0)
#endif
