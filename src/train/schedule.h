/* The learning rate of a step, and the bias corrections that go with it. */
#ifndef MCL_TRAIN_SCHEDULE_H
#define MCL_TRAIN_SCHEDULE_H
#include "step.h"
#include <monocle/train.h>

/* Fills in what is zero; every default is written here and nowhere else. Returns MCL_ERROR_INVALID with the member's name. */
mcl_status mcl__train_options_resolve(const mcl_train_options *given, mcl_train_options *resolved, mcl_error *error);

/* The rate of step (counted from 1) of an epoch of steps_per_epoch. */
double mcl__learning_rate(const mcl_train_options *options, int step, int steps_per_epoch);
mcl_step_group mcl__step_group(const mcl_train_options *options, int step, int steps_per_epoch);
#endif
