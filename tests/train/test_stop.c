/* Stopping a run: while it validates, before its test, more than once; and a run's folder that is somebody else's. */
#include "train/harness.h"

static char folder[300];

static mcl_train_options options_in(const char *name)
{
    mcl_train_options options = mcl_train_defaults();
    snprintf(folder, sizeof folder, "%s/%s", test_folder, name);
    options.run = folder;
    options.epochs = 2;
    options.batch = 20;
    options.seed = 5;
    return options;
}

typedef struct heard { int epochs; bool stop_at_done; mcl_metrics test; mcl_trainer *trainer; } heard;

/* The last checkpoint of a run comes before its test. */
static void on_event(const mcl_event *event, void *user)
{
    heard *h = user;
    h->epochs += event->kind == MCL_EVENT_EPOCH;
    if (event->kind == MCL_EVENT_DONE) h->test = event->test;
    if (event->kind == MCL_EVENT_CHECKPOINT && strstr(event->message, "last") && h->epochs == 2 && h->stop_at_done)
        mcl_trainer_stop(h->trainer);
}

/* All epochs without a stop: what the others must come to. */
static mcl_metrics calm_test(mcl_device *device, const mcl_network *network, mcl_dataset *data)
{
    mcl_error error = {0};
    heard h = {0};
    mcl_train_options options = options_in("calm");
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    EXPECT(mcl_trainer_run(trainer, on_event, &h, &error), error);
    mcl_trainer_destroy(trainer);
    ck_assert_int_gt(h.test.samples, 0);
    return h.test;
}

static void complete_epoch(mcl_trainer *trainer)
{
    mcl_error error = {0};
    int done;
    bool end = false;
    while (!end) EXPECT(mcl_trainer_steps(trainer, 5, &done, &end, &error), error);
}

/* What the tests train; a trainer that is left goes first. */
typedef struct scene { mcl_network *network; mcl_dataset *data; } scene;
static scene scene_open(void) { return (scene){network_named("mlp"), open_fashion(200, 0.2)}; }
static void scene_close(scene *s, mcl_trainer *trainer)
{
    mcl_trainer_destroy(trainer);
    mcl_network_destroy(s->network);
    mcl_dataset_close(s->data);
}

/* Stops a run that has all steps of its first epoch before it validates, and resumes it to its end. */
static mcl_trainer *stopped_and_resumed(mcl_device *device, const scene *s, mcl_train_options options, heard *h)
{
    mcl_error error = {0};
    mcl_trainer *trainer = trainer_create(device, s->network, s->data, &options);
    complete_epoch(trainer);
    mcl_trainer_stop(trainer);
    ck_assert_int_eq(mcl_trainer_run(trainer, on_event, h, &error), MCL_ERROR_INTERRUPTED);
    ck_assert_msg(strstr(error.text, "which is saved") != NULL, "%s", error.text);
    ck_assert_int_eq(h->epochs, 0);
    mcl_trainer_destroy(trainer);
    options.resume = true;
    trainer = trainer_create(device, s->network, s->data, &options);
    EXPECT(mcl_trainer_run(trainer, on_event, h, &error), error);
    return trainer;
}

START_TEST(while_it_validates)
{
    TEST_DEVICE(device);
    heard h = {0};
    scene s = scene_open();
    mcl_metrics calm = calm_test(device, s.network, s.data);
    mcl_trainer *trainer = stopped_and_resumed(device, &s, options_in("validating"), &h);
    ck_assert_int_eq(h.epochs, 2);
    ck_assert(h.test.loss == calm.loss && h.test.accuracy == calm.accuracy);
    scene_close(&s, trainer);
}
END_TEST

/* The last step that is allowed ends an epoch, whose validation was still to come. */
START_TEST(at_the_limit_of_steps)
{
    TEST_DEVICE(device);
    heard h = {0};
    scene s = scene_open();
    mcl_train_options options = options_in("limited");
    options.max_steps = 10;
    mcl_trainer *trainer = stopped_and_resumed(device, &s, options, &h);
    ck_assert_int_eq(trainer->steps_per_epoch, options.max_steps);
    ck_assert_int_eq(h.epochs, 1);
    ck_assert_int_eq(trainer->progress.best_epoch, 1);
    scene_close(&s, trainer);
}
END_TEST

/* It ends one run, and the weights are the last ones again, not the best that were to be tested. */
START_TEST(before_the_test)
{
    TEST_DEVICE(device);
    mcl_error error = {0};
    scene s = scene_open();
    mcl_metrics calm = calm_test(device, s.network, s.data);
    mcl_train_options calmly = options_in("calm");
    calmly.resume = true;
    mcl_trainer *last = trainer_create(device, s.network, s.data, &calmly);
    mcl_train_options options = options_in("testing");
    mcl_trainer *trainer = trainer_create(device, s.network, s.data, &options);
    heard h = {.stop_at_done = true, .trainer = trainer};
    ck_assert_int_eq(mcl_trainer_run(trainer, on_event, &h, &error), MCL_ERROR_INTERRUPTED);
    ck_assert_int_eq(h.epochs, 2);
    ck_assert_int_eq(h.test.samples, 0);
    model_state a = state_of(trainer->model), b = state_of(last->model);
    ck_assert_msg(states_equal(&a, &b), "the weights are not the last ones");
    mcl_trainer_destroy(last);
    EXPECT(mcl_trainer_run(trainer, on_event, &h, &error), error);
    ck_assert(h.test.loss == calm.loss && h.test.accuracy == calm.accuracy);
    scene_close(&s, trainer);
}
END_TEST

START_TEST(one_trainer_a_folder)
{
    TEST_DEVICE(device);
    mcl_error error = {0};
    scene s = scene_open();
    mcl_train_options options = options_in("shared");
    mcl_trainer *first = trainer_create(device, s.network, s.data, &options), *second = NULL;
    ck_assert_int_eq(mcl_trainer_create(device, s.network, s.data, &options, &second, &error), MCL_ERROR_INVALID);
    ck_assert_msg(strstr(error.text, folder) && strstr(error.text, "another trainer"), "%s", error.text);
    mcl_trainer_destroy(first);
    EXPECT(mcl_trainer_create(device, s.network, s.data, &options, &second, &error), error);
    scene_close(&s, second);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stop");
    TCase *tests = tcase_create("stop");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, while_it_validates, 0, DEVICES);
    tcase_add_loop_test(tests, before_the_test, 0, DEVICES);
    tcase_add_loop_test(tests, at_the_limit_of_steps, 0, DEVICES);
    tcase_add_loop_test(tests, one_trainer_a_folder, 0, DEVICES);
    suite_add_tcase(suite, tests);
    return run_suite(suite, false);
}
