/* What a training step is allowed to do: replay, without binding, allocating or waiting; leave the state alone when a NaN turns
 * up; give the same gradients in parts, and without fusion; and share its model with evaluation and prediction. */
#include "graph/lowered.h"
#include "train/harness.h"

START_TEST(steps_ahead)
{
    ck_assert_int_eq(mcl__steps_ahead(0), 2);
    ck_assert_int_eq(mcl__steps_ahead(10), 2);
    ck_assert_int_eq(mcl__steps_ahead(0.3), 2);
    ck_assert_int_eq(mcl__steps_ahead(0.1), 7);
    ck_assert_int_eq(mcl__steps_ahead(1e-6), MCL__MOST_AHEAD);
}
END_TEST

/* Steps one by one, as mcl_trainer_steps(trainer, count) does them; how often the outcomes were taken. */
static int count_drains(mcl_trainer *trainer, int count)
{
    mcl_error error = {0};
    int drains = 0, done;
    bool end;
    for (int i = 0; i < count; i++) {
        EXPECT(mcl_trainer_steps(trainer, 1, &done, &end, &error), error);
        ck_assert_int_eq(done, 1);
        drains += trainer->drained == trainer->progress.step;
    }
    return drains;
}

/* The host waits once where it takes the outcomes (after 0.75 seconds of steps, or 64, but after two at least), and where the ring
 * of 64 step blocks is full, for half of it: before steps 65 and 97. A metric shown is one more. Everything the device layer does
 * is counted in device.c, whatever the backend. */
START_TEST(replay)
{
    enum { WARM = 10, STEPS = 100, RING_FULL = 2 };
    _Static_assert(MCL__STEP_RING == 64, "RING_FULL and the comment above");
    TEST_DEVICE(device);
    mcl_error error = {0};
    mcl_network *network = network_named("lenet");
    mcl_dataset *data = open_fashion(1000, 0);
    mcl_train_options options = mcl_train_defaults();
    mcl_metrics metrics;
    options.batch = 8;
    options.flip = true;
    options.weight_decay = 5e-4f;
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    ck_assert_int_gt(trainer->steps_per_epoch, WARM + STEPS);
    trainer_run_steps(trainer, WARM);
    mcl_device_counters before = mcl_device_get_counters(device);
    int drains = count_drains(trainer, STEPS);
    mcl_device_counters after = mcl_device_get_counters(device);
    ck_assert_uint_eq(after.bindings - before.bindings, 0);
    ck_assert_uint_eq(after.allocations - before.allocations, 0);
    ck_assert_uint_eq(after.programs_built - before.programs_built, 0);
    ck_assert_uint_eq(after.bytes_allocated, before.bytes_allocated);
    ck_assert_int_le(drains, STEPS / 2);
    ck_assert_uint_eq(after.waits - before.waits, (uint64_t)(drains + RING_FULL));
    mcl__plan_statistics s = mcl__plan_get_statistics(trainer->train.plan);
    int launches = s.derive_launches;
    for (int i = 0; i < MCL__SEGMENTS; i++) launches += s.launches[i];
    ck_assert_uint_eq(after.launches - before.launches, (uint64_t)launches * STEPS);
    EXPECT(mcl_trainer_metrics(trainer, &metrics, &error), error);
    ck_assert_uint_le(mcl_device_get_counters(device).waits - after.waits, 1); /* the metric */
    ck_assert_int_eq((int)metrics.samples, (WARM + STEPS) * options.batch);
    printf("  %d steps of LeNet on %s: %d launches a step, 0 bindings, 0 allocations, %llu waits\n", STEPS,
           _i == NATIVE ? "native" : "OpenCL", launches, (unsigned long long)(after.waits - before.waits));
    mcl_trainer_destroy(trainer);
    mcl_dataset_close(data);
    mcl_network_destroy(network);
}
END_TEST

static void write_one(mcl__model *model, const char *name, int element, float value)
{
    int slot = mcl__model_find(model->parameter, model->parameters, name);
    int n = mcl__shape_elements(model->parameter[slot].shape);
    float *all = malloc((size_t)n * sizeof *all);
    ck_assert_int_eq(mcl__model_read(&model->value, &model->parameter[slot], all), MCL_OK);
    all[element] = value;
    ck_assert_int_eq(mcl__model_write(model, &model->value, &model->parameter[slot], all), MCL_OK);
    free(all);
}

