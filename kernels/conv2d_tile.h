/* What host and kernels share of the convolutions' register tiles: 32-bit members only. */
#ifndef MCL_CONV2D_TILE_H
#define MCL_CONV2D_TILE_H

/* A sum over taps and source channels for each target pixel. In each of classes_h x classes_w classes (a, b), target pixel
 * (a + classes_h * i, b + classes_w * j) sums over taps (r, s) whose a + base_h + r * slope_h is a multiple of classes_h (so
 * for w), the source pixel being i * step_h + (a + base_h + r * slope_h) / classes_h.
 *   convolution:       one class, base = -padding, slope = dilation, step = stride
 *   its data gradient: stride classes, base = padding, slope = -dilation, step 1
 * A source pixel is `pitch` floats from the next, of which `run` are read. */
typedef struct mcl_gather_args {
    int N, SH, SW, pitch, run; /* source */
    int TH, TW, TC;            /* target, TC channels */
    int KH, KW, classes_h, classes_w, base_h, base_w, slope_h, slope_w, step_h, step_w;
} mcl_gather_args;

/* Blocked weights [blocks][taps][run][width] then `run` zeros, from w[tap * tap_stride + row * stride + column] (or,
 * transposed, + column * stride + row), 0 from column `columns` on. */
typedef struct mcl_block_args {
    int blocks, taps, run, width, columns, tap_stride, stride, transposed;
} mcl_block_args;
#define MCL_BLOCK_ROWS 32 /* rows that one work-item of conv2d_block makes */

#define MCL_GEMM_DEPTH 16  /* of a slice that a group of conv2d_gemm holds in local memory, */
#define MCL_GEMM_PADDING 4 /* and floats between its rows */

/* dw[tap][rows][K] = sum over pixels of x[source(pixel, tap)][rows] * dy[pixel][K]; x (N,XH,XW,pitch), dy (N,OH,OW,K).
 * A chunk is `chunk` picture rows (of N * OH); chunk q writes its own copy q of dw. */
typedef struct mcl_weight_args {
    int N, XH, XW, pitch, rows, OH, OW, K, KH, KW;
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
    int chunk, row_blocks, column_blocks;
} mcl_weight_args;

/* A 3x3 or 5x5 convolution of stride 1 in tiles of the target, or its data gradient (transposed: the weights are rotated by half a
 * turn, their channels exchanged). Tap (r, s) of target pixel (h, v) is source pixel (h + base_h + r, v + base_w + s). */
typedef struct mcl_winograd_args {
    int N, SH, SW, C; /* source */
    int TH, TW, K;    /* target */
    int base_h, base_w, transposed;
    int tiles_h, tiles_w;            /* of a picture */
    int depth_blocks, column_blocks; /* blocks of C and of K */
    int depth;                       /* most channels of a block of the source */
    int rows, columns;               /* of a block, rounded up to whole register tiles; rows: for the weight gradient */
    int group, span;                 /* tiles that are in local memory (on GPUs, in workspace) together, groups of a work-item */
    int parts, chunk;                /* of the statistics, 0: none are wanted, and groups of a part; of the weight gradient */
    int in_place;                    /* do sums take the place of V? */
    int sum_tile, sum_point;         /* floats from one tile's sums to the next, one point's to the next */
} mcl_winograd_args;

/* Products of one shape, rows x depth by depth x columns; what the points' operands and sums are apart, in floats; how much of the
 * depth a part adds, and whether it adds it to what its sums are. */
typedef struct mcl_winograd_product_args {
    int points, rows, depth, columns, source_pitch, factor_pitch, sum_pitch, chunk, begun;
} mcl_winograd_product_args;

/* y (N,PH,PW,C) = x (N,H,W,C) at (pad_h, pad_w), zeros around it. */
typedef struct mcl_border_args { int N, H, W, C, PH, PW, pad_h, pad_w; } mcl_border_args;

/* A depthwise gather. Row r of the taps reads source row num / classes_h where num = h * step_h + base_h + r * slope_h, if that is
 * a whole number of classes and inside. Tiles begin at target columns first (which may be below 0, so that base_w + first is a
 * whole number of classes), first + tile, ...; tap t = r * KW + s stands at first_tap + t * tap_step in the weights. */
typedef struct mcl_depthwise_args {
    int chunk, parts; /* strips of a work-item, which is part id of `parts` statistics */
    int N, SH, SW, TH, TW, C;
    int step_h, base_h, slope_h, classes_h, base_w, first, first_tap, tap_step;
} mcl_depthwise_args;

#endif
