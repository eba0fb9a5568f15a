/* What the files of the convolution family share: the variants that are longer than a screen. */
#ifndef MCL_OPS_CONV2D_H
#define MCL_OPS_CONV2D_H
#include "conv2d_tile.h"
#include "ops/op.h"

/* conv2d.c: what variants share. Those that say so serve dense layers too, for which mcl__conv2d_args() gives a 1x1 convolution of
 * (rows, 1, 1, C). */
typedef enum mcl__conv2d_pass { MCL__FWD, MCL__BWD_DATA, MCL__BWD_WEIGHT } mcl__conv2d_pass;
mcl__conv2d_pass mcl__conv2d_pass_of(const mcl__problem *problem);
typedef void (*mcl__conv2d_lower)(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);
void mcl__conv2d_lower_pass(mcl__lowering *lowering, const mcl__problem *problem, const mcl__conv2d_lower passes[3]);
/* Is it a product of matrices (N*H*W, C) and (C, K) as they lie? */
bool mcl__conv2d_is_product(const mcl_conv2d_args *conv);

/* conv2d.c: the native device's products, and a library's (dense layers and 1x1 convolutions). */
bool mcl__conv2d_native_gemm_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities);
void mcl__conv2d_lower_native_gemm(mcl__lowering *lowering, const mcl__problem *problem);
bool mcl__conv2d_library_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__conv2d_library_yields(const mcl__problem *problem, const mcl__capabilities *capabilities); /* to gemm */
void mcl__conv2d_lower_library(mcl__lowering *lowering, const mcl__problem *problem);

/* conv2d_tile.c: register tiles, for dense layers too. */
bool mcl__conv2d_tile_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities);
int mcl__conv2d_tile_candidates(const mcl__problem *problem, const mcl__capabilities *capabilities, mcl__parameters *list);
void mcl__conv2d_lower_tile(mcl__lowering *lowering, const mcl__problem *problem);
/* How the forward product gathers from its input, and the data gradient from its own. */
mcl_gather_args mcl__conv2d_gather_fwd(const mcl_conv2d_args *conv);
mcl_gather_args mcl__conv2d_gather_bwd(const mcl_conv2d_args *conv);
/* The forward product's, from the operand that is returned: the input, or (few channels) a copy with a border, where a kernel's row
 * is one run. */
mcl__operand mcl__conv2d_tile_source(mcl__lowering *lowering, const mcl_conv2d_args *conv, mcl_gather_args *gather);
/* The weight gradient's shapes, as the input lies; chunks and blocks are the variant's. */
mcl_weight_args mcl__conv2d_weight_args(const mcl_conv2d_args *conv);
/* A 1x1 kernel's weights as (K, C), a derived form. */
mcl__operand mcl__conv2d_transposed(mcl__lowering *lowering, int C, int K);
/* out[0] = the sum of `count` copies of itself, in order. */
void mcl__conv2d_reduce(mcl__lowering *lowering, mcl__operand copies, int elements, int count);

/* conv2d_gemm.c: tiles in local memory, on GPUs, for dense layers too. */
bool mcl__conv2d_gemm_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__conv2d_gemm_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__conv2d_gemm_takes_stats(const mcl__problem *problem, const mcl__capabilities *capabilities);
int mcl__conv2d_gemm_candidates(const mcl__problem *problem, const mcl__capabilities *capabilities, mcl__parameters *list);
void mcl__conv2d_lower_gemm(mcl__lowering *lowering, const mcl__problem *problem);
/* Its tiles, for others' products (kernels/conv2d_gemm.h): GX x GY work-items, each with RV vectors of 4 rows and CV of 4 columns
 * of results; the groups of a product, and as many as keep the device busy. */
typedef struct mcl__gemm_tile { int GX, GY, RV, CV; } mcl__gemm_tile;
int mcl__gemm_rows(mcl__gemm_tile tile);
int64_t mcl__gemm_groups(mcl__gemm_tile tile, int rows, int columns);
int mcl__gemm_slots(mcl__gemm_tile tile, const mcl__capabilities *capabilities);
/* The tiles that the device has room for, for products of which there is no end, the cheapest first. */
int mcl__gemm_tiles(int rows, int columns, const mcl__capabilities *capabilities, mcl__parameters *list);

/* dense_vector.c: few rows or columns, for dense layers above all. */
bool mcl__dense_vector_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities);
void mcl__lower_dense_vector(mcl__lowering *lowering, const mcl__problem *problem);

/* conv2d_winograd.c: 3x3 and 5x5, stride 1. */
bool mcl__conv2d_winograd_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__conv2d_winograd_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__conv2d_winograd_takes_stats(const mcl__problem *problem, const mcl__capabilities *capabilities);
int mcl__conv2d_winograd_candidates(const mcl__problem *problem, const mcl__capabilities *capabilities, mcl__parameters *list);
void mcl__conv2d_lower_winograd(mcl__lowering *lowering, const mcl__problem *problem);
/* Whatever the device: tiles along an axis, of those that there are transforms for, the one with the fewest products first; 0 where
 * the problem is another. Then a tile's values, and what the problem is to the kernels; blocks and parts are the variant's. */
int mcl__winograd_sizes(const mcl__problem *problem, int sizes[2]);
int mcl__winograd_points(int size, int taps);
mcl_winograd_args mcl__winograd_args(const mcl__problem *problem, int size);
void mcl__lower_winograd_algorithm(mcl__lowering *lowering, int size, int taps);

/* conv2d_winograd_nonfused.c: the same in stages of their own, on GPUs. */
bool mcl__conv2d_winograd_nonfused_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__conv2d_winograd_nonfused_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities);
int mcl__conv2d_winograd_nonfused_candidates(const mcl__problem *problem, const mcl__capabilities *capabilities,
                                             mcl__parameters *list);
void mcl__conv2d_lower_winograd_nonfused(mcl__lowering *lowering, const mcl__problem *problem);

/* conv2d_depthwise.c: one filter a channel. */
bool mcl__conv2d_depthwise_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__conv2d_depthwise_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__conv2d_depthwise_takes_stats(const mcl__problem *problem, const mcl__capabilities *capabilities);
void mcl__conv2d_lower_depthwise(mcl__lowering *lowering, const mcl__problem *problem);

#endif
