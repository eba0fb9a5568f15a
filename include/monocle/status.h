/* Outcomes and errors. Every fallible function returns an mcl_status; what went wrong is told in an mcl_error. */
#ifndef MONOCLE_STATUS_H
#define MONOCLE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MCL_API __attribute__((visibility("default")))
#define MCL_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define MCL_API
#define MCL_PRINTF(text, first)
#endif

typedef enum mcl_status {
#define MCL_STATUS(code, name, sentence) MCL_ERROR_##name = code,
#include <monocle/status.def>
#undef MCL_STATUS
} mcl_status;
#define MCL_OK MCL_ERROR_OK

/* The first failure of an operation: its status and a text that says what, where, and what to do about it.
 * The caller owns the object, usually on the stack, and starts with an all-zero one; functions take it last and
 * accept NULL. A filled error is never overwritten by a later failure. */
typedef struct mcl_error {
    mcl_status status;
    char text[4092];
} mcl_error;

/* "MCL_ERROR_SHAPE", and "shapes do not fit". Never NULL. */
MCL_API const char *mcl_status_name(mcl_status status);
MCL_API const char *mcl_status_sentence(mcl_status status);

typedef enum mcl_log_level { MCL_LOG_ERROR, MCL_LOG_WARNING, MCL_LOG_INFO, MCL_LOG_DEBUG } mcl_log_level;
typedef void (*mcl_log_function)(mcl_log_level level, const char *message, void *user);

/* Where the library's notices go; NULL (the default) drops them. The library itself never prints. Set it before
 * other threads use the library; decoding threads may call it, several at once. */
MCL_API void mcl_set_log(mcl_log_function log, void *user);

/* The library's version, "0.1.0". */
MCL_API const char *mcl_version(void);

#ifdef __cplusplus
}
#endif
#endif
