/* Folders of pictures: classes, parts, what is ignored, what cannot be read, the cache, and streaming. */
#include "make.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <utime.h>

/* Classes a, b and c of 6, 5 and 4 pictures; picture i of class c is plain 10 * (6 c + i) + 5. */
static int value_of(int class, int i) { return 10 * (6 * class + i) + 5; }

static void put_classes(const char *below)
{
    for (int class = 0; class < 3; class++)
        for (int i = 0; i < 6 - class; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s%c/%d.png", below, 'a' + class, i);
            put_plain(name, 9 + i, 8, value_of(class, i));
        }
}

static const mcl_dataset_options small = {.height = 4, .width = 4, .channels = 1, .threads = 3};

static void check_values(mcl_dataset *data, int skipped_class, int skipped_index)
{
    int sample = 0;
    for (int class = 0; class < 3; class++)
        for (int i = 0; i < 6 - class; i++) {
            uint8_t pixels[16];
            if (class == skipped_class && i == skipped_index) continue;
            ck_assert_int_eq(mcl_dataset_label(data, sample), class);
            ck_assert_int_eq(mcl_dataset_read(data, &sample, 1, pixels, NULL), MCL_OK);
            for (int k = 0; k < 16; k++) ck_assert_int_eq(pixels[k], value_of(class, i));
            sample++;
        }
    ck_assert_int_eq(mcl_dataset_get_info(data)->count, sample);
}

START_TEST(classes)
{
    put_classes("");
    put_file("a/notes.txt", "x", 1);
    put_file("a/.hidden.png", "x", 1);
    put_file("LICENSE", "x", 1);
    mcl_dataset *data = open_folder(&small);
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    ck_assert(info->format == MCL_DATA_PICTURES && info->count == 15 && info->classes == 3 &&
              info->part_count[MCL_PART_TRAIN] == 15);
    ck_assert(info->height == 4 && info->width == 4 && info->channels == 1 && info->skipped == 0);
    ck_assert_str_eq(mcl_dataset_class_name(data, 1), "b");
    ck_assert_str_eq(mcl_dataset_file(data, 6), in_folder("b/0.png"));
    ck_assert_ptr_null(mcl_dataset_file(data, 15));
    ck_assert_ptr_nonnull(mcl__dataset_pixels(data));
    check_values(data, -1, -1);
    mcl_dataset_close(data);
    data = open_folder(NULL);
    info = mcl_dataset_get_info(data);
    ck_assert(info->height == 64 && info->width == 64 && info->channels == 3);
    mcl_dataset_close(data);
}
END_TEST

START_TEST(parts)
{
    put_classes("train/");
    put_plain("val/b/x.png", 8, 8, 1);
    put_plain("Test/c/x.png", 8, 8, 2);
    put_plain("Test/c/y.png", 8, 8, 3);
    put_plain("other/c/y.png", 8, 8, 3);
    mcl_dataset_options options = small;
    options.validation = options.test = 0.5; /* there are such parts, so nothing is drawn */
    mcl_dataset *data = open_folder(&options);
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    ck_assert(info->part_count[MCL_PART_TRAIN] == 15 && info->part_count[MCL_PART_VALIDATION] == 1 &&
              info->part_count[MCL_PART_TEST] == 2);
    int count;
    ck_assert_int_eq(mcl_dataset_label(data, mcl_dataset_part(data, MCL_PART_VALIDATION, &count)[0]), 1);
    ck_assert_int_eq(mcl_dataset_label(data, mcl_dataset_part(data, MCL_PART_TEST, &count)[1]), 2);
    mcl_dataset_close(data);
    put_plain("val/d/x.png", 8, 8, 1);
    check_refused(&options, MCL_ERROR_FORMAT, "val/d", "no such class");
}
END_TEST

