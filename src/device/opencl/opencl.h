/* What the files of the OpenCL backend share. Nothing outside this folder includes it. */
#ifndef MCL_OPENCL_H
#define MCL_OPENCL_H
#include "device/backend.h"
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <locale.h>

/* quirks.c: deviations that this backend acts upon. */
typedef enum mcl__cl_quirk {
    MCL__CL_POLL = 1 << 0,       /* waits spin: poll events and sleep */
    MCL__CL_SPLIT_FILL = 1 << 1, /* fills of 2^31 bytes and more go wrong */
    MCL__CL_TRY_FP16 = 1 << 2,   /* fp16 works though it is not advertised */
    MCL__CL_BOARD_NAME = 1 << 3, /* the device's name is a chip's code; the board has a better one */
    MCL__CL_BUILTINS = 1 << 4,   /* every program parses all functions there are: kernels/builtins.h declares ours */
    MCL__CL_KEEPS_CODE = 1 << 5, /* has a cache of its own; a binary costs more than the code that it keeps */
    MCL__CL_KEEPS_LOOPS = 1 << 6, /* loops stay loops, end after 65,535 rounds, and long kernels compile for minutes */
    MCL__CL_HOST_PAGES = 1 << 7,  /* new memory comes page by page: buffers are pages of ours, which are zeros and are used early */
    MCL__CL_SLEEPS = 1 << 8,      /* its threads sleep between launches, if they are not kept awake */
    MCL__CL_BITCODE = 1 << 9,     /* takes bitcode sooner than source: bitcode.c */
} mcl__cl_quirk;
unsigned mcl__cl_quirks(const mcl_device_info *info);
int mcl__cl_quirk_rows(const mcl_device_info *info, mcl__quirk *rows, int room);

#define MCL__CL_KEY 33 /* a cache entry's key: 128 bits in hexadecimal */

/* One program built; see program.c. */
typedef struct mcl__cl_program {
    struct mcl__cl_program *next;
    uint64_t hash; /* of the key's strings */
    char *source, *constants, *prelude;
    char *text;    /* complete source */
    cl_program program;
    mcl__kernel *kernels;
    char cache_key[MCL__CL_KEY];
    bool from_cache, launched, saved;
} mcl__cl_program;

struct mcl__fence { cl_event event; }; /* NULL: never recorded */

struct mcl__kernel {
    mcl__kernel *next;
    mcl__cl_program *program;
    char *name;
    cl_uint arguments;
    size_t max_work_group, required_local[3];
    unsigned asked; /* helpers.c: bit 0 for launches that are not wide, bit 1 for those that are */
};

/* The profile's row of one label; see profile.c. */
typedef struct mcl__cl_label {
    struct mcl__cl_label *next;
    char *name;
    uint64_t launches;
    double seconds;
} mcl__cl_label;

#define MCL__CL_PENDING 512
typedef struct mcl__cl_profile {
    mcl__cl_label *labels;
    int pending; /* events not yet read */
    struct { cl_event event; mcl__cl_label *label; } events[MCL__CL_PENDING];
} mcl__cl_profile;

typedef enum mcl__cl_verdict { MCL__CL_UNKNOWN, MCL__CL_FAILED, MCL__CL_PASSED } mcl__cl_verdict;

typedef struct mcl__cl_helpers mcl__cl_helpers;

/* What numbers of groups along dimensions 1 and 2 are of 16 bits for. */
#define MCL__CL_MOST_GROUPS 65535

/* When programs' binaries go into the cache. */
typedef enum mcl__cl_binaries { MCL__CL_AT_ONCE, MCL__CL_AT_CLOSE, MCL__CL_NEVER } mcl__cl_binaries;

typedef struct mcl__cl_device {
    mcl_device base;
    cl_platform_id platform;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue, uploads; /* uploads: a second queue, from the first lock() on; NULL: there is none */
    unsigned quirks;
    bool precise_division, awake; /* awake: threads are kept so */
    size_t most_groups; /* that a launch may have along dimensions 1 and 2; 0: any number */
    char identity[896]; /* device, driver, platform and library: what a binary or a verdict is valid for */
    char *cache;        /* folder; NULL: none */
    mcl__cl_binaries binaries;
    mcl__cl_program *programs;
    int unsaved;        /* programs launched and not yet in the cache */
    double last_wait;   /* seconds, of the last polled wait */
    mcl__cl_verdict gemm;
    bool gemm_used; /* CLBlast has seen the context */
    mcl_buffer *gemm_workspace;
    mcl__cl_profile *profile; /* NULL: not profiling */
    mcl__cl_helpers *helpers; /* NULL: nothing is being compiled elsewhere */
} mcl__cl_device;

