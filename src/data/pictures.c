/* Pictures in one folder a class: finding them, and decoding them when opening or when asked. */
#include "base/file.h"
#include "data/dataset.h"
#include "data/listing.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

bool mcl__is_picture(const char *path)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png"};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0) return true;
    return false;
}

/* A scan in progress: arrays of the data set that grow together. */
struct scan { mcl_dataset *data; size_t file_capacity, label_capacity, part_capacity; int64_t ignored; };

static mcl_status add_picture(struct scan *scan, const char *path, int label, mcl_part part, mcl_error *error)
{
    mcl_dataset *data = scan->data;
    size_t i = (size_t)data->info.count;
    if (i == INT32_MAX) return mcl__fail(error, MCL_ERROR_FORMAT, "%s: too many pictures", data->path);
    if (!mcl__grow(&data->files, &scan->file_capacity, i + 1, sizeof *data->files) ||
        !mcl__grow(&data->labels, &scan->label_capacity, i + 1, sizeof *data->labels) ||
        !mcl__grow(&data->found_part, &scan->part_capacity, i + 1, 1) ||
        !(data->files[i] = mcl__arena_copy(&data->arena, path, strlen(path)))) return mcl__data_no_memory(data, error);
    data->labels[i] = label;
    data->found_part[i] = (uint8_t)part;
    data->info.count++;
    return MCL_OK;
}

static mcl_status scan_class(struct scan *scan, const char *folder, int label, mcl_part part, mcl_error *error)
{
    mcl__listing found = {0};
    int before = scan->data->info.count;
    mcl_status status = mcl__listing_read(folder, &found, error);
    for (size_t i = 0; status == MCL_OK && i < found.file_count; i++) {
        if (mcl__is_picture(found.files[i])) status = add_picture(scan, found.files[i], label, part, error);
        else scan->ignored++;
    }
    scan->ignored += (int64_t)found.folder_count;
    if (status == MCL_OK && scan->data->info.count == before && part == MCL_PART_TRAIN)
        status = mcl__fail(error, MCL_ERROR_FORMAT, "%s: the class folder has no pictures (JPEG or PNG)", folder);
    mcl__listing_free(&found);
    return status;
}

static mcl_status name_classes(mcl_dataset *data, const char *path, const mcl__listing *found, mcl_error *error)
{
    if (found->folder_count < 2)
        return mcl__fail(error, MCL_ERROR_FORMAT, "%s: expected IDX files, CIFAR-10 batches, or at least two folders of pictures "
                         "(one a class); found %zu folders and %zu files", path, found->folder_count, found->file_count);
    if (found->folder_count > MCL__MAX_CLASSES)
        return mcl__fail(error, MCL_ERROR_FORMAT, "%s: %zu class folders are too many", path, found->folder_count);
    data->info.classes = (int)found->folder_count;
    data->class_names = mcl__arena_alloc(&data->arena, found->folder_count * sizeof *data->class_names);
    if (!data->class_names) return mcl__data_no_memory(data, error);
    for (size_t i = 0; i < found->folder_count; i++) {
        const char *name = mcl__last_name(found->folders[i]);
        if (!(data->class_names[i] = mcl__arena_copy(&data->arena, name, strlen(name)))) return mcl__data_no_memory(data, error);
    }
    return MCL_OK;
}

static int find_class(const mcl_dataset *data, const char *name)
{
    for (int c = 0; c < data->info.classes; c++)
        if (strcmp(data->class_names[c], name) == 0) return c;
    return -1;
}

/* All class folders in `path`. The first scan names the classes, later ones must keep to them. */
static mcl_status scan_part(struct scan *scan, const char *path, mcl_part part, mcl_error *error)
{
    mcl__listing found = {0};
    mcl_dataset *data = scan->data;
    mcl_status status = mcl__listing_read(path, &found, error);
    if (status == MCL_OK && !data->class_names) status = name_classes(data, path, &found, error);
    for (size_t i = 0; status == MCL_OK && i < found.folder_count; i++) {
        int label = find_class(data, mcl__last_name(found.folders[i]));
        if (label < 0)
            status = mcl__fail(error, MCL_ERROR_FORMAT, "%s: there is no such class among the training pictures", found.folders[i]);
        else status = scan_class(scan, found.folders[i], label, part, error);
    }
    scan->ignored += (int64_t)found.file_count;
    mcl__listing_free(&found);
    return status;
}

