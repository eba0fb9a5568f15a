/* Copies a block between tensors of up to four dimensions: slice, pad and concatenation.
 *
 *   work-item (i, line): line = the two outer dimensions, i = a vector of WIDTH channels of the two inner ones, then
 *   i + global size. D[3], S[3] and offset[3] count vectors. The lines are dst's where what lies outside src becomes 0
 *   (zero_outside: slice, pad), else src's (concatenation, which leaves the rest of dst alone). */
#include "args.h"
#include "vector.h"

kernel void region(global const float *src, global float *dst, mcl_region_args args)
{
    const int over_dst = args.zero_outside, line = (int)get_global_id(1);
    const int outer = over_dst ? args.D[1] : args.S[1], inner = over_dst ? args.D[3] : args.S[3];
    const int lines = outer * (over_dst ? args.D[0] : args.S[0]), across = inner * (over_dst ? args.D[2] : args.S[2]);
    if (line >= lines) return;

    const int sign = over_dst ? -1 : 1; /* from the index walked to the other tensor's */
    const int a = line / outer, b = line % outer;
    const int other_a = a + sign * args.offset[0], other_b = b + sign * args.offset[1];
    const int A = over_dst ? args.S[0] : args.D[0], B = over_dst ? args.S[1] : args.D[1];
    const int C = over_dst ? args.S[2] : args.D[2], E = over_dst ? args.S[3] : args.D[3];
    const int line_inside = other_a >= 0 && other_a < A && other_b >= 0 && other_b < B;

    for (int i = (int)get_global_id(0); i < across; i += (int)get_global_size(0)) {
        int c = i / inner + sign * args.offset[2], e = i % inner + sign * args.offset[3];
        int inside = line_inside && c >= 0 && c < C && e >= 0 && e < E;
        int here = line * across + i, there = ((other_a * B + other_b) * C + c) * E + e;
        if (over_dst) {
            vec v = 0.0f;
            if (inside) v = VLOAD(src + there * WIDTH);
            VSTORE(v, dst + here * WIDTH);
        } else if (inside) {
            VSTORE(VLOAD(src + here * WIDTH), dst + there * WIDTH);
        }
    }
}
