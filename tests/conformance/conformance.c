/* Every variant of every operator against the oracle, on every device there is: the test that a new kernel must pass.
 *   conformance [--device S] [--as itself|gpu|cpu] [--op NAME] [--variant NAME] [--small] [--largest ELEMENTS] [--every N]
 *               [--groups N] [--bare] [--list] [--verbose]
 * --as: only what is lowered for the device itself, as for a GPU, or as for another CPU; else one after the other.
 * --small: only what an interpreter gets through, and no CLBlast; --largest: only problems whose inputs are no larger.
 * --every: a variant's first problem and each N-th behind it, for a driver that compiles for half a minute.
 * --groups: launches of more work-groups along dimensions 1 and 2 are enqueued in pieces.
 * --bare: without guard bytes, for an interpreter that sees what leaves a buffer.
 * --verbose: every problem as it is done, and more than three that fail.
 * Fails where an operator has no oracle or no native kernel, where no problem exercises a variant or compiles a kernel,
 * and where everything was skipped. Exit status 77: the device that was asked for is not there. */
#include "conformance/cases.h"
#include "conformance/kernels.h"
#include "device/opencl/opencl.h"
#include "ops/oracle/oracle.h"
#include "support/problem.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef KERNELS_FOLDER
#define KERNELS_FOLDER "kernels"
#endif

enum { MISSING = 77, SMALL = 3000, TERMS = 20000000, ALL = 50000 };

typedef struct settings {
    const char *device, *as, *op, *variant;
    int64_t largest; /* 0: any */
    int every, groups;
    bool small, bare, list, verbose;
} settings;

/* One way of looking at a device. */
typedef struct pass {
    const char *name;     /* printed */
    const char *option;   /* what --as calls it */
    const char *selector; /* NULL: the first CPU of an OpenCL platform, else its first device */
    const char *gemm;
    /* Lower as for another type, or for a CPU with vectors of another length: what that gets is checked where there is none. */
    enum { AS_ITSELF, AS_GPU, AS_CPU, AS_OTHER_LANES } as;
} pass;

static const pass passes[] = {
    {"opencl", "itself", NULL, NULL, AS_ITSELF},
    {"opencl as gpu", "gpu", NULL, "clblast", AS_GPU},
    {"opencl as cpu", "cpu", NULL, NULL, AS_CPU},
    {"opencl, lanes", "cpu", NULL, NULL, AS_OTHER_LANES},
    {"native", "itself", "native", NULL, AS_ITSELF},
};

enum { LOCAL_OF_GPUS = 32768, UNITS_OF_GPUS = 32 }; /* bytes that every GPU has, and enough units to cut what is small */
enum { SMALL_CACHE = 512 << 10 }; /* of a CPU's core with vectors of another length: blocks that a large one never chooses */

typedef struct totals { int problems, failures, variants; } totals;

static int fail(totals *all, const char *format, ...) MCL_PRINTF(2, 3);
static int fail(totals *all, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    printf("FAIL  ");
    vprintf(format, list);
    printf("\n");
    va_end(list);
    return ++all->failures;
}

/* --- One problem -------------------------------------------------------------------------------------------------- */

typedef struct bench {
    mcl_device *device;
    const pass *pass;
    bool lowers_only; /* another process checks what this pass computes: only which kernels it compiles is of interest */
    mcl__capabilities capabilities;
    conformance_kernels *kernels;
} bench;

static void describe(const mcl__problem *problem, uint64_t seed, char text[512])
{
    char shape[64];
    int length = snprintf(text, 512, "seed %llu", (unsigned long long)seed);
    for (int i = 0; i < problem->inputs && length < 400; i++)
        length += snprintf(text + length, (size_t)(512 - length), " %s", mcl__shape_text(problem->in[i], shape));
    if (problem->op <= MCL__OP_conv2d_bwd_weight && problem->op != MCL__OP_load)
        length += snprintf(text + length, (size_t)(512 - length), " stride %d,%d pad %d,%d dilation %d,%d groups %d",
                           problem->attrs.conv.stride_h, problem->attrs.conv.stride_w, problem->attrs.conv.pad_h,
                           problem->attrs.conv.pad_w, problem->attrs.conv.dilation_h, problem->attrs.conv.dilation_w,
                           problem->attrs.conv.groups);
    for (int i = 0; i < problem->prologue.count && length < 480; i++)
        length += snprintf(text + length, (size_t)(512 - length), "%s%d:%d", i ? "," : " prologue ",
                           problem->prologue.code[i].code, problem->prologue.code[i].act);
    for (int i = 0; i < problem->epilogue.count && length < 500; i++)
        length += snprintf(text + length, (size_t)(512 - length), "%s%d:%d", i ? "," : " codes ",
                           problem->epilogue.code[i].code, problem->epilogue.code[i].act);
}

