/* Vectors of WIDTH floats (1, 2, 4, 8 or 16), chosen when a kernel is compiled, and the share of a flat range that a
 * work-item owns. For kernels only.
 *
 * VLOAD and VSTORE are for global memory. A vector may begin at any float, unless ALIGNED is defined: then all begin at a multiple
 * of WIDTH, as GPUs are given them. A compiler that does not know that makes WIDTH accesses of one, in each of which neighbouring
 * work-items are WIDTH floats apart. OWN_LOAD and OWN_STORE are for arrays of a work-item's own.
 *
 * A kernel that does little but read and write asks memory for what is AHEAD floats on (PREFETCH, load_asking), which is farther
 * than a core by itself looks. */
#ifndef MCL_VECTOR_H
#define MCL_VECTOR_H
#include "prefetch.h"

#ifndef WIDTH
#define WIDTH 1
#endif
#define AHEAD 512

#define MCL_JOIN_(a, b) a##b
#define MCL_JOIN(a, b) MCL_JOIN_(a, b)

#if WIDTH == 1
typedef float vec;
typedef int ivec;
typedef uchar bytevec;
#define OWN_LOAD(p) (*(p))
#define OWN_STORE(v, p) (*(p) = (v))
#define TO_VEC(v) convert_float(v)
#define TO_IVEC(v) convert_int(v)
#define TO_BYTES(v) convert_uchar(v)
#else
typedef MCL_JOIN(float, WIDTH) vec;
typedef MCL_JOIN(int, WIDTH) ivec;
typedef MCL_JOIN(uchar, WIDTH) bytevec;
#define OWN_LOAD(p) MCL_JOIN(vload, WIDTH)(0, p)
#define OWN_STORE(v, p) MCL_JOIN(vstore, WIDTH)(v, 0, p)
#define TO_VEC(v) MCL_JOIN(convert_float, WIDTH)(v)
#define TO_IVEC(v) MCL_JOIN(convert_int, WIDTH)(v)
#define TO_BYTES(v) MCL_JOIN(convert_uchar, WIDTH)(v)
#endif

#ifdef ALIGNED
vec load_aligned(global const float *p) { return *(global const vec *)p; }
void store_aligned(vec v, global float *p) { *(global vec *)p = v; }
bytevec load_aligned_bytes(global const uchar *p) { return *(global const bytevec *)p; }
void store_aligned_bytes(bytevec v, global uchar *p) { *(global bytevec *)p = v; }
#define VLOAD load_aligned
#define VSTORE store_aligned
#define VLOAD_BYTES load_aligned_bytes
#define VSTORE_BYTES store_aligned_bytes
#else
/* A vstore16 becomes stores of its parts on some drivers (PoCL 3.1), an assignment one. */
typedef vec __attribute__((aligned(4))) loose;
vec load_loose(global const float *p) { return *(global const loose *)p; }
void store_loose(vec v, global float *p) { *(global loose *)p = v; }
#define VLOAD load_loose
#define VSTORE store_loose
#define VLOAD_BYTES OWN_LOAD
#define VSTORE_BYTES OWN_STORE
#endif

vec load_asking(global const float *p)
{
    PREFETCH(p + AHEAD);
    return VLOAD(p);
}

/* The first `count` lanes of a vector, for what is left at the end of a range; the other lanes are 0. */
vec load_lanes(global const float *p, int count)
{
    float lane[WIDTH];
    if (count >= WIDTH) return VLOAD(p);
    for (int i = 0; i < WIDTH; i++) lane[i] = i < count ? p[i] : 0.0f;
    return OWN_LOAD(lane);
}

void store_lanes(vec v, global float *p, int count)
{
    float lane[WIDTH];
    if (count >= WIDTH) {
        VSTORE(v, p);
        return;
    }
    OWN_STORE(v, lane);
    for (int i = 0; i < count; i++) p[i] = lane[i];
}

float sum_lanes(vec v)
{
    float lane[WIDTH], sum = 0.0f;
    OWN_STORE(v, lane);
    for (int i = 0; i < WIDTH; i++) sum += lane[i];
    return sum;
}

/* Items [first, last) of n: as many for each work-item as the launch leaves them, contiguous. A launch of n or more
 * work-items gives each one (so neighbours touch neighbours, as a GPU wants), a launch of few gives long runs. */
typedef struct span { int first, last; } span;

span span_of(int n)
{
    int each = (n - 1) / (int)get_global_size(0) + 1;
    int id = (int)get_global_id(0);
    span own;
    own.first = id < (n - 1) / each + 1 ? id * each : n;
    own.last = n - own.first < each ? n : own.first + each;
    return own;
}

#endif
