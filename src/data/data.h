/* What the layers above use of data sets beyond the public header: all pixels at once, orders, and prefetched batches. */
#ifndef MCL_DATA_DATA_H
#define MCL_DATA_DATA_H
#include "base/error.h"
#include <monocle/data.h>
#include <stdbool.h>
#include <stdint.h>

/* All pixels, (count, H, W, C), when they are in memory; NULL when the data set streams. Owned by the data set. */
const uint8_t *mcl__dataset_pixels(const mcl_dataset *data);
const int32_t *mcl__dataset_labels(const mcl_dataset *data); /* (count) */

/* target[i] = pixels of samples[i]; decodes in parallel. One caller at a time decodes, others wait. */
mcl_status mcl__dataset_fetch(mcl_dataset *data, const int32_t *samples, int count, uint8_t *target, mcl_error *error);
mcl_status mcl__dataset_part(const mcl_dataset *data, mcl_part part, const int32_t **samples, int *count);
/* Whether a file's name ends as those of pictures do; it need not be there. */
bool mcl__is_picture(const char *path);
mcl_status mcl__picture_load(const char *path, int height, int width, int channels, mcl_resize resize, uint8_t *target,
                             mcl_error *error);

/* order = samples, shuffled for this epoch: stream "shuffle", t = epoch (see base/random.h). order may not overlap samples. */
void mcl__epoch_order(const int32_t *samples, int count, uint64_t seed, uint32_t epoch, int32_t *order);

/* Batches of order[0..count) in turn, fetched by a thread of its own, `depth` (at least 2) of them ahead of the reader.
 * Gives the bytes that mcl__dataset_fetch gives. Borrows the data set, copies order. */
typedef struct mcl__stream mcl__stream;
mcl_status mcl__stream_create(mcl_dataset *data, const int32_t *order, int count, int batch, int depth, mcl__stream **stream,
                              mcl_error *error);
/* The next batch: pixels (batch, H, W, C) and labels (batch), theirs until the next call; *valid of them count, the rest is
 * zero. *valid is 0 after the last. A picture that could not be read is the error of the batch that it belongs to. */
mcl_status mcl__stream_next(mcl__stream *stream, const uint8_t **pixels, const int32_t **labels, int *valid, mcl_error *error);
void mcl__stream_destroy(mcl__stream *stream); /* NULL does nothing; at any time */
#endif
