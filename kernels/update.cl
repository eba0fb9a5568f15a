/* Optimisers over the range [offset, offset + n) of the parameter slab.
 *
 *   work-item i owns a run of vectors of WIDTH elements (span_of); the last vector may be short. Gradient, parameters and
 *   optimiser state lie at equal offsets of their slabs. Nothing is written once state.first_bad is set.
 * Memory bounds both: 0.35 (sgd) and 0.6 (adam) FLOP for a byte (README.md). */
#include "args.h"
#include "step.h"
#include "vector.h"

kernel void sgd(global const float *g, global const mcl_step *step, global const mcl_state *state, global float *p,
                global float *m, mcl_sgd_args args)
{
    if (state->first_bad != 0) return;
    const float rate = step->group[args.group].learning_rate;
    const int first_step = step->step == 1;
    const span own = span_of((args.n - 1) / WIDTH + 1);
    for (int i = own.first; i < own.last; i++) {
        int at = args.offset + i * WIDTH, count = args.n - i * WIDTH;
        PREFETCH(g + at + AHEAD);
        PREFETCH(p + at + AHEAD);
        PREFETCH(m + at + AHEAD);
        vec parameter = load_lanes(p + at, count);
        vec d = load_lanes(g + at, count) + args.decay * parameter;
        if (args.momentum != 0.0f) {
            vec moved = d;
            if (!first_step) moved = args.momentum * load_lanes(m + at, count) + args.one_minus_dampening * d;
            store_lanes(moved, m + at, count);
            d = args.nesterov ? d + args.momentum * moved : moved;
        }
        store_lanes(parameter - rate * d, p + at, count);
    }
}

kernel void adam(global const float *g, global const mcl_step *step, global const mcl_state *state, global float *p,
                 global float *m, global float *v, mcl_adam_args args)
{
    if (state->first_bad != 0) return;
    const mcl_step_group now = step->group[args.group];
    const float shrink = args.decoupled ? 1.0f - now.learning_rate * args.decay : 1.0f;
    const float decay = args.decoupled ? 0.0f : args.decay;
    const span own = span_of((args.n - 1) / WIDTH + 1);
    for (int i = own.first; i < own.last; i++) {
        int at = args.offset + i * WIDTH, count = args.n - i * WIDTH;
        PREFETCH(g + at + AHEAD);
        PREFETCH(p + at + AHEAD);
        PREFETCH(m + at + AHEAD);
        PREFETCH(v + at + AHEAD);
        vec parameter = load_lanes(p + at, count);
        vec d = load_lanes(g + at, count) + decay * parameter;
        vec first = args.beta1 * load_lanes(m + at, count) + args.one_minus_beta1 * d;
        vec second = args.beta2 * load_lanes(v + at, count) + args.one_minus_beta2 * d * d;
        vec slope = first * now.bias_correction1 / (sqrt(second * now.bias_correction2) + args.eps);
        store_lanes(first, m + at, count);
        store_lanes(second, v + at, count);
        store_lanes(shrink * parameter - now.learning_rate * slope, p + at, count);
    }
}
