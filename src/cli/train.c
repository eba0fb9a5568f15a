/* monocle train: a configuration or a folder of data becomes a run. */
#include "base/arena.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/ends.h"
#include "cli/progress.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int run_train(int argc, char **argv);

enum { MAX_SETS = 64 };

static struct {
    const char *source, *network, *device, *run, *gemm;
    const char *sets[MAX_SETS];
    int set_count;
    bool resume, quiet, explain;
} given;

static const mcl__option options[] = {
    {.name = "network",
     .value = "N",
     .help = "a network by name, or the YAML of one",
     .words = "NETWORKS",
     .text = &given.network},
    MCL__DEVICE_OPTION(&given.device),
    {.name = "run", .value = "DIR", .help = "the run's folder [runs/NETWORK]", .words = "FOLDERS", .text = &given.run},
    {.name = "resume", .help = "go on with the run in --run", .flag = &given.resume},
    {.name = "set",
     .value = "KEY.PATH=VALUE",
     .help = "change a key of the configuration; may be repeated",
     .list = given.sets,
     .count = &given.set_count,
     .limit = MAX_SETS},
    {.name = "gemm",
     .value = "G",
     .help = "matrix products: auto, clblast or own",
     .words = "auto clblast own",
     .text = &given.gemm},
    {.name = "quiet", .help = "no progress; results and warnings only", .flag = &given.quiet},
    {.name = "explain", .help = "print the plan of a step and stop", .flag = &given.explain},
    {0},
};

const mcl__subcommand mcl__subcommand_train = {
    .name = "train",
    .usage = "train CONFIG|FOLDER [OPTION...]",
    .summary = "Trains a network: with a configuration (YAML), or on a folder of data with sensible defaults.",
    .options = options,
    .operands = "FILES",
    .help = "FOLDER holds IDX files, CIFAR-10 batches, or one folder of pictures a class (with or without train, val "
            "and test).\n"
            "`monocle init` prints every key of a configuration. The run's folder gets config.yaml, log.jsonl,\n"
            "last.safetensors and best.safetensors; decoded pictures are kept beside it, in picture-cache.\n"
            "Ctrl-C finishes the steps begun, saves and exits; --resume goes on, also to train a finished run longer:\n"
            "  monocle train --run runs/x --resume --set training.epochs=20\n",
    .run = run_train,
};

static mcl_trainer *volatile interrupted_trainer;
static const char *volatile empty_folder; /* of a run that has not begun */

/* A second Ctrl-C ends the program at once; other signals come twice of themselves, as when a terminal goes away. */
static void on_interrupt(int signal_number)
{
    if (interrupted_trainer) mcl_trainer_stop(interrupted_trainer);
    if (interrupted_trainer && signal_number != SIGINT) return;
    signal(signal_number, SIG_DFL);
    if (interrupted_trainer) return;
    if (empty_folder) rmdir(empty_folder);
    raise(signal_number);
}

/* The run's own configuration when resuming, else the file or folder given. */
static mcl_status read_config(mcl__config *config, mcl_error *error)
{
    const char *const *sets = given.sets;
    if (!given.source) return mcl__run_config(given.run, sets, given.set_count, config, error);
    if (mcl__folder_exists(given.source))
        return mcl__config_for_folder(given.source, given.network, sets, given.set_count, config, error);
    if (!mcl__file_exists(given.source))
        return mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s: no such file or folder", given.source);
    return mcl__config_read(given.source, sets, given.set_count, config, error);
}

static mcl_status change_config(mcl__config *config, mcl_error *error)
{
    mcl_status status = MCL_OK;
    if (given.network) status = mcl__config_set(config, "network", given.network, error);
    if (given.gemm && status == MCL_OK) status = mcl__config_set(config, "device.gemm", given.gemm, error);
    if (status != MCL_OK) mcl__config_free(config);
    return status;
}

