/* The one table of what devices and drivers get wrong. A row applies where its pattern is part of the platform's,
 * vendor's, device's or driver's name ("" applies everywhere). flag 0: the remedy is always on. only_cpus: not to the GPUs
 * that PoCL has as well. */
#include "device/opencl/opencl.h"
#include <string.h>

static const struct row { const char *pattern; unsigned flag; mcl__quirk text; bool only_cpus; } table[] = {
    {"NVIDIA", MCL__CL_POLL,
     {"waiting for an event spins a whole core", "events are polled, with sleeps in proportion to the last wait",
      "hashcat"}},
    {"NVIDIA", MCL__CL_SPLIT_FILL,
     {"clEnqueueFillBuffer goes wrong at 2^31 bytes and more", "fills are split into pieces of 2^30 bytes",
      "pyopencl, OpenCL-Wrapper"}},
    {"NVIDIA", MCL__CL_TRY_FP16,
     {"fp16 works and is not advertised (driver 520 and later)", "it is tested although it is not claimed",
      "CLBlast #570, #667"}},
    {"NVIDIA", 0,
     {"one context for several GPUs serialises them and takes memory on all", "every device has a context of its own",
      "KataGo, FluidX3D"}},
    {"AMD Accelerated", MCL__CL_BOARD_NAME,
     {"the device's name is the code of its chip", "the board's name is shown", "OpenCL-Wrapper"}},
    {"AMD Accelerated", 0,
     {"the compiler fails in a locale with a decimal comma", "kernels are built in the C locale", "darktable"}},
    {"Portable Computing Language", 0,
     {"a single allocation may take no more than a quarter of the memory", "the limit it reports is kept",
      "pocl #1720"}},
    {"Portable Computing Language", MCL__CL_BUILTINS,
     {"every program begins with 900 KB of declarations", "the functions that kernels call are declared by ours instead",
      "measured: 180 of 190 ms a program"}},
    {"Portable Computing Language", MCL__CL_KEEPS_CODE,
     {"a binary holds every kernel once more, for any work-group size, which doubles the time of compiling",
      "its own cache lies in ours, and no such binary is asked for", "pocl #1608"}},
    {"Portable Computing Language", MCL__CL_BITCODE,
     {"preprocesses every program, with headers of its own, before it looks into its cache",
      "programs are built from bitcode, which is kept", "measured: resnet18's warm start is 0.4 s shorter"}, true},
    {"Portable Computing Language", 0,
     {"compiles one kernel at a time, however many cores there are, and most of it at the first launch",
      "more processes compile, of `monocle` and of what names it as a helper", "measured: resnet18 begins after 7.3 s for 12.5"},
     true},
    {"Portable Computing Language", MCL__CL_HOST_PAGES,
     {"a buffer's pages come at their first use, and zeroing them holds up all that is enqueued",
      "buffers are fresh pages of the system, which an idle thread uses first", "measured: 60 ms of a warm start"}, true},
    {"Portable Computing Language", MCL__CL_SLEEPS,
     {"its threads sleep between launches, and take 3 to 50 microseconds to wake",
      "`monocle`'s stay awake for 50, where they are at most 16 and MONOCLE_SPIN is not 0",
      "measured: mlp takes 0.9 of the time"}, true},
    {"llvmpipe", MCL__CL_KEEPS_LOOPS,
     {"loops stay loops, end after 65,535 rounds, and long kernels compile for minutes",
      "it gets no Winograd, no weight gradient as a product, no strips of depthwise rows", "measured, Mesa 22.3"}},
    {"", 0,
     {"memory may be missing only at the first use, after a successful allocation",
      "codes of that kind at any call, but for a running kernel's, are reported as lack of memory", "hashcat, gpuowl"}},
    {"", 0,
     {"some GPUs take no more than 65,535 groups along a second or third dimension, or drop the others",
      "such launches are enqueued in pieces", "CUDA; RDNA 4: rocm-libraries #8645"}},
    {"", 0,
     {"CLBlast throws when two threads compile one routine", "all its calls are made under one lock", "CLBlast #486"}},
};
#define ROWS (sizeof table / sizeof *table)

static bool applies(const mcl_device_info *info, const struct row *row)
{
    if (row->only_cpus && info->type != MCL_DEVICE_CPU) return false;
    return strcasestr(info->platform, row->pattern) || strcasestr(info->vendor, row->pattern) ||
           strcasestr(info->name, row->pattern) || strcasestr(info->driver, row->pattern);
}

unsigned mcl__cl_quirks(const mcl_device_info *info)
{
    unsigned flags = 0;
    for (size_t i = 0; i < ROWS; i++)
        if (applies(info, &table[i])) flags |= table[i].flag;
    return flags;
}

int mcl__cl_quirk_rows(const mcl_device_info *info, mcl__quirk *rows, int room)
{
    int count = 0;
    for (size_t i = 0; i < ROWS && count < room; i++)
        if (applies(info, &table[i])) rows[count++] = table[i].text;
    return count;
}
