/* Reads configurations against the one table of keys, and writes them from it. */
#include "train/config.h"
#include "base/arena.h"
#include "base/json.h"
#include "train/schedule.h"
#include <libgen.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum value_kind {
    TEXT, BOOL, INT, LONG, FLOAT, DOUBLE,
    FORMATS, RESIZES, RESIDENCES, RECOMPUTES, PREPROCESSINGS, OPTIMISERS, SCHEDULES, GEMMS /* choices: index into `choices` */
} value_kind;

#define MAX_CHOICES 5
static const char *const choices[][MAX_CHOICES] = {
    [FORMATS] = {"auto", "idx", "cifar10", "pictures"},
    [RESIZES] = {"crop", "stretch"},
    [RESIDENCES] = {"auto", "device", "stream"},
    [RECOMPUTES] = {"auto", "on", "off"},
    [PREPROCESSINGS] = {"standardise", "centre", "scale"},
    [OPTIMISERS] = {"sgd", "adam", "adamw"},
    [SCHEDULES] = {"constant", "step", "cosine"},
    [GEMMS] = {"auto", "clblast", "own"},
};

static const struct section { const char *name, *comment; } sections[] = {
#define SECTION(name, comment) {#name, comment},
#define KEY(section, key, kind, member, low, high, comment)
#include "train/config.def"
#undef SECTION
#undef KEY
};

static const struct key {
    const char *section, *name;
    value_kind kind;
    size_t offset;
    double low, high;
    const char *comment;
} keys[] = {
#define SECTION(name, comment)
#define KEY(section, key, kind, member, low, high, comment)                                                                        \
    {#section, #key, kind, offsetof(mcl__config, member), low, high, comment},
#include "train/config.def"
#undef SECTION
#undef KEY
};

enum { KEYS = sizeof keys / sizeof *keys, SECTIONS = sizeof sections / sizeof *sections };

static int choice_count(value_kind kind)
{
    int count = 0;
    while (count < MAX_CHOICES && choices[kind][count]) count++;
    return count;
}

static mcl_status read_key(const struct key *key, const mcl__yaml_node *node, mcl__config *config, mcl_error *error)
{
    void *member = (char *)config + key->offset;
    int64_t integer = 0;
    double real = 0;
    int choice = 0;
    if (!node || mcl__yaml_is_null(node)) return MCL_OK;
    switch (key->kind) {
    case TEXT: return mcl__yaml_text(node, member, error);
    case BOOL: return mcl__yaml_bool(node, member, error);
    case INT:
    case LONG:
        MCL_TRY(mcl__yaml_int(node, (int64_t)key->low, (int64_t)key->high, &integer, error));
        if (key->kind == INT) *(int *)member = (int)integer;
        else *(int64_t *)member = integer;
        return MCL_OK;
    case FLOAT:
    case DOUBLE:
        MCL_TRY(mcl__yaml_double(node, key->low, key->high, &real, error));
        if (key->kind == FLOAT) *(float *)member = (float)real;
        else *(double *)member = real;
        return MCL_OK;
    default:
        MCL_TRY(mcl__yaml_choice(node, choices[key->kind], choice_count(key->kind), &choice, error));
        if (key->kind == GEMMS) *(const char **)member = choices[GEMMS][choice];
        else *(int *)member = choice;
        return MCL_OK;
    }
}

/* The shortest text that reads back as the same number: "0.1", not 0.100000001. */
static void write_number(double value, bool single, char *text, size_t bytes)
{
    for (int digits = single ? 6 : 15;; digits++) {
        snprintf(text, bytes, "%.*g", digits, value);
        if (digits == (single ? 9 : 17) || (single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)) return;
    }
}

/* Of a key of kind TEXT, of any length. */
static const char *text_of(const struct key *key, const mcl__config *config)
{
    const char *text = *(const char *const *)((const char *)config + key->offset);
    return text ? text : "";
}

/* The text of a value as YAML. */
static void write_value(const struct key *key, const mcl__config *config, char *text, size_t bytes)
{
    const void *member = (const char *)config + key->offset;
    switch (key->kind) {
    case TEXT: snprintf(text, bytes, "%s", text_of(key, config)); break;
    case BOOL: snprintf(text, bytes, "%s", *(const bool *)member ? "true" : "false"); break;
    case INT: snprintf(text, bytes, "%d", *(const int *)member); break;
    case LONG: snprintf(text, bytes, "%lld", (long long)*(const int64_t *)member); break;
    case FLOAT: write_number((double)*(const float *)member, true, text, bytes); break;
    case DOUBLE: write_number(*(const double *)member, false, text, bytes); break;
    case GEMMS: snprintf(text, bytes, "%s", *(const char *const *)member); break;
    default: snprintf(text, bytes, "%s", choices[key->kind][*(const int *)member]); break;
    }
}

static mcl__config defaults(void)
{
    mcl__config config = {.path = "data", .train_files = "", .test_files = "", .device = "auto", .gemm = "auto", .fuse = true,
                          .cache_megabytes = 4096};
    config.train = mcl_train_defaults();
    mcl_train_options resolved = config.train;
    mcl__train_options_resolve(&config.train, &resolved, NULL);
    config.train = resolved;
    return config;
}

static mcl_status check_sections(const mcl__yaml_node *root, mcl_error *error)
{
    const char *names[SECTIONS + 1] = {"network"};
    for (int i = 0; i < SECTIONS; i++) names[i + 1] = sections[i].name;
    MCL_TRY(mcl__yaml_check_keys(root, names, SECTIONS + 1, error));
    for (int i = 0; i < SECTIONS; i++) {
        const mcl__yaml_node *section = mcl__yaml_find(root, sections[i].name);
        const char *allowed[KEYS];
        int count = 0;
        if (!section || mcl__yaml_is_null(section)) continue;
        MCL_TRY(mcl__yaml_expect(section, MCL__YAML_MAPPING, error));
        for (int k = 0; k < KEYS; k++)
            if (strcmp(keys[k].section, sections[i].name) == 0) allowed[count++] = keys[k].name;
        MCL_TRY(mcl__yaml_check_keys(section, allowed, count, error));
    }
    return MCL_OK;
}

/* data.path is relative to the file that says so; from --set, to the working directory. */
static mcl_status resolve_path(mcl__config *config, const char *file, mcl_error *error)
{
    char full[PATH_MAX], *folder = NULL, *joined = NULL;
    const mcl__yaml_node *node = mcl__yaml_find(mcl__yaml_find(mcl__yaml_root(config->yaml), "data"), "path");
    bool in_file = file && !(node && strncmp(node->source, "--set", 5) == 0);
    if (in_file && config->path[0] != '/') {
        if ((folder = strdup(file))) joined = mcl__text("%s/%s", dirname(folder), config->path);
    } else {
        joined = strdup(config->path);
    }
    free(folder);
    free(config->resolved_path);
    config->resolved_path = joined && realpath(joined, full) ? strdup(full) : joined ? strdup(joined) : NULL;
    free(joined);
    if (!config->resolved_path) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
    if (mcl__json_carries(config->resolved_path)) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_INVALID, "data.path %s is not UTF-8, and a run's files could not tell it: rename the folder",
                     config->resolved_path);
}

