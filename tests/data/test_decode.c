/* Pictures one at a time: kinds of JPEG and PNG, orientations, damage, and the scaling filter. */
#include "make.h"
#include "data/decode.h"
#include "data/exif.h"
#include "data/resize.h"
#include <math.h>

static uint8_t out[64 * 64 * 3];

static void load(const char *name, int side, int channels)
{
    mcl_error error = {0};
    mcl_status status = mcl_picture_read(in_folder(name), side, side, channels, MCL_RESIZE_CROP, out, &error);
    ck_assert_msg(status == MCL_OK, "%s", error.text);
}

static void check_pixel(int index, int r, int g, int b, int tolerance)
{
    const int expected[3] = {r, g, b};
    for (int c = 0; c < 3; c++)
        ck_assert_msg(abs(out[index * 3 + c] - expected[c]) <= tolerance, "channel %d: %d, not %d", c, out[index * 3 + c],
                      expected[c]);
}

/* Blocks of 8 x 8 in a picture of 16 x 16: red, green / blue, grey. */
static void quarters(uint8_t *pixels)
{
    static const uint8_t colours[4][3] = {{250, 10, 20}, {15, 240, 30}, {5, 25, 230}, {128, 128, 128}};
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 16; x++) memcpy(pixels + (y * 16 + x) * 3, colours[y / 8 * 2 + x / 8], 3);
}

START_TEST(jpeg_colour_and_grey)
{
    uint8_t pixels[16 * 16 * 3], grey[16 * 16];
    quarters(pixels);
    put_jpeg("colour.jpg", pixels, 16, 16, TJPF_RGB, 0);
    load("colour.jpg", 16, 3);
    check_pixel(0, 250, 10, 20, 3);
    check_pixel(15, 15, 240, 30, 3);
    check_pixel(255, 128, 128, 128, 3);
    load("colour.jpg", 16, 1);
    ck_assert_int_le(abs(out[0] - (int)lround(0.299 * 250 + 0.587 * 10 + 0.114 * 20)), 3);
    for (int i = 0; i < 256; i++) grey[i] = (uint8_t)i;
    put_jpeg("grey.jpg", grey, 16, 16, TJPF_GRAY, 0);
    load("grey.jpg", 16, 3);
    for (int i = 0; i < 256; i++) check_pixel(i, i, i, i, 2);
    load("grey.jpg", 16, 1);
    for (int i = 0; i < 256; i++) ck_assert_int_le(abs(out[i] - i), 2);
}
END_TEST

START_TEST(jpeg_cmyk)
{
    uint8_t pixels[16 * 16 * 4]; /* as Adobe stores it: 255 is no ink */
    for (int i = 0; i < 256; i++) pixels[i * 4] = 200, pixels[i * 4 + 1] = 100, pixels[i * 4 + 2] = 50, pixels[i * 4 + 3] = 255;
    put_jpeg("cmyk.jpg", pixels, 16, 16, TJPF_CMYK, 0);
    load("cmyk.jpg", 16, 3);
    check_pixel(77, 200, 100, 50, 3);
}
END_TEST

/* Turning the stored picture by its orientation must give the quarters upright: what each of the eight stores is made here
 * from the definition ("row 0 is the visual top, right, ...; column 0 is the visual left, ..."). */
static const struct { int row_axis, row_from_end, column_from_end; } stored_as[9] = {
    {0, 0, 0}, {0, 0, 0} /* top, left */, {0, 0, 1} /* top, right */, {0, 1, 1} /* bottom, right */, {0, 1, 0} /* bottom, left */,
    {1, 0, 0} /* left, top */, {1, 1, 0} /* right, top */, {1, 1, 1} /* right, bottom */, {1, 0, 1} /* left, bottom */,
};

START_TEST(exif_orientations)
{
    uint8_t upright[16 * 16 * 3], stored[16 * 16 * 3];
    quarters(upright);
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 16; column++) {
            int r = stored_as[_i].row_from_end ? 15 - row : row, c = stored_as[_i].column_from_end ? 15 - column : column;
            int y = stored_as[_i].row_axis ? c : r, x = stored_as[_i].row_axis ? r : c;
            memcpy(stored + (row * 16 + column) * 3, upright + (y * 16 + x) * 3, 3);
        }
    put_jpeg("turned.jpg", stored, 16, 16, TJPF_RGB, _i);
    load("turned.jpg", 16, 3);
    for (int i = 0; i < 256; i++) check_pixel(i, upright[i * 3], upright[i * 3 + 1], upright[i * 3 + 2], 4);
}
END_TEST

