/* Building a plan, and replaying it. What takes time or can fail (lowering, placing, allocating, binding) happens in
 * mcl__plan_create; afterwards a step is a loop over launches. */
#include "graph/fuse.h"
#include "graph/lowered.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_ALIGNMENT 64
#define NEARLY_FREE (1.0 / 64) /* the share of a step for which activations are made again without being asked */
#define LOOK_FLOATS (1 << 18) /* what mcl__plan_find_bad reads at a time */

uint64_t mcl__plan_alignment(const mcl_device *device)
{
    return device->info.alignment > LEAST_ALIGNMENT ? device->info.alignment : LEAST_ALIGNMENT;
}

static const char *forced_variant(const mcl_device *device, const mcl__plan_options *options)
{
    return options->variant ? options->variant : device->options.variant;
}

static mcl_status lower_nodes(mcl__plan *plan, const mcl__plan_options *options, mcl_error *error)
{
    const mcl__graph *graph = plan->graph;
    const char *force = forced_variant(plan->device, options);
    mcl__capabilities capabilities = mcl__capabilities_of(plan->device);
    for (int n = 0; n < graph->nodes; n++) {
        mcl_error cause = {0};
        mcl__problem problem = mcl__graph_problem(graph, &graph->node[n]);
        mcl_status status = mcl__tuning_lower(&graph->model->tuning, &problem, &capabilities, force, &plan->lowered[n], &cause);
        if (status != MCL_OK) return mcl__fail(error, status, "%s: %s", graph->node[n].name, cause.text);
    }
    return MCL_OK;
}

/* What the graph loads, or what its loss counts. */
int mcl__plan_batch(const mcl__graph *graph)
{
    for (int n = 0; n < graph->nodes; n++) {
        mcl__op_kind op = graph->node[n].op;
        if (op == MCL__OP_load || op == MCL__OP_softmax || op == MCL__OP_softmax_cross_entropy)
            return graph->tensor[graph->node[n].out[0]].shape.d[0];
    }
    return 1;
}

static mcl_status out_of_memory(const mcl__plan *plan, const char *cause, mcl_error *error)
{
    const mcl_device *device = plan->device;
    uint64_t wanted = mcl__slabs_bytes(&plan->slabs), forms = mcl__slabs_bytes(&plan->form_slabs),
             used = device->counters.bytes_allocated;
    return mcl__fail(error, MCL_ERROR_MEMORY,
                     "not enough memory on %s: a batch of %d wants %.1f MiB beside the %.1f MiB in use, and there are %.1f MiB "
                     "(%.1f MiB in one piece)%s%s",
                     device->info.name, mcl__plan_batch(plan->graph), (double)(wanted + forms) / 0x1p20, (double)used / 0x1p20,
                     (double)device->info.memory / 0x1p20, (double)device->info.max_allocation / 0x1p20, *cause ? "; " : "", cause);
}

static mcl_status allocate(mcl__plan *plan, const mcl__plan_options *options, mcl_error *error)
{
    const mcl_device *device = plan->device;
    uint64_t alignment = mcl__plan_alignment(device);
    mcl_error cause = {0};
    MCL_TRY(mcl__memory_lifetimes(plan->graph, plan->lowered, alignment, !options->no_share, &plan->memory, error));
    mcl_status status = mcl__memory_place(plan->memory.block, plan->memory.blocks, alignment, device->info.max_allocation,
                                          !options->no_share, &plan->slabs, &cause);
    if (status == MCL_OK) status = mcl__plan_forms(plan, &cause);
    if (status == MCL_OK && options->dry) return MCL_OK;
    uint64_t wanted = mcl__slabs_bytes(&plan->slabs) + mcl__slabs_bytes(&plan->form_slabs), used = device->counters.bytes_allocated;
    if (status == MCL_OK && device->info.memory && wanted + used > device->info.memory) status = MCL_ERROR_MEMORY;
    if (status == MCL_OK) status = mcl__slabs_create(plan->device, &plan->slabs, &cause);
    if (status == MCL_OK) status = mcl__slabs_create(plan->device, &plan->form_slabs, &cause);
    if (status == MCL_OK) return MCL_OK;
    return status == MCL_ERROR_MEMORY ? out_of_memory(plan, cause.text, error) : mcl__fail(error, status, "%s", cause.text);
}

