/* Operators against values that PyTorch gave (tests/ops/torch/make_values.py): the oracle, and the reference variants
 * on the native device and on the first OpenCL CPU. */
#include "ops/oracle/oracle.h"
#include "support/problem.h"
#include <check.h>
#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDING 0x1p-24

static json_t *values; /* the whole file */

/* --- From JSON to a problem --------------------------------------------------------------------------------------- */

static mcl__op_kind op_named(const char *name)
{
    for (int i = 0; i < MCL__OP_COUNT; i++)
        if (!strcmp(mcl__op_get((mcl__op_kind)i)->name, name)) return (mcl__op_kind)i;
    ck_abort_msg("no operator %s", name);
}

#define INT(field) {#field, offsetof(mcl__attrs, field), false}
#define FLOAT(field) {#field, offsetof(mcl__attrs, field), true}
static const struct { const char *name; size_t at; bool is_float; } fields[] = {
    INT(conv.KH),
    INT(conv.KW),
    INT(conv.stride_h),
    INT(conv.stride_w),
    INT(conv.pad_h),
    INT(conv.pad_w),
    INT(conv.dilation_h),
    INT(conv.dilation_w),
    INT(conv.groups),
    INT(conv.H),
    INT(conv.W),
    INT(pool.KH),
    INT(pool.KW),
    INT(pool.stride_h),
    INT(pool.stride_w),
    INT(pool.pad_h),
    INT(pool.pad_w),
    INT(pool.count_padding),
    INT(pool.H),
    INT(pool.W),
    FLOAT(norm.eps),
    FLOAT(norm.momentum),
    INT(norm.rows),
    INT(concat.axis),
    INT(region.offset),
    INT(sgd.n),
    INT(sgd.nesterov),
    FLOAT(sgd.momentum),
    FLOAT(sgd.dampening),
    FLOAT(sgd.decay),
    INT(adam.n),
    INT(adam.decoupled),
    FLOAT(adam.beta1),
    FLOAT(adam.beta2),
    FLOAT(adam.eps),
    FLOAT(adam.decay),
    {"region.rank", offsetof(mcl__attrs, region.size.rank), false},
    {"region.d", offsetof(mcl__attrs, region.size.d), false},
};

static void set_attribute(mcl__attrs *attrs, const char *name, const json_t *value)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(fields[i].name, name)) continue;
        char *at = (char *)attrs + fields[i].at;
        size_t count = json_is_array(value) ? json_array_size(value) : 1;
        for (size_t k = 0; k < count; k++) {
            double number = json_number_value(json_is_array(value) ? json_array_get(value, k) : value);
            if (fields[i].is_float) ((float *)at)[k] = (float)number;
            else ((int *)at)[k] = (int)number;
        }
        return;
    }
    ck_abort_msg("no attribute %s", name);
}

static mcl__dtype dtype_of(const json_t *tensor)
{
    const char *name = json_string_value(json_object_get(tensor, "dtype"));
    return !strcmp(name, "i32") ? MCL_I32 : !strcmp(name, "u8") ? MCL_U8 : MCL_F32;
}

static void *data_of(const json_t *tensor)
{
    const json_t *numbers = json_object_get(tensor, "values");
    mcl__dtype dtype = dtype_of(tensor);
    size_t count = json_array_size(numbers);
    char *data = malloc(count * sizeof(float));
    ck_assert_ptr_nonnull(data);
    for (size_t i = 0; i < count; i++) {
        double number = json_number_value(json_array_get(numbers, i));
        if (dtype == MCL_F32) ((float *)data)[i] = (float)number;
        else if (dtype == MCL_I32) ((int32_t *)data)[i] = (int32_t)number;
        else ((uint8_t *)data)[i] = (uint8_t)number;
    }
    return data;
}

static void append(test_problem *test, mcl__dtype dtype, int rank, const int *size, void *data)
{
    test->in[test->problem.inputs] = data;
    test_problem_input(&test->problem, dtype, rank, size);
}

static void append_tensor(test_problem *test, const json_t *tensor)
{
    const json_t *shape = json_object_get(tensor, "shape");
    int size[4], rank = (int)json_array_size(shape);
    for (int i = 0; i < rank; i++) size[i] = (int)json_integer_value(json_array_get(shape, (size_t)i));
    append(test, dtype_of(tensor), rank, size, data_of(tensor));
}

static double number_in(const json_t *object, const char *key, double otherwise)
{
    const json_t *value = json_object_get(object, key);
    return value ? json_number_value(value) : otherwise;
}

