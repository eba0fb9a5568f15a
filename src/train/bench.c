/* Steps, their times, and where these go. */
#include "train/bench.h"
#include "base/clock.h"
#include "train/rig.h"
#include "train/trainer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WARM_STEPS = 3, LEAST_STEPS = 5, MOST_STEPS = 200, PROFILED_STEPS = 5, WARM_PROFILED = 2, AHEAD_ROUNDS = 3 };
static const double enough_seconds = 2.0;

/* --- Memory of the process ------------------------------------------------------------------------------------------------ */

/* A line of /proc/self/status, in bytes; 0 where there is none. */
static uint64_t process_memory(const char *key)
{
    char line[256];
    unsigned long long kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    if (!file) return 0;
    while (!kilobytes && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0) kilobytes = strtoull(line + strlen(key), NULL, 10);
    fclose(file);
    return kilobytes * 1024;
}

/* Makes the peak of resident memory begin anew, so that it is the network's own. */
static void reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) return;
    fputs("5", file);
    fclose(file);
}

static uint64_t growth(uint64_t before, uint64_t after) { return after > before ? after - before : 0; }

/* --- Steps ---------------------------------------------------------------------------------------------------------------- */

static mcl_status prepare(mcl__rig *r, const mcl__bench_options *options, mcl_error *error)
{
    int pictures = options->pictures ? options->pictures : 4 * options->batch;
    mcl_train_options train = {.batch = options->batch, .learning_rate = 0.01f, .momentum = 0.9f, .weight_decay = 5e-4f,
                               .recompute = options->recompute};
    MCL_TRY(mcl__rig_create(r, &train, pictures < options->batch ? options->batch : pictures, error));
    return mcl__rig_plan(r, error);
}

