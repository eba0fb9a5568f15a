/* Operators by hand: one operator on buffers of one's own, for experiments, tests and teaching. A call chooses a kernel as a
 * network would, runs it, and waits; a kernel's first use compiles it. Training replays plans instead (train.h).
 *
 *   mcl_array x = {xs, 0, 4, {8, 28, 28, 1}}, w = {ws, 0, 4, {5, 5, 1, 32}}, y = {ys, 0, 4, {8, 28, 28, 32}};
 *   MCL_TRY(mcl_conv2d_forward(x, w, NULL, &(mcl_conv2d_options){.padding = 2}, y, &error));
 *
 * What holds for every function below:
 *   Results come after inputs and must have exactly the shape that follows from them. They may share no memory with inputs.
 *   Sums are made in f32. The members of an options struct that an array's shape tells already (kernel, filters) are not read,
 *   nor are name and no_bias; NULL means the defaults.
 *   Borrows the buffers for the call. All are on one device.
 *   Returns MCL_ERROR_SHAPE (the text has both shapes), MCL_ERROR_INVALID (an array that does not lie in its buffer, or is not
 *   aligned; options out of range; several devices), MCL_ERROR_MEMORY, MCL_ERROR_BUILD, MCL_ERROR_DEVICE. */
#ifndef MONOCLE_OPERATORS_H
#define MONOCLE_OPERATORS_H
#include <monocle/device.h>
#include <monocle/network.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers in a buffer, dense, the last size contiguous: a view, which owns nothing. Elements are f32 unless a function says
 * otherwise; there are fewer than 2^31 of them. */
typedef struct mcl_array {
    mcl_buffer *buffer;
    uint64_t offset; /* bytes, a multiple of the device's info.alignment */
    int rank;        /* 1 to 4 */
    int size[4];     /* outermost first; pictures are (N, H, W, C) */
} mcl_array;

/* Convolution (cross-correlation, as the field has it).
 *   y[n][oh][ow][k] = bias[k] + sum over r, s, c of w[r][s][c][k] * x[n][h][v][g * C/groups + c]
 *   g = k / (K/groups), h = oh * stride - padding + r * dilation, v the same along the width; outside the picture x is 0
 * x: (N, H, W, C).  w: (KH, KW, C/groups, K).  bias: (K), NULL for none.  y: (N, OH, OW, K) with
 * OH = (H + 2 padding - dilation (KH - 1) - 1) / stride + 1. */
MCL_API mcl_status mcl_conv2d_forward(mcl_array x, mcl_array w, const mcl_array *bias, const mcl_conv2d_options *options,
                                      mcl_array y, mcl_error *error);
/* dx = the gradient of sum(y * dy) with respect to x.  dy: like y.  w: as above.  dx: like x, which tells H and W. */
MCL_API mcl_status mcl_conv2d_backward_data(mcl_array dy, mcl_array w, const mcl_conv2d_options *options, mcl_array dx,
                                            mcl_error *error);
/* dw = the gradient of sum(y * dy) with respect to w.  x, dy: as above.  dw: like w, which tells KH and KW. */
MCL_API mcl_status mcl_conv2d_backward_weight(mcl_array x, mcl_array dy, const mcl_conv2d_options *options, mcl_array dw,
                                              mcl_error *error);

/* Dense layer: y = x w + bias.  x: (R, C).  w: (C, K).  bias: (K), NULL for none.  y: (R, K). */
MCL_API mcl_status mcl_dense_forward(mcl_array x, mcl_array w, const mcl_array *bias, mcl_array y, mcl_error *error);
/* dx = dy w^T and dw = x^T dy. */
MCL_API mcl_status mcl_dense_backward_data(mcl_array dy, mcl_array w, mcl_array dx, mcl_error *error);
MCL_API mcl_status mcl_dense_backward_weight(mcl_array x, mcl_array dy, mcl_array dw, mcl_error *error);

/* The gradient of a bias: dbias[k] = sum of dy over everything but its last axis.  dy: (..., K).  dbias: (K). */
MCL_API mcl_status mcl_bias_backward(mcl_array dy, mcl_array dbias, mcl_error *error);

/* y = activation(x), element by element; NULL options: ReLU. The slope of a leaky ReLU is 0.01 where none is given, and
 * above 0.  x, y: any shape. */
MCL_API mcl_status mcl_activation_forward(mcl_array x, const mcl_activation_options *options, mcl_array y, mcl_error *error);
/* dx = dy * activation'(x), written from y = activation(x).  dy, y, dx: one shape. */
MCL_API mcl_status mcl_activation_backward(mcl_array dy, mcl_array y, const mcl_activation_options *options, mcl_array dx,
                                           mcl_error *error);

/* y = a + b.  One shape. */
MCL_API mcl_status mcl_add_forward(mcl_array a, mcl_array b, mcl_array y, mcl_error *error);

/* Pooling over windows; here options are needed, kernel among them. Padding is at most half the window.
 * x: (N, H, W, C).  y: (N, OH, OW, C) with OH = (H + 2 padding - kernel) / stride + 1.
 * index: u8, like y: which pixel of the window was the largest (the first of equals), row * kernel_w + column; windows have at
 * most 256 pixels. */
MCL_API mcl_status mcl_max_pool_forward(mcl_array x, const mcl_pool_options *options, mcl_array y, mcl_array index,
                                        mcl_error *error);
MCL_API mcl_status mcl_max_pool_backward(mcl_array dy, mcl_array index, const mcl_pool_options *options, mcl_array dx,
                                         mcl_error *error);
MCL_API mcl_status mcl_avg_pool_forward(mcl_array x, const mcl_pool_options *options, mcl_array y, mcl_error *error);
/* y[n][c] = the mean of x[n] over its pixels.  x: (N, H, W, C).  y: (N, 1, 1, C). */
MCL_API mcl_status mcl_global_avg_pool_forward(mcl_array x, mcl_array y, mcl_error *error);

/* y[r] = exp(x[r] - m) / sum exp(x[r] - m), m the largest of row r.  x, y: (R, C). */
MCL_API mcl_status mcl_softmax_forward(mcl_array x, mcl_array y, mcl_error *error);

#ifdef __cplusplus
}
#endif
#endif
