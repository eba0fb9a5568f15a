/* Pooling over windows, channels last.
 *
 *   work-item (i, line): i = a vector of WIDTH channels of one pixel, then i + global size; line = one row of pixels, of y
 *   forward and of dx backward. Backward gathers: each dx asks the windows that cover it, so nothing is added atomically.
 *   C is a multiple of WIDTH. */
#include "args.h"
#include "vector.h"

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
    const int line = (int)get_global_id(1), n = line / args.OH, oh = line % args.OH, vectors = args.C / WIDTH;
    if (n >= args.N) return;
    const int top = oh * args.stride_h - args.pad_h;
    const span rows = taps_inside(top, args.KH, args.H);
    for (int i = (int)get_global_id(0); i < args.OW * vectors; i += (int)get_global_size(0)) {
        const int ow = i / vectors, c = (i - ow * vectors) * WIDTH, left = ow * args.stride_w - args.pad_w;
        const span columns = taps_inside(left, args.KW, args.W);
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
        VSTORE(TO_BYTES(tap), index + out);
    }
}

kernel void max_pool_bwd(global const float *restrict dy, global const uchar *restrict index, global float *restrict dx,
                         mcl_pool_args args)
{
    const int line = (int)get_global_id(1), n = line / args.H, h = line % args.H + args.pad_h, vectors = args.C / WIDTH;
    if (n >= args.N) return;
    const span rows = windows_over(h, args.KH, args.stride_h, args.OH);
    for (int i = (int)get_global_id(0); i < args.W * vectors; i += (int)get_global_size(0)) {
        const int column = i / vectors, c = (i - column * vectors) * WIDTH, w = column + args.pad_w;
        const span columns = windows_over(w, args.KW, args.stride_w, args.OW);
        vec sum = 0.0f;
        for (int oh = rows.first; oh < rows.last; oh++)
            for (int ow = columns.first; ow < columns.last; ow++) {
                int out = ((n * args.OH + oh) * args.OW + ow) * args.C + c;
                int tap = (h - oh * args.stride_h) * args.KW + w - ow * args.stride_w;
                sum += select((vec)0.0f, VLOAD(dy + out), TO_IVEC(VLOAD(index + out)) == (ivec)tap);
            }
        VSTORE(sum, dx + (line * args.W + column) * args.C + c);
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
    const int line = (int)get_global_id(1), n = line / args.OH, oh = line % args.OH, vectors = args.C / WIDTH;
    if (n >= args.N) return;
    const int top = oh * args.stride_h - args.pad_h;
    const span rows = taps_inside(top, args.KH, args.H);
    for (int i = (int)get_global_id(0); i < args.OW * vectors; i += (int)get_global_size(0)) {
        const int ow = i / vectors, c = (i - ow * vectors) * WIDTH, left = ow * args.stride_w - args.pad_w;
        const span columns = taps_inside(left, args.KW, args.W);
        vec sum = 0.0f;
        for (int r = rows.first; r < rows.last; r++)
            for (int s = columns.first; s < columns.last; s++)
                sum += VLOAD(x + ((n * args.H + top + r) * args.W + left + s) * args.C + c);
        VSTORE(sum * window_weight(rows, columns, args), y + (line * args.OW + ow) * args.C + c);
    }
}

kernel void avg_pool_bwd(global const float *restrict dy, global float *restrict dx, mcl_pool_args args)
{
    const int line = (int)get_global_id(1), n = line / args.H, h = line % args.H + args.pad_h, vectors = args.C / WIDTH;
    if (n >= args.N) return;
    const span rows = windows_over(h, args.KH, args.stride_h, args.OH);
    for (int i = (int)get_global_id(0); i < args.W * vectors; i += (int)get_global_size(0)) {
        const int column = i / vectors, c = (i - column * vectors) * WIDTH, w = column + args.pad_w;
        const span columns = windows_over(w, args.KW, args.stride_w, args.OW);
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

/* line: a sample. */
kernel void global_avg_pool_fwd(global const float *restrict x, global float *restrict y, mcl_pool_args args)
{
    const int n = (int)get_global_id(1), vectors = args.C / WIDTH, pixels = args.H * args.W;
    if (n >= args.N) return;
    for (int i = (int)get_global_id(0); i < vectors; i += (int)get_global_size(0)) {
        global const float *from = x + n * pixels * args.C + i * WIDTH;
        vec sum = 0.0f;
        for (int p = 0; p < pixels; p++) sum += VLOAD(from + p * args.C);
        VSTORE(sum * args.inverse_area, y + n * args.C + i * WIDTH);
    }
}

/* line: a row of pixels of dx. */
kernel void global_avg_pool_bwd(global const float *restrict dy, global float *restrict dx, mcl_pool_args args)
{
    const int line = (int)get_global_id(1), n = line / args.H, vectors = args.C / WIDTH;
    if (n >= args.N) return;
    for (int i = (int)get_global_id(0); i < args.W * vectors; i += (int)get_global_size(0)) {
        vec d = VLOAD(dy + n * args.C + i % vectors * WIDTH) * args.inverse_area;
        VSTORE(d, dx + (line * args.W * vectors + i) * WIDTH);
    }
}
