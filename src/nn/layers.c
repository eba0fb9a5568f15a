/* The public layer functions: each checks its options, infers the shape of one sample, and appends to the network's list. */
#include "base/arena.h"
#include "nn/layer.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LARGEST (1 << 24)   /* of any size given as an option */
#define MOST_LAYERS 10000

/* The sticky failure: "layer "conv1" (conv2d): ...". */
static mcl_tensor fail(mcl_network *network, const mcl__layer *layer, mcl_status status, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    mcl__fail(&network->error, status, "layer \"%s\" (%s): %s", layer->name, mcl__layer_kind_name(layer->kind), text);
    return -1;
}

static bool name_is_plain(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("_.-", *c)) return false;
    return *name && strlen(name) < MCL__LAYER_NAME;
}

/* Takes the name, or makes one from the kind and a count: "conv2d_3". */
static bool take_name(mcl_network *network, mcl__layer *layer, const char *name)
{
    int count = 1;
    if (name) {
        snprintf(layer->name, sizeof layer->name, "%s", name);
        if (!name_is_plain(name)) {
            fail(network, layer, MCL_ERROR_INVALID, "a name has letters, digits and _ . - only, and less than %d of them",
                 MCL__LAYER_NAME);
            return false;
        }
        if (mcl__layer_find(network, name)) {
            fail(network, layer, MCL_ERROR_INVALID, "the name is taken");
            return false;
        }
        return true;
    }
    for (size_t i = 0; i < network->layers; i++) count += network->layer[i].kind == layer->kind;
    do snprintf(layer->name, sizeof layer->name, "%s_%d", mcl__layer_kind_name(layer->kind), count++);
    while (mcl__layer_find(network, layer->name));
    return true;
}

/* Starts a layer on inputs x; false when the network has failed already or this fails. */
static bool begin(mcl_network *network, mcl__layer *layer, mcl__layer_kind kind, const char *name, const mcl_tensor *x, int count)
{
    if (!network || network->error.status != MCL_OK) return false;
    *layer = (mcl__layer){.kind = kind, .inputs = count};
    if (!take_name(network, layer, name)) return false;
    if (network->logits >= 0) {
        fail(network, layer, MCL_ERROR_INVALID, "the network is finished already");
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (x[i] < 0 || (size_t)x[i] >= network->layers) {
            fail(network, layer, MCL_ERROR_INVALID, "its input %d is no tensor of this network", x[i]);
            return false;
        }
        layer->in[i] = x[i];
    }
    if (count > 0) {
        layer->shape = network->layer[x[0]].shape;
        memcpy(layer->flatten, network->layer[x[0]].flatten, sizeof layer->flatten);
    }
    return true;
}

static mcl_tensor append(mcl_network *network, const mcl__layer *layer)
{
    if (!mcl__shape_valid(layer->shape)) {
        char text[64];
        return fail(network, layer, MCL_ERROR_SHAPE, "the output %s is not a shape: sizes are at least 1, and a tensor has fewer "
                    "than 2^31 elements", mcl__shape_text(layer->shape, text));
    }
    if (network->layers >= MOST_LAYERS) return fail(network, layer, MCL_ERROR_INVALID, "more than %d layers", MOST_LAYERS);
    if (!mcl__grow(&network->layer, &network->capacity, network->layers + 1, sizeof *layer))
        return fail(network, layer, MCL_ERROR_MEMORY, "no memory");
    network->layer[network->layers] = *layer;
    return (mcl_tensor)network->layers++;
}

static mcl__shape input_shape(const mcl_network *network, const mcl__layer *layer, int i)
{
    return network->layer[layer->in[i]].shape;
}

/* A size given as an option: at least `least`. */
static bool in_range(mcl_network *network, const mcl__layer *layer, const char *option, int value, int least)
{
    if (value >= least && value <= LARGEST) return true;
    if (value == 0) fail(network, layer, MCL_ERROR_INVALID, "%s is missing", option);
    else fail(network, layer, MCL_ERROR_INVALID, "%s is %d: it must be %d to %d", option, value, least, LARGEST);
    return false;
}

