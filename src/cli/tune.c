/* monocle tune: measures which kernels serve a network's training fastest here, and keeps it for the trainings to come. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/ends.h"
#include "cli/tune_worker.h"
#include "train/bench.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int run_tune(int argc, char **argv);

static const double enough_gain = 0.97; /* of the default's time: less is noise, and no reason to leave it */

static struct {
    const char *device, *batch, *budget, *deadline, *import, *export;
    bool json, again;
} given = {.batch = "0", .budget = "300", .deadline = "30"};

static const mcl__option options[] = {
    MCL__DEVICE_OPTION(&given.device),
    {.name = "budget", .value = "SECONDS", .help = "stop after so long [300]", .text = &given.budget},
    {.name = "deadline",
     .value = "SECONDS",
     .help = "give up a kernel that takes so long to compile or to run [30]",
     .text = &given.deadline},
    {.name = "batch",
     .value = "N",
     .help = "pictures a step [a configuration's own; 128 for mlp, lenet, resnet20; else 64]",
     .text = &given.batch},
    {.name = "again", .help = "measure also what is known already", .flag = &given.again},
    {.name = "import",
     .value = "FILE",
     .help = "first take over what --export wrote on the same device",
     .words = "FILES",
     .text = &given.import},
    {.name = "export",
     .value = "FILE",
     .help = "at last write all that is known of this device",
     .words = "FILES",
     .text = &given.export},
    {.name = "json", .help = "an object a line for each problem", .flag = &given.json},
    {0},
};

const mcl__subcommand mcl__subcommand_tune = {
    .name = "tune",
    .usage = "tune [NETWORK|CONFIG|RUN|FOLDER] [OPTION...]",
    .summary = "Measures which kernels are the fastest for a network on this device, and keeps it.",
    .options = options,
    .operands = "NETWORKS FILES",
    .help =
        "Takes each problem of a training step, the most expensive first, checks what every kernel variant and tile size gives\n"
        "for it against double precision, and times those that are right in turn. The fastest serves from then on, in every\n"
        "command, for this batch and, unless they have been measured too, all others; `train --explain` shows it. A process of\n"
        "its own measures, so that a driver that crashes or hangs costs one candidate, which is not tried again. What was\n"
        "measured is kept at once, under $XDG_CACHE_HOME/monocle/tuning, and holds for this device, its driver and these\n"
        "kernels; what is known already is left out. --import and --export need no network.\n",
    .run = run_tune,
};

static volatile sig_atomic_t interrupted;

/* A second Ctrl-C ends the program at once; other signals come twice of themselves, as when a terminal goes away. */
static void on_interrupt(int signal_number)
{
    interrupted = 1;
    if (signal_number == SIGINT) signal(signal_number, SIG_DFL);
}

/* --- One problem ---------------------------------------------------------------------------------------------------------- */

typedef struct tuner {
    mcl_device *device;
    mcl__worker_device worker_device;
    mcl__worker worker;
    mcl__tuning rows;      /* what is known of the device */
    double deadline, end;  /* seconds for a candidate; when the budget is over */
    int measured, better;
    double saved, total;   /* seconds of the problems measured, times their nodes */
} tuner;

typedef struct candidate {
    char choice[MCL__CHOICE], failed[160];
    bool right, passing; /* passing: the failure need not come again */
    double seconds;
} candidate;

typedef struct race {
    const mcl__tune_problem *problem;
    candidate candidate[MCL__MOST_CHOICES];
    int count;
    bool reserve; /* the reference, which is right rather than fast, stands behind the others and has not been called */
} race;

