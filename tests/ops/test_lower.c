/* Lowering without a device: which variant serves, what the commands hold, and the small arithmetic of shapes. */
#include "conv2d_tile.h"
#include "lower.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static const mcl__capabilities native = {.type = MCL_DEVICE_NATIVE, .threads = 2};
static const mcl__capabilities gpu = {.type = MCL_DEVICE_GPU, .max_work_group = 32, .gemm = true};

static const mcl__capabilities large_gpu = {
    .type = MCL_DEVICE_GPU, .local_memory = 32768, .max_work_group = 256, .compute_units = 32};

static const struct {
    int C, K, kernel, groups;
    const mcl__capabilities *on;
    const char *force, *served_by;
} choices[] = {
    {16, 32, 3, 1, &cpu, NULL, "tile"},
    {16, 32, 1, 1, &cpu, NULL, "tile"},
    {16, 16, 3, 16, &cpu, NULL, "depthwise"},
    {16, 32, 3, 2, &cpu, NULL, "reference"},
    {16, 32, 3, 1, &cpu, "reference", "reference"},
    {16, 32, 3, 1, &cpu, "depthwise", "tile"}, /* does not apply: the default */
    {16, 32, 3, 1, &cpu, "no such variant", "tile"},
    {16, 32, 1, 1, &gpu, NULL, "library"},
    {16, 32, 1, 1, &gpu, "tile", "tile"},
    {16, 32, 3, 1, &gpu, NULL, "tile"},
    {16, 32, 3, 1, &large_gpu, NULL, "gemm"},
    {16, 16, 3, 1, &large_gpu, NULL, "gemm"},
    {16, 32, 1, 1, &native, NULL, "native_gemm"},
    {16, 32, 3, 1, &native, NULL, "native_gemm"},
    {16, 16, 3, 16, &native, NULL, "native_depthwise"},
    {16, 32, 3, 1, &native, "tile", "native_gemm"}, /* OpenCL's tiles are invisible to native */
};

START_TEST(choice)
{
    mcl__problem p = conv(choices[_i].C, choices[_i].K, choices[_i].kernel, choices[_i].groups);
    mcl__lowered lowered;
    ck_assert_int_eq(mcl__lower(&p, choices[_i].on, choices[_i].force, &lowered, NULL), MCL_OK);
    ck_assert_str_eq(lowered.variant->name, choices[_i].served_by);
    mcl__lowered_free(&lowered);
    ck_assert_ptr_null(lowered.arena.blocks);
}
END_TEST

/* A GPU's library takes no product of more rows than its groups can be numbered for. */
START_TEST(library_rows)
{
    static const mcl__op_kind passes[] = {MCL__OP_conv2d, MCL__OP_conv2d_bwd_data, MCL__OP_conv2d_bwd_weight};
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        for (int more = 0; more < 2; more++) {
            mcl__problem p = conv(16, 16, 1, 1);
            p.in[0].d[0] = 8188 + more;
            ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);
            mcl__shape x = p.in[0], w = p.in[1], y = p.out[0];
            p.op = passes[i];
            if (p.op == MCL__OP_conv2d_bwd_data) p.in[0] = y, p.in[1] = w, p.out[0] = x;
            if (p.op == MCL__OP_conv2d_bwd_weight) p.in[0] = x, p.in[1] = y, p.out[0] = w;
            p.attrs.conv.H = p.attrs.conv.W = 8;
            const char *name = mcl__lower_variant(&p, &gpu, NULL)->name;
            ck_assert_msg((strcmp(name, "library") == 0) == !more, "pass %zu of %d pictures: %s", i, 8188 + more, name);
        }
}
END_TEST

