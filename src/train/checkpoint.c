/* Checkpoints: weights and running statistics under PyTorch's names, optimiser state beside them, and in the metadata all that
 * the next step depends on. A file is written whole or not at all. */
#include "train/checkpoint.h"
#include "base/hash.h"
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_prefix[] = {MCL__WEIGHTS_STATE "state0.", MCL__WEIGHTS_STATE "state1."};

/* Of the samples trained on and their labels: another split of the same data has as many. Empty: no memory. */
static void training_hash(const mcl_trainer *t, char hex[33])
{
    size_t count = (size_t)t->part_count[MCL_PART_TRAIN];
    int32_t (*pairs)[2] = malloc((count + 1) * sizeof *pairs);
    hex[0] = 0;
    if (!pairs) return;
    for (size_t i = 0; i < count; i++) {
        pairs[i][0] = t->part[MCL_PART_TRAIN][i];
        pairs[i][1] = mcl_dataset_label(t->data, pairs[i][0]);
    }
    mcl__hash_hex(pairs, count * sizeof *pairs, hex);
    free(pairs);
}

/* What must not differ between the two sessions of a resumed run: the order of samples and the meaning of the state. */
static json_t *options_json(const mcl_trainer *t)
{
    char samples[33];
    training_hash(t, samples);
    static const char *const optimisers[] = {[MCL_SGD] = "sgd", [MCL_ADAM] = "adam", [MCL_ADAMW] = "adamw"};
    const mcl_train_options *o = &t->options;
    return json_pack("{s:I,s:i,s:i,s:b,s:s,s:i,s:s,s:i}", "seed", (json_int_t)o->seed, "batch", o->batch, "micro_batches",
                     o->micro_batches, "keep_partial", o->keep_partial, "optimiser", optimisers[o->optimiser], "training_pictures",
                     t->part_count[MCL_PART_TRAIN], "training_samples", samples, "resize",
                     (int)mcl_dataset_get_info(t->data)->resize);
}

static json_t *class_names_json(const mcl_trainer *t)
{
    json_t *names = json_array();
    int classes = mcl_dataset_get_info(t->data)->classes;
    for (int i = 0; i < classes; i++) json_array_append_new(names, json_string(mcl_dataset_class_name(t->data, i)));
    return names;
}

static const char *given(const char *option, const char *otherwise)
{
    return option ? option : otherwise;
}

/* What the bits depend on beside the options and the choices. */
static json_t *machine_json(const mcl_trainer *t)
{
    char kernels[33];
    mcl__kernels_hash(t->device, kernels);
    const mcl_device_info *info = &t->device->info;
    const mcl_device_options *asked = &t->device->options;
    return json_pack("{s:s,s:s*,s:s,s:s,s:s,s:i,s:b,s:s,s:s}", "device", info->name, "chip", *info->chip ? info->chip : NULL,
                     "driver", info->driver, "version", mcl_version(), "kernels", kernels, "threads", t->device->threads, "fuse",
                     !t->options.no_fuse, "gemm", given(asked->gemm, "auto"), "variant", given(asked->variant, "auto"));
}

/* Which kernels the plans of the run take: a list of problem, batch and choice. NULL: no memory. */
static json_t *choices_json(const mcl_trainer *t)
{
    const mcl__plan *plans[] = {t->train.plan, t->partial.plan, t->eval.plan};
    mcl__tuning rows = {0};
    mcl_status status = MCL_OK;
    for (size_t i = 0; i < sizeof plans / sizeof *plans && status == MCL_OK; i++)
        if (plans[i]) status = mcl__plan_choices(plans[i], &rows, NULL);
    json_t *list = status == MCL_OK ? json_array() : NULL;
    for (size_t i = 0; i < rows.count; i++)
        json_array_append_new(list, json_pack("{s:s,s:i,s:s}", "problem", rows.row[i].problem, "batch", rows.row[i].batch, "choice",
                                              rows.row[i].choice));
    mcl__tuning_free(&rows);
    return list;
}

/* JSON has no infinity; a loss that is not finite is as bad as the largest number. */
static double finite_loss(double loss)
{
    return isfinite(loss) ? loss : DBL_MAX;
}

