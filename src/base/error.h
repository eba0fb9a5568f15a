/* How a failure travels inside the library. */
#ifndef MCL_BASE_ERROR_H
#define MCL_BASE_ERROR_H
#include <monocle/status.h>

/* Fills *error (NULL is accepted; a filled one is kept) and returns status. */
mcl_status mcl__fail(mcl_error *error, mcl_status status, const char *format, ...) MCL_PRINTF(3, 4);
/* Puts "context: " before the text of a filled error. */
mcl_status mcl__fail_in(mcl_error *error, const char *format, ...) MCL_PRINTF(2, 3);

#define MCL_TRY(expression)                        \
    do {                                           \
        mcl_status mcl_try_status_ = (expression); \
        if (mcl_try_status_ != MCL_OK) return mcl_try_status_; \
    } while (0)
/* The same with clean-up: needs `mcl_status status` and a label `done`. */
#define MCL_TRY_DONE(expression)                          \
    do {                                                  \
        if ((status = (expression)) != MCL_OK) goto done; \
    } while (0)

void mcl__log(mcl_log_level level, const char *format, ...) MCL_PRINTF(2, 3);
#endif
