/* Generates the text that a kernel applies its epilogue with, and checks the tensors that epilogues take. */
#include "ops/epilogue.h"
#include "base/writer.h"
#include <assert.h>
#include <string.h>

int mcl__epilogue_plain(const mcl__epilogue *epilogue, int first)
{
    int count = 0;
    while (first + count < epilogue->count && epilogue->code[first + count].code < MCL_EP_STATS &&
           epilogue->code[first + count].code != MCL_EP_DROPOUT)
        count++;
    return count;
}

bool mcl__epilogue_all_plain(const mcl__epilogue *epilogue)
{
    return mcl__epilogue_plain(epilogue, 0) == mcl__epilogue_points(epilogue);
}

static bool by_channel(int code)
{
    return code == MCL_EP_BIAS || code == MCL_EP_SCALE_SHIFT;
}

/* One code as a block. Its float goes in as bits, so that no locale can touch it. */
static void write_code(mcl__writer *out, const mcl_epilogue_code *code, const char *prefix, int tensor)
{
    int tensors = mcl__epilogue_tensors(code);
    const char *where = by_channel(code->code) ? "(channel)" : "(row) * (channels) + (channel)";
    unsigned alpha;
    memcpy(&alpha, &code->alpha, sizeof alpha);

    mcl__put(out, " \\\n    { ");
    for (int i = 0; i < tensors; i++)
        mcl__put(out, "T %s_%c = LOAD(%s%d + %s); ", prefix, "tu"[i], prefix, tensor + i, where);
    mcl__put(out, "v = MCL_POINT(T, v, %d, %d, as_float(0x%08xu), ", code->code, code->act, alpha);
    for (int i = 0; i < 2; i++)
        if (i < tensors) mcl__put(out, "%s_%c%s", prefix, "tu"[i], i ? "); }" : ", ");
        else mcl__put(out, i ? "v); }" : "v, ");
}

static void write_codes(mcl__writer *out, const char *macro, const char *prefix, const char *arguments,
                        const mcl_epilogue_code *code, int count)
{
    int tensors = 0, tensor = 0;
    for (int i = 0; i < count; i++) tensors += mcl__epilogue_tensors(&code[i]);
    mcl__put(out, "#define %s_PARAMS", macro);
    for (int i = 0; i < tensors; i++) mcl__put(out, " , __global const float *%s%d", prefix, i);
    mcl__put(out, "\n#define %s_ARGS", macro);
    for (int i = 0; i < tensors; i++) mcl__put(out, " , %s%d", prefix, i);
    mcl__put(out, "\n#define %s(T, LOAD, v, %s)", macro, arguments);
    for (int i = 0; i < count; i++) {
        assert(code[i].code != MCL_EP_DROPOUT && code[i].code != MCL_EP_STATS);
        write_code(out, &code[i], prefix, tensor);
        tensor += mcl__epilogue_tensors(&code[i]);
    }
    mcl__put(out, "\n");
}

const char *mcl__epilogue_prelude(const mcl__epilogue *epilogue, int first, int count, char text[MCL__PRELUDE_BYTES])
{
    mcl__writer out = {text, 0, MCL__PRELUDE_BYTES};
    if (count == 0) return NULL;
    write_codes(&out, "EPILOGUE", "epilogue", "row, channel, channels", &epilogue->code[first], count);
    return text;
}

const char *mcl__problem_prelude(const mcl__problem *problem, int count, char text[MCL__PRELUDE_BYTES])
{
    mcl__writer out = {text, 0, MCL__PRELUDE_BYTES};
    const mcl__prologue *prologue = &problem->prologue;
    if (prologue->count > 0) write_codes(&out, "PROLOGUE", "prologue", "channel", prologue->code, prologue->count);
    if (count > 0) write_codes(&out, "EPILOGUE", "epilogue", "row, channel, channels", problem->epilogue.code, count);
    return out.used > 0 ? text : NULL;
}

void mcl__epilogue_bind(mcl__lowering *lowering, const mcl__problem *problem, int first, int count)
{
    int tensor = mcl__epilogue_input(problem, first), end = mcl__epilogue_input(problem, first + count);
    for (; tensor < end; tensor++) mcl__lower_arg(lowering, mcl__in(tensor));
}

