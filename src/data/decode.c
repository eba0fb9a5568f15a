/* JPEG by TurboJPEG, PNG by libspng; then turned upright, made grey or colour, and scaled. */
#include "data/decode.h"
#include "base/file.h"
#include "data/exif.h"
#include "data/resize.h"
#include <spng.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

/* A photograph has perhaps 2^27 pixels; what claims more is not worth its memory. */
enum { MOST_PIXELS = 1 << 27, MOST_SIDE = 65535, MOST_CHUNK = 64 << 20 };

/* A picture on its way: (height, width, channels) bytes. */
struct picture { uint8_t *pixels; int height, width, channels, orientation; };

/* What is to become of it. */
struct wanted { const char *name; int H, W, C; mcl_resize mode; };

static mcl_status fail_memory(const struct wanted *wanted, mcl_error *error)
{
    return mcl__fail(error, MCL_ERROR_MEMORY, "%s: no memory to decode the picture", wanted->name);
}

static mcl_status check_size(const struct wanted *wanted, unsigned width, unsigned height, mcl_error *error)
{
    if (width && height && width <= MOST_SIDE && height <= MOST_SIDE && (uint64_t)width * height <= MOST_PIXELS) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_FORMAT, "%s: impossible size of a picture: %u x %u", wanted->name, width, height);
}

/* The smallest of 1, 1/2, 1/4, 1/8 that leaves at least twice the pixels wanted along each axis, for the filter to work on. */
static int reduction(const struct wanted *wanted, int width, int height, int orientation)
{
    int64_t W = orientation >= 5 ? wanted->H : wanted->W, H = orientation >= 5 ? wanted->W : wanted->H;
    int divisor = 8;
    while (divisor > 1 && (2 * W * divisor > width || 2 * H * divisor > height)) divisor /= 2;
    return divisor;
}

/* Does the end of the picture stand behind its last scan? Neither marker occurs within compressed data. */
static bool has_end(const uint8_t *bytes, size_t size)
{
    for (size_t i = size; i-- > 1;)
        if (bytes[i - 1] == 0xff && (bytes[i] == 0xd9 || bytes[i] == 0xda)) return bytes[i] == 0xd9;
    return false;
}

/* TurboJPEG's warnings are of damaged data, but for bytes that stand between markers and do no harm. It tells the first warning
 * only, behind which it may have missed the end. */
static bool harmless(tjhandle jpeg)
{
    return tjGetErrorCode(jpeg) == TJERR_WARNING && strstr(tjGetErrorStr2(jpeg), "extraneous bytes") != NULL;
}

/* It also refuses headers whose chroma is sampled in a way that it has no name for, after telling the size; but decodes them. */
static bool only_unnamed(tjhandle jpeg, int width)
{
    return width > 0 && strstr(tjGetErrorStr2(jpeg), "subsampling type") != NULL;
}

/* (a, b, c, k) becomes (a k, b k, c k) / 255, which is right for (R, G, B, alpha) over black and for Adobe's CMYK, whose
 * ink is stored inverted (255 is none; nobody else writes CMYK). */
static void apply_fourth(struct picture *picture)
{
    size_t count = (size_t)picture->height * picture->width;
    for (size_t i = 0; i < count; i++)
        for (int c = 0; c < 3; c++)
            picture->pixels[i * 3 + c] = (uint8_t)((picture->pixels[i * 4 + c] * picture->pixels[i * 4 + 3] + 127) / 255);
    picture->channels = 3;
}

static mcl_status decode_jpeg(const uint8_t *bytes, size_t size, const struct wanted *wanted, struct picture *picture,
                              mcl_error *error)
{
    mcl_status status = MCL_OK;
    int width = 0, height = 0, sampling, space = TJCS_YCbCr, flags = TJFLAG_ACCURATEDCT;
#ifdef TJFLAG_LIMITSCANS
    flags |= TJFLAG_LIMITSCANS;
#endif
    tjhandle jpeg = tjInitDecompress();
    if (!jpeg) return fail_memory(wanted, error);
    if (tjDecompressHeader3(jpeg, bytes, size, &width, &height, &sampling, &space) != 0 &&
        !harmless(jpeg) && !only_unnamed(jpeg, width)) {
        status = mcl__fail(error, MCL_ERROR_FORMAT, "%s: not a readable JPEG: %s", wanted->name, tjGetErrorStr2(jpeg));
        goto done;
    }
    if (width == 0) { /* a file of tables only, or cut off in them, is a success to TurboJPEG */
        status = mcl__fail(error, MCL_ERROR_FORMAT, "%s: not a readable JPEG: it ends before its picture", wanted->name);
        goto done;
    }
    MCL_TRY_DONE(check_size(wanted, (unsigned)width, (unsigned)height, error));
    picture->orientation = mcl__exif_of_jpeg(bytes, size);
    tjscalingfactor factor = {1, reduction(wanted, width, height, picture->orientation)};
    int format = space == TJCS_GRAY ? TJPF_GRAY : space == TJCS_CMYK || space == TJCS_YCCK ? TJPF_CMYK : TJPF_RGB;
    picture->width = TJSCALED(width, factor);
    picture->height = TJSCALED(height, factor);
    picture->channels = tjPixelSize[format];
    picture->pixels = malloc((size_t)picture->width * picture->height * picture->channels);
    if (!picture->pixels) {
        status = fail_memory(wanted, error);
        goto done;
    }
    if (tjDecompress2(jpeg, bytes, size, picture->pixels, picture->width, 0, picture->height, format, flags) != 0 &&
        !(harmless(jpeg) && has_end(bytes, size))) {
        status = mcl__fail(error, MCL_ERROR_FORMAT, "%s: a damaged JPEG: %s", wanted->name,
                           harmless(jpeg) ? "it ends before its picture does" : tjGetErrorStr2(jpeg));
        goto done;
    }
    if (format == TJPF_CMYK) apply_fourth(picture);
done:
    tjDestroy(jpeg);
    return status;
}

