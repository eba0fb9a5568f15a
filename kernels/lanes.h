/* Vectors of VW floats (2, 4, 8 or 16), whole and in part, and the empty epilogue. For the convolutions' kernels. */
#ifndef MCL_LANES_H
#define MCL_LANES_H

#ifndef VW
#define VW 16
#endif
#ifndef LOCAL
#define LOCAL 1 /* work-items a work-group */
#endif
/* What a prelude overrides; see src/ops/epilogue.h. */
#ifndef EPILOGUE
#define EPILOGUE_PARAMS
#define EPILOGUE(T, LOAD, v, row, channel, channels)
#endif
#ifndef PROLOGUE
#define PROLOGUE_PARAMS
#define PROLOGUE(T, LOAD, v, channel)
#endif

#define LANES_JOIN_(a, b) a##b
#define LANES_JOIN(a, b) LANES_JOIN_(a, b)
#define VECTOR LANES_JOIN(float, VW)
#define VLOAD LANES_JOIN(vload, VW)
#define VSTORE LANES_JOIN(vstore, VW)

/* The first `count` < VW floats at p, 0 in the other lanes. */
VECTOR load_part(__global const float *p, int count)
{
    float lane[VW];
    for (int i = 0; i < VW; i++) lane[i] = i < count ? p[i] : 0.0f;
    return VLOAD(0, lane);
}

/* Lanes [first, first + count) of v to p[first...]. */
void store_part(VECTOR v, __global float *p, int first, int count)
{
    float lane[VW];
    VSTORE(v, 0, lane);
    for (int i = first; i < first + count; i++) p[i] = lane[i];
}

#define LOAD_WHOLE(p) VLOAD(0, p)
#define LOAD_PART(p) load_part(p, part)

/* Applies the epilogue to the vector v at (row, channel) of y (rows, channels), and stores the channels that exist. */
#define FINISH(v, y, row, channel, channels)                              \
    do {                                                                  \
        const int part = (channels) - (channel);                          \
        __global float *target = (y) + (row) * (channels) + (channel);    \
        if (part >= VW) {                                                 \
            EPILOGUE(VECTOR, LOAD_WHOLE, v, row, channel, channels)       \
            VSTORE(v, 0, target);                                         \
        } else if (part > 0) {                                            \
            EPILOGUE(VECTOR, LOAD_PART, v, row, channel, channels)        \
            store_part(v, target, 0, part);                               \
        }                                                                 \
    } while (0)

#endif
