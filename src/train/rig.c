/* A training on made-up pictures; see rig.h. */
#include "train/rig.h"
#include "base/clock.h"
#include "base/random.h"
#include "train/need.h"
#include "train/trainer.h"
#include <stdlib.h>
#include <time.h>

static mcl_status make_pictures(mcl__rig *r, int count, mcl_error *error)
{
    mcl_preprocessing preprocessing = {.mean = {127.5f, 127.5f, 127.5f, 127.5f},
                                       .inverse_deviation = {0.0136f, 0.0136f, 0.0136f, 0.0136f}};
    mcl__pictures *p = &r->pictures;
    int H, W, C, classes = mcl_network_classes(r->network);
    mcl_network_input_shape(r->network, &H, &W, &C);
    MCL_TRY(mcl__pictures_create_empty(r->device, H, W, C, &preprocessing, p, error));
    uint64_t bytes = (uint64_t)count * H * W * C;
    if (bytes >= 1ull << 31) return mcl__fail(error, MCL_ERROR_INVALID, "%d pictures of %d x %d x %d are too many", count, H, W, C);
    p->resident = true;
    p->count = count;
    MCL_TRY_DEVICE(r->device, mcl_buffer_create(r->device, bytes, &p->pixels), error);
    MCL_TRY_DEVICE(r->device, mcl_buffer_create(r->device, (uint64_t)count * sizeof(int32_t), &p->labels), error);
    uint8_t *pixels = malloc(bytes);
    int32_t *labels = malloc((size_t)count * sizeof *labels);
    mcl_status status = pixels && labels ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for pictures");
    if (status == MCL_OK) {
        uint32_t state = 1;
        for (uint64_t i = 0; i < bytes; i++) pixels[i] = (uint8_t)(mcl__random_filler(&state) >> 24);
        for (int i = 0; i < count; i++) labels[i] = (int)(mcl__random_filler(&state) >> 8) % classes;
        status = mcl_buffer_write(p->pixels, 0, bytes, pixels);
        if (status == MCL_OK) status = mcl_buffer_write(p->labels, 0, (uint64_t)count * sizeof *labels, labels);
        if (status != MCL_OK) mcl__device_error_to(r->device, status, error);
    }
    free(pixels);
    free(labels);
    return status;
}

static mcl_status begin_feed(mcl__rig *r, mcl_error *error)
{
    int count = r->pictures.count;
    int32_t *order = malloc((size_t)count * sizeof *order);
    if (!order) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the order of samples");
    for (int i = 0; i < count; i++) order[i] = i;
    mcl_status status = mcl__feed_begin(&r->feed, order, count, 0, error);
    free(order);
    return status;
}

mcl_status mcl__rig_create(mcl__rig *r, const mcl_train_options *options, int pictures, mcl_error *error)
{
    MCL_TRY(mcl__train_options_resolve(options, &r->options, error));
    MCL_TRY(mcl__model_for(r->device, r->network, &r->options, &r->model, error));
    MCL_TRY(mcl__initial_begin(r->network, r->model, 1, &r->initial, error));
    MCL_TRY(make_pictures(r, pictures, error));
    MCL_TRY(mcl__feed_create(&r->pictures, r->options.batch, pictures, &r->feed, error));
    return begin_feed(r, error);
}

static mcl_status end_initial(mcl__rig *r, mcl_error *error)
{
    mcl__initial *initial = r->initial;
    r->initial = NULL;
    return mcl__initial_end(initial, error);
}

mcl_status mcl__rig_plan(mcl__rig *r, mcl_error *error)
{
    mcl_status status = mcl__purpose_train(r->model, r->network, &r->feed, r->options.batch, &r->options, &r->train, error);
    mcl__need need = {.model = r->model, .network = r->network, .pictures = &r->pictures, .options = &r->options,
                      .count = r->pictures.count};
    if (status == MCL_ERROR_MEMORY) mcl__need_advise(&need, r->options.batch, error);
    MCL_TRY(status);
    return end_initial(r, error);
}

void mcl__rig_destroy(mcl__rig *r)
{
    end_initial(r, NULL);
    mcl__purpose_destroy(&r->train);
    mcl__feed_destroy(&r->feed);
    if (r->pictures.device) mcl__pictures_destroy(&r->pictures);
    mcl__model_destroy(r->model);
}

mcl_status mcl__rig_write_step(mcl__rig *r)
{
    int s = ++r->step, batch = r->options.batch, batches = r->pictures.count / batch;
    mcl_step step = {.step = s,
                     .first_sample = (s - 1) % batches * batch,
                     .valid_samples = batch,
                     .slot = s % MCL_HISTORY,
                     .inverse_valid = 1.0f / (float)batch,
                     .seed_low = 1};
    for (int g = 0; g < MCL_STEP_GROUPS; g++) step.group[g] = mcl__step_group(&r->options, s, batches);
    return mcl__plan_step(r->train.plan, &step);
}

/* Not what a clock shows: a CPU device computes on the same cores and interrupts the host. */
static double thread_seconds(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

mcl_status mcl__rig_steps(mcl__rig *r, int count, double *host, double *seconds)
{
    double start = mcl__seconds();
    for (int i = 0; i < count; i++) {
        double used = thread_seconds();
        MCL_TRY(mcl__rig_write_step(r));
        for (int s = MCL__LOAD; s < MCL__SEGMENTS; s++) MCL_TRY(mcl__plan_run(r->train.plan, (mcl__segment)s));
        host[i] = thread_seconds() - used;
    }
    MCL_TRY(mcl_device_finish(r->device));
    *seconds = mcl__seconds() - start;
    return MCL_OK;
}
