/* The cache of program binaries: used when sound, rebuilt from source without a word when not. */
#include "device/opencl/opencl.h"
#include "fixture.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define VALUE "-DCONSTANT=3.5f"

static char cache_home[] = "/tmp/monocle-test-cache-XXXXXX";
static const char *self;

static void empty_cache(void)
{
    char path[256];
    snprintf(path, sizeof path, "%s/monocle", cache_home);
    remove_folder(path);
    setenv("XDG_CACHE_HOME", cache_home, 1);
}

/* Opens, runs and closes; says whether the program came from the cache. The value must be right in any case. */
static bool comes_from_cache(const char *constants, float expected, bool no_cache)
{
    mcl_device *device = open_opencl(&(mcl_device_options){.no_cache = no_cache});
    ck_assert_float_eq(run_fixed(device, constants), expected);
    mcl_device_counters counters = mcl_device_get_counters(device);
    ck_assert_uint_eq(counters.programs_built + counters.programs_loaded, 1);
    mcl_device_close(device);
    return counters.programs_loaded == 1;
}

/* The path of the n-th entry (from 0); false: there are fewer. */
static bool entry(int n, char path[512])
{
    char folder[256];
    snprintf(folder, sizeof folder, "%s/monocle/programs", cache_home);
    DIR *listing = opendir(folder);
    bool found = false;
    for (struct dirent *item; listing && !found && (item = readdir(listing));)
        if (item->d_name[0] != '.' && n-- == 0) {
            snprintf(path, 512, "%s/%s", folder, item->d_name);
            found = true;
        }
    if (listing) closedir(listing);
    return found;
}

START_TEST(second_opening_loads)
{
    char path[512];
    struct stat info;
    empty_cache();
    ck_assert(!comes_from_cache(VALUE, 3.5f, false));
    ck_assert(entry(0, path) && !entry(1, path));
    ck_assert(comes_from_cache(VALUE, 3.5f, false));
    ck_assert(!comes_from_cache("-DCONSTANT=4.5f", 4.5f, false));
    ck_assert(comes_from_cache(VALUE, 3.5f, false));
    snprintf(path, sizeof path, "%s/monocle", cache_home);
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0700);
}
END_TEST

START_TEST(no_cache_neither_reads_nor_writes)
{
    char path[512];
    empty_cache();
    ck_assert(!comes_from_cache(VALUE, 3.5f, true));
    ck_assert(!entry(0, path));
    ck_assert(!comes_from_cache(VALUE, 3.5f, false));
    ck_assert(!comes_from_cache(VALUE, 3.5f, true));
}
END_TEST

START_TEST(an_edited_source_is_rebuilt)
{
    char edited[sizeof include_text + 32];
    empty_cache();
    ck_assert(!comes_from_cache(VALUE, 3.5f, false));
    snprintf(edited, sizeof edited, "/* edited */ %s", include_text);
    put_file(kernel_folder, "scale.h", edited);
    ck_assert(!comes_from_cache(VALUE, 3.5f, false));
    put_file(kernel_folder, "scale.h", include_text);
    ck_assert(comes_from_cache(VALUE, 3.5f, false));
}
END_TEST

typedef struct damage {
    const char *name;
    long truncate_to;
    long flip_at;
} damage; /* -1: not; flip_at < -1: from the end */
static const damage damages[] = {
    {"empty", 0, -1},        {"cut in the header", 20, -1},
    {"header only", 80, -1}, {"cut in the payload", 1000, -1},
    {"magic", -1, 0},        {"key", -1, 10},
    {"length", -1, 42},      {"checksum", -1, 50},
    {"payload", -1, 200},    {"last byte", -1, -2},
};

START_TEST(damaged_entries_are_rebuilt)
{
    const damage *d = &damages[_i];
    char path[512];
    empty_cache();
    ck_assert(!comes_from_cache(VALUE, 3.5f, false));
    ck_assert(entry(0, path));
    if (d->truncate_to >= 0) ck_assert_int_eq(truncate(path, d->truncate_to), 0);
    if (d->flip_at != -1) {
        FILE *file = fopen(path, "r+b");
        ck_assert_int_eq(d->flip_at < -1 ? fseek(file, d->flip_at + 1, SEEK_END) : fseek(file, d->flip_at, SEEK_SET),
                         0);
        int byte = fgetc(file);
        ck_assert_int_eq(fseek(file, -1, SEEK_CUR), 0);
        fputc(byte ^ 0x40, file);
        fclose(file);
    }
    ck_assert_msg(!comes_from_cache(VALUE, 3.5f, false), "%s", d->name);
    ck_assert_msg(comes_from_cache(VALUE, 3.5f, false), "%s: the new entry does not load", d->name);
}
END_TEST

