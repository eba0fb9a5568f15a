/* The OpenCL device: context, queue, buffers, transfers and fences; and the backend's table. */
#include "device/opencl/opencl.h"
#include "base/clock.h"
#include "device/wait.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static mcl_status open_queue(mcl__cl_device *device, const mcl_device_options *options, mcl_error *error)
{
    cl_int code;
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)device->platform, 0};
    device->context = clCreateContext(properties, 1, &device->id, NULL, NULL, &code);
    if (!device->context) return mcl__fail(error, mcl__cl_status(code), "clCreateContext: %s", mcl__cl_code_name(code));
    device->queue =
        clCreateCommandQueue(device->context, device->id, options->profiling ? CL_QUEUE_PROFILING_ENABLE : 0, &code);
    if (!device->queue)
        return mcl__fail(error, mcl__cl_status(code), "clCreateCommandQueue: %s", mcl__cl_code_name(code));
    if (!options->profiling) return MCL_OK;
    device->profile = calloc(1, sizeof *device->profile);
    if (!device->profile) return mcl__fail(error, MCL_ERROR_MEMORY, "opening a device: out of host memory");
    return MCL_OK;
}

static void close_device(mcl_device *base)
{
    mcl__cl_device *device = mcl__cl(base);
    mcl__cl_helpers_end(device, false);
    if (device->queue) clFinish(device->queue);
    if (base->error.status == MCL_OK && device->binaries != MCL__CL_NEVER) mcl__cl_save_programs(device);
    mcl__cl_gemm_close(device);
    mcl__cl_free_programs(device);
    mcl__cl_profile_free(device);
    if (device->uploads) clReleaseCommandQueue(device->uploads);
    if (device->queue) clReleaseCommandQueue(device->queue);
    if (device->context) clReleaseContext(device->context);
    if (device->awake) mcl__wait_awake_end();
    mcl__cl_cache_trim(device->cache);
    free(device->cache);
    free(device);
}

