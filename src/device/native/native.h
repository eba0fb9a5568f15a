/* The parts of the native backend. */
#ifndef MCL_DEVICE_NATIVE_H
#define MCL_DEVICE_NATIVE_H
#include "device/backend.h"

/* Appends the one native device: name from /proc/cpuinfo, memory from sysconf. */
mcl_status mcl__native_list(mcl_device_info **devices, int *count, char **notes, mcl_error *error);

/* The registered kernel's function, or NULL. */
mcl__native_function mcl__native_find(const char *name);

#endif
