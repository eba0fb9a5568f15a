/* See ends.h. */
#include "cli/ends.h"
#include <stddef.h>

static const int ends[MCL__ENDS] = {SIGINT, SIGTERM, SIGHUP};

void mcl__ends_catch(void (*handler)(int), struct sigaction before[MCL__ENDS])
{
    for (int i = 0; i < MCL__ENDS; i++) {
        sigaction(ends[i], NULL, &before[i]);
        if (before[i].sa_handler == SIG_IGN) continue;
        sigaction(ends[i], &(struct sigaction){.sa_handler = handler, .sa_flags = SA_RESTART}, NULL);
    }
}

void mcl__ends_release(const struct sigaction before[MCL__ENDS])
{
    for (int i = 0; i < MCL__ENDS; i++) sigaction(ends[i], &before[i], NULL);
}
