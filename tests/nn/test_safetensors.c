/* safetensors: what is written is read back, and no file, whatever is in it, is believed. */
#include "nn/safetensors.h"
#include "base/file.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

static char folder[] = "/tmp/monocle-test-safetensors-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static const float ramp[6] = {0, 1, 2, -3, 4.5f, 1e-20f};
static const int64_t large[3] = {INT64_MIN, 0, INT64_MAX};
static const unsigned char bytes[5] = {0, 1, 2, 254, 255};

static mcl_status write_sample(const char *path, mcl_error *error)
{
    mcl__safetensors_writer *writer;
    int64_t step = 77;
    MCL_TRY(mcl__safetensors_writer_create(&writer, error));
    mcl__safetensors_writer_metadata(writer, "format", "pt");
    mcl__safetensors_writer_metadata(writer, "text", "line\n\"quoted\" \xc3\xa9");
    mcl__safetensors_writer_add(writer, "bytes", MCL__SAFETENSORS_U8, 1, (int64_t[]){5}, bytes);
    mcl__safetensors_writer_add(writer, "b.weight", MCL__SAFETENSORS_F32, 2, (int64_t[]){2, 3}, ramp);
    mcl__safetensors_writer_add(writer, "large", MCL__SAFETENSORS_I64, 1, (int64_t[]){3}, large);
    mcl__safetensors_writer_add(writer, "step", MCL__SAFETENSORS_I64, 0, NULL, &step);
    mcl__safetensors_writer_add(writer, "none", MCL__SAFETENSORS_F32, 2, (int64_t[]){0, 7}, NULL);
    return mcl__safetensors_writer_write(writer, path, error);
}

START_TEST(round_trip)
{
    mcl_error error = {0};
    mcl__safetensors *file;
    ck_assert_msg(write_sample(in_folder("a"), &error) == MCL_OK, "%s", error.text);
    ck_assert_msg(mcl__safetensors_open(in_folder("a"), &file, &error) == MCL_OK, "%s", error.text);
    ck_assert_int_eq(file->tensors, 5);
    const mcl__safetensors_tensor *tensor = mcl__safetensors_find(file, "b.weight");
    ck_assert_ptr_nonnull(tensor);
    ck_assert_int_eq(tensor->dtype, MCL__SAFETENSORS_F32);
    ck_assert_int_eq(tensor->rank, 2);
    ck_assert_int_eq(tensor->shape[1], 3);
    ck_assert_uint_eq(tensor->bytes, sizeof ramp);
    ck_assert_mem_eq(tensor->data, ramp, sizeof ramp);
    tensor = mcl__safetensors_find(file, "large");
    ck_assert_mem_eq(tensor->data, large, sizeof large);
    ck_assert_uint_eq((uintptr_t)tensor->data % 8, 0);
    ck_assert_int_eq(mcl__safetensors_find(file, "step")->rank, 0);
    ck_assert_uint_eq(mcl__safetensors_find(file, "none")->bytes, 0);
    ck_assert_mem_eq(mcl__safetensors_find(file, "bytes")->data, bytes, 5);
    ck_assert_ptr_null(mcl__safetensors_find(file, "__metadata__"));
    ck_assert_str_eq(mcl__safetensors_metadata(file, "format"), "pt");
    ck_assert_str_eq(mcl__safetensors_metadata(file, "text"), "line\n\"quoted\" \xc3\xa9");
    ck_assert_ptr_null(mcl__safetensors_metadata(file, "other"));
    mcl__safetensors_close(file);
    mcl__safetensors_close(NULL);
}
END_TEST

/* Each single changed byte, and each shorter file, is noticed (or, in the padding of the header, changes nothing). */
START_TEST(damage_is_noticed)
{
    mcl_error error = {0};
    char *data;
    size_t size;
    mcl__safetensors *file;
    ck_assert_int_eq(write_sample(in_folder("a"), &error), MCL_OK);
    ck_assert_int_eq(mcl__file_read(in_folder("a"), 0, &data, &size, &error), MCL_OK);
    for (size_t i = 0; i < size; i++) {
        mcl_error own = {0};
        data[i] = (char)(data[i] ^ 4);
        ck_assert_msg(mcl__safetensors_parse(data, size, "x", &file, &own) != MCL_OK, "byte %zu of %zu", i, size);
        data[i] = (char)(data[i] ^ 4);
    }
    for (size_t i = 0; i < size; i++) {
        mcl_error own = {0};
        ck_assert_int_eq(mcl__safetensors_parse(data, i, "x", &file, &own), MCL_ERROR_FORMAT);
        ck_assert_ptr_null(file);
    }
    free(data);
}
END_TEST

