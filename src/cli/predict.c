/* monocle predict: classes and probabilities of pictures. */
#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"
#include "data/data.h"
#include "data/listing.h"
#include <stdlib.h>
#include <string.h>

static int run_predict(int argc, char **argv);

static struct {
    const char *device, *top;
    bool json, csv, skip, quiet;
} given = {.top = "1"};

static const mcl__option options[] = {
    MCL__DEVICE_OPTION(&given.device),
    {.name = "top", .value = "K", .help = "so many classes a picture [1]", .text = &given.top},
    {.name = "json", .help = "the result as JSON", .flag = &given.json},
    {.name = "csv", .help = "the result as CSV: file, rank, class, probability", .flag = &given.csv},
    {.name = "skip-unreadable",
     .help = "name pictures that cannot be read and go on, instead of stopping",
     .flag = &given.skip},
    {.name = "quiet", .help = "do not say which device", .flag = &given.quiet},
    {0},
};

const mcl__subcommand mcl__subcommand_predict = {
    .name = "predict",
    .usage = "predict RUN PICTURE|FOLDER... [OPTION...]",
    .summary = "Names the classes of pictures (JPEG, PNG), with probabilities.",
    .options = options,
    .operands = "FILES",
    .help = "RUN is a run's folder or a checkpoint. Of a folder every picture in it is taken, in the order of names.\n",
    .run = run_predict,
};

enum { BATCH = 32, MAX_TOP = 1000 };
typedef enum output { PLAIN, JSON, CSV } output;

typedef struct pictures { char **path; size_t count, capacity; } pictures;

static mcl_status add_picture(pictures *list, char *path, mcl_error *error)
{
    if (path && mcl__grow(&list->path, &list->capacity, list->count + 1, sizeof *list->path)) {
        list->path[list->count++] = path;
        return MCL_OK;
    }
    free(path);
    return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the list of pictures");
}

static mcl_status add_folder(pictures *list, const char *folder, mcl_error *error)
{
    mcl__listing found = {0};
    size_t before = list->count;
    mcl_status status = mcl__listing_read(folder, &found, error);
    for (size_t i = 0; status == MCL_OK && i < found.file_count; i++)
        if (mcl__is_picture(found.files[i])) status = add_picture(list, strdup(found.files[i]), error);
    mcl__listing_free(&found);
    if (status == MCL_OK && list->count == before)
        return mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s: no pictures (JPEG, PNG) in this folder", folder);
    return status;
}

static mcl_status find_pictures(pictures *list, char **operands, int count, mcl_error *error)
{
    for (int i = 0; i < count; i++) {
        if (mcl__folder_exists(operands[i])) MCL_TRY(add_folder(list, operands[i], error));
        else MCL_TRY(add_picture(list, strdup(operands[i]), error));
    }
    return MCL_OK;
}

/* The indices of the `top` largest, largest first. */
static void find_top(const float *probability, int classes, int top, int *index)
{
    for (int k = 0; k < top; k++) {
        int best = -1;
        for (int c = 0; c < classes; c++) {
            bool taken = false;
            for (int j = 0; j < k; j++) taken |= index[j] == c;
            if (!taken && (best < 0 || probability[c] > probability[best])) best = c;
        }
        index[k] = best;
    }
}