/* The width's value: its own where set (a negative one means none), else the height's. */
static int width_of(int both, int width)
{
    return width < 0 ? 0 : width ? width : both;
}

static int or_else(int value, int otherwise)
{
    return value ? value : otherwise;
}

static bool is_picture(mcl_network *network, const mcl__layer *layer)
{
    char text[64];
    mcl__shape x = input_shape(network, layer, 0);
    if (x.rank == 3) return true;
    fail(network, layer, MCL_ERROR_SHAPE, "wants an input (H, W, C), but has %s", mcl__shape_text(x, text));
    return false;
}

/* A vector whose order differs from PyTorch's cannot be cut or joined: files would no longer mean the same. */
static bool order_is_plain(mcl_network *network, const mcl__layer *layer)
{
    for (int i = 0; i < layer->inputs; i++) {
        const int *from = network->layer[layer->in[i]].flatten;
        if (!from[0]) continue;
        fail(network, layer, MCL_ERROR_UNSUPPORTED, "its input is a flattened (%d, %d, %d): do this before the flatten", from[0],
             from[1], from[2]);
        return false;
    }
    return true;
}

typedef struct window { int kernel, stride, padding, dilation; } window;

/* Positions of a window along an axis of `size`; 0: it does not fit. */
static int positions(int size, window w)
{
    int64_t room = (int64_t)size + 2 * (int64_t)w.padding - ((int64_t)w.dilation * (w.kernel - 1) + 1);
    return room < 0 ? 0 : (int)(room / w.stride + 1);
}

static bool infer_window(mcl_network *network, mcl__layer *layer, window h, window w)
{
    char text[64];
    mcl__shape x = layer->shape;
    layer->shape.d[0] = positions(x.d[0], h);
    layer->shape.d[1] = positions(x.d[1], w);
    if (layer->shape.d[0] > 0 && layer->shape.d[1] > 0) return true;
    char dilated[64] = "";
    if (h.dilation > 1 || w.dilation > 1) snprintf(dilated, sizeof dilated, ", dilation (%d, %d)", h.dilation, w.dilation);
    fail(network, layer, MCL_ERROR_SHAPE, "a window of (%d, %d)%s with padding (%d, %d) does not fit the input %s", h.kernel,
         w.kernel, dilated, h.padding, w.padding, mcl__shape_text(x, text));
    return false;
}

mcl_tensor mcl_input(mcl_network *network, int height, int width, int channels)
{
    mcl__layer layer;
    if (!begin(network, &layer, MCL__LAYER_INPUT, network && network->layers ? NULL : "input", NULL, 0)) return -1;
    if (network->layers > 0) return fail(network, &layer, MCL_ERROR_INVALID, "a network has one input, made first");
    if (!in_range(network, &layer, "height", height, 1) || !in_range(network, &layer, "width", width, 1) ||
        !in_range(network, &layer, "channels", channels, 1))
        return -1;
    layer.shape = (mcl__shape){3, {height, width, channels}};
    return append(network, &layer);
}