static float read_one(mcl__model *model, const char *name, int element)
{
    int slot = mcl__model_find(model->parameter, model->parameters, name);
    float *all = malloc((size_t)mcl__shape_elements(model->parameter[slot].shape) * sizeof *all);
    ck_assert_int_eq(mcl__model_read(&model->value, &model->parameter[slot], all), MCL_OK);
    float value = all[element];
    free(all);
    return value;
}

static mcl_train_options mixed_options(mcl_optimiser_kind optimiser)
{
    mcl_train_options options = mcl_train_defaults();
    options.batch = 16;
    options.seed = 11;
    options.flip = true;
    options.crop = 3;
    options.optimiser = optimiser;
    options.weight_decay = 1e-3f;
    options.decay_weights_only = true;
    return options;
}

/* The text of a step that fails, from a state that is left as it was. */
static void expect_diverged(mcl_trainer *trainer, const char *step, const char *node)
{
    mcl_error error = {0};
    model_state before = state_of(trainer->model);
    ck_assert_int_eq(trainer_steps(trainer, 5, &error), MCL_ERROR_DIVERGED);
    model_state after = state_of(trainer->model);
    ck_assert_msg(states_equal(&before, &after), "the state changed: %s", error.text);
    ck_assert_msg(strstr(error.text, step) != NULL, "no \"%s\" in: %s", step, error.text);
    ck_assert_msg(strstr(error.text, node) != NULL, "no \"%s\" in: %s", node, error.text);
    printf("  %s\n", error.text);
}

/* NaN in a weight in the middle, in the pictures' statistics, and the way back: when the cause is gone, the run goes on with the
 * bits of one that was never disturbed. Where an epoch of 200 pictures has batches of 128 and 72, step 6 is one of 72, which have a
 * plan of their own. */
static const struct { int batch; bool keep_partial; } nan_runs[] = {{16, false}, {128, true}};

START_TEST(planted_nan)
{
    mcl_device *device = test_device(_i / COUNT(nan_runs));
    if (!device) return;
    mcl_network *network = network_mixed();
    mcl_dataset *data = open_cifar();
    mcl_train_options options = mixed_options(MCL_ADAM);
    options.batch = nan_runs[_i % COUNT(nan_runs)].batch;
    options.keep_partial = nan_runs[_i % COUNT(nan_runs)].keep_partial;
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    mcl_trainer *calm = trainer_create(device, network, data, &options);
    trainer_run_steps(calm, 19);
    trainer_run_steps(trainer, 5);
    float weight = read_one(trainer->model, "conv3.weight", 7), mean = trainer->preprocessing.mean[1], bad = NAN;
    write_one(trainer->model, "conv3.weight", 7, NAN);
    expect_diverged(trainer, "step 6", "conv3");
    write_one(trainer->model, "conv3.weight", 7, weight);
    trainer_run_steps(trainer, 9); /* into another epoch */
    ck_assert_int_eq(mcl_buffer_write(trainer->pictures.statistics, sizeof mean, sizeof bad, &bad), MCL_OK);
    expect_diverged(trainer, "step 15", "conv1");
    ck_assert_int_eq(mcl_buffer_write(trainer->pictures.statistics, sizeof mean, sizeof mean, &mean), MCL_OK);
    trainer_run_steps(trainer, 5);
    model_state a = state_of(trainer->model), b = state_of(calm->model);
    ck_assert_int_eq(trainer->progress.step, 19);
    ck_assert(states_equal(&a, &b));
    mcl_trainer_destroy(trainer);
    mcl_trainer_destroy(calm);
    mcl_dataset_close(data);
    mcl_network_destroy(network);
}
END_TEST

