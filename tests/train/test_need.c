/* What does not fit is told with the largest batch that does: that one trains, and the next one does not. Devices say here that
 * they have less memory than they have. */
#include "device/backend.h"
#include "train/harness.h"
#include "train/need.h"
#include "train/rig.h"

enum { LIKE = 24, WANTED = 160 }; /* memory for a batch of LIKE; what is asked for */

static const struct row { int micro_batches; bool keep_partial, own; mcl_recompute recompute; mcl_residence residence; } rows[] = {
    {1, false, false, MCL_RECOMPUTE_OFF, MCL_RESIDENCE_DEVICE}, {1, false, true, MCL_RECOMPUTE_OFF, MCL_RESIDENCE_STREAM},
    {4, false, true, MCL_RECOMPUTE_OFF, MCL_RESIDENCE_STREAM},  {1, true, false, MCL_RECOMPUTE_OFF, MCL_RESIDENCE_STREAM},
    {4, true, false, MCL_RECOMPUTE_OFF, MCL_RESIDENCE_STREAM},  {1, false, false, MCL_RECOMPUTE_AUTO, MCL_RESIDENCE_DEVICE}};

static mcl_train_options options_of(const struct row *row)
{
    mcl_train_options options = mcl_train_defaults();
    options.micro_batches = row->micro_batches;
    options.keep_partial = row->keep_partial;
    options.recompute = row->recompute;
    options.residence = row->residence;
    return options;
}

static mcl_status try_batch(mcl_device *device, mcl_dataset *data, mcl_train_options options, int batch, uint64_t *bytes,
                            mcl_error *error)
{
    mcl_network *network = network_mixed();
    mcl_trainer *trainer = NULL;
    options.batch = batch;
    mcl_status status = mcl_trainer_create(device, network, data, &options, &trainer, error);
    if (status == MCL_OK) *bytes = device->counters.bytes_allocated;
    mcl_trainer_destroy(trainer);
    mcl_network_destroy(network);
    return status;
}

/* The batch in the text "...; a batch of N would fit..."; 0: none. */
static int advised(const mcl_error *error)
{
    int batch = 0;
    const char *advice = strstr(error->text, "; a batch of ");
    if (!advice || sscanf(advice, "; a batch of %d would fit", &batch) != 1) return 0;
    return batch;
}

START_TEST(the_advised_batch_is_the_largest)
{
    mcl_device *device = test_device(_i / COUNT(rows));
    const struct row *row = &rows[_i % COUNT(rows)];
    if (!device) return;
    mcl_dataset *data = open_cifar();
    mcl_train_options options = options_of(row);
    uint64_t memory = device->info.memory, bytes = 0;
    mcl_error error = {0}, none = {0};
    set_own_memory(device, row->own);
    EXPECT(try_batch(device, data, options, LIKE, &bytes, &none), none);
    device->info.memory = bytes;
    ck_assert_int_eq(try_batch(device, data, options, WANTED, &bytes, &error), MCL_ERROR_MEMORY);
    int batch = advised(&error), next = batch + row->micro_batches;
    ck_assert_msg(batch >= LIKE && batch < WANTED, "%s", error.text);
    if (row->recompute == MCL_RECOMPUTE_OFF && !row->keep_partial) ck_assert_int_eq(batch, LIKE);
    EXPECT(try_batch(device, data, options, batch, &bytes, &none), none);
    ck_assert_uint_le(bytes, device->info.memory);
    if (!row->keep_partial) ck_assert_int_eq(try_batch(device, data, options, next, &bytes, NULL), MCL_ERROR_MEMORY);
    device->info.memory = memory;
    set_own_memory(device, false);
    mcl_dataset_close(data);
}
END_TEST

/* What is counted is what is allocated, and a picture more is the difference. */
START_TEST(explains_what_a_picture_takes)
{
    mcl_device *device = test_device(_i / 2);
    if (!device) return;
    mcl_dataset *data = open_cifar();
    mcl_network *network = network_mixed();
    mcl_train_options options = options_of(&rows[_i % 2]);
    uint64_t memory = device->info.memory, bytes[3];
    options.batch = LIKE;
    set_own_memory(device, rows[_i % 2].own);
    for (int i = 0; i < 3; i++) ck_assert_int_eq(try_batch(device, data, options, LIKE << i, &bytes[i], NULL), MCL_OK);
    device->info.memory = bytes[1];
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    char *text = mcl_trainer_explain(trainer), wanted[160];
    snprintf(wanted, sizeof wanted, "\neach picture more takes %.3f MiB, evaluation included; a batch of %d at most fits the ",
             (double)(bytes[1] - bytes[0]) / 0x1p20 / LIKE, 2 * LIKE);
    ck_assert_msg(strstr(text, wanted) != NULL, "no \"%s\" in:\n%s", wanted, text);
    device->info.memory = memory;
    set_own_memory(device, false);
    free(text);
    mcl_trainer_destroy(trainer);
    mcl_network_destroy(network);
    mcl_dataset_close(data);
}
END_TEST

