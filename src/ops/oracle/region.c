/* The oracle's slice, pad and concat: copies, so every bound is zero. */
#include "ops/oracle/family.h"

/* attrs.region.offset counts the tensor's own axes; positions are right-aligned. */
static mcl__approx slice(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    mcl__shape x = oracle->problem.in[0];
    mcl__position at = mcl__oracle_position(oracle->problem.out[0], index);
    for (int axis = 0; axis < x.rank; axis++) at.d[4 - x.rank + axis] += oracle->problem.attrs.region.offset[axis];
    return mcl__exact(mcl__oracle_in(oracle, 0, mcl__oracle_index(x, at)));
}

static mcl__approx pad(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    mcl__shape x = oracle->problem.in[0];
    mcl__position at = mcl__oracle_position(oracle->problem.out[0], index);
    for (int axis = 0; axis < x.rank; axis++) {
        int64_t from = at.d[4 - x.rank + axis] -= oracle->problem.attrs.region.offset[axis];
        if (from < 0 || from >= x.d[axis]) return mcl__exact(0);
    }
    return mcl__exact(mcl__oracle_in(oracle, 0, mcl__oracle_index(x, at)));
}

static mcl__approx concat(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    const mcl__problem *p = &oracle->problem;
    mcl__position at = mcl__oracle_position(p->out[0], index);
    int axis = 4 - p->out[0].rank + p->attrs.concat.axis, input = 0;
    while (at.d[axis] >= p->in[input].d[p->attrs.concat.axis]) at.d[axis] -= p->in[input++].d[p->attrs.concat.axis];
    return mcl__exact(mcl__oracle_in(oracle, input, mcl__oracle_index(p->in[input], at)));
}

const mcl__oracle_family mcl__oracle_slice = {.inputs = 1, .value = slice};
const mcl__oracle_family mcl__oracle_pad = {.inputs = 1, .value = pad};
const mcl__oracle_family mcl__oracle_concat = {.inputs = -1, .value = concat};
