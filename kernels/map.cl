/* Point-wise codes over a whole tensor, y = codes(x); y may be x.
 *
 *   map            one element a work-item, the codes chosen at run time: the reference, and what follows a producer that
 *                  took no epilogue. t0 .. t6 are the codes' tensors in order.
 *   map_compiled   work-item i owns a run of vectors of WIDTH elements (span_of), the codes compiled in by the prelude's
 *                  EPILOGUE; then dropout, when DROPOUT is 1, or 4: four elements share one draw because samples are
 *                  whole multiples of four. WIDTH divides args.channels, except that a list without per-channel codes
 *                  is one row as long as the tensor, whose last vector may be short.
 * A work-item's elements are contiguous: PoCL runs a work-group of one over a long run of them in vector registers.
 * Memory bounds both: 0.2 to 0.5 FLOP for a byte (README.md), so that a list is one kernel, or its producer's epilogue. */
#include "epilogue.h"
#include "pointwise.h"
#include "step.h"
#include "vector.h"

#ifndef DROPOUT
#define DROPOUT 0
#endif

/* Element `at` of the tensor after dropout. */
float drop_element(float v, int at, int sample_elements, mcl_epilogue_code code, global const mcl_step *step)
{
    uint sample = (uint)(at / sample_elements), s = (uint)(at % sample_elements);
    uint word = mcl_random_word(step->seed_low, step->seed_high, s, (uint)step->batch_offset + sample, (uint)step->step,
                                code.stream);
    return MCL_DROPOUT(v, word, code.threshold, code.alpha);
}

kernel void map(global const float *x, global float *y, global const float *t0, global const float *t1, global const float *t2,
                global const float *t3, global const float *t4, global const float *t5, global const float *t6,
                global const mcl_step *step, mcl_map_args args)
{
    global const float *tensor[MCL_MAP_TENSORS] = {t0, t1, t2, t3, t4, t5, t6};
    const int i = (int)get_global_id(0);
    if (i >= args.elements) return;
    const int channel = i % args.channels;
    float v = x[i];
    for (int k = 0, next = 0; k < args.count; k++) {
        const mcl_epilogue_code code = args.code[k];
        if (code.code == MCL_EP_DROPOUT) {
            v = drop_element(v, i, args.sample_elements, code, step);
            continue;
        }
        const int takes = MCL_POINT_TENSORS(code.code), at = MCL_POINT_BY_CHANNEL(code.code) ? channel : i;
        const float t = takes > 0 ? tensor[next][at] : 0.0f, u = takes > 1 ? tensor[next + 1][at] : 0.0f;
        v = mcl_point(v, code.code, code.act, code.alpha, t, u);
        next += takes;
    }
    y[i] = v;
}

vec drop_vector(vec v, int at, mcl_map_args args, global const mcl_step *step)
{
    float lane[WIDTH];
    OWN_STORE(v, lane);
#if DROPOUT == 4 && WIDTH >= 4
    int sample = at / args.sample_elements, s = at - sample * args.sample_elements;
    for (int i = 0; i < WIDTH; i += 4) {
        mcl_philox4 drawn = mcl_philox(step->seed_low, step->seed_high, (uint)s / 4u, (uint)(step->batch_offset + sample),
                                       (uint)step->step, args.code[0].stream);
        for (int j = 0; j < 4; j++)
            lane[i + j] = MCL_DROPOUT(lane[i + j], drawn.word[j], args.code[0].threshold, args.code[0].alpha);
        s += 4;
        if (s == args.sample_elements) {
            s = 0;
            sample++;
        }
    }
#else
    for (int i = 0; i < WIDTH; i++) lane[i] = drop_element(lane[i], at + i, args.sample_elements, args.code[0], step);
#endif
    return OWN_LOAD(lane);
}


kernel void map_compiled(global const float *x, global float *y, global const mcl_step *step, mcl_map_args args EPILOGUE_PARAMS)
{
    const span own = span_of((args.elements - 1) / WIDTH + 1);
    int row = own.first * WIDTH / args.channels, channel = own.first * WIDTH % args.channels;
    for (int i = own.first; i < own.last; i++) {
        const int at = i * WIDTH;
        if (args.elements - at >= WIDTH) {
            vec v = load_asking(x + at);
            PREFETCH(y + at + AHEAD);
            EPILOGUE(vec, load_asking, v, row, channel, args.channels)
            if (DROPOUT) v = drop_vector(v, at, args, step);
            VSTORE(v, y + at);
            channel += WIDTH;
            if (channel >= args.channels) {
                channel = 0;
                row++;
            }
        } else {
            for (int k = at; k < args.elements; k++, channel++) {
                float v = x[k];
                EPILOGUE(float, LOAD_ONE, v, row, channel, args.channels)
                if (DROPOUT) v = drop_element(v, k, args.sample_elements, args.code[0], step);
                y[k] = v;
            }
        }
    }
}
