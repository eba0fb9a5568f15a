/* Opening devices and runs the same way in every subcommand. */
#include "base/arena.h"
#include "base/file.h"
#include "cli/cli.h"
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

const char *mcl__device_type(const mcl_device_info *info)
{
    static const char *const names[] = {"native", "CPU", "GPU", "accelerator"};
    return names[info->type];
}

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
    mcl_device_options options = {.helper = MCL__THIS_PROGRAM};
    if (config) options.threads = config->threads, options.gemm = config->gemm;
    MCL_TRY(mcl_device_open(selector_of(given, config), &options, device, error));
    const mcl_device_info *info = mcl_device_get_info(*device);
    const char *by = info->type == MCL_DEVICE_NATIVE ? "plain C" : mcl__device_type(info);
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

bool mcl__is_network(const char *name)
{
    for (const char *const *known = mcl_network_names(); *known; known++)
        if (strcmp(*known, name) == 0) return true;
    return false;
}

bool mcl__is_subject(const char *operand)
{
    return mcl__is_network(operand) || mcl__file_exists(operand) || mcl__folder_exists(operand);
}

static const char *nearest_network(const char *name)
{
    const char *const *names = mcl_network_names();
    int count = 0;
    while (names[count]) count++;
    return mcl__nearest(name, names, count);
}

int mcl__no_network(const mcl__subcommand *command, const char *name)
{
    const char *near = nearest_network(name);
    return mcl__usage_error(command, "there is no network \"%s\"; %s%s%s", name, near ? "did you mean \"" : "",
                            near ? near : "`monocle networks` lists them", near ? "\"?" : "");
}

int mcl__no_subject(const mcl__subcommand *command, const char *operand)
{
    const char *near = nearest_network(operand);
    return mcl__usage_error(command, "\"%s\" is no file, no folder, and no network; %s%s%s", operand, near ? "did you mean \"" : "",
                            near ? near : "`monocle networks` lists those", near ? "\"?" : "");
}

/* A run's folder holds its configuration; another folder is one of data. */
static mcl_status read_config(const char *operand, mcl__config *config, mcl_error *error)
{
    char *path = mcl__text("%s/config.yaml", operand);
    if (!path) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
    bool run = mcl__file_exists(path);
    free(path);
    if (run) return mcl__run_config(operand, NULL, 0, config, error);
    if (mcl__folder_exists(operand)) return mcl__config_for_folder(operand, NULL, NULL, 0, config, error);
    return mcl__config_read(operand, NULL, 0, config, error);
}

mcl_status mcl__config_subject(const char *operand, mcl__config *config, mcl_network **network, mcl_error *error)
{
    mcl_dataset *data = NULL;
    MCL_TRY(read_config(operand, config, error));
    config->train.residence = MCL_RESIDENCE_STREAM; /* no picture is needed, so none is decoded */
    mcl_status status = mcl__config_open_data(config, NULL, &data, error);
    if (status == MCL_OK) status = mcl__config_network(config, data, network, error);
    mcl_dataset_close(data);
    if (status != MCL_OK) mcl__config_free(config);
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