/* How many elements to look at: all of them, or what a budget of multiplications allows. */
static int64_t limit_of(const mcl__problem *problem)
{
    const mcl__op *op = mcl__op_get(problem->op);
    double each = op->flops ? op->flops(problem) / 2 / mcl__shape_elements(problem->out[0]) : 1;
    double limit = TERMS / fmax(each, 1);
    return limit > ALL ? ALL : (int64_t)limit;
}

static void note_kernels(const bench *b, const mcl__problem *problem, const char *variant)
{
    mcl__lowered lowered = {0};
    if (mcl__lower(problem, &b->capabilities, variant, &lowered, NULL) == MCL_OK)
        for (int i = 0; i < lowered.commands; i++)
            if (lowered.command[i].kind == MCL__COMMAND_KERNEL)
                conformance_kernels_saw(b->kernels, lowered.command[i].key.source, lowered.command[i].key.name);
    mcl__lowered_free(&lowered);
}

static double run_problem(const bench *b, const mcl__problem *problem, uint64_t seed, test_run *run, totals *all)
{
    mcl_error error = {0};
    test_problem test = {.problem = *problem};
    void *before[MCL__MAX_OUTPUTS];
    char text[256], what[512];
    double worst = INFINITY;
    note_kernels(b, problem, run->variant);
    if (b->lowers_only) return 0;
    test_problem_fill(&test, seed);
    test_problem_copy_outputs(&test, before);
    describe(problem, seed, what);
    const char *name = mcl__op_get(problem->op)->name;
    if (test_problem_run(b->device, &test, run, &error) != MCL_OK)
        fail(all, "%s %s%s: %s\n      %s", name, run->variant, run->in_place ? " in place" : "", error.text, what);
    else if ((worst = test_problem_check(&test, before, limit_of(problem), text)) > 1)
        fail(all, "%s %s%s: %.3g of the bound: %s\n      %s", name, run->variant, run->in_place ? " in place" : "",
             worst, text, what);
    all->problems++;
    test_problem_free(&test);
    test_problem_free_outputs(before);
    return worst;
}

/* --- One variant -------------------------------------------------------------------------------------------------- */

static bool applies(const mcl__variant *variant, const mcl__problem *problem, const mcl__capabilities *capabilities)
{
    return !variant->applicable || variant->applicable(problem, capabilities);
}

/* Are its vectors as long as a register? */
static bool has_lanes(const mcl__variant *variant)
{
    static const char *const names[] = {"depthwise", "winograd", "product", "tile"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(variant->name, names[i])) return true;
    return false;
}

/* What GPUs and other CPUs are lowered differently for takes fewer problems: each costs a compilation or two; of rows that make
 * three problems, another one each time. The reference is the same, but in pieces. As a CPU, only what did not apply to the device
 * as it is. */
static bool chosen(const bench *b, const settings *s, const mcl__variant *variant, const mcl__problem *problem, int index)
{
    mcl__capabilities own = mcl__capabilities_of(b->device);
    if (b->pass->as == AS_GPU) return s->variant || ((variant->applicable || s->groups) && (index + index / 3) % 3 == 0);
    if (b->pass->as == AS_OTHER_LANES) return has_lanes(variant) && (s->variant || index % 3 == 0);
    return b->pass->as == AS_ITSELF || !applies(variant, problem, &own);
}

/* A variant's other parameters: one candidate a problem in turn, so that all are checked and none costs a pass of its own. Problems
 * without codes are enough: parameters are about tiles, and each with other codes is a program to compile. */
static double run_candidate(const bench *b, const mcl__variant *variant, const conformance_case *given, const test_run *like,
                            int turn, totals *all)
{
    mcl__parameters list[MCL__MOST_CANDIDATES];
    int count = variant->candidates ? variant->candidates(&given->problem, &b->capabilities, list) : 0;
    char name[64];
    if (count < 2 || given->problem.epilogue.count > 0 || given->problem.prologue.count > 0) return 0;
    snprintf(name, sizeof name, "%s:%d", variant->name, 1 + turn % (count - 1));
    test_run run = *like;
    run.variant = name;
    run.in_place = false;
    return run_problem(b, &given->problem, given->seed, &run, all);
}