/* A rate that is far too high: the state is that after the last good step. */
START_TEST(too_high_rate)
{
    TEST_DEVICE(device);
    mcl_error error = {0};
    mcl_network *network = network_named("mlp");
    mcl_dataset *data = open_fashion(20, 0);
    mcl_train_options options = mixed_options(MCL_SGD);
    options.learning_rate = 1e13f;
    options.crop = 0;
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    mcl_trainer *calm = trainer_create(device, network, data, &options);
    ck_assert_int_eq(trainer_steps(trainer, 12, &error), MCL_ERROR_DIVERGED);
    int good = trainer->progress.step;
    char text[32];
    snprintf(text, sizeof text, "step %d:", good + 1);
    ck_assert_msg(good > 0 && strstr(error.text, text) != NULL, "%s", error.text);
    trainer_run_steps(calm, good);
    model_state a = state_of(trainer->model), b = state_of(calm->model);
    ck_assert(states_equal(&a, &b));
    printf("  %s\n", error.text);
    mcl_trainer_destroy(trainer);
    mcl_trainer_destroy(calm);
    mcl_dataset_close(data);
    mcl_network_destroy(network);
}
END_TEST

/* mcl_trainer_run ends with the last good state in last.safetensors, and goes on from there. */
START_TEST(run_with_nan)
{
    TEST_DEVICE(device);
    mcl_error error = {0};
    char run[256], path[300];
    mcl_network *network = network_mixed();
    mcl_dataset *data = open_cifar();
    mcl_train_options options = mixed_options(MCL_SGD);
    snprintf(run, sizeof run, "%s/run-%d", test_folder, _i);
    snprintf(path, sizeof path, "%s/last.safetensors", run);
    options.run = run;
    options.epochs = 1;
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    trainer_run_steps(trainer, 3);
    float weight = read_one(trainer->model, "fc1.weight", 100);
    write_one(trainer->model, "fc1.weight", 100, INFINITY);
    ck_assert_int_eq(mcl_trainer_run(trainer, NULL, NULL, &error), MCL_ERROR_DIVERGED);
    ck_assert_ptr_nonnull(strstr(error.text, "step 4: "));
    model_state a = state_of(trainer->model);
    mcl_trainer_destroy(trainer);
    options.resume = true;
    error = (mcl_error){0};
    trainer = trainer_create(device, network, data, &options);
    model_state b = state_of(trainer->model);
    ck_assert(states_equal(&a, &b));
    ck_assert_int_eq(trainer->progress.step, 3);
    write_one(trainer->model, "fc1.weight", 100, weight);
    EXPECT(mcl_trainer_run(trainer, NULL, NULL, &error), error);
    mcl_trainer_destroy(trainer);
    mcl_dataset_close(data);
    mcl_network_destroy(network);
}
END_TEST

/* --- The same step done otherwise --------------------------------------------------------------------------------------- */

/* LeNet with dropout: no batch normalisation, so that a batch's parts are independent. */
static mcl_network *network_without_norm(void)
{
    mcl_error error = {0};
    mcl_network *net = mcl_network_create("parts");
    mcl_tensor x = mcl_input(net, 32, 32, 3);
    x = mcl_conv2d(net, x, &(mcl_conv2d_options){.name = "conv1", .filters = 16, .kernel = 5, .padding = 2});
    x = mcl_max_pool(net, mcl_activation(net, x, &(mcl_activation_options){.kind = MCL_TANH}), &(mcl_pool_options){.kernel = 2});
    x = mcl_avg_pool(net, mcl_conv2d(net, x, &(mcl_conv2d_options){.name = "conv2", .filters = 24, .kernel = 3, .padding = 1}),
                     &(mcl_pool_options){.kernel = 2});
    x = mcl_activation(net, x, &(mcl_activation_options){.kind = MCL_SIGMOID});
    x = mcl_dropout(net, x, &(mcl_dropout_options){.drop = 0.25f});
    x = mcl_dense(net, mcl_flatten(net, x, NULL), &(mcl_dense_options){.name = "fc", .units = 10});
    EXPECT(mcl_network_finish(net, x, &error), error);
    return net;
}

/* The largest relative difference, in norm, of what two trainers' parameters moved from where they began. */
static double moved_apart(const float *start, const float *a, const float *b, int n)
{
    return distance(a, b, n) / distance(a, start, n);
}

typedef struct outcome { float *start, *end; int elements, nodes; double loss[8]; } outcome;

