/* Which kernel entry points exist in kernels/, and which of them some problem has compiled. */
#ifndef MCL_CONFORMANCE_KERNELS_H
#define MCL_CONFORMANCE_KERNELS_H
#include <stdbool.h>

typedef struct conformance_kernel { char source[48], name[80]; bool used; } conformance_kernel;
typedef struct conformance_kernels { conformance_kernel *at; int count; } conformance_kernels;

/* Every `kernel void name(` or `__kernel ... void name(` of every .cl file in the folder. Empty when it cannot be read.
 */
conformance_kernels conformance_kernels_scan(const char *folder);
void conformance_kernels_saw(conformance_kernels *kernels, const char *source, const char *name);
#endif
