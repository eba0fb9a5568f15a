/* The program `monocle` as people and machines treat it: killed at any moment, interrupted, resumed, resumed with other options
 * or from damaged files, and without space on disk. Runs are children; this process opens no device. */
#include "base/json.h"
#include "nn/safetensors.h"
#include "train/harness.h"
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

/* Batch normalisation, dropout, augmentation, validation and a changing rate: all that a resumed run must find again. */
static const char config_text[] =
    "network:\n"
    "  name: killed\n"
    "  layers:\n"
    "    - conv2d: {filters: 8, kernel: 3, stride: 2, padding: 1, no_bias: true}\n"
    "    - batch_norm\n"
    "    - relu\n"
    "    - dropout: {drop: 0.2}\n"
    "    - conv2d: {filters: 16, kernel: 3, stride: 2, padding: 1}\n"
    "    - batch_norm\n"
    "    - relu\n"
    "    - flatten\n"
    "    - dropout: {drop: 0.4}\n"
    "    - dense: {units: classes}\n"
    "data: {path: %s/samples/data/fashion-mnist, limit: 400, validation: 0.1}\n"
    "augmentation: {flip: true, crop: 2}\n"
    "training: {epochs: 4, batch: 20, seed: 77}\n"
    "optimiser: {kind: adam, learning_rate: 0.003, weight_decay: 0.0001}\n"
    "schedule: {kind: cosine, warmup_epochs: 1}\n";

/* The path of a name within the test's folder; it stays. */
static const char *in_folder(const char *name)
{
    static char paths[32][300];
    char path[300];
    int i = 0;
    snprintf(path, sizeof path, "%s/%s", test_folder, name);
    while (i < COUNT(paths) && *paths[i] && strcmp(paths[i], path) != 0) i++;
    ck_assert_int_lt(i, COUNT(paths));
    return strcpy(paths[i], path);
}

static void put_config(void)
{
    char text[sizeof config_text + 512];
    const char *source = getenv("MONOCLE_SOURCE");
    ck_assert_msg(source && getenv("MONOCLE_BINARY"), "MONOCLE_SOURCE or MONOCLE_BINARY is not set");
    snprintf(text, sizeof text, config_text, source);
    ck_assert_int_eq(mcl__file_write(in_folder("config.yaml"), text, strlen(text), NULL), MCL_OK);
}

enum { MAX_ARGUMENTS = 32 };
static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
static uint64_t file_limit; /* of the next child; 0: none */

/* Starts `monocle train`, what it says going to a file. arguments end with NULL. */
static pid_t start(const char *device, const char *const *arguments)
{
    char program[512];
    const char *all[MAX_ARGUMENTS] = {program, "train", "--quiet", "--device", device};
    int count = 5;
    snprintf(program, sizeof program, "%s/monocle", getenv("MONOCLE_BINARY"));
    while (*arguments && count < MAX_ARGUMENTS - 1) all[count++] = *arguments++;
    struct rlimit limit = {file_limit, file_limit};
    int said = open(in_folder("said"), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < COUNT(ends); i++) signal(ends[i], SIG_DFL); /* these tests may run where they are ignored */
        if (file_limit) setrlimit(RLIMIT_FSIZE, &limit);
        dup2(said, STDOUT_FILENO);
        dup2(said, STDERR_FILENO);
        execv(program, (char *const *)all);
        _exit(127);
    }
    close(said);
    ck_assert_int_gt(child, 0);
    return child;
}

static char *said(void)
{
    char *text;
    size_t bytes;
    ck_assert_int_eq(mcl__file_read(in_folder("said"), 0, &text, &bytes, NULL), MCL_OK);
    return text;
}