/* 16 columns want the tile of one vector; "tile:3" takes another, and what does not exist is the first. */
START_TEST(candidates)
{
    static const struct { const char *force, *constants; } asked[] = {
        {NULL, "-DP=14 -DNV=1 "}, {"tile", "-DP=14 -DNV=1 "}, {"tile:1", "-DP=12 -DNV=2 "}, {"tile:3", "-DP=6 -DNV=4 "},
        {"tile:99", "-DP=14 -DNV=1 "}, {"tile:-1", "-DP=14 -DNV=1 "}, {"tile:x", "-DP=14 -DNV=1 "}, {"tiles:1", "-DP=14 -DNV=1 "},
    };
    mcl__problem p = conv(64, 16, 3, 1);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        mcl__lowered lowered;
        ck_assert_int_eq(mcl__lower(&p, &cpu, asked[i].force, &lowered, NULL), MCL_OK);
        ck_assert_str_eq(lowered.variant->name, "tile");
        bool found = false;
        for (int c = 0; c < lowered.commands; c++)
            found |= lowered.command[c].key.constants && strstr(lowered.command[c].key.constants, asked[i].constants);
        ck_assert_msg(found, "%s: no command has %s", asked[i].force ? asked[i].force : "nothing", asked[i].constants);
        mcl__lowered_free(&lowered);
    }
}
END_TEST

/* The tile derives its weights once, and works in groups that the device allows. */
START_TEST(tile_commands)
{
    mcl__problem p = conv(16, 70, 3, 1);
    mcl__lowered lowered;
    ck_assert_int_eq(mcl__lower(&p, &gpu, "tile", &lowered, NULL), MCL_OK);
    ck_assert_int_eq(lowered.deriveds, 1);
    ck_assert_int_eq(lowered.derived[0].input, 1);
    ck_assert_int_eq(lowered.commands, 2);
    ck_assert_int_eq(lowered.command[0].derive, 0);
    ck_assert_int_eq(lowered.command[1].derive, -1);
    ck_assert_str_eq(lowered.command[1].key.name, "conv2d_gather");
    for (int i = 0; i < lowered.commands; i++) {
        ck_assert_uint_le(lowered.command[i].local[0], gpu.max_work_group);
        ck_assert_uint_eq(lowered.command[i].global[0] % lowered.command[i].local[0], 0);
    }
    mcl__lowered_free(&lowered);
}
END_TEST

/* The first command of a product's own source, whose kernels are all of one program. */
static const mcl__kernel_key *product_key(const mcl__lowered *lowered)
{
    const mcl__kernel_key *first = NULL;
    for (int c = 0; c < lowered->commands; c++) {
        const mcl__kernel_key *key = &lowered->command[c].key;
        if (strncmp(key->source, "conv2d_gemm", strlen("conv2d_gemm"))) continue;
        if (!first) first = key;
        ck_assert_str_eq(key->constants, first->constants);
        ck_assert_str_eq(key->prelude ? key->prelude : "", first->prelude ? first->prelude : "");
    }
    ck_assert_ptr_nonnull(first);
    return first;
}

/* Fails where a product comes from another program with so many pictures than with those before, whose commands are `expected`. */
static void check_programs(mcl__op_kind op, int C, int K, int kernel, int stride, mcl_epilogue_code last, int pictures,
                           mcl__lowered *expected)
{
    mcl__problem p = conv(C, K, kernel, 1);
    mcl__lowered lowered;
    p.op = op;
    p.attrs.conv.stride_h = p.attrs.conv.stride_w = stride;
    p.attrs.conv.H = p.attrs.conv.W = 8;
    int size = (8 + 2 * p.attrs.conv.pad_h - kernel) / stride + 1;
    mcl__shape x = {4, {pictures, 8, 8, C}}, y = {4, {pictures, size, size, K}};
    p.in[0] = op == MCL__OP_conv2d_bwd_data ? y : x;
    if (op == MCL__OP_conv2d_bwd_weight) p.in[1] = y;
    else if (last.code) p.epilogue = (mcl__epilogue){1, {last}};
    ck_assert_int_eq(mcl__op_get(op)->infer(&p, NULL), MCL_OK);
    ck_assert_int_eq(mcl__lower(&p, &large_gpu, "gemm", &lowered, NULL), MCL_OK);
    ck_assert_str_eq(lowered.variant->name, "gemm");
    if (!expected->commands) {
        *expected = lowered;
        return;
    }
    const mcl__kernel_key *key = product_key(&lowered), *first = product_key(expected);
    ck_assert_str_eq(key->source, first->source);
    ck_assert_str_eq(key->constants, first->constants);
    ck_assert_str_eq(key->prelude ? key->prelude : "", first->prelude ? first->prelude : "");
    mcl__lowered_free(&lowered);
}