static const struct { const char *name; mcl_part part; } part_names[] = {
    {"train", MCL_PART_TRAIN}, {"training", MCL_PART_TRAIN}, {"val", MCL_PART_VALIDATION}, {"valid", MCL_PART_VALIDATION},
    {"validation", MCL_PART_VALIDATION}, {"test", MCL_PART_TEST}, {"testing", MCL_PART_TEST},
};
enum { PART_NAMES = sizeof part_names / sizeof *part_names };

static bool has_name(const char *path, int n) { return strcasecmp(mcl__last_name(path), part_names[n].name) == 0; }

/* Whether there are folders for the parts: a training folder that has folders itself (a class could be called "train"). */
static bool has_parts(const mcl__listing *found)
{
    bool parts = false;
    for (size_t i = 0; i < found->folder_count && !parts; i++)
        for (int n = 0; n < PART_NAMES; n++) {
            mcl__listing inner = {0};
            if (part_names[n].part != MCL_PART_TRAIN || !has_name(found->folders[i], n)) continue;
            if (mcl__listing_read(found->folders[i], &inner, NULL) == MCL_OK) parts = inner.folder_count > 0;
            mcl__listing_free(&inner);
        }
    return parts;
}

static mcl_status scan_parts(struct scan *scan, const mcl__listing *found, mcl_error *error)
{
    for (int part = 0; part < MCL_PARTS; part++)
        for (size_t i = 0; i < found->folder_count; i++)
            for (int n = 0; n < PART_NAMES; n++)
                if ((int)part_names[n].part == part && has_name(found->folders[i], n))
                    MCL_TRY(scan_part(scan, found->folders[i], (mcl_part)part, error));
    return MCL_OK;
}

mcl_status mcl__pictures_scan(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error)
{
    struct scan scan = {.data = data};
    mcl__listing found = {0};
    data->info.format = MCL_DATA_PICTURES;
    data->info.height = options->height;
    data->info.width = options->width;
    data->info.channels = options->channels;
    data->info.resize = options->resize;
    mcl_status status = mcl__listing_read(data->path, &found, error);
    if (status == MCL_OK)
        status = has_parts(&found) ? scan_parts(&scan, &found, error) : scan_part(&scan, data->path, MCL_PART_TRAIN, error);
    mcl__listing_free(&found);
    if (status == MCL_OK && scan.ignored)
        mcl__log(MCL_LOG_INFO, "%s: %lld files or folders that are no pictures in a class folder were ignored", data->path,
                 (long long)scan.ignored);
    return status;
}

mcl_status mcl__pictures_get(mcl_dataset *data, int sample, uint8_t *target, mcl_error *error)
{
    const mcl_dataset_info *info = &data->info;
    if (data->cache && mcl__picture_cache_get(data->cache, data->slots[sample], data->keys[sample], target)) return MCL_OK;
    MCL_TRY(mcl__picture_load(data->files[sample], info->height, info->width, info->channels, info->resize, target, error));
    if (data->cache) mcl__picture_cache_put(data->cache, data->slots[sample], data->keys[sample], target);
    return MCL_OK;
}

/* The cache's name stands for the folder and the options, a picture's key for its path, size and time too. */
static mcl_status open_cache(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error)
{
    if (!options->cache) return MCL_OK;
    const mcl_dataset_info *info = &data->info;
    char *real = realpath(data->path, NULL);
    const char *root = real ? real : data->path;
    uint32_t shape[5] = {1 /* version */, (uint32_t)info->height, (uint32_t)info->width, (uint32_t)info->channels,
                         (uint32_t)info->resize};
    uint64_t seed = XXH64(root, strlen(root), XXH64(shape, sizeof shape, 0));
    free(real);
    size_t count = (size_t)info->count;
    char name[64];
    snprintf(name, sizeof name, "pictures-%016llx.cache", (unsigned long long)seed);
    data->keys = calloc(count, sizeof *data->keys);
    data->slots = calloc(count, sizeof *data->slots);
    if (!data->keys || !data->slots) return mcl__data_no_memory(data, error);
    for (size_t i = 0; i < count; i++) {
        mcl__file_info about = {0};
        mcl__file_stat(data->files[i], &about, NULL); /* what is not there will not decode either */
        uint64_t file[3] = {about.bytes, (uint64_t)about.seconds, (uint64_t)about.nanoseconds};
        const char *below_root = data->files[i] + strlen(data->path);
        data->keys[i] = XXH64(below_root, strlen(below_root), XXH64(file, sizeof file, seed));
    }
    data->cache = mcl__picture_cache_open(options->cache, name, data->sample_bytes, options->cache_bytes);
    if (data->cache && !mcl__picture_cache_assign(data->cache, data->keys, info->count, data->slots))
        return mcl__data_no_memory(data, error);
    return MCL_OK;
}

