/* Devices: what there is, which one to take, and memory on it. A device and everything made from it belong to one
 * thread at a time; different devices may run in different threads. */
#ifndef MONOCLE_DEVICE_H
#define MONOCLE_DEVICE_H
#include <monocle/status.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mcl_device mcl_device;
typedef struct mcl_buffer mcl_buffer; /* bytes on one device */

typedef enum mcl_device_type { MCL_DEVICE_NATIVE, MCL_DEVICE_CPU, MCL_DEVICE_GPU, MCL_DEVICE_ACCELERATOR } mcl_device_type;

/* What a device says of itself. Strings are empty and numbers 0 where it does not say. */
typedef struct mcl_device_info {
    char selector[16]; /* "0:1" (platform:device), or "native" */
    char platform[128], vendor[128], name[128], driver[128], version[128];
    char chip[128];    /* "gfx1030": where the driver calls the device so, and name is that of its board */
    mcl_device_type type;
    uint32_t compute_units, clock_mhz;
    uint64_t memory, max_allocation, local_memory; /* bytes */
    uint64_t cache_line, max_work_group, max_work_item[3];
    uint32_t alignment;           /* bytes, of the start of a tensor in a buffer */
    uint32_t vector_floats;       /* of one register, as reported; 0: not said */
    uint32_t sub_group_sizes[8];  /* as reported; 0 ends the list */
    bool fp16, fp64, unified_memory;
    char extensions[4096];
} mcl_device_info;

/* Whose measurements choose kernel variants where none is forced: the user's own (`monocle tune`), else those that the library
 * ships for the class of device; the shipped ones alone; or nobody's. */
typedef enum mcl_tuning { MCL_TUNING_AUTO, MCL_TUNING_SHIPPED, MCL_TUNING_OFF } mcl_tuning;

typedef struct mcl_device_options {
    int threads;            /* for CPU devices and decoders together; 0: all that the process may use */
    const char *gemm;       /* "auto", "clblast", "own"; NULL: auto */
    const char *variant;    /* force kernel variants by name, "reference" for instance; NULL: choose */
    mcl_tuning tuning;
    const char *kernels;    /* folder to read kernel sources from; NULL: MONOCLE_KERNELS, else the embedded ones */
    /* Path of the program `monocle`, of this version; NULL: none. Where a driver compiles one kernel at a time (PoCL, with its
     * cache in ours), up to eight processes of it, as many as there are threads, compile beside this one while a plan is made,
     * and are gone when it is first run. resnet18's first start on two cores takes 7.3 s for 12.5. */
    const char *helper;
    bool profiling;         /* time every launch; see mcl_device_profile */
    bool no_cache;          /* neither read nor write program binaries and measurements */
} mcl_device_options;

/* How often the device did what a training step must not do. Monotonic. */
typedef struct mcl_device_counters {
    uint64_t launches, bindings, allocations, waits; /* waits: the host blocked until the device had caught up */
    uint64_t programs_built, programs_loaded;        /* compiled from source; taken from the cache */
    uint64_t bytes_allocated, peak_bytes_allocated;
} mcl_device_counters;

/* One row of the profile: total time of all launches of one kernel. */
typedef struct mcl_kernel_time { const char *kernel; uint64_t launches; double seconds; } mcl_kernel_time;

/* All devices of all platforms, the native device last. *devices is freed with free(). Never empty. Platforms
 * without devices are skipped; *notes (may be NULL, freed by the caller) says what was skipped and why. */
MCL_API mcl_status mcl_device_list(mcl_device_info **devices, int *count, char **notes, mcl_error *error);

/* Opens a device. selector: "auto", "native", "gpu", "cpu", "P:D", or part of a device's, chip's or platform's name, any case;
 * NULL: $MONOCLE_DEVICE, else "auto". auto takes the best GPU, else a CPU through OpenCL, else native, which computes in the
 * caller's thread too, with half a MiB of its stack (OMP_STACKSIZE sets the others').
 * Returns MCL_ERROR_NOT_FOUND when nothing fits (the text lists what there is). Close it with mcl_device_close(). */
MCL_API mcl_status mcl_device_open(const char *selector, const mcl_device_options *options, mcl_device **device, mcl_error *error);
MCL_API void mcl_device_close(mcl_device *device); /* NULL does nothing; everything made from it must be gone */

MCL_API const mcl_device_info *mcl_device_get_info(const mcl_device *device);
MCL_API const char *mcl_device_reason(const mcl_device *device); /* why it was taken: "the only GPU", ... */
MCL_API mcl_device_counters mcl_device_get_counters(const mcl_device *device);
/* The first failure; every call after it returns the same status. status is 0 while all is well. */
MCL_API const mcl_error *mcl_device_error(const mcl_device *device);
/* Totals a kernel since opening, longest first, when profiling is on. *rows is freed with free(); the names in it
 * live as long as the device. Waits. */
MCL_API mcl_status mcl_device_profile(mcl_device *device, mcl_kernel_time **rows, int *count);

/* Memory. Contents are undefined after creation. bytes > 0. MCL_ERROR_MEMORY says how much was wanted and there is. */
MCL_API mcl_status mcl_buffer_create(mcl_device *device, uint64_t bytes, mcl_buffer **buffer);
MCL_API void mcl_buffer_destroy(mcl_buffer *buffer);
/* Blocking copies of `bytes` > 0 bytes from `offset` of the buffer on; they wait for what was enqueued before.
 * MCL_ERROR_INVALID when they reach outside the buffer. */
MCL_API mcl_status mcl_buffer_write(mcl_buffer *buffer, uint64_t offset, uint64_t bytes, const void *source);
MCL_API mcl_status mcl_buffer_read(mcl_buffer *buffer, uint64_t offset, uint64_t bytes, void *target);
/* Waits until the device has done everything that was enqueued; afterwards no memory of the caller's is read or written. */
MCL_API mcl_status mcl_device_finish(mcl_device *device);

#ifdef __cplusplus
}
#endif
#endif
