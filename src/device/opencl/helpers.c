/* Compiling in several processes. PoCL compiles under one lock, for most of its time at a kernel's first launch: a program of 26
 * sources keeps one core busy for twelve seconds, whatever there are. But its cache is common to all processes. So each launch
 * that is made for the first time on this machine is also told to helpers (helper.h), as many as there are cores. They compile
 * while the plan is still being made, and the first launch that is run waits until they are done.
 *
 * All helpers read one socket, so that whoever is free takes the next request. What they get to compile they launch, on zeros and
 * for one work-group alone, since there is no other way to the code for these work-groups. A helper that fails leaves its work
 * to the process that asked, which compiles whatever it does not find. */
#include "device/helper.h"
#include "device/opencl/opencl.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    MOST_HELPERS = 8,
    MOST_ARGS = 32,
    MOST_BYTES = 64 << 10, /* of a request */
    WORTH_HELPERS = 4,     /* kernels; a helper takes 0.2 seconds to begin, a kernel 0.05 to 1.3 */
    WIDE = 65535,          /* from so many work-items in a dimension on, PoCL has code of its own */
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

struct mcl__cl_helpers {
    int file; /* our end of the socket; -1 while requests are held */
    pid_t process[MOST_HELPERS];
    int processes, held;
    request *request[WORTH_HELPERS];
};

/* --- What is compiled already --------------------------------------------------------------------------------------------- */

static bool is_wide(int dimensions, const size_t *global)
{
    for (int i = 0; i < dimensions; i++)
        if (global[i] >= WIDE) return true;
    return false;
}

/* An empty file says that a helper has compiled a kernel for such work-groups. */
static bool mark_path(const mcl__cl_device *device, const mcl__kernel *kernel, const request *r, char *path, size_t room)
{
    char form[96], key[MCL__CL_KEY];
    snprintf(form, sizeof form, "%zux%zux%zu%s", r->local[0], r->local[1], r->local[2],
             is_wide(r->dimensions, r->global) ? " wide" : "");
    const char *parts[] = {kernel->program->cache_key, kernel->name, form};
    return device->cache && mcl__cl_cache_key(parts, 3, key) &&
           snprintf(path, room, "%s/compiled/%s", device->cache, key) < (int)room;
}

static bool is_marked(const mcl__cl_device *device, const mcl__kernel *kernel, const request *r)
{
    char path[4096];
    return mark_path(device, kernel, r, path, sizeof path) && utimensat(AT_FDCWD, path, NULL, 0) == 0;
}

static void put_mark(const mcl__cl_device *device, const mcl__kernel *kernel, const request *r)
{
    char path[4096];
    if (!mark_path(device, kernel, r, path, sizeof path)) return;
    char *name = strrchr(path, '/');
    *name = '\0';
    mkdir(path, 0700);
    *name = '/';
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0) close(file);
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

static bool spawn(const mcl__cl_device *device, int file, pid_t *process)
{
    const mcl_device_options *options = &device->base.options;
    char *const arguments[] = {"monocle", MCL__HELPER_WORD, MONOCLE_VERSION, (char *)device->base.info.selector,
                               (char *)options->kernels, NULL};
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) return false;
    bool good = posix_spawn_file_actions_adddup2(&actions, file, STDIN_FILENO) == 0 &&
                posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
                posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
                posix_spawn(process, options->helper, &actions, NULL, arguments, environ) == 0;
    posix_spawn_file_actions_destroy(&actions);
    return good;
}

static void start(mcl__cl_device *device, mcl__cl_helpers *helpers)
{
    int ends[2], wanted = device->base.threads < MOST_HELPERS ? device->base.threads : MOST_HELPERS;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return;
    while (helpers->processes < wanted && spawn(device, ends[1], &helpers->process[helpers->processes])) helpers->processes++;
    close(ends[1]);
    helpers->file = ends[0];
    mcl__log(MCL_LOG_DEBUG, "%d processes compile kernels", helpers->processes);
}

/* Where nobody listens any more, nobody will be asked: the first launch finds no code, and compiles. */
static void send_request(const mcl__cl_helpers *helpers, request *asked)
{
    while (send(helpers->file, asked, asked->bytes, MSG_NOSIGNAL) < 0 && errno == EINTR) continue;
    free(asked);
}

