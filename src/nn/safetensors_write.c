/* Writing safetensors: tensors are collected, laid out with the largest elements first so that all are aligned, and
 * written in one atomic step. */
#include "nn/safetensors.h"
#include "base/arena.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t element_bytes[] = {
#define X(name, bytes) bytes,
    MCL__SAFETENSORS_DTYPES(X)
#undef X
};

typedef struct entry { mcl__safetensors_tensor tensor; uint64_t offset; } entry;

struct mcl__safetensors_writer {
    mcl__arena arena; /* names and data */
    entry *entry;
    size_t entries, capacity;
    json_t *metadata;
    mcl_error error;
};

mcl_status mcl__safetensors_writer_create(mcl__safetensors_writer **writer, mcl_error *error)
{
    *writer = calloc(1, sizeof **writer);
    if (*writer) (*writer)->metadata = json_object();
    if (*writer && (*writer)->metadata) {
        /* First, so that its digits are the first of that form in the header. */
        json_object_set_new((*writer)->metadata, "xxh64", json_string("0000000000000000"));
        json_object_set_new((*writer)->metadata, "writer", json_string("monocle " MONOCLE_VERSION));
        return MCL_OK;
    }
    free(*writer);
    *writer = NULL;
    return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for writing tensors");
}

void mcl__safetensors_writer_destroy(mcl__safetensors_writer *writer)
{
    if (!writer) return;
    mcl__arena_clear(&writer->arena);
    json_decref(writer->metadata);
    free(writer->entry);
    free(writer);
}

void mcl__safetensors_writer_metadata(mcl__safetensors_writer *writer, const char *key, const char *text)
{
    if (json_object_get(writer->metadata, key))
        mcl__fail(&writer->error, MCL_ERROR_INVALID, "the metadata has \"%s\" twice", key);
    else if (json_object_set_new(writer->metadata, key, json_string(text)) != 0)
        mcl__fail(&writer->error, MCL_ERROR_INVALID, "the metadata \"%s\" is not UTF-8", key);
}

void mcl__safetensors_writer_add(mcl__safetensors_writer *writer, const char *name, mcl__safetensors_dtype dtype, int rank,
                                 const int64_t *shape, const void *data)
{
    if (writer->error.status != MCL_OK) return;
    assert(rank >= 0 && rank <= MCL__SAFETENSORS_RANK);
    mcl__safetensors_tensor tensor = {.dtype = dtype, .rank = rank, .bytes = element_bytes[dtype]};
    for (int i = 0; i < rank; i++) {
        tensor.shape[i] = shape[i];
        if (shape[i] < 0 || !mcl__size_multiply(tensor.bytes, (size_t)shape[i], &tensor.bytes)) {
            mcl__fail(&writer->error, MCL_ERROR_SHAPE, "tensor %s is too large for a file", name);
            return;
        }
    }
    char *copy = mcl__arena_alloc(&writer->arena, tensor.bytes + 1);
    tensor.name = mcl__arena_copy(&writer->arena, name, strlen(name));
    if (!copy || !tensor.name || !mcl__grow(&writer->entry, &writer->capacity, writer->entries + 1, sizeof *writer->entry)) {
        mcl__fail(&writer->error, MCL_ERROR_MEMORY, "no memory for tensor %s", name);
        return;
    }
    if (tensor.bytes) memcpy(copy, data, tensor.bytes);
    tensor.data = copy;
    writer->entry[writer->entries++] = (entry){.tensor = tensor};
}

/* Offsets by falling size of the elements, else in the order of adding. Returns the size of the data area. */
static uint64_t lay_out(mcl__safetensors_writer *writer)
{
    uint64_t at = 0;
    for (size_t size = 8; size > 0; size /= 2)
        for (size_t i = 0; i < writer->entries; i++) {
            entry *e = &writer->entry[i];
            if (element_bytes[e->tensor.dtype] != size) continue;
            e->offset = at;
            at += e->tensor.bytes;
        }
    return at;
}

static mcl_status add_to_header(json_t *header, const entry *e, mcl_error *error)
{
    json_t *shape = json_array();
    for (int i = 0; i < e->tensor.rank; i++) json_array_append_new(shape, json_integer(e->tensor.shape[i]));
    json_t *value = json_pack("{s:s, s:o, s:[I, I]}", "dtype", mcl__safetensors_dtype_name(e->tensor.dtype), "shape", shape,
                              "data_offsets", (json_int_t)e->offset, (json_int_t)(e->offset + e->tensor.bytes));
    if (json_object_get(header, e->tensor.name)) {
        json_decref(value);
        return mcl__fail(error, MCL_ERROR_INVALID, "tensor %s was added twice", e->tensor.name);
    }
    if (!value || json_object_set_new(header, e->tensor.name, value) != 0)
        return mcl__fail(error, MCL_ERROR_INVALID, "tensor %s: no memory, or a name that is not UTF-8", e->tensor.name);
    return MCL_OK;
}

/* The header's text, or NULL. */
static char *make_header(mcl__safetensors_writer *writer, mcl_error *error)
{
    json_t *header = json_object();
    char *text = NULL;
    if (!header || json_object_set(header, "__metadata__", writer->metadata) != 0) {
        mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the header");
        goto done;
    }
    for (size_t i = 0; i < writer->entries; i++)
        if (add_to_header(header, &writer->entry[i], error) != MCL_OK) goto done;
    text = json_dumps(header, JSON_COMPACT);
    if (!text) mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the header");
done:
    json_decref(header);
    return text;
}

/* The whole file in memory, checksum filled in; freed with free(). */
static char *assemble(mcl__safetensors_writer *writer, size_t *bytes, mcl_error *error)
{
    uint64_t area = lay_out(writer);
    char *header = make_header(writer, error), *file = NULL;
    if (!header) return NULL;
    size_t length = strlen(header), padded = (length + 7) / 8 * 8;
    *bytes = 8 + padded + area;
    file = malloc(*bytes);
    if (!file) {
        mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a file of %zu bytes", *bytes);
        goto done;
    }
    for (int i = 0; i < 8; i++) file[i] = (char)((uint64_t)padded >> 8 * i & 255);
    memset(file + 8, ' ', padded);
    memcpy(file + 8, header, length);
    for (size_t i = 0; i < writer->entries; i++)
        memcpy(file + 8 + padded + writer->entry[i].offset, writer->entry[i].tensor.data, writer->entry[i].tensor.bytes);
    char digits[17];
    snprintf(digits, sizeof digits, "%016" PRIx64, mcl__hash64(file, *bytes));
    memcpy(strstr(header, "0000000000000000") - header + 8 + file, digits, 16);
done:
    free(header);
    return file;
}

mcl_status mcl__safetensors_writer_write(mcl__safetensors_writer *writer, const char *path, mcl_error *error)
{
    mcl_error own = writer->error;
    size_t bytes = 0;
    char *file = own.status == MCL_OK ? assemble(writer, &bytes, &own) : NULL;
    mcl_status status = file ? mcl__file_write(path, file, bytes, error)
                             : mcl__fail(error, own.status, "cannot write %s: %s", path, own.text);
    free(file);
    mcl__safetensors_writer_destroy(writer);
    return status;
}
