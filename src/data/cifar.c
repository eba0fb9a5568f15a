/* CIFAR-10, binary version: records of a label and 32 x 32 red, then green, then blue bytes. */
#include "data/dataset.h"
#include "data/gz.h"
#include "data/listing.h"
#include <stdlib.h>
#include <string.h>

enum { SIDE = 32, PLANE = SIDE * SIDE, CHANNELS = 3, RECORD = 1 + CHANNELS * PLANE, CLASSES = 10 };

static const char *const class_names[CLASSES] = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                                                 "truck"};

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* Whether the second is FIRST.gz, as `gunzip -k` leaves it beside FIRST. */
static bool twins(const char *first, const char *second)
{
    size_t length = strlen(first);
    return strncmp(first, second, length) == 0 && strcmp(second + length, ".gz") == 0;
}

/* PREFIX*.bin and PREFIX*.bin.gz of a folder, in byte order. NAME.gz is left out where NAME is there too: else every picture would
 * be there twice. */
static mcl_status list_files(const char *folder, const char *prefix, mcl__listing *found, mcl_error *error)
{
    size_t kept = 0;
    MCL_TRY(mcl__listing_read(folder, found, error));
    for (size_t i = 0; i < found->file_count; i++) {
        char *path = found->files[i];
        bool wanted = strncmp(mcl__last_name(path), prefix, strlen(prefix)) == 0 &&
                      (ends_with(path, ".bin") || ends_with(path, ".bin.gz"));
        for (size_t k = 0; k < kept && wanted; k++) wanted = !twins(found->files[k], path);
        if (wanted) found->files[kept++] = path;
        else free(path);
    }
    found->file_count = kept;
    return MCL_OK;
}

bool mcl__cifar_detect(const char *folder)
{
    mcl__listing found = {0};
    bool any = list_files(folder, "data_batch", &found, NULL) == MCL_OK && found.file_count > 0;
    mcl__listing_free(&found);
    return any;
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

static mcl_status read_file(mcl_dataset *data, size_t *capacity, const char *path, mcl_part part, mcl_error *error)
{
    mcl__gz *file = NULL;
    uint8_t record[RECORD];
    size_t got = 0, count = 0;
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
    return status;
}

static mcl_status read_named(mcl_dataset *data, size_t *capacity, const char *name, mcl_part part, mcl_error *error)
{
    char *path = mcl__text("%s/%s", data->path, name);
    if (!path) return mcl__data_no_memory(data, error);
    mcl_status status = read_file(data, capacity, path, part, error);
    free(path);
    return status;
}

static mcl_status read_found(mcl_dataset *data, size_t *capacity, const char *prefix, mcl_part part, mcl_error *error)
{
    mcl__listing found = {0};
    mcl_status status = list_files(data->path, prefix, &found, error);
    if (status == MCL_OK && found.file_count == 0 && part == MCL_PART_TRAIN)
        status = mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s: there is no data_batch_1.bin", data->path);
    for (size_t i = 0; i < found.file_count && status == MCL_OK; i++)
        status = read_file(data, capacity, found.files[i], part, error);
    mcl__listing_free(&found);
    return status;
}

static mcl_status read_part(mcl_dataset *data, size_t *capacity, mcl_part part, const char *const *names, int count,
                            const char *prefix, mcl_error *error)
{
    if (count == 0) return read_found(data, capacity, prefix, part, error);
    for (int i = 0; i < count; i++) MCL_TRY(read_named(data, capacity, names[i], part, error));
    return MCL_OK;
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
