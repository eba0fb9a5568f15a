/* The oracle's batch: gathered, cropped, flipped and normalised. Devices must agree to the bit, so this is f32
 * arithmetic, rounded after each operation, with bounds of zero. */
#include "ops/oracle/family.h"

/* A choice of n numbers: the high word of word * n. */
static int choice(uint32_t word, uint32_t n) { return (int)(((uint64_t)word * n) >> 32); }

static int64_t sample_of(const mcl__oracle *oracle, int64_t b)
{
    if (b >= oracle->step->valid_samples) b = 0;
    return oracle->problem.attrs.load.streamed ? b : ((const int32_t *)oracle->in[2])[oracle->step->first_sample + b];
}

static mcl__approx load(const mcl__oracle *oracle, int output, int64_t index)
{
    const mcl__problem *p = &oracle->problem;
    if (output == 1) return mcl__exact(((const int32_t *)oracle->in[1])[sample_of(oracle, index)]);
    mcl__shape x = p->out[0];
    mcl__position at = mcl__oracle_position(x, index);
    uint32_t b = (uint32_t)at.d[0], stream = p->attrs.load.stream;
    int64_t h = at.d[1], w = at.d[2];
    if (p->attrs.load.flip && (mcl__oracle_random(oracle->step, 0, b, stream) & 1)) w = x.d[2] - 1 - w;
    if (p->attrs.load.crop) {
        uint32_t offsets = 2 * (uint32_t)p->attrs.load.crop + 1;
        h += choice(mcl__oracle_random(oracle->step, 1, b, stream), offsets) - p->attrs.load.crop;
        w += choice(mcl__oracle_random(oracle->step, 2, b, stream), offsets) - p->attrs.load.crop;
    }
    if (h < 0 || h >= x.d[1] || w < 0 || w >= x.d[2]) return mcl__exact(0);
    int64_t from = ((sample_of(oracle, at.d[0]) * x.d[1] + h) * x.d[2] + w) * x.d[3] + at.d[3];
    volatile float difference = (float)((const uint8_t *)oracle->in[0])[from] - ((const float *)oracle->in[3])[at.d[3]];
    volatile float scaled = difference * ((const float *)oracle->in[4])[at.d[3]];
    return mcl__exact((double)scaled);
}

const mcl__oracle_family mcl__oracle_load = {.inputs = 6, .value = load};
