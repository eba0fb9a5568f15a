/* monocle bench: how fast networks train here, and where the time goes. */
#include "cli/bench_start.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static int run_bench(int argc, char **argv);

enum { SHOWN_LAYERS = 15 };
static const double MiB = 0x1p20;

static struct {
    const char *device, *batch, *steps, *pictures, *threads, *variant, *tuning, *recompute;
    bool cold, json, layers, all;
} given = {.batch = "0", .steps = "0", .pictures = "0", .threads = "0", .tuning = "auto", .recompute = "auto"};

static const mcl__option options[] = {
    MCL__DEVICE_OPTION(&given.device),
    {.name = "batch", .value = "N", .help = "pictures a step [128 for mlp, lenet, resnet20; else 64]", .text = &given.batch},
    {.name = "steps", .value = "N", .help = "steps measured, up to 200 [what fits in two seconds]", .text = &given.steps},
    {.name = "pictures", .value = "N", .help = "size of the made-up data set [four batches]", .text = &given.pictures},
    {.name = "threads", .value = "N", .help = "threads of a CPU device [all]", .text = &given.threads},
    {.name = "variant", .value = "V", .help = "force kernel variants by name, such as reference", .text = &given.variant},
    {.name = "tuning", .value = "T", .help = "rows that choose kernels: auto (the user's own, else shipped), shipped, or off",
     .words = "auto shipped off", .text = &given.tuning},
    {.name = "recompute", .value = "R", .help = "make cheap activations again instead of keeping them: auto, on or off",
     .words = "auto on off", .text = &given.recompute},
    {.name = "cold", .help = "also the start with an empty cache, beside that with a filled one", .flag = &given.cold},
    {.name = "layers", .help = "also each node of the plan: those that lose the most time first", .flag = &given.layers},
    {.name = "all", .help = "with --layers: every node, not the first 15", .flag = &given.all},
    {.name = "json", .help = "an object a line for each network", .flag = &given.json},
    {0},
};

const mcl__subcommand mcl__subcommand_bench = {
    .name = "bench",
    .usage = "bench [NETWORK...] [OPTION...]",
    .summary = "Measures training steps of networks on made-up pictures, beside what the device can do at most.",
    .options = options,
    .operands = "NETWORKS",
    .help = "A step loads a batch that is on the device already, computes forward and backward, and updates by SGD\n"
            "(momentum 0.9, weight decay 5e-4). The device's peak (multiply-adds in registers) and bandwidth (a copy) are\n"
            "measured in the same run. Steps are timed one at a time. What a launch costs the host is processor time of the\n"
            "thread that enqueues, measured as training does it: the steps of 0.75 seconds, 2 to 64, then a wait. The\n"
            "median step is without what a machine with other guests takes now and then, the mean is with it.\n"
            "A start is from opening the device to the end of the first step, with the cache as it is. With --cold it is\n"
            "measured twice more, in processes whose cache is a temporary folder, once empty and once with what that left.\n"
            "Without a network, all that have a name are measured, one after another.\n"
            "tests/bench/compare.sh in the source alternates this with PyTorch.\n",
    .run = run_bench,
};

/* --- Text ----------------------------------------------------------------------------------------------------------------- */

static void print_layers(const mcl__bench *b)
{
    int shown = given.all || b->layers < SHOWN_LAYERS ? b->layers : SHOWN_LAYERS, name = 4, op = 8, variant = 7;
    double total = 0;
    for (int i = 0; i < b->layers; i++) total += b->layer[i].seconds;
    for (int i = 0; i < shown; i++) {
        const mcl__bench_layer *l = &b->layer[i];
        if ((int)strlen(l->name) > name) name = (int)strlen(l->name);
        if ((int)strlen(l->op) > op) op = (int)strlen(l->op);
        if ((int)strlen(l->variant) > variant) variant = (int)strlen(l->variant);
    }
    printf("  %-*s  %-*s  %-*s  %9s  %6s  %9s  %7s  %9s\n", name, "node", op, "operator", variant, "variant", "ms", "share",
           "GFLOP/s", "GB/s", "roofline");
    for (int i = 0; i < shown; i++) {
        const mcl__bench_layer *l = &b->layer[i];
        printf("  %-*s  %-*s  %-*s  %9.3f  %4.1f %%  %9.1f  %7.1f  %7.1f %%\n", name, l->name, op, l->op, variant, l->variant,
               1e3 * l->seconds, 100 * l->seconds / total, l->flops / l->seconds / 1e9, l->bytes / l->seconds / 1e9,
               100 * l->roofline / l->seconds);
    }
    if (shown < b->layers) printf("  ... and %d more (--all)\n", b->layers - shown);
}

typedef struct starts { mcl__bench_start cold, warm; } starts;

