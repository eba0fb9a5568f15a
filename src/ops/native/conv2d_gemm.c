/* Convolutions as products: slices of im2col and CBLAS. A 1x1 convolution of stride 1 is a product as it stands.
 *
 * Work is cut into pieces by the shape alone; piece i belongs to slot i % SLOTS. One thread at a time works on a slot,
 * which has its own part of the workspace: [SLOTS][rows * patch] for im2col, then [SLOTS][|dw|] partial sums where dw
 * is small. OpenBLAS runs single-threaded inside (device/native/gemm.c). */
#include "ops/native/native.h"
#include <cblas.h>
#include <string.h>

#define SLOTS 16
#define SLICE_FLOATS (256 * 1024) /* of im2col: about a megabyte, for the second-level cache */
#define ROWS_LEAST 64
#define ROWS_MOST 1024
#define PARTIAL_FLOATS (128 * 1024) /* a dw up to here has a partial sum in each slot */
#define CHANNELS 128                /* of a piece of a larger dw */

typedef struct shape {
    const mcl_conv2d_args *a;
    int Cg, Kg, patch; /* channels of a group; KH*KW*Cg */
    int pixels, rows;  /* N*OH*OW; of a slice */
    bool pointwise;    /* x is its own im2col */
    bool partial;      /* dw is summed in the slots */
    bool team;         /* worth more than one thread */
} shape;

static int least(int a, int b) { return a < b ? a : b; }

static shape shape_of(const mcl_conv2d_args *a)
{
    shape s = {.a = a, .Cg = a->C / a->groups, .Kg = a->K / a->groups};
    s.patch = a->KH * a->KW * s.Cg;
    s.pixels = a->N * a->OH * a->OW;
    int rows = SLICE_FLOATS / s.patch / 16 * 16;
    s.rows = least(rows < ROWS_LEAST ? ROWS_LEAST : rows > ROWS_MOST ? ROWS_MOST : rows, s.pixels);
    s.pointwise = a->KH == 1 && a->KW == 1 && a->stride_h == 1 && a->stride_w == 1 && a->pad_h == 0 && a->pad_w == 0;
    s.team = mcl__native_worth(mcl__native_conv2d_work(a));
    s.partial = (int64_t)s.patch * a->K <= PARTIAL_FLOATS;
    return s;
}

static size_t slice_floats(const shape *s) { return s->pointwise ? 0 : (size_t)s->rows * s->patch; }
/* The leading dimension of im2col, or of x where it stands for it. */
static int row_length(const shape *s) { return s->pointwise ? s->a->C : s->patch; }

static size_t partial_floats(const shape *s) { return s->partial ? (size_t)s->patch * s->a->K : 0; }

uint64_t mcl__native_conv2d_workspace(const mcl_conv2d_args *args)
{
    shape s = shape_of(args);
    uint64_t floats = SLOTS * ((uint64_t)slice_floats(&s) + partial_floats(&s));
    return (floats ? floats : 1) * sizeof(float);
}

typedef struct window { int n, oh, ow; } window;

static window window_of(const shape *s, int pixel)
{
    const mcl_conv2d_args *a = s->a;
    return (window){pixel / (a->OH * a->OW), pixel / a->OW % a->OH, pixel % a->OW};
}

static void gather(float *restrict patch, const float *restrict x, int n)
{
    for (int i = 0; i < n; i++) patch[i] = x[i];
}

static void scatter(const float *restrict patch, float *restrict dx, int n)
{
    for (int i = 0; i < n; i++) dx[i] += patch[i];
}

/* Row r of a window: taps [first, end) lie inside the picture, whose row begins at `at` in x. `step` taps at a time are
 * contiguous there: all of them where the taps' pixels are neighbours. */
typedef struct runs { int first, end, step; size_t at; } runs;

static runs runs_of(const shape *s, window v, int r, int group)
{
    const mcl_conv2d_args *a = s->a;
    int h = v.oh * a->stride_h - a->pad_h + r * a->dilation_h, start = v.ow * a->stride_w - a->pad_w;
    runs run = {.step = 1, .at = (((size_t)v.n * a->H + h) * a->W) * a->C + group * s->Cg};
    if (h < 0 || h >= a->H) return run;
    while (run.first < a->KW && start + run.first * a->dilation_w < 0) run.first++;
    run.end = a->KW;
    while (run.end > run.first && start + (run.end - 1) * a->dilation_w >= a->W) run.end--;
    if (a->groups == 1 && a->dilation_w == 1 && run.end > run.first) run.step = run.end - run.first;
    return run;
}

static size_t tap_at(const shape *s, window v, const runs *run, int tap)
{
    const mcl_conv2d_args *a = s->a;
    return run->at + (size_t)(v.ow * a->stride_w - a->pad_w + tap * a->dilation_w) * a->C;
}

