/* EXIF's orientation. Of the whole standard we want one number, so we read just that, bounded at every step. */
#include "data/exif.h"
#include <string.h>

enum { ORIENTATION_TAG = 0x0112, SHORT_TYPE = 3, START_OF_SCAN = 0xda, APP1 = 0xe1 };

static unsigned read_number(const uint8_t *at, int bytes, int little)
{
    unsigned value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | at[little ? bytes - 1 - i : i];
    return value;
}

int mcl__exif_of_tiff(const uint8_t *bytes, size_t size)
{
    if (size < 8 || (memcmp(bytes, "II*\0", 4) != 0 && memcmp(bytes, "MM\0*", 4) != 0)) return 1;
    int little = bytes[0] == 'I';
    size_t table = read_number(bytes + 4, 4, little);
    if (table > size || size - table < 2) return 1;
    unsigned entries = read_number(bytes + table, 2, little);
    table += 2;
    for (unsigned i = 0; i < entries && size - table >= 12; i++, table += 12) {
        const uint8_t *entry = bytes + table;
        if (read_number(entry, 2, little) != ORIENTATION_TAG) continue;
        unsigned value = read_number(entry + 8, 2, little);
        return read_number(entry + 2, 2, little) == SHORT_TYPE && value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

int mcl__exif_of_jpeg(const uint8_t *bytes, size_t size)
{
    size_t at = 2;
    while (at + 4 <= size && bytes[at] == 0xff) {
        unsigned marker = bytes[at + 1];
        if (marker == 0xff) { /* padding */
            at++;
            continue;
        }
        size_t length = read_number(bytes + at + 2, 2, 0);
        if (marker == START_OF_SCAN || length < 2 || length > size - at - 2) break;
        if (marker == APP1 && length >= 8 && memcmp(bytes + at + 4, "Exif\0\0", 6) == 0)
            return mcl__exif_of_tiff(bytes + at + 10, length - 8);
        at += 2 + length;
    }
    return 1;
}

void mcl__exif_turn(const uint8_t *source, int height, int width, int C, int orientation, uint8_t *target)
{
    /* Where the upright picture takes its pixel (y, x) from: transposed first, then mirrored along the source's axes. */
    static const struct { int transpose, mirror_x, mirror_y; } turns[] = {
        {0, 0, 0}, {0, 0, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1}, {1, 0, 0}, {1, 0, 1}, {1, 1, 1}, {1, 1, 0},
    };
    int transpose = turns[orientation].transpose, H = transpose ? width : height, W = transpose ? height : width;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            int from_y = transpose ? x : y, from_x = transpose ? y : x;
            if (turns[orientation].mirror_x) from_x = width - 1 - from_x;
            if (turns[orientation].mirror_y) from_y = height - 1 - from_y;
            memcpy(target + ((size_t)y * W + x) * C, source + ((size_t)from_y * width + from_x) * C, (size_t)C);
        }
}
