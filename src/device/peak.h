/* What a device can do at most, measured: the yardstick of `monocle bench`. */
#ifndef MCL_DEVICE_PEAK_H
#define MCL_DEVICE_PEAK_H
#include "device/device.h"

typedef struct mcl__peak {
    double flops;     /* multiply-adds that stay in registers, an operation each; natively what native's products can reach */
    double bandwidth; /* bytes a second, read and written, of a copy too large for caches */
} mcl__peak;

/* Takes a second or so, and as much memory as the copy needs. Waits. Natively after mcl__ops_register_native(), whose products it
 * runs. */
mcl_status mcl__peak_measure(mcl_device *device, mcl__peak *peak);
#endif
