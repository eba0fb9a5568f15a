/* YAML: positions, types, unknown and duplicate keys, changes by path, and text that parses to the same tree. */
#include "base/yaml.h"
#include <check.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static mcl__yaml *parse(const char *text)
{
    mcl__yaml *yaml = NULL;
    mcl_error error = {0};
    mcl_status status = mcl__yaml_parse(text, strlen(text), "c.yaml", &yaml, &error);
    ck_assert_msg(status == MCL_OK, "%s", error.text);
    return yaml;
}

static const mcl__yaml_node *get(const mcl__yaml *yaml, const char *key) { return mcl__yaml_find(mcl__yaml_root(yaml), key); }

START_TEST(tree_and_positions)
{
    mcl__yaml *yaml = parse("# comment\nmodel:\n  layers:\n    - conv: {filters: 32, kernel: 5}\n    - pool\n"
                            "name: \"x: y\"\nempty:\n");
    const mcl__yaml_node *layers = mcl__yaml_find(get(yaml, "model"), "layers");
    ck_assert_int_eq(layers->count, 2);
    const mcl__yaml_node *conv = mcl__yaml_find(mcl__yaml_at(layers, 0), "conv"), *filters = mcl__yaml_find(conv, "filters");
    ck_assert_str_eq(filters->text, "32");
    ck_assert_int_eq(filters->line, 4);
    ck_assert_int_eq(filters->column, 23);
    ck_assert_int_eq(filters->key_column, 14);
    ck_assert_str_eq(mcl__yaml_at(layers, 1)->text, "pool");
    ck_assert_ptr_null(mcl__yaml_at(layers, 2));
    ck_assert_str_eq(get(yaml, "name")->text, "x: y");
    ck_assert(get(yaml, "name")->quoted);
    ck_assert(mcl__yaml_is_null(get(yaml, "empty")));
    ck_assert_int_eq(get(yaml, "empty")->line, 7);
    mcl__yaml_destroy(yaml);
    yaml = parse("");
    ck_assert_int_eq(mcl__yaml_root(yaml)->kind, MCL__YAML_MAPPING);
    mcl__yaml_destroy(yaml);
    mcl__yaml_destroy(NULL);
}
END_TEST

static const struct { const char *text, *expected; } refused[] = {
    {"a: 1\nb: [1, 2\n", "c.yaml:"},
    {"a: 1\n\tb: 2\n", "c.yaml:2"},
    {"a: 1\nb: 2\na: 3\n", "c.yaml:3:1: key \"a\" is there twice"},
    {"a: {x: 1, x: 2}\n", "c.yaml:1:11: key \"x\" is there twice"},
    {"a: &b 1\n", "anchors and aliases are not supported"},
    {"a: *b\n", "c.yaml:"},
    {"a: 1\n---\nb: 2\n", "a second document"},
    {"[1, 2]: 3\n", "c.yaml:1"},
    {"<<: {a: 1}\n", "merge keys are not supported"},
};

START_TEST(refuses)
{
    mcl__yaml *yaml = NULL;
    mcl_error error = {0};
    const char *text = refused[_i].text;
    ck_assert_int_eq(mcl__yaml_parse(text, strlen(text), "c.yaml", &yaml, &error), MCL_ERROR_CONFIG);
    ck_assert_ptr_null(yaml);
    ck_assert_msg(strstr(error.text, refused[_i].expected), "\"%s\" lacks \"%s\"", error.text, refused[_i].expected);
}
END_TEST

START_TEST(refuses_depth)
{
    char text[400];
    mcl__yaml *yaml = NULL;
    memset(text, '[', 200);
    memset(text + 200, ']', 199);
    text[399] = 0;
    ck_assert_int_eq(mcl__yaml_parse(text, 399, "c.yaml", &yaml, NULL), MCL_ERROR_CONFIG);
    ck_assert_int_eq(mcl__yaml_read("/nonexistent.yaml", &yaml, NULL), MCL_ERROR_NOT_FOUND);
}
END_TEST

