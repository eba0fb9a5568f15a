/* Which devices there are, and which one a selector means. */
#include "base/machine.h"
#include "device/backend.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* In the order of listing. A new backend is one line here. */
static const mcl__backend *const backends[] = {
    &mcl__opencl_backend,
    &mcl__native_backend,
};
#define BACKENDS (sizeof backends / sizeof *backends)

typedef struct catalogue {
    mcl_device_info *devices;
    const mcl__backend **backend; /* of each device */
    int count;
    char *notes;
} catalogue;

static const mcl__backend *backend_named(const char *name)
{
    for (size_t b = 0; b < BACKENDS; b++)
        if (strcasecmp(backends[b]->name, name) == 0) return backends[b];
    return NULL;
}

/* only: leave the other backends alone, so that a driver that crashes cannot keep anybody from the native device; NULL: all. */
static mcl_status catalogue_fill(catalogue *all, const mcl__backend *only, mcl_error *error)
{
    *all = (catalogue){0};
    for (size_t b = 0; b < BACKENDS; b++) {
        int before = all->count;
        if (only && backends[b] != only) continue;
        MCL_TRY(backends[b]->list(&all->devices, &all->count, &all->notes, error));
        if (all->count == before) continue;
        const mcl__backend **grown = realloc(all->backend, (size_t)all->count * sizeof *grown);
        if (!grown) return mcl__fail(error, MCL_ERROR_MEMORY, "listing the devices: out of host memory");
        all->backend = grown;
        for (int i = before; i < all->count; i++) all->backend[i] = backends[b];
    }
    if (all->count == 0) return mcl__fail(error, MCL_ERROR_NOT_FOUND, "there is no device at all");
    return MCL_OK;
}

static void catalogue_free(catalogue *all)
{
    free(all->devices);
    free(all->backend);
    free(all->notes);
}

/* only NULL: all backends. */
static void prepare(const mcl__backend *only, const mcl_device_options *options)
{
    for (size_t i = 0; i < BACKENDS; i++)
        if (backends[i]->prepare && (!only || backends[i] == only)) backends[i]->prepare(options);
}

/* One thread at a time: drivers are told by the environment, which all threads share. */
static mcl_status look(catalogue *all, const mcl__backend *only, const mcl_device_options *options, mcl_error *error)
{
    static pthread_mutex_t alone = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&alone);
    prepare(only, options);
    mcl_status status = catalogue_fill(all, only, error);
    pthread_mutex_unlock(&alone);
    return status;
}

void mcl__cache_in(const char *folder)
{
    for (size_t i = 0; i < BACKENDS; i++)
        if (backends[i]->cache_in) backends[i]->cache_in(folder);
    setenv("XDG_CACHE_HOME", folder, 1);
}

mcl_status mcl_device_list(mcl_device_info **devices, int *count, char **notes, mcl_error *error)
{
    *devices = NULL;
    *count = 0;
    if (notes) *notes = NULL;
    catalogue all;
    mcl_status status = look(&all, NULL, &(mcl_device_options){0}, error);
    if (status == MCL_OK) {
        *devices = all.devices;
        *count = all.count;
        all.devices = NULL;
        if (notes) {
            *notes = all.notes;
            all.notes = NULL;
        }
    }
    catalogue_free(&all);
    return status;
}

/* Orders devices of equal type: memory of its own first, then speed as far as the driver tells it. */
static bool better(const mcl_device_info *a, const mcl_device_info *b)
{
    if (a->unified_memory != b->unified_memory) return !a->unified_memory;
    uint64_t speed_a = (uint64_t)a->compute_units * a->clock_mhz, speed_b = (uint64_t)b->compute_units * b->clock_mhz;
    return speed_a != speed_b ? speed_a > speed_b : a->memory > b->memory;
}

static int best_of_type(const catalogue *all, const bool *refused, mcl_device_type type, int *alternatives)
{
    int best = -1;
    *alternatives = 0;
    for (int i = 0; i < all->count; i++) {
        if (all->devices[i].type != type || (refused && refused[i])) continue;
        ++*alternatives;
        if (best < 0 || better(&all->devices[i], &all->devices[best])) best = i;
    }
    return best;
}