/* What could serve, but what has failed before. */
static void list_candidates(const tuner *t, race *r)
{
    char list[MCL__MOST_CHOICES][MCL__CHOICE], text[MCL__PROBLEM_TEXT];
    mcl__capabilities capabilities = mcl__capabilities_of(t->device);
    int count = mcl__choices(&r->problem->problem, &capabilities, list);
    mcl__problem_text(&r->problem->problem, text);
    r->reserve = count > 2 && strcmp(list[count - 1], "reference") == 0;
    for (int i = 0; i < count; i++) {
        const mcl__tuning_row *known = mcl__tuning_failed(&t->rows, text, list[i]);
        candidate *c = &r->candidate[r->count++];
        *c = (candidate){0};
        strcpy(c->choice, list[i]);
        if (known && !given.again) strcpy(c->failed, known->failed);
    }
}

/* Drivers' words may end within a character of several bytes, and then are no text that JSON takes. */
static void fail_candidate(candidate *c, const char *why)
{
    if (*c->failed) return;
    snprintf(c->failed, sizeof c->failed, "%s", why);
    for (char *p = c->failed; *p; p++)
        if ((unsigned char)*p >= 0x80) *p = '?';
}

/* Takes news of candidate r->candidate[index[...]]. Returns true when all has been measured. */
static bool take_news(race *r, const int *index, const mcl__tune_news *news)
{
    candidate *c = &r->candidate[index[news->choice]];
    if (news->stage == MCL__TUNE_RIGHT || news->stage == MCL__TUNE_MEDIAN) {
        c->right = true;
        c->seconds = news->seconds;
    }
    if (news->stage == MCL__TUNE_FAILED) {
        fail_candidate(c, news->text);
        c->passing = news->passing;
    }
    return news->stage == MCL__TUNE_DONE;
}

/* Sends all candidates that take part; index tells which they are. */
static int ask(const tuner *t, const race *r, int *index)
{
    static mcl__worker_request request; /* large */
    request = (mcl__worker_request){.problem = r->problem->problem};
    for (int i = 0; i < r->count - r->reserve; i++) {
        if (*r->candidate[i].failed) continue;
        index[request.count] = i;
        strcpy(request.choice[request.count++], r->candidate[i].choice);
    }
    if (request.count > 0) mcl__worker_ask(&t->worker, &request); /* a worker that is gone is heard to be */
    return request.count;
}

typedef enum outcome { MEASURED, AGAIN, TIME_OVER, REFUSED } outcome;

/* Listens until all is measured, or somebody is to blame. */
static outcome follow(tuner *t, race *r, const int *index, mcl_error *error)
{
    int culprit = -1; /* the candidate at work; -1: the worker has not begun */
    for (;;) {
        mcl__tune_news news;
        double left = t->end - mcl__seconds(), wait = left < t->deadline ? left : t->deadline;
        mcl__heard heard = mcl__worker_listen(&t->worker, wait, &news);
        if (interrupted || (heard == MCL__HEARD_NOTHING && left < t->deadline)) return TIME_OVER;
        if (heard == MCL__HEARD_SIGNAL) continue;
        if (heard == MCL__HEARD_NEWS && news.stage == MCL__TUNE_REFUSED) {
            if (culprit < 0) {
                mcl__fail(error, MCL_ERROR_DEVICE, "%s", news.text);
                return REFUSED;
            }
            fail_candidate(&r->candidate[culprit], news.text); /* and the device with it */
            return AGAIN;
        }
        if (heard == MCL__HEARD_NEWS) {
            if (news.stage == MCL__TUNE_BEGIN || news.stage == MCL__TUNE_TIMING) culprit = index[news.choice];
            if (take_news(r, index, &news)) return MEASURED;
            continue;
        }
        char how[80] = "", late[80];
        snprintf(late, sizeof late, "does not come to an end within %.0f s", t->deadline);
        bool taken = mcl__worker_stop(&t->worker, heard == MCL__HEARD_END, how);
        if (culprit < 0) {
            mcl__fail(error, MCL_ERROR_DEVICE, "the process that measures %s",
                      heard == MCL__HEARD_NOTHING ? late
                      : *how                      ? how
                                                  : "ended");
            return REFUSED;
        }
        if (!*r->candidate[culprit].failed) r->candidate[culprit].passing = taken;
        fail_candidate(&r->candidate[culprit], heard == MCL__HEARD_NOTHING ? late : *how ? how : "ends the process");
        return AGAIN;
    }
}

