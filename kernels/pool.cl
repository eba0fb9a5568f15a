/* Pooling over windows, channels last.
 *
 *   work-item (j, i, line): vectors of WIDTH channels j, j + global size, ... of pixels i, i + global size, ... of one row of
 *   pixels: of y forward, of dx backward. Backward gathers: each dx asks the windows that cover it, so nothing is added
 *   atomically. Where windows do not overlap, max_pool_bwd_apart takes a row of windows instead (see there).
 *   C is a multiple of WIDTH.
 * Memory bounds all: 0.2 to 0.9 FLOP for a byte that is needed (README.md). */
#include "args.h"
#include "vector.h"

#define EACH_PIXEL(i, count) for (int i = (int)get_global_id(1); i < (count); i += (int)get_global_size(1))
#define EACH_CHANNEL(c, args) for (int c = (int)get_global_id(0) * WIDTH; c < (args).C; c += (int)get_global_size(0) * WIDTH)

/* Taps [first, last) of a window of K that starts at `start` and stays inside 0 .. size - 1. */
span taps_inside(int start, int K, int size)
{
    span taps;
    taps.first = start < 0 ? -start : 0;
    taps.last = size - start < K ? size - start : K;
    return taps;
}

/* Windows [first, last) of `count`, of K taps and this stride, that cover `at` (which counts the padding). */
span windows_over(int at, int K, int stride, int count)
{
    span windows;
    windows.first = at < K ? 0 : (at - K) / stride + 1;
    windows.last = at / stride + 1 < count ? at / stride + 1 : count;
    return windows;
}

/* y: the largest, index: its tap r * KW + s, the first of equals; a NaN counts as larger than everything. */
kernel void max_pool_fwd(global const float *restrict x, global float *restrict y, global uchar *restrict index, mcl_pool_args args)
{
    const int line = (int)get_global_id(2), n = line / args.OH, oh = line % args.OH;
    if (n >= args.N) return;
    const int top = oh * args.stride_h - args.pad_h;
    const span rows = taps_inside(top, args.KH, args.H);
    EACH_PIXEL(ow, args.OW) {
        const int left = ow * args.stride_w - args.pad_w;
        const span columns = taps_inside(left, args.KW, args.W);
        EACH_CHANNEL(c, args) {
            vec best = -INFINITY;
            ivec tap = rows.first * args.KW + columns.first;
            for (int r = rows.first; r < rows.last; r++)
                for (int s = columns.first; s < columns.last; s++) {
                    vec v = VLOAD(x + ((n * args.H + top + r) * args.W + left + s) * args.C + c);
                    ivec better = (v > best) | (v != v);
                    best = select(best, v, better);
                    tap = select(tap, (ivec)(r * args.KW + s), better);
                }
            const int out = (line * args.OW + ow) * args.C + c;
            VSTORE(best, y + out);
            VSTORE_BYTES(TO_BYTES(tap), index + out);
        }
    }
}

kernel void max_pool_bwd(global const float *restrict dy, global const uchar *restrict index, global float *restrict dx,
                         mcl_pool_args args)
{
    const int line = (int)get_global_id(2), n = line / args.H, h = line % args.H + args.pad_h;
    if (n >= args.N) return;
    const span rows = windows_over(h, args.KH, args.stride_h, args.OH);
    EACH_PIXEL(column, args.W) {
        const int w = column + args.pad_w;
        const span columns = windows_over(w, args.KW, args.stride_w, args.OW);
        EACH_CHANNEL(c, args) {
            vec sum = 0.0f;
            for (int oh = rows.first; oh < rows.last; oh++)
                for (int ow = columns.first; ow < columns.last; ow++) {
                    int out = ((n * args.OH + oh) * args.OW + ow) * args.C + c;
                    int tap = (h - oh * args.stride_h) * args.KW + w - ow * args.stride_w;
                    sum += select((vec)0.0f, VLOAD(dy + out), TO_IVEC(VLOAD_BYTES(index + out)) == (ivec)tap);
                }
            VSTORE(sum, dx + (line * args.W + column) * args.C + c);
        }
    }
}

/* What window `at` of `count` owns of an axis where windows do not overlap: from its start to the next one's, the last to the
 * end. */
span owned_by(int at, int count, int stride, int pad, int size)
{
    span own;
    own.first = at == 0 ? 0 : at * stride - pad;
    own.last = at == count - 1 ? size : (at + 1) * stride - pad;
    return own;
}

