/* Softmax and its cross-entropy, one row of logits (rows, C) at a time.
 *
 *   work-item i owns a run of rows (span_of); *_group: work-group i owns row i, whose logits c, c + GROUP, ... are its
 *   work-item c's, so that neighbours read neighbours (GPUs).
 *   A row's largest logit is subtracted before exp. NaN anywhere in a row makes its whole result NaN, and so does a label outside
 *   0 .. C - 1. Rows from step.valid_samples on are padding: all 0.
 * About 0.5 FLOP for a byte asked, 1 for a byte needed (README.md). */
#include "args.h"
#include "group.h"
#include "step.h"
#include "vector.h"

float row_largest(global const float *row, int C)
{
    float largest = row[0];
    for (int c = 1; c < C; c++) largest = row[c] > largest ? row[c] : largest;
    return largest;
}

float row_sum(global const float *row, int C, float largest)
{
    float sum = 0.0f;
    for (int c = 0; c < C; c++) sum += exp(row[c] - largest);
    return sum;
}

kernel void softmax_fwd(global const float *logits, global float *probabilities, mcl_softmax_args args)
{
    const span own = span_of(args.rows);
    for (int r = own.first; r < own.last; r++) {
        global const float *row = logits + r * args.C;
        float largest = row_largest(row, args.C), sum = row_sum(row, args.C, largest);
        for (int c = 0; c < args.C; c++) probabilities[r * args.C + c] = exp(row[c] - largest) / sum;
    }
}

kernel void softmax_cross_entropy_fwd(global const float *logits, global const int *labels, global const mcl_step *step,
                                      global float *loss, global float *hit, mcl_softmax_args args)
{
    const span own = span_of(args.rows);
    for (int r = own.first; r < own.last; r++) {
        global const float *row = logits + r * args.C;
        int label = labels[r], known = label >= 0 && label < args.C;
        float largest = row_largest(row, args.C), target = known ? row[label] : NAN;
        int first = 0;
        while (first < args.C - 1 && row[first] != largest) first++;
        loss[r] = r < step->valid_samples ? log(row_sum(row, args.C, largest)) + (largest - target) : 0.0f;
        hit[r] = r < step->valid_samples && first == label ? 1.0f : 0.0f;
    }
}

kernel void softmax_cross_entropy_bwd(global const float *logits, global const int *labels, global const mcl_step *step,
                                      global float *dlogits, mcl_softmax_args args)
{
    const span own = span_of(args.rows);
    for (int r = own.first; r < own.last; r++) {
        global const float *row = logits + r * args.C;
        global float *drow = dlogits + r * args.C;
        int label = labels[r], known = label >= 0 && label < args.C;
        float scale = r >= step->valid_samples ? 0.0f : known ? step->inverse_valid : NAN;
        float largest = row_largest(row, args.C), sum = row_sum(row, args.C, largest);
        for (int c = 0; c < args.C; c++)
            drow[c] = scale == 0.0f ? 0.0f : (exp(row[c] - largest) / sum - (c == label ? 1.0f : 0.0f)) * scale;
    }
}

/* row_largest and row_sum by a work-group. */
float group_row_largest(local float *lane, global const float *row, int C)
{
    float largest = row[0];
    for (int c = (int)get_local_id(0); c < C; c += GROUP) largest = row[c] > largest ? row[c] : largest;
    return group_largest(lane, largest);
}

float group_row_sum(local float *lane, global const float *row, int C, float largest)
{
    float sum = 0.0f;
    for (int c = (int)get_local_id(0); c < C; c += GROUP) sum += exp(row[c] - largest);
    return group_sum(lane, sum);
}

kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void softmax_fwd_group(global const float *logits, global float *probabilities, mcl_softmax_args args)
{
    local float lane[GROUP];
    const int own = (int)get_group_id(0) * args.C;
    global const float *row = logits + own;
    const float largest = group_row_largest(lane, row, args.C), sum = group_row_sum(lane, row, args.C, largest);
    for (int c = (int)get_local_id(0); c < args.C; c += GROUP) probabilities[own + c] = exp(row[c] - largest) / sum;
}

kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void softmax_cross_entropy_fwd_group(global const float *logits, global const int *labels, global const mcl_step *step,
                                     global float *loss, global float *hit, mcl_softmax_args args)
{
    local float lane[GROUP];
    const int r = (int)get_group_id(0), label = labels[r];
    global const float *row = logits + r * args.C;
    const float target = label >= 0 && label < args.C ? row[label] : NAN;
    const float largest = group_row_largest(lane, row, args.C), sum = group_row_sum(lane, row, args.C, largest);
    float before = 0.0f; /* the label, as large as the largest: then the label is not the first of equals */
    for (int c = (int)get_local_id(0); c < label && c < args.C; c += GROUP) before += row[c] == largest ? 1.0f : 0.0f;
    before = group_sum(lane, before);
    if (get_local_id(0) != 0) return;
    loss[r] = r < step->valid_samples ? log(sum) + (largest - target) : 0.0f;
    hit[r] = r < step->valid_samples && target == largest && before == 0.0f ? 1.0f : 0.0f;
}

kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void softmax_cross_entropy_bwd_group(global const float *logits, global const int *labels, global const mcl_step *step,
                                     global float *dlogits, mcl_softmax_args args)
{
    local float lane[GROUP];
    const int r = (int)get_group_id(0), label = labels[r], known = label >= 0 && label < args.C;
    global const float *row = logits + r * args.C;
    const float scale = r >= step->valid_samples ? 0.0f : known ? step->inverse_valid : NAN;
    const float largest = group_row_largest(lane, row, args.C), sum = group_row_sum(lane, row, args.C, largest);
    for (int c = (int)get_local_id(0); c < args.C; c += GROUP)
        dlogits[r * args.C + c] =
            scale == 0.0f ? 0.0f : (exp(row[c] - largest) / sum - (c == label ? 1.0f : 0.0f)) * scale;
}