static int fastest(const race *r)
{
    int best = -1;
    for (int i = 0; i < r->count; i++) {
        const candidate *c = &r->candidate[i];
        if (!c->right || *c->failed) continue;
        if (best < 0 || c->seconds < (best == 0 ? enough_gain : 1.0) * r->candidate[best].seconds) best = i;
    }
    return best;
}

static outcome measure_listed(tuner *t, race *r, mcl_error *error)
{
    int index[MCL__MOST_CHOICES];
    outcome result = AGAIN;
    while (result == AGAIN) {
        if (!t->worker.process && mcl__worker_start(&t->worker_device, &t->worker, error) != MCL_OK) return REFUSED;
        if (ask(t, r, index) == 0) return MEASURED;
        result = follow(t, r, index, error);
        if (result != MEASURED) mcl__worker_stop(&t->worker, false, NULL);
    }
    return result;
}

/* The reference runs where nothing else is right. */
static outcome measure(tuner *t, race *r, mcl_error *error)
{
    outcome result = measure_listed(t, r, error);
    if (result != MEASURED || !r->reserve || fastest(r) >= 0) return result;
    r->reserve = false;
    return measure_listed(t, r, error);
}

/* --- What was found ------------------------------------------------------------------------------------------------------- */

/* Of a race that was not run to its end (best < 0), only who has failed. */
static mcl_status keep(tuner *t, const race *r, int best, mcl_error *error)
{
    const mcl__problem *problem = &r->problem->problem;
    mcl__tuning found = {0};
    mcl__tuning_row row = {.batch = mcl__problem_batch(problem), .origin = MCL__TUNED};
    mcl_status status = MCL_OK;
    mcl__problem_text(problem, row.problem);
    for (int i = 0; i < r->count && status == MCL_OK; i++) {
        strcpy(row.choice, r->candidate[i].choice);
        strcpy(row.failed, r->candidate[i].failed);
        if (*row.failed && !r->candidate[i].passing) status = mcl__tuning_add(&found, &row, error);
    }
    if (best >= 0 && status == MCL_OK) {
        const candidate *usual = &r->candidate[0];
        *row.failed = 0;
        strcpy(row.choice, r->candidate[best].choice);
        row.seconds = r->candidate[best].seconds;
        strcpy(row.usual, usual->choice);
        row.usual_seconds = usual->right && !*usual->failed ? usual->seconds : 0;
        status = mcl__tuning_add(&found, &row, error);
    }
    if (status == MCL_OK) status = mcl__tuning_keep(t->device, &found, given.again && best >= 0 ? row.problem : NULL, error);
    mcl__tuning_free(&found);
    return status;
}

static void print_json(const race *r, int best)
{
    char text[MCL__PROBLEM_TEXT];
    json_t *failed = json_object(), *times = json_object();
    mcl__problem_text(&r->problem->problem, text);
    for (int i = 0; i < r->count; i++) {
        const candidate *c = &r->candidate[i];
        if (*c->failed) json_object_set_new(failed, c->choice, json_string(c->failed));
        else if (c->right) json_object_set_new(times, c->choice, json_real(1e6 * c->seconds));
    }
    json_t *object =
        json_pack("{s:s,s:s,s:i,s:i,s:s,s:s,s:o,s:o}", "node", r->problem->name, "problem", text, "batch",
                  mcl__problem_batch(&r->problem->problem), "nodes", r->problem->count, "choice",
                  best >= 0 ? r->candidate[best].choice : "", "default", r->candidate[0].choice, "us", times, "failed", failed);
    json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(5));
    json_decref(object);
    putchar('\n');
    fflush(stdout);
}

