/* What a plan tells about itself: counts, and the text of --explain. */
#include "graph/lowered.h"
#include "ops/choice.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int products(const mcl__lowered *lowered)
{
    int count = 0;
    for (int c = 0; c < lowered->commands; c++) count += lowered->command[c].kind == MCL__COMMAND_GEMM;
    return count;
}

/* Bound tensors outside the model: the data set and what a caller gave. */
static uint64_t data_bytes(const mcl__graph *graph)
{
    uint64_t bytes = 0;
    for (int i = 0; i < graph->tensors; i++) {
        const mcl__tensor *tensor = &graph->tensor[i];
        if (tensor->bound.buffer && tensor->alias < 0 && !mcl__model_owns(graph->model, tensor->bound.buffer))
            bytes += mcl__tensor_bytes(tensor) * (tensor->second.buffer ? 2 : 1);
    }
    return bytes;
}

void mcl__plan_count(mcl__plan *plan)
{
    mcl__plan_statistics *s = &plan->statistics;
    for (int n = 0; n < plan->graph->nodes; n++) {
        s->nodes += !mcl__op_get(plan->graph->node[n].op)->view;
        s->products += products(&plan->lowered[n]);
        s->flops += mcl__graph_flops(plan->graph, &plan->graph->node[n]);
    }
    for (int i = 0; i < MCL__SEGMENTS; i++) s->launches[i] = (int)plan->segment[i].count;
    s->derive_launches = (int)plan->derive.count;
    s->planned_bytes = mcl__slabs_bytes(&plan->slabs);
    s->sum_bytes = plan->memory.sum;
    s->derived_bytes = mcl__slabs_bytes(&plan->form_slabs);
    s->model_bytes = mcl__model_bytes(plan->graph->model);
    s->data_bytes = data_bytes(plan->graph);
}

/* "scale_shift+ relu+ conv2d +bias +relu", what stands before being the prologue. */
static void operator_text(const mcl__node *node, char *text, size_t bytes)
{
    bool map = node->op == MCL__OP_map;
    int length = 0;
    for (int i = 0; i < node->prologue.count && length >= 0 && (size_t)length < bytes; i++)
        length += snprintf(text + length, bytes - (size_t)length, "%s+ ", mcl__code_name(&node->prologue.code[i]));
    if (length < 0 || (size_t)length >= bytes) return;
    length += snprintf(text + length, bytes - (size_t)length, "%s", map ? "map" : mcl__op_get(node->op)->name);
    for (int i = 0; i < node->epilogue.count && length > 0 && (size_t)length < bytes; i++)
        length += snprintf(text + length, bytes - (size_t)length, " +%s", mcl__code_name(&node->epilogue.code[i]));
    if (mcl__attrs_have_squares(node->op, &node->attrs) && length > 0 && (size_t)length < bytes)
        snprintf(text + length, bytes - (size_t)length, " +squares");
}

/* Bytes that a node reads and writes, each tensor once but for what a guard leaves out, and its workspace. */
static uint64_t touched(const mcl__plan *plan, int n)
{
    const mcl__node *node = &plan->graph->node[n];
    uint64_t bytes = 0;
    for (int i = 0; i < node->inputs; i++) bytes += mcl__tensor_bytes(&plan->graph->tensor[node->in[i]]);
    for (int i = 0; i < node->outputs; i++) bytes += mcl__tensor_bytes(&plan->graph->tensor[node->out[i]]);
    for (int i = 0; i < plan->lowered[n].workspaces; i++) bytes += plan->lowered[n].workspace[i];
    if (node->op == MCL__OP_guard) bytes -= (uint64_t)node->attrs.guard.known * sizeof(float);
    return bytes;
}

/* Widths of the columns of text. */
typedef struct widths { int node, op, shape, variant; } widths;

static const char *variant_name(const mcl__plan *plan, int n)
{
    return plan->lowered[n].variant ? plan->lowered[n].choice : "view";
}

static void widen(int *width, const char *text)
{
    if ((int)strlen(text) > *width) *width = (int)strlen(text);
}

static widths measure(const mcl__plan *plan)
{
    widths w = {4, 8, 6, 7};
    char shape[64], op[96];
    for (int n = 0; n < plan->graph->nodes; n++) {
        const mcl__node *node = &plan->graph->node[n];
        operator_text(node, op, sizeof op);
        widen(&w.node, node->name);
        widen(&w.op, op);
        widen(&w.shape, mcl__shape_text(plan->graph->tensor[node->out[0]].shape, shape));
        widen(&w.variant, variant_name(plan, n));
    }
    return w;
}

