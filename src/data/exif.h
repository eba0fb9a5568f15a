/* The orientation that a camera noted in a picture, and turning the picture by it. */
#ifndef MCL_DATA_EXIF_H
#define MCL_DATA_EXIF_H
#include <stddef.h>
#include <stdint.h>

/* 1 to 8, as EXIF's tag 0x0112 has it; 1 (upright) when there is none or anything is odd. Never reads outside of bytes. */
int mcl__exif_of_jpeg(const uint8_t *bytes, size_t size);
int mcl__exif_of_tiff(const uint8_t *bytes, size_t size); /* the block itself, as in PNG's eXIf */

/* source (height, width, C) turned upright into target, which is (width, height, C) for orientations 5 to 8. */
void mcl__exif_turn(const uint8_t *source, int height, int width, int C, int orientation, uint8_t *target);
#endif
