/* Text put together in a place that is large enough for it. */
#ifndef MCL_BASE_WRITER_H
#define MCL_BASE_WRITER_H
#include <monocle/status.h>
#include <stddef.h>

typedef struct mcl__writer { char *text; size_t used, room; } mcl__writer; /* used: characters so far, without the 0 behind them */

void mcl__put(mcl__writer *writer, const char *format, ...) MCL_PRINTF(2, 3);
#endif
