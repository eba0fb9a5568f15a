/* Whole reads, atomic writes, folders, JSON, and the small helpers for memory and hashes. */
#include "base/arena.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include <check.h>
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

static char folder[] = "/tmp/monocle-file-XXXXXX";
static char path[64];

static void setup(void)
{
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
}

static void teardown(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static int entries(const char *where)
{
    int count = 0;
    DIR *listing = opendir(where);
    for (struct dirent *entry; (entry = readdir(listing));) count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(listing);
    return count;
}

static void check_content(const char *expected)
{
    char *data;
    size_t bytes;
    ck_assert_int_eq(mcl__file_read(path, 0, &data, &bytes, NULL), MCL_OK);
    ck_assert_uint_eq(bytes, strlen(expected));
    ck_assert_str_eq(data, expected);
    free(data);
}

START_TEST(write_and_read)
{
    mcl_error error = {0};
    ck_assert_int_eq(mcl__file_write(path, "first", 5, &error), MCL_OK);
    check_content("first");
    ck_assert_int_eq(chmod(folder, 0755), 0);
    ck_assert_int_eq(mcl__file_write(path, "second", 6, &error), MCL_OK);
    check_content("second");
    ck_assert_int_eq(mcl__file_write(path, "", 0, &error), MCL_OK);
    check_content("");
    ck_assert_int_eq(entries(folder), 1);
    mcl__file_info info;
    ck_assert_int_eq(mcl__file_stat(path, &info, &error), MCL_OK);
    ck_assert(info.bytes == 0 && !info.folder && llabs(info.seconds - (long long)time(NULL)) < 60);
    ck_assert(mcl__file_exists(path) && !mcl__folder_exists(path) && mcl__folder_exists(folder) && !mcl__file_exists(folder));
}
END_TEST

START_TEST(read_failures)
{
    char *data;
    size_t bytes;
    mcl_error error = {0};
    ck_assert_int_eq(mcl__file_read(path, 0, &data, &bytes, &error), MCL_ERROR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.text, path));
    ck_assert_ptr_nonnull(strstr(error.text, "No such file"));
    ck_assert_int_eq(mcl__file_read(folder, 0, &data, &bytes, NULL), MCL_ERROR_IO);
    ck_assert_int_eq(mcl__file_write(path, "123456", 6, NULL), MCL_OK);
    ck_assert_int_eq(mcl__file_read(path, 5, &data, &bytes, NULL), MCL_ERROR_IO);
    ck_assert_int_eq(mcl__file_read(path, 6, &data, &bytes, NULL), MCL_OK);
    free(data);
    ck_assert_int_eq(mcl__file_read("/proc/self/status", 0, &data, &bytes, NULL), MCL_OK); /* says that it is empty */
    ck_assert_uint_gt(bytes, 100);
    free(data);
}
END_TEST

START_TEST(abort_leaves_the_earlier_file)
{
    mcl__file_writer *writer;
    ck_assert_int_eq(mcl__file_write(path, "first", 5, NULL), MCL_OK);
    ck_assert_int_eq(mcl__file_writer_open(path, &writer, NULL), MCL_OK);
    ck_assert_int_eq(mcl__file_writer_write(writer, "half of it", 10, NULL), MCL_OK);
    check_content("first");
    mcl__file_writer_abort(writer);
    mcl__file_writer_abort(NULL);
    check_content("first");
    ck_assert_int_eq(entries(folder), 1);
}
END_TEST

START_TEST(full_device)
{
    mcl_error error = {0};
    ck_assert_int_eq(mcl__file_write("/dev/full", "text", 4, &error), MCL_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(error.text, "/dev/full: no space left on device"));
    ck_assert(!mcl__file_exists("/dev/.full"));
}
END_TEST

START_TEST(no_space_leaves_the_earlier_file)
{
    static char big[1 << 16];
    ck_assert_int_eq(mcl__file_write(path, "first", 5, NULL), MCL_OK);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {.rlim_cur = 10000, .rlim_max = RLIM_INFINITY}, before;
    getrlimit(RLIMIT_FSIZE, &before);
    limit.rlim_max = before.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    mcl_error error = {0};
    mcl_status status = mcl__file_write(path, big, sizeof big, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    ck_assert_int_eq(status, MCL_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(error.text, "no space left on device"));
    ck_assert_ptr_nonnull(strstr(error.text, path));
    check_content("first");
    ck_assert_int_eq(entries(folder), 1);
}
END_TEST

START_TEST(unwritable_folder)
{
    char where[96];
    mcl_error error = {0};
    snprintf(where, sizeof where, "%s/none/file", folder);
    ck_assert_int_eq(mcl__file_write(where, "x", 1, &error), MCL_ERROR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.text, where));
}
END_TEST

START_TEST(stale_temporaries_go)
{
    char stale[96], fresh[96], other[96];
    snprintf(stale, sizeof stale, "%s/.file.123-4.tmp", folder);
    snprintf(fresh, sizeof fresh, "%s/.file.123-5.tmp", folder);
    snprintf(other, sizeof other, "%s/.filex.1-5.tmp", folder);
    struct utimbuf old = {.actime = time(NULL) - 1000, .modtime = time(NULL) - 1000};
    fclose(fopen(stale, "w"));
    fclose(fopen(fresh, "w"));
    fclose(fopen(other, "w"));
    utime(stale, &old);
    utime(other, &old);
    ck_assert_int_eq(mcl__file_write(path, "x", 1, NULL), MCL_OK);
    ck_assert(!mcl__file_exists(stale) && mcl__file_exists(fresh) && mcl__file_exists(other));
}
END_TEST

