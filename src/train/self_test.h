/* Does training work on a device? A small network with every kind of layer takes a few steps there and on the native device. */
#ifndef MCL_TRAIN_SELF_TEST_H
#define MCL_TRAIN_SELF_TEST_H
#include "base/error.h"
#include <monocle/device.h>

/* *difference: of the parameters after the steps, relative to their change in norm. Passes below mcl__self_test_bound. A
 * failure's text says what failed (a kernel that does not build, a launch, a difference too large). */
extern const double mcl__self_test_bound;
mcl_status mcl__self_test(mcl_device *device, double *difference, mcl_error *error);
#endif
