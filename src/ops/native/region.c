/* A block of one tensor in another: slice, pad and concatenation. */
#include "ops/native/native.h"
#include <string.h>

/* The indices of dst on one axis that lie inside src. */
typedef struct range { int first, end; } range;

static range inside(const mcl_region_args *a, int axis)
{
    int first = a->offset[axis] < 0 ? 0 : a->offset[axis], end = a->offset[axis] + a->S[axis];
    if (end > a->D[axis]) end = a->D[axis];
    return (range){first, end < first ? first : end};
}

static bool contains(range r, int i) { return i >= r.first && i < r.end; }

/* One run of dst along the last axis; the source's index 0 belongs to src. */
static void copy_run(const mcl_region_args *a, const float *src, float *dst, range run)
{
    if (a->zero_outside) {
        memset(dst, 0, (size_t)run.first * sizeof *dst);
        memset(dst + run.end, 0, (size_t)(a->D[3] - run.end) * sizeof *dst);
    }
    if (run.end > run.first)
        memcpy(dst + run.first, src + (run.first - a->offset[3]), (size_t)(run.end - run.first) * sizeof *dst);
}

void mcl__native_region(const mcl__native_arg *arg)
{
    const float *src = arg[0].pointer;
    float *dst = arg[1].pointer;
    const mcl_region_args *a = arg[2].pointer;
    const range i0 = inside(a, 0), i1 = inside(a, 1), i2 = inside(a, 2), i3 = inside(a, 3);
    const int *D = a->D, *S = a->S, *offset = a->offset;
#pragma omp parallel for collapse(2) schedule(static) if (mcl__native_worth((double)D[0] * D[1] * D[2] * D[3]))
    for (int i = 0; i < D[0]; i++)
        for (int j = 0; j < D[1]; j++)
            for (int k = 0; k < D[2]; k++) {
                float *run = dst + (((size_t)i * D[1] + j) * D[2] + k) * D[3];
                if (contains(i0, i) && contains(i1, j) && contains(i2, k)) {
                    size_t line = (size_t)(i - offset[0]) * S[1] + (j - offset[1]);
                    copy_run(a, src + (line * S[2] + (k - offset[2])) * S[3], run, i3);
                } else if (a->zero_outside) {
                    memset(run, 0, (size_t)D[3] * sizeof *run);
                }
            }
}
