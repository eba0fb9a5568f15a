/* A training loop of one's own, which decides by itself when to look, to validate and to stop; then the same network through
 * mcl_trainer_run with a callback that stops it.
 *   04_own_loop [DEVICE [DATA [EPOCHS [LIMIT [CHECKPOINT]]]]]
 * LIMIT takes only so many pictures of each part; 0 takes all. CHECKPOINT is a file for the best weights, for 05_inference. */
#include <monocle/monocle.h>
#include <stdio.h>
#include <stdlib.h>

/* Ends when the validation has not improved for one epoch, or after `epochs`. The best weights are saved, where asked. */
static mcl_status own_loop(mcl_trainer *trainer, int epochs, const char *checkpoint, mcl_error *error)
{
    double best = 0;
    for (int epoch = 1; epoch <= epochs; epoch++) {
        mcl_metrics train, validation;
        bool epoch_end = false;
        mcl_status status;
        while (!epoch_end) {
            int done = 0;
            /* Steps are enqueued; only asking for metrics waits for the device. So ask now and then, not each step. */
            if ((status = mcl_trainer_steps(trainer, 50, &done, &epoch_end, error)) != MCL_OK) return status;
            if ((status = mcl_trainer_metrics(trainer, &train, error)) != MCL_OK) return status;
            printf("  epoch %d, %5lld pictures: loss %.4f\n", epoch, (long long)train.samples, train.loss);
        }
        if ((status = mcl_trainer_evaluate(trainer, MCL_PART_VALIDATION, &validation, error)) != MCL_OK) return status;
        printf("epoch %d: training %.2f %%, validation %.2f %%\n", epoch, 100 * train.accuracy, 100 * validation.accuracy);
        if (validation.accuracy <= best) return MCL_OK;
        best = validation.accuracy;
        if (checkpoint && (status = mcl_trainer_save(trainer, checkpoint, error)) != MCL_OK) return status;
    }
    return MCL_OK;
}

/* What the callback needs to know, and what it leaves behind. */
typedef struct watcher {
    mcl_trainer *trainer;
    double wanted; /* accuracy to stop at */
    int epochs;
} watcher;

static void on_event(const mcl_event *event, void *user)
{
    watcher *watch = user;
    if (event->kind != MCL_EVENT_EPOCH) return;
    watch->epochs = event->epoch;
    printf("epoch %d of %d: validation %.2f %%, learning rate %.4f, gradient norm %.3f\n", event->epoch, event->epochs,
           100 * event->validation.accuracy, (double)event->learning_rate, (double)event->gradient_norm);
    if (event->validation.accuracy >= watch->wanted) mcl_trainer_stop(watch->trainer);
}

static mcl_status with_callback(mcl_device *device, const mcl_network *network, mcl_dataset *data, const mcl_train_options *options,
                                mcl_error *error)
{
    watcher watch = {.wanted = 0.8};
    mcl_status status = mcl_trainer_create(device, network, data, options, &watch.trainer, error);
    if (status != MCL_OK) return status;
    status = mcl_trainer_run(watch.trainer, on_event, &watch, error);
    if (status == MCL_ERROR_INTERRUPTED) { /* our own stop: no failure */
        printf("stopped at %.0f %% after epoch %d: %s\n", 100 * watch.wanted, watch.epochs, error ? error->text : "");
        status = MCL_OK;
    }
    mcl_trainer_destroy(watch.trainer);
    return status;
}

int main(int argc, char **argv)
{
    const char *selector = argc > 1 ? argv[1] : NULL, *path = argc > 2 ? argv[2] : "samples/data/fashion-mnist";
    mcl_device *device = NULL;
    mcl_dataset *data = NULL;
    mcl_network *network = NULL;
    mcl_trainer *trainer = NULL;
    mcl_error error = {0};
    int result = EXIT_FAILURE;

    if (mcl_device_open(selector, NULL, &device, &error) != MCL_OK) goto done;
    mcl_dataset_options part = {.validation = 0.1, .seed = 1, .limit = argc > 4 ? atoi(argv[4]) : 0};
    if (mcl_dataset_open(path, &part, &data, &error) != MCL_OK) goto done;
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    mcl_status status = mcl_network_by_name("lenet", info->height, info->width, info->channels, info->classes, &network, &error);
    if (status != MCL_OK) goto done;

    mcl_train_options options = mcl_train_defaults();
    options.epochs = argc > 3 ? atoi(argv[3]) : 3;
    options.learning_rate = 0.03f;
    options.description = "network: lenet"; /* so that a checkpoint can be opened without saying what network it is of */
    printf("a loop of our own, on %s\n", mcl_device_get_info(device)->name);
    if (mcl_trainer_create(device, network, data, &options, &trainer, &error) != MCL_OK) goto done;
    if (own_loop(trainer, options.epochs, argc > 5 ? argv[5] : NULL, &error) != MCL_OK) goto done;

    mcl_metrics test;
    if (mcl_trainer_evaluate(trainer, MCL_PART_TEST, &test, &error) != MCL_OK) goto done;
    printf("test: %.2f %% of %lld pictures\n", 100 * test.accuracy, (long long)test.samples);

    printf("\nthe same with a callback\n");
    if (with_callback(device, network, data, &options, &error) != MCL_OK) goto done;
    result = EXIT_SUCCESS;
done:
    if (result != EXIT_SUCCESS) fprintf(stderr, "error: %s\n", *error.text ? error.text : mcl_status_sentence(error.status));
    mcl_trainer_destroy(trainer);
    mcl_network_destroy(network);
    mcl_dataset_close(data);
    mcl_device_close(device);
    return result;
}
