/* Networks: what a model computes, free of devices and batch sizes. Built from C with the functions below, from YAML, or taken
 * by name from the zoo. Activations are (H, W, C) a sample, or (C) after a flatten.
 *
 *   mcl_network *net = mcl_network_create("tiny");
 *   mcl_tensor x = mcl_input(net, 28, 28, 1);
 *   x = mcl_conv2d(net, x, &(mcl_conv2d_options){.filters = 32, .kernel = 5, .padding = 2});
 *   x = mcl_activation(net, mcl_max_pool(net, x, &(mcl_pool_options){.kernel = 2}), &(mcl_activation_options){.kind = MCL_RELU});
 *   x = mcl_dense(net, mcl_flatten(net, x, NULL), &(mcl_dense_options){.units = 10});
 *   mcl_status status = mcl_network_finish(net, x, &error);
 *
 * Errors are sticky: after a failure every layer returns a negative tensor, and mcl_network_finish reports the first failure
 * with the layer's name and the shapes. An all-zero or NULL options struct means the defaults. */
#ifndef MONOCLE_NETWORK_H
#define MONOCLE_NETWORK_H
#include <monocle/status.h>
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mcl_network mcl_network;
typedef int mcl_tensor; /* a layer's output within one network */

typedef enum mcl_activation_kind { MCL_RELU, MCL_RELU6, MCL_LEAKY_RELU, MCL_SIGMOID, MCL_TANH } mcl_activation_kind;

/* name: the layer's path, which its parameters' names begin with ("conv1" gives "conv1.weight"); NULL: a name is made from the
 * kind and a count. Sizes given as 0 mean the default. kernel, stride, padding, dilation hold for both axes unless the _w
 * member is set, which is then the width's; a negative padding_w is a width without padding. */
typedef struct mcl_conv2d_options {
    const char *name;
    int filters;           /* output channels; required */
    int kernel, kernel_w;  /* required */
    int stride, stride_w;  /* 1 */
    int padding, padding_w; /* 0 */
    int dilation, dilation_w; /* 1 */
    int groups;            /* 1; the input's channels for a depthwise convolution */
    bool no_bias;
} mcl_conv2d_options;

typedef struct mcl_dense_options { const char *name; int units; bool no_bias; } mcl_dense_options;
typedef struct mcl_batch_norm_options { const char *name; float eps, momentum; } mcl_batch_norm_options; /* 1e-5, 0.1 */
typedef struct mcl_activation_options {
    const char *name;
    mcl_activation_kind kind;
    float slope;
} mcl_activation_options; /* leaky: 0.01 */
typedef struct mcl_pool_options {
    const char *name;
    int kernel, kernel_w, stride, stride_w, padding, padding_w; /* stride: the kernel's size */
    bool exclude_padding;                                       /* average: divide by the pixels inside only */
} mcl_pool_options;
typedef struct mcl_dropout_options { const char *name; float drop; } mcl_dropout_options; /* probability of zeroing; 0.5 */
typedef struct mcl_pad_options { const char *name; int top, bottom, left, right, channels_before, channels_after; } mcl_pad_options;
typedef struct mcl_slice_options {
    const char *name;
    int y, x, channel, height, width, channels;
} mcl_slice_options; /* sizes 0: to the end */
typedef struct mcl_simple_options { const char *name; } mcl_simple_options;

MCL_API mcl_network *mcl_network_create(const char *name); /* NULL when out of memory; copies the name */
MCL_API void mcl_network_destroy(mcl_network *network);    /* NULL does nothing */

