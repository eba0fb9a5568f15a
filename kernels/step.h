/* What changes from step to step, and what the device keeps from step to step. Shared by host and kernels:
 * 32-bit members only, no padding, the same layout in C and OpenCL C. */
#ifndef MCL_STEP_H
#define MCL_STEP_H

#define MCL_STEP_GROUPS 8
#define MCL_HISTORY 256 /* steps whose outcome the device remembers before a slot is used again */

/* One optimiser group's numbers of this step. */
typedef struct mcl_step_group {
    float learning_rate;
    float bias_correction1; /* 1 / (1 - beta1^t) */
    float bias_correction2; /* 1 / (1 - beta2^t) */
    float reserved;
} mcl_step_group;

/* The step block: written by the host before each (micro-)batch, read by kernels. */
typedef struct mcl_step {
    int step;            /* optimiser step t, counted from 1 */
    int epoch;           /* counted from 0 */
    int first_sample;    /* position of this batch's first sample in the epoch's order */
    int valid_samples;   /* samples of this (micro-)batch that count; the rest is padding */
    int batch_offset;    /* position of this micro-batch's first sample in the global batch */
    int micro_batch;     /* index of this micro-batch within the step */
    int slot;            /* step % MCL_HISTORY: where in the history the outcome goes */
    float inverse_valid; /* 1 / (valid samples of the whole step) */
    unsigned seed_low, seed_high;
    int reserved0, reserved1;
    mcl_step_group group[MCL_STEP_GROUPS];
} mcl_step;

/* The outcome of one step (or one evaluated batch). */
typedef struct mcl_outcome {
    float loss_sum;      /* over the valid samples */
    float hits;          /* valid samples whose largest logit (the first of equals) is the label's */
    float gradient_norm; /* of the whole gradient, before any clipping */
    int step;            /* 0: slot never written */
} mcl_outcome;

/* The device's own record. Persistent writes happen only while first_bad is 0. */
typedef struct mcl_state {
    int first_bad; /* step of the first NaN or infinity in loss or gradient norm; 0: none */
    int reserved0, reserved1, reserved2;
    mcl_outcome history[MCL_HISTORY];
} mcl_state;

#endif
