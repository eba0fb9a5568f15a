/* YAML as a small tree that knows where each node stood, so that every complaint reads FILE:LINE:COLUMN: what.
 * Duplicate keys are errors; anchors, aliases and merge keys are refused. All failures are MCL_ERROR_CONFIG. */
#ifndef MCL_BASE_YAML_H
#define MCL_BASE_YAML_H
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mcl__yaml_kind { MCL__YAML_SCALAR, MCL__YAML_SEQUENCE, MCL__YAML_MAPPING } mcl__yaml_kind;

/* Children of sequences and mappings: for (child = node->first; child; child = child->next). The document owns all. */
typedef struct mcl__yaml_node mcl__yaml_node;
struct mcl__yaml_node {
    mcl__yaml_kind kind;
    bool quoted;             /* a scalar that was written in quotes or as a block is text, whatever it looks like */
    int line, column;        /* from 1; line 0: made by mcl__yaml_set */
    int key_line, key_column;
    const char *source;      /* the file, or "--set key.path" */
    const char *key;         /* of a mapping's child, else NULL */
    const char *text;        /* of a scalar, else NULL */
    mcl__yaml_node *first, *last, *next;
    int count;               /* children */
};

typedef struct mcl__yaml mcl__yaml;
/* Parses text; name stands in messages. An empty document is an empty mapping. */
mcl_status mcl__yaml_parse(const char *text, size_t bytes, const char *name, mcl__yaml **yaml, mcl_error *error);
mcl_status mcl__yaml_read(const char *path, mcl__yaml **yaml, mcl_error *error);
void mcl__yaml_destroy(mcl__yaml *yaml); /* NULL does nothing */
mcl__yaml_node *mcl__yaml_root(const mcl__yaml *yaml);

/* NULL when there is no such child, or node is NULL. */
const mcl__yaml_node *mcl__yaml_find(const mcl__yaml_node *mapping, const char *key);
const mcl__yaml_node *mcl__yaml_at(const mcl__yaml_node *sequence, int index);

/* "FILE:LINE:COLUMN: text"; returns MCL_ERROR_CONFIG. */
mcl_status mcl__yaml_fail(const mcl__yaml_node *node, mcl_error *error, const char *format, ...) MCL_PRINTF(3, 4);

/* Typed values. A NULL node leaves *value as it is, so that a default stands:
 *   int64_t epochs = 10;
 *   MCL_TRY(mcl__yaml_int(mcl__yaml_find(train, "epochs"), 1, 100000, &epochs, error));
 * Ranges are inclusive. text: any scalar but null, owned by the document. bool: true/false, yes/no, on/off. */
mcl_status mcl__yaml_text(const mcl__yaml_node *node, const char **value, mcl_error *error);
mcl_status mcl__yaml_bool(const mcl__yaml_node *node, bool *value, mcl_error *error);
mcl_status mcl__yaml_int(const mcl__yaml_node *node, int64_t low, int64_t high, int64_t *value, mcl_error *error);
mcl_status mcl__yaml_double(const mcl__yaml_node *node, double low, double high, double *value, mcl_error *error);
/* One of names; *value is its index. */
mcl_status mcl__yaml_choice(const mcl__yaml_node *node, const char *const *names, int count, int *value, mcl_error *error);
mcl_status mcl__yaml_expect(const mcl__yaml_node *node, mcl__yaml_kind kind, mcl_error *error); /* NULL is fine */
bool mcl__yaml_is_null(const mcl__yaml_node *node); /* absent, ~, null, or nothing after the colon */

/* Every key must be among `allowed`: FILE:LINE:COLUMN: unknown key "lerning_rate"; did you mean "learning_rate"? */
mcl_status mcl__yaml_check_keys(const mcl__yaml_node *mapping, const char *const *allowed, int count, mcl_error *error);

/* Sets the node at "key.path" (numbers index sequences) to value, read as YAML; makes mappings on the way. */
mcl_status mcl__yaml_set(mcl__yaml *yaml, const char *path, const char *value, mcl_error *error);
/* The same from "key.path=value", as --set has it. */
mcl_status mcl__yaml_assign(mcl__yaml *yaml, const char *assignment, mcl_error *error);
/* Sets it to this very text, quoted where need be. */
mcl_status mcl__yaml_set_text(mcl__yaml *yaml, const char *path, const char *text, mcl_error *error);

/* The tree as YAML text that parses to the same tree; freed with free(). NULL: no memory. */
char *mcl__yaml_emit(const mcl__yaml *yaml);

/* The name nearest to word by edit distance, NULL when none is near. */
const char *mcl__nearest(const char *word, const char *const *names, int count);
#endif
