/* Resident pictures are uploaded once and gathered on the device through an order of indices; streamed batches come from the
 * data layer's threads through a small ring of host memory, so that neither kind waits for the device in a step. A device with
 * memory of its own has two places for them: an upload waits there for LOAD of two steps before, and LOAD for its upload. */
#include "train/feed.h"
#include <stdlib.h>
#include <string.h>

mcl_status mcl__device_error_to(mcl_device *device, mcl_status status, mcl_error *error)
{
    const mcl_error *kept = mcl_device_error(device);
    return kept->status != MCL_OK ? mcl__fail(error, kept->status, "%s", kept->text)
                                  : mcl__fail(error, status, "%s", mcl_status_sentence(status));
}

static bool fits_on_device(const mcl_device *device, uint64_t bytes)
{
    const mcl_device_info *info = &device->info;
    if (bytes >= (1ull << 31)) return false; /* a tensor has fewer than 2^31 elements */
    return (!info->max_allocation || bytes <= info->max_allocation) && (!info->memory || bytes <= info->memory / 3);
}

static uint64_t aligned(const mcl_device *device, uint64_t bytes)
{
    uint64_t alignment = device->info.alignment;
    return (bytes + alignment - 1) / alignment * alignment;
}

static mcl_status create_statistics(mcl__pictures *p, const mcl_preprocessing *preprocessing, mcl_error *error)
{
    uint64_t bytes = (uint64_t)p->C * sizeof(float);
    p->deviation_offset = aligned(p->device, bytes);
    MCL_TRY_DEVICE(p->device, mcl_buffer_create(p->device, p->deviation_offset + bytes, &p->statistics), error);
    return mcl__pictures_normalise(p, preprocessing, error);
}

mcl_status mcl__pictures_normalise(mcl__pictures *p, const mcl_preprocessing *preprocessing, mcl_error *error)
{
    uint64_t bytes = (uint64_t)p->C * sizeof(float);
    MCL_TRY_DEVICE(p->device, mcl_buffer_write(p->statistics, 0, bytes, preprocessing->mean), error);
    MCL_TRY_DEVICE(p->device, mcl_buffer_write(p->statistics, p->deviation_offset, bytes, preprocessing->inverse_deviation), error);
    return MCL_OK;
}

/* In parts, so that a folder of pictures never needs all its bytes on the host at once. */
static mcl_status upload_pixels(mcl__pictures *p, mcl_error *error)
{
    enum { PART_BYTES = 64 << 20 };
    uint64_t sample = (uint64_t)p->H * p->W * p->C, most = sample < PART_BYTES ? PART_BYTES / sample : 1;
    int room = most < (uint64_t)p->count ? (int)most : p->count;
    const uint8_t *all = mcl__dataset_pixels(p->data);
    if (all) {
        MCL_TRY_DEVICE(p->device, mcl_buffer_write(p->pixels, 0, sample * p->count, all), error);
        return MCL_OK;
    }
    uint8_t *part = malloc(sample * (uint64_t)room);
    int32_t *index = malloc((size_t)room * sizeof *index);
    mcl_status status = part && index ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for pictures");
    for (int first = 0; first < p->count && status == MCL_OK; first += room) {
        int n = p->count - first < room ? p->count - first : room;
        for (int i = 0; i < n; i++) index[i] = first + i;
        status = mcl__dataset_fetch(p->data, index, n, part, error);
        if (status == MCL_OK && (status = mcl_buffer_write(p->pixels, sample * first, sample * n, part)) != MCL_OK)
            mcl__device_error_to(p->device, status, error);
    }
    free(part);
    free(index);
    return status;
}

mcl_status mcl__pictures_create(mcl_device *device, mcl_dataset *data, const mcl_preprocessing *preprocessing,
                                mcl_residence residence, mcl__pictures *p, mcl_error *error)
{
    const mcl_dataset_info *info = mcl_dataset_get_info(data);
    *p = (mcl__pictures){
        .device = device, .data = data, .H = info->height, .W = info->width, .C = info->channels, .count = info->count};
    uint64_t bytes = (uint64_t)p->count * p->H * p->W * p->C;
    MCL_TRY(create_statistics(p, preprocessing, error));
    if (residence == MCL_RESIDENCE_STREAM || !fits_on_device(device, bytes)) {
        if (residence == MCL_RESIDENCE_DEVICE)
            return mcl__fail(error, MCL_ERROR_MEMORY,
                             "the pictures, %.0f MiB, do not fit on the device; set data.residence to auto",
                             (double)bytes / 0x1p20);
        return MCL_OK;
    }
    p->resident = true;
    MCL_TRY_DEVICE(device, mcl_buffer_create(device, bytes, &p->pixels), error);
    MCL_TRY_DEVICE(device, mcl_buffer_create(device, (uint64_t)p->count * sizeof(int32_t), &p->labels), error);
    MCL_TRY_DEVICE(device, mcl_buffer_write(p->labels, 0, (uint64_t)p->count * sizeof(int32_t), mcl__dataset_labels(data)), error);
    return upload_pixels(p, error);
}

