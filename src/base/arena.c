/* A growing arena, arrays that double, and text made to measure. */
#include "base/arena.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 16, BLOCK_BYTES = 16384 };

struct mcl__arena_block {
    struct mcl__arena_block *next;
    size_t used, size; /* bytes of memory[] */
    _Alignas(ALIGNMENT) unsigned char memory[];
};

void *mcl__arena_alloc(mcl__arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct mcl__arena_block *block = arena->blocks;
    if (!block || block->size - block->used < bytes) {
        size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block = calloc(1, sizeof *block + size);
        if (!block) return NULL;
        block->size = size;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *memory = block->memory + block->used;
    block->used += bytes;
    return memory;
}

char *mcl__arena_copy(mcl__arena *arena, const char *text, size_t length)
{
    char *copy = mcl__arena_alloc(arena, length + 1);
    if (copy && length) memcpy(copy, text, length);
    return copy;
}

char *mcl__arena_format(mcl__arena *arena, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    char *text = length < 0 ? NULL : mcl__arena_alloc(arena, (size_t)length + 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *mcl__arena_text(mcl__arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = mcl__arena_format(arena, format, arguments);
    va_end(arguments);
    return text;
}

void mcl__arena_clear(mcl__arena *arena)
{
    while (arena->blocks) {
        struct mcl__arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}

bool mcl__grow(void *items, size_t *capacity, size_t needed, size_t item_bytes)
{
    if (needed <= *capacity) return true;
    size_t wanted = *capacity > SIZE_MAX / 2 ? needed : *capacity * 2, bytes;
    if (wanted < needed) wanted = needed;
    if (wanted < 8) wanted = 8;
    if (!mcl__size_multiply(wanted, item_bytes, &bytes)) return false;
    void *old, *grown;
    memcpy(&old, items, sizeof old);
    if (!(grown = realloc(old, bytes))) return false;
    memcpy(items, &grown, sizeof grown);
    *capacity = wanted;
    return true;
}

char *mcl__text(const char *format, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    return length < 0 ? NULL : text;
}
