/* Training, evaluation and prediction.
 *
 *   mcl_trainer *trainer;
 *   mcl_train_options options = {.epochs = 10, .batch = 64, .learning_rate = 0.05f, .run = "runs/first"};
 *   MCL_TRY(mcl_trainer_create(device, net, data, &options, &trainer, &error));
 *   MCL_TRY(mcl_trainer_run(trainer, on_event, NULL, &error));
 *
 * The same device, driver, threads, options and seed give the same bits, and a run that was killed and resumed gives the bits
 * of one that was not. */
#ifndef MONOCLE_TRAIN_H
#define MONOCLE_TRAIN_H
#include <monocle/data.h>
#include <monocle/device.h>
#include <monocle/network.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mcl_optimiser_kind { MCL_SGD, MCL_ADAM, MCL_ADAMW } mcl_optimiser_kind;
typedef enum mcl_schedule_kind { MCL_SCHEDULE_CONSTANT, MCL_SCHEDULE_STEP, MCL_SCHEDULE_COSINE } mcl_schedule_kind;
/* auto: those that take next to no time, and all that can be where memory is short */
typedef enum mcl_recompute { MCL_RECOMPUTE_AUTO, MCL_RECOMPUTE_ON, MCL_RECOMPUTE_OFF } mcl_recompute;
typedef enum mcl_residence { MCL_RESIDENCE_AUTO, MCL_RESIDENCE_DEVICE, MCL_RESIDENCE_STREAM } mcl_residence;

/* All-zero means the defaults in brackets. */
typedef struct mcl_train_options {
    int epochs;             /* [10] */
    int batch;              /* samples a step [64] */
    int micro_batches;      /* parts that a step's batch is computed in, gradients accumulated; divides batch [1] */
    bool keep_partial;      /* train on the last, smaller batch of an epoch too, not drop it; its last part may be smaller too */
    uint64_t seed;          /* of weights, masks, shuffling and augmentation [0] */

    mcl_optimiser_kind optimiser;
    float learning_rate;    /* at the schedule's height [SGD 0.01, Adam and AdamW 0.001] */
    float momentum;         /* SGD; 0 is none. mcl_train_defaults() gives 0.9 */
    float dampening;
    bool nesterov;
    float beta1, beta2, eps; /* Adam [0.9, 0.999, 1e-8] */
    float weight_decay;
    bool decay_weights_only; /* biases and batch normalisation parameters are not decayed */

    /* constant; step: x step_factor [0.1] every step_epochs [epochs / 3]; cosine: from learning_rate to learning_rate *
     * final_fraction, updated every step. warmup_epochs rise linearly before any of them. */
    mcl_schedule_kind schedule;
    float warmup_epochs, step_factor, final_fraction;
    int step_epochs;

    bool flip;              /* left-right with probability 1/2 */
    int crop;               /* zero-padded by so many pixels, then cropped at random to the old size */
    mcl_preprocessing_kind preprocessing;
    mcl_residence residence; /* where the pictures are; auto: on the device where they fit */

    const char *run;        /* the run's folder; NULL: nothing is written */
    bool resume;            /* go on from run/last.safetensors */
    int checkpoint_steps;   /* also write last.safetensors every so many steps [0: only at the end of epochs] */
    int checkpoint_seconds; /* ... and when so many seconds have passed [60; negative: never] */
    int max_steps;          /* stop after so many steps in all; 0: no limit */
    bool no_fuse;
    mcl_recompute recompute; /* activations that the backward pass makes again instead of keeping them: less memory, same bits */
    const char *description; /* YAML of the network, kept in checkpoints; NULL: they can be loaded only with the network at hand */
} mcl_train_options;

/* PyTorch-like defaults: SGD, momentum 0.9. */
MCL_API mcl_train_options mcl_train_defaults(void);

typedef struct mcl_metrics {
    double loss;     /* mean over samples */
    double accuracy; /* top-1, 0..1 */
    int64_t samples;
} mcl_metrics;

typedef enum mcl_event_kind {
    MCL_EVENT_PROGRESS, MCL_EVENT_EPOCH, MCL_EVENT_CHECKPOINT, MCL_EVENT_WARNING, MCL_EVENT_DONE
} mcl_event_kind;

/* What the callback is told. Pointers live during the call. */
typedef struct mcl_event {
    mcl_event_kind kind;
    int epoch, epochs;          /* counted from 1 */
    int step, steps;            /* optimiser steps done, and in all */
    int epoch_step, epoch_steps;
    mcl_metrics train;          /* of this epoch so far */
    mcl_metrics validation;     /* EPOCH, DONE (of the best); samples 0 where there is no validation part */
    mcl_metrics test;           /* DONE: of the best weights, where there is a test part */
    float learning_rate, gradient_norm;
    double pictures_per_second, seconds_left; /* 0 until a second step is done: the first compiles kernels */
    double seconds;
    bool best;                  /* EPOCH: this one is the best so far */
    const char *message;        /* WARNING, CHECKPOINT (the path) */
} mcl_event;
typedef void (*mcl_event_function)(const mcl_event *event, void *user);

typedef struct mcl_trainer mcl_trainer;

