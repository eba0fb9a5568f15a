/* Places: no two things that live at the same time overlap, on graphs drawn at random; limits of a device; saving. */
#include "graph/memory.h"
#include "nets.h"

enum { NODES = 120 };

/* A graph of maps, sums, reshapes and concatenations of matrices (rows, 8) drawn at random. */
static mcl__graph *draw_graph(const test_net *net, uint64_t *seed)
{
    mcl__graph *graph;
    int pool[NODES + 1], count = 0;
    ck_assert_int_eq(mcl__graph_create(net->model, true, &graph), MCL_OK);
    pool[count++] = mcl__graph_tensor(graph, "x", SHAPE(BATCH, 10), MCL_F32, (mcl__view){net->x, 0, BATCH * 40});
    while (count <= NODES) {
        int a = pool[count - 1 - (int)(test_random(seed) % (count < 8 ? (uint64_t)count : 8))], b = pool[count - 1];
        int rows = graph->tensor[a].shape.d[0], made = -1;
        switch (test_random(seed) % 5) {
        case 0: made = net_map(graph, "act", MCL_EP_ACT, MCL_ACT_RELU, a, -1); break;
        case 1:
            if (mcl__shape_equal(graph->tensor[a].shape, graph->tensor[b].shape)) made = net_map(graph, "add", MCL_EP_ADD, 0, a, b);
            break;
        case 2: made = net_region(graph, "view", MCL__OP_reshape, a, SHAPE(rows / 2 * 2 == rows ? rows / 2 : rows,
                                  rows / 2 * 2 == rows ? 2 * graph->tensor[a].shape.d[1] : graph->tensor[a].shape.d[1]), 0); break;
        case 3: made = net_region(graph, "slice", MCL__OP_slice, a, SHAPE(rows, (graph->tensor[a].shape.d[1] + 1) / 2), 0); break;
        default:
            if (mcl__shape_elements(graph->tensor[a].shape) < 4000)
                made = net_node(graph, "concat", MCL__OP_concat, (mcl__attrs){.concat = {.axis = 0}}, a, a);
        }
        EXPECT(graph->error.status, graph->error);
        if (made < 0) continue;
        if (test_random(seed) % 16 == 0) graph->tensor[made].kept = true;
        graph->node[graph->nodes - 1].segment = graph->nodes < 5 ? MCL__LOAD : MCL__COMPUTE;
        pool[count++] = made;
    }
    return graph;
}

/* Who may be alive in which bytes: a map from bytes to the tensor or workspace that they hold, replayed node by node. */
typedef struct holders { int *owner[8]; } holders;

static void write_bytes(holders *memory, const mcl__block *block, int owner)
{
    for (uint64_t i = 0; i < block->bytes; i++) memory->owner[block->slab][block->offset + i] = owner;
}

static void expect_bytes(const holders *memory, const mcl__block *block, int owner, const char *name)
{
    bool whole = true;
    for (uint64_t i = 0; i < block->bytes; i++) whole &= memory->owner[block->slab][block->offset + i] == owner;
    ck_assert_msg(whole, "%s was overwritten before it was read", name);
}

/* Replays: each node finds its inputs whole, then writes workspace and outputs; kept tensors are whole at the end. */
static void replay(const mcl__graph *graph, const mcl__lowered *lowered, const mcl__memory *memory, const mcl__slabs *slabs)
{
    holders bytes = {0};
    for (int s = 0; s < slabs->count; s++) bytes.owner[s] = calloc(slabs->bytes[s], sizeof(int));
    for (int pass = 0; pass < 2; pass++) {
        for (int n = 0; n < graph->nodes; n++) {
            const mcl__node *node = &graph->node[n];
            if (pass == 1 && node->segment == MCL__LOAD) continue; /* `compute` can be replayed alone */
            if (mcl__op_get(node->op)->view) continue;
            for (int w = 0; w < lowered[n].workspaces; w++)
                write_bytes(&bytes, &memory->block[memory->workspace[n] + w], -1 - n);
            for (int i = 1; i < node->inputs; i++) { /* whoever works in place may lose its first input */
                int root = mcl__graph_root(graph, node->in[i]);
                if (memory->tensor[root] >= 0) expect_bytes(&bytes, &memory->block[memory->tensor[root]], root, node->name);
            }
            int first = mcl__graph_root(graph, node->in[0]);
            if (memory->tensor[first] >= 0) expect_bytes(&bytes, &memory->block[memory->tensor[first]], first, node->name);
            int out = mcl__graph_root(graph, node->out[0]);
            const mcl__block *place = &memory->block[memory->tensor[out]];
            write_bytes(&bytes, place, out);
            for (int i = 0; i < node->inputs; i++) { /* unless in place, outputs leave the inputs whole */
                int root = mcl__graph_root(graph, node->in[i]);
                if (memory->tensor[root] < 0 ||
                    (i == 0 && mcl__op_get(node->op)->in_place && memory->tensor[root] == memory->tensor[out]))
                    continue;
                expect_bytes(&bytes, &memory->block[memory->tensor[root]], root, node->name);
            }
        }
        for (int i = 0; i < graph->tensors; i++) {
            int root = mcl__graph_root(graph, i);
            if (graph->tensor[i].kept && memory->tensor[root] >= 0)
                expect_bytes(&bytes, &memory->block[memory->tensor[root]], root, "kept");
        }
    }
    for (int s = 0; s < slabs->count; s++) free(bytes.owner[s]);
}

