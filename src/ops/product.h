/* Products whose rows are gathered (kernels/product.cl): dense layers and convolutions on CPUs. */
#ifndef MCL_OPS_PRODUCT_H
#define MCL_OPS_PRODUCT_H
#include "ops/op.h"

/* A dense layer is a 1x1 convolution of (rows, 1, 1, C). channels: of the result. */
bool mcl__product_fits(const mcl_conv2d_args *conv, int channels, const mcl__capabilities *capabilities);
void mcl__product_fwd(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);
void mcl__product_bwd_data(mcl__lowering *lowering, const mcl__problem *problem, const mcl_conv2d_args *conv);

#endif
