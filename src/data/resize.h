/* Scaling pictures with an antialiasing triangle filter, in whole numbers, so that every machine makes the same bytes. */
#ifndef MCL_DATA_RESIZE_H
#define MCL_DATA_RESIZE_H
#include "base/error.h"
#include <monocle/data.h>
#include <stdint.h>

/* (height, width, C) bytes to (H, W, C) bytes. CROP: the largest centred box of the target's proportions is scaled. */
mcl_status mcl__resize(const uint8_t *source, int height, int width, int C, mcl_resize mode, int H, int W, uint8_t *target,
                       mcl_error *error);
#endif
