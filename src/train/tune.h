/* Tuning: which problems a network's training has, and what serves each fastest here. */
#ifndef MCL_TRAIN_TUNE_H
#define MCL_TRAIN_TUNE_H
#include "graph/plan.h"
#include <monocle/train.h>

/* A problem of a training step for which there is more than one choice. */
typedef struct mcl__tune_problem {
    mcl__problem problem;
    char name[160]; /* of the first node that has it */
    int count;      /* nodes that have it */
    double work;    /* all of them, in operations; a byte moved counts as ten */
} mcl__tune_problem;

/* Lists them, those with the most work first. Compiles nothing. *list is freed with free(). */
mcl_status mcl__tune_problems(mcl_device *device, const mcl_network *network, const mcl_train_options *options,
                              mcl__tune_problem **list, int *count, mcl_error *error);

typedef enum mcl__tune_stage {
    MCL__TUNE_READY,  /* the device is open; the worker's first word */
    MCL__TUNE_BEGIN,  /* compiles, runs and checks `choice`: until the next news, what happens is its fault */
    MCL__TUNE_RIGHT,  /* its result is right; seconds: of one run */
    MCL__TUNE_FAILED, /* wrong, or does not build or run; text says how */
    MCL__TUNE_TIMING, /* is being timed */
    MCL__TUNE_MEDIAN, /* seconds of a run */
    MCL__TUNE_DONE,
    MCL__TUNE_REFUSED /* nothing can be measured: text says why */
} mcl__tune_stage;

typedef struct mcl__tune_news {
    mcl__tune_stage stage;
    int choice; /* index in the list that was given */
    double seconds;
    bool passing; /* of FAILED: memory was short, which another time need not be */
    char text[160];
} mcl__tune_news;

/* Measures choices for a problem in turn: each must give the right result within the oracle's bounds, then those that are left run
 * alternately; the hopeless are dropped early. Tells about each step. Fails where nothing can go on, such as after a build that
 * failed: a device that has refused once is of no use any more. */
mcl_status mcl__tune_measure(mcl_device *device, const mcl__problem *problem, const char (*choice)[MCL__CHOICE], int count,
                             void (*tell)(const mcl__tune_news *news, void *user), void *user, mcl_error *error);
#endif