START_TEST(exif_changes_width_and_height)
{
    uint8_t source[2 * 3] = {1, 2, 3, 4, 5, 6}, target[6]; /* 2 rows of 3 */
    static const uint8_t turned[9][6] = {
        {0}, {1, 2, 3, 4, 5, 6}, {3, 2, 1, 6, 5, 4}, {6, 5, 4, 3, 2, 1}, {4, 5, 6, 1, 2, 3},
        {1, 4, 2, 5, 3, 6}, {4, 1, 5, 2, 6, 3}, {6, 3, 5, 2, 4, 1}, {3, 6, 2, 5, 1, 4},
    };
    for (int orientation = 1; orientation <= 8; orientation++) {
        mcl__exif_turn(source, 2, 3, 1, orientation, target);
        ck_assert_mem_eq(target, turned[orientation], 6);
    }
}
END_TEST

START_TEST(exif_survives_anything)
{
    uint8_t little[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0};
    ck_assert_int_eq(mcl__exif_of_tiff(little, sizeof little), 6);
    for (size_t size = 0; size < sizeof little; size++) ck_assert_int_eq(mcl__exif_of_tiff(little, size), 1);
    for (int value = 9; value < 12; value++) {
        little[18] = (uint8_t)value;
        ck_assert_int_eq(mcl__exif_of_tiff(little, sizeof little), 1);
    }
    little[8] = 255; /* entries beyond the end */
    little[10] = 0;
    ck_assert_int_eq(mcl__exif_of_tiff(little, sizeof little), 1);
    memset(little + 4, 0xff, 4); /* a table beyond the end */
    ck_assert_int_eq(mcl__exif_of_tiff(little, sizeof little), 1);
    uint32_t state = 1;
    for (int i = 0; i < 2000; i++) {
        uint8_t *noise = malloc(64); /* exactly as long as it says, for the sanitizer */
        for (int k = 0; k < 64; k++) noise[k] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
        memcpy(noise, "\xff\xd8\xff\xe1\0\x30" "Exif\0\0MM\0*\0\0\0", 19);
        int orientation = mcl__exif_of_jpeg(noise, 64);
        ck_assert(orientation >= 1 && orientation <= 8);
        free(noise);
    }
}
END_TEST

START_TEST(png_kinds)
{
    const uint8_t rgba[4 * 4] = {255, 0, 0, 255, 0, 255, 0, 128, 0, 0, 255, 0, 10, 20, 30, 255};
    const uint8_t rgb[4 * 3] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, indices[4] = {2, 1, 0, 2}, grey[4] = {0, 50, 100, 255};
    const uint16_t deep[4] = {0, 0x3233, 0x8081, 0xffff};
    struct spng_plte palette = {.n_entries = 3, .entries = {{10, 20, 30, 0}, {40, 50, 60, 0}, {70, 80, 90, 0}}};
    struct spng_trns clear = {.n_type3_entries = 1, .type3_alpha = {0}};
    put_png("rgba.png", rgba, sizeof rgba, 2, 2, SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, 8, NULL, NULL);
    load("rgba.png", 2, 3);
    check_pixel(0, 255, 0, 0, 0);
    check_pixel(1, 0, 128, 0, 0);
    check_pixel(2, 0, 0, 0, 0);
    check_pixel(3, 10, 20, 30, 0);
    put_png("rgb.png", rgb, sizeof rgb, 2, 2, SPNG_COLOR_TYPE_TRUECOLOR, 8, NULL, NULL);
    load("rgb.png", 2, 3);
    ck_assert_mem_eq(out, rgb, sizeof rgb);
    put_png("palette.png", indices, sizeof indices, 2, 2, SPNG_COLOR_TYPE_INDEXED, 8, &palette, &clear);
    load("palette.png", 2, 3);
    check_pixel(0, 70, 80, 90, 0);
    check_pixel(1, 40, 50, 60, 0);
    check_pixel(2, 0, 0, 0, 0); /* transparent, so black */
    put_png("grey.png", grey, sizeof grey, 2, 2, SPNG_COLOR_TYPE_GRAYSCALE, 8, NULL, NULL);
    load("grey.png", 2, 1);
    ck_assert_mem_eq(out, grey, sizeof grey);
    put_png("deep.png", deep, sizeof deep, 2, 2, SPNG_COLOR_TYPE_GRAYSCALE, 16, NULL, NULL);
    load("deep.png", 2, 1);
    ck_assert(out[0] == 0 && out[1] == 0x32 && out[2] == 0x80 && out[3] == 0xff);
}
END_TEST

