/* Weight gradient of a depthwise convolution (groups = C = K); the kernel is TAPS_H x TAPS_W.
 *
 *   global id 0: vectors of WIDTH channels id, id + global size, ...; id 1: chunk of `chunk` lines, which has its own
 *   copy of dw; conv2d_reduce in conv2d_forms.cl adds the copies in order
 *
 * A work-item takes `lines` lines at a time, few enough for a cache, and in them one vector of channels after the other, so that
 * memory is read in order; the sums of all taps are in registers meanwhile, and then in the copy. Of a line it takes COLUMNS pixels
 * at a time. Lines are dy's (n, oh), whose pixel p meets column u of x at tap s where u = p * STRIDE + s * DILATION; or, BY_SOURCE,
 * at stride 1, those of x (n, h), whose pixel p meets column u of dy where u = p + (TAPS_W - 1 - s) * DILATION: then the prologue
 * is applied once to each pixel.
 * x (N,H,W,C), dy (N,OH,OW,C), copies (chunks,KH,KW,1,C).
 * WIDTH divides C. 3x3 taps are 2.25 FLOP for a byte needed, 0.8 for a byte asked (README.md). */
#include "args.h"
#include "epilogue.h"
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
#ifndef BY_SOURCE
#define BY_SOURCE 0
#endif
#define LAST ((COLUMNS - 1) * STRIDE + (TAPS_W - 1) * DILATION)

/* A tensor that is read by lines, of H rows and W columns. */
typedef struct picture_lines { global const float *at; int H, W; } picture_lines;

/* Adds one row of the other tensor, from column `left` on, to one row of taps. */
__attribute__((always_inline))
inline void add_row(vec sum[TAPS_W], const vec own[COLUMNS], global const float *row, int left, int W, int inside, int channel,
                    int C PROLOGUE_PARAMS)
{
#pragma unroll
    for (int u = 0; u <= LAST; u++) {
        if (!inside && (uint)(left + u) >= (uint)W) continue;
        vec value = VLOAD(row + (left + u) * C);
        if (!BY_SOURCE) {
            PROLOGUE(vec, VLOAD, value, channel)
        }
#pragma unroll
        for (int p = 0; p < COLUMNS; p++)
#pragma unroll
            for (int s = 0; s < TAPS_W; s++)
                if (u == (BY_SOURCE ? p + (TAPS_W - 1 - s) * DILATION : p * STRIDE + s * DILATION))
                    sum[s] = fma(value, own[p], sum[s]);
    }
}

/* Adds one of `own`'s lines, of a block of `lines` of them, to all taps. Asks for a part of the next block, and of the rows that
 * are new in it: the parts of all lines and channels follow each other in memory. */
__attribute__((always_inline))
inline void add_line(vec sum[TAPS_H * TAPS_W], picture_lines own, picture_lines other, int block, int line, int lines,
                     int channel, mcl_conv2d_args a PROLOGUE_PARAMS)
{
    const int y = line % own.H, picture = line / own.H * other.H;
    const int top = BY_SOURCE ? y + a.pad_h : y * a.stride_h - a.pad_h, down = BY_SOURCE ? -a.dilation_h : a.dilation_h;
    const int turn = channel / WIDTH * lines + line - block, new_row = picture + (BY_SOURCE ? top : top + (TAPS_H - 1) * down);
    global const float *own_ahead = own.at + (block + lines) * own.W * a.C + turn * own.W * WIDTH;
    global const float *other_ahead = other.at + (new_row + (lines + block - line) * STRIDE) * other.W * a.C +
                                      turn * STRIDE * other.W * WIDTH;
    for (int v = 0; v < own.W; v += COLUMNS) {
        const int left = BY_SOURCE ? v + a.pad_w - (TAPS_W - 1) * DILATION : v * STRIDE - a.pad_w;
        const int inside = left >= 0 && left + LAST < other.W;
        vec tile[COLUMNS];
#pragma unroll
        for (int p = 0; p < COLUMNS; p++) {
            vec value = (vec)(0.0f);
            if (v + p < own.W) {
                PREFETCH(own_ahead + (v + p) * WIDTH);
                for (int i = 0; i < STRIDE * STRIDE; i++) PREFETCH(other_ahead + ((v + p) * STRIDE * STRIDE + i) * WIDTH);
                value = VLOAD(own.at + (line * own.W + v + p) * a.C + channel);
                if (BY_SOURCE) {
                    PROLOGUE(vec, VLOAD, value, channel)
                }
            }
            tile[p] = value;
        }
#pragma unroll
        for (int r = 0; r < TAPS_H; r++) {
            const int h = top + r * down;
            if ((uint)h >= (uint)other.H) continue;
            global const float *row = other.at + (picture + h) * other.W * a.C + channel;
            if (inside) add_row(sum + r * TAPS_W, tile, row, left, other.W, 1, channel, a.C PROLOGUE_ARGS);
            else add_row(sum + r * TAPS_W, tile, row, left, other.W, 0, channel, a.C PROLOGUE_ARGS);
        }
    }
}

kernel void conv2d_depthwise_bwd_weight(global const float *restrict x, global const float *restrict dy,
                                        global float *restrict copies, int chunk, int lines, mcl_conv2d_args a PROLOGUE_PARAMS)
{
    const picture_lines source = {x, a.H, a.W}, gradient = {dy, a.OH, a.OW};
    const picture_lines own = BY_SOURCE ? source : gradient, other = BY_SOURCE ? gradient : source;
    const int first = (int)get_global_id(1) * chunk, end = min(first + chunk, a.N * own.H);
    global float *copy = copies + (int)get_global_id(1) * TAPS_H * TAPS_W * a.C;
    for (int block = first; block < end; block += lines)
        for (int channel = (int)get_global_id(0) * WIDTH; channel < a.C; channel += (int)get_global_size(0) * WIDTH) {
            const int last = min(block + lines, end);
            global float *target = copy + channel;
            vec sum[TAPS_H * TAPS_W];
#pragma unroll
            for (int i = 0; i < TAPS_H * TAPS_W; i++) sum[i] = block == first ? (vec)(0.0f) : VLOAD(target + i * a.C);
            for (int line = block; line < last; line++) add_line(sum, own, other, block, line, lines, channel, a PROLOGUE_ARGS);
#pragma unroll
            for (int i = 0; i < TAPS_H * TAPS_W; i++) VSTORE(sum[i], target + i * a.C);
        }
}
