/* Slots: the order of elements in files, initial values, and weights that go to a file and come back. */
#include "base/random.h"
#include "nn/layer.h"
#include "harness.h"
#include "philox.h"
#include <unistd.h>

static char folder[] = "/tmp/monocle-test-weights-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Convolution, batch norm, dense after a flatten of (3, 2, 4), and batch norm between the two. */
static mcl_network *small(int filters)
{
    mcl_network *net = mcl_network_create("small");
    mcl_error error = {0};
    mcl_tensor x = mcl_input(net, 4, 3, 2);
    x = mcl_conv2d(net, x, &(mcl_conv2d_options){.name = "conv", .filters = filters, .kernel = 2});
    x = mcl_batch_norm(net, x, &(mcl_batch_norm_options){.name = "norm"});
    x = mcl_flatten(net, x, NULL);
    x = mcl_batch_norm(net, x, &(mcl_batch_norm_options){.name = "flat"});
    x = mcl_dropout(net, mcl_activation(net, x, NULL), NULL);
    x = mcl_dense(net, x, &(mcl_dense_options){.name = "fc", .units = 5});
    EXPECT(mcl_network_finish(net, x, &error), error);
    return net;
}

static const mcl__slot *slot_of(const mcl__model *model, const char *name)
{
    int i = mcl__model_find(model->parameter, model->parameters, name);
    if (i >= 0) return &model->parameter[i];
    i = mcl__model_find(model->running, model->runnings, name);
    ck_assert_msg(i >= 0, "%s", name);
    return &model->running[i];
}

static float *read_slot(mcl__model *model, const char *name, int *count)
{
    const mcl__slot *slot = slot_of(model, name);
    bool running = slot >= model->running && slot < model->running + model->runnings;
    const mcl__slab *slab = running ? &model->running_value : &model->value;
    *count = mcl__shape_elements(slot->shape);
    float *values = malloc((size_t)*count * sizeof *values);
    ck_assert_int_eq(mcl__model_read(slab, slot, values), MCL_OK);
    return values;
}

static void expect_file_order(const mcl__slot *slot, const int *expected, int count)
{
    float logical[64], file[64], back[64];
    for (int i = 0; i < count; i++) logical[i] = (float)i;
    mcl__slot_to_file(slot, logical, file);
    for (int i = 0; i < count; i++)
        ck_assert_msg(file[i] == (float)expected[i], "%s[%d]: %g, not %d", slot->name, i, (double)file[i], expected[i]);
    mcl__slot_from_file(slot, file, back);
    ck_assert_mem_eq(back, logical, (size_t)count * sizeof *back);
}

START_TEST(file_order)
{
    /* (KH 1, KW 3, C 2, K 2) -> (K, C, KH, KW) */
    expect_file_order(&(mcl__slot){.name = "conv", .shape = {4, {1, 3, 2, 2}}}, (int[]){0, 4, 8, 2, 6, 10, 1, 5, 9, 3, 7, 11}, 12);
    /* (KH 2, KW 1, C 1, K 3) */
    expect_file_order(&(mcl__slot){.name = "conv", .shape = {4, {2, 1, 1, 3}}}, (int[]){0, 3, 1, 4, 2, 5}, 6);
    /* (C 3, K 2) -> (K, C) */
    expect_file_order(&(mcl__slot){.name = "dense", .shape = {2, {3, 2}}}, (int[]){0, 2, 4, 1, 3, 5}, 6);
    /* rows of (H 1, W 2, C 3) in order h, w, c -> c, h, w; K 2 */
    expect_file_order(&(mcl__slot){.name = "flat", .shape = {2, {6, 2}}, .flatten_h = 1, .flatten_w = 2, .flatten_c = 3},
                      (int[]){0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11}, 12);
    /* a vector over (H 2, W 2, C 2) */
    expect_file_order(&(mcl__slot){.name = "vector", .shape = {1, {8}}, .flatten_h = 2, .flatten_w = 2, .flatten_c = 2},
                      (int[]){0, 2, 4, 6, 1, 3, 5, 7}, 8);
    expect_file_order(&(mcl__slot){.name = "bias", .shape = {1, {4}}}, (int[]){0, 1, 2, 3}, 4);
}
END_TEST

/* Recomputed from the definition: word s % 4 of the block s / 4, s in PyTorch's order. */
static void expect_drawn(mcl__model *model, const char *name, int fan_in, uint64_t seed)
{
    int count;
    float *values = read_slot(model, name, &count), *file = malloc((size_t)count * sizeof *file);
    mcl__slot_to_file(slot_of(model, name), values, file);
    uint32_t stream = mcl__random_stream("init", name);
    for (uint32_t s = 0; s < (uint32_t)count; s++) {
        uint32_t word = mcl_random_word((uint32_t)seed, (uint32_t)(seed >> 32), s, 0, 0, stream);
        float expected = (float)((2.0 * (double)(word >> 8) * 0x1p-24 - 1) / sqrt((double)fan_in));
        ck_assert_msg(file[s] == expected, "%s[%u]", name, s);
    }
    free(values);
    free(file);
}

