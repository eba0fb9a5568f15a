/* Predictors: a checkpoint's weights behind an evaluation plan, fed with pictures as bytes. */
#include "base/arena.h"
#include "base/file.h"
#include "train/checkpoint.h"
#include "train/need.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct mcl_predictor {
    mcl_device *device;
    mcl_network *owned;         /* built from the checkpoint's description */
    const mcl_network *network;
    mcl__card card;
    mcl__model *model;
    mcl__pictures pictures;     /* never resident: batches are handed in */
    mcl__feed feed;
    mcl__purpose purpose;
    uint8_t *pixels;            /* one batch */
    float *probabilities;
};

static mcl_status checkpoint_path(const char *given, char **path, mcl_error *error)
{
    static const char *const names[] = {"best", "last"};
    *path = NULL;
    if (!mcl__folder_exists(given)) {
        *path = mcl__text("%s", given);
    } else {
        for (int i = 0; i < 2; i++) {
            free(*path);
            *path = mcl__text("%s/%s.safetensors", given, names[i]);
            if (*path && mcl__file_exists(*path)) return MCL_OK;
        }
        free(*path);
        *path = NULL;
        return mcl__fail(error, MCL_ERROR_NOT_FOUND,
                         "%s has neither best.safetensors nor last.safetensors: is it the folder of a run?", given);
    }
    return *path ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
}

static mcl_status network_of(mcl_predictor *p, const mcl_network *network, const char *path, mcl_error *error)
{
    const mcl__card *card = &p->card;
    if ((p->network = network)) {
        int H, W, C;
        mcl_network_input_shape(network, &H, &W, &C);
        if (H == card->H && W == card->W && C == card->C && mcl_network_classes(network) == card->classes) return MCL_OK;
        return mcl__fail(error, MCL_ERROR_SHAPE, "%s is of a network from (%d, %d, %d) to %d classes, not from (%d, %d, %d) to %d",
                         path, card->H, card->W, card->C, card->classes, H, W, C, mcl_network_classes(network));
    }
    if (!card->network)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s does not describe its network (it was built in C): hand the network in",
                         path);
    mcl__yaml *yaml;
    MCL_TRY(mcl__yaml_parse(card->network, strlen(card->network), path, &yaml, error));
    const mcl__yaml_node *node = mcl__yaml_find(mcl__yaml_root(yaml), "network");
    mcl_status status = node ? mcl__network_from_yaml(node, card->H, card->W, card->C, card->classes, &p->owned, error)
                             : mcl__fail(error, MCL_ERROR_FORMAT, "%s: the network's description is damaged", path);
    mcl__yaml_destroy(yaml);
    p->network = p->owned;
    return status;
}

/* A plan may have all that there is but for the feed, whose memory a smaller batch would have too. */
static mcl_status out_of_memory(mcl_predictor *p, int batch, mcl_error *error)
{
    mcl__need need = {.model = p->model, .network = p->network, .pictures = &p->pictures, .evaluated = batch};
    mcl__feed_destroy(&p->feed);
    return mcl__need_advise(&need, batch, error);
}

static mcl_status open_parts(mcl_predictor *p, const mcl_network *network, const char *path, int batch, mcl_error *error)
{
    mcl__safetensors *file;
    MCL_TRY(mcl__safetensors_open(path, &file, error));
    mcl_status status = mcl__card_read(file, &p->card, error);
    if (status == MCL_OK) status = network_of(p, network, path, error);
    if (status == MCL_OK) status = mcl__model_for(p->device, p->network, NULL, &p->model, error);
    if (status == MCL_OK) status = mcl__weights_take(p->model, file, error);
    mcl__safetensors_close(file);
    MCL_TRY(status);
    const mcl__card *card = &p->card;
    MCL_TRY(mcl__pictures_create_empty(p->device, card->H, card->W, card->C, &card->preprocessing, &p->pictures, error));
    MCL_TRY(mcl__feed_create(&p->pictures, batch, batch, &p->feed, error));
    status = mcl__purpose_evaluate(p->model, p->network, &p->feed, false, &p->purpose, error);
    if (status == MCL_ERROR_MEMORY) return out_of_memory(p, batch, error);
    MCL_TRY(status);
    p->pixels = calloc((size_t)batch, (size_t)card->H * card->W * card->C);
    p->probabilities = calloc((size_t)batch * card->classes, sizeof *p->probabilities);
    return p->pixels && p->probabilities ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a batch");
}