START_TEST(typed_values)
{
    mcl__yaml *yaml = parse("i: 12\nd: 1.5e-3\nb: off\nt: hello\nq: \"12\"\nl: [1]\nchoice: cosine\n");
    int64_t i = 7;
    double d = 0;
    bool b = true;
    const char *t = NULL;
    int choice = -1;
    const char *const names[] = {"constant", "cosine", "step"};
    ck_assert_int_eq(mcl__yaml_int(get(yaml, "absent"), 0, 1, &i, NULL), MCL_OK);
    ck_assert_int_eq(i, 7);
    ck_assert_int_eq(mcl__yaml_int(get(yaml, "i"), 1, 12, &i, NULL), MCL_OK);
    ck_assert_int_eq(i, 12);
    ck_assert_int_eq(mcl__yaml_double(get(yaml, "d"), 0, INFINITY, &d, NULL), MCL_OK);
    ck_assert(d == 1.5e-3);
    ck_assert_int_eq(mcl__yaml_double(get(yaml, "i"), 0, 100, &d, NULL), MCL_OK);
    ck_assert(d == 12);
    ck_assert_int_eq(mcl__yaml_bool(get(yaml, "b"), &b, NULL), MCL_OK);
    ck_assert(!b);
    ck_assert_int_eq(mcl__yaml_text(get(yaml, "t"), &t, NULL), MCL_OK);
    ck_assert_str_eq(t, "hello");
    ck_assert_int_eq(mcl__yaml_choice(get(yaml, "choice"), names, 3, &choice, NULL), MCL_OK);
    ck_assert_int_eq(choice, 1);
    mcl__yaml_destroy(yaml);
}
END_TEST

START_TEST(wrong_types)
{
    mcl__yaml *yaml = parse("t: hello\nq: \"12\"\nl: [1]\nn:\nbig: 99999999999999999999\nhalf: 1.5\n");
    mcl_error error = {0};
    int64_t i = 7;
    double d = 7;
    bool b = true;
    const char *t = "kept";
    const char *const names[] = {"a", "b"};
    int choice = 7;
    ck_assert_int_eq(mcl__yaml_int(get(yaml, "t"), 1, 12, &i, &error), MCL_ERROR_CONFIG);
    ck_assert_str_eq(error.text, "c.yaml:1:4: \"t\" must be a whole number from 1 to 12, not \"hello\"");
    ck_assert_int_eq(mcl__yaml_int(get(yaml, "q"), 1, 12, &i, NULL), MCL_ERROR_CONFIG);
    ck_assert_int_eq(mcl__yaml_int(get(yaml, "l"), 1, 12, &i, NULL), MCL_ERROR_CONFIG);
    ck_assert_int_eq(mcl__yaml_int(get(yaml, "n"), 1, 12, &i, NULL), MCL_ERROR_CONFIG);
    ck_assert_int_eq(mcl__yaml_int(get(yaml, "big"), INT64_MIN, INT64_MAX, &i, NULL), MCL_ERROR_CONFIG);
    ck_assert_int_eq(mcl__yaml_int(get(yaml, "half"), 0, 10, &i, NULL), MCL_ERROR_CONFIG);
    ck_assert_int_eq(mcl__yaml_double(get(yaml, "half"), 2, 3, &d, NULL), MCL_ERROR_CONFIG);
    ck_assert_int_eq(mcl__yaml_double(get(yaml, "t"), 2, 3, &d, NULL), MCL_ERROR_CONFIG);
    ck_assert_int_eq(mcl__yaml_bool(get(yaml, "t"), &b, NULL), MCL_ERROR_CONFIG);
    ck_assert_int_eq(mcl__yaml_text(get(yaml, "l"), &t, NULL), MCL_ERROR_CONFIG);
    ck_assert_int_eq(mcl__yaml_choice(get(yaml, "t"), names, 2, &choice, NULL), MCL_ERROR_CONFIG);
    ck_assert_int_eq(mcl__yaml_expect(get(yaml, "t"), MCL__YAML_MAPPING, NULL), MCL_ERROR_CONFIG);
    ck_assert(i == 7 && d == 7 && b && choice == 7 && strcmp(t, "kept") == 0);
    mcl__yaml_destroy(yaml);
}
END_TEST

START_TEST(unknown_keys)
{
    static const char *const allowed[] = {"epochs", "learning_rate", "momentum", "batch"};
    mcl__yaml *yaml = parse("train:\n  epochs: 3\n  lerning_rate: 0.1\n");
    mcl_error error = {0};
    ck_assert_int_eq(mcl__yaml_check_keys(get(yaml, "train"), allowed, 4, &error), MCL_ERROR_CONFIG);
    ck_assert_str_eq(error.text, "c.yaml:3:3: unknown key \"lerning_rate\"; did you mean \"learning_rate\"?");
    mcl__yaml_destroy(yaml);
    yaml = parse("zzz: 3\n");
    error = (mcl_error){0};
    ck_assert_int_eq(mcl__yaml_check_keys(mcl__yaml_root(yaml), allowed, 4, &error), MCL_ERROR_CONFIG);
    ck_assert_str_eq(error.text, "c.yaml:1:1: unknown key \"zzz\"");
    mcl__yaml_destroy(yaml);
    ck_assert_str_eq(mcl__nearest("momentmu", allowed, 4), "momentum");
    ck_assert_str_eq(mcl__nearest("batch", allowed, 4), "batch");
    ck_assert_str_eq(mcl__nearest("batches", allowed, 4), "batch");
    ck_assert_ptr_null(mcl__nearest("", allowed, 4));
}
END_TEST

