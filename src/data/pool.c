/* A few threads that share out the items of one job. */
#include "data/pool.h"
#include "base/machine.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { MAX_THREADS = 256 };

struct mcl__pool {
    pthread_mutex_t turn;              /* held during a job: one at a time */
    pthread_mutex_t lock;              /* guards all below but next */
    pthread_cond_t begun, ended;
    unsigned job;                      /* counts jobs, so that a worker takes each once */
    int busy;                          /* workers that have not finished the present job */
    bool quit;
    int count, failed;                 /* failed: lowest failing item, count when none */
    atomic_int next;
    mcl__pool_function function;
    void *user;
    mcl_error error;
    int workers;
    pthread_t worker[MAX_THREADS];
};

/* Items are taken in ascending order, so once one has failed all lower ones are taken, and higher ones may be left. */
static void work(mcl__pool *pool)
{
    for (int item; (item = atomic_fetch_add(&pool->next, 1)) < pool->count;) {
        mcl_error error = {0};
        mcl_status status = pool->function(pool->user, item, &error);
        if (status == MCL_OK) continue;
        error.status = status;
        pthread_mutex_lock(&pool->lock);
        if (item < pool->failed) {
            pool->failed = item;
            pool->error = error;
        }
        pthread_mutex_unlock(&pool->lock);
        atomic_store(&pool->next, pool->count);
    }
}

static void *worker_main(void *user)
{
    mcl__pool *pool = user;
    unsigned seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->job == seen && !pool->quit) pthread_cond_wait(&pool->begun, &pool->lock);
        if (pool->quit) break;
        seen = pool->job;
        pthread_mutex_unlock(&pool->lock);
        work(pool);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0) pthread_cond_signal(&pool->ended);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static int usual_threads(void)
{
    double cpus = mcl__usable_cpus(), quota = ceil(mcl__cpu_quota());
    return (int)(quota < cpus ? quota : cpus);
}

mcl_status mcl__pool_create(int threads, mcl__pool **result, mcl_error *error)
{
    mcl__pool *pool = calloc(1, sizeof *pool);
    if (!pool) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for decoding threads");
    pthread_mutex_init(&pool->turn, NULL);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->begun, NULL);
    pthread_cond_init(&pool->ended, NULL);
    if (threads <= 0) threads = usual_threads();
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    while (pool->workers < threads - 1 && pthread_create(&pool->worker[pool->workers], NULL, worker_main, pool) == 0)
        pool->workers++; /* fewer than wanted only makes it slower */
    *result = pool;
    return MCL_OK;
}

void mcl__pool_destroy(mcl__pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->quit = true;
    pthread_cond_broadcast(&pool->begun);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->workers; i++) pthread_join(pool->worker[i], NULL);
    pthread_cond_destroy(&pool->ended);
    pthread_cond_destroy(&pool->begun);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->turn);
    free(pool);
}

mcl_status mcl__pool_run(mcl__pool *pool, int count, mcl__pool_function function, void *user, mcl_error *error)
{
    if (count <= 0) return MCL_OK;
    pthread_mutex_lock(&pool->turn);
    pthread_mutex_lock(&pool->lock);
    pool->count = pool->failed = count;
    pool->function = function;
    pool->user = user;
    pool->error = (mcl_error){0};
    pool->busy = pool->workers;
    pool->job++;
    atomic_store(&pool->next, 0);
    pthread_cond_broadcast(&pool->begun);
    pthread_mutex_unlock(&pool->lock);
    work(pool);
    pthread_mutex_lock(&pool->lock);
    while (pool->busy) pthread_cond_wait(&pool->ended, &pool->lock);
    mcl_status status = pool->error.status;
    if (status != MCL_OK) mcl__fail(error, status, "%s", pool->error.text);
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_unlock(&pool->turn);
    return status;
}
