/* Reductions over a work-group of GROUP work-items, for kernels only. Every work-item calls them, with the same `lane` of GROUP
 * floats; all get the result, and `lane` may be used again. Their order is fixed. */
#ifndef MCL_GROUP_H
#define MCL_GROUP_H

#include "args.h"

#define GROUP MCL_GROUP

/* What work-item 0 left in lane[0]. */
float group_result(local float *lane)
{
    barrier(CLK_LOCAL_MEM_FENCE);
    const float result = lane[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return result;
}

float group_sum(local float *lane, float value)
{
    const int id = (int)get_local_id(0);
    lane[id] = value;
    for (int half_way = GROUP / 2; half_way > 0; half_way /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (id < half_way) lane[id] += lane[id + half_way];
    }
    return group_result(lane);
}

float group_largest(local float *lane, float value)
{
    const int id = (int)get_local_id(0);
    lane[id] = value;
    for (int half_way = GROUP / 2; half_way > 0; half_way /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (id < half_way && lane[id + half_way] > lane[id]) lane[id] = lane[id + half_way];
    }
    return group_result(lane);
}

#endif
