/* Prefetched batches: one thread fills a ring of slots, the reader empties it, each waiting for the other at its ends. */
#include "data/dataset.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* One batch on its way. */
struct slot { uint8_t *pixels; int32_t *labels; int valid; mcl_error error; };

struct mcl__stream {
    mcl_dataset *data;
    int32_t *order;
    int count, batch, depth, batches;
    struct slot *slots;         /* (depth); batch i lies in slot i % depth */
    pthread_mutex_t lock;       /* guards what follows; a slot belongs to the thread that may touch it by these numbers */
    pthread_cond_t changed;
    int filled, released, given; /* batches filled, given back, and handed to the reader: released <= given <= filled */
    bool quit, started;
    pthread_t thread;
};

static void fill(mcl__stream *stream, int index)
{
    struct slot *slot = &stream->slots[index % stream->depth];
    const int32_t *samples = stream->order + (size_t)index * stream->batch;
    int left = stream->count - index * stream->batch, valid = left < stream->batch ? left : stream->batch;
    size_t sample_bytes = stream->data->sample_bytes;
    slot->valid = valid;
    slot->error = (mcl_error){0};
    mcl_status status = mcl__dataset_fetch(stream->data, samples, valid, slot->pixels, &slot->error);
    slot->error.status = status;
    for (int i = 0; status == MCL_OK && i < valid; i++) slot->labels[i] = stream->data->labels[samples[i]];
    memset(slot->pixels + (size_t)valid * sample_bytes, 0, (size_t)(stream->batch - valid) * sample_bytes);
    memset(slot->labels + valid, 0, (size_t)(stream->batch - valid) * sizeof *slot->labels);
}

static void *stream_main(void *user)
{
    mcl__stream *stream = user;
    for (int i = 0; i < stream->batches; i++) {
        pthread_mutex_lock(&stream->lock);
        while (stream->filled - stream->released == stream->depth && !stream->quit)
            pthread_cond_wait(&stream->changed, &stream->lock);
        bool quit = stream->quit;
        pthread_mutex_unlock(&stream->lock);
        if (quit) break;
        fill(stream, i);
        pthread_mutex_lock(&stream->lock);
        stream->filled++;
        pthread_cond_broadcast(&stream->changed);
        pthread_mutex_unlock(&stream->lock);
    }
    return NULL;
}

mcl_status mcl__stream_create(mcl_dataset *data, const int32_t *order, int count, int batch, int depth, mcl__stream **result,
                              mcl_error *error)
{
    if (count < 0 || batch < 1) return mcl__fail(error, MCL_ERROR_INVALID, "a stream needs a batch of at least one sample");
    size_t bytes;
    mcl__stream *stream = calloc(1, sizeof *stream);
    if (!stream) return mcl__data_no_memory(data, error);
    *stream = (mcl__stream){.data = data, .count = count, .batch = batch, .depth = depth < 2 ? 2 : depth,
                            .batches = count / batch + (count % batch != 0)};
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
    stream->order = malloc(((size_t)count + 1) * sizeof *stream->order);
    stream->slots = calloc((size_t)stream->depth, sizeof *stream->slots);
    bool good = stream->order && stream->slots && mcl__size_multiply((size_t)batch, data->sample_bytes, &bytes);
    for (int i = 0; good && i < stream->depth; i++) {
        stream->slots[i].pixels = malloc(bytes);
        stream->slots[i].labels = malloc((size_t)batch * sizeof *stream->slots[i].labels);
        good = stream->slots[i].pixels && stream->slots[i].labels;
    }
    if (good && count) memcpy(stream->order, order, (size_t)count * sizeof *order);
    if (good) good = stream->started = pthread_create(&stream->thread, NULL, stream_main, stream) == 0;
    if (!good) {
        mcl__stream_destroy(stream);
        return mcl__fail(error, MCL_ERROR_MEMORY, "not enough memory to prefetch %d batches of %d pictures", depth, batch);
    }
    *result = stream;
    return MCL_OK;
}

mcl_status mcl__stream_next(mcl__stream *stream, const uint8_t **pixels, const int32_t **labels, int *valid, mcl_error *error)
{
    *valid = 0;
    pthread_mutex_lock(&stream->lock);
    stream->released = stream->given;
    pthread_cond_broadcast(&stream->changed);
    bool end = stream->given == stream->batches;
    while (!end && stream->filled == stream->given) pthread_cond_wait(&stream->changed, &stream->lock);
    const struct slot *slot = &stream->slots[stream->given % stream->depth];
    if (!end) stream->given++;
    pthread_mutex_unlock(&stream->lock);
    if (end) return MCL_OK;
    if (slot->error.status != MCL_OK) return mcl__fail(error, slot->error.status, "%s", slot->error.text);
    *pixels = slot->pixels;
    *labels = slot->labels;
    *valid = slot->valid;
    return MCL_OK;
}

void mcl__stream_destroy(mcl__stream *stream)
{
    if (!stream) return;
    pthread_mutex_lock(&stream->lock);
    stream->quit = true;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    if (stream->started) pthread_join(stream->thread, NULL);
    for (int i = 0; stream->slots && i < stream->depth; i++) {
        free(stream->slots[i].pixels);
        free(stream->slots[i].labels);
    }
    free(stream->slots);
    free(stream->order);
    pthread_cond_destroy(&stream->changed);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}
