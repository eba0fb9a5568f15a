/* Replaying: same bits however memory is shared, nothing that a step must not do, bad steps, micro-batches, several plans on
 * one model. */
#include "graph/lowered.h"
#include "nets.h"

typedef struct snapshot { float *value, *momentum, *running; } snapshot;

static snapshot take_snapshot(const mcl__model *model)
{
    return (snapshot){net_slab(&model->value), net_slab(&model->state[0]),
                      model->running_value.buffer ? net_slab(&model->running_value) : NULL};
}

static void free_snapshot(snapshot *old)
{
    free(old->value);
    free(old->momentum);
    free(old->running);
}

static void expect_equal(const mcl__model *model, const snapshot *a, const snapshot *b)
{
    size_t bytes = (size_t)model->value.elements * sizeof(float), running = (size_t)model->running_value.elements * sizeof(float);
    ck_assert_mem_eq(a->value, b->value, bytes);
    ck_assert_mem_eq(a->momentum, b->momentum, bytes);
    if (a->running) ck_assert_mem_eq(a->running, b->running, running);
}

static void train(const test_net *net, mcl__plan *plan, int first, int last)
{
    for (int t = first; t <= last; t++) {
        mcl_step step = net_step(net, t);
        net_run(plan, &step, MCL__UPDATE);
    }
}

START_TEST(sharing_memory_keeps_the_bits)
{
    TEST_DEVICE(device);
    for (int kind = 0; kind < KINDS; kind++) {
        snapshot end[2];
        for (int no_share = 0; no_share < 2; no_share++) {
            test_net net = net_create(device, kind, &net_sgd, BATCH, 1);
            mcl__plan *plan = net_plan(&net, true, &(mcl__plan_options){.no_share = no_share});
            train(&net, plan, 1, 10);
            end[no_share] = take_snapshot(net.model);
            mcl__plan_destroy(plan);
            if (no_share) expect_equal(net.model, &end[0], &end[1]);
            net_destroy(&net);
        }
        free_snapshot(&end[0]);
        free_snapshot(&end[1]);
    }
}
END_TEST

START_TEST(training_lowers_the_loss)
{
    static const mcl__optimiser adam = {.kind = MCL__OPTIMISER_ADAMW, .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .groups = 2,
                                        .decay = {1e-2f}};
    static const mcl__optimiser plain = {.kind = MCL__OPTIMISER_SGD, .groups = 2};
    const mcl__optimiser *optimisers[] = {&net_sgd, &adam, &plain};
    TEST_DEVICE(device);
    for (int i = 0; i < 3 * KINDS; i++) {
        test_net net = net_create(device, i % KINDS, optimisers[i / KINDS], BATCH, 1);
        mcl__plan *plan = net_plan(&net, true, NULL);
        mcl_state state;
        train(&net, plan, 1, 60);
        ck_assert_int_eq(mcl__model_record(net.model, &state), MCL_OK);
        ck_assert_int_eq(state.first_bad, 0);
        ck_assert_int_eq(state.history[60].step, 60);
        ck_assert_msg(state.history[60].loss_sum < 0.8f * state.history[1].loss_sum, "%s, optimiser %d: %g after %g",
                      net.kind->name, i / KINDS, (double)state.history[60].loss_sum, (double)state.history[1].loss_sum);
        ck_assert_float_gt(state.history[1].gradient_norm, 0);
        mcl__plan_destroy(plan);
        net_destroy(&net);
    }
}
END_TEST

/* The host waits where the ring of 64 step blocks is full, for half of it: before steps 65 and 97. */
START_TEST(steps_only_launch)
{
    _Static_assert(MCL__STEP_RING == 64, "the waits below");
    TEST_DEVICE(device);
    for (int kind = 0; kind < KINDS; kind++) {
        test_net net = net_create(device, kind, &net_sgd, BATCH, 1);
        mcl__plan *plan = net_plan(&net, true, NULL);
        mcl_device_counters before = mcl_device_get_counters(device);
        train(&net, plan, 1, 100);
        mcl_device_counters after = mcl_device_get_counters(device);
        mcl__plan_statistics statistics = mcl__plan_get_statistics(plan);
        uint64_t launches = (uint64_t)statistics.derive_launches;
        for (int s = 0; s < MCL__SEGMENTS; s++) launches += (uint64_t)statistics.launches[s];
        ck_assert_uint_eq(after.allocations, before.allocations);
        ck_assert_uint_eq(after.bindings, before.bindings);
        ck_assert_uint_eq(after.waits - before.waits, 2);
        ck_assert_uint_eq(after.launches - before.launches, 100 * launches);
        ck_assert_uint_eq(after.programs_built, before.programs_built);
        mcl__plan_destroy(plan);
        net_destroy(&net);
    }
}
END_TEST

