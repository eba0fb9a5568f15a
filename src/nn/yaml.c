/* Networks from YAML. `layers:` is a list; each item is a kind ("relu") or one kind with its options, which are those of the
 * C functions:
 *   - conv2d: {filters: 32, kernel: 5, padding: 2, name: stem}
 *   - max_pool: {kernel: 2}
 *   - block: {name: layer1, repeat: 3, layers: [...]}          # members are named "layer1.0.", "layer1.1.", ...
 *   - residual: {layers: [...], shortcut: [...]}                # the sum of both; no shortcut: the input itself
 *   - parallel: {branches: [[...], [...]]}                      # channels joined
 *   - add: {from: stem}                                         # an earlier layer, added to the one before
 * `from` names the input of any layer: of the same block, or of those around it. `units: classes` takes their number from
 * the data. */
#include "nn/layer.h"
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define DEEPEST 12
#define MOST_REPEATS 1000

/* The options of any layer; each begins with its name. */
typedef union options {
    const char *name;
    mcl_conv2d_options conv2d;
    mcl_dense_options dense;
    mcl_batch_norm_options batch_norm;
    mcl_activation_options activation;
    mcl_pool_options pool;
    mcl_dropout_options dropout;
    mcl_pad_options pad;
    mcl_slice_options slice;
    mcl_simple_options simple;
} options;

typedef enum field_kind {
    FIELD_END, FIELD_INT, FIELD_WIDTH_PADDING, FIELD_UNITS, FIELD_FLOAT, FIELD_BOOL, FIELD_ACTIVATION
} field_kind;
typedef struct field { const char *key; field_kind kind; size_t offset; double low, high; } field;

#define LARGEST (1 << 24)
#define SIZE(type, key, low) {#key, FIELD_INT, offsetof(mcl_##type##_options, key), low, LARGEST}
#define OTHER(type, key, kind, low, high) {#key, FIELD_##kind, offsetof(mcl_##type##_options, key), low, high}

static const field conv2d_fields[] = {
    SIZE(conv2d, filters, 1), SIZE(conv2d, kernel, 1), SIZE(conv2d, kernel_w, 1), SIZE(conv2d, stride, 1),
    SIZE(conv2d, stride_w, 1), SIZE(conv2d, padding, 0), OTHER(conv2d, padding_w, WIDTH_PADDING, 0, LARGEST),
    SIZE(conv2d, dilation, 1), SIZE(conv2d, dilation_w, 1), SIZE(conv2d, groups, 1), OTHER(conv2d, no_bias, BOOL, 0, 0), {0}};
static const field dense_fields[] = {OTHER(dense, units, UNITS, 1, LARGEST), OTHER(dense, no_bias, BOOL, 0, 0), {0}};
static const field batch_norm_fields[] = {
    OTHER(batch_norm, eps, FLOAT, 1e-12, 1), OTHER(batch_norm, momentum, FLOAT, 1e-6, 1), {0}};
static const field activation_fields[] = {
    OTHER(activation, kind, ACTIVATION, 0, 0), OTHER(activation, slope, FLOAT, 1e-6, 0.999999), {0}};
static const field slope_fields[] = {OTHER(activation, slope, FLOAT, 1e-6, 0.999999), {0}};
static const field max_pool_fields[] = {
    SIZE(pool, kernel, 1), SIZE(pool, kernel_w, 1), SIZE(pool, stride, 1), SIZE(pool, stride_w, 1), SIZE(pool, padding, 0),
    OTHER(pool, padding_w, WIDTH_PADDING, 0, LARGEST), {0}};
static const field avg_pool_fields[] = {
    SIZE(pool, kernel, 1), SIZE(pool, kernel_w, 1), SIZE(pool, stride, 1), SIZE(pool, stride_w, 1), SIZE(pool, padding, 0),
    OTHER(pool, padding_w, WIDTH_PADDING, 0, LARGEST), OTHER(pool, exclude_padding, BOOL, 0, 0), {0}};
static const field dropout_fields[] = {OTHER(dropout, drop, FLOAT, 0, 0.999), {0}};
static const field pad_fields[] = {
    SIZE(pad, top, 0), SIZE(pad, bottom, 0), SIZE(pad, left, 0), SIZE(pad, right, 0), SIZE(pad, channels_before, 0),
    SIZE(pad, channels_after, 0), {0}};
