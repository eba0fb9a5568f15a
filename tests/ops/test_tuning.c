/* Tuning rows without a device: what a problem is called, and which row serves it. */
#include "ops/tuning.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const mcl__capabilities cpu = {.type = MCL_DEVICE_CPU, .max_work_group = 4096, .threads = 2};
static const mcl__capabilities roomy = {.type = MCL_DEVICE_CPU, .max_work_group = 4096, .threads = 2, .local_memory = 1 << 20};

static mcl__problem conv(int N, int C, int K)
{
    mcl__problem p = {.op = MCL__OP_conv2d, .inputs = 2, .in = {{4, {N, 8, 8, C}}, {4, {3, 3, C, K}}}};
    p.attrs.conv.KH = p.attrs.conv.KW = 3;
    p.attrs.conv.stride_h = p.attrs.conv.stride_w = p.attrs.conv.dilation_h = p.attrs.conv.dilation_w = 1;
    p.attrs.conv.pad_h = p.attrs.conv.pad_w = p.attrs.conv.groups = 1;
    ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);
    return p;
}

START_TEST(batches_share_a_name)
{
    char one[MCL__PROBLEM_TEXT], other[MCL__PROBLEM_TEXT];
    mcl__problem a = conv(2, 16, 32), b = conv(64, 16, 32), c = conv(2, 16, 48);
    mcl__problem_text(&a, one);
    ck_assert_str_eq(one, "conv2d 3x3 stride 1x1 pad 1x1 dilation 1x1 groups 1, 8x8x16 3x16x32 -> 8x8x32");
    mcl__problem_text(&b, other);
    ck_assert_str_eq(one, other);
    mcl__problem_text(&c, other);
    ck_assert_str_ne(one, other);
    ck_assert_int_eq(mcl__problem_batch(&b), 64);
}
END_TEST

/* Every choice, given as the text that it is, is what serves. */
START_TEST(choices_serve_by_name)
{
    char list[MCL__MOST_CHOICES][MCL__CHOICE];
    mcl__problem p = conv(4, 32, 32);
    int count = mcl__choices(&p, &cpu, list), tiles = 0;
    ck_assert_int_gt(count, 3);
    ck_assert_str_eq(list[count - 1], "reference");
    for (int i = 0; i < count; i++) {
        mcl__lowered lowered;
        ck_assert_int_eq(mcl__lower(&p, &cpu, list[i], &lowered, NULL), MCL_OK);
        ck_assert_str_eq(lowered.choice, list[i]);
        ck_assert_int_eq(lowered.origin, MCL__DEFAULT);
        tiles += strncmp(list[i], "tile(", 5) == 0;
        mcl__lowered_free(&lowered);
    }
    ck_assert_int_ge(tiles, 2);
}
END_TEST

/* The tuner takes the first choice for what serves unmeasured: also where a variant yields. */
START_TEST(first_choice_is_the_default)
{
    mcl__problem p = conv(64, 64, 128);
    p.attrs.conv.stride_h = p.attrs.conv.stride_w = 2;
    ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);
    char list[MCL__MOST_CHOICES][MCL__CHOICE];
    int count = mcl__choices(&p, &roomy, list), products = 0;
    mcl__lowered lowered;
    ck_assert_int_eq(mcl__lower(&p, &roomy, NULL, &lowered, NULL), MCL_OK);
    ck_assert_str_eq(list[0], lowered.choice);
    ck_assert_int_eq(strncmp(list[0], "tile(", 5), 0);
    mcl__lowered_free(&lowered);
    for (int i = 1; i < count; i++) {
        ck_assert_str_ne(list[i], list[0]);
        products += strcmp(list[i], "product") == 0;
    }
    ck_assert_int_eq(products, 1);
}
END_TEST

static void add(mcl__tuning *tuning, mcl__origin origin, int batch, const char *choice, const char *failed)
{
    mcl__problem p = conv(1, 32, 32);
    mcl__tuning_row row = {.batch = batch, .origin = origin};
    mcl__problem_text(&p, row.problem);
    snprintf(row.choice, sizeof row.choice, "%s", choice);
    snprintf(row.failed, sizeof row.failed, "%s", failed);
    ck_assert_int_eq(mcl__tuning_add(tuning, &row, NULL), MCL_OK);
}

static void expect(mcl__tuning *tuning, int batch, const char *force, const char *choice, mcl__origin origin)
{
    mcl__problem p = conv(batch, 32, 32);
    mcl__lowered lowered;
    ck_assert_int_eq(mcl__tuning_lower(tuning, &p, &cpu, force, &lowered, NULL), MCL_OK);
    ck_assert_msg(strcmp(lowered.choice, choice) == 0, "batch %d: %s, not %s", batch, lowered.choice, choice);
    ck_assert_int_eq(lowered.origin, origin);
    mcl__lowered_free(&lowered);
}

