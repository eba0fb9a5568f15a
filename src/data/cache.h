/* Decoded pictures kept in a file. Losing it, or any part of it, costs time and nothing else. */
#ifndef MCL_DATA_CACHE_H
#define MCL_DATA_CACHE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mcl__picture_cache mcl__picture_cache;

/* folder is made if missing; name tells data sets and options apart; the file stays below `limit` bytes. NULL, and a line
 * in the log, when there can be none. */
mcl__picture_cache *mcl__picture_cache_open(const char *folder, const char *name, size_t picture_bytes, uint64_t limit);
void mcl__picture_cache_close(mcl__picture_cache *cache); /* NULL does nothing */

/* slots[i] = where the picture of keys[i] is or may be put; -1 beyond the limit. */
bool mcl__picture_cache_assign(mcl__picture_cache *cache, const uint64_t *keys, int count, int32_t *slots);

/* Both may be called from several threads at once. get is false unless this very picture is there, undamaged. */
bool mcl__picture_cache_get(mcl__picture_cache *cache, int32_t slot, uint64_t key, uint8_t *pixels);
void mcl__picture_cache_put(mcl__picture_cache *cache, int32_t slot, uint64_t key, const uint8_t *pixels);
#endif
