/* Files: whole reads, atomic writes, folders. A write that fails or is killed never harms the file that was there. */
#include "base/file.h"
#include "base/arena.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

mcl_status mcl__file_fail(mcl_error *error, int code, const char *what, const char *path)
{
    char text[256];
    const char *reason = code == ENOSPC || code == EDQUOT ? "no space left on device"
                       : code == EFBIG ? "no space left on device (limit on the size of files)"
                       : strerror_r(code, text, sizeof text);
    return mcl__fail(error, code == ENOENT ? MCL_ERROR_NOT_FOUND : MCL_ERROR_IO, "cannot %s %s: %s", what, path, reason);
}

/* Reads until the end or `capacity` bytes. A file may be shorter or longer than its size said. */
static ssize_t read_all(int file, char *target, size_t capacity)
{
    size_t have = 0;
    while (have < capacity) {
        ssize_t got = read(file, target + have, capacity - have);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        have += (size_t)got;
    }
    return (ssize_t)have;
}

static mcl_status too_large(const char *path, uint64_t limit, mcl_error *error)
{
    return mcl__fail(error, MCL_ERROR_IO, "cannot read %s: it is larger than %llu bytes", path, (unsigned long long)limit);
}

mcl_status mcl__file_read(const char *path, uint64_t limit, char **data, size_t *bytes, mcl_error *error)
{
    if (limit == 0) limit = UINT64_C(1) << 30;
    mcl_status status = MCL_OK;
    char *text = NULL;
    size_t capacity = 0, have = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (file < 0) return mcl__file_fail(error, errno, "read", path);
    if (fstat(file, &about) != 0 || S_ISDIR(about.st_mode)) {
        status = mcl__file_fail(error, S_ISDIR(about.st_mode) ? EISDIR : errno, "read", path);
        goto done;
    }
    if (S_ISREG(about.st_mode) && (uint64_t)about.st_size > limit) {
        status = too_large(path, limit, error);
        goto done;
    }
    size_t wanted = (uint64_t)about.st_size < limit ? (size_t)about.st_size + 2 : (size_t)limit + 2;
    for (;;) {
        if (!mcl__grow(&text, &capacity, wanted, 1)) {
            status = mcl__fail(error, MCL_ERROR_MEMORY, "cannot read %s: no memory for %zu bytes", path, wanted);
            goto done;
        }
        ssize_t got = read_all(file, text + have, capacity - 1 - have);
        if (got < 0) {
            status = mcl__file_fail(error, errno, "read", path);
            goto done;
        }
        have += (size_t)got;
        if (have > limit) {
            status = too_large(path, limit, error);
            goto done;
        }
        if (have < capacity - 1) break;
        wanted = capacity * 2;
    }
    text[have] = 0;
    *data = text;
    *bytes = have;
    text = NULL;
done:
    free(text);
    close(file);
    return status;
}

mcl_status mcl__file_stat(const char *path, mcl__file_info *info, mcl_error *error)
{
    struct stat about;
    if (stat(path, &about) != 0) return mcl__file_fail(error, errno, "find", path);
    *info = (mcl__file_info){.bytes = (uint64_t)about.st_size, .seconds = about.st_mtim.tv_sec,
                             .nanoseconds = about.st_mtim.tv_nsec, .folder = S_ISDIR(about.st_mode)};
    return MCL_OK;
}

int mcl__file_apart(int file)
{
    int moved = file < 0 ? -1 : fcntl(file, F_DUPFD_CLOEXEC, 10);
    if (file >= 0) close(file);
    return moved;
}

bool mcl__file_exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && !S_ISDIR(about.st_mode);
}

bool mcl__folder_exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

struct mcl__file_writer {
    char *target, *folder, *temporary; /* temporary: NULL when written directly */
    int file;
};

static void free_writer(mcl__file_writer *writer)
{
    if (writer->file >= 0) close(writer->file);
    free(writer->target);
    free(writer->folder);
    free(writer->temporary);
    free(writer);
}

/* Removes .NAME.*.tmp that nobody holds locked. The age keeps clear of a writer that has created but not yet locked. */
static void remove_stale(const char *folder, const char *name)
{
    DIR *listing = opendir(folder);
    if (!listing) return;
    size_t length = strlen(name);
    for (struct dirent *entry; (entry = readdir(listing));) {
        const char *found = entry->d_name;
        size_t total = strlen(found);
        if (total < length + 6 || found[0] != '.' || strncmp(found + 1, name, length) != 0 || found[length + 1] != '.' ||
            strcmp(found + total - 4, ".tmp") != 0 || strspn(found + length + 2, "0123456789-") != total - length - 6)
            continue;
        int file = openat(dirfd(listing), found, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        struct stat about;
        if (file < 0) continue;
        if (fstat(file, &about) == 0 && time(NULL) - about.st_mtim.tv_sec > 60 && flock(file, LOCK_EX | LOCK_NB) == 0)
            unlinkat(dirfd(listing), found, 0);
        close(file);
    }
    closedir(listing);
}

static int open_temporary(mcl__file_writer *writer, const char *name)
{
    static atomic_uint serial;
    for (int attempt = 0; attempt < 100; attempt++) {
        free(writer->temporary);
        writer->temporary = mcl__text("%s/.%s.%ld-%u.tmp", writer->folder, name, (long)getpid(),
                                      atomic_fetch_add(&serial, 1));
        if (!writer->temporary) return -1;
        int file = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file >= 0 || errno != EEXIST) return file;
    }
    return -1;
}

