/* Fusion: what joins, what must not, and that the numbers stay. */
#include "graph/fuse.h"
#include "nets.h"

static mcl__graph *empty_graph(const test_net *net)
{
    mcl__graph *graph;
    ck_assert_int_eq(mcl__graph_create(net->model, true, &graph), MCL_OK);
    return graph;
}

static int input(mcl__graph *graph, const test_net *net)
{
    return mcl__graph_tensor(graph, "x", SHAPE(BATCH, 10), MCL_F32, (mcl__view){net->x, 0, BATCH * 40});
}

/* x (4,10) times the flat weight: (4,13). */
static int product(mcl__graph *graph, const char *name, int x)
{
    int w = net_region(graph, "flat", MCL__OP_reshape, mcl__graph_parameter(graph, "flat.weight"), SHAPE(10, 13), 0);
    return net_node(graph, name, MCL__OP_dense, (mcl__attrs){0}, x, w);
}

static int nodes_of(const mcl__graph *graph, mcl__op_kind op)
{
    int count = 0;
    for (int n = 0; n < graph->nodes; n++) count += graph->node[n].op == op;
    return count;
}

/* Every input is made before the node that reads it, and producers are right. */
static void check_order(const mcl__graph *graph)
{
    for (int n = 0; n < graph->nodes; n++) {
        for (int i = 0; i < graph->node[n].inputs; i++) {
            const mcl__tensor *tensor = &graph->tensor[graph->node[n].in[i]];
            ck_assert_msg(tensor->producer >= 0 || tensor->bound.buffer, "%s reads what nobody makes", graph->node[n].name);
            if (!tensor->bound.buffer) ck_assert_int_lt(tensor->producer, n);
        }
        for (int i = 0; i < graph->node[n].outputs; i++) {
            const mcl__tensor *tensor = &graph->tensor[graph->node[n].out[i]];
            if (!tensor->bound.buffer) ck_assert_int_eq(tensor->producer, n); /* what persists may be written twice */
        }
    }
}

START_TEST(chains_join_their_producer)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, MLP, &net_sgd, BATCH, 1);
    mcl__graph *graph = empty_graph(&net);
    int y = product(graph, "fc", input(graph, &net));
    y = net_map(graph, "bias", MCL_EP_BIAS, 0, y, mcl__graph_parameter(graph, "fc1.bias"));
    y = net_dropout(graph, "drop", net_map(graph, "act", MCL_EP_ACT, MCL_ACT_RELU, y, -1));
    y = net_map(graph, "add", MCL_EP_ADD, 0, y, mcl__graph_parameter(graph, "one.weight"));
    EXPECT(mcl__graph_fuse(graph), graph->error);
    ck_assert_int_eq(graph->nodes, 2); /* reshape, dense */
    const mcl__node *node = &graph->node[1];
    static const int codes[] = {MCL_EP_BIAS, MCL_EP_ACT, MCL_EP_DROPOUT, MCL_EP_ADD};
    ck_assert_int_eq(node->epilogue.count, 4);
    for (int i = 0; i < 4; i++) ck_assert_int_eq(node->epilogue.code[i].code, codes[i]);
    ck_assert_int_eq(node->inputs, 5);
    ck_assert_str_eq(graph->tensor[node->in[2]].name, "fc1.bias");
    ck_assert_str_eq(graph->tensor[node->in[3]].name, "one.weight");
    ck_assert_int_eq(node->in[4], graph->step);
    ck_assert_int_eq(node->out[0], y);
    check_order(graph);
    mcl__graph_destroy(graph);
    net_destroy(&net);
}
END_TEST

START_TEST(what_others_read_stays)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, MLP, &net_sgd, BATCH, 1);
    for (int reason = 0; reason < 3; reason++) {
        mcl__graph *graph = empty_graph(&net);
        int y = product(graph, "fc", input(graph, &net));
        net_map(graph, "act", MCL_EP_ACT, MCL_ACT_RELU, y, -1);
        if (reason == 0) net_node(graph, "sum", MCL__OP_channel_sum, (mcl__attrs){0}, y, -1);
        if (reason == 1) graph->tensor[y].kept = true;
        if (reason == 2) graph->tensor[y].bound = mcl__slab_view(&net.model->gradient, NULL);
        int before = graph->nodes;
        EXPECT(mcl__graph_fuse(graph), graph->error);
        ck_assert_int_eq(graph->nodes, before);
        mcl__graph_destroy(graph);
    }
    net_destroy(&net);
}
END_TEST