/* Layers. Each copies its options and returns its output, or -1. The formulas stand in monocle/operators.h.
 *   input             (H, W, C), the first layer
 *   conv2d            (H, W, C) -> (OH, OW, filters), OH = (H + 2 padding - dilation (kernel - 1) - 1) / stride + 1; groups
 *                     divide C and filters
 *   dense             (C) -> (units): y = x w + bias
 *   batch_norm        any shape; y = gamma (x - mean) / sqrt(variance + eps) + beta by channel (the last axis). Statistics are
 *                     the batch's in training (of each micro-batch), and in evaluation the running ones, which follow as
 *                     running = (1 - momentum) running + momentum batch, the variance unbiased
 *   activation        any shape; NULL options: ReLU. 0 < slope < 1
 *   max_pool, avg_pool  (H, W, C) -> (OH, OW, C), OH = (H + 2 padding - kernel) / stride + 1; padding at most kernel / 2
 *   global_avg_pool   (H, W, C) -> (1, 1, C)
 *   dropout           any shape; in training y = x / (1 - drop) with probability 1 - drop, else 0; in evaluation y = x
 *   add               a + b, of one shape
 *   concat            1 to 16 inputs that differ in channels only, joined in order
 *   slice, pad        a part of (H, W, C); zeros around it
 *   flatten           (H, W, C) -> (H W C), in the order of this library; files keep PyTorch's (C, H, W) */
MCL_API mcl_tensor mcl_input(mcl_network *network, int height, int width, int channels);
MCL_API mcl_tensor mcl_conv2d(mcl_network *network, mcl_tensor x, const mcl_conv2d_options *options);
MCL_API mcl_tensor mcl_dense(mcl_network *network, mcl_tensor x, const mcl_dense_options *options);
MCL_API mcl_tensor mcl_batch_norm(mcl_network *network, mcl_tensor x, const mcl_batch_norm_options *options);
MCL_API mcl_tensor mcl_activation(mcl_network *network, mcl_tensor x, const mcl_activation_options *options);
MCL_API mcl_tensor mcl_max_pool(mcl_network *network, mcl_tensor x, const mcl_pool_options *options);
MCL_API mcl_tensor mcl_avg_pool(mcl_network *network, mcl_tensor x, const mcl_pool_options *options);
MCL_API mcl_tensor mcl_global_avg_pool(mcl_network *network, mcl_tensor x, const mcl_simple_options *options);
MCL_API mcl_tensor mcl_dropout(mcl_network *network, mcl_tensor x, const mcl_dropout_options *options);
MCL_API mcl_tensor mcl_add(mcl_network *network, mcl_tensor a, mcl_tensor b, const mcl_simple_options *options);
MCL_API mcl_tensor mcl_concat(mcl_network *network, const mcl_tensor *x, int count, const mcl_simple_options *options);
MCL_API mcl_tensor mcl_slice(mcl_network *network, mcl_tensor x, const mcl_slice_options *options);
MCL_API mcl_tensor mcl_pad(mcl_network *network, mcl_tensor x, const mcl_pad_options *options);
MCL_API mcl_tensor mcl_flatten(mcl_network *network, mcl_tensor x, const mcl_simple_options *options);

/* Ends the description: `logits` (classes) is what the loss sees.
 * Returns the first failure of any layer: MCL_ERROR_SHAPE, MCL_ERROR_INVALID, MCL_ERROR_UNSUPPORTED, MCL_ERROR_MEMORY. */
MCL_API mcl_status mcl_network_finish(mcl_network *network, mcl_tensor logits, mcl_error *error);

/* By name: mlp, lenet, resnet20, resnet20a, resnet18, vgg11, mobilenet_v2. height, width, channels, classes 0: the network's own.
 * *network is destroyed by the caller. MCL_ERROR_NOT_FOUND for another name (the text has the nearest), MCL_ERROR_SHAPE when
 * the pictures are too small for it. */
MCL_API mcl_status mcl_network_by_name(const char *name, int height, int width, int channels, int classes, mcl_network **network,
                                       mcl_error *error);
/* *names: static, ends with NULL. The description of one: "LeNet-5 style: 5x5x32, pool, ..."; NULL when unknown. */
MCL_API const char *const *mcl_network_names(void);
MCL_API const char *mcl_network_describe(const char *name);

MCL_API const char *mcl_network_name(const mcl_network *network);
MCL_API int mcl_network_classes(const mcl_network *network);
MCL_API void mcl_network_input_shape(const mcl_network *network, int *height, int *width, int *channels);
MCL_API int64_t mcl_network_parameter_count(const mcl_network *network);
/* A table of layers: output shapes, parameters, FLOPs of one sample forward, and the memory of a training step at `batch`.
 * malloc'ed text. */
MCL_API char *mcl_network_summary(const mcl_network *network, int batch);

#ifdef __cplusplus
}
#endif
#endif
