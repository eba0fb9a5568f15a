/* Networks as graphs: the native and the OpenCL device agree on losses, logits and every gradient, in training and evaluation. */
#include "nn/layer.h"
#include "harness.h"

#define TOLERANCE 1e-4 /* of gradients, in relative norm; differences are 1e-6 to 1e-5 */

static const mcl__optimiser sgd = {.kind = MCL__OPTIMISER_SGD, .momentum = 0.9f, .groups = 1, .decay = {5e-4f}};

/* Every kind of layer. */
static const char every_layer[] =
    "input: [9, 10, 3]\n"
    "layers:\n"
    "  - conv2d: {filters: 8, kernel: 3, kernel_w: 2, padding: 1, padding_w: 0, stride_w: 2, name: stem}\n"
    "  - leaky_relu: {slope: 0.3}\n"
    "  - residual:\n"
    "      layers:\n"
    "        - conv2d: {filters: 8, kernel: 3, dilation: 2, padding: 2, groups: 4, no_bias: true}\n"
    "        - batch_norm: {eps: 1e-3}\n"
    "        - sigmoid\n"
    "  - parallel:\n"
    "      branches:\n"
    "        - [{conv2d: {filters: 8, kernel: 3, padding: 1, groups: 8}}, tanh]\n"
    "        - [{avg_pool: {kernel: 3, stride: 1, padding: 1, exclude_padding: yes}}]\n"
    "        - [{slice: {channel: 2, channels: 3}}, {pad: {channels_before: 1}}]\n"
    "  - max_pool: {kernel: 3, stride: 2, padding: 1}\n"
    "  - dropout: {drop: 0.3}\n"
    "  - conv2d: {filters: 12, kernel: 1}\n"
    "  - relu6\n"
    "  - avg_pool: {kernel: 2, kernel_w: 1}\n"
    "  - slice: {y: 1, height: 1}\n"
    "  - flatten\n"
    "  - dense: {units: 16}\n"
    "  - batch_norm\n"
    "  - relu\n"
    "  - dense: {units: 7}\n";

static mcl_network *from_text(const char *text)
{
    mcl__yaml *yaml;
    mcl_network *network;
    mcl_error error = {0};
    EXPECT(mcl__yaml_parse(text, strlen(text), "every.yaml", &yaml, &error), error);
    EXPECT(mcl__network_from_yaml(mcl__yaml_root(yaml), 0, 0, 0, 0, &network, &error), error);
    mcl__yaml_destroy(yaml);
    return network;
}

typedef struct outcome { double loss; float *logits, *gradient, *pending, *eval_logits; int count, gradients, pendings; } outcome;

static outcome run(mcl_device *device, const mcl_network *network, int batch, const mcl__plan_options *options, harness *h)
{
    outcome out = {0};
    *h = harness_create(device, network, &sgd, batch, 5);
    harness_fill(h, 6);
    mcl__plan *plan = harness_plan(h, true, options);
    harness_run(h, plan, 1, 0.01f, MCL__COMPUTE);
    out.loss = harness_loss(h, plan);
    out.logits = harness_tensor(plan, h->logits, &out.count);
    mcl__model *model = h->model;
    out.gradient = harness_slab(&model->gradient, model->parameter, model->parameters, &out.gradients);
    out.pending = harness_slab(&model->pending, model->running, model->runnings, &out.pendings);
    mcl__plan_destroy(plan);
    plan = harness_plan(h, false, options);
    harness_run(h, plan, 1, 0, MCL__COMPUTE);
    out.eval_logits = harness_tensor(plan, h->logits, &out.count);
    mcl__plan_destroy(plan);
    return out;
}

static void free_outcome(outcome *out)
{
    free(out->logits);
    free(out->gradient);
    free(out->pending);
    free(out->eval_logits);
}

/* The norm that a gradient's error is held against: its own; for a bias that is zero in exact arithmetic (before batch
 * normalisation) that of its layer's weight, which comes before it. */
static double scale_of(const mcl__slot *slot, double own, double before)
{
    return strstr(slot->name, ".bias") && own < 1e-4 * before ? before : own;
}

static void expect_alike(const mcl__model *model, const outcome *a, const outcome *b, const char *what)
{
    ck_assert_msg(fabs(a->loss - b->loss) <= 1e-5 * fabs(b->loss), "%s: losses %.9g and %.9g", what, a->loss, b->loss);
    double logits = norm_of(b->logits, b->count), eval = norm_of(b->eval_logits, b->count), before = 0;
    ck_assert_msg(distance(a->logits, b->logits, a->count) <= 1e-4 * logits, "%s: logits", what);
    ck_assert_msg(distance(a->eval_logits, b->eval_logits, a->count) <= 1e-4 * eval, "%s: logits in evaluation", what);
    for (int i = 0, at = 0, n; i < model->parameters; i++, at += n) {
        n = mcl__shape_elements(model->parameter[i].shape);
        double own = norm_of(b->gradient + at, n);
        double error = distance(a->gradient + at, b->gradient + at, n) / scale_of(&model->parameter[i], own, before);
        ck_assert_msg(error <= TOLERANCE, "%s: gradient of %s: %.3g", what, model->parameter[i].name, error);
        before = own;
    }
    ck_assert_msg(distance(a->pending, b->pending, a->pendings) <= 1e-4 * norm_of(b->pending, b->pendings), "%s: statistics", what);
}