mcl_status mcl__pictures_create_empty(mcl_device *device, int H, int W, int C, const mcl_preprocessing *preprocessing,
                                      mcl__pictures *p, mcl_error *error)
{
    *p = (mcl__pictures){.device = device, .H = H, .W = W, .C = C};
    return create_statistics(p, preprocessing, error);
}

void mcl__pictures_destroy(mcl__pictures *p)
{
    mcl_buffer_destroy(p->pixels);
    mcl_buffer_destroy(p->labels);
    mcl_buffer_destroy(p->statistics);
    *p = (mcl__pictures){0};
}

static mcl_status create_resident(mcl__feed *f, mcl_error *error)
{
    mcl_device *device = f->pictures->device;
    uint64_t bytes = (uint64_t)f->capacity * sizeof(int32_t);
    MCL_TRY_DEVICE(device, mcl_buffer_create(device, bytes, &f->order), error);
    for (int i = 0; i < 2; i++) {
        MCL_TRY_DEVICE(device, mcl__fence_create(device, &f->order_fence[i]), error);
        if (!(f->order_host[i] = malloc(bytes))) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the order of samples");
    }
    return MCL_OK;
}

static uint64_t batch_bytes(const mcl__feed *f) { return f->labels_offset + (uint64_t)f->batch * sizeof(int32_t); }

static mcl_status create_streamed(mcl__feed *f, mcl_error *error)
{
    const mcl__pictures *p = f->pictures;
    mcl_device *device = p->device;
    for (int i = 0; i < f->places; i++) {
        MCL_TRY_DEVICE(device, mcl_buffer_create(device, batch_bytes(f), &f->place[i].batch), error);
        MCL_TRY_DEVICE(device, mcl__fence_create(device, &f->place[i].read), error);
    }
    for (int i = 0; i < MCL__FEED_RING && p->data; i++) {
        MCL_TRY_DEVICE(device, mcl__staging_create(device, batch_bytes(f), &f->ring[i].batch), error);
        MCL_TRY_DEVICE(device, mcl__fence_create(device, &f->ring[i].uploaded), error);
    }
    return MCL_OK;
}

static mcl__feed sizes_of(const mcl__pictures *p, int batch, int capacity)
{
    mcl__feed feed = {.pictures = p, .batch = batch, .capacity = capacity, .places = 1};
    if (p->resident) return feed;
    feed.labels_offset = aligned(p->device, (uint64_t)batch * p->H * p->W * p->C);
    if (p->data && mcl__has_own_memory(p->device)) feed.places = MCL__FEED_PLACES;
    return feed;
}

/* Some buffer stands in for those that it has not, and is never touched. */
mcl__feed mcl__feed_shape(const mcl__pictures *pictures, int batch, int capacity)
{
    mcl__feed feed = sizes_of(pictures, batch, capacity);
    feed.order = feed.place[0].batch = feed.place[1].batch = pictures->statistics;
    return feed;
}

uint64_t mcl__feed_bytes(const mcl__feed *f)
{
    return f->pictures->resident ? (uint64_t)f->capacity * sizeof(int32_t) : (uint64_t)f->places * batch_bytes(f);
}

mcl_status mcl__feed_create(const mcl__pictures *pictures, int batch, int capacity, mcl__feed *feed, mcl_error *error)
{
    *feed = sizes_of(pictures, batch, capacity);
    return pictures->resident ? create_resident(feed, error) : create_streamed(feed, error);
}

void mcl__feed_destroy(mcl__feed *f)
{
    if (!f->pictures) return;
    mcl_device *device = f->pictures->device;
    mcl_device_finish(device); /* host memory may still be on its way */
    mcl__stream_destroy(f->stream);
    for (int i = 0; i < 2; i++) {
        mcl__fence_destroy(device, f->order_fence[i]);
        free(f->order_host[i]);
    }
    for (int i = 0; i < MCL__FEED_RING; i++) {
        mcl__fence_destroy(device, f->ring[i].uploaded);
        mcl__staging_destroy(device, &f->ring[i].batch);
    }
    for (int i = 0; i < MCL__FEED_PLACES; i++) {
        mcl__fence_destroy(device, f->place[i].read);
        mcl_buffer_destroy(f->place[i].batch);
    }
    mcl_buffer_destroy(f->order);
    *f = (mcl__feed){0};
}

