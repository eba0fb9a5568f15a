/* Scaling with a triangle filter whose width grows with the reduction (what Pillow calls BILINEAR), one axis at a time.
 *
 * Output i of n over the source interval [start, start + length) lies at centre = start + (i + 1/2) length / n and weighs
 * source k by max(0, 1 - |k + 1/2 - centre| / s), s = max(1, length / n). Weights are made whole numbers of 2^-22 that add
 * up to one exactly, so that a plain area stays plain. */
#include "data/resize.h"
#include <math.h>
#include <stdlib.h>

enum { WEIGHT_BITS = 22 };

/* One axis: output i is the sum of weight[i * stride + j] * source[first[i] + j], j < count[i]. */
struct axis { int *first, *count; int32_t *weight; int stride; };

static void free_axis(struct axis *axis)
{
    free(axis->first);
    free(axis->count);
    free(axis->weight);
}

/* Rounds each weight, and gives what is missing to the largest. */
static void set_weights(struct axis *axis, int i, double centre, double support)
{
    int32_t *weight = axis->weight + (size_t)i * axis->stride, sum = 0;
    int largest = 0;
    double total = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int j = 0; j < axis->count[i]; j++) {
            double distance = fabs(axis->first[i] + j + 0.5 - centre) / support, value = distance < 1 ? 1 - distance : 0;
            if (pass == 0) {
                total += value;
                continue;
            }
            weight[j] = (int32_t)floor(value / total * (1 << WEIGHT_BITS) + 0.5);
            sum += weight[j];
            if (weight[j] > weight[largest]) largest = j;
        }
    weight[largest] += (1 << WEIGHT_BITS) - sum;
}

static bool make_axis(struct axis *axis, int source, double start, double length, int target)
{
    double scale = length / target, support = scale > 1 ? scale : 1;
    axis->stride = (int)ceil(support) * 2 + 1;
    axis->first = malloc((size_t)target * sizeof *axis->first);
    axis->count = malloc((size_t)target * sizeof *axis->count);
    axis->weight = malloc((size_t)target * axis->stride * sizeof *axis->weight);
    if (!axis->first || !axis->count || !axis->weight) return false;
    for (int i = 0; i < target; i++) {
        double centre = start + (i + 0.5) * scale;
        int first = (int)floor(centre - support + 0.5), end = (int)floor(centre + support + 0.5);
        if (first < 0) first = 0;
        if (end > source) end = source;
        if (first >= end) first = end - 1;
        axis->first[i] = first;
        axis->count[i] = end - first;
        set_weights(axis, i, centre, support);
    }
    return true;
}

/* Output positions along one axis: `lanes` independent ones at distance 1, samples of the axis at distance `step`. */
static void apply(const struct axis *axis, int i, const uint8_t *source, size_t step, size_t lanes, uint8_t *target)
{
    const int32_t *weight = axis->weight + (size_t)i * axis->stride;
    source += (size_t)axis->first[i] * step;
    for (size_t lane = 0; lane < lanes; lane++) {
        int32_t sum = 1 << (WEIGHT_BITS - 1);
        for (int j = 0; j < axis->count[i]; j++) sum += weight[j] * source[(size_t)j * step + lane];
        target[lane] = (uint8_t)(sum >> WEIGHT_BITS);
    }
}

mcl_status mcl__resize(const uint8_t *source, int height, int width, int C, mcl_resize mode, int H, int W, uint8_t *target,
                       mcl_error *error)
{
    double box_width = width, box_height = height;
    if (mode == MCL_RESIZE_CROP) {
        if ((double)width * H > (double)height * W) box_width = (double)height * W / H;
        else box_height = (double)width * H / W;
    }
    struct axis across = {0}, down = {0};
    uint8_t *rows = NULL;
    mcl_status status = MCL_ERROR_MEMORY;
    if (!make_axis(&across, width, (width - box_width) / 2, box_width, W) ||
        !make_axis(&down, height, (height - box_height) / 2, box_height, H)) goto done;
    int top = down.first[0], bottom = down.first[H - 1] + down.count[H - 1];
    size_t row = (size_t)W * C;
    if (!(rows = malloc((size_t)(bottom - top) * row))) goto done;
    for (int y = top; y < bottom; y++)
        for (int x = 0; x < W; x++)
            apply(&across, x, source + (size_t)y * width * C, (size_t)C, (size_t)C, rows + (size_t)(y - top) * row + (size_t)x * C);
    for (int y = 0; y < H; y++) down.first[y] -= top;
    for (int y = 0; y < H; y++) apply(&down, y, rows, row, row, target + (size_t)y * row);
    status = MCL_OK;
done:
    free(rows);
    free_axis(&across);
    free_axis(&down);
    return status == MCL_OK ? status : mcl__fail(error, status, "no memory to scale a picture of %d x %d", width, height);
}
