/* JSON through jansson, with our errors. */
#include "base/json.h"
#include <stdlib.h>
#include <string.h>

mcl_status mcl__json_parse(const char *text, size_t bytes, const char *name, json_t **root, mcl_error *error)
{
    json_error_t found;
    *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &found);
    if (*root) return MCL_OK;
    return mcl__fail(error, MCL_ERROR_FORMAT, "%s:%d:%d: %s", name, found.line, found.column, found.text);
}

bool mcl__json_carries(const char *text)
{
    json_t *made = json_string(text);
    json_decref(made);
    return made != NULL;
}

/* Bytes of the character that text begins with; 0: it begins with none. */
static size_t character(const char *text)
{
    for (size_t bytes = 1; bytes <= 4 && text[bytes - 1]; bytes++) {
        json_t *made = json_stringn(text, bytes);
        json_decref(made);
        if (made) return bytes;
    }
    return 0;
}

json_t *mcl__json_text(const char *text)
{
    static const char replacement[] = "\xEF\xBF\xBD";
    json_t *made = json_string(text);
    if (made) return made;
    char *clean = malloc(3 * strlen(text) + 1), *at = clean;
    if (!clean) return NULL;
    while (*text) {
        size_t bytes = character(text);
        memcpy(at, bytes ? text : replacement, bytes ? bytes : 3);
        at += bytes ? bytes : 3;
        text += bytes ? bytes : 1;
    }
    *at = 0;
    made = json_string(clean);
    free(clean);
    return made;
}