/* The step block of step t (from 1) as the case describes it. */
static mcl_step step_of(const json_t *row, int t)
{
    const json_t *step = json_object_get(row, "step");
    const json_t *corrections = json_array_get(json_object_get(step, "corrections"), (size_t)(t - 1));
    mcl_step block = {.step = t, .valid_samples = (int)number_in(step, "valid_samples", 1)};
    block.inverse_valid = (float)number_in(step, "inverse_valid", 1);
    block.group[0].learning_rate = (float)number_in(step, "rate", 0);
    if (corrections) {
        block.group[0].bias_correction1 = (float)json_number_value(json_array_get(corrections, 0));
        block.group[0].bias_correction2 = (float)json_number_value(json_array_get(corrections, 1));
    }
    return block;
}

static test_problem problem_of(const json_t *row)
{
    test_problem test = {.problem.op = op_named(json_string_value(json_object_get(row, "op")))};
    const char *name;
    json_t *attribute;
    json_object_foreach(json_object_get(row, "attrs"), name, attribute)
        set_attribute(&test.problem.attrs, name, attribute);
    const json_t *in = json_object_get(row, "in"), *codes = json_object_get(row, "codes");
    const json_t *gradients = json_object_get(row, "gradients"), *before = json_object_get(row, "before");
    for (size_t i = 0; i < json_array_size(in); i++) append_tensor(&test, json_array_get(in, i));
    if (gradients) append_tensor(&test, json_array_get(gradients, 0));
    if (json_object_get(row, "step"))
        append(&test, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_step)), calloc(1, sizeof(mcl_step)));
    if (gradients) append(&test, MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_state)), calloc(1, sizeof(mcl_state)));
    for (size_t i = 0; i < json_array_size(codes); i++) {
        const json_t *code = json_array_get(codes, i);
        test.problem.epilogue.code[test.problem.epilogue.count++] =
            (mcl_epilogue_code){.code = (int)number_in(code, "code", 0), .act = (int)number_in(code, "act", 0),
                                .alpha = (float)number_in(code, "alpha", 0)};
    }
    mcl_error error = {0};
    ck_assert_msg(test_problem_infer(&test.problem, &error) == MCL_OK, "%s: %s",
                  json_string_value(json_object_get(row, "name")), error.text);
    for (int i = 0; i < test.problem.outputs; i++)
        test.out[i] =
            before ? data_of(json_array_get(before, (size_t)i)) : calloc(1, test_problem_out_bytes(&test.problem, i));
    return test;
}

/* --- Computing ---------------------------------------------------------------------------------------------------- */

static double as_double(mcl__dtype dtype, const void *data, int i)
{
    return dtype == MCL_F32   ? (double)((const float *)data)[i]
           : dtype == MCL_I32 ? ((const int32_t *)data)[i]
                              : ((const uint8_t *)data)[i];
}

static void store(mcl__dtype dtype, void *data, int i, double value)
{
    if (dtype == MCL_F32) ((float *)data)[i] = (float)value;
    else if (dtype == MCL_I32) ((int32_t *)data)[i] = (int32_t)value;
    else ((uint8_t *)data)[i] = (uint8_t)value;
}

/* One application of the operator, by the oracle (device NULL) or by a device. bounds: what one may be off, or NULL. */
static void compute(mcl_device *device, test_problem *test, const char *name, double *bounds[MCL__MAX_OUTPUTS])
{
    mcl_error error = {0};
    mcl__oracle *oracle = NULL;
    void *before[MCL__MAX_OUTPUTS];
    test_problem_copy_outputs(test, before);
    mcl_status status =
        mcl__oracle_create(&test->problem, (const void *const *)test->in, (const void *const *)before, &oracle, &error);
    ck_assert_msg(status == MCL_OK, "%s: %s", name, error.text);
    for (int output = 0; output < test->problem.outputs; output++) {
        int n = mcl__shape_elements(test->problem.out[output]);
        bounds[output] = realloc(bounds[output], (size_t)n * sizeof **bounds);
        for (int i = 0; i < n; i++) {
            double value = mcl__oracle_value(oracle, output, i, &bounds[output][i]);
            if (!device) {
                store(test->problem.out_dtype[output], test->out[output], i, value);
                bounds[output][i] = 0;
            }
        }
    }
    mcl__oracle_destroy(oracle);
    test_problem_free_outputs(before);
    if (!device) return;
    test_run run = {.variant = "reference"};
    ck_assert_msg(test_problem_run(device, test, &run, &error) == MCL_OK, "%s: %s", name, error.text);
}

