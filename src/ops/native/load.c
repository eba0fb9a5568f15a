/* A batch from a data set of bytes: the same decisions and the same bits as the kernel, as nothing here is contracted
 * or divided. */
#include "ops/native/native.h"
#include "philox.h"

typedef struct placement { int sample, flip, down, right; } placement;

/* Which sample fills place b of the batch, and how it is moved. */
static placement place(const mcl_load_args *a, const mcl_step *step, const int32_t *order, int b)
{
    int from = b < step->valid_samples ? b : 0; /* padding repeats the batch's first sample */
    mcl_philox4 drawn = mcl_philox(step->seed_low, step->seed_high, 0, (uint32_t)(step->batch_offset + b),
                                   (uint32_t)step->step, a->stream);
    placement p = {.sample = a->streamed ? from : order[step->first_sample + from]};
    p.flip = a->flip && (drawn.word[0] & 1u);
    if (a->crop) {
        p.down = (int)MCL_RANDOM_CHOICE(drawn.word[1], 2 * a->crop + 1) - a->crop;
        p.right = (int)MCL_RANDOM_CHOICE(drawn.word[2], 2 * a->crop + 1) - a->crop;
    }
    return p;
}

/* Row h of the picture, which starts at `picture`. */
static void load_row(const mcl_load_args *a, placement p, const uint8_t *picture, const float *mean,
                     const float *inverse_deviation, int h, float *x)
{
    int row = h + p.down;
    for (int w = 0; w < a->W; w++) {
        int column = (p.flip ? a->W - 1 - w : w) + p.right;
        bool inside = row >= 0 && row < a->H && column >= 0 && column < a->W;
        for (int c = 0; c < a->C; c++) {
            float value = inside ? (float)picture[((size_t)row * a->W + column) * a->C + c] : mean[c];
            x[w * a->C + c] = (value - mean[c]) * inverse_deviation[c];
        }
    }
}

void mcl__native_load(const mcl__native_arg *arg)
{
    const uint8_t *pixels = arg[0].pointer;
    const int32_t *labels = arg[1].pointer, *order = arg[2].pointer;
    const float *mean = arg[3].pointer, *inverse_deviation = arg[4].pointer;
    const mcl_step *step = arg[5].pointer;
    float *x = arg[6].pointer;
    int32_t *y = arg[7].pointer;
    const mcl_load_args *a = arg[8].pointer;
    size_t row = (size_t)a->W * a->C, picture = a->H * row;
#pragma omp parallel for schedule(static) if (mcl__native_worth((double)a->N * (double)picture))
    for (int b = 0; b < a->N; b++) {
        placement p = place(a, step, order, b);
        y[b] = labels[p.sample];
        for (int h = 0; h < a->H; h++)
            load_row(a, p, pixels + p.sample * picture, mean, inverse_deviation, h, x + b * picture + h * row);
    }
}
