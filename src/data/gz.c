/* Binary files, gzipped or not, read through zlib. */
#include "data/gz.h"
#include "base/file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct mcl__gz {
    gzFile file;
    char *path;
    uint64_t size; /* on disk */
};

mcl_status mcl__gz_open(const char *path, mcl__gz **result, mcl_error *error)
{
    mcl__file_info info;
    MCL_TRY(mcl__file_stat(path, &info, error));
    if (info.folder) return mcl__file_fail(error, EISDIR, "read", path);
    mcl__gz *gz = calloc(1, sizeof *gz);
    if (gz) gz->path = strdup(path);
    errno = 0;
    if (gz && gz->path) gz->file = gzopen(path, "rbe");
    if (!gz || !gz->path || !gz->file) {
        int code = errno ? errno : ENOMEM;
        mcl__gz_close(gz);
        return mcl__file_fail(error, code, "read", path);
    }
    gz->size = info.bytes;
    gzbuffer(gz->file, 1 << 17);
    *result = gz;
    return MCL_OK;
}

void mcl__gz_close(mcl__gz *gz)
{
    if (!gz) return;
    if (gz->file) gzclose_r(gz->file);
    free(gz->path);
    free(gz);
}

mcl_status mcl__gz_read_some(mcl__gz *gz, void *target, size_t bytes, size_t *got, mcl_error *error)
{
    char *next = target;
    *got = 0;
    while (*got < bytes) {
        size_t left = bytes - *got;
        int done = gzread(gz->file, next + *got, left < (1u << 30) ? (unsigned)left : 1u << 30);
        if (done > 0) *got += (size_t)done;
        if (done <= 0) break;
    }
    int code = Z_OK;
    const char *reason = gzerror(gz->file, &code);
    if (code == Z_OK || code == Z_STREAM_END) return MCL_OK;
    if (code == Z_ERRNO) return mcl__file_fail(error, errno, "read", gz->path);
    if (code == Z_BUF_ERROR) return mcl__fail(error, MCL_ERROR_FORMAT, "%s: the file is truncated", gz->path);
    return mcl__fail(error, MCL_ERROR_FORMAT, "%s: the gzip data is damaged (%s)", gz->path, reason);
}

mcl_status mcl__gz_read(mcl__gz *gz, void *target, size_t bytes, mcl_error *error)
{
    size_t got;
    MCL_TRY(mcl__gz_read_some(gz, target, bytes, &got, error));
    if (got == bytes) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_FORMAT, "%s: the file is truncated (%zu bytes are missing)", gz->path, bytes - got);
}

mcl_status mcl__gz_expect_end(mcl__gz *gz, mcl_error *error)
{
    char more;
    size_t got;
    MCL_TRY(mcl__gz_read_some(gz, &more, 1, &got, error));
    if (got == 0) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_FORMAT, "%s: the file is longer than its header says", gz->path);
}

/* Deflate packs at most 1032 bytes into one. */
uint64_t mcl__gz_most_bytes(const mcl__gz *gz) { return gzdirect(gz->file) ? gz->size : (gz->size + 64) * 1032; }
