/* Binary files, gzipped or not, that must hold exactly what they are expected to hold. */
#ifndef MCL_DATA_GZ_H
#define MCL_DATA_GZ_H
#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct mcl__gz mcl__gz;
/* Any file; one that begins as gzip is unpacked while reading. */
mcl_status mcl__gz_open(const char *path, mcl__gz **gz, mcl_error *error);
void mcl__gz_close(mcl__gz *gz); /* NULL does nothing */
/* Exactly `bytes`: MCL_ERROR_FORMAT for a file that ends before, or that is damaged. */
mcl_status mcl__gz_read(mcl__gz *gz, void *target, size_t bytes, mcl_error *error);
/* At most `bytes`; *got of them. */
mcl_status mcl__gz_read_some(mcl__gz *gz, void *target, size_t bytes, size_t *got, mcl_error *error);
/* That the file ends here; this is also what proves gzip's checksum. */
mcl_status mcl__gz_expect_end(mcl__gz *gz, mcl_error *error);
/* The most that a file of this size can hold: what a header claims beyond it is not worth asking memory for. */
uint64_t mcl__gz_most_bytes(const mcl__gz *gz);
#endif
