/* Counting memory by the batch. It need not grow evenly: fixed workspace, other tiles, activations made again; so nothing is
 * extrapolated, and each batch that is named has been counted. */
#include "train/need.h"
#include "base/arena.h"
#include <stdio.h>

static int micro_batches(const mcl__need *need) { return need->options ? need->options->micro_batches : 1; }

static mcl_status add_training(const mcl__need *need, const mcl_train_options *options, int batch, uint64_t *bytes,
                               mcl_error *error)
{
    uint64_t plan;
    mcl__feed feed = mcl__feed_shape(need->pictures, batch, need->count);
    MCL_TRY(mcl__purpose_train_bytes(need->model, need->network, &feed, options, &plan, error));
    *bytes += plan + mcl__feed_bytes(&feed);
    return MCL_OK;
}

static mcl_status add_evaluation(const mcl__need *need, int batch, uint64_t *bytes, mcl_error *error)
{
    uint64_t plan;
    mcl__feed feed = mcl__feed_shape(need->pictures, batch, need->evaluated);
    MCL_TRY(mcl__purpose_evaluate_bytes(need->model, need->network, &feed, need->options && need->options->no_fuse, &plan, error));
    *bytes += plan + mcl__feed_bytes(&feed);
    return MCL_OK;
}

mcl_status mcl__need_bytes(const mcl__need *need, int batch, uint64_t *bytes, mcl_error *error)
{
    const mcl_train_options *options = need->options;
    int micro = batch / micro_batches(need), rest = need->count % batch % micro;
    *bytes = 0;
    if (options) MCL_TRY(add_training(need, options, micro, bytes, error));
    if (options && options->keep_partial && rest) MCL_TRY(add_training(need, options, rest, bytes, error));
    if (!need->evaluated) return MCL_OK;
    return add_evaluation(need, micro < need->evaluated ? micro : need->evaluated, bytes, error);
}

static bool fits(const mcl__need *need, int batch, uint64_t room)
{
    uint64_t bytes;
    if (mcl__need_bytes(need, batch, &bytes, NULL) == MCL_OK && bytes <= room) return true;
    if (!need->options || need->options->recompute != MCL_RECOMPUTE_AUTO) return false;
    mcl_train_options options = *need->options;
    mcl__need less = *need;
    less.options = &options;
    options.recompute = MCL_RECOMPUTE_ON;
    return mcl__need_bytes(&less, batch, &bytes, NULL) == MCL_OK && bytes <= room;
}

int mcl__need_largest(const mcl__need *need, int most, uint64_t room)
{
    int unit = micro_batches(need), low = 0, high = most / unit;
    if (high > 0 && fits(need, high * unit, room)) return high * unit;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (fits(need, middle * unit, room)) low = middle;
        else high = middle;
    }
    return low * unit;
}

/* Beside `used` bytes. A device that has refused memory gave less than it says: what it did give is there. */
static uint64_t room_beside(const mcl_device *device, uint64_t used)
{
    uint64_t all = device->info.memory ? device->info.memory : UINT64_MAX;
    if (device->error.status != MCL_OK) all = device->counters.peak_bytes_allocated;
    return all > used ? all - used : 0;
}

mcl_status mcl__need_advise(const mcl__need *need, int batch, mcl_error *error)
{
    const mcl_device *device = need->model->device;
    if (!error) return MCL_ERROR_MEMORY;
    int largest = mcl__need_largest(need, batch - 1, room_beside(device, device->counters.bytes_allocated));
    mcl_error first = *error;
    *error = (mcl_error){0};
    if (!largest) return mcl__fail(error, first.status, "%s; no smaller batch fits either", first.text);
    if (!need->options) return mcl__fail(error, first.status, "%s; a batch of %d would fit", first.text, largest);
    return mcl__fail(error, first.status, "%s; a batch of %d would fit (or set micro_batches to compute %d in parts)", first.text,
                     largest, batch);
}

/* Of whole batches: what an epoch leaves over is of any size. False: twice the batch is more than a tensor can have. */
static bool marginal(const mcl__need *need, int batch, double *bytes)
{
    mcl_train_options options = *need->options;
    mcl__need whole = *need;
    uint64_t one, two;
    options.keep_partial = false;
    whole.options = &options;
    if (mcl__need_bytes(&whole, batch, &one, NULL) != MCL_OK) return false;
    if (mcl__need_bytes(&whole, 2 * batch, &two, NULL) != MCL_OK) return false;
    *bytes = ((double)two - (double)one) / batch;
    return true;
}

char *mcl__need_text(const mcl__need *need, int batch, uint64_t used)
{
    const mcl_device *device = need->model->device;
    char more[96] = "";
    double bytes;
    if (marginal(need, batch, &bytes))
        snprintf(more, sizeof more, "each picture more takes %.3f MiB, evaluation included; ", bytes / 0x1p20);
    int largest = mcl__need_largest(need, need->count, room_beside(device, used));
    return mcl__text("%sa batch of %d%s fits the device's %.0f MiB\n", more, largest,
                     largest == need->count ? ", all there are," : " at most", (double)device->info.memory / 0x1p20);
}
