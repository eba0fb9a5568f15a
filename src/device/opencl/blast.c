/* Products through CLBlast. It is checked on the device against sums in double before its first use, and called under
 * one lock, since two threads that make it compile the same routine break it. */
#include "device/opencl/opencl.h"
#include "base/random.h"
#include <clblast_c.h>
#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int users; /* devices whose contexts CLBlast's cache of programs holds */

/* A product on plain cl_mem; offsets and leading dimensions in elements. */
typedef struct product {
    bool transpose_a, transpose_b;
    size_t M, N, K, a_offset, b_offset, c_offset, lda, ldb, ldc;
    float alpha, beta;
    cl_mem a, b, c, workspace;
} product;

static CLBlastTranspose transpose(bool yes) { return yes ? CLBlastTransposeYes : CLBlastTransposeNo; }

static cl_int enqueue(mcl__cl_device *device, const product *p, cl_event *event)
{
    pthread_mutex_lock(&lock);
    locale_t before = mcl__cl_enter_c_locale();
    CLBlastStatusCode code =
        CLBlastSgemmWithTempBuffer(CLBlastLayoutRowMajor, transpose(p->transpose_a), transpose(p->transpose_b), p->M,
                                   p->N, p->K, p->alpha, p->a, p->a_offset, p->lda, p->b, p->b_offset, p->ldb, p->beta,
                                   p->c, p->c_offset, p->ldc, &device->queue, event, p->workspace);
    mcl__cl_leave_c_locale(before);
    pthread_mutex_unlock(&lock);
    return (cl_int)code;
}

static cl_int workspace_bytes(mcl__cl_device *device, const product *p, size_t *bytes)
{
    *bytes = 0;
    pthread_mutex_lock(&lock);
    CLBlastStatusCode code = CLBlastSGemmTempBufferSize(
        CLBlastLayoutRowMajor, transpose(p->transpose_a), transpose(p->transpose_b), p->M, p->N, p->K, p->a_offset,
        p->lda, p->b_offset, p->ldb, p->c_offset, p->ldc, &device->queue, bytes);
    pthread_mutex_unlock(&lock);
    return (cl_int)code;
}

/* One checked product; samples 0 checks every element of C. The large ones reach the kernels that pad and transpose. */
typedef struct trial { int M, N, K, padding, samples; float alpha, beta; } trial;
static const trial trials[] = {
    {37, 53, 29, 3, 0, 1.0f, 0.0f},
    {1, 67, 131, 0, 0, 1.0f, 1.0f},
    {521, 547, 569, 1, 2000, 0.5f, -1.0f},
};

/* Multiples of 1/64 within (-1, 1). */
static float *random_matrix(size_t elements, uint32_t *state)
{
    float *matrix = malloc(elements * sizeof *matrix);
    for (size_t i = 0; matrix && i < elements; i++) matrix[i] = (float)((int)(mcl__random_filler(state) >> 25) - 64) / 64.0f;
    return matrix;
}

/* alpha * row of op(A) * column of op(B) + beta * C in double, within the rounding of K + 2 operations in single. */
static bool element_is_right(const product *p, const float *a, const float *b, const float *before, const float *after,
                             size_t i, size_t j)
{
    double sum = 0, magnitude = 0;
    for (size_t k = 0; k < p->K; k++) {
        double x = a[p->a_offset + (p->transpose_a ? k * p->lda + i : i * p->lda + k)];
        double y = b[p->b_offset + (p->transpose_b ? j * p->ldb + k : k * p->ldb + j)];
        sum += x * y;
        magnitude += fabs(x * y);
    }
    size_t at = p->c_offset + i * p->ldc + j;
    double expected = (double)p->alpha * sum + (double)p->beta * (double)before[at];
    double bound = ((double)p->K + 2) * 0x1p-23 *
                   (fabs((double)p->alpha) * magnitude + fabs((double)p->beta * (double)before[at]));
    return fabs(expected - (double)after[at]) <= bound;
}

/* Elements between the rows of C must stay as they were. */
static bool result_is_right(const product *p, const trial *t, const float *a, const float *b, const float *before,
                            const float *after)
{
    uint32_t state = 7;
    size_t elements = p->M * p->N, checks = t->samples ? (size_t)t->samples : elements;
    for (size_t n = 0; n < checks; n++) {
        size_t e = t->samples ? ((size_t)mcl__random_filler(&state) << 8 ^ mcl__random_filler(&state) >> 8) % elements : n;
        if (!element_is_right(p, a, b, before, after, e / p->N, e % p->N)) return false;
    }
    for (size_t i = 0; i + 1 < p->M; i++)
        for (size_t j = p->N; j < p->ldc; j++)
            if (before[p->c_offset + i * p->ldc + j] != after[p->c_offset + i * p->ldc + j]) return false;
    return memcmp(before, after, p->c_offset * sizeof *before) == 0;
}

