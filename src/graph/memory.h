/* Where the tensors of a plan live: lifetimes over the order of the nodes, and places in slabs such that nothing that lives at
 * the same time overlaps. Knows sizes and lifetimes only; allocates on a device only through mcl__slabs_create. */
#ifndef MCL_GRAPH_MEMORY_H
#define MCL_GRAPH_MEMORY_H
#include "graph/graph.h"

/* Bytes that live from node `first` to node `last`, both included. */
typedef struct mcl__block {
    uint64_t bytes;
    int first, last;
    int slab;        /* filled in by mcl__memory_place */
    uint64_t offset; /* the same */
} mcl__block;

typedef struct mcl__slabs {
    uint64_t *bytes;
    mcl_buffer **buffer; /* NULL until mcl__slabs_create */
    int count;
} mcl__slabs;

/* Places blocks in slabs of at most `limit` bytes, largest first, each at the lowest free offset. share false: nothing shares.
 * MCL_ERROR_MEMORY when one block is larger than the limit. *slabs is freed with mcl__slabs_destroy, also after a failure. */
mcl_status mcl__memory_place(mcl__block *block, int count, uint64_t alignment, uint64_t limit, bool share, mcl__slabs *slabs,
                             mcl_error *error);

/* The blocks of a graph: tensors that nothing binds, and workspaces. */
typedef struct mcl__memory {
    mcl__block *block;
    int blocks;
    int *tensor;    /* each tensor's block; -1: bound elsewhere, or unused */
    int *workspace; /* each node's first workspace's block; the others follow */
    uint64_t sum;   /* bytes without any sharing */
} mcl__memory;

/* Lifetimes. lowered: one a node; its workspaces are placed too. With `share`, an operator that works in place writes over
 * the input that dies there. Free with mcl__memory_free, also after a failure. */
mcl_status mcl__memory_lifetimes(const mcl__graph *graph, const mcl__lowered *lowered, uint64_t alignment, bool share,
                                 mcl__memory *memory, mcl_error *error);
void mcl__memory_free(mcl__memory *memory);

int mcl__graph_root(const mcl__graph *graph, int tensor); /* the tensor whose memory a view shares; itself if none */
uint64_t mcl__tensor_bytes(const mcl__tensor *tensor);

/* Buffers of zeros on the device. */
mcl_status mcl__slabs_create(mcl_device *device, mcl__slabs *slabs, mcl_error *error);
void mcl__slabs_destroy(mcl__slabs *slabs);
uint64_t mcl__slabs_bytes(const mcl__slabs *slabs);

#endif
