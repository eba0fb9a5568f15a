/* Both ends of the pipe between `monocle bench --cold` and its starts. */
#include "cli/bench_start.h"
#include "base/arena.h"
#include "base/file.h"
#include "cli/child.h"
#include "cli/ends.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ARGUMENTS = 40, TRIES = 50, PAUSE = 20000 /* microseconds */ };

typedef struct news { mcl__bench_start start; mcl_error error; } news;

/* --- The child ------------------------------------------------------------------------------------------------------------ */

/* Kernels are those that rows of the user's choose, as in what is measured besides. */
static void borrow_rows(const char *folder)
{
    char *rows = NULL, *ours = mcl__text("%s/monocle", folder), *link = mcl__text("%s/monocle/tuning", folder);
    if (ours && link && mcl__cache_folder("tuning", &rows, NULL) == MCL_OK && mcl__folder_create(ours, true, NULL) == MCL_OK &&
        symlink(rows, link) != 0 && errno != EEXIST)
        mcl__log(MCL_LOG_WARNING, "starts are without the rows of %s: %s", rows, strerror(errno));
    free(rows);
    free(ours);
    free(link);
}

void mcl__start_begin(const char *folder)
{
    mcl__child_begin();
    borrow_rows(folder);
    mcl__cache_in(folder);
}

int mcl__start_tell(const mcl__bench_start *start, const mcl_error *error)
{
    news told = {*start, *error};
    return mcl__write_whole(MCL__CHILD_NEWS, &told, sizeof told) ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- The one who asks ----------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t child, ended_by; /* 0: none */

static void on_end(int signal_number)
{
    ended_by = signal_number;
    if (child) kill((pid_t)child, SIGKILL); /* the processes that compile for it go with it */
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    remove(path);
    return 0;
}

/* Again and again, where a process that was killed still makes a file. */
static void remove_folder(const char *folder)
{
    for (int i = 0; i < TRIES && mcl__folder_exists(folder); i++) {
        if (i) usleep(PAUSE);
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
}

static mcl_status listen(int from, const char *what, mcl__bench_start *start, mcl_error *error)
{
    news *told = malloc(sizeof *told);
    mcl_status status = MCL_OK;
    if (!told) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a start");
    if (!mcl__read_whole(from, told, sizeof *told))
        status = mcl__fail(error, MCL_ERROR_DEVICE, "the process that starts with %s cache ended too early", what);
    else if (told->error.status != MCL_OK) status = mcl__fail(error, told->error.status, "%s", told->error.text);
    else *start = told->start;
    free(told);
    return status;
}

static mcl_status run_start(char *const arguments[], const char *what, mcl__bench_start *start, mcl_error *error)
{
    int pipe_ends[2];
    pid_t process;
    if (pipe2(pipe_ends, O_CLOEXEC) != 0) return mcl__fail(error, MCL_ERROR_IO, "no pipe: %s", strerror(errno));
    for (int i = 0; i < 2; i++) pipe_ends[i] = mcl__file_apart(pipe_ends[i]);
    int code = mcl__child_spawn(arguments, STDIN_FILENO, pipe_ends[1], &process);
    close(pipe_ends[1]);
    mcl_status status = MCL_OK;
    if (code != 0) {
        status = mcl__fail(error, MCL_ERROR_IO, "cannot start a process: %s", strerror(code));
    } else {
        child = process;
        if (ended_by) kill(process, SIGKILL); /* since before there was a child */
        status = listen(pipe_ends[0], what, start, error);
        while (waitpid(process, NULL, 0) < 0 && errno == EINTR) continue;
        child = 0;
    }
    close(pipe_ends[0]);
    return status;
}

static mcl_status run_both(const char *folder, const char *network, const mcl__option *options, mcl__bench_start *cold,
                           mcl__bench_start *warm, mcl_error *error)
{
    char *arguments[MOST_ARGUMENTS] = {"monocle", "bench", MCL__START_WORD, (char *)folder, (char *)network};
    int given = 5, count = given;
    mcl_status status = MCL_OK;
    for (const mcl__option *o = options; o->name; o++) {
        if (!o->text || !*o->text) continue;
        if (count + 1 == MOST_ARGUMENTS || !(arguments[count] = mcl__text("--%s=%s", o->name, *o->text))) {
            status = mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the options of a start");
            break;
        }
        count++;
    }
    if (status == MCL_OK) status = run_start(arguments, "an empty", cold, error);
    if (status == MCL_OK) status = run_start(arguments, "a filled", warm, error);
    for (int i = given; i < count; i++) free(arguments[i]);
    return status;
}

mcl_status mcl__starts_measure(const char *network, const mcl__option *options, mcl__bench_start *cold, mcl__bench_start *warm,
                               mcl_error *error)
{
    const char *scratch = getenv("TMPDIR");
    char *folder = mcl__text("%s/monocle-cold-XXXXXX", scratch && *scratch == '/' ? scratch : "/tmp");
    struct sigaction before[MCL__ENDS];
    if (!folder) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the name of a folder");
    mcl__ends_catch(on_end, before);
    mcl_status status = mkdtemp(folder) ? MCL_OK : mcl__file_fail(error, errno, "make folder", folder);
    if (status == MCL_OK) {
        status = run_both(folder, network, options, cold, warm, error);
        remove_folder(folder);
    }
    free(folder);
    mcl__ends_release(before);
    if (ended_by) raise(ended_by);
    return status;
}
