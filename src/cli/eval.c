/* monocle eval: how good a run's best weights are on one part of its data. */
#include "base/arena.h"
#include "base/json.h"
#include "cli/cli.h"
#include <stdlib.h>
#include <string.h>

static int run_eval(int argc, char **argv);

enum { MAX_SETS = 64 };

static struct {
    const char *device, *split, *sets[MAX_SETS];
    int set_count;
    bool json, quiet;
} given = {.split = "test"};

static const mcl__option options[] = {
    MCL__DEVICE_OPTION(&given.device),
    {.name = "split",
     .value = "PART",
     .help = "train, validation or test [test]",
     .words = "train validation test",
     .text = &given.split},
    {.name = "set",
     .value = "KEY.PATH=VALUE",
     .help = "change a key of the run's configuration, such as data.path; may be repeated",
     .list = given.sets,
     .count = &given.set_count,
     .limit = MAX_SETS},
    {.name = "json", .help = "the result as JSON", .flag = &given.json},
    {.name = "quiet", .help = "do not say which device", .flag = &given.quiet},
    {0},
};

const mcl__subcommand mcl__subcommand_eval = {
    .name = "eval",
    .usage = "eval RUN [OPTION...]",
    .summary = "Evaluates a run: loss, top-1, top-5, precision, recall and F1 of each class, confusion matrix.",
    .options = options,
    .operands = "FOLDERS",
    .help = "RUN is a run's folder; its best weights are used, on the data that its configuration names.\n",
    .run = run_eval,
};

static const char *const part_names[MCL_PARTS] = {"train", "validation", "test"};

static json_t *classes_json(const mcl_predictor *predictor, const mcl_evaluation *e)
{
    json_t *classes = json_array();
    for (int c = 0; c < e->classes; c++)
        json_array_append_new(classes, json_pack("{s:s,s:f,s:f,s:f}", "name", mcl_predictor_class_name(predictor, c),
                                                 "precision", e->precision[c], "recall", e->recall[c], "f1", e->f1[c]));
    return classes;
}

static json_t *confusion_json(const mcl_evaluation *e)
{
    json_t *rows = json_array();
    for (int r = 0; r < e->classes; r++) {
        json_t *row = json_array();
        for (int c = 0; c < e->classes; c++)
            json_array_append_new(row, json_integer(e->confusion[(size_t)r * e->classes + c]));
        json_array_append_new(rows, row);
    }
    return rows;
}

static mcl_status print_json(const mcl_predictor *predictor, const mcl_evaluation *e, const char *part,
                             mcl_error *error)
{
    json_t *root = json_pack("{s:s,s:I,s:f,s:f,s:f,s:o,s:o}", "part", part, "samples", (json_int_t)e->samples, "loss",
                             e->loss, "top1", e->top1, "top5", e->top5, "classes", classes_json(predictor, e),
                             "confusion", confusion_json(e));
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!text) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the result");
    puts(text);
    free(text);
    return MCL_OK;
}

static int name_width(const mcl_predictor *predictor, int classes)
{
    int width = 5;
    for (int c = 0; c < classes; c++) {
        int length = (int)strlen(mcl_predictor_class_name(predictor, c));
        if (length > width) width = length;
    }
    return width < 24 ? width : 24;
}

static void print_text(const mcl_predictor *predictor, const mcl_evaluation *e, const char *part)
{
    int width = name_width(predictor, e->classes);
    printf("%s part, %lld picture%s: loss %.4f, top-1 %.2f %%, top-5 %.2f %%\n\n", part, (long long)e->samples,
           e->samples == 1 ? "" : "s", e->loss, 100 * e->top1, 100 * e->top5);
    printf("%-*s  precision  recall      F1\n", width, "class");
    for (int c = 0; c < e->classes; c++)
        printf("%-*.*s  %7.2f %%  %5.2f %%  %6.4f\n", width, width, mcl_predictor_class_name(predictor, c),
               100 * e->precision[c], 100 * e->recall[c], e->f1[c]);
    if (e->classes > 30) {
        printf("\n(the confusion matrix of %d classes is in --json)\n", e->classes);
        return;
    }
    printf("\nconfusion (a row is a true class, a column a predicted one)\n");
    for (int r = 0; r < e->classes; r++) {
        printf("%-*.*s ", width, width, mcl_predictor_class_name(predictor, r));
        for (int c = 0; c < e->classes; c++) printf(" %5lld", (long long)e->confusion[(size_t)r * e->classes + c]);
        putchar('\n');
    }
}

static mcl_status evaluate(const char *run, mcl_part part, mcl_error *error)
{
    mcl__config config;
    MCL_TRY(mcl__run_config(run, given.sets, given.set_count, &config, error));
    mcl_device *device = NULL;
    mcl_dataset *data = NULL;
    mcl_predictor *predictor = NULL;
    mcl_evaluation evaluation = {0};
    mcl_status status = MCL_OK;
    char *cache = mcl__picture_cache_of(run);
    MCL_TRY_DONE(mcl__open_device(given.device, &config, given.quiet, &device, error));
    MCL_TRY_DONE(mcl_predictor_open(device, NULL, run, config.train.batch / config.train.micro_batches, &predictor, error));
    MCL_TRY_DONE(mcl__config_open_data(&config, cache, &data, error));
    MCL_TRY_DONE(mcl_predictor_evaluate(predictor, data, part, &evaluation, error));
    if (given.json) status = print_json(predictor, &evaluation, part_names[part], error);
    else print_text(predictor, &evaluation, part_names[part]);
done:
    mcl_evaluation_free(&evaluation);
    mcl_predictor_close(predictor);
    mcl_dataset_close(data);
    mcl_device_close(device);
    mcl__config_free(&config);
    free(cache);
    return status;
}

static int run_eval(int argc, char **argv)
{
    mcl__options(&mcl__subcommand_eval, &argc, argv);
    if (argc != 2) return mcl__usage_error(&mcl__subcommand_eval, "one run's folder, please");
    mcl_part part = (mcl_part)mcl__choice(&mcl__subcommand_eval, "split", given.split);
    mcl_error error = {0};
    return evaluate(argv[1], part, &error) == MCL_OK ? EXIT_SUCCESS : mcl__report(&error);
}
