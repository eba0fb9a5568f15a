/* What the device remembers of a step, and the gates on what persists.
 *
 *   outcome          one work-item adds up the rows; outcome_group: one work-group of GROUP, row r to work-item r % GROUP
 *   square_sum       one work-item adds the squares; split: squares_part leaves one partial sum for each work-item,
 *                    squares_finish adds them in one work-group of GROUP
 *   guard            the same of the gradient slab, but for what another kernel has added up already, and the norm into the
 *                    state; split: squares_part, then guard_finish
 *   accumulate, commit   work-item i owns a run of vectors (span_of)
 * Every sum has a fixed order. Memory bounds them: at most 0.5 FLOP for a byte (README.md). */
#include "args.h"
#include "group.h"
#include "step.h"
#include "vector.h"

#define BLOCK 256 /* terms added before they join the total, so that long sums lose little */

void outcome_note(float loss, float hits, global const mcl_step *step, global mcl_state *state)
{
    global mcl_outcome *slot = &state->history[step->slot];
    slot->loss_sum = step->micro_batch > 0 ? slot->loss_sum + loss : loss;
    slot->hits = step->micro_batch > 0 ? slot->hits + hits : hits;
    slot->step = step->step;
}

kernel void outcome(global const float *loss, global const float *hit, global const mcl_step *step, global mcl_state *state,
                    mcl_rows_args args)
{
    if (get_global_id(0) != 0) return;
    float loss_sum = 0.0f, hits = 0.0f;
    for (int i = 0; i < args.rows; i++) {
        loss_sum += loss[i];
        hits += hit[i];
    }
    outcome_note(loss_sum, hits, step, state);
}

kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void outcome_group(global const float *loss, global const float *hit, global const mcl_step *step, global mcl_state *state,
                   mcl_rows_args args)
{
    local float lane[GROUP];
    float loss_sum = 0.0f, hit_sum = 0.0f;
    for (int i = (int)get_local_id(0); i < args.rows; i += GROUP) {
        loss_sum += loss[i];
        hit_sum += hit[i];
    }
    loss_sum = group_sum(lane, loss_sum);
    hit_sum = group_sum(lane, hit_sum);
    if (get_local_id(0) == 0) outcome_note(loss_sum, hit_sum, step, state);
}

kernel void accumulate(global const float *g, global const mcl_step *step, global float *acc, mcl_slab_args args)
{
    const int fresh = step->micro_batch == 0;
    const span own = span_of((args.n - 1) / WIDTH + 1);
    for (int i = own.first; i < own.last; i++) {
        int at = args.offset + i * WIDTH, count = args.n - i * WIDTH;
        vec sum = load_lanes(g + at, count);
        if (!fresh) sum += load_lanes(acc + at, count);
        store_lanes(sum, acc + at, count);
    }
}

void guard_note(float squares, global const mcl_step *step, global mcl_state *state)
{
    global mcl_outcome *slot = &state->history[step->slot];
    float norm = sqrt(squares);
    slot->gradient_norm = norm;
    if (state->first_bad == 0 && !(isfinite(norm) && isfinite(slot->loss_sum))) state->first_bad = step->step;
}

float squares_of(global const float *g, mcl_squares_args args)
{
    float total = 0.0f;
    for (int block = 0; block < args.n - args.known; block += BLOCK) {
        float sum = 0.0f;
        for (int i = block; i < args.n - args.known && i < block + BLOCK; i++) {
            const int at = i < args.first ? i : i + args.known;
            sum += g[at] * g[at];
        }
        total += sum;
    }
    return total;
}

kernel void square_sum(global const float *x, global float *squares, mcl_squares_args args)
{
    if (get_global_id(0) == 0) *squares = squares_of(x, args);
}

/* `known` is there where args.known is not 0. */
kernel void guard(global const float *g, global const mcl_step *step, global const float *known, global mcl_state *state,
                  mcl_squares_args args)
{
    if (get_global_id(0) == 0) guard_note(squares_of(g, args) + (args.known > 0 ? *known : 0.0f), step, state);
}

/* Work-item i adds vectors i, i + parts, ... (GPU), or a run of them (CONTIGUOUS, CPU). */
kernel void squares_part(global const float *g, global float *partial, mcl_squares_args args)
{
    const int id = (int)get_global_id(0), before = args.first / WIDTH;
    const int vectors = before + (args.n - args.first - args.known + WIDTH - 1) / WIDTH;
    if (id >= args.parts) return;
#ifdef CONTIGUOUS
    const int each = (vectors + args.parts - 1) / args.parts, first = min(vectors, id * each);
    const int last = min(vectors, first + each), stride = 1;
#else
    const int first = id, last = vectors, stride = args.parts;
#endif
    vec total = 0.0f;
    for (int i = first; i < last;) {
        vec sum = 0.0f;
        for (int k = 0; k < BLOCK && i < last; k++, i += stride) {
            const int at = i * WIDTH + (i < before ? 0 : args.known);
            vec d = load_lanes(g + at, args.n - at);
            PREFETCH(g + at + AHEAD);
            sum += d * d;
        }
        total += sum;
    }
    partial[id] = sum_lanes(total);
}

/* All work-items of a work-group of GROUP get the sum. */
float add_parts(local float *lane, global const float *partial, int parts)
{
    float sum = 0.0f;
    for (int i = (int)get_local_id(0); i < parts; i += GROUP) sum += partial[i];
    return group_sum(lane, sum);
}

kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void squares_finish(global const float *partial, global float *squares, mcl_squares_args args)
{
    local float lane[GROUP];
    const float sum = add_parts(lane, partial, args.parts);
    if (get_local_id(0) == 0) *squares = sum;
}

kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void guard_finish(global const float *partial, global const mcl_step *step, global const float *known, global mcl_state *state,
                  mcl_squares_args args)
{
    local float lane[GROUP];
    const float sum = add_parts(lane, partial, args.parts);
    if (get_local_id(0) == 0) guard_note(sum + (args.known > 0 ? *known : 0.0f), step, state);
}

kernel void commit(global const float *pending, global const mcl_state *state, global float *running, mcl_slab_args args)
{
    if (state->first_bad != 0) return;
    const span own = span_of((args.n - 1) / WIDTH + 1);
    for (int i = own.first; i < own.last; i++) {
        int at = args.offset + i * WIDTH, count = args.n - i * WIDTH;
        store_lanes(load_lanes(pending + at, count), running + at, count);
    }
}
