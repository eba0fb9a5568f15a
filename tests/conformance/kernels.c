/* Finds kernel entry points in source text; see kernels.h. */
#include "conformance/kernels.h"
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = calloc(1, 1 << 20);
    if (text) text[fread(text, 1, (1 << 20) - 1, file)] = 0;
    fclose(file);
    return text;
}

/* Comments become spaces, so that prose about a kernel is not taken for one. */
static void blank_comments(char *text)
{
    for (char *at = text; *at; at++) {
        if (at[0] != '/' || (at[1] != '*' && at[1] != '/')) continue;
        const char *close = at[1] == '*' ? "*/" : "\n";
        char *end = strstr(at + 2, close);
        end = end ? end + (close[0] == '*' ? 2 : 0) : at + strlen(at);
        memset(at, ' ', (size_t)(end - at));
    }
}

static bool is_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

static void add(conformance_kernels *kernels, const char *source, const char *name, int length)
{
    conformance_kernel kernel = {.used = false};
    snprintf(kernel.source, sizeof kernel.source, "%s", source);
    snprintf(kernel.name, sizeof kernel.name, "%.*s", length, name);
    for (int i = 0; i < kernels->count; i++)
        if (!strcmp(kernels->at[i].source, kernel.source) && !strcmp(kernels->at[i].name, kernel.name)) return;
    kernels->at = realloc(kernels->at, (size_t)(kernels->count + 1) * sizeof *kernels->at);
    if (!kernels->at) abort();
    kernels->at[kernels->count++] = kernel;
}

/* After the word `kernel` come attributes, then `void`, the name and its parameters. */
static void scan(conformance_kernels *kernels, const char *source, char *text)
{
    blank_comments(text);
    for (char *at = text; (at = strstr(at, "kernel")); at += 6) {
        char before = at > text ? at[-1] : ' ';
        if (is_word(at[6]) || (is_word(before) && !(at >= text + 2 && !strncmp(at - 2, "__", 2)))) continue;
        char *name = strstr(at, "void"), *end = name ? name + 4 + strspn(name + 4, " \n\t") : NULL;
        if (!name || strcspn(at, ";{}") < (size_t)(name - at)) continue;
        name = end;
        while (is_word(*end)) end++;
        if (end > name) add(kernels, source, name, (int)(end - name));
    }
}

conformance_kernels conformance_kernels_scan(const char *folder)
{
    conformance_kernels kernels = {0};
    DIR *directory = opendir(folder);
    if (!directory) return kernels;
    for (struct dirent *entry; (entry = readdir(directory));) {
        char path[4096], source[48];
        size_t length = strlen(entry->d_name);
        if (length < 4 || length > sizeof source || strcmp(entry->d_name + length - 3, ".cl")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        snprintf(source, sizeof source, "%.*s", (int)length - 3, entry->d_name);
        char *text = read_text(path);
        if (text) scan(&kernels, source, text);
        free(text);
    }
    closedir(directory);
    return kernels;
}

void conformance_kernels_saw(conformance_kernels *kernels, const char *source, const char *name)
{
    for (int i = 0; i < kernels->count; i++)
        if (!strcmp(kernels->at[i].source, source) && !strcmp(kernels->at[i].name, name)) kernels->at[i].used = true;
}
