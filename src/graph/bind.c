/* From commands to launches: which bytes each operand means, and the flat lists that a plan replays. */
#include "base/arena.h"
#include "graph/lowered.h"
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

mcl__view mcl__tensor_view(const mcl__plan *plan, int tensor)
{
    const mcl__tensor *given = &plan->graph->tensor[tensor];
    int id = mcl__graph_root(plan->graph, tensor), block = plan->memory.tensor[id];
    const mcl__tensor *root = &plan->graph->tensor[id];
    mcl__view view = plan->place && root->second.buffer ? root->second : root->bound;
    if (!view.buffer && block >= 0) {
        const mcl__block *place = &plan->memory.block[block];
        view = (mcl__view){plan->slabs.buffer[place->slab], place->offset, place->bytes};
    }
    if (view.buffer) view.bytes = mcl__tensor_bytes(given);
    return view;
}

static mcl__view block_view(const mcl__slabs *slabs, const mcl__block *block)
{
    return (mcl__view){slabs->buffer[block->slab], block->offset, block->bytes};
}

/* --- Derived forms ------------------------------------------------------------------------------------------------------ */

static bool same_memory(mcl__view a, mcl__view b)
{
    return a.buffer == b.buffer && a.offset == b.offset && a.bytes == b.bytes;
}

/* The form that an earlier node made of the same parameter, or -1. */
static int find_form(const mcl__plan *plan, mcl__view source, const mcl__derived *derived)
{
    for (int i = 0; i < plan->forms; i++)
        if (plan->form[i].shared && same_memory(plan->form[i].source, source) && !strcmp(plan->form[i].name, derived->form))
            return i;
    return -1;
}

static void list_forms(mcl__plan *plan)
{
    const mcl__graph *graph = plan->graph;
    for (int n = 0; n < graph->nodes; n++) {
        for (int d = 0; d < plan->lowered[n].deriveds; d++) {
            const mcl__derived *derived = &plan->lowered[n].derived[d];
            int input = mcl__graph_root(graph, graph->node[n].in[derived->input]);
            const mcl__tensor *tensor = &graph->tensor[input];
            bool shared = tensor->parameter && graph->node[n].segment == MCL__COMPUTE;
            int found = shared ? find_form(plan, tensor->bound, derived) : -1;
            if (found < 0) {
                found = plan->forms++;
                plan->form[found] = (mcl__form){tensor->bound, derived->form, n, shared};
                plan->form_block[found] = (mcl__block){.bytes = derived->bytes};
            }
            plan->node_form[n][d] = found;
        }
    }
}

mcl_status mcl__plan_forms(mcl__plan *plan, mcl_error *error)
{
    size_t count = 1, nodes = plan->graph->nodes > 0 ? (size_t)plan->graph->nodes : 1;
    for (int n = 0; n < plan->graph->nodes; n++) count += (size_t)plan->lowered[n].deriveds;
    plan->form = calloc(count, sizeof *plan->form);
    plan->form_block = calloc(count, sizeof *plan->form_block);
    plan->node_form = calloc(nodes, sizeof *plan->node_form);
    if (!plan->form || !plan->form_block || !plan->node_form) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a plan");
    list_forms(plan);
    return mcl__memory_place(plan->form_block, plan->forms, mcl__plan_alignment(plan->device),
                             plan->device->info.max_allocation, false, &plan->form_slabs, error);
}

/* --- Commands ----------------------------------------------------------------------------------------------------------- */

static mcl__view operand_view(const mcl__plan *plan, int n, mcl__operand operand)
{
    const mcl__node *node = &plan->graph->node[n];
    mcl__view view = {0};
    switch (operand.kind) {
    case MCL__OPERAND_IN: view = mcl__tensor_view(plan, node->in[operand.index]); break;
    case MCL__OPERAND_OUT: view = mcl__tensor_view(plan, node->out[operand.index]); break;
    case MCL__OPERAND_WORKSPACE:
        view = block_view(&plan->slabs, &plan->memory.block[plan->memory.workspace[n] + operand.index]);
        break;
    case MCL__OPERAND_DERIVED: {
        int form = plan->node_form[n][operand.index];
        view = block_view(&plan->form_slabs, &plan->form_block[form]);
        break;
    }
    }
    assert(view.buffer && operand.offset < view.bytes);
    view.offset += operand.offset;
    view.bytes -= operand.offset;
    return view;
}

