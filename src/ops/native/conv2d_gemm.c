/* Convolutions as products without im2col in memory: the rows of a factor are the windows of a picture, and product.c asks
 * for blocks of them.
 *   forward          y  (pixels, K)  = windows of x (pixels, taps * C) * w (taps * C, K)
 *   data gradient    dx (pixels, C)  = windows of dy (pixels, taps * K) * w transposed (taps * K, C)
 *   weight gradient  dw (taps * C, K) = windows of x, transposed, * dy (pixels, K)
 * each group for itself. Under a stride the taps that reach a pixel of dx depend on its position modulo the stride: each
 * such phase is a product of its own with the taps that it has, and no multiplication by zero. */
#include "ops/native/native.h"
#include "ops/native/product.h"
#include <string.h>

#define TASKS 48                   /* wanted of a weight gradient, whose result may be small and its sums long */
#define PART_LEAST (8 * MCL__BLOCK) /* pixels of a part */

static int least(int a, int b) { return a < b ? a : b; }
static int most(int a, int b) { return a > b ? a : b; }

/* Along one axis: output `o` of `outputs` lies at origin + o * spacing, and its tap `t` of `taps` multiplies what lies at
 * o * step + first + t * delta with the weights of tap weight + t * weight_step. */
typedef struct axis {
    int outputs, origin, spacing;
    int taps, first, delta, step;
    int weight, weight_step;
} axis;

static axis axis_fwd(int outputs, int taps, int stride, int pad, int dilation)
{
    return (axis){
        .outputs = outputs, .spacing = 1, .taps = taps, .first = -pad, .delta = dilation, .step = stride, .weight_step = 1};
}

/* Pixels phase, phase + stride, ... of dx. Tap r reaches pixel i from output (i + pad - r * dilation) / stride, where that
 * has no remainder: for every `period`-th tap, or none. The last of them comes first, so that outputs ascend. */
static axis axis_bwd(int pixels, int taps, int stride, int pad, int dilation, int phase)
{
    int common = stride, first = 0;
    while (stride % common || dilation % common) common--;
    int period = stride / common;
    while (first < period && (phase + pad - (int64_t)first * dilation) % stride) first++;
    int found = first < period && first < taps ? (taps - 1 - first) / period + 1 : 0, last = first + (found - 1) * period;
    return (axis){.outputs = (pixels - phase + stride - 1) / stride, .origin = phase, .spacing = stride, .taps = found,
                  .first = found ? (int)((phase + pad - (int64_t)last * dilation) / stride) : 0, .delta = dilation / common,
                  .step = 1, .weight = last, .weight_step = -period};
}

/* A tensor (N,H,W,C) of which a group has `size` channels. */
typedef struct picture { float *data; int H, W, C, size; } picture;

/* What the blocks are read from and written to. */
typedef struct conv {
    axis down, across;
    picture source, target; /* windows are of source; the other picture, which is the target but in the weight gradient */
    const float *weights;   /* (KH * KW, inner, pitch), and `group` floats from group to group */
    float *partial;         /* (parts, KH * KW * source.size, target.C): results of the weight gradient */
    int KW, inner, pitch;
    size_t tap, group;
} conv;

typedef struct position { int n, h, w; } position;

static position position_of(const conv *c, int row)
{
    int line = row / c->across.outputs;
    return (position){line / c->down.outputs, line % c->down.outputs, row % c->across.outputs};
}

static void next(const conv *c, position *at)
{
    if (++at->w < c->across.outputs) return;
    at->w = 0;
    if (++at->h < c->down.outputs) return;
    at->h = 0;
    at->n++;
}

/* `taps` neighbouring taps of one line, whose pixels are neighbours too where there are several; of their floats those in
 * [from, to), for all rows of an area. Outside the picture there are zeros. */
typedef struct tap_run { int line, tap, taps, from, to; } tap_run;

static void load_run(const conv *c, const mcl__area *area, const tap_run *run, float *out)
{
    const picture *s = &c->source;
    position at = position_of(c, area->row);
    for (int i = 0; i < area->rows; i++, out += MCL__BLOCK_PITCH, next(c, &at)) {
        int h = at.h * c->down.step + c->down.first + run->line * c->down.delta;
        int w = at.w * c->across.step + c->across.first + run->tap * c->across.delta;
        bool outside = h < 0 || h >= s->H;
        int start = outside ? run->to : most(run->from, least(run->to, most(0, least(-w, run->taps)) * s->size));
        int end = outside ? run->to : most(start, least(run->to, most(0, least(s->W - w, run->taps)) * s->size));
        const float *line = s->data + ((size_t)at.n * s->H + (outside ? 0 : h)) * s->W * s->C + area->index * s->size;
        memset(out, 0, (size_t)(start - run->from) * sizeof *out);
        if (end > start) memcpy(out + start - run->from, line + ((ptrdiff_t)w * s->C + start), (size_t)(end - start) * sizeof *out);
        memset(out + end - run->from, 0, (size_t)(run->to - end) * sizeof *out);
    }
}

