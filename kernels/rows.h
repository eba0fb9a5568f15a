/* How reductions over the rows of a (rows, C) tensor are split, for kernels only.
 *
 *   part p owns rows p * rows_each ...; channel vector j owns channels from min(j * WIDTH, C - WIDTH), so the last vector
 *   may overlap the one before it: WIDTH need not divide C, only be at most C. A partial is (parts, vectors * WIDTH)
 *   floats; a channel's value stands in the first vector that covers it. */
#ifndef MCL_ROWS_H
#define MCL_ROWS_H
#include "args.h"
#include "vector.h"

#define BLOCK 32 /* rows added before they join the total, so that long sums lose little */

typedef struct row_part {
    int first, last, channel;
    int slot;    /* of this vector in one part's partial */
    int covered; /* channels of it that the vector before it has too */
} row_part;

/* False for work-items beyond the grid of (channel vector, part). */
int row_part_of(row_part *part, mcl_rows_args args, int parts, int rows_each)
{
    const int j = (int)get_global_id(0), p = (int)get_global_id(1), vectors = (args.C - 1) / WIDTH + 1;
    if (j >= vectors || p >= parts) return 0;
    part->first = p * rows_each;
    part->last = args.rows - part->first < rows_each ? args.rows : part->first + rows_each;
    part->channel = j * WIDTH < args.C - WIDTH ? j * WIDTH : args.C - WIDTH;
    part->slot = (p * vectors + j) * WIDTH;
    part->covered = j * WIDTH - part->channel;
    return 1;
}

/* The channels that no other vector has, to a row of C floats. */
void store_own(vec v, global float *row, row_part own)
{
    float lane[WIDTH];
    if (own.covered == 0) {
        VSTORE(v, row + own.channel);
        return;
    }
    VSTORE(v, lane);
    for (int i = own.covered; i < WIDTH; i++) row[own.channel + i] = lane[i];
}

/* Where part 0's partial keeps channel c, and how far apart parts are. */
int partial_slot(int c, int C)
{
    int j = c / WIDTH, channel = j * WIDTH < C - WIDTH ? j * WIDTH : C - WIDTH;
    return j * WIDTH + c - channel;
}
int partial_stride(int C) { return ((C - 1) / WIDTH + 1) * WIDTH; }

float sum_partials(global const float *partial, int c, int C, int parts)
{
    float sum = 0.0f;
    for (int p = 0; p < parts; p++) sum += partial[p * partial_stride(C) + partial_slot(c, C)];
    return sum;
}

#endif
