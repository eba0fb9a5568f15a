/* Opening devices and runs the same way in every subcommand. */
#include "base/arena.h"
#include "base/file.h"
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {"native", "CPU", "GPU", "accelerator"};

mcl_status mcl__open_device(const char *selector, const mcl_device_options *options, bool quiet, mcl_device **device, mcl_error *error)
{
    MCL_TRY(mcl_device_open(selector, options, device, error));
    const mcl_device_info *info = mcl_device_get_info(*device);
    if (!quiet)
        fprintf(stderr, "Device %s: %s (%s, %s): %s\n", info->selector, info->name, type_names[info->type],
                *info->platform ? info->platform : "no OpenCL", mcl_device_reason(*device));
    return MCL_OK;
}

mcl_status mcl__run_config(const char *run, const char *const *sets, int count, mcl__config *config, mcl_error *error)
{
    char *path = mcl__text("%s/config.yaml", run);
    if (!path) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
    mcl_status status = mcl__file_exists(path)
                            ? mcl__config_read(path, sets, count, config, error)
                            : mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s has no config.yaml: it is not the folder of a run", run);
    free(path);
    return status;
}
