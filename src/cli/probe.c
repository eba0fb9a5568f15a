/* monocle probe: what every device is and can do, and whether Monocle trains correctly on it. */
#include "base/json.h"
#include "cli/cli.h"
#include "device/probe.h"
#include "train/self_test.h"
#include <stdlib.h>
#include <string.h>

static int run_probe(int argc, char **argv);

static bool as_json;

static const mcl__option options[] = {
    {.name = "json", .help = "the result as JSON", .flag = &as_json},
    {0},
};

const mcl__subcommand mcl__subcommand_probe = {
    .name = "probe",
    .usage = "probe [OPTION...]",
    .summary = "Lists every device: what it is, what it can do, and whether our kernels pass a self-test on it.",
    .options = options,
    .help = "What is called tested was tried here with a small kernel, not taken from the driver's word.\n",
    .run = run_probe,
};

typedef struct finding {
    const mcl_device_info *info;
    mcl__probe probe;
    mcl_error open_error, probe_error, test_error; /* status 0: fine */
    double difference;
    bool automatic;
} finding;

static void examine(finding *f)
{
    mcl_device *device = NULL;
    if (mcl_device_open(f->info->selector, NULL, &device, &f->open_error) != MCL_OK) return;
    if (mcl__device_probe(device, &f->probe) != MCL_OK) f->probe_error = *mcl_device_error(device);
    else mcl__self_test(device, &f->difference, &f->test_error);
    mcl_device_close(device);
}

static const char *verdict(const mcl__capability *c)
{
    return c->works ? c->claimed ? "yes" : "yes (not advertised)" : c->claimed ? "claimed, but fails its test" : "no";
}

static void print_sizes(const mcl_device_info *i)
{
    printf("  compute       %u units", i->compute_units);
    if (i->clock_mhz) printf(" at %u MHz", i->clock_mhz);
    if (i->vector_floats) printf(", vectors of %u floats", i->vector_floats);
    printf("\n  memory        %.1f GiB, largest allocation %.1f GiB", (double)i->memory / 0x1p30,
           (double)i->max_allocation / 0x1p30);
    if (i->type != MCL_DEVICE_NATIVE) printf(", local %.0f KiB", (double)i->local_memory / 1024);
    puts(i->unified_memory ? ", shared with the host" : "");
    if (i->type != MCL_DEVICE_NATIVE)
        printf("  work-group    at most %llu; %llu x %llu x %llu\n", (unsigned long long)i->max_work_group,
               (unsigned long long)i->max_work_item[0], (unsigned long long)i->max_work_item[1],
               (unsigned long long)i->max_work_item[2]);
}

static void print_sub_groups(const finding *f)
{
    printf("  sub-groups    %s", verdict(&f->probe.sub_groups));
    if (f->probe.sub_group_size) printf(", of %u", f->probe.sub_group_size);
    for (int k = 0; k < 8 && f->info->sub_group_sizes[k]; k++)
        printf("%s%u", k ? ", " : "; sizes ", f->info->sub_group_sizes[k]);
    putchar('\n');
}

static void print_device(const finding *f)
{
    const mcl_device_info *i = f->info;
    printf("%s  %s%s%s%s%s\n", i->selector, i->name, *i->chip ? " (" : "", i->chip, *i->chip ? ")" : "",
           f->automatic ? "  <- auto takes this one" : "");
    printf("  type          %s%s%s\n", mcl__device_type(i), *i->vendor ? ", " : "", i->vendor);
    if (*i->platform) printf("  platform      %s; %s; driver %s\n", i->platform, i->version, i->driver);
    print_sizes(i);
    if (f->open_error.status != MCL_OK) {
        printf("  self-test     not run: %s\n\n", f->open_error.text);
        return;
    }
    printf("  precision     fp16 %s; bf16 storage %s; fp64 %s (tested)\n", verdict(&f->probe.fp16),
           verdict(&f->probe.bf16_storage), verdict(&f->probe.fp64));
    print_sub_groups(f);
    if (*f->probe.extensions) printf("  extensions    %s\n", f->probe.extensions);
    if (f->probe.gemm) printf("  products      %s\n", f->probe.gemm_library);
    else printf("  products      our own kernels: %s\n", f->probe.gemm_why_not);
    for (int q = 0; q < f->probe.quirk_count; q++)
        printf("  quirk         %s: %s (%s)\n", f->probe.quirks[q].what, f->probe.quirks[q].instead,
               f->probe.quirks[q].source);
    if (f->probe_error.status != MCL_OK) printf("  self-test     not run: %s\n\n", f->probe_error.text);
    else if (f->test_error.status != MCL_OK) printf("  self-test     FAILED: %s\n\n", f->test_error.text);
    else if (i->type == MCL_DEVICE_NATIVE) printf("  self-test     passed: a small network trains\n\n");
    else printf("  self-test     passed: kernels build, and training agrees with native to %.1e\n\n", f->difference);
}

