/* Launches: work with its arguments bound once, enqueued any number of times without touching memory of ours. Recording
 * them with cl_khr_command_buffer gains nothing where it could be measured: PoCL 3.1 enqueues 43 launches of seven
 * arguments in 0.7 to 1.0 microseconds each, and as a command buffer in 0.9 to 1.1; to the end of all, 2.1 against 2.6.
 * In training, with caches full of other data, the first step after a wait costs the host 4 to 5 microseconds a launch (PoCL 3.1
 * and 6, lenet at batch 128, two cores), those right behind it 1.3 to 1.5. What they leave costs the next first step 200 to 350
 * microseconds at once, when malloc sorts what PoCL's threads have freed. So the trainer enqueues steps of 0.75 seconds, then
 * waits: 0.9 to 1.6 in the median step, 1.9 to 6.4 in a slow hour (train/bench.c says what comes besides). A bare OpenCL program
 * of 40 launches with four buffers and a struct of 64 bytes pays 4.3 for a step alone, 2.2 for 13 in a row; with floats in place
 * of the struct 2.8 and 1.3, since PoCL allocates each argument by itself, and those above 16 bytes aligned. Another malloc saves
 * a third in a quiet hour, nothing in a slow one; GLIBC_TUNABLES for fast bins and thread caches save nothing. Held back behind a
 * user event until all of a step is enqueued, launches cost no less at that batch; pointers into shared virtual memory, which PoCL
 * need not look after one by one, save 7 %. Nor is there more to gain from a second queue for gradients of weights, whose launches
 * wait only for what they read and for who else uses their memory: steps of six networks took 0.97 to 1.03 of the time. */
#include "device/opencl/opencl.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILL_PIECE ((uint64_t)1 << 30)
#define FILL_WORDS 16 /* a wide pattern is quicker: 112 ms for new 256 MB on PoCL, of one word 152 ms */

typedef struct kernel_work {
    cl_kernel handle; /* of this launch alone: arguments live in it */
    mcl__cl_program *program;
    cl_uint dimensions;
    size_t global[3], local[3];
    size_t piece[3]; /* of the global size, that is enqueued at a time */
    bool has_local;
} kernel_work;

struct mcl__launch {
    mcl_status (*run)(mcl_device *device, mcl__launch *launch);
    char *what;
    mcl__cl_label *label; /* NULL: not profiling */
    union {
        kernel_work kernel;
        mcl__gemm gemm;
        struct { mcl__view source, target; } copy;
        struct { mcl__view target; uint64_t piece; uint32_t pattern[FILL_WORDS]; size_t width; } fill;
    } work;
};

static mcl_status make_launch(mcl_device *base, const char *what, mcl_status (*run)(mcl_device *, mcl__launch *),
                              mcl__launch **launch)
{
    mcl__launch *made = calloc(1, sizeof *made);
    if (!made) return MCL_ERROR_MEMORY;
    made->run = run;
    made->what = strdup(what);
    if (mcl__cl(base)->profile) made->label = mcl__cl_profile_label(mcl__cl(base), what);
    if (!made->what || (mcl__cl(base)->profile && !made->label)) {
        free(made->what);
        free(made);
        return MCL_ERROR_MEMORY;
    }
    *launch = made;
    return MCL_OK;
}

/* Hands the command's event to the profile. */
static mcl_status enqueued(mcl_device *base, mcl__launch *launch, cl_event event)
{
    return launch->label ? mcl__cl_profile_add(base, launch->label, event) : MCL_OK;
}

mcl_status mcl__cl_region_of(mcl_device *base, const char *what, mcl__view view, cl_mem *memory)
{
    mcl__cl_buffer *buffer = (mcl__cl_buffer *)view.buffer;
    *memory = buffer->memory;
    if (view.offset == 0 && view.bytes == buffer->base.bytes) return MCL_OK;
    for (mcl__cl_region *region = buffer->regions; region; region = region->next)
        if (region->offset == view.offset && region->bytes == view.bytes) {
            *memory = region->memory;
            return MCL_OK;
        }
    if (view.offset % base->info.alignment != 0)
        return mcl__device_fail(base, MCL_ERROR_INVALID,
                                "%s: a view starts at byte %" PRIu64
                                ", which the device's alignment of %u does not divide",
                                what, view.offset, base->info.alignment);
    mcl__cl_region *made = calloc(1, sizeof *made);
    if (!made) return MCL_ERROR_MEMORY;
    cl_int code;
    cl_buffer_region piece = {(size_t)view.offset, (size_t)view.bytes};
    made->memory = clCreateSubBuffer(buffer->memory, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &piece, &code);
    if (!made->memory) {
        free(made);
        return mcl__cl_fail(base, what, "clCreateSubBuffer", code);
    }
    made->offset = view.offset;
    made->bytes = view.bytes;
    made->next = buffer->regions;
    buffer->regions = made;
    *memory = made->memory;
    return MCL_OK;
}

