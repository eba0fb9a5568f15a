/* Small networks by hand, on the native device and the first OpenCL device: what the graph's tests differentiate, fuse, place
 * and replay. Inputs are bound buffers, so that no data set is needed. */
#ifndef MCL_TEST_GRAPH_NETS_H
#define MCL_TEST_GRAPH_NETS_H
#include "graph/plan.h"
#include "support/problem.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))
#define SHAPE(...) ((mcl__shape){(int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), {__VA_ARGS__}})
#define EXPECT(expression, error) ck_assert_msg((expression) == MCL_OK, "%s", (error).text)

enum { DEVICES = 2, BATCH = 4, CLASSES = 5 };

/* Device 0 is native, 1 the first OpenCL device; NULL when there is none. Opened once. */
static inline mcl_device *test_device(int which)
{
    static mcl_device *opened[DEVICES];
    mcl_device_info *devices = NULL;
    mcl_error error = {0};
    int count = 0;
    if (opened[which]) return opened[which];
    mcl__ops_register_native();
    ck_assert_int_eq(mcl_device_list(&devices, &count, NULL, &error), MCL_OK);
    const char *selector = which == 0 ? "native" : devices[0].selector;
    if (which == 0 || devices[0].type != MCL_DEVICE_NATIVE) EXPECT(mcl_device_open(selector, NULL, &opened[which], &error), error);
    else fprintf(stderr, "skipped: no OpenCL device\n");
    free(devices);
    return opened[which];
}

/* In a loop test over devices: the device, or the test ends. */
#define TEST_DEVICE(name)                  \
    mcl_device *name = test_device(_i);    \
    if (!(name)) return

typedef struct net_kind {
    const char *name;
    const mcl__slot *parameter;
    int parameters;
    const mcl__slot *running;
    int runnings;
    mcl__shape sample;
    int (*emit)(mcl__graph *graph, int x); /* -> logits (N, CLASSES) */
} net_kind;

typedef struct test_net {
    const net_kind *kind;
    mcl_device *device;
    mcl__model *model;
    mcl_buffer *x, *labels;
    int loss, logits, batch; /* of the graph built last */
} test_net;

/* --- Layers ------------------------------------------------------------------------------------------------------------- */

static inline int net_map(mcl__graph *graph, const char *name, int kind, int act, int x, int t)
{
    mcl_epilogue_code code = {.code = kind, .act = act, .alpha = 0.1f};
    return mcl__graph_map(graph, name, &code, x, t, -1);
}

static inline int net_dropout(mcl__graph *graph, const char *name, int x)
{
    mcl_epilogue_code code = {.code = MCL_EP_DROPOUT, .alpha = 1.25f, .stream = 7, .threshold = 3435973836u};
    return graph->training ? mcl__graph_map(graph, name, &code, x, -1, -1) : x;
}

static inline int net_node(mcl__graph *graph, const char *name, mcl__op_kind op, mcl__attrs attrs, int a, int b)
{
    return mcl__graph_node(graph, MCL__COMPUTE, name, op, &attrs, NULL, (int[]){a, b}, b >= 0 ? 2 : 1);
}

static inline int net_parameter(mcl__graph *graph, const char *layer, const char *what)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", layer, what);
    return mcl__graph_parameter(graph, name);
}

static inline int net_dense(mcl__graph *graph, const char *name, int x)
{
    int y = net_node(graph, name, MCL__OP_dense, (mcl__attrs){0}, x, net_parameter(graph, name, "weight"));
    return net_map(graph, name, MCL_EP_BIAS, 0, y, net_parameter(graph, name, "bias"));
}

static inline int net_conv(mcl__graph *graph, const char *name, int x, int kernel, int stride, int pad, int groups)
{
    mcl__attrs attrs = {.conv = {.KH = kernel, .KW = kernel, .stride_h = stride, .stride_w = stride, .pad_h = pad, .pad_w = pad,
                                 .dilation_h = 1, .dilation_w = 1, .groups = groups}};
    return net_node(graph, name, MCL__OP_conv2d, attrs, x, net_parameter(graph, name, "weight"));
}

static inline int net_running(mcl__graph *graph, const char *layer, const char *what, bool pending)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", layer, what);
    return mcl__graph_running(graph, name, pending);
}

