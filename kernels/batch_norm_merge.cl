/* Joins partial statistics (stats.h), for GPUs: batch_norm_stats_merge has a work-item a channel, which many parts keep waiting.
 *   group: CHANNELS channels next to each other; id 1: one of LANES lanes, each of which joins a run of parts in order; halves of
 *   the lanes are then joined in local memory until one is left
 * 8 bytes for each part and channel, read once. */
#include "stats.h"

#ifndef CHANNELS
#define CHANNELS 8
#endif
#ifndef LANES
#define LANES 32 /* a power of two */
#endif

__attribute__((reqd_work_group_size(CHANNELS, LANES, 1)))
kernel void batch_norm_stats_merge_group(global const float *restrict partial, global float *restrict mean,
                                         global float *restrict variance, int C, int parts)
{
    local float means[LANES * CHANNELS], squares[LANES * CHANNELS], counts[LANES * CHANNELS];
    const int lane = (int)get_local_id(1), own = lane * CHANNELS + (int)get_local_id(0);
    const int c = (int)get_global_id(0), channel = min(c, C - 1), run = (parts - 1) / LANES + 1;
    float middle = 0.0f, apart = 0.0f, count = 0.0f;
    for (int p = lane * run; p < min(parts, (lane + 1) * run); p++) {
        const float added = partial[STATS_COUNT(p, parts, C)];
        if (added == 0.0f) continue;
        STATS_JOIN(float, middle, apart, count, partial[STATS_MEAN(p, C) + channel], partial[STATS_M2(p, parts, C) + channel],
                   added);
        count += added;
    }
    means[own] = middle;
    squares[own] = apart;
    counts[own] = count;
    for (int half_way = LANES / 2; half_way > 0; half_way /= 2) {
        const int other = own + half_way * CHANNELS;
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < half_way && counts[other] > 0.0f) {
            STATS_JOIN(float, means[own], squares[own], counts[own], means[other], squares[other], counts[other]);
            counts[own] += counts[other];
        }
    }
    if (lane == 0 && c < C) {
        mean[c] = means[own];
        variance[c] = squares[own] / counts[own];
    }
}
