/* Sums over rows: x (rows, C) -> s (C).
 *
 *   channel_sum: one work-item a channel. Split: work-item (j, p) of channel_sum_part adds the rows of part p for channel
 *   vector j (rows.h), then channel_sum_finish adds the parts in order, one work-item a channel. */
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

kernel void channel_sum_part(global const float *restrict x, global float *restrict partial, mcl_rows_args args, int parts,
                             int rows_each)
{
    row_part own;
    if (!row_part_of(&own, args, parts, rows_each)) return;
    vec total = 0.0f;
    for (int block = own.first; block < own.last; block += BLOCK) {
        vec sum = 0.0f;
        for (int r = block; r < own.last && r < block + BLOCK; r++) sum += VLOAD(x + r * args.C + own.channel);
        total += sum;
    }
    VSTORE(total, partial + own.slot);
}

kernel void channel_sum_finish(global const float *restrict partial, global float *restrict s, mcl_rows_args args, int parts)
{
    const int c = (int)get_global_id(0);
    if (c < args.C) s[c] = sum_partials(partial, c, args.C, parts);
}
