/* One training step after another: the step block, replaying the plans, taking the outcomes, and what happens when one of them is
 * NaN. The host waits for the device only in mcl__trainer_drain, and where a ring of step blocks or batches is full. */
#include "base/clock.h"
#include "train/trainer.h"

static int batch_of(const mcl_trainer *t, int position)
{
    int left = t->part_count[MCL_PART_TRAIN] - position;
    return left < t->options.batch ? left : t->options.batch;
}

static mcl_status begin_epoch(mcl_trainer *t, mcl_error *error)
{
    const int32_t *indices = t->part[MCL_PART_TRAIN];
    int count = t->part_count[MCL_PART_TRAIN];
    mcl__epoch_order(indices, count, t->options.seed, (uint32_t)t->progress.epoch, t->order);
    MCL_TRY(mcl__feed_begin(&t->train_feed, t->order, count, t->progress.position, error));
    t->epoch_begun = true;
    return MCL_OK;
}

static int micro_batches(const mcl_trainer *t, int size) { return (size + t->micro - 1) / t->micro; }

/* Of micro-batch `index` of the step after the present one, whose batch has `size` pictures. */
static mcl_step step_block(const mcl_trainer *t, int size, int index)
{
    int offset = index * t->micro, left = size - offset;
    mcl_step step = {
        .step = t->progress.step + 1,
        .epoch = t->progress.epoch,
        .first_sample = t->progress.position + offset,
        .valid_samples = left < t->micro ? left : t->micro,
        .batch_offset = offset,
        .micro_batch = index,
        .slot = (t->progress.step + 1) % MCL_HISTORY,
        .inverse_valid = 1.0f / (float)size,
        .seed_low = (unsigned)t->options.seed,
        .seed_high = (unsigned)(t->options.seed >> 32),
    };
    for (int g = 0; g < MCL_STEP_GROUPS; g++) step.group[g] = mcl__step_group(&t->options, step.step, t->steps_per_epoch);
    return step;
}

/* LOAD of a micro-batch; *plan is the one for as many pictures as it has. */
static mcl_status load(mcl_trainer *t, const mcl_step *step, mcl__plan **plan, mcl_error *error)
{
    bool whole = step->valid_samples == t->micro;
    mcl__feed *feed = whole ? &t->train_feed : &t->partial_feed;
    *plan = whole ? t->train.plan : t->partial.plan;
    if (!whole) MCL_TRY(mcl__feed_begin(feed, t->order, t->part_count[MCL_PART_TRAIN], step->first_sample, error));
    MCL_TRY(mcl__feed_next(feed, step->valid_samples, error));
    MCL_TRY_DEVICE(t->device, mcl__plan_step(*plan, step), error);
    return mcl__feed_load(feed, *plan, error);
}

/* What the user sees is 0.75 seconds old at most, or two steps: of two, the host prepares the second while the first is computed.
 * Where steps are short, two would keep the device at work as well as more, but on a CPU the first one after a wait costs the host
 * several times what each of those behind it does: see device/opencl/launch.c. */
int mcl__steps_ahead(double step_seconds)
{
    enum { LEAST = 2 };
    double steps = step_seconds > 0 ? 0.75 / step_seconds : LEAST;
    return steps < LEAST ? LEAST : steps > MCL__MOST_AHEAD ? MCL__MOST_AHEAD : (int)steps;
}

bool mcl__trainer_drain_due(const mcl_trainer *t) { return t->progress.step - t->drained >= t->ahead; }

static mcl_status run_step(mcl_trainer *t, mcl_error *error)
{
    if (t->progress.step == t->drained) t->ahead_since = mcl__seconds();
    if (!t->epoch_begun) MCL_TRY(begin_epoch(t, error));
    int size = batch_of(t, t->progress.position);
    mcl__plan *plan = NULL;
    for (int i = 0; i < micro_batches(t, size); i++) {
        mcl_step step = step_block(t, size, i);
        MCL_TRY(load(t, &step, &plan, error));
        MCL_TRY_DEVICE(t->device, mcl__plan_run(plan, MCL__COMPUTE), error);
    }
    MCL_TRY_DEVICE(t->device, mcl__plan_run(plan, MCL__REDUCE), error);
    MCL_TRY_DEVICE(t->device, mcl__plan_run(plan, MCL__UPDATE), error);
    t->progress.step++;
    t->progress.position += size;
    return MCL_OK;
}

