/* The loop of tile.h for one kind of processor: included by tile.c with
 *   ISA      its name
 *   TARGET   the attribute that lets the compiler use its instructions
 *   WIDTH    floats of a vector
 *   ROWS     of the tile, which is two vectors wide: 2 * ROWS sums, two vectors of b and one value of a, repeated, fill
 *            the registers. A value of a then serves two multiply-adds, and a vector of b ROWS.
 * The vectors are those of GCC and clang: their + and * become the widest instructions that TARGET has. */
#define NAME_OF(what, isa) what##_##isa
#define NAME(what, isa) NAME_OF(what, isa)
#define vector NAME(vector, ISA)

typedef float vector __attribute__((vector_size(4 * WIDTH), may_alias));

/* a[i][k] is a[i * row + k * term]; both are constants to the compiler, as it takes this into its callers. */
TARGET static inline __attribute__((always_inline)) void NAME(tile, ISA)(int depth, const float *a, const float *b, float *c,
                                                                         bool add, int row, int term)
{
    vector sum[ROWS][2];
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) sum[i][0] = sum[i][1] = (vector){0};
    for (int k = 0; k < depth; k++, a += term, b += MCL__BLOCK_PITCH) {
        vector left = *(const vector *)b, right = *(const vector *)(b + WIDTH);
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; i++) {
            sum[i][0] += a[i * row] * left;
            sum[i][1] += a[i * row] * right;
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
        vector *to = (vector *)(c + i * MCL__BLOCK_PITCH);
        if (add) sum[i][0] += to[0], sum[i][1] += to[1];
        to[0] = sum[i][0], to[1] = sum[i][1];
    }
}

TARGET static void NAME(plain, ISA)(int depth, const float *a, const float *b, float *c, bool add)
{
    NAME(tile, ISA)(depth, a, b, c, add, MCL__BLOCK_PITCH, 1);
}

TARGET static void NAME(transposed, ISA)(int depth, const float *a, const float *b, float *c, bool add)
{
    NAME(tile, ISA)(depth, a, b, c, add, 1, MCL__BLOCK_PITCH);
}

static const mcl__tile NAME(tile_of, ISA) = {TEXT_OF(ISA), ROWS, 2 * WIDTH, NAME(plain, ISA), NAME(transposed, ISA)};

#undef vector
#undef NAME
#undef NAME_OF
#undef ISA
#undef TARGET
#undef WIDTH
#undef ROWS
