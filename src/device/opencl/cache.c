/* The cache on disk: small files of one kind each under $XDG_CACHE_HOME/monocle, safe with several processes at once
 * and after crashes. It never fails: what cannot be read, or reads oddly, is not there; what cannot be written is not
 * kept. The folder is used only while it is ours alone, since binaries from it run. */
#include "device/opencl/opencl.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define ENTRY_MAX ((size_t)256 << 20)

typedef struct entry_header {
    char magic[8];
    uint8_t key[16];
    uint64_t bytes;
    uint8_t checksum[16]; /* XXH3-128 of the payload */
} entry_header;

static const char magic[8] = {'m', 'c', 'l', 'c', 'a', 'c', 'h', '1'};

static bool is_private_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid() && (info.st_mode & 022) == 0;
}

static bool make_folder(const char *path)
{
    return (mkdir(path, 0700) == 0 || errno == EEXIST) && is_private_folder(path);
}

char *mcl__cl_cache_open(void)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *parent = NULL, *path = NULL;
    if (base && base[0] == '/') parent = strdup(base);
    else if (!home || home[0] != '/' || asprintf(&parent, "%s/.cache", home) < 0) return NULL;
    if (!parent) return NULL;
    mkdir(parent, 0700);
    if (asprintf(&path, "%s/monocle", parent) < 0) path = NULL;
    free(parent);
    if (path && !make_folder(path)) {
        free(path);
        path = NULL;
    }
    return path;
}

static void hash_bytes(const void *data, size_t bytes, uint8_t hash[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, bytes));
    memcpy(hash, canonical.digest, 16);
}

/* Each part goes in with its length, so that no two lists of parts look alike; a part may be NULL. */
void mcl__cl_cache_key(const char *const *parts, int count, uint8_t key[16])
{
    XXH3_state_t *state = XXH3_createState();
    memset(key, 0, 16);
    if (!state) return;
    XXH3_128bits_reset(state);
    for (int i = 0; i < count; i++) {
        uint64_t bytes = parts[i] ? strlen(parts[i]) + 1 : 0;
        XXH3_128bits_update(state, &bytes, sizeof bytes);
        if (parts[i]) XXH3_128bits_update(state, parts[i], (size_t)bytes);
    }
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    memcpy(key, canonical.digest, 16);
    XXH3_freeState(state);
}

static bool entry_path(const char *cache, const char *kind, const uint8_t key[16], char *path, size_t room)
{
    char name[33];
    for (int i = 0; i < 16; i++) snprintf(name + 2 * i, 3, "%02x", key[i]);
    return snprintf(path, room, "%s/%s/%s", cache, kind, name) < (int)room;
}

static bool read_whole(int file, void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = read(file, (char *)data + done, bytes - done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

static bool write_whole(int file, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t put = write(file, (const char *)data + done, bytes - done);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        done += (size_t)put;
    }
    return true;
}

static bool read_entry(int file, const uint8_t key[16], uint8_t **data, size_t *bytes)
{
    struct stat info;
    entry_header header;
    uint8_t checksum[16];
    if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode) || !read_whole(file, &header, sizeof header)) return false;
    if (memcmp(header.magic, magic, sizeof magic) != 0 || memcmp(header.key, key, sizeof header.key) != 0) return false;
    if (header.bytes == 0 || header.bytes > ENTRY_MAX || (uint64_t)info.st_size != sizeof header + header.bytes) return false;
    *bytes = (size_t)header.bytes;
    if (!(*data = malloc(*bytes))) return false;
    if (read_whole(file, *data, *bytes)) {
        hash_bytes(*data, *bytes, checksum);
        if (memcmp(checksum, header.checksum, sizeof checksum) == 0) return true;
    }
    free(*data);
    *data = NULL;
    return false;
}

bool mcl__cl_cache_load(const char *cache, const char *kind, const uint8_t key[16], uint8_t **data, size_t *bytes)
{
    char path[4096];
    *data = NULL;
    if (!cache || !entry_path(cache, kind, key, path, sizeof path)) return false;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) return false;
    bool found = read_entry(file, key, data, bytes);
    close(file);
    return found;
}

/* Readers see the old file or the whole new one: written beside it, then renamed over it. */
void mcl__cl_cache_save(const char *cache, const char *kind, const uint8_t key[16], const void *data, size_t bytes)
{
    char folder[4096], path[4096], temporary[4096];
    if (!cache || bytes == 0 || bytes > ENTRY_MAX) return;
    if (snprintf(folder, sizeof folder, "%s/%s", cache, kind) >= (int)sizeof folder || !make_folder(folder)) return;
    if (!entry_path(cache, kind, key, path, sizeof path)) return;
    if (snprintf(temporary, sizeof temporary, "%s/%s/.new-XXXXXX", cache, kind) >= (int)sizeof temporary) return;
    int file = mkostemp(temporary, O_CLOEXEC);
    if (file < 0) return;
    entry_header header = {.bytes = bytes};
    memcpy(header.magic, magic, sizeof magic);
    memcpy(header.key, key, sizeof header.key);
    hash_bytes(data, bytes, header.checksum);
    bool written = write_whole(file, &header, sizeof header) && write_whole(file, data, bytes);
    if (close(file) != 0 || !written || rename(temporary, path) != 0) unlink(temporary);
}

typedef struct verdict_entry { uint32_t verdict, value; } verdict_entry;

static void verdict_key(mcl__cl_device *device, const char *name, uint8_t key[16])
{
    const char *parts[] = {device->identity, name};
    mcl__cl_cache_key(parts, 2, key);
}

mcl__cl_verdict mcl__cl_verdict_load(mcl__cl_device *device, const char *name, uint32_t *value)
{
    uint8_t key[16], *data;
    size_t bytes;
    verdict_entry entry = {0};
    verdict_key(device, name, key);
    if (!mcl__cl_cache_load(device->cache, "verdicts", key, &data, &bytes)) return MCL__CL_UNKNOWN;
    if (bytes == sizeof entry) memcpy(&entry, data, sizeof entry);
    free(data);
    if (value) *value = entry.value;
    return entry.verdict == MCL__CL_PASSED || entry.verdict == MCL__CL_FAILED ? (mcl__cl_verdict)entry.verdict : MCL__CL_UNKNOWN;
}

void mcl__cl_verdict_save(mcl__cl_device *device, const char *name, mcl__cl_verdict verdict, uint32_t value)
{
    uint8_t key[16];
    const verdict_entry entry = {(uint32_t)verdict, value};
    verdict_key(device, name, key);
    mcl__cl_cache_save(device->cache, "verdicts", key, &entry, sizeof entry);
}