static inline int net_batch_norm(mcl__graph *graph, const char *name, int x)
{
    mcl__attrs attrs = {.norm = {.eps = 1e-5f, .momentum = 0.1f, .rows = 1}};
    int mean = net_running(graph, name, "running_mean", false), variance = net_running(graph, name, "running_var", false);
    if (graph->training) {
        int of_batch = net_node(graph, name, MCL__OP_batch_norm_stats, attrs, x, -1);
        if (of_batch < 0) return -1;
        attrs.norm.rows = mcl__shape_elements(graph->tensor[x].shape) / mcl__shape_channels(graph->tensor[x].shape);
        mcl__graph_node_into(graph, MCL__COMPUTE, name, MCL__OP_batch_norm_track, &attrs,
                             (int[]){of_batch, of_batch + 1, mean, variance, graph->step}, 5,
                             (int[]){net_running(graph, name, "running_mean", true), net_running(graph, name, "running_var", true)},
                             2);
        mean = of_batch;
        variance = of_batch + 1;
    }
    int scale =
        mcl__graph_node(graph, MCL__COMPUTE, name, MCL__OP_batch_norm_finish, &attrs, NULL,
                        (int[]){mean, variance, net_parameter(graph, name, "weight"), net_parameter(graph, name, "bias")}, 4);
    mcl_epilogue_code code = {.code = MCL_EP_SCALE_SHIFT};
    return mcl__graph_map(graph, name, &code, x, scale, scale + 1);
}

static inline int net_pool(mcl__graph *graph, const char *name, mcl__op_kind op, int x, int kernel, int stride, int pad)
{
    mcl__attrs attrs = {.pool = {.KH = kernel, .KW = kernel, .stride_h = stride, .stride_w = stride, .pad_h = pad, .pad_w = pad}};
    return net_node(graph, name, op, attrs, x, -1);
}

static inline int net_region(mcl__graph *graph, const char *name, mcl__op_kind op, int x, mcl__shape size, int channel)
{
    mcl__attrs attrs = {.region = {.size = size}};
    attrs.region.offset[size.rank - 1] = channel;
    return net_node(graph, name, op, attrs, x, -1);
}

/* --- Networks ----------------------------------------------------------------------------------------------------------- */

/* Shared weights, two parameters with one gradient, a parameter behind a view, and one that nothing reads. */
static const mcl__slot mlp_parameters[] = {
    {.name = "flat.weight", .shape = {1, {130}}},       {.name = "fc1.bias", .shape = {1, {13}}, .group = 1},
    {.name = "shared.weight", .shape = {2, {13, 13}}},  {.name = "shared.bias", .shape = {1, {13}}, .group = 1},
    {.name = "one.weight", .shape = {2, {BATCH, 13}}},  {.name = "other.weight", .shape = {2, {BATCH, 13}}},
    {.name = "fc2.weight", .shape = {2, {13, CLASSES}}}, {.name = "fc2.bias", .shape = {1, {CLASSES}}, .group = 1},
    {.name = "unused.weight", .shape = {2, {3, 7}}},
};

static int mlp_emit(mcl__graph *graph, int x)
{
    int w = net_region(graph, "flat", MCL__OP_reshape, mcl__graph_parameter(graph, "flat.weight"), SHAPE(10, 13), 0);
    int h = net_node(graph, "fc1", MCL__OP_dense, (mcl__attrs){0}, x, w);
    h = net_map(graph, "fc1", MCL_EP_BIAS, 0, h, mcl__graph_parameter(graph, "fc1.bias"));
    h = net_map(graph, "act1", MCL_EP_ACT, MCL_ACT_TANH, h, -1);
    int y = net_map(graph, "act2", MCL_EP_ACT, MCL_ACT_SIGMOID, net_dense(graph, "shared", h), -1);
    y = net_map(graph, "act3", MCL_EP_ACT, MCL_ACT_LEAKY_RELU, net_dense(graph, "shared", y), -1);
    y = net_map(graph, "residual", MCL_EP_ADD, 0, y, h);
    if (graph->tensor[x].shape.d[0] == BATCH) {
        int both = net_map(graph, "both", MCL_EP_ADD, 0, mcl__graph_parameter(graph, "one.weight"),
                           mcl__graph_parameter(graph, "other.weight"));
        y = net_map(graph, "offset", MCL_EP_ADD, 0, y, both);
    }
    return net_dense(graph, "fc2", net_dropout(graph, "drop", y));
}

