/* The gradient of an activation before max pooling, dz = activation'(a) * pool_bwd(dy), is pool_bwd(activation'(y) * dy), since y
 * is a where the gradient goes. There it takes a pass over a quarter of the values or so, and none where it joins the node that
 * makes dy. Each value's product is the same; where windows overlap, products are summed instead of the sum multiplied. Before
 * fusion. */
#include "graph/fuse.h"

/* The node of this operator that makes a tensor, or NULL. */
static mcl__node *maker(const mcl__graph *graph, int tensor, mcl__op_kind op)
{
    int producer = graph->tensor[tensor].producer;
    return producer >= 0 && graph->node[producer].op == op ? &graph->node[producer] : NULL;
}

static bool has_one_reader(const mcl__graph *graph, int tensor)
{
    int count = 0;
    for (int n = 0; n < graph->nodes; n++)
        for (int i = 0; i < graph->node[n].inputs; i++) count += graph->node[n].in[i] == tensor;
    return count == 1 && mcl__graph_only_read(graph, tensor);
}

/* A map of one other tensor works on what `before` works on, with `other` in the other's place, and `before` on what it gives. The
 * tensor between them changes its shape. */
static void change_places(mcl__graph *graph, mcl__node *before, mcl__node *map, int other)
{
    int source = before->in[0], between = before->out[0], result = map->out[0];
    mcl__node moved = *before;
    *before = *map;
    *map = moved;
    before->in[0] = source;
    before->in[1] = other;
    before->out[0] = map->in[0] = between;
    map->out[0] = result;
    graph->tensor[between].shape = graph->tensor[source].shape;
    graph->tensor[result].producer = (int)(map - graph->node);
}

/* `a` as a tensor of this shape, or -1. */
static int seen_as(const mcl__graph *graph, int a, mcl__shape shape)
{
    for (int n = 0; n < graph->nodes; n++) {
        const mcl__node *node = &graph->node[n];
        if (node->op == MCL__OP_reshape && node->in[0] == a && mcl__shape_equal(graph->tensor[node->out[0]].shape, shape))
            return node->out[0];
    }
    return -1;
}

/* Behind a flatten dy is a view of what a product gives, and y has been seen like that. */
static void pass_view(mcl__graph *graph, mcl__node *map)
{
    mcl__node *view = maker(graph, map->in[0], MCL__OP_reshape);
    if (!view || view->segment != map->segment || !has_one_reader(graph, map->in[0])) return;
    int y = seen_as(graph, map->in[1], graph->tensor[view->in[0]].shape);
    if (y < 0) return;
    change_places(graph, view, map, y);
    graph->tensor[map->in[0]].alias = -1;
    graph->tensor[map->out[0]].alias = map->in[0];
}

static void pass_pooling(mcl__graph *graph, mcl__node *map)
{
    mcl__node *gradient = maker(graph, map->in[0], MCL__OP_max_pool_bwd);
    if (map->epilogue.count != 1 || map->epilogue.code[0].code != MCL_EP_DACT) return;
    if (!gradient || gradient->segment != map->segment || !has_one_reader(graph, map->in[0])) return;
    const mcl__node *pooling = maker(graph, gradient->in[1], MCL__OP_max_pool);
    if (!pooling || pooling->in[0] != map->in[1]) return;
    change_places(graph, gradient, map, pooling->out[0]);
    pass_view(graph, gradient);
}

mcl_status mcl__graph_commute(mcl__graph *graph)
{
    if (graph->error.status != MCL_OK) return graph->error.status;
    for (int n = 0; n < graph->nodes; n++)
        if (graph->node[n].op == MCL__OP_map) pass_pooling(graph, &graph->node[n]);
    return MCL_OK;
}