static mcl_status create_ring(mcl__plan *plan, mcl_error *error)
{
    for (int i = 0; i < MCL__STEP_RING; i++) {
        mcl_status status = mcl__fence_create(plan->device, &plan->ring.fence[i]);
        if (status != MCL_OK) return mcl__fail(error, status, "%s", mcl_device_error(plan->device)->text);
    }
    return MCL_OK;
}

mcl_status mcl__plan_prepare(mcl__graph *graph, const mcl__plan_options *options)
{
    int count;
    mcl__capabilities capabilities = mcl__capabilities_of(graph->model->device);
    MCL_TRY(graph->error.status);
    if (!options->no_fuse) {
        const char *force = forced_variant(graph->model->device, options);
        MCL_TRY(mcl__graph_fuse(graph));
        MCL_TRY(mcl__graph_prologue(graph, &capabilities, force));
        MCL_TRY(mcl__graph_squares(graph, &capabilities, force));
    }
    MCL_TRY(mcl__graph_order(graph, NULL));
    if (options->recompute == MCL__RECOMPUTE_OFF) return MCL_OK;
    return mcl__graph_recompute(graph, options->recompute == MCL__RECOMPUTE_ON ? 1.0 : NEARLY_FREE, &count);
}

static mcl_status lower_and_place(mcl__plan *plan, const mcl__plan_options *options, mcl_error *error)
{
    size_t nodes = plan->graph->nodes > 0 ? (size_t)plan->graph->nodes : 1;
    plan->lowered = calloc(nodes, sizeof *plan->lowered);
    plan->span = calloc(nodes, sizeof *plan->span);
    if (!plan->lowered || !plan->span) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a plan");
    MCL_TRY(lower_nodes(plan, options, error));
    return allocate(plan, options, error);
}

/* What lower_and_place made, and only that. */
static void forget_places(mcl__plan *plan, int nodes)
{
    for (int n = 0; plan->lowered && n < nodes; n++) mcl__lowered_free(&plan->lowered[n]);
    free(plan->lowered);
    free(plan->span);
    free(plan->form);
    free(plan->form_block);
    free(plan->node_form);
    plan->lowered = NULL;
    plan->span = NULL;
    plan->form = NULL;
    plan->form_block = NULL;
    plan->node_form = NULL;
    plan->forms = 0;
    mcl__slabs_destroy(&plan->slabs);
    mcl__slabs_destroy(&plan->form_slabs);
    mcl__memory_free(&plan->memory);
}

/* Where there is too little memory, all activations that can be are made again; a device that has refused memory once refuses
 * everything. */
static mcl_status place_plan(mcl__plan *plan, const mcl__plan_options *options, mcl_error *error)
{
    mcl_error first = {0};
    int nodes = plan->graph->nodes, remade = 0;
    mcl_status status = lower_and_place(plan, options, &first);
    if (status == MCL_ERROR_MEMORY && options->recompute == MCL__RECOMPUTE_AUTO &&
        mcl_device_error(plan->device)->status == MCL_OK) {
        forget_places(plan, nodes);
        MCL_TRY(mcl__graph_recompute(plan->graph, 1.0, &remade));
        if (remade > 0) return lower_and_place(plan, options, error);
    }
    return status == MCL_OK ? MCL_OK : mcl__fail(error, status, "%s", first.text);
}

/* Slabs are zeroed meanwhile; memory that is missing shows here at the latest. */
static mcl_status make_ready(mcl__plan *plan, mcl_error *error)
{
    MCL_TRY(mcl__plan_bind(plan, error));
    MCL_TRY(create_ring(plan, error));
    mcl_status status = mcl_device_finish(plan->device);
    return status == MCL_OK ? MCL_OK : mcl__fail(error, status, "%s", mcl_device_error(plan->device)->text);
}

