/* Trainers on the native device and the first OpenCL device, with data of the tests' own in a folder that goes away. */
#ifndef MCL_TEST_TRAIN_HARNESS_H
#define MCL_TEST_TRAIN_HARNESS_H
#include "base/file.h"
#include "data/data.h"
#include "support/problem.h"
#include "train/trainer.h"
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))
#define EXPECT(expression, error) ck_assert_msg((expression) == MCL_OK, "%s", (error).text)

enum { NATIVE, OPENCL, DEVICES, SKIPPED = 77 };

/* The selector of the first OpenCL device; NULL when there is none. */
static inline const char *opencl_selector(void)
{
    static char selector[16];
    mcl_device_info *devices;
    int count;
    if (*selector) return selector;
    if (mcl_device_list(&devices, &count, NULL, NULL) != MCL_OK) return NULL;
    if (devices[0].type != MCL_DEVICE_NATIVE) snprintf(selector, sizeof selector, "%s", devices[0].selector);
    free(devices);
    return *selector ? selector : NULL;
}

/* Opened once; NULL where there is none. */
static mcl_device *opened_device[DEVICES];
static inline mcl_device *test_device(int which)
{
    mcl_error error = {0};
    const char *selector = which == NATIVE ? "native" : opencl_selector();
    mcl__ops_register_native();
    if (!opened_device[which] && selector) EXPECT(mcl_device_open(selector, NULL, &opened_device[which], &error), error);
    if (!opened_device[which]) fprintf(stderr, "skipped: no OpenCL device\n");
    return opened_device[which];
}

/* Has the device count as one whose memory is its own: a feed that is made now uploads beside what is computed. */
static inline void set_own_memory(mcl_device *device, bool own) { device->info.unified_memory = !own; }

/* In a loop test over devices: the device, or the test ends. */
#define TEST_DEVICE(name)               \
    mcl_device *name = test_device(_i); \
    if (!(name)) return

static char test_folder[] = "/tmp/monocle-train-XXXXXX";

/* Random pictures in CIFAR-10's format: (32,32,3), labels 0, 1, ... 9, 0, ... */
static inline void put_cifar_file(const char *name, int count, uint64_t seed)
{
    enum { RECORD = 1 + 3 * 32 * 32 };
    char path[256];
    uint8_t *bytes = malloc((size_t)count * RECORD);
    for (int i = 0; i < count * RECORD; i++) bytes[i] = (uint8_t)(test_random(&seed) >> 13);
    for (int i = 0; i < count; i++) bytes[i * RECORD] = (uint8_t)(i % 10);
    snprintf(path, sizeof path, "%s/%s", test_folder, name);
    ck_assert_int_eq(mcl__file_write(path, bytes, (size_t)count * RECORD, NULL), MCL_OK);
    free(bytes);
}

static inline mcl_dataset *open_cifar(void)
{
    mcl_error error = {0};
    mcl_dataset *data = NULL;
    put_cifar_file("data_batch_1.bin", 200, 1);
    put_cifar_file("test_batch.bin", 50, 2);
    EXPECT(mcl_dataset_open(test_folder, NULL, &data, &error), error);
    return data;
}

/* `limit` training and as many test pictures, drawn evenly by class, of those that come with the source. */
static inline mcl_dataset *open_fashion(int limit, double validation)
{
    char path[512];
    mcl_error error = {0};
    mcl_dataset *data = NULL;
    const char *source = getenv("MONOCLE_SOURCE");
    ck_assert_msg(source != NULL, "MONOCLE_SOURCE is not set");
    snprintf(path, sizeof path, "%s/samples/data/fashion-mnist", source);
    mcl_dataset_options options = {.limit = limit, .validation = validation, .seed = 1};
    EXPECT(mcl_dataset_open(path, &options, &data, &error), error);
    return data;
}

static inline mcl_network *network_named(const char *name)
{
    mcl_error error = {0};
    mcl_network *network = NULL;
    EXPECT(mcl_network_by_name(name, 0, 0, 0, 0, &network, &error), error);
    return network;
}

static inline mcl_tensor mixed_conv(mcl_network *net, mcl_tensor x, const char *name, int filters, int kernel, int stride,
                                    int groups)
{
    return mcl_conv2d(net, x, &(mcl_conv2d_options){.name = name, .filters = filters, .kernel = kernel, .stride = stride,
                                                    .padding = kernel / 2, .groups = groups, .no_bias = groups == 1});
}

static inline mcl_tensor mixed_norm_relu(mcl_network *net, mcl_tensor x, const char *name)
{
    x = mcl_batch_norm(net, x, &(mcl_batch_norm_options){.name = name});
    return mcl_activation(net, x, &(mcl_activation_options){.kind = MCL_RELU});
}

