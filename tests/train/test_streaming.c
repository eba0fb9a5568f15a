/* Pictures that stream from the host give the bits of pictures that live on the device; also where they are uploaded beside what
 * is computed, which needs no device with memory of its own to be tested. */
#include "device/backend.h"
#include "train/harness.h"

typedef struct shape_of_run { int batch, micro_batches; bool keep_partial; } shape_of_run;
static const shape_of_run runs[] = {{32, 1, false}, {24, 1, true}, {48, 3, false}, {56, 2, true}};

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

/* How a device is fed. Slow uploads come behind larger ones in their queue: what does not wait for them reads another batch. */
typedef enum feeding { SHARED, OWN_MEMORY, SLOW_UPLOADS, FEEDINGS } feeding;
static const char *const feeding_name[] = {"shared memory", "own memory", "slow uploads"};

enum { BALLAST = 16 << 20 };
static const mcl__backend *usual;
static mcl_buffer *ballast;
static mcl__fence *no_fence, *ballast_fence;

static mcl_status slow_upload(mcl_device *device, mcl__view target, const void *source, mcl__fence *after, mcl__fence *done)
{
    static const char bytes[BALLAST];
    MCL_TRY(usual->upload(device, (mcl__view){ballast, 0, BALLAST}, bytes, no_fence, ballast_fence));
    return usual->upload(device, target, source, after, done);
}

static model_state train_fed(mcl_device *device, mcl_dataset *data, const shape_of_run *shape, feeding how, mcl_metrics *test)
{
    mcl__backend slow = *device->backend;
    usual = device->backend;
    slow.upload = slow_upload;
    ck_assert_int_eq(mcl_buffer_create(device, BALLAST, &ballast), MCL_OK);
    ck_assert_int_eq(mcl__fence_create(device, &no_fence), MCL_OK);
    ck_assert_int_eq(mcl__fence_create(device, &ballast_fence), MCL_OK);
    set_own_memory(device, how != SHARED);
    if (how == SLOW_UPLOADS) device->backend = &slow;
    model_state state = train(device, data, shape, MCL_RESIDENCE_STREAM, test);
    device->backend = usual;
    set_own_memory(device, false);
    mcl__fence_destroy(device, ballast_fence);
    mcl__fence_destroy(device, no_fence);
    mcl_buffer_destroy(ballast);
    return state;
}

START_TEST(same_bits)
{
    mcl_device *device = test_device(_i / COUNT(runs) % DEVICES);
    const shape_of_run *shape = &runs[_i % COUNT(runs)];
    feeding how = (feeding)(_i / COUNT(runs) / DEVICES);
    mcl_metrics of_resident, of_streamed;
    if (!device || (how == SLOW_UPLOADS && device->info.type == MCL_DEVICE_NATIVE)) return; /* which has no queues */
    mcl_dataset *data = open_cifar();
    model_state resident = train(device, data, shape, MCL_RESIDENCE_DEVICE, &of_resident);
    model_state streamed = train_fed(device, data, shape, how, &of_streamed);
    ck_assert_int_gt(resident.elements[0], 0);
    ck_assert_int_gt(resident.elements[STATE_SLABS - 1], 0);
    ck_assert_msg(states_equal(&resident, &streamed), "batch %d, %d parts, %s", shape->batch, shape->micro_batches,
                  feeding_name[how]);
    ck_assert(of_resident.loss == of_streamed.loss && of_resident.accuracy == of_streamed.accuracy);
    mcl_dataset_close(data);
}
END_TEST

/* Steps of a training whose device is handed the next batch in each: in how many it has it before the step is over. */
static int early_uploads(mcl_trainer *t, int steps)
{
    int early = 0, batch = t->options.batch;
    mcl_error error = {0};
    mcl__fence *end;
    ck_assert_int_eq(mcl__fence_create(t->device, &end), MCL_OK);
    EXPECT(mcl__feed_begin(&t->train_feed, t->part[MCL_PART_TRAIN], t->part_count[MCL_PART_TRAIN], 0, &error), error);
    for (int s = 1; s <= steps; s++) {
        mcl_step step = {.step = s, .valid_samples = batch, .slot = s % MCL_HISTORY, .inverse_valid = 1.0f / (float)batch};
        EXPECT(mcl__feed_next(&t->train_feed, batch, &error), error);
        ck_assert_int_eq(mcl__fence_wait(t->device, t->train_feed.ring[t->train_feed.turn].uploaded), MCL_OK);
        early += s > 1 && !mcl__fence_passed(t->device, end);
        ck_assert_int_eq(mcl__plan_step(t->train.plan, &step), MCL_OK);
        EXPECT(mcl__feed_load(&t->train_feed, t->train.plan, &error), error);
        for (int part = MCL__COMPUTE; part < MCL__SEGMENTS; part++)
            ck_assert_int_eq(mcl__plan_run(t->train.plan, (mcl__segment)part), MCL_OK);
        ck_assert_int_eq(mcl__fence_record(t->device, end), MCL_OK);
    }
    ck_assert_int_eq(mcl_device_finish(t->device), MCL_OK);
    mcl__fence_destroy(t->device, end);
    return early;
}

START_TEST(uploads_overlap_steps)
{
    enum { STEPS = 8 };
    mcl_device *device = test_device(OPENCL);
    if (!device) return;
    mcl_network *network = network_mixed();
    mcl_dataset *data = open_cifar();
    mcl_train_options options = mcl_train_defaults();
    options.batch = 20;
    options.residence = MCL_RESIDENCE_STREAM;
    for (int own = 0; own < 2; own++) {
        set_own_memory(device, own);
        mcl_trainer *trainer = trainer_create(device, network, data, &options);
        ck_assert_int_eq(trainer->train_feed.places, own ? 2 : 1);
        trainer_run_steps(trainer, 2);
        mcl_device_counters before = mcl_device_get_counters(device);
        int early = early_uploads(trainer, STEPS);
        mcl_device_counters after = mcl_device_get_counters(device);
        ck_assert_uint_eq(after.allocations, before.allocations);
        ck_assert_uint_eq(after.bindings, before.bindings);
        ck_assert_uint_eq(after.waits - before.waits, 2 * STEPS + 1);
        printf("  own memory %d: %d of %d uploads were over before the step before them\n", own, early, STEPS - 1);
        if (own) ck_assert_int_gt(early, 0);
        else ck_assert_int_eq(early, 0);
        mcl_trainer_destroy(trainer);
        set_own_memory(device, false);
    }
    mcl_dataset_close(data);
    mcl_network_destroy(network);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("streaming");
    TCase *tests = tcase_create("streaming");
    tcase_add_loop_test(tests, same_bits, 0, FEEDINGS * DEVICES * COUNT(runs));
    tcase_add_test(tests, uploads_overlap_steps);
    suite_add_tcase(suite, tests);
    return run_suite(suite, false);
}
