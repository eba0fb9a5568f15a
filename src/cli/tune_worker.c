/* Both ends of the pipe between `monocle tune` and its worker. */
#include "cli/tune_worker.h"
#include "base/clock.h"
#include "base/file.h"
#include "cli/child.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const double stopped = 0.5; /* seconds that poll() is late by only where the process was stopped, as by Ctrl-Z */

/* --- The worker ----------------------------------------------------------------------------------------------------------- */

static void tell(const mcl__tune_news *news, void *user)
{
    (void)user;
    if (!mcl__write_whole(MCL__CHILD_NEWS, news, sizeof *news)) _exit(EXIT_FAILURE); /* nobody listens */
}

static void tell_error(const mcl_error *error)
{
    mcl__tune_news news = {.stage = MCL__TUNE_REFUSED};
    snprintf(news.text, sizeof news.text, "%.*s", (int)sizeof news.text - 1, error->text);
    tell(&news, NULL);
}

int mcl__worker_run(void)
{
    mcl__worker_device wanted;
    mcl__worker_request request;
    mcl_device *device = NULL;
    mcl_error error = {0};
    mcl__child_begin();
    signal(SIGINT, SIG_IGN); /* who asks decides */
    signal(SIGHUP, SIG_IGN);
    if (!mcl__read_whole(STDIN_FILENO, &wanted, sizeof wanted)) return EXIT_FAILURE;
    mcl_device_options options = {.threads = wanted.threads, .gemm = *wanted.gemm ? wanted.gemm : NULL, .tuning = MCL_TUNING_OFF};
    mcl_status status = mcl_device_open(wanted.selector, &options, &device, &error);
    if (status == MCL_OK) tell(&(mcl__tune_news){.stage = MCL__TUNE_READY}, NULL);
    while (status == MCL_OK && mcl__read_whole(STDIN_FILENO, &request, sizeof request)) {
        status = mcl__tune_measure(device, &request.problem, (const char(*)[MCL__CHOICE])request.choice, request.count, tell, NULL,
                                   &error);
    }
    if (status != MCL_OK) tell_error(&error);
    mcl_device_close(device);
    return status == MCL_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- The one who asks ----------------------------------------------------------------------------------------------------- */

mcl_status mcl__worker_start(const mcl__worker_device *device, mcl__worker *worker, mcl_error *error)
{
    static char *const arguments[] = {"monocle", "tune", MCL__WORKER_WORD, NULL};
    int requests[2], news[2];
    *worker = (mcl__worker){0};
    if (pipe2(requests, O_CLOEXEC) != 0) return mcl__fail(error, MCL_ERROR_IO, "no pipe: %s", strerror(errno));
    if (pipe2(news, O_CLOEXEC) != 0) {
        close(requests[0]), close(requests[1]);
        return mcl__fail(error, MCL_ERROR_IO, "no pipe: %s", strerror(errno));
    }
    for (int i = 0; i < 2; i++) requests[i] = mcl__file_apart(requests[i]), news[i] = mcl__file_apart(news[i]);
    int code = mcl__child_spawn(arguments, requests[0], news[1], &worker->process);
    close(requests[0]), close(news[1]);
    worker->to = requests[1];
    worker->from = news[0];
    if (code == 0 && mcl__write_whole(worker->to, device, sizeof *device)) return MCL_OK;
    if (code != 0) worker->process = 0, close(worker->to), close(worker->from);
    else mcl__worker_stop(worker, false, NULL);
    return mcl__fail(error, MCL_ERROR_IO, "cannot start a process that measures: %s", strerror(code ? code : EPIPE));
}

/* A process that ended is heard of a little before it can be waited for. */
static bool wait_ended(pid_t process, int *status)
{
    enum { TRIES = 100, PAUSE = 10000 };
    for (int i = 0; i < TRIES; i++) {
        if (waitpid(process, status, WNOHANG) == process) return true;
        usleep(PAUSE);
    }
    return false;
}

bool mcl__worker_stop(mcl__worker *worker, bool ended, char how[80])
{
    int status = 0;
    if (how) *how = 0;
    if (!worker->process) return false;
    ended = ended && wait_ended(worker->process, &status);
    if (!ended) {
        kill(worker->process, SIGKILL);
        while (waitpid(worker->process, &status, 0) < 0 && errno == EINTR) continue;
    }
    int killer = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (how && killer && (ended || killer != SIGKILL)) snprintf(how, 80, "crashes: %s", strsignal(killer));
    close(worker->to);
    close(worker->from);
    *worker = (mcl__worker){0};
    return ended && (killer == SIGKILL || killer == SIGTERM || killer == SIGINT || killer == SIGHUP);
}

bool mcl__worker_ask(const mcl__worker *worker, const mcl__worker_request *request)
{
    return mcl__write_whole(worker->to, request, sizeof *request);
}

mcl__heard mcl__worker_listen(const mcl__worker *worker, double seconds, mcl__tune_news *news)
{
    struct pollfd file = {.fd = worker->from, .events = POLLIN};
    int ready;
    double late;
    do { /* who wakes up late was stopped, and the worker with it: it has not had its time */
        double start = mcl__seconds();
        ready = poll(&file, 1, seconds > 0 ? (int)(1e3 * seconds) + 1 : 0);
        late = mcl__seconds() - start - seconds;
    } while (ready == 0 && seconds > 0 && late > stopped);
    if (ready < 0) return errno == EINTR ? MCL__HEARD_SIGNAL : MCL__HEARD_END;
    if (ready == 0) return MCL__HEARD_NOTHING;
    return mcl__read_whole(worker->from, news, sizeof *news) ? MCL__HEARD_NEWS : MCL__HEARD_END;
}