static json_t *progress_json(const mcl__progress *p)
{
    return json_pack("{s:i,s:i,s:i,s:f,s:f,s:I,s:i,s:f,s:f,s:f}", "step", p->step, "epoch", p->epoch, "position", p->position,
                     "loss_sum", p->loss_sum, "hits", p->hits, "seen", (json_int_t)p->seen, "best_epoch", p->best_epoch,
                     "best_loss", finite_loss(p->best_loss), "best_accuracy", p->best_accuracy, "seconds", p->seconds);
}

static json_t *numbers_json(const float *values, int count)
{
    json_t *array = json_array();
    for (int i = 0; i < count; i++) json_array_append_new(array, json_real((double)values[i]));
    return array;
}

static char *card_text(const mcl_trainer *t)
{
    const mcl_dataset_info *info = mcl_dataset_get_info(t->data);
    const mcl_preprocessing *p = &t->preprocessing;
    json_t *card =
        json_pack("{s:s,s:[i,i,i],s:i,s:o,s:{s:i,s:o,s:o},s:o,s:o,s:o,s:o}", "network_name", mcl_network_name(t->network), "input",
                  t->pictures.H, t->pictures.W, t->pictures.C, "resize", (int)info->resize, "classes", class_names_json(t),
                  "preprocessing", "kind", (int)p->kind, "mean", numbers_json(p->mean, t->pictures.C), "inverse_deviation",
                  numbers_json(p->inverse_deviation, t->pictures.C), "options", options_json(t), "machine", machine_json(t),
                  "choices", choices_json(t), "progress", progress_json(&t->progress));
    bool told = !t->options.description || json_object_set_new(card, "network", json_string(t->options.description)) == 0;
    char *text = card && told ? json_dumps(card, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(card);
    return text;
}

mcl_status mcl__checkpoint_save(mcl_trainer *t, const char *path, mcl_error *error)
{
    mcl__model *model = t->model;
    mcl__safetensors_writer *writer = NULL;
    mcl_status status = MCL_OK;
    char *card = card_text(t);
    if (!card) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a checkpoint's metadata");
    MCL_TRY_DONE(mcl__safetensors_writer_create(&writer, error));
    mcl__safetensors_writer_metadata(writer, "format", "pt");
    mcl__safetensors_writer_metadata(writer, "monocle", card);
    MCL_TRY_DONE(mcl__weights_add(t->network, model, t->progress.step, writer, error));
    for (int i = 0; i < mcl__optimiser_states(&model->optimiser); i++)
        MCL_TRY_DONE(
            mcl__weights_add_slab(model, &model->state[i], model->parameter, model->parameters, state_prefix[i], writer, error));
    free(card);
    return mcl__safetensors_writer_write(writer, path, error);
done:
    free(card);
    mcl__safetensors_writer_destroy(writer);
    return status;
}

static bool as_int(const json_t *item, int *value)
{
    if (!json_is_integer(item) || json_integer_value(item) < 0 || json_integer_value(item) > INT_MAX) return false;
    *value = (int)json_integer_value(item);
    return true;
}

static bool get_int(const json_t *object, const char *key, int *value)
{
    return as_int(json_object_get(object, key), value);
}

static bool get_floats(const json_t *object, const char *key, int count, float *values)
{
    const json_t *array = json_object_get(object, key);
    if (json_array_size(array) != (size_t)count) return false;
    for (int i = 0; i < count; i++) {
        if (!json_is_number(json_array_get(array, (size_t)i))) return false;
        values[i] = (float)json_number_value(json_array_get(array, (size_t)i));
    }
    return true;
}

static bool card_parse(mcl__card *card)
{
    const json_t *input = json_object_get(card->json, "input"), *preprocessing = json_object_get(card->json, "preprocessing");
    int *sizes[] = {&card->H, &card->W, &card->C}, resize, kind;
    if (json_array_size(input) != 3) return false;
    for (size_t i = 0; i < 3; i++)
        if (!as_int(json_array_get(input, i), sizes[i])) return false;
    if (card->H < 1 || card->W < 1 || card->C < 1 || card->C > (int)(sizeof card->preprocessing.mean / sizeof(float))) return false;
    if ((int64_t)card->H * card->W > INT_MAX / card->C) return false;
    card->classes = (int)json_array_size(json_object_get(card->json, "classes"));
    card->network = json_string_value(json_object_get(card->json, "network"));
    if (!get_int(card->json, "resize", &resize) || resize > MCL_RESIZE_STRETCH) return false;
    if (!get_int(preprocessing, "kind", &kind) || kind > MCL_PREPROCESSING_SCALE) return false;
    card->resize = (mcl_resize)resize;
    card->preprocessing.kind = (mcl_preprocessing_kind)kind;
    card->preprocessing.channels = card->C;
    return card->classes > 0 && get_floats(preprocessing, "mean", card->C, card->preprocessing.mean) &&
           get_floats(preprocessing, "inverse_deviation", card->C, card->preprocessing.inverse_deviation);
}

mcl_status mcl__card_read(const mcl__safetensors *file, mcl__card *card, mcl_error *error)
{
    const char *text = mcl__safetensors_metadata(file, "monocle");
    *card = (mcl__card){0};
    if (!text) return mcl__fail(error, MCL_ERROR_FORMAT, "%s: not a checkpoint of Monocle: it has weights only", file->path);
    MCL_TRY(mcl__json_parse(text, strlen(text), file->path, &card->json, error));
    if (card_parse(card)) return MCL_OK;
    mcl__card_free(card);
    return mcl__fail(error, MCL_ERROR_FORMAT, "%s: the checkpoint's description is damaged", file->path);
}

const char *mcl__card_class(const mcl__card *card, int index)
{
    const char *name = json_string_value(json_array_get(json_object_get(card->json, "classes"), (size_t)index));
    return name ? name : "";
}

void mcl__card_free(mcl__card *card)
{
    json_decref(card->json);
    *card = (mcl__card){0};
}

static mcl_status check_options(const mcl_trainer *t, const mcl__card *card, const char *path, mcl_error *error)
{
    json_t *now = options_json(t);
    const json_t *then = json_object_get(card->json, "options");
    const char *key;
    json_t *value;
    mcl_status status = now ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory to read a checkpoint");
    json_object_foreach(now, key, value) {
        const json_t *before = json_object_get(then, key);
        if (status != MCL_OK || !before || json_equal(value, before)) continue; /* an older version did not write all of them */
        char *was = json_dumps(before, JSON_ENCODE_ANY), *is = json_dumps(value, JSON_ENCODE_ANY);
        status = mcl__fail(error, MCL_ERROR_CONFIG, "%s was written with %s = %s, now it is %s: resume with the run's own options, "
                           "or train a new run", path, key, given(was, "nothing"), given(is, "nothing"));
        free(was);
        free(is);
    }
    json_decref(now);
    return status;
}

/* The numbers in use are the checkpoint's; another kind would only be written to config.yaml. */
static mcl_status check_preprocessing(const mcl_trainer *t, const mcl__card *card, const char *path, mcl_error *error)
{
    static const char *const kinds[] = {[MCL_PREPROCESSING_STANDARDISE] = "standardise",
                                        [MCL_PREPROCESSING_CENTRE] = "centre",
                                        [MCL_PREPROCESSING_SCALE] = "scale"};
    mcl_preprocessing_kind then = card->preprocessing.kind, now = t->options.preprocessing;
    if (then == now) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_CONFIG, "%s was written with preprocessing.kind = %s, now it is %s: resume with the run's "
                     "own options, or train a new run", path, kinds[then], kinds[now]);
}

