/* Making a trainer: the data's shape against the network's, the model, the plans of a run, and what it resumes from. */
#include "train/trainer.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "train/need.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int largest_part(const mcl_trainer *t)
{
    int largest = 1;
    for (int part = 0; part < MCL_PARTS; part++)
        if (t->part_count[part] > largest) largest = t->part_count[part];
    return largest;
}

static mcl_status build_plans(mcl_trainer *t, mcl_error *error)
{
    const mcl_train_options *o = &t->options;
    int count = t->part_count[MCL_PART_TRAIN], largest = largest_part(t);
    MCL_TRY(mcl__feed_create(&t->pictures, t->micro, count, &t->train_feed, error));
    MCL_TRY(mcl__purpose_train(t->model, t->network, &t->train_feed, t->micro, o, &t->train, error));
    if (t->rest) {
        MCL_TRY(mcl__feed_create(&t->pictures, t->rest, count, &t->partial_feed, error));
        MCL_TRY(mcl__purpose_train(t->model, t->network, &t->partial_feed, t->rest, o, &t->partial, error));
    }
    MCL_TRY(mcl__feed_create(&t->pictures, t->micro < largest ? t->micro : largest, largest, &t->eval_feed, error));
    return mcl__purpose_evaluate(t->model, t->network, &t->eval_feed, o->no_fuse, &t->eval, error);
}

static void destroy_plans(mcl_trainer *t)
{
    mcl__purpose_destroy(&t->train);
    mcl__purpose_destroy(&t->partial);
    mcl__purpose_destroy(&t->eval);
    mcl__feed_destroy(&t->train_feed);
    mcl__feed_destroy(&t->partial_feed);
    mcl__feed_destroy(&t->eval_feed);
}

static mcl__need need_of(const mcl_trainer *t)
{
    return (mcl__need){.model = t->model, .network = t->network, .pictures = &t->pictures, .options = &t->options,
                       .count = t->part_count[MCL_PART_TRAIN], .evaluated = largest_part(t)};
}

/* A plan that fits by itself may leave too little for the next: then all activations that can be are made again, as they are where
 * a plan alone does not fit. */
static mcl_status build_in_memory(mcl_trainer *t, mcl_error *error)
{
    mcl_recompute asked = t->options.recompute;
    mcl_error first = {0};
    mcl_status status = build_plans(t, &first);
    if (status == MCL_ERROR_MEMORY && asked == MCL_RECOMPUTE_AUTO && mcl_device_error(t->device)->status == MCL_OK) {
        destroy_plans(t);
        t->options.recompute = MCL_RECOMPUTE_ON;
        status = build_plans(t, NULL);
        t->options.recompute = asked;
    }
    if (status == MCL_OK) return MCL_OK;
    mcl__fail(error, status, "%s", first.text);
    if (status != MCL_ERROR_MEMORY) return status;
    mcl__need need = need_of(t);
    destroy_plans(t);
    return mcl__need_advise(&need, t->options.batch, error);
}

static mcl_status with_checkpoint(mcl_trainer *t, mcl_status (*read)(mcl_trainer *t, const char *path, mcl_error *error),
                                  mcl_error *error)
{
    if (!t->options.run || !t->options.resume) return MCL_OK;
    char *path = mcl__text("%s/last.safetensors", t->options.run);
    mcl_status status = path ? read(t, path, error) : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
    free(path);
    return status;
}

static mcl_status prepare(mcl_trainer *t, mcl_error *error)
{
    mcl_train_options *o = &t->options;
    const mcl_dataset_info *info = mcl_dataset_get_info(t->data);
    int H = info->height, W = info->width, C = info->channels, h, w, c;
    mcl_network_input_shape(t->network, &h, &w, &c);
    if (H != h || W != w || C != c)
        return mcl__fail(error, MCL_ERROR_SHAPE, "the network %s takes pictures of (%d, %d, %d), the data set has (%d, %d, %d)",
                         mcl_network_name(t->network), h, w, c, H, W, C);
    if (info->classes != mcl_network_classes(t->network))
        return mcl__fail(error, MCL_ERROR_SHAPE, "the network %s has %d outputs, the data set %d classes",
                         mcl_network_name(t->network), mcl_network_classes(t->network), info->classes);
    for (int part = 0; part < MCL_PARTS; part++) mcl__dataset_part(t->data, (mcl_part)part, &t->part[part], &t->part_count[part]);
    int count = t->part_count[MCL_PART_TRAIN];
    if (count < o->batch && !(o->keep_partial && count > 0))
        return mcl__fail(error, MCL_ERROR_INVALID,
                         "the training part has %d pictures, fewer than one batch of %d: make batch smaller", count, o->batch);
    t->micro = o->batch / o->micro_batches;
    t->rest = o->keep_partial ? count % o->batch % t->micro : 0;
    if (t->rest == 1)
        mcl__log(MCL_LOG_WARNING, "the last %s of an epoch has a single picture: batch normalisation cannot use it well",
                 t->micro < o->batch ? "micro-batch" : "batch");
    t->steps_per_epoch = count / o->batch + (o->keep_partial && count % o->batch != 0);
    if ((int64_t)o->epochs * t->steps_per_epoch > INT32_MAX)
        return mcl__fail(error, MCL_ERROR_INVALID, "%d epochs of %d steps are more than 2^31 steps", o->epochs, t->steps_per_epoch);
    if (!(t->order = malloc((size_t)count * sizeof *t->order)))
        return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the order");
    MCL_TRY(mcl_preprocessing_fit(t->data, o->preprocessing, &t->preprocessing, error));
    MCL_TRY(mcl__pictures_create(t->device, t->data, &t->preprocessing, o->residence, &t->pictures, error));
    MCL_TRY(mcl__model_for(t->device, t->network, o, &t->model, error));
    mcl__initial *initial;
    MCL_TRY(mcl__initial_begin(t->network, t->model, o->seed, &initial, error));
    mcl_status status = with_checkpoint(t, mcl__checkpoint_choices, error);
    if (status == MCL_OK) status = build_in_memory(t, error);
    mcl_status written = mcl__initial_end(initial, status == MCL_OK ? error : NULL);
    return status == MCL_OK ? written : status;
}