/* A step that failed may have taken pictures from the stream: the next one begins again where the last whole one ended. */
mcl_status mcl__trainer_step(mcl_trainer *t, mcl_error *error)
{
    mcl_status status = run_step(t, error);
    if (status != MCL_OK) t->epoch_begun = false;
    return status;
}

bool mcl__trainer_epoch_complete(const mcl_trainer *t)
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
    int size = batch_of(t, t->progress.position);
    for (int i = 0; i < micro_batches(t, size) && !name; i++) {
        mcl__plan *plan;
        mcl_step step = step_block(t, size, i);
        MCL_TRY(load(t, &step, &plan, error));
        MCL_TRY_DEVICE(t->device, mcl__plan_find_bad(plan, &name, &op, &backward), error);
    }
    t->epoch_begun = false;
    MCL_TRY_DEVICE(t->device, mcl__model_record_reset(t->model), error);
    if (!name)
        return mcl__fail(error, MCL_ERROR_DIVERGED,
                         "step %d: the gradient's norm is too large for a float; the state is that of step %d. "
                         "Lower the learning rate, or look at the data",
                         bad, bad - 1);
    return mcl__fail(error, MCL_ERROR_DIVERGED,
                     "step %d: the first NaN or infinity comes out of %s (%s%s); the state is that of step %d. "
                     "Lower the learning rate, or look at the data",
                     bad, name, op, backward ? ", backward" : "", bad - 1);
}

static int step_size(const mcl_trainer *t, int step)
{
    return batch_of(t, (step - 1) % t->steps_per_epoch * t->options.batch);
}

/* Waits, and takes the outcomes of all steps done into the epoch's sums and the log. */
mcl_status mcl__trainer_drain(mcl_trainer *t, mcl_error *error)
{
    if (t->drained == t->progress.step) return MCL_OK;
    mcl_state state;
    MCL_TRY_DEVICE(t->device, mcl__model_record(t->model, &state), error);
    t->ahead = mcl__steps_ahead((mcl__seconds() - t->ahead_since) / (t->progress.step - t->drained));
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

mcl_metrics mcl__trainer_metrics_so_far(const mcl_trainer *t)
{
    double n = t->progress.seen ? (double)t->progress.seen : 1;
    return (mcl_metrics){.loss = t->progress.loss_sum / n, .accuracy = t->progress.hits / n, .samples = t->progress.seen};
}

void mcl__trainer_end_epoch(mcl_trainer *t)
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
    if (mcl__trainer_epoch_complete(t)) {
        MCL_TRY(mcl__trainer_drain(t, error)); /* its outcomes belong to the epoch that ends */
        mcl__trainer_end_epoch(t);
    }
    for (; *done < count && !mcl__trainer_epoch_complete(t); ++*done) {
        MCL_TRY(mcl__trainer_step(t, error));
        if (mcl__trainer_drain_due(t)) MCL_TRY(mcl__trainer_drain(t, error));
    }
    *epoch_end = mcl__trainer_epoch_complete(t);
    return MCL_OK;
}

mcl_status mcl_trainer_metrics(mcl_trainer *t, mcl_metrics *metrics, mcl_error *error)
{
    MCL_TRY(mcl__trainer_drain(t, error));
    *metrics = mcl__trainer_metrics_so_far(t);
    return MCL_OK;
}

mcl_status mcl_trainer_evaluate(mcl_trainer *t, mcl_part part, mcl_metrics *metrics, mcl_error *error)
{
    if ((unsigned)part >= MCL_PARTS) return mcl__fail(error, MCL_ERROR_INVALID, "there is no part %d of a data set", (int)part);
    MCL_TRY(mcl__trainer_drain(t, error));
    return mcl__purpose_metrics(&t->eval, &t->eval_feed, t->part[part], t->part_count[part], NULL, metrics, error);
}
