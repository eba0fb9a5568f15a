/* Philox4x32-10, the counter-based random numbers of Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3"),
 * for host (C11) and kernels (OpenCL C). The same (key, counter) gives the same four words everywhere.
 *
 *   key     = {seed low, seed high}
 *   counter = {s / 4, b, t, stream}; word s % 4 of the result is sample element s's number
 *   s: index of the element within its sample, logical NHWC order; b: position in the global batch (0: none);
 *   t: optimiser step (initialisation: 0, shuffling: the epoch); stream: low 32 bits of XXH64("purpose/layer.path"). */
#ifndef MCL_PHILOX_H
#define MCL_PHILOX_H

#ifdef __OPENCL_VERSION__
#define MCL_PHILOX_MULHI(a, b) ((uint)(((ulong)(a) * (b)) >> 32)) /* PoCL's mul_hi is a slow call */
#define MCL_PHILOX_WORD uint
#define MCL_PHILOX_INLINE
#else
#include <stdint.h>
#define MCL_PHILOX_MULHI(a, b) ((uint32_t)(((uint64_t)(a) * (b)) >> 32))
#define MCL_PHILOX_WORD uint32_t
#define MCL_PHILOX_INLINE static inline
#endif

typedef struct mcl_philox4 { MCL_PHILOX_WORD word[4]; } mcl_philox4;

MCL_PHILOX_INLINE mcl_philox4 mcl_philox(MCL_PHILOX_WORD k0, MCL_PHILOX_WORD k1, MCL_PHILOX_WORD c0, MCL_PHILOX_WORD c1,
                                         MCL_PHILOX_WORD c2, MCL_PHILOX_WORD c3)
{
    for (int round = 0; round < 10; round++) {
        MCL_PHILOX_WORD high0 = MCL_PHILOX_MULHI(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        MCL_PHILOX_WORD high1 = MCL_PHILOX_MULHI(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    mcl_philox4 result = {{c0, c1, c2, c3}};
    return result;
}

/* Sample element s of sample b at time t: one word. */
MCL_PHILOX_INLINE MCL_PHILOX_WORD mcl_random_word(MCL_PHILOX_WORD seed_low, MCL_PHILOX_WORD seed_high, MCL_PHILOX_WORD s,
                                                  MCL_PHILOX_WORD b, MCL_PHILOX_WORD t, MCL_PHILOX_WORD stream)
{
    mcl_philox4 r = mcl_philox(seed_low, seed_high, s / 4u, b, t, stream);
    return r.word[s % 4u];
}

/* A uniform in [0, 1) and a choice of n from one word. */
#define MCL_RANDOM_UNIFORM(word) ((float)((word) >> 8) * 0x1p-24f)
#define MCL_RANDOM_CHOICE(word, n) MCL_PHILOX_MULHI((MCL_PHILOX_WORD)(word), (MCL_PHILOX_WORD)(n))

#endif
