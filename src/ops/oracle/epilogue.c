/* The oracle's map, prologues and epilogues: activations, their derivatives, dropout and the other codes, and Philox from
 * the paper's definition (Salmon et al. 2011, section 3.3). */
#include "ops/oracle/family.h"
#include <stdlib.h>

/* 32 x 32 -> 64 bits; round keys are the key plus multiples of the Weyl constants. */
static void philox4x32(uint32_t counter[4], const uint32_t key[2])
{
    static const uint64_t multiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
    static const uint32_t weyl[2] = {0x9E3779B9u, 0xBB67AE85u};
    for (uint32_t round = 0; round < 10; round++) {
        uint64_t left = multiplier[0] * counter[0], right = multiplier[1] * counter[2];
        uint32_t next[4] = {
            (uint32_t)(right >> 32) ^ counter[1] ^ (key[0] + round * weyl[0]),
            (uint32_t)right,
            (uint32_t)(left >> 32) ^ counter[3] ^ (key[1] + round * weyl[1]),
            (uint32_t)left,
        };
        for (int i = 0; i < 4; i++) counter[i] = next[i];
    }
}

uint32_t mcl__oracle_random(const mcl_step *step, uint32_t s, uint32_t b, uint32_t stream)
{
    uint32_t counter[4] = {s / 4, (uint32_t)step->batch_offset + b, (uint32_t)step->step, stream};
    const uint32_t key[2] = {step->seed_low, step->seed_high};
    philox4x32(counter, key);
    return counter[s % 4];
}

static mcl__approx relu(mcl__approx v, double alpha)
{
    (void)alpha;
    return (mcl__approx){v.value < 0 ? 0 : v.value, v.error};
}
static mcl__approx relu6(mcl__approx v, double alpha)
{
    (void)alpha;
    return (mcl__approx){v.value < 0 ? 0 : v.value > 6 ? 6 : v.value, v.error};
}
static mcl__approx leaky_relu(mcl__approx v, double alpha)
{
    if (v.value > 0) return (mcl__approx){v.value, v.error * fmax(1, alpha)};
    return mcl__function(alpha * v.value, v, fmax(1, alpha), 1);
}
/* exp 3 ulp, one addition, division 2.5 ulp. */
static mcl__approx sigmoid(mcl__approx v, double alpha)
{
    (void)alpha;
    return mcl__function(1 / (1 + exp(-v.value)), v, 0.25, 12);
}
static mcl__approx hyperbolic_tangent(mcl__approx v, double alpha)
{
    (void)alpha;
    return mcl__function(tanh(v.value), v, 1, 10);
}

/* Derivatives, from the output y. */
static mcl__approx relu_slope(double y, double alpha)
{
    (void)alpha;
    return mcl__exact(y > 0);
}
static mcl__approx relu6_slope(double y, double alpha)
{
    (void)alpha;
    return mcl__exact(y > 0 && y < 6);
}
static mcl__approx leaky_relu_slope(double y, double alpha) { return mcl__exact(y > 0 ? 1 : alpha); }
static mcl__approx sigmoid_slope(double y, double alpha)
{
    (void)alpha;
    return mcl__multiply(mcl__exact(y), mcl__subtract(mcl__exact(1), mcl__exact(y)));
}
static mcl__approx tanh_slope(double y, double alpha)
{
    (void)alpha;
    return mcl__subtract(mcl__exact(1), mcl__multiply(mcl__exact(y), mcl__exact(y)));
}

static const struct {
    mcl__approx (*function)(mcl__approx v, double alpha);
    mcl__approx (*slope)(double y, double alpha);
} activations[] = {
    [MCL_ACT_RELU] = {relu, relu_slope},
    [MCL_ACT_RELU6] = {relu6, relu6_slope},
    [MCL_ACT_LEAKY_RELU] = {leaky_relu, leaky_relu_slope},
    [MCL_ACT_SIGMOID] = {sigmoid, sigmoid_slope},
    [MCL_ACT_TANH] = {hyperbolic_tangent, tanh_slope},
};