static mcl_status check_classes(const mcl_trainer *t, const mcl__card *card, const char *path, mcl_error *error)
{
    json_t *names = class_names_json(t);
    bool equal = json_equal(names, json_object_get(card->json, "classes"));
    json_decref(names);
    if (equal) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_CONFIG,
                     "%s was written for other classes than the data set's: resume with the run's own data, "
                     "or train a new run",
                     path);
}

static void warn_machine(const mcl_trainer *t, const mcl__card *card)
{
    json_t *now = machine_json(t);
    if (!json_equal(now, json_object_get(card->json, "machine")))
        mcl__log(MCL_LOG_WARNING, "the run goes on with another device, driver, version, number of threads or choice of kernels: "
                                  "it continues correctly, but not with the same bits as an uninterrupted run");
    json_decref(now);
}

static mcl_status take_choice(mcl_trainer *t, const json_t *item, mcl_error *error)
{
    const char *problem = json_string_value(json_object_get(item, "problem")),
               *choice = json_string_value(json_object_get(item, "choice"));
    mcl__tuning_row row = {.origin = MCL__RECORDED};
    if (!problem || !choice || !get_int(item, "batch", &row.batch) || row.batch < 1) return MCL_OK; /* no choice of ours */
    if (strlen(problem) >= sizeof row.problem || strlen(choice) >= sizeof row.choice) return MCL_OK;
    strcpy(row.problem, problem);
    strcpy(row.choice, choice);
    return mcl__tuning_add(&t->model->tuning, &row, error);
}

