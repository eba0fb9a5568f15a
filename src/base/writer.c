/* See writer.h. */
#include "base/writer.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

void mcl__put(mcl__writer *writer, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int length = vsnprintf(writer->text + writer->used, writer->room - writer->used, format, list);
    va_end(list);
    assert(length >= 0 && writer->used + (size_t)length < writer->room);
    writer->used += (size_t)length;
}
