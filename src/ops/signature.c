/* Checks the inputs of a problem against an operator's table of rules. */
#include "ops/signature.h"

static const struct { mcl__dtype dtype; int rank; } forms[] = { /* rank 0: another input decides */
    [MCL__FORM_ANY] = {MCL_F32, 0},        [MCL__FORM_IMAGES] = {MCL_F32, 4},      [MCL__FORM_MATRIX] = {MCL_F32, 2},
    [MCL__FORM_LIKE_FIRST] = {MCL_F32, 0}, [MCL__FORM_PER_CHANNEL] = {MCL_F32, 1},
    [MCL__FORM_LABELS] = {MCL_I32, 1},     [MCL__FORM_INDEX] = {MCL_U8, 0},        [MCL__FORM_PIXELS] = {MCL_U8, 4},
    [MCL__FORM_ORDER] = {MCL_I32, 1},      [MCL__FORM_VECTOR] = {MCL_F32, 1},      [MCL__FORM_STEP] = {MCL_BYTES, 1},
    [MCL__FORM_STATE] = {MCL_BYTES, 1},
};
static const char *const dtype_names[] = {[MCL_F32] = "f32", [MCL_I32] = "i32", [MCL_U8] = "u8", [MCL_BYTES] = "bytes"};

/* The shape that a form wants next to the first input; rank 0: any. */
static mcl__shape wanted_shape(mcl__form form, mcl__shape first)
{
    switch (form) {
    case MCL__FORM_LIKE_FIRST:
    case MCL__FORM_INDEX: return first;
    case MCL__FORM_PER_CHANNEL: return mcl__shape_of_vector(mcl__shape_channels(first));
    case MCL__FORM_LABELS: return mcl__shape_of_vector(first.d[0]);
    case MCL__FORM_STEP: return mcl__shape_of_vector(sizeof(mcl_step));
    case MCL__FORM_STATE: return mcl__shape_of_vector(sizeof(mcl_state));
    default: return (mcl__shape){0};
    }
}

static mcl_status check_input(const mcl__problem *problem, int input, const mcl__rule *rules, mcl_error *error)
{
    const char *op = mcl__op_get(problem->op)->name, *name = rules[input].name;
    mcl__form form = rules[input].form;
    mcl__shape shape = problem->in[input], wanted = wanted_shape(form, problem->in[0]);
    char text[64], text_first[64], text_wanted[64];

    if (!mcl__shape_valid(shape))
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: %s has the impossible shape %s", op, name, mcl__shape_text(shape, text));
    if (problem->in_dtype[input] != forms[form].dtype)
        return mcl__fail(error, MCL_ERROR_DTYPE, "%s: %s is %s, not %s", op, name, dtype_names[problem->in_dtype[input]],
                         dtype_names[forms[form].dtype]);
    if (forms[form].rank && shape.rank != forms[form].rank)
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: %s %s has %d dimensions, not %d", op, name, mcl__shape_text(shape, text),
                         shape.rank, forms[form].rank);
    if (wanted.rank && !mcl__shape_equal(shape, wanted))
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: %s has shape %s, but next to %s %s it must have %s", op, name,
                         mcl__shape_text(shape, text), rules[0].name, mcl__shape_text(problem->in[0], text_first),
                         mcl__shape_text(wanted, text_wanted));
    return MCL_OK;
}

mcl_status mcl__signature_check(const mcl__problem *problem, const mcl__rule *rules, int count, mcl_error *error)
{
    if (problem->inputs != count)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s takes %d inputs, not %d", mcl__op_get(problem->op)->name, count,
                         problem->inputs);
    for (int i = 0; i < count; i++) MCL_TRY(check_input(problem, i, rules, error));
    return MCL_OK;
}

mcl_status mcl__signature_output(mcl__problem *problem, int index, mcl__shape shape, mcl__dtype dtype, mcl_error *error)
{
    char text[64], text_first[64];
    if (!mcl__shape_valid(shape))
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: from %s comes the impossible shape %s", mcl__op_get(problem->op)->name,
                         mcl__shape_text(problem->in[0], text_first), mcl__shape_text(shape, text));
    problem->out[index] = shape;
    problem->out_dtype[index] = dtype;
    if (problem->outputs <= index) problem->outputs = index + 1;
    return MCL_OK;
}

mcl_status mcl__signature_like_first(mcl__problem *problem, const mcl__rule *rules, int count, mcl_error *error)
{
    MCL_TRY(mcl__signature_check(problem, rules, count, error));
    return mcl__signature_output(problem, 0, problem->in[0], MCL_F32, error);
}
