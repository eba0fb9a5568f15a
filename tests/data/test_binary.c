/* IDX and CIFAR-10: what is read from good files, and what is said of bad ones. */
#include "make.h"

START_TEST(reads_idx)
{
    put_idx(23, 7, 3);
    mcl_dataset *data = open_folder(NULL);
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    ck_assert(info->format == MCL_DATA_IDX && info->count == 30 && info->height == 5 && info->width == 4 && info->channels == 1);
    ck_assert(info->classes == 3 && info->part_count[MCL_PART_TRAIN] == 23 && info->part_count[MCL_PART_VALIDATION] == 0 &&
              info->part_count[MCL_PART_TEST] == 7);
    ck_assert_str_eq(mcl_dataset_class_name(data, 2), "2");
    ck_assert_ptr_null(mcl_dataset_class_name(data, 3));
    ck_assert_ptr_null(mcl_dataset_file(data, 0));
    const uint8_t *pixels = mcl__dataset_pixels(data);
    for (int i = 0; i < 30; i++) {
        int in_file = i < 23 ? i : i - 23;
        ck_assert_int_eq(mcl_dataset_label(data, i), in_file % 3);
        for (int k = 0; k < 20; k++) ck_assert_int_eq(pixels[i * 20 + k], idx_pixel(in_file, k));
    }
    int count;
    const int32_t *test = mcl_dataset_part(data, MCL_PART_TEST, &count);
    for (int i = 0; i < 7; i++) ck_assert_int_eq(test[i], 23 + i);
    uint8_t read[40];
    const int32_t samples[2] = {24, 0}, wrong[1] = {30};
    ck_assert_int_eq(mcl_dataset_read(data, samples, 2, read, NULL), MCL_OK);
    ck_assert_mem_eq(read, pixels + 24 * 20, 20);
    ck_assert_mem_eq(read + 20, pixels, 20);
    ck_assert_int_eq(mcl_dataset_read(data, wrong, 1, read, NULL), MCL_ERROR_INVALID);
    mcl_dataset_close(data);
    mcl_dataset_close(NULL);
}
END_TEST

START_TEST(idx_class_names)
{
    put_idx(20, 5, 3);
    put_file("classes.txt", "shirt\nshoe\r\nbag\ncoat\n", 22);
    mcl_dataset *data = open_folder(NULL);
    ck_assert_int_eq(mcl_dataset_get_info(data)->classes, 4);
    ck_assert_str_eq(mcl_dataset_class_name(data, 1), "shoe");
    mcl_dataset_close(data);
}
END_TEST

START_TEST(idx_without_test_part)
{
    put_idx_pictures("train-images.idx3-ubyte", 20, 3, 3);
    put_idx_labels("train-labels-idx1-ubyte", 20, 4);
    mcl_dataset *data = open_folder(&(mcl_dataset_options){.test = 0.25});
    ck_assert_int_eq(mcl_dataset_get_info(data)->part_count[MCL_PART_TRAIN], 15);
    ck_assert_int_eq(mcl_dataset_get_info(data)->part_count[MCL_PART_TEST], 5);
    mcl_dataset_close(data);
}
END_TEST

/* What is done to good files (23 and 7 samples), and what opening must then say. */
static void truncate_gz(void) { cut_file("train-images-idx3-ubyte.gz", 20); }
static void truncate_plain(void) { cut_file("t10k-images-idx3-ubyte", 3); }
static void truncate_header(void) { cut_file("t10k-labels-idx1-ubyte", 10); }
static void corrupt_gz(void) { change_byte("train-images-idx3-ubyte.gz", 30, 0xff); }
static void corrupt_checksum(void) { change_byte("train-labels-idx1-ubyte.gz", -8, 0x5a); }
static void wrong_magic(void) { change_byte("t10k-images-idx3-ubyte", 3, 1); }
static void too_few_labels(void) { put_idx_labels("train-labels-idx1-ubyte.gz", 22, 3); }
static void label_out_of_range(void) { change_byte("t10k-labels-idx1-ubyte", 10, 3); }
static void stray_label(void)
{
    put_idx_labels("train-labels-idx1-ubyte", 23, 3);
    unlink(in_folder("train-labels-idx1-ubyte.gz"));
    change_byte("train-labels-idx1-ubyte", 12, 200);
}
static void named_out_of_range(void) { put_file("classes.txt", "a\nb\n", 4); }
static void other_size(void) { put_idx_pictures("t10k-images-idx3-ubyte", 7, 4, 5); }
static void no_labels(void) { unlink(in_folder("train-labels-idx1-ubyte.gz")); }
static void too_long(void)
{
    FILE *file = fopen(in_folder("t10k-images-idx3-ubyte"), "ab");
    fputc(1, file);
    fclose(file);
}
static void huge(void)
{
    change_byte("t10k-images-idx3-ubyte", 4, 0x7f);
    change_byte("t10k-labels-idx1-ubyte", 4, 0x7f);
}
static void zero_size(void) { change_byte("t10k-images-idx3-ubyte", 11, 0); }
static void folder_for_file(void)
{
    unlink(in_folder("train-images-idx3-ubyte.gz"));
    unlink(in_folder("train-labels-idx1-ubyte.gz"));
}

