/* Generates the text that a kernel applies its epilogue with, and checks the tensors that epilogues take. */
#include "ops/epilogue.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int mcl__epilogue_plain(const mcl__epilogue *epilogue, int first)
{
    int count = 0;
    while (first + count < epilogue->count && epilogue->code[first + count].code != MCL_EP_DROPOUT) count++;
    return count;
}

typedef struct writer {
    char *text;
    size_t length;
} writer;

static void MCL_PRINTF(2, 3) write_text(writer *out, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int length = vsnprintf(out->text + out->length, MCL__PRELUDE_BYTES - out->length, format, list);
    va_end(list);
    assert(length >= 0 && out->length + (size_t)length < MCL__PRELUDE_BYTES);
    out->length += (size_t)length;
}

static bool by_channel(int code)
{
    return code == MCL_EP_BIAS || code == MCL_EP_SCALE_SHIFT;
}

/* One code as a block. Its float goes in as bits, so that no locale can touch it. */
static void write_code(writer *out, const mcl_epilogue_code *code, int tensor)
{
    int tensors = mcl__epilogue_tensors(code);
    const char *where = by_channel(code->code) ? "(channel)" : "(row) * (channels) + (channel)";
    unsigned alpha;
    memcpy(&alpha, &code->alpha, sizeof alpha);

    write_text(out, " \\\n    { ");
    for (int i = 0; i < tensors; i++) write_text(out, "T epilogue_%c = LOAD(epilogue%d + %s); ", "tu"[i], tensor + i, where);
    write_text(out, "v = MCL_POINT(T, v, %d, %d, as_float(0x%08xu), %s, %s); }", code->code, code->act, alpha,
               tensors > 0 ? "epilogue_t" : "v", tensors > 1 ? "epilogue_u" : "v");
}

const char *mcl__epilogue_prelude(const mcl__epilogue *epilogue, int first, int count, char text[MCL__PRELUDE_BYTES])
{
    writer out = {text, 0};
    int tensors = mcl__epilogue_tensors_of(epilogue, first, count);
    if (count == 0) return NULL;

    write_text(&out, "#define EPILOGUE_PARAMS");
    for (int i = 0; i < tensors; i++) write_text(&out, " , __global const float *epilogue%d", i);
    write_text(&out, "\n#define EPILOGUE(T, LOAD, v, row, channel, channels)");
    for (int i = 0, tensor = 0; i < count; i++) {
        const mcl_epilogue_code *code = &epilogue->code[first + i];
        assert(code->code != MCL_EP_DROPOUT);
        write_code(&out, code, tensor);
        tensor += mcl__epilogue_tensors(code);
    }
    write_text(&out, "\n");
    return text;
}

/* Index of the first tensor of code `first` among the problem's inputs. */
static int first_tensor(const mcl__problem *problem, int first)
{
    return mcl__op_get(problem->op)->inputs + mcl__epilogue_tensors_of(&problem->epilogue, 0, first);
}

void mcl__epilogue_bind(mcl__lowering *lowering, const mcl__problem *problem, int first, int count)
{
    int tensor = first_tensor(problem, first), end = first_tensor(problem, first + count);
    for (; tensor < end; tensor++) mcl__lower_arg(lowering, mcl__in(tensor));
}

static mcl_status check_tensor(const mcl__problem *problem, int input, bool channel, mcl_error *error)
{
    const mcl__op *op = mcl__op_get(problem->op);
    mcl__shape out = problem->out[0], wanted = channel ? (mcl__shape){1, {mcl__shape_channels(out)}} : out;
    char text[64], text_wanted[64];
    if (input >= problem->inputs)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: the epilogue takes more tensors than the %d inputs", op->name,
                         problem->inputs);
    if (problem->in_dtype[input] != MCL_F32)
        return mcl__fail(error, MCL_ERROR_DTYPE, "%s: tensor %d of the epilogue is not f32", op->name, input);
    if (!mcl__shape_equal(problem->in[input], wanted))
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: tensor %d of the epilogue has shape %s, the result wants %s", op->name, input,
                         mcl__shape_text(problem->in[input], text), mcl__shape_text(wanted, text_wanted));
    return MCL_OK;
}

mcl_status mcl__epilogue_check(const mcl__problem *problem, mcl_error *error)
{
    const mcl__epilogue *epilogue = &problem->epilogue;
    const mcl__op *op = mcl__op_get(problem->op);
    int tensor = op->inputs;
    bool dropout = false;
    if (epilogue->count < 0 || epilogue->count > MCL_EPILOGUE_MAX)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: an epilogue of %d codes", op->name, epilogue->count);
    for (int i = 0; i < epilogue->count; i++) {
        const mcl_epilogue_code *code = &epilogue->code[i];
        if (code->code < MCL_EP_BIAS || code->code > MCL_EP_SCALE)
            return mcl__fail(error, MCL_ERROR_INVALID, "%s: no epilogue code %d", op->name, code->code);
        dropout |= code->code == MCL_EP_DROPOUT;
        for (int j = mcl__epilogue_tensors(code); j > 0; j--)
            MCL_TRY(check_tensor(problem, tensor++, by_channel(code->code), error));
    }
    if (problem->inputs != tensor + dropout)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s takes %d inputs with this epilogue, not %d", op->name, tensor + dropout,
                         problem->inputs);
    return MCL_OK;
}
