/* What stands around the convolutions' tiles: blocked weights, pictures with a border, sums of copies.
 *   conv2d_block   item = (block, tap, MCL_BLOCK_ROWS rows) of the blocked weights; the items after them make the zeros
 *   conv2d_border  item = element of the bordered picture
 *   conv2d_reduce  item = element of the sum */
#include "args.h"
#include "conv2d_tile.h"

/* Walks the source along its contiguous axis: columns forward, rows where the weights are transposed; a few rows at a time,
 * so that whole cache lines are used on both sides. */
__kernel void conv2d_block(__global const float *restrict w, __global float *restrict blocked, mcl_block_args a)
{
    const int i = (int)get_global_id(0), groups = (a.run - 1) / MCL_BLOCK_ROWS + 1, lines = a.blocks * a.taps;
    const int line = i / groups, first = i % groups * MCL_BLOCK_ROWS, rows = min(MCL_BLOCK_ROWS, a.run - first);
    if (line > lines) return;
    __global float *target = blocked + (line * a.run + first) * a.width;
    if (line == lines) {
        target = blocked + line * a.run * a.width + first;
        for (int q = 0; q < rows; q++) target[q] = 0.0f;
        return;
    }
    const int tap = line % a.taps, column = line / a.taps * a.width, whole = min(a.width, a.columns - column);
    __global const float *source = w + tap * a.tap_stride + (a.transposed ? column * a.stride + first : first * a.stride + column);
    if (a.transposed) {
        for (int j = 0; j < whole; j++)
            for (int q = 0; q < rows; q++) target[q * a.width + j] = source[j * a.stride + q];
    } else {
        for (int q = 0; q < rows; q++)
            for (int j = 0; j < whole; j++) target[q * a.width + j] = source[q * a.stride + j];
    }
    for (int q = 0; q < rows; q++)
        for (int j = whole; j < a.width; j++) target[q * a.width + j] = 0.0f;
}

__kernel void conv2d_border(__global const float *restrict x, __global float *restrict y, mcl_border_args a)
{
    const int i = (int)get_global_id(0);
    if (i >= a.N * a.PH * a.PW * a.C) return;
    const int c = i % a.C, w = i / a.C % a.PW - a.pad_w, h = i / (a.C * a.PW) % a.PH - a.pad_h, n = i / (a.C * a.PW * a.PH);
    const int inside = (uint)h < (uint)a.H && (uint)w < (uint)a.W;
    y[i] = inside ? x[((n * a.H + h) * a.W + w) * a.C + c] : 0.0f;
}

/* sum = its `count` copies of n floats, added in order. */
__kernel void conv2d_reduce(__global const float *restrict copies, __global float *restrict sum, int n, int count)
{
    const int i = (int)get_global_id(0);
    if (i >= n) return;
    float total = copies[i];
    for (int q = 1; q < count; q++) total += copies[q * n + i];
    sum[i] = total;
}
