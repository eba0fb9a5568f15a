/* The transforms of Winograd's minimal filtering, F(TILE x TILE, TAPS x TAPS), along one axis (Lavin and Gray 2015,
 * arXiv:1509.09308); both axes one after the other make a two-dimensional transform.
 *   y = A^T [ (G g G^T) . (B^T d B) ] A         d: SIDE x SIDE source pixels, g: TAPS x TAPS weights, y: TILE x TILE results
 *   dg = G^T [ (A dy A^T) . (B^T d B) ] G       the gradient in g
 * F(4, 3) and F(2, 5) multiply polynomials at the same points, 0, 1, -1, 2, -2 and infinity, so that B is the same.
 * The oracle has the matrices themselves (src/ops/oracle/winograd.c). */
#ifndef MCL_WINOGRAD_H
#define MCL_WINOGRAD_H
#include "lanes.h"

#ifndef TILE
#define TILE 4 /* 4 or 2 */
#endif
#ifndef TAPS
#define TAPS 3 /* or 5, where TILE is 2 */
#endif
#define SIDE (TILE + TAPS - 1)
#define POINTS (SIDE * SIDE)

#if SIDE == 6

/* B^T d */
void winograd_source(const VECTOR d[SIDE], VECTOR out[SIDE])
{
    const VECTOR even = fma(-4.0f, d[2], d[4]), odd = fma(-4.0f, d[1], d[3]);
    const VECTOR near = d[4] - d[2], far = d[3] - d[1];
    out[0] = fma(4.0f, d[0], fma(-5.0f, d[2], d[4]));
    out[1] = even + odd;
    out[2] = even - odd;
    out[3] = fma(2.0f, far, near);
    out[4] = fma(-2.0f, far, near);
    out[5] = fma(4.0f, d[1], fma(-5.0f, d[3], d[5]));
}

#if TAPS == 3

/* G g */
void winograd_weight(const VECTOR g[3], VECTOR out[SIDE])
{
    const VECTOR near = (g[0] + g[2]) * (-1.0f / 6), far = fma(4.0f, g[2], g[0]) * (1.0f / 24);
    out[0] = 0.25f * g[0];
    out[1] = fma(-1.0f / 6, g[1], near);
    out[2] = fma(1.0f / 6, g[1], near);
    out[3] = fma(1.0f / 12, g[1], far);
    out[4] = fma(-1.0f / 12, g[1], far);
    out[5] = g[2];
}

/* A^T m */
void winograd_target(const VECTOR m[SIDE], VECTOR out[TILE])
{
    const VECTOR sum1 = m[1] + m[2], sum2 = m[3] + m[4], difference1 = m[1] - m[2], difference2 = m[3] - m[4];
    out[0] = m[0] + sum1 + sum2;
    out[1] = fma(2.0f, difference2, difference1);
    out[2] = fma(4.0f, sum2, sum1);
    out[3] = fma(8.0f, difference2, difference1) + m[5];
}

/* A dy */
void winograd_gradient(const VECTOR d[TILE], VECTOR out[SIDE])
{
    const VECTOR even1 = d[0] + d[2], odd1 = d[1] + d[3], even2 = fma(4.0f, d[2], d[0]), odd2 = fma(4.0f, d[3], d[1]);
    out[0] = d[0];
    out[1] = even1 + odd1;
    out[2] = even1 - odd1;
    out[3] = fma(2.0f, odd2, even2);
    out[4] = fma(-2.0f, odd2, even2);
    out[5] = d[3];
}

/* G^T m */
void winograd_weight_gradient(const VECTOR m[SIDE], VECTOR out[3])
{
    const VECTOR sum1 = m[1] + m[2], sum2 = m[3] + m[4];
    out[0] = fma(1.0f / 24, sum2, fma(-1.0f / 6, sum1, 0.25f * m[0]));
    out[1] = fma(1.0f / 12, m[3] - m[4], (1.0f / 6) * (m[2] - m[1]));
    out[2] = fma(1.0f / 6, sum2 - sum1, m[5]);
}