/* A new batch size builds no program: it moves neither tile nor any other constant. */
START_TEST(gemm_programs)
{
    static const mcl__op_kind ops[] = {MCL__OP_conv2d, MCL__OP_conv2d_bwd_data, MCL__OP_conv2d_bwd_weight};
    static const int channels[][2] = {{3, 64}, {64, 16}, {64, 64}, {40, 130}, {512, 512}}, pictures[] = {1, 2, 17, 128, 1000, 5000};
    static const mcl_epilogue_code last[] = {{0}, {.code = MCL_EP_ACT, .act = MCL_ACT_RELU}, {.code = MCL_EP_STATS}};
    for (size_t op = 0; op < sizeof ops / sizeof *ops; op++)
        for (size_t c = 0; c < sizeof channels / sizeof *channels; c++)
            for (size_t e = 0; e < sizeof last / sizeof *last; e++)
                for (int kernel = 1; kernel <= 3; kernel += 2)
                    for (int stride = 1; stride <= 2; stride++) {
                        mcl__lowered first = {0};
                        for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++)
                            check_programs(ops[op], channels[c][0], channels[c][1], kernel, stride, last[e], pictures[i], &first);
                        mcl__lowered_free(&first);
                    }
}
END_TEST

/* A tile of groups that shares its operands: as large as leaves every unit something to do with a usual batch, narrow for few
 * channels. With fewer groups the sum is cut, and its parts are added in a launch of their own; so are a weight gradient's. */
START_TEST(gemm_commands)
{
    static const struct { int pictures, K; size_t parts; const char *constants; } sizes[] = {
        {128, 128, 1, "-DGX=8 -DGY=16 -DRV=2 -DCV=2 "}, {1, 128, 9, "-DGX=8 -DGY=16 -DRV=2 -DCV=2 "},
        {8, 128, 8, "-DGX=8 -DGY=16 -DRV=2 -DCV=2 "},   {256, 16, 1, "-DGX=4 -DGY=16 -DRV=1 -DCV=1 "},
        {128, 17, 1, "-DGX=8 -DGY=16 -DRV=1 -DCV=1 "}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        mcl__problem p = conv(128, sizes[i].K, 3, 1);
        mcl__lowered lowered;
        p.in[0].d[0] = sizes[i].pictures;
        ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);
        ck_assert_int_eq(mcl__lower(&p, &large_gpu, NULL, &lowered, NULL), MCL_OK);
        ck_assert_str_eq(lowered.command[0].key.name, "conv2d_gemm");
        ck_assert_ptr_nonnull(strstr(lowered.command[0].key.constants, sizes[i].constants));
        ck_assert_uint_eq(lowered.command[0].global[2], sizes[i].parts);
        ck_assert_int_eq(lowered.commands, sizes[i].parts > 1 ? 2 : 1);
        if (sizes[i].parts > 1) ck_assert_str_eq(lowered.command[1].key.name, "conv2d_gemm_add");
        mcl__lowered_free(&lowered);
    }

    mcl__problem p = conv(64, 64, 3, 1);
    mcl__lowered lowered;
    p.op = MCL__OP_conv2d_bwd_weight;
    p.in[0].d[0] = 256;
    p.in[1] = (mcl__shape){4, {256, 8, 8, 64}};
    ck_assert_int_eq(mcl__op_conv2d_bwd_weight.infer(&p, NULL), MCL_OK);
    ck_assert_int_eq(mcl__lower(&p, &large_gpu, NULL, &lowered, NULL), MCL_OK);
    ck_assert_int_eq(lowered.commands, 2);
    ck_assert_str_eq(lowered.command[1].key.name, "conv2d_reduce");
    const mcl__command *parts = &lowered.command[0];
    size_t groups = 1;
    for (int d = 0; d < parts->dimensions; d++) groups *= parts->global[d] / parts->local[d];
    ck_assert_uint_ge(groups, large_gpu.compute_units);
    mcl__lowered_free(&lowered);
}
END_TEST