static void expect_constant(mcl__model *model, const char *name, float expected)
{
    int count;
    float *values = read_slot(model, name, &count);
    for (int i = 0; i < count; i++) ck_assert_float_eq(values[i], expected);
    free(values);
}

START_TEST(initial_values)
{
    mcl_device *device = test_device(_i);
    if (!device) return;
    mcl_network *net = small(4);
    harness h = harness_create(device, net, NULL, 1, UINT64_C(0x123456789));
    expect_drawn(h.model, "conv.weight", 8, UINT64_C(0x123456789));
    expect_drawn(h.model, "conv.bias", 8, UINT64_C(0x123456789));
    expect_drawn(h.model, "fc.weight", 24, UINT64_C(0x123456789));
    expect_drawn(h.model, "fc.bias", 24, UINT64_C(0x123456789));
    expect_constant(h.model, "norm.weight", 1);
    expect_constant(h.model, "norm.bias", 0);
    expect_constant(h.model, "flat.running_mean", 0);
    expect_constant(h.model, "flat.running_var", 1);
    ck_assert_int_eq(slot_of(h.model, "fc.weight")->flatten_c, 4);
    ck_assert_int_eq(slot_of(h.model, "flat.bias")->flatten_h, 3);
    harness_destroy(&h);
    mcl_network_destroy(net);
}
END_TEST

/* More columns than are drawn together, and more numbers than one thread draws. */
START_TEST(initial_values_of_many)
{
    mcl_device *device = test_device(_i);
    if (!device) return;
    mcl_network *net = mcl_network_create("wide");
    mcl_error error = {0};
    mcl_tensor x = mcl_input(net, 3, 3, 70);
    x = mcl_conv2d(net, x, &(mcl_conv2d_options){.name = "conv", .filters = 183, .kernel = 3});
    x = mcl_dense(net, mcl_flatten(net, x, NULL), &(mcl_dense_options){.name = "fc", .units = 17});
    EXPECT(mcl_network_finish(net, x, &error), error);
    harness h = harness_create(device, net, NULL, 1, 5);
    expect_drawn(h.model, "conv.weight", 9 * 70, 5);
    expect_drawn(h.model, "conv.bias", 9 * 70, 5);
    expect_drawn(h.model, "fc.weight", 183, 5);
    harness_destroy(&h);
    mcl_network_destroy(net);
}
END_TEST

static mcl_status save(const mcl_network *network, mcl__model *model, int64_t batches, const char *path, mcl_error *error)
{
    mcl__safetensors_writer *writer;
    MCL_TRY(mcl__safetensors_writer_create(&writer, error));
    mcl_status status = mcl__weights_add(network, model, batches, writer, error);
    if (status == MCL_OK) return mcl__safetensors_writer_write(writer, path, error);
    mcl__safetensors_writer_destroy(writer);
    return status;
}

START_TEST(weights_round_trip)
{
    mcl_device *device = test_device(_i);
    if (!device) return;
    mcl_network *net = small(4);
    mcl_error error = {0};
    harness a = harness_create(device, net, NULL, 1, 1), b = harness_create(device, net, NULL, 1, 2);
    EXPECT(save(net, a.model, 42, in_folder("w"), &error), error);
    EXPECT(mcl__weights_load(b.model, in_folder("w"), &error), error);
    int count;
    float *x = harness_values(a.model, &count), *y = harness_values(b.model, &count);
    ck_assert_mem_eq(x, y, (size_t)count * sizeof *x);
    free(x);
    free(y);

    mcl__safetensors *file;
    EXPECT(mcl__safetensors_open(in_folder("w"), &file, &error), error);
    ck_assert_int_eq(file->tensors, 14);
    const mcl__safetensors_tensor *tensor = mcl__safetensors_find(file, "flat.num_batches_tracked");
    ck_assert_int_eq(tensor->dtype, MCL__SAFETENSORS_I64);
    int64_t tracked;
    memcpy(&tracked, tensor->data, sizeof tracked);
    ck_assert_int_eq(tracked, 42);
    tensor = mcl__safetensors_find(file, "conv.weight");
    ck_assert_int_eq(tensor->rank, 4);
    ck_assert_mem_eq(tensor->shape, ((int64_t[]){4, 2, 2, 2}), 4 * sizeof(int64_t));
    mcl__safetensors_close(file);
    harness_destroy(&a);
    harness_destroy(&b);
    mcl_network_destroy(net);
}
END_TEST

