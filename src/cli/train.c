/* monocle train: a configuration or a folder of data becomes a run. */
#include "base/arena.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int run_train(int argc, char **argv);

const mcl__subcommand mcl__subcommand_train = {
    .name = "train",
    .usage = "train CONFIG|FOLDER [OPTION...]",
    .summary = "Trains a network: with a configuration (YAML), or on a folder of data with sensible defaults.",
    .help = "FOLDER holds IDX files, CIFAR-10 batches, or one folder of pictures a class (with or without train, val and test).\n"
            "The run's folder gets config.yaml, log.jsonl, last.safetensors and best.safetensors.\n"
            "Ctrl-C finishes the step, saves and exits; --resume goes on, also to train a finished run longer:\n"
            "  monocle train --run runs/x --resume --set training.epochs=20\n",
    .run = run_train,
};

enum { MAX_SETS = 64 };

typedef struct arguments {
    const char *source, *network, *device, *run, *gemm;
    const char *sets[MAX_SETS];
    int set_count;
    bool resume, quiet, explain;
} arguments;

static mcl_trainer *volatile interrupted_trainer;

static void on_interrupt(int signal_number)
{
    if (interrupted_trainer) mcl_trainer_stop(interrupted_trainer);
    signal(signal_number, SIG_DFL); /* a second one ends the program at once */
}

/* The run's own configuration when resuming, else the file or folder given. */
static mcl_status read_config(const arguments *a, mcl__config *config, mcl_error *error)
{
    if (a->resume && !a->source) return mcl__run_config(a->run, a->sets, a->set_count, config, error);
    if (!a->source) return mcl__fail(error, MCL_ERROR_INVALID, "train needs a configuration or a folder of data");
    if (mcl__folder_exists(a->source)) return mcl__config_for_folder(a->source, a->network, a->sets, a->set_count, config, error);
    if (!mcl__file_exists(a->source)) return mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s: no such file or folder", a->source);
    MCL_TRY(mcl__config_read(a->source, a->sets, a->set_count, config, error));
    return a->network ? mcl__config_set(config, "network", a->network, error) : MCL_OK;
}

/* runs/NAME, with a number where that is taken. */
static char *fresh_run(const char *network)
{
    for (int i = 1; i < 100000; i++) {
        char *path = i == 1 ? mcl__text("runs/%s", network) : mcl__text("runs/%s-%d", network, i);
        if (!path || !mcl__folder_exists(path)) return path;
        free(path);
    }
    return NULL;
}

static mcl_status prepare_run(const arguments *a, const mcl_network *network, char **run, char **last, mcl_error *error)
{
    *run = a->run ? strdup(a->run) : fresh_run(mcl_network_name(network));
    *last = *run ? mcl__text("%s/last.safetensors", *run) : NULL;
    if (!*last) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
    bool there = mcl__file_exists(*last);
    if (!a->resume && there)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s holds a run already: go on with --resume, or name another folder with --run", *run);
    if (a->resume && !there) return mcl__fail(error, MCL_ERROR_NOT_FOUND, "nothing to resume: %s is not there", *last);
    return MCL_OK;
}

static void describe(const mcl_network *network, const mcl_dataset *data, const char *path, const char *run)
{
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    fprintf(stderr, "Data %s: %d classes, pictures of %d x %d x %d: %d for training, %d for validation, %d for the test\n", path,
            info->classes, info->height, info->width, info->channels, info->part_count[0], info->part_count[1], info->part_count[2]);
    if (info->skipped) fprintf(stderr, "%d pictures could not be read and are left out\n", info->skipped);
    fprintf(stderr, "Network %s: %lld parameters; run folder %s\n", mcl_network_name(network),
            (long long)mcl_network_parameter_count(network), run);
}

static void print_result(const mcl_event *event, void *user)
{
    const mcl_event *e = event;
    mcl__progress_bar_event(event, user);
    if (e->kind != MCL_EVENT_DONE) return;
    if (e->validation.samples)
        printf("best epoch %d: validation loss %.4f, accuracy %.2f %%\n", e->epoch, e->validation.loss, 100 * e->validation.accuracy);
    if (e->test.samples) printf("test: loss %.4f, accuracy %.2f %% (%lld pictures)\n", e->test.loss, 100 * e->test.accuracy, (long long)e->test.samples);
    printf("trained %d epochs, %d steps, in %.1f s\n", e->epochs, e->step, e->seconds);
}

