/* Time of each launch, summed by label. Events are read in batches, so that a long run keeps only a few. */
#include "device/opencl/opencl.h"
#include <stdlib.h>
#include <string.h>

mcl__cl_label *mcl__cl_profile_label(mcl__cl_device *device, const char *what)
{
    for (mcl__cl_label *label = device->profile->labels; label; label = label->next)
        if (strcmp(label->name, what) == 0) return label;
    mcl__cl_label *made = calloc(1, sizeof *made);
    if (made && !(made->name = strdup(what))) {
        free(made);
        made = NULL;
    }
    if (!made) return NULL;
    made->next = device->profile->labels;
    return device->profile->labels = made;
}

/* Reads all pending events; the queue is in order, so the last one's end is the end of all. */
static mcl_status harvest(mcl_device *base)
{
    mcl__cl_profile *profile = mcl__cl(base)->profile;
    if (profile->pending == 0) return MCL_OK;
    mcl_status status = mcl__cl_wait(base, "profile", profile->events[profile->pending - 1].event);
    for (int i = 0; i < profile->pending; i++) {
        cl_event event = profile->events[i].event;
        mcl__cl_label *label = profile->events[i].label;
        cl_ulong start = 0, end = 0;
        if (status == MCL_OK &&
            clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL) == CL_SUCCESS &&
            clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL) == CL_SUCCESS &&
            end >= start)
            label->seconds += 1e-9 * (double)(end - start);
        clReleaseEvent(event);
    }
    profile->pending = 0;
    return status;
}

mcl_status mcl__cl_profile_add(mcl_device *base, mcl__cl_label *label, cl_event event)
{
    mcl__cl_profile *profile = mcl__cl(base)->profile;
    profile->events[profile->pending].event = event;
    profile->events[profile->pending].label = label;
    label->launches++;
    return ++profile->pending == MCL__CL_PENDING ? harvest(base) : MCL_OK;
}

static int slower_first(const void *a, const void *b)
{
    double x = ((const mcl_kernel_time *)a)->seconds, y = ((const mcl_kernel_time *)b)->seconds;
    return (x < y) - (x > y);
}

mcl_status mcl__cl_profile_rows(mcl_device *base, mcl_kernel_time **rows, int *count)
{
    mcl__cl_profile *profile = mcl__cl(base)->profile;
    if (!profile) return MCL_OK;
    MCL_TRY(harvest(base));
    size_t labels = 0;
    for (mcl__cl_label *label = profile->labels; label; label = label->next) labels += label->launches > 0;
    if (labels == 0) return MCL_OK;
    if (!(*rows = calloc(labels, sizeof **rows))) return MCL_ERROR_MEMORY;
    for (mcl__cl_label *label = profile->labels; label; label = label->next)
        if (label->launches > 0) (*rows)[(*count)++] = (mcl_kernel_time){label->name, label->launches, label->seconds};
    qsort(*rows, labels, sizeof **rows, slower_first);
    return MCL_OK;
}

void mcl__cl_profile_free(mcl__cl_device *device)
{
    mcl__cl_profile *profile = device->profile;
    if (!profile) return;
    for (int i = 0; i < profile->pending; i++) clReleaseEvent(profile->events[i].event);
    for (mcl__cl_label *label = profile->labels, *next; label; label = next) {
        next = label->next;
        free(label->name);
        free(label);
    }
    free(profile);
    device->profile = NULL;
}
