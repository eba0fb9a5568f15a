/* Which OpenCL platforms and devices there are, and what they say of themselves. The ICD loader may find no driver at
 * all; that is a note, never a failure. */
#include "base/file.h"
#include "base/json.h"
#include "device/opencl/opencl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLATFORMS 64
#define DEVICES 64

#ifndef CL_DEVICE_SUB_GROUP_SIZES_INTEL
#define CL_DEVICE_SUB_GROUP_SIZES_INTEL 0x4108
#endif

#define POCL_CACHE "POCL_CACHE_DIR"

/* PoCL's own cache goes into ours, where it is kept small; unless the user has said where it is to be. */
static void place_pocl_cache(void)
{
    char *ours = getenv(POCL_CACHE) ? NULL : mcl__cl_cache_open(), *folder = NULL;
    if (ours && mcl__cache_folder("pocl", &folder, NULL) == MCL_OK) setenv(POCL_CACHE, folder, 0);
    free(ours);
    free(folder);
}

bool mcl__cl_pocl_cache_is_ours(const char *cache)
{
    char path[4096];
    const char *folder = getenv(POCL_CACHE), *kept = getenv("POCL_KERNEL_CACHE");
    if (kept && strcmp(kept, "0") == 0) return false;
    return cache && folder && snprintf(path, sizeof path, "%s/pocl", cache) < (int)sizeof path && strcmp(path, folder) == 0;
}

/* What a user has set comes before $XDG_CACHE_HOME, which NVIDIA's driver does not look at. Where we have placed PoCL's cache, it
 * is placed anew. */
void mcl__cl_cache_in(const char *folder)
{
    char *ours = mcl__cl_cache_open();
    if (mcl__cl_pocl_cache_is_ours(ours)) unsetenv(POCL_CACHE);
    free(ours);
    static const char *const names[] = {POCL_CACHE, "AMD_COMGR_CACHE_DIR", "MESA_SHADER_CACHE_DIR", "NEO_CACHE_DIR"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i])) setenv(names[i], folder, 1);
    setenv("CUDA_CACHE_PATH", folder, 1);
}

/* PoCL reads these once, at the first query of a platform. Threads: old and new name of the same thing. */
void mcl__cl_prepare(const mcl_device_options *options)
{
    static const char *const names[] = {"POCL_MAX_PTHREAD_COUNT", "POCL_CPU_MAX_CU_COUNT"};
    if (!options->no_cache) place_pocl_cache();
    if (options->threads <= 0 || getenv(names[0]) || getenv(names[1])) return;
    char text[16];
    snprintf(text, sizeof text, "%d", options->threads);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) setenv(names[i], text, 0);
}

static void note(char **notes, const char *text)
{
    char *joined = NULL;
    if (asprintf(&joined, "%s%s%s", *notes ? *notes : "", *notes ? "; " : "", text) < 0) return;
    free(*notes);
    *notes = joined;
}

/* Names go into files of JSON, which takes UTF-8 alone. */
static void keep_text(char *text)
{
    for (bool fine = mcl__json_carries(text); !fine && *text; text++)
        if ((unsigned char)*text >= 0x80) *text = '?';
}

static void platform_text(cl_platform_id platform, cl_platform_info what, char *text, size_t room)
{
    char value[4096] = "";
    if (clGetPlatformInfo(platform, what, sizeof value, value, NULL) != CL_SUCCESS) value[0] = '\0';
    value[sizeof value - 1] = '\0';
    snprintf(text, room, "%s", value);
    keep_text(text);
}