static void print_csv_text(const char *text)
{
    if (!strpbrk(text, ",\"\n\r")) {
        fputs(text, stdout);
        return;
    }
    putchar('"');
    for (; *text; text++) {
        if (*text == '"') putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static json_t *picture_json(const mcl_predictor *p, const char *path, const float *probability, const int *index,
                            int top)
{
    json_t *list = json_array();
    for (int k = 0; k < top; k++)
        json_array_append_new(list, json_pack("{s:s,s:f}", "class", mcl_predictor_class_name(p, index[k]),
                                              "probability", (double)probability[index[k]]));
    return json_pack("{s:o,s:o}", "file", mcl__json_text(path), "predictions", list);
}

static void print_picture(const mcl_predictor *p, const char *path, const float *probability, int top, output format,
                          json_t *all)
{
    int index[MAX_TOP];
    find_top(probability, mcl_predictor_classes(p), top, index);
    if (format == JSON) {
        json_array_append_new(all, picture_json(p, path, probability, index, top));
        return;
    }
    if (format == PLAIN) printf("%s:", path);
    for (int k = 0; k < top; k++) {
        const char *name = mcl_predictor_class_name(p, index[k]);
        if (format == PLAIN) {
            printf("%s %s %.2f %%", k ? "," : "", name, 100 * (double)probability[index[k]]);
            continue;
        }
        print_csv_text(path);
        printf(",%d,", k + 1);
        print_csv_text(name);
        printf(",%.6f\n", (double)probability[index[k]]);
    }
    if (format == PLAIN) putchar('\n');
}

typedef struct batch {
    int H, W, C;
    mcl_resize resize;
    uint8_t *pixels;
    float *probabilities;
    const char *path[BATCH];
    int count;
} batch;

/* Reads the next pictures until the batch is full; *next goes on. What cannot be read is an error, or, if asked,
 * named and left out. */
static mcl_status fill(batch *b, const pictures *list, size_t *next, mcl_error *error)
{
    size_t sample = (size_t)b->H * b->W * b->C;
    for (b->count = 0; b->count < BATCH && *next < list->count; ++*next) {
        mcl_error failure = {0};
        const char *path = list->path[*next];
        if (mcl_picture_read(path, b->H, b->W, b->C, b->resize, b->pixels + b->count * sample, &failure) == MCL_OK) {
            b->path[b->count++] = path;
        } else if (given.skip && failure.status != MCL_ERROR_MEMORY) {
            fprintf(stderr, "warning: left out: %s\n", failure.text);
        } else {
            return mcl__fail(error, failure.status, "%s", failure.text);
        }
    }
    return MCL_OK;
}

static mcl_status predict_all(mcl_predictor *p, const pictures *list, int top, output format, mcl_error *error)
{
    int classes = mcl_predictor_classes(p);
    batch b = {0};
    mcl_predictor_input(p, &b.H, &b.W, &b.C, &b.resize);
    b.pixels = malloc((size_t)BATCH * b.H * b.W * b.C);
    b.probabilities = malloc(BATCH * sizeof *b.probabilities * classes);
    json_t *all = json_array();
    mcl_status status =
        b.pixels && b.probabilities && all ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a batch");
    if (format == CSV) puts("file,rank,class,probability");
    for (size_t next = 0; next < list->count && status == MCL_OK;) {
        status = fill(&b, list, &next, error);
        if (status == MCL_OK) status = mcl_predictor_run(p, b.pixels, b.count, b.probabilities, error);
        for (int i = 0; i < b.count && status == MCL_OK; i++)
            print_picture(p, b.path[i], b.probabilities + (size_t)i * classes, top < classes ? top : classes, format,
                          all);
    }
    if (format == JSON && status == MCL_OK) {
        json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(7));
        putchar('\n');
    }
    json_decref(all);
    free(b.pixels);
    free(b.probabilities);
    return status;
}

static mcl_status predict(const char *run, char **operands, int count, int top, output format, mcl_error *error)
{
    pictures list = {0};
    mcl_device *device = NULL;
    mcl_predictor *predictor = NULL;
    mcl_status status = MCL_OK;
    MCL_TRY_DONE(find_pictures(&list, operands, count, error));
    MCL_TRY_DONE(mcl__open_device(given.device, NULL, given.quiet, &device, error));
    int together = list.count < BATCH ? (int)list.count : BATCH;
    MCL_TRY_DONE(mcl_predictor_open(device, NULL, run, together, &predictor, error));
    status = predict_all(predictor, &list, top, format, error);
done:
    mcl_predictor_close(predictor);
    mcl_device_close(device);
    for (size_t i = 0; i < list.count; i++) free(list.path[i]);
    free(list.path);
    return status;
}

static int run_predict(int argc, char **argv)
{
    const mcl__subcommand *self = &mcl__subcommand_predict;
    mcl__options(self, &argc, argv);
    if (argc < 3) return mcl__usage_error(self, "a run and at least one picture or folder, please");
    if (given.json && given.csv) return mcl__usage_error(self, "--json or --csv, not both");
    int top = mcl__number(self, "top", given.top, 1, MAX_TOP);
    output format = given.json ? JSON : given.csv ? CSV : PLAIN;
    mcl_error error = {0};
    return predict(argv[1], argv + 2, argc - 2, top, format, &error) == MCL_OK ? EXIT_SUCCESS : mcl__report(&error);
}
