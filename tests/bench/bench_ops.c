/* GB/s of the operators that memory bounds: bench_ops [DEVICE [OPERATOR [VARIANT [BATCH [far]]]]]. An operator's bytes are its
 * operands', each once; `map` with one code is a plain copy's traffic, so its rows are what the others compare with. */
#include "bench/measure.h"
#include "support/problem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mcl_device *device;
static const char *only, *variant;
static int batch = 64;
static bool far;

static void bench(mcl__problem *problem, const char *what)
{
    mcl_error error = {0};
    const char *name = mcl__op_get(problem->op)->name;
    if (only && strcmp(only, name)) return;
    if (test_problem_infer(problem, &error) != MCL_OK) bench_stop("shapes", &error);
    bench_figures f = bench_problem(device, problem, variant, far);
    printf("%-28s %-24s %8.1f MB %8.3f ms %7.1f GB/s %7.1f GFLOP/s  %s\n", name, what, f.bytes * 1e-6, f.seconds * 1e3,
           f.bytes / f.seconds * 1e-9, f.flops / f.seconds * 1e-9, f.variant);
    fflush(stdout);
}

static void input(mcl__problem *problem, mcl__shape shape)
{
    test_problem_input(problem, MCL_F32, shape.rank, shape.d);
}

static void bench_maps(void)
{
    static const int megabytes[] = {1, 4, 16, 64, 256};
    static const struct { const char *name; mcl_epilogue_code code; } rows[] = {
        {"scale", {.code = MCL_EP_SCALE, .alpha = 0.5f}},
        {"scale and shift", {.code = MCL_EP_SCALE_SHIFT}},
        {"add", {.code = MCL_EP_ADD}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t k = 0; k < sizeof megabytes / sizeof *megabytes; k++) {
            mcl__shape x = {4, {megabytes[k] << 12, 1, 1, 64}};
            mcl__problem problem = {.op = MCL__OP_map};
            char what[64];
            input(&problem, x);
            test_problem_code(&problem, rows[i].code, x.rank, x.d);
            snprintf(what, sizeof what, "%s, %d MB", rows[i].name, megabytes[k]);
            bench(&problem, what);
        }
}

static void bench_depthwise(void)
{
    static const struct { int size, C, stride; } rows[] = {
        {32, 32, 1}, {32, 96, 1},  {32, 144, 1}, {32, 144, 2}, {16, 192, 1}, {16, 192, 2},
        {8, 384, 1}, {8, 576, 1}, {8, 576, 2},  {4, 960, 1},
    };
    static const mcl__op_kind passes[] = {MCL__OP_conv2d, MCL__OP_conv2d_bwd_data, MCL__OP_conv2d_bwd_weight};
    for (int pass = 0; pass < 3; pass++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            int size = rows[i].size, C = rows[i].C, stride = rows[i].stride, small = (size - 1) / stride + 1;
            mcl__shape x = {4, {batch, size, size, C}}, y = {4, {batch, small, small, C}}, w = {4, {3, 3, 1, C}};
            mcl__problem problem = {.op = passes[pass], .attrs.conv = {3, 3, stride, stride, 1, 1, 1, 1, C, size, size}};
            char what[64];
            input(&problem, pass == 1 ? y : x);
            input(&problem, pass == 2 ? y : w);
            snprintf(what, sizeof what, "%dx%dx%d stride %d", size, size, C, stride);
            bench(&problem, what);
        }
}

/* As in a network with batch normalisation: it and its activation before, statistics behind. */
static void bench_depthwise_in_network(void)
{
    static const struct { int size, C; } rows[] = {{32, 96}, {16, 192}, {8, 384}, {4, 960}};
    const mcl_epilogue_code before[] = {{.code = MCL_EP_SCALE_SHIFT}, {.code = MCL_EP_ACT, .act = MCL_ACT_RELU6}};
    const mcl_epilogue_code stats = {.code = MCL_EP_STATS};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int pass = 0; pass < 2; pass++) {
            int size = rows[i].size, C = rows[i].C;
            mcl__shape x = {4, {batch, size, size, C}}, w = {4, {3, 3, 1, C}};
            mcl__problem problem = {.op = pass ? MCL__OP_conv2d_bwd_weight : MCL__OP_conv2d,
                                    .attrs.conv = {3, 3, 1, 1, 1, 1, 1, 1, C, 0, 0}};
            char what[64];
            input(&problem, x);
            input(&problem, pass ? x : w);
            for (int k = 0; k < 2; k++) test_problem_prologue(&problem, before[k]);
            if (!pass) test_problem_code(&problem, stats, x.rank, x.d);
            snprintf(what, sizeof what, "%dx%dx%d, normalised", size, size, C);
            bench(&problem, what);
        }
}

