/* Vectors of VW floats (1, 2, 4, 8 or 16), whole and in part. For the kernels of products. */
#ifndef MCL_LANES_H
#define MCL_LANES_H
#include "epilogue.h"
#include "prefetch.h"

#ifndef VW
#define VW 16
#endif
#ifndef LOCAL
#define LOCAL 1 /* work-items a work-group */
#endif

#define LANES_JOIN_(a, b) a##b
#define LANES_JOIN(a, b) LANES_JOIN_(a, b)
#if VW == 1
#define LANES(type) type
#define VLOAD(j, p) ((p)[j])
#define VSTORE(v, j, p) ((p)[j] = (v))
#else
#define LANES(type) LANES_JOIN(type, VW)
#define VLOAD LANES_JOIN(vload, VW)
#define VSTORE LANES_JOIN(vstore, VW)
#endif
#define VECTOR LANES(float)

/* Vectors at any float. A vstore16 becomes four stores of a quarter on some drivers (PoCL 3.1), an assignment one. */
typedef VECTOR __attribute__((aligned(4))) loose;
#define GLOBAL_AT(p, j) (*(__global loose *)((p) + (j) * VW))
#define GLOBAL_AT_CONST(p, j) (*(__global const loose *)((p) + (j) * VW))
#define LOCAL_AT_CONST(p, j) (*(__local const loose *)((p) + (j) * VW))
#define LOCAL_AT(p, j) (*(__local loose *)((p) + (j) * VW))

/* `count` < VW floats from one place to another, in pieces of 8, 4, 2 and 1. */
#define COPY_PIECE(n)                                     \
    if (VW > n && (count & n)) {                          \
        vstore##n(vload##n(0, from + at), 0, to + at);    \
        at += n;                                          \
    }
#define COPY_PART                                         \
    int at = 0;                                           \
    COPY_PIECE(8) COPY_PIECE(4) COPY_PIECE(2)             \
    if (count & 1) to[at] = from[at];

/* The first `count` < VW floats at p, 0 in the other lanes. */
VECTOR load_part(__global const float *from, int count)
{
    float to[VW];
    VSTORE((VECTOR)(0.0f), 0, to);
    COPY_PART
    return VLOAD(0, to);
}

/* Lanes [first, first + count) of v to `to`[first...]; count < VW. */
void store_part(VECTOR v, __global float *to, int first, int count)
{
    float lane[VW];
    VSTORE(v, 0, lane);
    const float *from = lane + first;
    to += first;
    COPY_PART
}

/* v in the lanes' bits of the int `mask`: -1 keeps, 0 clears whatever was there. */
#define LANES_AND(v, mask) LANES(as_float)(LANES(as_int)(v) & (mask))

#if VW >= 8
/* Transposes VW vectors: each pass interleaves row i with row i + VW / 2, which rotates the bits of (row, lane) by one. */
void lanes_transpose(VECTOR row[VW])
{
#pragma unroll 1
    for (int pass = 1; pass < VW; pass *= 2) {
        VECTOR out[VW];
#pragma unroll
        for (int i = 0; i < VW / 2; i++) {
            out[2 * i].even = row[i].lo, out[2 * i].odd = row[i + VW / 2].lo;
            out[2 * i + 1].even = row[i].hi, out[2 * i + 1].odd = row[i + VW / 2].hi;
        }
#pragma unroll
        for (int i = 0; i < VW; i++) row[i] = out[i];
    }
}
#endif

#define LOAD_WHOLE(p) GLOBAL_AT_CONST(p, 0)
#define LOAD_PART(p) load_part(p, part)

/* Applies the epilogue to the vector v at (row, channel) of y (rows, channels), and stores the channels that exist. */
#define FINISH(v, y, row, channel, channels)                              \
    do {                                                                  \
        const int part = (channels) - (channel);                          \
        __global float *target = (y) + (row) * (channels) + (channel);    \
        if (part >= VW) {                                                 \
            EPILOGUE(VECTOR, LOAD_WHOLE, v, row, channel, channels)       \
            GLOBAL_AT(target, 0) = v;                                     \
        } else if (part > 0) {                                            \
            EPILOGUE(VECTOR, LOAD_PART, v, row, channel, channels)        \
            store_part(v, target, 0, part);                               \
        }                                                                 \
    } while (0)

#endif
