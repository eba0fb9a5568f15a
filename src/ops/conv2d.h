/* What the files of the convolution family share: the variants that are longer than a screen. */
#ifndef MCL_OPS_CONV2D_H
#define MCL_OPS_CONV2D_H
#include "conv2d_tile.h"
#include "ops/op.h"

/* conv2d.c: the native device's products. A dense layer is a 1x1 convolution of (rows, 1, 1, C). */
bool mcl__conv2d_native(const mcl__problem *problem, const mcl__capabilities *capabilities);
void mcl__conv2d_native_fwd(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);
void mcl__conv2d_native_bwd_data(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);
void mcl__conv2d_native_bwd_weight(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);

/* conv2d_tile.c: register tiles, for dense layers too. */
bool mcl__conv2d_tile_fits(const mcl_conv2d_args *conv, const mcl__capabilities *capabilities);
/* Tiles for an output of so many channels (for the weight gradient, of dy's). A variant that lowers to the three below lists
 * these. */
int mcl__conv2d_tile_candidates(int columns, const mcl__capabilities *capabilities, mcl__parameters *list);
void mcl__conv2d_tile_fwd(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);
void mcl__conv2d_tile_bwd_data(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);
void mcl__conv2d_tile_bwd_weight(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);
/* How the forward product gathers, from the operand that is returned: the input, or (few channels) a copy with a border, where
 * a kernel's row is one run. And how the data gradient gathers, from its input. */
mcl__operand mcl__conv2d_tile_source(mcl__lowering *lowering, const mcl_conv2d_args *conv, mcl_gather_args *gather);
mcl_gather_args mcl__conv2d_tile_gradient(const mcl_conv2d_args *conv);
/* The weight gradient's shapes, as the input lies; chunks and blocks are the variant's. */
mcl_weight_args mcl__conv2d_weight_args(const mcl_conv2d_args *conv);
/* out[0] = the sum of `count` copies of itself, in order. */
void mcl__conv2d_reduce(mcl__lowering *lowering, mcl__operand copies, int elements, int count);

/* conv2d_gemm.c: tiles in local memory, for GPUs. As above, a dense layer is a 1x1 convolution. None: it does not apply. */
int mcl__conv2d_gemm_candidates(const mcl__problem *problem, const mcl_conv2d_args *conv, const mcl__capabilities *capabilities,
                                mcl__parameters *list);
void mcl__conv2d_gemm_fwd(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);
void mcl__conv2d_gemm_bwd_data(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);
void mcl__conv2d_gemm_bwd_weight(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);

/* conv2d_winograd.c: 3x3, stride 1. */
bool mcl__conv2d_winograd_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__conv2d_winograd_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities);
int mcl__conv2d_winograd_candidates(const mcl__problem *problem, const mcl__capabilities *capabilities, mcl__parameters *list);
void mcl__conv2d_winograd_fwd(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);
void mcl__conv2d_winograd_bwd_data(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);
void mcl__conv2d_winograd_bwd_weight(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);

/* conv2d_depthwise.c: one filter a channel. */
bool mcl__conv2d_depthwise_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__conv2d_depthwise_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__conv2d_depthwise_takes_stats(const mcl__problem *problem, const mcl__capabilities *capabilities);
void mcl__conv2d_depthwise_fwd(mcl__lowering *lowering, const mcl__problem *problem);
void mcl__conv2d_depthwise_bwd_data(mcl__lowering *lowering, const mcl__problem *problem);
void mcl__conv2d_depthwise_bwd_weight(mcl__lowering *lowering, const mcl__problem *problem);

#endif