/* UNKNOWN: memory was short, which says nothing of CLBlast. */
static mcl__cl_verdict run_trial(mcl__cl_device *device, const trial *t, bool ta, bool tb)
{
    const size_t M = (size_t)t->M, N = (size_t)t->N, K = (size_t)t->K, padding = (size_t)t->padding;
    product p = {.transpose_a = ta,
                 .transpose_b = tb,
                 .M = M,
                 .N = N,
                 .K = K,
                 .a_offset = 5 * padding,
                 .b_offset = 16 * padding,
                 .c_offset = 3 * padding,
                 .lda = (ta ? M : K) + padding,
                 .ldb = (tb ? K : N) + 2 * padding,
                 .ldc = N + padding,
                 .alpha = t->alpha,
                 .beta = t->beta};
    size_t a_elements = p.a_offset + (ta ? K : M) * p.lda, b_elements = p.b_offset + (tb ? N : K) * p.ldb;
    size_t c_elements = p.c_offset + M * p.ldc, temporary;
    uint32_t state = 1;
    float *a = random_matrix(a_elements, &state), *b = random_matrix(b_elements, &state);
    float *c = random_matrix(c_elements, &state), *after = malloc(c_elements * sizeof *after);
    const cl_mem_flags copy = CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR;
    mcl__cl_verdict verdict = MCL__CL_UNKNOWN;
    if (!a || !b || !c || !after || workspace_bytes(device, &p, &temporary) != 0) goto done;
    p.a = clCreateBuffer(device->context, copy, a_elements * sizeof *a, a, NULL);
    p.b = clCreateBuffer(device->context, copy, b_elements * sizeof *b, b, NULL);
    p.c = clCreateBuffer(device->context, copy, c_elements * sizeof *c, c, NULL);
    if (temporary) p.workspace = clCreateBuffer(device->context, CL_MEM_READ_WRITE, temporary, NULL, NULL);
    if (!p.a || !p.b || !p.c || (temporary && !p.workspace)) goto done;
    cl_int code = enqueue(device, &p, NULL);
    if (code == 0)
        code = clEnqueueReadBuffer(device->queue, p.c, CL_TRUE, 0, c_elements * sizeof *c, after, 0, NULL, NULL);
    if (mcl__cl_status(code) == MCL_ERROR_MEMORY) goto done;
    bool right = code == 0 && result_is_right(&p, t, a, b, c, after);
    verdict = right ? MCL__CL_PASSED : MCL__CL_FAILED;
done:
    clFinish(device->queue);
    for (int i = 0; i < 4; i++) {
        cl_mem memory = i == 0 ? p.a : i == 1 ? p.b : i == 2 ? p.c : p.workspace;
        if (memory) clReleaseMemObject(memory);
    }
    free(a);
    free(b);
    free(c);
    free(after);
    return verdict;
}

static mcl__cl_verdict all_trials(mcl__cl_device *device)
{
    mcl__cl_verdict verdict = MCL__CL_PASSED;
    for (size_t i = 0; i < sizeof trials / sizeof *trials && verdict == MCL__CL_PASSED; i++)
        for (int transposes = 0; transposes < 4 && verdict == MCL__CL_PASSED; transposes++)
            verdict = run_trial(device, &trials[i], transposes & 1, transposes >> 1);
    return verdict;
}

/* A verdict holds for the library that was checked: it has no call that tells its version, so its file stands for it. */
static void verdict_name(char *name, size_t room)
{
    Dl_info info;
    struct stat file;
    snprintf(name, room, "clblast sgemm");
    if (!dladdr((void *)(uintptr_t)CLBlastSgemmWithTempBuffer, &info) || stat(info.dli_fname, &file) != 0) return;
    snprintf(name, room, "clblast sgemm %lld %lld", (long long)file.st_size, (long long)file.st_mtime);
}

/* A remembered verdict still leaves one trial to run: it makes CLBlast compile now rather than in the first step. Only
 * what says something of CLBlast is remembered. */
static mcl__cl_verdict verify(mcl__cl_device *device)
{
    char name[64];
    pthread_mutex_lock(&lock);
    users += !device->gemm_used;
    device->gemm_used = true;
    pthread_mutex_unlock(&lock);
    verdict_name(name, sizeof name);
    mcl__cl_verdict verdict = mcl__cl_verdict_load(device, name, NULL);
    if (verdict == MCL__CL_PASSED && run_trial(device, &trials[0], false, false) != MCL__CL_PASSED)
        verdict = MCL__CL_UNKNOWN;
    if (verdict != MCL__CL_UNKNOWN) return verdict;
    verdict = all_trials(device);
    if (verdict != MCL__CL_UNKNOWN) mcl__cl_verdict_save(device, name, verdict, 0);
    return verdict;
}

