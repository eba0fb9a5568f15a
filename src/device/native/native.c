/* The native device: plain memory, registered C functions as kernels. Launches run when they are
 * enqueued, in the calling thread and OpenMP's team, so there is never anything to wait for. */
#include "device/native/native.h"
#include "base/clock.h"
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

struct mcl__kernel {
    mcl__kernel *next;
    mcl__native_function function;
    char name[];
};

struct mcl__fence { int unused; };

/* Time spent under one label. */
typedef struct profile_row {
    struct profile_row *next;
    mcl_kernel_time time;
    char label[];
} profile_row;

typedef struct native_device {
    mcl_device base;
    mcl__kernel *kernels;
    profile_row *profile;
} native_device;

typedef struct native_buffer {
    mcl_buffer base;
    unsigned char *data;
} native_buffer;

typedef enum launch_kind { LAUNCH_KERNEL, LAUNCH_COPY, LAUNCH_FILL } launch_kind;

struct mcl__launch {
    launch_kind kind;
    profile_row *row; /* NULL unless profiling */
    union {
        struct { mcl__native_function function; mcl__native_arg *args; } kernel; /* args lie behind the launch */
        struct { const void *source; void *target; uint64_t bytes; uint32_t pattern; } memory;
    } as;
};

static void *view_pointer(mcl__view view) { return ((native_buffer *)view.buffer)->data + view.offset; }

static mcl_status native_open(const mcl_device_info *info, const mcl_device_options *options, mcl_device **device,
                              mcl_error *error)
{
    native_device *native = calloc(1, sizeof *native);
    if (!native) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the native device");
    native->base.backend = &mcl__native_backend;
    native->base.info = *info;
    if (options) native->base.options = *options;
    native->base.threads = options && options->threads > 0 ? options->threads : omp_get_num_procs();
    *device = &native->base;
    return MCL_OK;
}

static void native_close(mcl_device *device)
{
    native_device *native = (native_device *)device;
    while (native->kernels) {
        mcl__kernel *next = native->kernels->next;
        free(native->kernels);
        native->kernels = next;
    }
    while (native->profile) {
        profile_row *next = native->profile->next;
        free(native->profile);
        native->profile = next;
    }
    free(native);
}