/* Within the operator's own error, the rounding of what is stored, and the slack of inputs that were rounded before. */
static void compare(const json_t *row, const test_problem *test, const char *who,
                    double *const bounds[MCL__MAX_OUTPUTS])
{
    const json_t *out = json_object_get(row, "out");
    double slack = number_in(row, "slack", 0);
    ck_assert_uint_eq(json_array_size(out), (unsigned)test->problem.outputs);
    for (int output = 0; output < test->problem.outputs; output++) {
        const json_t *expected = json_object_get(json_array_get(out, (size_t)output), "values");
        int n = mcl__shape_elements(test->problem.out[output]);
        double largest = 0;
        ck_assert_uint_eq(json_array_size(expected), (unsigned)n);
        for (int i = 0; i < n; i++)
            largest = fmax(largest, fabs(json_number_value(json_array_get(expected, (size_t)i))));
        for (int i = 0; i < n; i++) {
            double right = json_number_value(json_array_get(expected, (size_t)i));
            double got = as_double(test->problem.out_dtype[output], test->out[output], i);
            double allowed = bounds[output][i] + ROUNDING * (3 * fabs(right) + slack * largest);
            ck_assert_msg(fabs(got - right) <= allowed,
                          "%s by %s: output %d element %d is %.9g, PyTorch has %.9g (+- %.2g)",
                          json_string_value(json_object_get(row, "name")), who, output, i, got, right, allowed);
        }
    }
}

static void run_case(const json_t *row, mcl_device *device, const char *who)
{
    test_problem test = problem_of(row);
    double *bounds[MCL__MAX_OUTPUTS] = {0};
    const json_t *gradients = json_object_get(row, "gradients");
    int steps = gradients ? (int)json_array_size(gradients) : 1, step_input = test_problem_step_input(&test.problem);
    for (int t = 1; t <= steps; t++) {
        mcl_step step = step_of(row, t);
        if (step_input >= 0) memcpy(test.in[step_input], &step, sizeof step);
        if (gradients) {
            free(test.in[0]);
            test.in[0] = data_of(json_array_get(gradients, (size_t)(t - 1)));
        }
        compute(device, &test, json_string_value(json_object_get(row, "name")), bounds);
    }
    compare(row, &test, who, bounds);
    for (int i = 0; i < MCL__MAX_OUTPUTS; i++) free(bounds[i]);
    test_problem_free(&test);
}

static void run_all(mcl_device *device, const char *who)
{
    const json_t *cases = json_object_get(values, "cases");
    ck_assert_uint_gt(json_array_size(cases), 60);
    for (size_t i = 0; i < json_array_size(cases); i++) run_case(json_array_get(cases, i), device, who);
}

START_TEST(oracle_agrees)
{
    run_all(NULL, "the oracle");
}
END_TEST

static void run_device(const char *selector)
{
    mcl_device *device = NULL;
    mcl_error error = {0};
    mcl_device_options options = {.no_cache = true};
    mcl_status status = mcl_device_open(selector, &options, &device, &error);
    if (status == MCL_ERROR_NOT_FOUND) {
        printf("SKIP  %s: %s\n", selector, error.text);
        return;
    }
    ck_assert_msg(status == MCL_OK, "%s", error.text);
    run_all(device, selector);
    mcl_device_close(device);
}

START_TEST(native_agrees)
{
    run_device("native");
}
END_TEST

START_TEST(opencl_agrees)
{
    run_device("cpu");
}
END_TEST

static json_t *load_values(void)
{
    const char *root = getenv("MONOCLE_SOURCE");
    char path[4096];
    json_error_t error;
    snprintf(path, sizeof path, "%s/tests/ops/torch/values.json", root ? root : ".");
    json_t *loaded = json_load_file(path, 0, &error);
    if (!loaded) fprintf(stderr, "%s: %s\n", path, error.text);
    return loaded;
}

int main(void)
{
    values = load_values();
    if (!values) return EXIT_FAILURE;
    mcl__ops_register_native();
    Suite *suite = suite_create("torch");
    TCase *tests = tcase_create("stored values");
    tcase_add_test(tests, oracle_agrees);
    tcase_add_test(tests, native_agrees);
    tcase_add_test(tests, opencl_agrees);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK); /* a device does not survive a fork */
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    json_decref(values);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
