/* Random numbers on the host, drawn from the Philox words that kernels draw from too. */
#include "base/random.h"
#include <math.h>
#include <philox.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* for a state on the stack */
#include <xxhash.h>

uint32_t mcl__random_stream(const char *purpose, const char *path)
{
    XXH64_state_t state;
    XXH64_reset(&state, 0);
    XXH64_update(&state, purpose, strlen(purpose));
    if (path) {
        XXH64_update(&state, "/", 1);
        XXH64_update(&state, path, strlen(path));
    }
    return (uint32_t)XXH64_digest(&state);
}

static mcl_philox4 draw_four(mcl__random random, uint32_t block)
{
    return mcl_philox((uint32_t)random.seed, (uint32_t)(random.seed >> 32), block, 0, random.t, random.stream);
}

uint32_t mcl__random_at(mcl__random random, uint32_t s) { return draw_four(random, s / 4).word[s % 4]; }

#define BLOCKS 16 /* of four words, drawn side by side in vector registers */

/* The words of BLOCKS blocks from `first` on, word by word: the loop that compilers turn into vectors. */
static void draw_blocks(mcl__random random, uint32_t first, uint32_t word[4][BLOCKS])
{
    for (uint32_t i = 0; i < BLOCKS; i++) {
        mcl_philox4 four = draw_four(random, first + i);
        word[0][i] = four.word[0];
        word[1][i] = four.word[1];
        word[2][i] = four.word[2];
        word[3][i] = four.word[3];
    }
}

void mcl__random_uniforms(mcl__random random, double low, double high, uint32_t first, uint32_t count, float *values)
{
    const uint32_t skipped = first % 4, end = skipped + count;
    for (uint32_t done = 0; done < end; done += 4 * BLOCKS) {
        uint32_t word[4][BLOCKS];
        uint32_t here = end - done < 4 * BLOCKS ? end - done : 4 * BLOCKS;
        draw_blocks(random, (first + done) / 4, word);
        for (uint32_t i = done ? 0 : skipped; i < here; i++)
            values[done + i - skipped] = (float)(low + (high - low) * (double)MCL_RANDOM_UNIFORM(word[i % 4][i / 4]));
    }
}

void mcl__random_normals(mcl__random random, double mean, double deviation, uint32_t count, float *values)
{
    const double two_pi = 6.283185307179586476925;
    mcl_philox4 four = {{0}};
    for (uint32_t i = 0; i < count; i += 2) {
        if (i % 4 == 0) four = draw_four(random, i / 4);
        double radius = sqrt(-2 * log(((double)four.word[i % 4] + 1) * 0x1p-32));
        double angle = two_pi * ((double)four.word[i % 4 + 1] * 0x1p-32);
        values[i] = (float)(mean + deviation * (radius * cos(angle)));
        if (i + 1 < count) values[i + 1] = (float)(mean + deviation * (radius * sin(angle)));
    }
}

void mcl__random_shuffle(mcl__random random, int32_t *items, int32_t count)
{
    for (int32_t i = count - 1; i > 0; i--) {
        uint32_t j = MCL_RANDOM_CHOICE(mcl__random_at(random, (uint32_t)i), i + 1);
        int32_t kept = items[i];
        items[i] = items[j];
        items[j] = kept;
    }
}