/* Eight codes: six in the product, two in a map behind it. */
START_TEST(six_codes_at_most)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, MLP, &net_sgd, BATCH, 1);
    mcl__graph *graph = empty_graph(&net);
    int y = product(graph, "fc", input(graph, &net));
    for (int i = 0; i < 8; i++) y = net_map(graph, "act", MCL_EP_ACT, MCL_ACT_LEAKY_RELU, y, -1);
    EXPECT(mcl__graph_fuse(graph), graph->error);
    ck_assert_int_eq(graph->nodes, 3);
    ck_assert_int_eq(graph->node[1].epilogue.count, 6);
    ck_assert_int_eq(graph->node[2].epilogue.count, 2);
    check_order(graph);
    mcl__graph_destroy(graph);
    net_destroy(&net);
}
END_TEST

/* a + b with b made later than a: b's product takes the sum, whichever stands first. */
START_TEST(a_sum_joins_the_later_product)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, MLP, &net_sgd, BATCH, 1);
    for (int swap = 0; swap < 2; swap++) {
        mcl__graph *graph = empty_graph(&net);
        int x = input(graph, &net), a = product(graph, "a", x), b = product(graph, "b", x);
        net_map(graph, "add", MCL_EP_ADD, 0, swap ? b : a, swap ? a : b);
        EXPECT(mcl__graph_fuse(graph), graph->error);
        ck_assert_int_eq(nodes_of(graph, MCL__OP_map), 0);
        const mcl__node *last = &graph->node[graph->nodes - 1];
        ck_assert_str_eq(last->name, "b");
        ck_assert_int_eq(last->in[2], a);
        check_order(graph);
        mcl__graph_destroy(graph);
    }
    net_destroy(&net);
}
END_TEST

START_TEST(gradients_of_activations_join)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, CONV, &net_sgd, BATCH, 1);
    mcl__graph *graph = net_graph(&net, true, 0, BATCH);
    int before = graph->nodes, found = 0;
    EXPECT(mcl__graph_fuse(graph), graph->error);
    ck_assert_int_lt(graph->nodes, before);
    for (int n = 0; n < graph->nodes; n++) {
        const mcl__node *node = &graph->node[n];
        found += node->op == MCL__OP_dense_bwd_data && node->epilogue.count > 0 && node->epilogue.code[0].code == MCL_EP_DACT;
    }
    ck_assert_int_eq(found, 1);
    /* three readers of one activation: the convolution's gradient takes the sum */
    bool sum = false;
    for (int n = 0; n < graph->nodes; n++)
        sum |= graph->node[n].op == MCL__OP_conv2d_bwd_data && graph->node[n].epilogue.count == 3 &&
               graph->node[n].epilogue.code[1].code == MCL_EP_ADD && graph->node[n].epilogue.code[2].code == MCL_EP_DACT;
    ck_assert(sum);
    check_order(graph);
    mcl__graph_destroy(graph);
    net_destroy(&net);
}
END_TEST

/* Statistics are outputs of the convolution that makes their input, and the gradient still finds them. */
START_TEST(statistics_join_their_producer)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, CONV, &net_sgd, BATCH, 1);
    mcl__graph *graph = net_graph(&net, true, 0, BATCH);
    int statistics = nodes_of(graph, MCL__OP_batch_norm_stats), found = 0;
    ck_assert_int_gt(statistics, 0);
    EXPECT(mcl__graph_fuse(graph), graph->error);
    ck_assert_int_eq(nodes_of(graph, MCL__OP_batch_norm_stats), 0);
    for (int n = 0; n < graph->nodes; n++)
        found += mcl__epilogue_has_stats(&graph->node[n].epilogue) && graph->node[n].outputs == 3;
    ck_assert_int_eq(found, statistics);
    check_order(graph);
    mcl__graph_destroy(graph);
    net_destroy(&net);
}
END_TEST

