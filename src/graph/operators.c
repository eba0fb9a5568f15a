/* One operator on the caller's buffers: a graph of one node, planned and run at once on a model that has nothing but a step
 * block. So the kernels are those that a network gets, and the checks are the operators' own. */
#include "graph/plan.h"
#include <monocle/operators.h>

enum { MOST_ARRAYS = 4 };

typedef struct part { const char *name; mcl_array array; mcl__dtype dtype; } part;

static part f32(const char *name, mcl_array array)
{
    return (part){name, array, MCL_F32};
}

/* A call: what it is, and its arrays, inputs first. */
typedef struct call {
    const char *name;
    mcl__op_kind op;
    mcl__attrs attrs;
    mcl__epilogue epilogue;
    int inputs, outputs;
    part part[MOST_ARRAYS];
} call;

/* --- Checks that no operator can make ----------------------------------------------------------------------------------- */

static mcl_status check_array(const call *c, int i, mcl__shape *shape, mcl__view *view, mcl_error *error)
{
    const mcl_array *array = &c->part[i].array;
    const char *name = c->part[i].name;
    char text[64];
    if (!array->buffer) return mcl__fail(error, MCL_ERROR_INVALID, "%s: %s has no buffer", c->name, name);
    const mcl_device *device = mcl__buffer_device(array->buffer);
    if (device != mcl__buffer_device(c->part[0].array.buffer))
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: %s is on another device than %s", c->name, name, c->part[0].name);
    *shape = (mcl__shape){array->rank, {array->size[0], array->size[1], array->size[2], array->size[3]}};
    if (!mcl__shape_valid(*shape))
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s: %s must have 1 to 4 sizes above 0 and less than 2^31 elements", c->name,
                         name);
    uint64_t there = mcl__buffer_bytes(array->buffer), each = mcl__dtype_bytes(c->part[i].dtype);
    uint64_t bytes = each * (uint64_t)mcl__shape_elements(*shape);
    if (array->offset > there || there - array->offset < bytes)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: %s %s takes %llu bytes from byte %llu on, its buffer has %llu", c->name,
                         name, mcl__shape_text(*shape, text), (unsigned long long)bytes, (unsigned long long)array->offset,
                         (unsigned long long)there);
    if (device->info.alignment && array->offset % device->info.alignment)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: %s begins at byte %llu, which %u does not divide", c->name, name,
                         (unsigned long long)array->offset, device->info.alignment);
    *view = (mcl__view){array->buffer, array->offset, bytes};
    return MCL_OK;
}

/* A result may lie in no other array's bytes. */
static mcl_status check_apart(const call *c, const mcl__view *view, mcl_error *error)
{
    for (int i = c->inputs; i < c->inputs + c->outputs; i++)
        for (int j = 0; j < i; j++)
            if (view[i].buffer == view[j].buffer && view[i].offset < view[j].offset + view[j].bytes &&
                view[j].offset < view[i].offset + view[i].bytes)
                return mcl__fail(error, MCL_ERROR_INVALID, "%s: %s and %s share memory", c->name, c->part[j].name, c->part[i].name);
    return MCL_OK;
}

/* --- Running ------------------------------------------------------------------------------------------------------------ */

/* The node's results become the caller's memory. */
static bool bind_results(const call *c, mcl__graph *graph, int first, const mcl__shape *shape, const mcl__view *view)
{
    char text[64], given[64];
    for (int i = 0; i < c->outputs; i++) {
        mcl__tensor *result = &graph->tensor[first + i];
        if (!mcl__shape_equal(result->shape, shape[i])) {
            mcl__fail(&graph->error, MCL_ERROR_SHAPE, "%s: the result is %s, but %s is %s", c->name,
                      mcl__shape_text(result->shape, text), c->part[c->inputs + i].name, mcl__shape_text(shape[i], given));
            return false;
        }
        result->bound = view[i];
    }
    return true;
}

static mcl_status build(const call *c, mcl__model *model, mcl__plan **plan, mcl_error *error)
{
    mcl__shape shape[MOST_ARRAYS];
    mcl__view view[MOST_ARRAYS];
    int tensor[MOST_ARRAYS], count = c->inputs + c->outputs;
    mcl__graph *graph;
    for (int i = 0; i < count; i++) MCL_TRY(check_array(c, i, &shape[i], &view[i], error));
    MCL_TRY(check_apart(c, view, error));
    if (mcl__graph_create(model, false, &graph) != MCL_OK) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a graph");
    for (int i = 0; i < c->inputs; i++)
        tensor[i] = mcl__graph_tensor(graph, c->part[i].name, shape[i], c->part[i].dtype, view[i]);
    int first = mcl__graph_node(graph, MCL__COMPUTE, c->name, c->op, &c->attrs, &c->epilogue, tensor, c->inputs);
    if (first >= 0 && bind_results(c, graph, first, shape + c->inputs, view + c->inputs))
        return mcl__plan_create(graph, NULL, plan, error);
    mcl_status status = mcl__fail(error, graph->error.status, "%s", graph->error.text);
    mcl__graph_destroy(graph);
    return status;
}