/* Batch normalisation, groups, residual, slice, concat, dropout, pad, all pools, a flatten. */
static const mcl__slot conv_parameters[] = {
    {.name = "conv1.weight", .shape = {4, {3, 3, 3, 8}}}, {.name = "bn1.weight", .shape = {1, {8}}, .group = 1},
    {.name = "bn1.bias", .shape = {1, {8}}, .group = 1},  {.name = "conv2.weight", .shape = {4, {3, 3, 4, 8}}},
    {.name = "conv2.bias", .shape = {1, {8}}, .group = 1}, {.name = "conv3.weight", .shape = {4, {3, 3, 12, 6}}},
    {.name = "conv3.bias", .shape = {1, {6}}, .group = 1}, {.name = "bn3.weight", .shape = {1, {6}}, .group = 1},
    {.name = "bn3.bias", .shape = {1, {6}}, .group = 1},  {.name = "fc.weight", .shape = {2, {32, CLASSES}}},
    {.name = "fc.bias", .shape = {1, {CLASSES}}, .group = 1}, {.name = "head.weight", .shape = {2, {8, 32}}},
    {.name = "head.bias", .shape = {1, {32}}, .group = 1},
};
static const mcl__slot conv_runnings[] = {
    {.name = "bn1.running_mean", .shape = {1, {8}}}, {.name = "bn1.running_var", .shape = {1, {8}}},
    {.name = "bn3.running_mean", .shape = {1, {6}}}, {.name = "bn3.running_var", .shape = {1, {6}}},
};

static int conv_emit(mcl__graph *graph, int x)
{
    int n = graph->tensor[x].shape.d[0];
    int a = net_batch_norm(graph, "bn1", net_conv(graph, "conv1", x, 3, 1, 1, 1));
    a = net_map(graph, "act1", MCL_EP_ACT, MCL_ACT_TANH, a, -1);
    int b = net_map(graph, "conv2", MCL_EP_BIAS, 0, net_conv(graph, "conv2", a, 3, 1, 1, 2), net_parameter(graph, "conv2", "bias"));
    b = net_map(graph, "act2", MCL_EP_ACT, MCL_ACT_RELU, net_map(graph, "residual", MCL_EP_ADD, 0, b, a), -1);
    int s = net_region(graph, "slice", MCL__OP_slice, b, SHAPE(n, 8, 8, 4), 2);
    mcl__attrs axis = {.concat = {.axis = 3}};
    int c = net_dropout(graph, "drop", net_node(graph, "concat", MCL__OP_concat, axis, s, a));
    c = net_map(graph, "act5", MCL_EP_ACT, MCL_ACT_SIGMOID, c, -1);
    c = net_pool(graph, "max", MCL__OP_max_pool, c, 3, 2, 0);
    c = net_map(graph, "conv3", MCL_EP_BIAS, 0, net_conv(graph, "conv3", c, 3, 2, 1, 1), net_parameter(graph, "conv3", "bias"));
    c = net_map(graph, "act3", MCL_EP_ACT, MCL_ACT_SIGMOID, net_batch_norm(graph, "bn3", c), -1);
    c = net_pool(graph, "avg", MCL__OP_avg_pool, c, 2, 1, 1);
    c = net_region(graph, "pad", MCL__OP_pad, c, SHAPE(n, 3, 3, 8), 1);
    c = net_pool(graph, "gap", MCL__OP_global_avg_pool, c, 0, 0, 0);
    c = net_region(graph, "flatten", MCL__OP_reshape, c, SHAPE(n, 8), 0);
    c = net_map(graph, "act4", MCL_EP_ACT, MCL_ACT_TANH, net_dense(graph, "head", c), -1);
    return net_dense(graph, "fc", c);
}