static int wait_for(pid_t child)
{
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define RUN(device, ...) wait_for(start(device, (const char *const[]){__VA_ARGS__, NULL}))

static void expect_exit(int got, int expected)
{
    char *text = said();
    ck_assert_msg(got == expected, "exit status %d, not %d:\n%s", got, expected, text);
    free(text);
}

static void expect_said(const char *words)
{
    char *text = said();
    ck_assert_msg(strstr(text, words) != NULL, "no \"%s\" in:\n%s", words, text);
    free(text);
}

/* --- What a run left ---------------------------------------------------------------------------------------------------- */

static mcl__safetensors *open_checkpoint(const char *run, const char *name)
{
    char path[400];
    mcl__safetensors *file = NULL;
    mcl_error error = {0};
    snprintf(path, sizeof path, "%s/%s.safetensors", run, name);
    EXPECT(mcl__safetensors_open(path, &file, &error), error);
    return file;
}

/* Weights, running statistics and optimiser state, to the bit. */
static void expect_equal_checkpoints(const char *run, const char *other, const char *name)
{
    mcl__safetensors *a = open_checkpoint(run, name), *b = open_checkpoint(other, name);
    ck_assert_int_gt(a->tensors, 10);
    ck_assert_int_eq(a->tensors, b->tensors);
    for (int i = 0; i < a->tensors; i++) {
        const mcl__safetensors_tensor *x = &a->tensor[i], *y = &b->tensor[i];
        ck_assert_str_eq(x->name, y->name);
        ck_assert_msg(x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0, "%s of %s differs", x->name, name);
    }
    mcl__safetensors_close(a);
    mcl__safetensors_close(b);
}

/* Steps ascend, every epoch is there once. */
static void expect_clean_log(const char *run, int epochs)
{
    char path[400], *text;
    size_t bytes;
    int step = 0, epoch = 0;
    snprintf(path, sizeof path, "%s/log.jsonl", run);
    ck_assert_int_eq(mcl__file_read(path, 0, &text, &bytes, NULL), MCL_OK);
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        json_t *object = json_loadb(line, (size_t)(end - line), 0, NULL);
        ck_assert_msg(object != NULL, "a damaged line: %.*s", (int)(end - line), line);
        const char *type = json_string_value(json_object_get(object, "type"));
        int at = (int)json_integer_value(json_object_get(object, "step"));
        if (strcmp(type, "steps") == 0) {
            ck_assert_msg(at > step, "step %d comes after step %d:\n%s", at, step, text);
            step = at;
        } else if (strcmp(type, "epoch") == 0) {
            int number = (int)json_integer_value(json_object_get(object, "epoch"));
            ck_assert_msg(number == ++epoch, "epoch %d is not in its place:\n%s", epoch, text);
        }
        json_decref(object);
    }
    ck_assert_msg(epoch == epochs, "%d epochs, not %d:\n%s", epoch, epochs, text);
    free(text);
}

static void remove_run(const char *run)
{
    char command[400];
    snprintf(command, sizeof command, "rm -rf %s", run);
    ck_assert_int_eq(system(command), 0);
}

/* Half-written files that a killed run left; they are removed, so that each is counted once. */
static int count_half_written(const char *run)
{
    char pattern[400];
    glob_t found = {0};
    snprintf(pattern, sizeof pattern, "%s/.*.tmp", run);
    if (glob(pattern, 0, NULL, &found) != 0) return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) unlink(found.gl_pathv[i]);
    int count = (int)found.gl_pathc;
    globfree(&found);
    return count;
}

/* --- Killing ------------------------------------------------------------------------------------------------------------ */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void sleep_seconds(double seconds)
{
    struct timespec time = {(time_t)seconds, (long)(1e9 * (seconds - floor(seconds)))};
    nanosleep(&time, NULL);
}

/* Waits until `count` files in the watched folder were begun (IN_CREATE) or put in their place (IN_MOVED_TO). False: the child
 * has ended before, or the deadline has passed. */
