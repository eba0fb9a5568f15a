/* The networks by name: tensors, shapes and counts equal PyTorch's (torch_names.tsv), other input sizes, and inputs that are
 * too small. */
#include "nn/layer.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

static const struct { const char *name; int64_t parameters; } counts[] = {
    {"mlp", 669706},       {"lenet", 1663370},  {"resnet20", 272474},       {"resnet20a", 269722},
    {"resnet18", 11173962}, {"vgg11", 9231114}, {"mobilenet_v2", 2236682},
};

static mcl_network *by_name(const char *name, int height, int width, int channels, int classes)
{
    mcl_network *network = NULL;
    mcl_error error = {0};
    mcl_status status = mcl_network_by_name(name, height, width, channels, classes, &network, &error);
    ck_assert_msg(status == MCL_OK, "%s", error.text);
    return network;
}

START_TEST(parameter_counts)
{
    mcl_network *network = by_name(counts[_i].name, 0, 0, 0, 0);
    ck_assert_int_eq(mcl_network_parameter_count(network), counts[_i].parameters);
    ck_assert_int_eq(mcl_network_classes(network), 10);
    ck_assert_str_eq(mcl_network_name(network), counts[_i].name);
    char *summary = mcl_network_summary(network, 64);
    ck_assert_ptr_nonnull(summary);
    free(summary);
    mcl_network_destroy(network);
}
END_TEST

/* One line of the table: network, name, PyTorch's name, shape. */
typedef struct row { char network[32], name[160], torch[160], shape[64]; } row;

static FILE *open_table(void)
{
    char path[1024], line[600];
    const char *source = getenv("MONOCLE_SOURCE");
    snprintf(path, sizeof path, "%s/tests/nn/torch_names.tsv", source ? source : ".");
    FILE *file = fopen(path, "r");
    ck_assert_msg(file && fgets(line, sizeof line, file), "cannot read %s", path);
    return file;
}

static bool next_row(FILE *file, row *out)
{
    return fscanf(file, "%31s %159s %159s %63s", out->network, out->name, out->torch, out->shape) == 4;
}

/* The next line of the network that is no num_batches_tracked. */
static bool next_tensor(FILE *file, const char *network, row *out)
{
    while (next_row(file, out))
        if (!strcmp(out->network, network) && !strstr(out->name, "num_batches_tracked")) return true;
    return false;
}

static void file_shape_text(const mcl__slot *slot, char text[64])
{
    int shape[4], rank = mcl__slot_file_shape(slot, shape), length = 0;
    for (int i = 0; i < rank; i++) length += snprintf(text + length, (size_t)(64 - length), i ? ",%d" : "%d", shape[i]);
}

START_TEST(tensors_are_pytorchs)
{
    const char *name = counts[_i].name;
    if (!strcmp(name, "resnet20a")) return; /* the script has none */
    mcl_network *network = by_name(name, 0, 0, 0, 0);
    FILE *file = open_table();
    row wanted;
    char text[64];
    int compared = 0;
    for (size_t i = 0; i < network->layers; i++) {
        mcl__layer_tensors tensors;
        mcl__layer_get_tensors(network, &network->layer[i], &tensors);
        for (int j = 0; j < tensors.parameters + tensors.runnings; j++, compared++) {
            ck_assert_msg(next_tensor(file, name, &wanted), "PyTorch has no %s", tensors.slot[j].name);
            ck_assert_str_eq(tensors.slot[j].name, wanted.name);
            file_shape_text(&tensors.slot[j], text);
            ck_assert_msg(!strcmp(text, wanted.shape), "%s is %s, but PyTorch's %s", wanted.name, text, wanted.shape);
        }
    }
    ck_assert_msg(!next_tensor(file, name, &wanted), "%s is missing", wanted.name);
    ck_assert_int_gt(compared, 5);
    fclose(file);
    mcl_network_destroy(network);
}
END_TEST

START_TEST(other_sizes)
{
    mcl_network *network = by_name(counts[_i].name, 65, 67, 4, 3);
    int H, W, C;
    mcl_network_input_shape(network, &H, &W, &C);
    ck_assert_int_eq(H * 10000 + W * 100 + C, 656704);
    ck_assert_int_eq(mcl_network_classes(network), 3);
    mcl_network_destroy(network);
}
END_TEST

static const struct { const char *name; int size, channels, classes; const char *text; } refused[] = {
    {"vgg11", 28, 1, 10,
     "network vgg11 for an input (28, 28, 1): layer \"features.28\" (max_pool): a window of (2, 2) with padding (0, 0) does not "
     "fit the input (1, 1, 512)"},
    {"lenet", 3, 1, 10, "layer \"pool2\" (max_pool): a window of (2, 2) with padding (0, 0) does not fit the input (1, 1, 64)"},
    {"lenet", -1, 1, 10, "height is -1"},
    {"mlp", 28, 1, -3, "units is -3"},
    {"resnt20", 28, 1, 10, "there is no network \"resnt20\"; did you mean \"resnet20\"? There are mlp, lenet,"},
    {"", 28, 1, 10, "there is no network \"\"; there are mlp, lenet,"},
};

START_TEST(refuses)
{
    mcl_network *network;
    mcl_error error = {0};
    mcl_status status = mcl_network_by_name(refused[_i].name, refused[_i].size, refused[_i].size, refused[_i].channels,
                                            refused[_i].classes, &network, &error);
    ck_assert_int_ne(status, MCL_OK);
    ck_assert_ptr_null(network);
    ck_assert_msg(strstr(error.text, refused[_i].text) != NULL, "%s", error.text);
}
END_TEST

START_TEST(names_and_descriptions)
{
    int count = 0;
    for (const char *const *name = mcl_network_names(); *name; name++, count++) ck_assert_ptr_nonnull(mcl_network_describe(*name));
    ck_assert_int_eq(count, COUNT(counts));
    ck_assert_ptr_null(mcl_network_describe("none"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nn/zoo");
    TCase *tests = tcase_create("zoo");
    tcase_add_loop_test(tests, parameter_counts, 0, COUNT(counts));
    tcase_add_loop_test(tests, tensors_are_pytorchs, 0, COUNT(counts));
    tcase_add_loop_test(tests, other_sizes, 0, COUNT(counts));
    tcase_add_loop_test(tests, refuses, 0, COUNT(refused));
    tcase_add_test(tests, names_and_descriptions);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