/* runs/NAME, with a number where that is taken, made here so that nobody else takes it; malloc'ed. */
static mcl_status fresh_run(const char *network, char **run, mcl_error *error)
{
    for (int i = 1;; i++) {
        *run = i == 1 ? mcl__text("runs/%s", network) : mcl__text("runs/%s-%d", network, i);
        char *above = *run ? strdup(*run) : NULL; /* a network's name may have a slash */
        if (!above) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
        *strrchr(above, '/') = 0;
        mcl_status made = mcl__folder_create(above, false, error);
        free(above);
        MCL_TRY(made);
        if (mkdir(*run, 0777) == 0) return MCL_OK;
        mcl_status status = errno == EEXIST && i < 100000 ? MCL_OK : mcl__file_fail(error, errno, "make folder", *run);
        free(*run);
        *run = NULL;
        MCL_TRY(status);
    }
}

/* What a run must not lose: its checkpoints. */
static mcl_status check_run(const char *run, mcl_error *error)
{
    char *last = mcl__text("%s/last.safetensors", run), *best = mcl__text("%s/best.safetensors", run);
    mcl_status status = last && best ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
    if (status == MCL_OK && !given.resume && (mcl__file_exists(last) || mcl__file_exists(best)))
        status = mcl__fail(error, MCL_ERROR_INVALID,
                           "%s holds a run already: go on with --resume, or name another folder with --run", run);
    if (status == MCL_OK && given.resume && !mcl__file_exists(last))
        status = mcl__fail(error, MCL_ERROR_NOT_FOUND, "nothing to resume: %s is not there", last);
    free(last);
    free(best);
    return status;
}

static void describe(const mcl_network *network, const mcl_dataset *data, const char *path, const char *run)
{
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    fprintf(stderr,
            "Data %s: %d classes, pictures of %d x %d x %d: %d for training, %d for validation, %d for the test\n",
            path, info->classes, info->height, info->width, info->channels, info->part_count[0], info->part_count[1],
            info->part_count[2]);
    if (info->skipped)
        fprintf(stderr, "%d of the pictures could not be read and %s left out\n", info->skipped,
                info->skipped == 1 ? "is" : "are");
    fprintf(stderr, "Network %s: %lld parameters\nRun %s\n", mcl_network_name(network),
            (long long)mcl_network_parameter_count(network), run);
}

static void print_result(const mcl_event *e)
{
    char weights[64] = "last weights";
    if (e->epoch) snprintf(weights, sizeof weights, "best epoch %d", e->epoch);
    if (e->validation.samples)
        printf("%s: validation loss %.4f, accuracy %.2f %%\n", weights, e->validation.loss,
               100 * e->validation.accuracy);
    if (e->test.samples)
        printf("%s: test loss %.4f, accuracy %.2f %% (%lld pictures)\n", weights, e->test.loss, 100 * e->test.accuracy,
               (long long)e->test.samples);
    printf("trained %d steps in %.1f s\n", e->step, e->seconds);
}

static void on_event(const mcl_event *event, void *user)
{
    mcl__progress_bar_event(event, user);
    if (event->kind != MCL_EVENT_DONE) return;
    mcl__progress_bar_end(user);
    print_result(event);
}

/* Trains; Ctrl-C and its like end it after a step. */
static mcl_status run_trainer(mcl_trainer *trainer, mcl__progress_bar *bar, const char *run, mcl_error *error)
{
    interrupted_trainer = trainer;
    mcl_status status = mcl_trainer_run(trainer, on_event, bar, error);
    interrupted_trainer = NULL;
    mcl__progress_bar_end(bar);
    if (!given.quiet && status == MCL_OK)
        fprintf(stderr, "Next: monocle eval %s\n      monocle predict %s PICTURE\n", run, run);
    size_t used = strlen(error->text);
    if (status == MCL_ERROR_INTERRUPTED)
        snprintf(error->text + used, sizeof error->text - used, "; go on with: monocle train --run %s --resume", run);
    return status;
}