/* A sound entry of one program under another's name. */
START_TEST(a_wrong_key_is_rebuilt)
{
    char one[512], other[512], command[1100];
    empty_cache();
    ck_assert(!comes_from_cache(VALUE, 3.5f, false));
    ck_assert(entry(0, one));
    ck_assert(!comes_from_cache("-DCONSTANT=4.5f", 4.5f, false));
    ck_assert(entry(0, other));
    if (strcmp(one, other) == 0) ck_assert(entry(1, other));
    snprintf(command, sizeof command, "cp '%s' '%s'", one, other);
    ck_assert_int_eq(system(command), 0);
    ck_assert(!comes_from_cache("-DCONSTANT=4.5f", 4.5f, false));
}
END_TEST

/* PoCL compiles a program's kernels once more for its binary, so none is asked for while its own cache lies in ours: what is kept
 * is bitcode. */
START_TEST(pocl_gives_bitcode)
{
    char path[512], start[256];
    const char *before = getenv("POCL_CACHE_DIR");
    char *folder = before ? strdup(before) : NULL;
    mcl_device *device = open_opencl(NULL);
    bool pocl = strstr(mcl_device_get_info(device)->platform, "Portable Computing Language") != NULL;
    mcl_device_close(device);
    empty_cache();
    snprintf(path, sizeof path, "%s/monocle/pocl", cache_home);
    setenv("POCL_CACHE_DIR", path, 1);
    ck_assert(!comes_from_cache(VALUE, 3.5f, false));
    ck_assert(entry(0, path) && !entry(1, path));
    FILE *file = fopen(path, "rb");
    size_t bytes = fread(start, 1, sizeof start, file);
    fclose(file);
    ck_assert(!pocl || memmem(start, bytes, "BC\xc0\xde", 4));
    ck_assert(comes_from_cache(VALUE, 3.5f, false));
    if (folder) setenv("POCL_CACHE_DIR", folder, 1);
    else unsetenv("POCL_CACHE_DIR");
    free(folder);
}
END_TEST

/* Blocks as bitcode has them, each with its number and a length in words, before and behind other bytes. */
START_TEST(bitcode_ends_with_its_blocks)
{
    unsigned char binary[64] = "program.bc BC\xc0\xde";
    const uint32_t blocks[] = {1 | 13 << 2, 1, 7, 1 | 8 << 2, 2, 7, 7, 1 | 23 << 2, 0, 1 | 77 << 2, 0};
    size_t before = 11, header = 4, whole = header + 9 * 4, found;
    memcpy(binary + before + header, blocks, sizeof blocks);
    ck_assert_ptr_eq(mcl__cl_bitcode_find(binary, sizeof binary, &found), binary + before);
    ck_assert_uint_eq(found, whole);
    ck_assert_ptr_eq(mcl__cl_bitcode_find(binary, before + whole, &found), binary + before);
    ck_assert_uint_eq(found, whole);
    ck_assert_ptr_eq(mcl__cl_bitcode_find(binary, before + whole - 1, &found), binary + before);
    ck_assert_uint_eq(found, whole - 8);                                                         /* the last one is cut */
    ck_assert_ptr_null(mcl__cl_bitcode_find(binary, before + header + 3 * 4 + 8, &found));       /* the module is */
    ck_assert_ptr_null(mcl__cl_bitcode_find(binary + before + 1, sizeof binary - before - 1, &found));
    ck_assert_ptr_null(mcl__cl_bitcode_find(binary, before + header, &found));
}
END_TEST

/* A file of 600 MB without its blocks, last used some days ago. */
static void put_large(const char *folder, const char *name, int days)
{
    char path[500];
    struct timespec used[2] = {{time(NULL) - days * 86400L, 0}, {time(NULL) - days * 86400L, 0}};
    snprintf(path, sizeof path, "mkdir -p '%s/%s'", cache_home, folder);
    ck_assert_int_eq(system(path), 0);
    snprintf(path, sizeof path, "%s/%s", cache_home, folder);
    put_file(path, name, "");
    snprintf(path, sizeof path, "%s/%s/%s", cache_home, folder, name);
    ck_assert_int_eq(truncate(path, 600 << 20), 0);
    ck_assert_int_eq(utimensat(AT_FDCWD, path, used, 0), 0);
}

