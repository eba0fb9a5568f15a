/* Inference from a checkpoint on pixels in memory: a camera's frame, say. Here they come from a data set, so that the answers
 * can be judged, or from picture files.
 *   05_inference CHECKPOINT|RUN [DEVICE [DATA|PICTURE...]] */
#include <monocle/monocle.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 8, TOP = 3 };

/* The most likely classes, largest first. */
static void print_answer(const mcl_predictor *predictor, const char *what, const float *probability)
{
    int classes = mcl_predictor_classes(predictor), shown[TOP];
    printf("%-24s", what);
    for (int t = 0; t < TOP && t < classes; t++) {
        int best = -1;
        for (int c = 0; c < classes; c++) {
            bool taken = false;
            for (int before = 0; before < t; before++) taken |= shown[before] == c;
            if (!taken && (best < 0 || probability[c] > probability[best])) best = c;
        }
        shown[t] = best;
        printf("  %s %.1f %%", mcl_predictor_class_name(predictor, best), 100 * (double)probability[best]);
    }
    printf("\n");
}

/* Bytes (H, W, C) from the first test pictures of a data set. Preprocessing (mean and deviation, as fitted in training) is in
 * the checkpoint and happens on the device: the predictor takes pixels as they are. */
static mcl_status from_data(mcl_predictor *predictor, const char *path, mcl_error *error)
{
    int height, width, channels, count, classes = mcl_predictor_classes(predictor);
    mcl_resize resize;
    mcl_predictor_input(predictor, &height, &width, &channels, &resize);
    mcl_dataset_options options = {.height = height, .width = width, .channels = channels, .resize = resize};
    mcl_dataset *data;
    mcl_status status = mcl_dataset_open(path, &options, &data, error);
    if (status != MCL_OK) return status;

    const int32_t *samples = mcl_dataset_part(data, MCL_PART_TEST, &count);
    if (count == 0) samples = mcl_dataset_part(data, MCL_PART_TRAIN, &count);
    if (count > BATCH) count = BATCH;
    uint8_t *pixels = malloc((size_t)BATCH * height * width * channels);
    float *probabilities = malloc((size_t)BATCH * classes * sizeof *probabilities);
    status = pixels && probabilities ? mcl_dataset_read(data, samples, count, pixels, error) : MCL_ERROR_MEMORY;
    if (status == MCL_OK) status = mcl_predictor_run(predictor, pixels, count, probabilities, error);
    for (int i = 0; i < count && status == MCL_OK; i++) {
        char what[64];
        snprintf(what, sizeof what, "a picture of %s:", mcl_dataset_class_name(data, mcl_dataset_label(data, samples[i])));
        print_answer(predictor, what, probabilities + (size_t)i * classes);
    }
    free(pixels);
    free(probabilities);
    mcl_dataset_close(data);
    return status;
}

static mcl_status from_picture(mcl_predictor *predictor, const char *path, mcl_error *error)
{
    int height, width, channels;
    mcl_resize resize;
    mcl_predictor_input(predictor, &height, &width, &channels, &resize);
    uint8_t *pixels = malloc((size_t)height * width * channels);
    float *probabilities = malloc((size_t)mcl_predictor_classes(predictor) * sizeof *probabilities);
    mcl_status status = pixels && probabilities ? MCL_OK : MCL_ERROR_MEMORY;
    if (status == MCL_OK) status = mcl_picture_read(path, height, width, channels, resize, pixels, error);
    if (status == MCL_OK) status = mcl_predictor_run(predictor, pixels, 1, probabilities, error);
    if (status == MCL_OK) print_answer(predictor, path, probabilities);
    free(pixels);
    free(probabilities);
    return status;
}

static bool is_picture(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && (strcmp(dot, ".png") == 0 || strcmp(dot, ".jpg") == 0 || strcmp(dot, ".jpeg") == 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: 05_inference CHECKPOINT|RUN [DEVICE [DATA|PICTURE...]]\n");
        return 2;
    }
    mcl_device *device = NULL;
    mcl_predictor *predictor = NULL;
    mcl_error error = {0};
    mcl_status status = mcl_device_open(argc > 2 ? argv[2] : NULL, NULL, &device, &error);

    /* The checkpoint describes its network, unless that was built in C: then hand the network in. */
    if (status == MCL_OK) status = mcl_predictor_open(device, NULL, argv[1], BATCH, &predictor, &error);
    if (status == MCL_OK)
        printf("%s: %lld parameters, %d classes, on %s\n", mcl_network_name(mcl_predictor_network(predictor)),
               (long long)mcl_network_parameter_count(mcl_predictor_network(predictor)), mcl_predictor_classes(predictor),
               mcl_device_get_info(device)->name);
    if (status == MCL_OK && argc <= 3) status = from_data(predictor, "samples/data/fashion-mnist", &error);
    for (int i = 3; i < argc && status == MCL_OK; i++)
        status = is_picture(argv[i]) ? from_picture(predictor, argv[i], &error) : from_data(predictor, argv[i], &error);

    if (status != MCL_OK) fprintf(stderr, "error: %s\n", *error.text ? error.text : mcl_status_sentence(status));
    mcl_predictor_close(predictor);
    mcl_device_close(device);
    return status == MCL_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