mcl_status mcl__feed_begin(mcl__feed *f, const int32_t *indices, int count, int first, mcl_error *error)
{
    mcl_device *device = f->pictures->device;
    if (!f->pictures->resident) {
        mcl__stream_destroy(f->stream);
        f->stream = NULL;
        return mcl__stream_create(f->pictures->data, indices + first, count - first, f->batch, 2, &f->stream, error);
    }
    int turn = f->order_turn ^= 1;
    uint64_t bytes = (uint64_t)count * sizeof *indices;
    MCL_TRY_DEVICE(device, mcl__fence_wait(device, f->order_fence[turn]), error);
    memcpy(f->order_host[turn], indices, bytes);
    MCL_TRY_DEVICE(device, mcl__write_async(device, (mcl__view){f->order, 0, bytes}, f->order_host[turn]), error);
    MCL_TRY_DEVICE(device, mcl__fence_record(device, f->order_fence[turn]), error);
    return MCL_OK;
}

mcl_status mcl__feed_next(mcl__feed *f, int valid, mcl_error *error)
{
    const mcl__pictures *p = f->pictures;
    if (p->resident) return MCL_OK;
    const uint8_t *pixels;
    const int32_t *labels;
    int got;
    MCL_TRY(mcl__stream_next(f->stream, &pixels, &labels, &got, error));
    if (got != valid) return mcl__fail(error, MCL_ERROR_INVALID, "the stream gave %d pictures where %d were due", got, valid);
    int turn = f->turn = (f->turn + 1) % MCL__FEED_RING, place = turn % f->places;
    uint8_t *batch = f->ring[turn].batch.data;
    MCL_TRY_DEVICE(p->device, mcl__fence_wait(p->device, f->ring[turn].uploaded), error);
    memcpy(batch, pixels, (uint64_t)p->H * p->W * p->C * valid);
    memcpy(batch + f->labels_offset, labels, sizeof *labels * valid);
    mcl__view target = {f->place[place].batch, 0, batch_bytes(f)};
    MCL_TRY_DEVICE(p->device, mcl__upload(p->device, target, batch, f->place[place].read, f->ring[turn].uploaded), error);
    return MCL_OK;
}

mcl_status mcl__feed_load(mcl__feed *f, mcl__plan *plan, mcl_error *error)
{
    mcl_device *device = f->pictures->device;
    int place = f->turn % f->places;
    bool overlaps = f->places > 1;
    mcl__plan_place(plan, place);
    if (overlaps) MCL_TRY_DEVICE(device, mcl__fence_order(device, f->ring[f->turn].uploaded), error);
    MCL_TRY_DEVICE(device, mcl__plan_run(plan, MCL__LOAD), error);
    if (overlaps) MCL_TRY_DEVICE(device, mcl__fence_record(device, f->place[place].read), error);
    return MCL_OK;
}

void mcl__feed_tensors(const mcl__feed *f, mcl__graph *graph, int tensors[5])
{
    const mcl__pictures *p = f->pictures;
    int samples = p->resident ? p->count : f->batch;
    uint64_t bytes = (uint64_t)p->H * p->W * p->C, channels = (uint64_t)p->C * sizeof(float);
    mcl_buffer *pixels = p->resident ? p->pixels : f->place[0].batch, *labels = p->resident ? p->labels : pixels;
    mcl__view pixel_view = {pixels, 0, bytes * samples};
    mcl__view label_view = {labels, f->labels_offset, sizeof(int32_t) * (uint64_t)samples};
    /* a streamed batch needs no order: the labels stand in for it */
    mcl__view order_view = p->resident ? (mcl__view){f->order, 0, sizeof(int32_t) * (uint64_t)f->capacity} : label_view;
    tensors[0] = mcl__graph_tensor(graph, "pixels", (mcl__shape){4, {samples, p->H, p->W, p->C}}, MCL_U8, pixel_view);
    tensors[1] = mcl__graph_tensor(graph, "labels", (mcl__shape){1, {samples}}, MCL_I32, label_view);
    tensors[2] = mcl__graph_tensor(graph, "order", (mcl__shape){1, {p->resident ? f->capacity : samples}}, MCL_I32, order_view);
    tensors[3] = mcl__graph_tensor(graph, "mean", (mcl__shape){1, {p->C}}, MCL_F32, (mcl__view){p->statistics, 0, channels});
    tensors[4] = mcl__graph_tensor(graph, "inverse_deviation", (mcl__shape){1, {p->C}}, MCL_F32,
                                   (mcl__view){p->statistics, p->deviation_offset, channels});
    for (int i = 0; i < 3 && f->places > 1; i++) {
        mcl__view second = i == 0 ? pixel_view : label_view;
        second.buffer = f->place[1].batch;
        mcl__graph_second_place(graph, tensors[i], second);
    }
}