mcl_status mcl_predictor_open(mcl_device *device, const mcl_network *network, const char *checkpoint, int batch,
                              mcl_predictor **predictor, mcl_error *error)
{
    char *path = NULL;
    if (batch < 1) return mcl__fail(error, MCL_ERROR_INVALID, "batch must be at least 1");
    mcl_predictor *p = calloc(1, sizeof *p);
    if (!p) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a predictor");
    p->device = device;
    mcl_status status = checkpoint_path(checkpoint, &path, error);
    if (status == MCL_OK) status = open_parts(p, network, path, batch, error);
    free(path);
    if (status != MCL_OK) {
        mcl_predictor_close(p);
        return status;
    }
    *predictor = p;
    return MCL_OK;
}

void mcl_predictor_close(mcl_predictor *p)
{
    if (!p) return;
    mcl__purpose_destroy(&p->purpose);
    mcl__feed_destroy(&p->feed);
    mcl__pictures_destroy(&p->pictures);
    mcl__model_destroy(p->model);
    mcl_network_destroy(p->owned);
    mcl__card_free(&p->card);
    free(p->pixels);
    free(p->probabilities);
    free(p);
}

const mcl_network *mcl_predictor_network(const mcl_predictor *p) { return p->network; }
int mcl_predictor_classes(const mcl_predictor *p) { return p->card.classes; }
const char *mcl_predictor_class_name(const mcl_predictor *p, int index) { return mcl__card_class(&p->card, index); }

void mcl_predictor_input(const mcl_predictor *p, int *height, int *width, int *channels, mcl_resize *resize)
{
    *height = p->card.H;
    *width = p->card.W;
    *channels = p->card.C;
    *resize = p->card.resize;
}

static mcl_status run_batch(mcl_predictor *p, const uint8_t *pixels, int valid, float *probabilities, mcl_error *error)
{
    uint64_t sample = (uint64_t)p->card.H * p->card.W * p->card.C, batch = (uint64_t)p->purpose.batch;
    mcl_step step = {.step = 1, .valid_samples = valid, .inverse_valid = 1.0f / (float)valid};
    memcpy(p->pixels, pixels, sample * valid);
    MCL_TRY_DEVICE(p->device, mcl_buffer_write(p->feed.place[0].batch, 0, sample * batch, p->pixels), error);
    MCL_TRY_DEVICE(p->device, mcl__plan_step(p->purpose.plan, &step), error);
    MCL_TRY_DEVICE(p->device, mcl__plan_run(p->purpose.plan, MCL__LOAD), error);
    MCL_TRY_DEVICE(p->device, mcl__plan_run(p->purpose.plan, MCL__COMPUTE), error);
    mcl__view view = mcl__plan_view(p->purpose.plan, p->purpose.probabilities);
    MCL_TRY_DEVICE(p->device,
                   mcl_buffer_read(view.buffer, view.offset, sizeof(float) * (uint64_t)valid * p->card.classes, probabilities),
                   error);
    return MCL_OK;
}

mcl_status mcl_predictor_run(mcl_predictor *p, const uint8_t *pixels, int count, float *probabilities, mcl_error *error)
{
    size_t sample = (size_t)p->card.H * p->card.W * p->card.C, batch = (size_t)p->purpose.batch;
    for (size_t first = 0; first < (size_t)count; first += batch) {
        size_t valid = (size_t)count - first < batch ? (size_t)count - first : batch;
        MCL_TRY(run_batch(p, pixels + first * sample, (int)valid, probabilities + first * p->card.classes, error));
    }
    return MCL_OK;
}

static const char *const part_names[MCL_PARTS] = {"training", "validation", "test"};

/* How many classes have a larger probability than the label's; of equals the first counts as larger. Than a NaN all are. */
static int rank_of(const float *probability, int classes, int label)
{
    int rank = 0;
    for (int c = 0; c < classes; c++)
        rank += c != label && !(probability[c] < probability[label]) && (probability[c] != probability[label] || c < label);
    return rank;
}

static int largest(const float *probability, int classes)
{
    int best = 0;
    for (int c = 1; c < classes; c++)
        if (probability[c] > probability[best]) best = c;
    return best;
}