/* Five good steps, then one with a NaN, then three more that must change nothing. */
enum { IN_WEIGHTS, IN_DATA, IN_STEP };

static void check_bad(mcl_device *device, int kind, int where, const char *layer, const char *op)
{
    test_net net = net_create(device, kind, &net_sgd, BATCH, 1);
    mcl__plan *plan = net_plan(&net, true, NULL);
    mcl__model *model = net.model;
    char slot_name[160];
    snprintf(slot_name, sizeof slot_name, "%s.weight", layer);
    train(&net, plan, 1, 5);
    float nan = NAN;
    int index = mcl__model_find(model->parameter, model->parameters, slot_name);
    if (where == IN_DATA) ck_assert_int_eq(mcl_buffer_write(net.x, 12, 4, &nan), MCL_OK);
    if (where == IN_WEIGHTS)
        ck_assert_int_eq(mcl_buffer_write(model->value.buffer, (uint64_t)model->parameter[index].offset * 4, 4, &nan), MCL_OK);
    model->generation++;
    snapshot good = take_snapshot(model);
    mcl_step bad = net_step(&net, 6);
    if (where == IN_STEP) bad.inverse_valid = NAN; /* spoils gradients alone */
    net_run(plan, &bad, MCL__UPDATE);
    train(&net, plan, 7, 9);

    mcl_state state;
    ck_assert_int_eq(mcl__model_record(model, &state), MCL_OK);
    ck_assert_int_eq(state.first_bad, 6);
    snapshot after = take_snapshot(model);
    expect_equal(model, &good, &after);

    const char *name, *found;
    bool found_backward;
    net_run(plan, &bad, MCL__LOAD);
    ck_assert_int_eq(mcl__plan_find_bad(plan, &name, &found, &found_backward), MCL_OK);
    ck_assert_ptr_nonnull(name);
    ck_assert_msg(!strcmp(name, layer) && !strcmp(found, op) && found_backward == (where == IN_STEP), "%s %s", name, found);
    mcl_state again;
    ck_assert_int_eq(mcl__model_record(model, &again), MCL_OK);
    ck_assert_mem_eq(&state, &again, sizeof state);
    free_snapshot(&good);
    free_snapshot(&after);
    mcl__plan_destroy(plan);
    net_destroy(&net);
}

START_TEST(bad_steps_change_nothing)
{
    TEST_DEVICE(device);
    check_bad(device, MLP, IN_WEIGHTS, "shared", "dense");
    check_bad(device, MLP, IN_DATA, "fc1", "dense");
    check_bad(device, CONV, IN_WEIGHTS, "conv3", "conv2d");
    check_bad(device, CONV, IN_DATA, "conv1", "conv2d");
    check_bad(device, CONV, IN_STEP, "loss", "softmax_cross_entropy_bwd");
}
END_TEST

START_TEST(nothing_bad_is_found_in_good_steps)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, CONV, &net_sgd, BATCH, 1);
    mcl__plan *plan = net_plan(&net, true, NULL);
    train(&net, plan, 1, 2);
    const char *name, *op;
    bool backward;
    ck_assert_int_eq(mcl__plan_find_bad(plan, &name, &op, &backward), MCL_OK);
    ck_assert_ptr_null(name);
    mcl__plan_destroy(plan);
    net_destroy(&net);
}
END_TEST

/* Sums over 128 samples in another order: 1e-5 is some tens of roundings of the whole gradient. */
START_TEST(micro_batches_add_up)
{
    TEST_DEVICE(device);
    mcl__optimiser optimiser = net_sgd;
    float *gradient[2], *value[2];
    mcl_outcome outcome[2];
    int elements = 0;
    for (int parts = 1, i = 0; parts <= 4; parts += 3, i++) {
        optimiser.accumulate = parts > 1;
        test_net net = net_create(device, MLP, &optimiser, 128, 2);
        mcl__plan *plan[4] = {0};
        mcl_error error = {0};
        for (int p = 0; p < parts; p++)
            EXPECT(mcl__plan_create(net_graph(&net, true, p * 128 / parts, 128 / parts), NULL, &plan[p], &error), error);
        for (int t = 1; t <= 3; t++) {
            for (int p = 0; p < parts; p++) {
                mcl_step step = net_step(&net, t);
                step.micro_batch = p;
                step.batch_offset = p * 128 / parts;
                step.valid_samples = 128 / parts;
                net_run(plan[p], &step, p == parts - 1 ? MCL__UPDATE : MCL__COMPUTE);
            }
        }
        mcl_state state;
        ck_assert_int_eq(mcl__model_record(net.model, &state), MCL_OK);
        outcome[i] = state.history[3];
        gradient[i] = net_slab(parts > 1 ? &net.model->accumulated : &net.model->gradient);
        value[i] = net_slab(&net.model->value);
        elements = net.model->value.elements;
        for (int p = 0; p < parts; p++) mcl__plan_destroy(plan[p]);
        net_destroy(&net);
    }
    ck_assert_double_le(relative(gradient[1], gradient[0], elements), 1e-5);
    ck_assert_double_le(relative(value[1], value[0], elements), 1e-6);
    ck_assert_float_eq(outcome[0].hits, outcome[1].hits);
    ck_assert_double_le(fabs((double)outcome[0].loss_sum - outcome[1].loss_sum), 1e-5 * outcome[0].loss_sum);
    ck_assert_double_le(fabs((double)outcome[0].gradient_norm - outcome[1].gradient_norm), 1e-5 * outcome[0].gradient_norm);
    for (int i = 0; i < 2; i++) {
        free(gradient[i]);
        free(value[i]);
    }
}
END_TEST

