/* Opening a data set of any format, and reading its samples. */
#include "data/dataset.h"
#include "base/file.h"
#include "base/json.h"
#include "base/machine.h"
#include <stdlib.h>
#include <string.h>

mcl_status mcl__data_no_memory(const mcl_dataset *data, mcl_error *error)
{
    return mcl__fail(error, MCL_ERROR_MEMORY, "%s: not enough memory for the data set (%d pictures of %d x %d x %d)", data->path,
                     data->info.count, data->info.height, data->info.width, data->info.channels);
}

mcl_status mcl__class_names_read(mcl_dataset *data, const char *path, int limit, int *count, mcl_error *error)
{
    char *text;
    size_t bytes;
    *count = 0;
    if (!mcl__file_exists(path)) return MCL_OK;
    MCL_TRY(mcl__file_read(path, 1 << 20, &text, &bytes, error));
    mcl_status status = MCL_OK;
    data->class_names = mcl__arena_alloc(&data->arena, (size_t)limit * sizeof *data->class_names);
    if (!data->class_names) status = mcl__data_no_memory(data, error);
    char *rest = text;
    for (char *line; status == MCL_OK && (line = strsep(&rest, "\n"));) {
        line[strcspn(line, "\r")] = 0;
        if (!*line) continue;
        if (*count == limit) status = mcl__fail(error, MCL_ERROR_FORMAT, "%s: more than %d names of classes", path, limit);
        else if (!(data->class_names[(*count)++] = mcl__arena_copy(&data->arena, line, strlen(line))))
            status = mcl__data_no_memory(data, error);
    }
    free(text);
    return status;
}

mcl_status mcl__class_names_count(mcl_dataset *data, int count, mcl_error *error)
{
    data->class_names = mcl__arena_alloc(&data->arena, (size_t)count * sizeof *data->class_names);
    for (int c = 0; data->class_names && c < count; c++)
        if (!(data->class_names[c] = mcl__arena_text(&data->arena, "%d", c))) return mcl__data_no_memory(data, error);
    return data->class_names ? MCL_OK : mcl__data_no_memory(data, error);
}

/* Fills in defaults and refuses nonsense. */
static mcl_status resolve(const char *path, mcl_dataset_options *options, mcl_error *error)
{
    if (options->height == 0) options->height = options->width ? options->width : 64;
    if (options->width == 0) options->width = options->height;
    if (options->channels == 0) options->channels = 3;
    if (options->cache_bytes == 0) options->cache_bytes = UINT64_C(4) << 30;
    if (options->memory_bytes == 0) options->memory_bytes = mcl__usable_memory() / 2;
    const char *wrong = NULL;
    if (options->height < 1 || options->height > MCL__MAX_SIDE || options->width < 1 || options->width > MCL__MAX_SIDE)
        wrong = "height and width must be from 1 to 16384";
    else if (options->channels != 1 && options->channels != 3) wrong = "channels must be 1 or 3";
    else if (!(options->validation >= 0 && options->validation < 1) || !(options->test >= 0 && options->test < 1))
        wrong = "the fractions for validation and test must be at least 0 and less than 1";
    else if (options->limit < 0 || options->threads < 0 || options->train_file_count < 0 || options->test_file_count < 0)
        wrong = "counts may not be negative";
    else if ((unsigned)options->format > MCL_DATA_PICTURES) wrong = "there is no such format";
    return wrong ? mcl__fail(error, MCL_ERROR_INVALID, "%s: %s", path, wrong) : MCL_OK;
}

static mcl_data_format detect(const char *path)
{
    return mcl__idx_detect(path) ? MCL_DATA_IDX : mcl__cifar_detect(path) ? MCL_DATA_CIFAR10 : MCL_DATA_PICTURES;
}

/* They go into checkpoints, predictions and reports, which are JSON. */
static mcl_status check_class_names(const mcl_dataset *data, mcl_error *error)
{
    for (int c = 0; c < data->info.classes; c++)
        if (!mcl__json_carries(data->class_names[c]))
            return mcl__fail(error, MCL_ERROR_FORMAT, "%s: the name of class %d, \"%s\", is not UTF-8: rename it", data->path, c,
                             data->class_names[c]);
    return MCL_OK;
}

/* Names that nothing would read are a mistake. */
static mcl_status check_files(const char *path, const mcl_dataset_options *options, mcl_data_format format, mcl_error *error)
{
    if (format == MCL_DATA_CIFAR10 || options->train_file_count + options->test_file_count == 0) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_INVALID,
                     "%s: train_files and test_files choose among CIFAR-10's batches, but this is a folder of %s: leave them out",
                     path, format == MCL_DATA_IDX ? "IDX files" : "pictures");
}