static void bench_product(mcl__op_kind pass, int rows, int C, int K)
{
    mcl__shape x = {2, {rows, C}}, y = {2, {rows, K}}, w = {2, {C, K}};
    mcl__problem problem = {.op = pass};
    char what[64];
    input(&problem, pass == MCL__OP_dense_bwd_data ? y : x);
    input(&problem, pass == MCL__OP_dense_bwd_weight ? y : w);
    snprintf(what, sizeof what, "%d to %d", C, K);
    if (rows != batch) snprintf(what, sizeof what, "%d to %d, %d rows", C, K, rows);
    bench(&problem, what);
}

static void bench_dense(void)
{
    static const struct { int C, K; } rows[] = {{3136, 512}, {784, 512}, {512, 512}, {512, 10}, {512, 4}, {512, 1}},
                                      few[] = {{3136, 512}, {784, 1024}, {512, 10}, {512, 1}};
    for (mcl__op_kind pass = MCL__OP_dense; pass <= MCL__OP_dense_bwd_weight; pass++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) bench_product(pass, batch, rows[i].C, rows[i].K);
    for (mcl__op_kind pass = MCL__OP_dense; pass <= MCL__OP_dense_bwd_weight; pass++)
        for (size_t i = 0; i < sizeof few / sizeof *few; i++)
            for (int n = 1; n <= 8; n *= 2) bench_product(pass, n, few[i].C, few[i].K);
}

static void bench_pools(void)
{
    static const struct { int size, C, kernel, stride, pad; } rows[] = {
        {28, 32, 2, 2, 0}, {14, 64, 2, 2, 0}, {32, 64, 2, 2, 0}, {16, 128, 2, 2, 0}, {8, 256, 2, 2, 0}, {2, 512, 2, 2, 0},
        {32, 64, 3, 2, 1},
    };
    static const mcl__op_kind kinds[] = {MCL__OP_max_pool, MCL__OP_max_pool_bwd, MCL__OP_avg_pool, MCL__OP_avg_pool_bwd};
    for (int kind = 0; kind < 4; kind++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            int size = rows[i].size, C = rows[i].C, K = rows[i].kernel, stride = rows[i].stride, pad = rows[i].pad;
            int small = (size + 2 * pad - K) / stride + 1;
            mcl__shape x = {4, {batch, size, size, C}}, y = {4, {batch, small, small, C}};
            mcl__problem problem = {.op = kinds[kind], .attrs.pool = {K, K, stride, stride, pad, pad, 0, 0, 0}};
            char what[64];
            if (kind % 2) problem.attrs.pool.H = problem.attrs.pool.W = size;
            input(&problem, kind % 2 ? y : x);
            if (kind == 1) test_problem_input(&problem, MCL_U8, y.rank, y.d);
            snprintf(what, sizeof what, "%dx%dx%d %dx%d stride %d", size, size, C, K, K, stride);
            bench(&problem, what);
        }
}

