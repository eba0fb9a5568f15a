/* What the native device says of itself. */
#include "base/machine.h"
#include "device/native/native.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __clang__
#define COMPILER __VERSION__
#else
#define COMPILER "GCC " __VERSION__
#endif

/* The value of "key : value" in a line of /proc/cpuinfo, copied where the line has this key. */
static void field(const char *line, const char *key, char *value, size_t size)
{
    size_t length = strlen(key);
    if (value[0] || strncmp(line, key, length) || !strchr(" \t:", line[length])) return;
    const char *colon = strchr(line, ':');
    if (!colon) return;
    colon += 1 + strspn(colon + 1, " \t");
    snprintf(value, size, "%.*s", (int)strcspn(colon, "\n"), colon);
}

static void describe_processor(mcl_device_info *info)
{
    char line[512], mhz[32] = "";
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        field(line, "model name", info->name, sizeof info->name);
        field(line, "vendor_id", info->vendor, sizeof info->vendor);
        field(line, "cpu MHz", mhz, sizeof mhz);
    }
    if (file) fclose(file);
    if (!info->name[0]) snprintf(info->name, sizeof info->name, "CPU");
    info->clock_mhz = (uint32_t)strtoul(mhz, NULL, 10);
}

static uint64_t positive(long value) { return value > 0 ? (uint64_t)value : 0; }

mcl_status mcl__native_list(mcl_device_info **devices, int *count, char **notes, mcl_error *error)
{
    (void)notes;
    mcl_device_info *grown = realloc(*devices, (size_t)(*count + 1) * sizeof *grown);
    if (!grown) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the list of devices");
    *devices = grown;
    mcl_device_info *info = memset(&grown[(*count)++], 0, sizeof *info);
    snprintf(info->selector, sizeof info->selector, "native");
    snprintf(info->platform, sizeof info->platform, "native");
    snprintf(info->driver, sizeof info->driver, "%s", COMPILER);
    snprintf(info->version, sizeof info->version, "monocle %s, OpenMP %d", mcl_version(), _OPENMP);
    describe_processor(info);
    info->type = MCL_DEVICE_NATIVE;
    info->compute_units = (uint32_t)omp_get_num_procs();
    info->memory = mcl__usable_memory();
    info->max_allocation = info->memory;
    info->cache_line = positive(sysconf(_SC_LEVEL1_DCACHE_LINESIZE));
    info->max_work_group = info->max_work_item[0] = info->max_work_item[1] = info->max_work_item[2] = 1;
    info->alignment = 64;
    info->fp64 = info->unified_memory = true;
    return MCL_OK;
}
