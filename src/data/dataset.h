/* What the readers of formats fill in, and what the rest of this folder shares. */
#ifndef MCL_DATA_DATASET_H
#define MCL_DATA_DATASET_H
#include "base/arena.h"
#include "data/cache.h"
#include "data/data.h"
#include "data/pool.h"

/* Limits on what files may claim. Elements of any tensor stay below 2^31. */
enum { MCL__MAX_SIDE = 16384, MCL__MAX_CLASSES = 65536 };

struct mcl_dataset {
    mcl_dataset_info info;
    bool stream;                 /* pixels are not to be handed out, even where they are in memory */
    mcl__arena arena;            /* names and paths */
    char *path;
    const char **class_names;    /* (classes) */
    int32_t *labels;             /* (count) */
    uint8_t *found_part;         /* (count) the mcl_part that the files say, then the one drawn; freed once they are listed */
    uint8_t *pixels;             /* (count, H, W, C), or NULL */
    int32_t *part[MCL_PARTS];
    size_t sample_bytes;         /* H * W * C */
    const char **files;          /* pictures: (count) paths, else NULL */
    uint64_t *keys;              /* pictures: (count) of the cache */
    int32_t *slots;              /* pictures: (count) in the cache, -1: none */
    mcl__picture_cache *cache;
    mcl__pool *pool;
};

/* Each fills info (format, count, height, width, channels, classes), class_names, labels and found_part; IDX and CIFAR-10
 * fill pixels too, pictures fill files. */
mcl_status mcl__idx_load(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error);
mcl_status mcl__cifar_load(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error);
mcl_status mcl__pictures_scan(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error);
/* Whether the folder looks like theirs. */
bool mcl__idx_detect(const char *folder);
bool mcl__cifar_detect(const char *folder);

/* Decodes what is to be held, or checked, at opening; leaves out what may be left out. */
mcl_status mcl__pictures_prepare(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error);
/* Closes the gaps that samples in no part leave in every array. */
void mcl__pictures_keep_parts(mcl_dataset *data);
/* One sample of a data set of pictures, through the cache. */
mcl_status mcl__pictures_get(mcl_dataset *data, int sample, uint8_t *target, mcl_error *error);

/* Draws the parts in found_part by the options; MCL_PARTS is what a sample beyond the limit gets. */
mcl_status mcl__split(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error);
/* Lists the samples of each part. */
mcl_status mcl__list_parts(mcl_dataset *data, mcl_error *error);

/* Class names, one a line; at most `limit`. *count is 0 when there is no such file. */
mcl_status mcl__class_names_read(mcl_dataset *data, const char *path, int limit, int *count, mcl_error *error);
/* "0", "1", ... */
mcl_status mcl__class_names_count(mcl_dataset *data, int count, mcl_error *error);
mcl_status mcl__data_no_memory(const mcl_dataset *data, mcl_error *error);
#endif
