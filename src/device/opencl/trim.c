/* Keeps the cache small. At most once a day, what was used longest ago goes until the rest is within the limit; what was
 * used within the last day stays, since a process may be at work with it. An entry goes whole, and whoever misses one
 * compiles it again. */
#include "base/file.h"
#include "device/opencl/opencl.h"
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define LIMIT ((uint64_t)1 << 30)
#define DAY (24 * 3600)

/* A file of ours, or a folder of PoCL's with all that is in it, used when its newest file was. */
typedef struct entry { char *path; uint64_t bytes; time_t used; } entry;
typedef struct entries { entry *at; size_t count, room; } entries;

/* Folders of the cache, and how far down their entries lie: pocl/XX/REST is one program. */
static const struct { const char *name; int level; } kinds[] = {{"programs", 1}, {"compiled", 1}, {"pocl", 2}};

static entry *append(entries *all, const char *path)
{
    if (all->count == all->room) {
        size_t room = all->room ? 2 * all->room : 256;
        entry *grown = realloc(all->at, room * sizeof *grown);
        if (!grown) return NULL;
        all->at = grown;
        all->room = room;
    }
    char *copy = strdup(path);
    if (!copy) return NULL;
    all->at[all->count] = (entry){.path = copy};
    return &all->at[all->count++];
}

static FTS *walk(char *folder)
{
    char *const roots[] = {folder, NULL};
    return fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
}

static void list(entries *all, char *folder, int level)
{
    FTS *tree = walk(folder);
    entry *present = NULL;
    for (FTSENT *node; tree && (node = fts_read(tree));) {
        bool file = node->fts_info == FTS_F;
        if (node->fts_level == level && (file || node->fts_info == FTS_D)) present = append(all, node->fts_path);
        else if (node->fts_level < level) present = file ? append(all, node->fts_path) : NULL;
        if (!file || !present) continue;
        present->bytes += (uint64_t)node->fts_statp->st_size;
        if (node->fts_statp->st_mtime > present->used) present->used = node->fts_statp->st_mtime;
    }
    if (tree) fts_close(tree);
}

static void remove_entry(const entry *old)
{
    FTS *tree = walk(old->path);
    for (FTSENT *node; tree && (node = fts_read(tree));)
        if (node->fts_info != FTS_D) remove(node->fts_path);
    if (tree) fts_close(tree);
}

static int oldest_first(const void *a, const void *b)
{
    time_t x = ((const entry *)a)->used, y = ((const entry *)b)->used;
    return (x > y) - (x < y);
}

static bool done_today(const char *mark, time_t now)
{
    struct stat info;
    return stat(mark, &info) == 0 && info.st_mtime > now - DAY;
}

void mcl__cl_cache_trim(const char *cache)
{
    char path[4096];
    time_t now = time(NULL);
    if (!cache || snprintf(path, sizeof path, "%s/trimmed", cache) >= (int)sizeof path || done_today(path, now)) return;
    if (mcl__file_write(path, "\n", 1, NULL) != MCL_OK) return;
    entries all = {0};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (snprintf(path, sizeof path, "%s/%s", cache, kinds[i].name) < (int)sizeof path) list(&all, path, kinds[i].level);
    uint64_t bytes = 0;
    for (size_t i = 0; i < all.count; i++) bytes += all.at[i].bytes;
    if (all.count) qsort(all.at, all.count, sizeof *all.at, oldest_first);
    for (size_t i = 0; i < all.count && bytes > LIMIT && all.at[i].used < now - DAY; i++) {
        remove_entry(&all.at[i]);
        bytes -= all.at[i].bytes;
    }
    for (size_t i = 0; i < all.count; i++) free(all.at[i].path);
    free(all.at);
}
