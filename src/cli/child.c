/* See child.h. */
#include "cli/child.h"
#include "cli/cli.h"
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <unistd.h>

extern char **environ;

int mcl__child_spawn(char *const arguments[], int input, int news, pid_t *process)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, news, MCL__CHILD_NEWS);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    int code = posix_spawn(process, MCL__THIS_PROGRAM, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

void mcl__child_begin(void)
{
    prctl(PR_SET_NAME, "monocle");
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* it may hang in a driver when nobody waits any more */
}

bool mcl__read_whole(int file, void *target, size_t bytes)
{
    for (size_t have = 0; have < bytes;) {
        ssize_t got = read(file, (char *)target + have, bytes - have);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        have += (size_t)got;
    }
    return true;
}

bool mcl__write_whole(int file, const void *source, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t put = write(file, (const char *)source + done, bytes - done);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return false;
        done += (size_t)put;
    }
    return true;
}