static void print_text(const race *r, int best)
{
    char text[MCL__PROBLEM_TEXT], shape[64];
    const mcl__problem *problem = &r->problem->problem;
    mcl__problem_text(problem, text);
    printf("%s%s: %s of %s\n", r->problem->name, r->problem->count > 1 ? " and others" : "", text,
           mcl__shape_text(problem->in[0], shape));
    for (int i = 0; i < r->count; i++) {
        const candidate *c = &r->candidate[i];
        if (*c->failed) printf("  %-24s %s\n", c->choice, c->failed);
        else if (c->right) printf("%s %-24s %11.4f ms\n", i == best ? " *" : "  ", c->choice, 1e3 * c->seconds);
    }
    fflush(stdout);
}

static mcl_status report(tuner *t, const race *r, mcl_error *error)
{
    int best = fastest(r);
    const candidate *usual = &r->candidate[0];
    if (given.json) print_json(r, best);
    else print_text(r, best);
    if (best < 0) mcl__log(MCL_LOG_WARNING, "%s: nothing gave a right result", r->problem->name);
    t->measured++;
    if (best > 0) t->better++;
    if (best >= 0 && usual->right && !*usual->failed) {
        t->total += r->problem->count * usual->seconds;
        t->saved += r->problem->count * (usual->seconds - r->candidate[best].seconds);
    }
    return keep(t, r, best, error);
}

/* --- All of them ---------------------------------------------------------------------------------------------------------- */

static bool known(const tuner *t, const mcl__tune_problem *problem)
{
    const mcl__tuning_row *row = mcl__tuning_find(&t->rows, &problem->problem);
    return row && row->origin == MCL__TUNED && row->batch == mcl__problem_batch(&problem->problem);
}

static mcl_status tune_all(tuner *t, const mcl__tune_problem *list, int count, mcl_error *error)
{
    int left_out = 0;
    outcome result = MEASURED;
    for (int i = 0; i < count && result != TIME_OVER; i++) {
        race r = {.problem = &list[i]};
        mcl_error cause = {0};
        if (!given.again && known(t, &list[i])) {
            left_out++;
            continue;
        }
        list_candidates(t, &r);
        result = measure(t, &r, &cause);
        MCL_TRY(result == MEASURED ? report(t, &r, error)
                                   : keep(t, &r, -1, error)); /* who has crashed or hung is kept in any case */
        if (result != REFUSED) continue;
        if (t->measured == 0) return mcl__fail(error, cause.status, "%s", cause.text);
        mcl__log(MCL_LOG_WARNING, "%s is left out: %s", list[i].name, cause.text);
    }
    fprintf(stderr, "%d of %d problems measured%s", t->measured, count,
            result == TIME_OVER && !interrupted ? " within the budget" : "");
    if (left_out) fprintf(stderr, ", %d were known (--again measures them anew)", left_out);
    fprintf(stderr, "; %d have something faster than the default", t->better);
    if (t->total > 0) fprintf(stderr, ": %.2f of %.2f ms a step", 1e3 * t->saved, 1e3 * t->total);
    fputc('\n', stderr);
    if (interrupted) return mcl__fail(error, MCL_ERROR_INTERRUPTED, "interrupted; what was measured is kept");
    return MCL_OK;
}

static mcl_status tune(mcl_device *device, const mcl_network *network, const mcl_train_options *train, mcl_error *error)
{
    mcl__tune_problem *list = NULL;
    int count;
    tuner t = {.device = device, .deadline = mcl__number(&mcl__subcommand_tune, "deadline", given.deadline, 1, 86400)};
    t.end = mcl__seconds() + mcl__number(&mcl__subcommand_tune, "budget", given.budget, 1, 1000000);
    t.worker_device.threads = device->threads;
    memcpy(t.worker_device.selector, device->info.selector, sizeof t.worker_device.selector);
    if (device->options.gemm) snprintf(t.worker_device.gemm, sizeof t.worker_device.gemm, "%s", device->options.gemm);
    MCL_TRY(mcl__tuning_open(device, &t.rows, error));
    mcl_status status = mcl__tune_problems(device, network, train, &list, &count, error);
    if (status == MCL_OK) {
        struct sigaction before[MCL__ENDS];
        mcl__ends_catch(on_interrupt, before);
        status = tune_all(&t, list, count, error);
        mcl__ends_release(before);
    }
    mcl__worker_stop(&t.worker, false, NULL);
    mcl__tuning_free(&t.rows);
    free(list);
    return status;
}