mcl_status mcl__plan_create(mcl__graph *graph, const mcl__plan_options *options, mcl__plan **plan, mcl_error *error)
{
    static const mcl__plan_options defaults;
    if (!options) options = &defaults;
    *plan = NULL;
    mcl__plan *made = calloc(1, sizeof *made);
    if (!made) {
        mcl__graph_destroy(graph);
        return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a plan");
    }
    made->graph = graph;
    made->device = graph->model->device;
    mcl_status status = mcl__plan_prepare(graph, options);
    if (status != MCL_OK) {
        mcl__fail(error, status, "%s", graph->error.text);
        goto done;
    }
    MCL_TRY_DONE(place_plan(made, options, error));
    if (!options->dry) MCL_TRY_DONE(make_ready(made, error));
    mcl__plan_count(made);
    *plan = made;
    made = NULL;
done:
    mcl__plan_destroy(made);
    return status;
}

static void destroy_launches(mcl_device *device, mcl__launches *list)
{
    for (size_t i = 0; i < list->count; i++) mcl__launch_destroy(device, list->launch[i]);
    free(list->launch);
}

void mcl__plan_destroy(mcl__plan *plan)
{
    if (!plan) return;
    mcl_device_finish(plan->device); /* the ring's memory may still be read */
    destroy_launches(plan->device, &plan->derive);
    destroy_launches(plan->device, &plan->second_load);
    for (int s = 0; s < MCL__SEGMENTS; s++) destroy_launches(plan->device, &plan->segment[s]);
    for (int i = 0; i < MCL__STEP_RING; i++) mcl__fence_destroy(plan->device, plan->ring.fence[i]);
    forget_places(plan, plan->graph->nodes);
    mcl__graph_destroy(plan->graph);
    free(plan);
}

/* A slot's fence was recorded after the transfer that last read it. Where the ring is full, the host waits for half of it: what
 * launches need has left a CPU's caches by then, and is fetched once for many steps rather than for each. */
mcl_status mcl__plan_step(mcl__plan *plan, const mcl_step *step)
{
    size_t slot = (size_t)(plan->ring.count % MCL__STEP_RING);
    if (plan->ring.taken == MCL__STEP_RING) {
        plan->ring.taken /= 2;
        MCL_TRY(mcl__fence_wait(plan->device, plan->ring.fence[(slot + MCL__STEP_RING / 2 - 1) % MCL__STEP_RING]));
    }
    plan->ring.taken++;
    plan->ring.step[slot] = *step;
    mcl__view target = {plan->graph->model->step, 0, sizeof *step};
    MCL_TRY(mcl__write_async(plan->device, target, &plan->ring.step[slot]));
    plan->ring.count++;
    return mcl__fence_record(plan->device, plan->ring.fence[slot]);
}

static mcl_status run_list(mcl__plan *plan, const mcl__launches *list, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) MCL_TRY(mcl__launch_run(plan->device, list->launch[i]));
    return MCL_OK;
}

/* Generations count from 1, so that a new plan makes its forms before it first runs. */
static mcl_status make_forms(mcl__plan *plan)
{
    uint64_t present = plan->graph->model->generation;
    if (plan->generation == present) return MCL_OK;
    MCL_TRY(run_list(plan, &plan->derive, 0, plan->derive.count));
    plan->generation = present;
    return MCL_OK;
}

mcl_status mcl__plan_run(mcl__plan *plan, mcl__segment segment)
{
    const mcl__launches *list = segment == MCL__LOAD && plan->place ? &plan->second_load : &plan->segment[segment];
    if (segment == MCL__COMPUTE) MCL_TRY(make_forms(plan));
    MCL_TRY(run_list(plan, list, 0, list->count));
    if (segment == MCL__UPDATE) plan->graph->model->generation++;
    return MCL_OK;
}

void mcl__plan_place(mcl__plan *plan, int place) { plan->place = place; }

mcl__view mcl__plan_view(const mcl__plan *plan, int tensor)
{
    return mcl__tensor_view(plan, tensor);
}

const mcl__graph *mcl__plan_graph(const mcl__plan *plan)
{
    return plan->graph;
}

mcl__plan_statistics mcl__plan_get_statistics(const mcl__plan *plan)
{
    return plan->statistics;
}