bool mcl__cl_gemm_available(mcl_device *base, const char **why)
{
    mcl__cl_device *device = mcl__cl(base);
    const char *choice = base->options.gemm ? base->options.gemm : "auto";
    if (strcmp(choice, "own") == 0) *why = "our own kernels were asked for (gemm own)";
    else if (strcmp(choice, "auto") == 0 && base->info.type != MCL_DEVICE_GPU)
        *why = "CLBlast's kernels are shaped for GPUs";
    else if (device->gemm == MCL__CL_UNKNOWN) device->gemm = verify(device);
    if (*why) return false;
    if (device->gemm == MCL__CL_FAILED) *why = "CLBlast gave wrong results on this device when it was checked";
    if (device->gemm == MCL__CL_UNKNOWN) *why = "memory was too short to check CLBlast";
    return device->gemm == MCL__CL_PASSED;
}

/* CLBlast's kernels count elements from a buffer's start, in 32 bits. */
static mcl_status operand_of(mcl_device *base, const char *what, mcl__view view, cl_mem *memory, size_t *offset)
{
    *memory = mcl__cl_memory(view);
    *offset = (size_t)view.offset / sizeof(float);
    if (*offset + (size_t)view.bytes / sizeof(float) <= INT_MAX) return MCL_OK;
    *offset = 0;
    return mcl__cl_region_of(base, what, view, memory);
}

static mcl_status product_of(mcl_device *base, const char *what, const mcl__gemm *gemm, product *made)
{
    mcl__cl_device *device = mcl__cl(base);
    *made = (product){
        .transpose_a = gemm->transpose_a, .transpose_b = gemm->transpose_b,
        .M = (size_t)gemm->M, .N = (size_t)gemm->N, .K = (size_t)gemm->K,
        .lda = (size_t)gemm->lda, .ldb = (size_t)gemm->ldb, .ldc = (size_t)gemm->ldc,
        .alpha = gemm->alpha, .beta = gemm->beta,
        .workspace = device->gemm_workspace ? ((mcl__cl_buffer *)device->gemm_workspace)->memory : NULL,
    };
    MCL_TRY(operand_of(base, what, gemm->a, &made->a, &made->a_offset));
    MCL_TRY(operand_of(base, what, gemm->b, &made->b, &made->b_offset));
    return operand_of(base, what, gemm->c, &made->c, &made->c_offset);
}

static mcl_status fail(mcl_device *base, const char *what, const char *call, cl_int code)
{
    if (code > -1024) return mcl__cl_fail(base, what, call, code);
    return mcl__device_fail(base, MCL_ERROR_DEVICE, "%s: %s: CLBlast's status %d", what, call, (int)code);
}

/* All products share one workspace, as large as the largest needs: the queue is in order. */
mcl_status mcl__cl_gemm_prepare(mcl_device *base, const char *what, const mcl__gemm *gemm)
{
    mcl__cl_device *device = mcl__cl(base);
    product p;
    size_t bytes;
    MCL_TRY(product_of(base, what, gemm, &p));
    cl_int code = workspace_bytes(device, &p, &bytes);
    if (code != 0) return fail(base, what, "CLBlastSGemmTempBufferSize", code);
    if (bytes == 0 || (device->gemm_workspace && device->gemm_workspace->bytes >= bytes)) return MCL_OK;
    mcl_buffer_destroy(device->gemm_workspace);
    device->gemm_workspace = NULL;
    return mcl_buffer_create(base, bytes, &device->gemm_workspace);
}

mcl_status mcl__cl_gemm_enqueue(mcl_device *base, const char *what, const mcl__gemm *gemm, cl_event *event)
{
    product p;
    MCL_TRY(product_of(base, what, gemm, &p));
    cl_int code = enqueue(mcl__cl(base), &p, event);
    return code == 0 ? MCL_OK : fail(base, what, "CLBlastSgemm", code);
}

/* What CLBlast compiled keeps its context for as long as the process lives, and is cleared for all devices or none. */
void mcl__cl_gemm_close(mcl__cl_device *device)
{
    mcl_buffer_destroy(device->gemm_workspace);
    device->gemm_workspace = NULL;
    if (!device->gemm_used) return;
    pthread_mutex_lock(&lock);
    if (--users == 0) CLBlastClearCache();
    pthread_mutex_unlock(&lock);
}
