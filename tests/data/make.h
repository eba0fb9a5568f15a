/* Makes the files that the data tests read: a temporary folder, and small IDX, CIFAR-10, JPEG and PNG files in it. */
#ifndef TEST_DATA_MAKE_H
#define TEST_DATA_MAKE_H
#include "base/file.h"
#include "data/data.h"
#include <check.h>
#include <spng.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <turbojpeg.h>
#include <unistd.h>
#include <zlib.h>

static char folder[64];

static inline void make_folder(void)
{
    strcpy(folder, "/tmp/monocle-data-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static inline void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

/* The path of a name within the folder; of the last call but three still. */
static inline const char *in_folder(const char *name)
{
    static char paths[4][256];
    static int next;
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof paths[next], "%s/%s", folder, name);
    return paths[next];
}

/* Writes a file within the folder, gzipped where the name says so; makes folders above it. */
static inline void put_file(const char *name, const void *bytes, size_t size)
{
    char above[256];
    snprintf(above, sizeof above, "%s", in_folder(name));
    *strrchr(above, '/') = 0;
    ck_assert_int_eq(mcl__folder_create(above, false, NULL), MCL_OK);
    size_t length = strlen(name);
    if (length > 3 && strcmp(name + length - 3, ".gz") == 0) {
        gzFile file = gzopen(in_folder(name), "wb");
        ck_assert_int_eq(gzwrite(file, bytes, (unsigned)size), (int)size);
        ck_assert_int_eq(gzclose(file), Z_OK);
    } else {
        ck_assert_int_eq(mcl__file_write(in_folder(name), bytes, size, NULL), MCL_OK);
    }
}

static inline void put_word(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Pixel k of picture i of an IDX file that these tests make. */
static inline uint8_t idx_pixel(int i, int k) { return (uint8_t)(i * 7 + k * 3 + 1); }

static inline void put_idx_pictures(const char *name, int count, int height, int width)
{
    size_t each = (size_t)height * (size_t)width, size = 16 + (size_t)count * each;
    uint8_t *bytes = malloc(size);
    put_word(bytes, 0x803);
    put_word(bytes + 4, (uint32_t)count);
    put_word(bytes + 8, (uint32_t)height);
    put_word(bytes + 12, (uint32_t)width);
    for (int i = 0; i < count; i++)
        for (size_t k = 0; k < each; k++) bytes[16 + (size_t)i * each + k] = idx_pixel(i, (int)k);
    put_file(name, bytes, size);
    free(bytes);
}

/* Labels 0, 1, ..., classes - 1, 0, ... */
static inline void put_idx_labels(const char *name, int count, int classes)
{
    uint8_t *bytes = malloc(8 + (size_t)count);
    put_word(bytes, 0x801);
    put_word(bytes + 4, (uint32_t)count);
    for (int i = 0; i < count; i++) bytes[8 + i] = (uint8_t)(i % classes);
    put_file(name, bytes, 8 + (size_t)count);
    free(bytes);
}

static inline void put_idx(int train, int test, int classes)
{
    put_idx_pictures("train-images-idx3-ubyte.gz", train, 5, 4);
    put_idx_labels("train-labels-idx1-ubyte.gz", train, classes);
    put_idx_pictures("t10k-images-idx3-ubyte", test, 5, 4);
    put_idx_labels("t10k-labels-idx1-ubyte", test, classes);
}

/* Cuts bytes off the end of a file, or changes one of them. */
static inline void cut_file(const char *name, int64_t bytes)
{
    mcl__file_info info;
    ck_assert_int_eq(mcl__file_stat(in_folder(name), &info, NULL), MCL_OK);
    ck_assert_int_eq(truncate(in_folder(name), (off_t)((int64_t)info.bytes - bytes)), 0);
}

static inline void change_byte(const char *name, long at, int value)
{
    FILE *file = fopen(in_folder(name), "r+b");
    ck_assert_ptr_nonnull(file);
    fseek(file, at, at < 0 ? SEEK_END : SEEK_SET);
    fputc(value, file);
    fclose(file);
}

/* JPEG in memory, without subsampling and at full quality, so that pixels survive within a few levels. An orientation other
 * than 0 is put in as an EXIF block. */
static inline uint8_t *make_jpeg(const uint8_t *pixels, int width, int height, int format, int sampling, int orientation,
                                 size_t *size)
{
    unsigned char *jpeg = NULL;
    unsigned long length = 0;
    tjhandle handle = tjInitCompress();
    ck_assert_int_eq(tjCompress2(handle, pixels, width, 0, height, format, &jpeg, &length, sampling, 100, TJFLAG_ACCURATEDCT), 0);
    tjDestroy(handle);
    uint8_t exif[] = {0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1,
                      1, 0x12, 0, 3, 0, 0, 0, 1, 0, (uint8_t)orientation, 0, 0, 0, 0, 0, 0};
    size_t extra = orientation ? sizeof exif : 0;
    uint8_t *result = malloc(length + extra);
    memcpy(result, jpeg, 2);
    memcpy(result + 2, exif, extra);
    memcpy(result + 2 + extra, jpeg + 2, length - 2);
    tjFree(jpeg);
    *size = length + extra;
    return result;
}

static inline void put_jpeg(const char *name, const uint8_t *pixels, int width, int height, int format, int orientation)
{
    size_t size;
    uint8_t *jpeg = make_jpeg(pixels, width, height, format, format == TJPF_GRAY ? TJSAMP_GRAY : TJSAMP_444, orientation, &size);
    put_file(name, jpeg, size);
    free(jpeg);
}

static inline void put_png(const char *name, const void *pixels, size_t bytes, int width, int height, int colour, int depth,
                           const struct spng_plte *palette, const struct spng_trns *transparent)
{
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    struct spng_ihdr header = {.width = (uint32_t)width, .height = (uint32_t)height, .bit_depth = (uint8_t)depth,
                               .color_type = (uint8_t)colour};
    spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    ck_assert_int_eq(spng_set_ihdr(png, &header), 0);
    if (palette) ck_assert_int_eq(spng_set_plte(png, (struct spng_plte *)palette), 0);
    if (transparent) ck_assert_int_eq(spng_set_trns(png, (struct spng_trns *)transparent), 0);
    ck_assert_int_eq(spng_encode_image(png, pixels, bytes, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
    size_t size;
    int code;
    void *buffer = spng_get_png_buffer(png, &size, &code);
    ck_assert_ptr_nonnull(buffer);
    put_file(name, buffer, size);
    free(buffer);
    spng_ctx_free(png);
}

/* A grey PNG all of one value. */
static inline void put_plain(const char *name, int width, int height, int value)
{
    uint8_t *pixels = malloc((size_t)width * (size_t)height);
    memset(pixels, value, (size_t)width * (size_t)height);
    put_png(name, pixels, (size_t)width * (size_t)height, width, height, SPNG_COLOR_TYPE_GRAYSCALE, 8, NULL, NULL);
    free(pixels);
}

static inline mcl_dataset *open_folder(const mcl_dataset_options *options)
{
    mcl_dataset *data = NULL;
    mcl_error error = {0};
    mcl_status status = mcl_dataset_open(folder, options, &data, &error);
    ck_assert_msg(status == MCL_OK, "%s", error.text);
    return data;
}

/* Opening must fail with this status and a text that contains all of these. */
static inline void check_refused(const mcl_dataset_options *options, mcl_status expected, const char *first, const char *second)
{
    mcl_dataset *data = NULL;
    mcl_error error = {0};
    mcl_status status = mcl_dataset_open(folder, options, &data, &error);
    ck_assert_msg(status == expected, "%s: %s", mcl_status_name(status), error.text);
    ck_assert_ptr_null(data);
    ck_assert_msg(strstr(error.text, first) && strstr(error.text, second), "\"%s\" lacks \"%s\" or \"%s\"", error.text, first,
                  second);
}

static inline int run_suite(TCase *cases, const char *name)
{
    Suite *suite = suite_create(name);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
#endif
