/* Kernels other than the default ones, pinned by tuning rows: the same seed gives the same bits twice in a process, and in another
 * one, which is this program again: `test_train_pinned FILE`. */
#include "ops/tuning.h"
#include "train/harness.h"
#include "train/tune.h"
#include <spawn.h>
#include <sys/wait.h>

enum { STEPS = 6, ROUNDS = 3 };

extern char **environ;

static mcl_train_options options_of_all(void)
{
    mcl_train_options options = mcl_train_defaults();
    options.batch = 16;
    options.seed = 11;
    options.flip = true;
    options.crop = 3;
    options.optimiser = MCL_ADAM;
    options.weight_decay = 1e-3f;
    return options;
}

/* Rows of the user's, in a cache that only this test has: for each problem with a choice another one than the first, which is the
 * default; over the rounds the second, one in the middle, and the last but one or the last. */
static void pin(mcl_device *device, const mcl_network *network, int round)
{
    mcl_error error = {0};
    mcl__tune_problem *list;
    mcl__tuning rows = {0};
    mcl__capabilities capabilities = mcl__capabilities_of(device);
    mcl_train_options options = options_of_all();
    int problems;
    EXPECT(mcl__tune_problems(device, network, &options, &list, &problems, &error), error);
    for (int i = 0; i < problems; i++) {
        static char choice[MCL__MOST_CHOICES][MCL__CHOICE];
        int others = mcl__choices(&list[i].problem, &capabilities, choice) - 1;
        mcl__tuning_row row = {.origin = MCL__TUNED, .batch = mcl__problem_batch(&list[i].problem)};
        ck_assert_int_ge(others, 1);
        mcl__problem_text(&list[i].problem, row.problem);
        strcpy(row.usual, choice[0]);
        strcpy(row.choice, choice[1 + round * others / ROUNDS]);
        EXPECT(mcl__tuning_add(&rows, &row, &error), error);
    }
    EXPECT(mcl__tuning_keep(device, &rows, NULL, &error), error);
    mcl__tuning_free(&rows);
    free(list);
}

/* What this test has pinned the last time: its cache stays, so that little is compiled again. */
static void unpin(mcl_device *device)
{
    mcl_error error = {0};
    char *path;
    EXPECT(mcl__tuning_path(device, &path, &error), error);
    remove(path);
    free(path);
}

typedef struct bits { char *value; size_t bytes; } bits;

/* One slab after the other; frees them. */
static bits bits_of(model_state state)
{
    bits all = {malloc(1), 0};
    for (int i = 0; i < STATE_SLABS; i++) {
        size_t bytes = (size_t)state.elements[i] * sizeof(float);
        all.value = realloc(all.value, all.bytes + bytes + 1);
        memcpy(all.value + all.bytes, state.slab[i], bytes);
        all.bytes += bytes;
        free(state.slab[i]);
    }
    return all;
}

/* All that persists after some steps; *pinned counts the nodes that rows chose for. */
static bits train(mcl_device *device, const mcl_network *network, mcl_dataset *data, int *pinned)
{
    mcl_train_options options = options_of_all();
    mcl_trainer *trainer = trainer_create(device, network, data, &options);
    trainer_run_steps(trainer, STEPS);
    mcl__plan *plan = trainer->train.plan;
    *pinned = 0;
    for (int n = 0; n < mcl__plan_graph(plan)->nodes; n++) *pinned += mcl__plan_node(plan, n).origin == MCL__TUNED;
    bits all = bits_of(state_of(trainer->model));
    mcl_trainer_destroy(trainer);
    return all;
}

static bool same(const bits *a, const bits *b) { return a->bytes == b->bytes && memcmp(a->value, b->value, a->bytes) == 0; }

static bits train_elsewhere(void)
{
    char path[64], *const arguments[] = {"test_train_pinned", path, NULL};
    pid_t process;
    int status;
    bits read;
    mcl_error error = {0};
    snprintf(path, sizeof path, "%s/bits", test_folder);
    ck_assert_int_eq(posix_spawn(&process, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    ck_assert_int_eq(waitpid(process, &status, 0), process);
    ck_assert_int_eq(status, 0);
    EXPECT(mcl__file_read(path, 0, &read.value, &read.bytes, &error), error);
    return read;
}

START_TEST(same_bits)
{
    mcl_device *device = test_device(OPENCL);
    mcl_network *network = network_mixed();
    mcl_dataset *data = open_cifar();
    int pinned;
    unpin(device);
    bits usual = train(device, network, data, &pinned);
    ck_assert_int_eq(pinned, 0);
    for (int round = 0; round < ROUNDS; round++) {
        pin(device, network, round);
        bits one = train(device, network, data, &pinned), two = train(device, network, data, &pinned), other = train_elsewhere();
        printf("  round %d: %d nodes pinned\n", round, pinned);
        ck_assert_int_gt(pinned, 10);
        ck_assert_msg(!same(&usual, &one), "round %d: other kernels, and not one bit is another", round);
        ck_assert_msg(same(&one, &two), "round %d: not the same bits again", round);
        ck_assert_msg(same(&one, &other), "round %d: not the same bits in another process", round);
        free(one.value), free(two.value), free(other.value);
    }
    free(usual.value);
    mcl_dataset_close(data);
    mcl_network_destroy(network);
}
END_TEST

static const char *target; /* in the other process: the file that its bits go to */

START_TEST(write_bits)
{
    mcl_error error = {0};
    mcl_device *device = test_device(OPENCL);
    mcl_network *network = network_mixed();
    mcl_dataset *data = open_cifar();
    int pinned;
    bits all = train(device, network, data, &pinned);
    ck_assert_int_gt(pinned, 0);
    EXPECT(mcl__file_write(target, all.value, all.bytes, &error), error);
    free(all.value);
    mcl_dataset_close(data);
    mcl_network_destroy(network);
}
END_TEST

int main(int argc, char **argv)
{
    char cache[512];
    const char *tests = getenv("XDG_CACHE_HOME");
    Suite *suite = suite_create("pinned");
    TCase *all = tcase_create("pinned");
    if (argc == 2) {
        target = argv[1];
        tcase_add_test(all, write_bits);
    } else {
        snprintf(cache, sizeof cache, "%s/pinned", tests ? tests : "/tmp/monocle-test-cache");
        setenv("XDG_CACHE_HOME", cache, 1);
        tcase_add_test(all, same_bits);
    }
    suite_add_tcase(suite, all);
    return run_suite(suite, true);
}