mcl_status mcl__file_writer_open(const char *path, mcl__file_writer **result, mcl_error *error)
{
    mcl__file_writer *writer = calloc(1, sizeof *writer);
    if (!writer) return mcl__fail(error, MCL_ERROR_MEMORY, "cannot write %s: no memory", path);
    writer->file = -1;
    struct stat about;
    bool there = stat(path, &about) == 0;
    if (there && !S_ISREG(about.st_mode)) {
        writer->target = strdup(path);
        writer->file = open(path, O_WRONLY | O_CLOEXEC);
    } else if ((writer->target = there ? realpath(path, NULL) : strdup(path))) { /* a link stays a link */
        char *slash = strrchr(writer->target, '/');
        const char *name = slash ? slash + 1 : writer->target;
        writer->folder = !slash ? strdup(".") : slash == writer->target ? strdup("/")
                       : strndup(writer->target, (size_t)(slash - writer->target));
        if (writer->folder) {
            remove_stale(writer->folder, name);
            writer->file = open_temporary(writer, name);
            if (writer->file >= 0) flock(writer->file, LOCK_EX | LOCK_NB);
        }
    }
    if (writer->file < 0) {
        mcl_status status = mcl__file_fail(error, errno, "write", path);
        free_writer(writer);
        return status;
    }
    *result = writer;
    return MCL_OK;
}

mcl_status mcl__file_writer_write(mcl__file_writer *writer, const void *data, size_t bytes, mcl_error *error)
{
    const char *next = data;
    while (bytes) {
        ssize_t done = write(writer->file, next, bytes < (1u << 30) ? bytes : 1u << 30);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return mcl__file_fail(error, done == 0 ? ENOSPC : errno, "write", writer->target);
        next += done;
        bytes -= (size_t)done;
    }
    return MCL_OK;
}

/* A rename is on disk once its folder is. One that may be written but not read cannot be asked for it; the file is in its place. */
static int sync_folder(const char *folder)
{
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return errno == EACCES ? 0 : -1;
    int result = fsync(file);
    if (result != 0 && errno == EINVAL) result = 0; /* some file systems cannot, and need not */
    close(file);
    return result;
}

mcl_status mcl__file_writer_commit(mcl__file_writer *writer, mcl_error *error)
{
    mcl_status status = MCL_OK;
    if (!writer->temporary) {
        int file = writer->file;
        writer->file = -1;
        if (close(file) != 0) status = mcl__file_fail(error, errno, "write", writer->target);
        free_writer(writer);
        return status;
    }
    if (fsync(writer->file) != 0 || rename(writer->temporary, writer->target) != 0) {
        status = mcl__file_fail(error, errno, "write", writer->target);
        unlink(writer->temporary);
    } else if (sync_folder(writer->folder) != 0) {
        status = mcl__file_fail(error, errno, "write", writer->target);
    }
    free_writer(writer);
    return status;
}

void mcl__file_writer_abort(mcl__file_writer *writer)
{
    if (!writer) return;
    if (writer->temporary) unlink(writer->temporary);
    free_writer(writer);
}

mcl_status mcl__file_write(const char *path, const void *data, size_t bytes, mcl_error *error)
{
    mcl__file_writer *writer;
    MCL_TRY(mcl__file_writer_open(path, &writer, error));
    mcl_status status = mcl__file_writer_write(writer, data, bytes, error);
    if (status == MCL_OK) return mcl__file_writer_commit(writer, error);
    mcl__file_writer_abort(writer);
    return status;
}

mcl_status mcl__folder_create(const char *path, bool secret, mcl_error *error)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part) return mcl__file_fail(error, length ? ENAMETOOLONG : ENOENT, "make folder", path);
    memcpy(part, path, length + 1);
    for (char *slash = part + 1;; slash++) {
        if (*slash != '/' && *slash != 0) continue;
        char kept = *slash;
        *slash = 0;
        if (mkdir(part, secret ? 0700 : 0777) != 0) {
            int code = errno;
            if (!mcl__folder_exists(part)) return mcl__file_fail(error, code, "make folder", part);
        }
        if (kept == 0) return MCL_OK;
        *slash = kept;
    }
}

mcl_status mcl__cache_folder(const char *name, char **path, mcl_error *error)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const char *tail = name ? name : "", *slash = name ? "/" : "";
    char *folder;
    if (cache && cache[0] == '/') folder = mcl__text("%s/monocle%s%s", cache, slash, tail);
    else if (home && home[0] == '/') folder = mcl__text("%s/.cache/monocle%s%s", home, slash, tail);
    else return mcl__fail(error, MCL_ERROR_NOT_FOUND, "no cache folder: neither XDG_CACHE_HOME nor HOME is set");
    if (!folder) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the name of the cache folder");
    mcl_status status = mcl__folder_create(folder, true, error);
    if (status == MCL_OK) *path = folder;
    else free(folder);
    return status;
}