static bool has_opencl(const catalogue *all)
{
    for (int i = 0; i < all->count; i++)
        if (all->devices[i].type != MCL_DEVICE_NATIVE) return true;
    return false;
}

/* What each keyword takes, best first; the first type that is there wins. */
typedef struct preference { mcl_device_type type; const char *only, *several; } preference;

static const preference auto_order[] = {
    {MCL_DEVICE_GPU, "the only GPU", "the fastest of the GPUs by compute units and clock, memory of its own first"},
    {MCL_DEVICE_CPU, "no GPU was found; the only CPU device of OpenCL",
     "no GPU was found; the largest CPU device of OpenCL"},
    {MCL_DEVICE_ACCELERATOR, "no GPU or CPU device of OpenCL was found; the only accelerator", "the first accelerator"},
    {MCL_DEVICE_NATIVE, "no usable OpenCL device was found, so plain C on the CPU computes", ""},
};
static const preference gpu_order[] = {
    {MCL_DEVICE_GPU, "asked for a GPU; the only one", "asked for a GPU; the fastest of several"}};
static const preference cpu_order[] = {
    {MCL_DEVICE_CPU, "asked for a CPU; the only one of OpenCL", "asked for a CPU; the largest of several"},
    {MCL_DEVICE_NATIVE, "asked for a CPU; OpenCL has none, so plain C computes", ""},
};
static const preference native_order[] = {{MCL_DEVICE_NATIVE, "asked for by name", ""}};

static const struct { const char *keyword; const preference *order; int count; } keywords[] = {
    {"auto", auto_order, 4}, {"gpu", gpu_order, 1}, {"cpu", cpu_order, 2}, {"native", native_order, 1},
};

static int by_keyword(const catalogue *all, const bool *refused, const preference *order, int count, char *reason,
                      size_t room)
{
    for (int i = 0; i < count; i++) {
        int alternatives, found = best_of_type(all, refused, order[i].type, &alternatives);
        if (found < 0) continue;
        const char *text = alternatives > 1 ? order[i].several : order[i].only;
        bool excuse = order == auto_order && order[i].type == MCL_DEVICE_NATIVE && !has_opencl(all) && all->notes;
        snprintf(reason, room, "%s%s%s%s", text, excuse ? " (" : "", excuse ? all->notes : "", excuse ? ")" : "");
        return found;
    }
    return -1;
}

static bool is_named(const mcl_device_info *device, const char *part)
{
    return strcasestr(device->name, part) || strcasestr(device->chip, part) || strcasestr(device->platform, part);
}

/* P:D, or part of the name of a device, of its chip or of its platform. */
static int by_name(const catalogue *all, const char *selector, char *reason, size_t room)
{
    int best = -1, matches = 0;
    for (int i = 0; i < all->count; i++) {
        const mcl_device_info *device = &all->devices[i];
        if (strcmp(device->selector, selector) == 0) {
            snprintf(reason, room, "asked for as %s", selector);
            return i;
        }
        if (!is_named(device, selector)) continue;
        matches++;
        if (best < 0 || better(device, &all->devices[best])) best = i;
    }
    if (matches == 1) snprintf(reason, room, "the only device whose name has \"%s\"", selector);
    if (matches > 1) snprintf(reason, room, "the best of %d devices whose name has \"%s\"", matches, selector);
    return best;
}

static int pick(const catalogue *all, const bool *refused, const char *selector, char *reason, size_t room)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strcasecmp(selector, keywords[i].keyword) == 0)
            return by_keyword(all, refused, keywords[i].order, keywords[i].count, reason, room);
    return by_name(all, selector, reason, room);
}

static mcl_status fail_not_found(const catalogue *all, const char *selector, mcl_error *error)
{
    char list[3072] = "";
    size_t used = 0;
    for (int i = 0; i < all->count && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s (%s)", i ? ", " : "", all->devices[i].selector,
                                 all->devices[i].name);
    return mcl__fail(error, MCL_ERROR_NOT_FOUND, "no device fits \"%s\"; there is: %s%s%s%s", selector, list,
                     all->notes ? " [" : "", all->notes ? all->notes : "", all->notes ? "]" : "");
}

