/* A whole run: epochs, validation, checkpoints, the best weights, and the test at last. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "nn/weights.h"
#include "train/trainer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double show_seconds = 0.25; /* where enqueuing takes long itself: steps on the host, pictures from files */

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
    double elapsed = mcl__seconds() - l->began, measured = elapsed;
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
        .train = mcl__trainer_metrics_so_far(t),
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
    t->progress.seconds = l->seconds_before + mcl__seconds() - l->began;
    mcl_status status = mcl__checkpoint_save(t, path, error);
    t->checkpointed = mcl__seconds();
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

static mcl_status evaluate(mcl_trainer *t, mcl_part part, mcl_metrics *metrics, mcl_error *error)
{
    return mcl__purpose_metrics(&t->eval, &t->eval_feed, t->part[part], t->part_count[part], &t->stop, metrics, error);
}

static mcl_status stopped(const mcl_trainer *t, mcl_error *error)
{
    *error = (mcl_error){0}; /* what an evaluation said of it */
    return mcl__fail(error, MCL_ERROR_INTERRUPTED, "stopped after step %d%s", t->progress.step,
                     t->options.run ? ", which is saved" : "");
}

/* Where something ended the run that is no fault of the steps done, such as a picture that cannot be read, they are saved. Returns
 * the status that it was given, or what came of the steps. */
static mcl_status keep_steps(mcl_trainer *t, const loop *l, mcl_status status, mcl_error *error)
{
    mcl_error own = {0};
    if (status == MCL_OK || mcl_device_error(t->device)->status != MCL_OK) return status;
    mcl_status kept = mcl__trainer_drain(t, &own);
    if (kept == MCL_OK) kept = save(t, l, "last", &own);
    if (kept == MCL_OK && status == MCL_ERROR_INTERRUPTED) return stopped(t, error);
    if (kept == MCL_ERROR_DIVERGED || (kept != MCL_OK && status == MCL_ERROR_INTERRUPTED)) {
        *error = own;
        return kept;
    }
    size_t used = strlen(error->text);
    if (kept != MCL_OK) mcl__log(MCL_LOG_WARNING, "the steps done could not be saved: %s", own.text);
    else if (t->options.run) snprintf(error->text + used, sizeof error->text - used, "; step %d is saved", t->progress.step);
    return status;
}

/* Validates at the end of an epoch and writes `best` before `last`, so that `last` never speaks of a best that is not there. */
static mcl_status finish_epoch(mcl_trainer *t, loop *l, mcl_error *error)
{
    MCL_TRY(mcl__trainer_drain(t, error));
    mcl_event event = event_of(t, l, MCL_EVENT_EPOCH);
    double began = mcl__seconds();
    MCL_TRY(keep_steps(t, l, evaluate(t, MCL_PART_VALIDATION, &event.validation, error), error));
    l->evaluating += mcl__seconds() - began;
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
    mcl__trainer_end_epoch(t);
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

/* The same, where somebody may have removed the file: then the present weights stand for the best, with a warning. */
static mcl_status find_best(mcl_trainer *t, const loop *l, mcl_error *error)
{
    char *path = mcl__text("%s/best.safetensors", t->options.run);
    bool there = path && mcl__file_exists(path);
    free(path);
    if (there) return read_best(t, error);
    mcl_event event = event_of(t, l, MCL_EVENT_WARNING);
    event.message = "the run's best.safetensors is gone: the last weights are tested instead";
    if (l->function) l->function(&event, l->user);
    return MCL_OK;
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
    if (!t->best_value && t->progress.best_epoch) MCL_TRY(find_best(t, l, error));
    if (!t->best_value) event.epoch = 0; /* the last weights */
    if (t->part_count[MCL_PART_TEST] || t->part_count[MCL_PART_VALIDATION]) {
        float *value = NULL, *running = NULL;
        mcl_status status = swap_in_best(t, &value, &running, error);
        if (status == MCL_OK) status = evaluate(t, MCL_PART_TEST, &event.test, error);
        if (status == MCL_OK) status = evaluate(t, MCL_PART_VALIDATION, &event.validation, error);
        mcl_status back = value ? slab_from_host(t->model, &t->model->value, value, status == MCL_OK ? error : NULL) : MCL_OK;
        if (running && back == MCL_OK)
            back = slab_from_host(t->model, &t->model->running_value, running, status == MCL_OK ? error : NULL);
        if (status == MCL_OK) status = back;
        if (status == MCL_ERROR_INTERRUPTED) stopped(t, error);
        free(value);
        free(running);
        MCL_TRY(status);
    }
    return emit(t, l, &event, error);
}

static mcl_status show(mcl_trainer *t, loop *l, mcl_error *error)
{
    MCL_TRY(mcl__trainer_drain(t, error));
    l->shown = mcl__seconds();
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
           (o->checkpoint_seconds > 0 && mcl__seconds() - t->checkpointed > o->checkpoint_seconds);
}

static mcl_status loop_epochs(mcl_trainer *t, loop *l, mcl_error *error)
{
    const mcl_train_options *o = &t->options;
    /* An epoch that was complete when the run was stopped has its validation still to come, whatever the limit. */
    while (t->progress.epoch < o->epochs &&
           (mcl__trainer_epoch_complete(t) || !(o->max_steps && t->progress.step >= o->max_steps))) {
        if (!mcl__trainer_epoch_complete(t)) {
            MCL_TRY(keep_steps(t, l, mcl__trainer_step(t, error), error));
            if (mcl__trainer_drain_due(t) || mcl__seconds() - l->shown > show_seconds) MCL_TRY(show(t, l, error));
            bool stop = atomic_load(&t->stop); /* also one that came while steps were waited for: none is enqueued behind them */
            if (stop && t->drained < t->progress.step) MCL_TRY(show(t, l, error));
            if (stop || (checkpoint_due(t) && !mcl__trainer_epoch_complete(t))) {
                MCL_TRY(mcl__trainer_drain(t, error));
                MCL_TRY(save(t, l, "last", error));
            }
            if (stop) return stopped(t, error);
        }
        if (mcl__trainer_epoch_complete(t)) MCL_TRY(finish_epoch(t, l, error));
    }
    MCL_TRY(mcl__trainer_drain(t, error));
    return t->progress.position ? save(t, l, "last", error) : MCL_OK;
}

mcl_status mcl_trainer_run(mcl_trainer *t, mcl_event_function function, void *user, mcl_error *error)
{
    mcl_error local = {0};
    if (!error) error = &local;
    loop l = {.function = function, .user = user, .began = mcl__seconds(), .seconds_before = t->progress.seconds,
              .session_first = t->progress.step};
    mcl_status status = loop_epochs(t, &l, error);
    if (status == MCL_ERROR_DIVERGED) {
        mcl_status saved = save(t, &l, "last", NULL);
        if (saved != MCL_OK) mcl__log(MCL_LOG_WARNING, "the last good state could not be saved: %s", mcl_status_sentence(saved));
    }
    if (status == MCL_OK) status = finish_run(t, &l, error);
    if (status == MCL_ERROR_INTERRUPTED) atomic_store(&t->stop, false); /* it is done; a later run is another matter */
    return status;
}

mcl_status mcl_trainer_save(mcl_trainer *t, const char *path, mcl_error *error)
{
    MCL_TRY(mcl__trainer_drain(t, error));
    return mcl__checkpoint_save(t, path, error);
}