static bool wait_for_files(int watch, uint32_t what, int count, pid_t child, double seconds)
{
    char events[4096] __attribute__((aligned(8)));
    siginfo_t ended = {0};
    for (double deadline = now() + seconds; now() < deadline;) {
        if (poll(&(struct pollfd){.fd = watch, .events = POLLIN}, 1, 5) <= 0) {
            waitid(P_PID, (id_t)child, &ended, WEXITED | WNOHANG | WNOWAIT);
            if (ended.si_pid == child) return false;
            continue;
        }
        ssize_t bytes = read(watch, events, sizeof events);
        const struct inotify_event *event;
        for (char *at = events; at < events + bytes; at += sizeof *event + event->len) {
            event = (const void *)at;
            if ((event->mask & what) && --count == 0) return true;
        }
    }
    return false;
}

typedef enum moment { ANY_TIME, BETWEEN_WRITES, WITHIN_A_WRITE, MOMENTS } moment;

/* Sleeps until the moment to strike at. startup: how long the program takes until its first step. */
static void wait_for_moment(moment when, int watch, pid_t child, double startup, uint64_t *seed)
{
    if (when == ANY_TIME) sleep_seconds(test_uniform(seed, 0, 1.3 * startup));
    if (when == BETWEEN_WRITES && wait_for_files(watch, IN_MOVED_TO, 1 + (int)(test_random(seed) % 3), child, 60))
        sleep_seconds(test_uniform(seed, 0, 0.03));
    if (when == WITHIN_A_WRITE && wait_for_files(watch, IN_CREATE, 2 + (int)(test_random(seed) % 4), child, 60))
        sleep_seconds(test_uniform(seed, 0, 0.0004));
}

static pid_t start_or_resume(const char *device, const char *run, const char *epochs)
{
    char last[400];
    snprintf(last, sizeof last, "%s/last.safetensors", run);
    bool resume = mcl__file_exists(last);
    const char *const arguments[] = {resume ? "--resume" : in_folder("config.yaml"), "--run", run, "--set", epochs, "--set",
                                     "checkpoint.steps=3", NULL};
    return start(device, arguments);
}

/* A write is hit by chance, and one must be. */
static bool killed_enough(int killed, int kills, int within)
{
    return killed >= kills && (within > 0 || killed >= 10 * kills);
}

/* Kills a run again and again until it has been killed `kills` times, once within a write; whenever it comes to its end, its
 * weights are those of the run that nobody disturbed, and another begins. */
static void kill_and_resume(const char *device, int kills, const char *epochs)
{
    const char *calm = in_folder("calm"), *run = in_folder("killed");
    uint64_t seed = (uint64_t)time(NULL);
    int killed = 0, within = 0, finished = 0;
    put_config();
    remove_run(calm);
    remove_run(run);
    double startup = 0;
    for (int i = 0; i < 2; i++) { /* the first compiles kernels */
        double began = now();
        expect_exit(RUN(device, in_folder("config.yaml"), "--run", in_folder("warm"), "--set", "training.max_steps=1"), 0);
        startup = now() - began;
        remove_run(in_folder("warm"));
    }
    expect_exit(RUN(device, in_folder("config.yaml"), "--run", calm, "--set", epochs), 0);
    for (int turn = 0; !killed_enough(killed, kills, within) || !finished; turn++) {
        ck_assert_int_eq(mcl__folder_create(run, false, NULL), MCL_OK);
        int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        ck_assert_int_ge(inotify_add_watch(watch, run, IN_CREATE | IN_MOVED_TO), 0);
        pid_t child = start_or_resume(device, run, epochs);
        if (!killed_enough(killed, kills, within)) {
            wait_for_moment((moment)(turn % MOMENTS), watch, child, startup, &seed);
            kill(child, SIGKILL);
        }
        int status = wait_for(child);
        close(watch);
        if (status == -SIGKILL) {
            killed++;
            within += count_half_written(run);
            continue;
        }
        expect_exit(status, 0);
        expect_equal_checkpoints(run, calm, "last");
        expect_equal_checkpoints(run, calm, "best");
        expect_clean_log(run, atoi(strchr(epochs, '=') + 1));
        finished++;
        remove_run(run);
    }
    printf("  %s: killed %d times (%d within a write), came to the end %d times, with the bits of the undisturbed run\n", device,
           killed, within, finished);
    ck_assert_int_gt(within, 0);
}

