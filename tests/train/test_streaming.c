/* Pictures that stream from the host give the bits of pictures that live on the device. */
#include "train/harness.h"

typedef struct shape_of_run { int batch, micro_batches; bool keep_partial; } shape_of_run;
static const shape_of_run runs[] = {{32, 1, false}, {24, 1, true}, {48, 3, false}};

static model_state train(mcl_device *device, mcl_dataset *data, const shape_of_run *shape, mcl_residence residence,
                         mcl_metrics *test)
{
    mcl_error error = {0};
    mcl_network *network = network_mixed();
    mcl_train_options options = mcl_train_defaults();
    options.epochs = 3;
    options.batch = shape->batch;
    options.micro_batches = shape->micro_batches;
    options.keep_partial = shape->keep_partial;
    options.seed = 9;
    options.flip = true;
    options.crop = 4;
    options.nesterov = true;
    options.residence = residence;
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    ck_assert_int_eq(trainer->pictures.resident, residence == MCL_RESIDENCE_DEVICE);
    EXPECT(mcl_trainer_run(trainer, NULL, NULL, &error), error);
    ck_assert_int_eq(trainer->progress.step, 3 * trainer->steps_per_epoch);
    EXPECT(mcl_trainer_evaluate(trainer, MCL_PART_TEST, test, &error), error);
    model_state state = state_of(trainer->model);
    mcl_trainer_destroy(trainer);
    mcl_network_destroy(network);
    return state;
}

START_TEST(same_bits)
{
    mcl_device *device = test_device(_i / COUNT(runs));
    const shape_of_run *shape = &runs[_i % COUNT(runs)];
    mcl_metrics of_resident, of_streamed;
    if (!device) return;
    mcl_dataset *data = open_cifar();
    model_state resident = train(device, data, shape, MCL_RESIDENCE_DEVICE, &of_resident);
    model_state streamed = train(device, data, shape, MCL_RESIDENCE_STREAM, &of_streamed);
    ck_assert_int_gt(resident.elements[0], 0);
    ck_assert_int_gt(resident.elements[STATE_SLABS - 1], 0);
    ck_assert_msg(states_equal(&resident, &streamed), "batch %d, %d parts", shape->batch, shape->micro_batches);
    ck_assert(of_resident.loss == of_streamed.loss && of_resident.accuracy == of_streamed.accuracy);
    mcl_dataset_close(data);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("streaming");
    TCase *tests = tcase_create("streaming");
    tcase_add_loop_test(tests, same_bits, 0, DEVICES * COUNT(runs));
    suite_add_tcase(suite, tests);
    return run_suite(suite, false);
}
