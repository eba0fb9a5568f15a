/* Networks from YAML: what they become, and where each mistake is said to be. */
#include "nn/layer.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

/* classes 10, data of 28 x 28 x 1 */
static mcl_status build(const char *text, mcl_network **network, mcl_error *error)
{
    mcl__yaml *yaml = NULL;
    mcl_status status = mcl__yaml_parse(text, strlen(text), "c.yaml", &yaml, error);
    ck_assert_msg(status == MCL_OK, "%s", error->text);
    const mcl__yaml_node *root = mcl__yaml_root(yaml), *node = mcl__yaml_find(root, "network");
    status = mcl__network_from_yaml(node ? node : root, 28, 28, 1, 10, network, error);
    mcl__yaml_destroy(yaml);
    return status;
}

static mcl_network *good(const char *text)
{
    mcl_network *network = NULL;
    mcl_error error = {0};
    mcl_status status = build(text, &network, &error);
    ck_assert_msg(status == MCL_OK, "%s", error.text);
    return network;
}

static const mcl__layer *layer(const mcl_network *network, const char *name)
{
    const mcl__layer *found = mcl__layer_find(network, name);
    ck_assert_msg(found != NULL, "there is no layer %s", name);
    return found;
}

START_TEST(names_the_zoo)
{
    mcl_network *network = good("network: lenet");
    ck_assert_int_eq(mcl_network_parameter_count(network), 1663370);
    mcl_network_destroy(network);
    network = good("network: {name: resnet20, input: [32, 32, 3]}");
    ck_assert_int_eq(mcl_network_parameter_count(network), 272474);
    mcl_network_destroy(network);
}
END_TEST

START_TEST(lenet_by_layers)
{
    mcl_network *network = good("name: mine\n"
                                "layers:\n"
                                "  - conv2d: {filters: 32, kernel: 5, padding: 2, name: conv1}\n"
                                "  - relu\n"
                                "  - max_pool: {kernel: 2}\n"
                                "  - conv2d:\n"
                                "      filters: 64\n"
                                "      kernel: 5\n"
                                "      padding: 2\n"
                                "  - activation: {kind: relu}\n"
                                "  - max_pool: {kernel: 2}\n"
                                "  - flatten\n"
                                "  - dense: {units: 512}\n"
                                "  - leaky_relu: {slope: 0.2}\n"
                                "  - dropout: {drop: 0}\n"
                                "  - dropout: {drop: 0.25}\n"
                                "  - dense: {units: classes}\n");
    ck_assert_str_eq(mcl_network_name(network), "mine");
    ck_assert_int_eq(mcl_network_parameter_count(network), 1663370);
    ck_assert_int_eq(layer(network, "conv1")->shape.d[2], 32);
    ck_assert_int_eq(layer(network, "activation_2")->act, MCL_ACT_RELU);
    ck_assert_int_eq(layer(network, "activation_3")->act, MCL_ACT_LEAKY_RELU);
    ck_assert_float_eq(layer(network, "activation_3")->alpha, 0.2f);
    ck_assert_float_eq(layer(network, "dropout_1")->drop, 0.25f);
    ck_assert_ptr_null(mcl__layer_find(network, "dropout_2"));
    mcl_network_destroy(network);
}
END_TEST

/* Blocks, branches, and references by name. */
static const char blocks[] =
    "input: [32, 32, 3]\n"
    "layers:\n"
    "  - conv2d: {name: conv1, filters: 16, kernel: 3, padding: 1, no_bias: true}\n"
    "  - batch_norm: {name: bn1}\n"
    "  - relu\n"
    "  - block:\n"
    "      name: layer1\n"
    "      repeat: 3\n"
    "      layers:\n"
    "        - residual:\n"
    "            layers:\n"
    "              - conv2d: {name: conv1, filters: 16, kernel: 3, padding: 1, no_bias: true}\n"
    "              - batch_norm: {name: bn1}\n"
    "              - relu\n"
    "              - conv2d: {name: conv2, filters: 16, kernel: 3, padding: 1, no_bias: true}\n"
    "              - batch_norm: {name: bn2, eps: 1e-4, momentum: 0.2}\n"
    "        - relu\n"
    "  - residual:\n"
    "      name: layer2.0\n"
    "      layers:\n"
    "        - conv2d: {name: conv1, filters: 32, kernel: 3, stride: 2, padding: 1, no_bias: true}\n"
    "        - batch_norm: {name: bn1}\n"
    "      shortcut:\n"
    "        - conv2d: {name: downsample.0, filters: 32, kernel: 1, stride: 2, no_bias: true}\n"
    "        - batch_norm: {name: downsample.1}\n"
    "  - parallel:\n"
    "      name: mix\n"
    "      branches:\n"
    "        - [{conv2d: {name: a, filters: 4, kernel: 1}}]\n"
    "        - [{avg_pool: {kernel: 3, stride: 1, padding: 1, exclude_padding: yes, name: b}}]\n"
    "        - []\n"
    "  - conv2d: {name: narrow, filters: 32, kernel: 1, kernel_w: 3, padding_w: 1}\n"
    "  - add: {from: layer2.0.add, name: sum}\n"
    "  - concat: {from: [sum, layer2.0.conv1], name: both}\n"
    "  - slice: {channels: 40}\n"
    "  - pad: {channels_after: 2}\n"
    "  - add: {from: [pad_1, pad_1], name: twice}\n"
    "  - global_avg_pool\n"
    "  - flatten\n"
    "  - dense: {units: 10}\n";