mcl_tensor mcl_conv2d(mcl_network *network, mcl_tensor x, const mcl_conv2d_options *options)
{
    static const mcl_conv2d_options none = {0};
    const mcl_conv2d_options *o = options ? options : &none;
    mcl__layer layer;
    if (!begin(network, &layer, MCL__LAYER_CONV2D, o->name, &x, 1)) return -1;
    window h = {o->kernel, or_else(o->stride, 1), o->padding, or_else(o->dilation, 1)};
    window w = {width_of(o->kernel, o->kernel_w), width_of(h.stride, o->stride_w), width_of(o->padding, o->padding_w),
                width_of(h.dilation, o->dilation_w)};
    int groups = or_else(o->groups, 1), C = layer.shape.d[2];
    if (!is_picture(network, &layer) || !in_range(network, &layer, "filters", o->filters, 1) ||
        !in_range(network, &layer, "kernel", h.kernel, 1) || !in_range(network, &layer, "kernel_w", w.kernel, 1) ||
        !in_range(network, &layer, "stride", h.stride, 1) || !in_range(network, &layer, "stride_w", w.stride, 1) ||
        !in_range(network, &layer, "padding", h.padding, 0) || !in_range(network, &layer, "padding_w", w.padding, 0) ||
        !in_range(network, &layer, "dilation", h.dilation, 1) || !in_range(network, &layer, "dilation_w", w.dilation, 1) ||
        !in_range(network, &layer, "groups", groups, 1))
        return -1;
    char text[64], weight_text[64];
    if (C % groups || o->filters % groups)
        return fail(network, &layer, MCL_ERROR_SHAPE, "%d groups divide neither or only one of the channels of the input %s and %d "
                    "filters", groups, mcl__shape_text(layer.shape, text), o->filters);
    mcl__shape weight = {4, {h.kernel, w.kernel, C / groups, o->filters}};
    if (!mcl__shape_valid(weight))
        return fail(network, &layer, MCL_ERROR_SHAPE, "the weight %s for the input %s has 2^31 elements or more",
                    mcl__shape_text(weight, weight_text), mcl__shape_text(layer.shape, text));
    if (!infer_window(network, &layer, h, w)) return -1;
    layer.shape.d[2] = o->filters;
    layer.bias = !o->no_bias;
    layer.attrs.conv.KH = h.kernel, layer.attrs.conv.KW = w.kernel;
    layer.attrs.conv.stride_h = h.stride, layer.attrs.conv.stride_w = w.stride;
    layer.attrs.conv.pad_h = h.padding, layer.attrs.conv.pad_w = w.padding;
    layer.attrs.conv.dilation_h = h.dilation, layer.attrs.conv.dilation_w = w.dilation;
    layer.attrs.conv.groups = groups;
    return append(network, &layer);
}

mcl_tensor mcl_dense(mcl_network *network, mcl_tensor x, const mcl_dense_options *options)
{
    static const mcl_dense_options none = {0};
    const mcl_dense_options *o = options ? options : &none;
    mcl__layer layer;
    char text[64];
    if (!begin(network, &layer, MCL__LAYER_DENSE, o->name, &x, 1) || !in_range(network, &layer, "units", o->units, 1)) return -1;
    if (layer.shape.rank != 1)
        return fail(network, &layer, MCL_ERROR_SHAPE, "wants an input (C), but has %s: flatten it first",
                    mcl__shape_text(layer.shape, text));
    mcl__shape weight = {2, {layer.shape.d[0], o->units}};
    if (!mcl__shape_valid(weight))
        return fail(network, &layer, MCL_ERROR_SHAPE, "the weight (%d, %d) for the input %s has 2^31 elements or more",
                    layer.shape.d[0], o->units, mcl__shape_text(layer.shape, text));
    layer.shape = (mcl__shape){1, {o->units}};
    layer.bias = !o->no_bias;
    memset(layer.flatten, 0, sizeof layer.flatten);
    return append(network, &layer);
}

mcl_tensor mcl_batch_norm(mcl_network *network, mcl_tensor x, const mcl_batch_norm_options *options)
{
    static const mcl_batch_norm_options none = {0};
    const mcl_batch_norm_options *o = options ? options : &none;
    mcl__layer layer;
    if (!begin(network, &layer, MCL__LAYER_BATCH_NORM, o->name, &x, 1)) return -1;
    float eps = o->eps != 0 ? o->eps : 1e-5f, momentum = o->momentum != 0 ? o->momentum : 0.1f;
    if (!(eps > 0 && eps <= 1)) return fail(network, &layer, MCL_ERROR_INVALID, "eps is %g: it must be in (0, 1]", (double)eps);
    if (!(momentum > 0 && momentum <= 1))
        return fail(network, &layer, MCL_ERROR_INVALID, "momentum is %g: it must be in (0, 1]", (double)momentum);
    layer.attrs.norm.eps = eps;
    layer.attrs.norm.momentum = momentum;
    return append(network, &layer);
}

