/* What the files of the YAML reader share. */
#ifndef MCL_BASE_YAML_TREE_H
#define MCL_BASE_YAML_TREE_H
#include "base/arena.h"
#include "base/yaml.h"

enum { MCL__YAML_DEPTH = 48 }; /* deeper nesting is refused */

struct mcl__yaml {
    mcl__arena arena;
    mcl__yaml_node *root;
};

/* Parses into an existing document's memory. source: owned by that document, or outliving it. */
mcl_status mcl__yaml_parse_into(mcl__yaml *yaml, const char *text, size_t bytes, const char *source, mcl__yaml_node **root,
                                mcl_error *error);
mcl__yaml_node *mcl__yaml_new(mcl__yaml *yaml, mcl__yaml_kind kind, const char *source);
void mcl__yaml_append(mcl__yaml_node *parent, mcl__yaml_node *child);
#endif