static const struct { void (*spoil)(void); mcl_status status; const char *file, *text; } bad_idx[] = {
    {truncate_gz, MCL_ERROR_FORMAT, "train-images-idx3-ubyte.gz", "truncated"},
    {truncate_plain, MCL_ERROR_FORMAT, "t10k-images-idx3-ubyte", "truncated"},
    {truncate_header, MCL_ERROR_FORMAT, "t10k-labels-idx1-ubyte", "truncated"},
    {corrupt_gz, MCL_ERROR_FORMAT, "train-images-idx3-ubyte.gz", "damaged"},
    {corrupt_checksum, MCL_ERROR_FORMAT, "train-labels-idx1-ubyte.gz", "damaged"},
    {wrong_magic, MCL_ERROR_FORMAT, "t10k-images-idx3-ubyte", "0x00000801"},
    {too_few_labels, MCL_ERROR_FORMAT, "train-images-idx3-ubyte.gz has 23 pictures", "22 labels"},
    {label_out_of_range, MCL_ERROR_FORMAT, "t10k-labels-idx1-ubyte", "label 3 of picture 2 is out of range"},
    {stray_label, MCL_ERROR_FORMAT, "train-labels-idx1-ubyte", "label 200 out of range"},
    {named_out_of_range, MCL_ERROR_FORMAT, "train-labels-idx1-ubyte.gz", "out of range: there are 2 classes"},
    {other_size, MCL_ERROR_FORMAT, "t10k-images-idx3-ubyte", "4 x 5"},
    {no_labels, MCL_ERROR_FORMAT, "train-images-idx3-ubyte.gz", "no file of its labels"},
    {too_long, MCL_ERROR_FORMAT, "t10k-images-idx3-ubyte", "longer than its header says"},
    {huge, MCL_ERROR_FORMAT, "t10k-images-idx3-ubyte", "truncated"},
    {zero_size, MCL_ERROR_FORMAT, "t10k-images-idx3-ubyte", "impossible size"},
    {folder_for_file, MCL_ERROR_FORMAT, folder, "at least two folders"},
};

START_TEST(refuses_bad_idx)
{
    put_idx(23, 7, 3);
    bad_idx[_i].spoil();
    check_refused(NULL, bad_idx[_i].status, bad_idx[_i].file, bad_idx[_i].text);
}
END_TEST

static void put_cifar(const char *name, int first, int count)
{
    uint8_t *bytes = malloc((size_t)count * 3073);
    for (int i = 0; i < count; i++) {
        uint8_t *record = bytes + (size_t)i * 3073;
        record[0] = (uint8_t)((first + i) % 10);
        for (int k = 0; k < 3072; k++) record[1 + k] = (uint8_t)(first + i + k / 1024 * 50 + k % 1024);
    }
    put_file(name, bytes, (size_t)count * 3073);
    free(bytes);
}

START_TEST(reads_cifar)
{
    put_cifar("data_batch_1.bin", 0, 12);
    put_cifar("data_batch_2.bin.gz", 12, 11);
    put_cifar("test_batch.bin", 23, 4);
    put_cifar("data_batch_1.bin.gz", 0, 12); /* as gzip -k leaves it: once is enough */
    mcl_dataset *data = open_folder(NULL);
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    ck_assert(info->format == MCL_DATA_CIFAR10 && info->count == 27 && info->height == 32 && info->width == 32 &&
              info->channels == 3);
    ck_assert(info->classes == 10 && info->part_count[MCL_PART_TRAIN] == 23 && info->part_count[MCL_PART_TEST] == 4);
    ck_assert_str_eq(mcl_dataset_class_name(data, 9), "truck");
    const uint8_t *pixels = mcl__dataset_pixels(data);
    for (int i = 0; i < 27; i++) {
        ck_assert_int_eq(mcl_dataset_label(data, i), i % 10);
        for (int k = 0; k < 3072; k++) ck_assert_int_eq(pixels[i * 3072 + k], (uint8_t)(i + k % 3 * 50 + k / 3));
    }
    mcl_dataset_close(data);
}
END_TEST

