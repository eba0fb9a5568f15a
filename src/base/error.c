/* Statuses, errors and the log callback. */
#include "base/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct { mcl_status status; const char *name, *sentence; } statuses[] = {
#define MCL_STATUS(code, name, sentence) {MCL_ERROR_##name, "MCL_ERROR_" #name, sentence},
#include <monocle/status.def>
#undef MCL_STATUS
};

static struct { mcl_log_function log; void *user; } sink;

const char *mcl_status_name(mcl_status status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].status == status) return statuses[i].name;
    return "MCL_ERROR_UNKNOWN";
}

const char *mcl_status_sentence(mcl_status status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i].status == status) return statuses[i].sentence;
    return "an unknown failure";
}

const char *mcl_version(void) { return MONOCLE_VERSION; }

void mcl_set_log(mcl_log_function log, void *user)
{
    sink.log = log;
    sink.user = user;
}

void mcl__log(mcl_log_level level, const char *format, ...)
{
    if (!sink.log) return;
    char message[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    sink.log(level, message, sink.user);
}

mcl_status mcl__fail(mcl_error *error, mcl_status status, const char *format, ...)
{
    if (!error || error->status != MCL_OK) return status;
    error->status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return status;
}

mcl_status mcl__fail_in(mcl_error *error, const char *format, ...)
{
    if (!error) return MCL_ERROR_INVALID;
    char context[512], text[sizeof error->text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context, sizeof context, format, arguments);
    va_end(arguments);
    memcpy(text, error->text, sizeof text);
    size_t length = strlen(context);
    snprintf(error->text, sizeof error->text, "%s: %.*s", context, (int)(sizeof text - length - 3), text);
    return error->status;
}
