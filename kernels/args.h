/* The argument structs that host and kernels share: 32-bit members only. A reference kernel takes its tensors in the
 * order of the operator's inputs, then outputs, then one of these structs by value; the native kernel of the same name
 * takes the same. Every tensor is dense, NHWC, with the last axis contiguous. */
#ifndef MCL_ARGS_H
#define MCL_ARGS_H

/* y[n][oh][ow][k] = sum over r, s, c of
 *     x[n][oh*stride_h - pad_h + r*dilation_h][ow*stride_w - pad_w + s*dilation_w][g*C/groups + c] * w[r][s][c][k]
 * where g = k / (K / groups); x: (N,H,W,C), y: (N,OH,OW,K), w: (KH,KW,C/groups,K); outside x is 0. */
typedef struct mcl_conv2d_args {
    int N, H, W, C, OH, OW, K, KH, KW;
    int stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, groups;
} mcl_conv2d_args;

/* y (rows,K) = x (rows,C) * w (C,K) */
typedef struct mcl_dense_args { int rows, C, K; } mcl_dense_args;

/* Work-items of a work-group that reduces (group.h): a power of two. */
#define MCL_GROUP 64

/* Epilogue codes, applied to element v at (row, channel); row counts pixels over the whole tensor. */
#define MCL_EPILOGUE_MAX 6
#define MCL_EP_BIAS 1        /* v + t[channel] */
#define MCL_EP_SCALE_SHIFT 2 /* v * t[channel] + u[channel]; takes two tensors */
#define MCL_EP_ADD 3         /* v + t[row][channel] */
#define MCL_EP_ACT 4         /* activation(v) */
#define MCL_EP_DACT 5        /* v * activation'(.), written from the activation's output t[row][channel] */
#define MCL_EP_DROPOUT 6     /* v kept and scaled by 1/keep, or 0; takes no tensor */
#define MCL_EP_SCALE 7       /* v * alpha */
#define MCL_EP_STATS 8       /* v; last: mean and biased variance by channel of the result are two more outputs */

#define MCL_ACT_RELU 1
#define MCL_ACT_RELU6 2
#define MCL_ACT_LEAKY_RELU 3 /* alpha: slope for x <= 0, alpha > 0 */
#define MCL_ACT_SIGMOID 4
#define MCL_ACT_TANH 5

/* One code. Dropout keeps iff word < threshold, where threshold = keep * 2^32; element s of sample b has
 * counter {s/4, batch_offset + b, step, stream}. sample_elements is set for dropout only. */
typedef struct mcl_epilogue_code {
    int code, act;
    float alpha;                     /* leaky slope, scale, or 1/keep */
    unsigned stream, threshold;      /* dropout */
} mcl_epilogue_code;

/* y = codes(x), elementwise over `elements` elements of `channels` channels; sample_elements per sample.
 * Arguments: x, y, t0..t6 (seven tensors, in order of use; unused ones are bound to x), step, args. y may be x. */
#define MCL_MAP_TENSORS 7
typedef struct mcl_map_args {
    int elements, channels, sample_elements, count;
    mcl_epilogue_code code[MCL_EPILOGUE_MAX];
} mcl_map_args;

/* sum over rows: x (rows,C) -> (C) */
typedef struct mcl_rows_args { int rows, C; } mcl_rows_args;

/* Batch normalisation over rows (N*H*W) for each of C channels. */
typedef struct mcl_batch_norm_args {
    int rows, C;
    float eps, momentum;
    float inverse_rows; /* 1 / rows */
    float unbias;       /* rows / (rows - 1), or 1 when rows is 1 */
    float low, high;    /* backward: dy counts where low < x * scale + shift < high; NaN: everywhere */
} mcl_batch_norm_args;

/* Windows of KH x KW on x (N,H,W,C) -> y (N,OH,OW,C). */
typedef struct mcl_pool_args {
    int N, H, W, C, OH, OW, KH, KW, stride_h, stride_w, pad_h, pad_w;
    int count_padding;  /* average: divide by KH*KW always (1), or by the pixels inside (0) */
    float inverse_area; /* 1 / (KH*KW); global average: 1 / (H*W) */
} mcl_pool_args;

/* dst (D0..D3) from src (S0..S3): dst[i] = src[i - offset] where that lies inside src, else 0 (zero_outside) or untouched.
 * slice: offset < 0; pad: offset > 0, zero_outside; concat: one launch an input, offset on the axis, not zero_outside. */
typedef struct mcl_region_args { int D[4], S[4], offset[4], zero_outside; } mcl_region_args;

/* Rows of logits (rows,C). */
typedef struct mcl_softmax_args { int rows, C; } mcl_softmax_args;

/* A batch from a data set of bytes: x (N,H,W,C) f32 from pixels (samples,SH,SW,C) u8.
 *   sample = streamed ? b : order[first_sample + b]; padded samples (b >= valid_samples) read sample 0 of the batch
 *   x = (value - mean[c]) * inverse_deviation[c], value a byte as float; outside the picture value = mean[c], so x = 0
 * crop: offsets drawn in [0, 2*crop] for rows and columns, minus crop; flip: left-right with probability 1/2.
 * Random words of sample b: s = 0 flip (lowest bit), 1 row, 2 column; counter {0, batch_offset + b, step, stream}. */
typedef struct mcl_load_args {
    int N, H, W, C, streamed, flip, crop;
    unsigned stream;
} mcl_load_args;

/* n floats from `offset` of a slab. */
typedef struct mcl_slab_args { int n, offset; } mcl_slab_args;

/* The sum of squares of n floats, leaving out `known` of them from `first` on, in `parts` partial sums. Both are multiples of
 * MCL_SQUARES_STEP, which every vector's width divides; or what is known reaches to the end. */
#define MCL_SQUARES_STEP 16
typedef struct mcl_squares_args { int n, first, known, parts; } mcl_squares_args;

/* PyTorch's SGD: g += decay * p;  m = momentum * m + (1 - dampening) * g (m = g in step 1);
 * g = nesterov ? g + momentum * m : m;  p -= learning_rate * g. momentum 0: p -= learning_rate * g, m untouched. */
typedef struct mcl_sgd_args {
    int n, offset, group, nesterov;
    float momentum, one_minus_dampening, decay;
} mcl_sgd_args;

/* PyTorch's Adam: (decoupled: p -= learning_rate * decay * p, else g += decay * p);  m = b1 m + (1-b1) g;
 * v = b2 v + (1-b2) g^2;  p -= learning_rate * (m * correction1) / (sqrt(v * correction2) + eps). */
typedef struct mcl_adam_args {
    int n, offset, group, decoupled;
    float beta1, beta2, one_minus_beta1, one_minus_beta2, eps, decay;
} mcl_adam_args;

#endif