/* The gradient of an activation behind batch normalisation is part of the normalisation's, where nothing is between them. */
START_TEST(gradients_of_activations_join_batch_norm)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, MOBILE, &net_sgd, BATCH, 1);
    mcl__graph *graph = net_graph(&net, true, 0, BATCH);
    int behind[MCL_ACT_TANH + 1] = {0}, derivatives = 0;
    EXPECT(mcl__graph_fuse(graph), graph->error);
    for (int n = 0; n < graph->nodes; n++) {
        const mcl__node *node = &graph->node[n];
        bool gradient = node->op == MCL__OP_batch_norm_bwd_reduce || node->op == MCL__OP_batch_norm_bwd_data;
        if (gradient) behind[node->attrs.norm.act]++;
        for (int i = 0; i < node->epilogue.count; i++) derivatives += node->epilogue.code[i].code == MCL_EP_DACT;
    }
    ck_assert_int_eq(behind[MCL_ACT_RELU], 2);  /* reduce and data of bn1 */
    ck_assert_int_eq(behind[MCL_ACT_RELU6], 2); /* of bn2: the sum of its activation's readers is before the activation */
    ck_assert_int_eq(behind[0], 2);             /* behind bn3 stands the residual */
    ck_assert_int_eq(derivatives, 1);
    check_order(graph);
    mcl__graph_destroy(graph);
    net_destroy(&net);
}
END_TEST

static const mcl__attrs pooling = {.pool = {.KH = 2, .KW = 2, .stride_h = 2, .stride_w = 2, .H = 8, .W = 8}};

/* Conv, activation, max pooling; *a is what is pooled. Behind the result comes the index of each maximum. */
static int pooled_activation(mcl__graph *graph, const test_net *net, int *a)
{
    int x = mcl__graph_tensor(graph, "x", SHAPE(BATCH, 8, 8, 3), MCL_F32, (mcl__view){net->x, 0, BATCH * 8 * 8 * 3 * 4});
    *a = net_map(graph, "act", MCL_EP_ACT, MCL_ACT_RELU, net_conv(graph, "conv1", x, 3, 1, 1, 1), -1);
    return net_pool(graph, "max", MCL__OP_max_pool, *a, 2, 2, 0);
}

/* Conv, activation, max pooling, conv: the activation's gradient is the end of the second convolution's, on the pooled values. */
START_TEST(gradients_of_activations_pass_pooling)
{
    TEST_DEVICE(device);
    for (int reason = 0; reason < 2; reason++) { /* 1: something else reads what pooling passes back */
        test_net net = net_create(device, MOBILE, &net_sgd, BATCH, 1);
        mcl__graph *graph = empty_graph(&net);
        int a, y = pooled_activation(graph, &net, &a);
        int dy = net_conv(graph, "conv3", y, 1, 1, 0, 1);
        int dx = net_node(graph, "max", MCL__OP_max_pool_bwd, pooling, dy, y + 1);
        int dz = net_map(graph, "act", MCL_EP_DACT, MCL_ACT_RELU, dx, a);
        if (reason) net_node(graph, "sum", MCL__OP_channel_sum, (mcl__attrs){0}, dx, -1);
        EXPECT(mcl__graph_fuse(graph), graph->error);
        ck_assert_int_eq(nodes_of(graph, MCL__OP_map), reason);
        check_order(graph);
        const mcl__node *last = &graph->node[graph->tensor[dz].producer];
        ck_assert_int_eq(last->op, reason ? MCL__OP_map : MCL__OP_max_pool_bwd);
        if (!reason) {
            const mcl__node *gradient = &graph->node[graph->tensor[last->in[0]].producer];
            ck_assert_int_eq(gradient->op, MCL__OP_conv2d);
            ck_assert_int_eq(gradient->epilogue.code[0].code, MCL_EP_DACT);
            ck_assert_int_eq(gradient->in[2], y);
            ck_assert(mcl__shape_equal(graph->tensor[last->in[0]].shape, graph->tensor[y].shape));
        }
        mcl__graph_destroy(graph);
        net_destroy(&net);
    }
}
END_TEST

/* Behind a flatten as well: the map that makes dy takes the derivative, of y as the flatten showed it. */
START_TEST(gradients_of_activations_pass_views)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, MOBILE, &net_sgd, BATCH, 1);
    mcl__graph *graph = empty_graph(&net);
    int a, y = pooled_activation(graph, &net, &a);
    int flat = net_region(graph, "flatten", MCL__OP_reshape, y, SHAPE(BATCH, 256), 0);
    int d = net_map(graph, "head", MCL_EP_ACT, MCL_ACT_TANH, flat, -1);
    int dy = net_region(graph, "flatten", MCL__OP_reshape, d, SHAPE(BATCH, 4, 4, 16), 0);
    int dx = net_node(graph, "max", MCL__OP_max_pool_bwd, pooling, dy, y + 1);
    int dz = net_map(graph, "act", MCL_EP_DACT, MCL_ACT_RELU, dx, a);
    EXPECT(mcl__graph_fuse(graph), graph->error);
    check_order(graph);
    ck_assert_int_eq(nodes_of(graph, MCL__OP_map), 1);
    const mcl__node *last = &graph->node[graph->tensor[dz].producer], *view = &graph->node[graph->tensor[last->in[0]].producer];
    const mcl__node *map = &graph->node[graph->tensor[view->in[0]].producer];
    ck_assert_int_eq(last->op, MCL__OP_max_pool_bwd);
    ck_assert_int_eq(view->op, MCL__OP_reshape);
    ck_assert_int_eq(graph->tensor[last->in[0]].alias, view->in[0]);
    ck_assert_int_eq(map->epilogue.count, 2);
    ck_assert_int_eq(map->in[1], flat);
    mcl__graph_destroy(graph);
    net_destroy(&net);
}
END_TEST

