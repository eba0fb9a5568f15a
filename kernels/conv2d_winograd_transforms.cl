/* The transforms of Winograd's minimal filtering (winograd.h) as kernels of their own, for GPUs; between them stand the products of
 * conv2d_winograd_product.cl. What they hand over lies in global memory, one point behind the other, for a block of a.group tiles
 * from `first` on; the last block may have fewer.
 *   kernel                           an item's VW channels of   makes
 *   conv2d_winograd_source           a tile of x, or, of dy     V [POINTS][group][C] = B^T d B
 *   conv2d_winograd_weights          a row of w                 U [POINTS][C][K] = G g G^T
 *   conv2d_winograd_target           a tile of y, or, of dx     A^T M A, from M [POINTS][group][K]
 *   conv2d_winograd_gradient         a tile of dy               U [POINTS][group][K] = A dy A^T
 *   conv2d_winograd_weight_gradient  a row of dw                G^T M G, from the sum of M [parts][POINTS][C][K]
 *   id 0: vectors of channels, so that neighbours touch neighbours; 1: tiles or rows
 * An item keeps all values of its tile in registers, so its vectors are short: two floats, or one where channels are odd. Compilers
 * for gfx906 to gfx1030 and sm_75 to sm_90 count up to 129 registers, and spill none. */
#ifndef VW
#define VW 2
#endif
#include "args.h"
#include "conv2d_tile.h"
#include "lanes.h"
#include "pointwise.h"
#include "winograd.h"

/* VW divides every index. */
#define AT(p) (*(__global VECTOR *)(p))
#define LOAD_AT(p) (*(__global const VECTOR *)(p))
#if VW == 2
#define LOAD_APART(p, pitch) ((VECTOR)((p)[0], (p)[pitch]))
#else
#define LOAD_APART(p, pitch) ((p)[0])
#endif

/* A tile's picture and the place of its corner in the target. */
typedef struct tile_place { int picture, h, w; } tile_place;

tile_place place_of(int tile, mcl_winograd_args a)
{
    const tile_place place = {tile / (a.tiles_h * a.tiles_w), tile / a.tiles_w % a.tiles_h * TILE, tile % a.tiles_w * TILE};
    return place;
}

__kernel void conv2d_winograd_source(__global const float *restrict x, __global float *restrict v PROLOGUE_PARAMS,
                                     int first, mcl_winograd_args a)
{
    const int c = (int)get_global_id(0) * VW, t = (int)get_global_id(1);
    if (c >= a.C || t >= min(a.group, a.N * a.tiles_h * a.tiles_w - first)) return;
    const tile_place place = place_of(first + t, a);
    const int h = place.h + a.base_h, left = place.w + a.base_w;
    VECTOR half_way[SIDE][SIDE];
    x += place.picture * a.SH * a.SW * a.C + c;
    v += t * a.C + c;
#pragma unroll
    for (int s = 0; s < SIDE; s++) {
        VECTOR d[SIDE], out[SIDE];
        const int within = (uint)(left + s) < (uint)a.SW;
#pragma unroll
        for (int r = 0; r < SIDE; r++) {
            const int inside = within && (uint)(h + r) < (uint)a.SH;
            VECTOR value = LOAD_AT(x + (inside ? ((h + r) * a.SW + left + s) * a.C : 0));
            PROLOGUE(VECTOR, LOAD_AT, value, c)
            d[r] = LANES_AND(value, -inside);
        }
        winograd_source(d, out);
#pragma unroll
        for (int r = 0; r < SIDE; r++) half_way[r][s] = out[r];
    }
#pragma unroll
    for (int r = 0; r < SIDE; r++) {
        VECTOR out[SIDE];
        winograd_source(half_way[r], out);
#pragma unroll
        for (int s = 0; s < SIDE; s++) AT(v + (r * SIDE + s) * a.group * a.C) = out[s];
    }
}

__kernel void conv2d_winograd_weights(__global const float *restrict w, __global float *restrict u, mcl_winograd_args a)
{
    const int k = (int)get_global_id(0) * VW, c = (int)get_global_id(1);
    if (k >= a.K || c >= a.C) return;
    VECTOR half_way[SIDE][TAPS];
    w += a.transposed ? (TAPS * TAPS - 1) * a.C * a.K + k * a.C + c : c * a.K + k;
    u += c * a.K + k;
#pragma unroll
    for (int s = 0; s < TAPS; s++) {
        VECTOR g[TAPS], out[SIDE];
#pragma unroll
        for (int r = 0; r < TAPS; r++) {
            const int tap = (r * TAPS + s) * a.C * a.K;
            g[r] = a.transposed ? LOAD_APART(w - tap, a.C) : LOAD_APART(w + tap, 1);
        }
        winograd_weight(g, out);
#pragma unroll
        for (int r = 0; r < SIDE; r++) half_way[r][s] = out[r];
    }
#pragma unroll
    for (int r = 0; r < SIDE; r++) {
        VECTOR out[SIDE];
        winograd_weight(half_way[r], out);
#pragma unroll
        for (int s = 0; s < SIDE; s++) AT(u + (r * SIDE + s) * a.C * a.K) = out[s];
    }
}