static const field slice_fields[] = {
    SIZE(slice, y, 0), SIZE(slice, x, 0), SIZE(slice, channel, 0), SIZE(slice, height, 1), SIZE(slice, width, 1),
    SIZE(slice, channels, 1), {0}};
static const field no_fields[] = {{0}};

/* How each kind is made from its inputs. */
#define MAKE(kind, member)                                                                                          \
    static mcl_tensor make_##kind(mcl_network *network, const mcl_tensor *x, int count, const options *given)       \
    {                                                                                                               \
        (void)count;                                                                                                \
        return mcl_##kind(network, x[0], &given->member);                                                           \
    }
MAKE(conv2d, conv2d)
MAKE(dense, dense)
MAKE(batch_norm, batch_norm)
MAKE(activation, activation)
MAKE(max_pool, pool)
MAKE(avg_pool, pool)
MAKE(global_avg_pool, simple)
MAKE(dropout, dropout)
MAKE(slice, slice)
MAKE(pad, pad)
MAKE(flatten, simple)

static mcl_tensor make_add(mcl_network *network, const mcl_tensor *x, int count, const options *given)
{
    (void)count;
    return mcl_add(network, x[0], x[1], &given->simple);
}

static mcl_tensor make_concat(mcl_network *network, const mcl_tensor *x, int count, const options *given)
{
    return mcl_concat(network, x, count, &given->simple);
}

typedef struct builder { mcl_network *network; int classes, blocks, depth; } builder;
typedef struct scope { const struct scope *around; char prefix[MCL__LAYER_NAME]; } scope;

typedef mcl_tensor (*make_function)(mcl_network *, const mcl_tensor *, int, const options *);
typedef mcl_status (*structure_function)(builder *, const scope *, const mcl__yaml_node *, mcl_tensor *, mcl_error *);
static mcl_status add_block(builder *b, const scope *in, const mcl__yaml_node *node, mcl_tensor *x, mcl_error *error);
static mcl_status add_residual(builder *b, const scope *in, const mcl__yaml_node *node, mcl_tensor *x, mcl_error *error);
static mcl_status add_parallel(builder *b, const scope *in, const mcl__yaml_node *node, mcl_tensor *x, mcl_error *error);

