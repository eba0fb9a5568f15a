/* Batch normalisation over the rows of x (rows, C).
 *
 *   *_part: reduces the rows of each part (rows.h); *_merge: one work-item a channel joins the parts in order. Per channel:
 *   batch_norm_finish, batch_norm_track and the references of the reductions.
 *   batch_norm_bwd_data: global id 1 has a share of the rows, which it walks as rows.h has it; C is a multiple of WIDTH.
 * A tile asks memory for the next one (next_tile).
 * Statistics never subtract two large sums: a tile's mean comes first, then its squared distances from it, and tiles
 * and parts are joined as stats.h has it, where the layout of partial statistics is.
 * Memory bounds all: 0.75 to 1.1 FLOP for a byte that is needed (README.md). */
#include "rows.h"
#include "stats.h"
#include "step.h"

float inverse_deviation(float variance, float eps) { return 1.0f / sqrt(variance + eps); }

/* dy where the activation behind x * scale + shift is not flat, else 0. Where that is NaN, dy stays. */
vec counted(vec dy, vec x, vec scale, vec shift, mcl_batch_norm_args args)
{
    const vec z = x * scale + shift;
    return ((z <= (vec)args.low) | (z >= (vec)args.high)) ? (vec)0.0f : dy;
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

/* Joins a tile of rows, of one vector of channels, to the statistics at mean and squares, which are of `count` rows so far. */
__attribute__((always_inline))
inline void join_tile(global const float *x, int C, int rows, float count, global float *mean,
                      global float *squares)
{
    vec sum = 0.0f, tile_squares = 0.0f;
#pragma unroll
    for (int r = 0; r < rows; r++) sum += VLOAD(x + r * C);
    const vec tile_mean = sum / (float)rows;
#pragma unroll
    for (int r = 0; r < rows; r++) {
        const vec d = VLOAD(x + r * C) - tile_mean;
        tile_squares += d * d;
    }
    vec m = count > 0.0f ? VLOAD(mean) : (vec)0.0f, m2 = count > 0.0f ? VLOAD(squares) : (vec)0.0f;
    STATS_JOIN(vec, m, m2, count, tile_mean, tile_squares, (float)rows);
    VSTORE(m, mean);
    VSTORE(m2, squares);
}

kernel void batch_norm_stats_part(global const float *restrict x, global float *restrict partial, mcl_batch_norm_args args,
                                  int parts, int rows_each)
{
    const row_part own = row_part_of(args.rows, parts, rows_each);
    const int part = (int)get_global_id(1), stride = partial_stride(args.C);
    global float *mean = partial + STATS_MEAN(part, stride), *squares = partial + STATS_M2(part, parts, stride);
    for (int r = own.first; r < own.last; r += TILE)
        for (int j = (int)get_global_id(0); j < vectors_of(args.C); j += (int)get_global_size(0)) {
            global const float *tile = x + r * args.C + channel_of(j, args.C);
            const float count = (float)(r - own.first);
            if (own.last - r >= TILE) join_tile(tile, args.C, TILE, count, mean + j * WIDTH, squares + j * WIDTH);
            else join_tile(tile, args.C, own.last - r, count, mean + j * WIDTH, squares + j * WIDTH);
        }
    if (get_global_id(0) == 0 && part < parts) partial[STATS_COUNT(part, parts, stride)] = (float)(own.last - own.first);
}

/* Partial statistics of partial_stride(C) channels: C where WIDTH divides it. */
kernel void batch_norm_stats_merge(global const float *restrict partial, global float *restrict mean,
                                   global float *restrict variance, int C, int parts)
{
    const int c = (int)get_global_id(0), stride = partial_stride(C);
    if (c >= C) return;
    const int slot = partial_slot(c, C);
    float middle = 0.0f, squares = 0.0f, count = 0.0f;
    for (int p = 0; p < parts; p++) {
        const float added = partial[STATS_COUNT(p, parts, stride)];
        if (added == 0.0f) continue;
        STATS_JOIN(float, middle, squares, count, partial[STATS_MEAN(p, stride) + slot],
                   partial[STATS_M2(p, parts, stride) + slot], added);
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

/* dbeta = sum of dy, dgamma = sum of dy * (x - mean) / sqrt(variance + eps), where dy counts. The reference: one channel an item,
 * whatever WIDTH is. */
kernel void batch_norm_bwd_reduce(global const float *restrict x, global const float *restrict dy,
                                  global const float *restrict mean, global const float *restrict variance,
                                  global const float *restrict scale, global const float *restrict shift,
                                  global float *restrict dgamma, global float *restrict dbeta, mcl_batch_norm_args args)
{
    const int c = (int)get_global_id(0);
    if (c >= args.C) return;
    float total = 0.0f, total_apart = 0.0f;
    for (int block = 0; block < args.rows; block += BLOCK) {
        float sum = 0.0f, sum_apart = 0.0f;
        for (int r = block; r < args.rows && r < block + BLOCK; r++) {
            const float value = x[r * args.C + c], z = value * scale[c] + shift[c];
            const float d = z <= args.low || z >= args.high ? 0.0f : dy[r * args.C + c];
            sum += d;
            sum_apart += d * (value - mean[c]);
        }
        total += sum;
        total_apart += sum_apart;
    }
    dgamma[c] = total_apart * inverse_deviation(variance[c], args.eps);
    dbeta[c] = total;
}

/* Adds a tile of rows, of one vector of channels, to the sums of dy * (x - mean) at `apart` and of dy at `plain`. */
__attribute__((always_inline))
inline void reduce_tile(global const float *x, global const float *dy, int j, vec mean, vec scale, vec shift, int rows,
                        int first_tile, global float *apart, global float *plain, mcl_batch_norm_args args)
{
    const int channel = channel_of(j, args.C);
    vec sum = 0.0f, sum_apart = 0.0f;
#pragma unroll
    for (int r = 0; r < rows; r++) {
        PREFETCH(x + next_tile(j, r, args.C));
        PREFETCH(dy + next_tile(j, r, args.C));
        const vec value = VLOAD(x + r * args.C + channel);
        const vec d = counted(VLOAD(dy + r * args.C + channel), value, scale, shift, args);
        sum += d;
        sum_apart += d * (value - mean);
    }
    partial_add(sum_apart, apart, first_tile);
    partial_add(sum, plain, first_tile);
}

/* partial: sums of dy * (x - mean) (parts, slots), then of dy (parts, slots). */
kernel void batch_norm_bwd_reduce_part(global const float *restrict x, global const float *restrict dy,
                                       global const float *restrict mean, global const float *restrict scale,
                                       global const float *restrict shift, global float *restrict partial,
                                       mcl_batch_norm_args args, int parts, int rows_each)
{
    const row_part own = row_part_of(args.rows, parts, rows_each);
    const int stride = partial_stride(args.C);
    global float *apart = partial + (int)get_global_id(1) * stride, *plain = apart + parts * stride;
    for (int r = own.first; r < own.last; r += TILE)
        for (int j = (int)get_global_id(0); j < vectors_of(args.C); j += (int)get_global_size(0)) {
            const int c = channel_of(j, args.C), tile = r * args.C, slot = j * WIDTH;
            const vec middle = VLOAD(mean + c), factor = VLOAD(scale + c), below = VLOAD(shift + c);
            if (own.last - r >= TILE)
                reduce_tile(x + tile, dy + tile, j, middle, factor, below, TILE, r == own.first, apart + slot, plain + slot,
                            args);
            else
                reduce_tile(x + tile, dy + tile, j, middle, factor, below, own.last - r, r == own.first, apart + slot,
                            plain + slot, args);
        }
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

/* dx = scale * (dy - dbeta / rows - (x - mean) * s * dgamma / rows), s = 1 / sqrt(variance + eps), where dy counts. dx may be x. */
kernel void batch_norm_bwd_data(global const float *x, global const float *dy, global const float *mean,
                                global const float *variance, global const float *scale, global const float *shift,
                                global const float *dgamma, global const float *dbeta, global float *dx, mcl_batch_norm_args args)
{
    const int each = (args.rows - 1) / (int)get_global_size(1) + 1, part = (int)get_global_id(1);
    if (part > (args.rows - 1) / each) return;
    const int first = part * each, last = args.rows - first < each ? args.rows : first + each;

    for (int tile = first; tile < last; tile += TILE)
        for (int c = (int)get_global_id(0) * WIDTH; c < args.C; c += (int)get_global_size(0) * WIDTH) {
            const vec s = 1.0f / sqrt(VLOAD(variance + c) + args.eps), middle = VLOAD(mean + c);
            const vec factor = VLOAD(scale + c), below = VLOAD(shift + c), slope = s * VLOAD(dgamma + c) * args.inverse_rows;
            const vec offset = VLOAD(dbeta + c) * args.inverse_rows;
            for (int r = tile; r < last && r < tile + TILE; r++) {
                PREFETCH(x + tile * args.C + next_tile(c / WIDTH, r - tile, args.C));
                PREFETCH(dy + tile * args.C + next_tile(c / WIDTH, r - tile, args.C));
                const vec value = VLOAD(x + r * args.C + c);
                const vec d = counted(VLOAD(dy + r * args.C + c), value, factor, below, args);
                VSTORE(factor * (d - offset - (value - middle) * slope), dx + r * args.C + c);
            }
        }
}