static void show_problem(const mcl__variant *variant, const conformance_case *given, double ratio)
{
    char what[512];
    describe(&given->problem, given->seed, what);
    printf("  %s %.3f of its bound: %s\n", variant->name, ratio, what);
}

static void run_variant(const bench *b, const settings *s, mcl__op_kind kind, const mcl__variant *variant,
                        conformance_cases cases, totals *all)
{
    const mcl__op *op = mcl__op_get(kind);
    int ran = 0, fit = 0;
    double worst = 0;
    bool fails = false;
    for (int i = 0; i < cases.count && !fails; i++) {
        const mcl__problem *problem = &cases.at[i].problem;
        if (!chosen(b, s, variant, problem, i) || !applies(variant, problem, &b->capabilities)) continue;
        if (fit++ % s->every) continue;
        test_run run = {.variant = variant->name, .pretend = &b->capabilities, .twice = true, .bare = s->bare};
        int failures = all->failures;
        double ratio = run_problem(b, problem, cases.at[i].seed, &run, all);
        if (s->verbose) show_problem(variant, &cases.at[i], ratio);
        if (!b->lowers_only && all->failures == failures && strcmp(run.served_by, variant->name))
            fail(all, "%s: asked for %s, served by %s", op->name, variant->name, run.served_by);
        run.in_place = true;
        if (op->in_place && ran % 3 == 0) run_problem(b, problem, cases.at[i].seed, &run, all);
        worst = fmax(worst, fmax(ratio, run_candidate(b, variant, &cases.at[i], &run, ran, all)));
        ran++;
        fails = all->failures > failures + 2 && !s->verbose; /* three problems are enough to see what is wrong */
        if (mcl_device_error(b->device)->status != MCL_OK) fails = true;
    }
    if (ran == 0 || b->lowers_only) return;
    all->variants++;
    printf("%-26s %-18s %-14s %3d problems  worst error %.3f of its bound\n", op->name, variant->name, b->pass->name,
           ran, worst);
}

/* --- Coverage ----------------------------------------------------------------------------------------------------- */

/* Devices that this machine need not have: a variant that would apply on none of them has no problem to exercise it. */
static const mcl__capabilities imagined[] = {
    {MCL_DEVICE_NATIVE, 0, 1, 1, .threads = 2},
    {MCL_DEVICE_CPU, 1 << 18, 4096, 2, .threads = 2},
    {MCL_DEVICE_CPU, 1 << 18, 4096, 2, .threads = 2, .gemm = true},
    {MCL_DEVICE_GPU, 1 << 15, 256, 32, .threads = 2},
    {MCL_DEVICE_GPU, 1 << 16, 1024, 64, .threads = 2, .gemm = true},
};

static bool exercised(const mcl__variant *variant, conformance_cases cases)
{
    for (int i = 0; i < cases.count; i++)
        for (size_t k = 0; k < sizeof imagined / sizeof imagined[0]; k++)
            if (applies(variant, &cases.at[i].problem, &imagined[k])) return true;
    return false;
}

static bool infer_all(conformance_cases cases, const mcl__op *op, totals *all)
{
    for (int i = 0; i < cases.count; i++) {
        mcl_error error = {0};
        char what[512];
        if (test_problem_infer(&cases.at[i].problem, &error) == MCL_OK) continue;
        describe(&cases.at[i].problem, cases.at[i].seed, what);
        fail(all, "%s: %s\n      %s", op->name, error.text, what);
        return false;
    }
    return true;
}

static bool has_oracle(const mcl__problem *problem)
{
    test_problem test = {.problem = *problem};
    mcl__oracle *oracle = NULL;
    test_problem_fill(&test, 1);
    bool has = mcl__oracle_create(problem, (const void *const *)test.in, (const void *const *)test.out, &oracle,
                                  NULL) == MCL_OK;
    mcl__oracle_destroy(oracle);
    test_problem_free(&test);
    return has;
}

/* What must be there for an operator whatever the devices; false when its problems cannot run. */
static bool check_operator(const settings *s, const mcl__op *op, conformance_cases cases, totals *all)
{
    int failures = all->failures;
    if (cases.count == 0) return fail(all, "%s has no problems in the table", op->name), false;
    if (!infer_all(cases, op, all)) return false;
    if (!has_oracle(&cases.at[0].problem)) fail(all, "%s has no oracle", op->name);
    const mcl__variant *variant = op->variants, *last = NULL;
    for (; variant && variant->name; last = variant++)
        if (!s->largest && !exercised(variant, cases)) fail(all, "%s: no problem exercises %s", op->name, variant->name);
    if (!last || strcmp(last->name, "reference") || last->applicable)
        fail(all, "%s: the last variant is not a reference", op->name);
    return all->failures == failures;
}

