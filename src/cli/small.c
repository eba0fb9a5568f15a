/* The subcommands that only print: init, summary, networks, completion, version. */
#include "base/arena.h"
#include "base/file.h"
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

static int run_init(int argc, char **argv);
static int run_summary(int argc, char **argv);
static int run_networks(int argc, char **argv);
static int run_completion(int argc, char **argv);
static int run_version(int argc, char **argv);

const mcl__subcommand
    mcl__subcommand_init = {"init", "init [FILE]", "Writes a commented configuration with every key to FILE, or prints it.", NULL, run_init},
    mcl__subcommand_summary = {"summary", "summary NETWORK|CONFIG|RUN [OPTION...]",
                               "Prints a network's layers: shapes, parameters, FLOPs, memory for a batch.", NULL, run_summary},
    mcl__subcommand_networks = {"networks", "networks", "Lists the networks that have a name.", NULL, run_networks},
    mcl__subcommand_completion = {"completion", "completion bash|zsh|fish", "Prints a completion script for a shell.",
                                  "  source <(monocle completion bash)\n", run_completion},
    mcl__subcommand_version = {"version", "version", "Prints the version.", NULL, run_version};

static const mcl__option no_options[] = {{0}};

static int run_init(int argc, char **argv)
{
    mcl__options(&mcl__subcommand_init, no_options, &argc, argv);
    if (argc > 2) return mcl__usage_error(&mcl__subcommand_init, "one file, please");
    char *text = mcl__config_template();
    mcl_error error = {0};
    if (!text) return mcl__report(&(mcl_error){.status = MCL_ERROR_MEMORY});
    if (argc == 1) fputs(text, stdout);
    else if (mcl__file_exists(argv[1])) mcl__fail(&error, MCL_ERROR_IO, "%s is there already: remove it first, or choose another name", argv[1]);
    else mcl__file_write(argv[1], text, strlen(text), &error);
    free(text);
    return error.status == MCL_OK ? EXIT_SUCCESS : mcl__report(&error);
}

/* A run's folder, a configuration (whose data is opened for its shape), or a name. */
static mcl_status network_of(const char *source, mcl_network **network, mcl_error *error)
{
    bool run = mcl__folder_exists(source);
    if (!run && !mcl__file_exists(source)) return mcl_network_by_name(source, 0, 0, 0, 0, network, error);
    mcl__config config;
    mcl_dataset *data = NULL;
    MCL_TRY(run ? mcl__run_config(source, NULL, 0, &config, error) : mcl__config_read(source, NULL, 0, &config, error));
    char *cache = mcl__text("%s/cache", run ? source : "runs");
    mcl_status status = mcl__config_open_data(&config, cache, &data, error);
    if (status == MCL_OK) status = mcl__config_network(&config, data, network, error);
    mcl_dataset_close(data);
    mcl__config_free(&config);
    free(cache);
    return status;
}

static int run_summary(int argc, char **argv)
{
    const char *batch_text = "64";
    const mcl__option options[] = {{.name = "batch", .value = "N", .help = "the batch that memory is counted for [64]", .text = &batch_text}, {0}};
    mcl__options(&mcl__subcommand_summary, options, &argc, argv);
    if (argc != 2) return mcl__usage_error(&mcl__subcommand_summary, "one network, configuration or run, please");
    char *end;
    long batch = strtol(batch_text, &end, 10);
    if (*end || batch < 1 || batch > 1000000) return mcl__usage_error(&mcl__subcommand_summary, "--batch is a number from 1 to 1000000");
    mcl_network *network = NULL;
    mcl_error error = {0};
    if (network_of(argv[1], &network, &error) != MCL_OK) return mcl__report(&error);
    char *text = mcl_network_summary(network, (int)batch);
    if (text) fputs(text, stdout);
    free(text);
    mcl_network_destroy(network);
    return text ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_networks(int argc, char **argv)
{
    mcl__options(&mcl__subcommand_networks, no_options, &argc, argv);
    if (argc > 1) return mcl__usage_error(&mcl__subcommand_networks, "no operands, please");
    for (const char *const *name = mcl_network_names(); *name; name++) printf("%-13s %s\n", *name, mcl_network_describe(*name));
    return EXIT_SUCCESS;
}

static void print_words(void)
{
    for (int i = 0; mcl__subcommands[i]; i++) printf("%s%s", i ? " " : "", mcl__subcommands[i]->name);
}

static int run_completion(int argc, char **argv)
{
    mcl__options(&mcl__subcommand_completion, no_options, &argc, argv);
    const char *shell = argc == 2 ? argv[1] : "";
    static const char options[] = "--help --device --run --resume --set --network --quiet --explain --json --csv --top --split --batch --gemm";
    if (strcmp(shell, "bash") == 0 || strcmp(shell, "zsh") == 0) {
        if (strcmp(shell, "zsh") == 0) puts("autoload -U +X bashcompinit && bashcompinit");
        printf("_monocle() {\n  local word=${COMP_WORDS[COMP_CWORD]}\n  if [ \"$COMP_CWORD\" -eq 1 ]; then\n    COMPREPLY=($(compgen -W \"");
        print_words();
        printf("\" -- \"$word\"))\n  elif [ \"${word#-}\" != \"$word\" ]; then\n    COMPREPLY=($(compgen -W \"%s\" -- \"$word\"))\n"
               "  else\n    COMPREPLY=($(compgen -f -- \"$word\"))\n  fi\n}\ncomplete -o filenames -F _monocle monocle\n", options);
    } else if (strcmp(shell, "fish") == 0) {
        for (int i = 0; mcl__subcommands[i]; i++)
            printf("complete -c monocle -n __fish_use_subcommand -f -a %s -d \"%s\"\n", mcl__subcommands[i]->name, mcl__subcommands[i]->summary);
        for (const char *at = options; at; at = strchr(at + 1, ' '))
            printf("complete -c monocle -n 'not __fish_use_subcommand' -l %.*s\n", (int)strcspn(at + strspn(at, " -"), " "), at + strspn(at, " -"));
    } else {
        return mcl__usage_error(&mcl__subcommand_completion, "bash, zsh or fish, please");
    }
    return EXIT_SUCCESS;
}

static int run_version(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[0], "version") == 0) mcl__options(&mcl__subcommand_version, no_options, &argc, argv);
    printf("monocle %s\n", mcl_version());
    return EXIT_SUCCESS;
}