static void print_start(const mcl__bench_start *here, const starts *s)
{
    printf("  start         ");
    if (given.cold) printf("cold %.2f s, warm %.2f s; here ", s->cold.seconds, s->warm.seconds);
    printf("%.2f s from opening the device to the end of the first step; %llu programs built, %llu loaded\n", here->seconds,
           (unsigned long long)here->programs_built, (unsigned long long)here->programs_loaded);
}

static void print_text(const char *name, const mcl__bench *b, const starts *s)
{
    const mcl__plan_statistics *plan = &b->plan;
    uint64_t planned = plan->planned_bytes + plan->derived_bytes;
    double flops = b->flops / b->median, bytes = b->bytes / b->median;
    printf("%s, batch %d, on %s (%s, %d threads)\n", name, b->batch, b->device.name, b->device.driver, b->threads);
    printf("  step          %.3f ms (%.3f to %.3f, half of them within %.1f %%; %d steps)\n", 1e3 * b->median, 1e3 * b->least,
           1e3 * b->most, 100 * (b->high_quartile - b->low_quartile) / b->median, b->steps);
    printf("  pictures      %.1f a second\n", b->batch / b->median);
    printf("  work          %.3f GFLOP and %.1f MiB a step: %.1f GFLOP/s, %.1f GB/s\n", b->flops / 1e9, b->bytes / MiB, flops / 1e9,
           bytes / 1e9);
    printf("  of the device %.1f %% of %.1f GFLOP/s, %.1f %% of %.1f GB/s\n", 100 * flops / b->peak.flops, b->peak.flops / 1e9,
           100 * bytes / b->peak.bandwidth, b->peak.bandwidth / 1e9);
    printf("  memory        %.1f MiB of the device at most: %.1f MiB planned, %.1f MiB model", (double)b->device_bytes / MiB,
           (double)planned / MiB, (double)plan->model_bytes / MiB);
    printf("; the process grew by %.1f MiB, at most %.1f MiB\n", (double)b->resident_growth / MiB, (double)b->peak_growth / MiB);
    print_start(&b->start, s);
    printf("  launches      %.0f a step", b->launches);
    if (b->host_launch > 0)
        printf(", %.2f us of the host each in the median step, %.2f in the mean (%d steps ahead)", 1e6 * b->host_launch,
               1e6 * b->host_launch_mean, b->ahead);
    putchar('\n');
    if (b->layers) print_layers(b);
}

/* --- JSON ----------------------------------------------------------------------------------------------------------------- */

static json_t *layers_json(const mcl__bench *b)
{
    json_t *list = json_array();
    for (int i = 0; i < b->layers; i++) {
        const mcl__bench_layer *l = &b->layer[i];
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s,s:i,s:f,s:f,s:f,s:f}", "node", l->name, "operator", l->op, "shape",
                                              l->shape, "variant", l->variant, "launches", l->launches, "ms", 1e3 * l->seconds,
                                              "gflop", l->flops / 1e9, "mib", l->bytes / MiB, "roofline_ms", 1e3 * l->roofline));
    }
    return list;
}

static json_t *start_json(const mcl__bench_start *here, const starts *s)
{
    json_t *start = json_pack("{s:f,s:I,s:I}", "first_step_s", here->seconds, "programs_built", (json_int_t)here->programs_built,
                              "programs_loaded", (json_int_t)here->programs_loaded);
    if (given.cold) {
        json_object_set_new(start, "cold_s", json_real(s->cold.seconds));
        json_object_set_new(start, "warm_s", json_real(s->warm.seconds));
    }
    return start;
}

static json_t *bench_json(const char *name, const mcl__bench *b, const starts *s)
{
    const mcl__plan_statistics *plan = &b->plan;
    json_t *object = json_pack(
        "{s:s,s:i,s:s,s:s,s:s,s:i,s:i,s:f,s:f,s:f,s:f,s:f}", "model", name, "batch", b->batch, "device", b->device.name, "type",
        mcl__device_type(&b->device), "driver", b->device.driver, "threads", b->threads, "steps", b->steps, "ms", 1e3 * b->median,
        "ms_best", 1e3 * b->least, "ms_worst", 1e3 * b->most, "spread", (b->high_quartile - b->low_quartile) / b->median,
        "img_per_s", b->batch / b->median);
    double flops = b->flops / b->median, bytes = b->bytes / b->median;
    json_t *work = json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "gflop", b->flops / 1e9, "mib", b->bytes / MiB, "gflop_per_s",
                             flops / 1e9, "gb_per_s", bytes / 1e9, "peak_gflop_per_s", b->peak.flops / 1e9, "peak_gb_per_s",
                             b->peak.bandwidth / 1e9, "share_of_peak", flops / b->peak.flops, "share_of_bandwidth",
                             bytes / b->peak.bandwidth);
    json_t *memory =
        json_pack("{s:f,s:f,s:f,s:f,s:f,s:f}", "planned_mib", (double)plan->planned_bytes / MiB, "derived_mib",
                  (double)plan->derived_bytes / MiB, "model_mib", (double)plan->model_bytes / MiB, "device_mib",
                  (double)b->device_bytes / MiB, "resident_growth_mib", (double)b->resident_growth / MiB, "peak_growth_mib",
                  (double)b->peak_growth / MiB);
    json_t *launches = json_pack("{s:f}", "per_step", b->launches);
    if (b->host_launch > 0) {
        json_object_set_new(launches, "host_us_median", json_real(1e6 * b->host_launch));
        json_object_set_new(launches, "host_us_mean", json_real(1e6 * b->host_launch_mean));
        json_object_set_new(launches, "steps_ahead", json_integer(b->ahead));
    }
    json_object_set_new(object, "work", work);
    json_object_set_new(object, "memory", memory);
    json_object_set_new(object, "start", start_json(&b->start, s));
    json_object_set_new(object, "launches", launches);
    if (b->layers) json_object_set_new(object, "layers", layers_json(b));
    return object;
}