mcl_tensor mcl_activation(mcl_network *network, mcl_tensor x, const mcl_activation_options *options)
{
    static const int acts[] = {[MCL_RELU] = MCL_ACT_RELU, [MCL_RELU6] = MCL_ACT_RELU6, [MCL_LEAKY_RELU] = MCL_ACT_LEAKY_RELU,
                               [MCL_SIGMOID] = MCL_ACT_SIGMOID, [MCL_TANH] = MCL_ACT_TANH};
    static const mcl_activation_options none = {0};
    const mcl_activation_options *o = options ? options : &none;
    mcl__layer layer;
    if (!begin(network, &layer, MCL__LAYER_ACTIVATION, o->name, &x, 1)) return -1;
    if ((int)o->kind < 0 || (size_t)o->kind >= sizeof acts / sizeof *acts)
        return fail(network, &layer, MCL_ERROR_INVALID, "there is no activation of kind %d", (int)o->kind);
    layer.act = acts[o->kind];
    layer.alpha = o->kind != MCL_LEAKY_RELU ? 0 : o->slope != 0 ? o->slope : 0.01f;
    if (o->kind == MCL_LEAKY_RELU && !(layer.alpha > 0 && layer.alpha < 1))
        return fail(network, &layer, MCL_ERROR_INVALID, "slope is %g: it must be in (0, 1)", (double)layer.alpha);
    return append(network, &layer);
}

static mcl_tensor pool(mcl_network *network, mcl_tensor x, const mcl_pool_options *options, mcl__layer_kind kind)
{
    static const mcl_pool_options none = {0};
    const mcl_pool_options *o = options ? options : &none;
    mcl__layer layer;
    if (!begin(network, &layer, kind, o->name, &x, 1)) return -1;
    window h = {o->kernel, or_else(o->stride, o->kernel), o->padding, 1};
    window w = {width_of(o->kernel, o->kernel_w), 0, width_of(o->padding, o->padding_w), 1};
    w.stride = o->stride_w ? o->stride_w : or_else(o->stride, w.kernel);
    if (!is_picture(network, &layer) || !in_range(network, &layer, "kernel", h.kernel, 1) ||
        !in_range(network, &layer, "kernel_w", w.kernel, 1) || !in_range(network, &layer, "stride", h.stride, 1) ||
        !in_range(network, &layer, "stride_w", w.stride, 1) || !in_range(network, &layer, "padding", h.padding, 0) ||
        !in_range(network, &layer, "padding_w", w.padding, 0))
        return -1;
    if (2 * h.padding > h.kernel || 2 * w.padding > w.kernel)
        return fail(network, &layer, MCL_ERROR_INVALID, "padding (%d, %d) is more than half of the kernel (%d, %d)", h.padding,
                    w.padding, h.kernel, w.kernel);
    if (kind == MCL__LAYER_MAX_POOL && (int64_t)h.kernel * w.kernel > 256)
        return fail(network, &layer, MCL_ERROR_UNSUPPORTED, "a kernel of (%d, %d) has more than 256 pixels", h.kernel, w.kernel);
    if (!infer_window(network, &layer, h, w)) return -1;
    layer.attrs.pool.KH = h.kernel, layer.attrs.pool.KW = w.kernel;
    layer.attrs.pool.stride_h = h.stride, layer.attrs.pool.stride_w = w.stride;
    layer.attrs.pool.pad_h = h.padding, layer.attrs.pool.pad_w = w.padding;
    layer.attrs.pool.count_padding = !o->exclude_padding;
    return append(network, &layer);
}

