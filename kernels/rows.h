/* How reductions over the rows of a (rows, C) tensor are split, for kernels only.
 *
 *   global id 1: part p owns rows p * rows_each ...; id 0: channel vectors j = id, id + global size, ...
 *
 * A work-item walks its rows in tiles of TILE and in each tile its vectors. On a CPU one work-item has all of a part's vectors, so
 * memory is read in order; what it sums up is kept in `partial` between tiles, which stays in the cache. Elsewhere it has one
 * vector, and the neighbours have the others.
 *
 * Vector j has channels from min(j * WIDTH, C - WIDTH), so the last may overlap the one before it: WIDTH need not divide C, only
 * be at most C. A partial is (parts, partial_stride) floats, of which vector j has slots j * WIDTH ...; a channel's value is taken
 * from the first vector that covers it. */
#ifndef MCL_ROWS_H
#define MCL_ROWS_H
#include "args.h"
#include "vector.h"

#define BLOCK 32 /* rows that a reference adds before they join the total, so that long sums lose little */
#ifndef TILE
#define TILE 32
#endif

typedef struct row_part { int first, last; } row_part;

/* Empty for work-items beyond the last part. */
row_part row_part_of(int rows, int parts, int rows_each)
{
    row_part part;
    const int p = (int)get_global_id(1);
    part.first = p < parts ? p * rows_each : rows;
    part.last = rows - part.first < rows_each ? rows : part.first + rows_each;
    return part;
}

int vectors_of(int C) { return (C - 1) / WIDTH + 1; }
int channel_of(int j, int C) { return j * WIDTH < C - WIDTH ? j * WIDTH : C - WIDTH; }

/* What memory is asked for when vector j of a tile's row r is read, from the tile's start on: the next tile, in the order in which
 * it lies there. Asked for by columns, as they are read, it comes at half the pace (measured on Zen 4, from 64 channels on). */
int next_tile(int j, int r, int C) { return TILE * C + (j * TILE + r) * WIDTH; }

/* Where a part's partial keeps channel c, and how far apart parts are. */
int partial_slot(int c, int C)
{
    const int j = c / WIDTH;
    return j * WIDTH + c - channel_of(j, C);
}
int partial_stride(int C) { return vectors_of(C) * WIDTH; }

/* Adds a tile's sum to what the tiles before it left. */
void partial_add(vec sum, global float *partial, int first_tile)
{
    if (!first_tile) sum += VLOAD(partial);
    VSTORE(sum, partial);
}

float sum_partials(global const float *partial, int c, int C, int parts)
{
    float sum = 0.0f;
    for (int p = 0; p < parts; p++) sum += partial[p * partial_stride(C) + partial_slot(c, C)];
    return sum;
}

#endif
