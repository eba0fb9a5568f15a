/* MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) for small pictures: stem and first reduction keep the size. Named as
 * torchvision's, whose blocks hold "conv.<i>.0" and "conv.<i>.1" for convolution and norm with an activation, and
 * "conv.<n>", "conv.<n + 1>" for the linear projection at their end. */
#include "nn/zoo.h"

static mcl_tensor add_conv_norm_relu6(mcl_network *network, mcl_tensor x, const char *path, int filters, int kernel, int stride,
                                      int groups)
{
    x = mcl__add_conv_norm(network, x, &(mcl__conv_norm){mcl__path_make("%s.0", path), mcl__path_make("%s.1", path), filters,
                                                         kernel, stride, groups});
    return mcl__add_act(network, x, MCL_RELU6, mcl__path_make("%s.2", path));
}

/* Expand, filter each channel, project; with a shortcut where the shape stays. */
static mcl_tensor add_inverted(mcl_network *network, mcl_tensor x, const char *block, int channels, int filters, int stride,
                               int expand)
{
    int middle = channels * expand, i = 0;
    mcl_tensor y = x;
    if (expand != 1)
        y = add_conv_norm_relu6(network, y, mcl__path_make("%s.conv.%d", block, i++).text, middle, 1, 1, 1);
    y = add_conv_norm_relu6(network, y, mcl__path_make("%s.conv.%d", block, i++).text, middle, 3, stride, middle);
    y = mcl__add_conv_norm(network, y, &(mcl__conv_norm){mcl__path_make("%s.conv.%d", block, i),
                                                         mcl__path_make("%s.conv.%d", block, i + 1), filters, 1, 1, 1});
    if (stride != 1 || channels != filters) return y;
    return mcl_add(network, x, y, &(mcl_simple_options){.name = mcl__path_make("%s.add", block).text});
}

mcl_tensor mcl__build_mobilenet_v2(mcl_network *network, mcl_tensor x, int classes)
{
    static const struct { int expand, filters, blocks, stride; } groups[] = {
        {1, 16, 1, 1}, {6, 24, 2, 1}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1},
    };
    int channels = 32, index = 0;
    x = add_conv_norm_relu6(network, x, mcl__path_make("features.%d", index++).text, channels, 3, 1, 1);
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (int i = 0; i < groups[g].blocks; i++) {
            mcl__path block = mcl__path_make("features.%d", index++);
            x = add_inverted(network, x, block.text, channels, groups[g].filters, i == 0 ? groups[g].stride : 1, groups[g].expand);
            channels = groups[g].filters;
        }
    x = add_conv_norm_relu6(network, x, mcl__path_make("features.%d", index).text, 1280, 1, 1, 1);
    x = mcl_global_avg_pool(network, x, &(mcl_simple_options){.name = "avgpool"});
    return mcl__add_classifier(network, x, "classifier.1", classes);
}
