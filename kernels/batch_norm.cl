/* Batch normalisation over the rows of x (rows, C).
 *
 *   *_part: work-item (j, p) reduces the rows of part p for channel vector j (rows.h); *_merge: one work-item a channel
 *   joins the parts in order. Per channel: batch_norm_finish, batch_norm_track and the references of the reductions.
 *   batch_norm_bwd_data: work-item (j, p) writes channel vector j of its share of the rows; C is a multiple of WIDTH.
 * Statistics never subtract two large sums: a block's mean comes first, then its squared distances from it, and blocks
 * and parts are joined as stats.h has it, where the layout of partial statistics is. */
#include "rows.h"
#include "stats.h"
#include "step.h"

float inverse_deviation(float variance, float eps) { return 1.0f / sqrt(variance + eps); }

mcl_rows_args rows_of(mcl_batch_norm_args args)
{
    mcl_rows_args rows;
    rows.rows = args.rows;
    rows.C = args.C;
    return rows;
}

kernel void batch_norm_stats(global const float *restrict x, global float *restrict mean, global float *restrict variance,
                             mcl_batch_norm_args args)
{
    const int c = (int)get_global_id(0);
    if (c >= args.C) return;
    float total = 0.0f, squares = 0.0f;
    for (int block = 0; block < args.rows; block += BLOCK) {
        float sum = 0.0f;
        for (int r = block; r < args.rows && r < block + BLOCK; r++) sum += x[r * args.C + c];
        total += sum;
    }
    const float middle = total / (float)args.rows;
    for (int block = 0; block < args.rows; block += BLOCK) {
        float sum = 0.0f;
        for (int r = block; r < args.rows && r < block + BLOCK; r++) {
            float d = x[r * args.C + c] - middle;
            sum += d * d;
        }
        squares += sum;
    }
    mean[c] = middle;
    variance[c] = squares / (float)args.rows;
}

kernel void batch_norm_stats_part(global const float *restrict x, global float *restrict partial, mcl_batch_norm_args args,
                                  int parts, int rows_each)
{
    row_part own;
    if (!row_part_of(&own, rows_of(args), parts, rows_each)) return;
    vec mean = 0.0f, squares = 0.0f;
    float count = 0.0f;
    for (int block = own.first; block < own.last; block += BLOCK) {
        const int end = own.last - block < BLOCK ? own.last : block + BLOCK;
        const float added = (float)(end - block);
        vec sum = 0.0f, block_squares = 0.0f;
        for (int r = block; r < end; r++) sum += VLOAD(x + r * args.C + own.channel);
        const vec block_mean = sum / added;
        for (int r = block; r < end; r++) {
            vec d = VLOAD(x + r * args.C + own.channel) - block_mean;
            block_squares += d * d;
        }
        STATS_JOIN(vec, mean, squares, count, block_mean, block_squares, added);
        count += added;
    }
    const int part = (int)get_global_id(1);
    store_own(mean, partial + STATS_MEAN(part, args.C), own);
    store_own(squares, partial + STATS_M2(part, parts, args.C), own);
    if (get_global_id(0) == 0) partial[STATS_COUNT(part, parts, args.C)] = count;
}

kernel void batch_norm_stats_merge(global const float *restrict partial, global float *restrict mean,
                                   global float *restrict variance, int C, int parts)
{
    const int c = (int)get_global_id(0);
    if (c >= C) return;
    float middle = 0.0f, squares = 0.0f, count = 0.0f;
    for (int p = 0; p < parts; p++) {
        const float added = partial[STATS_COUNT(p, parts, C)];
        if (added == 0.0f) continue;
        STATS_JOIN(float, middle, squares, count, partial[STATS_MEAN(p, C) + c], partial[STATS_M2(p, parts, C) + c], added);
        count += added;
    }
    mean[c] = middle;
    variance[c] = squares / count;
}

/* scale = gamma / sqrt(variance + eps), shift = beta - mean * scale */
kernel void batch_norm_finish(global const float *mean, global const float *variance, global const float *gamma,
                              global const float *beta, global float *scale, global float *shift, mcl_batch_norm_args args)
{
    const int c = (int)get_global_id(0);
    if (c >= args.C) return;
    const float factor = gamma[c] * inverse_deviation(variance[c], args.eps);
    scale[c] = factor;
    shift[c] = beta[c] - mean[c] * factor;
}

