/* The first values of what a network's layers keep on a device; see network.h. The thread that draws them calls nothing of the
 * device. Parameters are drawn in place where the device allows it: a large network's are no second time in memory then. */
#include "base/random.h"
#include "nn/layer.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    COLUMNS = 16,          /* of a weight, drawn together: their values of one row lie side by side, in one cache line */
    WORTH_THREADS = 100000 /* numbers */
};

/* One tensor of the model. */
typedef struct drawn {
    const mcl__slab *slab;
    const mcl__slot *slot; /* the model's */
    int fan_in;            /* 0: all are `constant` */
    float constant;
    float *values;
} drawn;

struct mcl__initial {
    mcl__model *model;
    uint64_t seed;
    drawn *tensor;
    int tensors, threads;
    float *mapped;          /* all parameters in place, or NULL */
    float *values, *pieces; /* of tensors that are not in place; COLUMNS columns for each thread */
    pthread_t thread;
    bool running;
};

static int rows_of(const mcl__slot *slot)
{
    return mcl__shape_elements(slot->shape) / mcl__slot_columns(slot);
}

/* Uniform in +-1/sqrt(fan in), as PyTorch's convolutions and linear layers start (He et al. 2015 with a = sqrt(5)). */
static void draw_columns(const drawn *t, mcl__random random, int first, int count, float *piece)
{
    double bound = 1 / sqrt((double)t->fan_in);
    int rows = rows_of(t->slot);
    mcl__random_uniforms(random, 0, 1, (uint32_t)(first * rows), (uint32_t)(count * rows), piece);
    for (int i = 0; i < count * rows; i++) piece[i] = (float)((2 * (double)piece[i] - 1) * bound);
    mcl__slot_columns_from_file(t->slot, first, count, piece, t->values);
}

static void draw_tensor(const mcl__initial *initial, const drawn *t)
{
    int elements = mcl__shape_elements(t->slot->shape), columns = mcl__slot_columns(t->slot);
    int pieces = (columns + COLUMNS - 1) / COLUMNS, threads = pieces < initial->threads ? pieces : initial->threads;
    size_t piece_floats = (size_t)COLUMNS * (size_t)rows_of(t->slot);
    mcl__random random = {initial->seed, mcl__random_stream("init", t->slot->name), 0};
#pragma omp parallel for num_threads(threads) if (elements > WORTH_THREADS)
    for (int part = 0; part < threads; part++)
        for (int p = part; p < pieces; p += threads) {
            int first = p * COLUMNS, count = columns - first < COLUMNS ? columns - first : COLUMNS;
            draw_columns(t, random, first, count, initial->pieces + (size_t)part * piece_floats);
        }
}

static void *draw(void *argument)
{
    const mcl__initial *initial = argument;
    for (int i = 0; i < initial->tensors; i++) {
        const drawn *t = &initial->tensor[i];
        if (t->fan_in) draw_tensor(initial, t);
        else
            for (int j = 0; j < mcl__shape_elements(t->slot->shape); j++) t->values[j] = t->constant;
    }
    return NULL;
}

/* The tensors of a layer: the weight of one that has no fan in and its variance start as 1, the rest as 0. */
static mcl_status add_layer(mcl__initial *initial, const mcl__layer_tensors *tensors, mcl_error *error)
{
    const mcl__model *model = initial->model;
    for (int i = 0; i < tensors->parameters + tensors->runnings; i++) {
        bool parameter = i < tensors->parameters;
        const mcl__slot *slots = parameter ? model->parameter : model->running;
        int found = mcl__model_find(slots, parameter ? model->parameters : model->runnings, tensors->slot[i].name);
        if (found < 0) return mcl__fail(error, MCL_ERROR_NOT_FOUND, "the model has no tensor %s", tensors->slot[i].name);
        initial->tensor[initial->tensors++] = (drawn){.slab = parameter ? &model->value : &model->running_value,
                                                      .slot = &slots[found],
                                                      .fan_in = tensors->fan_in,
                                                      .constant = i == 0 || i == 3 ? 1 : 0};
    }
    return MCL_OK;
}