/* Layers have fields, the least and most inputs, and a function; structures have a function of their own. */
static const struct kind {
    const char *name;
    const field *fields;
    int least, most;
    make_function make;
    mcl_activation_kind act;
    structure_function structure;
} kinds[] = {
    {"conv2d", conv2d_fields, 1, 1, make_conv2d, 0, NULL},
    {"dense", dense_fields, 1, 1, make_dense, 0, NULL},
    {"batch_norm", batch_norm_fields, 1, 1, make_batch_norm, 0, NULL},
    {"activation", activation_fields, 1, 1, make_activation, 0, NULL},
    {"relu", no_fields, 1, 1, make_activation, MCL_RELU, NULL},
    {"relu6", no_fields, 1, 1, make_activation, MCL_RELU6, NULL},
    {"leaky_relu", slope_fields, 1, 1, make_activation, MCL_LEAKY_RELU, NULL},
    {"sigmoid", no_fields, 1, 1, make_activation, MCL_SIGMOID, NULL},
    {"tanh", no_fields, 1, 1, make_activation, MCL_TANH, NULL},
    {"max_pool", max_pool_fields, 1, 1, make_max_pool, 0, NULL},
    {"avg_pool", avg_pool_fields, 1, 1, make_avg_pool, 0, NULL},
    {"global_avg_pool", no_fields, 1, 1, make_global_avg_pool, 0, NULL},
    {"dropout", dropout_fields, 1, 1, make_dropout, 0, NULL},
    {"add", no_fields, 2, 2, make_add, 0, NULL},
    {"concat", no_fields, 2, MCL__MAX_OPERANDS, make_concat, 0, NULL},
    {"slice", slice_fields, 1, 1, make_slice, 0, NULL},
    {"pad", pad_fields, 1, 1, make_pad, 0, NULL},
    {"flatten", no_fields, 1, 1, make_flatten, 0, NULL},
    {"block", NULL, 0, 0, NULL, 0, add_block},
    {"residual", NULL, 0, 0, NULL, 0, add_residual},
    {"parallel", NULL, 0, 0, NULL, 0, add_parallel},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static mcl_status read_field(const builder *b, const field *f, const mcl__yaml_node *node, options *target, mcl_error *error)
{
    static const char *const activations[] = {"relu", "relu6", "leaky_relu", "sigmoid", "tanh"};
    void *at = (char *)target + f->offset;
    int64_t whole = 0;
    double real = 0;
    int choice = 0;
    switch (f->kind) {
    case FIELD_BOOL: return mcl__yaml_bool(node, at, error);
    case FIELD_FLOAT:
        MCL_TRY(mcl__yaml_double(node, f->low, f->high, &real, error));
        *(float *)at = (float)real;
        return MCL_OK;
    case FIELD_ACTIVATION:
        MCL_TRY(mcl__yaml_choice(node, activations, 5, &choice, error));
        *(mcl_activation_kind *)at = (mcl_activation_kind)choice;
        return MCL_OK;
    case FIELD_UNITS:
        if (node->text && !strcmp(node->text, "classes")) {
            if (b->classes <= 0) return mcl__yaml_fail(node, error, "the number of classes is not known here: write it");
            *(int *)at = b->classes;
            return MCL_OK;
        }
        break;
    default: break;
    }
    MCL_TRY(mcl__yaml_int(node, (int64_t)f->low, (int64_t)f->high, &whole, error));
    *(int *)at = f->kind == FIELD_WIDTH_PADDING && whole == 0 ? -1 : (int)whole;
    return MCL_OK;
}

/* name and from, and the kind's own keys. */
static mcl_status read_options(const builder *b, const struct kind *kind, const mcl__yaml_node *node, options *target,
                               mcl_error *error)
{
    const char *allowed[24] = {"name", "from"};
    int count = 2;
    memset(target, 0, sizeof *target);
    if (kind->make == make_activation) target->activation.kind = kind->act;
    for (const field *f = kind->fields; f->key; f++) allowed[count++] = f->key;
    if (mcl__yaml_is_null(node)) return MCL_OK;
    MCL_TRY(mcl__yaml_expect(node, MCL__YAML_MAPPING, error));
    MCL_TRY(mcl__yaml_check_keys(node, allowed, count, error));
    for (const field *f = kind->fields; f->key; f++) {
        const mcl__yaml_node *value = mcl__yaml_find(node, f->key);
        if (value) MCL_TRY(read_field(b, f, value, target, error));
    }
    return MCL_OK;
}

/* prefix + name; *path is NULL when there is no name. */
static mcl_status read_name(const scope *in, const mcl__yaml_node *node, scope *buffer, const char **path, mcl_error *error)
{
    const mcl__yaml_node *name = mcl__yaml_find(node, "name");
    const char *text = NULL;
    *path = NULL;
    if (!name) return MCL_OK;
    MCL_TRY(mcl__yaml_text(name, &text, error));
    int length = snprintf(buffer->prefix, sizeof buffer->prefix, "%s%s", in->prefix, text);
    if (length >= (int)sizeof buffer->prefix) return mcl__yaml_fail(name, error, "the name is too long");
    *path = buffer->prefix;
    return MCL_OK;
}

/* An earlier layer's output, by its name in this scope or in one around it. */
static mcl_status resolve(const builder *b, const scope *in, const mcl__yaml_node *node, mcl_tensor *x, mcl_error *error)
{
    const char *name = NULL;
    MCL_TRY(mcl__yaml_text(node, &name, error));
    for (const scope *s = in; s; s = s->around) {
        char path[2 * MCL__LAYER_NAME];
        int length = snprintf(path, sizeof path, "%s%s", s->prefix, name);
        const mcl__layer *layer = length < (int)sizeof path ? mcl__layer_find(b->network, path) : NULL;
        if (!layer) continue;
        *x = (mcl_tensor)(layer - b->network->layer);
        return MCL_OK;
    }
    return mcl__yaml_fail(node, error, "there is no earlier layer \"%s\"", name);
}

/* The inputs: `from`, or the layer before. A single `from` of a layer with two inputs joins the layer before. */
static mcl_status read_inputs(const builder *b, const scope *in, const struct kind *kind, const mcl__yaml_node *node,
                              mcl_tensor before, mcl_tensor *x, int *count, mcl_error *error)
{
    const mcl__yaml_node *from = mcl__yaml_find(node, "from");
    *count = 0;
    if (from && from->kind == MCL__YAML_SEQUENCE) {
        for (const mcl__yaml_node *child = from->first; child && *count < MCL__MAX_OPERANDS; child = child->next)
            MCL_TRY(resolve(b, in, child, &x[(*count)++], error));
        if (from->count >= kind->least && from->count <= kind->most) return MCL_OK;
        return mcl__yaml_fail(from, error, "%s takes %d to %d inputs, not %d", kind->name, kind->least, kind->most, from->count);
    }
    if (!from || kind->least > 1) x[(*count)++] = before;
    if (from) MCL_TRY(resolve(b, in, from, &x[(*count)++], error));
    if (*count >= kind->least) return MCL_OK;
    return mcl__yaml_fail(node, error, "%s needs `from`: the other input", kind->name);
}

static mcl_status made(const builder *b, const mcl__yaml_node *node, mcl_tensor y, mcl_tensor *x, mcl_error *error)
{
    if (y < 0) return mcl__yaml_fail(node, error, "%s", b->network->error.text);
    *x = y;
    return MCL_OK;
}

/* item: where it stands; node: its options, or NULL. */
static mcl_status add_layer(const builder *b, const scope *in, const struct kind *kind, const mcl__yaml_node *item,
                            const mcl__yaml_node *node, mcl_tensor *x, mcl_error *error)
{
    options given;
    scope buffer;
    mcl_tensor inputs[MCL__MAX_OPERANDS];
    int count;
    if (!node && kind->least > 1) return mcl__yaml_fail(item, error, "%s needs `from`: the other input", kind->name);
    MCL_TRY(read_options(b, kind, node, &given, error));
    MCL_TRY(read_name(in, node, &buffer, &given.name, error));
    MCL_TRY(read_inputs(b, in, kind, node ? node : item, *x, inputs, &count, error));
    const mcl__yaml_node *drop = kind->make == make_dropout ? mcl__yaml_find(node, "drop") : NULL;
    if (drop && given.dropout.drop <= 0) { /* written as 0: no dropout, where C's 0 is the default */
        *x = inputs[0];
        return MCL_OK;
    }
    return made(b, item, kind->make(b->network, inputs, count, &given), x, error);
}

static mcl_status add_item(builder *b, const scope *in, const mcl__yaml_node *item, mcl_tensor *x, mcl_error *error)
{
    const char *names[KINDS];
    for (size_t i = 0; i < KINDS; i++) names[i] = kinds[i].name;
    if (item->kind == MCL__YAML_SEQUENCE) return mcl__yaml_fail(item, error, "a layer is a kind, or one kind with its options");
    const mcl__yaml_node *options_node = NULL;
    const char *name = NULL;
    if (item->kind == MCL__YAML_MAPPING) {
        if (item->count != 1)
            return mcl__yaml_fail(item, error, "a layer is one kind with its options, {conv2d: {...}}, but %d keys are here "
                                  "(indent the options below the kind)", item->count);
        MCL_TRY(mcl__yaml_check_keys(item, names, KINDS, error));
        options_node = item->first;
        name = options_node->key;
    } else {
        MCL_TRY(mcl__yaml_text(item, &name, error));
    }
    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(kinds[i].name, name)) continue;
        if (!kinds[i].structure) return add_layer(b, in, &kinds[i], item, options_node, x, error);
        if (!options_node) return mcl__yaml_fail(item, error, "%s needs its members", name);
        return kinds[i].structure(b, in, options_node, x, error);
    }
    const char *near = mcl__nearest(name, names, KINDS);
    return near ? mcl__yaml_fail(item, error, "unknown kind of layer \"%s\"; did you mean \"%s\"?", name, near)
                : mcl__yaml_fail(item, error, "unknown kind of layer \"%s\"", name);
}

