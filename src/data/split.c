/* Drawing the parts of a data set, and the order of an epoch. Whole numbers only, so that every machine draws the same. */
#include "base/random.h"
#include "data/dataset.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Samples of one part, grouped by class: class c has order[first[c]] to order[first[c + 1] - 1], ascending. */
struct groups { int32_t *order, *first; int classes; };

static void free_groups(struct groups *groups)
{
    free(groups->order);
    free(groups->first);
}

static mcl_status group(const mcl_dataset *data, mcl_part part, struct groups *groups, mcl_error *error)
{
    int classes = data->info.classes;
    groups->classes = classes;
    groups->first = calloc((size_t)classes + 2, sizeof *groups->first);
    groups->order = malloc(((size_t)data->info.count + 1) * sizeof *groups->order);
    if (!groups->first || !groups->order) return mcl__data_no_memory(data, error);
    for (int i = 0; i < data->info.count; i++)
        if (data->found_part[i] == part) groups->first[data->labels[i] + 2]++;
    for (int c = 2; c <= classes + 1; c++) groups->first[c] += groups->first[c - 1];
    for (int i = 0; i < data->info.count; i++)
        if (data->found_part[i] == part) groups->order[groups->first[data->labels[i] + 1]++] = i;
    return MCL_OK;
}

/* Shares `wanted` out in proportion to the classes' sizes: the whole parts first, then one each by largest remainder,
 * the lower class first among equals. */
static mcl_status share_out(const mcl_dataset *data, const struct groups *groups, int32_t wanted, int32_t *shares, mcl_error *error)
{
    int classes = groups->classes;
    int64_t total = groups->first[classes], left = wanted;
    int64_t *remainder = calloc((size_t)classes, sizeof *remainder);
    if (!remainder) return mcl__data_no_memory(data, error);
    for (int c = 0; c < classes; c++) {
        int64_t size = groups->first[c + 1] - groups->first[c];
        shares[c] = (int32_t)(size * wanted / total);
        remainder[c] = size * wanted % total;
        left -= shares[c];
    }
    for (; left > 0; left--) {
        int best = 0;
        for (int c = 1; c < classes; c++)
            if (remainder[c] > remainder[best]) best = c;
        shares[best]++;
        remainder[best] = -1;
    }
    free(remainder);
    return MCL_OK;
}

/* Moves `wanted` samples of `from` to part `to`, drawn within each class: its samples are shuffled (stream of `purpose`,
 * t = class) and the first ones go. */
static mcl_status draw(mcl_dataset *data, mcl_part from, int to, int32_t wanted, uint64_t seed, const char *purpose,
                       mcl_error *error)
{
    struct groups groups = {0};
    int32_t *shares = calloc((size_t)data->info.classes, sizeof *shares);
    mcl_status status = shares ? group(data, from, &groups, error) : mcl__data_no_memory(data, error);
    if (status == MCL_OK) status = share_out(data, &groups, wanted, shares, error);
    for (int c = 0; status == MCL_OK && c < groups.classes; c++) {
        mcl__random random = {.seed = seed, .stream = mcl__random_stream(purpose, NULL), .t = (uint32_t)c};
        int32_t *samples = groups.order + groups.first[c];
        mcl__random_shuffle(random, samples, groups.first[c + 1] - groups.first[c]);
        for (int32_t i = 0; i < shares[c]; i++) data->found_part[samples[i]] = (uint8_t)to;
    }
    free_groups(&groups);
    free(shares);
    return status;
}

static int32_t count_part(const mcl_dataset *data, int part)
{
    int32_t count = 0;
    for (int i = 0; i < data->info.count; i++) count += data->found_part[i] == part;
    return count;
}

static mcl_status hold_out(mcl_dataset *data, mcl_part to, double fraction, const mcl_dataset_options *options, const char *purpose,
                           mcl_error *error)
{
    int32_t have = count_part(data, MCL_PART_TRAIN), wanted = (int32_t)lround(fraction * have);
    if (fraction <= 0 || count_part(data, (int)to) > 0) return MCL_OK;
    if (wanted == 0) wanted = 1;
    if (wanted >= have)
        return mcl__fail(error, MCL_ERROR_INVALID, "%s: %d pictures are too few to hold out a fraction of %g", data->path, have,
                         fraction);
    return draw(data, MCL_PART_TRAIN, (int)to, wanted, options->seed, purpose, error);
}

static mcl_status list_part(mcl_dataset *data, mcl_part part, mcl_error *error)
{
    int32_t count = count_part(data, (int)part), next = 0;
    data->info.part_count[part] = count;
    data->part[part] = malloc(((size_t)count + 1) * sizeof *data->part[part]);
    if (!data->part[part]) return mcl__data_no_memory(data, error);
    for (int i = 0; i < data->info.count; i++)
        if (data->found_part[i] == part) data->part[part][next++] = i;
    return MCL_OK;
}

mcl_status mcl__split(mcl_dataset *data, const mcl_dataset_options *options, mcl_error *error)
{
    static const char *const limit_streams[MCL_PARTS] = {"limit/train", "limit/validation", "limit/test"};
    MCL_TRY(hold_out(data, MCL_PART_TEST, options->test, options, "split/test", error));
    MCL_TRY(hold_out(data, MCL_PART_VALIDATION, options->validation, options, "split/validation", error));
    for (int part = 0; part < MCL_PARTS; part++) {
        int32_t excess = count_part(data, part) - options->limit;
        if (options->limit > 0 && excess > 0)
            MCL_TRY(draw(data, (mcl_part)part, MCL_PARTS, excess, options->seed, limit_streams[part], error));
    }
    return MCL_OK;
}

mcl_status mcl__list_parts(mcl_dataset *data, mcl_error *error)
{
    for (int part = 0; part < MCL_PARTS; part++) MCL_TRY(list_part(data, (mcl_part)part, error));
    return MCL_OK;
}

void mcl__epoch_order(const int32_t *samples, int count, uint64_t seed, uint32_t epoch, int32_t *order)
{
    if (count <= 0) return;
    memcpy(order, samples, (size_t)count * sizeof *order);
    mcl__random_shuffle((mcl__random){.seed = seed, .stream = mcl__random_stream("shuffle", NULL), .t = epoch}, order, count);
}
