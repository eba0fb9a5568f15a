/* Gathers the rows of products from pictures (product_args.h says which): where they are, and copies of them in local memory. */
#ifndef MCL_PRODUCT_ROWS_H
#define MCL_PRODUCT_ROWS_H
#include "lanes.h"
#include "product_args.h"

#ifndef STAGED
#define STAGED 0 /* 1: rows are staged; 0: they are read as they are, for a single tap that never leaves the picture */
#endif
#ifndef ROWS
#define ROWS 144 /* rows of an item at most */
#endif
#define INTS LANES_JOIN(int, VW)
#if VW == 16
#define LANE_NUMBERS ((INTS)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#elif VW == 8
#define LANE_NUMBERS ((INTS)(0, 1, 2, 3, 4, 5, 6, 7))
#else
#error "lanes are numbered for vectors of 8 and 16"
#endif

/* Where rows are: of the source pixel under tap (0, 0), as an offset too, and in the target. */
typedef struct places {
    int picture[ROWS], h[ROWS], v[ROWS], source[ROWS], target[ROWS];
} places;

/* The taps of a class. */
typedef struct taps {
    int r, s;       /* the first */
    int h, w;       /* source position of the first tap, relative to the row's; w of the leftmost tap of a line */
    int rows, columns;
    int length, lines; /* floats of a line, lines of a kernel row */
} taps;

/* The first of `count` taps that reaches the class, or count. */
int first_tap(int over, int slope, int classes, int count)
{
    int tap = 0;
    while (tap < count && (over + tap * slope) % classes != 0) tap++;
    return tap;
}

taps taps_of(int class_h, int class_w, mcl_product_args a)
{
    taps t;
    const int over_h = class_h + a.base_h, over_w = class_w + a.base_w;
    t.r = first_tap(over_h, a.slope_h, a.classes_h, a.KH);
    t.s = first_tap(over_w, a.slope_w, a.classes_w, a.KW);
    t.rows = (a.KH - t.r + a.every_h - 1) / a.every_h;
    t.columns = (a.KW - t.s + a.every_w - 1) / a.every_w;
    t.h = (over_h + t.r * a.slope_h) / a.classes_h;
    t.w = (over_w + t.s * a.slope_w) / a.classes_w;
    if (a.joined && a.shift_w < 0) t.w -= t.columns - 1;
    t.length = a.joined ? t.columns * a.run : a.run;
    t.lines = a.joined ? 1 : t.columns;
    return t;
}

/* Rows first ... of the class. Past `count` they are outside every picture when they are staged, else the last row again. */
void place_rows(__local places *at, int first, int rows, int count, int class_h, int class_w, mcl_product_args a)
{
    const int QH = (a.TH - class_h + a.classes_h - 1) / a.classes_h, QW = (a.TW - class_w + a.classes_w - 1) / a.classes_w;
    int w = first % QW, h = first / QW % QH, n = first / (QW * QH);
    for (int i = 0; i < rows; i++) {
        at->picture[i] = n * a.SH;
        at->h[i] = STAGED && i >= count ? -(1 << 30) : h * a.step_h;
        at->v[i] = w * a.step_w;
        at->source[i] = ((n * a.SH + h * a.step_h) * a.SW + w * a.step_w) * a.pitch;
        at->target[i] = (n * a.TH + class_h + h * a.classes_h) * a.TW + class_w + w * a.classes_w;
        if (i + 1 >= count || ++w < QW) continue;
        w = 0;
        if (++h == QH) h = 0, n++;
    }
}

/* Positions [from, to) of a line whose position q is x[start + q] where low <= q < high, else 0. */
void stage_line(__local float *target, __global const float *x, int start, int from, int to, int low, int high, int total)
{
    for (int q = from; q < to; q += VW, target += VW) {
        VECTOR v = (VECTOR)(0.0f);
        if (q >= low && min(q + VW, to) <= high && start + q <= total - VW) {
            v = GLOBAL_AT_CONST(x + start + q, 0); /* lanes from `to` on may be anything */
        } else if (q < high && q + VW > low) {
            if (start + q >= 0 && start + q <= total - VW) {
                const INTS lane = q + LANE_NUMBERS;
                v = select(v, GLOBAL_AT_CONST(x + start + q, 0), lane >= low & lane < high);
            } else {
                float lane[VW];
                for (int i = 0; i < VW; i++) lane[i] = q + i >= low && q + i < high ? x[start + q + i] : 0.0f;
                v = VLOAD(0, lane);
            }
        }
        LOCAL_AT(target, 0) = v;
    }
}

/* `part` floats of a tap, the first of them at `channel`, behind the prologue. */
void stage_channels(__local float *target, __global const float *x, int channel, int part PROLOGUE_PARAMS)
{
    if (part >= VW) {
        for (int q = 0; q < part; q += VW) {
            const int at = min(q, part - VW);
            VECTOR v = GLOBAL_AT_CONST(x + at, 0);
            PROLOGUE(VECTOR, LOAD_WHOLE, v, channel + at)
            LOCAL_AT(target + at, 0) = v;
        }
    } else {
        VECTOR v = load_part(x, part);
        PROLOGUE(VECTOR, LOAD_PART, v, channel)
        LOCAL_AT(target, 0) = v;
    }
}

/* Depth [first, first + count) of the rows, `pitch` from one to the next: what is copied beyond a row's end, up to a vector,
 * is overwritten by what comes next or does no harm. Asks memory for the rows that follow these, as many again. */
void stage_rows(__local float *staged, int pitch, __local const places *at, __global const float *x, int rows, int first,
                int count, int group, taps t, mcl_product_args a PROLOGUE_PARAMS)
{
    const int total = a.N * a.SH * a.SW * a.pitch, across = t.length / a.run, ahead = rows * a.step_h * a.step_w * a.pitch;
    for (int d = first; d < first + count;) {
        const int line = d / t.length, from = d % t.length, to = min(t.length, from + first + count - d);
        const int shift_h = t.h + line / t.lines * (a.every_h * a.slope_h / a.classes_h),
                  shift_w = t.w + line % t.lines * a.shift_w;
        for (int i = 0; i < rows; i++) {
            const int h = at->h[i] + shift_h, v = at->v[i] + shift_w, inside = (uint)h < (uint)a.SH;
            const int low = clamp(-v, 0, across) * a.run, high = inside ? clamp(a.SW - v, 0, across) * a.run : 0;
            const int start = low < high ? ((at->picture[i] + h) * a.SW + v) * a.pitch + group * a.run : 0;
            __local float *target = staged + i * pitch + d - first;
            PREFETCH(x + start + from + ahead);
            if (!PROLOGUED && high - low == t.length && start + to <= total - VW)
                for (int q = from; q < to; q += VW, target += VW) LOCAL_AT(target, 0) = GLOBAL_AT_CONST(x + start + q, 0);
            else if (PROLOGUED && low < high) /* lines are single taps */
                stage_channels(target, x + start + from, group * a.run + from, to - from PROLOGUE_ARGS);
            else stage_line(target, x, start, from, to, low, high, total);
        }
        d += to - from;
    }
}

#endif