/* A piece of a buffer as an object of its own. Made once per (offset, bytes), kept until the buffer goes. */
typedef struct mcl__cl_region {
    struct mcl__cl_region *next;
    uint64_t offset, bytes;
    cl_mem memory;
} mcl__cl_region;

typedef struct mcl__cl_buffer {
    mcl_buffer base;
    cl_mem memory;
    mcl__cl_region *regions;
} mcl__cl_buffer;

static inline mcl__cl_device *mcl__cl(mcl_device *device) { return (mcl__cl_device *)device; }
static inline cl_mem mcl__cl_memory(mcl__view view) { return ((mcl__cl_buffer *)view.buffer)->memory; }

/* codes.c */
const char *mcl__cl_code_name(cl_int code);
mcl_status mcl__cl_status(cl_int code);
/* Keeps the failure "what: call: CL_CODE" in the device. */
mcl_status mcl__cl_fail(mcl_device *device, const char *what, const char *call, cl_int code);

/* platforms.c */
mcl_status mcl__cl_list(mcl_device_info **devices, int *count, char **notes, mcl_error *error);
mcl_status mcl__cl_find(const char *selector, cl_platform_id *platform, cl_device_id *device);
bool mcl__cl_has_extension(const mcl_device_info *info, const char *name);
void mcl__cl_prepare(const mcl_device_options *options);
void mcl__cl_cache_in(const char *folder);
bool mcl__cl_pocl_cache_is_ours(const char *cache);

/* opencl.c */
mcl_status mcl__cl_wait(mcl_device *device, const char *what, cl_event event);

/* upload.c: transfers beside what is computed. */
void *mcl__cl_lock(mcl_device *device, uint64_t bytes, void **locked);
void mcl__cl_unlock(mcl_device *device, void *data, void *locked);
mcl_status mcl__cl_upload(mcl_device *device, mcl__view target, const void *source, mcl__fence *after, mcl__fence *done);
mcl_status mcl__cl_fence_order(mcl_device *device, mcl__fence *fence);
bool mcl__cl_fence_passed(mcl_device *device, mcl__fence *fence);

/* pages.c: memory of the system, all zeros. NULL: there is not so much. */
typedef struct mcl__cl_pages mcl__cl_pages;
mcl__cl_pages *mcl__cl_pages_create(size_t bytes);
void *mcl__cl_pages_data(const mcl__cl_pages *pages);
void mcl__cl_pages_destroy(mcl__cl_pages *pages);

/* source.c: *text (freed by the caller) is the embedded header (NULL: none), then prelude, then the file, with every
 * #include "x.h" spliced in once. */
mcl_status mcl__cl_source(const char *folder, const char *name, const char *header, const char *prelude, char **text,
                          mcl_error *error);
/* A hash of all sources that are embedded, each as `folder` has it where one is given. */
void mcl__cl_sources_hash(const char *folder, char hex[33]);

/* program.c */
void mcl__cl_kernels_hash(mcl_device *device, char hex[33]);
mcl_status mcl__cl_kernel_get(mcl_device *device, const mcl__kernel_key *key, mcl__kernel **kernel);
locale_t mcl__cl_enter_c_locale(void); /* drivers' compilers stumble over a decimal comma */
void mcl__cl_leave_c_locale(locale_t before);
cl_int mcl__cl_build(mcl__cl_device *device, cl_program program, const char *options); /* in the C locale */
/* NULL: the driver refuses it. */
cl_program mcl__cl_build_binary(mcl__cl_device *device, const unsigned char *binary, size_t bytes, const char *options);
unsigned char *mcl__cl_binary(cl_program program, size_t *bytes); /* of a program for one device; NULL: it has none */
void mcl__cl_save_programs(mcl__cl_device *device); /* those launched since; the queue is idle */
void mcl__cl_free_programs(mcl__cl_device *device);

