/* Networks by name: what their files share. */
#ifndef MCL_NN_ZOO_H
#define MCL_NN_ZOO_H
#include "nn/layer.h"

/* A layer's path while it is built: mcl__path("layer%d.%d", 1, 0).text */
typedef struct mcl__path { char text[MCL__LAYER_NAME]; } mcl__path;
mcl__path mcl__path_make(const char *format, ...) MCL_PRINTF(1, 2);

/* Convolution without bias of size kernel, padded to keep the size at stride 1, and batch normalisation. */
typedef struct mcl__conv_norm { mcl__path conv, norm; int filters, kernel, stride, groups; } mcl__conv_norm;
mcl_tensor mcl__add_conv_norm(mcl_network *network, mcl_tensor x, const mcl__conv_norm *what);
mcl_tensor mcl__add_act(mcl_network *network, mcl_tensor x, mcl_activation_kind kind, mcl__path name);
/* flatten, and the dense layer that gives the logits. */
mcl_tensor mcl__add_classifier(mcl_network *network, mcl_tensor x, const char *name, int classes);

mcl_tensor mcl__build_resnet20(mcl_network *network, mcl_tensor x, int classes);
mcl_tensor mcl__build_resnet20a(mcl_network *network, mcl_tensor x, int classes);
mcl_tensor mcl__build_resnet18(mcl_network *network, mcl_tensor x, int classes);
mcl_tensor mcl__build_mobilenet_v2(mcl_network *network, mcl_tensor x, int classes);

#endif
