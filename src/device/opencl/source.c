/* The text of a program: embedded by the build, or read from a folder while kernels are being worked on. Includes are
 * spliced here because OpenCL drivers disagree about include paths. */
#include "base/embedded.h"
#include "base/file.h"
#include "base/hash.h"
#include "device/opencl/opencl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INCLUDES 32 /* different files that one program may include */
#define SOURCE_MAX (16 << 20)

typedef struct splice {
    const char *folder;
    FILE *out;
    mcl_error *error;
    char done[INCLUDES][64];
    int count;
} splice;

static char *embedded(const char *name)
{
    for (const mcl__embedded *file = mcl__embedded_kernels; file->name; file++)
        if (strcmp(file->name, name) == 0) return strndup((const char *)file->text, file->bytes);
    return NULL;
}

static char *read_text(const char *folder, const char *name, mcl_error *error)
{
    char path[4096], *text;
    size_t bytes;
    mcl_error cause = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (mcl__file_read(path, SOURCE_MAX, &text, &bytes, &cause) == MCL_OK) return text;
    mcl__fail(error, MCL_ERROR_BUILD, "kernel source: %s", cause.text);
    return NULL;
}

static char *load(const char *folder, const char *name, mcl_error *error)
{
    if (folder) return read_text(folder, name, error);
    char *text = embedded(name);
    if (!text) mcl__fail(error, MCL_ERROR_BUILD, "the library has no kernel source %s", name);
    return text;
}

/* The name in a line of the form  #include "name". */
static bool included_name(const char *line, char name[64])
{
    int end = 0;
    return sscanf(line, " # include \"%63[^\"\n]\"%n", name, &end) == 1 && end > 0;
}

static mcl_status splice_file(splice *state, const char *name);

/* Copies text line by line. An include is taken where it stands, the first time only, and counts as taken even inside
 * an #if: kernels and their headers include unconditionally. */
static mcl_status splice_text(splice *state, const char *text, const char *name)
{
    int number = 1;
    fprintf(state->out, "#line 1 \"%s\"\n", name);
    while (*text) {
        size_t length = strcspn(text, "\n");
        size_t whole = length + (text[length] == '\n');
        char line[128], included[64];
        snprintf(line, sizeof line, "%.*s", (int)(length < 127 ? length : 127), text);
        number++;
        if (included_name(line, included)) {
            MCL_TRY(splice_file(state, included));
            fprintf(state->out, "#line %d \"%s\"\n", number, name);
        } else {
            fwrite(text, 1, whole, state->out);
        }
        text += whole;
    }
    fputc('\n', state->out);
    return MCL_OK;
}

static mcl_status splice_file(splice *state, const char *name)
{
    for (int i = 0; i < state->count; i++)
        if (strcmp(state->done[i], name) == 0) return MCL_OK;
    if (strchr(name, '/'))
        return mcl__fail(state->error, MCL_ERROR_BUILD, "a kernel includes \"%s\"; includes are plain names", name);
    if (state->count == INCLUDES)
        return mcl__fail(state->error, MCL_ERROR_BUILD, "a program has more than %d files", INCLUDES);
    snprintf(state->done[state->count++], sizeof state->done[0], "%s", name);
    char *text = load(state->folder, name, state->error);
    if (!text) return MCL_ERROR_BUILD;
    mcl_status status = splice_text(state, text, name);
    free(text);
    return status;
}

mcl_status mcl__cl_source(const char *folder, const char *name, const char *header, const char *prelude, char **text,
                          mcl_error *error)
{
    char file[64];
    size_t bytes = 0;
    *text = NULL;
    if (snprintf(file, sizeof file, "%s.cl", name) >= (int)sizeof file)
        return mcl__fail(error, MCL_ERROR_BUILD, "the kernel source name %s is too long", name);
    splice state = {.folder = folder, .out = open_memstream(text, &bytes), .error = error};
    if (!state.out) return mcl__fail(error, MCL_ERROR_MEMORY, "kernel source %s: out of host memory", name);
    mcl_status status = MCL_OK;
    if (header) {
        state.folder = NULL;
        status = splice_file(&state, header);
        state.folder = folder;
    }
    if (status == MCL_OK && prelude) status = splice_text(&state, prelude, "prelude");
    if (status == MCL_OK) status = splice_file(&state, file);
    if (fclose(state.out) != 0 && status == MCL_OK)
        status = mcl__fail(error, MCL_ERROR_MEMORY, "kernel source %s: out of host memory", name);
    if (status != MCL_OK) {
        free(*text);
        *text = NULL;
    }
    return status;
}

void mcl__cl_sources_hash(const char *folder, char hex[33])
{
    char *all = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&all, &bytes);
    for (const mcl__embedded *file = mcl__embedded_kernels; out && file->name; file++) {
        char *text = load(folder, file->name, NULL);
        if (text) fprintf(out, "%s\n%s\n", file->name, text);
        free(text);
    }
    if (out) fclose(out);
    mcl__hash_hex(all ? all : "", bytes, hex);
    free(all);
}
