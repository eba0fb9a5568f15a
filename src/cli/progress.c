/* Draws progress: a bar with loss, accuracy, speed and time left. */
#include "cli/progress.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { MAX_LINE = 256, BAR = 20, LEAST_BAR = 4 };
static const double plain_seconds = 10; /* between two plain lines within an epoch */

mcl__progress_bar mcl__progress_bar_begin(bool quiet)
{
    const char *kind = getenv("TERM");
    bool draws = isatty(STDERR_FILENO) == 1 && kind && strcmp(kind, "dumb") != 0;
    return (mcl__progress_bar){.quiet = quiet, .terminal = draws, .printed = -1};
}

/* One column is left free: a terminal wraps when its last one is written. */
static int columns(void)
{
    struct winsize size;
    int width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    return width > MAX_LINE ? MAX_LINE - 1 : width - 1;
}

static const char *duration(double seconds, char text[32])
{
    long s = seconds > 0 ? (long)(seconds + 0.5) : 0;
    if (s >= 3600) snprintf(text, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else snprintf(text, 32, "%ld:%02ld", s / 60, s % 60);
    return text;
}

/* Loss, accuracy, and, once it is known, the speed. */
static int metrics_text(const mcl_event *e, char text[MAX_LINE])
{
    char left[32];
    int length = snprintf(text, MAX_LINE, "  loss %.4f  %.2f %%", e->train.loss, 100 * e->train.accuracy);
    if (length >= MAX_LINE) return MAX_LINE - 1;
    if (e->pictures_per_second > 0)
        length += snprintf(text + length, MAX_LINE - (size_t)length, "  %.0f pictures/s  %s left",
                           e->pictures_per_second, duration(e->seconds_left, left));
    return length;
}

/* The bar takes what the numbers leave of the line; where that is too little there is none, and the numbers are cut. */
static void draw(const mcl_event *e)
{
    char head[64], metrics[MAX_LINE], bar[BAR + 4] = "";
    int room = columns() - snprintf(head, sizeof head, "Epoch %d/%d", e->epoch, e->epochs) - metrics_text(e, metrics);
    int width = room - 3 < BAR ? room - 3 : BAR; /* a space and brackets */
    if (width >= LEAST_BAR) {
        int filled = e->epoch_steps ? (int)((double)width * e->epoch_step / e->epoch_steps) : 0;
        char *at = stpcpy(bar, " [");
        for (int i = 0; i < width; i++) *at++ = i < filled ? '#' : '.';
        strcpy(at, "]");
    }
    char line[MAX_LINE + 128];
    snprintf(line, sizeof line, "%s%s%s", head, bar, metrics);
    fprintf(stderr, "\r%.*s\033[K", columns(), line);
}

static void plain_line(const mcl_event *e)
{
    char metrics[MAX_LINE];
    metrics_text(e, metrics);
    fprintf(stderr, "Epoch %d/%d  step %d/%d%s\n", e->epoch, e->epochs, e->epoch_step, e->epoch_steps, metrics);
}

/* The speed is left out where a terminal has no room for it. */
static void epoch_line(const mcl_event *e, bool terminal)
{
    char metrics[128], validation[64] = "", speed[64] = "", end[64], spent[32];
    int length = snprintf(metrics, sizeof metrics, "Epoch %d/%d  loss %.4f  %.2f %%", e->epoch, e->epochs,
                          e->train.loss, 100 * e->train.accuracy);
    if (e->validation.samples)
        length += snprintf(validation, sizeof validation, "  validation %.4f  %.2f %%", e->validation.loss,
                           100 * e->validation.accuracy);
    length += snprintf(end, sizeof end, "  %s%s", duration(e->seconds, spent), e->best ? "  best" : "");
    length += snprintf(speed, sizeof speed, "  %.0f pictures/s", e->pictures_per_second);
    bool room = e->pictures_per_second > 0 && (!terminal || length <= columns());
    fprintf(stderr, "%s%s%s%s\n", metrics, validation, room ? speed : "", end);
}

static void clear(mcl__progress_bar *bar)
{
    if (bar->drawn) fputs("\r\033[K", stderr);
    bar->drawn = false;
}

static void show_step(mcl__progress_bar *bar, const mcl_event *event)
{
    if (bar->terminal) {
        draw(event);
        bar->drawn = true;
    } else if (bar->printed < 0 || event->seconds - bar->printed >= plain_seconds) {
        if (bar->printed >= 0)
            plain_line(event); /* the first step tells little: its time is that of the kernels' compilation */
        bar->printed = event->seconds;
    }
}

void mcl__progress_bar_note(mcl__progress_bar *bar, const char *text)
{
    if (bar->quiet) return;
    clear(bar);
    if (bar->terminal) fprintf(stderr, "%.*s", columns(), text);
    else fprintf(stderr, "%s\n", text);
    bar->drawn = bar->terminal;
}

void mcl__progress_bar_event(const mcl_event *event, void *user)
{
    mcl__progress_bar *bar = user;
    if (event->kind == MCL_EVENT_WARNING) {
        clear(bar);
        fprintf(stderr, "warning: %s\n", event->message);
    }
    if (bar->quiet) return;
    if (event->kind == MCL_EVENT_PROGRESS) show_step(bar, event);
    if (event->kind != MCL_EVENT_EPOCH) return;
    clear(bar);
    epoch_line(event, bar->terminal);
}

void mcl__progress_bar_end(mcl__progress_bar *bar)
{
    if (bar->drawn) fputc('\n', stderr);
    bar->drawn = false;
}
