/* How the kernels of vector.h and rows.h are spread over a device: on a CPU one work-item a work-group, each with a long
 * contiguous run of wide vectors; on a GPU many short ones whose neighbours touch neighbours. */
#ifndef MCL_OPS_SPREAD_H
#define MCL_OPS_SPREAD_H
#include "ops/op.h"

/* For mcl__variant.applicable: any device behind OpenCL. */
bool mcl__on_opencl(const mcl__problem *problem, const mcl__capabilities *capabilities);

/* Floats a vector. A GPU's vectors begin at a multiple of their width, and their kernels are told so (vector.h): behind -DWIDTH=%d
 * they take mcl__spread_aligned, which is nothing on CPUs, whose vectors may begin anywhere. */
int mcl__spread_width(const mcl__lowering *lowering);
int mcl__spread_width_dividing(const mcl__lowering *lowering, int number); /* the widest that divides number */
int mcl__spread_width_of_rows(const mcl__lowering *lowering, int C);       /* for rows.h, with so many channels */
int mcl__spread_width_from(const mcl__lowering *lowering, int offset);     /* for what begins there */
const char *mcl__spread_aligned(const mcl__lowering *lowering);

/* Sizes of a kernel that takes its share with span_of(items), each of about `cost` floats. */
void mcl__spread_items(mcl__lowering *lowering, int items, int cost);
/* Sizes of a kernel whose work-item (i, line) walks a line of `across` items. */
void mcl__spread_lines(mcl__lowering *lowering, int across, int lines);
/* Sizes of a kernel whose work-item (j, i, line) walks vectors j, j + global size, ... of pixels i, i + global size, ... */
void mcl__spread_pixels(mcl__lowering *lowering, int vectors, int pixels, int lines);
/* One work-item for each (column, row). */
void mcl__spread_grid(mcl__lowering *lowering, int columns, int rows);

/* A (rows, C) tensor split for a reduction over its rows (rows.h). */
typedef struct mcl__row_split { int width, tile, vectors, parts, rows_each; } mcl__row_split;
mcl__row_split mcl__split_rows(const mcl__lowering *lowering, int rows, int C);
uint64_t mcl__split_bytes(mcl__row_split split); /* of one value a channel and part */
int mcl__split_stride(mcl__row_split split);     /* floats of one value a channel: C, rounded up to vectors */

/* The arguments of most kernels: the problem's inputs, its outputs, and a struct. */
void mcl__lower_operands(mcl__lowering *lowering, const mcl__problem *problem, const void *args, size_t bytes);
#endif
