/* Weights between a model on a device and safetensors. */
#include "nn/weights.h"
#include "base/arena.h"
#include "nn/layer.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRACKED ".num_batches_tracked"
typedef struct full_name { char text[224]; } full_name;

static full_name name_of(const char *prefix, const mcl__slot *slot)
{
    full_name name;
    snprintf(name.text, sizeof name.text, "%s%s", prefix, slot->name);
    return name;
}

/* "(32, 1, 5, 5)" */
static const char *shape_text(const int64_t *shape, int rank, char text[256])
{
    int length = snprintf(text, 256, "(");
    for (int i = 0; i < rank; i++)
        length += snprintf(text + length, (size_t)(256 - length), i ? ", %" PRId64 : "%" PRId64, shape[i]);
    snprintf(text + length, (size_t)(256 - length), ")");
    return text;
}

static int file_shape(const mcl__slot *slot, int64_t shape[4])
{
    int sizes[4], rank = mcl__slot_file_shape(slot, sizes);
    for (int i = 0; i < rank; i++) shape[i] = sizes[i];
    return rank;
}

static mcl_status device_failed(const mcl__model *model, mcl_status status, const char *what, const char *name, mcl_error *error)
{
    return mcl__fail(error, status, "cannot %s %s: %s", what, name, mcl_device_error(model->device)->text);
}

static mcl_status add_one(mcl__model *model, const mcl__slab *slab, const mcl__slot *slot, const char *prefix,
                          mcl__safetensors_writer *writer, mcl_error *error)
{
    full_name name = name_of(prefix, slot);
    size_t count = (size_t)mcl__shape_elements(slot->shape);
    float *logical = calloc(count, 2 * sizeof *logical);
    if (!logical) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for tensor %s", name.text);
    mcl_status status = mcl__model_read(slab, slot, logical);
    if (status == MCL_OK) {
        int64_t shape[4];
        int rank = file_shape(slot, shape);
        mcl__slot_to_file(slot, logical, logical + count);
        mcl__safetensors_writer_add(writer, name.text, MCL__SAFETENSORS_F32, rank, shape, logical + count);
    } else {
        device_failed(model, status, "read", name.text, error);
    }
    free(logical);
    return status;
}

mcl_status mcl__weights_add_slab(mcl__model *model, const mcl__slab *slab, const mcl__slot *slots, int count, const char *prefix,
                                 mcl__safetensors_writer *writer, mcl_error *error)
{
    for (int i = 0; i < count; i++) MCL_TRY(add_one(model, slab, &slots[i], prefix, writer, error));
    return MCL_OK;
}

static mcl_status find_slot(const mcl__slot *slots, int count, const char *name, const mcl__slot **slot, mcl_error *error)
{
    int found = mcl__model_find(slots, count, name);
    if (found < 0) return mcl__fail(error, MCL_ERROR_NOT_FOUND, "the model has no tensor %s", name);
    *slot = &slots[found];
    return MCL_OK;
}

mcl_status mcl__weights_add(const mcl_network *network, mcl__model *model, int64_t batches, mcl__safetensors_writer *writer,
                            mcl_error *error)
{
    for (size_t i = 0; i < network->layers; i++) {
        mcl__layer_tensors tensors;
        const mcl__slot *slot = NULL;
        mcl__layer_get_tensors(network, &network->layer[i], &tensors);
        for (int j = 0; j < tensors.parameters; j++) {
            MCL_TRY(find_slot(model->parameter, model->parameters, tensors.slot[j].name, &slot, error));
            MCL_TRY(add_one(model, &model->value, slot, "", writer, error));
        }
        for (int j = 0; j < tensors.runnings; j++) {
            MCL_TRY(find_slot(model->running, model->runnings, tensors.slot[tensors.parameters + j].name, &slot, error));
            MCL_TRY(add_one(model, &model->running_value, slot, "", writer, error));
        }
        if (tensors.runnings == 0) continue;
        full_name tracked;
        snprintf(tracked.text, sizeof tracked.text, "%s" TRACKED, network->layer[i].name);
        mcl__safetensors_writer_add(writer, tracked.text, MCL__SAFETENSORS_I64, 0, NULL, &batches);
    }
    return MCL_OK;
}