/* Rows [first, first + count) of the matrix whose row is a window's patch (KH,KW,Cg). */
static void im2col(const shape *s, const float *x, int group, int first, int count, float *col)
{
    for (int i = 0; i < count; i++) {
        window v = window_of(s, first + i);
        for (int r = 0; r < s->a->KH; r++) {
            float *patch = col + (size_t)i * s->patch + (size_t)r * s->a->KW * s->Cg;
            runs run = runs_of(s, v, r, group);
            for (int k = 0; k < run.first * s->Cg; k++) patch[k] = 0;
            for (int t = run.first; t < run.end; t += run.step)
                gather(patch + t * s->Cg, x + tap_at(s, v, &run, t), run.step * s->Cg);
            for (int k = (run.end > run.first ? run.end : run.first) * s->Cg; k < s->a->KW * s->Cg; k++) patch[k] = 0;
        }
    }
}

static void col2im(const shape *s, const float *col, int group, int first, int count, float *dx)
{
    for (int i = 0; i < count; i++) {
        window v = window_of(s, first + i);
        for (int r = 0; r < s->a->KH; r++) {
            const float *patch = col + (size_t)i * s->patch + (size_t)r * s->a->KW * s->Cg;
            runs run = runs_of(s, v, r, group);
            for (int t = run.first; t < run.end; t += run.step)
                scatter(patch + t * s->Cg, dx + tap_at(s, v, &run, t), run.step * s->Cg);
        }
    }
}

/* Rows [first, first + count) of y. */
static void slice_fwd(const shape *s, const float *x, const float *w, float *y, float *col, int first, int count)
{
    const mcl_conv2d_args *a = s->a;
    for (int g = 0; g < a->groups; g++) {
        const float *rows = s->pointwise ? x + (size_t)first * a->C + g * s->Cg : col;
        if (!s->pointwise) im2col(s, x, g, first, count, col);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, count, s->Kg, s->patch, 1, rows, row_length(s),
                    w + g * s->Kg, a->K, 0, y + (size_t)first * a->K + g * s->Kg, a->K);
    }
}

void mcl__native_conv2d_gemm_fwd(const mcl__native_arg *arg)
{
    const float *x = arg[0].pointer, *w = arg[1].pointer;
    float *y = arg[2].pointer, *workspace = arg[3].pointer;
    const shape s = shape_of(arg[4].pointer);
#pragma omp parallel for schedule(static, 1) if (s.team)
    for (int slot = 0; slot < SLOTS; slot++)
        for (int64_t first = (int64_t)slot * s.rows; first < s.pixels; first += (int64_t)SLOTS * s.rows)
            slice_fwd(&s, x, w, y, workspace + slot * slice_floats(&s), (int)first,
                      least(s.rows, (int)(s.pixels - first)));
}

/* Windows [first, first + count) give their part to dx, or, where it is pointwise, are its rows. */
static void slice_bwd_data(const shape *s, const float *dy, const float *w, float *dx, float *col, int first, int count)
{
    const mcl_conv2d_args *a = s->a;
    for (int g = 0; g < a->groups; g++) {
        float *rows = s->pointwise ? dx + (size_t)first * a->C + g * s->Cg : col;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, count, s->patch, s->Kg, 1,
                    dy + (size_t)first * a->K + g * s->Kg, a->K, w + g * s->Kg, a->K, 0, rows, row_length(s));
        if (!s->pointwise) col2im(s, col, g, first, count, dx);
    }
}

/* A piece is some whole samples, so that no two pieces write to the same pixel. */
void mcl__native_conv2d_gemm_bwd_data(const mcl__native_arg *arg)
{
    const float *dy = arg[0].pointer, *w = arg[1].pointer;
    float *dx = arg[2].pointer, *workspace = arg[3].pointer;
    const shape s = shape_of(arg[4].pointer);
    const mcl_conv2d_args *a = s.a;
    int windows = a->OH * a->OW, samples = s.rows < windows ? 1 : s.rows / windows;
    size_t picture = (size_t)a->H * a->W * a->C;
#pragma omp parallel for schedule(static, 1) if (s.team)
    for (int slot = 0; slot < SLOTS; slot++)
        for (int64_t n = (int64_t)slot * samples; n < a->N; n += (int64_t)SLOTS * samples) {
            int count = least(samples, (int)(a->N - n)), end = (int)(n + count) * windows;
            if (!s.pointwise) memset(dx + (size_t)n * picture, 0, count * picture * sizeof *dx);
            for (int first = (int)n * windows; first < end; first += s.rows) /* pixels stay well below 2^31 - rows */
                slice_bwd_data(&s, dy, w, dx, workspace + slot * slice_floats(&s), first, least(s.rows, end - first));
        }
}