/* --- Files ---------------------------------------------------------------------------------------------------------------- */

static mcl_status import_rows(mcl_device *device, mcl_error *error)
{
    mcl__tuning rows = {0};
    mcl_status status = mcl__tuning_import(device, given.import, &rows, error);
    if (status == MCL_OK) status = mcl__tuning_keep(device, &rows, NULL, error);
    if (status == MCL_OK) fprintf(stderr, "%zu rows taken over from %s\n", rows.count, given.import);
    mcl__tuning_free(&rows);
    return status;
}

static mcl_status export_rows(mcl_device *device, mcl_error *error)
{
    mcl__tuning rows;
    MCL_TRY(mcl__tuning_open(device, &rows, error));
    mcl_status status = mcl__tuning_export(device, &rows, given.export, error);
    mcl__tuning_free(&rows);
    return status;
}

/* --- What to tune --------------------------------------------------------------------------------------------------------- */

typedef struct subject { mcl_network *network; mcl__config config; bool configured; mcl_train_options train; } subject;

/* The steps of a run with micro-batches compute these. */
static void take_batch(subject *s, int batch)
{
    int parts = s->train.micro_batches > 1 ? s->train.micro_batches : 1;
    s->train.batch = batch ? batch : s->train.batch / parts;
    s->train.micro_batches = 1;
}

static mcl_status read_subject(const char *source, int batch, subject *s, mcl_error *error)
{
    if (mcl__is_network(source)) {
        s->train =
            (mcl_train_options){.batch = mcl__bench_batch(source), .learning_rate = 0.01f, .momentum = 0.9f, .weight_decay = 5e-4f};
        take_batch(s, batch);
        return mcl_network_by_name(source, 0, 0, 0, 0, &s->network, error);
    }
    MCL_TRY(mcl__config_subject(source, &s->config, &s->network, error));
    s->configured = true;
    s->train = s->config.train;
    s->train.run = s->train.description = NULL;
    s->train.resume = false;
    take_batch(s, batch);
    return MCL_OK;
}

static mcl_status work(subject *s, mcl_error *error)
{
    mcl_device *device = NULL;
    MCL_TRY(mcl__open_device(given.device, s->configured ? &s->config : NULL, false, &device, error));
    mcl_status status = given.import ? import_rows(device, error) : MCL_OK;
    if (status == MCL_OK && s->network) status = tune(device, s->network, &s->train, error);
    if (status == MCL_OK && given.export) status = export_rows(device, error);
    mcl_device_close(device);
    return status;
}

static int run_tune(int argc, char **argv)
{
    const mcl__subcommand *self = &mcl__subcommand_tune;
    if (argc == 2 && strcmp(argv[1], MCL__WORKER_WORD) == 0) return mcl__worker_run();
    mcl__options(self, &argc, argv);
    mcl_error error = {0};
    subject s = {0};
    int batch = mcl__number(self, "batch", given.batch, 0, 1000000);
    mcl__number(self, "budget", given.budget, 1, 1000000);
    mcl__number(self, "deadline", given.deadline, 1, 86400);
    if (argc > 2) return mcl__usage_error(self, "one network, configuration, folder or run, please");
    if (argc < 2 && !given.import && !given.export)
        return mcl__usage_error(self, "a network, a configuration, a folder or a run, please");
    if (argc == 2 && !mcl__is_subject(argv[1])) return mcl__no_subject(self, argv[1]);
    mcl_status status = argc == 2 ? read_subject(argv[1], batch, &s, &error) : MCL_OK;
    if (status == MCL_OK) status = work(&s, &error);
    mcl_network_destroy(s.network);
    if (s.configured) mcl__config_free(&s.config);
    return status == MCL_OK ? EXIT_SUCCESS : mcl__report(&error);
}