static mcl__arg bound_arg(const mcl__plan *plan, int n, const mcl__command_arg *arg)
{
    switch (arg->kind) {
    case MCL__COMMAND_OPERAND: return (mcl__arg){.kind = MCL__ARG_VIEW, .as.view = operand_view(plan, n, arg->operand)};
    case MCL__COMMAND_I32: return (mcl__arg){.kind = MCL__ARG_I32, .as.i32 = arg->i32};
    case MCL__COMMAND_BLOB: return (mcl__arg){.kind = MCL__ARG_BLOB, .as.blob = {arg->blob, arg->blob_bytes}};
    case MCL__COMMAND_LOCAL: break;
    }
    return (mcl__arg){.kind = MCL__ARG_LOCAL, .as.local = (size_t)arg->i32};
}

static mcl_status bind_kernel(const mcl__plan *plan, int n, const mcl__command *command, const char *what, mcl__launch **launch)
{
    mcl__arg args[MCL__MAX_ARGS];
    mcl__kernel *kernel = NULL;
    MCL_TRY(mcl__kernel_get(plan->device, &command->key, &kernel));
    for (int i = 0; i < command->args; i++) args[i] = bound_arg(plan, n, &command->arg[i]);
    return mcl__launch_kernel(plan->device, kernel, what, args, command->args, command->dimensions, command->global,
                              command->local[0] ? command->local : NULL, launch);
}

static mcl_status bind_command(const mcl__plan *plan, int n, const mcl__command *command, mcl__launch **launch)
{
    char what[256];
    snprintf(what, sizeof what, "%s %s", plan->graph->node[n].name,
             command->kind == MCL__COMMAND_KERNEL ? command->key.name : "gemm");
    if (command->kind == MCL__COMMAND_KERNEL) return bind_kernel(plan, n, command, what, launch);
    mcl__gemm gemm = command->gemm;
    gemm.a = operand_view(plan, n, command->arg[0].operand);
    gemm.b = operand_view(plan, n, command->arg[1].operand);
    gemm.c = operand_view(plan, n, command->arg[2].operand);
    return mcl__launch_gemm(plan->device, what, &gemm, launch);
}

static mcl_status append(mcl__plan *plan, mcl__launches *list, int n, const mcl__command *command, mcl_error *error)
{
    if (!mcl__grow(&list->launch, &list->capacity, list->count + 1, sizeof *list->launch))
        return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a plan");
    mcl_status status = bind_command(plan, n, command, &list->launch[list->count]);
    if (status != MCL_OK)
        return mcl__fail(error, status, "%s: %s", plan->graph->node[n].name, mcl_device_error(plan->device)->text);
    list->count++;
    return MCL_OK;
}

static mcl_status bind_node(mcl__plan *plan, int n, mcl__launches *list, mcl_error *error)
{
    for (int c = 0; c < plan->lowered[n].commands; c++) {
        const mcl__command *command = &plan->lowered[n].command[c];
        const mcl__form *form = command->derive >= 0 ? &plan->form[plan->node_form[n][command->derive]] : NULL;
        if (form && form->maker != n) continue;
        MCL_TRY(append(plan, form && form->shared ? &plan->derive : list, n, command, error));
    }
    return MCL_OK;
}

static bool has_second_places(const mcl__graph *graph)
{
    for (int i = 0; i < graph->tensors; i++)
        if (graph->tensor[i].second.buffer) return true;
    return false;
}

/* LOAD once more, for the second places of what it reads: so that nothing is bound in a step. */
static mcl_status bind_second_load(mcl__plan *plan, mcl_error *error)
{
    mcl_status status = MCL_OK;
    plan->place = 1;
    for (int n = 0; n < plan->graph->nodes && status == MCL_OK; n++)
        if (plan->graph->node[n].segment == MCL__LOAD) status = bind_node(plan, n, &plan->second_load, error);
    plan->place = 0;
    return status;
}

mcl_status mcl__plan_bind(mcl__plan *plan, mcl_error *error)
{
    for (int n = 0; n < plan->graph->nodes; n++) {
        mcl__launches *list = &plan->segment[plan->graph->node[n].segment];
        plan->span[n].first = list->count;
        MCL_TRY(bind_node(plan, n, list, error));
        plan->span[n].count = list->count - plan->span[n].first;
    }
    return has_second_places(plan->graph) ? bind_second_load(plan, error) : MCL_OK;
}