static outcome run_few(mcl_device *device, const mcl_network *network, mcl_dataset *data, const mcl_train_options *options,
                       int steps)
{
    outcome made;
    mcl_trainer *trainer = trainer_create(device, network, data, options);
    mcl__model *model = trainer->model;
    made.start = slab_copy(&model->value, model->parameter, model->parameters, &made.elements);
    trainer_run_steps(trainer, steps);
    trainer_losses(trainer, steps, made.loss);
    made.end = slab_copy(&model->value, model->parameter, model->parameters, &made.elements);
    made.nodes = mcl__plan_get_statistics(trainer->train.plan).nodes;
    mcl_trainer_destroy(trainer);
    return made;
}

/* Losses within `loss`, moves within `move`, both relative. The bounds leave room for single precision in two orders of
 * summation; a batch's parts that drew each other's masks are off by seven parts in a thousand. */
static void compare_runs(const char *what, outcome *a, outcome *b, int steps, double loss_bound, double move_bound)
{
    double loss = 0, move = moved_apart(a->start, a->end, b->end, a->elements);
    ck_assert_int_eq(memcmp(a->start, b->start, (size_t)a->elements * sizeof *a->start), 0);
    for (int i = 0; i < steps; i++) loss = fmax(loss, fabs(a->loss[i] - b->loss[i]) / a->loss[i]);
    printf("  %s: losses off by %.1e, moves of the parameters by %.1e\n", what, loss, move);
    ck_assert_double_le(loss, loss_bound);
    ck_assert_double_le(move, move_bound);
    outcome *both[] = {a, b};
    for (int i = 0; i < 2; i++) {
        free(both[i]->start);
        free(both[i]->end);
    }
}

/* An epoch has 200 pictures: its second batch has 72, two parts of 32 and one of 8. */
START_TEST(micro_batches)
{
    enum { STEPS = 4 };
    TEST_DEVICE(device);
    mcl_network *network = network_without_norm();
    mcl_dataset *data = open_cifar();
    mcl_train_options options = mixed_options(MCL_SGD);
    options.batch = 128;
    options.keep_partial = true;
    outcome whole = run_few(device, network, data, &options, STEPS);
    options.micro_batches = 4;
    outcome parts = run_few(device, network, data, &options, STEPS);
    compare_runs(_i == NATIVE ? "4 x 32 and 1 x 128, native" : "4 x 32 and 1 x 128, OpenCL", &whole, &parts, STEPS, 1e-6, 1e-5);
    mcl_dataset_close(data);
    mcl_network_destroy(network);
}
END_TEST

START_TEST(fuse)
{
    enum { STEPS = 3 };
    TEST_DEVICE(device);
    mcl_dataset *data = open_cifar();
    mcl_train_options options = mixed_options(MCL_SGD);
    for (int mixed = 0; mixed < 2; mixed++) {
        mcl_network *network = mixed ? network_mixed() : network_without_norm();
        options.no_fuse = false;
        outcome fused = run_few(device, network, data, &options, STEPS);
        options.no_fuse = true;
        outcome apart = run_few(device, network, data, &options, STEPS);
        ck_assert_int_lt(fused.nodes, apart.nodes);
        compare_runs(_i == NATIVE ? "fused and not, native" : "fused and not, OpenCL", &fused, &apart, STEPS, 1e-6, 1e-5);
        mcl_network_destroy(network);
    }
    mcl_dataset_close(data);
}
END_TEST

/* One set of buffers serves all purposes: an evaluation sees the latest step, prediction of single pictures agrees with it, and
 * neither changes what training goes on from. */
