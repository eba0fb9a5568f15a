/* The device layer: memory, kernels, launches, fences and products, the same for every backend. It knows no operators.
 * Everything enqueues on the device's in-order compute queue and returns at once unless it says "waits"; mcl__upload alone may
 * take a second one. A failure is kept in device->error and every later call returns its status. */
#ifndef MCL_DEVICE_H
#define MCL_DEVICE_H
#include "base/error.h"
#include <monocle/device.h>

typedef struct mcl__backend mcl__backend;
typedef struct mcl__kernel mcl__kernel; /* a compiled entry point; owned by the device, shared */
typedef struct mcl__launch mcl__launch; /* work with its arguments bound, replayed any number of times */
typedef struct mcl__fence mcl__fence;   /* a point in the queue */

struct mcl_device {
    const mcl__backend *backend;
    mcl_device_info info;
    mcl_device_options options; /* strings owned by the device */
    mcl_device_counters counters;
    mcl_error error;
    char reason[256];
    int threads;                /* resolved budget */
    bool keeps_loops;           /* a quirk of its compiler: kernels that count on unrolled loops are slow, or wrong */
};

/* Bytes of a buffer. offset is a multiple of info.alignment where it starts a tensor. */
typedef struct mcl__view {
    mcl_buffer *buffer;
    uint64_t offset, bytes;
} mcl__view;

typedef enum mcl__arg_kind { MCL__ARG_VIEW, MCL__ARG_I32, MCL__ARG_F32, MCL__ARG_BLOB, MCL__ARG_LOCAL } mcl__arg_kind;

/* One kernel argument. A blob is a struct passed by value (copied when bound); local is bytes of local memory. */
typedef struct mcl__arg {
    mcl__arg_kind kind;
    union {
        mcl__view view;
        int32_t i32;
        float f32;
        struct { const void *data; size_t bytes; } blob;
        size_t local;
    } as;
} mcl__arg;

/* Which kernel: entry point `name` of kernels/<source>.cl, compiled with `constants` ("-DTILE=8 -DNV=2", may be NULL)
 * and with `prelude` (generated source put before the file, may be NULL). Native looks up `name` only. */
typedef struct mcl__kernel_key {
    const char *source, *name, *constants, *prelude;
} mcl__kernel_key;

/* Row-major C (M,N) = alpha * op(A) * op(B) + beta * C, leading dimensions in elements, f32. */
typedef struct mcl__gemm {
    bool transpose_a, transpose_b;
    int M, N, K, lda, ldb, ldc;
    float alpha, beta;
    mcl__view a, b, c;
} mcl__gemm;

/* Builds or loads; kept by the device and given back when asked again. MCL_ERROR_BUILD: the text has kernel, options, log. */
mcl_status mcl__kernel_get(mcl_device *device, const mcl__kernel_key *key, mcl__kernel **kernel);

/* Bound work. `what` labels it in profiles and errors ("conv1 conv2d_fwd"); copied. local NULL: the backend chooses.
 * Sizes in work-items; global is rounded up by the caller. A kernel without reqd_work_group_size may get smaller groups than
 * local says. The buffers outlive the launch. */
mcl_status mcl__launch_kernel(mcl_device *device, mcl__kernel *kernel, const char *what, const mcl__arg *args, int count,
                              int dimensions, const size_t *global, const size_t *local, mcl__launch **launch);
mcl_status mcl__launch_gemm(mcl_device *device, const char *what, const mcl__gemm *gemm, mcl__launch **launch);
mcl_status mcl__launch_copy(mcl_device *device, const char *what, mcl__view source, mcl__view target, mcl__launch **launch);
mcl_status mcl__launch_fill(mcl_device *device, const char *what, mcl__view target, uint32_t pattern, mcl__launch **launch);
mcl_status mcl__launch_run(mcl_device *device, mcl__launch *launch); /* enqueues */
void mcl__launch_destroy(mcl_device *device, mcl__launch *launch);   /* NULL does nothing */

