/* Products of matrices that exist only block by block: who asks for a product says how blocks of its factors are read
 * and blocks of the result are written, and so may take the rows of a matrix from the windows of a picture.
 *
 * Not CBLAS: its factors must lie in memory, im2col's windows too, and its speed is an accident of the package. Debian 12's
 * OpenBLAS takes a Sapphire Rapids for a Prescott of 2004 (62 GFLOP/s on two cores, where these make 250); told what it is, it
 * makes resnet18 at 0.87 times these and mlp as fast. */
#ifndef MCL_OPS_NATIVE_PRODUCT_H
#define MCL_OPS_NATIVE_PRODUCT_H
#include "ops/native/tile.h"

/* Rows [row, row + rows) and columns [column, column + columns) of a matrix of product `index`. */
typedef struct mcl__area { int index, part, row, rows, column, columns; } mcl__area;

/* C (M,N) = A (M,K) * B (K,N), `count` times over. Element (i, j) of an area lies at block[i * MCL__BLOCK_PITCH + j]. */
typedef struct mcl__product {
    int count, M, N, K;
    int part;        /* terms of a sum: C is made in K / part parts, rounded up, which store() tells apart */
    bool transposed; /* load_a() is asked for areas of A's transpose, (K,M) */
    void (*load_a)(const void *context, const mcl__area *area, float *block);
    void (*load_b)(const void *context, const mcl__area *area, float *block);
    void (*store)(const void *context, const mcl__area *area, const float *block); /* once for each part of each area */
    const void *context;
} mcl__product;

/* Threads take areas of C as they come, each with three blocks on its stack (468 KiB: device.h says so to users). Each is summed by
 * one of them, in an order that the sizes alone decide. */
void mcl__native_product(const mcl__product *product);

/* Pieces of C that threads share: about how many tasks a product without parts would be. */
int mcl__native_product_areas(int M, int N);

#endif