/* Normalised activations as convolutions read them: a depthwise one, a dense one, a residual. */
static const mcl__slot mobile_parameters[] = {
    {.name = "conv1.weight", .shape = {4, {3, 3, 3, 16}}}, {.name = "bn1.weight", .shape = {1, {16}}, .group = 1},
    {.name = "bn1.bias", .shape = {1, {16}}, .group = 1},  {.name = "conv2.weight", .shape = {4, {3, 3, 1, 16}}},
    {.name = "bn2.weight", .shape = {1, {16}}, .group = 1}, {.name = "bn2.bias", .shape = {1, {16}}, .group = 1},
    {.name = "conv3.weight", .shape = {4, {1, 1, 16, 16}}}, {.name = "bn3.weight", .shape = {1, {16}}, .group = 1},
    {.name = "bn3.bias", .shape = {1, {16}}, .group = 1},  {.name = "fc.weight", .shape = {2, {16, CLASSES}}},
    {.name = "fc.bias", .shape = {1, {CLASSES}}, .group = 1},
};
static const mcl__slot mobile_runnings[] = {
    {.name = "bn1.running_mean", .shape = {1, {16}}}, {.name = "bn1.running_var", .shape = {1, {16}}},
    {.name = "bn2.running_mean", .shape = {1, {16}}}, {.name = "bn2.running_var", .shape = {1, {16}}},
    {.name = "bn3.running_mean", .shape = {1, {16}}}, {.name = "bn3.running_var", .shape = {1, {16}}},
};

static int mobile_emit(mcl__graph *graph, int x)
{
    int n = graph->tensor[x].shape.d[0];
    int a = net_batch_norm(graph, "bn1", net_conv(graph, "conv1", x, 3, 1, 1, 1));
    a = net_map(graph, "act1", MCL_EP_ACT, MCL_ACT_RELU, a, -1);
    int b = net_batch_norm(graph, "bn2", net_conv(graph, "conv2", a, 3, 1, 1, 16));
    b = net_map(graph, "act2", MCL_EP_ACT, MCL_ACT_RELU6, b, -1);
    int c = net_batch_norm(graph, "bn3", net_conv(graph, "conv3", b, 1, 1, 0, 1));
    c = net_map(graph, "act3", MCL_EP_ACT, MCL_ACT_RELU, net_map(graph, "residual", MCL_EP_ADD, 0, c, b), -1);
    c = net_region(graph, "flatten", MCL__OP_reshape, net_pool(graph, "gap", MCL__OP_global_avg_pool, c, 0, 0, 0), SHAPE(n, 16), 0);
    return net_dense(graph, "fc", c);
}

/* Residual blocks one after another: each sum is read by the next block's convolution and by its sum. */
#define BLOCK_PARAMETERS(n)                                                                                             \
    {.name = "conv" n ".weight", .shape = {4, {3, 3, 16, 16}}}, {.name = "bn" n ".weight", .shape = {1, {16}}, .group = 1}, \
        {.name = "bn" n ".bias", .shape = {1, {16}}, .group = 1}
#define BLOCK_RUNNINGS(n) \
    {.name = "bn" n ".running_mean", .shape = {1, {16}}}, {.name = "bn" n ".running_var", .shape = {1, {16}}}
static const mcl__slot blocks_parameters[] = {
    {.name = "conv0.weight", .shape = {4, {3, 3, 3, 16}}}, {.name = "bn0.weight", .shape = {1, {16}}, .group = 1},
    {.name = "bn0.bias", .shape = {1, {16}}, .group = 1},  BLOCK_PARAMETERS("1"), BLOCK_PARAMETERS("2"), BLOCK_PARAMETERS("3"),
    {.name = "fc.weight", .shape = {2, {16, CLASSES}}},    {.name = "fc.bias", .shape = {1, {CLASSES}}, .group = 1},
};
static const mcl__slot blocks_runnings[] = {BLOCK_RUNNINGS("0"), BLOCK_RUNNINGS("1"), BLOCK_RUNNINGS("2"), BLOCK_RUNNINGS("3")};

static int blocks_emit(mcl__graph *graph, int x)
{
    int n = graph->tensor[x].shape.d[0];
    for (int block = 0; block < 4; block++) {
        char conv[8], bn[8], act[8];
        snprintf(conv, sizeof conv, "conv%d", block);
        snprintf(bn, sizeof bn, "bn%d", block);
        snprintf(act, sizeof act, "act%d", block);
        int y = net_batch_norm(graph, bn, net_conv(graph, conv, x, 3, 1, 1, 1));
        if (block > 0) y = net_map(graph, "residual", MCL_EP_ADD, 0, y, x);
        x = net_map(graph, act, MCL_EP_ACT, MCL_ACT_RELU, y, -1);
    }
    x = net_region(graph, "flatten", MCL__OP_reshape, net_pool(graph, "gap", MCL__OP_global_avg_pool, x, 0, 0, 0), SHAPE(n, 16), 0);
    return net_dense(graph, "fc", x);
}