static mcl_status run(const call *c, mcl_error *error)
{
    mcl__model *model = NULL;
    mcl__plan *plan = NULL;
    mcl_status status = MCL_OK;
    if (!c->part[0].array.buffer) return mcl__fail(error, MCL_ERROR_INVALID, "%s: %s has no buffer", c->name, c->part[0].name);
    mcl_device *device = mcl__buffer_device(c->part[0].array.buffer);
    MCL_TRY_DONE(mcl__model_create(device, NULL, 0, NULL, 0, NULL, &model, error));
    MCL_TRY_DONE(build(c, model, &plan, error));
    status = mcl__plan_run(plan, MCL__COMPUTE);
    if (status == MCL_OK) status = mcl_device_finish(device);
    if (status != MCL_OK) mcl__fail(error, status, "%s: %s", c->name, mcl_device_error(device)->text);
done:
    mcl__plan_destroy(plan);
    mcl__model_destroy(model);
    return status;
}

/* --- Options ------------------------------------------------------------------------------------------------------------ */

static int or_else(int value, int otherwise)
{
    return value ? value : otherwise;
}

/* The width's value: its own, else the height's; a negative one is a width of 0. */
static int width_of(int both, int own)
{
    return own < 0 ? 0 : or_else(own, both);
}

static mcl__attrs conv_attrs(const mcl_conv2d_options *options, const int kernel[2])
{
    static const mcl_conv2d_options none;
    const mcl_conv2d_options *o = options ? options : &none;
    int stride = or_else(o->stride, 1), dilation = or_else(o->dilation, 1);
    return (mcl__attrs){.conv = {.KH = kernel[0], .KW = kernel[1], .stride_h = stride, .stride_w = or_else(o->stride_w, stride),
                                 .pad_h = o->padding, .pad_w = width_of(o->padding, o->padding_w), .dilation_h = dilation,
                                 .dilation_w = or_else(o->dilation_w, dilation), .groups = or_else(o->groups, 1)}};
}

static mcl__attrs pool_attrs(const mcl_pool_options *options)
{
    static const mcl_pool_options none;
    const mcl_pool_options *o = options ? options : &none;
    int KW = or_else(o->kernel_w, o->kernel);
    return (mcl__attrs){.pool = {.KH = o->kernel, .KW = KW, .stride_h = or_else(o->stride, o->kernel),
                                 .stride_w = or_else(o->stride_w, or_else(o->stride, KW)), .pad_h = o->padding,
                                 .pad_w = width_of(o->padding, o->padding_w), .count_padding = !o->exclude_padding}};
}

static mcl__epilogue one_code(int code, const mcl_activation_options *options)
{
    static const mcl_activation_options none;
    static const int acts[] = {[MCL_RELU] = MCL_ACT_RELU, [MCL_RELU6] = MCL_ACT_RELU6, [MCL_LEAKY_RELU] = MCL_ACT_LEAKY_RELU,
                               [MCL_SIGMOID] = MCL_ACT_SIGMOID, [MCL_TANH] = MCL_ACT_TANH};
    const mcl_activation_options *o = options ? options : &none;
    mcl_epilogue_code one = {.code = code};
    if (code == MCL_EP_ACT || code == MCL_EP_DACT) {
        bool known = (unsigned)o->kind < sizeof acts / sizeof *acts;
        one.act = known ? acts[o->kind] : 0; /* 0 is refused where codes are checked */
        if (one.act == MCL_ACT_LEAKY_RELU) one.alpha = o->slope != 0 ? o->slope : 0.01f;
    }
    return (mcl__epilogue){.count = 1, .code = {one}};
}

/* --- The operators ------------------------------------------------------------------------------------------------------ */

static mcl_status unary(call c, part x, part y, mcl_error *error)
{
    c.inputs = c.outputs = 1;
    c.part[0] = x;
    c.part[1] = y;
    return run(&c, error);
}

static mcl_status binary(call c, part a, part b, part y, mcl_error *error)
{
    c.inputs = 2;
    c.outputs = 1;
    c.part[0] = a;
    c.part[1] = b;
    c.part[2] = y;
    return run(&c, error);
}

static mcl_status with_bias(call c, mcl_array x, mcl_array w, const mcl_array *bias, mcl_array y, mcl_error *error)
{
    if (!bias) return binary(c, f32("x", x), f32("w", w), f32("y", y), error);
    c.epilogue = one_code(MCL_EP_BIAS, NULL);
    c.inputs = 3;
    c.outputs = 1;
    c.part[0] = f32("x", x);
    c.part[1] = f32("w", w);
    c.part[2] = f32("bias", *bias);
    c.part[3] = f32("y", y);
    return run(&c, error);
}

mcl_status mcl_conv2d_forward(mcl_array x, mcl_array w, const mcl_array *bias, const mcl_conv2d_options *options, mcl_array y,
                              mcl_error *error)
{
    call c = {.name = "conv2d_forward", .op = MCL__OP_conv2d, .attrs = conv_attrs(options, w.size)};
    return with_bias(c, x, w, bias, y, error);
}