/* Running statistics move by `momentum`; later micro-batches of a step go on from what the first one left pending. */
kernel void batch_norm_track(global const float *mean, global const float *variance, global const float *running_mean,
                             global const float *running_variance, global const mcl_step *step, global float *pending_mean,
                             global float *pending_variance, mcl_batch_norm_args args)
{
    const int c = (int)get_global_id(0);
    if (c >= args.C) return;
    const float old_mean = step->micro_batch > 0 ? pending_mean[c] : running_mean[c];
    const float old_variance = step->micro_batch > 0 ? pending_variance[c] : running_variance[c];
    pending_mean[c] = (1.0f - args.momentum) * old_mean + args.momentum * mean[c];
    pending_variance[c] = (1.0f - args.momentum) * old_variance + args.momentum * (variance[c] * args.unbias);
}

/* dbeta = sum of dy, dgamma = sum of dy * (x - mean) / sqrt(variance + eps) */
kernel void batch_norm_bwd_reduce(global const float *restrict x, global const float *restrict dy,
                                  global const float *restrict mean, global const float *restrict variance,
                                  global float *restrict dgamma, global float *restrict dbeta, mcl_batch_norm_args args)
{
    const int c = (int)get_global_id(0);
    if (c >= args.C) return;
    float total = 0.0f, total_apart = 0.0f;
    for (int block = 0; block < args.rows; block += BLOCK) {
        float sum = 0.0f, sum_apart = 0.0f;
        for (int r = block; r < args.rows && r < block + BLOCK; r++) {
            float d = dy[r * args.C + c];
            sum += d;
            sum_apart += d * (x[r * args.C + c] - mean[c]);
        }
        total += sum;
        total_apart += sum_apart;
    }
    dgamma[c] = total_apart * inverse_deviation(variance[c], args.eps);
    dbeta[c] = total;
}

/* partial: sums of dy * (x - mean) (parts, slots), then of dy (parts, slots). */
kernel void batch_norm_bwd_reduce_part(global const float *restrict x, global const float *restrict dy,
                                       global const float *restrict mean, global float *restrict partial,
                                       mcl_batch_norm_args args, int parts, int rows_each)
{
    row_part own;
    if (!row_part_of(&own, rows_of(args), parts, rows_each)) return;
    const vec middle = VLOAD(mean + own.channel);
    vec total = 0.0f, total_apart = 0.0f;
    for (int block = own.first; block < own.last; block += BLOCK) {
        vec sum = 0.0f, sum_apart = 0.0f;
        for (int r = block; r < own.last && r < block + BLOCK; r++) {
            vec d = VLOAD(dy + r * args.C + own.channel);
            sum += d;
            sum_apart += d * (VLOAD(x + r * args.C + own.channel) - middle);
        }
        total += sum;
        total_apart += sum_apart;
    }
    VSTORE(total_apart, partial + own.slot);
    VSTORE(total, partial + parts * partial_stride(args.C) + own.slot);
}

kernel void batch_norm_bwd_reduce_merge(global const float *restrict partial, global const float *restrict variance,
                                        global float *restrict dgamma, global float *restrict dbeta,
                                        mcl_batch_norm_args args, int parts)
{
    const int c = (int)get_global_id(0);
    if (c >= args.C) return;
    dgamma[c] = sum_partials(partial, c, args.C, parts) * inverse_deviation(variance[c], args.eps);
    dbeta[c] = sum_partials(partial + parts * partial_stride(args.C), c, args.C, parts);
}

/* dx = gamma * s * (dy - dbeta / rows - (x - mean) * s * dgamma / rows), s = 1 / sqrt(variance + eps). dx may be x. */
kernel void batch_norm_bwd_data(global const float *x, global const float *dy, global const float *mean,
                                global const float *variance, global const float *gamma, global const float *dgamma,
                                global const float *dbeta, global float *dx, mcl_batch_norm_args args)
{
    const int c = (int)get_global_id(0) * WIDTH;
    const int each = (args.rows - 1) / (int)get_global_size(1) + 1, part = (int)get_global_id(1);
    if (c >= args.C || part > (args.rows - 1) / each) return;
    const int first = part * each, last = args.rows - first < each ? args.rows : first + each;

    const vec s = 1.0f / sqrt(VLOAD(variance + c) + args.eps), middle = VLOAD(mean + c);
    const vec factor = VLOAD(gamma + c) * s, slope = s * VLOAD(dgamma + c) * args.inverse_rows;
    const vec offset = VLOAD(dbeta + c) * args.inverse_rows;
    for (int r = first; r < last; r++) {
        vec apart = VLOAD(x + r * args.C + c) - middle;
        VSTORE(factor * (VLOAD(dy + r * args.C + c) - offset - apart * slope), dx + r * args.C + c);
    }
}