static const net_kind net_kinds[] = {
    {"mlp", mlp_parameters, COUNT(mlp_parameters), NULL, 0, {1, {10}}, mlp_emit},
    {"conv", conv_parameters, COUNT(conv_parameters), conv_runnings, COUNT(conv_runnings), {3, {8, 8, 3}}, conv_emit},
    {"mobile", mobile_parameters, COUNT(mobile_parameters), mobile_runnings, COUNT(mobile_runnings), {3, {8, 8, 3}}, mobile_emit},
    {"blocks", blocks_parameters, COUNT(blocks_parameters), blocks_runnings, COUNT(blocks_runnings), {3, {8, 8, 3}}, blocks_emit},
};
enum { MLP, CONV, MOBILE, BLOCKS, KINDS };

/* --- Models and plans --------------------------------------------------------------------------------------------------- */

static const mcl__optimiser net_sgd = {
    .kind = MCL__OPTIMISER_SGD, .momentum = 0.9f, .nesterov = true, .groups = 2, .decay = {1e-3f}};

static inline void net_fill(test_net *net, uint64_t seed)
{
    mcl__model *model = net->model;
    for (int i = 0; i < model->parameters; i++) {
        const mcl__slot *slot = &model->parameter[i];
        int n = mcl__shape_elements(slot->shape);
        float *value = malloc((size_t)n * sizeof *value);
        double scale = slot->shape.rank > 1 ? 1.5 / sqrt((double)n / mcl__shape_channels(slot->shape)) : 0.3;
        for (int j = 0; j < n; j++) value[j] = (float)test_uniform(&seed, -scale, scale);
        for (int j = 0; j < n && !strncmp(slot->name, "bn", 2) && strstr(slot->name, "weight"); j++) value[j] += 1.0f;
        ck_assert_int_eq(mcl__model_write(model, &model->value, slot, value), MCL_OK);
        free(value);
    }
    for (int i = 0; i < model->runnings; i++) {
        float value[16];
        for (int j = 0; j < 16; j++) value[j] = strstr(model->running[i].name, "var") ? 1.0f : 0.0f;
        ck_assert_int_eq(mcl__model_write(model, &model->running_value, &model->running[i], value), MCL_OK);
    }
}

/* batch: samples that the data buffers have room for. Data and weights follow from the seed. */
static inline test_net net_create_of(mcl_device *device, const net_kind *kind, const mcl__optimiser *optimiser, int batch,
                                     uint64_t seed)
{
    test_net made = {.kind = kind, .device = device, .batch = batch};
    mcl_error error = {0};
    EXPECT(mcl__model_create(device, made.kind->parameter, made.kind->parameters, made.kind->running, made.kind->runnings,
                             optimiser, &made.model, &error),
           error);
    net_fill(&made, seed);
    int elements = batch * mcl__shape_elements(made.kind->sample);
    float *x = malloc((size_t)elements * sizeof *x);
    int32_t *labels = malloc((size_t)batch * sizeof *labels);
    for (int i = 0; i < elements; i++) x[i] = (float)test_uniform(&seed, -1.5, 1.5);
    for (int i = 0; i < batch; i++) labels[i] = (int32_t)(test_random(&seed) % CLASSES);
    ck_assert_int_eq(mcl_buffer_create(device, (uint64_t)elements * sizeof *x, &made.x), MCL_OK);
    ck_assert_int_eq(mcl_buffer_create(device, (uint64_t)batch * sizeof *labels, &made.labels), MCL_OK);
    ck_assert_int_eq(mcl_buffer_write(made.x, 0, (uint64_t)elements * sizeof *x, x), MCL_OK);
    ck_assert_int_eq(mcl_buffer_write(made.labels, 0, (uint64_t)batch * sizeof *labels, labels), MCL_OK);
    free(x);
    free(labels);
    return made;
}

static inline test_net net_create(mcl_device *device, int kind, const mcl__optimiser *optimiser, int batch, uint64_t seed)
{
    return net_create_of(device, &net_kinds[kind], optimiser, batch, seed);
}

static inline void net_destroy(test_net *net)
{
    mcl_buffer_destroy(net->x);
    mcl_buffer_destroy(net->labels);
    mcl__model_destroy(net->model);
}

