/* What a backend implements. A backend is one folder and one line in select.c; only that and device.c call through this table.
 * device.c counts, keeps errors and checks ranges, so a backend does only its API's part. */
#ifndef MCL_DEVICE_BACKEND_H
#define MCL_DEVICE_BACKEND_H
#include "device/device.h"
#include "device/probe.h"

struct mcl_buffer {
    mcl_device *device;
    uint64_t bytes;
    bool zeros; /* when it is created */
};

struct mcl__backend {
    const char *name;
    /* Called before list(), to pass options that a driver reads only once. May be NULL. */
    void (*prepare)(const mcl_device_options *options);
    /* Has drivers whose caches $XDG_CACHE_HOME alone does not move keep them in a folder. May be NULL. */
    void (*cache_in)(const char *folder);
    /* Appends this backend's devices to *devices (realloc'ed). notes: what was skipped and why, appended (malloc'ed text). */
    mcl_status (*list)(mcl_device_info **devices, int *count, char **notes, mcl_error *error);
    /* Allocates the backend's device (whose first member is an mcl_device) for info->selector. */
    mcl_status (*open)(const mcl_device_info *info, const mcl_device_options *options, mcl_device **device, mcl_error *error);
    void (*close)(mcl_device *device);

    mcl_status (*buffer_create)(mcl_device *device, uint64_t bytes, mcl_buffer **buffer);
    void (*buffer_destroy)(mcl_buffer *buffer);
    mcl_status (*write)(mcl_device *device, mcl__view target, const void *source, bool wait);
    mcl_status (*read)(mcl_device *device, mcl__view source, void *target, bool wait);
    /* In place, for a CPU device; NULL where it cannot be. */
    void *(*map)(mcl_device *device, mcl__view view);
    mcl_status (*unmap)(mcl_device *device, mcl__view view, void *host);
    mcl_status (*finish)(mcl_device *device);

    void (*kernels_hash)(mcl_device *device, char hex[33]); /* NULL: as the library's version */
    mcl_status (*kernel_get)(mcl_device *device, const mcl__kernel_key *key, mcl__kernel **kernel);
    mcl_status (*launch_kernel)(mcl_device *device, mcl__kernel *kernel, const char *what, const mcl__arg *args, int count,
                                int dimensions, const size_t *global, const size_t *local, mcl__launch **launch);
    bool (*gemm_available)(mcl_device *device, const char **why);
    /* NULL where gemm_available() is never true, as the name of the library. */
    const char *gemm_library;
    mcl_status (*launch_gemm)(mcl_device *device, const char *what, const mcl__gemm *gemm, mcl__launch **launch);
    mcl_status (*launch_copy)(mcl_device *device, const char *what, mcl__view source, mcl__view target, mcl__launch **launch);
    mcl_status (*launch_fill)(mcl_device *device, const char *what, mcl__view target, uint32_t pattern, mcl__launch **launch);
    mcl_status (*launch_run)(mcl_device *device, mcl__launch *launch);
    void (*launch_destroy)(mcl_device *device, mcl__launch *launch);

    mcl_status (*fence_create)(mcl_device *device, mcl__fence **fence);
    mcl_status (*fence_record)(mcl_device *device, mcl__fence *fence);
    mcl_status (*fence_wait)(mcl_device *device, mcl__fence *fence);
    bool (*fence_passed)(mcl_device *device, mcl__fence *fence);
    mcl_status (*fence_order)(mcl_device *device, mcl__fence *fence);
    void (*fence_destroy)(mcl_device *device, mcl__fence *fence);
    /* Page-locked host memory, and in *locked what unlock() needs to know of it; NULL: there is none. Called before uploads, where
     * the device has memory of its own. May be NULL. */
    void *(*lock)(mcl_device *device, uint64_t bytes, void **locked);
    void (*unlock)(mcl_device *device, void *data, void *locked); /* NULL where lock() is */
    mcl_status (*upload)(mcl_device *device, mcl__view target, const void *source, mcl__fence *after, mcl__fence *done);
    mcl_status (*profile)(mcl_device *device, mcl_kernel_time **rows, int *count);
    /* Fills the capabilities, extensions and quirks of an all-zero *out. May be NULL: plain C on the host. */
    mcl_status (*probe)(mcl_device *device, mcl__probe *out);
};

extern const mcl__backend mcl__opencl_backend, mcl__native_backend;
#endif
