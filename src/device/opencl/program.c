/* Programs and kernels: found in the device's table, loaded from the cache, or built from source. A program is one (source,
 * constants, prelude); its kernels share it. They are built one after the other: PoCL compiles under one lock, and most of a
 * kernel only when it is first launched (helpers.c). */
#include "device/opencl/opencl.h"
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define BUILTINS "builtins.h"

static locale_t c_locale;

static void make_c_locale(void) { c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

locale_t mcl__cl_enter_c_locale(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_c_locale);
    return c_locale ? uselocale(c_locale) : (locale_t)0;
}

void mcl__cl_leave_c_locale(locale_t before)
{
    if (before) uselocale(before);
}

cl_int mcl__cl_build(mcl__cl_device *device, cl_program program, const char *options)
{
    locale_t before = mcl__cl_enter_c_locale();
    cl_int code = clBuildProgram(program, 1, &device->id, options, NULL, NULL);
    mcl__cl_leave_c_locale(before);
    return code;
}

/* Empty strings stand for NULL, in keys and in what is kept. */
static const char *text_or_empty(const char *text) { return text ? text : ""; }

static uint64_t key_hash(const mcl__kernel_key *key)
{
    const char *parts[] = {key->source, text_or_empty(key->constants), text_or_empty(key->prelude)};
    uint64_t hash = 0;
    for (int i = 0; i < 3; i++) hash = XXH64(parts[i], strlen(parts[i]) + 1, hash);
    return hash;
}

static mcl__cl_program *find_program(mcl__cl_device *device, const mcl__kernel_key *key, uint64_t hash)
{
    for (mcl__cl_program *program = device->programs; program; program = program->next)
        if (program->hash == hash && strcmp(program->source, key->source) == 0 &&
            strcmp(program->constants, text_or_empty(key->constants)) == 0 &&
            strcmp(program->prelude, text_or_empty(key->prelude)) == 0)
            return program;
    return NULL;
}

/* Without warnings: PoCL counts them on stderr, in the middle of what users read. */
static char *build_options(mcl__cl_device *device, const char *constants)
{
    char *options = NULL;
    int length = asprintf(&options, "-cl-std=CL1.2 -w%s%s%s",
                          device->precise_division ? " -cl-fp32-correctly-rounded-divide-sqrt" : "",
                          *constants ? " " : "", constants);
    return length < 0 ? NULL : options;
}

