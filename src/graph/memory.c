/* Lifetimes and places. Time is the index of a node: a block lives from the node that first writes it to the node that last
 * reads it, so what one node reads and writes never overlaps, unless the operator works in place. */
#include "graph/memory.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static uint64_t align_up(uint64_t bytes, uint64_t alignment)
{
    return (bytes + alignment - 1) / alignment * alignment;
}

uint64_t mcl__tensor_bytes(const mcl__tensor *tensor)
{
    return (uint64_t)mcl__shape_elements(tensor->shape) * mcl__dtype_bytes(tensor->dtype);
}

/* --- Places ------------------------------------------------------------------------------------------------------------- */

typedef struct sorted { const mcl__block *block; int index; } sorted;

/* Largest first; of equals the one that lives first, then the one that was made first. */
static int by_size(const void *left, const void *right)
{
    const sorted *a = left, *b = right;
    if (a->block->bytes != b->block->bytes) return a->block->bytes < b->block->bytes ? 1 : -1;
    if (a->block->first != b->block->first) return a->block->first < b->block->first ? -1 : 1;
    return a->index - b->index;
}

static bool meet(const mcl__block *a, const mcl__block *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* The lowest offset of one slab where the block fits among those placed, which are in order of slab and offset. */
static uint64_t lowest_gap(const mcl__block *const *placed, int count, int slab, const mcl__block *block, uint64_t bytes,
                           uint64_t alignment, bool share)
{
    uint64_t offset = 0;
    for (int i = 0; i < count; i++) {
        const mcl__block *other = placed[i];
        if (other->slab != slab || (share && !meet(other, block))) continue;
        if (offset + bytes <= other->offset) break;
        uint64_t end = other->offset + align_up(other->bytes, alignment);
        if (end > offset) offset = end;
    }
    return offset;
}

static void insert(const mcl__block **placed, int count, const mcl__block *block)
{
    int i = count;
    for (; i > 0; i--) {
        const mcl__block *other = placed[i - 1];
        if (other->slab < block->slab || (other->slab == block->slab && other->offset <= block->offset)) break;
        placed[i] = other;
    }
    placed[i] = block;
}

static mcl_status place(const mcl__block **placed, int count, mcl__block *block, uint64_t alignment, uint64_t limit, bool share,
                        mcl__slabs *slabs, mcl_error *error)
{
    uint64_t bytes = align_up(block->bytes, alignment);
    if (bytes > limit)
        return mcl__fail(error, MCL_ERROR_MEMORY,
                         "one tensor needs %.1f MiB, and the device allocates at most %.1f MiB in one piece",
                         (double)bytes / 0x1p20, (double)limit / 0x1p20);
    for (block->slab = 0; block->slab < slabs->count; block->slab++) {
        block->offset = lowest_gap(placed, count, block->slab, block, bytes, alignment, share);
        if (block->offset + bytes <= limit) break;
    }
    if (block->slab == slabs->count) {
        uint64_t *grown = realloc(slabs->bytes, (size_t)(slabs->count + 1) * sizeof *grown);
        if (!grown) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a plan");
        slabs->bytes = grown;
        slabs->bytes[slabs->count++] = 0;
        block->offset = 0;
    }
    if (block->offset + bytes > slabs->bytes[block->slab]) slabs->bytes[block->slab] = block->offset + bytes;
    return MCL_OK;
}

mcl_status mcl__memory_place(mcl__block *block, int count, uint64_t alignment, uint64_t limit, bool share, mcl__slabs *slabs,
                             mcl_error *error)
{
    mcl_status status = MCL_OK;
    *slabs = (mcl__slabs){0};
    if (count == 0) return MCL_OK;
    if (limit == 0) limit = UINT64_MAX / 4;
    sorted *order = malloc((size_t)count * sizeof *order);
    const mcl__block **placed = malloc((size_t)count * sizeof *placed);
    if (!order || !placed) {
        status = mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a plan");
        goto done;
    }
    for (int i = 0; i < count; i++) order[i] = (sorted){&block[i], i};
    qsort(order, (size_t)count, sizeof *order, by_size);
    for (int i = 0; i < count; i++) {
        mcl__block *next = &block[order[i].index];
        MCL_TRY_DONE(place(placed, i, next, alignment, limit, share, slabs, error));
        insert(placed, i, next);
    }
done:
    free(order);
    free(placed);
    return status;
}

/* --- Lifetimes ---------------------------------------------------------------------------------------------------------- */

typedef struct lifetime { int first, last; bool used; } lifetime; /* of a root tensor; used: some node makes it */

static void extend(lifetime *life, int node)
{
    if (!life->used || node < life->first) life->first = node;
    if (!life->used || node > life->last) life->last = node;
    life->used = true;
}

static int last_of_segment(const mcl__graph *graph, mcl__segment segment)
{
    int last = -1;
    for (int n = 0; n < graph->nodes; n++)
        if (graph->node[n].segment == segment) last = n;
    return last;
}

/* What one segment makes and another reads lives to the reader's segment's end, so that this segment can be replayed. */
static void find_lifetimes(const mcl__graph *graph, lifetime *life)
{
    int segment_end[MCL__SEGMENTS];
    for (int s = 0; s < MCL__SEGMENTS; s++) segment_end[s] = last_of_segment(graph, (mcl__segment)s);
    for (int n = 0; n < graph->nodes; n++) {
        const mcl__node *node = &graph->node[n];
        for (int i = 0; i < node->inputs; i++) {
            int root = mcl__graph_root(graph, node->in[i]), producer = graph->tensor[root].producer;
            if (producer < 0) continue;
            extend(&life[root], n);
            if (graph->node[producer].segment != node->segment) extend(&life[root], segment_end[node->segment]);
        }
        for (int i = 0; i < node->outputs; i++) extend(&life[mcl__graph_root(graph, node->out[i])], n);
    }
    for (int i = 0; i < graph->tensors; i++) {
        int root = mcl__graph_root(graph, i);
        if (graph->tensor[i].kept && life[root].used) extend(&life[root], graph->nodes);
    }
}

/* May the first output of node n be written over its first input? Only where that dies there and enters only once. */
static bool in_place(const mcl__graph *graph, const lifetime *life, int n)
{
    const mcl__node *node = &graph->node[n];
    if (!mcl__op_get(node->op)->in_place) return false;
    int from = mcl__graph_root(graph, node->in[0]), to = node->out[0];
    const mcl__tensor *source = &graph->tensor[from], *target = &graph->tensor[to];
    if (source->bound.buffer || target->bound.buffer || !life[from].used || life[from].last != n) return false;
    if (graph->node[source->producer].segment != node->segment) return false;
    for (int i = 1; i < node->inputs; i++)
        if (mcl__graph_root(graph, node->in[i]) == from) return false;
    return mcl__tensor_bytes(source) == mcl__tensor_bytes(target);
}

/* One block a root tensor; a tensor that is written over another one joins its block. */
static void make_tensor_blocks(const mcl__graph *graph, const lifetime *life, uint64_t alignment, bool share, mcl__memory *memory)
{
    for (int i = 0; i < graph->tensors; i++) memory->tensor[i] = -1;
    for (int n = 0; n < graph->nodes; n++) {
        const mcl__node *node = &graph->node[n];
        for (int i = 0; i < node->outputs; i++) {
            int id = mcl__graph_root(graph, node->out[i]);
            const mcl__tensor *tensor = &graph->tensor[id];
            if (tensor->bound.buffer || memory->tensor[id] >= 0) continue;
            memory->sum += align_up(mcl__tensor_bytes(tensor), alignment);
            if (i == 0 && share && in_place(graph, life, n)) {
                int block = memory->tensor[id] = memory->tensor[mcl__graph_root(graph, node->in[0])];
                if (life[id].last > memory->block[block].last) memory->block[block].last = life[id].last;
                continue;
            }
            memory->tensor[id] = memory->blocks;
            memory->block[memory->blocks++] =
                (mcl__block){.bytes = mcl__tensor_bytes(tensor), .first = life[id].first, .last = life[id].last};
        }
    }
}

/* Workspace that makes a derived tensor is used before the segment `compute` begins, when batches are there already. */
static bool used_early(const mcl__lowered *lowered, int workspace)
{
    for (int c = 0; c < lowered->commands; c++) {
        const mcl__command *command = &lowered->command[c];
        for (int a = 0; a < command->args && command->derive >= 0; a++)
            if (command->arg[a].kind == MCL__COMMAND_OPERAND && command->arg[a].operand.kind == MCL__OPERAND_WORKSPACE &&
                command->arg[a].operand.index == workspace)
                return true;
    }
    return false;
}

static void make_workspace_blocks(const mcl__graph *graph, const mcl__lowered *lowered, uint64_t alignment, mcl__memory *memory)
{
    for (int n = 0; n < graph->nodes; n++) {
        memory->workspace[n] = memory->blocks;
        for (int w = 0; w < lowered[n].workspaces; w++) {
            memory->sum += align_up(lowered[n].workspace[w], alignment);
            memory->block[memory->blocks++] =
                (mcl__block){.bytes = lowered[n].workspace[w], .first = used_early(&lowered[n], w) ? 0 : n, .last = n};
        }
    }
}

mcl_status mcl__memory_lifetimes(const mcl__graph *graph, const mcl__lowered *lowered, uint64_t alignment, bool share,
                                 mcl__memory *memory, mcl_error *error)
{
    size_t blocks = (size_t)graph->tensors, nodes = graph->nodes > 0 ? (size_t)graph->nodes : 1;
    for (int n = 0; n < graph->nodes; n++) blocks += (size_t)lowered[n].workspaces;
    lifetime *life = calloc((size_t)graph->tensors, sizeof *life);
    *memory = (mcl__memory){.block = calloc(blocks, sizeof *memory->block),
                            .tensor = calloc((size_t)graph->tensors, sizeof *memory->tensor),
                            .workspace = calloc(nodes, sizeof *memory->workspace)};
    bool there = life && memory->block && memory->tensor && memory->workspace;
    if (there) {
        find_lifetimes(graph, life);
        make_tensor_blocks(graph, life, alignment, share, memory);
        make_workspace_blocks(graph, lowered, alignment, memory);
    }
    free(life);
    return there ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a plan");
}

void mcl__memory_free(mcl__memory *memory)
{
    free(memory->block);
    free(memory->tensor);
    free(memory->workspace);
    *memory = (mcl__memory){0};
}

/* --- Buffers ------------------------------------------------------------------------------------------------------------ */

mcl_status mcl__slabs_create(mcl_device *device, mcl__slabs *slabs, mcl_error *error)
{
    slabs->buffer = calloc(slabs->count > 0 ? (size_t)slabs->count : 1, sizeof *slabs->buffer);
    if (!slabs->buffer) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for a plan");
    for (int i = 0; i < slabs->count; i++) {
        mcl_status status = mcl__buffer_create_zeros(device, slabs->bytes[i], &slabs->buffer[i]);
        if (status != MCL_OK) return mcl__fail(error, status, "%s", mcl_device_error(device)->text);
    }
    return MCL_OK;
}

void mcl__slabs_destroy(mcl__slabs *slabs)
{
    for (int i = 0; slabs->buffer && i < slabs->count; i++) mcl_buffer_destroy(slabs->buffer[i]);
    free(slabs->buffer);
    free(slabs->bytes);
    *slabs = (mcl__slabs){0};
}

uint64_t mcl__slabs_bytes(const mcl__slabs *slabs)
{
    uint64_t bytes = 0;
    for (int i = 0; i < slabs->count; i++) bytes += slabs->bytes[i];
    return bytes;
}