/* limited: by the largest block, or half of what one slab would take. */
static void check_draw(const test_net *net, uint64_t seed, bool share, bool limited)
{
    mcl__graph *graph = draw_graph(net, &seed);
    mcl__lowered *lowered = calloc((size_t)graph->nodes, sizeof *lowered);
    mcl__memory memory;
    mcl__slabs slabs;
    mcl_error error = {0};
    for (int n = 0; n < graph->nodes; n++)
        for (int w = (int)(test_random(&seed) % 3); w > 0 && !mcl__op_get(graph->node[n].op)->view; w--)
            lowered[n].workspace[lowered[n].workspaces++] = 1 + test_random(&seed) % 3000;
    EXPECT(mcl__memory_lifetimes(graph, lowered, 128, share, &memory, &error), error);
    EXPECT(mcl__memory_place(memory.block, memory.blocks, 128, 0, share, &slabs, &error), error);
    ck_assert_int_eq(slabs.count, 1);
    uint64_t total = 0, limit = limited ? slabs.bytes[0] / 2 : 0;
    for (int b = 0; b < memory.blocks && limited; b++)
        if (memory.block[b].bytes > limit) limit = (memory.block[b].bytes + 127) / 128 * 128;
    mcl__slabs_destroy(&slabs);
    EXPECT(mcl__memory_place(memory.block, memory.blocks, 128, limit, share, &slabs, &error), error);
    ck_assert_int_le(slabs.count, 8);
    for (int s = 0; s < slabs.count; s++) {
        ck_assert(limit == 0 || slabs.bytes[s] <= limit);
        total += slabs.bytes[s];
    }
    for (int b = 0; b < memory.blocks; b++) ck_assert_uint_eq(memory.block[b].offset % 128, 0);
    if (limit) ck_assert_int_gt(slabs.count, 1);
    if (share) ck_assert_uint_lt(total, memory.sum / 2);
    else ck_assert_uint_eq(total, memory.sum);
    replay(graph, lowered, &memory, &slabs);
    mcl__slabs_destroy(&slabs);
    mcl__memory_free(&memory);
    free(lowered);
    mcl__graph_destroy(graph);
}

START_TEST(nothing_alive_overlaps)
{
    test_net net = net_create(test_device(0), MLP, &net_sgd, BATCH, 1);
    for (uint64_t seed = 1; seed <= 12; seed++) {
        check_draw(&net, seed, true, false);
        check_draw(&net, seed, false, false);
    }
    net_destroy(&net);
}
END_TEST

START_TEST(slabs_respect_the_limit)
{
    test_net net = net_create(test_device(0), MLP, &net_sgd, BATCH, 1);
    for (uint64_t seed = 1; seed <= 6; seed++) check_draw(&net, seed, true, true);
    net_destroy(&net);
    mcl__block block = {.bytes = 1000};
    mcl__slabs slabs;
    mcl_error error = {0};
    ck_assert_int_eq(mcl__memory_place(&block, 1, 128, 999, true, &slabs, &error), MCL_ERROR_MEMORY);
    mcl__slabs_destroy(&slabs);
}
END_TEST

START_TEST(real_plans_share)
{
    TEST_DEVICE(device);
    for (int kind = 0; kind < KINDS; kind++) {
        test_net net = net_create(device, kind, &net_sgd, BATCH, 1);
        mcl__plan *shared = net_plan(&net, true, NULL), *apart = net_plan(&net, true, &(mcl__plan_options){.no_share = true});
        mcl__plan_statistics one = mcl__plan_get_statistics(shared), other = mcl__plan_get_statistics(apart);
        ck_assert_uint_lt(one.planned_bytes, one.sum_bytes);
        ck_assert_uint_eq(other.planned_bytes, other.sum_bytes);
        ck_assert_uint_eq(one.sum_bytes, other.sum_bytes);
        mcl__plan_destroy(shared);
        mcl__plan_destroy(apart);
        net_destroy(&net);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *tcase = tcase_create("places");
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, nothing_alive_overlaps);
    tcase_add_test(tcase, slabs_respect_the_limit);
    tcase_add_loop_test(tcase, real_plans_share, 0, DEVICES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