/* Rows: outputs. Columns: (line of taps, tap, channel). */
static void load_windows(const void *context, const mcl__area *area, float *block)
{
    const conv *c = context;
    bool joined = c->across.delta == 1 && c->source.size == c->source.C;
    int taps = joined ? c->across.taps : 1, length = taps * c->source.size, runs = c->across.taps / taps;
    for (int column = 0; column < area->columns;) {
        int number = (area->column + column) / length, from = (area->column + column) % length;
        tap_run run = {number / runs, number % runs, taps, from, least(length, from + area->columns - column)};
        load_run(c, area, &run, block + column);
        column += run.to - run.from;
    }
}

/* Rows: (line of taps, tap, inner). Columns: the target's channels. */
static void load_weights(const void *context, const mcl__area *area, float *block)
{
    const conv *c = context;
    for (int i = 0; i < area->rows; i++) {
        int number = (area->row + i) / c->inner, inner = (area->row + i) % c->inner;
        int r = c->down.weight + number / c->across.taps * c->down.weight_step;
        int s = c->across.weight + number % c->across.taps * c->across.weight_step;
        const float *row = c->weights + ((size_t)r * c->KW + s) * c->tap + area->index * c->group + (size_t)inner * c->pitch;
        memcpy(block + i * MCL__BLOCK_PITCH, row + area->column, (size_t)area->columns * sizeof *block);
    }
}

static float *target_at(const conv *c, position at, const mcl__area *area)
{
    const picture *t = &c->target;
    int h = c->down.origin + at.h * c->down.spacing, w = c->across.origin + at.w * c->across.spacing;
    return t->data + (((size_t)at.n * t->H + h) * t->W + w) * t->C + area->index * t->size + area->column;
}

static void store_target(const void *context, const mcl__area *area, const float *block)
{
    const conv *c = context;
    position at = position_of(c, area->row);
    for (int i = 0; i < area->rows; i++, next(c, &at))
        memcpy(target_at(c, at, area), block + i * MCL__BLOCK_PITCH, (size_t)area->columns * sizeof *block);
}

static void load_target(const void *context, const mcl__area *area, float *block)
{
    const conv *c = context;
    position at = position_of(c, area->row);
    for (int i = 0; i < area->rows; i++, next(c, &at))
        memcpy(block + i * MCL__BLOCK_PITCH, target_at(c, at, area), (size_t)area->columns * sizeof *block);
}

static void store_weights(const void *context, const mcl__area *area, const float *block)
{
    const conv *c = context;
    int rows = c->down.taps * c->across.taps * c->source.size, pitch = c->target.C;
    float *out = c->partial + ((size_t)area->part * rows + area->row) * pitch + area->index * c->target.size + area->column;
    for (int i = 0; i < area->rows; i++)
        memcpy(out + (size_t)i * pitch, block + i * MCL__BLOCK_PITCH, (size_t)area->columns * sizeof *block);
}

/* --- the passes */

static picture picture_x(const mcl_conv2d_args *a, const float *data)
{
    return (picture){(float *)data, a->H, a->W, a->C, a->C / a->groups};
}

static picture picture_y(const mcl_conv2d_args *a, const float *data)
{
    return (picture){(float *)data, a->OH, a->OW, a->K, a->K / a->groups};
}

static conv conv_fwd(const mcl_conv2d_args *a, const float *x, const float *y)
{
    return (conv){.down = axis_fwd(a->OH, a->KH, a->stride_h, a->pad_h, a->dilation_h),
                  .across = axis_fwd(a->OW, a->KW, a->stride_w, a->pad_w, a->dilation_w),
                  .source = picture_x(a, x),
                  .target = picture_y(a, y),
                  .KW = a->KW};
}

static void pixels_from_weights(const mcl_conv2d_args *a, const conv *c)
{
    mcl__product product = {.count = a->groups, .M = a->N * c->down.outputs * c->across.outputs, .N = c->target.size,
                            .K = c->down.taps * c->across.taps * c->source.size, .load_a = load_windows, .load_b = load_weights,
                            .store = store_target, .context = c};
    product.part = product.K;
    if (product.M > 0) mcl__native_product(&product);
}

void mcl__native_conv2d_gemm_fwd(const mcl__native_arg *arg)
{
    const mcl_conv2d_args *a = arg[3].pointer;
    conv c = conv_fwd(a, arg[0].pointer, arg[2].pointer);
    c.weights = arg[1].pointer;
    c.inner = c.source.size, c.pitch = a->K;
    c.tap = (size_t)c.inner * a->K, c.group = c.target.size;
    pixels_from_weights(a, &c);
}

