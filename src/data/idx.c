/* The IDX format of MNIST and its relatives: a big-endian header (magic, one size an axis), then bytes. */
#include "base/file.h"
#include "data/dataset.h"
#include "data/gz.h"
#include <stdlib.h>
#include <string.h>

enum { PICTURES, LABELS, KINDS };
static const uint32_t magics[KINDS] = {0x803, 0x801};
static const int axes[KINDS] = {3, 1};
static const char *const kind_names[KINDS] = {"pictures", "labels"};

/* One part: its two files, opened and their headers read. */
struct source {
    char *path[KINDS];
    mcl__gz *file[KINDS];
    uint32_t shape[KINDS][3]; /* (count, height, width) and (count) */
};

/* PREFIX-images-idx3-ubyte, in the spellings that unpackers make of it. NULL: not there. */
static char *find_file(const char *folder, const char *prefix, int kind)
{
    static const char *const spellings[KINDS][2] = {{"images-idx3-ubyte", "images.idx3-ubyte"},
                                                    {"labels-idx1-ubyte", "labels.idx1-ubyte"}};
    for (int i = 0; i < 4; i++) {
        char *path = mcl__text("%s/%s-%s%s", folder, prefix, spellings[kind][i / 2], i % 2 ? ".gz" : "");
        if (path && mcl__file_exists(path)) return path;
        free(path);
    }
    return NULL;
}

bool mcl__idx_detect(const char *folder)
{
    bool found = false;
    for (int kind = 0; kind < KINDS; kind++) {
        char *path = find_file(folder, "train", kind);
        if (path) found = true;
        free(path);
    }
    return found;
}

static void close_source(struct source *source)
{
    for (int kind = 0; kind < KINDS; kind++) {
        mcl__gz_close(source->file[kind]);
        free(source->path[kind]);
    }
}

static mcl_status read_header(struct source *source, int kind, mcl_error *error)
{
    unsigned char header[16];
    const char *path = source->path[kind];
    int words = 1 + axes[kind];
    MCL_TRY(mcl__gz_open(path, &source->file[kind], error));
    MCL_TRY(mcl__gz_read(source->file[kind], header, (size_t)words * 4, error));
    uint32_t values[4] = {0};
    for (int i = 0; i < words; i++)
        for (int k = 0; k < 4; k++) values[i] = values[i] << 8 | header[4 * i + k];
    if (values[0] != magics[kind])
        return mcl__fail(error, MCL_ERROR_FORMAT, "%s: not an IDX file of %s: it begins with 0x%08x, not 0x%08x", path,
                         kind_names[kind], values[0], magics[kind]);
    memcpy(source->shape[kind], values + 1, (size_t)axes[kind] * 4);
    return MCL_OK;
}

static mcl_status check_shape(const struct source *source, mcl_error *error)
{
    const uint32_t *shape = source->shape[PICTURES];
    const char *path = source->path[PICTURES];
    if (shape[0] != source->shape[LABELS][0])
        return mcl__fail(error, MCL_ERROR_FORMAT, "%s has %u pictures, but %s has %u labels", path, shape[0], source->path[LABELS],
                         source->shape[LABELS][0]);
    if (shape[0] == 0 || shape[0] > INT32_MAX || shape[1] == 0 || shape[1] > MCL__MAX_SIDE || shape[2] == 0 ||
        shape[2] > MCL__MAX_SIDE)
        return mcl__fail(error, MCL_ERROR_FORMAT, "%s: impossible size: %u pictures of %u x %u", path, shape[0], shape[1],
                         shape[2]);
    uint64_t claimed = (uint64_t)shape[0] * shape[1] * shape[2];
    if (claimed > mcl__gz_most_bytes(source->file[PICTURES]))
        return mcl__fail(error, MCL_ERROR_FORMAT, "%s: the file is truncated: %u pictures of %u x %u do not fit in it", path,
                         shape[0], shape[1], shape[2]);
    return MCL_OK;
}

/* *found is false when the part is not there at all; one of its files without the other is an error. */
static mcl_status open_source(const char *folder, const char *prefix, struct source *source, bool *found, mcl_error *error)
{
    for (int kind = 0; kind < KINDS; kind++) source->path[kind] = find_file(folder, prefix, kind);
    *found = source->path[PICTURES] || source->path[LABELS];
    if (!*found) return MCL_OK;
    for (int kind = 0; kind < KINDS; kind++)
        if (!source->path[kind])
            return mcl__fail(error, MCL_ERROR_FORMAT, "%s: there is %s, but no file of its %s", folder, source->path[1 - kind],
                             kind_names[kind]);
    for (int kind = 0; kind < KINDS; kind++) MCL_TRY(read_header(source, kind, error));
    return check_shape(source, error);
}