/* The graph of one step on samples [first, first + batch) of the data; differentiated and updated when training. */
static inline mcl__graph *net_graph(test_net *net, bool training, int first, int batch)
{
    mcl__graph *graph = NULL;
    mcl__shape shape = {net->kind->sample.rank + 1, {batch}};
    uint64_t bytes = (uint64_t)mcl__shape_elements(net->kind->sample) * sizeof(float);
    memcpy(&shape.d[1], net->kind->sample.d, (size_t)net->kind->sample.rank * sizeof(int));
    ck_assert_int_eq(mcl__graph_create(net->model, training, &graph), MCL_OK);
    int x = mcl__graph_tensor(graph, "x", shape, MCL_F32, (mcl__view){net->x, (uint64_t)first * bytes, (uint64_t)batch * bytes});
    int labels = mcl__graph_tensor(graph, "labels", SHAPE(batch), MCL_I32,
                                   (mcl__view){net->labels, (uint64_t)first * 4, (uint64_t)batch * 4});
    net->logits = net->kind->emit(graph, x);
    net->loss = mcl__graph_node(graph, MCL__COMPUTE, "loss", MCL__OP_softmax_cross_entropy, NULL, NULL,
                                (int[]){net->logits, labels, graph->step}, 3);
    EXPECT(graph->error.status, graph->error);
    graph->tensor[net->loss].kept = graph->tensor[net->logits].kept = true;
    mcl__graph_node_into(graph, MCL__COMPUTE, "outcome", MCL__OP_outcome, NULL, (int[]){net->loss, net->loss + 1, graph->step}, 3,
                         &graph->record, 1);
    if (training) {
        mcl__graph_differentiate(graph, net->loss);
        EXPECT(graph->error.status, graph->error);
        mcl__graph_update(graph);
    }
    EXPECT(graph->error.status, graph->error);
    return graph;
}

static inline mcl__plan *net_plan(test_net *net, bool training, const mcl__plan_options *options)
{
    mcl__plan *plan = NULL;
    mcl_error error = {0};
    EXPECT(mcl__plan_create(net_graph(net, training, 0, net->batch), options, &plan, &error), error);
    return plan;
}

static inline mcl_step net_step(const test_net *net, int t)
{
    mcl_step step = {.step = t, .valid_samples = net->batch, .slot = t % MCL_HISTORY, .inverse_valid = 1.0f / (float)net->batch,
                     .seed_low = 11, .seed_high = 12};
    for (int i = 0; i < MCL_STEP_GROUPS; i++) {
        step.group[i].learning_rate = 0.05f;
        step.group[i].bias_correction1 = (float)(1 / (1 - pow(0.9, t)));
        step.group[i].bias_correction2 = (float)(1 / (1 - pow(0.999, t)));
    }
    return step;
}

static inline void net_run(mcl__plan *plan, const mcl_step *step, mcl__segment last)
{
    mcl_device *device = mcl__plan_graph(plan)->model->device;
    ck_assert_msg(mcl__plan_step(plan, step) == MCL_OK, "%s", mcl_device_error(device)->text);
    for (int s = 0; s <= (int)last; s++)
        ck_assert_msg(mcl__plan_run(plan, (mcl__segment)s) == MCL_OK, "%s", mcl_device_error(device)->text);
}

/* The sum of a plan's losses, in double. */
static inline double net_loss(const test_net *net, const mcl__plan *plan)
{
    mcl__view view = mcl__plan_view(plan, net->loss);
    float loss[256];
    double sum = 0;
    ck_assert_int_eq(mcl_buffer_read(view.buffer, view.offset, view.bytes, loss), MCL_OK);
    for (uint64_t i = 0; i < view.bytes / sizeof *loss; i++) sum += loss[i];
    return sum;
}

/* A slab's content; freed by the caller. */
static inline float *net_slab(const mcl__slab *slab)
{
    float *copy = malloc((size_t)slab->elements * sizeof *copy);
    ck_assert_int_eq(mcl_buffer_read(slab->buffer, 0, (uint64_t)slab->elements * sizeof *copy, copy), MCL_OK);
    return copy;
}

/* |a - b| / |b| over n elements. */
static inline double relative(const float *a, const float *b, int n)
{
    double difference = 0, norm = 0;
    for (int i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    for (int i = 0; i < DEVICES; i++) mcl_device_close(test_device(i));
    return failed > 0;
}
#endif
