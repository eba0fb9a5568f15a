/* Residual networks for small pictures (He et al. 2015, arXiv:1512.03385), named as torchvision's. */
#include "nn/zoo.h"

/* The shortcut of a block whose size or width changes: a projection, or every second pixel and zeros for new channels. */
static mcl_tensor add_shortcut(mcl_network *network, mcl_tensor x, const char *block, int channels, int filters, int stride,
                               bool identity)
{
    if (!identity)
        return mcl__add_conv_norm(network, x, &(mcl__conv_norm){mcl__path_make("%s.downsample.0", block),
                                                                mcl__path_make("%s.downsample.1", block), filters, 1, stride, 1});
    int more = filters - channels;
    x = mcl_avg_pool(network, x, &(mcl_pool_options){.name = mcl__path_make("%s.subsample", block).text, .kernel = 1,
                                                     .stride = stride});
    return mcl_pad(network, x, &(mcl_pad_options){.name = mcl__path_make("%s.widen", block).text, .channels_before = more / 2,
                                                  .channels_after = more - more / 2});
}

/* relu(norm(conv(relu(norm(conv(x))))) + shortcut(x)) */
static mcl_tensor add_block(mcl_network *network, mcl_tensor x, const char *block, int channels, int filters, int stride,
                            bool identity)
{
    mcl_tensor y = mcl__add_conv_norm(network, x, &(mcl__conv_norm){mcl__path_make("%s.conv1", block),
                                                                    mcl__path_make("%s.bn1", block), filters, 3, stride, 1});
    y = mcl__add_act(network, y, MCL_RELU, mcl__path_make("%s.relu1", block));
    y = mcl__add_conv_norm(network, y, &(mcl__conv_norm){mcl__path_make("%s.conv2", block), mcl__path_make("%s.bn2", block),
                                                         filters, 3, 1, 1});
    if (stride != 1 || channels != filters) x = add_shortcut(network, x, block, channels, filters, stride, identity);
    y = mcl_add(network, y, x, &(mcl_simple_options){.name = mcl__path_make("%s.add", block).text});
    return mcl__add_act(network, y, MCL_RELU, mcl__path_make("%s.relu2", block));
}

typedef struct stages { int width[4], blocks[4]; bool identity; } stages;

static mcl_tensor build(mcl_network *network, mcl_tensor x, int classes, const stages *what)
{
    int channels = what->width[0];
    x = mcl__add_conv_norm(network, x, &(mcl__conv_norm){mcl__path_make("conv1"), mcl__path_make("bn1"), channels, 3, 1, 1});
    x = mcl__add_act(network, x, MCL_RELU, mcl__path_make("relu"));
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < what->blocks[stage]; i++) {
            mcl__path block = mcl__path_make("layer%d.%d", stage + 1, i);
            int filters = what->width[stage];
            x = add_block(network, x, block.text, channels, filters, stage && i == 0 ? 2 : 1, what->identity);
            channels = filters;
        }
    x = mcl_global_avg_pool(network, x, &(mcl_simple_options){.name = "avgpool"});
    return mcl__add_classifier(network, x, "fc", classes);
}

mcl_tensor mcl__build_resnet20(mcl_network *network, mcl_tensor x, int classes)
{
    return build(network, x, classes, &(stages){{16, 32, 64, 0}, {3, 3, 3, 0}, false});
}

mcl_tensor mcl__build_resnet20a(mcl_network *network, mcl_tensor x, int classes)
{
    return build(network, x, classes, &(stages){{16, 32, 64, 0}, {3, 3, 3, 0}, true});
}

mcl_tensor mcl__build_resnet18(mcl_network *network, mcl_tensor x, int classes)
{
    return build(network, x, classes, &(stages){{64, 128, 256, 512}, {2, 2, 2, 2}, false});
}
