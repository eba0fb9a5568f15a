/* Problems and choices in words. A text is a key: what changes it makes rows on disk and checkpoints strangers. */
#include "ops/choice.h"
#include "base/writer.h"
#include <string.h>

const char *const mcl__origin_name[] = {[MCL__DEFAULT] = "default",
                                        [MCL__SHIPPED] = "shipped",
                                        [MCL__TUNED] = "tuned",
                                        [MCL__RECORDED] = "recorded",
                                        [MCL__FORCED] = "forced"};

const char *mcl__code_name(const mcl_epilogue_code *code)
{
    static const char *const codes[] = {[MCL_EP_BIAS] = "bias",       [MCL_EP_SCALE_SHIFT] = "scale_shift",
                                        [MCL_EP_ADD] = "add",         [MCL_EP_ACT] = "act",
                                        [MCL_EP_DACT] = "dact",       [MCL_EP_DROPOUT] = "dropout",
                                        [MCL_EP_SCALE] = "scale",     [MCL_EP_STATS] = "stats"};
    static const char *const acts[][2] = {
        [0] = {"act", "dact"},
        [MCL_ACT_RELU] = {"relu", "drelu"},
        [MCL_ACT_RELU6] = {"relu6", "drelu6"},
        [MCL_ACT_LEAKY_RELU] = {"leaky_relu", "dleaky_relu"},
        [MCL_ACT_SIGMOID] = {"sigmoid", "dsigmoid"},
        [MCL_ACT_TANH] = {"tanh", "dtanh"},
    };
    if (code->code == MCL_EP_ACT || code->code == MCL_EP_DACT) return acts[code->act][code->code == MCL_EP_DACT];
    return codes[code->code];
}

void mcl__choice_text(const char *variant, const mcl__parameters *parameters, char text[MCL__CHOICE])
{
    mcl__writer out = {text, 0, MCL__CHOICE};
    int count = parameters ? (int)(sizeof parameters->value / sizeof parameters->value[0]) : 0;
    while (count > 0 && parameters->value[count - 1] == 0) count--;
    mcl__put(&out, "%s", variant);
    for (int i = 0; i < count; i++) mcl__put(&out, "%c%d", i ? ',' : '(', parameters->value[i]);
    if (count > 0) mcl__put(&out, ")");
}

/* Adds what the variant offers behind `used` choices; returns how many there are then. */
static int add_choices(const mcl__variant *variant, const mcl__problem *problem, const mcl__capabilities *capabilities,
                       char list[MCL__MOST_CHOICES][MCL__CHOICE], int used)
{
    mcl__parameters parameters[MCL__MOST_CANDIDATES] = {0};
    int count = variant->candidates ? variant->candidates(problem, capabilities, parameters) : 0;
    for (int i = 0; i < (count ? count : 1) && used < MCL__MOST_CHOICES; i++)
        mcl__choice_text(variant->name, count ? &parameters[i] : NULL, list[used++]);
    return used;
}

int mcl__choices(const mcl__problem *problem, const mcl__capabilities *capabilities, char list[MCL__MOST_CHOICES][MCL__CHOICE])
{
    const mcl__variant *usual = mcl__lower_variant(problem, capabilities, NULL);
    int used = usual ? add_choices(usual, problem, capabilities, list, 0) : 0;
    for (const mcl__variant *v = mcl__op_get(problem->op)->variants; v && v->name; v++)
        if (v != usual && mcl__variant_applies(v, problem, capabilities)) used = add_choices(v, problem, capabilities, list, used);
    return used;
}

static void put_window(mcl__writer *out, const mcl__problem *problem)
{
    const mcl__attrs *a = &problem->attrs;
    switch (problem->op) {
    case MCL__OP_conv2d:
    case MCL__OP_conv2d_bwd_data:
    case MCL__OP_conv2d_bwd_weight:
        mcl__put(out, " %dx%d stride %dx%d pad %dx%d dilation %dx%d groups %d", a->conv.KH, a->conv.KW, a->conv.stride_h,
            a->conv.stride_w, a->conv.pad_h, a->conv.pad_w, a->conv.dilation_h, a->conv.dilation_w, a->conv.groups);
        break;
    case MCL__OP_max_pool:
    case MCL__OP_max_pool_bwd:
    case MCL__OP_avg_pool:
    case MCL__OP_avg_pool_bwd:
        mcl__put(out, " %dx%d stride %dx%d pad %dx%d", a->pool.KH, a->pool.KW, a->pool.stride_h, a->pool.stride_w, a->pool.pad_h,
            a->pool.pad_w);
        break;
    default: break;
    }
}

/* A vector's size, or the sizes behind the first: that is the batch, or, of weights, known from the rest. */
static void put_shape(mcl__writer *out, mcl__shape shape)
{
    mcl__put(out, " %d", shape.d[shape.rank == 1 ? 0 : 1]);
    for (int i = 2; i < shape.rank; i++) mcl__put(out, "x%d", shape.d[i]);
}

enum { NAMED_INPUTS = 2 }; /* what decides: later ones are vectors of channels, and tensors of codes */

void mcl__problem_text(const mcl__problem *problem, char text[MCL__PROBLEM_TEXT])
{
    const mcl__op *op = mcl__op_get(problem->op);
    int own = op->inputs < 0 ? problem->inputs : op->inputs;
    mcl__writer out = {text, 0, MCL__PROBLEM_TEXT};
    mcl__put(&out, "%s", op->name);
    put_window(&out, problem);
    mcl__put(&out, ",");
    for (int i = 0; i < own && i < NAMED_INPUTS; i++) put_shape(&out, problem->in[i]);
    mcl__put(&out, " ->");
    put_shape(&out, problem->out[0]);
    for (int i = 0; i < problem->prologue.count; i++)
        mcl__put(&out, "%s%s", i ? " " : ", after ", mcl__code_name(&problem->prologue.code[i]));
    for (int i = 0; i < problem->epilogue.count; i++)
        mcl__put(&out, "%s%s", i ? " " : ", ", mcl__code_name(&problem->epilogue.code[i]));
}

int mcl__problem_batch(const mcl__problem *problem)
{
    return problem->in[0].rank > 1 ? problem->in[0].d[0] : 1;
}
