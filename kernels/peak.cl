/* What a device can do at most, for `monocle bench` to compare with.
 *
 *   peak_multiply_add: a work-item keeps CHAINS vectors of WIDTH floats in registers, enough that none waits for its own last
 *   result, and does `rounds` multiply-adds on each: 2 WIDTH CHAINS rounds operations. Its sum is stored, so that nothing can be
 *   left out.
 *   peak_copy: work-item i copies the vectors [i each, (i + 1) each) on a CPU, where neighbours in memory belong to one core, or
 *   with `each` = 1 a vector, where neighbours belong to neighbouring work-items. */
#include "vector.h"

#ifndef CHAINS
#define CHAINS 1
#endif

kernel void peak_multiply_add(global float *restrict y, int rounds, float factor, float term)
{
    vec chain[CHAINS];
#pragma unroll
    for (int c = 0; c < CHAINS; c++) chain[c] = (vec)((float)c + (float)get_global_id(0));
    for (int r = 0; r < rounds; r++) {
#pragma unroll
        for (int c = 0; c < CHAINS; c++) chain[c] = fma(chain[c], (vec)factor, (vec)term);
    }
    vec sum = chain[0];
#pragma unroll
    for (int c = 1; c < CHAINS; c++) sum += chain[c];
    VSTORE(sum, y + (int)get_global_id(0) * WIDTH);
}

kernel void peak_copy(global const float *restrict x, global float *restrict y, int vectors, int each)
{
    const int first = (int)get_global_id(0) * each, last = min(first + each, vectors);
    for (int i = first; i < last; i++) VSTORE(VLOAD(x + i * WIDTH), y + i * WIDTH);
}
