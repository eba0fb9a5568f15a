/* The self-test that `monocle probe` runs: the same steps on the device and natively, compared. */
#include "train/self_test.h"
#include "base/random.h"
#include "nn/network.h"
#include "train/feed.h"
#include "train/purpose.h"
#include "train/schedule.h"
#include <math.h>
#include <stdlib.h>

enum { BATCH = 9, SIZE = 11, CHANNELS = 3, CLASSES = 5, STEPS = 3 };
const double mcl__self_test_bound = 1e-3;

static mcl_network *build_network(mcl_error *error)
{
    mcl_network *net = mcl_network_create("self-test");
    if (!net) return NULL;
    mcl_tensor x = mcl_input(net, SIZE, SIZE, CHANNELS);
    x = mcl_conv2d(net, x, &(mcl_conv2d_options){.filters = 20, .kernel = 3, .padding = 1});
    x = mcl_activation(net, mcl_batch_norm(net, x, NULL), NULL);
    mcl_tensor side =
        mcl_conv2d(net, x, &(mcl_conv2d_options){.filters = 20, .kernel = 3, .padding = 1, .groups = 20, .no_bias = true});
    side = mcl_activation(net, side, &(mcl_activation_options){.kind = MCL_RELU6});
    x = mcl_add(net, mcl_conv2d(net, side, &(mcl_conv2d_options){.filters = 20, .kernel = 1}), x, NULL);
    mcl_tensor down = mcl_conv2d(net, x, &(mcl_conv2d_options){.filters = 12, .kernel = 3, .stride = 2, .padding = 1});
    mcl_tensor pooled = mcl_max_pool(net, x, &(mcl_pool_options){.kernel = 3, .stride = 2, .padding = 1});
    x = mcl_concat(net, (mcl_tensor[]){mcl_activation(net, down, &(mcl_activation_options){.kind = MCL_TANH}), pooled}, 2, NULL);
    x = mcl_dropout(net, mcl_avg_pool(net, x, &(mcl_pool_options){.kernel = 2}), &(mcl_dropout_options){.drop = 0.2f});
    x = mcl_dense(net, mcl_flatten(net, x, NULL), &(mcl_dense_options){.units = 24});
    x = mcl_dense(net, mcl_activation(net, x, &(mcl_activation_options){.kind = MCL_LEAKY_RELU}),
                  &(mcl_dense_options){.units = CLASSES});
    if (mcl_network_finish(net, x, error) == MCL_OK) return net;
    mcl_network_destroy(net);
    return NULL;
}

static mcl_status create_inputs(mcl_device *device, mcl_buffer **pixels, mcl_buffer **labels, mcl_error *error)
{
    enum { COUNT = BATCH * SIZE * SIZE * CHANNELS };
    float values[COUNT];
    int32_t classes[BATCH];
    mcl__random_normals((mcl__random){.seed = 1, .stream = mcl__random_stream("self-test", NULL)}, 0, 1, COUNT, values);
    for (int i = 0; i < BATCH; i++) classes[i] = i % CLASSES;
    MCL_TRY_DEVICE(device, mcl_buffer_create(device, sizeof values, pixels), error);
    MCL_TRY_DEVICE(device, mcl_buffer_create(device, sizeof classes, labels), error);
    MCL_TRY_DEVICE(device, mcl_buffer_write(*pixels, 0, sizeof values, values), error);
    MCL_TRY_DEVICE(device, mcl_buffer_write(*labels, 0, sizeof classes, classes), error);
    return MCL_OK;
}

static mcl_status build_plan(mcl__model *model, const mcl_network *network, mcl_buffer *pixels, mcl_buffer *labels,
                             mcl__plan **plan, mcl_error *error)
{
    mcl__graph *graph;
    if (mcl__graph_create(model, true, &graph) != MCL_OK) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the graph");
    mcl__view x_view = {pixels, 0, mcl__buffer_bytes(pixels)}, y_view = {labels, 0, mcl__buffer_bytes(labels)};
    int x = mcl__graph_tensor(graph, "x", (mcl__shape){4, {BATCH, SIZE, SIZE, CHANNELS}}, MCL_F32, x_view);
    int y = mcl__graph_tensor(graph, "y", (mcl__shape){1, {BATCH}}, MCL_I32, y_view);
    int logits = mcl__network_emit(network, graph, x);
    int loss =
        mcl__graph_node(graph, MCL__COMPUTE, "loss", MCL__OP_softmax_cross_entropy, NULL, NULL, (int[]){logits, y, graph->step}, 3);
    mcl__graph_node_into(graph, MCL__COMPUTE, "outcome", MCL__OP_outcome, NULL, (int[]){loss, loss + 1, graph->step}, 3,
                         &graph->record, 1);
    if (graph->error.status == MCL_OK && mcl__graph_differentiate(graph, loss) == MCL_OK && mcl__graph_update(graph) == MCL_OK)
        return mcl__plan_create(graph, NULL, plan, error);
    mcl_status status = mcl__fail(error, graph->error.status, "%s", graph->error.text);
    mcl__graph_destroy(graph);
    return status;
}

