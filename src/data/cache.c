/* Decoded pictures kept in a file: a header, then records {key, checksum, pixels} of equal length, in any order.
 *
 * A record counts only while its key is the one asked for and its checksum, seeded with the key, fits its pixels. So a
 * torn write, a full disk, damage, or another process that uses the same file can only make a record worthless, and the
 * picture is decoded again. Reads and writes go through pread and pwrite: a mapped file that somebody cuts short kills. */
#include "data/cache.h"
#include "base/arena.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

struct header { char magic[8]; uint64_t picture_bytes; };
struct record { uint64_t key, checksum; unsigned char pixels[]; };

static const char magic[8] = "mclpix1";

struct mcl__picture_cache {
    int file;
    char *path;
    size_t picture_bytes, record_bytes;
    int64_t used, most; /* records there, and at most */
    atomic_bool full;   /* a write failed: no more of them */
};

static bool read_at(int file, void *target, size_t bytes, uint64_t offset)
{
    char *next = target;
    while (bytes) {
        ssize_t got = pread(file, next, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        next += got;
        bytes -= (size_t)got;
        offset += (uint64_t)got;
    }
    return true;
}

static bool write_at(int file, const void *source, size_t bytes, uint64_t offset)
{
    const char *next = source;
    while (bytes) {
        ssize_t done = pwrite(file, next, bytes, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        next += done;
        bytes -= (size_t)done;
        offset += (uint64_t)done;
    }
    return true;
}

static uint64_t offset_of(const mcl__picture_cache *cache, int64_t slot)
{
    return sizeof(struct header) + (uint64_t)slot * cache->record_bytes;
}

/* Starts the file anew where its header is not ours, and cuts off what is above the limit. */
static bool prepare_file(mcl__picture_cache *cache)
{
    struct header header, expected = {.picture_bytes = cache->picture_bytes};
    memcpy(expected.magic, magic, sizeof magic);
    if (!read_at(cache->file, &header, sizeof header, 0) || memcmp(&header, &expected, sizeof header) != 0)
        if (ftruncate(cache->file, 0) != 0 || !write_at(cache->file, &expected, sizeof expected, 0)) return false;
    struct stat about;
    if (fstat(cache->file, &about) != 0) return false;
    cache->used = (int64_t)(((uint64_t)about.st_size - sizeof header) / cache->record_bytes);
    if (cache->used <= cache->most) return true;
    cache->used = cache->most;
    return ftruncate(cache->file, (off_t)offset_of(cache, cache->most)) == 0;
}

mcl__picture_cache *mcl__picture_cache_open(const char *folder, const char *name, size_t picture_bytes, uint64_t limit)
{
    mcl__picture_cache *cache = calloc(1, sizeof *cache);
    mcl_error error = {0};
    if (!cache) return NULL;
    cache->file = -1;
    cache->picture_bytes = picture_bytes;
    cache->record_bytes = sizeof(struct record) + picture_bytes;
    cache->most = limit < sizeof(struct header) ? 0 : (int64_t)((limit - sizeof(struct header)) / cache->record_bytes);
    if (cache->most > INT32_MAX) cache->most = INT32_MAX;
    if (mcl__folder_create(folder, false, &error) == MCL_OK && (cache->path = mcl__text("%s/%s", folder, name))) {
        cache->file = open(cache->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (cache->file >= 0 && prepare_file(cache)) return cache;
        mcl__file_fail(&error, errno, "write", cache->path);
    }
    mcl__log(MCL_LOG_WARNING, "no cache of decoded pictures: %s", error.text);
    mcl__picture_cache_close(cache);
    return NULL;
}

void mcl__picture_cache_close(mcl__picture_cache *cache)
{
    if (!cache) return;
    if (cache->file >= 0) close(cache->file);
    free(cache->path);
    free(cache);
}

struct place { uint64_t key; int32_t slot; };

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

/* Pictures that are there keep their records; the others get those that nobody wants, then new ones. */
bool mcl__picture_cache_assign(mcl__picture_cache *cache, const uint64_t *keys, int count, int32_t *slots)
{
    struct place *places = calloc((size_t)cache->used + 1, sizeof *places);
    bool *taken = calloc((size_t)cache->used + 1, sizeof *taken);
    bool good = places && taken;
    for (int64_t i = 0; good && i < cache->used; i++) {
        places[i].slot = (int32_t)i;
        if (!read_at(cache->file, &places[i].key, sizeof places[i].key, offset_of(cache, i))) places[i].key = 0;
    }
    if (good) qsort(places, (size_t)cache->used, sizeof *places, compare_places);
    for (int i = 0; good && i < count; i++) {
        int64_t low = 0, high = cache->used;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (places[middle].key < keys[i]) low = middle + 1;
            else high = middle;
        }
        slots[i] = low < cache->used && places[low].key == keys[i] ? places[low].slot : -1;
        if (slots[i] >= 0) taken[slots[i]] = true;
    }
    int64_t next = 0;
    for (int i = 0; good && i < count; i++) {
        if (slots[i] >= 0) continue;
        while (next < cache->used && taken[next]) next++;
        if (next < cache->most) slots[i] = (int32_t)next++;
    }
    free(places);
    free(taken);
    return good;
}

bool mcl__picture_cache_get(mcl__picture_cache *cache, int32_t slot, uint64_t key, uint8_t *pixels)
{
    struct record head;
    if (slot < 0 || !read_at(cache->file, &head, sizeof head, offset_of(cache, slot)) || head.key != key) return false;
    if (!read_at(cache->file, pixels, cache->picture_bytes, offset_of(cache, slot) + sizeof head)) return false;
    return head.checksum == XXH64(pixels, cache->picture_bytes, key);
}

void mcl__picture_cache_put(mcl__picture_cache *cache, int32_t slot, uint64_t key, const uint8_t *pixels)
{
    if (slot < 0 || atomic_load(&cache->full)) return;
    struct record head = {.key = key, .checksum = XXH64(pixels, cache->picture_bytes, key)};
    if (write_at(cache->file, pixels, cache->picture_bytes, offset_of(cache, slot) + sizeof head) &&
        write_at(cache->file, &head, sizeof head, offset_of(cache, slot))) return;
    int code = errno;
    if (atomic_exchange(&cache->full, true)) return;
    mcl_error error = {0};
    mcl__file_fail(&error, code, "write", cache->path);
    mcl__log(MCL_LOG_WARNING, "the cache of decoded pictures stops growing: %s", error.text);
}