static mcl_status print_json(const char *name, const mcl__bench *b, const starts *s, mcl_error *error)
{
    json_t *object = bench_json(name, b, s);
    int failed = !object || json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(7));
    json_decref(object);
    if (failed) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the results");
    putchar('\n');
    return MCL_OK;
}

/* -------------------------------------------------------------------------------------------------------------------------- */

static mcl_status prepare(const char *name, const mcl__bench_options *common, mcl__bench_options *own, mcl_network **network,
                          mcl_error *error)
{
    *own = *common;
    if (!own->batch) own->batch = mcl__bench_batch(name);
    return mcl_network_by_name(name, 0, 0, 0, 0, network, error);
}

static mcl_status bench(const char *name, const mcl__bench_options *common, mcl_error *error)
{
    mcl__bench_options own;
    mcl_network *network = NULL;
    mcl__bench result = {0};
    starts both = {0};
    if (given.cold) MCL_TRY(mcl__starts_measure(name, options, &both.cold, &both.warm, error));
    MCL_TRY(prepare(name, common, &own, &network, error));
    mcl_status status = mcl__bench_run(network, &own, &result, error);
    if (status == MCL_OK && given.json) status = print_json(name, &result, &both, error);
    else if (status == MCL_OK) print_text(name, &result, &both);
    fflush(stdout);
    mcl__bench_free(&result);
    mcl_network_destroy(network);
    return status;
}

/* A start alone, in the process that mcl__starts_measure made for it. */
static int only_start(const char *name, const mcl__bench_options *common)
{
    mcl__bench_options own;
    mcl_network *network = NULL;
    mcl__bench_start start = {0};
    mcl_error error = {0};
    if (prepare(name, common, &own, &network, &error) == MCL_OK) mcl__bench_begin(network, &own, &start, &error);
    mcl_network_destroy(network);
    return mcl__start_tell(&start, &error);
}

static int run_bench(int argc, char **argv)
{
    const mcl__subcommand *self = &mcl__subcommand_bench;
    bool starting = argc > 3 && strcmp(argv[1], MCL__START_WORD) == 0;
    if (starting) mcl__start_begin(argv[2]), argc -= 2, argv += 2;
    mcl__options(self, &argc, argv);
    mcl__bench_options common = {
        .device = given.device,
        .device_options = {.threads = mcl__number(self, "threads", given.threads, 0, 1024), .variant = given.variant,
                           .tuning = (mcl_tuning)mcl__choice(self, "tuning", given.tuning), .helper = MCL__THIS_PROGRAM},
        .batch = mcl__number(self, "batch", given.batch, 0, 1000000),
        .steps = mcl__number(self, "steps", given.steps, 0, 200),
        .pictures = mcl__number(self, "pictures", given.pictures, 0, 100000000),
        .recompute = (mcl_recompute)mcl__choice(self, "recompute", given.recompute),
        .layers = given.layers,
    };
    if (starting) return only_start(argv[1], &common);
    if (given.all && !given.layers) return mcl__usage_error(self, "--all goes with --layers");
    const char *const *names = mcl_network_names();
    int count = 0;
    mcl_error error = {0};
    while (names[count]) count++;
    for (int i = 1; i < argc; i++)
        if (!mcl__is_network(argv[i])) return mcl__no_network(self, argv[i]);
    mcl_status status = MCL_OK;
    for (int i = 0; i < (argc > 1 ? argc - 1 : count) && status == MCL_OK; i++)
        status = bench(argc > 1 ? argv[i + 1] : names[i], &common, &error);
    return status == MCL_OK ? EXIT_SUCCESS : mcl__report(&error);
}