START_TEST(set_by_path)
{
    mcl__yaml *yaml = parse("train:\n  epochs: 3\nlayers: [a, {b: 1}]\nnothing:\n");
    mcl_error error = {0};
    int64_t value = 0;
    ck_assert_int_eq(mcl__yaml_assign(yaml, "train.epochs=20", &error), MCL_OK);
    ck_assert_int_eq(mcl__yaml_assign(yaml, "data.resize.mode=stretch", &error), MCL_OK);
    ck_assert_int_eq(mcl__yaml_assign(yaml, "layers.1.b=[4, 5]", &error), MCL_OK);
    ck_assert_int_eq(mcl__yaml_assign(yaml, "nothing.at.all=yes", &error), MCL_OK);
    ck_assert_int_eq(mcl__yaml_int(mcl__yaml_find(get(yaml, "train"), "epochs"), 0, 100, &value, &error), MCL_OK);
    ck_assert_int_eq(value, 20);
    ck_assert_str_eq(mcl__yaml_find(mcl__yaml_find(get(yaml, "data"), "resize"), "mode")->text, "stretch");
    ck_assert_int_eq(mcl__yaml_find(mcl__yaml_at(get(yaml, "layers"), 1), "b")->count, 2);
    ck_assert_int_eq(mcl__yaml_assign(yaml, "train.epochs=many", &error), MCL_OK);
    ck_assert_int_eq(mcl__yaml_int(mcl__yaml_find(get(yaml, "train"), "epochs"), 0, 100, &value, &error), MCL_ERROR_CONFIG);
    ck_assert_str_eq(error.text, "--set train.epochs: \"epochs\" must be a whole number from 0 to 100, not \"many\"");
    static const char *const bad[] = {"train", "=3", "train.epochs.x=3", "layers.7=x", "layers.first=x", "train..x=1", "a=[1",
                                      "a=*x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(mcl__yaml_assign(yaml, bad[i], NULL) == MCL_ERROR_CONFIG, "%s", bad[i]);
    mcl__yaml_destroy(yaml);
}
END_TEST

static bool same(const mcl__yaml_node *a, const mcl__yaml_node *b)
{
    if (!a || !b) return a == b;
    if (a->kind != b->kind || a->count != b->count || !a->key != !b->key || (a->key && strcmp(a->key, b->key) != 0)) return false;
    if (a->kind == MCL__YAML_SCALAR)
        return mcl__yaml_is_null(a) == mcl__yaml_is_null(b) && (mcl__yaml_is_null(a) || strcmp(a->text, b->text) == 0);
    for (a = a->first, b = b->first; a && b; a = a->next, b = b->next)
        if (!same(a, b)) return false;
    return a == b;
}

START_TEST(emit_round_trip)
{
    mcl__yaml *yaml = parse("a: 1\nb: {c: [1, 2, \"x, y\"], d: {}}\nlist:\n  - conv: {f: 3}\n"
                            "    act: relu\n  - [[1, 2], [3]]\n  - pool\n"
                            "  - []\nt: plain, with [odd] things\nm: |\n"
                            "  two\n  lines\n\"odd: key\": '#no comment'\nn: ~\nq: \"true\"\n");
    ck_assert_int_eq(mcl__yaml_set_text(yaml, "made.text", "yes: \"quoted\"\n\ttab \\ end", NULL), MCL_OK);
    ck_assert_int_eq(mcl__yaml_set_text(yaml, "made.number", "12", NULL), MCL_OK);
    ck_assert_int_eq(mcl__yaml_set_text(yaml, "made.word", "relu", NULL), MCL_OK);
    ck_assert_int_eq(mcl__yaml_set_text(yaml, "made.nothing", "", NULL), MCL_OK);
    char *text = mcl__yaml_emit(yaml);
    mcl__yaml *again = parse(text);
    ck_assert_msg(same(mcl__yaml_root(yaml), mcl__yaml_root(again)), "%s", text);
    ck_assert(get(again, "q")->quoted && mcl__yaml_find(get(again, "made"), "number")->quoted);
    ck_assert(!mcl__yaml_find(get(again, "made"), "word")->quoted);
    char *second = mcl__yaml_emit(again);
    ck_assert_str_eq(text, second);
    free(second);
    free(text);
    mcl__yaml_destroy(again);
    mcl__yaml_destroy(yaml);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("yaml");
    TCase *cases = tcase_create("yaml");
    tcase_add_test(cases, tree_and_positions);
    tcase_add_loop_test(cases, refuses, 0, sizeof refused / sizeof *refused);
    tcase_add_test(cases, refuses_depth);
    tcase_add_test(cases, typed_values);
    tcase_add_test(cases, wrong_types);
    tcase_add_test(cases, unknown_keys);
    tcase_add_test(cases, set_by_path);
    tcase_add_test(cases, emit_round_trip);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