/* Headers, followed by `area` bytes of data. */
static const struct { const char *header; int area; const char *expected; } hostile[] = {
    {"{}", 0, NULL},
    {"{\"__metadata__\":{}}   ", 0, NULL},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, NULL},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, NULL},
    {"{\"a\":{\"dtype\":\"I32\",\"shape\":[3,0],\"data_offsets\":[0,0]}}", 0, NULL},
    {"[]", 0, "not a safetensors file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}", 8, "x:1:"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "tensor a: it ends behind the end of the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, "1 bytes after the last tensor"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12, "there is a hole before it"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[6,10]}}", 10, "tensor b: it overlaps another tensor"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "it overlaps another tensor"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", 16, "x:1:"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "its data_offsets are not valid"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "its data_offsets are not valid"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8.0]}}", 8, "its data_offsets are not valid"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,9223372036854775807]}}", 8, "do not fit its shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,99999999999999999999]}}", 8, "x:1:"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "two data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"more\":1}}", 8, "nothing else"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "do not fit its shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "its shape is not valid"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"2\"],\"data_offsets\":[0,8]}}", 8, "its shape is not valid"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, "its shape is not valid"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, "too many dimensions"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8, "it needs dtype, shape"},
    {"{\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "its element type is not one of"},
    {"{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "it needs dtype"},
    {"{\"a\":[]}", 0, "it needs dtype"},
    {"{\"a\":null}", 0, "it needs dtype"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is no mapping"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "that is no text"},
    {"{\"__metadata__\":{\"xxh64\":\"0123\"}}", 0, "checksum"},
    {"{\"__metadata__\":{\"xxh64\":\"0123456789abcdef\"}}", 0, "the file is damaged"},
    {"{\"\\u0000\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "x:1:"},
    {"{\"\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "x:1:"},
};

static size_t make_file(const char *header, int area, char *data)
{
    size_t length = strlen(header);
    memset(data, 0, 8);
    for (int i = 0; i < 8; i++) data[i] = (char)((uint64_t)length >> 8 * i & 255);
    memcpy(data + 8, header, length);
    memset(data + 8 + length, 1, (size_t)area);
    return 8 + length + (size_t)area;
}

START_TEST(hostile_headers)
{
    char data[512];
    mcl_error error = {0};
    mcl__safetensors *file;
    size_t size = make_file(hostile[_i].header, hostile[_i].area, data);
    mcl_status status = mcl__safetensors_parse(data, size, "x", &file, &error);
    if (!hostile[_i].expected) {
        ck_assert_msg(status == MCL_OK, "%s", error.text);
        mcl__safetensors_close(file);
        return;
    }
    ck_assert_msg(status == MCL_ERROR_FORMAT, "%s", hostile[_i].header);
    ck_assert_ptr_null(file);
    ck_assert_msg(strstr(error.text, hostile[_i].expected) != NULL, "\"%s\" lacks \"%s\"", error.text, hostile[_i].expected);
}
END_TEST

START_TEST(hostile_lengths)
{
    static const uint64_t lengths[] = {0, 1, 3, 4, 1u << 20, UINT64_C(1) << 40, UINT64_MAX - 7, UINT64_MAX};
    for (int i = 0; i < COUNT(lengths); i++) {
        char data[10] = {0, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
        mcl_error error = {0};
        mcl__safetensors *file;
        for (int j = 0; j < 8; j++) data[j] = (char)(lengths[i] >> 8 * j & 255);
        ck_assert_int_eq(mcl__safetensors_parse(data, sizeof data, "x", &file, &error), MCL_ERROR_FORMAT);
    }
}
END_TEST

START_TEST(writer_failures)
{
    mcl_error error = {0};
    mcl__safetensors_writer *writer;
    ck_assert_int_eq(write_sample(in_folder("keep"), &error), MCL_OK);
    ck_assert_int_eq(mcl__safetensors_writer_create(&writer, &error), MCL_OK);
    mcl__safetensors_writer_add(writer, "a", MCL__SAFETENSORS_F32, 1, (int64_t[]){2}, ramp);
    mcl__safetensors_writer_add(writer, "a", MCL__SAFETENSORS_F32, 1, (int64_t[]){2}, ramp);
    ck_assert_int_eq(mcl__safetensors_writer_write(writer, in_folder("keep"), &error), MCL_ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "tensor a was added twice"));
    mcl__safetensors *file;
    mcl_error later = {0};
    ck_assert_int_eq(mcl__safetensors_open(in_folder("keep"), &file, &later), MCL_OK); /* the earlier file stays */
    mcl__safetensors_close(file);
    ck_assert_int_eq(write_sample("/nonexistent/folder/file", &later), MCL_ERROR_NOT_FOUND);
    mcl_error missing = {0};
    ck_assert_int_eq(mcl__safetensors_open(in_folder("missing"), &file, &missing), MCL_ERROR_NOT_FOUND);
    mcl__safetensors_writer_destroy(NULL);
}
END_TEST

int main(void)
{
    if (!mkdtemp(folder)) return 1;
    Suite *suite = suite_create("nn/safetensors");
    TCase *tests = tcase_create("safetensors");
    tcase_add_test(tests, round_trip);
    tcase_add_test(tests, damage_is_noticed);
    tcase_add_loop_test(tests, hostile_headers, 0, COUNT(hostile));
    tcase_add_test(tests, hostile_lengths);
    tcase_add_test(tests, writer_failures);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return failed > 0 || system(command) != 0;
}