/* bitcode.c: builds program->program from its text by way of bitcode, which goes into the cache. false: that cannot be. */
bool mcl__cl_bitcode_build(mcl__cl_device *device, mcl__cl_program *program, const char *compile_options,
                           const char *build_options);
/* The bitcode that a binary holds, of `found` bytes; NULL: it holds none. */
const unsigned char *mcl__cl_bitcode_find(const unsigned char *binary, size_t bytes, size_t *found);

/* cache.c: entries of a kind ("programs", "verdicts", "compiled") under a key. A cache never fails: a miss is a miss. */
char *mcl__cl_cache_open(void); /* the folder, freed with free(); NULL: no cache */
bool mcl__cl_cache_key(const char *const *parts, int count, char key[MCL__CL_KEY]); /* false: out of memory */
bool mcl__cl_cache_load(const char *cache, const char *kind, const char *key, unsigned char **data, size_t *bytes);
void mcl__cl_cache_save(const char *cache, const char *kind, const char *key, const void *data, size_t bytes);
/* An entry that says by being there: use_mark tells whether it is, and keeps it from being the next to be trimmed. */
bool mcl__cl_cache_use_mark(const char *cache, const char *kind, const char *key);
void mcl__cl_cache_put_mark(const char *cache, const char *kind, const char *key);
mcl__cl_verdict mcl__cl_verdict_load(mcl__cl_device *device, const char *name, uint32_t *value);
void mcl__cl_verdict_save(mcl__cl_device *device, const char *name, mcl__cl_verdict verdict, uint32_t value);

/* helpers.c */
#define MCL__CL_HELPER "MONOCLE_HELPER" /* set in a helper's environment: whatever program it is, it starts no more of them */
/* Has a launch's kernel compiled by other processes, where it may not have been yet. */
void mcl__cl_helpers_ask(mcl__cl_device *device, mcl__kernel *kernel, const mcl__arg *args, int count, int dimensions,
                         const size_t *global, const size_t *local);
/* Ends these processes, after they have compiled what they were asked for if `wait`; else at once. */
void mcl__cl_helpers_end(mcl__cl_device *device, bool wait);

/* trim.c */
void mcl__cl_cache_trim(const char *cache); /* NULL does nothing */

/* launch.c */
/* The view as an object of its own, which its buffer keeps; one that is the whole buffer is this. */
mcl_status mcl__cl_region_of(mcl_device *device, const char *what, mcl__view view, cl_mem *memory);
mcl_status mcl__cl_launch_kernel(mcl_device *device, mcl__kernel *kernel, const char *what, const mcl__arg *args,
                                 int count, int dimensions, const size_t *global, const size_t *local,
                                 mcl__launch **launch);
mcl_status mcl__cl_launch_gemm(mcl_device *device, const char *what, const mcl__gemm *gemm, mcl__launch **launch);
mcl_status mcl__cl_launch_copy(mcl_device *device, const char *what, mcl__view source, mcl__view target,
                               mcl__launch **launch);
mcl_status mcl__cl_launch_fill(mcl_device *device, const char *what, mcl__view target, uint32_t pattern,
                               mcl__launch **launch);
mcl_status mcl__cl_launch_run(mcl_device *device, mcl__launch *launch);
void mcl__cl_launch_destroy(mcl_device *device, mcl__launch *launch);

/* blast.c: every call of CLBlast. */
bool mcl__cl_gemm_available(mcl_device *device, const char **why);
mcl_status mcl__cl_gemm_prepare(mcl_device *device, const char *what, const mcl__gemm *gemm);
mcl_status mcl__cl_gemm_enqueue(mcl_device *device, const char *what, const mcl__gemm *gemm, cl_event *event);
void mcl__cl_gemm_close(mcl__cl_device *device);

/* profile.c */
mcl__cl_label *mcl__cl_profile_label(mcl__cl_device *device, const char *what); /* NULL: out of memory */
mcl_status mcl__cl_profile_add(mcl_device *device, mcl__cl_label *label, cl_event event); /* takes the event */
mcl_status mcl__cl_profile_rows(mcl_device *device, mcl_kernel_time **rows, int *count);
void mcl__cl_profile_free(mcl__cl_device *device);

/* capability.c */
mcl_status mcl__cl_probe(mcl_device *device, mcl__probe *out);
#endif
