/* Sums over rows for each channel: the reduction that bias gradients and batch normalisation share. */
#include "ops/native/native.h"

#define PARTS 16
#define PART_LEAST 64 /* rows */

static void reduce_block(const mcl__native_reduction *reduction, int channel, int count)
{
    double sum[PARTS][MCL__NATIVE_BLOCK] = {{0}}, second[PARTS][MCL__NATIVE_BLOCK] = {{0}};
    int rows = (reduction->rows + PARTS - 1) / PARTS;
    if (rows < PART_LEAST) rows = PART_LEAST;
#pragma omp parallel for schedule(static) if (mcl__native_worth((double)reduction->rows * count))
    for (int part = 0; part < PARTS; part++) {
        int64_t first = (int64_t)part * rows, end = first + rows < reduction->rows ? first + rows : reduction->rows;
        if (first < end) reduction->add(reduction, (int)first, (int)end, channel, count, sum[part], second[part]);
    }
    for (int i = 0; i < count; i++) {
        for (int part = 1; part < PARTS; part++) {
            sum[0][i] += sum[part][i];
            second[0][i] += second[part][i];
        }
        reduction->finish(reduction, channel + i, sum[0][i], second[0][i]);
    }
}

void mcl__native_reduce(const mcl__native_reduction *reduction)
{
    for (int channel = 0; channel < reduction->C; channel += MCL__NATIVE_BLOCK) {
        int left = reduction->C - channel;
        reduce_block(reduction, channel, left < MCL__NATIVE_BLOCK ? left : MCL__NATIVE_BLOCK);
    }
}

static void add_values(const mcl__native_reduction *reduction, int first, int end, int channel, int count, double *sum,
                       double *second)
{
    (void)second;
    for (int row = first; row < end; row++) {
        const float *x = reduction->x + (size_t)row * reduction->C + channel;
        for (int i = 0; i < count; i++) sum[i] += (double)x[i];
    }
}

static void finish_sum(const mcl__native_reduction *reduction, int channel, double sum, double second)
{
    (void)second;
    reduction->out[channel] = (float)sum;
}

void mcl__native_channel_sum(const mcl__native_arg *arg)
{
    const mcl_rows_args *a = arg[2].pointer;
    mcl__native_reduction reduction = {.x = arg[0].pointer, .out = arg[1].pointer, .rows = a->rows, .C = a->C,
                                       .add = add_values, .finish = finish_sum};
    mcl__native_reduce(&reduction);
}
