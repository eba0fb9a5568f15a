/* Reading safetensors. The file is hostile until every number in it has been checked against its real size. */
#include "nn/safetensors.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_HEADER (UINT64_C(100) << 20) /* the reference reader's limit */
#define LARGEST_FILE (UINT64_C(1) << 40)

static const struct { const char *name; size_t bytes; } dtypes[] = {
#define X(name, bytes) {#name, bytes},
    MCL__SAFETENSORS_DTYPES(X)
#undef X
};
#define DTYPES (sizeof dtypes / sizeof *dtypes)

const char *mcl__safetensors_dtype_name(mcl__safetensors_dtype dtype)
{
    return dtypes[dtype].name;
}

typedef struct span { const char *name; uint64_t begin, end; } span;

static mcl_status bad(const mcl__safetensors *file, mcl_error *error, const char *tensor, const char *what)
{
    return mcl__fail(error, MCL_ERROR_FORMAT, "%s: tensor %.200s: %s", file->path, tensor, what);
}

/* [begin, end) of one tensor in the data area, from its own words. */
static mcl_status read_tensor(const mcl__safetensors *file, const char *name, const json_t *value, mcl__safetensors_tensor *tensor,
                              span *range, mcl_error *error)
{
    const json_t *shape = json_object_get(value, "shape"), *offsets = json_object_get(value, "data_offsets");
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    if (!dtype || !json_is_array(shape) || json_array_size(offsets) != 2 || json_object_size(value) != 3)
        return bad(file, error, name, "it needs dtype, shape and two data_offsets, and nothing else");
    size_t kind = 0;
    while (kind < DTYPES && strcmp(dtypes[kind].name, dtype)) kind++;
    if (kind == DTYPES) return bad(file, error, name, "its element type is not one of F32, F64, I32, I64, U8");
    if (json_array_size(shape) > MCL__SAFETENSORS_RANK) return bad(file, error, name, "it has too many dimensions");
    *tensor = (mcl__safetensors_tensor){.name = name, .dtype = (mcl__safetensors_dtype)kind, .rank = (int)json_array_size(shape)};
    uint64_t bytes = dtypes[kind].bytes;
    for (int i = 0; i < tensor->rank; i++) {
        const json_t *size = json_array_get(shape, (size_t)i);
        tensor->shape[i] = json_integer_value(size);
        if (!json_is_integer(size) || tensor->shape[i] < 0 ||
            __builtin_mul_overflow(bytes, (uint64_t)tensor->shape[i], &bytes))
            return bad(file, error, name, "its shape is not valid");
    }
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    *range = (span){name, (uint64_t)json_integer_value(begin), (uint64_t)json_integer_value(end)};
    if (!json_is_integer(begin) || !json_is_integer(end) || json_integer_value(begin) < 0 || json_integer_value(end) < 0 ||
        range->begin > range->end)
        return bad(file, error, name, "its data_offsets are not valid");
    if (range->end - range->begin != bytes) return bad(file, error, name, "its data_offsets do not fit its shape and type");
    tensor->bytes = (size_t)bytes;
    return MCL_OK;
}

static int by_begin(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* The format wants the data area covered: each tensor begins where the one before ends, the last where the file does. */
static mcl_status check_cover(const mcl__safetensors *file, span *ranges, size_t count, uint64_t area, mcl_error *error)
{
    uint64_t at = 0;
    qsort(ranges, count, sizeof *ranges, by_begin);
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].end > area) return bad(file, error, ranges[i].name, "it ends behind the end of the file (truncated?)");
        if (ranges[i].begin < at) return bad(file, error, ranges[i].name, "it overlaps another tensor");
        if (ranges[i].begin > at) return bad(file, error, ranges[i].name, "there is a hole before it");
        at = ranges[i].end;
    }
    if (at == area) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_FORMAT, "%s: %" PRIu64 " bytes after the last tensor", file->path, area - at);
}

static mcl_status check_metadata(const mcl__safetensors *file, json_t *metadata, mcl_error *error)
{
    const char *key;
    json_t *value;
    if (metadata && !json_is_object(metadata))
        return mcl__fail(error, MCL_ERROR_FORMAT, "%s: __metadata__ is no mapping", file->path);
    json_object_foreach(metadata, key, value)
        if (!json_is_string(value))
            return mcl__fail(error, MCL_ERROR_FORMAT, "%s: __metadata__ has something for \"%.100s\" that is no text",
                             file->path, key);
    return MCL_OK;
}

/* Ours have a checksum, and a writer that is us, so that the loss of either key is noticed. It was made with zeros in the place of
 * its digits, which is the first such place in the header. */
