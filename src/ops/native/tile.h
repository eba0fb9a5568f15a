/* The innermost loop of every product on native: a tile of the result stays in registers while a row of one block and
 * a column of the other pass by. That shape, and the blocks around it (product.c), are those of Goto and van de Geijn
 * (Anatomy of High-Performance Matrix Multiplication, 2008) and of BLIS (Van Zee and van de Geijn, 2015). */
#ifndef MCL_OPS_NATIVE_TILE_H
#define MCL_OPS_NATIVE_TILE_H
#include <stdbool.h>

/* A block: BLOCK x BLOCK floats, three of which share a second-level cache. The pitch between its rows is odd in lines
 * of a cache (13 of 64 bytes), so that a column of lines spreads over all of the cache's sets; and it is a constant, so
 * that every address of a tile is one pointer and a number. BLOCK is a multiple of every tile's rows and columns. */
#define MCL__BLOCK 192
#define MCL__BLOCK_PITCH (MCL__BLOCK + 16)
typedef float mcl__block[MCL__BLOCK * MCL__BLOCK_PITCH];

/* c[i][j] = sum of a[i][k] * b[k][j] over k < depth, in the order of k, for the tile's rows i and columns j; added to
 * what c holds where `add`. All three point into blocks that start at multiples of 64 bytes. */
typedef void (*mcl__tile_product)(int depth, const float *a, const float *b, float *c, bool add);

typedef struct mcl__tile {
    const char *name; /* of the instructions it is made of */
    int rows, columns;
    mcl__tile_product plain, transposed; /* transposed: a[k][i] stands for a[i][k] */
} mcl__tile;

/* Those that this processor runs, the fastest first; NULL behind the last. */
const mcl__tile *mcl__tile_get(int i);

#endif
