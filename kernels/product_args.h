/* What host and kernels share of products whose rows are gathered: 32-bit members only. */
#ifndef MCL_PRODUCT_ARGS_H
#define MCL_PRODUCT_ARGS_H

/* y[row][column] = sum over depth of a[row][depth] * b[depth][column], for each group and class.
 * A row is a target pixel of the class, a column a target channel of the group; depth runs over the taps and source channels
 * that reach the class. In each of classes_h x classes_w classes (p, q), target pixel (p + classes_h * i, q + classes_w * j)
 * sums over taps (r, s) whose p + base_h + r * slope_h is a multiple of classes_h (so for w), the source pixel being
 * i * step_h + (p + base_h + r * slope_h) / classes_h.
 *   convolution:       one class, base = -padding, slope = dilation, step = stride
 *   its data gradient: stride classes, base = padding, slope = -dilation, step 1
 *   a dense layer:     one tap on pictures of one pixel */
typedef struct mcl_product_args {
    int N, SH, SW, pitch, run;   /* source; a pixel is `pitch` floats, of which a group reads `run` */
    int TH, TW, TC, columns;     /* target of TC channels, `columns` of a group */
    int KH, KW, classes_h, classes_w, base_h, base_w, slope_h, slope_w, step_h, step_w;
    int every_h, every_w;        /* a class's taps are this far apart, ... */
    int shift_w;                 /* ... and its source columns this far, from one tap to the next */
    int joined;                  /* the taps of a kernel row stand side by side in the source: they are one line */
    int tap_stride, depth_stride, column_stride, group_stride; /* of the weights */
    int groups, span, block, panels; /* an item: rows, in blocks (a multiple of the tile's), and panels of columns, ... */
    int held;                        /* ... of which this many are staged together */
    int down;                        /* tiles follow each other down a panel, not along a row of panels */
    int stays;                       /* the weights of all parts are staged once an item: held is panels then */
    int pace;                        /* floats of the next block's rows to ask for, for each step into depth; 0: none */
} mcl_product_args;

/* The weight gradient: dw[row][column] = sum over target pixels of a[pixel][row] * dy[pixel][column], where a row is a tap and
 * source channel of a group, a the source that the forward product gathers. */
typedef struct mcl_product_block_args {
    int rows, columns, row_blocks, column_blocks; /* an item: a block of dw, rows x columns, ... */
    int chunk, depth;                             /* ... and a chunk of pixels, in parts of `depth` */
    int swapped;                                  /* rows are multiplied as vectors, columns one value at a time */
    int source_pitch, gradient_pitch, sum_rows;   /* of a staged pixel; rows of the sums, or, swapped, columns */
    int follow;                                   /* pixels of x follow each other as those of dy do */
    int direct;                                   /* a pixel's rows and columns are read as they lie in x and dy */
} mcl_product_block_args;

/* Products with one short side, results (rows, columns), each a sum over `depth`.
 *   sum: few rows. An item has all of them, some columns, and `share` of the depth.
 *   dot: few columns. An item has all of them, and `share` rows. Swapped: its results are stored as (columns, rows). */
typedef struct mcl_vector_args { int rows, depth, columns, share, swapped; } mcl_vector_args;

#endif
