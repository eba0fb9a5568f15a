/* A few threads that share out the items of one job. */
#ifndef MCL_DATA_POOL_H
#define MCL_DATA_POOL_H
#include "base/error.h"

/* Does item `index`; runs in any thread of the pool, or the caller's. */
typedef mcl_status (*mcl__pool_function)(void *user, int index, mcl_error *error);

typedef struct mcl__pool mcl__pool;
/* threads 0: as many as the process may use; the caller's counts as one. */
mcl_status mcl__pool_create(int threads, mcl__pool **pool, mcl_error *error);
void mcl__pool_destroy(mcl__pool *pool); /* NULL does nothing */

/* Does items 0 to count - 1 and returns when all are done. When some fail, the error is that of the lowest of them,
 * whatever the number of threads. One job at a time: a second caller waits. */
mcl_status mcl__pool_run(mcl__pool *pool, int count, mcl__pool_function function, void *user, mcl_error *error);
#endif