static bool in_place(const mcl__initial *initial, const drawn *t)
{
    return initial->mapped && t->slab == &initial->model->value;
}

/* Memory for values that are not in place, and for the largest tensor's pieces. */
static mcl_status make_room(mcl__initial *initial, mcl_error *error)
{
    size_t all = 0, most = 0;
    for (int i = 0; i < initial->tensors; i++) {
        const drawn *t = &initial->tensor[i];
        size_t rows = (size_t)rows_of(t->slot);
        if (!in_place(initial, t)) all += (size_t)mcl__shape_elements(t->slot->shape);
        if (rows > most) most = rows;
    }
    initial->values = malloc((all + 1) * sizeof *initial->values);
    initial->pieces = malloc(((size_t)initial->threads * COLUMNS * most + 1) * sizeof *initial->pieces);
    if (!initial->values || !initial->pieces) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the initial values");
    float *next = initial->values;
    for (int i = 0; i < initial->tensors; i++) {
        drawn *t = &initial->tensor[i];
        if (in_place(initial, t)) {
            t->values = initial->mapped + t->slot->offset;
        } else {
            t->values = next;
            next += mcl__shape_elements(t->slot->shape);
        }
    }
    return MCL_OK;
}

static mcl_status keep_device_error(const mcl__initial *initial, mcl_status status, const char *what, mcl_error *error)
{
    if (status == MCL_OK) return MCL_OK;
    return mcl__fail(error, status, "cannot initialise %s: %s", what, mcl_device_error(initial->model->device)->text);
}

static void destroy(mcl__initial *initial)
{
    free(initial->tensor);
    free(initial->values);
    free(initial->pieces);
    free(initial);
}

mcl_status mcl__initial_begin(const mcl_network *network, mcl__model *model, uint64_t seed, mcl__initial **initial,
                              mcl_error *error)
{
    mcl_status status = MCL_OK;
    mcl__initial *made = calloc(1, sizeof *made);
    *initial = NULL;
    if (!made) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the initial values");
    made->model = model;
    made->seed = seed;
    made->threads = model->device->threads > 2 ? model->device->threads - 1 : 1; /* one is left to the caller */
    made->tensor = calloc(network->layers * 4 + 1, sizeof *made->tensor);
    if (!made->tensor) status = mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the initial values");
    for (size_t i = 0; i < network->layers && status == MCL_OK; i++) {
        mcl__layer_tensors tensors;
        mcl__layer_get_tensors(network, &network->layer[i], &tensors);
        status = add_layer(made, &tensors, error);
    }
    if (status == MCL_OK) status = keep_device_error(made, mcl__model_map(model, &made->mapped), "the parameters", error);
    if (status == MCL_OK) status = make_room(made, error);
    if (status != MCL_OK) {
        mcl__model_unmap(model, made->mapped);
        destroy(made);
        return status;
    }
    made->running = pthread_create(&made->thread, NULL, draw, made) == 0;
    if (!made->running) draw(made);
    *initial = made;
    return MCL_OK;
}

mcl_status mcl__initial_end(mcl__initial *initial, mcl_error *error)
{
    if (!initial) return MCL_OK;
    if (initial->running) pthread_join(initial->thread, NULL);
    mcl_status status = keep_device_error(initial, mcl__model_unmap(initial->model, initial->mapped), "the parameters", error);
    for (int i = 0; i < initial->tensors && status == MCL_OK; i++) {
        const drawn *t = &initial->tensor[i];
        if (in_place(initial, t)) continue;
        status = keep_device_error(initial, mcl__model_write(initial->model, t->slab, t->slot, t->values), t->slot->name, error);
    }
    destroy(initial);
    return status;
}

mcl_status mcl__network_initialise(const mcl_network *network, mcl__model *model, uint64_t seed, mcl_error *error)
{
    mcl__initial *initial;
    MCL_TRY(mcl__initial_begin(network, model, seed, &initial, error));
    return mcl__initial_end(initial, error);
}
