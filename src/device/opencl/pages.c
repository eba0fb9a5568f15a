/* Memory for buffers of a device that shares it with the host: fresh pages of the system. They are zeros already, and there is
 * nothing to wait for; but each costs two microseconds when it is first used, so a thread that has only the time that nobody
 * else wants uses them first. It must never write: somebody may have begun to. */
#include "device/opencl/opencl.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE 4096         /* or a multiple of it */
#define WORTH_THREAD 1048576

struct mcl__cl_pages {
    unsigned char *data;
    size_t bytes;
    pthread_t thread;
    bool running;
    atomic_bool stop;
};

/* An atomic "or 0" makes a page the process's own, as a write does, and changes nothing. */
static void *use_first(void *argument)
{
    struct mcl__cl_pages *pages = argument;
    pthread_setschedparam(pthread_self(), SCHED_IDLE, &(struct sched_param){0});
    for (size_t at = 0; at < pages->bytes && !atomic_load_explicit(&pages->stop, memory_order_relaxed); at += PAGE)
        atomic_fetch_or_explicit((_Atomic unsigned char *)(pages->data + at), 0, memory_order_relaxed);
    return NULL;
}

mcl__cl_pages *mcl__cl_pages_create(size_t bytes)
{
    mcl__cl_pages *pages = calloc(1, sizeof *pages);
    if (!pages) return NULL;
    pages->bytes = bytes;
    pages->data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages->data == MAP_FAILED) {
        free(pages);
        return NULL;
    }
    pages->running = bytes >= WORTH_THREAD && pthread_create(&pages->thread, NULL, use_first, pages) == 0;
    return pages;
}

void *mcl__cl_pages_data(const mcl__cl_pages *pages) { return pages->data; }

void mcl__cl_pages_destroy(mcl__cl_pages *pages)
{
    if (!pages) return;
    atomic_store_explicit(&pages->stop, true, memory_order_relaxed);
    if (pages->running) pthread_join(pages->thread, NULL);
    munmap(pages->data, pages->bytes);
    free(pages);
}