static int nodes_with_prologue(const mcl__plan *plan, mcl__op_kind op)
{
    const mcl__graph *graph = mcl__plan_graph(plan);
    int count = 0;
    for (int n = 0; n < graph->nodes; n++) count += graph->node[n].op == op && graph->node[n].prologue.count == 2;
    return count;
}

/* bn1 and its activation are the prologue of what reads them where kernels of the forward pass apply it themselves; those of bn2
 * are also a residual. */
START_TEST(normalisation_joins_its_readers)
{
    TEST_DEVICE(device);
    static const char *const variants[] = {NULL, "reference"};
    for (int v = 0; v < COUNT(variants); v++) {
        test_net net = net_create(device, MOBILE, &net_sgd, BATCH, 1);
        mcl__plan *plan = net_plan(&net, true, &(mcl__plan_options){.variant = variants[v]});
        int expected = device->info.type != MCL_DEVICE_NATIVE && !variants[v];
        ck_assert_int_eq(nodes_with_prologue(plan, MCL__OP_conv2d), expected);
        ck_assert_int_eq(nodes_with_prologue(plan, MCL__OP_conv2d_bwd_weight), expected);
        check_order(mcl__plan_graph(plan));
        mcl__plan_destroy(plan);
        net_destroy(&net);
    }
}
END_TEST

/* In evaluation batch normalisation is the end of the convolution before it: no pass of its own is left. */
START_TEST(evaluation_folds_batch_norm)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, MOBILE, &net_sgd, BATCH, 1);
    mcl__graph *graph = net_graph(&net, false, 0, BATCH);
    int folded = 0;
    EXPECT(mcl__graph_fuse(graph), graph->error);
    ck_assert_int_eq(nodes_of(graph, MCL__OP_map), 0);
    for (int n = 0; n < graph->nodes; n++)
        folded += graph->node[n].op == MCL__OP_conv2d && graph->node[n].epilogue.code[0].code == MCL_EP_SCALE_SHIFT;
    ck_assert_int_eq(folded, 3);
    check_order(graph);
    mcl__graph_destroy(graph);
    net_destroy(&net);
}
END_TEST

/* The gradients of one step, and the bytes that its plan placed. The reference kernels: others' workspaces would hide them. */
static float *gradients_of(mcl_device *device, int kind, mcl__recompute recompute, bool short_of_memory, int *elements,
                           uint64_t *bytes)
{
    uint64_t memory = device->info.memory;
    test_net net = net_create(device, kind, &net_sgd, BATCH, 1);
    if (short_of_memory) device->info.memory = device->counters.bytes_allocated + *bytes - 1;
    mcl__plan *plan = net_plan(&net, true, &(mcl__plan_options){.recompute = recompute, .variant = "reference"});
    device->info.memory = memory;
    mcl_step step = net_step(&net, 1);
    net_run(plan, &step, MCL__REDUCE);
    float *gradients = net_slab(&net.model->gradient);
    *elements = net.model->gradient.elements;
    *bytes = mcl__plan_get_statistics(plan).planned_bytes;
    mcl__plan_destroy(plan);
    net_destroy(&net);
    return gradients;
}

/* What is made again has the same bits. `auto` does all of it where there is too little memory otherwise. */
START_TEST(recomputed_activations)
{
    TEST_DEVICE(device);
    for (int kind = CONV; kind < KINDS; kind++) {
        int elements;
        uint64_t kept = 0, remade = 0, short_of;
        float *gradient[3];
        gradient[0] = gradients_of(device, kind, MCL__RECOMPUTE_OFF, false, &elements, &kept);
        gradient[1] = gradients_of(device, kind, MCL__RECOMPUTE_ON, false, &elements, &remade);
        short_of = kept;
        gradient[2] = gradients_of(device, kind, MCL__RECOMPUTE_AUTO, true, &elements, &short_of);
        ck_assert_uint_lt(remade, kept);
        ck_assert_uint_eq(short_of, remade);
        for (int i = 1; i < 3; i++) ck_assert_mem_eq(gradient[i], gradient[0], (size_t)elements * sizeof **gradient);
        for (int i = 0; i < 3; i++) free(gradient[i]);
    }
}
END_TEST

