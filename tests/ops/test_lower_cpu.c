/* Lowering for CPUs, without one: tiles by its vectors, blocks by its caches, items and parts by its units. */
#include "conv2d_tile.h"
#include "lower.h"
#include <string.h>

/* A CPU whose vectors are short has tiles of its own; one that does not say has those of AVX-512. */
START_TEST(lanes_of_a_cpu)
{
    static const struct { uint32_t vector_floats; const char *variant, *constants; } expected[] = {
        {0, "product", "-DP=12 -DNV=2 -DVW=16 "}, {16, "product", "-DP=12 -DNV=2 -DVW=16 "}, {8, "product", "-DP=6 -DNV=2 -DVW=8 "},
        {4, "product", "-DP=6 -DNV=2 -DVW=8 "},   {16, "tile", "-DP=6 -DNV=4 -DVW=16 "},     {8, "tile", "-DP=6 -DNV=2 -DVW=8 "},
        {16, "winograd", "-DVW=16 -DNV=2 -DP=11 "}, {8, "winograd", "-DVW=8 -DNV=2 -DP=6 "}};
    mcl__problem p = conv(64, 64, 3, 1);
    p.in[0].d[0] = 64;
    ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        mcl__capabilities on = cpu;
        mcl__lowered lowered;
        on.local_memory = 2 << 20;
        on.vector_floats = expected[i].vector_floats;
        ck_assert_int_eq(mcl__lower(&p, &on, expected[i].variant, &lowered, NULL), MCL_OK);
        bool found = false;
        for (int k = 0; k < lowered.commands; k++) {
            const char *constants = lowered.command[k].key.constants;
            found |= constants && strstr(constants, expected[i].constants);
        }
        ck_assert_msg(found, "%u floats, %s: no kernel with %s", on.vector_floats, expected[i].variant, expected[i].constants);
        mcl__lowered_free(&lowered);
    }
}
END_TEST

/* Winograd's items depend on the number of compute units; the parts of its statistics, whose bits a resumed run repeats, do not. */
START_TEST(parts_for_any_device)
{
    enum { PICTURES = 300, UNITS = 70 };
    mcl__problem p = conv(16, 32, 3, 1);
    p.in[0].d[0] = PICTURES;
    p.epilogue = (mcl__epilogue){1, {{.code = MCL_EP_STATS}}};
    ck_assert_int_eq(mcl__op_conv2d.infer(&p, NULL), MCL_OK);
    mcl_winograd_args first = {0};
    for (int units = 1; units <= UNITS; units++) {
        mcl__capabilities on = cpu;
        mcl__lowered lowered;
        on.local_memory = 2 << 20;
        on.compute_units = (uint32_t)units;
        ck_assert_int_eq(mcl__lower(&p, &on, "winograd", &lowered, NULL), MCL_OK);
        const mcl__command *command = &lowered.command[0];
        ck_assert_str_eq(command->key.name, "conv2d_winograd");
        const mcl_winograd_args *args = command->arg[command->args - 1].blob;
        if (units == 1) first = *args;
        ck_assert_int_gt(args->parts, 1);
        ck_assert_int_gt(args->chunk, 1);
        ck_assert_int_eq(args->parts, first.parts);
        ck_assert_int_eq(args->chunk, first.chunk);
        ck_assert_int_eq(args->group, first.group);
        ck_assert_int_eq(args->span % args->chunk, 0);
        int groups = (PICTURES * args->tiles_h * args->tiles_w - 1) / args->group + 1, items = (int)command->global[0];
        ck_assert_int_eq(items, (groups - 1) / args->span + 1);
        if (units == 1) /* each transforms the weights, which takes as long as six tiles: in all, 3 % more than once */
            ck_assert_int_le(6 * (items - 1), groups * args->group / 32);
        ck_assert_int_le(((items - 1) / units + 1) * args->span, groups / units + 2 * args->chunk); /* of the busiest unit */
        mcl__lowered_free(&lowered);
    }
}
END_TEST

/* 8x8 pixels of 128 pictures, C channels to K or their gradient, lowered to Winograd with so much local memory, to tiles of 4x4
 * where these fit: its arguments, of no tiles in a group where it does not apply. Checks that scratch is there and holds all. */
