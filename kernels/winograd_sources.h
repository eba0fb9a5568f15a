/* The source side of Winograd's minimal filtering, and what it asks memory for, which the convolution and its weight gradient
 * share. */
#ifndef MCL_WINOGRAD_SOURCES_H
#define MCL_WINOGRAD_SOURCES_H
#include "conv2d_tile.h"
#include "winograd.h"

/* What is read or written soon: as many floats a step as bring all of it in time. */
typedef struct upcoming {
    __global const float *at;
    int pace;
} upcoming;

/* The lines under tiles [first, first + count), all channels of them, in `steps` steps. */
upcoming upcoming_tiles(__global const float *tensor, int first, int count, int height, int line, int steps, mcl_winograd_args a)
{
    const int tiles = a.tiles_h * a.tiles_w, left = min(count, a.N * tiles - first), last = first + left - 1;
    const int from = (first / tiles * height + first / a.tiles_w % a.tiles_h * TILE) * line;
    const int to = (last / tiles * height + (last / a.tiles_w % a.tiles_h + 1) * TILE) * line;
    const upcoming found = {tensor + from, left > 0 ? (to - from + steps - 1) / steps : 0};
    return found;
}

/* V = B^T d B of tiles [first, first + count), channels [c0, c0 + depth); tiles past the last one are the last one. A tile's
 * values are tile_pitch floats from the next one's, a point's point_pitch. The prologue's codes are applied to d. */
void winograd_sources(__global const float *restrict x, __local float *restrict v, int first, int count, int c0, int depth,
                      int tile_pitch, int point_pitch, mcl_winograd_args a PROLOGUE_PARAMS)
{
    const int tiles = a.tiles_h * a.tiles_w;
    VECTOR half_way[SIDE][SIDE];
    for (int t = 0; t < count; t++) {
        const int tile = min(first + t, a.N * tiles - 1);
        const int h = tile / a.tiles_w % a.tiles_h * TILE + a.base_h, left = tile % a.tiles_w * TILE + a.base_w;
        int inside[SIDE], line[SIDE]; /* of the tile's rows */
        for (int r = 0; r < SIDE; r++) {
            inside[r] = (uint)(h + r) < (uint)a.SH ? -1 : 0;
            line[r] = (tile / tiles * a.SH + clamp(h + r, 0, a.SH - 1)) * a.SW * a.C + c0;
        }
        for (int c = 0; c < depth; c += VW) {
            const int from = min(c, depth - VW);
            __local float *to = v + t * tile_pitch + from;
#pragma unroll 1
            for (int s = 0; s < SIDE; s++) {
                VECTOR d[SIDE], out[SIDE];
                const int within = (uint)(left + s) < (uint)a.SW;
                const int shift = (within ? left + s : 0) * a.C + from;
#pragma unroll
                for (int r = 0; r < SIDE; r++) {
                    VECTOR value = VLOAD(0, x + line[r] + shift);
                    PROLOGUE(VECTOR, LOAD_WHOLE, value, c0 + from)
                    d[r] = LANES_AND(value, within ? inside[r] : 0);
                }
                winograd_source(d, out);
#pragma unroll
                for (int r = 0; r < SIDE; r++) half_way[r][s] = out[r];
            }
#pragma unroll 1
            for (int r = 0; r < SIDE; r++) {
                VECTOR out[SIDE];
                winograd_source(half_way[r], out);
#pragma unroll
                for (int s = 0; s < SIDE; s++) LOCAL_AT(to + (r * SIDE + s) * point_pitch, 0) = out[s];
            }
        }
    }
}

/* Weights of a block: all taps of `rows` rows from `at` on, which have `floats` each, are `pitch` apart, and lie `tap` floats from
 * the next tap's. No rows: none. */
typedef struct weight_block {
    __global const float *at;
    int rows, floats, pitch, tap;
} weight_block;

/* Asks memory for part `done` of `of` of a block. */
void winograd_ask_weights(weight_block block, int done, int of)
{
    const int all = TAPS * TAPS * block.rows, last = all * (done + 1) / of;
    for (int r = all * done / of; r < last; r++)
        for (int i = 0; i < block.floats; i += VW)
            PREFETCH(block.at + r / block.rows * block.tap + r % block.rows * block.pitch + i);
}

#endif
