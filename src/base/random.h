/* Random numbers on the host: the same Philox words that kernels draw (kernels/philox.h), shaped into uniforms, normals
 * and permutations. The same (seed, stream, t) gives the same numbers everywhere; nothing here keeps state but
 * mcl__random_filler. */
#ifndef MCL_BASE_RANDOM_H
#define MCL_BASE_RANDOM_H
#include <stdint.h>

/* A place to draw from. t: 0 for initialisation, the epoch for shuffling. */
typedef struct mcl__random { uint64_t seed; uint32_t stream, t; } mcl__random;

/* The stream of "purpose/path": the low 32 bits of its XXH64, seed 0. path NULL: of "purpose" alone. */
uint32_t mcl__random_stream(const char *purpose, const char *path);

/* Word s of sample 0. */
uint32_t mcl__random_at(mcl__random random, uint32_t s);

/* values[i] = low + (high - low) * u, u the uniform of word first + i in [0, 1); in double, rounded once. */
void mcl__random_uniforms(mcl__random random, double low, double high, uint32_t first, uint32_t count, float *values);

/* values[i] = mean + deviation * z, by Box and Muller from words 2j and 2j + 1 for the pair (2j, 2j + 1):
 *   r = sqrt(-2 log((w0 + 1) 2^-32)), a = 2 pi w1 2^-32, z[2j] = r cos a, z[2j + 1] = r sin a
 * in double, rounded once. */
void mcl__random_normals(mcl__random random, double mean, double deviation, uint32_t count, float *values);

/* Fisher and Yates: for i = count - 1 down to 1, items[i] changes places with items[choice of i + 1 by word i]. */
void mcl__random_shuffle(mcl__random random, int32_t *items, int32_t count);

/* Fast, for values that nobody looks at: the next state of a linear congruential generator, whose high bits are the better ones. */
static inline uint32_t mcl__random_filler(uint32_t *state) { return *state = *state * 1664525u + 1013904223u; }
#endif
