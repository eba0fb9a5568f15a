/* The model's slabs: where each slot lies, and host access to them. */
#include "graph/model.h"
#include "graph/memory.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_ALIGNMENT 64 /* bytes; a cache line, and the widest vector that a kernel loads */

int mcl__optimiser_states(const mcl__optimiser *optimiser)
{
    switch (optimiser->kind) {
    case MCL__OPTIMISER_SGD: return optimiser->momentum != 0.0f ? 1 : 0;
    case MCL__OPTIMISER_ADAM:
    case MCL__OPTIMISER_ADAMW: return 2;
    case MCL__OPTIMISER_NONE: break;
    }
    return 0;
}

/* Offsets in the order of the slots, each aligned so that a slot can be a buffer of its own. */
static mcl_status lay_out(const mcl_device *device, mcl__slot *slots, int count, int *elements, mcl_error *error)
{
    int64_t alignment = device->info.alignment > LEAST_ALIGNMENT ? device->info.alignment : LEAST_ALIGNMENT, end = 0;
    alignment /= (int64_t)sizeof(float);
    for (int i = 0; i < count; i++) {
        char text[64];
        if (!mcl__shape_valid(slots[i].shape))
            return mcl__fail(error, MCL_ERROR_SHAPE, "%s: a parameter cannot have the shape %s", slots[i].name,
                             mcl__shape_text(slots[i].shape, text));
        slots[i].offset = (int)end;
        end += (mcl__shape_elements(slots[i].shape) + alignment - 1) / alignment * alignment;
        if (end > INT_MAX) return mcl__fail(error, MCL_ERROR_SHAPE, "%s: the model has 2^31 parameters or more", slots[i].name);
    }
    *elements = (int)end;
    return MCL_OK;
}

static mcl_status copy_slots(const mcl__slot *slots, int count, mcl__slot **copy, mcl_error *error)
{
    *copy = calloc(count > 0 ? (size_t)count : 1, sizeof **copy);
    if (!*copy) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the description of a model");
    if (count > 0) memcpy(*copy, slots, (size_t)count * sizeof **copy);
    return MCL_OK;
}

/* By group, else in the order given. */
static mcl_status copy_parameters(mcl__model *model, const mcl__slot *slots, int count, mcl_error *error)
{
    int groups = model->optimiser.groups, filled = 0;
    for (int i = 0; i < count; i++)
        if (slots[i].group < 0 || slots[i].group >= groups)
            return mcl__fail(error, MCL_ERROR_INVALID, "%s: optimiser group %d of %d", slots[i].name, slots[i].group, groups);
    MCL_TRY(copy_slots(slots, count, &model->parameter, error));
    for (int group = 0; group < groups; group++)
        for (int i = 0; i < count; i++)
            if (slots[i].group == group) model->parameter[filled++] = slots[i];
    model->parameters = count;
    return MCL_OK;
}

static void find_groups(mcl__model *model, int elements)
{
    int i = 0;
    for (int group = 0; group < model->optimiser.groups; group++) {
        int begin = i < model->parameters ? model->parameter[i].offset : elements;
        while (i < model->parameters && model->parameter[i].group == group) i++;
        model->group_offset[group] = begin;
        model->group_elements[group] = (i < model->parameters ? model->parameter[i].offset : elements) - begin;
    }
}

static mcl_status create_buffer(mcl_device *device, uint64_t bytes, const char *what, mcl_buffer **buffer, mcl_error *error)
{
    uint64_t limit = device->info.max_allocation;
    if (limit && bytes > limit)
        return mcl__fail(error, MCL_ERROR_MEMORY, "the model's %s need %.1f MiB in one piece, and %s allocates at most %.1f MiB",
                         what, (double)bytes / 0x1p20, device->info.name, (double)limit / 0x1p20);
    mcl_status status = mcl__buffer_create_zeros(device, bytes, buffer);
    return status == MCL_OK ? MCL_OK : mcl__fail(error, status, "the model's %s: %s", what, mcl_device_error(device)->text);
}

static mcl_status create_slab(mcl_device *device, int elements, const char *what, mcl__slab *slab, mcl_error *error)
{
    slab->elements = elements;
    if (elements == 0) return MCL_OK;
    return create_buffer(device, (uint64_t)elements * sizeof(float), what, &slab->buffer, error);
}

static mcl_status create_slabs(mcl__model *model, bool training, int elements, int running_elements, mcl_error *error)
{
    mcl_device *device = model->device;
    MCL_TRY(create_slab(device, elements, "parameters", &model->value, error));
    MCL_TRY(create_slab(device, running_elements, "running statistics", &model->running_value, error));
    MCL_TRY(create_buffer(device, sizeof(mcl_step), "step block", &model->step, error));
    MCL_TRY(create_buffer(device, sizeof(mcl_state), "record", &model->record, error));
    if (!training) return MCL_OK;
    MCL_TRY(create_slab(device, running_elements, "pending statistics", &model->pending, error));
    MCL_TRY(create_slab(device, elements, "gradients", &model->gradient, error));
    if (model->optimiser.accumulate)
        MCL_TRY(create_slab(device, elements, "accumulated gradients", &model->accumulated, error));
    for (int i = 0; i < mcl__optimiser_states(&model->optimiser); i++)
        MCL_TRY(create_slab(device, elements, "optimiser states", &model->state[i], error));
    return MCL_OK;
}