/* Decoding everything: into memory, or (streaming) only to see whether it can be done. */
struct opening { mcl_dataset *data; bool skip; char **reasons; /* (count) why a picture is to be left out */ };

static mcl_status open_one(void *user, int index, mcl_error *error)
{
    struct opening *opening = user;
    mcl_dataset *data = opening->data;
    uint8_t *scratch = data->pixels ? NULL : malloc(data->sample_bytes);
    if (!data->pixels && !scratch) return mcl__data_no_memory(data, error);
    mcl_status status = mcl__pictures_get(data, index, data->pixels ? data->pixels + (size_t)index * data->sample_bytes : scratch,
                                          error);
    free(scratch);
    if (status == MCL_OK || status == MCL_ERROR_MEMORY || !opening->skip) return status;
    opening->reasons[index] = strdup(error->text);
    if (!opening->reasons[index]) return mcl__data_no_memory(data, error);
    *error = (mcl_error){0};
    return MCL_OK;
}

void mcl__pictures_keep_parts(mcl_dataset *data)
{
    int kept = 0;
    for (int i = 0; i < data->info.count; i++) {
        if (data->found_part[i] >= MCL_PARTS) continue;
        data->files[kept] = data->files[i];
        data->labels[kept] = data->labels[i];
        data->found_part[kept] = data->found_part[i];
        if (data->keys) data->keys[kept] = data->keys[i], data->slots[kept] = data->slots[i];
        if (data->pixels && kept != i)
            memcpy(data->pixels + (size_t)kept * data->sample_bytes, data->pixels + (size_t)i * data->sample_bytes,
                   data->sample_bytes);
        kept++;
    }
    data->info.count = kept;
}

static void leave_out(mcl_dataset *data, char **reasons)
{
    for (int i = 0; i < data->info.count; i++) {
        if (!reasons[i]) continue;
        mcl__log(MCL_LOG_WARNING, "left out: %s", reasons[i]);
        data->found_part[i] = MCL_PARTS;
        data->info.skipped++;
    }
    mcl__pictures_keep_parts(data);
}

static mcl_status check_classes(mcl_dataset *data, mcl_error *error)
{
    int empty = -1;
    bool *seen = calloc((size_t)data->info.classes, sizeof *seen);
    if (!seen) return mcl__data_no_memory(data, error);
    for (int i = 0; i < data->info.count; i++)
        if (data->found_part[i] == MCL_PART_TRAIN) seen[data->labels[i]] = true;
    for (int c = data->info.classes - 1; c >= 0; c--)
        if (!seen[c]) empty = c;
    free(seen);
    if (empty < 0) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_FORMAT, "%s: no picture of class %s can be read", data->path, data->class_names[empty]);
}

mcl_status mcl__pictures_prepare(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error)
{
    struct opening opening = {.data = data, .skip = options->skip_unreadable};
    size_t count = (size_t)data->info.count, bytes;
    if (!mcl__size_multiply(count, data->sample_bytes, &bytes)) return mcl__data_no_memory(data, error);
    MCL_TRY(open_cache(data, options, error));
    if (!options->stream && bytes <= options->memory_bytes) {
        data->pixels = malloc(bytes); /* where there is no memory it streams */
    }
    if (!data->pixels && !opening.skip) return MCL_OK;
    opening.reasons = calloc(count, sizeof *opening.reasons);
    if (!opening.reasons) return mcl__data_no_memory(data, error);
    mcl_status status = mcl__pool_run(data->pool, data->info.count, open_one, &opening, error);
    if (status == MCL_OK && opening.skip) {
        leave_out(data, opening.reasons);
        status = check_classes(data, error);
    }
    for (size_t i = 0; i < count; i++) free(opening.reasons[i]);
    free(opening.reasons);
    return status;
}
