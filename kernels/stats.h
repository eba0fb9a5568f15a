/* Mean and variance by channel, in parts that are joined in a fixed order. For kernels only.
 *
 *   Partial statistics of a (rows, C) tensor, floats: means [parts][C], then M2 [parts][C] (the sums of squared distances from
 *   the part's mean), then counts [parts] (rows of the part; 0 where it has none, its other numbers are then not read).
 *
 * A kernel that ends in STATS keeps count, mean and M2 for each of its vectors of channels in registers, 0 at first, joins each
 * tile of its results to them and writes them once, when it has done all its rows:
 *
 *   after the epilogue of a tile's vectors sum[i], i < rows:
 *       T tile_mean = the sum of sum[i] / rows, tile_squares = the sum of (sum[i] - tile_mean)^2
 *       STATS_JOIN(T, mean, squares, count, tile_mean, tile_squares, (float)rows)    then, once a tile: count += rows
 *   at the end: mean at partial + STATS_MEAN(part, C) + channel, squares at partial + STATS_M2(part, parts, C) + channel, and,
 *       from one of the work-items of a part, count at partial + STATS_COUNT(part, parts, C)
 *
 * Its lowering gives it the workspace (mcl__stats_bytes) and launches the merge (mcl__lower_stats_merge, ops/batch_norm.h).
 * Squares of values are never summed: where a mean is large beside its deviation, their difference has no digits left. */
#ifndef MCL_STATS_H
#define MCL_STATS_H

#define STATS_MEAN(part, C) ((part) * (C))
#define STATS_M2(part, parts, C) (((parts) + (part)) * (C))
#define STATS_COUNT(part, parts, C) (2 * (parts) * (C) + (part))

/* Chan, Golub and LeVeque's formula (1979): mean and squares, of `count` rows, become those of count + added rows. count and
 * added are floats, their sum above 0. */
#define STATS_JOIN(T, mean, squares, count, its_mean, its_squares, added)                        \
    do {                                                                                         \
        const float stats_share = (added) / ((count) + (added));                                 \
        const T stats_apart = (its_mean) - (mean);                                               \
        (mean) += stats_apart * stats_share;                                                     \
        (squares) += (its_squares) + stats_apart * (stats_apart * ((count) * stats_share));      \
    } while (0)

#endif