static void bench_global_pools(void)
{
    static const struct { int size, C; } rows[] = {{4, 512}, {8, 64}, {4, 1280}};
    for (int back = 0; back < 2; back++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            int size = rows[i].size, C = rows[i].C;
            mcl__problem problem = {.op = back ? MCL__OP_global_avg_pool_bwd : MCL__OP_global_avg_pool};
            char what[64];
            if (back) problem.attrs.pool.H = problem.attrs.pool.W = size;
            input(&problem, (mcl__shape){4, {batch, back ? 1 : size, back ? 1 : size, C}});
            snprintf(what, sizeof what, "%dx%dx%d", size, size, C);
            bench(&problem, what);
        }
}

static void bench_sums(void)
{
    static const mcl__shape rows[] = {{4, {0, 32, 32, 64}}, {4, {0, 32, 32, 144}}, {4, {0, 32, 32, 24}}, {4, {0, 8, 8, 256}},
                                      {4, {0, 28, 28, 32}}, {2, {0, 512}},         {2, {0, 10}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mcl__shape x = rows[i];
        mcl__problem problem = {.op = MCL__OP_channel_sum};
        char what[64];
        x.d[0] = batch;
        input(&problem, x);
        bench(&problem, mcl__shape_text(x, what));
    }
}

static void bench_norms(void)
{
    static const struct { int size, C; } rows[] = {{32, 24}, {32, 64}, {32, 96}, {32, 144}, {16, 128}, {8, 256}};
    static const struct { mcl__op_kind op; int tensors, vectors; } passes[] = {
        {MCL__OP_batch_norm_stats, 1, 0}, {MCL__OP_batch_norm_bwd_reduce, 2, 4}, {MCL__OP_batch_norm_bwd_data, 2, 6}};
    for (int pass = 0; pass < 3; pass++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            mcl__problem problem = {.op = passes[pass].op, .attrs.norm.eps = 1e-5f};
            char what[64];
            for (int k = 0; k < passes[pass].tensors; k++)
                input(&problem, (mcl__shape){4, {batch, rows[i].size, rows[i].size, rows[i].C}});
            for (int k = 0; k < passes[pass].vectors; k++) input(&problem, (mcl__shape){1, {rows[i].C}});
            snprintf(what, sizeof what, "%dx%dx%d", rows[i].size, rows[i].size, rows[i].C);
            bench(&problem, what);
        }
}

static void bench_updates(void)
{
    static const int parameters[] = {60000, 2200000, 11200000};
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        int n = parameters[i];
        mcl__problem sgd = {.op = MCL__OP_sgd, .attrs.sgd = {.n = n, .momentum = 0.9f, .decay = 5e-4f}};
        mcl__problem adam = {.op = MCL__OP_adam,
                             .attrs.adam = {.n = n, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .decay = 1e-4f}};
        mcl__problem guard = {.op = MCL__OP_guard}, *all[] = {&sgd, &adam, &guard};
        char what[64];
        snprintf(what, sizeof what, "%d parameters", n);
        for (int k = 0; k < 3; k++) {
            test_problem_input(all[k], MCL_F32, 1, &n);
            test_problem_input(all[k], MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_step)));
            if (k < 2) test_problem_input(all[k], MCL_BYTES, TEST_SHAPE((int)sizeof(mcl_state)));
            bench(all[k], what);
        }
    }
}

int main(int argc, char **argv)
{
    mcl_error error = {0};
    if (argc > 2 && strcmp(argv[2], "all")) only = argv[2];
    if (argc > 3 && strcmp(argv[3], "auto")) variant = argv[3];
    if (argc > 4) batch = atoi(argv[4]);
    far = argc > 5 && !strcmp(argv[5], "far");
    mcl__ops_register_native();
    if (mcl_device_open(argc > 1 ? argv[1] : "auto", NULL, &device, &error) != MCL_OK) bench_stop("device", &error);
    printf("%s, batch %d\n", mcl_device_get_info(device)->name, batch);
    bench_maps();
    bench_depthwise();
    bench_depthwise_in_network();
    bench_dense();
    bench_pools();
    bench_global_pools();
    bench_sums();
    bench_norms();
    bench_updates();
    mcl_device_close(device);
    return 0;
}
