/* Compiling in several processes. PoCL compiles under one lock, for most of its time at a kernel's first launch: 26 programs keep
 * one core busy for twelve seconds, however many there are. But its cache is common to all processes. So what launches will need,
 * and no mark in our cache says to be there, is asked of helpers (helper.h), one for each of the threads, eight at most. They
 * compile while the plan is still being made, and the first launch that is run waits until they are done.
 *
 * All helpers read one socket, so that whoever is free takes the next request. What they get to compile they launch, on zeros and
 * for few work-groups, since there is no other way to the code for these work-groups. A helper that fails, or is silent for a
 * minute, leaves its work to the process that asked: that compiles whatever it does not find, and so may put the marks. */
#include "base/arena.h"
#include "base/file.h"
#include "device/helper.h"
#include "device/opencl/opencl.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    MOST_HELPERS = 8,
    MOST_ARGS = 32,
    MOST_BYTES = 64 << 10, /* of a request */
    WORTH_HELPERS = 4,     /* kernels; a helper takes 0.2 seconds to begin, a kernel 0.05 to 1.3 */
    WIDE = 65535,          /* for so many work-items in a dimension, and more, PoCL has code of its own */
    SILENCE = 60000,       /* milliseconds without news after which nobody waits for helpers */
};

extern char **environ;

typedef struct request_arg { mcl__arg_kind kind; size_t bytes; } request_arg;

/* Followed by the four strings of the kernel's key, each with its 0, and the values of arguments that are no memory. Structs
 * travel as they are: both ends are of one version, on one machine. */
typedef struct request {
    size_t bytes; /* all of it */
    size_t global[3], local[3];
    int dimensions, args;
    request_arg arg[MOST_ARGS];
} request;

typedef struct mark { char key[MCL__CL_KEY]; } mark; /* "compiled" in our cache */

struct mcl__cl_helpers {
    int file; /* our end of the socket; -1 while requests are held */
    pid_t process[MOST_HELPERS];
    int processes, held;
    request *request[WORTH_HELPERS];
    mark *mark; /* of all that was asked for */
    size_t marks, room;
};

static bool is_wide(int dimensions, const size_t *global)
{
    for (int i = 0; i < dimensions; i++)
        if (global[i] >= WIDE) return true;
    return false;
}

/* --- The one who asks ----------------------------------------------------------------------------------------------------- */

static const void *value_of(const mcl__arg *arg, size_t *bytes)
{
    switch (arg->kind) {
    case MCL__ARG_I32: *bytes = sizeof arg->as.i32; return &arg->as.i32;
    case MCL__ARG_F32: *bytes = sizeof arg->as.f32; return &arg->as.f32;
    case MCL__ARG_BLOB: *bytes = arg->as.blob.bytes; return arg->as.blob.data;
    case MCL__ARG_VIEW: *bytes = (size_t)arg->as.view.bytes; break;
    case MCL__ARG_LOCAL: *bytes = arg->as.local; break;
    }
    return NULL;
}

/* NULL: larger than a request may be, or no memory. */
static request *make_request(const mcl__kernel *kernel, const mcl__arg *args, int count, int dimensions, const size_t *global,
                             const size_t *local)
{
    const mcl__cl_program *program = kernel->program;
    const char *texts[] = {program->source, kernel->name, program->constants, program->prelude};
    request head = {.bytes = sizeof head, .dimensions = dimensions, .args = count};
    if (count > MOST_ARGS) return NULL;
    for (int i = 0; i < 4; i++) head.bytes += strlen(texts[i]) + 1;
    for (int i = 0; i < dimensions; i++) head.global[i] = global[i], head.local[i] = local[i];
    for (int i = 0; i < count; i++) {
        head.arg[i].kind = args[i].kind;
        if (value_of(&args[i], &head.arg[i].bytes)) head.bytes += head.arg[i].bytes;
    }
    request *made = head.bytes <= MOST_BYTES ? malloc(head.bytes) : NULL;
    if (!made) return NULL;
    *made = head;
    char *at = (char *)(made + 1);
    for (int i = 0; i < 4; i++) at = stpcpy(at, texts[i]) + 1;
    for (int i = 0; i < count; i++) {
        size_t bytes;
        const void *value = value_of(&args[i], &bytes);
        if (value) at = (char *)memcpy(at, value, bytes) + bytes;
    }
    return made;
}

/* The mark of a kernel for such work-groups. PoCL keeps what it compiles from bitcode apart from what it compiles from source. */
static bool make_mark(const mcl__cl_device *device, const mcl__kernel *kernel, const request *r, mark *made)
{
    char form[96];
    snprintf(form, sizeof form, "%zux%zux%zu%s%s", r->local[0], r->local[1], r->local[2],
             is_wide(r->dimensions, r->global) ? " wide" : "", device->quirks & MCL__CL_BITCODE ? " from bitcode" : "");
    const char *parts[] = {kernel->program->cache_key, kernel->name, form};
    return mcl__cl_cache_key(parts, 3, made->key);
}