/* A default that depends on another key: Adam's rate is not SGD's, and steps divide the epochs that there are. */
static void dependent_defaults(mcl__config *config, const mcl__yaml_node *root)
{
    if (!mcl__yaml_find(mcl__yaml_find(root, "optimiser"), "learning_rate")) config->train.learning_rate = 0;
    if (!mcl__yaml_find(mcl__yaml_find(root, "schedule"), "step_epochs")) config->train.step_epochs = 0;
}

static mcl_status read_values(mcl__config *config, const char *file, mcl_error *error)
{
    const mcl__yaml_node *root = mcl__yaml_root(config->yaml);
    MCL_TRY(mcl__yaml_expect(root, MCL__YAML_MAPPING, error));
    MCL_TRY(check_sections(root, error));
    for (int k = 0; k < KEYS; k++)
        MCL_TRY(read_key(&keys[k], mcl__yaml_find(mcl__yaml_find(root, keys[k].section), keys[k].name), config, error));
    dependent_defaults(config, root);
    config->train.no_fuse = !config->fuse;
    mcl_train_options resolved;
    mcl_status status = mcl__train_options_resolve(&config->train, &resolved, error);
    if (status != MCL_OK) return MCL_ERROR_CONFIG;
    config->train = resolved;
    return resolve_path(config, file, error);
}

static mcl_status finish(mcl__config *config, const char *file, const char *const *sets, int set_count, mcl_error *error)
{
    mcl_status status = MCL_OK;
    for (int i = 0; i < set_count && status == MCL_OK; i++) status = mcl__yaml_assign(config->yaml, sets[i], error);
    if (status == MCL_OK) status = read_values(config, file, error);
    if (status != MCL_OK) mcl__config_free(config);
    return status;
}

mcl_status mcl__config_read(const char *file, const char *const *sets, int set_count, mcl__config *config, mcl_error *error)
{
    *config = defaults();
    MCL_TRY(mcl__yaml_read(file, &config->yaml, error));
    return finish(config, file, sets, set_count, error);
}

mcl_status mcl__config_for_folder(const char *folder, const char *network, const char *const *sets, int set_count,
                                  mcl__config *config, mcl_error *error)
{
    static const char text[] = "training: {epochs: 10, batch: 64}\n"
                               "optimiser: {learning_rate: 0.02, weight_decay: 0.0005}\n"
                               "schedule: {kind: cosine, warmup_epochs: 0.5}\n"
                               "data: {validation: 0.1, test: 0.1}\n";
    *config = defaults();
    MCL_TRY(mcl__yaml_parse(text, sizeof text - 1, "defaults", &config->yaml, error));
    mcl_status status = mcl__yaml_set_text(config->yaml, "data.path", folder, error);
    if (status == MCL_OK && network) status = mcl__yaml_set(config->yaml, "network", network, error);
    if (status != MCL_OK) {
        mcl__config_free(config);
        return status;
    }
    return finish(config, NULL, sets, set_count, error);
}