static mcl_status check_record(mcl__rig *r, mcl_error *error)
{
    mcl_state state;
    MCL_TRY_DEVICE(r->device, mcl__model_record(r->model, &state), error);
    if (state.first_bad) return mcl__fail(error, MCL_ERROR_DIVERGED, "step %d: a NaN or infinity", state.first_bad);
    return MCL_OK;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double mcl__median(double *value, int count)
{
    qsort(value, (size_t)count, sizeof *value, by_size);
    return count % 2 ? value[count / 2] : 0.5 * (value[count / 2 - 1] + value[count / 2]);
}

static void set_host(mcl__bench *b, double *host, int steps)
{
    double sum = 0;
    for (int i = 0; i < steps; i++) sum += host[i];
    b->host_launch = mcl__median(host, steps) / b->launches;
    b->host_launch_mean = sum / steps / b->launches;
}

/* What a launch costs the host where steps are enqueued as a training does it: the first after a wait, and those right behind it,
 * which cost a third. Beside the mean of all stands the median step, half way between them where only two are enqueued. For in
 * virtual machines some launches stall for 130 microseconds of what counts as this thread's own time, without a fault or time of
 * the system's; so does a process that only sleeps for a second, then touches its pages. The likely cause is below the machine,
 * which cannot see it. */
static mcl_status measure_ahead(mcl__rig *r, mcl__bench *b, mcl_error *error)
{
    double host[AHEAD_ROUNDS * MCL__MOST_AHEAD], ignored;
    for (int i = 0; i < AHEAD_ROUNDS; i++)
        MCL_TRY_DEVICE(r->device, mcl__rig_steps(r, b->ahead, host + i * b->ahead, &ignored), error);
    set_host(b, host, AHEAD_ROUNDS * b->ahead);
    return MCL_OK;
}

static mcl_status measure_steps(mcl__rig *r, int wanted, mcl__bench *b, mcl_error *error)
{
    static double seconds[MOST_STEPS];
    double ignored;
    for (int i = 0; i < WARM_STEPS; i++) MCL_TRY_DEVICE(r->device, mcl__rig_steps(r, 1, &ignored, &ignored), error);
    uint64_t launches = r->device->counters.launches;
    double begun = mcl__seconds();
    for (int n = 0; n < MOST_STEPS; n++) {
        if (wanted ? n == wanted : n >= LEAST_STEPS && mcl__seconds() - begun > enough_seconds) break;
        MCL_TRY_DEVICE(r->device, mcl__rig_steps(r, 1, &ignored, &seconds[n]), error);
        b->steps = n + 1;
    }
    b->launches = (double)(r->device->counters.launches - launches) / b->steps;
    b->median = mcl__median(seconds, b->steps);
    b->least = seconds[0];
    b->most = seconds[b->steps - 1];
    b->low_quartile = seconds[b->steps / 4];
    b->high_quartile = seconds[b->steps - 1 - b->steps / 4];
    if (r->device->info.type == MCL_DEVICE_NATIVE) return MCL_OK;
    b->ahead = mcl__steps_ahead(b->median);
    return measure_ahead(r, b, error);
}

/* resident: of the process, before the model. */
static mcl_status begin(mcl__rig *r, const mcl__bench_options *options, mcl__bench_start *start, uint64_t *resident,
                        mcl_error *error)
{
    double began = mcl__seconds(), ignored;
    MCL_TRY(mcl_device_open(options->device, &options->device_options, &r->device, error));
    double opening = mcl__seconds() - began;
    reset_peak();
    *resident = process_memory("VmRSS:");
    began = mcl__seconds() - opening;
    MCL_TRY(prepare(r, options, error));
    MCL_TRY_DEVICE(r->device, mcl__rig_steps(r, 1, &ignored, &ignored), error);
    *start = (mcl__bench_start){mcl__seconds() - began, r->device->counters.programs_built, r->device->counters.programs_loaded};
    return MCL_OK;
}

static mcl_status measure(mcl__rig *r, const mcl__bench_options *options, mcl__bench *b, mcl_error *error)
{
    uint64_t before;
    MCL_TRY(begin(r, options, &b->start, &before, error));
    b->device = r->device->info;
    b->threads = r->device->threads;
    MCL_TRY(measure_steps(r, options->steps, b, error));
    b->resident_growth = growth(before, process_memory("VmRSS:"));
    b->peak_growth = growth(before, process_memory("VmHWM:"));
    b->device_bytes = r->device->counters.peak_bytes_allocated;
    b->plan = mcl__plan_get_statistics(r->train.plan);
    b->flops = b->plan.flops;
    for (int n = 0; n < mcl__plan_graph(r->train.plan)->nodes; n++) b->bytes += mcl__plan_node(r->train.plan, n).bytes;
    MCL_TRY(check_record(r, error));
    MCL_TRY_DEVICE(r->device, mcl__peak_measure(r->device, &b->peak), error);
    return MCL_OK;
}

/* --- Layers --------------------------------------------------------------------------------------------------------------- */

double mcl__roofline(const mcl__peak *peak, double flops, double bytes)
{
    double compute = peak->flops > 0 ? flops / peak->flops : 0, memory = peak->bandwidth > 0 ? bytes / peak->bandwidth : 0;
    return compute > memory ? compute : memory;
}

static int farthest_first(const void *a, const void *b)
{
    const mcl__bench_layer *x = a, *y = b;
    double lost_x = x->seconds - x->roofline, lost_y = y->seconds - y->roofline;
    return (lost_x < lost_y) - (lost_x > lost_y);
}

static void add_layer(mcl__bench *b, const mcl__node_report *node, double seconds)
{
    mcl__bench_layer *layer = &b->layer[b->layers++];
    *layer = (mcl__bench_layer){.launches = node->launches, .seconds = seconds, .flops = node->flops, .bytes = node->bytes};
    snprintf(layer->name, sizeof layer->name, "%s", node->name);
    snprintf(layer->op, sizeof layer->op, "%s", node->op);
    snprintf(layer->shape, sizeof layer->shape, "%s", node->shape);
    snprintf(layer->variant, sizeof layer->variant, "%s", node->choice);
    layer->roofline = mcl__roofline(&b->peak, node->flops, node->bytes);
}

static mcl_status profile_nodes(mcl__rig *r, int nodes, mcl__bench *b, mcl_error *error)
{
    double *seconds = calloc((size_t)nodes + 1, sizeof *seconds), ignored;
    b->layer = calloc((size_t)nodes + 1, sizeof *b->layer);
    mcl_status status = seconds && b->layer ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the layers");
    if (status != MCL_OK) goto done;
    for (int i = 0; i < WARM_PROFILED && status == MCL_OK; i++) status = mcl__rig_steps(r, 1, &ignored, &ignored);
    for (int i = 0; i < PROFILED_STEPS && status == MCL_OK; i++)
        if ((status = mcl__rig_write_step(r)) == MCL_OK) status = mcl__plan_profile(r->train.plan, seconds);
    if (status != MCL_OK) {
        mcl__device_error_to(r->device, status, error);
        goto done;
    }
    for (int n = 0; n < nodes; n++) {
        mcl__node_report node = mcl__plan_node(r->train.plan, n);
        if (node.variant) add_layer(b, &node, seconds[n] / PROFILED_STEPS);
    }
    mcl__node_report forms = {.name = "derived weights", .choice = "-", .op = "-", .shape = "-",
                              .launches = b->plan.derive_launches, .bytes = 2.0 * (double)b->plan.derived_bytes};
    if (forms.launches) add_layer(b, &forms, seconds[nodes] / PROFILED_STEPS);
    qsort(b->layer, (size_t)b->layers, sizeof *b->layer, farthest_first);
done:
    free(seconds);
    return status;
}

/* With a device of its own, because profiling costs time. */
static mcl_status measure_layers(const mcl_network *network, const mcl__bench_options *options, mcl__bench *b, mcl_error *error)
{
    mcl__rig r = {.network = network};
    mcl_device_options device_options = options->device_options;
    device_options.profiling = true;
    mcl_status status = mcl_device_open(options->device, &device_options, &r.device, error);
    if (status == MCL_OK) status = prepare(&r, options, error);
    if (status == MCL_OK) status = profile_nodes(&r, mcl__plan_graph(r.train.plan)->nodes, b, error);
    mcl__rig_destroy(&r);
    mcl_device_close(r.device);
    return status;
}

mcl_status mcl__bench_run(const mcl_network *network, const mcl__bench_options *options, mcl__bench *bench, mcl_error *error)
{
    mcl__rig r = {.network = network};
    *bench = (mcl__bench){.batch = options->batch};
    if (options->steps > MOST_STEPS) return mcl__fail(error, MCL_ERROR_INVALID, "at most %d steps are measured", MOST_STEPS);
    mcl_status status = measure(&r, options, bench, error);
    mcl__rig_destroy(&r);
    mcl_device_close(r.device);
    if (status == MCL_OK && options->layers) status = measure_layers(network, options, bench, error);
    if (status != MCL_OK) mcl__bench_free(bench);
    return status;
}

mcl_status mcl__bench_begin(const mcl_network *network, const mcl__bench_options *options, mcl__bench_start *start,
                            mcl_error *error)
{
    mcl__rig r = {.network = network};
    uint64_t resident;
    mcl_status status = begin(&r, options, start, &resident, error);
    mcl__rig_destroy(&r);
    mcl_device_close(r.device);
    return status;
}

void mcl__bench_free(mcl__bench *bench)
{
    free(bench->layer);
    *bench = (mcl__bench){0};
}

int mcl__bench_batch(const char *network)
{
    static const char *const small[] = {"mlp", "lenet", "resnet20", "resnet20a"};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++)
        if (strcmp(small[i], network) == 0) return 128;
    return 64;
}
