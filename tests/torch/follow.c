/* Trains a network from given weights on given batches and tells what came out: the half of follow.py that is ours.
 *   follow NETWORK DEVICE IN OUT.safetensors [VARIANT]
 * IN: a safetensors file with the weights under our names, `monocle.pictures` F32 (batches, N, H, W, C), `monocle.labels` I32
 * (batches, N), and in the metadata `steps`, `rate`, `momentum`, `decay`. Step t takes batch t % batches.
 * OUT: the trained weights, `monocle.losses` F64 (steps), `monocle.logits` and `monocle.trained_logits` F32 (N, classes): the
 * first batch's in evaluation before and after training, and `monocle.gradient.NAME` of the first step. */
#include "graph/plan.h"
#include "nn/weights.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct run {
    mcl_network *network;
    mcl_device *device;
    mcl__safetensors *in;
    mcl__safetensors_writer *out;
    mcl__model *model;
    mcl_buffer *x, *labels;
    const float *pictures;
    const int32_t *classes;
    int batches, N, elements, steps; /* elements of one batch's pictures */
    float rate;
    int loss, logits;
} run;

static double number(const run *r, const char *key)
{
    const char *text = mcl__safetensors_metadata(r->in, key);
    return text ? strtod(text, NULL) : 0;
}

static mcl_status prepare_model(run *r, mcl_error *error)
{
    mcl__slot *parameters = NULL, *runnings = NULL;
    int parameter_count, running_count;
    mcl__optimiser sgd = {.kind = MCL__OPTIMISER_SGD, .momentum = (float)number(r, "momentum"), .groups = 1,
                          .decay = {(float)number(r, "decay")}};
    mcl_status status = mcl__network_slots(r->network, &parameters, &parameter_count, &runnings, &running_count, error);
    if (status == MCL_OK)
        status = mcl__model_create(r->device, parameters, parameter_count, runnings, running_count, &sgd, &r->model, error);
    if (status == MCL_OK) status = mcl__weights_take(r->model, r->in, error);
    free(parameters);
    free(runnings);
    return status;
}

static mcl_status prepare_data(run *r, mcl_error *error)
{
    const mcl__safetensors_tensor *pictures = mcl__safetensors_find(r->in, "monocle.pictures");
    const mcl__safetensors_tensor *labels = mcl__safetensors_find(r->in, "monocle.labels");
    int H, W, C;
    mcl_network_input_shape(r->network, &H, &W, &C);
    if (!pictures || !labels || pictures->rank != 5 || labels->rank != 2 || pictures->shape[2] != H || pictures->shape[3] != W ||
        pictures->shape[4] != C)
        return mcl__fail(error, MCL_ERROR_SHAPE, "pictures or labels are missing or do not fit");
    r->batches = (int)pictures->shape[0];
    r->N = (int)pictures->shape[1];
    r->elements = r->N * H * W * C;
    r->pictures = pictures->data;
    r->classes = labels->data;
    r->steps = (int)number(r, "steps");
    r->rate = (float)number(r, "rate");
    MCL_TRY(mcl_buffer_create(r->device, (uint64_t)r->elements * 4, &r->x));
    return mcl_buffer_create(r->device, (uint64_t)r->N * 4, &r->labels);
}

static mcl_status make_plan(run *r, bool training, const char *variant, mcl__plan **plan, mcl_error *error)
{
    mcl__graph *graph;
    int H, W, C;
    mcl_network_input_shape(r->network, &H, &W, &C);
    MCL_TRY(mcl__graph_create(r->model, training, &graph));
    mcl__view pictures = {r->x, 0, (uint64_t)r->elements * 4}, classes = {r->labels, 0, (uint64_t)r->N * 4};
    int x = mcl__graph_tensor(graph, "x", (mcl__shape){4, {r->N, H, W, C}}, MCL_F32, pictures);
    int labels = mcl__graph_tensor(graph, "labels", (mcl__shape){1, {r->N}}, MCL_I32, classes);
    r->logits = mcl__network_emit(r->network, graph, x);
    r->loss = mcl__graph_node(graph, MCL__COMPUTE, "loss", MCL__OP_softmax_cross_entropy, NULL, NULL,
                              (int[]){r->logits, labels, graph->step}, 3);
    if (graph->error.status == MCL_OK) {
        graph->tensor[r->loss].kept = graph->tensor[r->logits].kept = true;
        mcl__graph_node_into(graph, MCL__COMPUTE, "outcome", MCL__OP_outcome, NULL, (int[]){r->loss, r->loss + 1, graph->step}, 3,
                             &graph->record, 1);
        if (training && mcl__graph_differentiate(graph, r->loss) == MCL_OK) mcl__graph_update(graph);
    }
    if (graph->error.status == MCL_OK) return mcl__plan_create(graph, &(mcl__plan_options){.variant = variant}, plan, error);
    mcl_status status = mcl__fail(error, graph->error.status, "%s", graph->error.text);
    mcl__graph_destroy(graph);
    return status;
}