/* NULL: no memory. */
static char **helper_environment(void)
{
    size_t count = 0;
    while (environ[count]) count++;
    char **made = malloc((count + 2) * sizeof *made);
    if (!made) return NULL;
    memcpy(made, environ, count * sizeof *made);
    made[count] = MCL__CL_HELPER "=1";
    made[count + 1] = NULL;
    return made;
}

/* Nothing of the process's own is open in a helper, where the C library can see to it. */
static bool set_files(posix_spawn_file_actions_t *actions, int file)
{
    bool good = posix_spawn_file_actions_adddup2(actions, file, STDIN_FILENO) == 0;
    for (int out = STDOUT_FILENO; out <= STDERR_FILENO; out++)
        good = good && posix_spawn_file_actions_addopen(actions, out, "/dev/null", O_WRONLY, 0) == 0;
#if defined __GLIBC__ && __GLIBC_PREREQ(2, 34)
    good = good && posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1) == 0;
#endif
    return good;
}

static bool spawn(const mcl__cl_device *device, int file, char **environment, pid_t *process)
{
    const mcl_device_options *options = &device->base.options;
    char *const arguments[] = {"monocle", MCL__HELPER_WORD, MONOCLE_VERSION, (char *)device->base.info.selector,
                               (char *)options->kernels, NULL};
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) return false;
    bool good = set_files(&actions, file) && posix_spawn(process, options->helper, &actions, NULL, arguments, environment) == 0;
    posix_spawn_file_actions_destroy(&actions);
    return good;
}

static void start(mcl__cl_device *device, mcl__cl_helpers *helpers)
{
    int ends[2], wanted = device->base.threads < MOST_HELPERS ? device->base.threads : MOST_HELPERS;
    char **environment = helper_environment();
    if (!environment || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        free(environment);
        return;
    }
    for (int i = 0; i < 2; i++) ends[i] = mcl__file_apart(ends[i]);
    while (ends[0] >= 0 && ends[1] >= 0 && helpers->processes < wanted &&
           spawn(device, ends[1], environment, &helpers->process[helpers->processes]))
        helpers->processes++;
    if (ends[1] >= 0) close(ends[1]);
    free(environment);
    helpers->file = ends[0];
    mcl__log(MCL_LOG_DEBUG, "%d processes compile kernels", helpers->processes);
}

/* Where nobody listens any more, or so many requests wait that no more fit, this process compiles it itself. */
static void send_request(const mcl__cl_helpers *helpers, request *asked)
{
    while (send(helpers->file, asked, asked->bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EINTR) continue;
    free(asked);
}

static void add_request(mcl__cl_device *device, request *asked, const mark *its)
{
    mcl__cl_helpers *helpers = device->helpers;
    if (mcl__grow(&helpers->mark, &helpers->room, helpers->marks + 1, sizeof *its)) helpers->mark[helpers->marks++] = *its;
    if (helpers->held == WORTH_HELPERS) {
        send_request(helpers, asked);
        return;
    }
    helpers->request[helpers->held++] = asked;
    if (helpers->held < WORTH_HELPERS) return;
    start(device, helpers);
    for (int i = 0; i < helpers->held; i++) send_request(helpers, helpers->request[i]);
}

static bool may_help(const mcl__cl_device *device)
{
    return device->base.info.type == MCL_DEVICE_CPU && device->base.options.helper && device->base.threads > 1 &&
           device->binaries == MCL__CL_NEVER && !getenv(MCL__CL_HELPER);
}

void mcl__cl_helpers_ask(mcl__cl_device *device, mcl__kernel *kernel, const mcl__arg *args, int count, int dimensions,
                         const size_t *global, const size_t *local)
{
    mark its;
    unsigned form = 1u << is_wide(dimensions, global);
    if (!may_help(device) || (kernel->asked & form)) return;
    kernel->asked |= form;
    request *asked = make_request(kernel, args, count, dimensions, global, local);
    bool wanted = asked && make_mark(device, kernel, asked, &its) && !mcl__cl_cache_use_mark(device->cache, "compiled", its.key);
    if (wanted && !device->helpers && (device->helpers = calloc(1, sizeof *device->helpers))) device->helpers->file = -1;
    if (wanted && device->helpers) add_request(device, asked, &its);
    else free(asked);
}

/* Until the last of them has closed its end, or all are silent. */
static void hear_them_out(const mcl__cl_helpers *helpers)
{
    char news;
    struct pollfd socket = {.fd = helpers->file, .events = POLLIN};
    shutdown(helpers->file, SHUT_WR); /* they end when they have read the rest */
    for (;;) {
        int ready = poll(&socket, 1, SILENCE);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0 || recv(helpers->file, &news, 1, MSG_DONTWAIT) <= 0) return;
    }
}