static void add_request(mcl__cl_device *device, request *asked)
{
    mcl__cl_helpers *helpers = device->helpers;
    if (helpers->held < WORTH_HELPERS) {
        helpers->request[helpers->held++] = asked;
        if (helpers->held < WORTH_HELPERS) return;
        start(device, helpers);
        for (int i = 0; i < helpers->held; i++) send_request(helpers, helpers->request[i]);
        return;
    }
    send_request(helpers, asked);
}

void mcl__cl_helpers_ask(mcl__cl_device *device, mcl__kernel *kernel, const mcl__arg *args, int count, int dimensions,
                         const size_t *global, const size_t *local)
{
    unsigned form = 1u << is_wide(dimensions, global);
    if (!device->base.options.helper || device->base.threads < 2 || device->binaries != MCL__CL_NEVER) return;
    if (kernel->asked & form) return;
    kernel->asked |= form;
    request *asked = make_request(kernel, args, count, dimensions, global, local);
    bool wanted = asked && !is_marked(device, kernel, asked);
    if (wanted && !device->helpers && (device->helpers = calloc(1, sizeof *device->helpers))) device->helpers->file = -1;
    if (wanted && device->helpers) add_request(device, asked);
    else free(asked);
}

void mcl__cl_helpers_wait(mcl__cl_device *device)
{
    mcl__cl_helpers *helpers = device->helpers;
    if (!helpers) return;
    device->helpers = NULL;
    if (helpers->held < WORTH_HELPERS)
        for (int i = 0; i < helpers->held; i++) free(helpers->request[i]);
    if (helpers->file >= 0) close(helpers->file); /* they end when they have read the rest */
    for (int i = 0; i < helpers->processes; i++)
        while (waitpid(helpers->process[i], NULL, 0) < 0 && errno == EINTR) continue;
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
    for (int i = 0; i < r->dimensions; i++) global[i] = r->global[i] < WIDE ? r->local[i] : r->global[i];
    good = good && clEnqueueNDRangeKernel(device->queue, kernel, (cl_uint)r->dimensions, NULL, global, r->local, 0, NULL, NULL) ==
                       CL_SUCCESS;
    good = clFinish(device->queue) == CL_SUCCESS && good;
    for (int i = 0; i < r->args; i++) free_zeros(&memory[i]);
    return good;
}

static void compile(mcl__cl_device *device, const request *r)
{
    const char *texts[4], *at = (const char *)(r + 1);
    mcl__kernel *kernel;
    for (int i = 0; i < 4; at += strlen(at) + 1, i++) texts[i] = at;
    mcl__kernel_key key = {.source = texts[0], .name = texts[1], .constants = texts[2], .prelude = texts[3]};
    if (mcl__kernel_get(&device->base, &key, &kernel) != MCL_OK) return;
    cl_kernel handle = clCreateKernel(kernel->program->program, kernel->name, NULL);
    if (!handle) return;
    if (launch(device, handle, r, at)) put_mark(device, kernel, r);
    clReleaseKernel(handle);
}

int mcl__helper_run(int argc, char **argv)
{
    static _Alignas(request) char message[MOST_BYTES];
    mcl_device *device;
    if (argc < 3 || argc > 4 || strcmp(argv[1], MONOCLE_VERSION) != 0) return EXIT_FAILURE;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN); /* whoever asked waits for what has begun */
    if (mcl_device_open(argv[2], &(mcl_device_options){.kernels = argc > 3 ? argv[3] : NULL}, &device, NULL) != MCL_OK)
        return EXIT_FAILURE;
    for (ssize_t bytes; (bytes = recv(STDIN_FILENO, message, sizeof message, 0)) != 0;) {
        const request *r = (const request *)message;
        if (bytes < 0 && errno == EINTR) continue;
        if (bytes < (ssize_t)sizeof *r || (size_t)bytes != r->bytes) return EXIT_FAILURE;
        compile(mcl__cl(device), r);
    }
    return EXIT_SUCCESS;
}
