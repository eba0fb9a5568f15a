/* Products on native: OpenBLAS on parts of the result, one part a thread at a time. OpenBLAS's own threads stay off, as
 * a second pool would fight OpenMP's for the same cores. */
#include "device/native/native.h"
#include <cblas.h>

#define PARTS 32         /* at most */
#define PART_LEAST 64    /* rows or columns of a part */
#define SERIAL_FLOPS 1e5 /* below this, threads cost more than they bring */

static void part(const mcl__gemm *g, const float *a, const float *b, float *c, int row, int rows, int column,
                 int columns)
{
    a += g->transpose_a ? (size_t)row : (size_t)row * (size_t)g->lda;
    b += g->transpose_b ? (size_t)column * (size_t)g->ldb : (size_t)column;
    c += (size_t)row * (size_t)g->ldc + (size_t)column;
    cblas_sgemm(CblasRowMajor, g->transpose_a ? CblasTrans : CblasNoTrans, g->transpose_b ? CblasTrans : CblasNoTrans,
                rows, columns, g->K, g->alpha, a, g->lda, b, g->ldb, g->beta, c, g->ldc);
}

void mcl__native_gemm(const mcl__gemm *gemm, const float *a, const float *b, float *c)
{
    bool by_rows = gemm->M >= gemm->N;
    int size = by_rows ? gemm->M : gemm->N, other = by_rows ? gemm->N : gemm->M;
    int step = (size + PARTS - 1) / PARTS;
    step = step < PART_LEAST ? PART_LEAST : (step + 15) / 16 * 16;
    if (2.0 * gemm->M * gemm->N * gemm->K < SERIAL_FLOPS) step = size;
    int parts = (size + step - 1) / step;
#pragma omp parallel for schedule(static) if (parts > 1)
    for (int i = 0; i < parts; i++) {
        int first = i * step, length = size - first < step ? size - first : step;
        if (by_rows) part(gemm, a, b, c, first, length, 0, other);
        else part(gemm, a, b, c, 0, other, first, length);
    }
}