START_TEST(killed_native)
{
    kill_and_resume("native", 20, "training.epochs=8");
}
END_TEST

START_TEST(killed_opencl)
{
    if (opencl_selector()) kill_and_resume(opencl_selector(), 6, "training.epochs=4");
    else fprintf(stderr, "skipped: no OpenCL device\n");
}
END_TEST

/* --- Other ways to end -------------------------------------------------------------------------------------------------- */

START_TEST(interrupted)
{
    const char *calm = in_folder("calm"), *run = in_folder("interrupted");
    put_config();
    remove_run(calm);
    remove_run(run);
    expect_exit(RUN("native", in_folder("config.yaml"), "--run", calm, "--set", "training.epochs=8"), 0);
    ck_assert_int_eq(mcl__folder_create(run, false, NULL), MCL_OK);
    for (int i = 0; i < COUNT(ends); i++) {
        int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        ck_assert_int_ge(inotify_add_watch(watch, run, IN_CREATE | IN_MOVED_TO), 0);
        pid_t child = start_or_resume("native", run, "training.epochs=8");
        ck_assert(wait_for_files(watch, IN_MOVED_TO, 4, child, 60));
        kill(child, ends[i]);
        if (ends[i] != SIGINT) kill(child, ends[i]); /* a terminal that goes away sends two */
        expect_exit(wait_for(child), 1);
        expect_said("which is saved; go on with: monocle train --run");
        close(watch);
    }
    expect_exit(RUN("native", "--run", run, "--resume"), 0);
    expect_equal_checkpoints(run, calm, "last");
    expect_equal_checkpoints(run, calm, "best");
    expect_clean_log(run, 8);
    ck_assert_int_eq(count_half_written(run), 0);
}
END_TEST

START_TEST(trained_longer)
{
    const char *calm = in_folder("calm"), *run = in_folder("longer");
    put_config();
    remove_run(calm);
    remove_run(run);
    const char *constant = "schedule.kind=constant";
    expect_exit(RUN("native", in_folder("config.yaml"), "--run", calm, "--set", constant, "--set", "training.epochs=3"), 0);
    expect_exit(RUN("native", in_folder("config.yaml"), "--run", run, "--set", constant, "--set", "training.epochs=1"), 0);
    expect_exit(RUN("native", "--run", run, "--resume", "--set", "training.epochs=3"), 0);
    expect_equal_checkpoints(run, calm, "last");
    expect_equal_checkpoints(run, calm, "best");
    expect_clean_log(run, 3);
    expect_exit(RUN("native", "--run", run, "--resume"), 0); /* nothing left to do */
    expect_equal_checkpoints(run, calm, "last");
    expect_clean_log(run, 3);
}
END_TEST

/* --- Bad input ---------------------------------------------------------------------------------------------------------- */

typedef struct content { char *bytes; size_t size; } content;

static content content_of(const char *run, const char *name)
{
    char path[400];
    content made;
    snprintf(path, sizeof path, "%s/%s.safetensors", run, name);
    ck_assert_int_eq(mcl__file_read(path, 0, &made.bytes, &made.size, NULL), MCL_OK);
    return made;
}

static void expect_content(const char *run, const char *name, const content *expected)
{
    content got = content_of(run, name);
    ck_assert_msg(got.size == expected->size && memcmp(got.bytes, expected->bytes, got.size) == 0, "%s has changed", name);
    free(got.bytes);
}

/* A finished run of one epoch. */
static const char *small_run(const char *name)
{
    const char *run = in_folder(name);
    put_config();
    remove_run(run);
    expect_exit(RUN("native", in_folder("config.yaml"), "--run", run, "--set", "training.epochs=1"), 0);
    return run;
}