static mcl_winograd_args winograd_args(mcl__op_kind kind, int C, int K, int lanes, uint64_t local_memory)
{
    mcl_winograd_args args = {0};
    mcl__problem p = conv(kind == MCL__OP_conv2d_bwd_data ? K : C, kind == MCL__OP_conv2d_bwd_data ? C : K, 3, 1);
    mcl__capabilities on = cpu;
    mcl__lowered lowered;
    on.local_memory = local_memory, on.vector_floats = (uint32_t)lanes;
    p.op = kind, p.attrs.conv.H = p.attrs.conv.W = 8;
    p.in[0] = (mcl__shape){4, {128, 8, 8, C}};
    if (kind == MCL__OP_conv2d_bwd_weight) p.in[1] = (mcl__shape){4, {128, 8, 8, K}};
    ck_assert_int_eq(mcl__op_get(kind)->infer(&p, NULL), MCL_OK);
    ck_assert_int_eq(mcl__lower(&p, &on, "winograd(4)", &lowered, NULL), MCL_OK);
    if (!strcmp(lowered.variant->name, "winograd")) {
        const mcl__command *command = &lowered.command[0];
        int scratch = 0, points = strstr(command->key.constants, "-DTILE=4") ? 36 : 16;
        for (int a = 0; a < command->args; a++) {
            if (command->arg[a].kind == MCL__COMMAND_LOCAL) scratch = command->arg[a].i32;
            if (command->arg[a].kind == MCL__COMMAND_BLOB) args = *(const mcl_winograd_args *)command->arg[a].blob;
        }
        int floats = kind == MCL__OP_conv2d_bwd_weight
                         ? args.rows * args.columns + args.group * (args.rows + args.columns) + 2 * lanes
                         : args.depth * args.columns + lanes + args.group * (64 + args.columns);
        ck_assert_uint_le((uint64_t)scratch, local_memory);
        ck_assert_int_ge(scratch, 4 * points * floats);
    }
    mcl__lowered_free(&lowered);
    return args;
}

/* Blocks leave room for many tiles in a small cache. */
START_TEST(winograd_in_a_cache)
{
    static const struct { mcl__op_kind kind; int C, kilobytes, lanes, depth, rows, columns, least_group; } expected[] = {
        {MCL__OP_conv2d, 128, 2048, 16, 32, 0, 64, 60},
        {MCL__OP_conv2d, 128, 1024, 16, 32, 0, 64, 30},
        {MCL__OP_conv2d, 128, 512, 8, 16, 0, 64, 18},
        {MCL__OP_conv2d, 64, 1024, 16, 64, 0, 64, 11},
        {MCL__OP_conv2d, 64, 512, 8, 64, 0, 32, 12},
        {MCL__OP_conv2d_bwd_weight, 128, 2048, 16, 0, 64, 64, 30},
        {MCL__OP_conv2d_bwd_weight, 128, 1024, 16, 0, 64, 64, 16},
        {MCL__OP_conv2d_bwd_weight, 128, 512, 8, 0, 66, 32, 12},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        int C = expected[i].C;
        mcl_winograd_args args = winograd_args(expected[i].kind, C, C, expected[i].lanes, (uint64_t)expected[i].kilobytes << 10);
        ck_assert_int_eq(args.depth, expected[i].depth);
        ck_assert_int_eq(args.rows, expected[i].rows);
        ck_assert_int_eq(args.columns, expected[i].columns);
        ck_assert_int_ge(args.group, expected[i].least_group);
    }
}
END_TEST

/* No block has fewer channels than a vector, which would begin before it. */
START_TEST(winograd_vectors_fit)
{
    static const mcl__op_kind kinds[] = {MCL__OP_conv2d, MCL__OP_conv2d_bwd_data, MCL__OP_conv2d_bwd_weight};
    static const int others[] = {32, 45, 128};
    int found = 0;
    for (int i = 0; i < 3 * 3 * 2 * 14; i++) {
        int lanes = i % 2 ? 16 : 8, K = others[i / 2 % 3];
        uint64_t local = (uint64_t)(64 + i / 18 % 2 * 32) << (10 + i / 36); /* 64 KB to 6 MB */
        for (int C = lanes; C <= 140; C++) {
            mcl_winograd_args args = winograd_args(kinds[i / 6 % 3], C, K, lanes, local);
            if (args.group == 0) continue;
            ck_assert_msg(C / args.depth_blocks >= lanes && K / args.column_blocks >= lanes, "%d to %d in %d x %d blocks, %d lanes",
                          C, K, args.depth_blocks, args.column_blocks, lanes);
            found++;
        }
    }
    ck_assert_int_gt(found, 10000);
}
END_TEST

