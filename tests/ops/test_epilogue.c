/* The text that tile kernels apply their epilogue with, and the check of the tensors that codes take. */
#include "ops/epilogue.h"
#include <check.h>
#include <stdlib.h>
#include <string.h>

static mcl__epilogue epilogue_of(int count, const mcl_epilogue_code *codes)
{
    mcl__epilogue epilogue = {.count = count};
    memcpy(epilogue.code, codes, (size_t)count * sizeof *codes);
    return epilogue;
}

/* The first codes of one structure, in whatever layer, give one text; another structure gives another. */
START_TEST(one_text_a_structure)
{
    const mcl_epilogue_code codes[] = {{.code = MCL_EP_BIAS}, {.code = MCL_EP_ACT, .act = MCL_ACT_LEAKY_RELU, .alpha = 0.1f}};
    mcl__epilogue a = epilogue_of(2, codes), b = a;
    char first[MCL__PRELUDE_BYTES], second[MCL__PRELUDE_BYTES];
    memset(second, 'x', sizeof second);
    b.code[0].stream = 7; /* a dropout's, so without meaning here */
    ck_assert_str_eq(mcl__epilogue_prelude(&a, 0, 2, first), mcl__epilogue_prelude(&b, 0, 2, second));
    b.code[1].alpha = 0.01f;
    ck_assert_str_ne(first, mcl__epilogue_prelude(&b, 0, 2, second));
    ck_assert_ptr_nonnull(strstr(first, "0x3dcccccd")); /* 0.1f, as bits */
    ck_assert_ptr_nonnull(strstr(first, "epilogue0"));
    ck_assert_ptr_null(strstr(first, "epilogue1"));
    ck_assert_ptr_null(mcl__epilogue_prelude(&a, 0, 0, second));
}
END_TEST

START_TEST(longest_text_fits)
{
    mcl_epilogue_code codes[MCL_EPILOGUE_MAX];
    char text[MCL__PRELUDE_BYTES];
    for (int i = 0; i < MCL_EPILOGUE_MAX; i++) codes[i] = (mcl_epilogue_code){.code = MCL_EP_SCALE_SHIFT, .alpha = -1.0f};
    mcl__epilogue epilogue = epilogue_of(MCL_EPILOGUE_MAX, codes);
    ck_assert_ptr_nonnull(mcl__epilogue_prelude(&epilogue, 0, MCL_EPILOGUE_MAX, text));
    ck_assert_ptr_nonnull(strstr(text, "epilogue11 "));
    ck_assert_int_eq(text[strlen(text) - 1], '\n');
}
END_TEST

START_TEST(dropout_ends_the_prelude)
{
    const mcl_epilogue_code codes[] = {
        {.code = MCL_EP_BIAS}, {.code = MCL_EP_SCALE}, {.code = MCL_EP_DROPOUT}, {.code = MCL_EP_SCALE}};
    mcl__epilogue epilogue = epilogue_of(4, codes);
    ck_assert_int_eq(mcl__epilogue_plain(&epilogue, 0), 2);
    ck_assert_int_eq(mcl__epilogue_plain(&epilogue, 2), 0);
    ck_assert_int_eq(mcl__epilogue_plain(&epilogue, 3), 1);
}
END_TEST

static mcl__problem dense_problem(void)
{
    return (mcl__problem){.op = MCL__OP_dense, .inputs = 2, .in = {{2, {4, 3}}, {2, {3, 5}}}};
}

/* in[2], in[3]: scale and shift of the prologue; in[4]: the bias. */
static mcl__problem surrounded_problem(void)
{
    mcl__problem p = dense_problem();
    p.prologue = (mcl__prologue){2, {{.code = MCL_EP_SCALE_SHIFT}, {.code = MCL_EP_ACT, .act = MCL_ACT_RELU}}};
    p.epilogue = (mcl__epilogue){2, {{.code = MCL_EP_BIAS}, {.code = MCL_EP_STATS}}};
    p.in[2] = p.in[3] = (mcl__shape){1, {3}};
    p.in[4] = (mcl__shape){1, {5}};
    p.inputs = 5;
    return p;
}