START_TEST(rows_serve_by_rank_and_batch)
{
    mcl__tuning tuning = {0};
    add(&tuning, MCL__SHIPPED, 64, "reference", "");
    expect(&tuning, 64, NULL, "reference", MCL__SHIPPED);
    add(&tuning, MCL__TUNED, 16, "tile(14,1,16,1)", "");
    add(&tuning, MCL__TUNED, 64, "tile(12,2,16,1)", "");
    expect(&tuning, 64, NULL, "tile(12,2,16,1)", MCL__TUNED);
    expect(&tuning, 31, NULL, "tile(14,1,16,1)", MCL__TUNED);
    expect(&tuning, 32, NULL, "tile(14,1,16,1)", MCL__TUNED); /* as near to both: the smaller */
    expect(&tuning, 33, NULL, "tile(12,2,16,1)", MCL__TUNED);
    expect(&tuning, 1000, NULL, "tile(12,2,16,1)", MCL__TUNED);
    expect(&tuning, 64, "reference", "reference", MCL__FORCED);
    add(&tuning, MCL__TUNED, 64, "reference", ""); /* replaces */
    ck_assert_uint_eq(tuning.count, 3);
    expect(&tuning, 64, NULL, "reference", MCL__TUNED);
    add(&tuning, MCL__RECORDED, 128, "tile(12,2,16,1)", "");
    expect(&tuning, 16, NULL, "tile(12,2,16,1)", MCL__RECORDED);
    mcl__tuning_free(&tuning);
}
END_TEST

static int warnings;
static void count_warnings(mcl_log_level level, const char *message, void *user)
{
    (void)user;
    warnings += level == MCL_LOG_WARNING && strstr(message, "gone(1)") != NULL;
}

START_TEST(rows_of_what_is_not_there)
{
    mcl__tuning tuning = {0};
    mcl__problem p = conv(8, 32, 32);
    mcl__lowered usual;
    ck_assert_int_eq(mcl__lower(&p, &cpu, NULL, &usual, NULL), MCL_OK);
    mcl_set_log(count_warnings, NULL);
    add(&tuning, MCL__TUNED, 8, "gone(1)", "");
    expect(&tuning, 8, NULL, usual.choice, MCL__DEFAULT);
    ck_assert_int_eq(warnings, 0);
    add(&tuning, MCL__RECORDED, 8, "gone(1)", ""); /* here the bits change, which is told once */
    expect(&tuning, 8, NULL, usual.choice, MCL__DEFAULT);
    expect(&tuning, 8, NULL, usual.choice, MCL__DEFAULT);
    ck_assert_int_eq(warnings, 1);
    mcl_set_log(NULL, NULL);
    mcl__lowered_free(&usual);
    mcl__tuning_free(&tuning);
}
END_TEST

START_TEST(failures_are_remembered)
{
    char text[MCL__PROBLEM_TEXT];
    mcl__tuning tuning = {0};
    mcl__problem p = conv(8, 32, 32);
    mcl__problem_text(&p, text);
    add(&tuning, MCL__TUNED, 64, "winograd", "crashes");
    add(&tuning, MCL__TUNED, 64, "product", "hangs");
    ck_assert_uint_eq(tuning.count, 2);
    ck_assert_ptr_null(mcl__tuning_find(&tuning, &p));
    ck_assert_ptr_nonnull(mcl__tuning_failed(&tuning, text, "product"));
    ck_assert_ptr_null(mcl__tuning_failed(&tuning, text, "reference"));
    add(&tuning, MCL__TUNED, 64, "reference", "");
    mcl__tuning_forget_failures(&tuning, "another problem");
    ck_assert_uint_eq(tuning.count, 3);
    mcl__tuning_forget_failures(&tuning, text);
    ck_assert_uint_eq(tuning.count, 1);
    ck_assert_ptr_nonnull(mcl__tuning_find(&tuning, &p));
    mcl__tuning_free(&tuning);
}
END_TEST

/* A choice that has failed since it was the fastest, or that ships and fails here; a resumed run keeps its bits. */
START_TEST(what_failed_serves_no_more)
{
    mcl__tuning tuning = {0};
    add(&tuning, MCL__SHIPPED, 64, "reference", "");
    add(&tuning, MCL__TUNED, 8, "tile(14,1,16,1)", "");
    expect(&tuning, 8, NULL, "tile(14,1,16,1)", MCL__TUNED);
    add(&tuning, MCL__TUNED, 32, "tile(14,1,16,1)", "wrong");
    expect(&tuning, 8, NULL, "reference", MCL__SHIPPED);
    add(&tuning, MCL__RECORDED, 8, "tile(14,1,16,1)", "");
    expect(&tuning, 8, NULL, "tile(14,1,16,1)", MCL__RECORDED);
    mcl__tuning_free(&tuning);
}
END_TEST