static void end_processes(const mcl__cl_helpers *helpers, bool hear)
{
    int failed = 0;
    if (hear) hear_them_out(helpers);
    for (int i = 0; i < helpers->processes; i++) {
        int status = 0;
        kill(helpers->process[i], SIGKILL); /* those that have closed their end are about to go */
        while (waitpid(helpers->process[i], &status, 0) < 0 && errno == EINTR) continue;
        failed += !WIFSIGNALED(status) && WEXITSTATUS(status) != 0;
    }
    close(helpers->file);
    if (failed) mcl__log(MCL_LOG_DEBUG, "%d of %d processes that compile failed", failed, helpers->processes);
}

void mcl__cl_helpers_end(mcl__cl_device *device, bool wait)
{
    mcl__cl_helpers *helpers = device->helpers;
    if (!helpers) return;
    device->helpers = NULL;
    if (helpers->file >= 0) end_processes(helpers, wait);
    if (helpers->held < WORTH_HELPERS)
        for (int i = 0; i < helpers->held; i++) free(helpers->request[i]);
    for (size_t i = 0; wait && i < helpers->marks; i++) mcl__cl_cache_put_mark(device->cache, "compiled", helpers->mark[i].key);
    free(helpers->mark);
    free(helpers);
}

/* --- A helper ------------------------------------------------------------------------------------------------------------- */

typedef struct zeros { void *pages; size_t bytes; cl_mem memory; } zeros;

/* Pages that nothing touches cost nothing, however large a tensor is. */
static bool make_zeros(mcl__cl_device *device, size_t bytes, zeros *made)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) return false;
    *made = (zeros){pages, bytes, clCreateBuffer(device->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, bytes, pages, NULL)};
    return made->memory != NULL;
}

static void free_zeros(zeros *made)
{
    if (made->memory) clReleaseMemObject(made->memory);
    if (made->pages) munmap(made->pages, made->bytes);
}

static bool launch(mcl__cl_device *device, cl_kernel kernel, const request *r, const char *values)
{
    zeros memory[MOST_ARGS] = {0};
    size_t global[3];
    bool good = true;
    for (int i = 0; i < r->args && good; i++) {
        size_t bytes = r->arg[i].bytes;
        const void *value = values;
        if (r->arg[i].kind == MCL__ARG_VIEW) {
            good = make_zeros(device, bytes, &memory[i]);
            value = &memory[i].memory;
            bytes = sizeof memory[i].memory;
        } else if (r->arg[i].kind == MCL__ARG_LOCAL) {
            value = NULL;
        } else {
            values += bytes;
        }
        good = good && clSetKernelArg(kernel, (cl_uint)i, bytes, value) == CL_SUCCESS;
    }
    for (int i = 0; i < r->dimensions; i++) /* as few work-groups as have the same code */
        global[i] = r->global[i] < WIDE ? r->local[i] : (WIDE + r->local[i] - 1) / r->local[i] * r->local[i];
    good = good && clEnqueueNDRangeKernel(device->queue, kernel, (cl_uint)r->dimensions, NULL, global, r->local, 0, NULL, NULL) ==
                       CL_SUCCESS;
    good = clFinish(device->queue) == CL_SUCCESS && good;
    for (int i = 0; i < r->args; i++) free_zeros(&memory[i]);
    return good;
}

/* false: this helper is of no more use. */
static bool compile(mcl__cl_device *device, const request *r)
{
    const char *texts[4], *at = (const char *)(r + 1);
    mcl__kernel *kernel;
    for (int i = 0; i < 4; at += strlen(at) + 1, i++) texts[i] = at;
    mcl__kernel_key key = {.source = texts[0], .name = texts[1], .constants = texts[2], .prelude = texts[3]};
    if (mcl__kernel_get(&device->base, &key, &kernel) != MCL_OK) return false;
    cl_kernel handle = clCreateKernel(kernel->program->program, kernel->name, NULL);
    bool good = handle && launch(device, handle, r, at);
    if (handle) clReleaseKernel(handle);
    send(STDIN_FILENO, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    return good;
}

int mcl__helper_run(int argc, char **argv)
{
    static _Alignas(request) char message[MOST_BYTES];
    mcl_device *device;
    if (argc < 3 || argc > 4 || strcmp(argv[1], MONOCLE_VERSION) != 0) return EXIT_FAILURE;
    prctl(PR_SET_NAME, "monocle");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* whoever asked waits for what has begun */
    if (mcl_device_open(argv[2], &(mcl_device_options){.kernels = argc > 3 ? argv[3] : NULL}, &device, NULL) != MCL_OK)
        return EXIT_FAILURE;
    for (ssize_t bytes; (bytes = recv(STDIN_FILENO, message, sizeof message, 0)) != 0;) {
        const request *r = (const request *)message;
        if (bytes < 0 && errno == EINTR) continue;
        if (bytes < (ssize_t)sizeof *r || (size_t)bytes != r->bytes || !compile(mcl__cl(device), r)) return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
