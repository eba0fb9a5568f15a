/* Splits, orders, preprocessing and prefetched batches. */
#include "make.h"
#include "base/random.h"
#include <math.h>

enum { TRAIN = 103, TEST = 20, CLASSES = 4, BYTES = 20 };

static void setup(void)
{
    make_folder();
    put_idx(TRAIN, TEST, CLASSES);
}

START_TEST(split_is_exact_and_disjoint)
{
    const double fractions[] = {0.1, 0.25, 0.33, 0.5};
    mcl_dataset_options options = {.validation = fractions[_i], .seed = 5};
    mcl_dataset *data = open_folder(&options);
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    int expected = (int)lround(fractions[_i] * TRAIN);
    ck_assert_int_eq(info->part_count[MCL_PART_VALIDATION], expected);
    ck_assert_int_eq(info->part_count[MCL_PART_TRAIN], TRAIN - expected);
    ck_assert_int_eq(info->part_count[MCL_PART_TEST], TEST);
    int seen[TRAIN + TEST] = {0}, by_class[MCL_PARTS][CLASSES] = {{0}};
    for (int part = 0; part < MCL_PARTS; part++) {
        int count;
        const int32_t *samples = mcl_dataset_part(data, (mcl_part)part, &count);
        for (int i = 0; i < count; i++) {
            seen[samples[i]]++;
            by_class[part][mcl_dataset_label(data, samples[i])]++;
            if (i) ck_assert_int_gt(samples[i], samples[i - 1]);
        }
    }
    for (int i = 0; i < TRAIN + TEST; i++) ck_assert_int_eq(seen[i], 1);
    for (int c = 0; c < CLASSES; c++) { /* 26, 26, 26 and 25 of each */
        double share = fractions[_i] * (c < 3 ? 26 : 25);
        ck_assert(by_class[MCL_PART_VALIDATION][c] >= floor(share) && by_class[MCL_PART_VALIDATION][c] <= ceil(share));
    }
    mcl_dataset_close(data);
}
END_TEST

static uint64_t part_code(uint64_t seed, mcl_part part)
{
    mcl_dataset *data = open_folder(&(mcl_dataset_options){.validation = 0.2, .seed = seed});
    int count;
    const int32_t *samples = mcl_dataset_part(data, part, &count);
    uint64_t code = 0;
    for (int i = 0; i < count; i++) code = code * 1000003u + (uint64_t)samples[i];
    mcl_dataset_close(data);
    return code;
}

START_TEST(split_follows_the_seed)
{
    ck_assert(part_code(3, MCL_PART_VALIDATION) == part_code(3, MCL_PART_VALIDATION));
    ck_assert(part_code(3, MCL_PART_VALIDATION) != part_code(4, MCL_PART_VALIDATION));
    ck_assert(part_code(3, MCL_PART_TEST) == part_code(4, MCL_PART_TEST));
    /* Class 3 has samples 3, 7, ..., 99; its share of round(0.2 * 103) = 21 is 5: the first after the shuffle. */
    int32_t members[25];
    for (int i = 0; i < 25; i++) members[i] = 4 * i + 3;
    mcl__random_shuffle((mcl__random){.seed = 3, .stream = mcl__random_stream("split/validation", NULL), .t = 3}, members, 25);
    mcl_dataset *data = open_folder(&(mcl_dataset_options){.validation = 0.2, .seed = 3});
    int count, found = 0;
    const int32_t *samples = mcl_dataset_part(data, MCL_PART_VALIDATION, &count);
    ck_assert_int_eq(count, 21);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < 5; j++) found += samples[i] == members[j];
    ck_assert_int_eq(found, 5);
    mcl_dataset_close(data);
}
END_TEST

START_TEST(limit_draws_evenly)
{
    mcl_dataset *data = open_folder(&(mcl_dataset_options){.validation = 0.2, .seed = 3, .limit = 12});
    for (int part = 0; part < MCL_PARTS; part++) {
        int count, by_class[CLASSES] = {0};
        const int32_t *samples = mcl_dataset_part(data, (mcl_part)part, &count);
        ck_assert_int_eq(count, 12);
        for (int i = 0; i < count; i++) by_class[mcl_dataset_label(data, samples[i])]++;
        for (int c = 0; c < CLASSES; c++) ck_assert(by_class[c] >= 2 && by_class[c] <= 4);
    }
    ck_assert_int_eq(mcl_dataset_get_info(data)->count, TRAIN + TEST);
    mcl_dataset_close(data);
}
END_TEST