static mcl__approx dropout(const mcl__oracle *oracle, const mcl_epilogue_code *code, int64_t index, mcl__approx v)
{
    int64_t sample = 1;
    for (int i = 1; i < oracle->problem.out[0].rank; i++) sample *= oracle->problem.out[0].d[i];
    uint32_t word =
        mcl__oracle_random(oracle->step, (uint32_t)(index % sample), (uint32_t)(index / sample), code->stream);
    return word < code->threshold ? mcl__multiply(v, mcl__exact((double)code->alpha)) : mcl__exact(0);
}

static mcl__approx behind_prologue(const mcl__oracle *oracle, int64_t index)
{
    const mcl__problem *problem = &oracle->problem;
    mcl__approx v = mcl__exact(mcl__oracle_in(oracle, 0, index));
    int64_t channel = index % problem->in[0].d[problem->in[0].rank - 1];
    for (int i = 0, next = oracle->family->inputs; i < problem->prologue.count; i++) {
        const mcl_epilogue_code *code = &problem->prologue.code[i];
        if (code->code == MCL_EP_ACT) {
            v = activations[code->act].function(v, (double)code->alpha);
            continue;
        }
        v = mcl__multiply(v, mcl__exact(mcl__oracle_in(oracle, next++, channel)));
        v = mcl__add(v, mcl__exact(mcl__oracle_in(oracle, next++, channel)));
    }
    return v;
}

mcl__approx *mcl__oracle_sources(const mcl__oracle *oracle)
{
    int64_t count = 1;
    for (int i = 0; i < oracle->problem.in[0].rank; i++) count *= oracle->problem.in[0].d[i];
    mcl__approx *sources = malloc((size_t)count * sizeof *sources);
    for (int64_t i = 0; sources && i < count; i++) sources[i] = behind_prologue(oracle, i);
    return sources;
}

/* SCALE_SHIFT is the only code of a prologue that takes tensors: two. */
static int epilogue_input(const mcl__oracle *oracle)
{
    int next = oracle->family->inputs;
    for (int i = 0; i < oracle->problem.prologue.count; i++)
        if (oracle->problem.prologue.code[i].code == MCL_EP_SCALE_SHIFT) next += 2;
    return next;
}

mcl__approx mcl__oracle_epilogue(const mcl__oracle *oracle, int64_t index, mcl__approx v)
{
    const mcl__problem *problem = &oracle->problem;
    int64_t channel = index % problem->out[0].d[problem->out[0].rank - 1];
    int next = epilogue_input(oracle);
    for (int i = 0; i < problem->epilogue.count; i++) {
        const mcl_epilogue_code *code = &problem->epilogue.code[i];
        double alpha = (double)code->alpha;
        switch (code->code) {
        case MCL_EP_BIAS: v = mcl__add(v, mcl__exact(mcl__oracle_in(oracle, next++, channel))); break;
        case MCL_EP_SCALE_SHIFT:
            v = mcl__multiply(v, mcl__exact(mcl__oracle_in(oracle, next++, channel)));
            v = mcl__add(v, mcl__exact(mcl__oracle_in(oracle, next++, channel)));
            break;
        case MCL_EP_ADD: v = mcl__add(v, mcl__exact(mcl__oracle_in(oracle, next++, index))); break;
        case MCL_EP_ACT: v = activations[code->act].function(v, alpha); break;
        case MCL_EP_DACT:
            v = mcl__multiply(v, activations[code->act].slope(mcl__oracle_in(oracle, next++, index), alpha));
            break;
        case MCL_EP_DROPOUT: v = dropout(oracle, code, index, v); break;
        case MCL_EP_SCALE: v = mcl__multiply(v, mcl__exact(alpha)); break;
        case MCL_EP_STATS: break;
        default: return mcl__exact(NAN);
        }
    }
    return v;
}

static mcl__approx map_value(const mcl__oracle *oracle, int output, int64_t index)
{
    (void)output;
    return mcl__exact(mcl__oracle_in(oracle, 0, index));
}

const mcl__oracle_family mcl__oracle_map = {.inputs = 1, .value = map_value};