void mcl__prologue_bind(mcl__lowering *lowering, const mcl__problem *problem)
{
    int tensor = mcl__op_get(problem->op)->inputs, end = mcl__epilogue_input(problem, 0);
    for (; tensor < end; tensor++) mcl__lower_arg(lowering, mcl__in(tensor));
}

/* Tensor `input` of a code that is applied to a tensor of shape `applied`. */
static mcl_status check_tensor(const mcl__problem *problem, int input, mcl__shape applied, bool channel, mcl_error *error)
{
    const mcl__op *op = mcl__op_get(problem->op);
    mcl__shape wanted = channel ? (mcl__shape){1, {mcl__shape_channels(applied)}} : applied;
    char text[64], text_wanted[64];
    if (input >= problem->inputs)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: prologue and epilogue take more tensors than the %d inputs", op->name,
                         problem->inputs);
    if (problem->in_dtype[input] != MCL_F32)
        return mcl__fail(error, MCL_ERROR_DTYPE, "%s: tensor %d of the epilogue is not f32", op->name, input);
    if (!mcl__shape_equal(problem->in[input], wanted))
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: tensor %d of the epilogue has shape %s, the result wants %s", op->name, input,
                         mcl__shape_text(problem->in[input], text), mcl__shape_text(wanted, text_wanted));
    return MCL_OK;
}

static mcl_status check_prologue(const mcl__problem *problem, int *tensor, mcl_error *error)
{
    static const int known[MCL__PROLOGUE_MAX] = {MCL_EP_SCALE_SHIFT, MCL_EP_ACT};
    const mcl__prologue *prologue = &problem->prologue;
    const mcl__op *op = mcl__op_get(problem->op);
    if (prologue->count < 0 || prologue->count > MCL__PROLOGUE_MAX || (prologue->count > 0 && !op->takes_prologue))
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: a prologue of %d codes", op->name, prologue->count);
    for (int i = 0, at = 0; i < prologue->count; i++, at++) {
        while (at < MCL__PROLOGUE_MAX && known[at] != prologue->code[i].code) at++;
        if (at == MCL__PROLOGUE_MAX)
            return mcl__fail(error, MCL_ERROR_INVALID, "%s: no prologue with code %d there", op->name, prologue->code[i].code);
        for (int j = mcl__epilogue_tensors(&prologue->code[i]); j > 0; j--)
            MCL_TRY(check_tensor(problem, (*tensor)++, problem->in[0], true, error));
    }
    return MCL_OK;
}

mcl_status mcl__epilogue_check(mcl__problem *problem, mcl_error *error)
{
    const mcl__epilogue *epilogue = &problem->epilogue;
    const mcl__op *op = mcl__op_get(problem->op);
    int tensor = op->inputs;
    bool dropout = false;
    MCL_TRY(check_prologue(problem, &tensor, error));
    if (epilogue->count < 0 || epilogue->count > MCL_EPILOGUE_MAX)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: an epilogue of %d codes", op->name, epilogue->count);
    for (int i = 0; i < epilogue->count; i++) {
        const mcl_epilogue_code *code = &epilogue->code[i];
        if (code->code < MCL_EP_BIAS || code->code > MCL_EP_STATS || (code->code == MCL_EP_STATS && i < epilogue->count - 1))
            return mcl__fail(error, MCL_ERROR_INVALID, "%s: no epilogue with code %d there", op->name, code->code);
        dropout |= code->code == MCL_EP_DROPOUT;
        for (int j = mcl__epilogue_tensors(code); j > 0; j--)
            MCL_TRY(check_tensor(problem, tensor++, problem->out[0], by_channel(code->code), error));
    }
    if (problem->inputs != tensor + dropout)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s takes %d inputs with this epilogue, not %d", op->name, tensor + dropout,
                         problem->inputs);
    for (int i = 1; mcl__epilogue_has_stats(epilogue) && i <= 2; i++) {
        problem->out[i] = (mcl__shape){1, {mcl__shape_channels(problem->out[0])}};
        problem->out_dtype[i] = MCL_F32;
        problem->outputs = i + 1;
    }
    return MCL_OK;
}
