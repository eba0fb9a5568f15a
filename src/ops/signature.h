/* What an operator expects of its inputs, as a table: one rule an input, checked in one place with one wording. */
#ifndef MCL_OPS_SIGNATURE_H
#define MCL_OPS_SIGNATURE_H
#include "ops/op.h"

typedef enum mcl__form {
    MCL__FORM_ANY,         /* f32 of any shape */
    MCL__FORM_IMAGES,      /* f32 (N,H,W,C) */
    MCL__FORM_MATRIX,      /* f32 (R,C) */
    MCL__FORM_LIKE_FIRST,  /* f32 of the first input's shape */
    MCL__FORM_PER_CHANNEL, /* f32 (C) of the first input */
    MCL__FORM_LABELS,      /* i32 (R), the first input's first dimension */
    MCL__FORM_ORDER,       /* i32 (n) */
    MCL__FORM_INDEX,       /* u8 of the first input's shape */
    MCL__FORM_PIXELS,      /* u8 (S,H,W,C) */
    MCL__FORM_VECTOR,      /* f32 (n) */
    MCL__FORM_STEP,        /* the bytes of an mcl_step */
    MCL__FORM_STATE        /* the bytes of an mcl_state */
} mcl__form;

typedef struct mcl__rule { const char *name; mcl__form form; } mcl__rule;

/* Checks the number of inputs and each input's type and shape. */
mcl_status mcl__signature_check(const mcl__problem *problem, const mcl__rule *rules, int count, mcl_error *error);
#define MCL__SIGNATURE(problem, rules, error) mcl__signature_check(problem, rules, (int)(sizeof(rules) / sizeof *(rules)), error)

/* Sets output `index`; its shape must be one that a tensor can have. */
mcl_status mcl__signature_output(mcl__problem *problem, int index, mcl__shape shape, mcl__dtype dtype, mcl_error *error);

static inline mcl__shape mcl__shape_of_vector(int n) { return (mcl__shape){1, {n}}; }

/* Shape inference of the commonest kinds: one f32 output of the first input's shape. */
mcl_status mcl__signature_like_first(mcl__problem *problem, const mcl__rule *rules, int count, mcl_error *error);

#endif