static mcl_status add_items(builder *b, const scope *in, const mcl__yaml_node *list, mcl_tensor *x, mcl_error *error)
{
    MCL_TRY(mcl__yaml_expect(list, MCL__YAML_SEQUENCE, error));
    if (b->depth == DEEPEST) return mcl__yaml_fail(list, error, "blocks are nested more than %d deep", DEEPEST);
    b->depth++;
    for (const mcl__yaml_node *item = list->first; item; item = item->next) MCL_TRY(add_item(b, in, item, x, error));
    b->depth--;
    return MCL_OK;
}

/* A structure's keys, and the scope of its members: prefix "name." */
static mcl_status enter(const scope *in, const mcl__yaml_node *node, const char *const *keys, int count, const char *required,
                        scope *inner, mcl_error *error)
{
    const char *path;
    MCL_TRY(mcl__yaml_expect(node, MCL__YAML_MAPPING, error));
    MCL_TRY(mcl__yaml_check_keys(node, keys, count, error));
    if (!mcl__yaml_find(node, required)) return mcl__yaml_fail(node, error, "%s is missing", required);
    inner->around = in;
    MCL_TRY(read_name(in, node, inner, &path, error));
    if (!path) memcpy(inner->prefix, in->prefix, sizeof inner->prefix);
    else if (strlen(path) + 1 < sizeof inner->prefix) strcat(inner->prefix, ".");
    return MCL_OK;
}

