/* Weight gradients of dense layers and convolutions, products whose depth is pixels. Made for CPUs, as product.cl is.
 *                         columns: channels of dy        global id 0: block of rows and columns, id 1: chunk of pixels,
 *          block 0 | block 1 | ...                       id 2: group
 *   rows: +--------+                                     for each part of a chunk, `depth` pixels:
 *   taps x| one    |                                       the block's rows and columns of each pixel, staged
 *   source| item   |                                       sums [panel][row][WIDTH] += their product, in tiles of P rows
 *         +--------+
 * Both operands are read as they lie in memory, a pixel after the other; where an item has whole pixels of both, it does not even
 * stage them (`direct`). Either operand may be the one whose values are multiplied by vectors of the other's: `swapped` makes the
 * rows vectors, where that wastes fewer lanes, and the sums are transposed when they are written. Each chunk has its own copy of
 * dw; conv2d_reduce in conv2d_forms.cl adds them in order.
 * With SQUARES an item leaves the sum of squares of what it has written in `partial`. */
#include "pointwise.h"
#include "product_rows.h"

#ifndef NV
#define NV 2 /* vectors of a tile */
#endif
#ifndef P
#define P 12 /* rows of a tile */
#endif
#ifndef SQUARES
#define SQUARES 0
#endif
#define WIDTH (NV * VW)
#define MARGIN (P > WIDTH ? P : WIDTH) /* floats, and so pixels, that a tile may pass the end of what it is to read */

/* `count` columns of dy's pixels [first, first + pixels), from `column` on. */
void stage_gradient(__local float *staged, int pitch, __global const float *dy, int first, int pixels, int column, int count,
                    mcl_product_args a)
{
    const int last = a.N * a.TH * a.TW * a.TC - VW;
    for (int i = 0; i < pixels; i++, staged += pitch) {
        const int start = (first + i) * a.TC + column;
        for (int q = 0; q < count; q += VW) {
            __global const float *p = dy + start + q;
            LOCAL_AT(staged + q, 0) = start + q <= last ? GLOBAL_AT_CONST(p, 0) : load_part(p, count - q);
        }
    }
}

/* What the next part reads: vectors of VW floats of each pixel, which are asked for while this one is multiplied. */
typedef struct upcoming {
    __global const float *x, *dy;
    int x_pitch, dy_pitch, x_vectors, dy_vectors;
} upcoming;

/* The first `count` lanes of v. */
void store_lanes(VECTOR v, __global float *p, int count)
{
    if (count >= VW) GLOBAL_AT(p, 0) = v;
    else if (count > 0) store_part(v, p, 0, count);
}

/* sum + v * v in the first `count` lanes, the others as they were. */
VECTOR add_squares(VECTOR sum, VECTOR v, int count)
{
    float lane[VW];
    if (!SQUARES) return sum;
    if (count >= VW) return fma(v, v, sum);
    VSTORE(v, 0, lane);
    for (int i = count; i < VW; i++) lane[i] = 0.0f;
    v = VLOAD(0, lane);
    return fma(v, v, sum);
}

/* Sums of rows x columns to p, whose rows are `pitch` apart. */
void write_plain(__global float *p, int pitch, __local const float *sums, int rows, int columns, int sum_rows,
                 __local float *squares)
{
    VECTOR sum = (VECTOR)(0.0f);
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j += VW) {
            const VECTOR v = LOCAL_AT_CONST(sums + (j / WIDTH * sum_rows + i) * WIDTH + j % WIDTH, 0);
            store_lanes(v, p + i * pitch + j, columns - j);
            sum = add_squares(sum, v, columns - j);
        }
    }
    if (SQUARES) LOCAL_AT(squares, 0) += sum;
}

/* sums += down^T across, over `pixels` of both; `fresh` sums begin at 0. What stands beyond the block's rows and columns, up to
 * a tile, is multiplied too, into sums that are not written. Each tile asks for one vector of all upcoming pixels, or, where these
 * pixels are the last and there is a target, for the part of it that it then writes while the cache has it. */