START_TEST(train_can_be_a_class)
{
    put_plain("train/x.png", 8, 8, 1);
    put_plain("car/x.png", 8, 8, 1);
    mcl_dataset *data = open_folder(&small);
    ck_assert_int_eq(mcl_dataset_get_info(data)->classes, 2);
    ck_assert_str_eq(mcl_dataset_class_name(data, 1), "train");
    mcl_dataset_close(data);
}
END_TEST

START_TEST(refused_folders)
{
    check_refused(&small, MCL_ERROR_FORMAT, folder, "at least two folders");
    put_plain("a/x.png", 8, 8, 1);
    check_refused(&small, MCL_ERROR_FORMAT, folder, "found 1 folders");
    put_file("b/readme.txt", "x", 1);
    check_refused(&small, MCL_ERROR_FORMAT, in_folder("b"), "has no pictures");
    put_plain("b/x.png", 8, 8, 1);
    put_plain("caf\xe9/x.png", 8, 8, 1);
    check_refused(&small, MCL_ERROR_FORMAT, folder, "class 2");
    mcl_dataset_options chosen = {.train_files = (const char *const[]){"a/x.png"}, .train_file_count = 1};
    check_refused(&chosen, MCL_ERROR_INVALID, folder, "this is a folder of pictures");
}
END_TEST

static int logged;
static char log_text[4096];

static void keep_log(mcl_log_level level, const char *message, void *user)
{
    (void)user;
    if (level != MCL_LOG_WARNING) return;
    logged++;
    snprintf(log_text, sizeof log_text, "%s", message);
}

START_TEST(unreadable_pictures)
{
    put_classes("");
    put_file("b/2.png", "no picture", 10);
    mcl_dataset_options options = small;
    options.stream = _i & 1;
    if (!options.stream) check_refused(&options, MCL_ERROR_FORMAT, "b/2.png", "neither a JPEG nor a PNG");
    else {
        mcl_dataset *data = open_folder(&options);
        uint8_t pixels[3 * 16];
        const int32_t samples[3] = {0, 8, 1};
        mcl_error error = {0};
        ck_assert_int_eq(mcl_dataset_read(data, samples, 3, pixels, &error), MCL_ERROR_FORMAT);
        ck_assert_ptr_nonnull(strstr(error.text, "b/2.png"));
        mcl_dataset_close(data);
    }
    options.skip_unreadable = true;
    mcl_set_log(keep_log, NULL);
    mcl_dataset *data = open_folder(&options);
    ck_assert_int_eq(mcl_dataset_get_info(data)->skipped, 1);
    ck_assert_int_eq(logged, 1);
    ck_assert_ptr_nonnull(strstr(log_text, "b/2.png"));
    check_values(data, 1, 2);
    mcl_dataset_close(data);
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "c/%d.png", i);
        put_file(name, "no", 2);
    }
    check_refused(&options, MCL_ERROR_FORMAT, "class c", "can be read");
}
END_TEST

/* The lowest failing picture is the one named, whatever the threads do. */
START_TEST(first_unreadable_is_named)
{
    put_classes("");
    put_file("a/4.png", "no", 2);
    put_file("c/0.png", "no", 2);
    for (int i = 0; i < 10; i++) check_refused(&small, MCL_ERROR_FORMAT, "a/4.png", "neither");
}
END_TEST

/* With one damaged picture of six in its class, and a limit that leaves one of each: opening decodes these three alone. */
START_TEST(limit_leaves_the_rest_undecoded)
{
    int opened = 0, refused = 0;
    put_classes("");
    put_file("a/4.png", "no", 2);
    for (uint64_t seed = 1; seed <= 40; seed++) {
        mcl_dataset_options options = small;
        mcl_dataset *data;
        options.limit = 3, options.seed = seed;
        if (mcl_dataset_open(folder, &options, &data, NULL) != MCL_OK) {
            refused++;
            continue;
        }
        opened++;
        ck_assert_int_eq(mcl_dataset_get_info(data)->count, 3);
        for (int sample = 0; sample < 3; sample++) {
            uint8_t pixels[16];
            int digit = *(strrchr(mcl_dataset_file(data, sample), '/') + 1) - '0';
            ck_assert_int_eq(mcl_dataset_label(data, sample), sample);
            ck_assert_int_eq(mcl_dataset_read(data, &sample, 1, pixels, NULL), MCL_OK);
            ck_assert_int_eq(pixels[0], value_of(sample, digit));
        }
        mcl_dataset_close(data);
    }
    ck_assert(opened >= 25 && refused >= 1);
}
END_TEST

