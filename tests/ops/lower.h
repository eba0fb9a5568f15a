/* Devices and problems that the tests of lowering share. */
#ifndef MCL_TEST_OPS_LOWER_H
#define MCL_TEST_OPS_LOWER_H
#include "ops/op.h"
#include <check.h>

static const mcl__capabilities cpu = {.type = MCL_DEVICE_CPU, .max_work_group = 4096, .threads = 2};

/* x (2,8,8,C) with a 3x3 or 1x1 kernel, padding 1 or 0, to (2,8,8,K). */
static inline mcl__problem conv(int C, int K, int kernel, int groups)
{
    mcl__problem p = {.op = MCL__OP_conv2d, .inputs = 2, .in = {{4, {2, 8, 8, C}}, {4, {kernel, kernel, C / groups, K}}}};
    p.attrs.conv.KH = p.attrs.conv.KW = kernel;
    p.attrs.conv.stride_h = p.attrs.conv.stride_w = p.attrs.conv.dilation_h = p.attrs.conv.dilation_w = 1;
    p.attrs.conv.pad_h = p.attrs.conv.pad_w = kernel / 2;
    p.attrs.conv.groups = groups;
    ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);
    return p;
}

#endif
