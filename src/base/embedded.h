/* Files that the build has put into the library; embed.cmake writes their tables. */
#ifndef MCL_BASE_EMBEDDED_H
#define MCL_BASE_EMBEDDED_H
#include <stddef.h>

typedef struct mcl__embedded {
    const char *name; /* "conv2d.cl"; NULL ends the table */
    const unsigned char *text;
    size_t bytes;
} mcl__embedded;

extern const mcl__embedded mcl__embedded_kernels[]; /* kernels/: *.cl and *.h */
extern const mcl__embedded mcl__embedded_tuning[];  /* tuning/: *.jsonl */
#endif