static mcl_status decode_png(const uint8_t *bytes, size_t size, const struct wanted *wanted, struct picture *picture,
                             mcl_error *error)
{
    mcl_status status = MCL_OK;
    struct spng_ihdr header;
    struct spng_exif exif;
    size_t length;
    int code;
    spng_ctx *png = spng_ctx_new(0);
    if (!png) return fail_memory(wanted, error);
    if ((code = spng_set_image_limits(png, MOST_SIDE, MOST_SIDE)) || (code = spng_set_chunk_limits(png, MOST_CHUNK, MOST_CHUNK)) ||
        (code = spng_set_png_buffer(png, bytes, size)) || (code = spng_get_ihdr(png, &header)) ||
        (code = spng_decoded_image_size(png, SPNG_FMT_RGBA8, &length))) goto damaged;
    MCL_TRY_DONE(check_size(wanted, header.width, header.height, error));
    picture->width = (int)header.width;
    picture->height = (int)header.height;
    picture->channels = 4;
    if (!(picture->pixels = malloc(length))) {
        status = fail_memory(wanted, error);
        goto done;
    }
    if ((code = spng_decode_image(png, picture->pixels, length, SPNG_FMT_RGBA8, SPNG_DECODE_TRNS))) goto damaged;
    if (spng_get_exif(png, &exif) == 0) picture->orientation = mcl__exif_of_tiff((const uint8_t *)exif.data, exif.length);
    apply_fourth(picture);
    goto done;
damaged:
    status = code == SPNG_EMEM ? fail_memory(wanted, error)
           : mcl__fail(error, MCL_ERROR_FORMAT, "%s: a damaged PNG: %s", wanted->name, spng_strerror(code));
done:
    spng_ctx_free(png);
    return status;
}

static mcl_status turn_upright(const struct wanted *wanted, struct picture *picture, mcl_error *error)
{
    if (picture->orientation <= 1) return MCL_OK;
    uint8_t *upright = malloc((size_t)picture->height * picture->width * picture->channels);
    if (!upright) return fail_memory(wanted, error);
    mcl__exif_turn(picture->pixels, picture->height, picture->width, picture->channels, picture->orientation, upright);
    free(picture->pixels);
    picture->pixels = upright;
    if (picture->orientation >= 5) {
        int width = picture->width;
        picture->width = picture->height;
        picture->height = width;
    }
    return MCL_OK;
}

static void make_grey(struct picture *picture)
{
    size_t count = (size_t)picture->height * picture->width;
    uint8_t *p = picture->pixels;
    for (size_t i = 0; i < count; i++)
        p[i] = (uint8_t)((19595u * p[i * 3] + 38470u * p[i * 3 + 1] + 7471u * p[i * 3 + 2] + 32768u) >> 16);
    picture->channels = 1;
}

/* Backwards, so that three bytes never overwrite grey that is still to be read. */
static void repeat_grey(uint8_t *pixels, size_t count)
{
    for (size_t i = count; i-- > 0;) pixels[i * 3] = pixels[i * 3 + 1] = pixels[i * 3 + 2] = pixels[i];
}

mcl_status mcl__decode(const uint8_t *bytes, size_t size, const char *name, int H, int W, int C, mcl_resize mode,
                       uint8_t *target, mcl_error *error)
{
    struct wanted wanted = {.name = name, .H = H, .W = W, .C = C, .mode = mode};
    struct picture picture = {.orientation = 1};
    mcl_status status;
    if (size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) status = decode_jpeg(bytes, size, &wanted, &picture, error);
    else if (size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) status = decode_png(bytes, size, &wanted, &picture, error);
    else status = mcl__fail(error, MCL_ERROR_FORMAT, "%s: neither a JPEG nor a PNG", name);
    if (status != MCL_OK) goto done;
    MCL_TRY_DONE(turn_upright(&wanted, &picture, error));
    if (picture.channels == 3 && C == 1) make_grey(&picture);
    MCL_TRY_DONE(mcl__resize(picture.pixels, picture.height, picture.width, picture.channels, mode, H, W, target, error));
    if (picture.channels == 1 && C == 3) repeat_grey(target, (size_t)H * W);
done:
    free(picture.pixels);
    return status;
}

mcl_status mcl__picture_load(const char *path, int height, int width, int channels, mcl_resize resize, uint8_t *target,
                             mcl_error *error)
{
    char *bytes;
    size_t size;
    MCL_TRY(mcl__file_read(path, 0, &bytes, &size, error));
    mcl_status status = mcl__decode((const uint8_t *)bytes, size, path, height, width, channels, resize, target, error);
    free(bytes);
    return status;
}

mcl_status mcl_picture_read(const char *path, int height, int width, int channels, mcl_resize resize, uint8_t *target,
                            mcl_error *error)
{
    if (!path || !target || height < 1 || width < 1 || height > MOST_SIDE || width > MOST_SIDE || (channels != 1 && channels != 3))
        return mcl__fail(error, MCL_ERROR_INVALID, "a picture must become at least 1 x 1, with 1 or 3 channels");
    return mcl__picture_load(path, height, width, channels, resize, target, error);
}