static mcl_status open_device(const mcl_device_info *info, const mcl_device_options *options, mcl_device **opened,
                              mcl_error *error)
{
    mcl__cl_device *device = calloc(1, sizeof *device);
    if (!device) return mcl__fail(error, MCL_ERROR_MEMORY, "opening a device: out of host memory");
    mcl_status status;
    device->base.info = *info;
    if ((status = mcl__cl_find(info->selector, &device->platform, &device->id)) != MCL_OK) {
        mcl__fail(error, status, "the device is gone");
        goto done;
    }
    device->quirks = mcl__cl_quirks(info);
    device->base.keeps_loops = device->quirks & MCL__CL_KEEPS_LOOPS;
    if (info->type != MCL_DEVICE_CPU) device->most_groups = MCL__CL_MOST_GROUPS;
    cl_device_fp_config config = 0;
    clGetDeviceInfo(device->id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof config, &config, NULL);
    device->precise_division = (config & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
    char version[128] = "";
    clGetPlatformInfo(device->platform, CL_PLATFORM_VERSION, sizeof version, version, NULL);
    version[sizeof version - 1] = '\0';
    snprintf(device->identity, sizeof device->identity, "%s\n%s\n%s\n%s\n%s\n%s\n%s", info->name, info->chip,
             info->driver, info->version, info->platform, version, MONOCLE_VERSION);
    if (!options->no_cache) device->cache = mcl__cl_cache_open();
    if (device->quirks & MCL__CL_KEEPS_CODE)
        device->binaries = mcl__cl_pocl_cache_is_ours(device->cache) ? MCL__CL_NEVER : MCL__CL_AT_CLOSE;
    MCL_TRY_DONE(open_queue(device, options, error));
    if (device->quirks & MCL__CL_SLEEPS && !getenv(MCL__CL_HELPER))
        device->awake = mcl__wait_awake_begin(info->compute_units);
    *opened = &device->base;
    return MCL_OK;
done:
    close_device(&device->base);
    return status;
}

/* The driver is done with a buffer, and with whatever commands still used it. */
static void CL_CALLBACK free_pages(cl_mem memory, void *pages)
{
    (void)memory;
    mcl__cl_pages_destroy(pages);
}

static cl_mem create_from_pages(mcl__cl_device *device, size_t bytes, cl_int *code)
{
    *code = CL_OUT_OF_HOST_MEMORY;
    mcl__cl_pages *pages = mcl__cl_pages_create(bytes);
    if (!pages) return NULL;
    cl_mem memory =
        clCreateBuffer(device->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, bytes, mcl__cl_pages_data(pages), code);
    if (memory && (*code = clSetMemObjectDestructorCallback(memory, free_pages, pages)) == CL_SUCCESS) return memory;
    if (memory) clReleaseMemObject(memory);
    mcl__cl_pages_destroy(pages);
    return NULL;
}

static mcl_status buffer_create(mcl_device *base, uint64_t bytes, mcl_buffer **buffer)
{
    mcl__cl_device *device = mcl__cl(base);
    mcl__cl_buffer *made = calloc(1, sizeof *made);
    if (!made) return MCL_ERROR_MEMORY;
    cl_int code;
    made->base.zeros = device->quirks & MCL__CL_HOST_PAGES;
    made->memory = made->base.zeros ? create_from_pages(device, (size_t)bytes, &code)
                                    : clCreateBuffer(device->context, CL_MEM_READ_WRITE, (size_t)bytes, NULL, &code);
    if (!made->memory) {
        free(made);
        mcl_status status = mcl__cl_status(code);
        return status == MCL_ERROR_MEMORY ? status : mcl__cl_fail(base, "allocating a buffer", "clCreateBuffer", code);
    }
    *buffer = &made->base;
    return MCL_OK;
}

static void buffer_destroy(mcl_buffer *base)
{
    mcl__cl_buffer *buffer = (mcl__cl_buffer *)base;
    for (mcl__cl_region *region = buffer->regions, *next; region; region = next) {
        next = region->next;
        clReleaseMemObject(region->memory);
        free(region);
    }
    clReleaseMemObject(buffer->memory);
    free(buffer);
}

/* Sleeps an eighth of what the last wait took, between 10 microseconds and a millisecond, until the event is over. */
static cl_int poll_event(mcl__cl_device *device, cl_event event)
{
    double start = mcl__seconds(), nap = device->last_wait / 8;
    if (nap < 1e-5) nap = 1e-5;
    if (nap > 1e-3) nap = 1e-3;
    const struct timespec pause = {0, (long)(nap * 1e9)};
    for (;;) {
        cl_int state = CL_QUEUED;
        cl_int code = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
        if (code != CL_SUCCESS) return code;
        if (state <= CL_COMPLETE) break;
        nanosleep(&pause, NULL);
    }
    device->last_wait = mcl__seconds() - start;
    return CL_SUCCESS;
}

/* Resources that run out while a command runs mean that it faulted, or that the driver ended it, not a lack of memory. */
static mcl_status fail_waiting(mcl_device *base, const char *what, cl_int code)
{
    if (code != CL_OUT_OF_RESOURCES) return mcl__cl_fail(base, what, "waiting", code);
    return mcl__device_fail(base, MCL_ERROR_DEVICE, "%s: a command failed while it ran: CL_OUT_OF_RESOURCES", what);
}

/* A command that failed has a negative status, which not every driver reports as the wait's own result. */
mcl_status mcl__cl_wait(mcl_device *base, const char *what, cl_event event)
{
    mcl__cl_device *device = mcl__cl(base);
    cl_int code, state = CL_COMPLETE;
    if (device->quirks & MCL__CL_POLL) {
        clFlush(device->queue);
        code = poll_event(device, event);
    } else {
        code = clWaitForEvents(1, &event);
    }
    if (code == CL_SUCCESS || code == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST) {
        cl_int asked = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
        if (asked == CL_SUCCESS && state < 0) code = state;
    }
    return code == CL_SUCCESS ? MCL_OK : fail_waiting(base, what, code);
}

/* A transfer with wait: enqueued with an event, so that all waiting is done in one way. */
static mcl_status wait_transfer(mcl_device *base, const char *what, cl_event event)
{
    mcl_status status = mcl__cl_wait(base, what, event);
    clReleaseEvent(event);
    return status;
}

static mcl_status write_view(mcl_device *base, mcl__view target, const void *source, bool wait)
{
    cl_event event;
    cl_int code = clEnqueueWriteBuffer(mcl__cl(base)->queue, mcl__cl_memory(target), CL_FALSE, (size_t)target.offset,
                                       (size_t)target.bytes, source, 0, NULL, wait ? &event : NULL);
    if (code != CL_SUCCESS) return mcl__cl_fail(base, "write", "clEnqueueWriteBuffer", code);
    return wait ? wait_transfer(base, "write", event) : MCL_OK;
}

static mcl_status read_view(mcl_device *base, mcl__view source, void *target, bool wait)
{
    cl_event event;
    cl_int code = clEnqueueReadBuffer(mcl__cl(base)->queue, mcl__cl_memory(source), CL_FALSE, (size_t)source.offset,
                                      (size_t)source.bytes, target, 0, NULL, wait ? &event : NULL);
    if (code != CL_SUCCESS) return mcl__cl_fail(base, "read", "clEnqueueReadBuffer", code);
    if (!wait) return MCL_OK;
    MCL_TRY(wait_transfer(base, "read", event));
    if (mcl__cl(base)->binaries == MCL__CL_AT_ONCE) mcl__cl_save_programs(mcl__cl(base));
    return MCL_OK;
}

/* Drivers of other devices would copy, and keep host memory as large as the buffer for it. */
static void *map_view(mcl_device *base, mcl__view view)
{
    cl_event event = NULL;
    cl_int code;
    if (base->info.type != MCL_DEVICE_CPU) return NULL;
    void *host = clEnqueueMapBuffer(mcl__cl(base)->queue, mcl__cl_memory(view), CL_FALSE, CL_MAP_READ | CL_MAP_WRITE,
                                    (size_t)view.offset, (size_t)view.bytes, 0, NULL, &event, &code);
    if (code != CL_SUCCESS) return NULL;
    return wait_transfer(base, "map", event) == MCL_OK ? host : NULL;
}

static mcl_status unmap_view(mcl_device *base, mcl__view view, void *host)
{
    cl_int code = clEnqueueUnmapMemObject(mcl__cl(base)->queue, mcl__cl_memory(view), host, 0, NULL, NULL);
    return code == CL_SUCCESS ? MCL_OK : mcl__cl_fail(base, "unmap", "clEnqueueUnmapMemObject", code);
}

static mcl_status mark(mcl_device *base, cl_event *event)
{
    cl_int code = clEnqueueMarkerWithWaitList(mcl__cl(base)->queue, 0, NULL, event);
    if (code != CL_SUCCESS) return mcl__cl_fail(base, "fence", "clEnqueueMarkerWithWaitList", code);
    if ((code = clFlush(mcl__cl(base)->queue)) != CL_SUCCESS) return mcl__cl_fail(base, "fence", "clFlush", code);
    return MCL_OK;
}

static mcl_status finish(mcl_device *base)
{
    mcl__cl_device *device = mcl__cl(base);
    mcl_status status = MCL_OK;
    if (device->quirks & MCL__CL_POLL) {
        cl_event event = NULL;
        status = mark(base, &event);
        if (status == MCL_OK) status = mcl__cl_wait(base, "finish", event);
        if (event) clReleaseEvent(event);
    }
    /* Both, whatever failed: transfers read and write their callers' memory until then. */
    cl_int code = clFinish(device->queue), uploaded = device->uploads ? clFinish(device->uploads) : CL_SUCCESS;
    MCL_TRY(status);
    if (code == CL_SUCCESS) code = uploaded;
    if (code != CL_SUCCESS) return fail_waiting(base, "finish", code);
    if (base->error.status == MCL_OK && device->binaries == MCL__CL_AT_ONCE) mcl__cl_save_programs(device);
    return MCL_OK;
}

static mcl_status fence_create(mcl_device *base, mcl__fence **fence)
{
    (void)base;
    return (*fence = calloc(1, sizeof **fence)) ? MCL_OK : MCL_ERROR_MEMORY;
}

static mcl_status fence_record(mcl_device *base, mcl__fence *fence)
{
    if (fence->event) clReleaseEvent(fence->event);
    fence->event = NULL;
    return mark(base, &fence->event);
}

static mcl_status fence_wait(mcl_device *base, mcl__fence *fence)
{
    return fence->event ? mcl__cl_wait(base, "fence", fence->event) : MCL_OK;
}

static void fence_destroy(mcl_device *base, mcl__fence *fence)
{
    (void)base;
    if (fence->event) clReleaseEvent(fence->event);
    free(fence);
}

const mcl__backend mcl__opencl_backend = {
    .name = "opencl",
    .prepare = mcl__cl_prepare,
    .cache_in = mcl__cl_cache_in,
    .list = mcl__cl_list,
    .open = open_device,
    .close = close_device,
    .buffer_create = buffer_create,
    .buffer_destroy = buffer_destroy,
    .write = write_view,
    .read = read_view,
    .map = map_view,
    .unmap = unmap_view,
    .finish = finish,
    .kernels_hash = mcl__cl_kernels_hash,
    .kernel_get = mcl__cl_kernel_get,
    .launch_kernel = mcl__cl_launch_kernel,
    .gemm_available = mcl__cl_gemm_available,
    .gemm_library = "CLBlast",
    .launch_gemm = mcl__cl_launch_gemm,
    .launch_copy = mcl__cl_launch_copy,
    .launch_fill = mcl__cl_launch_fill,
    .launch_run = mcl__cl_launch_run,
    .launch_destroy = mcl__cl_launch_destroy,
    .fence_create = fence_create,
    .fence_record = fence_record,
    .fence_wait = fence_wait,
    .fence_passed = mcl__cl_fence_passed,
    .fence_order = mcl__cl_fence_order,
    .fence_destroy = fence_destroy,
    .lock = mcl__cl_lock,
    .unlock = mcl__cl_unlock,
    .upload = mcl__cl_upload,
    .profile = mcl__cl_profile_rows,
    .probe = mcl__cl_probe,
};