static mcl_status step(run *r, mcl__plan *plan, int t, mcl__segment last)
{
    mcl_step block = {.step = t, .valid_samples = r->N, .slot = t % MCL_HISTORY, .inverse_valid = 1.0f / (float)r->N};
    int batch = (t - 1) % r->batches;
    for (int i = 0; i < MCL_STEP_GROUPS; i++) block.group[i].learning_rate = r->rate;
    MCL_TRY(mcl_buffer_write(r->x, 0, (uint64_t)r->elements * 4, r->pictures + (size_t)batch * (size_t)r->elements));
    MCL_TRY(mcl_buffer_write(r->labels, 0, (uint64_t)r->N * 4, r->classes + (size_t)batch * (size_t)r->N));
    MCL_TRY(mcl__plan_step(plan, &block));
    for (int s = 0; s <= (int)last; s++) MCL_TRY(mcl__plan_run(plan, (mcl__segment)s));
    return MCL_OK;
}

/* The first batch's logits in evaluation, under `name`. */
static mcl_status evaluate(run *r, const char *name, const char *variant, mcl_error *error)
{
    mcl__plan *plan;
    int64_t shape[2] = {r->N, mcl_network_classes(r->network)};
    MCL_TRY(make_plan(r, false, variant, &plan, error));
    float *logits = calloc((size_t)(shape[0] * shape[1]), sizeof *logits);
    if (!logits) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for logits");
    mcl_status status = step(r, plan, 1, MCL__COMPUTE);
    mcl__view view = mcl__plan_view(plan, r->logits);
    if (status == MCL_OK) status = mcl_buffer_read(view.buffer, view.offset, (uint64_t)(shape[0] * shape[1]) * 4, logits);
    mcl__safetensors_writer_add(r->out, name, MCL__SAFETENSORS_F32, 2, shape, logits);
    free(logits);
    mcl__plan_destroy(plan);
    return status;
}

static mcl_status read_loss(run *r, const mcl__plan *plan, double *mean)
{
    mcl__view view = mcl__plan_view(plan, r->loss);
    float loss[4096];
    *mean = 0;
    MCL_TRY(mcl_buffer_read(view.buffer, view.offset, (uint64_t)r->N * 4, loss));
    for (int i = 0; i < r->N; i++) *mean += (double)loss[i] / r->N;
    return MCL_OK;
}

static mcl_status train(run *r, const char *variant, mcl_error *error)
{
    mcl__plan *plan = NULL;
    double losses[1000];
    int64_t shape[1] = {r->steps};
    mcl_status status = MCL_OK;
    if (r->steps < 0 || r->steps > 1000 || r->N > 4096) return mcl__fail(error, MCL_ERROR_INVALID, "too many steps or samples");
    MCL_TRY(make_plan(r, true, variant, &plan, error));
    for (int t = 1; t <= r->steps; t++) {
        MCL_TRY_DONE(step(r, plan, t, MCL__UPDATE));
        MCL_TRY_DONE(read_loss(r, plan, &losses[t - 1]));
        if (t > 1) continue;
        MCL_TRY_DONE(mcl__weights_add_slab(r->model, &r->model->gradient, r->model->parameter, r->model->parameters,
                                           "monocle.gradient.", r->out, error));
    }
    mcl__safetensors_writer_add(r->out, "monocle.losses", MCL__SAFETENSORS_F64, 1, shape, losses);
done:
    mcl__plan_destroy(plan);
    return status;
}

static mcl_status follow(run *r, char **argv, mcl_error *error)
{
    const char *variant = argv[5];
    mcl__ops_register_native();
    MCL_TRY(mcl_network_by_name(argv[1], 0, 0, 0, 0, &r->network, error));
    MCL_TRY(mcl_device_open(argv[2], NULL, &r->device, error));
    MCL_TRY(mcl__safetensors_open(argv[3], &r->in, error));
    MCL_TRY(mcl__safetensors_writer_create(&r->out, error));
    MCL_TRY(prepare_model(r, error));
    MCL_TRY(prepare_data(r, error));
    MCL_TRY(evaluate(r, "monocle.logits", variant, error));
    MCL_TRY(train(r, variant, error));
    MCL_TRY(evaluate(r, "monocle.trained_logits", variant, error));
    MCL_TRY(mcl__weights_add(r->network, r->model, r->steps, r->out, error));
    mcl__safetensors_writer *out = r->out;
    r->out = NULL;
    return mcl__safetensors_writer_write(out, argv[4], error);
}

int main(int argc, char **argv)
{
    run r = {0};
    mcl_error error = {0};
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: follow NETWORK DEVICE IN OUT [VARIANT]\n");
        return 2;
    }
    mcl_status status = follow(&r, argv, &error);
    if (status != MCL_OK)
        fprintf(stderr, "follow: %s\n", error.status ? error.text : r.device ? mcl_device_error(r.device)->text : "failed");
    mcl_buffer_destroy(r.x);
    mcl_buffer_destroy(r.labels);
    mcl__model_destroy(r.model);
    mcl__safetensors_writer_destroy(r.out);
    mcl__safetensors_close(r.in);
    if (r.device) mcl_device_close(r.device);
    mcl_network_destroy(r.network);
    return status != MCL_OK;
}