/* A library's product gives way where what it does not take would cost more of memory than it saves of arithmetic. */
START_TEST(library_yields)
{
    static const struct { int C; mcl_epilogue_code before, after; const char *served_by; } rows[] = {
        {64, {0}, {0}, "library"},
        {64, {0}, {.code = MCL_EP_ACT, .act = MCL_ACT_RELU}, "gemm"},
        {64, {0}, {.code = MCL_EP_STATS}, "gemm"},
        {64, {.code = MCL_EP_ACT, .act = MCL_ACT_RELU}, {0}, "gemm"},
        {1024, {0}, {.code = MCL_EP_ACT, .act = MCL_ACT_RELU}, "library"},
        {64, {0}, {.code = MCL_EP_DROPOUT, .alpha = 2.0f, .threshold = 1u << 31}, "library"}, /* gemm does not take it either */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mcl__problem p = conv(rows[i].C, 64, 1, 1);
        if (rows[i].before.code) p.prologue = (mcl__prologue){1, {rows[i].before}};
        if (rows[i].after.code) p.epilogue = (mcl__epilogue){1, {rows[i].after}};
        if (rows[i].after.code == MCL_EP_DROPOUT) {
            p.in[2] = (mcl__shape){1, {(int)sizeof(mcl_step)}};
            p.in_dtype[2] = MCL_BYTES;
            p.inputs = 3;
        }
        ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);
        mcl__capabilities on = large_gpu;
        on.gemm = true;
        const mcl__variant *variant = mcl__lower_variant(&p, &on, NULL);
        ck_assert_msg(!strcmp(variant->name, rows[i].served_by), "row %zu: %s", i, variant->name);
        on.gemm_asked = true;
        ck_assert_str_eq(mcl__lower_variant(&p, &on, NULL)->name, "library");
        ck_assert_str_eq(mcl__lower_variant(&p, &gpu, NULL)->name, "library"); /* whose groups are too small for gemm */
    }
}
END_TEST

/* The product of a layer with batch normalisation on either side: one launch, and the joining of its parts of statistics. */
START_TEST(gemm_with_normalisation)
{
    mcl__problem p = conv(16, 32, 3, 1);
    p.prologue = (mcl__prologue){2, {{.code = MCL_EP_SCALE_SHIFT}, {.code = MCL_EP_ACT, .act = MCL_ACT_RELU}}};
    p.epilogue = (mcl__epilogue){1, {{.code = MCL_EP_STATS}}};
    p.in[2] = p.in[3] = (mcl__shape){1, {16}};
    p.inputs = 4;
    ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);
    mcl__lowered lowered;
    ck_assert_int_eq(mcl__lower(&p, &large_gpu, NULL, &lowered, NULL), MCL_OK);
    ck_assert_int_eq(lowered.commands, 2);
    ck_assert_str_eq(lowered.command[0].key.name, "conv2d_gemm");
    ck_assert_str_eq(lowered.command[1].key.name, "batch_norm_stats_merge_group");
    mcl__lowered_free(&lowered);

    p = conv(128, 128, 3, 1); /* so few results that the sum is cut: statistics are a pass of their own */
    p.epilogue = (mcl__epilogue){1, {{.code = MCL_EP_STATS}}};
    ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);
    ck_assert_int_eq(mcl__lower(&p, &large_gpu, NULL, &lowered, NULL), MCL_OK);
    ck_assert_int_eq(lowered.commands, 4);
    ck_assert_str_eq(lowered.command[1].key.name, "conv2d_gemm_add");
    ck_assert_str_eq(lowered.command[2].key.name, "batch_norm_stats_part");
    mcl__lowered_free(&lowered);
}
END_TEST

static mcl__problem dense(int rows, int C, int K)
{
    mcl__problem p = {.op = MCL__OP_dense, .inputs = 2, .in = {{2, {rows, C}}, {2, {C, K}}}};
    ck_assert_int_eq(mcl__op_dense.infer(&p, NULL), MCL_OK);
    return p;
}

static const struct {
    int rows, C, K;
    const mcl__capabilities *on;
    bool vector;
} skinny[] = {
    {1, 3136, 512, &cpu, true},   {8, 784, 1024, &cpu, true}, {9, 784, 1024, &cpu, false},      {64, 3136, 512, &cpu, false},
    {1, 512, 10, &cpu, true},     {64, 512, 10, &cpu, false}, {64, 512, 1, &cpu, true},         {64, 512, 8, &cpu, true},
    {1, 512, 10, &native, false}, {1, 512, 10, &gpu, false},  {1, 3136, 512, &large_gpu, true}, {64, 3136, 512, &large_gpu, false},
};

