/* What a checkpoint says beside tensors: facts that cannot be, facts of another data set, numbers that JSON has not. */
#include "train/checkpoint.h"
#include "harness.h"

static const mcl_train_options small = {.batch = 50, .momentum = 0.9f};

static char *run_folder(void)
{
    static char path[300];
    snprintf(path, sizeof path, "%s/run", test_folder);
    ck_assert_int_eq(mcl__folder_create(path, false, NULL), MCL_OK);
    return path;
}

/* Saves the trainer's state, as it stands, as the run's last. */
static void save_last(mcl_trainer *trainer)
{
    char path[400];
    mcl_error error = {0};
    snprintf(path, sizeof path, "%s/last.safetensors", run_folder());
    EXPECT(mcl__checkpoint_save(trainer, path, &error), error);
}

static mcl_status resume(const mcl_network *network, mcl_dataset *data, mcl_trainer **trainer, mcl_error *error)
{
    mcl_train_options options = small;
    options.run = run_folder();
    options.resume = true;
    *trainer = NULL;
    return mcl_trainer_create(test_device(NATIVE), network, data, &options, trainer, error);
}

/* 200 pictures in batches of 50: four steps an epoch. */
START_TEST(impossible_progress)
{
    static const struct { int step, epoch, position, best_epoch; bool fits; } rows[] = {
        {0, 0, 0, 0, true},    {2, 0, 100, 0, true},  {4, 0, 200, 0, true}, {9, 2, 50, 2, true},
        {0, 0, 3, 0, false},   {2, 0, 150, 0, false}, {5, 1, 0, 0, false},  {8, 1, 200, 3, false},
        {6, 0, 300, 0, false},
    };
    mcl_dataset *data = open_cifar();
    mcl_network *network = network_mixed();
    mcl_trainer *trainer = trainer_create(test_device(NATIVE), network, data, &small), *resumed;
    for (int i = 0; i < COUNT(rows); i++) {
        mcl_error error = {0};
        trainer->progress = (mcl__progress){
            .step = rows[i].step, .epoch = rows[i].epoch, .position = rows[i].position, .best_epoch = rows[i].best_epoch};
        save_last(trainer);
        mcl_status status = resume(network, data, &resumed, &error);
        ck_assert_msg(status == (rows[i].fits ? MCL_OK : MCL_ERROR_FORMAT), "row %d: %s", i, error.text);
        if (!rows[i].fits) ck_assert_msg(strstr(error.text, "progress is damaged") != NULL, "%s", error.text);
        mcl_trainer_destroy(resumed);
    }
    mcl_trainer_destroy(trainer);
    mcl_network_destroy(network);
    mcl_dataset_close(data);
}
END_TEST

START_TEST(infinite_best_loss)
{
    mcl_error error = {0};
    mcl_dataset *data = open_cifar();
    mcl_network *network = network_mixed();
    mcl_trainer *trainer = trainer_create(test_device(NATIVE), network, data, &small), *resumed;
    trainer->progress.best_epoch = 1;
    trainer->progress.best_loss = INFINITY;
    save_last(trainer);
    EXPECT(resume(network, data, &resumed, &error), error);
    ck_assert_double_gt(resumed->progress.best_loss, 1e300);
    mcl_trainer_destroy(resumed);
    mcl_trainer_destroy(trainer);
    mcl_network_destroy(network);
    mcl_dataset_close(data);
}
END_TEST

/* A run goes on with the statistics that its weights were trained with, on the device too. */
START_TEST(statistics_of_the_run)
{
    mcl_error error = {0};
    mcl_dataset *data = open_cifar();
    mcl_network *network = network_mixed();
    mcl_trainer *trainer = trainer_create(test_device(NATIVE), network, data, &small), *resumed;
    trainer->preprocessing.mean[1] = 17;
    trainer->preprocessing.inverse_deviation[2] = 0.5f;
    save_last(trainer);
    EXPECT(resume(network, data, &resumed, &error), error);
    float mean[3], deviation[3];
    const mcl__pictures *pictures = &resumed->pictures;
    ck_assert_int_eq(mcl_buffer_read(pictures->statistics, 0, sizeof mean, mean), MCL_OK);
    ck_assert_int_eq(mcl_buffer_read(pictures->statistics, pictures->deviation_offset, sizeof deviation, deviation), MCL_OK);
    ck_assert(mean[1] == 17 && deviation[2] == 0.5f && mean[0] == trainer->preprocessing.mean[0]);
    mcl_trainer_destroy(resumed);
    mcl_trainer_destroy(trainer);
    mcl_network_destroy(network);
    mcl_dataset_close(data);
}
END_TEST

START_TEST(empty_part)
{
    mcl_error error = {0};
    mcl_metrics metrics;
    mcl_dataset *data = open_cifar();
    mcl_network *network = network_mixed();
    mcl_trainer *trainer = trainer_create(test_device(NATIVE), network, data, &small);
    EXPECT(mcl_trainer_evaluate(trainer, MCL_PART_VALIDATION, &metrics, &error), error);
    ck_assert(metrics.samples == 0 && metrics.loss == 0);
    EXPECT(mcl_trainer_evaluate(trainer, MCL_PART_TEST, &metrics, &error), error);
    ck_assert_int_eq(metrics.samples, 50);
    mcl_trainer_destroy(trainer);
    mcl_network_destroy(network);
    mcl_dataset_close(data);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *tests = tcase_create("checkpoint");
    tcase_add_test(tests, impossible_progress);
    tcase_add_test(tests, infinite_best_loss);
    tcase_add_test(tests, statistics_of_the_run);
    tcase_add_test(tests, empty_part);
    suite_add_tcase(suite, tests);
    return run_suite(suite, false);
}
