/* The progress of a run on stderr: one line that is drawn over on a terminal, plain lines elsewhere. */
#ifndef MCL_CLI_PROGRESS_H
#define MCL_CLI_PROGRESS_H
#include <monocle/train.h>

typedef struct mcl__progress_bar {
    bool quiet, terminal;
    bool drawn;     /* the cursor stands behind a bar */
    double printed; /* seconds of the run at the last plain line; negative: none yet */
} mcl__progress_bar;

mcl__progress_bar mcl__progress_bar_begin(bool quiet);
/* A line that stands until the first step is shown. */
void mcl__progress_bar_note(mcl__progress_bar *bar, const char *text);
void mcl__progress_bar_event(const mcl_event *event, void *bar); /* an mcl_event_function */
/* Leaves the line, so that other output begins on its own. */
void mcl__progress_bar_end(mcl__progress_bar *bar);
#endif