/* Few rows, as one picture has, and few columns; not a training batch. */
START_TEST(vector_for_few)
{
    mcl__problem p = dense(skinny[_i].rows, skinny[_i].C, skinny[_i].K);
    mcl__lowered lowered;
    ck_assert_int_eq(mcl__lower(&p, skinny[_i].on, NULL, &lowered, NULL), MCL_OK);
    ck_assert_int_eq(!strcmp(lowered.variant->name, "vector"), skinny[_i].vector);
    mcl__lowered_free(&lowered);
}
END_TEST

/* Batches of one to four are one program; the parts of its sums, and so its bits, are the same for any number of units. */
START_TEST(vector_program)
{
    mcl__lowered one;
    mcl__problem p = dense(1, 3136, 512);
    ck_assert_int_eq(mcl__lower(&p, &cpu, NULL, &one, NULL), MCL_OK);
    for (int rows = 1; rows <= 8; rows++) {
        mcl__capabilities on = cpu;
        mcl__lowered lowered;
        on.compute_units = (uint32_t)(9 * rows);
        p = dense(rows, 3136, 512);
        ck_assert_int_eq(mcl__lower(&p, &on, NULL, &lowered, NULL), MCL_OK);
        ck_assert_str_eq(lowered.command[0].key.name, "dense_vector_sum");
        ck_assert_int_eq(!strcmp(lowered.command[0].key.constants, one.command[0].key.constants), rows <= 4);
        ck_assert_int_eq(lowered.commands, one.commands);
        for (int d = 0; d < 2; d++) ck_assert_uint_eq(lowered.command[0].global[d], one.command[0].global[d]);
        mcl__lowered_free(&lowered);
    }
    mcl__lowered_free(&one);
}
END_TEST

/* What a variant does not take becomes a map before it, whose result in(0) stands for, and statistics of the result behind it. */
START_TEST(prologue_and_statistics_apart)
{
    mcl__problem p = conv(16, 32, 1, 1);
    p.prologue = (mcl__prologue){1, {{.code = MCL_EP_SCALE_SHIFT}}};
    p.epilogue = (mcl__epilogue){1, {{.code = MCL_EP_STATS}}};
    p.in[2] = p.in[3] = (mcl__shape){1, {16}};
    p.inputs = 4;
    ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);

    mcl__lowered lowered;
    ck_assert_int_eq(mcl__lower(&p, &native, "reference", &lowered, NULL), MCL_OK);
    ck_assert_int_eq(lowered.commands, 3);
    const mcl__command *map = &lowered.command[0], *product = &lowered.command[1], *stats = &lowered.command[2];
    ck_assert_str_eq(map->key.name, "map");
    ck_assert_int_eq(map->arg[0].operand.kind, MCL__OPERAND_IN);
    ck_assert_int_eq(map->arg[1].operand.kind, MCL__OPERAND_WORKSPACE);
    ck_assert_int_eq(map->arg[3].operand.index, 3); /* the shift */
    ck_assert_int_eq(product->arg[0].operand.kind, MCL__OPERAND_WORKSPACE);
    ck_assert_int_eq(product->arg[1].operand.kind, MCL__OPERAND_IN);
    ck_assert_str_eq(stats->key.name, "batch_norm_stats");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(stats->arg[i].operand.kind, MCL__OPERAND_OUT);
        ck_assert_int_eq(stats->arg[i].operand.index, i);
    }
    mcl__lowered_free(&lowered);
}
END_TEST

static const mcl__command *command_of(const mcl__lowered *lowered, const char *name)
{
    for (int c = 0; c < lowered->commands; c++)
        if (!strcmp(lowered->command[c].key.name, name)) return &lowered->command[c];
    return NULL;
}