/* Trains on one device; *slab gets the parameters before (first half) and after (second half). */
static mcl_status train(mcl_device *device, const mcl_network *network, float **slab, int *elements, mcl_error *error)
{
    mcl_train_options options = {.batch = BATCH, .learning_rate = 0.05f, .momentum = 0.9f, .weight_decay = 1e-3f};
    MCL_TRY(mcl__train_options_resolve(&options, &options, error));
    mcl__model *model = NULL;
    mcl__plan *plan = NULL;
    mcl_buffer *pixels = NULL, *labels = NULL;
    mcl_status status = MCL_OK;
    MCL_TRY_DONE(mcl__model_for(device, network, &options, &model, error));
    MCL_TRY_DONE(mcl__network_initialise(network, model, 1, error));
    MCL_TRY_DONE(create_inputs(device, &pixels, &labels, error));
    MCL_TRY_DONE(build_plan(model, network, pixels, labels, &plan, error));
    uint64_t bytes = (uint64_t)(*elements = model->value.elements) * sizeof **slab;
    if (!(*slab = malloc(2 * bytes))) {
        status = mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the self-test");
        goto done;
    }
    status = mcl_buffer_read(model->value.buffer, 0, bytes, *slab);
    for (int s = 1; s <= STEPS && status == MCL_OK; s++) {
        mcl_step step = {.step = s, .valid_samples = BATCH, .slot = s, .inverse_valid = 1.0f / BATCH, .seed_low = 1};
        step.group[0] = mcl__step_group(&options, s, STEPS);
        status = mcl__plan_step(plan, &step);
        for (int segment = MCL__LOAD; segment < MCL__SEGMENTS && status == MCL_OK; segment++)
            status = mcl__plan_run(plan, (mcl__segment)segment);
    }
    if (status == MCL_OK) status = mcl_buffer_read(model->value.buffer, 0, bytes, *slab + *elements);
    if (status != MCL_OK) mcl__device_error_to(device, status, error);
done:
    mcl__plan_destroy(plan);
    mcl__model_destroy(model);
    mcl_buffer_destroy(pixels);
    mcl_buffer_destroy(labels);
    return status;
}

/* Slabs of devices with other alignments have other gaps, so parameters are compared slot by slot elsewhere; here both hold the
 * same parameters in the same order, and gaps are 0. */
static double compare(const float *expected, int expected_count, const float *got, int got_count)
{
    double change = 0, difference = 0;
    int i = 0, j = 0;
    while (i < expected_count && j < got_count) {
        if (expected[i] == 0 && expected[expected_count + i] == 0) i++;
        else if (got[j] == 0 && got[got_count + j] == 0) j++;
        else {
            double after = (double)expected[expected_count + i];
            change += (after - (double)expected[i]) * (after - (double)expected[i]);
            difference += (after - (double)got[got_count + j]) * (after - (double)got[got_count + j]);
            i++;
            j++;
        }
    }
    return sqrt(difference / change);
}

mcl_status mcl__self_test(mcl_device *device, double *difference, mcl_error *error)
{
    mcl_device *native = NULL;
    float *expected = NULL, *got = NULL;
    int expected_count = 0, got_count = 0;
    mcl_status status = MCL_OK;
    mcl_network *network = build_network(error);
    if (!network) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the self-test");
    MCL_TRY_DONE(mcl_device_open("native", NULL, &native, error));
    MCL_TRY_DONE(train(native, network, &expected, &expected_count, error));
    MCL_TRY_DONE(train(device, network, &got, &got_count, error));
    *difference = compare(expected, expected_count, got, got_count);
    if (!(*difference <= mcl__self_test_bound))
        status = mcl__fail(error, MCL_ERROR_DEVICE, "training gives other numbers than natively: they differ by %.2g of the change",
                           *difference);
done:
    mcl_device_close(native);
    mcl_network_destroy(network);
    free(expected);
    free(got);
    return status;
}
