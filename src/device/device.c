/* The device layer's one way in: checks ranges, counts, keeps the first failure, and calls the backend. It must never
 * name an API or a vendor. */
#include "base/hash.h"
#include "device/backend.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns the kept failure, if there is one. */
#define MCL_ALIVE(device) \
    do { \
        if ((device)->error.status != MCL_OK) return (device)->error.status; \
    } while (0)

mcl_status mcl__device_fail(mcl_device *device, mcl_status status, const char *format, ...)
{
    if (device->error.status != MCL_OK) return status;
    char text[sizeof device->error.text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (status != MCL_ERROR_MEMORY) return mcl__fail(&device->error, status, "%s", text);
    const double mib = 1024.0 * 1024.0;
    return mcl__fail(
        &device->error, status,
        "%.3500s (%.1f MiB allocated so far; the device has %.0f MiB, its largest single allocation is %.0f MiB)", text,
        (double)device->counters.bytes_allocated / mib, (double)device->info.memory / mib,
        (double)device->info.max_allocation / mib);
}

/* A backend that fails without words still leaves a text. */
static mcl_status keep(mcl_device *device, mcl_status status, const char *what)
{
    if (status != MCL_OK) mcl__device_fail(device, status, "%s: %s", what, mcl_status_sentence(status));
    return status;
}

static mcl_status check_view(mcl_device *device, const char *what, mcl__view view)
{
    if (!view.buffer || view.buffer->device != device)
        return mcl__device_fail(device, MCL_ERROR_INVALID, "%s: a view has no buffer on this device", what);
    if (view.bytes == 0 || view.offset > view.buffer->bytes || view.bytes > view.buffer->bytes - view.offset)
        return mcl__device_fail(device, MCL_ERROR_INVALID,
                                "%s: bytes %" PRIu64 " to %" PRIu64 " + %" PRIu64 " lie outside the buffer's %" PRIu64,
                                what, view.offset, view.offset, view.bytes, view.buffer->bytes);
    return MCL_OK;
}

void mcl_device_close(mcl_device *device)
{
    if (!device) return;
    char *gemm = (char *)device->options.gemm, *variant = (char *)device->options.variant;
    char *kernels = (char *)device->options.kernels, *helper = (char *)device->options.helper;
    device->backend->close(device);
    free(gemm);
    free(variant);
    free(kernels);
    free(helper);
}

const mcl_device_info *mcl_device_get_info(const mcl_device *device) { return &device->info; }
const char *mcl_device_reason(const mcl_device *device) { return device->reason; }
mcl_device_counters mcl_device_get_counters(const mcl_device *device) { return device->counters; }
const mcl_error *mcl_device_error(const mcl_device *device) { return &device->error; }
mcl_device *mcl__buffer_device(const mcl_buffer *buffer) { return buffer->device; }
uint64_t mcl__buffer_bytes(const mcl_buffer *buffer) { return buffer->bytes; }

void mcl__kernels_hash(mcl_device *device, char hex[33])
{
    if (device->backend->kernels_hash) device->backend->kernels_hash(device, hex);
    else mcl__hash_hex(MONOCLE_VERSION, strlen(MONOCLE_VERSION), hex);
}

mcl_status mcl_device_profile(mcl_device *device, mcl_kernel_time **rows, int *count)
{
    *rows = NULL;
    *count = 0;
    MCL_ALIVE(device);
    device->counters.waits++;
    return keep(device, device->backend->profile(device, rows, count), "profile");
}

mcl_status mcl__device_probe(mcl_device *device, mcl__probe *out)
{
    *out = (mcl__probe){0};
    MCL_ALIVE(device);
    out->gemm_library = mcl__gemm_library(device);
    out->gemm = mcl__gemm_available(device, &out->gemm_why_not);
    if (device->backend->probe) return keep(device, device->backend->probe(device, out), "probe");
    out->fp64 = out->bf16_storage = (mcl__capability){true, true};
    return MCL_OK;
}

mcl_status mcl_buffer_create(mcl_device *device, uint64_t bytes, mcl_buffer **buffer)
{
    *buffer = NULL;
    MCL_ALIVE(device);
    if (bytes == 0) return mcl__device_fail(device, MCL_ERROR_INVALID, "a buffer of no bytes was asked for");
    mcl_status status = bytes > SIZE_MAX ? MCL_ERROR_MEMORY : device->backend->buffer_create(device, bytes, buffer);
    if (status == MCL_ERROR_MEMORY)
        return mcl__device_fail(device, status, "%.1f MiB of device memory wanted", (double)bytes / (1024.0 * 1024.0));
    if (status != MCL_OK) return keep(device, status, "allocating a buffer");
    (*buffer)->device = device;
    (*buffer)->bytes = bytes;
    mcl_device_counters *counters = &device->counters;
    counters->allocations++;
    counters->bytes_allocated += bytes;
    if (counters->bytes_allocated > counters->peak_bytes_allocated)
        counters->peak_bytes_allocated = counters->bytes_allocated;
    return MCL_OK;
}

void mcl_buffer_destroy(mcl_buffer *buffer)
{
    if (!buffer) return;
    buffer->device->counters.bytes_allocated -= buffer->bytes;
    buffer->device->backend->buffer_destroy(buffer);
}

static mcl_status write_view(mcl_device *device, mcl__view target, const void *source, bool wait)
{
    MCL_ALIVE(device);
    MCL_TRY(check_view(device, "write", target));
    if (wait) device->counters.waits++;
    return keep(device, device->backend->write(device, target, source, wait), "write");
}

static mcl_status read_view(mcl_device *device, mcl__view source, void *target, bool wait)
{
    MCL_ALIVE(device);
    MCL_TRY(check_view(device, "read", source));
    if (wait) device->counters.waits++;
    return keep(device, device->backend->read(device, source, target, wait), "read");
}

mcl_status mcl_buffer_write(mcl_buffer *buffer, uint64_t offset, uint64_t bytes, const void *source)
{
    return write_view(buffer->device, (mcl__view){buffer, offset, bytes}, source, true);
}

mcl_status mcl_buffer_read(mcl_buffer *buffer, uint64_t offset, uint64_t bytes, void *target)
{
    return read_view(buffer->device, (mcl__view){buffer, offset, bytes}, target, true);
}

mcl_status mcl__write_async(mcl_device *device, mcl__view target, const void *source)
{
    return write_view(device, target, source, false);
}

mcl_status mcl__read_async(mcl_device *device, mcl__view source, void *target)
{
    return read_view(device, source, target, false);
}

mcl_status mcl__map(mcl_device *device, mcl__view view, void **host)
{
    *host = NULL;
    MCL_ALIVE(device);
    MCL_TRY(check_view(device, "map", view));
    device->counters.waits++;
    *host = device->backend->map(device, view);
    return MCL_OK;
}

mcl_status mcl__unmap(mcl_device *device, mcl__view view, void *host)
{
    MCL_ALIVE(device);
    return host ? keep(device, device->backend->unmap(device, view, host), "unmap") : MCL_OK;
}

/* Also after a failure: transfers that were enqueued before it still read their callers' memory. */
mcl_status mcl_device_finish(mcl_device *device)
{
    device->counters.waits++;
    mcl_status status = device->backend->finish(device);
    MCL_ALIVE(device);
    return keep(device, status, "finish");
}

mcl_status mcl__kernel_get(mcl_device *device, const mcl__kernel_key *key, mcl__kernel **kernel)
{
    *kernel = NULL;
    MCL_ALIVE(device);
    return keep(device, device->backend->kernel_get(device, key, kernel), key->name);
}

static mcl_status check_range(mcl_device *device, const char *what, int dimensions, const size_t *global,
                              const size_t *local)
{
    if (dimensions < 1 || dimensions > 3)
        return mcl__device_fail(device, MCL_ERROR_INVALID, "%s: %d dimensions of work-items", what, dimensions);
    for (int i = 0; i < dimensions; i++) {
        if (global[i] == 0 || (local && (local[i] == 0 || global[i] % local[i] != 0)))
            return mcl__device_fail(device, MCL_ERROR_INVALID,
                                    "%s: %zu work-items in dimension %d do not divide into groups of %zu", what,
                                    global[i], i, local ? local[i] : 1);
    }
    return MCL_OK;
}

mcl_status mcl__launch_kernel(mcl_device *device, mcl__kernel *kernel, const char *what, const mcl__arg *args,
                              int count, int dimensions, const size_t *global, const size_t *local,
                              mcl__launch **launch)
{
    *launch = NULL;
    MCL_ALIVE(device);
    MCL_TRY(check_range(device, what, dimensions, global, local));
    for (int i = 0; i < count; i++)
        if (args[i].kind == MCL__ARG_VIEW) MCL_TRY(check_view(device, what, args[i].as.view));
    MCL_TRY(keep(device,
                 device->backend->launch_kernel(device, kernel, what, args, count, dimensions, global, local, launch),
                 what));
    device->counters.bindings += (uint64_t)count;
    return MCL_OK;
}

/* A matrix of rows x columns f32 with a leading dimension must lie inside its view. */
static mcl_status check_matrix(mcl_device *device, const char *what, const char *name, mcl__view view, int rows,
                               int columns, int ld)
{
    MCL_TRY(check_view(device, what, view));
    if (ld < columns || view.offset % sizeof(float) != 0 ||
        view.bytes / sizeof(float) < (uint64_t)(rows - 1) * (uint64_t)ld + (uint64_t)columns)
        return mcl__device_fail(device, MCL_ERROR_INVALID,
                                "%s: %s is %d x %d with leading dimension %d, its view has %" PRIu64 " bytes", what,
                                name, rows, columns, ld, view.bytes);
    return MCL_OK;
}

mcl_status mcl__launch_gemm(mcl_device *device, const char *what, const mcl__gemm *gemm, mcl__launch **launch)
{
    *launch = NULL;
    MCL_ALIVE(device);
    if (gemm->M < 1 || gemm->N < 1 || gemm->K < 1)
        return mcl__device_fail(device, MCL_ERROR_INVALID, "%s: a product of %d x %d x %d", what, gemm->M, gemm->N,
                                gemm->K);
    bool ta = gemm->transpose_a, tb = gemm->transpose_b;
    MCL_TRY(check_matrix(device, what, "A", gemm->a, ta ? gemm->K : gemm->M, ta ? gemm->M : gemm->K, gemm->lda));
    MCL_TRY(check_matrix(device, what, "B", gemm->b, tb ? gemm->N : gemm->K, tb ? gemm->K : gemm->N, gemm->ldb));
    MCL_TRY(check_matrix(device, what, "C", gemm->c, gemm->M, gemm->N, gemm->ldc));
    const char *why = NULL;
    if (!mcl__gemm_available(device, &why)) return mcl__device_fail(device, MCL_ERROR_UNSUPPORTED, "%s: %s", what, why);
    return keep(device, device->backend->launch_gemm(device, what, gemm, launch), what);
}

mcl_status mcl__launch_copy(mcl_device *device, const char *what, mcl__view source, mcl__view target,
                            mcl__launch **launch)
{
    *launch = NULL;
    MCL_ALIVE(device);
    MCL_TRY(check_view(device, what, source));
    MCL_TRY(check_view(device, what, target));
    bool overlap = source.buffer == target.buffer && source.offset < target.offset + target.bytes &&
                   target.offset < source.offset + source.bytes;
    if (source.bytes != target.bytes || overlap)
        return mcl__device_fail(device, MCL_ERROR_INVALID, "%s: a copy's views %s", what,
                                overlap ? "overlap" : "differ in size");
    return keep(device, device->backend->launch_copy(device, what, source, target, launch), what);
}

mcl_status mcl__launch_fill(mcl_device *device, const char *what, mcl__view target, uint32_t pattern,
                            mcl__launch **launch)
{
    *launch = NULL;
    MCL_ALIVE(device);
    MCL_TRY(check_view(device, what, target));
    if (target.offset % sizeof pattern != 0 || target.bytes % sizeof pattern != 0)
        return mcl__device_fail(device, MCL_ERROR_INVALID, "%s: a fill needs whole words of four bytes", what);
    return keep(device, device->backend->launch_fill(device, what, target, pattern, launch), what);
}

mcl_status mcl__launch_run(mcl_device *device, mcl__launch *launch)
{
    MCL_ALIVE(device);
    device->counters.launches++;
    return keep(device, device->backend->launch_run(device, launch), "launch");
}

void mcl__launch_destroy(mcl_device *device, mcl__launch *launch)
{
    if (launch) device->backend->launch_destroy(device, launch);
}

mcl_status mcl__buffer_create_zeros(mcl_device *device, uint64_t bytes, mcl_buffer **buffer)
{
    mcl__launch *fill = NULL;
    MCL_TRY(mcl_buffer_create(device, bytes, buffer));
    if ((*buffer)->zeros) return MCL_OK;
    mcl_status status = mcl__launch_fill(device, "zero", (mcl__view){*buffer, 0, bytes}, 0, &fill);
    if (status == MCL_OK) status = mcl__launch_run(device, fill);
    mcl__launch_destroy(device, fill);
    if (status == MCL_OK) return MCL_OK;
    mcl_buffer_destroy(*buffer);
    *buffer = NULL;
    return status;
}

bool mcl__gemm_available(mcl_device *device, const char **why)
{
    const char *reason = NULL;
    bool available = device->error.status == MCL_OK && device->backend->gemm_available(device, &reason);
    if (!available && !reason) reason = "the device has failed";
    if (why) *why = available ? NULL : reason;
    return available;
}

const char *mcl__gemm_library(const mcl_device *device) { return device->backend->gemm_library; }

mcl_status mcl__fence_create(mcl_device *device, mcl__fence **fence)
{
    *fence = NULL;
    MCL_ALIVE(device);
    return keep(device, device->backend->fence_create(device, fence), "creating a fence");
}

mcl_status mcl__fence_record(mcl_device *device, mcl__fence *fence)
{
    MCL_ALIVE(device);
    return keep(device, device->backend->fence_record(device, fence), "recording a fence");
}

mcl_status mcl__fence_wait(mcl_device *device, mcl__fence *fence)
{
    MCL_ALIVE(device);
    device->counters.waits++;
    return keep(device, device->backend->fence_wait(device, fence), "waiting for a fence");
}

bool mcl__fence_passed(mcl_device *device, mcl__fence *fence)
{
    return device->error.status == MCL_OK && device->backend->fence_passed(device, fence);
}

mcl_status mcl__fence_order(mcl_device *device, mcl__fence *fence)
{
    MCL_ALIVE(device);
    return keep(device, device->backend->fence_order(device, fence), "waiting for a fence on the device");
}

void mcl__fence_destroy(mcl_device *device, mcl__fence *fence)
{
    if (fence) device->backend->fence_destroy(device, fence);
}

bool mcl__has_own_memory(const mcl_device *device) { return !device->info.unified_memory; }

mcl_status mcl__staging_create(mcl_device *device, uint64_t bytes, mcl__staging *staging)
{
    *staging = (mcl__staging){0};
    MCL_ALIVE(device);
    bool lock = mcl__has_own_memory(device) && device->backend->lock;
    if (lock) staging->data = device->backend->lock(device, bytes, &staging->locked);
    if (staging->data) memset(staging->data, 0, (size_t)bytes);
    else staging->data = calloc(1, (size_t)bytes);
    return staging->data ? MCL_OK : MCL_ERROR_MEMORY;
}

void mcl__staging_destroy(mcl_device *device, mcl__staging *staging)
{
    if (staging->locked) device->backend->unlock(device, staging->data, staging->locked);
    else free(staging->data);
    *staging = (mcl__staging){0};
}

mcl_status mcl__upload(mcl_device *device, mcl__view target, const void *source, mcl__fence *after, mcl__fence *done)
{
    MCL_ALIVE(device);
    MCL_TRY(check_view(device, "upload", target));
    return keep(device, device->backend->upload(device, target, source, after, done), "upload");
}
