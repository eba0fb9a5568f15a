/* Products through CLBlast, forced, against sums in double: odd sizes, transposes, offsets, alpha, beta. */
#include "fixture.h"
#include "device/opencl/opencl.h"
#include <math.h>

typedef struct shape { int M, N, K, padding; float alpha, beta; } shape;
static const shape shapes[] = {
    {1, 1, 1, 0, 1, 0}, {7, 5, 3, 0, 1, 0}, {64, 64, 64, 0, 1, 0}, {33, 129, 65, 3, 0.5f, 0}, {127, 31, 257, 5, 1, 1},
    {1, 10, 400, 0, 2, -0.5f}, {200, 1, 17, 1, 1, 0},
};

static mcl_device *device;

static void open_device(void) { device = open_opencl(&(mcl_device_options){.gemm = "clblast"}); }
static void close_device(void) { mcl_device_close(device); }

static float *matrix(size_t elements, unsigned seed)
{
    float *values = malloc(elements * sizeof *values);
    for (size_t i = 0; i < elements; i++) {
        seed = seed * 1664525u + 1013904223u;
        values[i] = (float)(seed >> 8) * 0x1p-23f - 1.0f;
    }
    return values;
}

/* One buffer holds A, B and C, each at an aligned offset; bytes is of the view. */
static mcl__view place(mcl_buffer *buffer, uint64_t *end, const float *values, size_t elements)
{
    mcl__view view = {buffer, *end, elements * sizeof *values};
    CK_OK(device, mcl_buffer_write(buffer, view.offset, view.bytes, values));
    *end += (view.bytes + device->info.alignment - 1) / device->info.alignment * device->info.alignment;
    return view;
}

static void check_elements(const mcl__gemm *g, const float *a, const float *b, const float *before, const float *after)
{
    for (int i = 0; i < g->M; i++)
        for (int j = 0; j < g->ldc; j++) {
            size_t at = (size_t)i * (size_t)g->ldc + (size_t)j;
            if (j >= g->N) {
                if (i + 1 < g->M) ck_assert_float_eq(after[at], before[at]);
                continue;
            }
            double sum = 0, size = 0;
            for (int k = 0; k < g->K; k++) {
                double x = a[g->transpose_a ? k * g->lda + i : i * g->lda + k],
                       y = b[g->transpose_b ? j * g->ldb + k : k * g->ldb + j];
                sum += x * y;
                size += fabs(x * y);
            }
            double old = g->beta == 0 ? 0 : (double)g->beta * (double)before[at],
                   expected = (double)g->alpha * sum + old;
            double bound = (g->K + 2) * 0x1p-23 * (fabs((double)g->alpha) * size + fabs(old));
            ck_assert_msg(fabs((double)after[at] - expected) <= bound, "%dx%dx%d (%d%d) at %d,%d: %.9g, not %.9g", g->M,
                          g->N, g->K, g->transpose_a, g->transpose_b, i, j, (double)after[at], expected);
        }
}

