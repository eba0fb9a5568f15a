/* Tensors and nodes, and the nodes that reduce and update. Errors are sticky: the first one stays, and adding to a failed
 * graph gives -1. */
#include "graph/graph.h"
#include "graph/memory.h"
#include <stdlib.h>
#include <string.h>

static int fail(mcl__graph *graph, mcl_status status, const char *name, const char *what)
{
    mcl__fail(&graph->error, status, "%s: %s", name, what);
    return -1;
}

static bool room(void *items, int *capacity, int needed, size_t item_bytes)
{
    size_t wide = (size_t)*capacity;
    if (!mcl__grow(items, &wide, (size_t)needed, item_bytes)) return false;
    *capacity = (int)wide;
    return true;
}

int mcl__graph_unmade(mcl__graph *graph, const char *name, mcl__shape shape, mcl__dtype dtype)
{
    if (graph->error.status != MCL_OK) return -1;
    if (!room(&graph->tensor, &graph->tensor_capacity, graph->tensors + 1, sizeof *graph->tensor))
        return fail(graph, MCL_ERROR_MEMORY, name, "no memory for the graph");
    const char *copy = mcl__arena_copy(&graph->arena, name, strlen(name));
    if (!copy) return fail(graph, MCL_ERROR_MEMORY, name, "no memory for the graph");
    graph->tensor[graph->tensors] =
        (mcl__tensor){.name = copy, .shape = shape, .dtype = dtype, .slot = -1, .alias = -1, .producer = -1};
    return graph->tensors++;
}

static mcl__view whole(mcl_buffer *buffer)
{
    return (mcl__view){buffer, 0, mcl__buffer_bytes(buffer)};
}

mcl_status mcl__graph_create(mcl__model *model, bool training, mcl__graph **graph)
{
    mcl__graph *made = calloc(1, sizeof *made);
    *graph = NULL;
    if (!made) return MCL_ERROR_MEMORY;
    made->model = model;
    made->training = training;
    made->step = mcl__graph_tensor(made, "step", (mcl__shape){1, {sizeof(mcl_step)}}, MCL_BYTES, whole(model->step));
    made->record = mcl__graph_tensor(made, "record", (mcl__shape){1, {sizeof(mcl_state)}}, MCL_BYTES, whole(model->record));
    mcl_status status = made->error.status;
    if (status == MCL_OK) *graph = made;
    else mcl__graph_destroy(made);
    return status;
}

void mcl__graph_destroy(mcl__graph *graph)
{
    if (!graph) return;
    mcl__arena_clear(&graph->arena);
    free(graph->tensor);
    free(graph->node);
    free(graph);
}

int mcl__graph_tensor(mcl__graph *graph, const char *name, mcl__shape shape, mcl__dtype dtype, mcl__view bound)
{
    if (graph->error.status != MCL_OK) return -1;
    if (!mcl__shape_valid(shape))
        return fail(graph, MCL_ERROR_SHAPE, name, "a tensor has 1 to 4 sizes and less than 2^31 elements");
    if (!bound.buffer || bound.bytes < (uint64_t)mcl__shape_elements(shape) * mcl__dtype_bytes(dtype))
        return fail(graph, MCL_ERROR_INVALID, name, "the memory given for the tensor is too small");
    int id = mcl__graph_unmade(graph, name, shape, dtype);
    if (id >= 0) graph->tensor[id].bound = bound;
    return id;
}

void mcl__graph_second_place(mcl__graph *graph, int tensor, mcl__view second)
{
    if (graph->error.status == MCL_OK) graph->tensor[tensor].second = second;
}

int mcl__graph_twin(mcl__graph *graph, int tensor)
{
    const mcl__tensor *model = &graph->tensor[tensor];
    return mcl__graph_unmade(graph, model->name, model->shape, model->dtype);
}

static int find_bound(const mcl__graph *graph, mcl__view view)
{
    for (int i = 0; i < graph->tensors; i++) {
        mcl__view bound = graph->tensor[i].bound;
        if (bound.buffer == view.buffer && bound.offset == view.offset && bound.bytes == view.bytes) return i;
    }
    return -1;
}