static mcl_status look(const mcl__plan *plan, int tensor, float *floats, bool *bad)
{
    mcl__view view = mcl__tensor_view(plan, tensor);
    if (plan->graph->tensor[tensor].dtype != MCL_F32) return MCL_OK;
    for (uint64_t done = 0; done < view.bytes && !*bad;) {
        uint64_t bytes = view.bytes - done < LOOK_FLOATS * sizeof *floats ? view.bytes - done : LOOK_FLOATS * sizeof *floats;
        MCL_TRY(mcl_buffer_read(view.buffer, view.offset + done, bytes, floats));
        for (uint64_t i = 0; i < bytes / sizeof *floats; i++) *bad |= !isfinite(floats[i]);
        done += bytes;
    }
    return MCL_OK;
}

/* Nodes that write the record stay out: the search must not change what the device remembers. */
static mcl_status look_at_node(mcl__plan *plan, int n, float *floats, bool *bad)
{
    const mcl__node *node = &plan->graph->node[n];
    for (int i = 0; i < node->outputs; i++)
        if (node->out[i] == plan->graph->record) return MCL_OK;
    MCL_TRY(run_list(plan, &plan->segment[node->segment], plan->span[n].first, plan->span[n].count));
    int results = mcl__attrs_have_squares(node->op, &node->attrs) ? 1 : node->outputs; /* of finite numbers they may be too large */
    for (int i = 0; i < results && !*bad; i++) MCL_TRY(look(plan, node->out[i], floats, bad));
    return MCL_OK;
}

mcl_status mcl__plan_find_bad(mcl__plan *plan, const char **name, const char **op, bool *backward)
{
    mcl_status status = MCL_OK;
    bool bad = false;
    *name = *op = NULL;
    *backward = false;
    float *floats = malloc(LOOK_FLOATS * sizeof *floats);
    if (!floats) return MCL_ERROR_MEMORY;
    MCL_TRY_DONE(make_forms(plan));
    for (int n = 0; n < plan->graph->nodes && !bad; n++) {
        const mcl__node *node = &plan->graph->node[n];
        if (node->segment != MCL__COMPUTE) continue;
        MCL_TRY_DONE(look_at_node(plan, n, floats, &bad));
        if (!bad) continue;
        *name = node->name;
        *op = mcl__op_get(node->op)->name;
        *backward = node->backward;
    }
done:
    free(floats);
    return status;
}

/* Device time of all launches since the device was opened. */
static mcl_status device_seconds(mcl_device *device, double *seconds)
{
    mcl_kernel_time *rows;
    int count;
    MCL_TRY(mcl_device_profile(device, &rows, &count));
    *seconds = 0.0;
    for (int i = 0; i < count; i++) *seconds += rows[i].seconds;
    free(rows);
    return MCL_OK;
}

/* Runs a part of a list and adds what it took to *seconds; *before is the device's time so far, and is brought up to date. */
static mcl_status time_list(mcl__plan *plan, const mcl__launches *list, mcl__span span, double *before, double *seconds)
{
    double after;
    if (span.count == 0) return MCL_OK;
    MCL_TRY(run_list(plan, list, span.first, span.count));
    MCL_TRY(device_seconds(plan->device, &after));
    *seconds += after - *before;
    *before = after;
    return MCL_OK;
}

mcl_status mcl__plan_profile(mcl__plan *plan, double *seconds)
{
    double before;
    MCL_TRY(device_seconds(plan->device, &before));
    for (int n = 0; n < plan->graph->nodes; n++) {
        mcl__segment segment = plan->graph->node[n].segment;
        if (segment != MCL__LOAD && plan->generation != plan->graph->model->generation) {
            MCL_TRY(time_list(plan, &plan->derive, (mcl__span){0, plan->derive.count}, &before, &seconds[plan->graph->nodes]));
            plan->generation = plan->graph->model->generation;
        }
        MCL_TRY(time_list(plan, &plan->segment[segment], plan->span[n], &before, &seconds[n]));
    }
    plan->graph->model->generation++;
    return MCL_OK;
}
