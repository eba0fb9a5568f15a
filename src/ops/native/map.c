/* The point-wise codes over a whole tensor, a tile at a time: each code is one loop over the tile, chosen from a table,
 * so that the formulas of pointwise.h meet the compiler with everything but the values constant. */
#include "ops/native/native.h"
#include "pointwise.h"
#include <string.h>

#define TILE 1024 /* floats */

/* v[i] = code(v[i], t[i], u[i]) for i < n. */
typedef void (*point_loop)(int n, float *restrict v, const float *t, const float *u, float alpha);

#define LOOP(name, code, act)                                                                              \
    static void name(int n, float *restrict v, const float *t, const float *u, float alpha)                \
    {                                                                                                      \
        (void)t, (void)u, (void)alpha;                                                                     \
        for (int i = 0; i < n; i++) v[i] = MCL_POINT(float, v[i], code, act, alpha, t[i], u[i]);           \
    }
LOOP(bias, MCL_EP_BIAS, 0)
LOOP(scale_shift, MCL_EP_SCALE_SHIFT, 0)
LOOP(add, MCL_EP_ADD, 0)
LOOP(scale, MCL_EP_SCALE, 0)
LOOP(relu, MCL_EP_ACT, MCL_ACT_RELU)
LOOP(relu6, MCL_EP_ACT, MCL_ACT_RELU6)
LOOP(leaky_relu, MCL_EP_ACT, MCL_ACT_LEAKY_RELU)
LOOP(sigmoid, MCL_EP_ACT, MCL_ACT_SIGMOID)
LOOP(hyperbolic, MCL_EP_ACT, MCL_ACT_TANH)
LOOP(drelu, MCL_EP_DACT, MCL_ACT_RELU)
LOOP(drelu6, MCL_EP_DACT, MCL_ACT_RELU6)
LOOP(dleaky_relu, MCL_EP_DACT, MCL_ACT_LEAKY_RELU)
LOOP(dsigmoid, MCL_EP_DACT, MCL_ACT_SIGMOID)
LOOP(dhyperbolic, MCL_EP_DACT, MCL_ACT_TANH)

static const point_loop loops[MCL_EP_SCALE + 1] = {
    [MCL_EP_BIAS] = bias, [MCL_EP_SCALE_SHIFT] = scale_shift, [MCL_EP_ADD] = add, [MCL_EP_SCALE] = scale};
static const point_loop activations[MCL_ACT_TANH + 1] = {
    [MCL_ACT_RELU] = relu, [MCL_ACT_RELU6] = relu6, [MCL_ACT_LEAKY_RELU] = leaky_relu, [MCL_ACT_SIGMOID] = sigmoid,
    [MCL_ACT_TANH] = hyperbolic};
static const point_loop derivatives[MCL_ACT_TANH + 1] = {
    [MCL_ACT_RELU] = drelu, [MCL_ACT_RELU6] = drelu6, [MCL_ACT_LEAKY_RELU] = dleaky_relu, [MCL_ACT_SIGMOID] = dsigmoid,
    [MCL_ACT_TANH] = dhyperbolic};

static point_loop loop_of(const mcl_epilogue_code *code)
{
    if (code->code == MCL_EP_ACT) return activations[code->act];
    return code->code == MCL_EP_DACT ? derivatives[code->act] : loops[code->code];
}

/* Element `first` + i of the tensor for v[i]; four neighbours of a sample share one draw. */
static void dropout(const mcl_map_args *a, const mcl_epilogue_code *code, const mcl_step *step, int first, int n,
                    float *v)
{
    mcl_philox4 drawn = {{0}};
    for (int i = 0; i < n; i++) {
        uint32_t sample = (uint32_t)(first + i) / (uint32_t)a->sample_elements;
        uint32_t s = (uint32_t)(first + i) % (uint32_t)a->sample_elements;
        if (i == 0 || s % 4 == 0)
            drawn = mcl_philox(step->seed_low, step->seed_high, s / 4, (uint32_t)step->batch_offset + sample,
                               (uint32_t)step->step, code->stream);
        v[i] = MCL_DROPOUT(v[i], drawn.word[s % 4], code->threshold, code->alpha);
    }
}

/* A channel tensor as long as a tile, so that a tile reads it like any other. */
typedef float channel_tile[TILE];

static void map_tile(const mcl_map_args *a, const mcl__native_arg *arg, channel_tile *repeated, int first, int n)
{
    float v[TILE];
    memcpy(v, (const float *)arg[0].pointer + first, (size_t)n * sizeof *v);
    const mcl_step *step = arg[2 + MCL_MAP_TENSORS].pointer;
    for (int i = 0, tensor = 0; i < a->count; i++) {
        const mcl_epilogue_code *code = &a->code[i];
        if (code->code == MCL_EP_DROPOUT) {
            dropout(a, code, step, first, n, v);
            continue;
        }
        const float *operand[2] = {v, v};
        for (int k = 0; k < MCL_POINT_TENSORS(code->code); k++, tensor++) {
            const float *t = arg[2 + tensor].pointer;
            operand[k] = !MCL_POINT_BY_CHANNEL(code->code) ? t + first
                         : a->channels <= TILE             ? repeated[tensor]
                                                           : t + first % a->channels;
        }
        loop_of(code)(n, v, operand[0], operand[1], code->alpha);
    }
    memcpy((float *)arg[1].pointer + first, v, (size_t)n * sizeof *v);
}

/* Tiles start at a channel's first element where whole rows fit a tile, else they stay within a row. */
static void repeat_channels(const mcl_map_args *a, const mcl__native_arg *arg, channel_tile *repeated, int length)
{
    for (int i = 0, tensor = 0; i < a->count; i++) {
        int code = a->code[i].code;
        for (int k = 0; k < MCL_POINT_TENSORS(code); k++, tensor++)
            if (MCL_POINT_BY_CHANNEL(code)) {
                const float *t = arg[2 + tensor].pointer;
                for (int e = 0; e < length; e++) repeated[tensor][e] = t[e % a->channels];
            }
    }
}

void mcl__native_map(const mcl__native_arg *arg)
{
    const mcl_map_args *a = arg[3 + MCL_MAP_TENSORS].pointer;
    bool whole_rows = a->channels <= TILE;
    int length = whole_rows ? TILE / a->channels * a->channels : TILE;
    int in_row = whole_rows ? 1 : (a->channels + TILE - 1) / TILE; /* tiles of a row that is longer than a tile */
    int tiles = whole_rows ? (a->elements - 1) / length + 1 : a->elements / a->channels * in_row;
    channel_tile repeated[MCL_MAP_TENSORS];
    if (whole_rows) repeat_channels(a, arg, repeated, length < a->elements ? length : a->elements);
#pragma omp parallel for schedule(static) if (mcl__native_worth(a->elements))
    for (int tile = 0; tile < tiles; tile++) {
        int offset = tile % in_row * length, first, end;
        first = whole_rows ? tile * length : tile / in_row * a->channels + offset;
        end = whole_rows ? a->elements : first - offset + a->channels;
        map_tile(a, arg, repeated, first, end - first < length ? end - first : length);
    }
}
