/* Networks by name: the table of them, what they share, and the plain ones (mlp, lenet, vgg11). Tensors are named as in
 * torchvision where it has the network. */
#include "nn/zoo.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

mcl__path mcl__path_make(const char *format, ...)
{
    mcl__path path;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path.text, sizeof path.text, format, arguments);
    va_end(arguments);
    return path;
}

mcl_tensor mcl__add_conv_norm(mcl_network *network, mcl_tensor x, const mcl__conv_norm *what)
{
    x = mcl_conv2d(network, x, &(mcl_conv2d_options){.name = what->conv.text, .filters = what->filters, .kernel = what->kernel,
                                                     .stride = what->stride, .padding = what->kernel / 2,
                                                     .groups = what->groups, .no_bias = true});
    return mcl_batch_norm(network, x, &(mcl_batch_norm_options){.name = what->norm.text});
}

mcl_tensor mcl__add_act(mcl_network *network, mcl_tensor x, mcl_activation_kind kind, mcl__path name)
{
    return mcl_activation(network, x, &(mcl_activation_options){.name = name.text, .kind = kind});
}

mcl_tensor mcl__add_classifier(mcl_network *network, mcl_tensor x, const char *name, int classes)
{
    x = mcl_flatten(network, x, &(mcl_simple_options){.name = "flatten"});
    return mcl_dense(network, x, &(mcl_dense_options){.name = name, .units = classes});
}

static mcl_tensor build_mlp(mcl_network *network, mcl_tensor x, int classes)
{
    x = mcl_flatten(network, x, &(mcl_simple_options){.name = "flatten"});
    for (int i = 1; i <= 2; i++) {
        x = mcl_dense(network, x, &(mcl_dense_options){.name = mcl__path_make("fc%d", i).text, .units = 512});
        x = mcl__add_act(network, x, MCL_RELU, mcl__path_make("relu%d", i));
    }
    return mcl_dense(network, x, &(mcl_dense_options){.name = "fc3", .units = classes});
}

static mcl_tensor build_lenet(mcl_network *network, mcl_tensor x, int classes)
{
    for (int i = 1; i <= 2; i++) {
        x = mcl_conv2d(network, x, &(mcl_conv2d_options){.name = mcl__path_make("conv%d", i).text, .filters = 32 * i, .kernel = 5,
                                                         .padding = 2});
        x = mcl__add_act(network, x, MCL_RELU, mcl__path_make("relu%d", i));
        x = mcl_max_pool(network, x, &(mcl_pool_options){.name = mcl__path_make("pool%d", i).text, .kernel = 2});
    }
    x = mcl__add_classifier(network, x, "fc1", 512);
    x = mcl__add_act(network, x, MCL_RELU, mcl__path_make("relu3"));
    return mcl_dense(network, x, &(mcl_dense_options){.name = "fc2", .units = classes});
}

static mcl_tensor build_vgg11(mcl_network *network, mcl_tensor x, int classes)
{
    static const int filters[] = {64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0}; /* 0: pool */
    int i = 0; /* index in torchvision's `features` */
    for (size_t step = 0; step < sizeof filters / sizeof *filters; step++) {
        mcl__path name = mcl__path_make("features.%d", i);
        if (filters[step] == 0) {
            x = mcl_max_pool(network, x, &(mcl_pool_options){.name = name.text, .kernel = 2});
            i++;
            continue;
        }
        x = mcl_conv2d(network, x, &(mcl_conv2d_options){.name = name.text, .filters = filters[step], .kernel = 3, .padding = 1});
        x = mcl_batch_norm(network, x, &(mcl_batch_norm_options){.name = mcl__path_make("features.%d", i + 1).text});
        x = mcl__add_act(network, x, MCL_RELU, mcl__path_make("features.%d", i + 2));
        i += 3;
    }
    return mcl__add_classifier(network, x, "classifier.0", classes);
}

static const struct {
    const char *name, *description;
    int height, width, channels, classes;
    mcl_tensor (*build)(mcl_network *, mcl_tensor, int);
} zoo[] = {
    {"mlp", "a multilayer perceptron: 512, 512", 28, 28, 1, 10, build_mlp},
    {"lenet", "LeNet-5 style: 5x5x32, pool, 5x5x64, pool, 512", 28, 28, 1, 10, build_lenet},
    {"resnet20", "ResNet-20 for small pictures, with projection shortcuts (He et al. 2015, option B)", 32, 32, 3, 10,
     mcl__build_resnet20},
    {"resnet20a", "ResNet-20 as published, with identity shortcuts (He et al. 2015, option A)", 32, 32, 3, 10,
     mcl__build_resnet20a},
    {"resnet18", "ResNet-18 with a 3x3 stem for small pictures", 32, 32, 3, 10, mcl__build_resnet18},
    {"vgg11", "VGG-11 with batch normalisation and one dense layer", 32, 32, 3, 10, build_vgg11},
    {"mobilenet_v2", "MobileNetV2 for small pictures: the first two strides are 1 (Sandler et al. 2018)", 32, 32, 3, 10,
     mcl__build_mobilenet_v2},
};
#define ZOO_COUNT (sizeof zoo / sizeof *zoo)

static int find(const char *name)
{
    for (size_t i = 0; i < ZOO_COUNT; i++)
        if (!strcmp(zoo[i].name, name)) return (int)i;
    return -1;
}

mcl_status mcl_network_by_name(const char *name, int height, int width, int channels, int classes, mcl_network **network,
                               mcl_error *error)
{
    *network = NULL;
    int i = find(name);
    if (i < 0) {
        char known[256] = "";
        for (size_t j = 0; j < ZOO_COUNT; j++) strcat(strcat(known, j ? ", " : ""), zoo[j].name);
        const char *near = mcl__nearest(name, mcl_network_names(), (int)ZOO_COUNT);
        if (near)
            return mcl__fail(error, MCL_ERROR_NOT_FOUND, "there is no network \"%s\"; did you mean \"%s\"? There are %s", name,
                             near, known);
        return mcl__fail(error, MCL_ERROR_NOT_FOUND, "there is no network \"%s\"; there are %s", name, known);
    }
    if (height == 0) height = zoo[i].height;
    if (width == 0) width = zoo[i].width;
    if (channels == 0) channels = zoo[i].channels;
    if (classes == 0) classes = zoo[i].classes;
    mcl_network *made = mcl_network_create(name);
    if (!made) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for network %s", name);
    mcl_tensor logits = zoo[i].build(made, mcl_input(made, height, width, channels), classes);
    mcl_error own = {0};
    mcl_status status = mcl_network_finish(made, logits, &own);
    if (status != MCL_OK) {
        mcl_network_destroy(made);
        return mcl__fail(error, status, "network %s for an input (%d, %d, %d): %s", name, height, width, channels, own.text);
    }
    *network = made;
    return MCL_OK;
}

const char *const *mcl_network_names(void)
{
    static const char *names[ZOO_COUNT + 1];
    for (size_t i = 0; i < ZOO_COUNT; i++) names[i] = zoo[i].name;
    return names;
}

const char *mcl_network_describe(const char *name)
{
    int i = find(name);
    return i < 0 ? NULL : zoo[i].description;
}