static char cache_folder[96];

static mcl_dataset_options cached(void)
{
    mcl_dataset_options options = small;
    snprintf(cache_folder, sizeof cache_folder, "%s/.cache/deep", folder);
    options.cache = cache_folder;
    return options;
}

static char *cache_file(void)
{
    static char path[512];
    DIR *listing = opendir(cache_folder);
    ck_assert_ptr_nonnull(listing);
    int files = 0;
    for (struct dirent *entry; (entry = readdir(listing));)
        if (entry->d_name[0] != '.') files++, snprintf(path, sizeof path, "%s/%s", cache_folder, entry->d_name);
    closedir(listing);
    ck_assert_int_eq(files, 1);
    return path;
}

/* Makes a picture undecodable while size and time stay: only the cache can still give it. */
static void spoil_quietly(const char *name)
{
    struct stat about;
    ck_assert_int_eq(stat(in_folder(name), &about), 0);
    change_byte(name, 0, 0);
    struct timespec times[2] = {about.st_atim, about.st_mtim};
    ck_assert_int_eq(utimensat(AT_FDCWD, in_folder(name), times, 0), 0);
}

START_TEST(cache_is_used)
{
    put_classes("");
    mcl_dataset_options options = cached();
    options.stream = _i & 1;
    mcl_dataset *data = open_folder(&options);
    check_values(data, -1, -1);
    mcl_dataset_close(data);
    spoil_quietly("a/3.png");
    options.stream = _i & 2;
    data = open_folder(&options);
    check_values(data, -1, -1);
    mcl_dataset_close(data);
    options.height = options.width = 5; /* another size is another cache */
    options.stream = false;
    check_refused(&options, MCL_ERROR_FORMAT, "a/3.png", "neither");
}
END_TEST

START_TEST(cache_notices_changes)
{
    put_classes("");
    mcl_dataset_options options = cached();
    mcl_dataset_close(open_folder(&options));
    struct utimbuf later = {.actime = 2000000000, .modtime = 2000000000};
    ck_assert_int_eq(utime(in_folder("a/3.png"), &later), 0);
    change_byte("a/3.png", 0, 0);
    utime(in_folder("a/3.png"), &later);
    check_refused(&options, MCL_ERROR_FORMAT, "a/3.png", "neither"); /* a new time: decoded again */
    put_plain("a/3.png", 12, 8, value_of(0, 3));
    put_plain("a/00.png", 12, 8, 77); /* all others move up by one, and keep their records */
    spoil_quietly("c/3.png");
    mcl_dataset *data = open_folder(&options);
    ck_assert_int_eq(mcl_dataset_get_info(data)->count, 16);
    const uint8_t *pixels = mcl__dataset_pixels(data);
    ck_assert_int_eq(pixels[1 * 16], 77); /* "0.png", "00.png", "1.png" */
    ck_assert_int_eq(pixels[4 * 16], value_of(0, 3));
    ck_assert_int_eq(pixels[15 * 16], value_of(2, 3));
    mcl_dataset_close(data);
}
END_TEST