/* A product of rows that could be read as they are copies them where vectors are short. */
START_TEST(staging_of_a_cpu)
{
    static const struct { int kernel; uint32_t lanes; const char *constants; } expected[] = {
        {1, 16, "-DSTAGED=0"}, {1, 8, "-DSTAGED=1"}, {3, 16, "-DSTAGED=1"}, {3, 8, "-DSTAGED=1"}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        mcl__problem p = conv(64, 64, expected[i].kernel, 1);
        mcl__capabilities on = cpu;
        mcl__lowered lowered;
        on.local_memory = 1 << 20, on.vector_floats = expected[i].lanes;
        ck_assert_int_eq(mcl__lower(&p, &on, "product", &lowered, NULL), MCL_OK);
        ck_assert_ptr_nonnull(strstr(lowered.command[0].key.constants, expected[i].constants));
        mcl__lowered_free(&lowered);
    }
}
END_TEST

/* What the kernel has in local memory beside what lowering asks for: five places of each of 64 pixels, and a vector of squares. */
enum { KEPT = 5 * 64 * 4 + 16 * 4 };

/* Weight gradients with the squares of their results: as much local memory as there is, and one launch behind where one item has
 * all pixels. */
START_TEST(weight_gradients_with_squares)
{
    static const struct { int R, C, K; bool whole; } sizes[] = {
        {32, 256, 128, true}, {32, 3136, 512, true}, {128, 784, 512, true}, {17, 65, 9, true}, {4096, 64, 32, false}};
    static const uint64_t memories[] = {32 << 10, 64 << 10, 256 << 10, 512 << 10};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t m = 0; m < sizeof memories / sizeof *memories; m++)
            for (uint32_t lanes = 8; lanes <= 16; lanes += 8) {
                mcl__problem p = {.op = MCL__OP_dense_bwd_weight, .attrs.dense.squares = 1, .inputs = 2,
                                  .in = {{2, {sizes[i].R, sizes[i].C}}, {2, {sizes[i].R, sizes[i].K}}}};
                mcl__capabilities on = cpu;
                mcl__lowered lowered;
                on.local_memory = memories[m], on.vector_floats = lanes;
                ck_assert_int_eq(mcl__op_dense_bwd_weight.infer(&p, NULL), MCL_OK);
                ck_assert_int_eq(p.outputs, 2);
                ck_assert_int_eq(mcl__lower(&p, &on, "product", &lowered, NULL), MCL_OK);
                ck_assert_str_eq(lowered.variant->name, "product");
                const mcl__command *product = &lowered.command[0], *last = &lowered.command[lowered.commands - 1];
                for (int a = 0; a < product->args; a++)
                    if (product->arg[a].kind == MCL__COMMAND_LOCAL)
                        ck_assert_uint_le((uint64_t)product->arg[a].i32 + KEPT, on.local_memory);
                ck_assert_int_eq(mcl__lower_takes_squares(&p, &on, "product"), sizes[i].whole);
                ck_assert_int_eq(lowered.commands, sizes[i].whole ? 2 : 4); /* its copies' sum, and the passes of square_sum */
                ck_assert_str_eq(last->key.name, "squares_finish");
                ck_assert_int_eq(last->arg[1].operand.kind, MCL__OPERAND_OUT);
                ck_assert_int_eq(last->arg[1].operand.index, 1);
                mcl__lowered_free(&lowered);
            }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lower for CPUs");
    TCase *tcase = tcase_create("lower");
    tcase_add_test(tcase, lanes_of_a_cpu);
    tcase_add_test(tcase, parts_for_any_device);
    tcase_add_test(tcase, winograd_in_a_cache);
    tcase_add_test(tcase, winograd_vectors_fit);
    tcase_add_test(tcase, staging_of_a_cpu);
    tcase_add_test(tcase, weight_gradients_with_squares);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