mcl_status mcl__model_create(mcl_device *device, const mcl__slot *parameters, int parameter_count, const mcl__slot *runnings,
                             int running_count, const mcl__optimiser *optimiser, mcl__model **model, mcl_error *error)
{
    mcl_status status;
    int elements = 0, running_elements = 0;
    *model = NULL;
    mcl__ops_register_native(); /* plans of this model will ask for kernels */
    mcl__model *made = calloc(1, sizeof *made);
    if (!made) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the description of a model");
    made->device = device;
    MCL_TRY_DONE(mcl__tuning_open(device, &made->tuning, error));
    if (optimiser) made->optimiser = *optimiser;
    else made->optimiser.groups = MCL_STEP_GROUPS; /* evaluation takes the groups as they come */
    if (made->optimiser.groups < 1 || made->optimiser.groups > MCL_STEP_GROUPS) {
        status = mcl__fail(error, MCL_ERROR_INVALID, "an optimiser has 1 to %d groups, not %d", MCL_STEP_GROUPS,
                           made->optimiser.groups);
        goto done;
    }
    MCL_TRY_DONE(copy_parameters(made, parameters, parameter_count, error));
    MCL_TRY_DONE(copy_slots(runnings, running_count, &made->running, error));
    made->runnings = running_count;
    MCL_TRY_DONE(lay_out(device, made->parameter, parameter_count, &elements, error));
    MCL_TRY_DONE(lay_out(device, made->running, running_count, &running_elements, error));
    find_groups(made, elements);
    MCL_TRY_DONE(create_slabs(made, optimiser != NULL, elements, running_elements, error));
    made->generation = 1;
    *model = made;
    made = NULL;
done:
    mcl__model_destroy(made);
    return status;
}

enum { BUFFERS = 9 };

static void list_buffers(const mcl__model *model, mcl_buffer *list[BUFFERS])
{
    mcl_buffer *buffers[BUFFERS] = {model->value.buffer, model->gradient.buffer, model->accumulated.buffer, model->state[0].buffer,
                                    model->state[1].buffer, model->running_value.buffer, model->pending.buffer, model->step,
                                    model->record};
    memcpy(list, buffers, sizeof buffers);
}

void mcl__model_destroy(mcl__model *model)
{
    mcl_buffer *list[BUFFERS];
    if (!model) return;
    list_buffers(model, list);
    for (int i = 0; i < BUFFERS; i++) mcl_buffer_destroy(list[i]);
    mcl__tuning_free(&model->tuning);
    free(model->parameter);
    free(model->running);
    free(model);
}

bool mcl__model_owns(const mcl__model *model, const mcl_buffer *buffer)
{
    mcl_buffer *list[BUFFERS];
    list_buffers(model, list);
    for (int i = 0; i < BUFFERS; i++)
        if (list[i] && list[i] == buffer) return true;
    return false;
}

uint64_t mcl__model_bytes(const mcl__model *model)
{
    mcl_buffer *list[BUFFERS];
    uint64_t bytes = 0;
    list_buffers(model, list);
    for (int i = 0; i < BUFFERS; i++)
        if (list[i]) bytes += mcl__buffer_bytes(list[i]);
    return bytes;
}

int mcl__model_find(const mcl__slot *slots, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(slots[i].name, name)) return i;
    return -1;
}

mcl__view mcl__slab_view(const mcl__slab *slab, const mcl__slot *slot)
{
    if (!slot) return (mcl__view){slab->buffer, 0, (uint64_t)slab->elements * sizeof(float)};
    return (mcl__view){slab->buffer, (uint64_t)slot->offset * sizeof(float),
                       (uint64_t)mcl__shape_elements(slot->shape) * sizeof(float)};
}

mcl_status mcl__model_read(const mcl__slab *slab, const mcl__slot *slot, float *target)
{
    mcl__view view = mcl__slab_view(slab, slot);
    if (!view.buffer) return MCL_ERROR_INVALID;
    return mcl_buffer_read(view.buffer, view.offset, view.bytes, target);
}

/* Pending statistics equal the running ones until a step writes them, so that a commit never brings in something older. */
mcl_status mcl__model_write(mcl__model *model, const mcl__slab *slab, const mcl__slot *slot, const float *source)
{
    mcl__view view = mcl__slab_view(slab, slot);
    if (!view.buffer) return MCL_ERROR_INVALID;
    MCL_TRY(mcl_buffer_write(view.buffer, view.offset, view.bytes, source));
    if (slab == &model->value) model->generation++;
    if (slab == &model->running_value && model->pending.buffer)
        MCL_TRY(mcl_buffer_write(model->pending.buffer, view.offset, view.bytes, source));
    return MCL_OK;
}

static mcl__view all_values(const mcl__model *model)
{
    return (mcl__view){model->value.buffer, 0, (uint64_t)model->value.elements * sizeof(float)};
}

mcl_status mcl__model_map(mcl__model *model, float **values)
{
    void *host = NULL;
    if (model->value.buffer) MCL_TRY(mcl__map(model->device, all_values(model), &host));
    *values = host;
    return MCL_OK;
}

mcl_status mcl__model_unmap(mcl__model *model, float *values)
{
    if (!values) return MCL_OK;
    model->generation++;
    return mcl__unmap(model->device, all_values(model), values);
}

mcl_status mcl__model_record(mcl__model *model, mcl_state *state)
{
    return mcl_buffer_read(model->record, 0, sizeof *state, state);
}

mcl_status mcl__model_record_reset(mcl__model *model)
{
    static const mcl_state zero;
    return mcl_buffer_write(model->record, 0, sizeof zero, &zero);
}
