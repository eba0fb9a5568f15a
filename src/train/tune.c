/* The problems of a training step. */
#include "train/tune.h"
#include "train/rig.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double operations_per_byte = 10; /* what processors and GPUs of today do while they move one */

static double work_of(const mcl__problem *problem)
{
    const mcl__op *op = mcl__op_get(problem->op);
    double bytes = 0;
    for (int i = 0; i < problem->inputs; i++)
        bytes += (double)mcl__shape_elements(problem->in[i]) * (double)mcl__dtype_bytes(problem->in_dtype[i]);
    for (int i = 0; i < problem->outputs; i++)
        bytes += (double)mcl__shape_elements(problem->out[i]) * (double)mcl__dtype_bytes(problem->out_dtype[i]);
    return (op->flops ? op->flops(problem) : 0) + operations_per_byte * bytes;
}

static mcl__tune_problem *find(mcl__tune_problem *list, int count, const char *text)
{
    char known[MCL__PROBLEM_TEXT];
    for (int i = 0; i < count; i++) {
        mcl__problem_text(&list[i].problem, known);
        if (strcmp(known, text) == 0) return &list[i];
    }
    return NULL;
}

/* Squares are asked of the variant that was chosen without them. */
static void add_node(const mcl__graph *graph, const mcl__node *node, const mcl__capabilities *capabilities, mcl__tune_problem *list,
                     int *count)
{
    char choices[MCL__MOST_CHOICES][MCL__CHOICE];
    char text[MCL__PROBLEM_TEXT];
    mcl__problem problem = mcl__graph_problem(graph, node);
    if (mcl__attrs_have_squares(problem.op, &problem.attrs)) problem.attrs.dense.squares = 0, problem.outputs = 1;
    if (mcl__choices(&problem, capabilities, choices) < 2) return;
    mcl__problem_text(&problem, text);
    mcl__tune_problem *known = find(list, *count, text);
    if (!known) {
        known = &list[(*count)++];
        *known = (mcl__tune_problem){.problem = problem};
        snprintf(known->name, sizeof known->name, "%s", node->name);
    }
    known->count++;
    known->work += work_of(&problem);
}

static int by_work(const void *a, const void *b)
{
    double x = ((const mcl__tune_problem *)a)->work, y = ((const mcl__tune_problem *)b)->work;
    return (x < y) - (x > y);
}

mcl_status mcl__tune_problems(mcl_device *device, const mcl_network *network, const mcl_train_options *options,
                              mcl__tune_problem **list, int *count, mcl_error *error)
{
    mcl__rig rig = {.device = device, .network = network};
    mcl__graph *graph = NULL;
    mcl__tune_problem *made = NULL;
    mcl__capabilities capabilities = mcl__capabilities_of(device);
    mcl_status status;
    *count = 0;
    MCL_TRY_DONE(mcl__rig_create(&rig, options, options->batch, error));
    MCL_TRY_DONE(mcl__purpose_train_nodes(rig.model, network, &rig.feed, options->batch, &rig.options, &graph, error));
    made = calloc((size_t)graph->nodes + 1, sizeof *made);
    if (!made) status = mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the problems of a network");
    for (int n = 0; made && n < graph->nodes; n++) add_node(graph, &graph->node[n], &capabilities, made, count);
    if (made) qsort(made, (size_t)*count, sizeof *made, by_work);
    *list = made;
done:
    mcl__graph_destroy(graph);
    mcl__rig_destroy(&rig);
    return status;
}
