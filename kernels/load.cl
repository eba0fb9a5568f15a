/* A batch from a data set of bytes: gathered, cropped, flipped and normalised in one pass.
 *
 *   load:      work-item (w, line): line = b * H + h, pixels w, w + global size, ... of that line, all their channels
 *   load_wide: a work-item has consecutive lines, for CPUs: WIDTH values at a time of CHANNELS channels
 * The same bits on every device: no contraction, and a reciprocal from the host in place of a division. */
#pragma OPENCL FP_CONTRACT OFF
#include "args.h"
#include "philox.h"
#include "step.h"
#include "vector.h"

#ifndef CHANNELS
#define CHANNELS 1
#endif

/* Which sample fills place b of the batch, and how it is moved. */
typedef struct placement { int sample, flip, down, right; } placement;

placement placement_of(int b, global const int *order, global const mcl_step *step, mcl_load_args args)
{
    const int from = b < step->valid_samples ? b : 0; /* padding repeats the batch's first sample */
    placement place = {args.streamed ? from : order[step->first_sample + from], 0, 0, 0};
    if (!args.flip && !args.crop) return place;
    const mcl_philox4 drawn = mcl_philox(step->seed_low, step->seed_high, 0u, (uint)(step->batch_offset + b), (uint)step->step,
                                         args.stream);
    place.flip = args.flip && (drawn.word[0] & 1u);
    if (args.crop) {
        place.down = (int)MCL_RANDOM_CHOICE(drawn.word[1], 2 * args.crop + 1) - args.crop;
        place.right = (int)MCL_RANDOM_CHOICE(drawn.word[2], 2 * args.crop + 1) - args.crop;
    }
    return place;
}

kernel void load(global const uchar *pixels, global const int *labels, global const int *order, global const float *mean,
                 global const float *inverse_deviation, global const mcl_step *step, global float *x, global int *y,
                 mcl_load_args args)
{
    const int line = (int)get_global_id(1), b = line / args.H, h = line % args.H;
    if (b >= args.N) return;
    const placement place = placement_of(b, order, step, args);
    const int row = h + place.down;
    if (h == 0 && get_global_id(0) == 0) y[b] = labels[place.sample];

    for (int w = (int)get_global_id(0); w < args.W; w += (int)get_global_size(0)) {
        int column = (place.flip ? args.W - 1 - w : w) + place.right;
        int inside = row >= 0 && row < args.H && column >= 0 && column < args.W;
        global float *pixel = x + (line * args.W + w) * args.C;
        for (int c = 0; c < args.C; c++) {
            float value = mean[c];
            if (inside) value = (float)pixels[((place.sample * args.H + row) * args.W + column) * args.C + c];
            pixel[c] = (value - mean[c]) * inverse_deviation[c];
        }
    }
}

/* What `count` bytes in turn become, the first of them of channel 0. middle and factor: of as many channels in turn as a vector
 * has, from any channel on. */
void load_run(global float *restrict x, global const uchar *restrict bytes, int count, const float *middle, const float *factor)
{
    if (count < WIDTH) {
        for (int i = 0; i < count; i++) x[i] = ((float)bytes[i] - middle[i % CHANNELS]) * factor[i % CHANNELS];
        return;
    }
    for (int i = 0; i < count; i += WIDTH) {
        const int at = min(i, count - WIDTH), channel = at % CHANNELS;
        const vec value = TO_VEC(VLOAD_BYTES(bytes + at));
        VSTORE((value - OWN_LOAD(middle + channel)) * OWN_LOAD(factor + channel), x + at);
    }
}

void clear_run(global float *x, int count)
{
    for (int i = 0; i < count; i++) x[i] = 0.0f;
}

kernel void load_wide(global const uchar *restrict pixels, global const int *labels, global const int *order,
                      global const float *mean, global const float *inverse_deviation, global const mcl_step *step,
                      global float *restrict x, global int *y, mcl_load_args args)
{
    const span lines = span_of(args.N * args.H);
    const int W = args.W, line_floats = W * CHANNELS;
    float middle[CHANNELS + WIDTH], factor[CHANNELS + WIDTH];
    for (int i = 0; i < CHANNELS + WIDTH; i++) middle[i] = mean[i % CHANNELS], factor[i] = inverse_deviation[i % CHANNELS];

    placement place = {0, 0, 0, 0};
    for (int line = lines.first, filled = -1; line < lines.last; line++) {
        const int b = line / args.H, h = line % args.H;
        if (b != filled) place = placement_of(b, order, step, args);
        if (h == 0) y[b] = labels[place.sample];
        filled = b;

        /* Pixels [from, to) of the line are inside the picture, the others 0. */
        const int row = h + place.down, shift = place.flip ? -place.right : place.right, none = row < 0 || row >= args.H;
        const int from = none ? 0 : clamp(-shift, 0, W), to = none ? 0 : clamp(W - shift, from, W);
        global const uchar *bytes = pixels + (place.sample * args.H + (none ? 0 : row)) * line_floats;
        global float *target = x + line * line_floats;
        clear_run(target, from * CHANNELS);
        if (place.flip) {
            for (int w = from; w < to; w++)
                for (int c = 0; c < CHANNELS; c++)
                    target[w * CHANNELS + c] = ((float)bytes[(W - 1 - w - shift) * CHANNELS + c] - middle[c]) * factor[c];
        } else {
            load_run(target + from * CHANNELS, bytes + (from + shift) * CHANNELS, (to - from) * CHANNELS, middle, factor);
        }
        clear_run(target + to * CHANNELS, (W - to) * CHANNELS);
    }
}
