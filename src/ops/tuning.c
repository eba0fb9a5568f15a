/* Rows in memory: which one serves a problem. */
#include "ops/tuning.h"
#include "base/arena.h"
#include <stdlib.h>
#include <string.h>

void mcl__tuning_free(mcl__tuning *tuning)
{
    free(tuning->row);
    *tuning = (mcl__tuning){0};
}

static bool same_place(const mcl__tuning_row *a, const mcl__tuning_row *b)
{
    if (a->origin != b->origin || a->batch != b->batch || strcmp(a->problem, b->problem) != 0) return false;
    if (!*a->failed && !*b->failed) return true;
    return *a->failed && *b->failed && strcmp(a->choice, b->choice) == 0;
}

mcl_status mcl__tuning_add(mcl__tuning *tuning, const mcl__tuning_row *row, mcl_error *error)
{
    for (size_t i = 0; i < tuning->count; i++)
        if (same_place(&tuning->row[i], row)) {
            tuning->row[i] = *row;
            return MCL_OK;
        }
    if (!mcl__grow(&tuning->row, &tuning->room, tuning->count + 1, sizeof *tuning->row))
        return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for tuning rows");
    tuning->row[tuning->count++] = *row;
    return MCL_OK;
}

/* How far a row's batch is from the one wanted: 1, or more. */
static double distance(int batch, int wanted)
{
    return batch > wanted ? (double)batch / wanted : (double)wanted / batch;
}

static bool nearer(const mcl__tuning_row *row, const mcl__tuning_row *than, int batch)
{
    if (row->origin != than->origin) return row->origin > than->origin;
    double here = distance(row->batch, batch), there = distance(than->batch, batch);
    return here < there || (here == there && row->batch < than->batch);
}

const mcl__tuning_row *mcl__tuning_find(const mcl__tuning *tuning, const mcl__problem *problem)
{
    char text[MCL__PROBLEM_TEXT];
    int batch = mcl__problem_batch(problem);
    const mcl__tuning_row *best = NULL;
    if (tuning->count == 0) return NULL;
    mcl__problem_text(problem, text);
    for (size_t i = 0; i < tuning->count; i++) {
        const mcl__tuning_row *row = &tuning->row[i];
        if (*row->failed || strcmp(row->problem, text) != 0) continue;
        if (row->origin != MCL__RECORDED && mcl__tuning_failed(tuning, text, row->choice)) continue; /* since then, or here */
        if (!best || nearer(row, best, batch)) best = row;
    }
    return best;
}

const mcl__tuning_row *mcl__tuning_failed(const mcl__tuning *tuning, const char *problem, const char *choice)
{
    for (size_t i = 0; i < tuning->count; i++) {
        const mcl__tuning_row *row = &tuning->row[i];
        if (*row->failed && strcmp(row->problem, problem) == 0 && strcmp(row->choice, choice) == 0) return row;
    }
    return NULL;
}

void mcl__tuning_forget_failures(mcl__tuning *tuning, const char *problem)
{
    size_t kept = 0;
    for (size_t i = 0; i < tuning->count; i++)
        if (!*tuning->row[i].failed || strcmp(tuning->row[i].problem, problem) != 0) tuning->row[kept++] = tuning->row[i];
    tuning->count = kept;
}

mcl_status mcl__tuning_lower(mcl__tuning *tuning, const mcl__problem *problem, const mcl__capabilities *capabilities,
                             const char *force, mcl__lowered *out, mcl_error *error)
{
    const mcl__tuning_row *row = force ? NULL : mcl__tuning_find(tuning, problem);
    MCL_TRY(mcl__lower(problem, capabilities, row ? row->choice : force, out, error));
    if (force && out->variant && mcl__variant_named(out->variant, force)) out->origin = MCL__FORCED;
    if (!row) return MCL_OK;
    if (strcmp(row->choice, out->choice) == 0) {
        out->origin = row->origin;
        return MCL_OK;
    }
    mcl__lowered_free(out); /* a variant without the parameters that the row names is nobody's choice */
    MCL_TRY(mcl__lower(problem, capabilities, NULL, out, error));
    if (row->origin == MCL__RECORDED && !tuning->told) {
        mcl__log(MCL_LOG_WARNING, "the run computed \"%s\" with %s, which is not there any more or does not apply here; it goes on "
                                  "with %s, and other choices may have changed too: not with the same bits as an uninterrupted run",
                 row->problem, row->choice, out->choice);
        tuning->told = true;
    }
    return MCL_OK;
}

/* Has a run written down that it computes this without the prologue? */
static bool recorded_without_prologue(const mcl__tuning *tuning, const mcl__problem *problem)
{
    mcl__problem plain = *problem;
    plain.prologue.count = 0;
    const mcl__tuning_row *row = mcl__tuning_find(tuning, &plain);
    return row && row->origin == MCL__RECORDED;
}

bool mcl__tuning_takes_prologue(const mcl__tuning *tuning, const mcl__problem *problem, const mcl__capabilities *capabilities,
                                const char *force)
{
    const mcl__tuning_row *row = force ? NULL : mcl__tuning_find(tuning, problem);
    bool recorded = row && row->origin == MCL__RECORDED;
    if (!force && !recorded && recorded_without_prologue(tuning, problem)) return false;
    return mcl__lower_takes_prologue(problem, capabilities, row ? row->choice : force);
}

bool mcl__tuning_takes_squares(const mcl__tuning *tuning, const mcl__problem *problem, const mcl__capabilities *capabilities,
                               const char *force)
{
    const mcl__tuning_row *row = force ? NULL : mcl__tuning_find(tuning, problem);
    return mcl__lower_takes_squares(problem, capabilities, row ? row->choice : force);
}