__kernel void conv2d_winograd_target(__global const float *restrict m, __global float *restrict y EPILOGUE_PARAMS,
                                     int first, mcl_winograd_args a)
{
    const int channel = (int)get_global_id(0) * VW, t = (int)get_global_id(1);
    if (channel >= a.K || t >= min(a.group, a.N * a.tiles_h * a.tiles_w - first)) return;
    const tile_place place = place_of(first + t, a);
    VECTOR half_way[TILE][SIDE];
    m += t * a.K + channel;
#pragma unroll
    for (int s = 0; s < SIDE; s++) {
        VECTOR point[SIDE], out[TILE];
#pragma unroll
        for (int r = 0; r < SIDE; r++) point[r] = LOAD_AT(m + (r * SIDE + s) * a.group * a.K);
        winograd_target(point, out);
#pragma unroll
        for (int r = 0; r < TILE; r++) half_way[r][s] = out[r];
    }
#pragma unroll
    for (int r = 0; r < TILE; r++) {
        VECTOR out[TILE];
        winograd_target(half_way[r], out);
#pragma unroll
        for (int s = 0; s < TILE; s++)
            if (place.h + r < a.TH && place.w + s < a.TW) {
                const int row = (place.picture * a.TH + place.h + r) * a.TW + place.w + s;
                VECTOR value = out[s];
                EPILOGUE(VECTOR, LOAD_AT, value, row, channel, a.K)
                AT(y + row * a.K + channel) = value;
            }
    }
}

__kernel void conv2d_winograd_gradient(__global const float *restrict dy, __global float *restrict u, int first,
                                       mcl_winograd_args a)
{
    const int k = (int)get_global_id(0) * VW, t = (int)get_global_id(1);
    if (k >= a.K || t >= min(a.group, a.N * a.tiles_h * a.tiles_w - first)) return;
    const tile_place place = place_of(first + t, a);
    VECTOR half_way[SIDE][TILE];
    dy += place.picture * a.TH * a.TW * a.K + k;
    u += t * a.K + k;
#pragma unroll
    for (int s = 0; s < TILE; s++) {
        VECTOR d[TILE], out[SIDE];
#pragma unroll
        for (int r = 0; r < TILE; r++) {
            const int inside = place.h + r < a.TH && place.w + s < a.TW;
            d[r] = LANES_AND(LOAD_AT(dy + (inside ? ((place.h + r) * a.TW + place.w + s) * a.K : 0)), -inside);
        }
        winograd_gradient(d, out);
#pragma unroll
        for (int r = 0; r < SIDE; r++) half_way[r][s] = out[r];
    }
#pragma unroll
    for (int r = 0; r < SIDE; r++) {
        VECTOR out[SIDE];
        winograd_gradient(half_way[r], out);
#pragma unroll
        for (int s = 0; s < SIDE; s++) AT(u + (r * SIDE + s) * a.group * a.K) = out[s];
    }
}

__kernel void conv2d_winograd_weight_gradient(__global const float *restrict m, __global float *restrict dw, mcl_winograd_args a)
{
    const int k = (int)get_global_id(0) * VW, c = (int)get_global_id(1), pitch = a.C * a.K;
    if (k >= a.K || c >= a.C) return;
    VECTOR half_way[TAPS][SIDE];
    m += c * a.K + k;
    dw += c * a.K + k;
#pragma unroll
    for (int s = 0; s < SIDE; s++) {
        VECTOR point[SIDE], out[TAPS];
#pragma unroll
        for (int r = 0; r < SIDE; r++) point[r] = LOAD_AT(m + (r * SIDE + s) * pitch);
        for (int part = 1; part < a.parts; part++)
#pragma unroll
            for (int r = 0; r < SIDE; r++) point[r] += LOAD_AT(m + (part * POINTS + r * SIDE + s) * pitch);
        winograd_weight_gradient(point, out);
#pragma unroll
        for (int r = 0; r < TAPS; r++) half_way[r][s] = out[r];
    }
#pragma unroll
    for (int r = 0; r < TAPS; r++) {
        VECTOR out[TAPS];
        winograd_weight_gradient(half_way[r], out);
#pragma unroll
        for (int s = 0; s < TAPS; s++) AT(dw + (r * TAPS + s) * pitch) = out[s];
    }
}
