/* Tables of problems, and for each operator the function that makes problems from its table; see cases.h. */
#include "conformance/cases.h"
#include "support/problem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))

static void emit(conformance_cases *cases, const mcl__problem *problem)
{
    cases->at = realloc(cases->at, (size_t)(cases->count + 1) * sizeof *cases->at);
    if (!cases->at) abort();
    cases->at[cases->count] = (conformance_case){*problem, (uint64_t)cases->count};
    cases->count++;
}

/* Problems whose step block and state matter are run with several of each (see support/fill.c). */
static void emit_seeds(conformance_cases *cases, const mcl__problem *problem)
{
    for (int i = 0; i < 6; i++) emit(cases, problem);
}

/* --- Epilogues ---------------------------------------------------------------------------------------------------- */

#define BIAS {.code = MCL_EP_BIAS}
#define SCALE_SHIFT {.code = MCL_EP_SCALE_SHIFT}
#define ADD {.code = MCL_EP_ADD}
#define ACT(kind) {.code = MCL_EP_ACT, .act = MCL_ACT_##kind, .alpha = 0.1f}
#define DACT(kind) {.code = MCL_EP_DACT, .act = MCL_ACT_##kind, .alpha = 0.1f}
#define DROPOUT {.code = MCL_EP_DROPOUT, .alpha = 1.25f, .stream = 0xabcd1234u, .threshold = 0xccccccccu}
#define SCALE {.code = MCL_EP_SCALE, .alpha = -0.75f}
#define STATS {.code = MCL_EP_STATS}

static const mcl_epilogue_code epilogues[][MCL_EPILOGUE_MAX] = {
    {{0}},
    {BIAS, ACT(RELU)},
    {BIAS},
    {SCALE_SHIFT, ADD, ACT(RELU6)},
    {BIAS, SCALE_SHIFT, ACT(LEAKY_RELU), ADD, DROPOUT, SCALE},
    {SCALE_SHIFT, SCALE_SHIFT, BIAS, ADD, DACT(RELU), ACT(TANH)}, /* seven tensors */
    {ADD, DACT(RELU6)},
    {ACT(SIGMOID)},
    {DACT(SIGMOID)},
    {DACT(TANH), DROPOUT},
    {DACT(LEAKY_RELU), ADD},
    {ACT(RELU)},
    {DROPOUT},
    {SCALE},
    {SCALE_SHIFT, ADD, STATS},
};

static void append_epilogue(mcl__problem *problem, int which, mcl__shape out)
{
    for (int i = 0; i < MCL_EPILOGUE_MAX && epilogues[which][i].code; i++)
        test_problem_code(problem, epilogues[which][i], out.rank, out.d);
}

/* Each epilogue is a program of its own for a tile kernel, so only conv2d gets every code, on its first row. What the
 * others get there: the plain one, the usual one, and one with each kind of operand. Other rows alternate between the
 * first two. */
static bool takes(mcl__op_kind op, int row, int epilogue)
{
    if (row > 0) return epilogue == row % 2;
    switch (op) {
    case MCL__OP_conv2d: return epilogue <= 6 && epilogue != 2; /* every code is among them */
    case MCL__OP_conv2d_bwd_data: return epilogue <= 1 || epilogue == 4 || epilogue == 6;
    default: return epilogue <= 1 || epilogue == 5;
    }
}

static void emit_epilogues(conformance_cases *cases, const mcl__problem *plain, int row, mcl__shape out)
{
    for (int i = 0; i < COUNT(epilogues); i++) {
        if (!takes(plain->op, row, i)) continue;
        mcl__problem problem = *plain;
        append_epilogue(&problem, i, out);
        emit(cases, &problem);
    }
}

/* What stands before and behind the products of a layer in a network with batch normalisation. */
static const struct { mcl_epilogue_code before[MCL__PROLOGUE_MAX], after[3]; } surroundings[] = {
    {{SCALE_SHIFT, ACT(RELU)}, {STATS}},
    {{{0}}, {STATS}},
    {{SCALE_SHIFT, ACT(RELU6)}, {BIAS, ACT(RELU)}},
    {{SCALE_SHIFT}, {ADD, STATS}},
    {{ACT(LEAKY_RELU)}, {{0}}},
};

/* The usual two everywhere, the others once. A weight gradient has only what stands before, a data gradient what stands
 * behind. */
static void emit_surroundings(conformance_cases *cases, const mcl__problem *plain, int row, mcl__shape out)
{
    const mcl__op *op = mcl__op_get(plain->op);
    for (int i = 0; i < COUNT(surroundings); i++) {
        mcl__problem problem = *plain;
        if (row > 0 && i > 1) continue;
        for (int k = 0; op->takes_prologue && k < MCL__PROLOGUE_MAX && surroundings[i].before[k].code; k++)
            test_problem_prologue(&problem, surroundings[i].before[k]);
        for (int k = 0; op->takes_epilogue && k < COUNT(surroundings[i].after) && surroundings[i].after[k].code; k++)
            test_problem_code(&problem, surroundings[i].after[k], out.rank, out.d);
        if (problem.prologue.count > 0 || (i == 1 && op->takes_epilogue)) emit(cases, &problem);
    }
}