/* Does the device serve products through a library, whose results were verified? *why (static text) says why not. */
bool mcl__gemm_available(mcl_device *device, const char **why);
const char *mcl__gemm_library(const mcl_device *device); /* its name, whether it serves or not; NULL: there is none */

/* Enqueued transfers: the host memory must stay as it is until a fence recorded after them has passed. */
mcl_status mcl__write_async(mcl_device *device, mcl__view target, const void *source);
mcl_status mcl__read_async(mcl_device *device, mcl__view source, void *target);
/* Bytes of a buffer in place, to be read and written by the host until they are unmapped; no command may touch them meanwhile.
 * Waits for what was enqueued before. *host is NULL where device memory is not the host's own, or the driver would not. */
mcl_status mcl__map(mcl_device *device, mcl__view view, void **host);
mcl_status mcl__unmap(mcl_device *device, mcl__view view, void *host); /* host NULL does nothing */
mcl_status mcl__fence_create(mcl_device *device, mcl__fence **fence);
mcl_status mcl__fence_record(mcl_device *device, mcl__fence *fence); /* a fence may be recorded again and again */
mcl_status mcl__fence_wait(mcl_device *device, mcl__fence *fence);   /* waits; never recorded: returns at once */
bool mcl__fence_passed(mcl_device *device, mcl__fence *fence);       /* does not wait; false after a failure too */
/* What is enqueued from here on begins when the fence has passed. The host does not wait. */
mcl_status mcl__fence_order(mcl_device *device, mcl__fence *fence);
void mcl__fence_destroy(mcl_device *device, mcl__fence *fence);

/* Before any device is listed or opened: all caches of this process and those that it starts lie in this folder. */
void mcl__cache_in(const char *folder);

/* Whether what the host writes must travel to the device: then uploads go beside what is computed. */
bool mcl__has_own_memory(const mcl_device *device);

/* Host memory of zeros to upload from: locked in place where the device has memory of its own and the driver can, which is
 * what transfers are fastest from; else ordinary memory. */
typedef struct mcl__staging {
    void *data;
    void *locked; /* the backend's; NULL: ordinary memory */
} mcl__staging;
mcl_status mcl__staging_create(mcl_device *device, uint64_t bytes, mcl__staging *staging);
void mcl__staging_destroy(mcl_device *device, mcl__staging *staging); /* after its uploads; all-zero does nothing */

/* An enqueued transfer that begins when the fence `after` has passed, and records `done` behind it. A device with memory of its own
 * makes it in a second in-order queue, so that it overlaps what is computed: commands that use the target are enqueued between
 * mcl__fence_order(done) and the recording of a fence that the next upload to it takes as `after`. Elsewhere the queue is the
 * same, and it is mcl__write_async. Source: as there, until `done` has passed. */
mcl_status mcl__upload(mcl_device *device, mcl__view target, const void *source, mcl__fence *after, mcl__fence *done);

/* A hash of all kernel sources that the device compiles from; native's kernels change with the library's version. */
void mcl__kernels_hash(mcl_device *device, char hex[33]);

/* A buffer of zeros. Where the memory is the host's own, its pages may still come when they are used. */
mcl_status mcl__buffer_create_zeros(mcl_device *device, uint64_t bytes, mcl_buffer **buffer);

/* Records the first failure in the device and returns status. */
mcl_status mcl__device_fail(mcl_device *device, mcl_status status, const char *format, ...) MCL_PRINTF(3, 4);

mcl_device *mcl__buffer_device(const mcl_buffer *buffer);
uint64_t mcl__buffer_bytes(const mcl_buffer *buffer);

/* Native kernels are registered from above, before the first is asked for. A kernel gets its arguments in order. */
typedef union mcl__native_arg {
    void *pointer; /* a view's or a blob's first byte */
    int32_t i32;
    float f32;
} mcl__native_arg;
typedef void (*mcl__native_function)(const mcl__native_arg *args);
typedef struct mcl__native_kernel { const char *name; mcl__native_function function; } mcl__native_kernel;
void mcl__native_register(const mcl__native_kernel *kernels, int count);

#endif
