/* Shapes, element types and epilogues: the small arithmetic that every operator uses. */
#include "ops/op.h"
#include <assert.h>
#include <limits.h>
#include <stdio.h>

uint64_t mcl__dtype_bytes(mcl__dtype dtype)
{
    return dtype == MCL_F32 || dtype == MCL_I32 ? 4 : 1;
}

int mcl__shape_elements(mcl__shape shape)
{
    int elements = 1;
    for (int i = 0; i < shape.rank; i++) elements *= shape.d[i];
    return elements;
}

bool mcl__shape_valid(mcl__shape shape)
{
    if (shape.rank < 1 || shape.rank > 4) return false;
    int64_t elements = 1;
    for (int i = 0; i < shape.rank; i++) {
        if (shape.d[i] < 1) return false;
        elements *= shape.d[i];
        if (elements > INT_MAX) return false;
    }
    return true;
}

bool mcl__shape_equal(mcl__shape a, mcl__shape b)
{
    if (a.rank != b.rank) return false;
    for (int i = 0; i < a.rank; i++)
        if (a.d[i] != b.d[i]) return false;
    return true;
}

int mcl__shape_channels(mcl__shape shape)
{
    return shape.d[shape.rank - 1];
}

const char *mcl__shape_text(mcl__shape shape, char text[64])
{
    int length = snprintf(text, 64, "(");
    for (int i = 0; i < shape.rank && i < 4; i++)
        length += snprintf(text + length, (size_t)(64 - length), i ? ", %d" : "%d", shape.d[i]);
    snprintf(text + length, (size_t)(64 - length), ")");
    return text;
}

int mcl__epilogue_tensors(const mcl_epilogue_code *code)
{
    static const int tensors[] = {
        [MCL_EP_BIAS] = 1, [MCL_EP_SCALE_SHIFT] = 2, [MCL_EP_ADD] = 1,   [MCL_EP_ACT] = 0,
        [MCL_EP_DACT] = 1, [MCL_EP_DROPOUT] = 0,     [MCL_EP_SCALE] = 0, [MCL_EP_STATS] = 0,
    };
    assert(code->code > 0 && code->code < (int)(sizeof tensors / sizeof tensors[0]));
    return tensors[code->code];
}

int mcl__epilogue_tensors_of(const mcl__epilogue *epilogue, int first, int count)
{
    int tensors = 0;
    for (int i = first; i < first + count; i++) tensors += mcl__epilogue_tensors(&epilogue->code[i]);
    return tensors;
}

bool mcl__epilogue_has_dropout(const mcl__epilogue *epilogue)
{
    for (int i = 0; i < epilogue->count; i++)
        if (epilogue->code[i].code == MCL_EP_DROPOUT) return true;
    return false;
}

bool mcl__epilogue_has_stats(const mcl__epilogue *epilogue)
{
    return epilogue->count > 0 && epilogue->code[epilogue->count - 1].code == MCL_EP_STATS;
}

int mcl__epilogue_points(const mcl__epilogue *epilogue)
{
    return epilogue->count - mcl__epilogue_has_stats(epilogue);
}

bool mcl__attrs_have_squares(mcl__op_kind op, const mcl__attrs *attrs)
{
    return op == MCL__OP_dense_bwd_weight && attrs->dense.squares;
}

static int prologue_tensors(const mcl__prologue *prologue)
{
    int tensors = 0;
    for (int i = 0; i < prologue->count; i++) tensors += mcl__epilogue_tensors(&prologue->code[i]);
    return tensors;
}

int mcl__epilogue_input(const mcl__problem *problem, int first)
{
    return mcl__op_get(problem->op)->inputs + prologue_tensors(&problem->prologue) +
           mcl__epilogue_tensors_of(&problem->epilogue, 0, first);
}

mcl_map_args mcl__map_args(const mcl__problem *problem, int first_code, int count)
{
    mcl__shape shape = problem->out[0];
    mcl_map_args args = {.elements = mcl__shape_elements(shape), .channels = mcl__shape_channels(shape), .count = count};
    args.sample_elements = args.elements / shape.d[0];
    for (int i = 0; i < count; i++) args.code[i] = problem->epilogue.code[first_code + i];
    return args;
}