/* An evaluation plan follows the parameters that a training plan moves: forms of weights are remade when they are old. */
START_TEST(plans_share_a_model)
{
    TEST_DEVICE(device);
    for (int kind = 0; kind < KINDS; kind++) {
        test_net net = net_create(device, kind, &net_sgd, BATCH, 1);
        mcl__plan *training = net_plan(&net, true, NULL);
        mcl__plan *evaluation = net_plan(&net, false, NULL);
        mcl_step step = net_step(&net, 1);
        net_run(evaluation, &step, MCL__COMPUTE);
        double before = net_loss(&net, evaluation);
        train(&net, training, 1, 5);
        step = net_step(&net, 6);
        net_run(evaluation, &step, MCL__COMPUTE);
        double after = net_loss(&net, evaluation);
        mcl__plan *fresh = net_plan(&net, false, NULL);
        net_run(fresh, &step, MCL__COMPUTE);
        ck_assert(after != before);
        ck_assert(net_loss(&net, fresh) == after);
        mcl__plan_destroy(fresh);
        mcl__plan_destroy(evaluation);
        mcl__plan_destroy(training);
        net_destroy(&net);
    }
}
END_TEST

START_TEST(running_statistics_are_committed)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, CONV, &net_sgd, BATCH, 1);
    mcl__plan *plan = net_plan(&net, true, NULL);
    float *before = net_slab(&net.model->running_value);
    train(&net, plan, 1, 1);
    float *after = net_slab(&net.model->running_value), *pending = net_slab(&net.model->pending);
    size_t bytes = (size_t)net.model->pending.elements * sizeof(float);
    ck_assert_mem_eq(after, pending, bytes);
    ck_assert_mem_ne(after, before, bytes);
    free(before);
    free(after);
    free(pending);
    mcl__plan_destroy(plan);
    net_destroy(&net);
}
END_TEST

START_TEST(reference_variants_agree)
{
    TEST_DEVICE(device);
    for (int kind = 0; kind < KINDS; kind++) {
        float *gradient[2];
        int elements = 0;
        for (int i = 0; i < 2; i++) {
            test_net net = net_create(device, kind, &net_sgd, BATCH, 1);
            mcl__plan *plan = net_plan(&net, true, &(mcl__plan_options){.variant = i ? "reference" : NULL});
            mcl_step step = net_step(&net, 1);
            net_run(plan, &step, MCL__COMPUTE);
            gradient[i] = net_slab(&net.model->gradient);
            elements = net.model->gradient.elements;
            mcl__plan_destroy(plan);
            net_destroy(&net);
        }
        ck_assert_double_le(relative(gradient[0], gradient[1], elements), 1e-5);
        free(gradient[0]);
        free(gradient[1]);
    }
}
END_TEST

START_TEST(too_little_memory_is_told_early)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, CONV, &net_sgd, BATCH, 1);
    uint64_t memory = device->info.memory;
    mcl__plan *plan = net_plan(&net, true, NULL);
    mcl_error error = {0};
    mcl__plan_statistics needs = mcl__plan_get_statistics(plan);
    mcl__plan_destroy(plan);
    device->info.memory = device->counters.bytes_allocated + needs.derived_bytes + needs.planned_bytes * 3 / 5;
    ck_assert_int_eq(mcl__plan_create(net_graph(&net, true, 0, BATCH), NULL, &plan, &error), MCL_ERROR_MEMORY);
    device->info.memory = memory;
    ck_assert_ptr_null(plan);
    ck_assert_msg(strstr(error.text, "batch of 4 wants") != NULL, "%s", error.text);
    ck_assert_int_eq(mcl_device_error(device)->status, MCL_OK); /* and the device goes on */
    plan = net_plan(&net, true, NULL);
    mcl__plan_destroy(plan);
    net_destroy(&net);
}
END_TEST

