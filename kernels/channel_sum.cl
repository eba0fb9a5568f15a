/* Sums over rows: x (rows, C) -> s (C).
 *
 *   channel_sum: one work-item a channel. channel_sum_short: a work-item has a run of vectors, whose WIDTH divides C, and all rows.
 *   Split: channel_sum_part adds the rows of each part (rows.h), then channel_sum_finish adds the parts in order, one work-item a
 *   channel. Memory bounds it: 0.25 FLOP for a byte. */
#include "rows.h"

kernel void channel_sum(global const float *restrict x, global float *restrict s, mcl_rows_args args)
{
    const int c = (int)get_global_id(0);
    if (c >= args.C) return;
    float total = 0.0f;
    for (int block = 0; block < args.rows; block += BLOCK) {
        float sum = 0.0f;
        for (int r = block; r < args.rows && r < block + BLOCK; r++) sum += x[r * args.C + c];
        total += sum;
    }
    s[c] = total;
}

__attribute__((always_inline))
inline vec tile_sum(global const float *x, int C, int rows)
{
    vec sum = 0.0f;
#pragma unroll
    for (int r = 0; r < rows; r++) sum += VLOAD(x + r * C);
    return sum;
}

kernel void channel_sum_short(global const float *restrict x, global float *restrict s, mcl_rows_args args)
{
    const span own = span_of(args.C / WIDTH);
    for (int c = own.first * WIDTH; c < own.last * WIDTH; c += WIDTH) {
        vec sum = 0.0f;
        int r = 0;
        for (; r + TILE <= args.rows; r += TILE) sum += tile_sum(x + r * args.C + c, args.C, TILE);
        VSTORE(sum + tile_sum(x + r * args.C + c, args.C, args.rows - r), s + c);
    }
}

kernel void channel_sum_part(global const float *restrict x, global float *restrict partial, mcl_rows_args args, int parts,
                             int rows_each)
{
    const row_part own = row_part_of(args.rows, parts, rows_each);
    partial += (int)get_global_id(1) * partial_stride(args.C);
    for (int r = own.first; r < own.last; r += TILE)
        for (int j = (int)get_global_id(0); j < vectors_of(args.C); j += (int)get_global_size(0)) {
            global const float *tile = x + r * args.C + channel_of(j, args.C);
            const int rows = own.last - r;
            const vec sum = rows >= TILE ? tile_sum(tile, args.C, TILE) : tile_sum(tile, args.C, rows);
            partial_add(sum, partial + j * WIDTH, r == own.first);
        }
}

kernel void channel_sum_finish(global const float *restrict partial, global float *restrict s, mcl_rows_args args, int parts)
{
    const int c = (int)get_global_id(0);
    if (c < args.C) s[c] = sum_partials(partial, c, args.C, parts);
}