static json_t *capability_json(const mcl__capability *c)
{
    return json_pack("{s:b,s:b}", "claimed", c->claimed, "works", c->works);
}

static json_t *device_json(const finding *f)
{
    const mcl_device_info *i = f->info;
    json_t *sizes = json_array(), *quirks = json_array();
    for (int k = 0; k < 8 && i->sub_group_sizes[k]; k++)
        json_array_append_new(sizes, json_integer(i->sub_group_sizes[k]));
    for (int q = 0; q < f->probe.quirk_count; q++)
        json_array_append_new(quirks, json_pack("{s:s,s:s,s:s}", "what", f->probe.quirks[q].what, "instead",
                                                f->probe.quirks[q].instead, "source", f->probe.quirks[q].source));
    const mcl_error *failure = f->open_error.status    ? &f->open_error
                               : f->probe_error.status ? &f->probe_error
                                                       : &f->test_error;
    json_t *self_test = json_pack("{s:b,s:f,s:o}", "passed", failure->status == MCL_OK, "difference", f->difference,
                                  "error", mcl__json_text(failure->text));
    json_t *root = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b}", "selector", i->selector, "platform", i->platform,
                             "vendor", i->vendor, "name", i->name, "chip", i->chip, "driver", i->driver, "opencl", i->version,
                             "type", mcl__device_type(i), "auto", f->automatic);
    json_t *numbers = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:[I,I,I],s:b}", "compute_units",
                                (json_int_t)i->compute_units, "clock_mhz", (json_int_t)i->clock_mhz,
                                "vector_floats", (json_int_t)i->vector_floats, "memory",
                                (json_int_t)i->memory, "max_allocation", (json_int_t)i->max_allocation, "local_memory",
                                (json_int_t)i->local_memory, "max_work_group", (json_int_t)i->max_work_group,
                                "max_work_item", (json_int_t)i->max_work_item[0], (json_int_t)i->max_work_item[1],
                                (json_int_t)i->max_work_item[2], "unified_memory", i->unified_memory);
    json_t *abilities =
        json_pack("{s:o,s:o,s:o,s:o,s:I,s:o,s:s,s:s?,s:o,s:o}", "fp16", capability_json(&f->probe.fp16), "bf16_storage",
                  capability_json(&f->probe.bf16_storage), "fp64", capability_json(&f->probe.fp64), "sub_groups",
                  capability_json(&f->probe.sub_groups), "sub_group_size", (json_int_t)f->probe.sub_group_size,
                  "sub_group_sizes", sizes, "extensions", f->probe.extensions, "gemm_library",
                  f->probe.gemm ? f->probe.gemm_library : NULL, "quirks",
                  quirks, "self_test", self_test);
    json_object_update(root, numbers);
    json_object_update(root, abilities);
    json_decref(numbers);
    json_decref(abilities);
    return root;
}

static void mark_automatic(finding *findings, int count)
{
    mcl_device *device = NULL;
    if (mcl_device_open("auto", NULL, &device, NULL) != MCL_OK) return;
    for (int i = 0; i < count; i++)
        findings[i].automatic = strcmp(findings[i].info->selector, mcl_device_get_info(device)->selector) == 0;
    mcl_device_close(device);
}

static mcl_status probe(bool json, mcl_error *error)
{
    mcl_device_info *infos;
    int count;
    char *notes = NULL;
    MCL_TRY(mcl_device_list(&infos, &count, &notes, error));
    finding *findings = calloc((size_t)count, sizeof *findings);
    json_t *all = json_array();
    mcl_status status = findings && all ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory to probe devices");
    for (int i = 0; i < count && status == MCL_OK; i++) findings[i].info = &infos[i];
    if (status == MCL_OK) mark_automatic(findings, count);
    for (int i = 0; i < count && status == MCL_OK; i++) {
        examine(&findings[i]);
        if (json) json_array_append_new(all, device_json(&findings[i]));
        else print_device(&findings[i]);
    }
    if (json && status == MCL_OK) {
        json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
    }
    if (notes && *notes) fprintf(stderr, "%s%s", notes, notes[strlen(notes) - 1] == '\n' ? "" : "\n");
    json_decref(all);
    free(findings);
    free(infos);
    free(notes);
    return status;
}

static int run_probe(int argc, char **argv)
{
    mcl__options(&mcl__subcommand_probe, &argc, argv);
    if (argc > 1) return mcl__usage_error(&mcl__subcommand_probe, "no operands, please");
    mcl_error error = {0};
    return probe(as_json, &error) == MCL_OK ? EXIT_SUCCESS : mcl__report(&error);
}
