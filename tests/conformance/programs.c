/* Writes the programs that GPUs are given for the problems of cases.c, with every variant and candidate, for compilers that need no
 * device (compilers.sh).
 *   gpu_programs FOLDER [few-registers]        prints a line a program: FILE SOURCE CONSTANTS
 * A file holds the generated prelude and an #include of the source. Of programs that differ in their prelude alone, the one with
 * the longest is written: epilogues add to what a kernel keeps in registers. */
#include "conformance/cases.h"
#include "support/problem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PROGRAMS = 1024 };
typedef struct program { char *source, *constants, *prelude; } program;
typedef struct programs { program at[MOST_PROGRAMS]; int count; } programs;

static mcl__capabilities gpu = {
    .type = MCL_DEVICE_GPU, .local_memory = 32768, .max_work_group = 256, .compute_units = 32, .threads = 2};

static char *copy(const char *text)
{
    char *made = strdup(text ? text : "");
    if (!made) abort();
    return made;
}

static void note(programs *all, const mcl__kernel_key *key)
{
    const char *constants = key->constants ? key->constants : "", *prelude = key->prelude ? key->prelude : "";
    for (int i = 0; i < all->count; i++) {
        program *p = &all->at[i];
        if (strcmp(p->source, key->source) || strcmp(p->constants, constants)) continue;
        if (strlen(prelude) <= strlen(p->prelude)) return;
        free(p->prelude);
        p->prelude = copy(prelude);
        return;
    }
    if (all->count == MOST_PROGRAMS) fprintf(stderr, "more than %d programs\n", MOST_PROGRAMS), exit(EXIT_FAILURE);
    all->at[all->count++] = (program){copy(key->source), copy(constants), copy(prelude)};
}

static void note_lowered(programs *all, const mcl__problem *problem, const char *choice)
{
    mcl__lowered lowered;
    mcl_error error = {0};
    if (mcl__lower(problem, &gpu, choice, &lowered, &error) != MCL_OK) {
        fprintf(stderr, "%s %s: %s\n", mcl__op_get(problem->op)->name, choice, error.text);
        exit(EXIT_FAILURE);
    }
    for (int i = 0; i < lowered.commands; i++)
        if (lowered.command[i].kind == MCL__COMMAND_KERNEL) note(all, &lowered.command[i].key);
    mcl__lowered_free(&lowered);
}

static void note_problem(programs *all, const mcl__problem *problem)
{
    for (const mcl__variant *v = mcl__op_get(problem->op)->variants; v->name; v++) {
        mcl__parameters list[MCL__MOST_CANDIDATES];
        if (v->applicable && !v->applicable(problem, &gpu)) continue;
        int count = v->candidates ? v->candidates(problem, &gpu, list) : 1;
        for (int i = 0; i < count; i++) {
            char choice[64];
            snprintf(choice, sizeof choice, v->candidates ? "%s:%d" : "%s", v->name, i);
            note_lowered(all, problem, choice);
        }
    }
}

/* What the file needs; false when it could not be written. */
static bool write_program(const char *folder, int number, const program *p)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%d.cl", folder, number);
    FILE *file = fopen(path, "w");
    if (!file) return perror(path), false;
    fprintf(file, "%s\n#include \"%s.cl\"\n", p->prelude, p->source);
    printf("%d.cl %s %s\n", number, p->source, p->constants);
    return fclose(file) == 0;
}

int main(int count, char **arguments)
{
    static programs all;
    gpu.few_registers = count == 3 && strcmp(arguments[2], "few-registers") == 0;
    if (count != 2 + gpu.few_registers) return fprintf(stderr, "usage: gpu_programs FOLDER [few-registers]\n"), 2;
    for (int kind = 0; kind < MCL__OP_COUNT; kind++) {
        if (mcl__op_get((mcl__op_kind)kind)->view) continue;
        conformance_cases cases = conformance_cases_of((mcl__op_kind)kind, 0);
        for (int i = 0; i < cases.count; i++)
            if (test_problem_infer(&cases.at[i].problem, NULL) == MCL_OK) note_problem(&all, &cases.at[i].problem);
        free(cases.at);
    }
    bool written = all.count > 0;
    for (int i = 0; i < all.count; i++) {
        written = written && write_program(arguments[1], i, &all.at[i]);
        free(all.at[i].source);
        free(all.at[i].constants);
        free(all.at[i].prelude);
    }
    return written ? EXIT_SUCCESS : EXIT_FAILURE;
}