/* Borrows device, network and data until destroyed. Allocates everything the run needs, so that too little memory shows here
 * (MCL_ERROR_MEMORY; the text has the largest batch that would fit). A run's folder has one trainer at a time, of any process:
 * MCL_ERROR_INVALID for another one. */
MCL_API mcl_status mcl_trainer_create(mcl_device *device, const mcl_network *network, mcl_dataset *data,
                                      const mcl_train_options *options, mcl_trainer **trainer, mcl_error *error);
MCL_API void mcl_trainer_destroy(mcl_trainer *trainer); /* NULL does nothing */

/* Trains to the end: all epochs, validation after each, checkpoints, and the test of the best at last. function may be NULL.
 * MCL_ERROR_INTERRUPTED after mcl_trainer_stop, MCL_ERROR_DIVERGED after a NaN (the text has step and layer; the state is that
 * of the step before); in both cases last.safetensors has been written, where the run has a folder, and also where a picture could
 * not be read. */
MCL_API mcl_status mcl_trainer_run(mcl_trainer *trainer, mcl_event_function function, void *user, mcl_error *error);

/* A loop of one's own: `count` steps (fewer at the end of an epoch), enqueued; *done of them. *epoch_end tells that the epoch is
 * complete. mcl_trainer_metrics waits and gives the epoch's training metrics so far. */
MCL_API mcl_status mcl_trainer_steps(mcl_trainer *trainer, int count, int *done, bool *epoch_end, mcl_error *error);
MCL_API mcl_status mcl_trainer_metrics(mcl_trainer *trainer, mcl_metrics *metrics, mcl_error *error);
/* Loss and accuracy of the present weights on a part, without augmentation; zeros where the part is empty. Waits. */
MCL_API mcl_status mcl_trainer_evaluate(mcl_trainer *trainer, mcl_part part, mcl_metrics *metrics, mcl_error *error);
/* Writes a checkpoint of the present state, atomically: weights, optimiser state, progress. Waits. MCL_ERROR_IO names the path. */
MCL_API mcl_status mcl_trainer_save(mcl_trainer *trainer, const char *path, mcl_error *error);

/* Ends mcl_trainer_run after the steps that are enqueued, of training or evaluation: 0.75 seconds of them, or two. One that comes
 * earlier ends the next mcl_trainer_run; each ends one. Safe in a signal handler. */
MCL_API void mcl_trainer_stop(mcl_trainer *trainer);
/* The plan of a training step, what a picture more takes, and the largest batch that fits: as --explain prints it, malloc'ed. */
MCL_API char *mcl_trainer_explain(const mcl_trainer *trainer);

/* A checkpoint in use: the weights, the network and the preprocessing that it was trained with. */
typedef struct mcl_predictor mcl_predictor;

/* checkpoint: a .safetensors file, or a run's folder (its best, else its last). network NULL: the one described in the file; else
 * it is borrowed until closed. batch: pictures computed at once, at least 1. The same device must not train meanwhile in another
 * thread. Returns MCL_ERROR_NOT_FOUND, MCL_ERROR_IO, MCL_ERROR_FORMAT (damaged), MCL_ERROR_SHAPE (another network's weights). */
MCL_API mcl_status mcl_predictor_open(mcl_device *device, const mcl_network *network, const char *checkpoint, int batch,
                                      mcl_predictor **predictor, mcl_error *error);
MCL_API void mcl_predictor_close(mcl_predictor *predictor); /* NULL does nothing */
MCL_API const mcl_network *mcl_predictor_network(const mcl_predictor *predictor);
MCL_API int mcl_predictor_classes(const mcl_predictor *predictor);
MCL_API const char *mcl_predictor_class_name(const mcl_predictor *predictor, int index); /* "" when out of range */
/* The input: (height, width, channels), and how pictures of another size were brought to it. */
MCL_API void mcl_predictor_input(const mcl_predictor *predictor, int *height, int *width, int *channels, mcl_resize *resize);
/* Probabilities (count, classes) of `count` pictures, bytes (count, H, W, C); preprocessing happens inside. Waits. */
MCL_API mcl_status mcl_predictor_run(mcl_predictor *predictor, const uint8_t *pixels, int count, float *probabilities,
                                     mcl_error *error);

/* Loss, top-1, top-5 and the confusion matrix of one part of a data set. */
typedef struct mcl_evaluation {
    int64_t samples;
    int classes;
    double loss, top1, top5;
    int64_t *confusion; /* (classes, classes): row = true class, column = predicted */
    double *precision, *recall, *f1; /* a class; 0 where undefined */
} mcl_evaluation;
/* MCL_ERROR_SHAPE when size or classes of the pictures are others than the checkpoint's, MCL_ERROR_NOT_FOUND for an empty part.
 * Release *evaluation with mcl_evaluation_free. */
MCL_API mcl_status mcl_predictor_evaluate(mcl_predictor *predictor, mcl_dataset *data, mcl_part part, mcl_evaluation *evaluation,
                                          mcl_error *error);
MCL_API void mcl_evaluation_free(mcl_evaluation *evaluation);

#ifdef __cplusplus
}
#endif
#endif
