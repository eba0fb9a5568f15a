/* Hands the native kernels to the native device. */
#include "ops/native/native.h"
#include "ops/op.h"

static const mcl__native_kernel kernels[] = {
#define MCL_NATIVE(name) {#name, mcl__native_##name},
#include "ops/native/kernels.def"
#undef MCL_NATIVE
};

void mcl__ops_register_native(void) { mcl__native_register(kernels, (int)(sizeof kernels / sizeof *kernels)); }