static void compare_devices(const mcl_network *network, int batch)
{
    harness native, opencl;
    outcome a = run(test_device(0), network, batch, NULL, &native);
    ck_assert_double_gt(a.loss, 0.5);
    if (test_device(1)) {
        outcome b = run(test_device(1), network, batch, NULL, &opencl);
        expect_alike(native.model, &b, &a, mcl_network_name(network));
        free_outcome(&b);
        harness_destroy(&opencl);
    }
    free_outcome(&a);
    harness_destroy(&native);
}

START_TEST(every_layer_on_both_devices)
{
    mcl_network *network = from_text(every_layer);
    compare_devices(network, 6);
    mcl_network_destroy(network);
}
END_TEST

/* With tanh for ReLU: where two devices round a sum near zero to different sides of ReLU's kink, the gradient of that element
 * is there or not, and through the layers below this one element shows as 1e-3 to 1e-2. */
START_TEST(zoo_on_both_devices)
{
    const char *name = mcl_network_names()[_i];
    mcl_network *network;
    mcl_error error = {0};
    EXPECT(mcl_network_by_name(name, 0, 0, 0, 0, &network, &error), error);
    for (size_t i = 0; i < network->layers; i++)
        if (network->layer[i].kind == MCL__LAYER_ACTIVATION) network->layer[i].act = MCL_ACT_TANH;
    compare_devices(network, 8);
    mcl_network_destroy(network);
}
END_TEST

/* Fusion and the placement of memory change nothing that matters. */
START_TEST(fusion_keeps_the_numbers)
{
    if (!test_device(_i)) return;
    mcl_network *network = from_text(every_layer);
    harness plain, fused;
    outcome a = run(test_device(_i), network, 6, &(mcl__plan_options){.no_fuse = true, .no_share = true}, &plain);
    outcome b = run(test_device(_i), network, 6, NULL, &fused);
    expect_alike(plain.model, &b, &a, "fused");
    free_outcome(&a);
    free_outcome(&b);
    harness_destroy(&plain);
    harness_destroy(&fused);
    mcl_network_destroy(network);
}
END_TEST

/* Dropout is there in training only; its mask follows the step. */
START_TEST(dropout_is_of_training)
{
    if (!test_device(_i)) return;
    mcl_network *network = from_text("input: [4, 4, 2]\nlayers: [flatten, {dropout: {drop: 0.5, name: d}}, {dense: {units: 3}}]");
    harness h = harness_create(test_device(_i), network, &sgd, 4, 1);
    harness_fill(&h, 2);
    mcl__plan *train = harness_plan(&h, true, NULL), *eval = harness_plan(&h, false, NULL);
    double loss[4];
    harness_run(&h, train, 1, 0, MCL__COMPUTE), loss[0] = harness_loss(&h, train);
    harness_run(&h, train, 1, 0, MCL__COMPUTE), loss[1] = harness_loss(&h, train);
    harness_run(&h, train, 2, 0, MCL__COMPUTE), loss[2] = harness_loss(&h, train);
    mcl__plan_destroy(train);
    harness_run(&h, eval, 1, 0, MCL__COMPUTE), loss[3] = harness_loss(&h, eval);
    ck_assert_double_eq(loss[0], loss[1]);
    ck_assert_double_ne(loss[0], loss[2]);
    ck_assert_double_ne(loss[0], loss[3]);
    mcl__plan_destroy(eval);
    harness_destroy(&h);
    mcl_network_destroy(network);
}
END_TEST

START_TEST(wrong_input_is_named)
{
    mcl_network *network;
    mcl_error error = {0};
    EXPECT(mcl_network_by_name("mlp", 0, 0, 0, 0, &network, &error), error);
    harness h = harness_create(test_device(0), network, NULL, 2, 1);
    mcl__graph *graph;
    EXPECT(mcl__graph_create(h.model, false, &graph), error);
    int x = mcl__graph_tensor(graph, "x", (mcl__shape){4, {2, 14, 28, 1}}, MCL_F32, (mcl__view){h.x, 0, 2 * 14 * 28 * 4});
    ck_assert_int_lt(mcl__network_emit(network, graph, x), 0);
    ck_assert_str_eq(graph->error.text, "network mlp takes (2, 28, 28, 1), but is given (2, 14, 28, 1)");
    mcl__graph_destroy(graph);
    harness_destroy(&h);
    mcl_network_destroy(network);
}
END_TEST

int main(void)
{
    int networks = 0;
    while (mcl_network_names()[networks]) networks++;
    Suite *suite = suite_create("nn/emit");
    TCase *tests = tcase_create("emit");
    tcase_set_timeout(tests, 250);
    tcase_add_test(tests, every_layer_on_both_devices);
    tcase_add_loop_test(tests, zoo_on_both_devices, 0, networks);
    tcase_add_loop_test(tests, fusion_keeps_the_numbers, 0, 2);
    tcase_add_loop_test(tests, dropout_is_of_training, 0, 2);
    tcase_add_test(tests, wrong_input_is_named);
    suite_add_tcase(suite, tests);
    return run_suite(suite, true);
}