#define ADD_PRODUCTS(name, SPACE, AT)                                                                                         \
    void name(__local float *sums, SPACE const float *down, int down_pitch, SPACE const float *across, int across_pitch,      \
              int pixels, int tall, int wide, int sum_rows, int fresh, upcoming next, __global float *target,                 \
              int target_pitch, __local float *squares)                                                                       \
    {                                                                                                                         \
        int tile = 0;                                                                                                         \
        for (int column = 0; column < wide; column += WIDTH) {                                                                \
            for (int row = 0; row < tall; row += P, tile++) {                                                                 \
                __local float *own = target && fresh ? sums : sums + (column / WIDTH * sum_rows + row) * WIDTH;               \
                __global float *to = target ? target + row * target_pitch + column : 0;                                       \
                SPACE const float *value = down + row, *vector = across + column;                                             \
                __global const float *x = target ? to + tile % NV * VW : next.x + tile % next.x_vectors * VW;                 \
                __global const float *dy = target ? to + (tile + 1) % NV * VW : next.dy + tile % next.dy_vectors * VW;        \
                const int x_pitch = target ? target_pitch : next.x_pitch, dy_pitch = target ? target_pitch : next.dy_pitch;   \
                VECTOR sum[P][NV];                                                                                            \
                UNROLL for (int i = 0; i < P; i++)                                                                            \
                    UNROLL for (int j = 0; j < NV; j++)                                                                       \
                        sum[i][j] = fresh ? (VECTOR)(0.0f) : LOCAL_AT_CONST(own + i * WIDTH, j);                              \
                for (int d = 0; d < pixels; d++, value += down_pitch, vector += across_pitch) {                               \
                    VECTOR b[NV];                                                                                             \
                    PREFETCH(x);                                                                                              \
                    PREFETCH(dy);                                                                                             \
                    x += x_pitch, dy += dy_pitch;                                                                             \
                    UNROLL for (int j = 0; j < NV; j++) b[j] = AT(vector, j);                                                 \
                    UNROLL for (int i = 0; i < P; i++) {                                                                      \
                        const VECTOR v = (VECTOR)(value[i]);                                                                  \
                        UNROLL for (int j = 0; j < NV; j++) sum[i][j] = fma(v, b[j], sum[i][j]);                              \
                    }                                                                                                         \
                }                                                                                                             \
                UNROLL for (int i = 0; i < P; i++)                                                                            \
                    UNROLL for (int j = 0; j < NV; j++) LOCAL_AT(own + i * WIDTH, j) = sum[i][j];                             \
                if (target)                                                                                                   \
                    write_plain(to, target_pitch, own, min(P, tall - row), min(WIDTH, wide - column), sum_rows, squares);     \
            }                                                                                                                 \
        }                                                                                                                     \
    }
#define UNROLL _Pragma("unroll")
ADD_PRODUCTS(add_staged, __local, LOCAL_AT_CONST)
ADD_PRODUCTS(add_direct, __global, GLOBAL_AT_CONST)

/* The columns beyond the first `count` of a staged block, up to its pitch. */
void clear_beyond(__local float *staged, int pitch, int pixels, int count)
{
    for (int i = 0; i < pixels; i++)
        for (int q = count; q < pitch; q++) staged[i * pitch + q] = 0.0f;
}

