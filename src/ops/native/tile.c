/* The tiles, from the widest vectors to those that every processor has. CMake compiles this file alone with contracted
 * multiply-adds: one instruction, and one rounding, in place of two. */
#include "ops/native/tile.h"
#include <stddef.h>

#define TEXT(name) #name
#define TEXT_OF(name) TEXT(name)

/* Sixteen registers of four floats (SSE of any x86-64), or more of them (NEON and others). */
#define ISA baseline
#define TARGET
#define WIDTH 4
#define ROWS 6
#include "ops/native/tile_loop.h"

#ifdef __x86_64__
#define ISA avx2
#define TARGET __attribute__((target("avx2,fma")))
#define WIDTH 8
#define ROWS 6
#include "ops/native/tile_loop.h"

#define ISA avx512
#define TARGET __attribute__((target("avx512f")))
#define WIDTH 16
#define ROWS 12
#include "ops/native/tile_loop.h"
#endif

const mcl__tile *mcl__tile_get(int i)
{
    const mcl__tile *tiles[4] = {NULL};
    int count = 0;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) tiles[count++] = &tile_of_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) tiles[count++] = &tile_of_avx2;
#endif
    tiles[count++] = &tile_of_baseline;
    return i < count ? tiles[i] : NULL;
}
