/* Memory for things that live and die together, growing arrays, and text made to measure. */
#ifndef MCL_BASE_ARENA_H
#define MCL_BASE_ARENA_H
#include <monocle/status.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* Starts all-zero; everything taken from it is freed by mcl__arena_clear(). */
typedef struct mcl__arena { struct mcl__arena_block *blocks; } mcl__arena;

/* Zeroed memory, aligned for any type; NULL when there is none. A copy has a 0 after its last byte. */
void *mcl__arena_alloc(mcl__arena *arena, size_t bytes);
char *mcl__arena_copy(mcl__arena *arena, const char *text, size_t length);
char *mcl__arena_text(mcl__arena *arena, const char *format, ...) MCL_PRINTF(2, 3);
char *mcl__arena_format(mcl__arena *arena, const char *format, va_list arguments);
void mcl__arena_clear(mcl__arena *arena);

/* Makes room for `needed` items, doubling. On failure returns false and leaves *items as it was.
 *   if (!mcl__grow(&list, &capacity, count + 1, sizeof *list)) ...
 * items: the address of the pointer to the array. */
bool mcl__grow(void *items, size_t *capacity, size_t needed, size_t item_bytes);

/* a * b, or false when it does not fit. */
static inline bool mcl__size_multiply(size_t a, size_t b, size_t *product) { return !__builtin_mul_overflow(a, b, product); }

/* Text of the right length, freed with free(); NULL when there is no memory. */
char *mcl__text(const char *format, ...) MCL_PRINTF(1, 2);
#endif