/* All tiles in blocks: those of the products' rows, or of a weight gradient's depth. */
static void check_blocks(const mcl__lowered *lowered, int tiles, bool weight)
{
    int done = 0;
    for (int c = 0; c < lowered->commands; c++) {
        const mcl__command *command = &lowered->command[c];
        if (strcmp(command->key.name, "conv2d_winograd_product")) continue;
        const mcl_winograd_product_args *args = command->arg[command->args - 1].blob;
        ck_assert_int_eq(args->begun, weight && done > 0);
        done += weight ? args->depth : args->rows;
    }
    ck_assert_int_eq(done, tiles);
    ck_assert_uint_le(lowered->workspace[0] + lowered->workspace[1], 64 << 20);
    ck_assert_int_eq(lowered->deriveds, !weight);
}

/* Transformed tiles have bounded workspace and programs of their own, whatever the batch; and another variant is the default. */
START_TEST(winograd_blocks)
{
    static const mcl__op_kind ops[] = {MCL__OP_conv2d, MCL__OP_conv2d_bwd_data, MCL__OP_conv2d_bwd_weight};
    static const int channels[][2] = {{16, 16}, {64, 130}, {512, 512}}, pictures[] = {1, 17, 5000, 40000};
    for (size_t op = 0; op < sizeof ops / sizeof *ops; op++)
        for (size_t c = 0; c < sizeof channels / sizeof *channels; c++) {
            mcl__lowered first = {0};
            for (size_t i = 0; i < sizeof pictures / sizeof *pictures; i++) {
                mcl__problem p = conv(channels[c][0], channels[c][1], 3, 1);
                mcl__lowered lowered;
                p.op = ops[op];
                p.attrs.conv.H = p.attrs.conv.W = 8;
                mcl__shape x = {4, {pictures[i], 8, 8, channels[c][0]}}, y = {4, {pictures[i], 8, 8, channels[c][1]}};
                p.in[0] = ops[op] == MCL__OP_conv2d_bwd_data ? y : x;
                if (ops[op] == MCL__OP_conv2d_bwd_weight) p.in[1] = y;
                ck_assert_int_eq(mcl__op_get(ops[op])->infer(&p, NULL), MCL_OK);
                ck_assert_str_eq(mcl__lower_variant(&p, &large_gpu, NULL)->name, "gemm");
                ck_assert_int_eq(mcl__lower(&p, &large_gpu, "winograd_nonfused", &lowered, NULL), MCL_OK);
                ck_assert_str_eq(lowered.variant->name, "winograd_nonfused");
                check_blocks(&lowered, pictures[i] * 4, ops[op] == MCL__OP_conv2d_bwd_weight);
                if (i == 0) {
                    first = lowered;
                    continue;
                }
                for (int k = 0; k < lowered.commands; k++) {
                    const mcl__command *same = command_of(&first, lowered.command[k].key.name);
                    ck_assert_ptr_nonnull(same);
                    ck_assert_str_eq(lowered.command[k].key.constants, same->key.constants);
                }
                mcl__lowered_free(&lowered);
            }
            mcl__lowered_free(&first);
        }
}
END_TEST

/* What a library's product cannot apply follows as one map: its tensors in order, the rest bound to the output, the step last. */
START_TEST(epilogue_map)
{
    mcl__problem p = conv(16, 32, 1, 1);
    p.epilogue.count = 3;
    p.epilogue.code[0] = (mcl_epilogue_code){.code = MCL_EP_SCALE_SHIFT};
    p.epilogue.code[1] = (mcl_epilogue_code){.code = MCL_EP_ACT, .act = MCL_ACT_RELU};
    p.epilogue.code[2] = (mcl_epilogue_code){.code = MCL_EP_DROPOUT, .alpha = 2.0f, .threshold = 1u << 31};
    p.in[2] = p.in[3] = (mcl__shape){1, {32}};
    p.in[4] = (mcl__shape){1, {(int)sizeof(mcl_step)}};
    p.in_dtype[4] = MCL_BYTES;
    p.inputs = 5;
    ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);

    mcl__lowered lowered;
    mcl__capabilities library = native;
    library.gemm = true;
    ck_assert_int_eq(mcl__lower(&p, &library, "library", &lowered, NULL), MCL_OK);
    ck_assert_int_eq(lowered.commands, 2);
    ck_assert_int_eq(lowered.command[0].kind, MCL__COMMAND_GEMM);
    const mcl__command *map = &lowered.command[1];
    ck_assert_str_eq(map->key.name, "map");
    ck_assert_int_eq(map->args, 2 + MCL_MAP_TENSORS + 2);
    ck_assert_int_eq(map->arg[2].operand.index, 2);
    ck_assert_int_eq(map->arg[3].operand.index, 3);
    ck_assert_int_eq(map->arg[4].operand.kind, MCL__OPERAND_OUT);
    ck_assert_int_eq(map->arg[9].operand.kind, MCL__OPERAND_IN);
    ck_assert_int_eq(map->arg[9].operand.index, 4);
    const mcl_map_args *args = map->arg[10].blob;
    ck_assert_int_eq(args->elements, 2 * 8 * 8 * 32);
    ck_assert_int_eq(args->sample_elements, 8 * 8 * 32);
    ck_assert_int_eq(args->channels, 32);
    ck_assert_int_eq(args->count, 3);
    ck_assert_uint_ge(map->global[0], 2 * 8 * 8 * 32);
    mcl__lowered_free(&lowered);
}
END_TEST