/* Longer values than there is room for are cut at the last space. Some drivers pad with spaces. */
static void device_text(cl_device_id device, cl_device_info what, char *text, size_t room)
{
    text[0] = '\0';
    size_t bytes = 0;
    if (clGetDeviceInfo(device, what, 0, NULL, &bytes) != CL_SUCCESS || bytes == 0) return;
    char *value = calloc(bytes + 1, 1);
    if (value && clGetDeviceInfo(device, what, bytes, value, NULL) == CL_SUCCESS) {
        const char *start = value + strspn(value, " ");
        snprintf(text, room, "%s", start);
        if (strlen(start) >= room && strrchr(text, ' ')) *strrchr(text, ' ') = '\0';
        for (size_t end = strlen(text); end > 0 && text[end - 1] == ' '; end--) text[end - 1] = '\0';
        keep_text(text);
    }
    free(value);
}

static cl_uint device_uint(cl_device_id device, cl_device_info what)
{
    cl_uint value = 0;
    return clGetDeviceInfo(device, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

static cl_ulong device_ulong(cl_device_id device, cl_device_info what)
{
    cl_ulong value = 0;
    return clGetDeviceInfo(device, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

static size_t device_size(cl_device_id device, cl_device_info what)
{
    size_t value = 0;
    return clGetDeviceInfo(device, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

/* An emulator that claims to be everything is treated as the CPU that it is. */
static mcl_device_type device_type(cl_device_id device)
{
    cl_device_type type = 0;
    clGetDeviceInfo(device, CL_DEVICE_TYPE, sizeof type, &type, NULL);
    if (type & CL_DEVICE_TYPE_CPU) return MCL_DEVICE_CPU;
    return type & CL_DEVICE_TYPE_GPU ? MCL_DEVICE_GPU : MCL_DEVICE_ACCELERATOR;
}

bool mcl__cl_has_extension(const mcl_device_info *info, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = info->extensions; (at = strstr(at, name)); at += length)
        if ((at == info->extensions || at[-1] == ' ') && (at[length] == '\0' || at[length] == ' ')) return true;
    return false;
}

/* As the vendors' extensions tell without a kernel. */
static void sub_groups(cl_device_id device, mcl_device_info *info)
{
    if (mcl__cl_has_extension(info, "cl_intel_required_subgroup_size")) {
        size_t sizes[7], bytes = 0;
        if (clGetDeviceInfo(device, CL_DEVICE_SUB_GROUP_SIZES_INTEL, sizeof sizes, sizes, &bytes) != CL_SUCCESS) return;
        for (size_t i = 0; i < bytes / sizeof *sizes && i < 7; i++) info->sub_group_sizes[i] = (uint32_t)sizes[i];
    } else if (mcl__cl_has_extension(info, "cl_nv_device_attribute_query")) {
        info->sub_group_sizes[0] = device_uint(device, CL_DEVICE_WARP_SIZE_NV);
    } else if (mcl__cl_has_extension(info, "cl_amd_device_attribute_query")) {
        info->sub_group_sizes[0] = device_uint(device, CL_DEVICE_WAVEFRONT_WIDTH_AMD);
    }
}

static void describe(cl_platform_id platform, cl_device_id device, int p, int d, mcl_device_info *info)
{
    *info = (mcl_device_info){0};
    snprintf(info->selector, sizeof info->selector, "%d:%d", p, d);
    platform_text(platform, CL_PLATFORM_NAME, info->platform, sizeof info->platform);
    device_text(device, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
    device_text(device, CL_DEVICE_NAME, info->name, sizeof info->name);
    device_text(device, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
    device_text(device, CL_DEVICE_VERSION, info->version, sizeof info->version);
    device_text(device, CL_DEVICE_EXTENSIONS, info->extensions, sizeof info->extensions);
    info->type = device_type(device);
    info->compute_units = device_uint(device, CL_DEVICE_MAX_COMPUTE_UNITS);
    info->clock_mhz = device_uint(device, CL_DEVICE_MAX_CLOCK_FREQUENCY);
    info->memory = device_ulong(device, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->max_allocation = device_ulong(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->local_memory = device_ulong(device, CL_DEVICE_LOCAL_MEM_SIZE);
    info->vector_floats = device_uint(device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    info->cache_line = device_uint(device, CL_DEVICE_GLOBAL_MEM_CACHELINE_SIZE);
    info->max_work_group = device_size(device, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    size_t items[16] = {0};
    if (clGetDeviceInfo(device, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof items, items, NULL) == CL_SUCCESS)
        for (int i = 0; i < 3; i++) info->max_work_item[i] = items[i];
    cl_uint align_bits = device_uint(device, CL_DEVICE_MEM_BASE_ADDR_ALIGN);
    info->alignment = align_bits / 8 > 64 ? align_bits / 8 : 64;
    info->unified_memory = device_uint(device, CL_DEVICE_HOST_UNIFIED_MEMORY) != 0;
    info->fp16 = mcl__cl_has_extension(info, "cl_khr_fp16");
    info->fp64 = device_ulong(device, CL_DEVICE_DOUBLE_FP_CONFIG) != 0;
    sub_groups(device, info);
    if (mcl__cl_quirks(info) & MCL__CL_BOARD_NAME) {
        char board[sizeof info->name];
        device_text(device, CL_DEVICE_BOARD_NAME_AMD, board, sizeof board);
        if (board[0]) {
            memcpy(info->chip, info->name, sizeof info->chip);
            memcpy(info->name, board, sizeof board);
        }
    }
}

static int platforms(cl_platform_id *ids)
{
    cl_uint count = 0;
    if (clGetPlatformIDs(PLATFORMS, ids, &count) != CL_SUCCESS) return 0;
    return count < PLATFORMS ? (int)count : PLATFORMS;
}

static int devices_of(cl_platform_id platform, cl_device_id *ids)
{
    cl_uint count = 0;
    if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, DEVICES, ids, &count) != CL_SUCCESS) return 0;
    return count < DEVICES ? (int)count : DEVICES;
}

/* A device that cannot compile or is switched off is of no use here. */
static const char *unusable(cl_device_id device)
{
    if (!device_uint(device, CL_DEVICE_AVAILABLE)) return "is not available";
    if (!device_uint(device, CL_DEVICE_COMPILER_AVAILABLE)) return "has no compiler";
    return NULL;
}

mcl_status mcl__cl_list(mcl_device_info **devices, int *count, char **notes, mcl_error *error)
{
    cl_platform_id platform_ids[PLATFORMS];
    cl_device_id ids[DEVICES];
    int found = platforms(platform_ids);
    if (found == 0) note(notes, "no OpenCL driver is installed");
    for (int p = 0; p < found; p++) {
        char name[128], text[320];
        platform_text(platform_ids[p], CL_PLATFORM_NAME, name, sizeof name);
        int here = devices_of(platform_ids[p], ids);
        if (here == 0) {
            snprintf(text, sizeof text, "platform %d (%s) has no device", p, name);
            note(notes, text);
            continue;
        }
        mcl_device_info *grown = realloc(*devices, ((size_t)*count + (size_t)here) * sizeof *grown);
        if (!grown) return mcl__fail(error, MCL_ERROR_MEMORY, "listing the devices: out of host memory");
        *devices = grown;
        for (int d = 0; d < here; d++) {
            const char *why = unusable(ids[d]);
            if (!why) {
                describe(platform_ids[p], ids[d], p, d, &grown[(*count)++]);
                continue;
            }
            snprintf(text, sizeof text, "device %d:%d of %s %s", p, d, name, why);
            note(notes, text);
        }
    }
    return MCL_OK;
}

mcl_status mcl__cl_find(const char *selector, cl_platform_id *platform, cl_device_id *device)
{
    cl_platform_id platform_ids[PLATFORMS];
    cl_device_id ids[DEVICES];
    int p, d;
    if (sscanf(selector, "%d:%d", &p, &d) != 2 || p < 0 || d < 0) return MCL_ERROR_NOT_FOUND;
    if (p >= platforms(platform_ids) || d >= devices_of(platform_ids[p], ids)) return MCL_ERROR_NOT_FOUND;
    *platform = platform_ids[p];
    *device = ids[d];
    return MCL_OK;
}