/* Batch normalisation, dropout, a residual branch and a depthwise convolution on (32,32,3). */
static inline mcl_network *network_mixed(void)
{
    mcl_error error = {0};
    mcl_network *net = mcl_network_create("mixed");
    mcl_tensor x = mixed_norm_relu(net, mixed_conv(net, mcl_input(net, 32, 32, 3), "conv1", 16, 3, 2, 1), "bn1");
    x = mcl_add(net, mixed_conv(net, x, "conv2", 16, 3, 1, 16), x, NULL);
    x = mcl_dropout(net, x, &(mcl_dropout_options){.name = "drop1", .drop = 0.3f});
    x = mcl_max_pool(net, x, &(mcl_pool_options){.kernel = 2});
    x = mixed_norm_relu(net, mixed_conv(net, x, "conv3", 32, 1, 1, 1), "bn3");
    x = mcl_dense(net, mcl_flatten(net, x, NULL), &(mcl_dense_options){.name = "fc1", .units = 64});
    x = mcl_activation(net, x, &(mcl_activation_options){.kind = MCL_RELU});
    x = mcl_dropout(net, x, &(mcl_dropout_options){.name = "drop2"});
    x = mcl_dense(net, x, &(mcl_dense_options){.name = "fc2", .units = 10});
    EXPECT(mcl_network_finish(net, x, &error), error);
    return net;
}

static inline mcl_trainer *trainer_create(mcl_device *device, const mcl_network *network, mcl_dataset *data,
                                          const mcl_train_options *options)
{
    mcl_error error = {0};
    mcl_trainer *trainer = NULL;
    EXPECT(mcl_trainer_create(device, network, data, options, &trainer, &error), error);
    return trainer;
}

/* So many steps, across ends of epochs. */
static inline mcl_status trainer_steps(mcl_trainer *trainer, int count, mcl_error *error)
{
    for (int done = 0, all = 0; all < count; all += done) {
        bool end;
        MCL_TRY(mcl_trainer_steps(trainer, count - all, &done, &end, error));
    }
    mcl_metrics metrics;
    return mcl_trainer_metrics(trainer, &metrics, error);
}

static inline void trainer_run_steps(mcl_trainer *trainer, int count)
{
    mcl_error error = {0};
    EXPECT(trainer_steps(trainer, count, &error), error);
}

/* Mean losses of steps 1 to count, which must be in the device's memory still. */
static inline void trainer_losses(mcl_trainer *trainer, int count, double *loss)
{
    mcl_state state;
    ck_assert_int_lt(count, MCL_HISTORY);
    ck_assert_int_eq(mcl__model_record(trainer->model, &state), MCL_OK);
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(state.history[i + 1].step, i + 1);
        loss[i] = (double)state.history[i + 1].loss_sum / trainer->options.batch;
    }
}

/* The tensors of a slab one after the other, without the gaps that devices differ in. */
static inline float *slab_copy(const mcl__slab *slab, const mcl__slot *slot, int slots, int *elements)
{
    float *copy = calloc((size_t)slab->elements + 1, sizeof *copy);
    *elements = 0;
    for (int i = 0; i < slots && slab->buffer; i++) {
        ck_assert_int_eq(mcl__model_read(slab, &slot[i], copy + *elements), MCL_OK);
        *elements += mcl__shape_elements(slot[i].shape);
    }
    return copy;
}

/* Everything that persists: values, both optimiser states, running statistics. */
enum { STATE_SLABS = 4 };
typedef struct model_state {
    float *slab[STATE_SLABS];
    int elements[STATE_SLABS];
} model_state;

static inline model_state state_of(mcl__model *model)
{
    const mcl__slab *slabs[STATE_SLABS] = {&model->value, &model->state[0], &model->state[1], &model->running_value};
    model_state state;
    for (int i = 0; i < STATE_SLABS; i++) {
        bool running = slabs[i] == &model->running_value;
        state.slab[i] = slab_copy(slabs[i], running ? model->running : model->parameter,
                                  running ? model->runnings : model->parameters, &state.elements[i]);
    }
    return state;
}

/* Equal to the bit, NaN included; frees both. */
static inline bool states_equal(model_state *a, model_state *b)
{
    bool equal = true;
    for (int i = 0; i < STATE_SLABS; i++) {
        equal &= a->elements[i] == b->elements[i] &&
                 memcmp(a->slab[i], b->slab[i], (size_t)a->elements[i] * sizeof(float)) == 0;
        free(a->slab[i]);
        free(b->slab[i]);
    }
    return equal;
}

static inline double norm_of(const float *a, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * a[i];
    return sqrt(sum);
}

static inline double distance(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sqrt(sum);
}

/* In this process, because a fork after an OpenCL device was opened hangs. needs_opencl: all of it is about two devices. */
static inline int run_suite(Suite *suite, bool needs_opencl)
{
    if (needs_opencl && !opencl_selector()) {
        fprintf(stderr, "skipped: no OpenCL device\n");
        return SKIPPED;
    }
    if (!mkdtemp(test_folder)) return EXIT_FAILURE;
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    for (int i = 0; i < DEVICES; i++) mcl_device_close(opened_device[i]);
    char command[sizeof test_folder + 16];
    snprintf(command, sizeof command, "rm -rf %s", test_folder);
    if (system(command) != 0) fprintf(stderr, "%s stays\n", test_folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
#endif
