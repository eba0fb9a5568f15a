/* Gradients that nodes compute, against finite differences of the loss that the same plan computes; and where they land. */
#include "nets.h"

/* The loss with the parameters moved by `amount` along `direction`. */
static double moved_loss(const test_net *net, mcl__plan *plan, const mcl__slot *slot, const float *value, const float *direction,
                         double amount)
{
    int n = mcl__shape_elements(slot->shape);
    float *moved = malloc((size_t)n * sizeof *moved);
    mcl_step step = net_step(net, 1);
    for (int i = 0; i < n; i++) moved[i] = (float)(value[i] + amount * direction[i]);
    ck_assert_int_eq(mcl__model_write(net->model, &net->model->value, slot, moved), MCL_OK);
    net_run(plan, &step, MCL__COMPUTE);
    free(moved);
    return net_loss(net, plan) / net->batch;
}

/* The derivative along a random direction. Central differences at two widths: their difference tells how far kinks and
 * curvature spoil them, and rounding of an f32 loss of some units is far below. */
static void check_direction(const test_net *net, mcl__plan *plan, const mcl__slot *slot, uint64_t *seed)
{
    int n = mcl__shape_elements(slot->shape);
    float *gradient = malloc((size_t)n * sizeof *gradient), *value = malloc((size_t)n * sizeof *value);
    float *direction = malloc((size_t)n * sizeof *direction);
    mcl_step step = net_step(net, 1);
    net_run(plan, &step, MCL__COMPUTE);
    ck_assert_int_eq(mcl__model_read(&net->model->gradient, slot, gradient), MCL_OK);
    ck_assert_int_eq(mcl__model_read(&net->model->value, slot, value), MCL_OK);

    double computed = 0, size = 0, width = 4e-3, slope[2];
    for (int i = 0; i < n; i++) direction[i] = (float)((test_random(seed) & 1 ? 1 : -1) / sqrt(n));
    for (int i = 0; i < n; i++) {
        computed += (double)gradient[i] * direction[i];
        size += (double)gradient[i] * gradient[i];
    }
    for (int i = 0; i < 2; i++, width *= 2)
        slope[i] = (moved_loss(net, plan, slot, value, direction, width) - moved_loss(net, plan, slot, value, direction, -width)) /
                   (2 * width);
    double bound = 2e-4 + 5e-3 * sqrt(size) + 2 * fabs(slope[0] - slope[1]);
    ck_assert_msg(fabs(slope[0] - computed) < bound, "%s: %s: computed %g, differences %g and %g", net->kind->name, slot->name,
                  computed, slope[0], slope[1]);
    ck_assert_int_eq(mcl__model_write(net->model, &net->model->value, slot, value), MCL_OK);
    free(gradient);
    free(value);
    free(direction);
}

static void check_kind(mcl_device *device, int kind, bool no_fuse)
{
    uint64_t seed = 5;
    test_net net = net_create(device, kind, &net_sgd, BATCH, 3);
    mcl__plan *plan = net_plan(&net, true, &(mcl__plan_options){.no_fuse = no_fuse});
    for (int i = 0; i < net.model->parameters; i++)
        for (int j = 0; j < 3; j++) check_direction(&net, plan, &net.model->parameter[i], &seed);
    mcl__plan_destroy(plan);
    net_destroy(&net);
}

START_TEST(gradients_match_differences)
{
    TEST_DEVICE(device);
    for (int kind = 0; kind < KINDS; kind++) check_kind(device, kind, true);
    for (int kind = 0; kind < KINDS; kind++) check_kind(device, kind, false);
}
END_TEST

START_TEST(unread_parameters_get_zeros)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, MLP, &net_sgd, BATCH, 3);
    mcl__plan *plan = net_plan(&net, true, NULL);
    mcl_step step = net_step(&net, 1);
    net_run(plan, &step, MCL__COMPUTE);
    for (int i = 0; i < net.model->parameters; i++) {
        const mcl__slot *slot = &net.model->parameter[i];
        float gradient[256], sum = 0;
        ck_assert_int_eq(mcl__model_read(&net.model->gradient, slot, gradient), MCL_OK);
        for (int j = 0; j < mcl__shape_elements(slot->shape); j++) sum += fabsf(gradient[j]);
        ck_assert_msg((sum == 0) == !strcmp(slot->name, "unused.weight"), "%s: %g", slot->name, (double)sum);
    }
    mcl__plan_destroy(plan);
    net_destroy(&net);
}
END_TEST