/* What a plan would need is what it needs, found without memory, kernels or bindings; also where there is too little memory. */
START_TEST(dry_plans_have_the_same_sizes)
{
    TEST_DEVICE(device);
    test_net net = net_create(device, CONV, &net_sgd, BATCH, 1);
    mcl__plan *plan = net_plan(&net, true, NULL);
    mcl__plan_statistics real = mcl__plan_get_statistics(plan);
    mcl__plan_destroy(plan);
    uint64_t memory = device->info.memory;
    mcl_device_counters before = mcl_device_get_counters(device);
    device->info.memory = before.bytes_allocated;
    mcl_error error = {0};
    mcl_status status = mcl__plan_create(net_graph(&net, true, 0, BATCH), &(mcl__plan_options){.dry = true}, &plan, &error);
    device->info.memory = memory;
    ck_assert_msg(status == MCL_OK, "%s", error.text);
    mcl__plan_statistics dry = mcl__plan_get_statistics(plan);
    mcl_device_counters after = mcl_device_get_counters(device);
    ck_assert_uint_eq(dry.planned_bytes, real.planned_bytes);
    ck_assert_uint_eq(dry.derived_bytes, real.derived_bytes);
    ck_assert_uint_eq(dry.sum_bytes, real.sum_bytes);
    ck_assert_uint_eq(after.allocations, before.allocations);
    ck_assert_uint_eq(after.bindings, before.bindings);
    ck_assert_uint_eq(after.programs_built + after.programs_loaded, before.programs_built + before.programs_loaded);
    mcl__plan_destroy(plan);
    net_destroy(&net);
}
END_TEST

START_TEST(profiled_steps_give_the_same_bits)
{
    TEST_DEVICE(device);
    snapshot end[2];
    for (int profiled = 0; profiled < 2; profiled++) {
        test_net net = net_create(device, CONV, &net_sgd, BATCH, 1);
        mcl__plan *plan = net_plan(&net, true, NULL);
        double *seconds = calloc((size_t)mcl__plan_graph(plan)->nodes + 1, sizeof *seconds);
        train(&net, plan, 1, 2);
        mcl_step step = net_step(&net, 3);
        if (profiled) {
            ck_assert_int_eq(mcl__plan_step(plan, &step), MCL_OK);
            ck_assert_int_eq(mcl__plan_profile(plan, seconds), MCL_OK);
        } else {
            net_run(plan, &step, MCL__UPDATE);
        }
        train(&net, plan, 4, 5);
        end[profiled] = take_snapshot(net.model);
        mcl__plan_destroy(plan);
        if (profiled) expect_equal(net.model, &end[0], &end[1]);
        net_destroy(&net);
        free(seconds);
    }
    free_snapshot(&end[0]);
    free_snapshot(&end[1]);
}
END_TEST

START_TEST(plans_explain_themselves)
{
    static const char *const words[] = {"conv1", "conv2d_bwd_weight", "+dtanh", "-- compute", "-- update", "commit", "derived",
                                        "GFLOP a replay", "(4, 8, 8, 8)"};
    TEST_DEVICE(device);
    test_net net = net_create(device, CONV, &net_sgd, BATCH, 1);
    mcl__plan *plan = net_plan(&net, true, NULL);
    char *text = mcl__plan_explain(plan);
    for (int i = 0; i < COUNT(words); i++) ck_assert_msg(strstr(text, words[i]) != NULL, "no \"%s\" in\n%s", words[i], text);
    if (getenv("MONOCLE_TEST_SHOW")) printf("%s\n", text);
    free(text);
    mcl__plan_destroy(plan);
    net_destroy(&net);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plan");
    TCase *tcase = tcase_create("devices");
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, sharing_memory_keeps_the_bits, 0, DEVICES);
    tcase_add_loop_test(tcase, training_lowers_the_loss, 0, DEVICES);
    tcase_add_loop_test(tcase, steps_only_launch, 0, DEVICES);
    tcase_add_loop_test(tcase, bad_steps_change_nothing, 0, DEVICES);
    tcase_add_loop_test(tcase, nothing_bad_is_found_in_good_steps, 0, DEVICES);
    tcase_add_loop_test(tcase, micro_batches_add_up, 0, DEVICES);
    tcase_add_loop_test(tcase, plans_share_a_model, 0, DEVICES);
    tcase_add_loop_test(tcase, running_statistics_are_committed, 0, DEVICES);
    tcase_add_loop_test(tcase, reference_variants_agree, 0, DEVICES);
    tcase_add_loop_test(tcase, too_little_memory_is_told_early, 0, DEVICES);
    tcase_add_loop_test(tcase, dry_plans_have_the_same_sizes, 0, DEVICES);
    tcase_add_loop_test(tcase, profiled_steps_give_the_same_bits, 0, DEVICES);
    tcase_add_loop_test(tcase, plans_explain_themselves, 0, DEVICES);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
