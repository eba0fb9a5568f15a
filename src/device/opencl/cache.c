/* The cache on disk: small files, one folder a kind, under the user's cache folder, safe with several processes at once
 * and after crashes. It never fails: what cannot be read, or reads oddly, is not there; what cannot be written is not
 * kept. The folder is used only while it is ours alone, since binaries from it run. */
#include "base/file.h"
#include "base/hash.h"
#include "device/opencl/opencl.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRY_MAX ((size_t)256 << 20)
#define HASH 32 /* hexadecimal digits */

typedef struct entry_header {
    char magic[8];
    char key[HASH];
    uint64_t bytes;      /* of the payload, which follows */
    char checksum[HASH]; /* of the payload */
} entry_header;

static const char magic[8] = {'m', 'c', 'l', 'c', 'a', 'c', 'h', '1'};

static bool is_ours_alone(const char *folder)
{
    struct stat info;
    return stat(folder, &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid() && (info.st_mode & 022) == 0;
}

char *mcl__cl_cache_open(void)
{
    char *folder = NULL;
    if (mcl__cache_folder(NULL, &folder, NULL) != MCL_OK) return NULL;
    if (is_ours_alone(folder)) return folder;
    free(folder);
    return NULL;
}

/* Each part goes in with its length, so that no two lists of parts look alike. */
bool mcl__cl_cache_key(const char *const *parts, int count, char key[MCL__CL_KEY])
{
    char *joined = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&joined, &bytes);
    for (int i = 0; stream && i < count; i++) fprintf(stream, "%zu %s\n", strlen(parts[i]), parts[i]);
    bool whole = stream && fclose(stream) == 0;
    if (whole) mcl__hash_hex(joined, bytes, key);
    free(joined);
    return whole;
}

static bool entry_path(const char *cache, const char *kind, const char *name, char *path, size_t room)
{
    return snprintf(path, room, "%s/%s/%s", cache, kind, name) < (int)room;
}

static bool is_sound(const char *entry, size_t bytes, const char *key)
{
    entry_header header;
    char checksum[HASH + 1];
    if (bytes <= sizeof header) return false;
    memcpy(&header, entry, sizeof header);
    if (memcmp(header.magic, magic, sizeof magic) != 0 || memcmp(header.key, key, HASH) != 0) return false;
    if (header.bytes != bytes - sizeof header) return false;
    mcl__hash_hex(entry + sizeof header, bytes - sizeof header, checksum);
    return memcmp(header.checksum, checksum, HASH) == 0;
}

bool mcl__cl_cache_load(const char *cache, const char *kind, const char *key, unsigned char **data, size_t *bytes)
{
    char path[4096], *entry = NULL;
    size_t whole = 0;
    if (!cache || !entry_path(cache, kind, key, path, sizeof path)) return false;
    if (mcl__file_read(path, ENTRY_MAX, &entry, &whole, NULL) != MCL_OK) return false;
    bool sound = is_sound(entry, whole, key);
    if (sound) {
        utimensat(AT_FDCWD, path, NULL, 0); /* in use: see trim.c */
        *bytes = whole - sizeof(entry_header);
        memmove(entry, entry + sizeof(entry_header), *bytes);
        *data = (unsigned char *)entry;
    } else {
        free(entry);
    }
    return sound;
}

static mcl_status write_entry(const char *path, const entry_header *header, const void *data, size_t bytes)
{
    mcl__file_writer *writer = NULL;
    MCL_TRY(mcl__file_writer_open(path, &writer, NULL));
    mcl_status status;
    MCL_TRY_DONE(mcl__file_writer_write(writer, header, sizeof *header, NULL));
    MCL_TRY_DONE(mcl__file_writer_write(writer, data, bytes, NULL));
    return mcl__file_writer_commit(writer, NULL);
done:
    mcl__file_writer_abort(writer);
    return status;
}

void mcl__cl_cache_save(const char *cache, const char *kind, const char *key, const void *data, size_t bytes)
{
    char path[4096], checksum[HASH + 1];
    entry_header header = {.bytes = bytes};
    if (!cache || bytes == 0 || bytes > ENTRY_MAX - sizeof header) return;
    if (!entry_path(cache, kind, "", path, sizeof path) || mcl__folder_create(path, true, NULL) != MCL_OK) return;
    if (!entry_path(cache, kind, key, path, sizeof path)) return;
    mcl__hash_hex(data, bytes, checksum);
    memcpy(header.magic, magic, sizeof magic);
    memcpy(header.key, key, HASH);
    memcpy(header.checksum, checksum, HASH);
    if (write_entry(path, &header, data, bytes) != MCL_OK)
        mcl__log(MCL_LOG_DEBUG, "cache entry %s could not be written", path);
}

bool mcl__cl_cache_use_mark(const char *cache, const char *kind, const char *key)
{
    char path[4096];
    return cache && entry_path(cache, kind, key, path, sizeof path) && utimensat(AT_FDCWD, path, NULL, 0) == 0;
}

/* Where it is lost with the machine's power, it is made again. */
void mcl__cl_cache_put_mark(const char *cache, const char *kind, const char *key)
{
    char path[4096];
    if (!cache || !entry_path(cache, kind, "", path, sizeof path) || mcl__folder_create(path, true, NULL) != MCL_OK) return;
    if (!entry_path(cache, kind, key, path, sizeof path)) return;
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0) close(file);
}

typedef struct verdict_entry { uint32_t verdict, value; } verdict_entry;

mcl__cl_verdict mcl__cl_verdict_load(mcl__cl_device *device, const char *name, uint32_t *value)
{
    const char *parts[] = {device->identity, name};
    char key[MCL__CL_KEY];
    unsigned char *data;
    size_t bytes;
    verdict_entry entry = {0};
    if (!mcl__cl_cache_key(parts, 2, key) || !mcl__cl_cache_load(device->cache, "verdicts", key, &data, &bytes))
        return MCL__CL_UNKNOWN;
    if (bytes == sizeof entry) memcpy(&entry, data, sizeof entry);
    free(data);
    if (value) *value = entry.value;
    return entry.verdict == MCL__CL_PASSED || entry.verdict == MCL__CL_FAILED ? (mcl__cl_verdict)entry.verdict
                                                                              : MCL__CL_UNKNOWN;
}

void mcl__cl_verdict_save(mcl__cl_device *device, const char *name, mcl__cl_verdict verdict, uint32_t value)
{
    const char *parts[] = {device->identity, name};
    char key[MCL__CL_KEY];
    const verdict_entry entry = {(uint32_t)verdict, value};
    if (mcl__cl_cache_key(parts, 2, key)) mcl__cl_cache_save(device->cache, "verdicts", key, &entry, sizeof entry);
}