START_TEST(epoch_order)
{
    int32_t samples[50], order[50], again[50], other[50], expected[50];
    int differing = 0;
    for (int i = 0; i < 50; i++) samples[i] = expected[i] = 3 * i + 1;
    mcl__epoch_order(samples, 50, 11, 2, order);
    mcl__epoch_order(samples, 50, 11, 2, again);
    mcl__epoch_order(samples, 50, 11, 3, other);
    mcl__random_shuffle((mcl__random){.seed = 11, .stream = mcl__random_stream("shuffle", NULL), .t = 2}, expected, 50);
    ck_assert_mem_eq(order, again, sizeof order);
    ck_assert_mem_eq(order, expected, sizeof order);
    for (int i = 0; i < 50; i++) differing += order[i] != other[i];
    ck_assert_int_gt(differing, 25);
    mcl__epoch_order(samples, 0, 11, 2, order);
}
END_TEST

START_TEST(fit_is_exact)
{
    mcl_dataset *data = open_folder(&(mcl_dataset_options){.validation = 0.2, .seed = 3, .stream = _i & 1});
    int count;
    const int32_t *samples = mcl_dataset_part(data, MCL_PART_TRAIN, &count);
    uint64_t sum = 0, squares = 0;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < BYTES; k++) {
            uint64_t value = idx_pixel(samples[i], k);
            sum += value;
            squares += value * value;
        }
    double n = (double)count * BYTES, mean = (double)sum / n, deviation = sqrt((double)squares / n - mean * mean);
    mcl_preprocessing fitted;
    ck_assert_int_eq(mcl_preprocessing_fit(data, MCL_PREPROCESSING_STANDARDISE, &fitted, NULL), MCL_OK);
    ck_assert(fitted.channels == 1 && fitted.mean[0] == (float)mean && fitted.inverse_deviation[0] == (float)(1 / deviation));
    ck_assert_int_eq(mcl_preprocessing_fit(data, MCL_PREPROCESSING_CENTRE, &fitted, NULL), MCL_OK);
    ck_assert(fitted.mean[0] == (float)mean && fitted.inverse_deviation[0] == (float)(1.0 / 255));
    ck_assert_int_eq(mcl_preprocessing_fit(data, MCL_PREPROCESSING_SCALE, &fitted, NULL), MCL_OK);
    ck_assert(fitted.mean[0] == 0 && fitted.inverse_deviation[0] == (float)(1.0 / 255));
    ck_assert_int_eq(mcl_preprocessing_fit(data, (mcl_preprocessing_kind)7, &fitted, NULL), MCL_ERROR_INVALID);
    mcl_dataset_close(data);
}
END_TEST

START_TEST(fit_of_a_constant)
{
    put_plain("plain/a/1.png", 8, 8, 9);
    put_plain("plain/b/1.png", 8, 8, 9);
    mcl_dataset *data;
    ck_assert_int_eq(mcl_dataset_open(in_folder("plain"), NULL, &data, NULL), MCL_OK);
    mcl_preprocessing fitted;
    ck_assert_int_eq(mcl_preprocessing_fit(data, MCL_PREPROCESSING_STANDARDISE, &fitted, NULL), MCL_OK);
    for (int c = 0; c < 3; c++) ck_assert(fitted.mean[c] == 9 && fitted.inverse_deviation[c] == (float)(1.0 / 255));
    mcl_dataset_close(data);
}
END_TEST

