/* log.jsonl in the run's folder: one object every few steps and one an epoch, for people, plots and programs. */
#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "train/trainer.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INTERVAL = 20 }; /* steps that one line averages */

struct mcl__run_log {
    FILE *file;
    char *path;
    double loss, accuracy;
    int steps;
};

/* Keeps the lines of an earlier log that belong to steps up to `step`; a damaged last line is dropped. */
static mcl_status keep_earlier(const char *path, int step, mcl_error *error)
{
    if (!mcl__file_exists(path)) return MCL_OK;
    char *text;
    size_t bytes;
    MCL_TRY(mcl__file_read(path, 0, &text, &bytes, error));
    mcl__file_writer *writer;
    mcl_status status = mcl__file_writer_open(path, &writer, error);
    for (char *line = text, *end; status == MCL_OK && step > 0 && (end = strchr(line, '\n')); line = end + 1) {
        json_t *object = json_loadb(line, (size_t)(end - line), 0, NULL);
        json_int_t at = object ? json_integer_value(json_object_get(object, "step")) : step + 1;
        json_decref(object);
        if (at <= step) status = mcl__file_writer_write(writer, line, (size_t)(end + 1 - line), error);
    }
    free(text);
    if (status == MCL_OK) return mcl__file_writer_commit(writer, error);
    mcl__file_writer_abort(writer);
    return status;
}

mcl_status mcl__run_log_open(const char *run, int step, struct mcl__run_log **log, mcl_error *error)
{
    struct mcl__run_log *l = calloc(1, sizeof *l);
    if (!l || !(l->path = mcl__text("%s/log.jsonl", run))) {
        free(l);
        return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the log");
    }
    mcl_status status = keep_earlier(l->path, step, error);
    if (status == MCL_OK && !(l->file = fopen(l->path, "a"))) status = mcl__file_fail(error, errno, "open", l->path);
    if (status != MCL_OK) {
        mcl__run_log_close(l);
        return status;
    }
    *log = l;
    return MCL_OK;
}

static mcl_status write_line(struct mcl__run_log *l, json_t *object, mcl_error *error)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    if (!text) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a line of the log");
    bool failed = fprintf(l->file, "%s\n", text) < 0 || fflush(l->file) != 0;
    free(text);
    return failed ? mcl__file_fail(error, errno, "write", l->path) : MCL_OK;
}

mcl_status mcl__run_log_step(struct mcl__run_log *l, int step, double loss, double accuracy, double rate, double norm,
                             mcl_error *error)
{
    l->loss += loss;
    l->accuracy += accuracy;
    if (++l->steps < INTERVAL && step > 1) return MCL_OK;
    json_t *object = json_pack("{s:s,s:i,s:f,s:f,s:f,s:f}", "type", "steps", "step", step, "loss", l->loss / l->steps, "accuracy",
                               l->accuracy / l->steps, "learning_rate", rate, "gradient_norm", norm);
    l->loss = l->accuracy = 0;
    l->steps = 0;
    return write_line(l, object, error);
}

static void add_metrics(json_t *object, const char *name, const mcl_metrics *metrics)
{
    if (!metrics->samples) return;
    json_object_set_new(object, name, json_pack("{s:f,s:f,s:I}", "loss", metrics->loss, "accuracy", metrics->accuracy, "samples",
                                                (json_int_t)metrics->samples));
}

mcl_status mcl__run_log_event(struct mcl__run_log *l, const mcl_event *event, mcl_error *error)
{
    json_t *object = json_pack("{s:s,s:i,s:i,s:f,s:f,s:b}", "type", event->kind == MCL_EVENT_DONE ? "done" : "epoch", "epoch",
                               event->epoch, "step", event->step, "seconds", event->seconds, "pictures_per_second",
                               event->pictures_per_second, "best", event->best);
    if (!object) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a line of the log");
    add_metrics(object, "train", &event->train);
    add_metrics(object, "validation", &event->validation);
    add_metrics(object, "test", &event->test);
    return write_line(l, object, error);
}

void mcl__run_log_close(struct mcl__run_log *l)
{
    if (!l) return;
    if (l->file) fclose(l->file);
    free(l->path);
    free(l);
}