static mcl_status bind(mcl_device *base, const char *what, cl_kernel kernel, cl_uint index, const mcl__arg *arg)
{
    cl_mem memory;
    size_t bytes = 0;
    const void *value = NULL;
    switch (arg->kind) {
    case MCL__ARG_VIEW:
        MCL_TRY(mcl__cl_region_of(base, what, arg->as.view, &memory));
        bytes = sizeof memory;
        value = &memory;
        break;
    case MCL__ARG_I32: bytes = sizeof arg->as.i32; value = &arg->as.i32; break;
    case MCL__ARG_F32: bytes = sizeof arg->as.f32; value = &arg->as.f32; break;
    case MCL__ARG_BLOB: bytes = arg->as.blob.bytes; value = arg->as.blob.data; break;
    case MCL__ARG_LOCAL: bytes = arg->as.local; break;
    }
    cl_int code = clSetKernelArg(kernel, index, bytes, value);
    if (code == CL_SUCCESS) return MCL_OK;
    char call[64];
    snprintf(call, sizeof call, "clSetKernelArg of argument %u (%zu bytes)", index, bytes);
    return mcl__cl_fail(base, what, call, code);
}

/* A group size that the kernel declares is a matter of the source: another one is told here rather than by a code at the
 * enqueue, and what the driver says of its largest is not asked (rusticl 22.3 says 32 whatever was declared). */
static mcl_status check_group(mcl_device *base, const char *what, const mcl__kernel *kernel, const kernel_work *work)
{
    for (cl_uint i = 0; i < work->dimensions; i++)
        if (kernel->required_local[i] != work->local[i])
            return mcl__device_fail(base, MCL_ERROR_INVALID, "%s: kernel %s requires work-groups of %zux%zux%zu", what,
                                    kernel->name, kernel->required_local[0], kernel->required_local[1],
                                    kernel->required_local[2]);
    return MCL_OK;
}

/* A kernel that declares none works in groups of any size: it gets smaller ones where it uses so many registers, or the
 * driver is so modest, that it cannot have those asked for. Sizes stay divisors of what they were, and so of the global. */
static void shrink_group(const mcl__kernel *kernel, kernel_work *work)
{
    size_t items = 1;
    for (cl_uint i = 0; i < work->dimensions; i++) items *= work->local[i];
    for (cl_uint i = work->dimensions; i-- > 0;)
        while (kernel->max_work_group && items > kernel->max_work_group && work->local[i] > 1) {
            size_t smaller = work->local[i] % 2 ? 1 : work->local[i] / 2;
            items = items / work->local[i] * smaller;
            work->local[i] = smaller;
        }
}

/* Groups along dimensions 1 and 2 are enqueued so many at a time as every device takes (quirks.c). Kernels see no difference: they
 * take the number of their group from GROUP_ID, and where one asks for the global size there, it steps over what is short. */
static void choose_pieces(const mcl__cl_device *device, kernel_work *work)
{
    for (cl_uint i = 0; i < 3; i++) {
        size_t most = device->most_groups * work->local[i];
        work->piece[i] = i > 0 && most && most < work->global[i] ? most : work->global[i];
    }
}

static mcl_status enqueue_piece(mcl_device *base, mcl__launch *launch, size_t y, size_t z)
{
    const kernel_work *work = &launch->work.kernel;
    const size_t offset[] = {0, y, z}, *piece = work->piece;
    size_t size[] = {piece[0], work->global[1] - y, work->global[2] - z};
    for (int i = 1; i < 3; i++)
        if (size[i] > piece[i]) size[i] = piece[i];
    cl_event event = NULL;
    cl_int code = clEnqueueNDRangeKernel(mcl__cl(base)->queue, work->handle, work->dimensions, y || z ? offset : NULL, size,
                                         work->has_local ? work->local : NULL, 0, NULL, launch->label ? &event : NULL);
    if (code != CL_SUCCESS) return mcl__cl_fail(base, launch->what, "clEnqueueNDRangeKernel", code);
    return enqueued(base, launch, event);
}

static mcl_status run_kernel(mcl_device *base, mcl__launch *launch)
{
    mcl__cl_device *device = mcl__cl(base);
    kernel_work *work = &launch->work.kernel;
    if (device->helpers) mcl__cl_helpers_end(device, true);
    for (size_t z = 0; z < work->global[2]; z += work->piece[2])
        for (size_t y = 0; y < work->global[1]; y += work->piece[1]) MCL_TRY(enqueue_piece(base, launch, y, z));
    if (!work->program->launched) {
        work->program->launched = true;
        device->unsaved++;
    }
    return MCL_OK;
}

