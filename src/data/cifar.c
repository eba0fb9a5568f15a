/* CIFAR-10, binary version: records of a label and 32 x 32 red, then green, then blue bytes. */
#include "base/file.h"
#include "data/dataset.h"
#include "data/gz.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 32, PLANE = SIDE * SIDE, CHANNELS = 3, RECORD = 1 + CHANNELS * PLANE, CLASSES = 10 };

static const char *const class_names[CLASSES] = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                                                 "truck"};

/* The files of a part, as names within the folder. */
struct files { char **names; size_t count, capacity; };

static void free_files(struct files *files)
{
    for (size_t i = 0; i < files->count; i++) free(files->names[i]);
    free(files->names);
}

static bool add_file(struct files *files, const char *name)
{
    if (!mcl__grow(&files->names, &files->capacity, files->count + 1, sizeof *files->names)) return false;
    if (!(files->names[files->count] = strdup(name))) return false;
    files->count++;
    return true;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Leaves out NAME.gz where NAME is there too, as `gunzip -k` leaves them: else every picture would be there twice. */
static void drop_twins(struct files *files)
{
    size_t kept = 0;
    for (size_t i = 0; i < files->count; i++) {
        bool twin = false;
        for (size_t k = 0; k < kept && !twin; k++) {
            size_t length = strlen(files->names[k]);
            twin = strncmp(files->names[i], files->names[k], length) == 0 && strcmp(files->names[i] + length, ".gz") == 0;
        }
        if (twin) free(files->names[i]);
        else files->names[kept++] = files->names[i];
    }
    files->count = kept;
}

/* PREFIX*.bin and PREFIX*.bin.gz, in byte order of the names. */
static mcl_status list_files(const char *folder, const char *prefix, struct files *files, mcl_error *error)
{
    DIR *listing = opendir(folder);
    if (!listing) return mcl__file_fail(error, errno, "read folder", folder);
    bool good = true;
    errno = 0;
    for (struct dirent *entry; good && (entry = readdir(listing)); errno = 0)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
            (ends_with(entry->d_name, ".bin") || ends_with(entry->d_name, ".bin.gz")))
            good = add_file(files, entry->d_name);
    int code = good ? errno : 0;
    closedir(listing);
    if (code) return mcl__file_fail(error, code, "read folder", folder);
    if (files->count) qsort(files->names, files->count, sizeof *files->names, compare_names);
    drop_twins(files);
    return good ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "%s: no memory", folder);
}

bool mcl__cifar_detect(const char *folder)
{
    struct files files = {0};
    list_files(folder, "data_batch", &files, NULL);
    bool found = files.count > 0;
    free_files(&files);
    return found;
}

static mcl_status add_record(mcl_dataset *data, size_t *capacity, const uint8_t *record, const char *path, size_t index,
                             mcl_part part, mcl_error *error)
{
    size_t sample = (size_t)data->info.count;
    if (record[0] >= CLASSES)
        return mcl__fail(error, MCL_ERROR_FORMAT, "%s: label %d of picture %zu is out of range: there are 10 classes", path,
                         record[0], index);
    if (sample == INT32_MAX) return mcl__fail(error, MCL_ERROR_FORMAT, "%s: too many pictures", data->path);
    size_t pixels = *capacity, labels = *capacity, parts = *capacity;
    if (!mcl__grow(&data->pixels, &pixels, sample + 1, CHANNELS * PLANE) ||
        !mcl__grow(&data->labels, &labels, sample + 1, sizeof *data->labels) ||
        !mcl__grow(&data->found_part, &parts, sample + 1, 1))
        return mcl__data_no_memory(data, error);
    *capacity = parts;
    uint8_t *target = data->pixels + sample * CHANNELS * PLANE;
    for (int i = 0; i < PLANE; i++)
        for (int c = 0; c < CHANNELS; c++) target[i * CHANNELS + c] = record[1 + c * PLANE + i];
    data->labels[sample] = record[0];
    data->found_part[sample] = (uint8_t)part;
    data->info.count++;
    return MCL_OK;
}

static mcl_status read_file(mcl_dataset *data, size_t *capacity, const char *name, mcl_part part, mcl_error *error)
{
    mcl__gz *file = NULL;
    uint8_t record[RECORD];
    size_t got = 0, count = 0;
    char *path = mcl__text("%s/%s", data->path, name);
    if (!path) return mcl__data_no_memory(data, error);
    mcl_status status = mcl__gz_open(path, &file, error);
    while (status == MCL_OK) {
        status = mcl__gz_read_some(file, record, RECORD, &got, error);
        if (status != MCL_OK || got < RECORD) break;
        status = add_record(data, capacity, record, path, count++, part, error);
    }
    if (status == MCL_OK && got)
        status = mcl__fail(error, MCL_ERROR_FORMAT, "%s: the file is truncated: %zu bytes follow the last whole record of %d",
                           path, got, RECORD);
    else if (status == MCL_OK && count == 0)
        status = mcl__fail(error, MCL_ERROR_FORMAT, "%s: the file is empty", path);
    mcl__gz_close(file);
    free(path);
    return status;
}

static mcl_status read_part(mcl_dataset *data, size_t *capacity, mcl_part part, const char *const *names, int count,
                            const char *prefix, mcl_error *error)
{
    struct files files = {0};
    mcl_status status = MCL_OK;
    for (int i = 0; i < count && status == MCL_OK; i++)
        if (!add_file(&files, names[i])) status = mcl__data_no_memory(data, error);
    if (count == 0) status = list_files(data->path, prefix, &files, error);
    if (status == MCL_OK && files.count == 0 && part == MCL_PART_TRAIN)
        status = mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s: there is no data_batch_1.bin", data->path);
    for (size_t i = 0; i < files.count && status == MCL_OK; i++) status = read_file(data, capacity, files.names[i], part, error);
    free_files(&files);
    return status;
}

static mcl_status name_classes(mcl_dataset *data, mcl_error *error)
{
    int count = 0;
    char *path = mcl__text("%s/batches.meta.txt", data->path);
    if (!path) return mcl__data_no_memory(data, error);
    mcl_status status = mcl__class_names_read(data, path, CLASSES, &count, error);
    if (status == MCL_OK && count != 0 && count != CLASSES)
        status = mcl__fail(error, MCL_ERROR_FORMAT, "%s: %d names of classes, expected 10", path, count);
    free(path);
    if (status != MCL_OK || count == CLASSES) return status;
    data->class_names = mcl__arena_alloc(&data->arena, CLASSES * sizeof *data->class_names);
    if (!data->class_names) return mcl__data_no_memory(data, error);
    memcpy(data->class_names, class_names, sizeof class_names);
    return MCL_OK;
}

mcl_status mcl__cifar_load(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error)
{
    size_t capacity = 0;
    data->info.format = MCL_DATA_CIFAR10;
    data->info.height = data->info.width = SIDE;
    data->info.channels = CHANNELS;
    data->info.classes = CLASSES;
    MCL_TRY(read_part(data, &capacity, MCL_PART_TRAIN, options->train_files, options->train_file_count, "data_batch", error));
    MCL_TRY(read_part(data, &capacity, MCL_PART_TEST, options->test_files, options->test_file_count, "test_batch", error));
    return name_classes(data, error);
}