/* One copy in all of the mlp: of two parameters with one gradient only one can have it written in place. */
START_TEST(gradients_are_written_in_place)
{
    TEST_DEVICE(device);
    for (int kind = 0; kind < KINDS; kind++) {
        test_net net = net_create(device, kind, &net_sgd, BATCH, 3);
        mcl__graph *graph = net_graph(&net, true, 0, BATCH);
        int bound = 0, copies = 0, reached = 0;
        for (int i = 0; i < graph->tensors; i++) {
            bound += graph->tensor[i].producer >= 0 && graph->tensor[i].bound.buffer == net.model->gradient.buffer;
            reached += graph->tensor[i].slot >= 0;
        }
        for (int n = 0; n < graph->nodes; n++) {
            const mcl__node *node = &graph->node[n];
            copies += node->op == MCL__OP_map && node->epilogue.code[0].code == MCL_EP_SCALE;
        }
        ck_assert_int_eq(bound, reached);
        ck_assert_int_eq(copies, kind == MLP ? 1 : 0);
        mcl__graph_destroy(graph);
        net_destroy(&net);
    }
}
END_TEST

START_TEST(backward_nodes_are_named)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, CONV, &net_sgd, BATCH, 3);
    mcl__graph *graph = net_graph(&net, true, 0, BATCH);
    bool seen_backward = false, conv1 = false;
    for (int n = 0; n < graph->nodes; n++) {
        const mcl__node *node = &graph->node[n];
        if (node->segment != MCL__COMPUTE) continue;
        ck_assert(!seen_backward || node->backward);
        seen_backward |= node->backward;
        conv1 |= node->op == MCL__OP_conv2d_bwd_weight && !strcmp(node->name, "conv1");
        /* nothing wants the gradient of the pictures */
        ck_assert(!(node->op == MCL__OP_conv2d_bwd_data && !strcmp(node->name, "conv1")));
    }
    ck_assert(seen_backward && conv1);
    mcl__graph_destroy(graph);
    net_destroy(&net);
}
END_TEST

START_TEST(failures_name_the_node)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, MLP, NULL, BATCH, 3);
    mcl__graph *graph;
    ck_assert_int_eq(mcl__graph_create(net.model, false, &graph), MCL_OK);
    int x = mcl__graph_tensor(graph, "x", SHAPE(BATCH, 10), MCL_F32, (mcl__view){net.x, 0, BATCH * 40});
    int y = net_node(graph, "wrong", MCL__OP_dense, (mcl__attrs){0}, x, mcl__graph_parameter(graph, "fc2.weight"));
    ck_assert_int_eq(y, -1);
    ck_assert_int_eq(graph->error.status, MCL_ERROR_SHAPE);
    ck_assert_msg(!strncmp(graph->error.text, "wrong: ", 7), "%s", graph->error.text);
    ck_assert_msg(strstr(graph->error.text, "(4, 10)") && strstr(graph->error.text, "(13, 5)"), "%s", graph->error.text);
    ck_assert_int_eq(mcl__graph_parameter(graph, "no such thing"), -1); /* the first failure stays */
    ck_assert_int_eq(graph->error.status, MCL_ERROR_SHAPE);
    mcl_error error = {0};
    mcl__plan *plan;
    ck_assert_int_eq(mcl__plan_create(graph, NULL, &plan, &error), MCL_ERROR_SHAPE);
    ck_assert_ptr_null(plan);
    ck_assert(!strncmp(error.text, "wrong: ", 7));

    ck_assert_int_eq(mcl__graph_create(net.model, false, &graph), MCL_OK);
    ck_assert_int_eq(mcl__graph_parameter(graph, "no such thing"), -1);
    ck_assert_int_eq(graph->error.status, MCL_ERROR_NOT_FOUND);
    mcl__graph_destroy(graph);
    graph = net_graph(&net, false, 0, BATCH);
    ck_assert_int_eq(mcl__graph_differentiate(graph, net.loss), MCL_ERROR_INVALID); /* made for evaluation */
    mcl__graph_destroy(graph);
    net_destroy(&net);
}
END_TEST

START_TEST(operators_without_gradient_are_refused)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, MLP, &net_sgd, BATCH, 3);
    mcl__graph *graph;
    ck_assert_int_eq(mcl__graph_create(net.model, true, &graph), MCL_OK);
    int sum = net_node(graph, "sum", MCL__OP_channel_sum, (mcl__attrs){0}, mcl__graph_parameter(graph, "fc2.weight"), -1);
    ck_assert_int_ge(sum, 0);
    if (!mcl__op_get(MCL__OP_channel_sum)->gradient) {
        ck_assert_int_eq(mcl__graph_differentiate(graph, sum), MCL_ERROR_UNSUPPORTED);
        ck_assert_msg(!strncmp(graph->error.text, "sum: ", 5), "%s", graph->error.text);
    }
    mcl__graph_destroy(graph);
    net_destroy(&net);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("differentiate");
    TCase *tcase = tcase_create("devices");
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, gradients_match_differences, 0, DEVICES);
    tcase_add_loop_test(tcase, unread_parameters_get_zeros, 0, DEVICES);
    tcase_add_loop_test(tcase, gradients_are_written_in_place, 0, 1);
    tcase_add_loop_test(tcase, backward_nodes_are_named, 0, 1);
    tcase_add_loop_test(tcase, failures_name_the_node, 0, 1);
    tcase_add_loop_test(tcase, operators_without_gradient_are_refused, 0, 1);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
