/* Hashes for cache keys and checksums. Not for security. */
#ifndef MCL_BASE_HASH_H
#define MCL_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>

uint64_t mcl__hash64(const void *data, size_t bytes); /* XXH64, seed 0 */
/* XXH3 with 128 bits as 32 lower-case hexadecimal digits, most significant first, and a final 0. */
void mcl__hash_hex(const void *data, size_t bytes, char hex[33]);
#endif