static void record(mcl__tuning *tuning, const mcl__problem *problem, const char *choice)
{
    mcl__tuning_row row = {.batch = mcl__problem_batch(problem), .origin = MCL__RECORDED};
    mcl__problem_text(problem, row.problem);
    snprintf(row.choice, sizeof row.choice, "%s", choice);
    ck_assert_int_eq(mcl__tuning_add(tuning, &row, NULL), MCL_OK);
}

/* A resumed run keeps its prologues, and gets none that it did not have: the sums would be others. */
START_TEST(prologues_are_recorded)
{
    mcl__tuning tuning = {0};
    mcl__problem plain = conv(8, 32, 32), after = plain;
    after.prologue = (mcl__prologue){.code = {{.code = MCL_EP_SCALE_SHIFT}}, .count = 1};
    ck_assert(mcl__tuning_takes_prologue(&tuning, &after, &roomy, NULL));
    record(&tuning, &plain, "product");
    ck_assert(!mcl__tuning_takes_prologue(&tuning, &after, &roomy, NULL));
    ck_assert(mcl__tuning_takes_prologue(&tuning, &after, &roomy, "winograd"));
    record(&tuning, &after, "winograd");
    ck_assert(mcl__tuning_takes_prologue(&tuning, &after, &roomy, NULL));
    mcl__tuning_free(&tuning);
}
END_TEST

START_TEST(devices_have_a_class)
{
    static const struct { mcl_device_info info; const char *name; } devices[] = {
        {{.type = MCL_DEVICE_NATIVE}, "native"},
        {{.type = MCL_DEVICE_CPU, .vendor = "AuthenticAMD"}, "cpu"},
        {{.type = MCL_DEVICE_GPU, .vendor = "NVIDIA Corporation"}, "nvidia"},
        {{.type = MCL_DEVICE_GPU, .vendor = "Intel(R) Corporation"}, "intel"},
        {{.type = MCL_DEVICE_GPU, .vendor = "Advanced Micro Devices, Inc.", .sub_group_sizes = {32}}, "amd32"},
        {{.type = MCL_DEVICE_GPU, .vendor = "AMD", .sub_group_sizes = {64}}, "amd64"},
        {{.type = MCL_DEVICE_GPU, .vendor = "Nobody"}, "other"},
    };
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        ck_assert_str_eq(mcl__tuning_class(&devices[i].info), devices[i].name);
}
END_TEST

/* One file for `--gemm auto` and `own` where no library serves products, another for other threads. */
START_TEST(files_are_by_what_computes)
{
    static const mcl_device_options options[] = {{.threads = 1}, {.threads = 1, .gemm = "own"}, {.threads = 2}};
    char *path[3];
    for (int i = 0; i < 3; i++) {
        mcl_device *device;
        ck_assert_int_eq(mcl_device_open("native", &options[i], &device, NULL), MCL_OK);
        ck_assert_int_eq(mcl__tuning_path(device, &path[i], NULL), MCL_OK);
        mcl_device_close(device);
    }
    ck_assert_str_eq(path[0], path[1]);
    ck_assert_str_ne(path[0], path[2]);
    for (int i = 0; i < 3; i++) free(path[i]);
}
END_TEST

/* Boards of one name may have different chips. */
START_TEST(files_are_by_chip)
{
    static const char *const chips[] = {"", "gfx1030", "gfx1100"};
    char *path[3];
    mcl_device *device;
    ck_assert_int_eq(mcl_device_open("native", NULL, &device, NULL), MCL_OK);
    for (int i = 0; i < 3; i++) {
        strcpy(device->info.chip, chips[i]);
        ck_assert_int_eq(mcl__tuning_path(device, &path[i], NULL), MCL_OK);
        for (int j = 0; j < i; j++) ck_assert_str_ne(path[i], path[j]);
    }
    mcl_device_close(device);
    for (int i = 0; i < 3; i++) free(path[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tuning");
    TCase *tcase = tcase_create("rows");
    tcase_add_test(tcase, batches_share_a_name);
    tcase_add_test(tcase, choices_serve_by_name);
    tcase_add_test(tcase, first_choice_is_the_default);
    tcase_add_test(tcase, rows_serve_by_rank_and_batch);
    tcase_add_test(tcase, rows_of_what_is_not_there);
    tcase_add_test(tcase, failures_are_remembered);
    tcase_add_test(tcase, what_failed_serves_no_more);
    tcase_add_test(tcase, prologues_are_recorded);
    tcase_add_test(tcase, devices_have_a_class);
    tcase_add_test(tcase, files_are_by_what_computes);
    tcase_add_test(tcase, files_are_by_chip);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