/* Kernels of peak.cl compute nothing that an oracle could check; tests/device has them. */
static void check_kernels(const conformance_kernels *kernels, totals *all)
{
    if (kernels->count == 0) fail(all, "no kernels found in %s", KERNELS_FOLDER);
    for (int i = 0; i < kernels->count; i++)
        if (!kernels->at[i].used && strcmp(kernels->at[i].source, "peak"))
            fail(all, "no problem compiled %s of %s.cl", kernels->at[i].name, kernels->at[i].source);
}

/* --- Devices ------------------------------------------------------------------------------------------------------ */

/* The first CPU behind OpenCL, else the first OpenCL device: its selector, or empty. */
static void find_opencl(char selector[16])
{
    mcl_device_info *devices = NULL;
    int count = 0;
    selector[0] = 0;
    if (mcl_device_list(&devices, &count, NULL, NULL) != MCL_OK) return;
    for (int wanted_cpu = 1; wanted_cpu >= 0 && !selector[0]; wanted_cpu--)
        for (int i = 0; i < count && !selector[0]; i++)
            if (devices[i].type == MCL_DEVICE_CPU || (!wanted_cpu && devices[i].type != MCL_DEVICE_NATIVE))
                snprintf(selector, 16, "%s", devices[i].selector);
    free(devices);
}

/* Is the pass wanted, and on which device? False with a line on stdout where there is none. */
static bool choose_device(const settings *s, const pass *p, char selector[256])
{
    bool native = p->selector != NULL;
    if (s->device && native != !strcmp(s->device, "native")) return false;
    if (s->device && strcmp(s->device, "opencl")) {
        snprintf(selector, 256, "%s", s->device);
        return true;
    }
    if (native) snprintf(selector, 256, "%s", p->selector);
    else find_opencl(selector);
    if (!selector[0]) printf("SKIP  %s: no OpenCL device here\n", p->name);
    return selector[0] != 0;
}

/* What builtins.h lacks makes every start slower, and nothing else would tell. */
static void watch_log(mcl_log_level level, const char *message, void *user)
{
    (void)level;
    if (strstr(message, "builtins.h")) fail(user, "%s", message);
}

static bool run_pass(const settings *s, const pass *p, conformance_kernels *kernels, totals *all)
{
    char selector[256] = "";
    mcl_error error = {0};
    bench b = {.pass = p, .kernels = kernels, .lowers_only = s->as && strcmp(s->as, p->option) != 0};
    /* No binaries of ours: what is checked comes from the source. */
    mcl_device_options options = {.gemm = p->gemm, .no_cache = true};
    if (s->small && p->as == AS_GPU) options.gemm = "own"; /* CLBlast takes an interpreter minutes */
    if (!choose_device(s, p, selector)) return false;
    if (mcl_device_open(selector, &options, &b.device, &error) != MCL_OK) {
        printf("SKIP  %s: %s\n", p->name, error.text);
        return false;
    }
    if (s->groups && !p->selector) mcl__cl(b.device)->most_groups = (size_t)s->groups;
    b.capabilities = mcl__capabilities_of(b.device);
    if ((p->as == AS_CPU && b.capabilities.type == MCL_DEVICE_CPU) ||
        (p->as == AS_OTHER_LANES && b.capabilities.type != MCL_DEVICE_CPU)) {
        mcl_device_close(b.device);
        return true;
    }
    if (p->as == AS_OTHER_LANES) b.capabilities.vector_floats = mcl__tile_lanes(&b.capabilities) == 16 ? 8 : 16;
    if (p->as == AS_OTHER_LANES && b.capabilities.local_memory > SMALL_CACHE) b.capabilities.local_memory = SMALL_CACHE;
    if (p->as == AS_CPU) b.capabilities.type = MCL_DEVICE_CPU;
    if (p->as == AS_GPU) b.capabilities.type = MCL_DEVICE_GPU, b.capabilities.compute_units = UNITS_OF_GPUS;
    if (p->as == AS_GPU && b.capabilities.local_memory > LOCAL_OF_GPUS) b.capabilities.local_memory = LOCAL_OF_GPUS;
    if (!b.lowers_only) printf("%s: %s\n", p->name, mcl_device_get_info(b.device)->name);
    for (int kind = 0; kind < MCL__OP_COUNT; kind++) {
        const mcl__op *op = mcl__op_get((mcl__op_kind)kind);
        if (op->view || (s->op && strcmp(s->op, op->name))) continue;
        conformance_cases cases = conformance_cases_of((mcl__op_kind)kind, s->largest);
        bool sound = check_operator(s, op, cases, all);
        for (const mcl__variant *v = op->variants; sound && v->name; v++)
            if (!s->variant || !strcmp(s->variant, v->name)) run_variant(&b, s, (mcl__op_kind)kind, v, cases, all);
        free(cases.at);
    }
    mcl_device_counters counters = mcl_device_get_counters(b.device);
    if (!b.lowers_only) printf("%s: %llu programs built\n", p->name, (unsigned long long)counters.programs_built);
    const mcl_error *failure = mcl_device_error(b.device);
    if (failure->status != MCL_OK) fail(all, "%s: the device has failed: %s", p->name, failure->text);
    mcl_device_close(b.device);
    return true;
}