/* The file's tensor for a slot, checked. */
static mcl_status find_tensor(const mcl__safetensors *file, const mcl__slot *slot, const char *prefix,
                              const mcl__safetensors_tensor **tensor, mcl_error *error)
{
    full_name name = name_of(prefix, slot);
    char have[256], want[256];
    int64_t shape[4];
    int rank = file_shape(slot, shape);
    const mcl__safetensors_tensor *found = mcl__safetensors_find(file, name.text);
    if (!found)
        return mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s: tensor %s %s is missing", file->path, name.text,
                         shape_text(shape, rank, want));
    if (found->rank != rank || memcmp(found->shape, shape, (size_t)rank * sizeof *shape))
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: tensor %s is %s, but the network's is %s", file->path, name.text,
                         shape_text(found->shape, found->rank, have), shape_text(shape, rank, want));
    if (found->dtype != MCL__SAFETENSORS_F32 && found->dtype != MCL__SAFETENSORS_F64)
        return mcl__fail(error, MCL_ERROR_DTYPE, "%s: tensor %s is of type %s, not F32", file->path, name.text,
                         mcl__safetensors_dtype_name(found->dtype));
    *tensor = found;
    return MCL_OK;
}

static void copy_floats(const mcl__safetensors_tensor *tensor, float *target, size_t count)
{
    const char *bytes = tensor->data;
    if (tensor->dtype == MCL__SAFETENSORS_F32) memcpy(target, bytes, count * sizeof *target);
    else
        for (size_t i = 0; i < count; i++) {
            double value;
            memcpy(&value, bytes + i * sizeof value, sizeof value);
            target[i] = (float)value;
        }
}

mcl_status mcl__weights_take_slab(mcl__model *model, const mcl__slab *slab, const mcl__slot *slots, int count, const char *prefix,
                                  const mcl__safetensors *file, mcl_error *error)
{
    const mcl__safetensors_tensor *tensor = NULL;
    for (int i = 0; i < count; i++) MCL_TRY(find_tensor(file, &slots[i], prefix, &tensor, error));
    for (int i = 0; i < count; i++) {
        size_t elements = (size_t)mcl__shape_elements(slots[i].shape);
        MCL_TRY(find_tensor(file, &slots[i], prefix, &tensor, error));
        float *stored = calloc(elements, 2 * sizeof *stored);
        if (!stored) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for tensor %s", tensor->name);
        copy_floats(tensor, stored, elements);
        mcl__slot_from_file(&slots[i], stored, stored + elements);
        mcl_status status = mcl__model_write(model, slab, &slots[i], stored + elements);
        free(stored);
        if (status != MCL_OK) return device_failed(model, status, "write", tensor->name, error);
    }
    return MCL_OK;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

/* A tensor of the file that the network does not have: its weights are another network's. */
static mcl_status check_unexpected(const mcl__model *model, const mcl__safetensors *file, mcl_error *error)
{
    char shape[256];
    for (int i = 0; i < file->tensors; i++) {
        const mcl__safetensors_tensor *tensor = &file->tensor[i];
        if (!strncmp(tensor->name, MCL__WEIGHTS_STATE, sizeof MCL__WEIGHTS_STATE - 1) || ends_with(tensor->name, TRACKED) ||
            mcl__model_find(model->parameter, model->parameters, tensor->name) >= 0 ||
            mcl__model_find(model->running, model->runnings, tensor->name) >= 0)
            continue;
        return mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s: the network has no tensor %.150s %s", file->path, tensor->name,
                         shape_text(tensor->shape, tensor->rank, shape));
    }
    return MCL_OK;
}

mcl_status mcl__weights_take(mcl__model *model, const mcl__safetensors *file, mcl_error *error)
{
    const mcl__safetensors_tensor *tensor;
    for (int i = 0; i < model->parameters; i++) MCL_TRY(find_tensor(file, &model->parameter[i], "", &tensor, error));
    for (int i = 0; i < model->runnings; i++) MCL_TRY(find_tensor(file, &model->running[i], "", &tensor, error));
    MCL_TRY(check_unexpected(model, file, error));
    MCL_TRY(mcl__weights_take_slab(model, &model->value, model->parameter, model->parameters, "", file, error));
    return mcl__weights_take_slab(model, &model->running_value, model->running, model->runnings, "", file, error);
}

mcl_status mcl__weights_load(mcl__model *model, const char *path, mcl_error *error)
{
    mcl__safetensors *file;
    MCL_TRY(mcl__safetensors_open(path, &file, error));
    mcl_status status = mcl__weights_take(model, file, error);
    mcl__safetensors_close(file);
    return status;
}