static mcl_status load(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error)
{
    static mcl_status (*const loaders[])(mcl_dataset *, const mcl_dataset_options *, mcl_error *) = {
        [MCL_DATA_IDX] = mcl__idx_load, [MCL_DATA_CIFAR10] = mcl__cifar_load, [MCL_DATA_PICTURES] = mcl__pictures_scan,
    };
    mcl_data_format format = options->format == MCL_DATA_AUTO ? detect(data->path) : options->format;
    MCL_TRY(check_files(data->path, options, format, error));
    MCL_TRY(loaders[format](data, options, error));
    MCL_TRY(check_class_names(data, error));
    data->sample_bytes = (size_t)data->info.height * data->info.width * data->info.channels;
    if (data->files && options->skip_unreadable) MCL_TRY(mcl__pictures_prepare(data, options, error));
    MCL_TRY(mcl__split(data, options, error));
    if (data->files && !options->skip_unreadable) {
        mcl__pictures_keep_parts(data); /* what is beyond the limit is not decoded */
        MCL_TRY(mcl__pictures_prepare(data, options, error));
    }
    return mcl__list_parts(data, error);
}

/* Without a slash at its end, so that messages and names below it read well. */
static char *trimmed(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    return strndup(path, length);
}

mcl_status mcl_dataset_open(const char *path, const mcl_dataset_options *given, mcl_dataset **result, mcl_error *error)
{
    mcl_dataset_options options = given ? *given : (mcl_dataset_options){0};
    if (!path || !*path || !result) return mcl__fail(error, MCL_ERROR_INVALID, "mcl_dataset_open needs a folder");
    MCL_TRY(resolve(path, &options, error));
    mcl__file_info about;
    MCL_TRY(mcl__file_stat(path, &about, error));
    if (!about.folder) return mcl__fail(error, MCL_ERROR_FORMAT, "%s: a data set is a folder, this is a file", path);
    mcl_dataset *data = calloc(1, sizeof *data);
    if (!data || !(data->path = trimmed(path))) {
        free(data);
        return mcl__fail(error, MCL_ERROR_MEMORY, "%s: no memory", path);
    }
    data->stream = options.stream;
    mcl_status status = mcl__pool_create(options.threads, &data->pool, error);
    if (status == MCL_OK) status = load(data, &options, error);
    free(data->found_part);
    data->found_part = NULL;
    if (status == MCL_OK) *result = data;
    else mcl_dataset_close(data);
    return status;
}

void mcl_dataset_close(mcl_dataset *data)
{
    if (!data) return;
    mcl__pool_destroy(data->pool);
    mcl__picture_cache_close(data->cache);
    for (int part = 0; part < MCL_PARTS; part++) free(data->part[part]);
    free(data->path);
    free(data->labels);
    free(data->found_part);
    free(data->pixels);
    free(data->files);
    free(data->keys);
    free(data->slots);
    mcl__arena_clear(&data->arena);
    free(data);
}

const mcl_dataset_info *mcl_dataset_get_info(const mcl_dataset *data) { return &data->info; }

const char *mcl_dataset_class_name(const mcl_dataset *data, int index)
{
    return index >= 0 && index < data->info.classes ? data->class_names[index] : NULL;
}

int mcl_dataset_label(const mcl_dataset *data, int sample)
{
    return sample >= 0 && sample < data->info.count ? data->labels[sample] : -1;
}

const char *mcl_dataset_file(const mcl_dataset *data, int sample)
{
    return data->files && sample >= 0 && sample < data->info.count ? data->files[sample] : NULL;
}

const int32_t *mcl_dataset_part(const mcl_dataset *data, mcl_part part, int *count)
{
    bool there = (unsigned)part < MCL_PARTS;
    *count = there ? data->info.part_count[part] : 0;
    return there ? data->part[part] : NULL;
}

mcl_status mcl__dataset_part(const mcl_dataset *data, mcl_part part, const int32_t **samples, int *count)
{
    *samples = mcl_dataset_part(data, part, count);
    return *samples ? MCL_OK : MCL_ERROR_INVALID;
}

const uint8_t *mcl__dataset_pixels(const mcl_dataset *data) { return data->stream ? NULL : data->pixels; }
const int32_t *mcl__dataset_labels(const mcl_dataset *data) { return data->labels; }

struct fetch { mcl_dataset *data; const int32_t *samples; uint8_t *target; };

static mcl_status fetch_one(void *user, int index, mcl_error *error)
{
    const struct fetch *fetch = user;
    return mcl__pictures_get(fetch->data, fetch->samples[index], fetch->target + (size_t)index * fetch->data->sample_bytes, error);
}

mcl_status mcl__dataset_fetch(mcl_dataset *data, const int32_t *samples, int count, uint8_t *target, mcl_error *error)
{
    for (int i = 0; i < count; i++)
        if (samples[i] < 0 || samples[i] >= data->info.count)
            return mcl__fail(error, MCL_ERROR_INVALID, "there is no sample %d: the data set has %d", samples[i], data->info.count);
    struct fetch fetch = {.data = data, .samples = samples, .target = target};
    if (!data->pixels) return mcl__pool_run(data->pool, count, fetch_one, &fetch, error);
    for (int i = 0; i < count; i++)
        memcpy(target + (size_t)i * data->sample_bytes, data->pixels + (size_t)samples[i] * data->sample_bytes, data->sample_bytes);
    return MCL_OK;
}

mcl_status mcl_dataset_read(mcl_dataset *data, const int32_t *samples, int count, uint8_t *target, mcl_error *error)
{
    return mcl__dataset_fetch(data, samples, count, target, error);
}