static void check_unreadable(const char *name, mcl_status expected, const char *text)
{
    mcl_error error = {0};
    mcl_status status = mcl_picture_read(in_folder(name), 16, 16, 3, MCL_RESIZE_CROP, out, &error);
    ck_assert_msg(status == expected, "%s: %d %s", name, status, error.text);
    ck_assert_msg(strstr(error.text, in_folder(name)) && strstr(error.text, text), "\"%s\" lacks \"%s\"", error.text, text);
}

START_TEST(unreadable)
{
    uint8_t pixels[16 * 16 * 3];
    quarters(pixels);
    put_jpeg("short.jpg", pixels, 16, 16, TJPF_RGB, 0);
    cut_file("short.jpg", 20);
    check_unreadable("short.jpg", MCL_ERROR_FORMAT, "damaged JPEG");
    put_jpeg("head.jpg", pixels, 16, 16, TJPF_RGB, 0);
    ck_assert_int_eq(truncate(in_folder("head.jpg"), 30), 0);
    check_unreadable("head.jpg", MCL_ERROR_FORMAT, "not a readable JPEG");
    put_png("short.png", pixels, sizeof pixels, 16, 16, SPNG_COLOR_TYPE_TRUECOLOR, 8, NULL, NULL);
    cut_file("short.png", 20);
    check_unreadable("short.png", MCL_ERROR_FORMAT, "damaged PNG");
    put_png("changed.png", pixels, sizeof pixels, 16, 16, SPNG_COLOR_TYPE_TRUECOLOR, 8, NULL, NULL);
    change_byte("changed.png", 45, 0x33);
    check_unreadable("changed.png", MCL_ERROR_FORMAT, "damaged PNG");
    put_png("wide.png", pixels, sizeof pixels, 16, 16, SPNG_COLOR_TYPE_TRUECOLOR, 8, NULL, NULL);
    change_byte("wide.png", 16, 0x70);
    check_unreadable("wide.png", MCL_ERROR_FORMAT, "PNG");
    put_file("text.jpg", "not a picture", 13);
    check_unreadable("text.jpg", MCL_ERROR_FORMAT, "neither a JPEG nor a PNG");
    put_file("empty.png", "", 0);
    check_unreadable("empty.png", MCL_ERROR_FORMAT, "neither");
    check_unreadable("missing.png", MCL_ERROR_NOT_FOUND, "No such file");
}
END_TEST

/* Bytes between two markers do no harm; but nothing that is wrong behind them passes with them. */
START_TEST(jpeg_stray_bytes)
{
    uint8_t pixels[16 * 16 * 3];
    char *text, longer[4096];
    size_t size, at = 2;
    quarters(pixels);
    put_jpeg("stray.jpg", pixels, 16, 16, TJPF_RGB, 0);
    ck_assert_int_eq(mcl__file_read(in_folder("stray.jpg"), 0, &text, &size, NULL), MCL_OK);
    while (at + 2 < size && !((uint8_t)text[at] == 0xff && (uint8_t)text[at + 1] == 0xdb)) at++; /* the first table */
    ck_assert_uint_lt(size + 3, sizeof longer);
    memcpy(longer, text, at);
    memcpy(longer + at, "abc", 3);
    memcpy(longer + at + 3, text + at, size - at);
    put_file("stray.jpg", longer, size + 3);
    load("stray.jpg", 16, 3);
    check_pixel(255, 128, 128, 128, 3);
    put_file("stray.jpg", longer, size - 20);
    check_unreadable("stray.jpg", MCL_ERROR_FORMAT, "damaged JPEG");
    free(text);
}
END_TEST

