/* Numbers that carry a bound on the error of the f32 computation they stand for: first-order running error analysis,
 * with the accuracies that OpenCL 1.2 guarantees (table 7.1 of its specification). Point-wise formulas are written with
 * these. */
#ifndef MCL_ORACLE_APPROXIMATE_H
#define MCL_ORACLE_APPROXIMATE_H
#include <float.h>
#include <math.h>

#define MCL__UNIT 0x1p-24              /* one rounding to f32, relative; an ulp is two of these at most */
#define MCL__TINY ((double)FLT_MIN)    /* what a device that flushes denormals may lose */

typedef struct mcl__approx { double value, error; } mcl__approx;

static inline mcl__approx mcl__exact(double value) { return (mcl__approx){value, 0}; }

/* A result whose operands' errors have made `carried` already, computed within `units` roundings. */
static inline mcl__approx mcl__rounded(double value, double carried, double units)
{
    return (mcl__approx){value, carried + units * MCL__UNIT * (fabs(value) + carried) + MCL__TINY};
}

static inline mcl__approx mcl__add(mcl__approx a, mcl__approx b)
{
    return mcl__rounded(a.value + b.value, a.error + b.error, 1);
}

static inline mcl__approx mcl__subtract(mcl__approx a, mcl__approx b)
{
    return mcl__rounded(a.value - b.value, a.error + b.error, 1);
}

static inline mcl__approx mcl__multiply(mcl__approx a, mcl__approx b)
{
    double carried = fabs(a.value) * b.error + fabs(b.value) * a.error + a.error * b.error;
    return mcl__rounded(a.value * b.value, carried, 1);
}

/* Division: 2.5 ulp. b must stay away from 0 by more than its error. */
static inline mcl__approx mcl__divide(mcl__approx a, mcl__approx b)
{
    double value = a.value / b.value;
    double carried = (a.error + fabs(value) * b.error) / (fabs(b.value) - b.error);
    return mcl__rounded(value, carried, 5);
}

/* Square root: 3 ulp. */
static inline mcl__approx mcl__square_root(mcl__approx a)
{
    double value = sqrt(a.value);
    double low = a.value > a.error ? value - sqrt(a.value - a.error) : value;
    return mcl__rounded(value, fmax(low, sqrt(a.value + a.error) - value), 6);
}

/* A function of slope at most `slope` around a, computed within `units` roundings. */
static inline mcl__approx mcl__function(double value, mcl__approx a, double slope, double units)
{
    return mcl__rounded(value, slope * a.error, units);
}

/* A sum of `terms` products or numbers, in any order: magnitude is the sum of their absolute values, `units` the
 * roundings inside one term. (Higham, Accuracy and Stability of Numerical Algorithms, section 4.2.) */
static inline mcl__approx mcl__sum(double value, double magnitude, double terms, double units)
{
    return (mcl__approx){value, magnitude * (terms + units) * MCL__UNIT + terms * MCL__TINY};
}
#endif
