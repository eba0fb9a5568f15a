/* The safetensors format: 8 bytes with the length of a JSON header (little endian), the header, the tensors' bytes.
 *   {"__metadata__": {"key": "text"}, "conv1.weight": {"dtype": "F32", "shape": [32, 1, 5, 5], "data_offsets": [0, 3200]}}
 * Ours carry in the metadata, as "xxh64", the XXH64 of the whole file with these 16 digits taken as zeros, and a
 * "writer" that begins with "monocle "; where either is there, readers want the checksum to be right.
 * Source: the format's description at github.com/huggingface/safetensors. */
#ifndef MCL_NN_SAFETENSORS_H
#define MCL_NN_SAFETENSORS_H
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(name, bytes): the element types read and written. */
#define MCL__SAFETENSORS_DTYPES(X) X(F32, 4) X(F64, 8) X(I32, 4) X(I64, 8) X(U8, 1)
typedef enum mcl__safetensors_dtype {
#define X(name, bytes) MCL__SAFETENSORS_##name,
    MCL__SAFETENSORS_DTYPES(X)
#undef X
} mcl__safetensors_dtype;

#define MCL__SAFETENSORS_RANK 8
typedef struct mcl__safetensors_tensor {
    const char *name;
    mcl__safetensors_dtype dtype;
    int rank;
    int64_t shape[MCL__SAFETENSORS_RANK];
    const void *data; /* not aligned: copy out with memcpy */
    size_t bytes;
} mcl__safetensors_tensor;

typedef struct mcl__safetensors {
    const char *path;
    mcl__safetensors_tensor *tensor; /* sorted by name */
    int tensors;
    /* private */
    void *bytes, *header;
} mcl__safetensors;

/* MCL_ERROR_NOT_FOUND, MCL_ERROR_IO; MCL_ERROR_FORMAT for everything that is wrong inside, with the path. */
mcl_status mcl__safetensors_open(const char *path, mcl__safetensors **file, mcl_error *error);
/* From memory, which is copied; name stands in messages. */
mcl_status mcl__safetensors_parse(const void *data, size_t bytes, const char *name, mcl__safetensors **file, mcl_error *error);
void mcl__safetensors_close(mcl__safetensors *file); /* NULL does nothing */
const mcl__safetensors_tensor *mcl__safetensors_find(const mcl__safetensors *file, const char *name); /* NULL: none */
const char *mcl__safetensors_metadata(const mcl__safetensors *file, const char *key);                 /* NULL: none */
const char *mcl__safetensors_dtype_name(mcl__safetensors_dtype dtype);

/* Collects copies of tensors, then writes the file in one atomic step. Errors are sticky: adding after a failure does
 * nothing, and write reports the first. */
typedef struct mcl__safetensors_writer mcl__safetensors_writer;
mcl_status mcl__safetensors_writer_create(mcl__safetensors_writer **writer, mcl_error *error);
void mcl__safetensors_writer_destroy(mcl__safetensors_writer *writer); /* NULL does nothing */
void mcl__safetensors_writer_metadata(mcl__safetensors_writer *writer, const char *key, const char *text);
void mcl__safetensors_writer_add(mcl__safetensors_writer *writer, const char *name, mcl__safetensors_dtype dtype, int rank,
                                 const int64_t *shape, const void *data);
/* The writer is destroyed in any case. An earlier file at path stays whole when this fails. */
mcl_status mcl__safetensors_writer_write(mcl__safetensors_writer *writer, const char *path, mcl_error *error);

#endif