/* The filter in double: the same weights, and no rounding in between. */
static double filtered(const uint8_t *source, int height, int width, int C, int c, const double box[4], int H, int W, int y, int x)
{
    double scale_y = box[3] / H, scale_x = box[2] / W, sy = fmax(scale_y, 1), sx = fmax(scale_x, 1);
    double cy = box[1] + (y + 0.5) * scale_y, cx = box[0] + (x + 0.5) * scale_x, sum = 0, total = 0;
    for (int j = 0; j < height; j++)
        for (int i = 0; i < width; i++) {
            double weight = fmax(0, 1 - fabs(j + 0.5 - cy) / sy) * fmax(0, 1 - fabs(i + 0.5 - cx) / sx);
            sum += weight * source[(j * width + i) * C + c];
            total += weight;
        }
    return sum / total;
}

static const struct { int height, width, H, W; } scalings[] = {
    {1, 1, 5, 7}, {7, 13, 3, 2}, {13, 7, 16, 16}, {30, 50, 28, 28}, {50, 30, 28, 28}, {64, 64, 64, 64}, {97, 101, 10, 33},
    {3, 90, 8, 8}, {40, 20, 10, 40},
};

START_TEST(scaling_follows_the_filter)
{
    int height = scalings[_i].height, width = scalings[_i].width, H = scalings[_i].H, W = scalings[_i].W;
    uint8_t *source = malloc((size_t)(height * width * 3)), *target = malloc((size_t)(H * W * 3));
    uint32_t state = 7;
    for (int i = 0; i < height * width * 3; i++) source[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
    for (int mode = 0; mode < 2; mode++) {
        double box[4] = {0, 0, width, height};
        if (mode == MCL_RESIZE_CROP) {
            double scale = fmax((double)H / height, (double)W / width);
            box[2] = W / scale, box[3] = H / scale;
            box[0] = (width - box[2]) / 2, box[1] = (height - box[3]) / 2;
        }
        ck_assert_int_eq(mcl__resize(source, height, width, 3, (mcl_resize)mode, H, W, target, NULL), MCL_OK);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                for (int c = 0; c < 3; c++) {
                    double expected = filtered(source, height, width, 3, c, box, H, W, y, x);
                    ck_assert_msg(fabs(target[(y * W + x) * 3 + c] - expected) <= 1.01, "(%d, %d): %d, not %g", y, x,
                                  target[(y * W + x) * 3 + c], expected);
                }
    }
    if (height == H && width == W) ck_assert_mem_eq(source, target, (size_t)(H * W * 3));
    memset(source, 201, (size_t)(height * width * 3));
    ck_assert_int_eq(mcl__resize(source, height, width, 3, MCL_RESIZE_STRETCH, H, W, target, NULL), MCL_OK);
    for (int i = 0; i < H * W * 3; i++) ck_assert_int_eq(target[i], 201);
    free(source);
    free(target);
}
END_TEST

/* A large JPEG is decoded at a fraction of its size; the picture stays the same one. */
START_TEST(large_jpeg)
{
    enum { SIDE = 512 };
    uint8_t *pixels = malloc(SIDE * SIDE * 3);
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            uint8_t *p = pixels + (y * SIDE + x) * 3;
            p[0] = (uint8_t)(x / 2), p[1] = (uint8_t)(y / 2), p[2] = (uint8_t)(x / 64 % 2 * 200);
        }
    put_jpeg("large.jpg", pixels, SIDE, SIDE, TJPF_RGB, 0);
    load("large.jpg", 16, 3);
    const double box[4] = {0, 0, SIDE, SIDE};
    for (int i = 0; i < 256; i++)
        for (int c = 0; c < 3; c++)
            ck_assert_double_eq_tol(out[i * 3 + c], filtered(pixels, SIDE, SIDE, 3, c, box, 16, 16, i / 16, i % 16), 6);
    free(pixels);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("decode");
    tcase_add_checked_fixture(cases, make_folder, remove_folder);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, jpeg_colour_and_grey);
    tcase_add_test(cases, jpeg_cmyk);
    tcase_add_loop_test(cases, exif_orientations, 0, 9);
    tcase_add_test(cases, exif_changes_width_and_height);
    tcase_add_test(cases, exif_survives_anything);
    tcase_add_test(cases, png_kinds);
    tcase_add_test(cases, unreadable);
    tcase_add_test(cases, jpeg_stray_bytes);
    tcase_add_loop_test(cases, scaling_follows_the_filter, 0, sizeof scalings / sizeof *scalings);
    tcase_add_test(cases, large_jpeg);
    return run_suite(cases, "decode");
}