static mcl_status extend(const mcl__yaml_node *node, const scope *in, const char *name, int index, scope *out, mcl_error *error)
{
    char text[2 * MCL__LAYER_NAME];
    int length = snprintf(text, sizeof text, "%s%s%d.", in->prefix, name, index);
    out->around = in;
    if (length >= MCL__LAYER_NAME) return mcl__yaml_fail(node, error, "the name is too long");
    memcpy(out->prefix, text, (size_t)length + 1);
    return MCL_OK;
}

static mcl_status add_block(builder *b, const scope *in, const mcl__yaml_node *node, mcl_tensor *x, mcl_error *error)
{
    static const char *const keys[] = {"name", "repeat", "layers"};
    scope inner, one;
    int64_t repeat = 1;
    MCL_TRY(enter(in, node, keys, 3, "layers", &inner, error));
    const mcl__yaml_node *layers = mcl__yaml_find(node, "layers"), *times = mcl__yaml_find(node, "repeat");
    if (!times) return add_items(b, &inner, layers, x, error);
    MCL_TRY(mcl__yaml_int(times, 1, MOST_REPEATS, &repeat, error));
    char unnamed[32] = "";
    if (!mcl__yaml_find(node, "name")) snprintf(unnamed, sizeof unnamed, "block_%d.", ++b->blocks);
    for (int64_t i = 0; i < repeat; i++) {
        size_t before = b->network->layers;
        MCL_TRY(extend(node, &inner, unnamed, (int)i, &one, error));
        MCL_TRY(add_items(b, &one, layers, x, error));
        if (b->network->layers == before) /* nested blocks would repeat for ever */
            return mcl__yaml_fail(layers, error, "a block that repeats needs layers");
    }
    return MCL_OK;
}

/* "prefix.what" where the structure has a name of its own, else NULL: a counted one. */
static const char *member(const scope *in, const scope *inner, const char *what, char path[2 * MCL__LAYER_NAME])
{
    if (!strcmp(in->prefix, inner->prefix)) return NULL;
    snprintf(path, 2 * MCL__LAYER_NAME, "%s%s", inner->prefix, what);
    return path;
}

static mcl_status add_residual(builder *b, const scope *in, const mcl__yaml_node *node, mcl_tensor *x, mcl_error *error)
{
    static const char *const keys[] = {"name", "layers", "shortcut"};
    scope inner;
    char path[2 * MCL__LAYER_NAME];
    MCL_TRY(enter(in, node, keys, 3, "layers", &inner, error));
    mcl_tensor body = *x, shortcut = *x;
    MCL_TRY(add_items(b, &inner, mcl__yaml_find(node, "layers"), &body, error));
    if (!mcl__yaml_is_null(mcl__yaml_find(node, "shortcut")))
        MCL_TRY(add_items(b, &inner, mcl__yaml_find(node, "shortcut"), &shortcut, error));
    mcl_simple_options given = {member(in, &inner, "add", path)};
    return made(b, node, mcl_add(b->network, body, shortcut, &given), x, error);
}

