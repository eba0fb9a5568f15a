/* What a plan is made of; shared by the files that build it, run it and tell about it. */
#ifndef MCL_GRAPH_LOWERED_H
#define MCL_GRAPH_LOWERED_H
#include "graph/memory.h"
#include "graph/plan.h"

#define MCL__STEP_RING 64 /* step blocks that the host may be ahead of the device */

/* A list of bound work. */
typedef struct mcl__launches {
    mcl__launch **launch;
    size_t count, capacity;
} mcl__launches;

/* Another form of a parameter, made once for all nodes that ask for it. */
typedef struct mcl__form {
    mcl__view source; /* the parameter's memory */
    const char *name; /* of the form; in the lowering of the node that makes it */
    int maker;        /* that node */
    bool shared;      /* remade when parameters change; else the node makes it each time */
} mcl__form;

/* A node's part of its segment's launches. */
typedef struct mcl__span { size_t first, count; } mcl__span;

struct mcl__plan {
    mcl__graph *graph;
    mcl_device *device;
    mcl__lowered *lowered; /* one a node */
    mcl__memory memory;
    mcl__slabs slabs;       /* activations, their gradients, workspace */
    mcl__form *form;
    mcl__block *form_block;
    int forms;
    int (*node_form)[4];    /* each node's derived tensors: indices of forms */
    mcl__slabs form_slabs;
    mcl__launches derive, segment[MCL__SEGMENTS];
    mcl__launches second_load; /* LOAD from the tensors' second places, where they have them */
    int place;                 /* of such tensors: 0 or 1 */
    mcl__span *span;        /* one a node */
    uint64_t generation;    /* of the parameters that the derived forms were made from */
    struct {
        mcl_step step[MCL__STEP_RING];
        mcl__fence *fence[MCL__STEP_RING];
        uint64_t count;     /* step blocks written so far */
        int taken;          /* slots that may be in use still */
    } ring;
    mcl__plan_statistics statistics;
};

uint64_t mcl__plan_alignment(const mcl_device *device);
int mcl__plan_batch(const mcl__graph *graph); /* samples of a replay */
mcl__view mcl__tensor_view(const mcl__plan *plan, int tensor);
/* Lists the derived forms of all nodes and places them. */
mcl_status mcl__plan_forms(mcl__plan *plan, mcl_error *error);
/* Binds every command of every node into the plan's lists. */
mcl_status mcl__plan_bind(mcl__plan *plan, mcl_error *error);
void mcl__plan_count(mcl__plan *plan); /* fills in the statistics */

#endif