/* Sums of rows x columns to p, from sums [panel of rows][column][WIDTH]. */
void write_transposed(__global float *p, int pitch, __local const float *sums, int rows, int columns, int sum_rows,
                      __local float *squares)
{
    for (int i = 0; i < rows; i += VW) {
        VECTOR sum = (VECTOR)(0.0f);
        for (int j = 0; j < columns; j += VW) {
            VECTOR v[VW];
#pragma unroll
            for (int k = 0; k < VW; k++) v[k] = LOCAL_AT_CONST(sums + (i / WIDTH * sum_rows + j + k) * WIDTH + i % WIDTH, 0);
            lanes_transpose(v);
            for (int k = 0; k < VW && i + k < rows; k++) {
                store_lanes(v[k], p + (i + k) * pitch + j, columns - j);
                sum = add_squares(sum, v[k], columns - j);
            }
        }
        if (SQUARES) LOCAL_AT(squares, 0) += sum;
    }
}

__attribute__((reqd_work_group_size(1, 1, 1)))
__kernel void product_weight(__global const float *restrict x, __global const float *restrict dy, __global float *restrict dw,
                             __global float *restrict partial, __local float *scratch, mcl_product_args a,
                             mcl_product_block_args b PROLOGUE_PARAMS)
{
    __local places at;
    __local float squares[VW];
    const int block = (int)get_global_id(0), chunk = (int)get_global_id(1), group = (int)get_global_id(2);
    const int row = block / b.column_blocks * b.rows, column = block % b.column_blocks * b.columns;
    const int depth = a.KH * a.KW * a.run, rows = min(b.rows, depth - row), columns = min(b.columns, a.columns - column);
    const int tall = b.swapped ? columns : rows, wide = b.swapped ? rows : columns;
    const taps t = taps_of(0, 0, a);
    __local float *source = scratch, *gradient = source + b.depth * b.source_pitch, *sums = gradient + b.depth * b.gradient_pitch;
    const int last = min((chunk + 1) * b.chunk, a.N * a.TH * a.TW);

    upcoming next = {x, dy, b.follow ? a.pitch : 0, a.TC, b.follow ? (rows + VW - 1) / VW : 1, (columns + VW - 1) / VW};
    clear_beyond(source, b.source_pitch, b.depth, rows);
    clear_beyond(gradient, b.gradient_pitch, b.depth, columns);
    if (SQUARES) LOCAL_AT(squares, 0) = (VECTOR)(0.0f);
    __global float *target = dw + (chunk * depth + row) * a.TC + group * a.columns + column;
    for (int first = chunk * b.chunk; first < last; first += b.depth) {
        const int pixels = min(b.depth, last - first), fresh = first == chunk * b.chunk;
        __global float *finished = first + pixels == last && !b.swapped ? target : 0;
        if (b.follow) next.x = x + (first + pixels) * a.pitch + row;
        next.dy = dy + (first + pixels) * a.TC + group * a.columns + column;
        if (b.direct && first + pixels + MARGIN <= a.N * a.TH * a.TW) {
            __global const float *from = x + first * a.pitch, *to = dy + first * a.TC;
            add_direct(sums, b.swapped ? to : from, b.swapped ? a.TC : a.pitch, b.swapped ? from : to,
                       b.swapped ? a.pitch : a.TC, pixels, tall, wide, b.sum_rows, fresh, next, finished, a.TC, squares);
            continue;
        }
        place_rows(&at, first, pixels, pixels, 0, 0, a);
        stage_rows(source, b.source_pitch, &at, x, pixels, row, rows, group, t, a PROLOGUE_ARGS);
        stage_gradient(gradient, b.gradient_pitch, dy, first, pixels, group * a.columns + column, columns, a);
        add_staged(sums, b.swapped ? gradient : source, b.swapped ? b.gradient_pitch : b.source_pitch,
                   b.swapped ? source : gradient, b.swapped ? b.source_pitch : b.gradient_pitch, pixels, tall, wide, b.sum_rows,
                   fresh, next, finished, a.TC, squares);
    }
    if (b.swapped) write_transposed(target, a.TC, sums, rows, columns, b.sum_rows, squares);
    if (SQUARES) {
        float sum = 0.0f;
        for (int i = 0; i < VW; i++) sum += squares[i];
        partial[block] = sum;
    }
}