/* Every operator is in the table, and one with work to do ends its variants with a reference that always applies. */
START_TEST(every_operator)
{
    for (int kind = 0; kind < MCL__OP_COUNT; kind++) {
        const mcl__op *op = mcl__op_get((mcl__op_kind)kind);
        ck_assert_msg(op && op->name && op->infer, "operator %d", kind);
        ck_assert_msg(op->view || op->variants, "%s has no variants", op->name);
        const mcl__variant *last = NULL;
        for (const mcl__variant *v = op->variants; v && v->name; v++) last = v;
        ck_assert_msg(op->view || (last && !strcmp(last->name, "reference") && !last->applicable), "%s: no reference", op->name);
    }
}
END_TEST

START_TEST(shapes)
{
    char text[64];
    ck_assert_str_eq(mcl__shape_text((mcl__shape){4, {128, 28, 28, 1}}, text), "(128, 28, 28, 1)");
    mcl__shape_text((mcl__shape){4, {INT_MIN, INT_MIN, INT_MIN, INT_MIN}}, text);
    ck_assert_uint_lt(strlen(text), sizeof text);
    ck_assert(mcl__shape_valid((mcl__shape){1, {INT_MAX}}));
    ck_assert(!mcl__shape_valid((mcl__shape){2, {INT_MAX, 2}}));
    ck_assert(!mcl__shape_valid((mcl__shape){4, {INT_MAX, INT_MAX, INT_MAX, INT_MAX}}));
    ck_assert(!mcl__shape_valid((mcl__shape){2, {3, 0}}));
    ck_assert(!mcl__shape_valid((mcl__shape){0}));
    ck_assert(!mcl__shape_valid((mcl__shape){5, {1, 1, 1, 1}}));
    ck_assert(mcl__shape_equal((mcl__shape){2, {3, 4, 9}}, (mcl__shape){2, {3, 4, 7}}));
    ck_assert(!mcl__shape_equal((mcl__shape){2, {3, 4}}, (mcl__shape){3, {3, 4, 1}}));
    ck_assert_int_eq(mcl__shape_elements((mcl__shape){3, {3, 4, 5}}), 60);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lower");
    TCase *tcase = tcase_create("lower");
    tcase_add_loop_test(tcase, choice, 0, (int)(sizeof choices / sizeof choices[0]));
    tcase_add_test(tcase, candidates);
    tcase_add_test(tcase, tile_commands);
    tcase_add_test(tcase, library_rows);
    tcase_add_test(tcase, gemm_programs);
    tcase_add_test(tcase, gemm_commands);
    tcase_add_test(tcase, library_yields);
    tcase_add_test(tcase, gemm_with_normalisation);
    tcase_add_loop_test(tcase, vector_for_few, 0, (int)(sizeof skinny / sizeof skinny[0]));
    tcase_add_test(tcase, vector_program);
    tcase_add_test(tcase, epilogue_map);
    tcase_add_test(tcase, prologue_and_statistics_apart);
    tcase_add_test(tcase, winograd_blocks);
    tcase_add_test(tcase, every_operator);
    tcase_add_test(tcase, shapes);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