START_TEST(products_are_right)
{
    const shape *s = &shapes[_i / 4];
    bool ta = _i & 1, tb = (_i >> 1) & 1;
    mcl__gemm g = {.transpose_a = ta,
                   .transpose_b = tb,
                   .M = s->M,
                   .N = s->N,
                   .K = s->K,
                   .lda = (ta ? s->M : s->K) + s->padding,
                   .ldb = (tb ? s->K : s->N) + s->padding,
                   .ldc = s->N + s->padding,
                   .alpha = s->alpha,
                   .beta = s->beta};
    size_t an = (size_t)(ta ? s->K : s->M) * (size_t)g.lda, bn = (size_t)(tb ? s->N : s->K) * (size_t)g.ldb;
    size_t cn = (size_t)s->M * (size_t)g.ldc;
    float *a = matrix(an, 1), *b = matrix(bn, 2), *c = matrix(cn, 3), *after = malloc(cn * sizeof *after);
    mcl_buffer *buffer;
    mcl__launch *launch;
    uint64_t end = device->info.alignment;
    CK_OK(device,
          mcl_buffer_create(device, (an + bn + cn) * sizeof *a + 4 * (uint64_t)device->info.alignment, &buffer));
    g.a = place(buffer, &end, a, an);
    g.b = place(buffer, &end, b, bn);
    g.c = place(buffer, &end, c, cn);
    CK_OK(device, mcl__launch_gemm(device, "product", &g, &launch));
    uint64_t allocations = mcl_device_get_counters(device).allocations;
    CK_OK(device, mcl__launch_run(device, launch));
    ck_assert_uint_eq(mcl_device_get_counters(device).allocations, allocations);
    CK_OK(device, mcl_buffer_read(buffer, g.c.offset, g.c.bytes, after));
    check_elements(&g, a, b, c, after);
    mcl__launch_destroy(device, launch);
    mcl_buffer_destroy(buffer);
    free(a);
    free(b);
    free(c);
    free(after);
}
END_TEST

START_TEST(own_refuses_the_library)
{
    const char *why = NULL;
    mcl_device *other = open_opencl(&(mcl_device_options){.gemm = "own"});
    ck_assert(!mcl__gemm_available(other, &why));
    ck_assert_ptr_nonnull(why);
    mcl_device_close(other);
    other = open_opencl(NULL);
    bool available = mcl__gemm_available(other, &why);
    ck_assert(available ? why == NULL : strstr(why, "shaped for GPUs") != NULL);
    ck_assert(available == (other->info.type == MCL_DEVICE_GPU));
    mcl_device_close(other);
}
END_TEST

START_TEST(matrices_outside_their_views_are_refused)
{
    mcl_device *other = open_opencl(&(mcl_device_options){.gemm = "clblast"});
    mcl_buffer *buffer;
    mcl__launch *launch;
    CK_OK(other, mcl_buffer_create(other, 4096, &buffer));
    mcl__view view = {buffer, 0, 256};
    mcl__gemm g = {.M = 8, .N = 8, .K = 8, .lda = 8, .ldb = 9, .ldc = 8, .alpha = 1, .a = view, .b = view, .c = view};
    ck_assert_int_eq(mcl__launch_gemm(other, "fc1", &g, &launch), MCL_ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(mcl_device_error(other)->text, "fc1: B is 8 x 8"));
    mcl_buffer_destroy(buffer);
    mcl_device_close(other);
}
END_TEST

/* Of the context nothing is left but this reference: else each device that a process opens and closes would keep its memory. */
START_TEST(a_closed_device_leaves_nothing)
{
    const char *why = NULL;
    cl_uint references = 0;
    mcl_device *first = open_opencl(&(mcl_device_options){.gemm = "clblast"});
    mcl_device *second = open_opencl(&(mcl_device_options){.gemm = "clblast"});
    cl_context context = mcl__cl(first)->context;
    ck_assert(mcl__gemm_available(first, &why) && mcl__gemm_available(second, &why));
    clRetainContext(context);
    mcl_device_close(first);
    mcl_device_close(second);
    clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof references, &references, NULL);
    ck_assert_uint_eq(references, 1);
    clReleaseContext(context);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gemm");
    TCase *tests = tcase_create("all");
    tcase_set_timeout(tests, 0);
    tcase_add_unchecked_fixture(tests, open_device, close_device);
    tcase_add_loop_test(tests, products_are_right, 0, 4 * (int)COUNT(shapes));
    tcase_add_test(tests, own_refuses_the_library);
    tcase_add_test(tests, matrices_outside_their_views_are_refused);
    suite_add_tcase(suite, tests);
    tests = tcase_create("alone");
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, a_closed_device_leaves_nothing);
    suite_add_tcase(suite, tests);
    return run_suite(suite, true);
}
