/* Measures a device's peak with kernels/peak.cl; the native device's with the innermost loop of its products and a copy. */
#include "device/peak.h"
#include "base/clock.h"
#include <stdio.h>

enum { REPEATS = 5, ROUNDS = 20000, PRODUCT = 1536 };
static const double least_seconds = 0.2; /* of repeats: others may have the machine for some hundredths of a second */
#define COPY_BYTES ((uint64_t)96 << 20)

/* The least time of some runs; the first one only warms up. */
static mcl_status time_launch(mcl_device *device, mcl__launch *launch, double *seconds)
{
    double begun = mcl__seconds();
    *seconds = 0;
    for (int i = 0; i <= REPEATS || mcl__seconds() - begun < least_seconds; i++) {
        MCL_TRY(mcl_device_finish(device));
        double start = mcl__seconds();
        MCL_TRY(mcl__launch_run(device, launch));
        MCL_TRY(mcl_device_finish(device));
        double took = mcl__seconds() - start;
        if (i == 0) begun = mcl__seconds(); /* the first one may have been compiled */
        if (i <= 1 || took < *seconds) *seconds = took;
    }
    return MCL_OK;
}

static mcl__arg view_arg(mcl_buffer *buffer)
{
    return (mcl__arg){.kind = MCL__ARG_VIEW, .as.view = {buffer, 0, mcl__buffer_bytes(buffer)}};
}

static mcl__arg int_arg(int32_t value) { return (mcl__arg){.kind = MCL__ARG_I32, .as.i32 = value}; }
static mcl__arg float_arg(float value) { return (mcl__arg){.kind = MCL__ARG_F32, .as.f32 = value}; }

/* --- OpenCL --------------------------------------------------------------------------------------------------------------- */

/* Vector units differ: what fills the registers of one spills on another, so several shapes run and the best counts. */
typedef struct shape { int width, chains; } shape;
static const shape cpu_shapes[] = {{16, 10}, {8, 10}, {0, 0}}, gpu_shapes[] = {{4, 8}, {1, 16}, {0, 0}};

static mcl_status time_shape(mcl_device *device, mcl_buffer *target, shape s, size_t items, size_t local, double *flops)
{
    char constants[64];
    snprintf(constants, sizeof constants, "-DWIDTH=%d -DCHAINS=%d", s.width, s.chains);
    mcl__kernel *kernel;
    mcl__launch *launch = NULL;
    double seconds;
    int rounds = device->info.type == MCL_DEVICE_CPU ? ROUNDS * 10 : ROUNDS / 10;
    mcl__arg args[] = {view_arg(target), int_arg(rounds), float_arg(0.9999f), float_arg(1e-3f)};
    MCL_TRY(mcl__kernel_get(device, &(mcl__kernel_key){"peak", "peak_multiply_add", constants, NULL}, &kernel));
    MCL_TRY(mcl__launch_kernel(device, kernel, "peak multiply_add", args, 4, 1, &items, &local, &launch));
    mcl_status status = time_launch(device, launch, &seconds);
    mcl__launch_destroy(device, launch);
    if (status == MCL_OK) *flops = 2.0 * s.width * s.chains * rounds * (double)items / seconds;
    return status;
}

static mcl_status measure_flops(mcl_device *device, double *best)
{
    bool cpu = device->info.type == MCL_DEVICE_CPU;
    size_t units = device->info.compute_units ? device->info.compute_units : 1, local = cpu ? 1 : 64,
           items = units * (cpu ? 8 : 4096);
    mcl_buffer *target;
    mcl_status status = MCL_OK;
    MCL_TRY(mcl_buffer_create(device, items * 16 * sizeof(float), &target));
    for (const shape *s = cpu ? cpu_shapes : gpu_shapes; s->width && status == MCL_OK; s++) {
        double flops = 0;
        status = time_shape(device, target, *s, items, local, &flops);
        if (flops > *best) *best = flops;
    }
    mcl_buffer_destroy(target);
    return status;
}

static mcl_status time_copy_kernel(mcl_device *device, mcl_buffer *source, mcl_buffer *target, double *seconds)
{
    bool cpu = device->info.type == MCL_DEVICE_CPU;
    int width = cpu ? 16 : 4, vectors = (int)(COPY_BYTES / sizeof(float)) / width;
    size_t units = device->info.compute_units ? device->info.compute_units : 1, local = cpu ? 1 : 64;
    size_t items = cpu ? units * 16 : (size_t)vectors;
    int each = (vectors + (int)items - 1) / (int)items;
    char constants[64];
    snprintf(constants, sizeof constants, "-DWIDTH=%d%s", width, cpu ? "" : " -DALIGNED");
    mcl__kernel *kernel;
    mcl__launch *launch = NULL;
    mcl__arg args[] = {view_arg(source), view_arg(target), int_arg(vectors), int_arg(each)};
    MCL_TRY(mcl__kernel_get(device, &(mcl__kernel_key){"peak", "peak_copy", constants, NULL}, &kernel));
    MCL_TRY(mcl__launch_kernel(device, kernel, "peak copy", args, 4, 1, &items, &local, &launch));
    mcl_status status = time_launch(device, launch, seconds);
    mcl__launch_destroy(device, launch);
    return status;
}

/* --- Native --------------------------------------------------------------------------------------------------------------- */

static mcl_status time_copy(mcl_device *device, mcl_buffer *source, mcl_buffer *target, double *seconds)
{
    mcl__launch *launch = NULL;
    mcl__view from = {source, 0, COPY_BYTES}, to = {target, 0, COPY_BYTES};
    MCL_TRY(mcl__launch_copy(device, "peak copy", from, to, &launch));
    mcl_status status = time_launch(device, launch, seconds);
    mcl__launch_destroy(device, launch);
    return status;
}

static mcl_status measure_product(mcl_device *device, double *flops)
{
    mcl__kernel *kernel;
    mcl__launch *launch = NULL;
    mcl__arg size = int_arg(PRODUCT);
    double seconds;
    MCL_TRY(mcl__kernel_get(device, &(mcl__kernel_key){"peak", "peak_product", NULL, NULL}, &kernel));
    MCL_TRY(mcl__launch_kernel(device, kernel, "peak product", &size, 1, 1, &(size_t){1}, &(size_t){1}, &launch));
    mcl_status status = time_launch(device, launch, &seconds);
    mcl__launch_destroy(device, launch);
    if (status == MCL_OK) *flops = 2.0 * PRODUCT * PRODUCT * PRODUCT / seconds;
    return status;
}

mcl_status mcl__peak_measure(mcl_device *device, mcl__peak *peak)
{
    bool native = device->info.type == MCL_DEVICE_NATIVE;
    mcl_buffer *source = NULL, *target = NULL;
    double seconds = 0;
    *peak = (mcl__peak){0};
    mcl_status status = native ? measure_product(device, &peak->flops) : measure_flops(device, &peak->flops);
    MCL_TRY_DONE(status);
    MCL_TRY_DONE(mcl_buffer_create(device, COPY_BYTES, &source));
    MCL_TRY_DONE(mcl_buffer_create(device, COPY_BYTES, &target));
    MCL_TRY_DONE(native ? time_copy(device, source, target, &seconds) : time_copy_kernel(device, source, target, &seconds));
    peak->bandwidth = 2.0 * (double)COPY_BYTES / seconds;
done:
    mcl_buffer_destroy(source);
    mcl_buffer_destroy(target);
    return status;
}