/* Whatever happens to the file, the pictures stay right. */
START_TEST(cache_survives_damage)
{
    put_classes("");
    mcl_dataset_options options = cached();
    mcl_dataset_close(open_folder(&options));
    struct stat about;
    ck_assert_int_eq(stat(cache_file(), &about), 0);
    ck_assert_int_eq(about.st_size, 16 + 15 * 32);
    for (long at = 0; at < about.st_size; at += 5) {
        FILE *file = fopen(cache_file(), "r+b");
        fseek(file, at, SEEK_SET);
        int byte = fgetc(file);
        fseek(file, at, SEEK_SET);
        fputc(byte ^ 0x41, file);
        fclose(file);
        mcl_dataset *data = open_folder(&options);
        check_values(data, -1, -1);
        mcl_dataset_close(data);
    }
    ck_assert_int_eq(truncate(cache_file(), 100), 0);
    mcl_dataset *data = open_folder(&options);
    check_values(data, -1, -1);
    ck_assert_int_eq(truncate(cache_file(), 0), 0);
    check_values(data, -1, -1);
    mcl_dataset_close(data);
    data = open_folder(&options);
    check_values(data, -1, -1);
    mcl_dataset_close(data);
    ck_assert_int_eq(stat(cache_file(), &about), 0);
    ck_assert_int_eq(about.st_size, 16 + 15 * 32); /* whole again */
}
END_TEST

START_TEST(cache_keeps_its_limit)
{
    put_classes("");
    mcl_dataset_options options = cached();
    struct stat about;
    options.cache_bytes = 16 + 7 * 32 + 31;
    for (int i = 0; i < 2; i++) {
        mcl_dataset *data = open_folder(&options);
        check_values(data, -1, -1);
        mcl_dataset_close(data);
        ck_assert_int_eq(stat(cache_file(), &about), 0);
        ck_assert_int_eq(about.st_size, 16 + 7 * 32);
    }
    options.cache_bytes = 16 + 3 * 32;
    mcl_dataset_close(open_folder(&options));
    ck_assert_int_eq(stat(cache_file(), &about), 0);
    ck_assert_int_eq(about.st_size, 16 + 3 * 32);
}
END_TEST

START_TEST(cache_without_space)
{
    put_classes("");
    mcl_dataset_options options = cached();
    mcl_set_log(keep_log, NULL);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, limit;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 16 + 3 * 32;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    mcl_dataset *data = open_folder(&options);
    setrlimit(RLIMIT_FSIZE, &before);
    check_values(data, -1, -1);
    mcl_dataset_close(data);
    ck_assert_int_eq(logged, 1);
    ck_assert_ptr_nonnull(strstr(log_text, "no space left on device"));
    options.cache = "/dev/null/cache";
    logged = 0;
    data = open_folder(&options); /* no cache at all: said, and done without */
    check_values(data, -1, -1);
    mcl_dataset_close(data);
    ck_assert_int_eq(logged, 1);
}
END_TEST

START_TEST(streams_what_does_not_fit)
{
    put_classes("");
    mcl_dataset_options options = small;
    options.memory_bytes = 15 * 16 - 1;
    mcl_dataset *data = open_folder(&options);
    ck_assert_ptr_null(mcl__dataset_pixels(data));
    check_values(data, -1, -1);
    mcl_dataset_close(data);
    options.memory_bytes++;
    data = open_folder(&options);
    ck_assert_ptr_nonnull(mcl__dataset_pixels(data));
    mcl_dataset_close(data);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("pictures");
    tcase_add_checked_fixture(cases, make_folder, remove_folder);
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, classes);
    tcase_add_test(cases, parts);
    tcase_add_test(cases, train_can_be_a_class);
    tcase_add_test(cases, refused_folders);
    tcase_add_loop_test(cases, unreadable_pictures, 0, 2);
    tcase_add_test(cases, first_unreadable_is_named);
    tcase_add_test(cases, limit_leaves_the_rest_undecoded);
    tcase_add_loop_test(cases, cache_is_used, 0, 4);
    tcase_add_test(cases, cache_notices_changes);
    tcase_add_test(cases, cache_survives_damage);
    tcase_add_test(cases, cache_keeps_its_limit);
    tcase_add_test(cases, cache_without_space);
    tcase_add_test(cases, streams_what_does_not_fit);
    return run_suite(cases, "pictures");
}
