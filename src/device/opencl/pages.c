/* Memory for buffers of a device that shares it with the host: fresh pages of the system. They are zeros already, and there is
 * nothing to wait for; but each takes time when it is first used, so a thread that has only the time that nobody else wants
 * uses them first. It must never write: somebody may have begun to. Large buffers ask for huge pages, as far as they fill them:
 * a core seldom has to look up their addresses, and its prefetching stops at their ends alone. */
#include "device/opencl/opencl.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096) /* or a multiple of it */
#define HUGE_PAGE ((size_t)2 << 20)
#define LARGE HUGE_PAGE /* worth a thread */

struct mcl__cl_pages {
    unsigned char *mapped, *data; /* data begins at a multiple of HUGE_PAGE in large buffers */
    size_t mapped_bytes, bytes, huge; /* the first `huge` bytes are huge pages */
    pthread_t thread;
    bool running;
    atomic_bool stop;
};

/* An atomic "or 0" makes a page the process's own, as a write does, and changes nothing; but for "volatile", a compiler may leave
 * it out. */
static void *use_first(void *argument)
{
    struct mcl__cl_pages *pages = argument;
    pthread_setschedparam(pthread_self(), SCHED_IDLE, &(struct sched_param){0});
    for (size_t at = 0; at < pages->bytes && !atomic_load_explicit(&pages->stop, memory_order_relaxed);
         at += at < pages->huge ? HUGE_PAGE : PAGE)
        atomic_fetch_or_explicit((volatile _Atomic unsigned char *)(pages->data + at), 0, memory_order_relaxed);
    return NULL;
}

/* Whether the system knows them; it may still give small ones. */
static bool ask_huge(void *data, size_t bytes)
{
#ifdef MADV_HUGEPAGE
    return madvise(data, bytes, MADV_HUGEPAGE) == 0;
#else
    (void)data, (void)bytes;
    return false;
#endif
}

mcl__cl_pages *mcl__cl_pages_create(size_t bytes)
{
    mcl__cl_pages *pages = calloc(1, sizeof *pages);
    if (!pages) return NULL;
    bool large = bytes >= LARGE && bytes < SIZE_MAX - HUGE_PAGE;
    size_t whole = bytes / HUGE_PAGE * HUGE_PAGE;
    pages->bytes = bytes;
    pages->mapped_bytes = large ? bytes + HUGE_PAGE : bytes;
    pages->mapped = mmap(NULL, pages->mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages->mapped == MAP_FAILED) {
        free(pages);
        return NULL;
    }
    size_t past = (uintptr_t)pages->mapped % HUGE_PAGE;
    pages->data = pages->mapped + (large && past > 0 ? HUGE_PAGE - past : 0);
    pages->huge = large && ask_huge(pages->data, whole) ? whole : 0;
    pages->running = large && pthread_create(&pages->thread, NULL, use_first, pages) == 0;
    return pages;
}

void *mcl__cl_pages_data(const mcl__cl_pages *pages) { return pages->data; }

void mcl__cl_pages_destroy(mcl__cl_pages *pages)
{
    if (!pages) return;
    atomic_store_explicit(&pages->stop, true, memory_order_relaxed);
    if (pages->running) pthread_join(pages->thread, NULL);
    munmap(pages->mapped, pages->mapped_bytes);
    free(pages);
}