#define SQUARE 16 /* of a matrix that is transposed: lines of a cache on both sides */

/* w (taps, C, K) as (taps, K, C); C of a group. */
static void transpose(int taps, int C, int K, const float *w, float *out)
{
#pragma omp parallel for collapse(2) schedule(static) if (mcl__native_worth((double)taps * C * K))
    for (int tap = 0; tap < taps; tap++)
        for (int column = 0; column < K; column += SQUARE)
            for (int row = 0; row < C; row += SQUARE)
                for (int k = column; k < least(K, column + SQUARE); k++)
                    for (int c = row; c < least(C, row + SQUARE); c++)
                        out[((size_t)tap * K + k) * C + c] = w[((size_t)tap * C + c) * K + k];
}

void mcl__native_conv2d_gemm_bwd_data(const mcl__native_arg *arg)
{
    const mcl_conv2d_args *a = arg[4].pointer;
    conv c = {.source = picture_y(a, arg[0].pointer), .target = picture_x(a, arg[2].pointer), .weights = arg[3].pointer,
              .KW = a->KW};
    c.inner = c.source.size, c.pitch = c.target.size;
    c.tap = (size_t)a->K * c.pitch, c.group = (size_t)c.inner * c.pitch;
    transpose(a->KH * a->KW, c.target.size, a->K, arg[1].pointer, arg[3].pointer);
    for (int i = 0; i < least(a->stride_h, a->H); i++)
        for (int j = 0; j < least(a->stride_w, a->W); j++) {
            c.down = axis_bwd(a->H, a->KH, a->stride_h, a->pad_h, a->dilation_h, i);
            c.across = axis_bwd(a->W, a->KW, a->stride_w, a->pad_w, a->dilation_w, j);
            pixels_from_weights(a, &c);
        }
}

static mcl__product product_bwd_weight(const mcl_conv2d_args *a, const conv *c)
{
    mcl__product product = {.count = a->groups, .M = a->KH * a->KW * c->source.size, .N = c->target.size,
                            .K = a->N * a->OH * a->OW, .transposed = true, .load_a = load_windows, .load_b = load_target,
                            .store = store_weights, .context = c};
    int tasks = a->groups * mcl__native_product_areas(product.M, product.N), parts = (TASKS + tasks - 1) / tasks;
    product.part = (int)(((int64_t)product.K + parts - 1) / parts);
    product.part = most(PART_LEAST, (product.part - 1) / MCL__BLOCK * MCL__BLOCK + MCL__BLOCK);
    return product;
}

static int parts_of(const mcl__product *product) { return (product->K - 1) / product->part + 1; }

#define STRETCH 1024 /* floats */

static void gain(int n, const float *restrict x, float *restrict y)
{
    for (int i = 0; i < n; i++) y[i] += x[i];
}

/* One result (n) in several parts, added in their order. */
static void add_parts(int parts, int n, const float *partial, float *out)
{
#pragma omp parallel for schedule(static) if (mcl__native_worth((double)parts * n))
    for (int stretch = 0; stretch <= (n - 1) / STRETCH; stretch++) {
        int first = stretch * STRETCH, length = least(STRETCH, n - first);
        memcpy(out + first, partial + first, (size_t)length * sizeof *out);
        for (int part = 1; part < parts; part++) gain(length, partial + (size_t)part * n + first, out + first);
    }
}

void mcl__native_conv2d_gemm_bwd_weight(const mcl__native_arg *arg)
{
    const mcl_conv2d_args *a = arg[4].pointer;
    conv c = conv_fwd(a, arg[0].pointer, arg[1].pointer);
    mcl__product product = product_bwd_weight(a, &c);
    int parts = parts_of(&product);
    c.partial = parts > 1 ? arg[3].pointer : arg[2].pointer;
    mcl__native_product(&product);
    if (parts > 1) add_parts(parts, product.M * a->K, arg[3].pointer, arg[2].pointer);
}

uint64_t mcl__native_conv2d_gemm_bwd_data_workspace(const mcl_conv2d_args *a)
{
    return (uint64_t)a->KH * a->KW * (a->C / a->groups) * a->K * sizeof(float);
}

uint64_t mcl__native_conv2d_gemm_bwd_weight_workspace(const mcl_conv2d_args *a)
{
    conv c = conv_fwd(a, NULL, NULL);
    mcl__product product = product_bwd_weight(a, &c);
    int parts = parts_of(&product);
    return (parts > 1 ? (uint64_t)parts * product.M * a->K : 1) * sizeof(float);
}
