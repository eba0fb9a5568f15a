/* The subcommands that only print: init, summary, networks, version. */
#include "base/arena.h"
#include "base/file.h"
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

static int run_init(int argc, char **argv);
static int run_summary(int argc, char **argv);
static int run_networks(int argc, char **argv);
static int run_version(int argc, char **argv);

static const char *batch = "64";

static const mcl__option no_options[] = {{0}};
static const mcl__option summary_options[] = {
    {.name = "batch", .value = "N", .help = "the batch that memory is counted for [64]", .text = &batch},
    {0},
};

const mcl__subcommand mcl__subcommand_init = {
    .name = "init",
    .usage = "init [FILE]",
    .summary = "Writes a commented configuration with every key to FILE, or prints it.",
    .options = no_options,
    .operands = "FILES",
    .run = run_init,
};
const mcl__subcommand mcl__subcommand_summary = {
    .name = "summary",
    .usage = "summary NETWORK|CONFIG|RUN|FOLDER [OPTION...]",
    .summary = "Prints a network's layers: shapes, parameters, FLOPs, memory for a batch.",
    .options = summary_options,
    .operands = "NETWORKS FILES",
    .help = "A network by name is shown for the pictures that it is usually trained on; that of a configuration or a "
            "run for\n"
            "its own data, which has to be there.\n",
    .run = run_summary,
};
const mcl__subcommand mcl__subcommand_networks = {
    .name = "networks",
    .usage = "networks",
    .summary = "Lists the networks that have a name.",
    .options = no_options,
    .run = run_networks,
};
const mcl__subcommand mcl__subcommand_version = {
    .name = "version",
    .usage = "version",
    .summary = "Prints the version.",
    .options = no_options,
    .run = run_version,
};

static int run_init(int argc, char **argv)
{
    mcl__options(&mcl__subcommand_init, &argc, argv);
    if (argc > 2) return mcl__usage_error(&mcl__subcommand_init, "one file, please");
    char *text = mcl__config_template();
    mcl_error error = {0};
    if (!text) return mcl__report(&(mcl_error){.status = MCL_ERROR_MEMORY});
    if (argc == 1) fputs(text, stdout);
    else if (mcl__file_exists(argv[1]))
        mcl__fail(&error, MCL_ERROR_IO, "%s is there already: remove it first, or choose another name", argv[1]);
    else mcl__file_write(argv[1], text, strlen(text), &error);
    free(text);
    if (error.status != MCL_OK) return mcl__report(&error);
    if (argc == 2)
        fprintf(stderr, "%s is written. Next: set data.path in it, then `monocle train %s`\n", argv[1], argv[1]);
    return EXIT_SUCCESS;
}

static int run_summary(int argc, char **argv)
{
    const mcl__subcommand *self = &mcl__subcommand_summary;
    mcl__options(self, &argc, argv);
    if (argc != 2) return mcl__usage_error(self, "one network, configuration, folder or run, please");
    int size = mcl__number(self, "batch", batch, 1, 1000000);
    mcl_network *network = NULL;
    mcl_error error = {0};
    mcl__config config;
    if (!mcl__is_subject(argv[1])) return mcl__no_subject(self, argv[1]);
    if (mcl__is_network(argv[1])) mcl_network_by_name(argv[1], 0, 0, 0, 0, &network, &error);
    else if (mcl__config_subject(argv[1], &config, &network, &error) == MCL_OK) mcl__config_free(&config);
    if (!network) return mcl__report(&error);
    char *text = mcl_network_summary(network, size);
    if (text) fputs(text, stdout);
    mcl_network_destroy(network);
    if (!text) return mcl__report(&(mcl_error){.status = MCL_ERROR_MEMORY});
    free(text);
    return EXIT_SUCCESS;
}

static int run_networks(int argc, char **argv)
{
    mcl__options(&mcl__subcommand_networks, &argc, argv);
    if (argc > 1) return mcl__usage_error(&mcl__subcommand_networks, "no operands, please");
    for (const char *const *name = mcl_network_names(); *name; name++)
        printf("%-13s %s\n", *name, mcl_network_describe(*name));
    return EXIT_SUCCESS;
}

static int run_version(int argc, char **argv)
{
    mcl__options(&mcl__subcommand_version, &argc, argv);
    if (argc > 1) return mcl__usage_error(&mcl__subcommand_version, "no operands, please");
    printf("monocle %s\n", mcl_version());
    return EXIT_SUCCESS;
}
