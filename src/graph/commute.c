/* The gradient of an activation before max pooling, dz = activation'(a) * pool_bwd(dy), is pool_bwd(activation'(y) * dy), since y
 * is a where the gradient goes. There it takes a pass over a quarter of the values or so, and none where it joins the node that
 * makes dy. Each value's product is the same; where windows overlap, products are summed instead of the sum multiplied. Before
 * fusion. */
#include "graph/fuse.h"

static int readers_of(const mcl__graph *graph, int tensor)
{
    int count = 0;
    for (int n = 0; n < graph->nodes; n++)
        for (int i = 0; i < graph->node[n].inputs; i++) count += graph->node[n].in[i] == tensor;
    return count;
}

/* The pooling of `a` whose gradient is node `gradient`, or NULL. */
static const mcl__node *pooling_of(const mcl__graph *graph, const mcl__node *gradient, int a)
{
    int producer = graph->tensor[gradient->in[1]].producer;
    const mcl__node *pooling = producer >= 0 ? &graph->node[producer] : NULL;
    return pooling && pooling->op == MCL__OP_max_pool && pooling->in[0] == a ? pooling : NULL;
}

/* The two nodes change places, and with them the tensor between them is as small as dy. */
static void try_derivative(mcl__graph *graph, mcl__node *derivative)
{
    int dx = derivative->in[0], producer = graph->tensor[dx].producer;
    mcl__node *gradient = producer >= 0 ? &graph->node[producer] : NULL;
    if (derivative->epilogue.count != 1 || derivative->epilogue.code[0].code != MCL_EP_DACT) return;
    if (!gradient || gradient->op != MCL__OP_max_pool_bwd || gradient->segment != derivative->segment) return;
    if (!mcl__graph_only_read(graph, dx) || readers_of(graph, dx) != 1) return;
    const mcl__node *pooling = pooling_of(graph, gradient, derivative->in[1]);
    if (!pooling) return;
    mcl__node pooled = *gradient;
    *gradient = *derivative;
    *derivative = pooled;
    derivative->out[0] = gradient->out[0];
    gradient->in[0] = pooled.in[0];
    gradient->in[1] = pooling->out[0];
    gradient->out[0] = derivative->in[0] = dx;
    graph->tensor[dx].shape = graph->tensor[pooled.in[0]].shape;
    graph->tensor[derivative->out[0]].producer = (int)(derivative - graph->node);
}

mcl_status mcl__graph_commute(mcl__graph *graph)
{
    if (graph->error.status != MCL_OK) return graph->error.status;
    for (int n = 0; n < graph->nodes; n++)
        if (graph->node[n].op == MCL__OP_map) try_derivative(graph, &graph->node[n]);
    return MCL_OK;
}