static mcl_status copy_text(const char **target, const char *text, mcl_error *error)
{
    *target = text ? strdup(text) : NULL;
    if (text && !*target) return mcl__fail(error, MCL_ERROR_MEMORY, "opening a device: out of host memory");
    return MCL_OK;
}

/* Opens device i and completes what every backend's device has. */
static mcl_status open_one(const catalogue *all, int i, const mcl_device_options *options, const char *reason,
                           mcl_device **device, mcl_error *error)
{
    mcl_status status;
    mcl_device *opened = NULL;
    mcl_device_options own = *options;
    own.gemm = own.variant = own.kernels = own.helper = NULL;
    if (own.threads == 0) own.threads = mcl__usable_cpus();
    MCL_TRY_DONE(copy_text(&own.gemm, options->gemm, error));
    MCL_TRY_DONE(copy_text(&own.variant, options->variant, error));
    MCL_TRY_DONE(copy_text(&own.kernels, options->kernels, error));
    MCL_TRY_DONE(copy_text(&own.helper, options->helper, error));
    MCL_TRY_DONE(all->backend[i]->open(&all->devices[i], &own, &opened, error));
    opened->backend = all->backend[i];
    if (!opened->info.selector[0]) opened->info = all->devices[i];
    opened->options = own;
    opened->options.threads = options->threads;
    if (opened->threads == 0) opened->threads = own.threads;
    snprintf(opened->reason, sizeof opened->reason, "%s", reason);
    *device = opened;
    return MCL_OK;
done:
    free((char *)own.gemm);
    free((char *)own.variant);
    free((char *)own.kernels);
    free((char *)own.helper);
    return status;
}

/* auto goes on to the next best device when one is listed but does not open. */
static mcl_status open_picked(const catalogue *all, const char *selector, const mcl_device_options *options,
                              mcl_device **device, mcl_error *error)
{
    bool *refused = calloc((size_t)all->count, sizeof *refused);
    if (!refused) return mcl__fail(error, MCL_ERROR_MEMORY, "opening a device: out of host memory");
    mcl_status status = MCL_ERROR_NOT_FOUND;
    bool may_go_on = strcasecmp(selector, "auto") == 0;
    for (int tries = 0; tries < all->count; tries++) {
        char reason[256] = "";
        int found = pick(all, refused, selector, reason, sizeof reason);
        if (found < 0) {
            status = fail_not_found(all, selector, error);
            break;
        }
        mcl_error failure = {0};
        status = open_one(all, found, options, reason, device, &failure);
        if (status == MCL_OK) break;
        if (!may_go_on || tries + 1 == all->count) {
            mcl__fail(error, status, "%s (%s): %s", all->devices[found].selector, all->devices[found].name,
                      failure.text);
            break;
        }
        mcl__log(MCL_LOG_WARNING, "device %s (%s) does not open: %s", all->devices[found].selector,
                 all->devices[found].name, failure.text);
        refused[found] = true;
    }
    free(refused);
    return status;
}

mcl_status mcl_device_open(const char *selector, const mcl_device_options *options, mcl_device **device,
                           mcl_error *error)
{
    static const mcl_device_options defaults;
    *device = NULL;
    if (!options) options = &defaults;
    if (!selector) selector = getenv("MONOCLE_DEVICE");
    if (!selector || !*selector) selector = "auto";
    if (options->threads < 0) return mcl__fail(error, MCL_ERROR_INVALID, "threads must not be negative");
    const char *gemm = options->gemm ? options->gemm : "auto";
    if (strcmp(gemm, "auto") != 0 && strcmp(gemm, "clblast") != 0 && strcmp(gemm, "own") != 0)
        return mcl__fail(error, MCL_ERROR_INVALID, "gemm is \"%s\"; it may be auto, clblast or own", gemm);
    const mcl__backend *only = backend_named(selector);
    catalogue all;
    mcl_status status = look(&all, only, options, error);
    if (status == MCL_OK) status = open_picked(&all, selector, options, device, error);
    catalogue_free(&all);
    return status;
}
