/* A batch from a data set of bytes: gathered, cropped, flipped and normalised in one pass.
 *
 *   work-item (w, line): line = b * H + h, pixels w, w + global size, ... of that line, all their channels.
 * The same bits on every device: no contraction, and a reciprocal from the host in place of a division. */
#pragma OPENCL FP_CONTRACT OFF
#include "args.h"
#include "philox.h"
#include "step.h"

kernel void load(global const uchar *pixels, global const int *labels, global const int *order, global const float *mean,
                 global const float *inverse_deviation, global const mcl_step *step, global float *x, global int *y,
                 mcl_load_args args)
{
    const int line = (int)get_global_id(1), b = line / args.H, h = line % args.H;
    if (b >= args.N) return;
    const int from = b < step->valid_samples ? b : 0; /* padding repeats the batch's first sample */
    const int sample = args.streamed ? from : order[step->first_sample + from];
    if (h == 0 && get_global_id(0) == 0) y[b] = labels[sample];

    const mcl_philox4 drawn = mcl_philox(step->seed_low, step->seed_high, 0u, (uint)(step->batch_offset + b), (uint)step->step,
                                         args.stream);
    const int flip = args.flip && (drawn.word[0] & 1u);
    const int down = args.crop ? (int)MCL_RANDOM_CHOICE(drawn.word[1], 2 * args.crop + 1) - args.crop : 0;
    const int right = args.crop ? (int)MCL_RANDOM_CHOICE(drawn.word[2], 2 * args.crop + 1) - args.crop : 0;
    const int row = h + down;

    for (int w = (int)get_global_id(0); w < args.W; w += (int)get_global_size(0)) {
        int column = (flip ? args.W - 1 - w : w) + right;
        int inside = row >= 0 && row < args.H && column >= 0 && column < args.W;
        global float *pixel = x + (line * args.W + w) * args.C;
        for (int c = 0; c < args.C; c++) {
            float value = mean[c];
            if (inside) value = (float)pixels[((sample * args.H + row) * args.W + column) * args.C + c];
            pixel[c] = (value - mean[c]) * inverse_deviation[c];
        }
    }
}
