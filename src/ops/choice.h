/* Problems and choices in words: what tuning rows and checkpoints keep, and what --explain prints. */
#ifndef MCL_OPS_CHOICE_H
#define MCL_OPS_CHOICE_H
#include "ops/op.h"

/* "bias", "relu", "drelu": a code of an epilogue or a prologue. */
const char *mcl__code_name(const mcl_epilogue_code *code);

/* "tile(4,2,16,1)", or the name alone where parameters is NULL or there is nothing to choose. */
void mcl__choice_text(const char *variant, const mcl__parameters *parameters, char text[MCL__CHOICE]);

/* Everything that could serve the problem: each applicable variant with each of its candidates. The first is what serves where
 * nobody has measured. Returns how many. */
#define MCL__MOST_CHOICES 48
int mcl__choices(const mcl__problem *problem, const mcl__capabilities *capabilities, char list[MCL__MOST_CHOICES][MCL__CHOICE]);

/* A problem without its batch: operator, windows, sizes and codes. "conv2d 3x3 stride 1x1 pad 1x1 dilation 1x1 groups 1, 32x32x64
 * 3x64x64 -> 32x32x64, bias relu". Problems of one text differ in nothing that a choice should depend on but the batch. */
#define MCL__PROBLEM_TEXT 320
void mcl__problem_text(const mcl__problem *problem, char text[MCL__PROBLEM_TEXT]);
int mcl__problem_batch(const mcl__problem *problem); /* 1 where there is none: an update of parameters */

extern const char *const mcl__origin_name[]; /* "default", "shipped", "tuned", "recorded", "forced" */
#endif