static mcl_status check_sum(const mcl__safetensors *file, size_t bytes, size_t header_bytes, mcl_error *error)
{
    static const char mark[] = "\"xxh64\":\"";
    const char *wanted = mcl__safetensors_metadata(file, "xxh64"), *writer = mcl__safetensors_metadata(file, "writer");
    if (!wanted && !(writer && strncmp(writer, "monocle ", 8) == 0)) return MCL_OK; /* another program's */
    char *digits = memmem((char *)file->bytes + 8, header_bytes, mark, sizeof mark - 1), kept[16], have[17];
    if (!wanted || !digits || (digits += sizeof mark - 1) + 16 > (char *)file->bytes + 8 + header_bytes)
        return mcl__fail(error, MCL_ERROR_FORMAT, "%s: its checksum is damaged", file->path);
    memcpy(kept, digits, sizeof kept);
    memset(digits, '0', sizeof kept);
    snprintf(have, sizeof have, "%016" PRIx64, mcl__hash64(file->bytes, bytes));
    memcpy(digits, kept, sizeof kept);
    if (!strcmp(have, wanted)) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_FORMAT, "%s: the file is damaged: its checksum is %s, but should be %.16s (a program that "
                     "changes it must leave \"xxh64\" and \"writer\" out of its metadata)", file->path, have, wanted);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const mcl__safetensors_tensor *)a)->name, ((const mcl__safetensors_tensor *)b)->name);
}

static mcl_status read_tensors(mcl__safetensors *file, uint64_t area, const char *data, mcl_error *error)
{
    size_t count = json_object_size(file->header), i = 0;
    mcl_status status = MCL_OK;
    span *ranges = calloc(count + 1, sizeof *ranges);
    file->tensor = calloc(count + 1, sizeof *file->tensor);
    const char *name;
    json_t *value;
    if (!ranges || !file->tensor) {
        status = mcl__fail(error, MCL_ERROR_MEMORY, "%s: no memory for %zu tensors", file->path, count);
        goto done;
    }
    json_object_foreach(file->header, name, value) {
        if (!strcmp(name, "__metadata__")) continue;
        MCL_TRY_DONE(read_tensor(file, name, value, &file->tensor[i], &ranges[i], error));
        /* The offsets are checked below, before anybody reads through the pointer. */
        file->tensor[i].data = ranges[i].end <= area ? data + ranges[i].begin : NULL;
        i++;
    }
    MCL_TRY_DONE(check_cover(file, ranges, i, area, error));
    file->tensors = (int)i;
    qsort(file->tensor, i, sizeof *file->tensor, by_name);
done:
    free(ranges);
    return status;
}

/* Takes `data`, freed with the file. */
static mcl_status parse(void *data, size_t bytes, mcl__safetensors *file, mcl_error *error)
{
    file->bytes = data;
    const unsigned char *start = data;
    uint64_t length = 0;
    if (bytes < 8) return mcl__fail(error, MCL_ERROR_FORMAT, "%s: too short for a safetensors file", file->path);
    for (int i = 0; i < 8; i++) length |= (uint64_t)start[i] << 8 * i;
    if (length > LARGEST_HEADER || length > bytes - 8 || length < 2 || start[8] != '{')
        return mcl__fail(error, MCL_ERROR_FORMAT, "%s: not a safetensors file, or cut short in its header", file->path);
    json_t *header;
    MCL_TRY(mcl__json_parse((const char *)start + 8, (size_t)length, file->path, &header, error));
    file->header = header;
    if (!json_is_object(header)) return mcl__fail(error, MCL_ERROR_FORMAT, "%s: the header is no mapping", file->path);
    MCL_TRY(check_metadata(file, json_object_get(header, "__metadata__"), error));
    MCL_TRY(read_tensors(file, bytes - 8 - length, (const char *)start + 8 + length, error));
    return check_sum(file, bytes, (size_t)length, error);
}

static mcl_status open_bytes(void *data, size_t bytes, const char *name, mcl__safetensors **file, mcl_error *error)
{
    mcl__safetensors *made = calloc(1, sizeof *made);
    if (made) made->path = strdup(name);
    if (!made || !made->path) {
        free(made);
        free(data);
        return mcl__fail(error, MCL_ERROR_MEMORY, "%s: no memory", name);
    }
    mcl_status status = parse(data, bytes, made, error);
    if (status == MCL_OK) *file = made;
    else mcl__safetensors_close(made);
    return status;
}

mcl_status mcl__safetensors_open(const char *path, mcl__safetensors **file, mcl_error *error)
{
    char *data;
    size_t bytes;
    *file = NULL;
    MCL_TRY(mcl__file_read(path, LARGEST_FILE, &data, &bytes, error));
    return open_bytes(data, bytes, path, file, error);
}

mcl_status mcl__safetensors_parse(const void *data, size_t bytes, const char *name, mcl__safetensors **file, mcl_error *error)
{
    *file = NULL;
    void *copy = malloc(bytes + 1);
    if (!copy) return mcl__fail(error, MCL_ERROR_MEMORY, "%s: no memory for %zu bytes", name, bytes);
    memcpy(copy, data, bytes);
    return open_bytes(copy, bytes, name, file, error);
}

void mcl__safetensors_close(mcl__safetensors *file)
{
    if (!file) return;
    json_decref(file->header);
    free(file->tensor);
    free(file->bytes);
    free((char *)file->path);
    free(file);
}

const mcl__safetensors_tensor *mcl__safetensors_find(const mcl__safetensors *file, const char *name)
{
    mcl__safetensors_tensor key = {.name = name};
    return bsearch(&key, file->tensor, (size_t)file->tensors, sizeof *file->tensor, by_name);
}

const char *mcl__safetensors_metadata(const mcl__safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}