/* Of residual blocks that follow each other every second sum, since the next one is made of it; and no more than was asked for. */
START_TEST(recomputed_sums)
{
    static const struct { double share; int count; } rows[] = {{0, 0}, {0.05, 1}, {1, 2}};
    TEST_DEVICE(device);
    for (int row = 0; row < COUNT(rows); row++) {
        test_net net = net_create(device, BLOCKS, &net_sgd, BATCH, 1);
        mcl__graph *graph = net_graph(&net, true, 0, BATCH);
        int count = -1;
        EXPECT(mcl__graph_fuse(graph), graph->error);
        EXPECT(mcl__graph_order(graph, NULL), graph->error);
        EXPECT(mcl__graph_recompute(graph, rows[row].share, &count), graph->error);
        ck_assert_int_eq(count, rows[row].count);
        check_order(graph);
        mcl__graph_destroy(graph);
        net_destroy(&net);
    }
}
END_TEST

/* A dense layer that has most parameters, and not the first of them. */
static const mcl__slot wide_parameters[] = {
    {.name = "fc2.weight", .shape = {2, {7003, CLASSES}}}, {.name = "fc2.bias", .shape = {1, {CLASSES}}, .group = 1},
    {.name = "fc1.weight", .shape = {2, {10, 7003}}},      {.name = "fc1.bias", .shape = {1, {7003}}, .group = 1},
};

static int wide_emit(mcl__graph *graph, int x)
{
    return net_dense(graph, "fc2", net_map(graph, "act", MCL_EP_ACT, MCL_ACT_TANH, net_dense(graph, "fc1", x), -1));
}

static const net_kind wide = {"wide", wide_parameters, COUNT(wide_parameters), NULL, 0, {1, {10}}, wide_emit};

static const mcl__node *node_of(const mcl__graph *graph, mcl__op_kind op, const char *name)
{
    for (int n = 0; n < graph->nodes; n++)
        if (graph->node[n].op == op && (!name || !strcmp(graph->node[n].name, name))) return &graph->node[n];
    ck_abort_msg("no such node");
    return NULL;
}

/* Those of the largest gradient are added up by its kernel, where that can, and the norm is that of the whole slab. */
START_TEST(squares_join_the_largest_gradient)
{
    static const struct { bool accumulate; mcl__plan_options how; } rows[] = {
        {false, {0}}, {true, {0}}, {false, {.no_fuse = true}}, {false, {.variant = "reference"}}};
    TEST_DEVICE(device);
    mcl__capabilities capabilities = mcl__capabilities_of(device);
    for (int row = 0; row < COUNT(rows); row++) {
        mcl__optimiser optimiser = net_sgd;
        optimiser.accumulate = rows[row].accumulate;
        test_net net = net_create_of(device, &wide, &optimiser, BATCH, 1);
        mcl__plan *plan = net_plan(&net, true, &rows[row].how);
        const mcl__graph *graph = mcl__plan_graph(plan);
        const mcl__node *guard = node_of(graph, MCL__OP_guard, NULL), *fc1 = node_of(graph, MCL__OP_dense_bwd_weight, "fc1");
        mcl__problem problem = mcl__graph_problem(graph, fc1);
        bool expected = row == 0 && mcl__lower_takes_squares(&problem, &capabilities, NULL);
        ck_assert_int_eq(fc1->attrs.dense.squares, expected);
        ck_assert_int_eq(node_of(graph, MCL__OP_dense_bwd_weight, "fc2")->attrs.dense.squares, 0);
        ck_assert_int_eq(guard->inputs, expected ? 3 : 2);
        ck_assert_int_eq(guard->attrs.guard.known, expected ? 10 * 7003 + 2 : 0); /* whole vectors */
        if (expected) ck_assert_int_eq(guard->in[2], fc1->out[1]);

        mcl_step step = net_step(&net, 1);
        mcl_state state;
        net_run(plan, &step, MCL__REDUCE);
        ck_assert_int_eq(mcl__model_record(net.model, &state), MCL_OK);
        float *gradient = net_slab(&net.model->gradient);
        double squares = 0;
        for (int i = 0; i < net.model->gradient.elements; i++) squares += (double)gradient[i] * (double)gradient[i];
        ck_assert_double_le(fabs((double)state.history[step.slot].gradient_norm / sqrt(squares) - 1), 1e-5);
        ck_assert_int_eq(state.first_bad, 0);
        free(gradient);
        mcl__plan_destroy(plan);
        net_destroy(&net);
    }
}
END_TEST

