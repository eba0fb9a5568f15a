/* Data sets: labelled pictures of one size, in up to three parts, read from what people have on disk.
 *
 *   mcl_dataset *data;
 *   mcl_dataset_options options = {.height = 64, .width = 64, .validation = 0.1, .seed = 1};
 *   MCL_TRY(mcl_dataset_open("photographs", &options, &data, &error));
 *   ...
 *   mcl_dataset_close(data);
 *
 * Samples are numbered 0 to count - 1; a part is an ascending list of such numbers. */
#ifndef MONOCLE_DATA_H
#define MONOCLE_DATA_H
#include <monocle/status.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mcl_dataset mcl_dataset;

typedef enum mcl_part { MCL_PART_TRAIN, MCL_PART_VALIDATION, MCL_PART_TEST } mcl_part;
#define MCL_PARTS 3

/* IDX: train-images-idx3-ubyte, train-labels-idx1-ubyte, and t10k-... (or test-...) for the test part, also with .gz.
 *      Class names from classes.txt (one a line) where there is one, else "0", "1", ...
 * CIFAR10: data_batch*.bin and test_batch*.bin, also with .gz; class names from batches.meta.txt, else the known ones.
 * PICTURES: JPEG and PNG in one folder a class, or such folders within train, val (or validation) and test. Classes are
 *      the folders' names in byte order. Other files are ignored. */
typedef enum mcl_data_format { MCL_DATA_AUTO, MCL_DATA_IDX, MCL_DATA_CIFAR10, MCL_DATA_PICTURES } mcl_data_format;

/* How a picture becomes height x width. CROP: scaled until it just covers, then the centre is cut out. STRETCH: scaled on
 * each axis apart. Both with an antialiasing triangle filter. */
typedef enum mcl_resize { MCL_RESIZE_CROP, MCL_RESIZE_STRETCH } mcl_resize;

/* All-zero means the defaults in brackets. */
typedef struct mcl_dataset_options {
    mcl_data_format format;          /* [found from what the folder holds] */
    const char *const *train_files;  /* CIFAR-10 only: file names within the folder [data_batch*.bin] */
    const char *const *test_files;   /* [test_batch*.bin] */
    int train_file_count, test_file_count;

    int height, width, channels;     /* PICTURES: what they become [64, 64, 3]; channels 1 (grey) or 3 */
    mcl_resize resize;
    bool skip_unreadable;            /* leave out pictures that cannot be decoded: each is logged, all are counted. Otherwise
                                      * the first is an error. Decodes everything when opening */
    const char *cache;               /* PICTURES: folder for decoded pixels; made if missing [none] */
    uint64_t cache_bytes;            /* its limit; pictures beyond it are decoded each time [4 GiB] */

    double validation;               /* fraction of the training part to validate on, where there is no such part [0: none] */
    double test;                     /* fraction of the training part to hold out for the test, where there is none [0: none] */
    uint64_t seed;                   /* of these two draws and of limit */
    int limit;                       /* at most so many samples in each part, each class in proportion [0: no limit]. PICTURES
                                      * beyond it are not decoded, but by skip_unreadable */

    bool stream;                     /* never hold all pixels in memory */
    uint64_t memory_bytes;           /* PICTURES: stream when all pixels take more than this [half of the machine's] */
    int threads;                     /* that decode [all that the process may use] */
} mcl_dataset_options;

typedef struct mcl_dataset_info {
    mcl_data_format format;
    int count;                       /* samples in all; of PICTURES, without those beyond the limit unless all are decoded */
    int height, width, channels, classes;
    int part_count[MCL_PARTS];
    int skipped;                     /* pictures left out as unreadable */
    mcl_resize resize;
} mcl_dataset_info;

/* Opens the data set in a folder. options NULL: the defaults. Fractions are rounded to whole samples once, drawn class by class
 * in proportion; the same seed draws the same ones everywhere.
 * Returns MCL_ERROR_NOT_FOUND (no such folder), MCL_ERROR_FORMAT (a file that is damaged or contradicts another; the
 * text names it), MCL_ERROR_IO, MCL_ERROR_INVALID (options), MCL_ERROR_MEMORY. */
MCL_API mcl_status mcl_dataset_open(const char *path, const mcl_dataset_options *options, mcl_dataset **data, mcl_error *error);
MCL_API void mcl_dataset_close(mcl_dataset *data); /* NULL does nothing */

MCL_API const mcl_dataset_info *mcl_dataset_get_info(const mcl_dataset *data);
MCL_API const char *mcl_dataset_class_name(const mcl_dataset *data, int index); /* NULL when out of range */
MCL_API int mcl_dataset_label(const mcl_dataset *data, int sample);             /* -1 when out of range */
/* The file that a sample came from; NULL where samples have no files of their own. */
MCL_API const char *mcl_dataset_file(const mcl_dataset *data, int sample);
/* The samples of a part, ascending; owned by the data set. */
MCL_API const int32_t *mcl_dataset_part(const mcl_dataset *data, mcl_part part, int *count);

/* Reads samples: target is (count, H, W, C) bytes. Decodes in parallel where it must.
 * MCL_ERROR_INVALID for a number out of range; MCL_ERROR_IO or FORMAT for a picture that cannot be read. */
MCL_API mcl_status mcl_dataset_read(mcl_dataset *data, const int32_t *samples, int count, uint8_t *target, mcl_error *error);

/* Reads one picture file as a data set with these options would: target is (height, width, channels) bytes. */
MCL_API mcl_status mcl_picture_read(const char *path, int height, int width, int channels, mcl_resize resize,
                                    uint8_t *target, mcl_error *error);

/* How bytes become numbers: y = (x - mean[c]) * inverse_deviation[c], x from 0 to 255.
 * STANDARDISE: mean and standard deviation of each channel. CENTRE: the mean, and 1/255. SCALE: 0, and 1/255. */
typedef enum mcl_preprocessing_kind {
    MCL_PREPROCESSING_STANDARDISE,
    MCL_PREPROCESSING_CENTRE,
    MCL_PREPROCESSING_SCALE
} mcl_preprocessing_kind;

typedef struct mcl_preprocessing {
    mcl_preprocessing_kind kind;
    int channels;
    float mean[4], inverse_deviation[4];
} mcl_preprocessing;

/* Fitted on the training part: exact whole-number sums, divided in double and rounded once, so equal on every machine. A
 * channel without any deviation gets 1/255. */
MCL_API mcl_status mcl_preprocessing_fit(mcl_dataset *data, mcl_preprocessing_kind kind, mcl_preprocessing *preprocessing,
                                         mcl_error *error);

#ifdef __cplusplus
}
#endif
#endif