static mcl_status native_buffer_create(mcl_device *device, uint64_t bytes, mcl_buffer **buffer)
{
    /* Linux promises more memory than there is and ends the process later: refuse what cannot be. */
    if (device->info.memory && bytes > device->info.memory) return MCL_ERROR_MEMORY;
    if (bytes > SIZE_MAX - ALIGNMENT) return MCL_ERROR_MEMORY;
    native_buffer *native = calloc(1, sizeof *native);
    if (!native) return MCL_ERROR_MEMORY;
    native->data = aligned_alloc(ALIGNMENT, ((size_t)bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (!native->data) {
        free(native);
        return MCL_ERROR_MEMORY;
    }
    native->base.device = device;
    native->base.bytes = bytes;
    *buffer = &native->base;
    return MCL_OK;
}

static void native_buffer_destroy(mcl_buffer *buffer)
{
    native_buffer *native = (native_buffer *)buffer;
    free(native->data);
    free(native);
}

static mcl_status native_write(mcl_device *device, mcl__view target, const void *source, bool wait)
{
    (void)device;
    (void)wait;
    memcpy(view_pointer(target), source, target.bytes);
    return MCL_OK;
}

static mcl_status native_read(mcl_device *device, mcl__view source, void *target, bool wait)
{
    (void)device;
    (void)wait;
    memcpy(target, view_pointer(source), source.bytes);
    return MCL_OK;
}

static void *native_map(mcl_device *device, mcl__view view)
{
    (void)device;
    return view_pointer(view);
}

static mcl_status native_unmap(mcl_device *device, mcl__view view, void *host)
{
    (void)device;
    (void)view;
    (void)host;
    return MCL_OK;
}

static mcl_status native_finish(mcl_device *device)
{
    (void)device;
    return MCL_OK;
}

static mcl_status native_kernel_get(mcl_device *device, const mcl__kernel_key *key, mcl__kernel **kernel)
{
    native_device *native = (native_device *)device;
    for (mcl__kernel *known = native->kernels; known; known = known->next)
        if (!strcmp(known->name, key->name)) {
            *kernel = known;
            return MCL_OK;
        }
    mcl__native_function function = mcl__native_find(key->name);
    if (!function)
        return mcl__device_fail(device, MCL_ERROR_BUILD, "the native device has no kernel \"%s\"", key->name);
    size_t length = strlen(key->name) + 1;
    mcl__kernel *made = malloc(sizeof *made + length);
    if (!made) return mcl__device_fail(device, MCL_ERROR_MEMORY, "no memory for kernel \"%s\"", key->name);
    made->function = function;
    memcpy(made->name, key->name, length);
    made->next = native->kernels;
    *kernel = native->kernels = made;
    return MCL_OK;
}

static profile_row *profile_row_get(mcl_device *device, const char *label)
{
    native_device *native = (native_device *)device;
    for (profile_row *row = native->profile; row; row = row->next)
        if (!strcmp(row->label, label)) return row;
    size_t length = strlen(label) + 1;
    profile_row *row = calloc(1, sizeof *row + length);
    if (!row) return NULL;
    row->time.kernel = memcpy(row->label, label, length);
    row->next = native->profile;
    return native->profile = row;
}

/* A launch with `extra` bytes behind it. */
static mcl_status launch_create(mcl_device *device, launch_kind kind, const char *what, size_t extra,
                                mcl__launch **launch)
{
    mcl__launch *made = calloc(1, sizeof *made + extra);
    if (!made) return mcl__device_fail(device, MCL_ERROR_MEMORY, "no memory for launch \"%s\"", what);
    made->kind = kind;
    if (device->options.profiling && !(made->row = profile_row_get(device, what))) {
        free(made);
        return mcl__device_fail(device, MCL_ERROR_MEMORY, "no memory for the profile of \"%s\"", what);
    }
    *launch = made;
    return MCL_OK;
}

static size_t rounded(size_t bytes) { return (bytes + 15) / 16 * 16; }

static size_t arg_storage(const mcl__arg *arg)
{
    if (arg->kind == MCL__ARG_BLOB) return rounded(arg->as.blob.bytes);
    return arg->kind == MCL__ARG_LOCAL ? rounded(arg->as.local) : 0;
}

static mcl_status native_launch_kernel(mcl_device *device, mcl__kernel *kernel, const char *what, const mcl__arg *args,
                                       int count, int dimensions, const size_t *global, const size_t *local,
                                       mcl__launch **launch)
{
    (void)dimensions;
    (void)global;
    (void)local; /* a native kernel knows its extent from its arguments */
    size_t head = rounded(sizeof **launch) - sizeof **launch, table = rounded((size_t)count * sizeof(mcl__native_arg));
    size_t extra = head + table;
    for (int i = 0; i < count; i++) extra += arg_storage(&args[i]);
    MCL_TRY(launch_create(device, LAUNCH_KERNEL, what ? what : kernel->name, extra, launch));
    unsigned char *behind = (unsigned char *)(*launch + 1) + head, *storage = behind + table;
    mcl__native_arg *bound = (mcl__native_arg *)(void *)behind;
    for (int i = 0; i < count; i++) {
        const mcl__arg *arg = &args[i];
        switch (arg->kind) {
        case MCL__ARG_VIEW: bound[i].pointer = view_pointer(arg->as.view); break;
        case MCL__ARG_I32: bound[i].i32 = arg->as.i32; break;
        case MCL__ARG_F32: bound[i].f32 = arg->as.f32; break;
        case MCL__ARG_BLOB: bound[i].pointer = memcpy(storage, arg->as.blob.data, arg->as.blob.bytes); break;
        case MCL__ARG_LOCAL: bound[i].pointer = storage; break;
        }
        storage += arg_storage(arg);
    }
    (*launch)->as.kernel.function = kernel->function;
    (*launch)->as.kernel.args = bound;
    return MCL_OK;
}

static bool native_gemm_available(mcl_device *device, const char **why)
{
    (void)device;
    *why = "no library is as fast here";
    return false;
}

static mcl_status native_launch_copy(mcl_device *device, const char *what, mcl__view source, mcl__view target,
                                     mcl__launch **launch)
{
    MCL_TRY(launch_create(device, LAUNCH_COPY, what ? what : "copy", 0, launch));
    (*launch)->as.memory.source = view_pointer(source);
    (*launch)->as.memory.target = view_pointer(target);
    (*launch)->as.memory.bytes = target.bytes < source.bytes ? target.bytes : source.bytes;
    return MCL_OK;
}

static mcl_status native_launch_fill(mcl_device *device, const char *what, mcl__view target, uint32_t pattern,
                                     mcl__launch **launch)
{
    MCL_TRY(launch_create(device, LAUNCH_FILL, what ? what : "fill", 0, launch));
    (*launch)->as.memory.target = view_pointer(target);
    (*launch)->as.memory.bytes = target.bytes;
    (*launch)->as.memory.pattern = pattern;
    return MCL_OK;
}

/* Whole words; the bytes of a last partial word take the pattern's first bytes. */
static void fill(void *target, uint64_t bytes, uint32_t pattern)
{
    uint32_t *word = target;
    uint64_t words = bytes / sizeof *word;
    for (uint64_t i = 0; i < words; i++) word[i] = pattern;
    memcpy(word + words, &pattern, bytes % sizeof *word);
}

static void execute(const mcl__launch *launch)
{
    switch (launch->kind) {
    case LAUNCH_KERNEL: launch->as.kernel.function(launch->as.kernel.args); break;
    case LAUNCH_COPY: memmove(launch->as.memory.target, launch->as.memory.source, launch->as.memory.bytes); break;
    case LAUNCH_FILL: fill(launch->as.memory.target, launch->as.memory.bytes, launch->as.memory.pattern); break;
    }
}

static mcl_status native_launch_run(mcl_device *device, mcl__launch *launch)
{
    /* The team's size belongs to the calling thread, which may be another than the one that opened the device. */
    if (omp_get_max_threads() != device->threads) omp_set_num_threads(device->threads);
    double start = launch->row ? mcl__seconds() : 0;
    execute(launch);
    if (launch->row) {
        launch->row->time.seconds += mcl__seconds() - start;
        launch->row->time.launches++;
    }
    return MCL_OK;
}

static void native_launch_destroy(mcl_device *device, mcl__launch *launch)
{
    (void)device;
    free(launch);
}

static mcl_status native_fence_create(mcl_device *device, mcl__fence **fence)
{
    *fence = calloc(1, sizeof **fence);
    return *fence ? MCL_OK : mcl__device_fail(device, MCL_ERROR_MEMORY, "no memory for a fence");
}

static mcl_status native_fence_pass(mcl_device *device, mcl__fence *fence)
{
    (void)device;
    (void)fence;
    return MCL_OK;
}

static bool native_fence_passed(mcl_device *device, mcl__fence *fence)
{
    (void)device;
    (void)fence;
    return true;
}

static mcl_status native_upload(mcl_device *device, mcl__view target, const void *source, mcl__fence *after, mcl__fence *done)
{
    (void)after;
    (void)done;
    return native_write(device, target, source, false);
}

static void native_fence_destroy(mcl_device *device, mcl__fence *fence)
{
    (void)device;
    free(fence);
}

static int longest_first(const void *a, const void *b)
{
    double x = ((const mcl_kernel_time *)a)->seconds, y = ((const mcl_kernel_time *)b)->seconds;
    return (x < y) - (x > y);
}

static mcl_status native_profile(mcl_device *device, mcl_kernel_time **rows, int *count)
{
    native_device *native = (native_device *)device;
    size_t used = 0, length = 0;
    for (profile_row *row = native->profile; row; row = row->next) length++;
    mcl_kernel_time *made = malloc((length ? length : 1) * sizeof *made);
    if (!made) return mcl__device_fail(device, MCL_ERROR_MEMORY, "no memory for the profile");
    for (profile_row *row = native->profile; row; row = row->next)
        if (row->time.launches) made[used++] = row->time;
    qsort(made, used, sizeof *made, longest_first);
    *rows = made;
    *count = (int)used;
    return MCL_OK;
}

const mcl__backend mcl__native_backend = {
    .name = "native",
    .list = mcl__native_list,
    .open = native_open,
    .close = native_close,
    .buffer_create = native_buffer_create,
    .buffer_destroy = native_buffer_destroy,
    .write = native_write,
    .read = native_read,
    .map = native_map,
    .unmap = native_unmap,
    .finish = native_finish,
    .kernel_get = native_kernel_get,
    .launch_kernel = native_launch_kernel,
    .gemm_available = native_gemm_available,
    .launch_copy = native_launch_copy,
    .launch_fill = native_launch_fill,
    .launch_run = native_launch_run,
    .launch_destroy = native_launch_destroy,
    .fence_create = native_fence_create,
    .fence_record = native_fence_pass,
    .fence_wait = native_fence_pass,
    .fence_passed = native_fence_passed,
    .fence_order = native_fence_pass,
    .fence_destroy = native_fence_destroy,
    .upload = native_upload,
    .profile = native_profile,
};
