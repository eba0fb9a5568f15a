/* Which functions are native kernels: tables that the layers above have registered. */
#include "device/native/native.h"
#include <assert.h>
#include <pthread.h>
#include <string.h>

#define TABLES 16

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct { const mcl__native_kernel *kernels; int count; } tables[TABLES];
static int used;

/* Registering a table twice does nothing. */
void mcl__native_register(const mcl__native_kernel *kernels, int count)
{
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < used && tables[i].kernels != kernels) i++;
    assert(i < TABLES);
    if (i == used && i < TABLES) {
        tables[i].kernels = kernels;
        tables[i].count = count;
        used++;
    }
    pthread_mutex_unlock(&lock);
}

mcl__native_function mcl__native_find(const char *name)
{
    mcl__native_function found = NULL;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < used && !found; i++)
        for (int k = 0; k < tables[i].count && !found; k++)
            if (!strcmp(tables[i].kernels[k].name, name)) found = tables[i].kernels[k].function;
    pthread_mutex_unlock(&lock);
    return found;
}
