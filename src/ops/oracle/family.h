/* What the files of the oracle share: the prepared object, and what each family of operators gives to the one table in
 * oracle.c. */
#ifndef MCL_ORACLE_FAMILY_H
#define MCL_ORACLE_FAMILY_H
#include "ops/oracle/approximate.h"
#include "ops/oracle/oracle.h"

typedef struct mcl__oracle_family {
    int inputs;                                                  /* the operator's own; -1: all */
    mcl_status (*prepare)(mcl__oracle *oracle, mcl_error *error); /* fills oracle->prepared; NULL: nothing to prepare */
    mcl__approx (*value)(const mcl__oracle *oracle, int output, int64_t index); /* before the epilogue */
    bool (*whole)(int output, int64_t index); /* of a struct output: is this word an int? NULL: floats */
} mcl__oracle_family;

struct mcl__oracle {
    mcl__problem problem;
    const mcl__oracle_family *family;
    mcl__algorithm algorithm; /* whose errors the bound allows */
    const void *in[MCL__MAX_OPERANDS], *initial[MCL__MAX_OUTPUTS];
    const mcl_step *step;   /* the input that is a step block, or NULL */
    const mcl_state *state; /* the input that is a state, or NULL */
    struct mcl__winograd *winograd; /* of an algorithm that needs it: see winograd.h */
    mcl__approx *sources;            /* in[0] behind the prologue; NULL where there is none */
    double *prepared;
    double *result_stats; /* of a problem that ends in STATS: see batch_norm.c */
};

static inline double mcl__oracle_in(const mcl__oracle *oracle, int input, int64_t index)
{
    return ((const float *)oracle->in[input])[index];
}
static inline double mcl__oracle_initial(const mcl__oracle *oracle, int output, int64_t index)
{
    return ((const float *)oracle->initial[output])[index];
}

/* The coordinates of an element, padded with leading ones to four: a dense layer's (R, C) is (1, 1, R, C). */
typedef struct mcl__position { int64_t d[4]; } mcl__position;
mcl__position mcl__oracle_position(mcl__shape shape, int64_t index);
int64_t mcl__oracle_index(mcl__shape shape, mcl__position position);

/* in[0] behind the prologue, allocated; NULL: no memory. */
mcl__approx *mcl__oracle_sources(const mcl__oracle *oracle);
/* One element of it. */
static inline mcl__approx mcl__oracle_source(const mcl__oracle *oracle, int64_t index)
{
    return oracle->sources ? oracle->sources[index] : mcl__exact(mcl__oracle_in(oracle, 0, index));
}
/* A sum of products, of which the first factors may carry errors. */
typedef struct mcl__products { double sum, magnitude, carried, terms; } mcl__products;
static inline void mcl__products_add(mcl__products *products, mcl__approx x, double w)
{
    products->sum += x.value * w;
    products->carried += x.error * fabs(w);
    products->magnitude += (fabs(x.value) + x.error) * fabs(w);
    products->terms++;
}
static inline mcl__approx mcl__products_sum(mcl__products products)
{
    mcl__approx sum = mcl__sum(products.sum, products.magnitude, products.terms, 1);
    sum.error += products.carried;
    return sum;
}

/* Mean (0) and biased variance (1) of `rows` exact values, whose absolute values have the mean `magnitude`. */
mcl__approx mcl__oracle_moment(int which, double rows, double mean, double variance, double magnitude);
/* The same of a channel of output 0, for problems that end in STATS. */
mcl__approx mcl__oracle_stats(const mcl__oracle *oracle, int which, int64_t channel);
/* Element index of output 0 with its epilogue. */
mcl__approx mcl__oracle_result(const mcl__oracle *oracle, int64_t index);

/* The epilogue's codes on value, which is element index of output 0. */
mcl__approx mcl__oracle_epilogue(const mcl__oracle *oracle, int64_t index, mcl__approx value);
/* The random word of element s of sample b (position in the micro-batch), from Philox's definition. */
uint32_t mcl__oracle_random(const mcl_step *step, uint32_t s, uint32_t b, uint32_t stream);

extern const mcl__oracle_family mcl__oracle_conv2d, mcl__oracle_conv2d_bwd_data, mcl__oracle_conv2d_bwd_weight,
    mcl__oracle_dense, mcl__oracle_dense_bwd_data, mcl__oracle_dense_bwd_weight, mcl__oracle_map,
    mcl__oracle_channel_sum, mcl__oracle_batch_norm_stats, mcl__oracle_batch_norm_finish, mcl__oracle_batch_norm_track,
    mcl__oracle_batch_norm_bwd_reduce, mcl__oracle_batch_norm_bwd_data, mcl__oracle_max_pool, mcl__oracle_max_pool_bwd,
    mcl__oracle_avg_pool, mcl__oracle_avg_pool_bwd, mcl__oracle_global_avg_pool, mcl__oracle_global_avg_pool_bwd,
    mcl__oracle_slice, mcl__oracle_pad, mcl__oracle_concat, mcl__oracle_softmax, mcl__oracle_softmax_cross_entropy,
    mcl__oracle_softmax_cross_entropy_bwd, mcl__oracle_load, mcl__oracle_outcome, mcl__oracle_accumulate,
    mcl__oracle_square_sum, mcl__oracle_guard, mcl__oracle_sgd, mcl__oracle_adam, mcl__oracle_commit;
#endif