/* The tensor of a slot; the same one when it is asked for again (shared weights). */
static int slot_tensor(mcl__graph *graph, const mcl__slab *slab, const mcl__slot *slots, int count, const char *name)
{
    if (graph->error.status != MCL_OK) return -1;
    int index = mcl__model_find(slots, count, name);
    if (index < 0) return fail(graph, MCL_ERROR_NOT_FOUND, name, "the model has no such tensor");
    if (!slab->buffer) return fail(graph, MCL_ERROR_INVALID, name, "the model was made for evaluation only");
    mcl__view view = mcl__slab_view(slab, &slots[index]);
    int id = find_bound(graph, view);
    return id >= 0 ? id : mcl__graph_tensor(graph, name, slots[index].shape, MCL_F32, view);
}

int mcl__graph_parameter(mcl__graph *graph, const char *name)
{
    const mcl__model *model = graph->model;
    int id = slot_tensor(graph, &model->value, model->parameter, model->parameters, name);
    if (id < 0) return id;
    graph->tensor[id].parameter = true;
    graph->tensor[id].slot = mcl__model_find(model->parameter, model->parameters, name);
    return id;
}

int mcl__graph_running(mcl__graph *graph, const char *name, bool pending)
{
    const mcl__model *model = graph->model;
    return slot_tensor(graph, pending ? &model->pending : &model->running_value, model->running, model->runnings, name);
}

static mcl_status infer(mcl__graph *graph, mcl__problem *problem)
{
    const mcl__op *op = mcl__op_get(problem->op);
    MCL_TRY(op->infer(problem, &graph->error));
    for (int i = 0; i < problem->outputs; i++)
        if (!mcl__shape_valid(problem->out[i]))
            return mcl__fail(&graph->error, MCL_ERROR_SHAPE, "%s: an output has no elements, or 2^31 and more", op->name);
    return MCL_OK;
}

/* Existing outputs must be what the operator gives. */
static bool outputs_fit(mcl__graph *graph, const char *name, const mcl__problem *problem, const int *outputs, int count)
{
    char one[64], other[64];
    if (problem->outputs != count) return fail(graph, MCL_ERROR_INVALID, name, "wrong number of outputs"), false;
    for (int i = 0; i < count; i++) {
        const mcl__tensor *tensor = &graph->tensor[outputs[i]];
        if (mcl__shape_equal(tensor->shape, problem->out[i]) && tensor->dtype == problem->out_dtype[i]) continue;
        mcl__fail(&graph->error, MCL_ERROR_SHAPE, "%s: the result %s does not fit %s, which is %s", name,
                  mcl__shape_text(problem->out[i], one), tensor->name, mcl__shape_text(tensor->shape, other));
        return false;
    }
    return true;
}

static int add_node(mcl__graph *graph, mcl__node node, const int *outputs, int output_count)
{
    for (int i = 0; i < node.inputs; i++)
        if (node.in[i] < 0 || node.in[i] >= graph->tensors) return fail(graph, MCL_ERROR_INVALID, node.name, "an input is missing");
    mcl__problem problem = mcl__graph_problem(graph, &node);
    mcl_status status = infer(graph, &problem);
    if (status != MCL_OK) {
        mcl__fail(&graph->error, status, "%s", mcl_status_sentence(status));
        mcl__fail_in(&graph->error, "%s", node.name);
        return -1;
    }
    if (outputs && !outputs_fit(graph, node.name, &problem, outputs, output_count)) return -1;
    node.outputs = problem.outputs;
    node.name = mcl__arena_copy(&graph->arena, node.name, strlen(node.name));
    if (!node.name || !room(&graph->node, &graph->node_capacity, graph->nodes + 1, sizeof *graph->node))
        return fail(graph, MCL_ERROR_MEMORY, "graph", "no memory for a node");
    for (int i = 0; i < node.outputs; i++) {
        node.out[i] = outputs ? outputs[i] : mcl__graph_unmade(graph, node.name, problem.out[i], problem.out_dtype[i]);
        if (node.out[i] < 0) return -1;
        graph->tensor[node.out[i]].producer = graph->nodes;
    }
    if (mcl__op_get(node.op)->view) graph->tensor[node.out[0]].alias = mcl__graph_root(graph, node.in[0]);
    graph->node[graph->nodes++] = node;
    return node.out[0];
}

