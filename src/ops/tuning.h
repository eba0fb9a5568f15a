/* Tuning: rows that say which choice serves a problem on a device. The library ships rows for classes of devices, `monocle tune`
 * adds the user's own, a checkpoint records those of its run; the variants' own order serves where there is no row.
 *
 * A row holds for one problem (mcl__problem_text) and serves every batch: of several, the one whose batch is nearest, as a ratio,
 * so that a new batch size takes what others have compiled already. */
#ifndef MCL_OPS_TUNING_H
#define MCL_OPS_TUNING_H
#include "ops/choice.h"

typedef struct mcl__tuning_row {
    char problem[MCL__PROBLEM_TEXT], choice[MCL__CHOICE];
    int batch;
    mcl__origin origin;            /* MCL__SHIPPED, MCL__TUNED or MCL__RECORDED, in ascending rank */
    double seconds;                /* of a run with this choice; 0: not known */
    char usual[MCL__CHOICE];       /* what serves without the row, and its seconds */
    double usual_seconds;
    char failed[160];              /* why the choice must not be tried again; empty: it is the fastest */
} mcl__tuning_row;

typedef struct mcl__tuning {
    mcl__tuning_row *row;
    size_t count, room;
    bool told; /* that a recorded choice is not there any more */
} mcl__tuning; /* all-zero: no rows */

/* The rows for a device: shipped ones and the user's own, as the device's options say. A file that cannot be used is told to
 * the log and left out. Fails where memory is missing, and on a damaged file of those that are shipped. */
mcl_status mcl__tuning_open(mcl_device *device, mcl__tuning *tuning, mcl_error *error);
void mcl__tuning_free(mcl__tuning *tuning);
/* Adds a row, or replaces the one of the same origin, problem and batch (and of the same choice, where it failed). */
mcl_status mcl__tuning_add(mcl__tuning *tuning, const mcl__tuning_row *row, mcl_error *error);
/* The row that serves; NULL: none. */
const mcl__tuning_row *mcl__tuning_find(const mcl__tuning *tuning, const mcl__problem *problem);
/* The row that says that this choice has failed for the problem, at whatever batch; NULL: it has not. */
const mcl__tuning_row *mcl__tuning_failed(const mcl__tuning *tuning, const char *problem, const char *choice);
/* All failures of a problem, so that its choices are tried again. */
void mcl__tuning_forget_failures(mcl__tuning *tuning, const char *problem);

/* mcl__lower with what serves by the rows; force (may be NULL) wins. A row whose variant or parameters do not exist any more is
 * passed over for the default. Sets out->origin. Warns, once, where a choice that a
 * checkpoint has recorded cannot serve. */
mcl_status mcl__tuning_lower(mcl__tuning *tuning, const mcl__problem *problem, const mcl__capabilities *capabilities,
                             const char *force, mcl__lowered *out, mcl_error *error);
/* mcl__lower_takes_prologue for what serves by the rows. A resumed run that has computed the problem without goes on without. */
bool mcl__tuning_takes_prologue(const mcl__tuning *tuning, const mcl__problem *problem, const mcl__capabilities *capabilities,
                                const char *force);
/* mcl__lower_takes_squares for what serves by the rows. */
bool mcl__tuning_takes_squares(const mcl__tuning *tuning, const mcl__problem *problem, const mcl__capabilities *capabilities,
                               const char *force);

/* --- On disk (tuning_file.c): a line of JSON that names the device, then one a row ----------------------------------------- */

/* The user's own rows for this device: the file's path, malloc'ed. */
mcl_status mcl__tuning_path(mcl_device *device, char **path, mcl_error *error);
/* Merges rows into that file, which forgets what failed for the problem `renewed` (NULL: none) before; several processes may. */
mcl_status mcl__tuning_keep(mcl_device *device, const mcl__tuning *rows, const char *renewed, mcl_error *error);
/* Adds the rows of a file of another's as the user's own. Errors name file and line. A file that was measured on another device,
 * driver or version of the kernels, with other threads or with a library for products where here is none (or the other way round)
 * is refused: MCL_ERROR_INVALID. */
mcl_status mcl__tuning_import(mcl_device *device, const char *path, mcl__tuning *rows, mcl_error *error);
/* Writes the rows that are the user's own. */
mcl_status mcl__tuning_export(mcl_device *device, const mcl__tuning *rows, const char *path, mcl_error *error);
/* "cpu", "nvidia", "amd64" (by the width of a wave), "intel": what shipped files are named after. */
const char *mcl__tuning_class(const mcl_device_info *info);
#endif