/* dw, (patch, K), gains the product of windows [first, first + count). */
static void slice_bwd_weight(const shape *s, const float *x, const float *dy, float *dw, float *col, int first,
                             int count)
{
    const mcl_conv2d_args *a = s->a;
    for (int g = 0; g < a->groups; g++) {
        const float *rows = s->pointwise ? x + (size_t)first * a->C + g * s->Cg : col;
        if (!s->pointwise) im2col(s, x, g, first, count, col);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, s->patch, s->Kg, count, 1, rows, row_length(s),
                    dy + (size_t)first * a->K + g * s->Kg, a->K, 1, dw + g * s->Kg, a->K);
    }
}

/* A small dw: each slot sums its slices, then the slots are added in order. */
static void weight_by_slices(const shape *s, const float *x, const float *dy, float *dw, float *workspace)
{
    size_t size = partial_floats(s);
    float *partial = workspace + SLOTS * slice_floats(s);
#pragma omp parallel for schedule(static, 1) if (s->team)
    for (int slot = 0; slot < SLOTS; slot++) {
        memset(partial + slot * size, 0, size * sizeof *partial);
        for (int64_t first = (int64_t)slot * s->rows; first < s->pixels; first += (int64_t)SLOTS * s->rows)
            slice_bwd_weight(s, x, dy, partial + slot * size, workspace + slot * slice_floats(s), (int)first,
                             least(s->rows, (int)(s->pixels - first)));
    }
    memcpy(dw, partial, size * sizeof *dw);
    for (int slot = 1; slot < SLOTS; slot++) scatter(partial + slot * size, dw, (int)size);
}

/* Channels [c, c + count) of one tap for windows [first, first + rows): a narrow im2col. */
static void tap_columns(const shape *s, const float *x, int tap, int channel, int count, int first, int rows,
                        float *col)
{
    const mcl_conv2d_args *a = s->a;
    for (int i = 0; i < rows; i++) {
        window v = window_of(s, first + i);
        int h = v.oh * a->stride_h - a->pad_h + tap / a->KW * a->dilation_h;
        int w = v.ow * a->stride_w - a->pad_w + tap % a->KW * a->dilation_w;
        float *row = col + (size_t)i * count;
        if (h >= 0 && h < a->H && w >= 0 && w < a->W)
            gather(row, x + (((size_t)v.n * a->H + h) * a->W + w) * a->C + channel, count);
        else memset(row, 0, (size_t)count * sizeof *row);
    }
}

/* Rows [row, row + count) of dw's group: some channels of one tap, over all windows. */
static void tap_bwd_weight(const shape *s, const float *x, const float *dy, float *dw, float *col, int group, int row,
                           int count)
{
    const mcl_conv2d_args *a = s->a;
    int rows = s->pointwise ? s->pixels : (int)(slice_floats(s) / count), channel = group * s->Cg + row % s->Cg;
    for (int64_t first = 0; first < s->pixels; first += rows) {
        int taken = least(rows, (int)(s->pixels - first));
        if (!s->pointwise) tap_columns(s, x, row / s->Cg, channel, count, (int)first, taken, col);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, count, s->Kg, taken, 1, s->pointwise ? x + channel : col,
                    s->pointwise ? a->C : count, dy + (size_t)first * a->K + group * s->Kg, a->K, first > 0,
                    dw + (size_t)row * a->K + group * s->Kg, a->K);
    }
}

/* A large dw: its rows are shared out. */
static void weight_by_rows(const shape *s, const float *x, const float *dy, float *dw, float *workspace)
{
    int step = least(CHANNELS, s->Cg), blocks = (s->Cg + step - 1) / step, in_group = s->a->KH * s->a->KW * blocks;
    int64_t pieces = (int64_t)in_group * s->a->groups;
#pragma omp parallel for schedule(static, 1) if (s->team)
    for (int slot = 0; slot < SLOTS; slot++)
        for (int64_t piece = slot; piece < pieces; piece += SLOTS) {
            int group = (int)(piece / in_group), block = (int)(piece % in_group), channel = block % blocks * step;
            tap_bwd_weight(s, x, dy, dw, workspace + slot * slice_floats(s), group, block / blocks * s->Cg + channel,
                           least(step, s->Cg - channel));
        }
}

void mcl__native_conv2d_gemm_bwd_weight(const mcl__native_arg *arg)
{
    const shape s = shape_of(arg[4].pointer);
    (s.partial ? weight_by_slices : weight_by_rows)(&s, arg[0].pointer, arg[1].pointer, arg[2].pointer, arg[3].pointer);
}
