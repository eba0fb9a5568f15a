/* From the bytes of a JPEG or PNG file to pixels of the wanted size. */
#ifndef MCL_DATA_DECODE_H
#define MCL_DATA_DECODE_H
#include "data/data.h"
#include <stddef.h>

/* target: (H, W, C) bytes, C 1 or 3. JPEG: grey, colour and CMYK (as Adobe writes it); PNG: all kinds, 16 bits cut to 8,
 * what is transparent over black. Turned upright by EXIF. Grey of colour is (19595 R + 38470 G + 7471 B) / 2^16, rounded.
 * A picture that ends early is an error: MCL_ERROR_FORMAT, with `name`. */
mcl_status mcl__decode(const uint8_t *bytes, size_t size, const char *name, int H, int W, int C, mcl_resize mode,
                       uint8_t *target, mcl_error *error);
#endif