static mcl_status train(mcl_device *device, const mcl_network *network, mcl_dataset *data,
                        const mcl_train_options *train_options, mcl_error *error)
{
    mcl_trainer *trainer;
    mcl__progress_bar bar = mcl__progress_bar_begin(given.quiet);
    if (mcl_device_get_info(device)->type != MCL_DEVICE_NATIVE)
        mcl__progress_bar_note(&bar, "Preparing kernels (compiled the first time, then kept) ...");
    if (given.run && !given.explain) MCL_TRY(check_run(given.run, error)); /* again: reading pictures takes its time */
    MCL_TRY(mcl_trainer_create(device, network, data, train_options, &trainer, error));
    mcl_status status = MCL_OK;
    if (given.explain) {
        char *text = mcl_trainer_explain(trainer);
        if (text) fputs(text, stdout);
        else status = mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the text of a plan");
        free(text);
    } else {
        char *path = mcl__text("%s/config.yaml", train_options->run);
        status = path ? mcl__file_write(path, train_options->description, strlen(train_options->description), error)
                      : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
        free(path);
        if (status == MCL_OK) status = run_trainer(trainer, &bar, train_options->run, error);
    }
    mcl_trainer_destroy(trainer);
    return status;
}

static mcl_status open_all(mcl__config *config, mcl_error *error)
{
    mcl_device *device = NULL;
    mcl_dataset *data = NULL;
    mcl_network *network = NULL;
    mcl_train_options train_options = config->train;
    mcl_status status = MCL_OK;
    const char *run = NULL;
    struct sigaction before[MCL__ENDS];
    char *fresh = NULL, *resolved = NULL, *cache = mcl__picture_cache_of(given.run ? given.run : "runs/new");
    mcl__ends_catch(on_interrupt, before);
    if (given.run && !given.explain) MCL_TRY_DONE(check_run(given.run, error)); /* before any picture is decoded */
    MCL_TRY_DONE(mcl__open_device(given.device, config, given.quiet, &device, error));
    MCL_TRY_DONE(mcl__config_open_data(config, cache, &data, error));
    MCL_TRY_DONE(mcl__config_network(config, data, &network, error));
    resolved = mcl__config_resolved(config);
    if (!resolved) {
        status = mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the configuration");
        goto done;
    }
    if (!given.run && !given.explain) MCL_TRY_DONE(fresh_run(mcl_network_name(network), &fresh, error));
    empty_folder = fresh;
    run = given.run ? given.run : fresh;
    train_options.run = given.explain ? NULL : run;
    train_options.resume = given.resume && !given.explain;
    train_options.description = resolved;
    if (!given.quiet && !given.explain) describe(network, data, config->resolved_path, run);
    status = train(device, network, data, &train_options, error);
done:
    mcl_network_destroy(network);
    mcl_dataset_close(data);
    mcl_device_close(device);
    if (fresh && status != MCL_OK) rmdir(fresh); /* where nothing has been written */
    empty_folder = NULL;
    mcl__ends_release(before);
    free(fresh);
    free(resolved);
    free(cache);
    return status;
}

/* --network is checked before a device is opened and pictures are decoded. */
static int check_network(void)
{
    if (!given.network || strpbrk(given.network, "{[:\n")) return EXIT_SUCCESS; /* YAML */
    return mcl__is_network(given.network) ? EXIT_SUCCESS : mcl__no_network(&mcl__subcommand_train, given.network);
}

static int run_train(int argc, char **argv)
{
    const mcl__subcommand *self = &mcl__subcommand_train;
    mcl_error error = {0};
    mcl__config config;
    mcl__options(self, &argc, argv);
    if (argc > 2) return mcl__usage_error(self, "one configuration or folder, please; \"%s\" is too much", argv[2]);
    if (given.resume && !given.run) return mcl__usage_error(self, "--resume needs --run DIR");
    if (argc < 2 && !given.resume) return mcl__usage_error(self, "a configuration or a folder of data, please");
    if (check_network() != EXIT_SUCCESS) return EXIT_USAGE;
    given.source = argc > 1 ? argv[1] : NULL;
    if (read_config(&config, &error) != MCL_OK || change_config(&config, &error) != MCL_OK) return mcl__report(&error);
    mcl_status status = open_all(&config, &error);
    mcl__config_free(&config);
    return status == MCL_OK ? EXIT_SUCCESS : mcl__report(&error);
}