/* The driver's first words are the useful ones, so a long log loses its end. */
static mcl_status fail_build(mcl__cl_device *device, const mcl__cl_program *program, const char *options,
                             const char *call, cl_int code)
{
    size_t bytes = 0;
    char *log = NULL;
    clGetProgramBuildInfo(program->program, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
    if (bytes > 1 && (log = calloc(bytes + 1, 1)))
        clGetProgramBuildInfo(program->program, device->id, CL_PROGRAM_BUILD_LOG, bytes, log, NULL);
    mcl_status status = mcl__device_fail(
        &device->base, MCL_ERROR_BUILD,
        "kernel source %s.cl does not build on %s: %s: %s\noptions: %.600s\nthe driver's log:\n%.2400s",
        program->source, device->base.info.name, call, mcl__cl_code_name(code), options, log && *log ? log : "(empty)");
    free(log);
    return status;
}

static cl_int compile(mcl__cl_device *device, mcl__cl_program *program, const char *options, const char **call)
{
    cl_int code;
    const char *text = program->text;
    if (program->program) clReleaseProgram(program->program);
    *call = "clCreateProgramWithSource";
    program->program = clCreateProgramWithSource(device->context, 1, &text, NULL, &code);
    if (!program->program) return code;
    *call = "clBuildProgram";
    return mcl__cl_build(device, program->program, options);
}

/* With our own declarations in place of the driver's; they are given up for good where only the driver's do. */
static mcl_status compile_any(mcl__cl_device *device, mcl__cl_program *program, const char *options)
{
    char declared[1024];
    const char *call;
    bool declares = device->quirks & MCL__CL_BUILTINS;
    snprintf(declared, sizeof declared, "%s -D_OPENCL_H_ -DMCL_BUILTINS", options);
    if (device->quirks & MCL__CL_BITCODE && mcl__cl_bitcode_build(device, program, declares ? declared : options, options))
        return MCL_OK;
    if (declares && compile(device, program, declared, &call) == CL_SUCCESS) return MCL_OK;
    cl_int code = compile(device, program, options, &call);
    if (!program->program) return mcl__cl_fail(&device->base, program->source, call, code);
    if (code != CL_SUCCESS) return fail_build(device, program, options, call, code);
    if (declares) mcl__log(MCL_LOG_DEBUG, "%s.cl does not build with what " BUILTINS " declares", program->source);
    device->quirks &= ~(unsigned)MCL__CL_BUILTINS;
    return MCL_OK;
}

static mcl_status build_from_source(mcl__cl_device *device, mcl__cl_program *program, const char *options)
{
    MCL_TRY(compile_any(device, program, options));
    program->from_cache = false;
    device->base.counters.programs_built++;
    return MCL_OK;
}

cl_program mcl__cl_build_binary(mcl__cl_device *device, const unsigned char *binary, size_t bytes, const char *options)
{
    cl_int code, state = CL_SUCCESS;
    cl_program program = clCreateProgramWithBinary(device->context, 1, &device->id, &bytes, &binary, &state, &code);
    if (program && code == CL_SUCCESS && state == CL_SUCCESS && mcl__cl_build(device, program, options) == CL_SUCCESS)
        return program;
    if (program) clReleaseProgram(program);
    return NULL;
}

/* Any refusal of a cached binary means a rebuild, whatever its code. */
static bool load_from_cache(mcl__cl_device *device, mcl__cl_program *program, const char *options)
{
    unsigned char *binary;
    size_t bytes;
    if (!mcl__cl_cache_load(device->cache, "programs", program->cache_key, &binary, &bytes)) return false;
    program->program = mcl__cl_build_binary(device, binary, bytes, options);
    free(binary);
    if (!program->program) return false;
    program->from_cache = true;
    device->base.counters.programs_loaded++;
    return true;
}

static void free_program(mcl__cl_program *program)
{
    for (mcl__kernel *kernel = program->kernels, *next; kernel; kernel = next) {
        next = kernel->next;
        free(kernel->name);
        free(kernel);
    }
    if (program->program) clReleaseProgram(program->program);
    free(program->source);
    free(program->constants);
    free(program->prelude);
    free(program->text);
    free(program);
}

void mcl__cl_free_programs(mcl__cl_device *device)
{
    for (mcl__cl_program *program = device->programs, *next; program; program = next) {
        next = program->next;
        free_program(program);
    }
    device->programs = NULL;
}

static const char *kernel_folder(const mcl__cl_device *device)
{
    if (device->base.options.kernels) return device->base.options.kernels;
    const char *folder = getenv("MONOCLE_KERNELS");
    return folder && *folder ? folder : NULL;
}

void mcl__cl_kernels_hash(mcl_device *device, char hex[33]) { mcl__cl_sources_hash(kernel_folder(mcl__cl(device)), hex); }

static mcl_status read_source(mcl__cl_device *device, mcl__cl_program *program)
{
    mcl_error failure = {0};
    const char *header = device->quirks & MCL__CL_BUILTINS ? BUILTINS : NULL;
    const char *prelude = *program->prelude ? program->prelude : NULL, *folder = kernel_folder(device);
    mcl_status status = mcl__cl_source(folder, program->source, header, prelude, &program->text, &failure);
    return status == MCL_OK ? status : mcl__device_fail(&device->base, status, "%s", failure.text);
}

static mcl_status make_program(mcl__cl_device *device, const mcl__kernel_key *key, uint64_t hash,
                               mcl__cl_program **made)
{
    mcl_status status = MCL_ERROR_MEMORY;
    char *options = NULL;
    mcl__cl_program *program = calloc(1, sizeof *program);
    if (!program) return MCL_ERROR_MEMORY;
    program->hash = hash;
    program->source = strdup(key->source);
    program->constants = strdup(text_or_empty(key->constants));
    program->prelude = strdup(text_or_empty(key->prelude));
    if (!program->source || !program->constants || !program->prelude) goto done;
    if (!(options = build_options(device, program->constants))) goto done;
    MCL_TRY_DONE(read_source(device, program));
    const char *parts[] = {program->text, options, device->identity};
    status = MCL_ERROR_MEMORY;
    if (!mcl__cl_cache_key(parts, 3, program->cache_key)) goto done;
    if (!load_from_cache(device, program, options)) MCL_TRY_DONE(build_from_source(device, program, options));
    program->next = device->programs;
    device->programs = *made = program;
    program = NULL;
    status = MCL_OK;
done:
    free(options);
    if (program) free_program(program);
    return status;
}

/* A binary may load and still lack the kernel; then the source decides. No launch of such a program exists yet, since
 * its launches come from its kernels and it has none. */
static mcl_status make_cl_kernel(mcl__cl_device *device, mcl__cl_program *program, const char *name, cl_kernel *kernel)
{
    cl_int code;
    *kernel = clCreateKernel(program->program, name, &code);
    if (!*kernel && program->from_cache && !program->kernels) {
        char *options = build_options(device, program->constants);
        if (!options) return MCL_ERROR_MEMORY;
        mcl_status status = build_from_source(device, program, options);
        free(options);
        MCL_TRY(status);
        *kernel = clCreateKernel(program->program, name, &code);
    }
    if (*kernel) return MCL_OK;
    if (code == CL_INVALID_KERNEL_NAME)
        return mcl__device_fail(&device->base, MCL_ERROR_BUILD, "kernel source %s.cl has no kernel %s (constants: %s)",
                                program->source, name, program->constants);
    return fail_build(device, program, program->constants, "clCreateKernel", code);
}

static void describe_kernel(mcl__cl_device *device, cl_kernel kernel, mcl__kernel *made)
{
    clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof made->arguments, &made->arguments, NULL);
    clGetKernelWorkGroupInfo(kernel, device->id, CL_KERNEL_WORK_GROUP_SIZE, sizeof made->max_work_group,
                             &made->max_work_group, NULL);
    clGetKernelWorkGroupInfo(kernel, device->id, CL_KERNEL_COMPILE_WORK_GROUP_SIZE, sizeof made->required_local,
                             made->required_local, NULL);
}

