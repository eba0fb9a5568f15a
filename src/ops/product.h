/* Products whose rows are gathered (kernels/product.cl, product_weight.cl): dense layers and convolutions on CPUs. */
#ifndef MCL_OPS_PRODUCT_H
#define MCL_OPS_PRODUCT_H
#include "ops/op.h"
#include "product_args.h"

/* product.c: the variant; mcl__conv2d_args() reads a dense problem as a 1x1 convolution of (rows, 1, 1, C). */
bool mcl__product_applicable(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__product_takes_prologue(const mcl__problem *problem, const mcl__capabilities *capabilities);
bool mcl__product_takes_stats(const mcl__problem *problem, const mcl__capabilities *capabilities);
void mcl__lower_product(mcl__lowering *lowering, const mcl__problem *problem);
/* product_weight.c: its weight gradient. */
bool mcl__product_takes_squares(const mcl__problem *problem, const mcl__capabilities *capabilities); /* where they are asked for */
bool mcl__product_weight_fits(const mcl__problem *problem, const mcl_conv2d_args *conv, const mcl__capabilities *capabilities);
void mcl__product_weight_lower(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);

/* P rows x NV vectors of VW floats: P * NV + NV + 1 values live in registers, of which there are 32, or 16 of 8 floats. */
typedef struct mcl__product_tile { int P, NV, VW; } mcl__product_tile;
typedef struct mcl__product_tiles { const mcl__product_tile *at; int count; } mcl__product_tiles;
/* What there is to choose among; all have the same VW. */
mcl__product_tiles mcl__product_tiles_of(const mcl__capabilities *capabilities);
/* How the forward product gathers its rows from in[0]. */
mcl_product_args mcl__product_fwd_args(const mcl__problem *problem, const mcl_conv2d_args *conv);

#endif