static void damage_nothing(content *c) { c->size = 0; }
static void damage_half(content *c) { c->size /= 2; }
static void damage_end(content *c) { c->size -= 1; }
static void damage_weight(content *c) { c->bytes[c->size - c->size / 4] ^= 1; }
static void damage_header(content *c) { c->bytes[40] ^= 4; }
static void damage_length(content *c) { memset(c->bytes, 0xff, 8); }
static void (*const damages[])(content *) = {damage_nothing, damage_half, damage_end, damage_weight, damage_header, damage_length};

START_TEST(damaged_checkpoints)
{
    const char *run = small_run("damaged");
    char path[400];
    snprintf(path, sizeof path, "%s/last.safetensors", run);
    content whole = content_of(run, "last"), best = content_of(run, "best");
    for (int i = 0; i < COUNT(damages); i++) {
        content damaged = {malloc(whole.size), whole.size};
        memcpy(damaged.bytes, whole.bytes, whole.size);
        damages[i](&damaged);
        ck_assert_int_eq(mcl__file_write(path, damaged.bytes, damaged.size, NULL), MCL_OK);
        expect_exit(RUN("native", "--run", run, "--resume", "--set", "training.epochs=2"), 1);
        expect_said("last.safetensors");
        expect_content(run, "last", &damaged);
        expect_content(run, "best", &best);
        free(damaged.bytes);
    }
    ck_assert_int_eq(mcl__file_write(path, whole.bytes, whole.size, NULL), MCL_OK);
    expect_exit(RUN("native", "--run", run, "--resume", "--set", "training.epochs=2"), 0);
    ck_assert_int_eq(remove(path), 0);
    expect_exit(RUN("native", "--run", run, "--resume"), 1);
    expect_said("nothing to resume");
    free(whole.bytes);
    free(best.bytes);
}
END_TEST

static const struct { const char *set, *words; } other_options[] = {
    {"training.seed=78", "seed = 77, now it is 78"},
    {"training.batch=10", "batch = 20, now it is 10"},
    {"training.micro_batches=2", "micro_batches"},
    {"optimiser.kind=sgd", "optimiser"},
    {"data.limit=200", "training_pictures"},
    {"preprocessing.kind=scale", "preprocessing.kind = standardise, now it is scale"},
};

START_TEST(other_options_than_before)
{
    const char *run = small_run("other");
    content last = content_of(run, "last"), best = content_of(run, "best");
    for (int i = 0; i < COUNT(other_options); i++) {
        expect_exit(RUN("native", "--run", run, "--resume", "--set", other_options[i].set), 2);
        expect_said(other_options[i].words);
        expect_content(run, "last", &last);
        expect_content(run, "best", &best);
    }
    expect_exit(RUN("native", in_folder("config.yaml"), "--run", run), 2); /* not resumed: a run is not written over */
    expect_said("holds a run already");
    expect_content(run, "last", &last);
    expect_exit(RUN("native", "--run", run, "--resume", "--set", "training.epochs=2"), 0);
    free(last.bytes);
    free(best.bytes);
}
END_TEST

START_TEST(no_space)
{
    const char *run = small_run("full");
    content last = content_of(run, "last"), best = content_of(run, "best");
    file_limit = last.size / 2;
    int status = RUN("native", "--run", run, "--resume", "--set", "training.epochs=2");
    file_limit = 0;
    expect_exit(status, 1);
    expect_said("no space left on device");
    expect_said(".safetensors");
    expect_content(run, "last", &last);
    expect_content(run, "best", &best);
    ck_assert_int_eq(count_half_written(run), 0);
    expect_exit(RUN("native", "--run", run, "--resume", "--set", "training.epochs=2"), 0);
    expect_clean_log(run, 2);
    free(last.bytes);
    free(best.bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("resume");
    TCase *tests = tcase_create("resume");
    tcase_add_test(tests, killed_native);
    tcase_add_test(tests, killed_opencl);
    tcase_add_test(tests, interrupted);
    tcase_add_test(tests, trained_longer);
    tcase_add_test(tests, damaged_checkpoints);
    tcase_add_test(tests, other_options_than_before);
    tcase_add_test(tests, no_space);
    suite_add_tcase(suite, tests);
    return run_suite(suite, false);
}
