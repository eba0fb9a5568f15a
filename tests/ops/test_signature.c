/* What operators refuse: wrong types, shapes that do not fit, attributes out of range. Each refusal has its status and says
 * what it is about; the same problem without the mistake is accepted. */
#include "support/problem.h"
#include <check.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof *(table))
#define STATE MCL_BYTES, 1, {sizeof(mcl_state)}
#define STEP MCL_BYTES, 1, {sizeof(mcl_step)}
#define WINDOW(K, S, P) \
    {.pool = {.KH = (K), .KW = (K), .stride_h = (S), .stride_w = (S), .pad_h = (P), .pad_w = (P), .H = 8, .W = 8}}
#define NORM {.norm = {.eps = 1e-5f, .momentum = 0.1f, .rows = 4}}
#define SGD(o, count, g) {.sgd = {.group = (g), .offset = (o), .n = (count), .momentum = 0.9f}}
#define LOAD(h, c) {.load = {.N = 2, .H = (h), .W = 4, .crop = (c)}}
#define REGION(axis0, axis1, offset0, offset1) {.region = {.size = {2, {axis0, axis1}}, .offset = {offset0, offset1}}}

typedef struct refusal {
    mcl__op_kind op;
    mcl__attrs attrs;
    struct { mcl__dtype dtype; int rank, d[4]; } in[7]; /* ends with rank 0 */
    mcl_status status;    /* MCL_OK: accepted */
    const char *says[2];  /* parts of the text */
    mcl_epilogue_code code[2];
} refusal;