/* Two that write one run's files would each lose the other's. A file system without locks does without. */
static mcl_status lock_run(mcl_trainer *t, mcl_error *error)
{
    t->lock = mcl__file_apart(open(t->options.run, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (t->lock < 0 || flock(t->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_INVALID, "%s: another trainer is at work in this folder: wait for it, or name another folder",
                     t->options.run);
}

static mcl_status open_run(mcl_trainer *t, mcl_error *error)
{
    if (!t->options.run) return MCL_OK;
    MCL_TRY(mcl__folder_create(t->options.run, false, error));
    if (t->lock < 0) MCL_TRY(lock_run(t, error));
    MCL_TRY(with_checkpoint(t, mcl__checkpoint_resume, error));
    return mcl__run_log_open(t->options.run, t->progress.step, &t->log, error);
}

mcl_status mcl_trainer_create(mcl_device *device, const mcl_network *network, mcl_dataset *data, const mcl_train_options *options,
                              mcl_trainer **trainer, mcl_error *error)
{
    mcl_error local = {0};
    if (!error) error = &local;
    mcl_trainer *t = calloc(1, sizeof *t);
    if (!t) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a trainer");
    t->device = device;
    t->network = network;
    t->data = data;
    t->lock = -1;
    mcl_status status = mcl__train_options_resolve(options, &t->options, error);
    const char *run = status == MCL_OK ? t->options.run : NULL, *description = status == MCL_OK ? t->options.description : NULL;
    t->options.run = run ? strdup(run) : NULL;
    t->options.description = description ? strdup(description) : NULL;
    if ((run && !t->options.run) || (description && !t->options.description))
        status = mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a trainer");
    if (status == MCL_OK && run && mcl__folder_exists(run)) status = lock_run(t, error);
    if (status == MCL_OK) status = prepare(t, error);
    if (status == MCL_OK) status = open_run(t, error);
    if (status != MCL_OK) {
        mcl_trainer_destroy(t);
        return status;
    }
    t->drained = t->progress.step;
    t->ahead = 1;
    t->checkpointed = mcl__seconds();
    *trainer = t;
    return MCL_OK;
}

void mcl_trainer_destroy(mcl_trainer *t)
{
    if (!t) return;
    mcl__run_log_close(t->log);
    if (t->lock >= 0) close(t->lock);
    destroy_plans(t);
    mcl__model_destroy(t->model);
    mcl__pictures_destroy(&t->pictures);
    free(t->order);
    free(t->best_value);
    free(t->best_running);
    free((char *)t->options.run);
    free((char *)t->options.description);
    free(t);
}

void mcl_trainer_stop(mcl_trainer *t) { atomic_store(&t->stop, true); }

static uint64_t purpose_bytes(const mcl__purpose *purpose, const mcl__feed *feed)
{
    if (!purpose->plan) return 0;
    mcl__plan_statistics statistics = mcl__plan_get_statistics(purpose->plan);
    return statistics.planned_bytes + statistics.derived_bytes + mcl__feed_bytes(feed);
}

char *mcl_trainer_explain(const mcl_trainer *t)
{
    mcl__need need = need_of(t);
    uint64_t used = t->device->counters.bytes_allocated - purpose_bytes(&t->train, &t->train_feed) -
                    purpose_bytes(&t->partial, &t->partial_feed) - purpose_bytes(&t->eval, &t->eval_feed);
    char *plan = mcl__plan_explain(t->train.plan), *batches = mcl__need_text(&need, t->options.batch, used);
    char *text = plan && batches ? mcl__text("%s%s", plan, batches) : NULL;
    free(plan);
    free(batches);
    return text;
}
