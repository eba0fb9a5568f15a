/* Weight gradient of a depthwise convolution (groups = C = K); the kernel is TAPS_H x TAPS_W.
 *
 *   global id 0: vectors of WIDTH channels id, id + global size, ...; id 1: chunk of `chunk` lines (n, oh) of dy, which has its own
 *   copy of dw; conv2d_reduce in conv2d_forms.cl adds the copies in order
 *
 * A work-item takes `lines` lines at a time, few enough for a cache, and in them one vector of channels after the other, so that
 * memory is read in order; the sums of all taps are in registers meanwhile, and then in the copy. Of a line it takes COLUMNS pixels of dy at a time: pixel p meets column u of x at
 * tap s where u = p * STRIDE + s * DILATION.
 * x (N,H,W,C), dy (N,OH,OW,C), copies (chunks,KH,KW,1,C).
 * WIDTH divides C. */
#include "args.h"
#include "pointwise.h"
#include "vector.h"

#ifndef TAPS_H
#define TAPS_H 3
#define TAPS_W 3
#endif
#ifndef STRIDE
#define STRIDE 1
#define DILATION 1
#endif
#ifndef COLUMNS
#define COLUMNS 4
#endif
#ifndef PROLOGUE
#define PROLOGUE_PARAMS
#define PROLOGUE_ARGS
#define PROLOGUE(T, LOAD, v, channel)
#endif
#define LAST ((COLUMNS - 1) * STRIDE + (TAPS_W - 1) * DILATION)

/* Adds one row of x to one row of taps. */
__attribute__((always_inline))
inline void add_row(vec sum[TAPS_W], const vec gradient[COLUMNS], global const float *row, int left, int inside, int channel,
                    mcl_conv2d_args a PROLOGUE_PARAMS)
{
#pragma unroll
    for (int u = 0; u <= LAST; u++) {
        if (!inside && (uint)(left + u) >= (uint)a.W) continue;
        vec value = VLOAD(row + (left + u) * a.C);
        PROLOGUE(vec, VLOAD, value, channel)
#pragma unroll
        for (int p = 0; p < COLUMNS; p++)
#pragma unroll
            for (int s = 0; s < TAPS_W; s++)
                if (u == p * STRIDE + s * DILATION) sum[s] = fma(value, gradient[p], sum[s]);
    }
}

/* Adds one line of dy to all taps. */
__attribute__((always_inline))
inline void add_line(vec sum[TAPS_H * TAPS_W], global const float *x, global const float *dy, int line, int channel,
                     mcl_conv2d_args a PROLOGUE_PARAMS)
{
    const int top = line % a.OH * a.stride_h - a.pad_h, picture = line / a.OH * a.H;
    for (int ow = 0; ow < a.OW; ow += COLUMNS) {
        const int left = ow * STRIDE - a.pad_w, inside = left >= 0 && left + LAST < a.W;
        vec gradient[COLUMNS];
#pragma unroll
        for (int p = 0; p < COLUMNS; p++)
            gradient[p] = ow + p < a.OW ? VLOAD(dy + (line * a.OW + ow + p) * a.C + channel) : (vec)(0.0f);
#pragma unroll
        for (int r = 0; r < TAPS_H; r++) {
            const int h = top + r * a.dilation_h;
            if ((uint)h >= (uint)a.H) continue;
            global const float *row = x + (picture + h) * a.W * a.C + channel;
            if (inside) add_row(sum + r * TAPS_W, gradient, row, left, 1, channel, a PROLOGUE_ARGS);
            else add_row(sum + r * TAPS_W, gradient, row, left, 0, channel, a PROLOGUE_ARGS);
        }
    }
}

kernel void conv2d_depthwise_bwd_weight(global const float *restrict x, global const float *restrict dy,
                                        global float *restrict copies, int chunk, int lines, mcl_conv2d_args a PROLOGUE_PARAMS)
{
    const int first = (int)get_global_id(1) * chunk, end = min(first + chunk, a.N * a.OH);
    global float *copy = copies + (int)get_global_id(1) * TAPS_H * TAPS_W * a.C;
    for (int block = first; block < end; block += lines)
        for (int channel = (int)get_global_id(0) * WIDTH; channel < a.C; channel += (int)get_global_size(0) * WIDTH) {
            const int last = min(block + lines, end);
            global float *target = copy + channel;
            vec sum[TAPS_H * TAPS_W];
#pragma unroll
            for (int i = 0; i < TAPS_H * TAPS_W; i++) sum[i] = block == first ? (vec)(0.0f) : VLOAD(target + i * a.C);
            for (int line = block; line < last; line++) add_line(sum, x, dy, line, channel, a PROLOGUE_ARGS);
#pragma unroll
            for (int i = 0; i < TAPS_H * TAPS_W; i++) VSTORE(sum[i], target + i * a.C);
        }
}