/* --- Program ------------------------------------------------------------------------------------------------------ */

static int usage(void)
{
    fprintf(stderr, "usage: conformance [--device opencl|native|SELECTOR] [--as itself|gpu|cpu] [--op NAME] [--variant NAME]\n"
                    "                   [--small] [--largest ELEMENTS] [--every N] [--groups N] [--bare] [--list] [--verbose]\n");
    return 2;
}

static void list_variants(void)
{
    for (int kind = 0; kind < MCL__OP_COUNT; kind++) {
        const mcl__op *op = mcl__op_get((mcl__op_kind)kind);
        printf("%s:", op->name);
        for (const mcl__variant *v = op->variants; v && v->name; v++) printf(" %s", v->name);
        printf("\n");
    }
}

static bool is_an_operator(const char *name)
{
    for (int kind = 0; kind < MCL__OP_COUNT; kind++)
        if (!strcmp(name, mcl__op_get((mcl__op_kind)kind)->name)) return true;
    return false;
}

int main(int count, char **arguments)
{
    settings s = {.every = 1};
    for (int i = 1; i < count; i++) {
        const char *a = arguments[i], *next = i + 1 < count ? arguments[i + 1] : NULL;
        if (!strcmp(a, "--small")) s.small = true, s.largest = SMALL;
        else if (!strcmp(a, "--bare")) s.bare = true;
        else if (!strcmp(a, "--list")) s.list = true;
        else if (!strcmp(a, "--verbose")) s.verbose = true;
        else if (!next) return usage();
        else if (!strcmp(a, "--device")) s.device = arguments[++i];
        else if (!strcmp(a, "--largest")) s.largest = strtoll(arguments[++i], NULL, 10);
        else if (!strcmp(a, "--every")) s.every = atoi(arguments[++i]);
        else if (!strcmp(a, "--groups")) s.groups = atoi(arguments[++i]);
        else if (!strcmp(a, "--as")) s.as = arguments[++i];
        else if (!strcmp(a, "--op")) s.op = arguments[++i];
        else if (!strcmp(a, "--variant")) s.variant = arguments[++i];
        else return usage();
    }
    if (s.list) return list_variants(), 0;
    if (s.every < 1 || s.groups < 0) return usage();
    if (s.op && !is_an_operator(s.op)) return fprintf(stderr, "there is no operator %s; --list names them\n", s.op), 2;
    if (s.as && strcmp(s.as, "itself") && strcmp(s.as, "gpu") && strcmp(s.as, "cpu")) return usage();

    setvbuf(stdout, NULL, _IOLBF, 0); /* lines are out before anything crashes */
    mcl__ops_register_native();
    totals all = {0};
    mcl_set_log(watch_log, &all);
    conformance_kernels kernels = conformance_kernels_scan(KERNELS_FOLDER);
    bool ran = false, opencl = false;
    for (size_t i = 0; i < sizeof passes / sizeof passes[0]; i++) {
        bool done = run_pass(&s, &passes[i], &kernels, &all);
        ran |= done;
        opencl |= done && !passes[i].selector;
    }
    if (opencl && !s.op && !s.variant && s.every == 1) check_kernels(&kernels, &all);
    free(kernels.at);
    if (!ran) return printf("SKIP  nothing could run\n"), s.device ? MISSING : EXIT_FAILURE;
    /* Many operators give a GPU or another CPU nothing that the device itself is not given. */
    bool may_be_none = s.op && !s.variant && s.as && strcmp(s.as, "itself");
    if (all.problems == 0 && !may_be_none) fail(&all, "no problem ran");
    printf("%d problems, %d variants, %d failures\n", all.problems, all.variants, all.failures);
    return all.failures ? EXIT_FAILURE : EXIT_SUCCESS;
}