static int make_node(mcl__graph *graph, mcl__segment segment, const char *name, mcl__op_kind op, const mcl__attrs *attrs,
                     const mcl__epilogue *epilogue, const int *inputs, int count, const int *outputs, int output_count)
{
    if (graph->error.status != MCL_OK) return -1;
    if (count > MCL__MAX_OPERANDS) return fail(graph, MCL_ERROR_INVALID, name, "too many inputs");
    mcl__node node = {.op = op, .segment = segment, .name = name, .inputs = count};
    if (attrs) node.attrs = *attrs;
    if (epilogue) node.epilogue = *epilogue;
    memcpy(node.in, inputs, (size_t)count * sizeof *inputs);
    return add_node(graph, node, outputs, output_count);
}

int mcl__graph_node(mcl__graph *graph, mcl__segment segment, const char *name, mcl__op_kind op, const mcl__attrs *attrs,
                    const mcl__epilogue *epilogue, const int *inputs, int count)
{
    return make_node(graph, segment, name, op, attrs, epilogue, inputs, count, NULL, 0);
}

void mcl__graph_node_into(mcl__graph *graph, mcl__segment segment, const char *name, mcl__op_kind op, const mcl__attrs *attrs,
                          const int *inputs, int count, const int *outputs, int output_count)
{
    for (int i = 0; i < output_count; i++)
        if (outputs[i] < 0 || outputs[i] >= graph->tensors) {
            fail(graph, MCL_ERROR_INVALID, name, "an output is missing");
            return;
        }
    make_node(graph, segment, name, op, attrs, NULL, inputs, count, outputs, output_count);
}

void mcl__graph_problem_node(mcl__graph *graph, const char *name, const mcl__problem *problem, const int *inputs,
                             const int *outputs)
{
    if (graph->error.status != MCL_OK) return;
    mcl__node node = {.op = problem->op, .segment = MCL__COMPUTE, .name = name, .attrs = problem->attrs,
                      .prologue = problem->prologue, .epilogue = problem->epilogue, .inputs = problem->inputs};
    memcpy(node.in, inputs, (size_t)problem->inputs * sizeof *inputs);
    add_node(graph, node, outputs, problem->outputs);
}

int mcl__graph_map(mcl__graph *graph, const char *name, const mcl_epilogue_code *code, int x, int t, int u)
{
    mcl__epilogue epilogue = {.count = 1, .code = {*code}};
    int inputs[4] = {x, t, u}, count = 1 + mcl__epilogue_tensors(code);
    if (code->code == MCL_EP_DROPOUT) inputs[count++] = graph->step;
    return mcl__graph_node(graph, MCL__COMPUTE, name, MCL__OP_map, NULL, &epilogue, inputs, count);
}

mcl__problem mcl__graph_problem(const mcl__graph *graph, const mcl__node *node)
{
    mcl__problem problem = {.op = node->op, .attrs = node->attrs, .prologue = node->prologue, .epilogue = node->epilogue,
                            .inputs = node->inputs, .outputs = node->outputs};
    for (int i = 0; i < node->inputs; i++) {
        problem.in[i] = graph->tensor[node->in[i]].shape;
        problem.in_dtype[i] = graph->tensor[node->in[i]].dtype;
    }
    for (int i = 0; i < node->outputs; i++) {
        problem.out[i] = graph->tensor[node->out[i]].shape;
        problem.out_dtype[i] = graph->tensor[node->out[i]].dtype;
    }
    return problem;
}

double mcl__graph_flops(const mcl__graph *graph, const mcl__node *node)
{
    const mcl__op *op = mcl__op_get(node->op);
    mcl__problem problem = mcl__graph_problem(graph, node);
    if (op->view) return 0.0;
    if (op->flops) return op->flops(&problem);
    double elements = 0.0;
    for (int i = 0; i < problem.outputs; i++) elements += mcl__shape_elements(problem.out[i]);
    return elements;
}

int mcl__graph_root(const mcl__graph *graph, int tensor)
{
    while (graph->tensor[tensor].alias >= 0) tensor = graph->tensor[tensor].alias;
    return tensor;
}