START_TEST(one_model)
{
    TEST_DEVICE(device);
    mcl_error error = {0};
    mcl_network *network = network_mixed();
    mcl_dataset *data = open_cifar();
    mcl_train_options options = mixed_options(MCL_SGD);
    mcl_metrics early, late, single;
    mcl__feed feed;
    mcl__purpose one;
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    mcl_trainer *calm = trainer_create(device, network, data, &options);
    int count = 20;
    EXPECT(mcl__feed_create(&trainer->pictures, 1, count, &feed, &error), error);
    EXPECT(mcl__purpose_evaluate(trainer->model, network, &feed, false, &one, &error), error);
    ck_assert_ptr_eq(mcl__plan_graph(trainer->train.plan)->model, trainer->model);
    ck_assert_ptr_eq(mcl__plan_graph(trainer->eval.plan)->model, trainer->model);
    ck_assert_ptr_eq(mcl__plan_graph(one.plan)->model, trainer->model);
    EXPECT(mcl_trainer_evaluate(trainer, MCL_PART_TEST, &early, &error), error);
    trainer_run_steps(trainer, 6);
    uint64_t bytes = mcl_device_get_counters(device).bytes_allocated;
    const int32_t *part = trainer->part[MCL_PART_TEST];
    EXPECT(mcl__purpose_metrics(&trainer->eval, &trainer->eval_feed, part, count, NULL, &late, &error), error);
    EXPECT(mcl__purpose_metrics(&one, &feed, part, count, NULL, &single, &error), error);
    ck_assert_double_eq_tol(single.loss, late.loss, 1e-5 * late.loss);
    ck_assert_double_eq_tol(single.accuracy, late.accuracy, 1e-9);
    ck_assert(fabs(late.loss - early.loss) > 1e-3);
    trainer_run_steps(trainer, 6);
    ck_assert_uint_eq(mcl_device_get_counters(device).bytes_allocated, bytes);
    trainer_run_steps(calm, 12);
    model_state a = state_of(trainer->model), b = state_of(calm->model);
    ck_assert_msg(states_equal(&a, &b), "evaluation changed the run");
    mcl__purpose_destroy(&one);
    mcl__feed_destroy(&feed);
    mcl_trainer_destroy(trainer);
    mcl_trainer_destroy(calm);
    mcl_dataset_close(data);
    mcl_network_destroy(network);
}
END_TEST

/* A checkpoint, read by a predictor, says what the trainer's own evaluation said. */
START_TEST(predictor)
{
    TEST_DEVICE(device);
    mcl_error error = {0};
    char path[256];
    mcl_network *network = network_mixed();
    mcl_dataset *data = open_cifar();
    mcl_train_options options = mixed_options(MCL_SGD);
    mcl_metrics metrics;
    mcl_evaluation evaluation;
    mcl_predictor *reader;
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    snprintf(path, sizeof path, "%s/model.safetensors", test_folder);
    trainer_run_steps(trainer, 10);
    EXPECT(mcl_trainer_evaluate(trainer, MCL_PART_TEST, &metrics, &error), error);
    EXPECT(mcl_trainer_save(trainer, path, &error), error);
    mcl_trainer_destroy(trainer);
    EXPECT(mcl_predictor_open(device, network, path, 7, &reader, &error), error);
    EXPECT(mcl_predictor_evaluate(reader, data, MCL_PART_TEST, &evaluation, &error), error);
    ck_assert_int_eq((int)evaluation.samples, (int)metrics.samples);
    ck_assert_double_eq_tol(evaluation.loss, metrics.loss, 1e-5 * metrics.loss);
    ck_assert_double_eq_tol(evaluation.top1, metrics.accuracy, 1e-9);
    mcl_evaluation_free(&evaluation);
    mcl_predictor_close(reader);

    trainer = trainer_create(device, network, data, &options);
    write_one(trainer->model, "conv3.weight", 7, NAN);
    EXPECT(mcl_trainer_save(trainer, path, &error), error);
    mcl_trainer_destroy(trainer);
    EXPECT(mcl_predictor_open(device, network, path, 7, &reader, &error), error);
    EXPECT(mcl_predictor_evaluate(reader, data, MCL_PART_TEST, &evaluation, &error), error);
    ck_assert_double_eq(evaluation.top1, 0); /* what is no number hits nothing */
    mcl_evaluation_free(&evaluation);
    mcl_predictor_close(reader);
    mcl_dataset_close(data);
    mcl_network_destroy(network);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("steps");
    TCase *tests = tcase_create("steps");
    tcase_add_test(tests, steps_ahead);
    tcase_add_loop_test(tests, replay, 0, DEVICES);
    tcase_add_loop_test(tests, planted_nan, 0, DEVICES * COUNT(nan_runs));
    tcase_add_loop_test(tests, too_high_rate, 0, DEVICES);
    tcase_add_loop_test(tests, run_with_nan, 0, DEVICES);
    tcase_add_loop_test(tests, micro_batches, 0, DEVICES);
    tcase_add_loop_test(tests, fuse, 0, DEVICES);
    tcase_add_loop_test(tests, one_model, 0, DEVICES);
    tcase_add_loop_test(tests, predictor, 0, DEVICES);
    suite_add_tcase(suite, tests);
    return run_suite(suite, false);
}