mcl_status mcl__checkpoint_choices(mcl_trainer *t, const char *path, mcl_error *error)
{
    mcl__safetensors *file = NULL;
    mcl__card card = {0};
    mcl_status status;
    MCL_TRY_DONE(mcl__safetensors_open(path, &file, error));
    MCL_TRY_DONE(mcl__card_read(file, &card, error));
    const json_t *machine = json_object_get(card.json, "machine"), *choices = json_object_get(card.json, "choices");
    const char *device = json_string_value(json_object_get(machine, "device"));
    const char *chip = json_string_value(json_object_get(machine, "chip"));
    if (!device || strcmp(device, t->device->info.name) != 0 || strcmp(given(chip, ""), t->device->info.chip) != 0)
        goto done; /* measured elsewhere: it tells nothing here */
    for (size_t i = 0; i < json_array_size(choices) && status == MCL_OK; i++)
        status = take_choice(t, json_array_get(choices, i), error);
done:
    mcl__card_free(&card);
    mcl__safetensors_close(file);
    return status;
}

static bool progress_parse(const mcl__card *card, mcl__progress *p)
{
    const json_t *object = json_object_get(card->json, "progress");
    p->loss_sum = json_number_value(json_object_get(object, "loss_sum"));
    p->hits = json_number_value(json_object_get(object, "hits"));
    p->seen = json_integer_value(json_object_get(object, "seen"));
    p->best_loss = json_number_value(json_object_get(object, "best_loss"));
    p->best_accuracy = json_number_value(json_object_get(object, "best_accuracy"));
    p->seconds = json_number_value(json_object_get(object, "seconds"));
    bool sane = p->loss_sum >= 0 && p->hits >= 0 && p->seen >= 0 && p->seconds >= 0 && p->seconds < 1e12;
    return sane && get_int(object, "step", &p->step) && get_int(object, "epoch", &p->epoch) &&
           get_int(object, "position", &p->position) && get_int(object, "best_epoch", &p->best_epoch);
}

/* Step, epoch and position tell the same thing twice; a position within a batch has no plan. */
static bool progress_fits(const mcl_trainer *t, const mcl__progress *p)
{
    int batch = t->options.batch, count = t->part_count[MCL_PART_TRAIN];
    bool whole = p->position % batch == 0 || (t->options.keep_partial && p->position == count);
    int64_t steps = (int64_t)p->epoch * t->steps_per_epoch + p->position / batch + (p->position % batch != 0);
    return whole && p->position <= count && p->step == steps && p->best_epoch <= p->epoch + 1;
}

mcl_status mcl__checkpoint_resume(mcl_trainer *t, const char *path, mcl_error *error)
{
    mcl__model *model = t->model;
    mcl__safetensors *file = NULL;
    mcl__card card = {0};
    mcl__progress progress = {0};
    mcl_status status = MCL_OK;
    MCL_TRY_DONE(mcl__safetensors_open(path, &file, error));
    MCL_TRY_DONE(mcl__card_read(file, &card, error));
    MCL_TRY_DONE(check_options(t, &card, path, error));
    MCL_TRY_DONE(check_preprocessing(t, &card, path, error));
    MCL_TRY_DONE(check_classes(t, &card, path, error));
    if (!progress_parse(&card, &progress) || !progress_fits(t, &progress)) {
        status = mcl__fail(error, MCL_ERROR_FORMAT, "%s: the record of the run's progress is damaged", path);
        goto done;
    }
    MCL_TRY_DONE(mcl__weights_take(model, file, error));
    for (int i = 0; i < mcl__optimiser_states(&model->optimiser); i++)
        MCL_TRY_DONE(
            mcl__weights_take_slab(model, &model->state[i], model->parameter, model->parameters, state_prefix[i], file, error));
    MCL_TRY_DONE(mcl__pictures_normalise(&t->pictures, &card.preprocessing, error));
    t->preprocessing = card.preprocessing;
    t->progress = progress;
    warn_machine(t, &card);
done:
    mcl__card_free(&card);
    mcl__safetensors_close(file);
    return status;
}