static mcl_status train(mcl_device *device, const mcl_network *network, mcl_dataset *data, const mcl_train_options *options,
                        const arguments *a, const char *resolved, mcl_error *error)
{
    mcl_trainer *trainer;
    char *config_path = mcl__text("%s/config.yaml", options->run);
    mcl_status status = mcl_trainer_create(device, network, data, options, &trainer, error);
    if (status == MCL_OK && !config_path) status = mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
    if (status != MCL_OK) {
        free(config_path);
        return status;
    }
    if (a->explain) {
        char *text = mcl_trainer_explain(trainer);
        if (text) fputs(text, stdout);
        free(text);
    } else {
        status = mcl__file_write(config_path, resolved, strlen(resolved), error);
        interrupted_trainer = trainer;
        signal(SIGINT, on_interrupt);
        signal(SIGTERM, on_interrupt);
        mcl__progress_bar bar = mcl__progress_bar_begin(a->quiet);
        if (status == MCL_OK) status = mcl_trainer_run(trainer, print_result, &bar, error);
        interrupted_trainer = NULL;
    }
    mcl_trainer_destroy(trainer);
    free(config_path);
    return status;
}

static mcl_status open_all(const arguments *a, mcl__config *config, mcl_error *error)
{
    mcl_device *device = NULL;
    mcl_dataset *data = NULL;
    mcl_network *network = NULL;
    char *run = NULL, *last = NULL, *resolved = NULL, *cache = NULL;
    mcl_status status = MCL_OK;
    mcl_device_options device_options = {.threads = config->threads, .gemm = a->gemm ? a->gemm : config->gemm};
    const char *selector = a->device ? a->device : strcmp(config->device, "auto") == 0 ? NULL : config->device;
    MCL_TRY_DONE(mcl__open_device(selector, &device_options, a->quiet, &device, error));
    cache = mcl__text("%s/cache", a->run ? a->run : "runs");
    MCL_TRY_DONE(mcl__config_open_data(config, cache, &data, error));
    MCL_TRY_DONE(mcl__config_network(config, data, &network, error));
    MCL_TRY_DONE(prepare_run(a, network, &run, &last, error));
    if (!(resolved = mcl__config_resolved(config))) {
        status = mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the configuration");
        goto done;
    }
    mcl_train_options options = config->train;
    options.run = a->explain ? NULL : run;
    options.resume = a->resume;
    options.description = resolved;
    if (!a->quiet && !a->explain) describe(network, data, config->resolved_path, run);
    status = train(device, network, data, &options, a, resolved, error);
done:
    mcl_network_destroy(network);
    mcl_dataset_close(data);
    mcl_device_close(device);
    free(run);
    free(last);
    free(resolved);
    free(cache);
    return status;
}

static int run_train(int argc, char **argv)
{
    arguments a = {0};
    const mcl__option options[] = {
        {.name = "network", .value = "N", .help = "a network by name, or the YAML of one", .text = &a.network},
        {.name = "device", .value = "D", .help = "auto, native, gpu, cpu, PLATFORM:DEVICE, or part of a name", .text = &a.device},
        {.name = "run", .value = "DIR", .help = "the run's folder [runs/NETWORK]", .text = &a.run},
        {.name = "resume", .help = "go on with the run in --run", .flag = &a.resume},
        {.name = "set", .value = "KEY.PATH=VALUE", .help = "change a key of the configuration; may be repeated", .list = a.sets,
         .count = &a.set_count, .limit = MAX_SETS},
        {.name = "gemm", .value = "G", .help = "matrix products: auto, clblast or own", .text = &a.gemm},
        {.name = "quiet", .help = "no progress", .flag = &a.quiet},
        {.name = "explain", .help = "print the plan of a step and stop", .flag = &a.explain},
        {0},
    };
    mcl__options(&mcl__subcommand_train, options, &argc, argv);
    if (argc > 2) return mcl__usage_error(&mcl__subcommand_train, "one configuration or folder, please; \"%s\" is too much", argv[2]);
    if (a.resume && !a.run) return mcl__usage_error(&mcl__subcommand_train, "--resume needs --run DIR");
    a.source = argc > 1 ? argv[1] : NULL;
    mcl_error error = {0};
    mcl__config config;
    if (read_config(&a, &config, &error) != MCL_OK) return mcl__report(&error);
    mcl_status status = open_all(&a, &config, &error);
    mcl__config_free(&config);
    return status == MCL_OK ? EXIT_SUCCESS : mcl__report(&error);
}
