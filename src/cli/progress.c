/* Draws progress: a bar with loss, accuracy, speed and time left. */
#include "cli/progress.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const double plain_seconds = 10; /* between two plain lines within an epoch */

mcl__progress_bar mcl__progress_bar_begin(bool quiet)
{
    return (mcl__progress_bar){.quiet = quiet, .terminal = isatty(STDERR_FILENO) == 1};
}

static const char *duration(double seconds, char text[32])
{
    long s = seconds > 0 ? (long)(seconds + 0.5) : 0;
    if (s >= 3600) snprintf(text, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else snprintf(text, 32, "%ld:%02ld", s / 60, s % 60);
    return text;
}

static void step_line(const mcl_event *e, bool terminal)
{
    char left[32], bar[21];
    int filled = e->epoch_steps ? (int)(20.0 * e->epoch_step / e->epoch_steps) : 0;
    for (int i = 0; i < 20; i++) bar[i] = i < filled ? '#' : '.';
    bar[20] = 0;
    fprintf(stderr, "%sEpoch %d/%d [%s] loss %.4f  accuracy %.2f %%  %.0f pictures/s  %s left%s", terminal ? "\r\033[K" : "", e->epoch,
            e->epochs, bar, e->train.loss, 100 * e->train.accuracy, e->pictures_per_second, duration(e->seconds_left, left),
            terminal ? "" : "\n");
}

static void epoch_line(const mcl_event *e, bool terminal)
{
    char spent[32];
    fprintf(stderr, "%sEpoch %d/%d  loss %.4f  accuracy %.2f %%", terminal ? "\r\033[K" : "", e->epoch, e->epochs, e->train.loss,
            100 * e->train.accuracy);
    if (e->validation.samples) fprintf(stderr, "  validation %.4f  %.2f %%", e->validation.loss, 100 * e->validation.accuracy);
    fprintf(stderr, "  %.0f pictures/s  %s%s\n", e->pictures_per_second, duration(e->seconds, spent), e->best ? "  best" : "");
}

void mcl__progress_bar_event(const mcl_event *event, void *user)
{
    mcl__progress_bar *bar = user;
    if (event->kind == MCL_EVENT_WARNING) fprintf(stderr, "%swarning: %s\n", bar->terminal ? "\r\033[K" : "", event->message);
    if (bar->quiet) return;
    if (event->kind == MCL_EVENT_EPOCH) epoch_line(event, bar->terminal);
    if (event->kind != MCL_EVENT_PROGRESS) return;
    if (!bar->terminal && event->seconds - bar->printed < plain_seconds) return;
    bar->printed = event->seconds;
    step_line(event, bar->terminal);
}