static void count_sample(mcl_evaluation *e, const float *probability, int label)
{
    int rank = rank_of(probability, e->classes, label);
    e->samples++;
    e->loss -= log(probability[label] > 1e-38f ? probability[label] : 1e-38);
    e->top1 += rank == 0;
    e->top5 += rank < 5;
    e->confusion[(size_t)label * e->classes + largest(probability, e->classes)]++;
}

static void finish_evaluation(mcl_evaluation *e)
{
    double n = e->samples ? (double)e->samples : 1;
    e->loss /= n;
    e->top1 /= n;
    e->top5 /= n;
    for (int c = 0; c < e->classes; c++) {
        double right = (double)e->confusion[(size_t)c * e->classes + c], predicted = 0, actual = 0;
        for (int other = 0; other < e->classes; other++) {
            predicted += (double)e->confusion[(size_t)other * e->classes + c];
            actual += (double)e->confusion[(size_t)c * e->classes + other];
        }
        e->precision[c] = predicted > 0 ? right / predicted : 0;
        e->recall[c] = actual > 0 ? right / actual : 0;
        double sum = e->precision[c] + e->recall[c];
        e->f1[c] = sum > 0 ? 2 * e->precision[c] * e->recall[c] / sum : 0;
    }
}

static mcl_status check_data(const mcl_predictor *p, const mcl_dataset *data, mcl_error *error)
{
    const mcl__card *card = &p->card;
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    if (info->height != card->H || info->width != card->W || info->channels != card->C)
        return mcl__fail(error, MCL_ERROR_SHAPE, "the checkpoint takes pictures of (%d, %d, %d), the data set has (%d, %d, %d)",
                         card->H, card->W, card->C, info->height, info->width, info->channels);
    if (info->classes != card->classes)
        return mcl__fail(error, MCL_ERROR_SHAPE, "the checkpoint knows %d classes, the data set has %d", card->classes,
                         info->classes);
    for (int i = 0; i < card->classes; i++)
        if (strcmp(mcl_dataset_class_name(data, i), mcl__card_class(card, i)) != 0)
            return mcl__fail(error, MCL_ERROR_SHAPE, "class %d is \"%s\" in the checkpoint and \"%s\" in the data set", i,
                             mcl__card_class(card, i), mcl_dataset_class_name(data, i));
    return MCL_OK;
}

mcl_status mcl_predictor_evaluate(mcl_predictor *p, mcl_dataset *data, mcl_part part, mcl_evaluation *evaluation, mcl_error *error)
{
    if ((unsigned)part >= MCL_PARTS) return mcl__fail(error, MCL_ERROR_INVALID, "there is no part %d of a data set", (int)part);
    MCL_TRY(check_data(p, data, error));
    const int32_t *indices;
    int count, got, classes = p->card.classes;
    mcl__dataset_part(data, part, &indices, &count);
    if (!count) return mcl__fail(error, MCL_ERROR_NOT_FOUND, "the data set has no %s part", part_names[part]);
    mcl_evaluation e = {.classes = classes, .confusion = calloc((size_t)classes * classes, sizeof *e.confusion),
                        .precision = calloc((size_t)classes, sizeof(double)), .recall = calloc((size_t)classes, sizeof(double)),
                        .f1 = calloc((size_t)classes, sizeof(double))};
    mcl__stream *stream = NULL;
    mcl_status status = MCL_OK;
    if (!e.confusion || !e.precision || !e.recall || !e.f1) {
        status = mcl__fail(error, MCL_ERROR_MEMORY, "no memory for an evaluation");
        goto done;
    }
    MCL_TRY_DONE(mcl__stream_create(data, indices, count, p->purpose.batch, 2, &stream, error));
    for (int first = 0; first < count; first += got) {
        const uint8_t *pixels;
        const int32_t *labels;
        MCL_TRY_DONE(mcl__stream_next(stream, &pixels, &labels, &got, error));
        MCL_TRY_DONE(run_batch(p, pixels, got, p->probabilities, error));
        for (int i = 0; i < got; i++) count_sample(&e, p->probabilities + (size_t)i * classes, labels[i]);
    }
    finish_evaluation(&e);
    *evaluation = e;
done:
    mcl__stream_destroy(stream);
    if (status != MCL_OK) mcl_evaluation_free(&e);
    return status;
}

void mcl_evaluation_free(mcl_evaluation *e)
{
    free(e->confusion);
    free(e->precision);
    free(e->recall);
    free(e->f1);
    *e = (mcl_evaluation){0};
}