static mcl_status add_parallel(builder *b, const scope *in, const mcl__yaml_node *node, mcl_tensor *x, mcl_error *error)
{
    static const char *const keys[] = {"name", "branches"};
    scope inner, one;
    char path[2 * MCL__LAYER_NAME];
    mcl_tensor y[MCL__MAX_OPERANDS];
    int count = 0;
    MCL_TRY(enter(in, node, keys, 2, "branches", &inner, error));
    const mcl__yaml_node *branches = mcl__yaml_find(node, "branches");
    MCL_TRY(mcl__yaml_expect(branches, MCL__YAML_SEQUENCE, error));
    if (branches->count < 1 || branches->count > MCL__MAX_OPERANDS)
        return mcl__yaml_fail(branches, error, "there are %d branches; 1 to %d are possible", branches->count, MCL__MAX_OPERANDS);
    bool named = strcmp(in->prefix, inner.prefix) != 0;
    for (const mcl__yaml_node *branch = branches->first; branch; branch = branch->next, count++) {
        y[count] = *x;
        if (named) MCL_TRY(extend(node, &inner, "", count, &one, error));
        MCL_TRY(add_items(b, named ? &one : &inner, branch, &y[count], error));
    }
    mcl_simple_options given = {member(in, &inner, "concat", path)};
    return made(b, node, mcl_concat(b->network, y, count, &given), x, error);
}

/* input: [H, W, C] */
static mcl_status read_input(const mcl__yaml_node *node, int size[3], mcl_error *error)
{
    int64_t value = 0;
    if (mcl__yaml_is_null(node)) return MCL_OK;
    MCL_TRY(mcl__yaml_expect(node, MCL__YAML_SEQUENCE, error));
    if (node->count != 3)
        return mcl__yaml_fail(node, error, "the input is [height, width, channels], but has %d sizes", node->count);
    for (int i = 0; i < 3; i++) {
        MCL_TRY(mcl__yaml_int(mcl__yaml_at(node, i), 1, LARGEST, &value, error));
        size[i] = (int)value;
    }
    return MCL_OK;
}

static mcl_status by_name(const mcl__yaml_node *node, const int size[3], int classes, mcl_network **network, mcl_error *error)
{
    const char *name = NULL;
    mcl_error own = {0};
    MCL_TRY(mcl__yaml_text(node, &name, error));
    if (mcl_network_by_name(name, size[0], size[1], size[2], classes, network, &own) == MCL_OK) return MCL_OK;
    return mcl__yaml_fail(node, error, "%s", own.text);
}

static mcl_status build(builder *b, const mcl__yaml_node *node, const int size[3], mcl_error *error)
{
    const mcl__yaml_node *layers = mcl__yaml_find(node, "layers");
    scope top = {0};
    mcl_error own = {0};
    if (size[0] == 0) return mcl__yaml_fail(node, error, "input: [height, width, channels] is missing");
    mcl_tensor x = mcl_input(b->network, size[0], size[1], size[2]);
    MCL_TRY(add_items(b, &top, layers, &x, error));
    if (mcl_network_finish(b->network, x, &own) != MCL_OK) return mcl__yaml_fail(layers, error, "%s", own.text);
    if (b->classes > 0 && mcl_network_classes(b->network) != b->classes)
        return mcl__yaml_fail(layers, error, "layer \"%s\" gives (%d), but the data has %d classes", b->network->layer[x].name,
                              mcl_network_classes(b->network), b->classes);
    return MCL_OK;
}

mcl_status mcl__network_from_yaml(const mcl__yaml_node *node, int height, int width, int channels, int classes,
                                  mcl_network **network, mcl_error *error)
{
    static const char *const keys[] = {"name", "input", "layers"};
    int size[3] = {height, width, channels};
    *network = NULL;
    if (node->kind == MCL__YAML_SCALAR) return by_name(node, size, classes, network, error);
    MCL_TRY(mcl__yaml_expect(node, MCL__YAML_MAPPING, error));
    MCL_TRY(mcl__yaml_check_keys(node, keys, 3, error));
    const mcl__yaml_node *name = mcl__yaml_find(node, "name");
    MCL_TRY(read_input(mcl__yaml_find(node, "input"), size, error));
    if (!mcl__yaml_find(node, "layers")) {
        if (name) return by_name(name, size, classes, network, error);
        return mcl__yaml_fail(node, error, "a network needs layers, or the name of a ready-made one");
    }
    const char *text = NULL;
    MCL_TRY(mcl__yaml_text(name, &text, error));
    builder b = {.network = mcl_network_create(text), .classes = classes};
    if (!b.network) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a network");
    mcl_status status = build(&b, node, size, error);
    if (status == MCL_OK) *network = b.network;
    else mcl_network_destroy(b.network);
    return status;
}
