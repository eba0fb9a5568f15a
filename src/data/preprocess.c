/* Fitting means and deviations: whole-number sums, so that neither order nor machine changes a bit. */
#include "data/dataset.h"
#include <math.h>
#include <stdlib.h>

struct sums { uint64_t count[4], sum[4], squares[4]; };

static void add_picture(struct sums *sums, const uint8_t *pixels, size_t bytes, int channels)
{
    for (size_t i = 0; i < bytes; i += (size_t)channels)
        for (int c = 0; c < channels; c++) {
            uint32_t value = pixels[i + (size_t)c];
            sums->sum[c] += value;
            sums->squares[c] += value * value;
        }
    for (int c = 0; c < channels; c++) sums->count[c] += bytes / (size_t)channels;
}

static mcl_status add_part(mcl_dataset *data, const int32_t *samples, int count, struct sums *sums, mcl_error *error)
{
    enum { CHUNK = 64 };
    uint8_t *pixels = malloc(CHUNK * data->sample_bytes);
    if (!pixels) return mcl__data_no_memory(data, error);
    mcl_status status = MCL_OK;
    for (int i = 0; i < count && status == MCL_OK; i += CHUNK) {
        int here = count - i < CHUNK ? count - i : CHUNK;
        status = mcl__dataset_fetch(data, samples + i, here, pixels, error);
        for (int j = 0; status == MCL_OK && j < here; j++)
            add_picture(sums, pixels + (size_t)j * data->sample_bytes, data->sample_bytes, data->info.channels);
    }
    free(pixels);
    return status;
}

mcl_status mcl_preprocessing_fit(mcl_dataset *data, mcl_preprocessing_kind kind, mcl_preprocessing *result, mcl_error *error)
{
    if ((unsigned)kind > MCL_PREPROCESSING_SCALE) return mcl__fail(error, MCL_ERROR_INVALID, "there is no such preprocessing");
    mcl_preprocessing fitted = {.kind = kind, .channels = data->info.channels};
    struct sums sums = {0};
    if (kind != MCL_PREPROCESSING_SCALE) {
        int count;
        const int32_t *samples = mcl_dataset_part(data, MCL_PART_TRAIN, &count);
        MCL_TRY(add_part(data, samples, count, &sums, error));
    }
    for (int c = 0; c < fitted.channels; c++) {
        double count = sums.count[c] ? (double)sums.count[c] : 1;
        double mean = (double)sums.sum[c] / count, variance = (double)sums.squares[c] / count - mean * mean;
        bool use_deviation = kind == MCL_PREPROCESSING_STANDARDISE && variance > 1e-9;
        fitted.mean[c] = (float)mean;
        fitted.inverse_deviation[c] = (float)(use_deviation ? 1 / sqrt(variance) : 1.0 / 255);
    }
    *result = fitted;
    return MCL_OK;
}
