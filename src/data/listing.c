/* See listing.h. */
#include "data/listing.h"
#include "base/arena.h"
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void mcl__listing_free(mcl__listing *listing)
{
    for (size_t i = 0; i < listing->folder_count; i++) free(listing->folders[i]);
    for (size_t i = 0; i < listing->file_count; i++) free(listing->files[i]);
    free(listing->folders);
    free(listing->files);
    *listing = (mcl__listing){0};
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool add_name(char ***names, size_t *count, size_t *capacity, char *name)
{
    if (!name || !mcl__grow(names, capacity, *count + 1, sizeof **names)) {
        free(name);
        return false;
    }
    (*names)[(*count)++] = name;
    return true;
}

enum kind { A_FOLDER, A_FILE, NEITHER };
static enum kind kind_of(const struct dirent *entry, const char *path)
{
    struct stat about;
    if (entry->d_type == DT_DIR) return A_FOLDER;
    if (entry->d_type == DT_REG || stat(path, &about) != 0) return A_FILE;
    return S_ISDIR(about.st_mode) ? A_FOLDER : S_ISREG(about.st_mode) ? A_FILE : NEITHER;
}

mcl_status mcl__listing_read(const char *path, mcl__listing *listing, mcl_error *error)
{
    DIR *opened = opendir(path);
    if (!opened) return mcl__file_fail(error, errno, "read folder", path);
    bool good = true;
    errno = 0;
    for (struct dirent *entry; good && (entry = readdir(opened)); errno = 0) {
        if (entry->d_name[0] == '.') continue;
        char *full = mcl__text("%s/%s", path, entry->d_name);
        enum kind kind = full ? kind_of(entry, full) : A_FILE;
        if (kind == A_FOLDER) good = add_name(&listing->folders, &listing->folder_count, &listing->folder_capacity, full);
        else if (kind == A_FILE) good = add_name(&listing->files, &listing->file_count, &listing->file_capacity, full);
        else free(full);
    }
    int code = good ? errno : 0;
    closedir(opened);
    if (code) return mcl__file_fail(error, code, "read folder", path);
    if (!good) return mcl__fail(error, MCL_ERROR_MEMORY, "%s: no memory", path);
    if (listing->folder_count) qsort(listing->folders, listing->folder_count, sizeof *listing->folders, compare_names);
    if (listing->file_count) qsort(listing->files, listing->file_count, sizeof *listing->files, compare_names);
    return MCL_OK;
}

const char *mcl__last_name(const char *path) { return strrchr(path, '/') + 1; }