/* Bench and tune train on a rig. */
START_TEST(rigs_say_it_too)
{
    TEST_DEVICE(device);
    mcl_network *network = network_mixed();
    mcl_train_options options = {.batch = WANTED, .recompute = MCL_RECOMPUTE_OFF};
    mcl__rig rig = {.device = device, .network = network};
    uint64_t memory = device->info.memory, used = device->counters.bytes_allocated;
    mcl_error error = {0};
    EXPECT(mcl__rig_create(&rig, &options, WANTED, &error), error);
    device->info.memory = device->counters.bytes_allocated + (8 << 20);
    ck_assert_int_eq(mcl__rig_plan(&rig, &error), MCL_ERROR_MEMORY);
    int batch = advised(&error);
    ck_assert_msg(batch > 1 && batch < WANTED, "%s", error.text);
    device->info.memory = device->counters.bytes_allocated + (1 << 10);
    error = (mcl_error){0};
    ck_assert_int_eq(mcl__rig_plan(&rig, &error), MCL_ERROR_MEMORY);
    ck_assert_msg(strstr(error.text, "; no smaller batch fits either") != NULL, "%s", error.text);
    device->info.memory = device->counters.bytes_allocated + (8 << 20);
    mcl__rig_destroy(&rig);
    for (int more = 0; more < 2; more++) {
        rig = (mcl__rig){.device = device, .network = network};
        options.batch = batch + more;
        EXPECT(mcl__rig_create(&rig, &options, WANTED, &error), error);
        ck_assert_int_eq(mcl__rig_plan(&rig, NULL), more ? MCL_ERROR_MEMORY : MCL_OK);
        mcl__rig_destroy(&rig);
    }
    device->info.memory = memory;
    ck_assert_uint_eq(device->counters.bytes_allocated, used);
    mcl_network_destroy(network);
}
END_TEST

START_TEST(predictors_say_it_too)
{
    TEST_DEVICE(device);
    char path[256];
    mcl_error error = {0}, none = {0};
    mcl_network *network = network_mixed();
    mcl_dataset *data = open_cifar();
    mcl_train_options options = options_of(&rows[0]);
    options.batch = LIKE;
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    mcl_predictor *predictor = NULL;
    snprintf(path, sizeof path, "%s/need.safetensors", test_folder);
    EXPECT(mcl__checkpoint_save(trainer, path, &error), error);
    mcl_trainer_destroy(trainer);
    uint64_t memory = device->info.memory;
    device->info.memory = device->counters.bytes_allocated + (4 << 20);
    ck_assert_int_eq(mcl_predictor_open(device, network, path, WANTED, &predictor, &error), MCL_ERROR_MEMORY);
    int batch = advised(&error);
    ck_assert_msg(batch > 1 && batch < WANTED && !strstr(error.text, "micro_batches"), "%s", error.text);
    ck_assert_int_eq(mcl_predictor_open(device, network, path, batch + 1, &predictor, NULL), MCL_ERROR_MEMORY);
    EXPECT(mcl_predictor_open(device, network, path, batch, &predictor, &none), none);
    device->info.memory = memory;
    mcl_predictor_close(predictor);
    mcl_network_destroy(network);
    mcl_dataset_close(data);
}
END_TEST

static uint64_t granted;
static const mcl__backend *usual;
static mcl_status grant(mcl_device *device, uint64_t bytes, mcl_buffer **buffer)
{
    return device->counters.bytes_allocated + bytes > granted ? MCL_ERROR_MEMORY : usual->buffer_create(device, bytes, buffer);
}

/* A device that others use too has less than it says, and after a refusal refuses everything: what it gave is known to be there. */
START_TEST(a_refusal_bounds_the_advice)
{
    const char *selector = _i == NATIVE ? "native" : opencl_selector();
    mcl_device *device;
    mcl_error error = {0};
    if (!selector) return;
    EXPECT(mcl_device_open(selector, NULL, &device, &error), error);
    mcl__backend stingy = *device->backend;
    usual = device->backend;
    mcl_dataset *data = open_cifar();
    mcl_train_options options = options_of(&rows[0]);
    uint64_t bytes;
    EXPECT(try_batch(device, data, options, WANTED, &bytes, &error), error);
    granted = bytes - 1; /* all but the last plan, which evaluates */
    device->counters.peak_bytes_allocated = 0;
    stingy.buffer_create = grant;
    device->backend = &stingy;
    ck_assert_int_eq(try_batch(device, data, options, WANTED, &bytes, &error), MCL_ERROR_MEMORY);
    int batch = advised(&error);
    device->backend = usual;
    mcl_device_close(device);
    ck_assert_msg(batch > WANTED / 4 && batch < WANTED, "%s", error.text);
    EXPECT(mcl_device_open(selector, NULL, &device, &error), error);
    device->backend = &stingy;
    mcl_error none = {0};
    EXPECT(try_batch(device, data, options, batch, &bytes, &none), none);
    device->backend = usual;
    mcl_device_close(device);
    mcl_dataset_close(data);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("need");
    TCase *tests = tcase_create("need");
    tcase_add_loop_test(tests, the_advised_batch_is_the_largest, 0, DEVICES * COUNT(rows));
    tcase_add_loop_test(tests, explains_what_a_picture_takes, 0, DEVICES * 2);
    tcase_add_loop_test(tests, rigs_say_it_too, 0, DEVICES);
    tcase_add_loop_test(tests, predictors_say_it_too, 0, DEVICES);
    tcase_add_loop_test(tests, a_refusal_bounds_the_advice, 0, DEVICES);
    suite_add_tcase(suite, tests);
    return run_suite(suite, false);
}
