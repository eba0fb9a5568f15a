/* The trainer: builds a run's plans, replays steps, watches for NaN, validates, and decides when to write checkpoints. The host
 * waits for the device only where a metric is shown, a checkpoint is written, or the ring of step blocks is full. */
#include "train/trainer.h"
#include "base/arena.h"
#include "base/file.h"
#include "nn/weights.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SHOW_STEPS = 64 }; /* far below MCL_HISTORY, so that no outcome is overwritten before it is read */
static const double show_seconds = 0.25;

double mcl__now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int batch_of(const mcl_trainer *t, int position)
{
    int left = t->part_count[MCL_PART_TRAIN] - position;
    return left < t->options.batch ? left : t->options.batch;
}

static mcl_status build_plans(mcl_trainer *t, int batch, mcl_error *error)
{
    const mcl_train_options *o = &t->options;
    int count = t->part_count[MCL_PART_TRAIN], micro = batch / o->micro_batches, rest = count % batch;
    MCL_TRY(mcl__feed_create(&t->pictures, micro, count, &t->train_feed, error));
    MCL_TRY(mcl__purpose_train(t->model, t->network, &t->train_feed, micro, o, &t->train, error));
    if (o->keep_partial && rest) {
        MCL_TRY(mcl__feed_create(&t->pictures, rest, count, &t->partial_feed, error));
        MCL_TRY(mcl__purpose_train(t->model, t->network, &t->partial_feed, rest, o, &t->partial, error));
    }
    int largest = 1;
    for (int part = 0; part < MCL_PARTS; part++)
        if (t->part_count[part] > largest) largest = t->part_count[part];
    MCL_TRY(mcl__feed_create(&t->pictures, micro < largest ? micro : largest, largest, &t->eval_feed, error));
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

/* Out of memory: finds, by trying, the largest power-of-two part of the batch that fits, and says it. */
static mcl_status out_of_memory(mcl_trainer *t, mcl_error *error)
{
    int fits = 0;
    for (int batch = t->options.batch / 2; batch >= t->options.micro_batches && !fits; batch /= 2) {
        batch -= batch % t->options.micro_batches;
        destroy_plans(t);
        if (mcl_device_error(t->device)->status == MCL_OK && build_plans(t, batch, NULL) == MCL_OK) fits = batch;
    }
    mcl_error first = *error;
    *error = (mcl_error){0};
    if (fits)
        return mcl__fail(error, MCL_ERROR_MEMORY, "%s; a batch of %d would fit (or set micro_batches to compute %d in parts)",
                         first.text, fits, t->options.batch);
    return mcl__fail(error, MCL_ERROR_MEMORY, "%s; no smaller batch fits either", first.text);
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
        return mcl__fail(error, MCL_ERROR_INVALID, "the training part has %d pictures, fewer than one batch of %d: make batch smaller",
                         count, o->batch);
    if (o->keep_partial && count % o->batch == 1)
        mcl__log(MCL_LOG_WARNING, "the last batch of an epoch has a single picture: batch normalisation cannot use it well");
    t->steps_per_epoch = count / o->batch + (o->keep_partial && count % o->batch != 0);
    if (!(t->order = malloc((size_t)count * sizeof *t->order))) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the order");
    MCL_TRY(mcl_preprocessing_fit(t->data, o->preprocessing, &t->preprocessing, error));
    MCL_TRY(mcl__pictures_create(t->device, t->data, &t->preprocessing, o->residence, &t->pictures, error));
    MCL_TRY(mcl__model_for(t->device, t->network, o, &t->model, error));
    MCL_TRY(mcl__network_initialise(t->network, t->model, o->seed, error));
    mcl_status status = build_plans(t, o->batch, error);
    return status == MCL_ERROR_MEMORY ? out_of_memory(t, error) : status;
}

static mcl_status open_run(mcl_trainer *t, mcl_error *error)
{
    if (!t->options.run) return MCL_OK;
    MCL_TRY(mcl__folder_create(t->options.run, false, error));
    if (t->options.resume) {
        char *path = mcl__text("%s/last.safetensors", t->options.run);
        mcl_status status = path ? mcl__checkpoint_resume(t, path, error) : MCL_ERROR_MEMORY;
        free(path);
        MCL_TRY(status);
    }
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
    mcl_status status = mcl__train_options_resolve(options, &t->options, error);
    if (status == MCL_OK) {
        t->options.run = t->options.run ? strdup(t->options.run) : NULL;
        t->options.description = t->options.description ? strdup(t->options.description) : NULL;
        status = prepare(t, error);
    } else {
        t->options.run = t->options.description = NULL;
    }
    if (status == MCL_OK) status = open_run(t, error);
    if (status != MCL_OK) {
        mcl_trainer_destroy(t);
        return status;
    }
    t->drained = t->progress.step;
    t->checkpointed = mcl__now();
    *trainer = t;
    return MCL_OK;
}

void mcl_trainer_destroy(mcl_trainer *t)
{
    if (!t) return;
    mcl__run_log_close(t->log);
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

char *mcl_trainer_explain(const mcl_trainer *t) { return mcl__plan_explain(t->train.plan); }

/* --- One step --------------------------------------------------------------------------------------------------------- */

static mcl_status begin_epoch(mcl_trainer *t, mcl_error *error)
{
    const int32_t *indices = t->part[MCL_PART_TRAIN];
    int count = t->part_count[MCL_PART_TRAIN];
    mcl__epoch_order(indices, count, t->options.seed, (uint32_t)t->progress.epoch, t->order);
    MCL_TRY(mcl__feed_begin(&t->train_feed, t->order, count, t->progress.position, error));
    t->epoch_begun = true;
    return MCL_OK;
}

static mcl_step step_block(const mcl_trainer *t, int size, int micro_size, int micro)
{
    mcl_step step = {
        .step = t->progress.step + 1,
        .epoch = t->progress.epoch,
        .first_sample = t->progress.position + micro * micro_size,
        .valid_samples = micro_size,
        .batch_offset = micro * micro_size,
        .micro_batch = micro,
        .slot = (t->progress.step + 1) % MCL_HISTORY,
        .inverse_valid = 1.0f / (float)size,
        .seed_low = (unsigned)t->options.seed,
        .seed_high = (unsigned)(t->options.seed >> 32),
    };
    for (int g = 0; g < MCL_STEP_GROUPS; g++) step.group[g] = mcl__step_group(&t->options, step.step, t->steps_per_epoch);
    return step;
}

/* The batch at the present position: which plan serves it, and in how many parts. */
static mcl__purpose *purpose_of(mcl_trainer *t, int size, mcl__feed **feed, int *micros)
{
    bool whole = size == t->options.batch;
    *feed = whole ? &t->train_feed : &t->partial_feed;
    *micros = whole ? t->options.micro_batches : 1;
    return whole ? &t->train : &t->partial;
}

/* LOAD and COMPUTE of one micro-batch of the step after the present one. */
static mcl_status compute(mcl_trainer *t, mcl__purpose *purpose, mcl__feed *feed, const mcl_step *step, bool load_only, mcl_error *error)
{
    MCL_TRY(mcl__feed_next(feed, step->valid_samples, error));
    MCL_TRY_DEVICE(t->device, mcl__plan_step(purpose->plan, step), error);
    MCL_TRY_DEVICE(t->device, mcl__plan_run(purpose->plan, MCL__LOAD), error);
    if (!load_only) MCL_TRY_DEVICE(t->device, mcl__plan_run(purpose->plan, MCL__COMPUTE), error);
    return MCL_OK;
}

static mcl_status enqueue_step(mcl_trainer *t, mcl_error *error)
{
    if (!t->epoch_begun) MCL_TRY(begin_epoch(t, error));
    int size = batch_of(t, t->progress.position), micros;
    mcl__feed *feed;
    mcl__purpose *purpose = purpose_of(t, size, &feed, &micros);
    if (feed == &t->partial_feed)
        MCL_TRY(mcl__feed_begin(feed, t->order, t->part_count[MCL_PART_TRAIN], t->progress.position, error));
    for (int micro = 0; micro < micros; micro++) {
        mcl_step step = step_block(t, size, size / micros, micro);
        MCL_TRY(compute(t, purpose, feed, &step, false, error));
    }
    MCL_TRY_DEVICE(t->device, mcl__plan_run(purpose->plan, MCL__REDUCE), error);
    MCL_TRY_DEVICE(t->device, mcl__plan_run(purpose->plan, MCL__UPDATE), error);
    t->progress.step++;
    t->progress.position += size;
    return MCL_OK;
}

static bool epoch_complete(const mcl_trainer *t)
{
    int left = t->part_count[MCL_PART_TRAIN] - t->progress.position;
    return t->options.keep_partial ? left <= 0 : left < t->options.batch;
}

/* The state is that of the step before: goes back there, replays the bad step node by node and names the culprit. */
static mcl_status diverged(mcl_trainer *t, int bad, mcl_error *error)
{
    t->progress.epoch = (bad - 1) / t->steps_per_epoch;
    t->progress.position = (bad - 1) % t->steps_per_epoch * t->options.batch;
    t->progress.step = t->drained = bad - 1;
    t->epoch_begun = false;
    const char *name = NULL, *op = NULL;
    bool backward = false;
    MCL_TRY(begin_epoch(t, error));
    int size = batch_of(t, t->progress.position), micros;
    mcl__feed *feed;
    mcl__purpose *purpose = purpose_of(t, size, &feed, &micros);
    if (feed == &t->partial_feed)
        MCL_TRY(mcl__feed_begin(feed, t->order, t->part_count[MCL_PART_TRAIN], t->progress.position, error));
    for (int micro = 0; micro < micros && !name; micro++) {
        mcl_step step = step_block(t, size, size / micros, micro);
        MCL_TRY(compute(t, purpose, feed, &step, true, error));
        MCL_TRY_DEVICE(t->device, mcl__plan_find_bad(purpose->plan, &name, &op, &backward), error);
    }
    t->epoch_begun = false;
    MCL_TRY_DEVICE(t->device, mcl__model_record_reset(t->model), error);
    if (!name)
        return mcl__fail(error, MCL_ERROR_DIVERGED, "step %d: the gradient's norm is too large for a float; the state is that of step %d. "
                         "Lower the learning rate, or look at the data", bad, bad - 1);
    return mcl__fail(error, MCL_ERROR_DIVERGED, "step %d: the first NaN or infinity comes out of %s (%s%s); the state is that of step %d. "
                     "Lower the learning rate, or look at the data", bad, name, op, backward ? ", backward" : "", bad - 1);
}

static int step_size(const mcl_trainer *t, int step)
{
    return batch_of(t, (step - 1) % t->steps_per_epoch * t->options.batch);
}

/* Waits, and takes the outcomes of all steps done into the epoch's sums and the log. */
static mcl_status drain(mcl_trainer *t, mcl_error *error)
{
    if (t->drained == t->progress.step) return MCL_OK;
    mcl_state state;
    MCL_TRY_DEVICE(t->device, mcl__model_record(t->model, &state), error);
    int last = state.first_bad ? state.first_bad - 1 : t->progress.step;
    while (t->drained < last) {
        int step = ++t->drained, size = step_size(t, step);
        const mcl_outcome *outcome = &state.history[step % MCL_HISTORY];
        t->progress.loss_sum += outcome->loss_sum;
        t->progress.hits += outcome->hits;
        t->progress.seen += size;
        t->gradient_norm = outcome->gradient_norm;
        if (t->log)
            MCL_TRY(mcl__run_log_step(t->log, step, outcome->loss_sum / (double)size, outcome->hits / (double)size,
                                      mcl__learning_rate(&t->options, step, t->steps_per_epoch), outcome->gradient_norm, error));
    }
    return state.first_bad ? diverged(t, state.first_bad, error) : MCL_OK;
}

static mcl_metrics train_metrics(const mcl_trainer *t)
{
    double n = t->progress.seen ? (double)t->progress.seen : 1;
    return (mcl_metrics){.loss = t->progress.loss_sum / n, .accuracy = t->progress.hits / n, .samples = t->progress.seen};
}

static void end_epoch(mcl_trainer *t)
{
    t->progress.epoch++;
    t->progress.position = 0;
    t->progress.loss_sum = t->progress.hits = 0;
    t->progress.seen = 0;
    t->epoch_begun = false;
}

mcl_status mcl_trainer_steps(mcl_trainer *t, int count, int *done, bool *epoch_end, mcl_error *error)
{
    *done = 0;
    if (epoch_complete(t)) end_epoch(t);
    for (; *done < count && !epoch_complete(t); ++*done) {
        MCL_TRY(enqueue_step(t, error));
        if (t->progress.step - t->drained >= MCL_HISTORY / 2) MCL_TRY(drain(t, error));
    }
    *epoch_end = epoch_complete(t);
    return MCL_OK;
}

mcl_status mcl_trainer_metrics(mcl_trainer *t, mcl_metrics *metrics, mcl_error *error)
{
    MCL_TRY(drain(t, error));
    *metrics = train_metrics(t);
    return MCL_OK;
}

mcl_status mcl_trainer_evaluate(mcl_trainer *t, mcl_part part, mcl_metrics *metrics, mcl_error *error)
{
    MCL_TRY(drain(t, error));
    return mcl__purpose_metrics(&t->eval, &t->eval_feed, t->part[part], t->part_count[part], metrics, error);
}

/* --- The whole run ---------------------------------------------------------------------------------------------------- */

typedef struct loop {
    mcl_event_function function;
    void *user;
    double began, shown;      /* of this session; of the last progress event */
    double seconds_before;    /* of earlier sessions */
    double warm;              /* when the first step shown was done; kernels were compiled before, which is no measure of speed */
    int session_first, warm_step; /* steps done when this session began, and at `warm` */
    double evaluating;        /* seconds that validation took, not counted as training speed */
} loop;

static mcl_event event_of(mcl_trainer *t, const loop *l, mcl_event_kind kind)
{
    double elapsed = mcl__now() - l->began, measured = elapsed;
    int steps = t->options.epochs * t->steps_per_epoch, done = t->progress.step - l->session_first;
    if (l->warm_step && (kind == MCL_EVENT_PROGRESS || t->progress.step > l->warm_step)) {
        measured -= l->warm - l->began;
        done = t->progress.step - l->warm_step;
    }
    double training = measured - l->evaluating;
    if (t->options.max_steps && t->options.max_steps < steps) steps = t->options.max_steps;
    double per_step = done ? measured / done : 0;
    return (mcl_event){
        .kind = kind,
        .epoch = t->progress.epoch + 1,
        .epochs = t->options.epochs,
        .step = t->progress.step,
        .steps = steps,
        .epoch_step = t->progress.step - t->progress.epoch * t->steps_per_epoch,
        .epoch_steps = t->steps_per_epoch,
        .train = train_metrics(t),
        .learning_rate = (float)mcl__learning_rate(&t->options, t->progress.step ? t->progress.step : 1, t->steps_per_epoch),
        .gradient_norm = t->gradient_norm,
        .pictures_per_second = training > 0 ? (double)done * t->options.batch / training : 0,
        .seconds = l->seconds_before + elapsed,
        .seconds_left = per_step * (steps - t->progress.step),
    };
}

static mcl_status emit(mcl_trainer *t, const loop *l, const mcl_event *event, mcl_error *error)
{
    if (l->function) l->function(event, l->user);
    return t->log ? mcl__run_log_event(t->log, event, error) : MCL_OK;
}

static mcl_status save(mcl_trainer *t, const loop *l, const char *name, mcl_error *error)
{
    if (!t->options.run) return MCL_OK;
    char *path = mcl__text("%s/%s.safetensors", t->options.run, name);
    if (!path) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
    t->progress.seconds = l->seconds_before + mcl__now() - l->began;
    mcl_status status = mcl__checkpoint_save(t, path, error);
    t->checkpointed = mcl__now();
    mcl_event event = event_of(t, l, MCL_EVENT_CHECKPOINT);
    event.message = path;
    if (status == MCL_OK && l->function) l->function(&event, l->user);
    free(path);
    return status;
}

static mcl_status slab_to_host(mcl__model *model, const mcl__slab *slab, float **host, mcl_error *error)
{
    if (!slab->buffer) return MCL_OK;
    uint64_t bytes = (uint64_t)slab->elements * sizeof **host;
    if (!*host && !(*host = malloc(bytes))) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory to keep the best weights");
    MCL_TRY_DEVICE(model->device, mcl_buffer_read(slab->buffer, 0, bytes, *host), error);
    return MCL_OK;
}

static mcl_status slab_from_host(mcl__model *model, const mcl__slab *slab, const float *host, mcl_error *error)
{
    if (!slab->buffer) return MCL_OK;
    MCL_TRY_DEVICE(model->device, mcl_buffer_write(slab->buffer, 0, (uint64_t)slab->elements * sizeof *host, host), error);
    model->generation++;
    return MCL_OK;
}

/* Validates at the end of an epoch and writes `best` before `last`, so that `last` never speaks of a best that is not there. */
static mcl_status finish_epoch(mcl_trainer *t, loop *l, mcl_error *error)
{
    MCL_TRY(drain(t, error));
    mcl_event event = event_of(t, l, MCL_EVENT_EPOCH);
    double began = mcl__now();
    if (t->part_count[MCL_PART_VALIDATION])
        MCL_TRY(mcl_trainer_evaluate(t, MCL_PART_VALIDATION, &event.validation, error));
    l->evaluating += mcl__now() - began;
    const mcl_metrics *judge = event.validation.samples ? &event.validation : &event.train;
    mcl__progress *p = &t->progress;
    event.best = !p->best_epoch || judge->accuracy > p->best_accuracy ||
                 (judge->accuracy == p->best_accuracy && judge->loss < p->best_loss);
    if (event.best) {
        p->best_epoch = p->epoch + 1;
        p->best_accuracy = judge->accuracy;
        p->best_loss = judge->loss;
        MCL_TRY(slab_to_host(t->model, &t->model->value, &t->best_value, error));
        MCL_TRY(slab_to_host(t->model, &t->model->running_value, &t->best_running, error));
    }
    end_epoch(t);
    if (event.best) MCL_TRY(save(t, l, "best", error));
    MCL_TRY(emit(t, l, &event, error));
    return save(t, l, "last", error);
}

/* The best weights of an earlier session, into the snapshot. */
static mcl_status read_best(mcl_trainer *t, mcl_error *error)
{
    float *value = NULL, *running = NULL;
    char *path = mcl__text("%s/best.safetensors", t->options.run);
    mcl_status status = path ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a path");
    if (status == MCL_OK) status = slab_to_host(t->model, &t->model->value, &value, error);
    if (status == MCL_OK) status = slab_to_host(t->model, &t->model->running_value, &running, error);
    if (status == MCL_OK) status = mcl__weights_load(t->model, path, error);
    if (status == MCL_OK) status = slab_to_host(t->model, &t->model->value, &t->best_value, error);
    if (status == MCL_OK) status = slab_to_host(t->model, &t->model->running_value, &t->best_running, error);
    if (status == MCL_OK) status = slab_from_host(t->model, &t->model->value, value, error);
    if (status == MCL_OK) status = slab_from_host(t->model, &t->model->running_value, running, error);
    free(path);
    free(value);
    free(running);
    return status;
}

/* Brings the best weights into the model and keeps the present ones; *value, *running NULL on entry. */
static mcl_status swap_in_best(mcl_trainer *t, float **value, float **running, mcl_error *error)
{
    if (!t->best_value) return MCL_OK;
    MCL_TRY(slab_to_host(t->model, &t->model->value, value, error));
    MCL_TRY(slab_to_host(t->model, &t->model->running_value, running, error));
    MCL_TRY(slab_from_host(t->model, &t->model->value, t->best_value, error));
    return slab_from_host(t->model, &t->model->running_value, t->best_running, error);
}

static mcl_status finish_run(mcl_trainer *t, loop *l, mcl_error *error)
{
    mcl_event event = event_of(t, l, MCL_EVENT_DONE);
    event.epoch = t->progress.best_epoch;
    if (!t->best_value && t->progress.best_epoch) MCL_TRY(read_best(t, error));
    if (t->part_count[MCL_PART_TEST]) {
        float *value = NULL, *running = NULL;
        mcl_status status = swap_in_best(t, &value, &running, error);
        if (status == MCL_OK) status = mcl_trainer_evaluate(t, MCL_PART_TEST, &event.test, error);
        if (status == MCL_OK && t->part_count[MCL_PART_VALIDATION])
            status = mcl_trainer_evaluate(t, MCL_PART_VALIDATION, &event.validation, error);
        if (value && status == MCL_OK) status = slab_from_host(t->model, &t->model->value, value, error);
        if (running && status == MCL_OK) status = slab_from_host(t->model, &t->model->running_value, running, error);
        free(value);
        free(running);
        MCL_TRY(status);
    }
    return emit(t, l, &event, error);
}

static mcl_status show(mcl_trainer *t, loop *l, mcl_error *error)
{
    MCL_TRY(drain(t, error));
    l->shown = mcl__now();
    if (!l->warm_step) {
        l->warm_step = t->progress.step;
        l->warm = l->shown;
    }
    mcl_event event = event_of(t, l, MCL_EVENT_PROGRESS);
    if (l->function) l->function(&event, l->user);
    return MCL_OK;
}

static bool checkpoint_due(const mcl_trainer *t)
{
    const mcl_train_options *o = &t->options;
    return (o->checkpoint_steps && t->progress.step % o->checkpoint_steps == 0) ||
           (o->checkpoint_seconds > 0 && mcl__now() - t->checkpointed > o->checkpoint_seconds);
}

static mcl_status loop_epochs(mcl_trainer *t, loop *l, mcl_error *error)
{
    const mcl_train_options *o = &t->options;
    while (t->progress.epoch < o->epochs && !(o->max_steps && t->progress.step >= o->max_steps)) {
        if (!epoch_complete(t)) {
            MCL_TRY(enqueue_step(t, error));
            bool stop = atomic_load(&t->stop);
            if (stop || t->progress.step - t->drained >= SHOW_STEPS || mcl__now() - l->shown > show_seconds) MCL_TRY(show(t, l, error));
            if (stop || (checkpoint_due(t) && !epoch_complete(t))) {
                MCL_TRY(drain(t, error));
                MCL_TRY(save(t, l, "last", error));
            }
            if (stop) return mcl__fail(error, MCL_ERROR_INTERRUPTED, "stopped after step %d, which is saved", t->progress.step);
        }
        if (epoch_complete(t)) MCL_TRY(finish_epoch(t, l, error));
    }
    MCL_TRY(drain(t, error));
    return t->progress.position ? save(t, l, "last", error) : MCL_OK;
}

mcl_status mcl_trainer_run(mcl_trainer *t, mcl_event_function function, void *user, mcl_error *error)
{
    mcl_error local = {0};
    if (!error) error = &local;
    loop l = {.function = function, .user = user, .began = mcl__now(), .seconds_before = t->progress.seconds,
              .session_first = t->progress.step};
    mcl_status status = loop_epochs(t, &l, error);
    if (status == MCL_ERROR_DIVERGED) {
        mcl_status saved = save(t, &l, "last", NULL);
        if (saved != MCL_OK) mcl__log(MCL_LOG_WARNING, "the last good state could not be saved: %s", mcl_status_sentence(saved));
    }
    return status == MCL_OK ? finish_run(t, &l, error) : status;
}

mcl_status mcl_trainer_save(mcl_trainer *t, const char *path, mcl_error *error)
{
    MCL_TRY(drain(t, error));
    return mcl__checkpoint_save(t, path, error);
}