/* The same where no windows overlap: i and line are a window's, which writes all dx that it owns. */
kernel void max_pool_bwd_apart(global const float *restrict dy, global const uchar *restrict index, global float *restrict dx,
                               mcl_pool_args args)
{
    const int line = (int)get_global_id(2), n = line / args.OH, oh = line % args.OH;
    if (n >= args.N) return;
    const int top = oh * args.stride_h - args.pad_h;
    const span rows = owned_by(oh, args.OH, args.stride_h, args.pad_h, args.H);
    EACH_PIXEL(ow, args.OW) {
        const int left = ow * args.stride_w - args.pad_w;
        const span columns = owned_by(ow, args.OW, args.stride_w, args.pad_w, args.W);
        EACH_CHANNEL(c, args) {
            const vec gradient = VLOAD(dy + (line * args.OW + ow) * args.C + c);
            const ivec winner = TO_IVEC(VLOAD_BYTES(index + (line * args.OW + ow) * args.C + c));
            for (int h = rows.first; h < rows.last; h++)
                for (int w = columns.first; w < columns.last; w++) {
                    const int r = h - top, s = w - left, tap = r < args.KH && s < args.KW ? r * args.KW + s : -1;
                    VSTORE(select((vec)0.0f, gradient, winner == (ivec)tap), dx + ((n * args.H + h) * args.W + w) * args.C + c);
                }
        }
    }
}

/* One over the pixels that the average of a window counts. */
float window_weight(span rows, span columns, mcl_pool_args args)
{
    if (args.count_padding) return args.inverse_area;
    return 1.0f / (float)((rows.last - rows.first) * (columns.last - columns.first));
}

kernel void avg_pool_fwd(global const float *restrict x, global float *restrict y, mcl_pool_args args)
{
    const int line = (int)get_global_id(2), n = line / args.OH, oh = line % args.OH;
    if (n >= args.N) return;
    const int top = oh * args.stride_h - args.pad_h;
    const span rows = taps_inside(top, args.KH, args.H);
    EACH_PIXEL(ow, args.OW) {
        const int left = ow * args.stride_w - args.pad_w;
        const span columns = taps_inside(left, args.KW, args.W);
        const float weight = window_weight(rows, columns, args);
        EACH_CHANNEL(c, args) {
            vec sum = 0.0f;
            for (int r = rows.first; r < rows.last; r++)
                for (int s = columns.first; s < columns.last; s++)
                    sum += VLOAD(x + ((n * args.H + top + r) * args.W + left + s) * args.C + c);
            VSTORE(sum * weight, y + (line * args.OW + ow) * args.C + c);
        }
    }
}

kernel void avg_pool_bwd(global const float *restrict dy, global float *restrict dx, mcl_pool_args args)
{
    const int line = (int)get_global_id(2), n = line / args.H, h = line % args.H + args.pad_h;
    if (n >= args.N) return;
    const span rows = windows_over(h, args.KH, args.stride_h, args.OH);
    EACH_PIXEL(column, args.W) {
        const int w = column + args.pad_w;
        const span columns = windows_over(w, args.KW, args.stride_w, args.OW);
        EACH_CHANNEL(c, args) {
            vec sum = 0.0f;
            for (int oh = rows.first; oh < rows.last; oh++)
                for (int ow = columns.first; ow < columns.last; ow++) {
                    span r = taps_inside(oh * args.stride_h - args.pad_h, args.KH, args.H);
                    span s = taps_inside(ow * args.stride_w - args.pad_w, args.KW, args.W);
                    vec d = VLOAD(dy + ((n * args.OH + oh) * args.OW + ow) * args.C + c);
                    sum += d * window_weight(r, s, args);
                }
            VSTORE(sum, dx + (line * args.W + column) * args.C + c);
        }
    }
}

/* line: a sample. */
kernel void global_avg_pool_fwd(global const float *restrict x, global float *restrict y, mcl_pool_args args)
{
    const int n = (int)get_global_id(2), pixels = args.H * args.W;
    if (n >= args.N) return;
    EACH_CHANNEL(c, args) {
        global const float *from = x + n * pixels * args.C + c;
        vec sum = 0.0f;
        for (int p = 0; p < pixels; p++) sum += VLOAD(from + p * args.C);
        VSTORE(sum * args.inverse_area, y + n * args.C + c);
    }
}

/* line: a row of pixels of dx. */
kernel void global_avg_pool_bwd(global const float *restrict dy, global float *restrict dx, mcl_pool_args args)
{
    const int line = (int)get_global_id(2), n = line / args.H;
    if (n >= args.N) return;
    EACH_PIXEL(w, args.W)
        EACH_CHANNEL(c, args) VSTORE(VLOAD(dy + n * args.C + c) * args.inverse_area, dx + (line * args.W + w) * args.C + c);
}