START_TEST(stream_gives_what_fetch_gives)
{
    enum { BATCH = 8 };
    mcl_dataset *data = open_folder(&(mcl_dataset_options){.stream = _i & 1});
    ck_assert((mcl__dataset_pixels(data) == NULL) == (_i & 1));
    int32_t order[TRAIN];
    int count, done = 0, valid;
    const int32_t *samples = mcl_dataset_part(data, MCL_PART_TRAIN, &count), *labels;
    const uint8_t *pixels;
    uint8_t expected[BATCH * BYTES];
    mcl__epoch_order(samples, count, 1, 0, order);
    mcl__stream *stream;
    ck_assert_int_eq(mcl__stream_create(data, order, count, BATCH, 2 + _i, &stream, NULL), MCL_OK);
    for (;;) {
        ck_assert_int_eq(mcl__stream_next(stream, &pixels, &labels, &valid, NULL), MCL_OK);
        if (valid == 0) break;
        ck_assert_int_eq(valid, count - done < BATCH ? count - done : BATCH);
        memset(expected, 0, sizeof expected);
        ck_assert_int_eq(mcl__dataset_fetch(data, order + done, valid, expected, NULL), MCL_OK);
        ck_assert_mem_eq(pixels, expected, sizeof expected);
        for (int i = 0; i < BATCH; i++) ck_assert_int_eq(labels[i], i < valid ? mcl_dataset_label(data, order[done + i]) : 0);
        done += valid;
    }
    ck_assert_int_eq(done, count);
    ck_assert_int_eq(mcl__stream_next(stream, &pixels, &labels, &valid, NULL), MCL_OK);
    ck_assert_int_eq(valid, 0);
    mcl__stream_destroy(stream);
    for (int taken = 0; taken < 3; taken++) { /* leaving early */
        ck_assert_int_eq(mcl__stream_create(data, order, count, BATCH, 3, &stream, NULL), MCL_OK);
        for (int i = 0; i < taken; i++) ck_assert_int_eq(mcl__stream_next(stream, &pixels, &labels, &valid, NULL), MCL_OK);
        mcl__stream_destroy(stream);
    }
    mcl__stream_destroy(NULL);
    ck_assert_int_eq(mcl__stream_create(data, order, 0, BATCH, 3, &stream, NULL), MCL_OK);
    ck_assert_int_eq(mcl__stream_next(stream, &pixels, &labels, &valid, NULL), MCL_OK);
    ck_assert_int_eq(valid, 0);
    mcl__stream_destroy(stream);
    mcl_dataset_close(data);
}
END_TEST

START_TEST(stream_hands_errors_on)
{
    for (int i = 0; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof name, "pictures/%c/%d.png", 'a' + i % 2, i);
        put_plain(name, 8, 8, i);
    }
    put_file("pictures/b/3.png", "no", 2); /* sample 4 of a: 0 2 4, b: 1 3 5 */
    mcl_dataset *data;
    ck_assert_int_eq(mcl_dataset_open(in_folder("pictures"), &(mcl_dataset_options){.stream = true}, &data, NULL), MCL_OK);
    const int32_t order[6] = {0, 1, 2, 4, 3, 5};
    const uint8_t *pixels;
    const int32_t *labels;
    int valid;
    mcl__stream *stream;
    mcl_error error = {0};
    ck_assert_int_eq(mcl__stream_create(data, order, 6, 2, 4, &stream, NULL), MCL_OK);
    ck_assert_int_eq(mcl__stream_next(stream, &pixels, &labels, &valid, &error), MCL_OK);
    ck_assert_int_eq(mcl__stream_next(stream, &pixels, &labels, &valid, &error), MCL_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, "b/3.png"));
    ck_assert_int_eq(mcl__stream_next(stream, &pixels, &labels, &valid, NULL), MCL_OK);
    ck_assert_int_eq(valid, 2);
    mcl__stream_destroy(stream);
    mcl_dataset_close(data);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("parts");
    tcase_add_checked_fixture(cases, setup, remove_folder);
    tcase_add_loop_test(cases, split_is_exact_and_disjoint, 0, 4);
    tcase_add_test(cases, split_follows_the_seed);
    tcase_add_test(cases, limit_draws_evenly);
    tcase_add_test(cases, epoch_order);
    tcase_add_loop_test(cases, fit_is_exact, 0, 2);
    tcase_add_test(cases, fit_of_a_constant);
    tcase_add_loop_test(cases, stream_gives_what_fetch_gives, 0, 4);
    tcase_add_test(cases, stream_hands_errors_on);
    return run_suite(cases, "parts");
}