START_TEST(structures)
{
    mcl_network *network = good(blocks);
    ck_assert_int_eq(layer(network, "layer1.2.conv2")->shape.d[0], 32);
    ck_assert_float_eq(layer(network, "layer1.2.bn2")->attrs.norm.eps, 1e-4f);
    ck_assert_float_eq(layer(network, "layer1.2.bn2")->attrs.norm.momentum, 0.2f);
    ck_assert_int_eq(layer(network, "layer2.0.add")->shape.d[0], 16);
    ck_assert_int_eq(layer(network, "layer2.0.downsample.1")->in[0],
                     (int)(layer(network, "layer2.0.downsample.0") - network->layer));
    ck_assert_int_eq(layer(network, "mix.concat")->shape.d[2], 4 + 32 + 32);
    ck_assert_int_eq(layer(network, "mix.1.b")->attrs.pool.count_padding, 0);
    ck_assert_int_eq(layer(network, "narrow")->attrs.conv.pad_h, 0);
    ck_assert_int_eq(layer(network, "narrow")->attrs.conv.pad_w, 1);
    ck_assert_int_eq(layer(network, "both")->shape.d[2], 64);
    ck_assert_int_eq(layer(network, "twice")->shape.d[2], 42);
    mcl_network_destroy(network);
}
END_TEST

static const struct { const char *text, *expected; } bad[] = {
    {"network: lenot", "c.yaml:1:10: there is no network \"lenot\"; did you mean \"lenet\"?"},
    {"network: vgg11", "c.yaml:1:10: network vgg11 for an input (28, 28, 1): layer \"features.28\" (max_pool)"},
    {"network:\n  layer: [relu]\n", "c.yaml:2:3: unknown key \"layer\"; did you mean \"layers\"?"},
    {"layers: relu", "c.yaml:1:9: "},
    {"network: {input: [28, 28]}", "c.yaml:1:18: the input is [height, width, channels], but has 2 sizes"},
    {"network: {input: [28, 28, 0], layers: []}", "c.yaml:1:27: "},
    {"layers:\n  - block: {repeat: 1000, layers: [{dropout: {drop: 0}}]}\n", "a block that repeats needs layers"},
    {"network: {input: [28, 28, 1]}", "a network needs layers, or the name of a ready-made one"},
    {"layers:\n  - convd2: {filters: 3}\n", "c.yaml:2:5: unknown key \"convd2\"; did you mean \"conv2d\"?"},
    {"layers:\n  - rellu\n", "c.yaml:2:5: unknown kind of layer \"rellu\"; did you mean \"relu\"?"},
    {"layers:\n  - [relu]\n", "c.yaml:2:5: a layer is a kind, or one kind with its options"},
    {"layers:\n  - conv2d:\n    filters: 32\n", "c.yaml:2:5: a layer is one kind with its options"},
    {"layers:\n  - conv2d: {filtres: 32}\n", "c.yaml:2:14: unknown key \"filtres\"; did you mean \"filters\"?"},
    {"layers:\n  - conv2d: 32\n", "c.yaml:2:13: "},
    {"layers:\n  - conv2d: {filters: many, kernel: 3}\n", "c.yaml:2:23: "},
    {"layers:\n  - conv2d: {filters: 1.5, kernel: 3}\n", "c.yaml:2:23: "},
    {"layers:\n  - conv2d: {filters: 0, kernel: 3}\n", "c.yaml:2:23: "},
    {"layers:\n  - conv2d: {filters: 3}\n", "c.yaml:2:5: layer \"conv2d_1\" (conv2d): kernel is missing"},
    {"layers:\n  - conv2d: {filters: 3, kernel: 3, no_bias: perhaps}\n", "c.yaml:2:46: "},
    {"layers:\n  - relu: {slope: 0.1}\n", "c.yaml:2:12: unknown key \"slope\""},
    {"layers:\n  - activation: {kind: rely}\n", "c.yaml:2:24: "},
    {"layers:\n  - dropout: {drop: 1.5}\n", "c.yaml:2:21: "},
    {"layers:\n  - batch_norm: {eps: 0}\n", "c.yaml:2:23: "},
    {"layers:\n  - flatten\n  - dense: {units: klasses}\n", "c.yaml:3:20: "},
    {"layers:\n  - conv2d: {name: c, filters: 3, kernel: 31}\n",
     "c.yaml:2:5: layer \"c\" (conv2d): a window of (31, 31) with padding (0, 0) does not fit the input (28, 28, 1)"},
    {"layers:\n  - dense: {units: 10, name: fc}\n",
     "c.yaml:2:5: layer \"fc\" (dense): wants an input (C), but has (28, 28, 1): flatten it first"},
    {"layers:\n  - flatten\n  - dense: {units: 9, name: fc}\n", "c.yaml:2:3: layer \"fc\" gives (9), but the data has 10 classes"},
    {"layers:\n  - relu\n",
     "c.yaml:2:3: layer \"activation_1\" (activation): logits are (classes), but this is (28, 28, 1): flatten it"},
    {"layers:\n  - add\n", "c.yaml:2:5: add needs `from`: the other input"},
    {"layers:\n  - concat: {name: c}\n", "concat needs `from`: the other input"},
    {"layers:\n  - add: {from: nobody}\n", "c.yaml:2:17: there is no earlier layer \"nobody\""},
    {"layers:\n  - relu: {from: [input, input]}\n", "c.yaml:2:18: relu takes 1 to 1 inputs, not 2"},
    {"layers:\n  - block: {repeat: 0, layers: [relu]}\n", "c.yaml:2:21: "},
    {"layers:\n  - block: {repeat: 2}\n", "layers is missing"},
    {"layers:\n  - block\n", "c.yaml:2:5: block needs its members"},
    {"layers:\n  - residual: {body: [relu]}\n", "c.yaml:2:16: unknown key \"body\""},
    {"layers:\n  - residual: {layers: [{conv2d: {filters: 2, kernel: 1}}]}\n",
     "layer \"add_1\" (add): adds tensors of different shapes, (28, 28, 2) and (28, 28, 1)"},
    {"layers:\n  - parallel: {branches: []}\n", "c.yaml:2:26: there are 0 branches; 1 to 16 are possible"},
    {"layers:\n  - parallel: {branches: [[{max_pool: {kernel: 2}}], []]}\n",
     "layer \"concat_1\" (concat): joins channels of different shapes, (14, 14, 1) and (28, 28, 1)"},
    {"layers:\n  - relu: {name: a}\n  - flatten: {from: input}\n  - dense: {units: 10}\n",
     "c.yaml:2:3: layer \"a\" (activation): nothing reads its output"},
    {"layers:\n  - relu: {name: a}\n  - relu: {name: a}\n", "c.yaml:3:5: layer \"a\" (activation): the name is taken"},
    {"layers:\n  - relu: {name: a b}\n", "c.yaml:2:5: layer \"a b\" (activation): a name has letters"},
    {"layers: [{block: {repeat: 1000, layers: [{block: {repeat: 1000, layers: [relu]}}]}}]", "more than 10000 layers"},
};