mcl_status mcl__cl_kernel_get(mcl_device *base, const mcl__kernel_key *key, mcl__kernel **kernel)
{
    mcl__cl_device *device = mcl__cl(base);
    uint64_t hash = key_hash(key);
    mcl__cl_program *program = find_program(device, key, hash);
    if (!program) MCL_TRY(make_program(device, key, hash, &program));
    for (mcl__kernel *known = program->kernels; known; known = known->next)
        if (strcmp(known->name, key->name) == 0) {
            *kernel = known;
            return MCL_OK;
        }
    cl_kernel handle;
    MCL_TRY(make_cl_kernel(device, program, key->name, &handle));
    mcl__kernel *made = calloc(1, sizeof *made);
    if (made && (made->name = strdup(key->name))) {
        describe_kernel(device, handle, made);
        made->program = program;
        made->next = program->kernels;
        program->kernels = *kernel = made;
    } else {
        free(made);
        made = NULL;
    }
    clReleaseKernel(handle);
    return made ? MCL_OK : MCL_ERROR_MEMORY;
}

unsigned char *mcl__cl_binary(cl_program program, size_t *bytes)
{
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof *bytes, bytes, NULL) != CL_SUCCESS || *bytes == 0) return NULL;
    unsigned char *binary = malloc(*bytes), *binaries[] = {binary};
    if (binary && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binaries, binaries, NULL) == CL_SUCCESS) return binary;
    free(binary);
    return NULL;
}

static void save_program(mcl__cl_device *device, mcl__cl_program *program)
{
    size_t bytes;
    unsigned char *binary = mcl__cl_binary(program->program, &bytes);
    program->saved = true;
    if (binary) mcl__cl_cache_save(device->cache, "programs", program->cache_key, binary, bytes);
    free(binary);
}

/* After the first launch, because some drivers have machine code only then. */
void mcl__cl_save_programs(mcl__cl_device *device)
{
    if (device->unsaved == 0) return;
    device->unsaved = 0;
    if (!device->cache) return;
    for (mcl__cl_program *program = device->programs; program; program = program->next)
        if (program->launched && !program->saved && !program->from_cache) save_program(device, program);
}
