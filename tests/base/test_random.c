/* The Philox header against Random123, and the shapes that the host gives to its words against known values. */
#include "base/random.h"
#include <Random123/philox.h>
#include <check.h>
#include <math.h>
#include <philox.h>
#include <stdlib.h>
#include <xxhash.h>

/* From kat_vectors of Random123: philox4x32, 10 rounds. */
static const struct { uint32_t counter[4], key[2], words[4]; } known[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

START_TEST(philox_known_answers)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const uint32_t *c = known[i].counter, *k = known[i].key;
        mcl_philox4 got = mcl_philox(k[0], k[1], c[0], c[1], c[2], c[3]);
        for (int w = 0; w < 4; w++) ck_assert_uint_eq(got.word[w], known[i].words[w]);
    }
}
END_TEST

START_TEST(philox_equals_random123)
{
    uint32_t state = 1;
    for (int i = 0; i < 1000; i++) {
        uint32_t in[6];
        for (int j = 0; j < 6; j++) in[j] = state = state * 1664525u + 1013904223u;
        philox4x32_ctr_t counter = {{in[0], in[1], in[2], in[3]}};
        philox4x32_key_t key = {{in[4], in[5]}};
        philox4x32_ctr_t expected = philox4x32(counter, key);
        mcl_philox4 got = mcl_philox(in[4], in[5], in[0], in[1], in[2], in[3]);
        for (int w = 0; w < 4; w++) ck_assert_uint_eq(got.word[w], expected.v[w]);
    }
}
END_TEST

START_TEST(words_follow_the_counter)
{
    mcl__random random = {.seed = 0x123456789abcdef0u, .stream = 77, .t = 5};
    philox4x32_ctr_t counter = {{2, 0, 5, 77}};
    philox4x32_key_t key = {{0x9abcdef0u, 0x12345678u}};
    philox4x32_ctr_t expected = philox4x32(counter, key);
    for (uint32_t w = 0; w < 4; w++) ck_assert_uint_eq(mcl__random_at(random, 8 + w), expected.v[w]);
}
END_TEST

START_TEST(streams)
{
    ck_assert_uint_eq(mcl__random_stream("dropout", "block1.drop"), (uint32_t)XXH64("dropout/block1.drop", 19, 0));
    ck_assert_uint_eq(mcl__random_stream("shuffle", NULL), (uint32_t)XXH64("shuffle", 7, 0));
    ck_assert_uint_eq(mcl__random_stream("", NULL), 0x51d8e999u); /* XXH64 of nothing is ef46db3751d8e999 */
}
END_TEST

START_TEST(uniforms)
{
    mcl__random random = {.seed = 42, .stream = 3};
    float values[1001], again[13];
    mcl__random_uniforms(random, -2, 3, 0, 1001, values);
    mcl__random_uniforms(random, -2, 3, 0, 13, again);
    for (uint32_t i = 0; i < 1001; i++) {
        ck_assert(values[i] >= -2 && values[i] < 3);
        ck_assert(values[i] == (float)(-2 + 5 * (double)(mcl__random_at(random, i) >> 8) / 16777216.0));
        if (i < 13) ck_assert(values[i] == again[i]);
    }
}
END_TEST

START_TEST(uniforms_from_the_middle)
{
    enum { COUNT = 150 }; /* more than are drawn at a time */
    mcl__random random = {.seed = 7, .stream = 5};
    for (uint32_t first = 0; first < 70; first++) {
        float values[COUNT + 1] = {[COUNT] = 2};
        mcl__random_uniforms(random, 0, 1, first, COUNT, values);
        for (uint32_t i = 0; i < COUNT; i++)
            ck_assert(values[i] == (float)((double)(mcl__random_at(random, first + i) >> 8) / 16777216.0));
        ck_assert(values[COUNT] == 2);
    }
}
END_TEST

START_TEST(normals)
{
    enum { COUNT = 40001 };
    mcl__random random = {.seed = 9, .stream = 1};
    float *values = malloc(COUNT * sizeof *values);
    mcl__random_normals(random, 1, 2, COUNT, values);
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++) sum += values[i], squares += (double)values[i] * values[i];
    double mean = sum / COUNT, deviation = sqrt(squares / COUNT - mean * mean);
    ck_assert_double_eq_tol(mean, 1, 0.05);
    ck_assert_double_eq_tol(deviation, 2, 0.05);
    double radius = sqrt(-2 * log((mcl__random_at(random, 6) + 1.0) / 4294967296.0));
    double angle = 2 * M_PI * mcl__random_at(random, 7) / 4294967296.0;
    ck_assert_float_eq_tol(values[6], (float)(1 + 2 * radius * cos(angle)), 1e-6f);
    ck_assert_float_eq_tol(values[7], (float)(1 + 2 * radius * sin(angle)), 1e-6f);
    float odd[3];
    mcl__random_normals(random, 1, 2, 3, odd);
    ck_assert(odd[2] == values[2]);
    free(values);
}
END_TEST

/* Computed apart, with Random123 and the rule in random.h. */
START_TEST(shuffle_follows_its_rule)
{
    enum { COUNT = 10 };
    mcl__random random = {.seed = 7, .stream = 0xabcdef01u, .t = 3};
    int32_t items[COUNT], expected[COUNT];
    for (int i = 0; i < COUNT; i++) items[i] = expected[i] = i;
    for (int i = COUNT - 1; i > 0; i--) {
        philox4x32_ctr_t counter = {{(uint32_t)i / 4, 0, 3, 0xabcdef01u}};
        philox4x32_key_t key = {{7, 0}};
        uint32_t word = philox4x32(counter, key).v[i % 4];
        int j = (int)(((uint64_t)word * (uint64_t)(i + 1)) >> 32), kept = expected[i];
        expected[i] = expected[j];
        expected[j] = kept;
    }
    mcl__random_shuffle(random, items, COUNT);
    ck_assert_mem_eq(items, expected, sizeof items);
}
END_TEST

START_TEST(shuffle_is_a_permutation)
{
    enum { COUNT = 1000 };
    int32_t first[COUNT], second[COUNT], seen[COUNT] = {0}, differing = 0;
    for (int i = 0; i < COUNT; i++) first[i] = second[i] = i;
    mcl__random_shuffle((mcl__random){.seed = 1, .t = 0}, first, COUNT);
    mcl__random_shuffle((mcl__random){.seed = 1, .t = 1}, second, COUNT);
    for (int i = 0; i < COUNT; i++) seen[first[i]]++, differing += first[i] != second[i];
    for (int i = 0; i < COUNT; i++) ck_assert_int_eq(seen[i], 1);
    ck_assert_int_gt(differing, COUNT / 2);
    mcl__random_shuffle((mcl__random){.seed = 1}, NULL, 0);
    mcl__random_shuffle((mcl__random){.seed = 1}, first, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("random");
    TCase *cases = tcase_create("random");
    tcase_add_test(cases, philox_known_answers);
    tcase_add_test(cases, philox_equals_random123);
    tcase_add_test(cases, words_follow_the_counter);
    tcase_add_test(cases, streams);
    tcase_add_test(cases, uniforms);
    tcase_add_test(cases, uniforms_from_the_middle);
    tcase_add_test(cases, normals);
    tcase_add_test(cases, shuffle_follows_its_rule);
    tcase_add_test(cases, shuffle_is_a_permutation);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