START_TEST(refuses)
{
    mcl_network *network = NULL;
    mcl_error error = {0};
    ck_assert_int_eq(build(bad[_i].text, &network, &error), MCL_ERROR_CONFIG);
    ck_assert_ptr_null(network);
    ck_assert_msg(strstr(error.text, bad[_i].expected) != NULL, "\"%s\" lacks \"%s\"", error.text, bad[_i].expected);
}
END_TEST

/* The shipped example. */
START_TEST(sample_configuration)
{
    char path[1024];
    const char *source = getenv("MONOCLE_SOURCE");
    snprintf(path, sizeof path, "%s/samples/configs/layers.yaml", source ? source : ".");
    mcl__yaml *yaml = NULL;
    mcl_network *network = NULL;
    mcl_error error = {0};
    mcl_status status = mcl__yaml_read(path, &yaml, &error);
    if (status == MCL_OK)
        status = mcl__network_from_yaml(mcl__yaml_find(mcl__yaml_root(yaml), "network"), 28, 28, 1, 10, &network, &error);
    ck_assert_msg(status == MCL_OK, "%s", error.text);
    ck_assert_int_eq(layer(network, "body.1.bn2")->shape.d[2], 16);
    mcl_network_destroy(network);
    mcl__yaml_destroy(yaml);
}
END_TEST

START_TEST(nests_no_deeper)
{
    char text[2000] = "layers: ", close[200] = "";
    for (int i = 0; i < 14; i++) {
        strcat(text, "[{block: {layers: ");
        strcat(close, "}}]");
    }
    strcat(strcat(text, "[relu]"), close);
    mcl_network *network = NULL;
    mcl_error error = {0};
    ck_assert_int_eq(build(text, &network, &error), MCL_ERROR_CONFIG);
    ck_assert_msg(strstr(error.text, "nested") != NULL, "%s", error.text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nn/yaml");
    TCase *tests = tcase_create("yaml");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, names_the_zoo);
    tcase_add_test(tests, lenet_by_layers);
    tcase_add_test(tests, structures);
    tcase_add_loop_test(tests, refuses, 0, COUNT(bad));
    tcase_add_test(tests, sample_configuration);
    tcase_add_test(tests, nests_no_deeper);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