START_TEST(cifar_with_chosen_files)
{
    put_cifar("data_batch_1.bin", 0, 12);
    put_cifar("data_batch_5.bin", 12, 5);
    put_cifar("test_batch.bin", 17, 4);
    put_file("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n", 21);
    const char *const train[] = {"data_batch_1.bin"}, *const test[] = {"data_batch_5.bin"};
    mcl_dataset_options options = {.train_files = train, .train_file_count = 1, .test_files = test, .test_file_count = 1};
    mcl_dataset *data = open_folder(&options);
    ck_assert_int_eq(mcl_dataset_get_info(data)->part_count[MCL_PART_TRAIN], 12);
    ck_assert_int_eq(mcl_dataset_get_info(data)->part_count[MCL_PART_TEST], 5);
    ck_assert_str_eq(mcl_dataset_class_name(data, 9), "j");
    mcl_dataset_close(data);
    const char *const missing[] = {"data_batch_9.bin"};
    options.train_files = missing;
    check_refused(&options, MCL_ERROR_NOT_FOUND, "data_batch_9.bin", "No such file");
}
END_TEST

static void cifar_truncated(void) { cut_file("data_batch_1.bin", 5); }
static void cifar_empty(void) { put_file("data_batch_1.bin", "", 0); }
static void cifar_label(void) { change_byte("test_batch.bin", 3073, 10); }
static void cifar_names(void) { put_file("batches.meta.txt", "a\nb\n", 4); }

static const struct { void (*spoil)(void); const char *file, *text; } bad_cifar[] = {
    {cifar_truncated, "data_batch_1.bin", "truncated"},
    {cifar_empty, "data_batch_1.bin", "empty"},
    {cifar_label, "test_batch.bin", "label 10 of picture 1 is out of range"},
    {cifar_names, "batches.meta.txt", "2 names of classes"},
};

START_TEST(refuses_bad_cifar)
{
    put_cifar("data_batch_1.bin", 0, 12);
    put_cifar("test_batch.bin", 0, 2);
    bad_cifar[_i].spoil();
    check_refused(NULL, MCL_ERROR_FORMAT, bad_cifar[_i].file, bad_cifar[_i].text);
}
END_TEST

START_TEST(refuses_bad_paths_and_options)
{
    mcl_dataset *data = NULL;
    mcl_error error = {0};
    ck_assert_int_eq(mcl_dataset_open("/nonexistent/data", NULL, &data, &error), MCL_ERROR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.text, "/nonexistent/data"));
    check_refused(NULL, MCL_ERROR_FORMAT, folder, "found 0 folders and 0 files");
    check_refused(&(mcl_dataset_options){.format = MCL_DATA_IDX}, MCL_ERROR_NOT_FOUND, folder, "train-images-idx3-ubyte");
    check_refused(&(mcl_dataset_options){.format = MCL_DATA_CIFAR10}, MCL_ERROR_NOT_FOUND, folder, "data_batch_1.bin");
    put_file("file", "x", 1);
    ck_assert_int_eq(mcl_dataset_open(in_folder("file"), NULL, &data, NULL), MCL_ERROR_FORMAT);
    put_idx(23, 7, 3);
    check_refused(&(mcl_dataset_options){.validation = 1}, MCL_ERROR_INVALID, folder, "fractions");
    check_refused(&(mcl_dataset_options){.height = -1}, MCL_ERROR_INVALID, folder, "height and width");
    check_refused(&(mcl_dataset_options){.channels = 2}, MCL_ERROR_INVALID, folder, "channels");
    check_refused(&(mcl_dataset_options){.validation = 0.999}, MCL_ERROR_INVALID, folder, "too few");
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("binary");
    tcase_add_checked_fixture(cases, make_folder, remove_folder);
    tcase_add_test(cases, reads_idx);
    tcase_add_test(cases, idx_class_names);
    tcase_add_test(cases, idx_without_test_part);
    tcase_add_loop_test(cases, refuses_bad_idx, 0, sizeof bad_idx / sizeof *bad_idx);
    tcase_add_test(cases, reads_cifar);
    tcase_add_test(cases, cifar_with_chosen_files);
    tcase_add_loop_test(cases, refuses_bad_cifar, 0, sizeof bad_cifar / sizeof *bad_cifar);
    tcase_add_test(cases, refuses_bad_paths_and_options);
    return run_suite(cases, "binary");
}