static void print_node(FILE *file, const mcl__plan *plan, int n, widths w)
{
    const mcl__graph *graph = plan->graph;
    const mcl__node *node = &graph->node[n];
    const mcl__lowered *lowered = &plan->lowered[n];
    char shape[64], op[96], launches[16] = "-", work[32] = "-", bytes[32] = "-";
    operator_text(node, op, sizeof op);
    if (lowered->variant) { /* a view neither moves nor computes anything */
        snprintf(launches, sizeof launches, "%zu", plan->span[n].count);
        snprintf(bytes, sizeof bytes, "%.1f", (double)touched(plan, n) / 1024.0);
        snprintf(work, sizeof work, "%.2f", mcl__graph_flops(graph, node) / 1e6);
    }
    fprintf(file, "%-*s  %-*s  %-*s  %-*s  %-8s  %8s  %10s  %9s", w.node, node->name, w.op, op, w.shape,
            mcl__shape_text(graph->tensor[node->out[0]].shape, shape), w.variant, variant_name(plan, n),
            lowered->variant ? mcl__origin_name[lowered->origin] : "-", launches, bytes, work);
    for (int c = 0; c < lowered->commands; c++) {
        const mcl__gemm *gemm = &lowered->command[c].gemm;
        if (lowered->command[c].kind == MCL__COMMAND_GEMM)
            fprintf(file, "  %s %d x %d x %d", mcl__gemm_library(plan->device), gemm->M, gemm->N, gemm->K);
    }
    for (int d = 0; d < lowered->deriveds; d++)
        fprintf(file, "  weights as %s%s", lowered->derived[d].form,
                plan->form[plan->node_form[n][d]].maker == n ? "" : " (shared)");
    fputc('\n', file);
}

static void print_totals(FILE *file, const mcl__plan *plan)
{
    const mcl__plan_statistics *s = &plan->statistics;
    const double MiB = 0x1p20;
    fprintf(file, "\n%d nodes; launches: %d load, %d compute, %d reduce, %d update, %d when parameters have changed\n",
            s->nodes, s->launches[MCL__LOAD], s->launches[MCL__COMPUTE], s->launches[MCL__REDUCE],
            s->launches[MCL__UPDATE], s->derive_launches);
    if (s->products > 0) fprintf(file, "%d products served by %s\n", s->products, mcl__gemm_library(plan->device));
    else fprintf(file, "no product goes to a library\n");
    fprintf(file, "%.3f GFLOP a replay\n", s->flops / 1e9);
    fprintf(file,
            "memory: %.2f MiB activations and workspaces (%.2f MiB if nothing were shared), %.2f MiB derived weights, "
            "%.2f MiB model, %.2f MiB data\n",
            (double)s->planned_bytes / MiB, (double)s->sum_bytes / MiB, (double)s->derived_bytes / MiB,
            (double)s->model_bytes / MiB, (double)s->data_bytes / MiB);
    fprintf(file, "a batch of %d needs %.2f MiB at its peak\n", mcl__plan_batch(plan->graph),
            (double)(s->planned_bytes + s->derived_bytes + s->model_bytes + s->data_bytes) / MiB);
}

mcl__node_report mcl__plan_node(const mcl__plan *plan, int n)
{
    const mcl__node *node = &plan->graph->node[n];
    const mcl__variant *variant = plan->lowered[n].variant;
    mcl__node_report report = {.name = node->name, .variant = variant ? variant->name : NULL,
                                .choice = plan->lowered[n].choice, .origin = plan->lowered[n].origin,
                                .algorithm = plan->lowered[n].algorithm, .launches = (int)plan->span[n].count};
    operator_text(node, report.op, sizeof report.op);
    mcl__shape_text(plan->graph->tensor[node->out[0]].shape, report.shape);
    if (!variant) return report;
    report.flops = mcl__graph_flops(plan->graph, node);
    report.bytes = (double)touched(plan, n);
    return report;
}

mcl_status mcl__plan_choices(const mcl__plan *plan, mcl__tuning *rows, mcl_error *error)
{
    for (int n = 0; n < plan->graph->nodes; n++) {
        const mcl__lowered *lowered = &plan->lowered[n];
        mcl__problem problem = mcl__graph_problem(plan->graph, &plan->graph->node[n]);
        mcl__tuning_row row = {.origin = MCL__RECORDED, .batch = mcl__problem_batch(&problem)};
        if (!lowered->variant || !mcl__op_get(problem.op)->variants[1].name) continue;
        mcl__problem_text(&problem, row.problem);
        snprintf(row.choice, sizeof row.choice, "%s", lowered->choice);
        MCL_TRY(mcl__tuning_add(rows, &row, error));
    }
    return MCL_OK;
}

char *mcl__plan_explain(const mcl__plan *plan)
{
    static const char *const segments[] = {
        [MCL__LOAD] = "load", [MCL__COMPUTE] = "compute", [MCL__REDUCE] = "reduce", [MCL__UPDATE] = "update"};
    char *text = NULL;
    size_t length;
    FILE *file = open_memstream(&text, &length);
    if (!file) return NULL;
    widths w = measure(plan);
    fprintf(file, "%-*s  %-*s  %-*s  %-*s  %-8s  %8s  %10s  %9s  %s\n", w.node, "node", w.op, "operator", w.shape, "output",
            w.variant, "variant", "by", "launches", "KiB", "MFLOP", "products (M x N x K), derived weights");
    for (int n = 0; n < plan->graph->nodes; n++) {
        mcl__segment segment = plan->graph->node[n].segment;
        if (n == 0 || plan->graph->node[n - 1].segment != segment) fprintf(file, "-- %s\n", segments[segment]);
        print_node(file, plan, n, w);
    }
    print_totals(file, plan);
    bool fine = !ferror(file);
    if (fclose(file) != 0) fine = false;
    if (fine) return text;
    free(text);
    return NULL;
}
