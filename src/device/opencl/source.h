/* The kernels that the build embedded (embed.cmake writes the table). */
#ifndef MCL_OPENCL_SOURCE_H
#define MCL_OPENCL_SOURCE_H
#include <stddef.h>

typedef struct mcl__cl_embedded {
    const char *name; /* "conv2d.cl"; NULL ends the table */
    const unsigned char *text;
    size_t bytes;
} mcl__cl_embedded;

extern const mcl__cl_embedded mcl__cl_embedded_files[];
#endif
