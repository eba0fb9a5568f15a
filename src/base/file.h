/* Files: reading whole ones, and writing so that a reader sees the old file or the new one, never half of one. */
#ifndef MCL_BASE_FILE_H
#define MCL_BASE_FILE_H
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads a whole file of at most `limit` bytes (0: 1 GiB). *data has a 0 after its last byte and is freed with free().
 * MCL_ERROR_NOT_FOUND when there is no such file, MCL_ERROR_IO otherwise. */
mcl_status mcl__file_read(const char *path, uint64_t limit, char **data, size_t *bytes, mcl_error *error);

typedef struct mcl__file_info { uint64_t bytes; int64_t seconds, nanoseconds; bool folder; } mcl__file_info; /* modified */
mcl_status mcl__file_stat(const char *path, mcl__file_info *info, mcl_error *error);
bool mcl__file_exists(const char *path);   /* something that is not a folder */
bool mcl__folder_exists(const char *path);

/* An atomic write: a temporary file beside the target, renamed over it by commit after both file and folder are on
 * disk. Until then, and after any failure, an earlier file is untouched. Temporary files that a killed process left
 * are removed by the next writer of the same target. A target that is no regular file (a pipe, /dev/null) is written
 * directly. MCL_ERROR_IO names the path; a full disk reads "no space left on device". */
typedef struct mcl__file_writer mcl__file_writer;
mcl_status mcl__file_writer_open(const char *path, mcl__file_writer **writer, mcl_error *error);
mcl_status mcl__file_writer_write(mcl__file_writer *writer, const void *data, size_t bytes, mcl_error *error);
mcl_status mcl__file_writer_commit(mcl__file_writer *writer, mcl_error *error); /* frees the writer in any case */
void mcl__file_writer_abort(mcl__file_writer *writer);                          /* NULL does nothing */
mcl_status mcl__file_write(const char *path, const void *data, size_t bytes, mcl_error *error); /* all of the above */

/* Moves an open file's number above those of the standard streams, and of what programs that are started are given; it is closed
 * in these. -1 where there is no number left, and for -1. */
int mcl__file_apart(int file);

/* Makes a folder and those above it; one that exists is fine. secret: mode 0700 for those it makes. */
mcl_status mcl__folder_create(const char *path, bool secret, mcl_error *error);

/* $XDG_CACHE_HOME/monocle/NAME, or ~/.cache/monocle/NAME, made with mode 0700. NAME NULL: without it. *path is freed
 * with free(). */
mcl_status mcl__cache_folder(const char *name, char **path, mcl_error *error);

/* MCL_ERROR_IO, or NOT_FOUND for ENOENT: "cannot WHAT PATH: reason" for an errno. */
mcl_status mcl__file_fail(mcl_error *error, int code, const char *what, const char *path);
#endif
