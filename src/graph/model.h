/* A model owns what persists on a device: parameters, gradients and optimiser state in slabs at equal offsets, running
 * statistics with their pending values, the step block and the run's record. Plans borrow it. */
#ifndef MCL_GRAPH_MODEL_H
#define MCL_GRAPH_MODEL_H
#include "ops/tuning.h"

/* A named tensor of a slab. Logical shapes: convolution (KH,KW,C/groups,K), dense (C,K), vectors (C). */
typedef struct mcl__slot {
    char name[160];    /* PyTorch's name, "layer1.0.conv1.weight" */
    mcl__shape shape;
    int group;         /* optimiser group; parameters only */
    int offset;        /* elements from the slab's start; the same in every slab. Filled in by mcl__model_create */
    int flatten_h, flatten_w, flatten_c; /* a dense weight after a flatten of (H,W,C): its rows are in (H,W,C) order here and
                                          * in (C,H,W) order in files; 0 where there is none */
} mcl__slot;

typedef enum mcl__optimiser_kind {
    MCL__OPTIMISER_NONE, MCL__OPTIMISER_SGD, MCL__OPTIMISER_ADAM, MCL__OPTIMISER_ADAMW
} mcl__optimiser_kind;

/* Learning rates and bias corrections come with the step block; these are constant. */
typedef struct mcl__optimiser {
    mcl__optimiser_kind kind;
    float momentum, dampening, beta1, beta2, eps;
    bool nesterov;
    int groups;                    /* 1..MCL_STEP_GROUPS */
    float decay[MCL_STEP_GROUPS];  /* weight decay of each group */
    bool accumulate;               /* several micro-batches a step */
} mcl__optimiser;
int mcl__optimiser_states(const mcl__optimiser *optimiser); /* state slabs: 0, 1 (momentum) or 2 (moments) */

typedef struct mcl__slab {
    mcl_buffer *buffer; /* NULL: not there */
    int elements;       /* f32 */
} mcl__slab;

typedef struct mcl__model {
    mcl_device *device;
    mcl__slot *parameter, *running; /* parameters sorted by group, else in the order given */
    int parameters, runnings;
    mcl__optimiser optimiser;
    mcl__slab value, gradient, accumulated, state[2]; /* equal offsets */
    mcl__slab running_value, pending;                 /* equal offsets */
    mcl_buffer *step, *record;                        /* mcl_step, mcl_state */
    int group_offset[MCL_STEP_GROUPS], group_elements[MCL_STEP_GROUPS]; /* ranges of the slabs */
    mcl__tuning tuning;  /* the device's rows, and what a resumed run has recorded: which kernels plans take */
    uint64_t generation; /* changes whenever parameters change; derived forms are remade when theirs is older */
} mcl__model;

/* Copies the slots; everything on the device starts as zero. A slab larger than the device's largest allocation is an error
 * that says so. optimiser NULL: a model for evaluation, without gradients and state. */
mcl_status mcl__model_create(mcl_device *device, const mcl__slot *parameters, int parameter_count, const mcl__slot *runnings,
                             int running_count, const mcl__optimiser *optimiser, mcl__model **model, mcl_error *error);
void mcl__model_destroy(mcl__model *model);

int mcl__model_find(const mcl__slot *slots, int count, const char *name); /* index, or -1 */
mcl__view mcl__slab_view(const mcl__slab *slab, const mcl__slot *slot); /* slot NULL: all of it */
/* Host copies of one tensor of a slab, in logical order; they wait. Writing values raises the generation. */
mcl_status mcl__model_read(const mcl__slab *slab, const mcl__slot *slot, float *target);
mcl_status mcl__model_write(mcl__model *model, const mcl__slab *slab, const mcl__slot *slot, const float *source);
/* All values of the parameters in place, to be written by the host until they are unmapped (which raises the generation); *values
 * is NULL where the device keeps them elsewhere. Slots lie at their offsets. No plan may run meanwhile. */
mcl_status mcl__model_map(mcl__model *model, float **values);
mcl_status mcl__model_unmap(mcl__model *model, float *values); /* NULL does nothing */
/* The run's record: waits. Reset clears first_bad and the history. */
mcl_status mcl__model_record(mcl__model *model, mcl_state *state);
mcl_status mcl__model_record_reset(mcl__model *model);
uint64_t mcl__model_bytes(const mcl__model *model);
bool mcl__model_owns(const mcl__model *model, const mcl_buffer *buffer);

#endif