static mcl_status read_labels(mcl_dataset *data, struct source *source, int32_t first, mcl_error *error)
{
    uint32_t count = source->shape[LABELS][0];
    uint8_t *bytes = malloc(count);
    if (!bytes) return mcl__data_no_memory(data, error);
    mcl_status status = mcl__gz_read(source->file[LABELS], bytes, count, error);
    if (status == MCL_OK) status = mcl__gz_expect_end(source->file[LABELS], error);
    for (uint32_t i = 0; status == MCL_OK && i < count; i++) data->labels[(uint32_t)first + i] = bytes[i];
    free(bytes);
    return status;
}

/* Every label must be a class; without names the training labels say how many there are, and none of them may be a
 * stray: each but 0 up to the largest has pictures. */
static mcl_status name_classes(mcl_dataset *data, const struct source *sources, int32_t train_count, mcl_error *error)
{
    int seen[256] = {0}, largest = 0, classes = 0;
    for (int32_t i = 0; i < train_count; i++) {
        seen[data->labels[i]]++;
        if (data->labels[i] > largest) largest = data->labels[i];
    }
    char *path = mcl__text("%s/classes.txt", data->path);
    if (!path) return mcl__data_no_memory(data, error);
    mcl_status status = mcl__class_names_read(data, path, 256, &classes, error);
    free(path);
    if (status != MCL_OK) return status;
    if (classes == 0) {
        classes = largest + 1;
        for (int i = 1; i < largest; i++)
            if (!seen[i]) return mcl__fail(error, MCL_ERROR_FORMAT, "%s: label %d out of range: no picture has label %d",
                                           sources[0].path[LABELS], largest, i);
        MCL_TRY(mcl__class_names_count(data, classes, error));
    }
    data->info.classes = classes;
    for (int32_t i = 0; i < data->info.count; i++)
        if (data->labels[i] >= classes)
            return mcl__fail(error, MCL_ERROR_FORMAT, "%s: label %d of picture %d is out of range: there are %d classes",
                             sources[i >= train_count].path[LABELS], data->labels[i],
                             i >= train_count ? i - train_count : i, classes);
    return MCL_OK;
}

static mcl_status read_parts(mcl_dataset *data, struct source *sources, int parts, mcl_error *error)
{
    const uint32_t *shape = sources[0].shape[PICTURES];
    uint64_t count = shape[0];
    if (parts == 2) {
        const uint32_t *test = sources[1].shape[PICTURES];
        count += test[0];
        if (test[1] != shape[1] || test[2] != shape[2])
            return mcl__fail(error, MCL_ERROR_FORMAT, "%s has pictures of %u x %u, but %s of %u x %u", sources[0].path[PICTURES],
                             shape[1], shape[2], sources[1].path[PICTURES], test[1], test[2]);
    }
    if (count > INT32_MAX) return mcl__fail(error, MCL_ERROR_FORMAT, "%s: too many pictures", data->path);
    data->info.format = MCL_DATA_IDX;
    data->info.count = (int)count;
    data->info.height = (int)shape[1];
    data->info.width = (int)shape[2];
    data->info.channels = 1;
    size_t bytes, each = (size_t)shape[1] * shape[2], done = 0;
    if (mcl__size_multiply(count, each, &bytes)) data->pixels = malloc(bytes);
    data->labels = calloc(count, sizeof *data->labels);
    data->found_part = calloc(count, 1);
    if (!data->pixels || !data->labels || !data->found_part) return mcl__data_no_memory(data, error);
    for (int p = 0; p < parts; p++) {
        uint32_t samples = sources[p].shape[PICTURES][0];
        MCL_TRY(read_labels(data, &sources[p], (int32_t)done, error));
        MCL_TRY(mcl__gz_read(sources[p].file[PICTURES], data->pixels + done * each, samples * each, error));
        MCL_TRY(mcl__gz_expect_end(sources[p].file[PICTURES], error));
        memset(data->found_part + done, p ? MCL_PART_TEST : MCL_PART_TRAIN, samples);
        done += samples;
    }
    return name_classes(data, sources, (int32_t)shape[0], error);
}

mcl_status mcl__idx_load(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error)
{
    (void)options;
    struct source sources[2] = {0};
    bool train, test;
    mcl_status status = open_source(data->path, "train", &sources[0], &train, error);
    if (status == MCL_OK && !train)
        status = mcl__fail(error, MCL_ERROR_NOT_FOUND, "%s: there is no train-images-idx3-ubyte or train-images-idx3-ubyte.gz",
                           data->path);
    if (status == MCL_OK) status = open_source(data->path, "t10k", &sources[1], &test, error);
    if (status == MCL_OK && !test) status = open_source(data->path, "test", &sources[1], &test, error);
    if (status == MCL_OK) status = read_parts(data, sources, test ? 2 : 1, error);
    close_source(&sources[0]);
    close_source(&sources[1]);
    return status;
}