static void add_tensor(const mcl__safetensors_tensor *tensor, const char *name, mcl__safetensors_writer *writer)
{
    double wide[256];
    if (strcmp(name, "conv.bias") || tensor->dtype != MCL__SAFETENSORS_F32) {
        mcl__safetensors_writer_add(writer, name, tensor->dtype, tensor->rank, tensor->shape, tensor->data);
        return;
    }
    for (size_t i = 0; i < tensor->bytes / 4; i++) {
        float value;
        memcpy(&value, (const char *)tensor->data + 4 * i, 4);
        wide[i] = value;
    }
    mcl__safetensors_writer_add(writer, name, MCL__SAFETENSORS_F64, tensor->rank, tensor->shape, wide);
}

/* A copy of file `from`: tensor `dropped` not in it, `added` (a vector of 3) in it, conv.bias as F64. */
static void rewrite(const char *from, const char *to, const char *dropped, const char *added)
{
    static const float three[3] = {1, 2, 3};
    char path[256];
    mcl_error error = {0};
    mcl__safetensors *file;
    mcl__safetensors_writer *writer;
    EXPECT(mcl__safetensors_open(in_folder(from), &file, &error), error);
    EXPECT(mcl__safetensors_writer_create(&writer, &error), error);
    for (int i = 0; i < file->tensors; i++)
        if (!dropped || strcmp(file->tensor[i].name, dropped)) add_tensor(&file->tensor[i], file->tensor[i].name, writer);
    if (added) mcl__safetensors_writer_add(writer, added, MCL__SAFETENSORS_F32, 1, (int64_t[]){3}, three);
    snprintf(path, sizeof path, "%s/%s", folder, to);
    EXPECT(mcl__safetensors_writer_write(writer, path, &error), error);
    mcl__safetensors_close(file);
}

static void expect_load(mcl__model *model, const char *name, mcl_status status, const char *text)
{
    mcl_error error = {0};
    int count;
    float *before = harness_values(model, &count);
    ck_assert_int_eq(mcl__weights_load(model, in_folder(name), &error), status);
    if (status != MCL_OK) {
        ck_assert_msg(strstr(error.text, text) != NULL, "\"%s\" lacks \"%s\"", error.text, text);
        float *after = harness_values(model, &count); /* nothing was written */
        ck_assert_mem_eq(before, after, (size_t)count * sizeof *after);
        free(after);
    }
    free(before);
}

START_TEST(wrong_weights)
{
    mcl_network *net = small(4), *wider = small(6);
    mcl_error error = {0};
    harness a = harness_create(test_device(0), net, NULL, 1, 1), b = harness_create(test_device(0), net, NULL, 1, 2);
    harness other = harness_create(test_device(0), wider, NULL, 1, 3);
    EXPECT(save(net, a.model, 1, in_folder("good"), &error), error);
    EXPECT(save(wider, other.model, 1, in_folder("wider"), &error), error);
    rewrite("good", "less", "fc.bias", NULL);
    rewrite("good", "swapped", "fc.bias", "fc.bias");
    rewrite("good", "more", NULL, "fc2.weight");
    rewrite("good", "state", "norm.num_batches_tracked", "monocle.momentum.fc.bias");
    expect_load(b.model, "wider", MCL_ERROR_SHAPE, "tensor conv.weight is (6, 2, 2, 2), but the network's is (4, 2, 2, 2)");
    expect_load(b.model, "less", MCL_ERROR_NOT_FOUND, "tensor fc.bias (5) is missing");
    expect_load(b.model, "swapped", MCL_ERROR_SHAPE, "tensor fc.bias is (3), but the network's is (5)");
    expect_load(b.model, "more", MCL_ERROR_NOT_FOUND, "the network has no tensor fc2.weight (3)");
    expect_load(b.model, "absent", MCL_ERROR_NOT_FOUND, "absent");
    expect_load(b.model, "state", MCL_OK, NULL);
    int count;
    float *x = harness_values(a.model, &count), *y = harness_values(b.model, &count);
    ck_assert_mem_eq(x, y, (size_t)count * sizeof *x);
    free(x);
    free(y);
    harness_destroy(&a);
    harness_destroy(&b);
    harness_destroy(&other);
    mcl_network_destroy(net);
    mcl_network_destroy(wider);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    Suite *suite = suite_create("nn/weights");
    TCase *tests = tcase_create("weights");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, file_order);
    tcase_add_loop_test(tests, initial_values, 0, 2);
    tcase_add_loop_test(tests, initial_values_of_many, 0, 2);
    tcase_add_loop_test(tests, weights_round_trip, 0, 2);
    tcase_add_test(tests, wrong_weights);
    suite_add_tcase(suite, tests);
    int failed = run_suite(suite, true);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return failed || system(command) != 0;
}
