/* A network on a device: model, data in bound buffers, and plans of a training or evaluation step. No data set is needed. */
#ifndef MCL_TEST_NN_HARNESS_H
#define MCL_TEST_NN_HARNESS_H
#include "graph/plan.h"
#include "nn/weights.h"
#include "support/problem.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))
#define EXPECT(expression, error) ck_assert_msg((expression) == MCL_OK, "%s", (error).text)

/* Device 0 is native, 1 the first OpenCL device; NULL when there is none. Opened once. */
static inline mcl_device *test_device(int which)
{
    static mcl_device *opened[2];
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

typedef struct harness {
    const mcl_network *network;
    mcl__model *model;
    mcl_buffer *x, *labels;
    int batch, loss, logits;
} harness;

static inline harness harness_create(mcl_device *device, const mcl_network *network, const mcl__optimiser *optimiser, int batch,
                                     uint64_t seed)
{
    harness made = {.network = network, .batch = batch};
    mcl__slot *parameters, *runnings;
    mcl_error error = {0};
    int parameter_count, running_count, H, W, C;
    EXPECT(mcl__network_slots(network, &parameters, &parameter_count, &runnings, &running_count, &error), error);
    EXPECT(mcl__model_create(device, parameters, parameter_count, runnings, running_count, optimiser, &made.model, &error), error);
    EXPECT(mcl__network_initialise(network, made.model, seed, &error), error);
    free(parameters);
    free(runnings);
    mcl_network_input_shape(network, &H, &W, &C);
    ck_assert_int_eq(mcl_buffer_create(device, (uint64_t)batch * (uint64_t)(H * W * C) * 4, &made.x), MCL_OK);
    ck_assert_int_eq(mcl_buffer_create(device, (uint64_t)batch * 4, &made.labels), MCL_OK);
    return made;
}

/* Uniform pictures and labels from the seed. */
static inline void harness_fill(harness *h, uint64_t seed)
{
    int H, W, C;
    mcl_network_input_shape(h->network, &H, &W, &C);
    int elements = h->batch * H * W * C;
    float *x = malloc((size_t)elements * sizeof *x);
    int32_t *labels = malloc((size_t)h->batch * sizeof *labels);
    for (int i = 0; i < elements; i++) x[i] = (float)test_uniform(&seed, -1.5, 1.5);
    for (int i = 0; i < h->batch; i++) labels[i] = (int32_t)(test_random(&seed) % (unsigned)mcl_network_classes(h->network));
    ck_assert_int_eq(mcl_buffer_write(h->x, 0, (uint64_t)elements * sizeof *x, x), MCL_OK);
    ck_assert_int_eq(mcl_buffer_write(h->labels, 0, (uint64_t)h->batch * sizeof *labels, labels), MCL_OK);
    free(x);
    free(labels);
}

static inline void harness_destroy(harness *h)
{
    mcl_buffer_destroy(h->x);
    mcl_buffer_destroy(h->labels);
    mcl__model_destroy(h->model);
}

static inline mcl__plan *harness_plan(harness *h, bool training, const mcl__plan_options *options)
{
    mcl__graph *graph = NULL;
    mcl__plan *plan = NULL;
    mcl_error error = {0};
    int H, W, C;
    mcl_network_input_shape(h->network, &H, &W, &C);
    EXPECT(mcl__graph_create(h->model, training, &graph), error);
    int x = mcl__graph_tensor(graph, "x", (mcl__shape){4, {h->batch, H, W, C}}, MCL_F32,
                              (mcl__view){h->x, 0, (uint64_t)h->batch * (uint64_t)(H * W * C) * 4});
    int labels = mcl__graph_tensor(graph, "labels", (mcl__shape){1, {h->batch}}, MCL_I32,
                                   (mcl__view){h->labels, 0, (uint64_t)h->batch * 4});
    h->logits = mcl__network_emit(h->network, graph, x);
    EXPECT(graph->error.status, graph->error);
    h->loss = mcl__graph_node(graph, MCL__COMPUTE, "loss", MCL__OP_softmax_cross_entropy, NULL, NULL,
                              (int[]){h->logits, labels, graph->step}, 3);
    EXPECT(graph->error.status, graph->error);
    graph->tensor[h->loss].kept = graph->tensor[h->logits].kept = true;
    mcl__graph_node_into(graph, MCL__COMPUTE, "outcome", MCL__OP_outcome, NULL, (int[]){h->loss, h->loss + 1, graph->step}, 3,
                         &graph->record, 1);
    if (training) {
        mcl__graph_differentiate(graph, h->loss);
        EXPECT(graph->error.status, graph->error);
        mcl__graph_update(graph);
    }
    EXPECT(graph->error.status, graph->error);
    EXPECT(mcl__plan_create(graph, options, &plan, &error), error);
    return plan;
}

/* Step t, up to and with the segment `last`; rate holds for all groups. */
static inline void harness_run(const harness *h, mcl__plan *plan, int t, float rate, mcl__segment last)
{
    mcl_device *device = h->model->device;
    mcl_step step = {.step = t, .valid_samples = h->batch, .slot = t % MCL_HISTORY, .inverse_valid = 1.0f / (float)h->batch,
                     .seed_low = 11, .seed_high = 12};
    for (int i = 0; i < MCL_STEP_GROUPS; i++) step.group[i].learning_rate = rate;
    ck_assert_msg(mcl__plan_step(plan, &step) == MCL_OK, "%s", mcl_device_error(device)->text);
    for (int s = 0; s <= (int)last; s++)
        ck_assert_msg(mcl__plan_run(plan, (mcl__segment)s) == MCL_OK, "%s", mcl_device_error(device)->text);
}

/* A kept tensor of a plan; freed by the caller. */
static inline float *harness_tensor(const mcl__plan *plan, int tensor, int *count)
{
    mcl__view view = mcl__plan_view(plan, tensor);
    float *copy = malloc(view.bytes);
    *count = mcl__shape_elements(mcl__plan_graph(plan)->tensor[tensor].shape);
    ck_assert_int_eq(mcl_buffer_read(view.buffer, view.offset, (uint64_t)*count * sizeof *copy, copy), MCL_OK);
    return copy;
}

/* The mean loss of the batch that ran last. */
static inline double harness_loss(const harness *h, const mcl__plan *plan)
{
    int count;
    float *loss = harness_tensor(plan, h->loss, &count);
    double sum = 0;
    for (int i = 0; i < count; i++) sum += loss[i];
    free(loss);
    return sum / count;
}

/* A slab's tensors one after the other, without the gaps that devices differ in; freed by the caller. */
static inline float *harness_slab(const mcl__slab *slab, const mcl__slot *slots, int count, int *elements)
{
    float *copy = malloc((size_t)(slab->elements + 1) * sizeof *copy);
    *elements = 0;
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(mcl__model_read(slab, &slots[i], copy + *elements), MCL_OK);
        *elements += mcl__shape_elements(slots[i].shape);
    }
    return copy;
}

static inline float *harness_values(mcl__model *model, int *elements)
{
    return harness_slab(&model->value, model->parameter, model->parameters, elements);
}

static inline double norm_of(const float *a, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * a[i];
    return sqrt(sum);
}

static inline double distance(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sqrt(sum);
}

static inline int run_suite(Suite *suite, bool devices)
{
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    for (int i = 0; i < 2 && devices; i++) mcl_device_close(test_device(i));
    return failed > 0;
}
#endif