mcl_status mcl__config_set(mcl__config *config, const char *path, const char *value, mcl_error *error)
{
    char *folder = config->resolved_path;
    MCL_TRY(mcl__yaml_set_text(config->yaml, "data.path", folder, error));
    MCL_TRY(mcl__yaml_set(config->yaml, path, value, error));
    return read_values(config, NULL, error);
}

void mcl__config_free(mcl__config *config)
{
    mcl__yaml_destroy(config->yaml);
    free(config->resolved_path);
    *config = (mcl__config){0};
}

char *mcl__config_resolved(const mcl__config *config)
{
    mcl__config copy = *config;
    copy.path = config->resolved_path;
    char *text = mcl__yaml_emit(config->yaml), path[128], value[PATH_MAX];
    mcl__yaml *yaml = NULL;
    mcl_status status = text ? mcl__yaml_parse(text, strlen(text), "config", &yaml, NULL) : MCL_ERROR_MEMORY;
    free(text);
    for (int k = 0; k < KEYS && status == MCL_OK; k++) {
        snprintf(path, sizeof path, "%s.%s", keys[k].section, keys[k].name);
        write_value(&keys[k], &copy, value, sizeof value);
        status = keys[k].kind == TEXT ? mcl__yaml_set_text(yaml, path, text_of(&keys[k], &copy), NULL)
                                      : mcl__yaml_set(yaml, path, value, NULL);
    }
    text = status == MCL_OK ? mcl__yaml_emit(yaml) : NULL;
    mcl__yaml_destroy(yaml);
    return text;
}

char *mcl__config_template(void)
{
    mcl__config config = defaults();
    char *text = NULL, value[PATH_MAX];
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return NULL;
    fprintf(out, "# A configuration of Monocle: `monocle train FILE`. Every key may be left out; these are the defaults.\n"
                 "# On the command line: --set training.epochs=20\n\n"
                 "network: lenet  # a name (`monocle networks` lists them), or input and layers (samples/README.md)\n");
    for (int s = 0; s < SECTIONS; s++) {
        fprintf(out, "\n%s:%s%s\n", sections[s].name, *sections[s].comment ? "  # " : "", sections[s].comment);
        for (int k = 0; k < KEYS; k++) {
            if (strcmp(keys[k].section, sections[s].name) != 0) continue;
            write_value(&keys[k], &config, value, sizeof value);
            int width = fprintf(out, "  %s: %s", keys[k].name, *value ? value : "\"\"");
            if (*keys[k].comment) fprintf(out, "%*s# %s", width < 32 ? 32 - width : 2, "", keys[k].comment);
            fputc('\n', out);
        }
    }
    fclose(out);
    return text;
}

enum { MAX_FILES = 64 };

/* "a.bin, b.bin" */
static mcl_status split_names(mcl__arena *arena, const char *key, const char *list, const char *names[MAX_FILES], int *count,
                              mcl_error *error)
{
    *count = 0;
    for (;;) {
        list += strspn(list, ", ");
        size_t length = strcspn(list, ", ");
        if (!length) return MCL_OK;
        if (*count == MAX_FILES)
            return mcl__fail(error, MCL_ERROR_INVALID, "data.%s names more than %d files: join some, or leave the key out", key,
                             MAX_FILES);
        if (!(names[(*count)++] = mcl__arena_copy(arena, list, length)))
            return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the names of files");
        list += length;
    }
}

mcl_status mcl__config_open_data(const mcl__config *config, const char *cache_folder, mcl_dataset **data, mcl_error *error)
{
    mcl_dataset_options options = config->data;
    mcl__arena arena = {0};
    const char *train_files[MAX_FILES], *test_files[MAX_FILES];
    mcl_status status = split_names(&arena, "train_files", config->train_files, train_files, &options.train_file_count, error);
    if (status == MCL_OK)
        status = split_names(&arena, "test_files", config->test_files, test_files, &options.test_file_count, error);
    options.train_files = options.train_file_count ? train_files : NULL;
    options.test_files = options.test_file_count ? test_files : NULL;
    options.threads = config->threads;
    options.cache = config->cache_megabytes ? cache_folder : NULL;
    options.cache_bytes = (uint64_t)config->cache_megabytes << 20;
    options.stream = config->train.residence == MCL_RESIDENCE_STREAM;
    if (status == MCL_OK) status = mcl_dataset_open(config->resolved_path, &options, data, error);
    mcl__arena_clear(&arena);
    return status;
}

mcl_status mcl__config_network(mcl__config *config, const mcl_dataset *data, mcl_network **network, mcl_error *error)
{
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    int H = info->height, W = info->width, C = info->channels, classes = info->classes;
    const mcl__yaml_node *node = mcl__yaml_find(mcl__yaml_root(config->yaml), "network");
    if (!node) {
        MCL_TRY(mcl__config_set(config, "network", H * W <= 32 * 32 && C == 1 ? "lenet" : "resnet20", error));
        node = mcl__yaml_find(mcl__yaml_root(config->yaml), "network");
    }
    return mcl__network_from_yaml(node, H, W, C, classes, network, error);
}