START_TEST(prologue_and_statistics_are_checked)
{
    mcl__problem p = surrounded_problem();
    ck_assert_int_eq(mcl__op_dense.infer(&p, NULL), MCL_OK);
    ck_assert_int_eq(p.outputs, 3);
    ck_assert_int_eq(p.out[2].d[0], 5);
    ck_assert_int_eq(mcl__epilogue_input(&p, 0), 4);
    p.in[3].d[0] = 5; /* the result's channels, not the input's */
    ck_assert_int_eq(mcl__op_dense.infer(&p, NULL), MCL_ERROR_SHAPE);

    p = surrounded_problem();
    p.prologue.code[0].code = MCL_EP_ACT, p.prologue.code[1].code = MCL_EP_SCALE_SHIFT;
    ck_assert_int_eq(mcl__op_dense.infer(&p, NULL), MCL_ERROR_INVALID); /* the other way round */
    p = surrounded_problem();
    p.epilogue.code[0].code = MCL_EP_STATS, p.epilogue.code[1].code = MCL_EP_BIAS;
    ck_assert_int_eq(mcl__op_dense.infer(&p, NULL), MCL_ERROR_INVALID); /* statistics come last */
    p = surrounded_problem();
    ck_assert_int_ne(mcl__op_dense_bwd_data.infer(&p, NULL), MCL_OK); /* takes no prologue */
}
END_TEST

START_TEST(prologue_text)
{
    mcl__problem p = surrounded_problem();
    char text[MCL__PRELUDE_BYTES];
    int taken = mcl__epilogue_plain(&p.epilogue, 0);
    ck_assert_int_eq(taken, 1);
    ck_assert_ptr_nonnull(mcl__problem_prelude(&p, taken, text));
    ck_assert_ptr_nonnull(strstr(text, "PROLOGUE_PARAMS , __global const float *prologue0 , __global const float *prologue1\n"));
    ck_assert_ptr_nonnull(strstr(text, "EPILOGUE_PARAMS , __global const float *epilogue0\n"));
    ck_assert_ptr_nonnull(strstr(text, "T prologue_u = LOAD(prologue1 + (channel));"));
    p.prologue.count = 0;
    ck_assert_ptr_null(mcl__problem_prelude(&p, 0, text));
}
END_TEST

START_TEST(tensors_are_checked)
{
    mcl_error error = {0};
    mcl__problem p = dense_problem();
    p.epilogue = epilogue_of(1, &(mcl_epilogue_code){.code = MCL_EP_BIAS});
    ck_assert_int_eq(mcl__op_dense.infer(&p, &error), MCL_ERROR_INVALID); /* no bias */

    error = (mcl_error){0};
    p.in[2] = (mcl__shape){1, {6}};
    p.inputs = 3;
    ck_assert_int_eq(mcl__op_dense.infer(&p, &error), MCL_ERROR_SHAPE);
    ck_assert_ptr_nonnull(strstr(error.text, "(6)"));
    ck_assert_ptr_nonnull(strstr(error.text, "(5)"));
    p.in[2].d[0] = 5;
    ck_assert_int_eq(mcl__op_dense.infer(&p, &error), MCL_OK);
    p.in_dtype[2] = MCL_I32;
    ck_assert_int_eq(mcl__op_dense.infer(&p, NULL), MCL_ERROR_DTYPE);

    p = dense_problem();
    p.epilogue = epilogue_of(1, &(mcl_epilogue_code){.code = MCL_EP_DROPOUT});
    ck_assert_int_eq(mcl__op_dense.infer(&p, NULL), MCL_ERROR_INVALID); /* no step block */
    p.epilogue.code[0].code = 99;
    ck_assert_int_eq(mcl__op_dense.infer(&p, NULL), MCL_ERROR_INVALID);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("epilogue");
    TCase *tcase = tcase_create("epilogue");
    tcase_add_test(tcase, one_text_a_structure);
    tcase_add_test(tcase, longest_text_fits);
    tcase_add_test(tcase, dropout_ends_the_prelude);
    tcase_add_test(tcase, tensors_are_checked);
    tcase_add_test(tcase, prologue_and_statistics_are_checked);
    tcase_add_test(tcase, prologue_text);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