mcl_status mcl__cl_launch_kernel(mcl_device *base, mcl__kernel *kernel, const char *what, const mcl__arg *args,
                                 int count, int dimensions, const size_t *global, const size_t *local,
                                 mcl__launch **launch)
{
    if ((cl_uint)count != kernel->arguments)
        return mcl__device_fail(base, MCL_ERROR_INVALID, "%s: kernel %s takes %u arguments, not %d", what, kernel->name,
                                kernel->arguments, count);
    if (!local && kernel->required_local[0]) local = kernel->required_local;
    mcl__launch *made;
    MCL_TRY(make_launch(base, what, run_kernel, &made));
    mcl_status status = MCL_OK;
    kernel_work *work = &made->work.kernel;
    work->program = kernel->program;
    work->dimensions = (cl_uint)dimensions;
    work->has_local = local != NULL;
    for (int i = 0; i < 3; i++) {
        work->global[i] = i < dimensions ? global[i] : 1;
        work->local[i] = i < dimensions && local ? local[i] : 1;
    }
    if (kernel->required_local[0]) MCL_TRY_DONE(check_group(base, what, kernel, work));
    else if (local) shrink_group(kernel, work);
    choose_pieces(mcl__cl(base), work);
    cl_int code;
    work->handle = clCreateKernel(kernel->program->program, kernel->name, &code);
    if (!work->handle) {
        status = mcl__cl_fail(base, what, "clCreateKernel", code);
        goto done;
    }
    for (int i = 0; i < count; i++) MCL_TRY_DONE(bind(base, what, work->handle, (cl_uint)i, &args[i]));
    if (local) mcl__cl_helpers_ask(mcl__cl(base), kernel, args, count, dimensions, work->global, work->local);
    *launch = made;
    return MCL_OK;
done:
    mcl__cl_launch_destroy(base, made);
    return status;
}

static mcl_status run_gemm(mcl_device *base, mcl__launch *launch)
{
    cl_event event = NULL;
    MCL_TRY(mcl__cl_gemm_enqueue(base, launch->what, &launch->work.gemm, launch->label ? &event : NULL));
    return event ? enqueued(base, launch, event) : MCL_OK;
}

mcl_status mcl__cl_launch_gemm(mcl_device *base, const char *what, const mcl__gemm *gemm, mcl__launch **launch)
{
    MCL_TRY(mcl__cl_gemm_prepare(base, what, gemm));
    MCL_TRY(make_launch(base, what, run_gemm, launch));
    (*launch)->work.gemm = *gemm;
    return MCL_OK;
}

static mcl_status run_copy(mcl_device *base, mcl__launch *launch)
{
    mcl__view source = launch->work.copy.source, target = launch->work.copy.target;
    cl_event event = NULL;
    cl_int code =
        clEnqueueCopyBuffer(mcl__cl(base)->queue, mcl__cl_memory(source), mcl__cl_memory(target), (size_t)source.offset,
                            (size_t)target.offset, (size_t)source.bytes, 0, NULL, launch->label ? &event : NULL);
    if (code != CL_SUCCESS) return mcl__cl_fail(base, launch->what, "clEnqueueCopyBuffer", code);
    return enqueued(base, launch, event);
}

mcl_status mcl__cl_launch_copy(mcl_device *base, const char *what, mcl__view source, mcl__view target,
                               mcl__launch **launch)
{
    MCL_TRY(make_launch(base, what, run_copy, launch));
    (*launch)->work.copy.source = source;
    (*launch)->work.copy.target = target;
    return MCL_OK;
}

static mcl_status run_fill(mcl_device *base, mcl__launch *launch)
{
    mcl__view target = launch->work.fill.target;
    for (uint64_t done = 0; done < target.bytes;) {
        uint64_t left = target.bytes - done, bytes = left < launch->work.fill.piece ? left : launch->work.fill.piece;
        cl_event event = NULL;
        cl_int code = clEnqueueFillBuffer(mcl__cl(base)->queue, mcl__cl_memory(target), launch->work.fill.pattern,
                                          launch->work.fill.width, (size_t)(target.offset + done), (size_t)bytes, 0,
                                          NULL, launch->label ? &event : NULL);
        if (code != CL_SUCCESS) return mcl__cl_fail(base, launch->what, "clEnqueueFillBuffer", code);
        MCL_TRY(enqueued(base, launch, event));
        done += bytes;
    }
    return MCL_OK;
}

mcl_status mcl__cl_launch_fill(mcl_device *base, const char *what, mcl__view target, uint32_t pattern,
                               mcl__launch **launch)
{
    MCL_TRY(make_launch(base, what, run_fill, launch));
    (*launch)->work.fill.target = target;
    for (int i = 0; i < FILL_WORDS; i++) (*launch)->work.fill.pattern[i] = pattern;
    size_t wide = sizeof (*launch)->work.fill.pattern;
    (*launch)->work.fill.width = target.offset % wide == 0 && target.bytes % wide == 0 ? wide : sizeof pattern;
    (*launch)->work.fill.piece = mcl__cl(base)->quirks & MCL__CL_SPLIT_FILL ? FILL_PIECE : UINT64_MAX;
    return MCL_OK;
}

mcl_status mcl__cl_launch_run(mcl_device *base, mcl__launch *launch) { return launch->run(base, launch); }

void mcl__cl_launch_destroy(mcl_device *base, mcl__launch *launch)
{
    (void)base;
    if (launch->run == run_kernel && launch->work.kernel.handle) clReleaseKernel(launch->work.kernel.handle);
    free(launch->what);
    free(launch);
}