/* Of finite gradients whose squares are too large for a float: the guard notices, and no node is to blame. */
START_TEST(squares_too_large)
{
    TEST_DEVICE(device);
    float x[BATCH * 10], *zeros = calloc(10 * 7003, sizeof *zeros);
    test_net net = net_create_of(device, &wide, &net_sgd, BATCH, 1);
    const mcl__slot *weight = &net.model->parameter[mcl__model_find(net.model->parameter, net.model->parameters, "fc1.weight")];
    for (int i = 0; i < BATCH * 10; i++) x[i] = 1e25f;
    ck_assert_int_eq(mcl__model_write(net.model, &net.model->value, weight, zeros), MCL_OK);
    ck_assert_int_eq(mcl_buffer_write(net.x, 0, sizeof x, x), MCL_OK);
    mcl__plan *plan = net_plan(&net, true, NULL);
    mcl_step step = net_step(&net, 1);
    mcl_state state;
    const char *name, *op;
    bool backward;
    net_run(plan, &step, MCL__REDUCE);
    ck_assert_int_eq(mcl__model_record(net.model, &state), MCL_OK);
    if (device->info.type != MCL_DEVICE_NATIVE) ck_assert_int_eq(state.first_bad, 1); /* which adds in double */
    ck_assert_int_eq(mcl__plan_find_bad(plan, &name, &op, &backward), MCL_OK);
    ck_assert_ptr_null(name);
    mcl__plan_destroy(plan);
    net_destroy(&net);
    free(zeros);
}
END_TEST

/* Sums in another order are all that may differ: some tens of roundings. */
START_TEST(numbers_stay)
{
    TEST_DEVICE(device);
    for (int kind = 0; kind < KINDS; kind++) {
        float *gradient[2];
        double loss[2];
        int elements = 0;
        for (int no_fuse = 0; no_fuse < 2; no_fuse++) {
            test_net net = net_create(device, kind, &net_sgd, BATCH, 1);
            mcl__plan *plan = net_plan(&net, true, &(mcl__plan_options){.no_fuse = no_fuse});
            mcl_step step = net_step(&net, 1);
            net_run(plan, &step, MCL__REDUCE);
            gradient[no_fuse] = net_slab(&net.model->gradient);
            loss[no_fuse] = net_loss(&net, plan);
            elements = net.model->gradient.elements;
            mcl__plan_destroy(plan);
            net_destroy(&net);
        }
        ck_assert_double_le(fabs(loss[0] - loss[1]), 1e-5 * loss[1]);
        ck_assert_double_le(relative(gradient[0], gradient[1], elements), 1e-5);
        free(gradient[0]);
        free(gradient[1]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fuse");
    TCase *tcase = tcase_create("devices");
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, chains_join_their_producer, 0, 1);
    tcase_add_loop_test(tcase, what_others_read_stays, 0, 1);
    tcase_add_loop_test(tcase, six_codes_at_most, 0, 1);
    tcase_add_loop_test(tcase, a_sum_joins_the_later_product, 0, 1);
    tcase_add_loop_test(tcase, gradients_of_activations_join, 0, 1);
    tcase_add_loop_test(tcase, statistics_join_their_producer, 0, 1);
    tcase_add_loop_test(tcase, gradients_of_activations_join_batch_norm, 0, 1);
    tcase_add_loop_test(tcase, gradients_of_activations_pass_pooling, 0, 1);
    tcase_add_loop_test(tcase, gradients_of_activations_pass_views, 0, 1);
    tcase_add_loop_test(tcase, normalisation_joins_its_readers, 0, DEVICES);
    tcase_add_loop_test(tcase, evaluation_folds_batch_norm, 0, 1);
    tcase_add_loop_test(tcase, recomputed_activations, 0, DEVICES);
    tcase_add_loop_test(tcase, recomputed_sums, 0, DEVICES);
    tcase_add_loop_test(tcase, squares_join_the_largest_gradient, 0, DEVICES);
    tcase_add_loop_test(tcase, squares_too_large, 0, DEVICES);
    tcase_add_loop_test(tcase, numbers_stay, 0, DEVICES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
