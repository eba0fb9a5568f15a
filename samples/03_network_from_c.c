/* A network built in C, trained on pictures of clothes in the IDX format (the ones in samples/data, unless told otherwise).
 *   03_network_from_c [DEVICE [DATA [STEPS [RUN]]]]
 * With STEPS it is a short look: so many steps, on a few pictures; 0 trains in full. RUN is a folder for checkpoints and log. */
#include <monocle/monocle.h>
#include <stdio.h>
#include <stdlib.h>

/* A small network with a shortcut:
 *   convolution, pool, then a residual pair of convolutions, global average, dense.
 * Layers return tensors; a failure anywhere is told by mcl_network_finish, so nothing needs checking in between. */
static mcl_tensor conv_norm_relu(mcl_network *net, mcl_tensor x, int filters)
{
    x = mcl_conv2d(net, x, &(mcl_conv2d_options){.filters = filters, .kernel = 3, .padding = 1, .no_bias = true});
    return mcl_activation(net, mcl_batch_norm(net, x, NULL), &(mcl_activation_options){.kind = MCL_RELU});
}

static mcl_status build(const mcl_dataset_info *data, mcl_network **network, mcl_error *error)
{
    mcl_network *net = *network = mcl_network_create("small-residual");
    mcl_tensor x = mcl_input(net, data->height, data->width, data->channels);
    x = conv_norm_relu(net, x, 16);
    x = mcl_max_pool(net, x, &(mcl_pool_options){.kernel = 2});
    mcl_tensor shortcut = x;
    x = conv_norm_relu(net, x, 16);
    x = mcl_conv2d(net, x, &(mcl_conv2d_options){.name = "last", .filters = 16, .kernel = 3, .padding = 1});
    x = mcl_activation(net, mcl_add(net, x, shortcut, NULL), NULL);
    x = mcl_max_pool(net, x, &(mcl_pool_options){.kernel = 2});
    x = mcl_dropout(net, mcl_flatten(net, x, NULL), &(mcl_dropout_options){.drop = 0.2f});
    x = mcl_dense(net, x, &(mcl_dense_options){.name = "classes", .units = data->classes});
    return mcl_network_finish(net, x, error);
}

static void on_event(const mcl_event *event, void *user)
{
    (void)user;
    switch (event->kind) {
    case MCL_EVENT_EPOCH:
        printf("epoch %d: loss %.4f, accuracy %.2f %%; validation %.2f %%%s; %.0f pictures a second\n", event->epoch,
               event->train.loss, 100 * event->train.accuracy, 100 * event->validation.accuracy,
               event->best ? ", the best so far" : "", event->pictures_per_second);
        break;
    case MCL_EVENT_WARNING: printf("warning: %s\n", event->message); break;
    case MCL_EVENT_DONE:
        printf("%d steps in %.1f s; test: loss %.4f, accuracy %.2f %%\n", event->step, event->seconds, event->test.loss,
               100 * event->test.accuracy);
        break;
    default: break; /* PROGRESS, several times a second; CHECKPOINT */
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *selector = argc > 1 ? argv[1] : NULL, *path = argc > 2 ? argv[2] : "samples/data/fashion-mnist";
    mcl_device *device = NULL;
    mcl_dataset *data = NULL;
    mcl_network *network = NULL;
    mcl_trainer *trainer = NULL;
    mcl_error error = {0};
    int result = EXIT_FAILURE, steps = argc > 3 ? atoi(argv[3]) : 0;

    if (mcl_device_open(selector, NULL, &device, &error) != MCL_OK) goto done;
    mcl_dataset_options split = {.validation = 0.1, .seed = 1, .limit = 64 * steps};
    if (mcl_dataset_open(path, &split, &data, &error) != MCL_OK) goto done;
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    printf("%s, %d pictures of %d x %d in %d classes\n", mcl_device_get_info(device)->name, info->count, info->height, info->width,
           info->classes);

    if (build(info, &network, &error) != MCL_OK) goto done;
    char *summary = mcl_network_summary(network, 64);
    printf("%s\n", summary ? summary : "");
    free(summary);

    mcl_train_options options = mcl_train_defaults();
    options.epochs = 4;
    options.learning_rate = 0.05f;
    options.weight_decay = 5e-4f;
    options.schedule = MCL_SCHEDULE_COSINE;
    options.crop = 2;
    options.max_steps = steps;
    options.run = argc > 4 ? argv[4] : NULL;
    if (mcl_trainer_create(device, network, data, &options, &trainer, &error) != MCL_OK) goto done;
    if (mcl_trainer_run(trainer, on_event, NULL, &error) != MCL_OK) goto done;
    result = EXIT_SUCCESS;
done:
    if (result != EXIT_SUCCESS) fprintf(stderr, "error: %s\n", *error.text ? error.text : mcl_status_sentence(error.status));
    mcl_trainer_destroy(trainer); /* in the opposite order of making; NULL does nothing */
    mcl_network_destroy(network);
    mcl_dataset_close(data);
    mcl_device_close(device);
    return result;
}
