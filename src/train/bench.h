/* Measures training: steps of a network on made-up pictures that lie on the device already, beside what the device can do at
 * most. Nothing here is part of a run. */
#ifndef MCL_TRAIN_BENCH_H
#define MCL_TRAIN_BENCH_H
#include "device/peak.h"
#include "graph/plan.h"
#include <monocle/train.h>

typedef struct mcl__bench_options {
    const char *device;               /* a selector, as mcl_device_open() takes it */
    mcl_device_options device_options;
    int batch;
    int pictures;                     /* in the made-up data set; 0: four batches */
    mcl_recompute recompute;
    int steps;                        /* measured; 0: as many as fit in two seconds, at least 5 and at most 200 */
    bool layers;                      /* also each node's time */
} mcl__bench_options;

/* A node's share of a step. */
typedef struct mcl__bench_layer {
    char name[160], op[96], shape[64], variant[MCL__CHOICE]; /* with its parameters */
    int launches;
    double seconds, flops, bytes;
    double roofline; /* seconds that it would take at the device's peak or bandwidth, whichever is the longer */
} mcl__bench_layer;

/* From opening the device to the end of the first step. */
typedef struct mcl__bench_start { double seconds; uint64_t programs_built, programs_loaded; } mcl__bench_start;

typedef struct mcl__bench {
    mcl_device_info device;
    int threads, batch, steps;
    double median, least, most, low_quartile, high_quartile; /* seconds a step, waited for */
    mcl__bench_start start;
    double launches;                      /* a step */
    double host_launch, host_launch_mean; /* processor seconds of the host for a launch, in the median step and in the mean of
                                           * all; 0 where the host computes */
    int ahead;                            /* steps enqueued before a wait, in training and where host_launch was measured */
    double flops, bytes;                  /* of a step */
    mcl__plan_statistics plan;
    uint64_t device_bytes;                /* bytes allocated on the device, at most */
    uint64_t resident_growth, peak_growth; /* of the process, in bytes, beyond what it had before the model: now; at most */
    mcl__peak peak;
    mcl__bench_layer *layer;              /* farthest from their roofline, in seconds, first */
    int layers;
} mcl__bench;

/* Opens the device, so that a start is measured as a user meets it, with the caches as they are. Free with mcl__bench_free. */
mcl_status mcl__bench_run(const mcl_network *network, const mcl__bench_options *options, mcl__bench *bench, mcl_error *error);
void mcl__bench_free(mcl__bench *bench);
/* A start and nothing else. */
mcl_status mcl__bench_begin(const mcl_network *network, const mcl__bench_options *options, mcl__bench_start *start,
                            mcl_error *error);

/* Sorts the values. */
double mcl__median(double *value, int count);

/* Seconds that the work takes at the device's peak and bandwidth, whichever is the longer. */
double mcl__roofline(const mcl__peak *peak, double flops, double bytes);

/* The batch that comparisons use for a network: 128 for small ones, 64 else. */
int mcl__bench_batch(const char *network);
#endif
