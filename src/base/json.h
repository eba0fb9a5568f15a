/* JSON through jansson, with our errors. */
#ifndef MCL_BASE_JSON_H
#define MCL_BASE_JSON_H
#include "base/error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Parses `bytes` of text; name stands in messages: "NAME:LINE:COLUMN: reason", MCL_ERROR_FORMAT. Duplicate keys are
 * errors. *root is released with json_decref(). */
mcl_status mcl__json_parse(const char *text, size_t bytes, const char *name, json_t **root, mcl_error *error);
bool mcl__json_carries(const char *text); /* is it UTF-8, as all text in JSON must be? */
/* A string of what others have named, such as files: each byte that is no UTF-8 becomes U+FFFD. */
json_t *mcl__json_text(const char *text);
#endif
