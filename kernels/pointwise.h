/* The point-wise formulas, written once for kernels (OpenCL C 1.2, scalars and vectors) and native (C11, float).
 *
 * The macros take the type T of their values (float, float4, float16) and are expressions. Values are named more than
 * once, so they must be free of side effects; `act`, `code` and `alpha` are scalars, and constants where speed matters:
 * the chain of choices then folds away. NaN propagates through every activation. */
#ifndef MCL_POINTWISE_H
#define MCL_POINTWISE_H
#include "args.h"
#include "philox.h"

#ifdef __OPENCL_VERSION__
#define MCL_POINTWISE_INLINE
#define MCL_EXP(v) exp(v)
#define MCL_TANH(v) tanh(v)
#else
#include <math.h>
#define MCL_POINTWISE_INLINE static inline
#define MCL_EXP(v) expf(v)
#define MCL_TANH(v) tanhf(v)
#endif

/* A constant of type T in every lane. */
#define MCL_SPLAT(T, c) ((T)(c))

#define MCL_RELU(T, v) ((v) < MCL_SPLAT(T, 0.0f) ? MCL_SPLAT(T, 0.0f) : (v))
#define MCL_RELU6(T, v) (MCL_RELU(T, v) > MCL_SPLAT(T, 6.0f) ? MCL_SPLAT(T, 6.0f) : MCL_RELU(T, v)) /* a minimum */
#define MCL_LEAKY_RELU(T, v, alpha) ((v) > MCL_SPLAT(T, 0.0f) ? (v) : (v) * MCL_SPLAT(T, alpha))
#define MCL_SIGMOID(T, v) (MCL_SPLAT(T, 1.0f) / (MCL_SPLAT(T, 1.0f) + MCL_EXP(-(v))))

/* activation(v) */
#define MCL_ACT(T, v, act, alpha)                                    \
    ((act) == MCL_ACT_RELU         ? MCL_RELU(T, v)                  \
     : (act) == MCL_ACT_RELU6      ? MCL_RELU6(T, v)                 \
     : (act) == MCL_ACT_LEAKY_RELU ? MCL_LEAKY_RELU(T, v, alpha)     \
     : (act) == MCL_ACT_SIGMOID    ? MCL_SIGMOID(T, v)               \
     : (act) == MCL_ACT_TANH       ? MCL_TANH(v)                     \
                                   : (v))

#define MCL_DRELU(T, v, y) ((y) <= MCL_SPLAT(T, 0.0f) ? MCL_SPLAT(T, 0.0f) : (v))
#define MCL_DRELU6(T, v, y) ((y) >= MCL_SPLAT(T, 6.0f) ? MCL_SPLAT(T, 0.0f) : MCL_DRELU(T, v, y))
#define MCL_DLEAKY_RELU(T, v, y, alpha) ((y) <= MCL_SPLAT(T, 0.0f) ? (v) * MCL_SPLAT(T, alpha) : (v))
#define MCL_DSIGMOID(T, v, y) ((v) * ((y) * (MCL_SPLAT(T, 1.0f) - (y))))
#define MCL_DTANH(T, v, y) ((v) * (MCL_SPLAT(T, 1.0f) - (y) * (y)))

/* v * activation'(x), from the activation's output y. At the kinks: relu'(0) = 0, relu6' = 0 at 0 and 6, leaky: alpha
 * at 0. A product with a derivative of 0 is 0 even where v is not finite, as in PyTorch. */
#define MCL_DACT(T, v, y, act, alpha)                                \
    ((act) == MCL_ACT_RELU         ? MCL_DRELU(T, v, y)              \
     : (act) == MCL_ACT_RELU6      ? MCL_DRELU6(T, v, y)             \
     : (act) == MCL_ACT_LEAKY_RELU ? MCL_DLEAKY_RELU(T, v, y, alpha) \
     : (act) == MCL_ACT_SIGMOID    ? MCL_DSIGMOID(T, v, y)           \
     : (act) == MCL_ACT_TANH       ? MCL_DTANH(T, v, y)              \
                                   : (v))

/* One epilogue code but DROPOUT: t and u are its tensors' values where it takes any. */
#define MCL_POINT(T, v, code, act, alpha, t, u)                      \
    ((code) == MCL_EP_BIAS          ? (v) + (t)                      \
     : (code) == MCL_EP_SCALE_SHIFT ? (v) * (t) + (u)                \
     : (code) == MCL_EP_ADD         ? (v) + (t)                      \
     : (code) == MCL_EP_ACT         ? MCL_ACT(T, v, act, alpha)      \
     : (code) == MCL_EP_DACT        ? MCL_DACT(T, v, t, act, alpha)  \
     : (code) == MCL_EP_SCALE       ? (v) * MCL_SPLAT(T, alpha)      \
                                    : (v))

/* Dropout of one element: word is its number from mcl_random_word(), inverse_keep 1 / keep. */
#define MCL_DROPOUT_KEEPS(word, threshold) ((word) < (threshold))
#define MCL_DROPOUT(v, word, threshold, inverse_keep) (MCL_DROPOUT_KEEPS(word, threshold) ? (v) * (inverse_keep) : 0.0f)

/* How many tensors a code takes. */
#define MCL_POINT_TENSORS(code)                                                                          \
    ((code) == MCL_EP_SCALE_SHIFT ? 2 : (code) == MCL_EP_BIAS || (code) == MCL_EP_ADD || (code) == MCL_EP_DACT ? 1 : 0)
/* Is a code's tensor indexed by channel alone (else by element)? */
#define MCL_POINT_BY_CHANNEL(code) ((code) == MCL_EP_BIAS || (code) == MCL_EP_SCALE_SHIFT)

/* The same for one float with everything chosen at run time, for the reference kernels. */
MCL_POINTWISE_INLINE float mcl_point(float v, int code, int act, float alpha, float t, float u)
{
    return MCL_POINT(float, v, code, act, alpha, t, u);
}

#endif