mcl_status mcl_conv2d_backward_data(mcl_array dy, mcl_array w, const mcl_conv2d_options *options, mcl_array dx, mcl_error *error)
{
    mcl__attrs attrs = conv_attrs(options, w.size);
    attrs.conv.H = dx.size[1];
    attrs.conv.W = dx.size[2];
    call c = {.name = "conv2d_backward_data", .op = MCL__OP_conv2d_bwd_data, .attrs = attrs};
    return binary(c, f32("dy", dy), f32("w", w), f32("dx", dx), error);
}

mcl_status mcl_conv2d_backward_weight(mcl_array x, mcl_array dy, const mcl_conv2d_options *options, mcl_array dw, mcl_error *error)
{
    call c = {.name = "conv2d_backward_weight", .op = MCL__OP_conv2d_bwd_weight, .attrs = conv_attrs(options, dw.size)};
    return binary(c, f32("x", x), f32("dy", dy), f32("dw", dw), error);
}

mcl_status mcl_dense_forward(mcl_array x, mcl_array w, const mcl_array *bias, mcl_array y, mcl_error *error)
{
    call c = {.name = "dense_forward", .op = MCL__OP_dense};
    return with_bias(c, x, w, bias, y, error);
}

mcl_status mcl_dense_backward_data(mcl_array dy, mcl_array w, mcl_array dx, mcl_error *error)
{
    call c = {.name = "dense_backward_data", .op = MCL__OP_dense_bwd_data};
    return binary(c, f32("dy", dy), f32("w", w), f32("dx", dx), error);
}

mcl_status mcl_dense_backward_weight(mcl_array x, mcl_array dy, mcl_array dw, mcl_error *error)
{
    call c = {.name = "dense_backward_weight", .op = MCL__OP_dense_bwd_weight};
    return binary(c, f32("x", x), f32("dy", dy), f32("dw", dw), error);
}

mcl_status mcl_bias_backward(mcl_array dy, mcl_array dbias, mcl_error *error)
{
    call c = {.name = "bias_backward", .op = MCL__OP_channel_sum};
    return unary(c, f32("dy", dy), f32("dbias", dbias), error);
}

mcl_status mcl_activation_forward(mcl_array x, const mcl_activation_options *options, mcl_array y, mcl_error *error)
{
    call c = {.name = "activation_forward", .op = MCL__OP_map, .epilogue = one_code(MCL_EP_ACT, options)};
    return unary(c, f32("x", x), f32("y", y), error);
}

mcl_status mcl_activation_backward(mcl_array dy, mcl_array y, const mcl_activation_options *options, mcl_array dx, mcl_error *error)
{
    call c = {.name = "activation_backward", .op = MCL__OP_map, .epilogue = one_code(MCL_EP_DACT, options)};
    return binary(c, f32("dy", dy), f32("y", y), f32("dx", dx), error);
}

mcl_status mcl_add_forward(mcl_array a, mcl_array b, mcl_array y, mcl_error *error)
{
    call c = {.name = "add_forward", .op = MCL__OP_map, .epilogue = one_code(MCL_EP_ADD, NULL)};
    return binary(c, f32("a", a), f32("b", b), f32("y", y), error);
}

mcl_status mcl_max_pool_forward(mcl_array x, const mcl_pool_options *options, mcl_array y, mcl_array index, mcl_error *error)
{
    call c = {.name = "max_pool_forward", .op = MCL__OP_max_pool, .attrs = pool_attrs(options), .inputs = 1, .outputs = 2,
              .part = {f32("x", x), f32("y", y), {"index", index, MCL_U8}}};
    return run(&c, error);
}

mcl_status mcl_max_pool_backward(mcl_array dy, mcl_array index, const mcl_pool_options *options, mcl_array dx, mcl_error *error)
{
    mcl__attrs attrs = pool_attrs(options);
    attrs.pool.H = dx.size[1];
    attrs.pool.W = dx.size[2];
    call c = {.name = "max_pool_backward", .op = MCL__OP_max_pool_bwd, .attrs = attrs};
    return binary(c, f32("dy", dy), (part){"index", index, MCL_U8}, f32("dx", dx), error);
}

mcl_status mcl_avg_pool_forward(mcl_array x, const mcl_pool_options *options, mcl_array y, mcl_error *error)
{
    call c = {.name = "avg_pool_forward", .op = MCL__OP_avg_pool, .attrs = pool_attrs(options)};
    return unary(c, f32("x", x), f32("y", y), error);
}

mcl_status mcl_global_avg_pool_forward(mcl_array x, mcl_array y, mcl_error *error)
{
    call c = {.name = "global_avg_pool_forward", .op = MCL__OP_global_avg_pool};
    return unary(c, f32("x", x), f32("y", y), error);
}

mcl_status mcl_softmax_forward(mcl_array x, mcl_array y, mcl_error *error)
{
    call c = {.name = "softmax_forward", .op = MCL__OP_softmax};
    return unary(c, f32("x", x), f32("y", y), error);
}
