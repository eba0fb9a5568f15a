/* monocle predict: classes and probabilities of pictures. */
#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int run_predict(int argc, char **argv);

const mcl__subcommand mcl__subcommand_predict = {
    .name = "predict",
    .usage = "predict RUN PICTURE|FOLDER... [OPTION...]",
    .summary = "Names the classes of pictures (JPEG, PNG), with probabilities.",
    .help = "RUN is a run's folder or a checkpoint. Of a folder every picture in it is taken, in the order of names.\n",
    .run = run_predict,
};

enum { BATCH = 32, MAX_TOP = 1000 };
typedef enum output { PLAIN, JSON, CSV } output;

typedef struct pictures { char **path; size_t count, capacity; } pictures;

static bool is_picture(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (length > strlen(endings[i]) && strcasecmp(name + length - strlen(endings[i]), endings[i]) == 0) return true;
    return false;
}

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
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    size_t before = list->count;
    mcl_status status = count < 0 ? mcl__file_fail(error, errno, "read", folder) : MCL_OK;
    for (int i = 0; i < count; i++) {
        if (status == MCL_OK && is_picture(entries[i]->d_name)) status = add_picture(list, mcl__text("%s/%s", folder, entries[i]->d_name), error);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
    if (status == MCL_OK && list->count == before) return mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s: no pictures (JPEG, PNG) in this folder", folder);
    return status;
}

static mcl_status find_pictures(pictures *list, char **given, int count, mcl_error *error)
{
    for (int i = 0; i < count; i++) {
        if (mcl__folder_exists(given[i])) MCL_TRY(add_folder(list, given[i], error));
        else MCL_TRY(add_picture(list, strdup(given[i]), error));
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

static json_t *picture_json(const mcl_predictor *p, const char *path, const float *probability, const int *index, int top)
{
    json_t *list = json_array();
    for (int k = 0; k < top; k++)
        json_array_append_new(list, json_pack("{s:s,s:f}", "class", mcl_predictor_class_name(p, index[k]), "probability", (double)probability[index[k]]));
    return json_pack("{s:s,s:o}", "file", path, "predictions", list);
}

static void print_picture(const mcl_predictor *p, const char *path, const float *probability, int top, output format, json_t *all)
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

static mcl_status predict_all(mcl_predictor *p, const pictures *list, int top, output format, mcl_error *error)
{
    int H, W, C, classes = mcl_predictor_classes(p);
    mcl_resize resize;
    mcl_predictor_input(p, &H, &W, &C, &resize);
    size_t sample = (size_t)H * W * C;
    uint8_t *pixels = malloc(BATCH * sample);
    float *probabilities = malloc(BATCH * sizeof *probabilities * classes);
    json_t *all = json_array();
    mcl_status status = pixels && probabilities && all ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a batch");
    if (format == CSV) puts("file,rank,class,probability");
    for (size_t first = 0; first < list->count && status == MCL_OK; first += BATCH) {
        int n = list->count - first < BATCH ? (int)(list->count - first) : BATCH;
        for (int i = 0; i < n && status == MCL_OK; i++)
            status = mcl_picture_read(list->path[first + i], H, W, C, resize, pixels + i * sample, error);
        if (status == MCL_OK) status = mcl_predictor_run(p, pixels, n, probabilities, error);
        for (int i = 0; i < n && status == MCL_OK; i++)
            print_picture(p, list->path[first + i], probabilities + (size_t)i * classes, top < classes ? top : classes, format, all);
    }
    if (format == JSON && status == MCL_OK) {
        json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(7));
        putchar('\n');
    }
    json_decref(all);
    free(pixels);
    free(probabilities);
    return status;
}

static mcl_status predict(const char *run, char **given, int count, const char *device_name, int top, output format, mcl_error *error)
{
    pictures list = {0};
    mcl_device *device = NULL;
    mcl_predictor *predictor = NULL;
    mcl_status status = MCL_OK;
    mcl_device_options options = {0};
    MCL_TRY_DONE(find_pictures(&list, given, count, error));
    MCL_TRY_DONE(mcl__open_device(device_name, &options, true, &device, error));
    MCL_TRY_DONE(mcl_predictor_open(device, NULL, run, BATCH, &predictor, error));
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
    const char *device = NULL, *top_text = "1";
    bool json = false, csv = false;
    const mcl__option options[] = {
        {.name = "device", .value = "D", .help = "auto, native, gpu, cpu, PLATFORM:DEVICE, or part of a name", .text = &device},
        {.name = "top", .value = "K", .help = "so many classes a picture [1]", .text = &top_text},
        {.name = "json", .help = "the result as JSON", .flag = &json},
        {.name = "csv", .help = "the result as CSV: file, rank, class, probability", .flag = &csv},
        {0},
    };
    mcl__options(&mcl__subcommand_predict, options, &argc, argv);
    if (argc < 3) return mcl__usage_error(&mcl__subcommand_predict, "a run and at least one picture or folder, please");
    if (json && csv) return mcl__usage_error(&mcl__subcommand_predict, "--json or --csv, not both");
    char *end;
    long top = strtol(top_text, &end, 10);
    if (*end || top < 1 || top > MAX_TOP) return mcl__usage_error(&mcl__subcommand_predict, "--top is a number from 1 to %d", MAX_TOP);
    mcl_error error = {0};
    mcl_status status = predict(argv[1], argv + 2, argc - 2, device, (int)top, json ? JSON : csv ? CSV : PLAIN, &error);
    return status == MCL_OK ? EXIT_SUCCESS : mcl__report(&error);
}