mcl_tensor mcl_max_pool(mcl_network *network, mcl_tensor x, const mcl_pool_options *options)
{
    return pool(network, x, options, MCL__LAYER_MAX_POOL);
}

mcl_tensor mcl_avg_pool(mcl_network *network, mcl_tensor x, const mcl_pool_options *options)
{
    return pool(network, x, options, MCL__LAYER_AVG_POOL);
}

mcl_tensor mcl_global_avg_pool(mcl_network *network, mcl_tensor x, const mcl_simple_options *options)
{
    mcl__layer layer;
    if (!begin(network, &layer, MCL__LAYER_GLOBAL_AVG_POOL, options ? options->name : NULL, &x, 1) || !is_picture(network, &layer))
        return -1;
    layer.shape.d[0] = layer.shape.d[1] = 1;
    return append(network, &layer);
}

mcl_tensor mcl_dropout(mcl_network *network, mcl_tensor x, const mcl_dropout_options *options)
{
    mcl__layer layer;
    if (!begin(network, &layer, MCL__LAYER_DROPOUT, options ? options->name : NULL, &x, 1)) return -1;
    layer.drop = options && options->drop != 0 ? options->drop : 0.5f;
    if (!(layer.drop > 0 && layer.drop < 1))
        return fail(network, &layer, MCL_ERROR_INVALID, "drop is %g: it must be in (0, 1)", (double)layer.drop);
    return append(network, &layer);
}

mcl_tensor mcl_add(mcl_network *network, mcl_tensor a, mcl_tensor b, const mcl_simple_options *options)
{
    mcl__layer layer;
    char text[2][64];
    if (!begin(network, &layer, MCL__LAYER_ADD, options ? options->name : NULL, (mcl_tensor[]){a, b}, 2)) return -1;
    mcl__shape other = input_shape(network, &layer, 1);
    if (!mcl__shape_equal(layer.shape, other))
        return fail(network, &layer, MCL_ERROR_SHAPE, "adds tensors of different shapes, %s and %s",
                    mcl__shape_text(layer.shape, text[0]), mcl__shape_text(other, text[1]));
    if (memcmp(layer.flatten, network->layer[b].flatten, sizeof layer.flatten) && !order_is_plain(network, &layer)) return -1;
    return append(network, &layer);
}

mcl_tensor mcl_concat(mcl_network *network, const mcl_tensor *x, int count, const mcl_simple_options *options)
{
    mcl__layer layer;
    char text[2][64];
    const char *name = options ? options->name : NULL;
    bool fits = x && count >= 1 && count <= MCL__MAX_OPERANDS;
    if (!begin(network, &layer, MCL__LAYER_CONCAT, name, x, fits ? count : 0)) return -1;
    if (!fits) return fail(network, &layer, MCL_ERROR_INVALID, "joins 1 to %d tensors, not %d", MCL__MAX_OPERANDS, count);
    if (!order_is_plain(network, &layer)) return -1;
    int last = layer.shape.rank - 1;
    int64_t channels = layer.shape.d[last];
    for (int i = 1; i < count; i++) {
        mcl__shape other = input_shape(network, &layer, i), alike = other;
        if (other.rank == layer.shape.rank) alike.d[last] = layer.shape.d[last];
        if (!mcl__shape_equal(layer.shape, alike))
            return fail(network, &layer, MCL_ERROR_SHAPE, "joins channels of different shapes, %s and %s",
                        mcl__shape_text(layer.shape, text[0]), mcl__shape_text(other, text[1]));
        channels += other.d[last];
    }
    if (channels > LARGEST) return fail(network, &layer, MCL_ERROR_SHAPE, "more than %d channels", LARGEST);
    layer.shape.d[last] = (int)channels;
    return append(network, &layer);
}

/* Rows, columns and channels of one sample; a vector has channels only. */
static int spread(mcl__shape shape, const int by_axis[3], int out[4])
{
    if (shape.rank == 1) out[0] = by_axis[2];
    else memcpy(out, by_axis, 3 * sizeof *out);
    return shape.rank == 1 && (by_axis[0] || by_axis[1]) ? -1 : 0;
}