#define F32 MCL_F32
static const refusal refusals[] = {
    {MCL__OP_max_pool, WINDOW(2, 2, 0), {{F32, 4, {1, 8, 8, 3}}}, MCL_OK, {0}, {{0}}},
    {MCL__OP_max_pool, WINDOW(2, 2, 0), {{F32, 2, {8, 3}}}, MCL_ERROR_SHAPE, {"max_pool", "(8, 3)"}, {{0}}},
    {MCL__OP_max_pool, WINDOW(2, 2, 0), {{MCL_U8, 4, {1, 8, 8, 3}}}, MCL_ERROR_DTYPE, {"u8", "f32"}, {{0}}},
    {MCL__OP_max_pool, WINDOW(9, 1, 0), {{F32, 4, {1, 8, 8, 3}}}, MCL_ERROR_SHAPE, {"9", "8"}, {{0}}},
    {MCL__OP_max_pool, WINDOW(17, 1, 8), {{F32, 4, {1, 30, 30, 3}}}, MCL_ERROR_INVALID, {"256", "17"}, {{0}}},
    {MCL__OP_avg_pool, WINDOW(17, 1, 8), {{F32, 4, {1, 30, 30, 3}}}, MCL_OK, {0}, {{0}}},
    {MCL__OP_avg_pool, WINDOW(3, 1, 2), {{F32, 4, {1, 8, 8, 3}}}, MCL_ERROR_INVALID, {"padding 2", "window of 3"}, {{0}}},
    {MCL__OP_avg_pool, WINDOW(3, 0, 1), {{F32, 4, {1, 8, 8, 3}}}, MCL_ERROR_INVALID, {"stride 0", ""}, {{0}}},
    {MCL__OP_avg_pool, WINDOW(0, 1, 0), {{F32, 4, {1, 8, 8, 3}}}, MCL_ERROR_INVALID, {"window 0", ""}, {{0}}},
    {MCL__OP_avg_pool, WINDOW(2, 1, -1), {{F32, 4, {1, 8, 8, 3}}}, MCL_ERROR_INVALID, {"padding -1", ""}, {{0}}},
    {MCL__OP_avg_pool_bwd, WINDOW(2, 2, 0), {{F32, 4, {1, 4, 4, 3}}}, MCL_OK, {0}, {{0}}},
    {MCL__OP_avg_pool_bwd, WINDOW(2, 2, 0), {{F32, 4, {1, 5, 4, 3}}}, MCL_ERROR_SHAPE, {"(1, 5, 4, 3)", "(1, 4, 4, 3)"}, {{0}}},
    {MCL__OP_max_pool_bwd, WINDOW(2, 2, 0), {{F32, 4, {1, 4, 4, 3}}, {MCL_U8, 4, {1, 4, 4, 3}}}, MCL_OK, {0}, {{0}}},
    {MCL__OP_max_pool_bwd, WINDOW(2, 2, 0), {{F32, 4, {1, 4, 4, 3}}, {MCL_U8, 4, {1, 4, 4, 2}}},
     MCL_ERROR_SHAPE, {"index", "(1, 4, 4, 2)"}, {{0}}},
    {MCL__OP_global_avg_pool_bwd, WINDOW(0, 0, 0), {{F32, 4, {2, 2, 1, 3}}}, MCL_ERROR_SHAPE, {"(2, 2, 1, 3)", ""}, {{0}}},
    {MCL__OP_global_avg_pool, {{{0}}}, {{F32, 2, {2, 3}}}, MCL_ERROR_SHAPE, {"(2, 3)", "4"}, {{0}}},

    {MCL__OP_batch_norm_stats, NORM, {{F32, 4, {2, 3, 3, 5}}}, MCL_OK, {0}, {{0}}},
    {MCL__OP_batch_norm_stats, {.norm = {.eps = -1}}, {{F32, 2, {2, 5}}}, MCL_ERROR_INVALID, {"eps", "-1"}, {{0}}},
    {MCL__OP_batch_norm_stats, {.norm = {.momentum = 1.5f}}, {{F32, 2, {2, 5}}}, MCL_ERROR_INVALID, {"momentum", "1.5"}, {{0}}},
    {MCL__OP_batch_norm_finish, NORM, {{F32, 1, {5}}, {F32, 1, {5}}, {F32, 1, {4}}, {F32, 1, {5}}},
     MCL_ERROR_SHAPE, {"gamma", "(4)"}, {{0}}},
    {MCL__OP_batch_norm_bwd_reduce, NORM, {{F32, 2, {3, 5}}, {F32, 2, {3, 4}}, {F32, 1, {5}}, {F32, 1, {5}}, {F32, 1, {5}},
     {F32, 1, {5}}}, MCL_ERROR_SHAPE, {"dy", "(3, 4)"}, {{0}}},
    {MCL__OP_batch_norm_bwd_reduce, NORM, {{F32, 2, {3, 5}}, {F32, 2, {3, 5}}, {F32, 1, {5}}},
     MCL_ERROR_INVALID, {"6 inputs", "3"}, {{0}}},
    {MCL__OP_batch_norm_bwd_reduce, {.norm = {.act = MCL_ACT_TANH}}, {{F32, 2, {3, 5}}, {F32, 2, {3, 5}}, {F32, 1, {5}},
     {F32, 1, {5}}, {F32, 1, {5}}, {F32, 1, {5}}}, MCL_ERROR_INVALID, {"activation", ""}, {{0}}},
    {MCL__OP_batch_norm_track, {.norm = {.rows = 0}}, {{F32, 1, {5}}, {F32, 1, {5}}, {F32, 1, {5}}, {F32, 1, {5}}, {STEP}},
     MCL_ERROR_INVALID, {"0 rows", ""}, {{0}}},

    {MCL__OP_slice, REGION(2, 3, 1, 0), {{F32, 2, {3, 3}}}, MCL_OK, {0}, {{0}}},
    {MCL__OP_slice, REGION(2, 3, 2, 0), {{F32, 2, {3, 3}}}, MCL_ERROR_SHAPE, {"(2, 3)", "(3, 3)"}, {{0}}},
    {MCL__OP_slice, REGION(2, 3, -1, 0), {{F32, 2, {3, 3}}}, MCL_ERROR_SHAPE, {"-1", ""}, {{0}}},
    {MCL__OP_slice, REGION(2, 3, 2147483647, 0), {{F32, 2, {3, 3}}}, MCL_ERROR_SHAPE, {"2147483647", ""}, {{0}}},
    {MCL__OP_slice, REGION(2, 3, 0, 0), {{F32, 3, {3, 3, 3}}}, MCL_ERROR_SHAPE, {"(2, 3)", "(3, 3, 3)"}, {{0}}},
    {MCL__OP_pad, REGION(4, 3, 2, 0), {{F32, 2, {3, 3}}}, MCL_ERROR_SHAPE, {"(3, 3)", "(4, 3)"}, {{0}}},
    {MCL__OP_pad, REGION(100000, 100000, 0, 0), {{F32, 2, {3, 3}}}, MCL_ERROR_SHAPE, {"impossible", "(100000, 100000)"}, {{0}}},
    {MCL__OP_reshape, REGION(2, 6, 0, 0), {{F32, 3, {2, 2, 3}}}, MCL_OK, {0}, {{0}}},
    {MCL__OP_reshape, REGION(2, 5, 0, 0), {{F32, 3, {2, 2, 3}}}, MCL_ERROR_SHAPE, {"(2, 2, 3)", "(2, 5)"}, {{0}}},
    {MCL__OP_reshape, REGION(0, 5, 0, 0), {{F32, 3, {2, 2, 3}}}, MCL_ERROR_SHAPE, {"impossible", "(0, 5)"}, {{0}}},
    {MCL__OP_concat, {.concat = {1}}, {{F32, 2, {2, 3}}, {F32, 2, {2, 9}}}, MCL_OK, {0}, {{0}}},
    {MCL__OP_concat, {.concat = {0}}, {{F32, 2, {2, 3}}, {F32, 2, {2, 9}}}, MCL_ERROR_SHAPE, {"(2, 3)", "(2, 9)"}, {{0}}},
    {MCL__OP_concat, {.concat = {2}}, {{F32, 2, {2, 3}}}, MCL_ERROR_INVALID, {"axis 2", ""}, {{0}}},
    {MCL__OP_concat, {.concat = {0}}, {{F32, 1, {1000000000}}, {F32, 1, {1000000000}}}, MCL_OK, {0}, {{0}}},
    {MCL__OP_concat, {.concat = {0}}, {{F32, 2, {1000000, 2}}, {F32, 2, {2000000000, 2}}},
     MCL_ERROR_SHAPE, {"impossible", ""}, {{0}}},
    {MCL__OP_concat, {.concat = {0}}, {{F32, 2, {1073741824, 1}}, {F32, 2, {1073741824, 1}}},
     MCL_ERROR_SHAPE, {"impossible", ""}, {{0}}},

    {MCL__OP_softmax, {{{0}}}, {{F32, 4, {1, 1, 1, 3}}}, MCL_ERROR_SHAPE, {"logits", "(1, 1, 1, 3)"}, {{0}}},
    {MCL__OP_softmax_cross_entropy, {{{0}}}, {{F32, 2, {4, 3}}, {MCL_I32, 1, {5}}, {STEP}},
     MCL_ERROR_SHAPE, {"labels", "(5)"}, {{0}}},
    {MCL__OP_softmax_cross_entropy, {{{0}}}, {{F32, 2, {4, 3}}, {F32, 1, {4}}, {STEP}}, MCL_ERROR_DTYPE, {"labels", "i32"}, {{0}}},
    {MCL__OP_softmax_cross_entropy, {{{0}}}, {{F32, 2, {4, 3}}, {MCL_I32, 1, {4}}, {STATE}}, MCL_ERROR_SHAPE, {"step", ""}, {{0}}},

    {MCL__OP_sgd, SGD(5, 5, 7), {{F32, 1, {10}}, {STEP}, {STATE}}, MCL_OK, {0}, {{0}}},
    {MCL__OP_sgd, SGD(5, 6, 0), {{F32, 1, {10}}, {STEP}, {STATE}}, MCL_ERROR_SHAPE, {"6 parameters from 5", "10"}, {{0}}},
    {MCL__OP_sgd, SGD(0, 5, 8), {{F32, 1, {10}}, {STEP}, {STATE}}, MCL_ERROR_INVALID, {"group 8", ""}, {{0}}},
    {MCL__OP_adam, {.adam = {.n = 5, .offset = -1}}, {{F32, 1, {10}}, {STEP}, {STATE}}, MCL_ERROR_SHAPE, {"adam", "-1"}, {{0}}},

    {MCL__OP_load, LOAD(4, 2), {{MCL_U8, 4, {9, 4, 4, 3}}, {MCL_I32, 1, {9}}, {MCL_I32, 1, {6}},
     {F32, 1, {3}}, {F32, 1, {3}}, {STEP}},
     MCL_OK, {0}, {{0}}},
    {MCL__OP_load, LOAD(5, 2), {{MCL_U8, 4, {9, 4, 4, 3}}, {MCL_I32, 1, {9}}, {MCL_I32, 1, {6}},
     {F32, 1, {3}}, {F32, 1, {3}}, {STEP}},
     MCL_ERROR_SHAPE, {"(9, 4, 4, 3)", "5 x 4"}, {{0}}},
    {MCL__OP_load, LOAD(4, -1), {{MCL_U8, 4, {9, 4, 4, 3}}, {MCL_I32, 1, {9}}, {MCL_I32, 1, {6}},
     {F32, 1, {3}}, {F32, 1, {3}}, {STEP}},
     MCL_ERROR_INVALID, {"crop", "-1"}, {{0}}},
    {MCL__OP_load, LOAD(4, 0), {{MCL_U8, 4, {9, 4, 4, 3}}, {MCL_I32, 1, {8}}, {MCL_I32, 1, {6}},
     {F32, 1, {3}}, {F32, 1, {3}}, {STEP}},
     MCL_ERROR_SHAPE, {"labels", "(8)"}, {{0}}},

    {MCL__OP_map, {{{0}}}, {{F32, 2, {2, 3}}, {F32, 1, {3}}}, MCL_OK, {0}, {{.code = MCL_EP_BIAS}}},
    {MCL__OP_map, {{{0}}}, {{F32, 2, {2, 3}}, {F32, 1, {2}}}, MCL_ERROR_SHAPE, {"(2)", "(3)"}, {{.code = MCL_EP_BIAS}}},
    {MCL__OP_map, {{{0}}}, {{F32, 2, {2, 3}}, {F32, 2, {3, 2}}}, MCL_ERROR_SHAPE, {"(3, 2)", "(2, 3)"}, {{.code = MCL_EP_ADD}}},
    {MCL__OP_map, {{{0}}}, {{F32, 2, {2, 3}}}, MCL_ERROR_INVALID, {"activation 9", ""}, {{.code = MCL_EP_ACT, .act = 9}}},
    {MCL__OP_map, {{{0}}}, {{F32, 2, {2, 3}}}, MCL_ERROR_INVALID, {"slope", "-0.5"},
     {{.code = MCL_EP_ACT, .act = MCL_ACT_LEAKY_RELU, .alpha = -0.5f}}},
    {MCL__OP_map, {{{0}}}, {{F32, 2, {70000, 70000}}}, MCL_ERROR_SHAPE, {"(70000, 70000)", ""}, {{.code = MCL_EP_SCALE}}},
};

static mcl__problem problem_of(const refusal *r)
{
    mcl__problem problem = {.op = r->op, .attrs = r->attrs};
    for (int i = 0; i < 7 && r->in[i].rank; i++) test_problem_input(&problem, r->in[i].dtype, r->in[i].rank, r->in[i].d);
    for (int i = 0; i < 2 && r->code[i].code; i++) problem.epilogue.code[problem.epilogue.count++] = r->code[i];
    return problem;
}

START_TEST(refuses)
{
    const refusal *r = &refusals[_i];
    mcl_error error = {0};
    mcl__problem problem = problem_of(r);
    mcl_status status = test_problem_infer(&problem, &error);
    ck_assert_msg(status == r->status, "row %d: %s, not %s: %s",
                  _i, mcl_status_name(status), mcl_status_name(r->status), error.text);
    for (int i = 0; status != MCL_OK && i < 2; i++)
        ck_assert_msg(strstr(error.text, r->says[i]) != NULL, "row %d: \"%s\" does not say \"%s\"", _i, error.text, r->says[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("signature");
    TCase *cases = tcase_create("refusals");
    tcase_add_loop_test(cases, refuses, 0, COUNT(refusals));
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
