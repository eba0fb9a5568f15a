/* Whole parts of numbers that are not negative; no sum on the way to overflow. */
#ifndef MCL_BASE_DIVIDE_H
#define MCL_BASE_DIVIDE_H

static inline int mcl__ceil_div(int a, int b) { return a / b + (a % b != 0); }
static inline int mcl__round_up(int a, int to) { return mcl__ceil_div(a, to) * to; }
static inline int mcl__common_divisor(int a, int b) { return b ? mcl__common_divisor(b, a % b) : a; } /* the greatest */

#endif