mcl_tensor mcl_slice(mcl_network *network, mcl_tensor x, const mcl_slice_options *options)
{
    static const mcl_slice_options none = {0};
    const mcl_slice_options *o = options ? options : &none;
    mcl__layer layer;
    char text[2][64];
    if (!begin(network, &layer, MCL__LAYER_SLICE, o->name, &x, 1) || !order_is_plain(network, &layer)) return -1;
    mcl__shape input = layer.shape, size = input;
    int *offset = layer.attrs.region.offset;
    if (spread(input, (int[]){o->y, o->x, o->channel}, offset) || spread(input, (int[]){o->height, o->width, o->channels}, size.d))
        return fail(network, &layer, MCL_ERROR_SHAPE, "cuts rows or columns from an input %s", mcl__shape_text(input, text[0]));
    for (int i = 0; i < input.rank; i++) {
        if (offset[i] >= 0 && size.d[i] == 0 && offset[i] < input.d[i]) size.d[i] = input.d[i] - offset[i];
        if (offset[i] < 0 || size.d[i] < 1 || offset[i] >= input.d[i] || size.d[i] > input.d[i] - offset[i]) {
            mcl__shape start = {input.rank, {offset[0], offset[1], offset[2]}};
            char start_text[64];
            return fail(network, &layer, MCL_ERROR_SHAPE, "the part %s from %s is not inside the input %s",
                        mcl__shape_text(size, text[0]), mcl__shape_text(start, start_text), mcl__shape_text(input, text[1]));
        }
    }
    layer.shape = layer.attrs.region.size = size;
    return append(network, &layer);
}

mcl_tensor mcl_pad(mcl_network *network, mcl_tensor x, const mcl_pad_options *options)
{
    static const mcl_pad_options none = {0};
    const mcl_pad_options *o = options ? options : &none;
    mcl__layer layer;
    char text[64];
    if (!begin(network, &layer, MCL__LAYER_PAD, o->name, &x, 1) || !order_is_plain(network, &layer)) return -1;
    const int before[3] = {o->top, o->left, o->channels_before}, after[3] = {o->bottom, o->right, o->channels_after};
    for (int i = 0; i < 3; i++)
        if (!in_range(network, &layer, "padding", before[i], 0) || !in_range(network, &layer, "padding", after[i], 0)) return -1;
    int end[4] = {0};
    mcl__shape input = layer.shape;
    if (spread(input, before, layer.attrs.region.offset) || spread(input, after, end))
        return fail(network, &layer, MCL_ERROR_SHAPE, "pads rows or columns of an input %s", mcl__shape_text(input, text));
    for (int i = 0; i < input.rank; i++) {
        int64_t size = (int64_t)input.d[i] + layer.attrs.region.offset[i] + end[i];
        if (size > LARGEST)
            return fail(network, &layer, MCL_ERROR_SHAPE, "an input %s padded by %d and %d is too large",
                        mcl__shape_text(input, text), layer.attrs.region.offset[i], end[i]);
        layer.shape.d[i] = (int)size;
    }
    layer.attrs.region.size = layer.shape;
    return append(network, &layer);
}

mcl_tensor mcl_flatten(mcl_network *network, mcl_tensor x, const mcl_simple_options *options)
{
    mcl__layer layer;
    if (!begin(network, &layer, MCL__LAYER_FLATTEN, options ? options->name : NULL, &x, 1)) return -1;
    mcl__shape from = layer.shape;
    if (from.rank == 3) {
        layer.shape = (mcl__shape){1, {from.d[0] * from.d[1] * from.d[2]}};
        if (from.d[0] * from.d[1] > 1 && from.d[2] > 1) memcpy(layer.flatten, from.d, sizeof layer.flatten);
    }
    return append(network, &layer);
}