/* --- Convolution -------------------------------------------------------------------------------------------------- */

typedef struct conv_row {
    int N, H, W, C, K, KH, KW, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
} conv_row;

static const conv_row convolutions[] = {
    {2, 5, 7, 3, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1},      {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {1, 8, 8, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},    {2, 9, 9, 15, 17, 3, 3, 2, 2, 1, 1, 1, 1, 1},
    {1, 16, 17, 17, 15, 3, 3, 1, 1, 1, 1, 1, 1, 1},  {3, 7, 6, 4, 63, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {1, 6, 5, 65, 64, 1, 1, 1, 1, 0, 0, 1, 1, 1},    {2, 15, 13, 3, 20, 5, 5, 1, 1, 2, 2, 1, 1, 1},
    {1, 28, 28, 1, 6, 5, 5, 1, 1, 2, 2, 1, 1, 1},    {1, 11, 10, 5, 31, 3, 2, 3, 2, 1, 0, 1, 1, 1},
    {1, 12, 12, 8, 16, 3, 3, 1, 1, 2, 2, 2, 2, 1},   {1, 10, 9, 6, 7, 3, 3, 2, 1, 0, 1, 1, 2, 1},
    {2, 8, 8, 32, 16, 1, 1, 2, 2, 0, 0, 1, 1, 1},    {1, 7, 7, 64, 65, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {1, 33, 5, 16, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1},   {2, 6, 6, 4, 8, 3, 3, 1, 1, 1, 1, 1, 1, 2},
    {1, 7, 7, 12, 18, 3, 3, 2, 2, 1, 1, 1, 1, 3},    {1, 9, 9, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 16},
    {2, 8, 7, 17, 17, 3, 3, 2, 2, 1, 1, 1, 1, 17},   {1, 9, 8, 5, 10, 3, 3, 1, 1, 1, 1, 1, 1, 5},
    {1, 10, 10, 33, 33, 5, 5, 1, 1, 2, 2, 1, 1, 33}, {1, 11, 11, 32, 32, 3, 3, 1, 1, 2, 2, 2, 2, 32},
    {5, 4, 4, 16, 47, 4, 4, 1, 1, 0, 0, 1, 1, 1},    {1, 3, 3, 2, 2, 3, 3, 1, 1, 4, 4, 1, 1, 1},
    {1, 5, 40, 16, 16, 3, 3, 1, 3, 1, 1, 1, 1, 1},   {1, 8, 8, 64, 32, 3, 3, 1, 1, 1, 1, 1, 1, 4},
    {16, 32, 32, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {4, 33, 31, 64, 64, 3, 3, 1, 1, 1, 1, 1, 1, 64},
    {2, 9, 13, 16, 16, 3, 3, 2, 2, 1, 1, 1, 1, 16},  {1, 10, 11, 32, 32, 3, 3, 3, 3, 2, 2, 1, 1, 32},
    {1, 6, 14, 48, 48, 2, 5, 1, 2, 0, 2, 1, 2, 48},  {3, 4, 5, 17, 17, 5, 4, 2, 4, 2, 1, 1, 1, 17},
    {1, 3, 20, 16, 16, 3, 3, 1, 5, 1, 1, 1, 1, 16},  {1, 2, 2, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 16},
    {1, 7, 30, 24, 24, 3, 3, 1, 1, 6, 12, 6, 12, 24}, {1, 1, 40, 16, 16, 1, 25, 1, 1, 0, 12, 1, 1, 16},
    {3, 9, 9, 40, 130, 3, 3, 1, 1, 1, 1, 1, 1, 1},   {2, 13, 11, 90, 50, 3, 3, 2, 2, 1, 1, 1, 1, 1},
    {1, 12, 12, 96, 144, 3, 3, 2, 2, 1, 1, 1, 1, 3}, {2, 15, 15, 300, 40, 1, 1, 2, 2, 0, 0, 1, 1, 1},
    {32, 1, 1, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},   {32, 4, 4, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {17, 5, 7, 33, 17, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {5, 11, 10, 67, 65, 3, 3, 1, 1, 0, 0, 1, 1, 1},  {1, 23, 37, 31, 48, 3, 3, 1, 1, 2, 1, 1, 1, 1},
    {6, 1, 22, 16, 17, 3, 3, 1, 1, 1, 1, 1, 1, 1},   {32, 1, 1, 17, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {3, 15, 13, 20, 130, 3, 3, 1, 1, 4, 3, 1, 1, 1}, {66, 3, 3, 129, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {67, 3, 3, 129, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},  {34, 3, 3, 65, 67, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {9, 12, 13, 67, 65, 3, 3, 1, 1, 1, 1, 1, 1, 1},  {1, 50, 46, 19, 31, 3, 3, 1, 1, 1, 0, 1, 1, 1},
    {1, 19, 11, 7, 5, 1, 1, 1, 1, 0, 0, 1, 1, 1},    {2, 13, 7, 5, 17, 3, 3, 2, 2, 1, 1, 1, 1, 1},
    {3, 11, 5, 6, 8, 1, 1, 1, 1, 0, 0, 1, 1, 2},     {1, 61, 1, 1, 31, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {1, 31, 33, 25, 145, 1, 1, 1, 1, 0, 0, 1, 1, 1}, {2, 17, 19, 97, 61, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {1, 8, 8, 5, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1},     {1, 1, 129, 9, 33, 1, 3, 1, 1, 0, 1, 1, 1, 1},
    {2, 8, 8, 20, 18, 2, 2, 2, 2, 0, 0, 1, 1, 1},    {2, 9, 7, 24, 20, 2, 3, 2, 1, 1, 1, 1, 2, 1},
    {1, 71, 43, 300, 40, 1, 1, 1, 1, 0, 0, 1, 1, 1}, {1, 61, 53, 40, 270, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {3, 6, 3, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 16},   {2, 3, 9, 34, 34, 3, 3, 1, 1, 1, 1, 1, 1, 34},
    {1, 7, 9, 24, 24, 5, 5, 1, 1, 2, 2, 1, 1, 24},   {2, 9, 6, 16, 16, 5, 5, 2, 2, 2, 2, 1, 1, 16},
    {1, 5, 6, 20, 20, 4, 4, 1, 1, 1, 2, 1, 1, 20},   {2, 14, 14, 32, 64, 5, 5, 1, 1, 2, 2, 1, 1, 1},
    {3, 11, 9, 17, 33, 5, 5, 1, 1, 2, 2, 1, 1, 1},   {2, 13, 12, 67, 65, 5, 5, 1, 1, 0, 0, 1, 1, 1},
    {3, 9, 10, 20, 130, 5, 5, 1, 1, 4, 3, 1, 1, 1},  {6, 3, 22, 16, 17, 5, 5, 1, 1, 2, 2, 1, 1, 1},
    {1, 130, 131, 65, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1}, {25, 16, 16, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {32, 1, 1, 17, 16, 5, 5, 1, 1, 2, 2, 1, 1, 1},   {5, 28, 28, 16, 16, 5, 5, 1, 1, 2, 2, 1, 1, 1},
    {31, 1, 1, 16, 16, 5, 5, 1, 1, 2, 2, 1, 1, 1},   {1, 3, 3, 37, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {1, 6, 5, 24, 130, 3, 3, 2, 2, 1, 1, 1, 1, 1},   {1, 2, 2, 300, 33, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {1, 2, 3, 31, 9, 3, 3, 1, 1, 1, 1, 1, 1, 1},     {1, 3, 2, 9, 31, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {2, 3, 3, 34, 18, 3, 3, 1, 1, 2, 1, 2, 1, 1},    {1, 5, 4, 20, 66, 5, 4, 2, 3, 2, 1, 2, 1, 1},
    {2, 91, 93, 18, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {2, 41, 43, 21, 34, 3, 3, 1, 1, 0, 0, 1, 1, 1},  {1, 3, 5, 18, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1},
    {1, 5, 2, 17, 16, 3, 3, 1, 1, 2, 2, 1, 1, 1},
    {3, 1, 1, 33, 65, 1, 1, 1, 1, 0, 0, 1, 1, 1},
    {1, 9, 7, 17, 3, 1, 1, 1, 1, 0, 0, 1, 1, 1},     {2, 9, 8, 60, 200, 3, 3, 2, 2, 1, 1, 1, 1, 1},
};

static int positions(int size, int pad, int kernel, int dilation, int stride)
{
    return (size + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
}

static void conv2d_cases(conformance_cases *cases, mcl__op_kind op)
{
    for (int i = 0; i < COUNT(convolutions); i++) {
        conv_row r = convolutions[i];
        mcl__problem problem = {.op = op,
                                .attrs = {.conv = {r.KH, r.KW, r.stride_h, r.stride_w, r.pad_h, r.pad_w, r.dilation_h,
                                                   r.dilation_w, r.groups, 0, 0}}};
        int OH = positions(r.H, r.pad_h, r.KH, r.dilation_h, r.stride_h),
            OW = positions(r.W, r.pad_w, r.KW, r.dilation_w, r.stride_w);
        mcl__shape x = {4, {r.N, r.H, r.W, r.C}}, w = {4, {r.KH, r.KW, r.C / r.groups, r.K}},
                   y = {4, {r.N, OH, OW, r.K}};
        const mcl__shape operands[3][2] = {{x, w}, {y, w}, {x, y}};
        const mcl__shape *in = operands[op - MCL__OP_conv2d];
        test_problem_input(&problem, MCL_F32, 4, in[0].d);
        test_problem_input(&problem, MCL_F32, 4, in[1].d);
        if (op == MCL__OP_conv2d_bwd_data) problem.attrs.conv.H = r.H, problem.attrs.conv.W = r.W;
        if (op == MCL__OP_conv2d_bwd_weight) emit(cases, &problem);
        else emit_epilogues(cases, &problem, i, op == MCL__OP_conv2d ? y : x);
        emit_surroundings(cases, &problem, i, op == MCL__OP_conv2d ? y : x);
    }
}

static const struct { int R, C, K; } dense_layers[] = {
    {7, 20, 10}, {1, 1, 1},   {1, 17, 10},  {2, 16, 16},    {15, 31, 33},   {16, 64, 15},    {17, 63, 65},
    {64, 65, 9}, {7, 128, 1}, {128, 3, 7}, {290, 520, 50},  {65, 400, 120}, {33, 7, 129},   {700, 301, 84},
    {130, 7, 9}, {96, 601, 257}, {128, 4, 17},  {129, 17, 20},  {64, 32, 128},
    {2, 150, 9}, {1, 273, 7}, {3, 601, 18},   {2, 9, 310},   {70, 515, 3},
    {1, 1000, 1000}, {2, 63, 65}, {3, 17, 1000}, {4, 1000, 17}, {5, 65, 63}, {6, 1000, 2}, {7, 3, 1000}, {8, 65, 65},
    {9, 63, 17}, {1, 3, 2}, {2, 1000, 3}, {3, 2, 63}, {4, 65, 3}, {8, 17, 3}, {1, 512, 1}, {4, 20000, 12}, {8, 2100, 10},
    {2, 64, 48}, {1000, 65, 1}, {63, 17, 2}, {65, 1000, 3}, {17, 63, 5}, {9, 1, 8}, {33, 68, 4}, {1, 40, 9},
    {6, 65, 128}, {4, 1, 257}, {5, 2, 300}, {8, 1000, 130}, {1, 7, 64}, {120, 4, 1},
    {33, 700, 500}, {11, 40, 33}, {12, 300, 40}, {22, 17, 50}, {23, 33, 70}, {143, 20, 34}, {144, 40, 66},
};

static void dense_cases(conformance_cases *cases, mcl__op_kind op)
{
    for (int i = 0; i < COUNT(dense_layers); i++) {
        int R = dense_layers[i].R, C = dense_layers[i].C, K = dense_layers[i].K;
        mcl__shape x = {2, {R, C}}, w = {2, {C, K}}, y = {2, {R, K}};
        const mcl__shape operands[3][2] = {{x, w}, {y, w}, {x, y}};
        const mcl__shape *in = operands[op - MCL__OP_dense];
        mcl__problem problem = {.op = op};
        test_problem_input(&problem, MCL_F32, 2, in[0].d);
        test_problem_input(&problem, MCL_F32, 2, in[1].d);
        if (op == MCL__OP_dense_bwd_weight) emit(cases, &problem);
        else emit_epilogues(cases, &problem, i, op == MCL__OP_dense ? y : x);
        emit_surroundings(cases, &problem, i, op == MCL__OP_dense ? y : x);
        if (op != MCL__OP_dense_bwd_weight) continue;
        problem.attrs.dense.squares = 1;
        emit(cases, &problem);
        emit_surroundings(cases, &problem, i, w);
    }
}

/* --- Pointwise and by channel ------------------------------------------------------------------------------------- */

static const mcl__shape activations[] = {
    {4, {2, 3, 5, 7}},    {1, {1}},          {2, {3, 17}},         {4, {1, 1, 1, 17}},
    {4, {4, 8, 8, 16}},   {4, {2, 1, 1, 1}}, {4, {3, 16, 17, 15}}, {4, {1, 9, 7, 64}},
    {4, {2, 13, 13, 65}}, {2, {37, 10}},     {4, {16, 16, 16, 3}}, {4, {4, 32, 32, 8}},
    {2, {1, 129}},        {2, {1000, 63}},   {4, {1, 1, 300, 32}}, {4, {2, 64, 64, 33}},
    {4, {5, 40, 40, 16}},
};

static void map_cases(conformance_cases *cases, mcl__op_kind op)
{
    for (int i = 0; i < COUNT(activations); i++)
        for (int e = 1; e < COUNT(epilogues); e++) {
            if (i > 0 && (e + i) % 4) continue;
            mcl__problem problem = {.op = op};
            test_problem_input(&problem, MCL_F32, activations[i].rank, activations[i].d);
            append_epilogue(&problem, e, activations[i]);
            emit(cases, &problem);
        }
}

/* Operators of x, perhaps dy, and some vectors by channel. */
static void channel_cases(conformance_cases *cases, mcl__op_kind op)
{
    int tensors = op == MCL__OP_batch_norm_bwd_reduce || op == MCL__OP_batch_norm_bwd_data ? 2 : 1;
    int vectors = op == MCL__OP_batch_norm_bwd_reduce ? 4 : op == MCL__OP_batch_norm_bwd_data ? 6 : 0;
    static const int behind[] = {0, MCL_ACT_RELU, MCL_ACT_RELU6};
    for (int i = 0; i < COUNT(activations); i++) {
        mcl__problem problem = {.op = op};
        if (op != MCL__OP_channel_sum) problem.attrs.norm.eps = 1e-5f;
        if (tensors > 1) problem.attrs.norm.act = behind[i % COUNT(behind)];
        for (int t = 0; t < tensors; t++) test_problem_input(&problem, MCL_F32, activations[i].rank, activations[i].d);
        for (int v = 0; v < vectors; v++)
            test_problem_input(&problem, MCL_F32, TEST_SHAPE(mcl__shape_channels(activations[i])));
        emit(cases, &problem);
        if (op == MCL__OP_batch_norm_stats) emit(cases, &problem); /* an even and an odd seed: see fill_channels */
    }
}

static const int channels[] = {1, 3, 15, 16, 17, 64, 65, 513};

static void batch_norm_vector_cases(conformance_cases *cases, mcl__op_kind op)
{
    for (int i = 0; i < COUNT(channels); i++)
        for (int rows = 1; rows < 200; rows += 127) {
            mcl__problem problem = {.op = op, .attrs = {.norm = {.eps = 1e-5f, .momentum = 0.1f, .rows = rows}}};
            for (int v = 0; v < 4; v++) test_problem_input(&problem, MCL_F32, TEST_SHAPE(channels[i]));
            if (op == MCL__OP_batch_norm_track)
                test_problem_input(&problem, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_step)));
            emit(cases, &problem);
        }
}

/* --- Pools -------------------------------------------------------------------------------------------------------- */

static const struct { int N, H, W, C, KH, KW, stride_h, stride_w, pad_h, pad_w, count_padding; } pools[] = {
    {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0},     {2, 4, 4, 3, 2, 2, 2, 2, 0, 0, 0},   {1, 7, 6, 15, 3, 3, 2, 2, 1, 1, 0},
    {2, 5, 5, 17, 3, 2, 1, 1, 1, 1, 1},    {1, 6, 7, 16, 3, 2, 2, 3, 1, 0, 1},  {3, 5, 5, 1, 2, 2, 3, 3, 0, 0, 0},
    {1, 28, 28, 6, 2, 2, 2, 2, 0, 0, 0},   {2, 16, 15, 64, 3, 3, 2, 2, 1, 1, 0}, {1, 9, 9, 33, 5, 5, 1, 1, 2, 2, 1},
    {1, 8, 8, 65, 3, 3, 1, 1, 1, 1, 0},    {2, 10, 11, 4, 7, 7, 7, 7, 3, 3, 0}, {1, 9, 1, 63, 3, 1, 2, 1, 1, 0, 0},
};

static void pool_cases(conformance_cases *cases, mcl__op_kind op)
{
    bool backward = op == MCL__OP_max_pool_bwd || op == MCL__OP_avg_pool_bwd;
    for (int i = 0; i < COUNT(pools); i++) {
        mcl__problem problem = {.op = op};
        problem.attrs.pool.KH = pools[i].KH, problem.attrs.pool.KW = pools[i].KW;
        problem.attrs.pool.stride_h = pools[i].stride_h, problem.attrs.pool.stride_w = pools[i].stride_w;
        problem.attrs.pool.pad_h = pools[i].pad_h, problem.attrs.pool.pad_w = pools[i].pad_w;
        if (op == MCL__OP_avg_pool || op == MCL__OP_avg_pool_bwd)
            problem.attrs.pool.count_padding = pools[i].count_padding;
        int OH = positions(pools[i].H, pools[i].pad_h, pools[i].KH, 1, pools[i].stride_h);
        int OW = positions(pools[i].W, pools[i].pad_w, pools[i].KW, 1, pools[i].stride_w);
        if (backward) {
            problem.attrs.pool.H = pools[i].H, problem.attrs.pool.W = pools[i].W;
            test_problem_input(&problem, MCL_F32, TEST_SHAPE(pools[i].N, OH, OW, pools[i].C));
            if (op == MCL__OP_max_pool_bwd)
                test_problem_input(&problem, MCL_U8, TEST_SHAPE(pools[i].N, OH, OW, pools[i].C));
        } else {
            test_problem_input(&problem, MCL_F32, TEST_SHAPE(pools[i].N, pools[i].H, pools[i].W, pools[i].C));
        }
        emit(cases, &problem);
    }
}

static void global_pool_cases(conformance_cases *cases, mcl__op_kind op)
{
    for (int i = 0; i < COUNT(activations); i++) {
        mcl__shape x = activations[i];
        if (x.rank != 4) continue;
        mcl__problem problem = {.op = op};
        if (op == MCL__OP_global_avg_pool) {
            test_problem_input(&problem, MCL_F32, 4, x.d);
        } else {
            problem.attrs.pool.H = x.d[1], problem.attrs.pool.W = x.d[2];
            test_problem_input(&problem, MCL_F32, TEST_SHAPE(x.d[0], 1, 1, x.d[3]));
        }
        emit(cases, &problem);
    }
}

/* --- Regions ------------------------------------------------------------------------------------------------------ */

static const struct { mcl__shape large, small; int offset[4]; } regions[] = {
    {{4, {2, 5, 4, 3}}, {4, {1, 3, 4, 2}}, {1, 2, 0, 1}},      {{1, {1}}, {1, {1}}, {0}},
    {{2, {7, 65}}, {2, {7, 17}}, {0, 33}},                     {{4, {2, 8, 8, 48}}, {4, {2, 8, 8, 16}}, {0, 0, 0, 16}},
    {{4, {3, 9, 9, 16}}, {4, {3, 5, 5, 15}}, {0, 2, 2, 1}},    {{3, {4, 17, 5}}, {3, {4, 16, 5}}, {0, 1, 0}},
    {{4, {1, 33, 31, 7}}, {4, {1, 31, 29, 7}}, {0, 1, 1, 0}},  {{4, {2, 4, 4, 32}}, {4, {2, 4, 4, 16}}, {0, 0, 0, 8}},
    {{4, {2, 15, 15, 64}}, {4, {2, 15, 15, 63}}, {0, 0, 0, 0}},
};

static void region_cases(conformance_cases *cases, mcl__op_kind op)
{
    for (int i = 0; i < COUNT(regions); i++) {
        bool cut = op == MCL__OP_slice;
        mcl__shape in = cut ? regions[i].large : regions[i].small;
        mcl__problem problem = {.op = op, .attrs = {.region = {.size = cut ? regions[i].small : regions[i].large}}};
        memcpy(problem.attrs.region.offset, regions[i].offset, sizeof regions[i].offset);
        test_problem_input(&problem, MCL_F32, in.rank, in.d);
        emit(cases, &problem);
    }
}

static const struct { int rank, axis, size[4], parts[5]; } concats[] = {
    {4, 3, {2, 3, 5, 0}, {3, 16, 5}}, {4, 0, {0, 3, 2, 4}, {1, 2}},     {4, 1, {2, 0, 3, 15}, {4, 1, 1}},
    {4, 2, {1, 3, 0, 17}, {2, 7}},    {2, 1, {7, 0}, {64, 1, 65}},      {2, 0, {0, 9}, {1, 1, 1, 3, 2}},
    {1, 0, {0}, {5, 11}},             {4, 3, {2, 8, 8, 0}, {16, 16, 32}}, {4, 3, {1, 4, 4, 0}, {1, 1}},
};

static void concat_cases(conformance_cases *cases, mcl__op_kind op)
{
    for (int i = 0; i < COUNT(concats); i++) {
        mcl__problem problem = {.op = op, .attrs = {.concat = {concats[i].axis}}};
        for (int part = 0; part < 5 && concats[i].parts[part]; part++) {
            int size[4];
            memcpy(size, concats[i].size, sizeof size);
            size[concats[i].axis] = concats[i].parts[part];
            test_problem_input(&problem, MCL_F32, concats[i].rank, size);
        }
        emit(cases, &problem);
    }
}

/* --- Loss --------------------------------------------------------------------------------------------------------- */

static const struct {
    int R, C;
} logits[] = {{7, 10}, {1, 1}, {1, 10}, {64, 10}, {33, 101}, {5, 1000}, {257, 3}, {2, 17}, {130, 16},
           {3, 64}, {1, 63}, {2, 65}, {2, 300}};

static void softmax_cases(conformance_cases *cases, mcl__op_kind op)
{
    for (int i = 0; i < COUNT(logits); i++) {
        mcl__problem problem = {.op = op};
        test_problem_input(&problem, MCL_F32, TEST_SHAPE(logits[i].R, logits[i].C));
        if (op != MCL__OP_softmax) {
            test_problem_input(&problem, MCL_I32, TEST_SHAPE(logits[i].R));
            test_problem_input(&problem, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_step)));
        }
        emit(cases, &problem);
    }
}

/* --- Load, outcome and updates ------------------------------------------------------------------------------------ */

static const struct { int N, H, W, C, samples, streamed, flip, crop; } loads[] = {
    {4, 5, 7, 3, 9, 0, 1, 2},  {1, 1, 1, 1, 1, 0, 0, 0},   {3, 28, 28, 1, 7, 0, 0, 0}, {5, 32, 32, 3, 5, 1, 1, 4},
    {17, 9, 8, 3, 40, 0, 0, 1}, {6, 16, 15, 4, 6, 1, 0, 0}, {8, 3, 3, 1, 8, 0, 1, 0},   {3, 2, 2, 5, 3, 0, 1, 5},
};

static void load_cases(conformance_cases *cases, mcl__op_kind op)
{
    for (int i = 0; i < COUNT(loads); i++) {
        mcl__problem problem = {.op = op};
        problem.attrs.load.H = loads[i].H, problem.attrs.load.W = loads[i].W, problem.attrs.load.N = loads[i].N;
        problem.attrs.load.streamed = loads[i].streamed, problem.attrs.load.flip = loads[i].flip;
        problem.attrs.load.crop = loads[i].crop, problem.attrs.load.stream = 0x51ed270bu;
        test_problem_input(&problem, MCL_U8, TEST_SHAPE(loads[i].samples, loads[i].H, loads[i].W, loads[i].C));
        test_problem_input(&problem, MCL_I32, TEST_SHAPE(loads[i].samples));
        test_problem_input(&problem, MCL_I32, TEST_SHAPE(loads[i].samples));
        test_problem_input(&problem, MCL_F32, TEST_SHAPE(loads[i].C));
        test_problem_input(&problem, MCL_F32, TEST_SHAPE(loads[i].C));
        test_problem_input(&problem, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_step)));
        emit(cases, &problem);
    }
}

static void outcome_cases(conformance_cases *cases, mcl__op_kind op)
{
    static const int rows[] = {1, 17, 64, 257};
    for (int i = 0; i < COUNT(rows); i++) {
        mcl__problem problem = {.op = op};
        test_problem_input(&problem, MCL_F32, TEST_SHAPE(rows[i]));
        test_problem_input(&problem, MCL_F32, TEST_SHAPE(rows[i]));
        test_problem_input(&problem, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_step)));
        emit_seeds(cases, &problem);
    }
}

/* A slab and the part of it that one optimiser group owns. */
static const struct { int total, offset, n; } slabs[] = {
    {40, 3, 30}, {1, 0, 1},      {15, 0, 15},     {16, 0, 16},       {17, 1, 16},
    {65, 0, 63}, {257, 16, 240}, {5003, 7, 4990}, {70001, 0, 70001},
};

static void slab_cases(conformance_cases *cases, mcl__op_kind op)
{
    for (int i = 0; i < COUNT(slabs); i++) {
        mcl__problem problem = {.op = op};
        test_problem_input(&problem, MCL_F32, TEST_SHAPE(slabs[i].total));
        if (op != MCL__OP_commit) test_problem_input(&problem, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_step)));
        if (op == MCL__OP_commit) test_problem_input(&problem, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_state)));
        emit_seeds(cases, &problem);
    }
}

/* Whole, and with the squares of its beginning, its middle, its end or all of it known. */
static void guard_cases(conformance_cases *cases, mcl__op_kind op)
{
    slab_cases(cases, op);
    for (int i = 0; i < COUNT(slabs); i++) {
        int n = slabs[i].total, third = n / 3 / MCL_SQUARES_STEP * MCL_SQUARES_STEP;
        const struct { int first, known; } parts[] = {{0, third}, {third, third}, {third, n - third}, {0, n}};
        for (int k = 0; k < COUNT(parts); k++) {
            mcl__problem problem = {.op = op, .attrs.guard = {parts[k].first, parts[k].known}};
            if (parts[k].known == 0) continue;
            test_problem_input(&problem, MCL_F32, TEST_SHAPE(n));
            test_problem_input(&problem, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_step)));
            test_problem_input(&problem, MCL_F32, TEST_SHAPE(1));
            emit_seeds(cases, &problem);
        }
    }
}

static void square_sum_cases(conformance_cases *cases, mcl__op_kind op)
{
    for (int i = 0; i < COUNT(activations) + COUNT(slabs); i++) {
        mcl__problem problem = {.op = op};
        if (i < COUNT(activations)) test_problem_input(&problem, MCL_F32, activations[i].rank, activations[i].d);
        else test_problem_input(&problem, MCL_F32, TEST_SHAPE(slabs[i - COUNT(activations)].total));
        emit(cases, &problem);
    }
}

static void optimiser_cases(conformance_cases *cases, mcl__op_kind op)
{
    static const struct { float momentum, dampening, decay; int nesterov; } sgd[] = {
        {0.9f, 0, 5e-4f, 0}, {0, 0, 0, 0}, {0.9f, 0, 1e-3f, 1}, {0.5f, 0.25f, 0, 0}, {0, 0, 0.1f, 0},
    };
    for (int i = 0; i < COUNT(slabs); i++)
        for (int k = 0; k < COUNT(sgd); k++) {
            if (i > 0 && k > 0 && (i + k) % 4) continue;
            mcl__problem problem = {.op = op};
            if (op == MCL__OP_sgd) {
                problem.attrs.sgd.group = k % MCL_STEP_GROUPS, problem.attrs.sgd.nesterov = sgd[k].nesterov;
                problem.attrs.sgd.offset = slabs[i].offset, problem.attrs.sgd.n = slabs[i].n;
                problem.attrs.sgd.momentum = sgd[k].momentum, problem.attrs.sgd.dampening = sgd[k].dampening;
                problem.attrs.sgd.decay = sgd[k].decay;
            } else {
                problem.attrs.adam.group = k % MCL_STEP_GROUPS, problem.attrs.adam.decoupled = k % 2;
                problem.attrs.adam.offset = slabs[i].offset, problem.attrs.adam.n = slabs[i].n;
                problem.attrs.adam.beta1 = 0.9f, problem.attrs.adam.beta2 = 0.999f, problem.attrs.adam.eps = 1e-8f;
                problem.attrs.adam.decay = sgd[k].decay;
            }
            test_problem_input(&problem, MCL_F32, TEST_SHAPE(slabs[i].total));
            test_problem_input(&problem, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_step)));
            test_problem_input(&problem, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_state)));
            if (i == 0) emit_seeds(cases, &problem);
            else emit(cases, &problem);
        }
}

