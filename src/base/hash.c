/* Hashes for cache keys and checksums, by xxHash. */
#include "base/hash.h"
#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

uint64_t mcl__hash64(const void *data, size_t bytes) { return XXH64(data, bytes, 0); }

void mcl__hash_hex(const void *data, size_t bytes, char hex[33])
{
    XXH128_hash_t hash = XXH3_128bits(data, bytes);
    snprintf(hex, 33, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64, (uint64_t)hash.low64);
}