static bool is_there(const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/monocle/%s", cache_home, name);
    return access(path, F_OK) == 0;
}

START_TEST(what_is_old_goes_when_there_is_much)
{
    empty_cache();
    mcl_device_close(open_opencl(NULL)); /* makes the folder, and the mark that it was looked at today */
    put_large("monocle/programs", "two-days", 2);
    put_large("monocle/pocl/AB/PROGRAM/kernel", "nine-days", 9);
    put_large("monocle/programs", "today", 0);
    put_large("monocle/pocl/CD/PROGRAM/kernel", "today", 0);
    mcl_device_close(open_opencl(NULL));
    ck_assert(is_there("trimmed") && is_there("programs/two-days"));
    put_large("monocle", "trimmed", 2);
    mcl_device_close(open_opencl(NULL));
    ck_assert(!is_there("pocl/AB/PROGRAM") && !is_there("programs/two-days"));
    ck_assert(is_there("programs/today") && is_there("pocl/CD/PROGRAM/kernel/today"));
}
END_TEST

START_TEST(no_place_for_a_cache_is_no_failure)
{
    char path[300];
    put_file(cache_home, "file", "not a folder");
    snprintf(path, sizeof path, "%s/file/below", cache_home);
    setenv("XDG_CACHE_HOME", path, 1);
    ck_assert(!comes_from_cache(VALUE, 3.5f, false));
    setenv("XDG_CACHE_HOME", "/proc/no-such-place", 1);
    ck_assert(!comes_from_cache(VALUE, 3.5f, false));
}
END_TEST

/* Others could have put their binaries there. */
START_TEST(a_folder_open_to_others_is_not_used)
{
    char path[300];
    empty_cache();
    ck_assert(!comes_from_cache(VALUE, 3.5f, false));
    snprintf(path, sizeof path, "%s/monocle", cache_home);
    ck_assert_int_eq(chmod(path, 0777), 0);
    ck_assert(!comes_from_cache(VALUE, 3.5f, false));
    ck_assert_int_eq(chmod(path, 0700), 0);
    ck_assert(comes_from_cache(VALUE, 3.5f, false));
}
END_TEST

/* Two fresh processes (this program with an argument) on one empty cache, several times. */
START_TEST(two_processes_share_it)
{
    for (int round = 0; round < 3; round++) {
        char command[1400];
        empty_cache();
        snprintf(command, sizeof command, "'%s' child >&2 & '%s' child >&2; a=$?; wait $! && exit $a", self, self);
        int status = system(command);
        ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        ck_assert(comes_from_cache(VALUE, 3.5f, false));
    }
}
END_TEST

START_TEST(child)
{
    comes_from_cache(VALUE, 3.5f, false);
}
END_TEST

static int run_child(void)
{
    Suite *suite = suite_create("child");
    TCase *tests = tcase_create("child");
    tcase_add_test(tests, child);
    suite_add_tcase(suite, tests);
    return run_suite(suite, true);
}

int main(int count, char **arguments)
{
    if (count > 1 && strcmp(arguments[1], "child") == 0) return run_child();
    self = arguments[0];
    if (!mkdtemp(cache_home)) return EXIT_FAILURE;
    Suite *suite = suite_create("program cache");
    TCase *tests = tcase_create("all");
    tcase_add_test(tests, second_opening_loads);
    tcase_add_test(tests, no_cache_neither_reads_nor_writes);
    tcase_add_test(tests, an_edited_source_is_rebuilt);
    tcase_add_loop_test(tests, damaged_entries_are_rebuilt, 0, COUNT(damages));
    tcase_add_test(tests, a_wrong_key_is_rebuilt);
    tcase_add_test(tests, pocl_gives_bitcode);
    tcase_add_test(tests, bitcode_ends_with_its_blocks);
    tcase_add_test(tests, what_is_old_goes_when_there_is_much);
    tcase_add_test(tests, no_place_for_a_cache_is_no_failure);
    tcase_add_test(tests, a_folder_open_to_others_is_not_used);
    tcase_add_test(tests, two_processes_share_it);
    suite_add_tcase(suite, tests);
    int result = run_suite(suite, true);
    remove_folder(cache_home);
    return result;
}
