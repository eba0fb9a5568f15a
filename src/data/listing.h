/* What a folder holds. */
#ifndef MCL_DATA_LISTING_H
#define MCL_DATA_LISTING_H
#include "base/error.h"
#include <stddef.h>

/* Full paths, each list in byte order, so that no locale and no file system decides the numbering. */
typedef struct mcl__listing {
    char **folders, **files;
    size_t folder_count, folder_capacity, file_count, file_capacity;
} mcl__listing;

/* Fills a listing that is all zeros. Names that begin with a dot are not there, nor what is neither file nor folder: a pipe would
 * keep its reader for ever. A link is what it links to, or, where that is nothing, a file, so that reading it tells. Whatever is
 * returned, the listing is freed with mcl__listing_free. */
mcl_status mcl__listing_read(const char *path, mcl__listing *listing, mcl_error *error);
void mcl__listing_free(mcl__listing *listing);

const char *mcl__last_name(const char *path); /* what follows the last slash, of which there is one */
#endif