START_TEST(links_stay_links)
{
    char link[96];
    struct stat about;
    snprintf(link, sizeof link, "%s/link", folder);
    ck_assert_int_eq(mcl__file_write(path, "first", 5, NULL), MCL_OK);
    ck_assert_int_eq(symlink("file", link), 0);
    ck_assert_int_eq(mcl__file_write(link, "second", 6, NULL), MCL_OK);
    ck_assert(lstat(link, &about) == 0 && S_ISLNK(about.st_mode));
    check_content("second");
}
END_TEST

START_TEST(folders)
{
    char deep[96], *cache = NULL;
    struct stat about;
    mcl_error error = {0};
    snprintf(deep, sizeof deep, "%s/a/b/c", folder);
    ck_assert_int_eq(mcl__folder_create(deep, true, &error), MCL_OK);
    ck_assert_int_eq(mcl__folder_create(deep, true, &error), MCL_OK);
    ck_assert(stat(deep, &about) == 0 && (about.st_mode & 0777) == 0700);
    ck_assert_int_eq(mcl__file_write(path, "x", 1, NULL), MCL_OK);
    snprintf(deep, sizeof deep, "%s/file/b", folder);
    ck_assert_int_eq(mcl__folder_create(deep, false, &error), MCL_ERROR_IO);
    setenv("XDG_CACHE_HOME", folder, 1);
    ck_assert_int_eq(mcl__cache_folder("programs", &cache, NULL), MCL_OK);
    snprintf(deep, sizeof deep, "%s/monocle/programs", folder);
    ck_assert_str_eq(cache, deep);
    ck_assert(stat(deep, &about) == 0 && (about.st_mode & 0777) == 0700);
    free(cache);
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", folder, 1);
    ck_assert_int_eq(mcl__cache_folder(NULL, &cache, NULL), MCL_OK);
    snprintf(deep, sizeof deep, "%s/.cache/monocle", folder);
    ck_assert_str_eq(cache, deep);
    free(cache);
}
END_TEST

START_TEST(json)
{
    json_t *root = NULL;
    mcl_error error = {0};
    ck_assert_int_eq(mcl__json_parse("{\"a\": [1, 2.5]}", 15, "text", &root, &error), MCL_OK);
    ck_assert_double_eq(json_real_value(json_array_get(json_object_get(root, "a"), 1)), 2.5);
    json_decref(root);
    ck_assert_int_eq(mcl__json_parse("{\"a\":\n  1,, }", 13, "text", &root, &error), MCL_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, "text:2:"));
    ck_assert_int_eq(mcl__json_parse("{\"a\":1, \"a\":2}", 14, "text", &root, NULL), MCL_ERROR_FORMAT);
}
END_TEST

START_TEST(hashes)
{
    char hex[33];
    ck_assert(mcl__hash64("", 0) == UINT64_C(0xef46db3751d8e999));
    mcl__hash_hex("", 0, hex);
    ck_assert_str_eq(hex, "99aa06d3014798d86001c324468d497f"); /* of the XXH3 specification */
}
END_TEST

START_TEST(memory)
{
    mcl__arena arena = {0};
    unsigned char *small = mcl__arena_alloc(&arena, 3), *large = mcl__arena_alloc(&arena, 100000);
    ck_assert_uint_eq((uintptr_t)small % 16, 0);
    ck_assert_uint_eq((uintptr_t)large % 16, 0);
    for (int i = 0; i < 100000; i++) ck_assert(large[i] == 0);
    ck_assert_str_eq(mcl__arena_text(&arena, "%d-%s", 5, "x"), "5-x");
    ck_assert_str_eq(mcl__arena_copy(&arena, "hello", 4), "hell");
    ck_assert_ptr_null(mcl__arena_alloc(&arena, SIZE_MAX - 3));
    mcl__arena_clear(&arena);
    int *list = NULL;
    size_t capacity = 0;
    for (int i = 0; i < 1000; i++) {
        ck_assert(mcl__grow(&list, &capacity, (size_t)i + 1, sizeof *list));
        list[i] = i;
    }
    ck_assert_int_eq(list[999], 999);
    ck_assert(!mcl__grow(&list, &capacity, SIZE_MAX / 2, sizeof *list));
    ck_assert_int_eq(list[999], 999);
    free(list);
    char *text = mcl__text("%s/%d", "a", 1);
    ck_assert_str_eq(text, "a/1");
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("file");
    TCase *cases = tcase_create("file");
    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, write_and_read);
    tcase_add_test(cases, read_failures);
    tcase_add_test(cases, abort_leaves_the_earlier_file);
    tcase_add_test(cases, full_device);
    tcase_add_test(cases, no_space_leaves_the_earlier_file);
    tcase_add_test(cases, unwritable_folder);
    tcase_add_test(cases, stale_temporaries_go);
    tcase_add_test(cases, links_stay_links);
    tcase_add_test(cases, folders);
    tcase_add_test(cases, json);
    tcase_add_test(cases, hashes);
    tcase_add_test(cases, memory);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
