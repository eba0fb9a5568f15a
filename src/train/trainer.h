/* The state of a run, shared by the loop and the checkpoints. */
#ifndef MCL_TRAIN_TRAINER_H
#define MCL_TRAIN_TRAINER_H
#include "train/purpose.h"
#include "train/schedule.h"
#include <stdatomic.h>

/* How far a run is: everything that a checkpoint must carry beside tensors for the next step to have the same bits. */
typedef struct mcl__progress {
    int step;            /* optimiser steps done */
    int epoch;           /* complete epochs */
    int position;        /* samples of the present epoch done */
    double loss_sum, hits; /* of the present epoch's samples, as far as drained */
    int64_t seen;
    int best_epoch;      /* counted from 1; 0: none yet */
    double best_loss, best_accuracy;
    double seconds;      /* of training, over all sessions of the run */
} mcl__progress;

struct mcl_trainer {
    mcl_device *device;
    const mcl_network *network;
    mcl_dataset *data;
    mcl_train_options options; /* strings owned by the trainer */
    mcl_preprocessing preprocessing;
    mcl__model *model;
    mcl__pictures pictures;
    mcl__feed train_feed, partial_feed, eval_feed;
    mcl__purpose train, partial, eval; /* train: of `micro` pictures; partial: of `rest` */
    int micro, rest; /* pictures of a micro-batch; of the last one of an epoch, where it has fewer and is kept, else 0 */
    const int32_t *part[MCL_PARTS];
    int part_count[MCL_PARTS];
    int32_t *order;
    int steps_per_epoch;
    bool epoch_begun;           /* the feed stands at progress.position */
    int drained;                /* the last step whose outcome is in progress */
    int ahead;                  /* steps to enqueue before the next drain */
    double ahead_since;         /* when the first of them was enqueued */
    float gradient_norm;
    mcl__progress progress;
    float *best_value, *best_running; /* slabs of the best weights of this session; NULL: none yet */
    atomic_bool stop;
    struct mcl__run_log *log;   /* NULL: no run folder */
    int lock;                   /* the run's folder, open and locked; -1: none */
    double checkpointed;        /* time of the last checkpoint */
};

/* Enqueues one step at the present position; the epoch must not be complete. */
mcl_status mcl__trainer_step(mcl_trainer *trainer, mcl_error *error);
/* Waits, and takes the outcomes of all steps done into progress and log. MCL_ERROR_DIVERGED after a NaN: the trainer then stands
 * at the step before it. At most MCL_HISTORY steps may lie between two calls. */
mcl_status mcl__trainer_drain(mcl_trainer *trainer, mcl_error *error);
/* Steps, of so many seconds each, that are enqueued one after another before the host waits for them. At most so many: far below
 * MCL_HISTORY, so that no outcome is overwritten before it is read. */
enum { MCL__MOST_AHEAD = 64 };
int mcl__steps_ahead(double step_seconds);
bool mcl__trainer_drain_due(const mcl_trainer *trainer);
bool mcl__trainer_epoch_complete(const mcl_trainer *trainer);
void mcl__trainer_end_epoch(mcl_trainer *trainer);
mcl_metrics mcl__trainer_metrics_so_far(const mcl_trainer *trainer); /* of the epoch, as far as drained */

/* Writes or reads the complete state; reading checks that network, data and options fit. */
mcl_status mcl__checkpoint_save(mcl_trainer *trainer, const char *path, mcl_error *error);
/* Before plans are made: those of a resumed run take the kernels that it took before, on the same device. */
mcl_status mcl__checkpoint_choices(mcl_trainer *trainer, const char *path, mcl_error *error);
mcl_status mcl__checkpoint_resume(mcl_trainer *trainer, const char *path, mcl_error *error);

/* log.jsonl: one object a line. Opening drops what lies past `step` (a resumed run repeats it). */
mcl_status mcl__run_log_open(const char *run, int step, struct mcl__run_log **log, mcl_error *error);
mcl_status mcl__run_log_step(struct mcl__run_log *log, int step, double loss, double accuracy, double rate, double norm,
                             mcl_error *error);
mcl_status mcl__run_log_event(struct mcl__run_log *log, const mcl_event *event, mcl_error *error);
void mcl__run_log_close(struct mcl__run_log *log);
#endif