#else

/* G g */
void winograd_weight(const VECTOR g[5], VECTOR out[SIDE])
{
    const VECTOR even1 = g[0] + g[2] + g[4], odd1 = g[1] + g[3];
    const VECTOR even2 = fma(16.0f, g[4], fma(4.0f, g[2], g[0])), odd2 = fma(8.0f, g[3], 2.0f * g[1]);
    out[0] = 0.25f * g[0];
    out[1] = (even1 + odd1) * (-1.0f / 6);
    out[2] = (even1 - odd1) * (-1.0f / 6);
    out[3] = (even2 + odd2) * (1.0f / 24);
    out[4] = (even2 - odd2) * (1.0f / 24);
    out[5] = g[4];
}

/* A^T m */
void winograd_target(const VECTOR m[SIDE], VECTOR out[TILE])
{
    out[0] = m[0] + (m[1] + m[2]) + (m[3] + m[4]);
    out[1] = fma(2.0f, m[3] - m[4], m[1] - m[2]) + m[5];
}

/* A dy */
void winograd_gradient(const VECTOR d[TILE], VECTOR out[SIDE])
{
    out[0] = d[0];
    out[1] = d[0] + d[1];
    out[2] = d[0] - d[1];
    out[3] = fma(2.0f, d[1], d[0]);
    out[4] = fma(-2.0f, d[1], d[0]);
    out[5] = d[1];
}

/* G^T m */
void winograd_weight_gradient(const VECTOR m[SIDE], VECTOR out[5])
{
    const VECTOR sum1 = m[1] + m[2], sum2 = m[3] + m[4];
    const VECTOR near = (m[2] - m[1]) * (1.0f / 6), difference2 = m[3] - m[4];
    out[0] = fma(1.0f / 24, sum2, fma(-1.0f / 6, sum1, 0.25f * m[0]));
    out[1] = fma(1.0f / 12, difference2, near);
    out[2] = (sum2 - sum1) * (1.0f / 6);
    out[3] = fma(1.0f / 3, difference2, near);
    out[4] = fma(2.0f / 3, sum2, fma(-1.0f / 6, sum1, m[5]));
}

#endif /* TAPS */
#elif SIDE == 4

/* B^T d */
void winograd_source(const VECTOR d[SIDE], VECTOR out[SIDE])
{
    out[0] = d[0] - d[2];
    out[1] = d[1] + d[2];
    out[2] = d[2] - d[1];
    out[3] = d[1] - d[3];
}

/* G g */
void winograd_weight(const VECTOR g[3], VECTOR out[SIDE])
{
    const VECTOR half_sum = 0.5f * (g[0] + g[2]);
    out[0] = g[0];
    out[1] = fma(0.5f, g[1], half_sum);
    out[2] = fma(-0.5f, g[1], half_sum);
    out[3] = g[2];
}

/* A^T m */
void winograd_target(const VECTOR m[SIDE], VECTOR out[TILE])
{
    out[0] = m[0] + m[1] + m[2];
    out[1] = m[1] - m[2] - m[3];
}

/* A dy */
void winograd_gradient(const VECTOR d[TILE], VECTOR out[SIDE])
{
    out[0] = d[0];
    out[1] = d[0] + d[1];
    out[2] = d[0] - d[1];
    out[3] = -d[1];
}

/* G^T m */
void winograd_weight_gradient(const VECTOR m[SIDE], VECTOR out[3])
{
    const VECTOR sum = m[1] + m[2];
    out[0] = fma(0.5f, sum, m[0]);
    out[1] = 0.5f * (m[1] - m[2]);
    out[2] = fma(0.5f, sum, m[3]);
}

#else
#error "no transforms for this TILE and TAPS"
#endif
#endif
