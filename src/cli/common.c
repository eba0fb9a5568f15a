/* Opening devices and runs the same way in every subcommand. */
#include "base/arena.h"
#include "base/file.h"
#include "cli/cli.h"
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {"native", "CPU", "GPU", "accelerator"};

/* NULL leaves the choice to MONOCLE_DEVICE and, without it, to the library. */
static const char *selector_of(const char *given, const mcl__config *config)
{
    const char *environment = getenv("MONOCLE_DEVICE");
    if (given || (environment && *environment) || !config || strcmp(config->device, "auto") == 0) return given;
    return config->device;
}

mcl_status mcl__open_device(const char *given, const mcl__config *config, bool quiet, mcl_device **device,
                            mcl_error *error)
{
    mcl_device_options options = {0};
    if (config) options = (mcl_device_options){.threads = config->threads, .gemm = config->gemm};
    MCL_TRY(mcl_device_open(selector_of(given, config), &options, device, error));
    const mcl_device_info *info = mcl_device_get_info(*device);
    const char *by = info->type == MCL_DEVICE_NATIVE ? "plain C" : type_names[info->type];
    const char *comma = info->type == MCL_DEVICE_NATIVE ? "" : ", ", *platform = *comma ? info->platform : "";
    if (!quiet)
        fprintf(stderr, "Device %s: %s (%s%s%s): %s\n", info->selector, info->name, by, comma, platform,
                mcl_device_reason(*device));
    return MCL_OK;
}

mcl_status mcl__run_config(const char *run, const char *const *sets, int count, mcl__config *config, mcl_error *error)
{
    char *path = mcl__text("%s/config.yaml", run);
    if (!path) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
    mcl_status status;
    if (mcl__file_exists(path)) status = mcl__config_read(path, sets, count, config, error);
    else if (!mcl__folder_exists(run))
        status = mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s: there is no such folder of a run", run);
    else status = mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s has no config.yaml: it is not the folder of a run", run);
    free(path);
    return status;
}

char *mcl__picture_cache_of(const char *run)
{
    char full[PATH_MAX];
    char *path = strdup(realpath(run, full) ? full : run); /* "." has a parent too */
    char *cache = path ? mcl__text("%s/picture-cache", dirname(path)) : NULL;
    free(path);
    return cache;
}