/* --- The table ---------------------------------------------------------------------------------------------------- */

static void (*const makers[MCL__OP_COUNT])(conformance_cases *cases, mcl__op_kind op) = {
    [MCL__OP_load] = load_cases,
    [MCL__OP_conv2d] = conv2d_cases,
    [MCL__OP_conv2d_bwd_data] = conv2d_cases,
    [MCL__OP_conv2d_bwd_weight] = conv2d_cases,
    [MCL__OP_dense] = dense_cases,
    [MCL__OP_dense_bwd_data] = dense_cases,
    [MCL__OP_dense_bwd_weight] = dense_cases,
    [MCL__OP_map] = map_cases,
    [MCL__OP_channel_sum] = channel_cases,
    [MCL__OP_batch_norm_stats] = channel_cases,
    [MCL__OP_batch_norm_finish] = batch_norm_vector_cases,
    [MCL__OP_batch_norm_track] = batch_norm_vector_cases,
    [MCL__OP_batch_norm_bwd_reduce] = channel_cases,
    [MCL__OP_batch_norm_bwd_data] = channel_cases,
    [MCL__OP_max_pool] = pool_cases,
    [MCL__OP_max_pool_bwd] = pool_cases,
    [MCL__OP_avg_pool] = pool_cases,
    [MCL__OP_avg_pool_bwd] = pool_cases,
    [MCL__OP_global_avg_pool] = global_pool_cases,
    [MCL__OP_global_avg_pool_bwd] = global_pool_cases,
    [MCL__OP_slice] = region_cases,
    [MCL__OP_pad] = region_cases,
    [MCL__OP_concat] = concat_cases,
    [MCL__OP_softmax] = softmax_cases,
    [MCL__OP_softmax_cross_entropy] = softmax_cases,
    [MCL__OP_softmax_cross_entropy_bwd] = softmax_cases,
    [MCL__OP_outcome] = outcome_cases,
    [MCL__OP_accumulate] = slab_cases,
    [MCL__OP_square_sum] = square_sum_cases,
    [MCL__OP_guard] = guard_cases,
    [MCL__OP_sgd] = optimiser_cases,
    [MCL__OP_adam] = optimiser_cases,
    [MCL__OP_commit] = slab_cases,
};

/* Elements of all inputs together, a measure of a problem's size. */
static int64_t size_of(const mcl__problem *problem)
{
    int64_t size = 0;
    for (int i = 0; i < problem->inputs; i++)
        if (problem->in_dtype[i] != MCL_BYTES) size += mcl__shape_elements(problem->in[i]);
    return size;
}

conformance_cases conformance_cases_of(mcl__op_kind op, int64_t largest)
{
    conformance_cases cases = {0};
    if (makers[op]) makers[op](&cases, op);
    if (!largest) return cases;
    int kept = 0;
    for (int i = 0; i < cases.count; i++)
        if (size_of(&cases.at[i].problem) <= largest) cases.at[kept++] = cases.at[i];
    cases.count = kept;
    return cases;
}
