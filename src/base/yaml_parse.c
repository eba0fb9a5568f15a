/* From libfyaml's events to our tree. Works with libfyaml 0.7 and later. */
#include "base/file.h"
#include "base/yaml_tree.h"
#include <libfyaml.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    mcl__yaml *yaml;
    struct fy_parser *parser;
    struct fy_diag *diagnostics;
    const char *source;
    mcl_error *error;
};

static mcl_status out_of_memory(struct reader *reader)
{
    return mcl__fail(reader->error, MCL_ERROR_MEMORY, "%s: no memory", reader->source);
}

static mcl_status fail_at(struct reader *reader, struct fy_token *token, const char *what)
{
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    return mcl__fail(reader->error, MCL_ERROR_CONFIG, "%s:%d:%d: %s", reader->source, mark ? mark->line + 1 : 1,
                     mark ? mark->column + 1 : 1, what);
}

/* What libfyaml found wrong, its first complaint. */
static mcl_status fail_syntax(struct reader *reader)
{
    void *previous = NULL;
    struct fy_diag_error *found = fy_diag_errors_iterate(reader->diagnostics, &previous);
    if (!found) return mcl__fail(reader->error, MCL_ERROR_CONFIG, "%s: not valid YAML", reader->source);
    return mcl__fail(reader->error, MCL_ERROR_CONFIG, "%s:%d:%d: %s", reader->source, found->line + 1, found->column + 1,
                     found->msg);
}

mcl__yaml_node *mcl__yaml_new(mcl__yaml *yaml, mcl__yaml_kind kind, const char *source)
{
    mcl__yaml_node *node = mcl__arena_alloc(&yaml->arena, sizeof *node);
    if (!node) return NULL;
    node->kind = kind;
    node->source = source;
    return node;
}

void mcl__yaml_append(mcl__yaml_node *parent, mcl__yaml_node *child)
{
    if (parent->last) parent->last->next = child;
    else parent->first = child;
    parent->last = child;
    parent->count++;
}

static mcl_status next_event(struct reader *reader, struct fy_event **event)
{
    *event = fy_parser_parse(reader->parser);
    return *event ? MCL_OK : fail_syntax(reader);
}

static mcl_status take_scalar(struct reader *reader, struct fy_event *event, mcl__yaml_node *node)
{
    struct fy_token *token = event->scalar.value;
    size_t length = 0;
    const char *text = token ? fy_token_get_text(token, &length) : "";
    if (!text) return out_of_memory(reader);
    if (memchr(text, 0, length)) return fail_at(reader, token, "text with a zero byte");
    node->text = mcl__arena_copy(&reader->yaml->arena, text, length);
    if (!node->text) return out_of_memory(reader);
    node->quoted = token && fy_token_scalar_style(token) != FYSS_PLAIN;
    return MCL_OK;
}

static mcl_status read_node(struct reader *reader, struct fy_event *event, int depth, mcl__yaml_node **result);

static mcl_status read_sequence(struct reader *reader, int depth, mcl__yaml_node *parent)
{
    for (;;) {
        struct fy_event *event;
        mcl__yaml_node *child;
        MCL_TRY(next_event(reader, &event));
        enum fy_event_type type = event->type;
        mcl_status status = type == FYET_SEQUENCE_END ? MCL_OK : read_node(reader, event, depth + 1, &child);
        fy_parser_event_free(reader->parser, event);
        if (status != MCL_OK || type == FYET_SEQUENCE_END) return status;
        mcl__yaml_append(parent, child);
    }
}

static mcl_status read_pair(struct reader *reader, struct fy_event *event, int depth, mcl__yaml_node *parent)
{
    if (event->type != FYET_SCALAR) return fail_at(reader, fy_event_get_token(event), "a key must be plain text");
    mcl__yaml_node *key, *value;
    MCL_TRY(read_node(reader, event, depth, &key));
    if (!key->quoted && strcmp(key->text, "<<") == 0) return mcl__yaml_fail(key, reader->error, "merge keys are not supported");
    if (mcl__yaml_find(parent, key->text)) return mcl__yaml_fail(key, reader->error, "key \"%s\" is there twice", key->text);
    struct fy_event *next;
    MCL_TRY(next_event(reader, &next));
    mcl_status status = read_node(reader, next, depth + 1, &value);
    fy_parser_event_free(reader->parser, next);
    if (status != MCL_OK) return status;
    value->key = key->text;
    value->key_line = key->line;
    value->key_column = key->column;
    if (value->line == 0) value->line = key->line, value->column = key->column;
    mcl__yaml_append(parent, value);
    return MCL_OK;
}

static mcl_status read_mapping(struct reader *reader, int depth, mcl__yaml_node *parent)
{
    for (;;) {
        struct fy_event *event;
        MCL_TRY(next_event(reader, &event));
        enum fy_event_type type = event->type;
        mcl_status status = type == FYET_MAPPING_END ? MCL_OK : read_pair(reader, event, depth, parent);
        fy_parser_event_free(reader->parser, event);
        if (status != MCL_OK || type == FYET_MAPPING_END) return status;
    }
}

static struct fy_token *anchor_of(struct fy_event *event)
{
    switch (event->type) {
    case FYET_SCALAR: return event->scalar.anchor;
    case FYET_SEQUENCE_START: return event->sequence_start.anchor;
    case FYET_MAPPING_START: return event->mapping_start.anchor;
    case FYET_ALIAS: return event->alias.anchor;
    default: return NULL;
    }
}

static mcl_status read_node(struct reader *reader, struct fy_event *event, int depth, mcl__yaml_node **result)
{
    struct fy_token *token = fy_event_get_token(event);
    if (depth > MCL__YAML_DEPTH) return fail_at(reader, token, "nested too deeply");
    if (anchor_of(event)) return fail_at(reader, anchor_of(event), "anchors and aliases are not supported");
    mcl__yaml_kind kind = event->type == FYET_SEQUENCE_START ? MCL__YAML_SEQUENCE
                        : event->type == FYET_MAPPING_START ? MCL__YAML_MAPPING : MCL__YAML_SCALAR;
    if (kind == MCL__YAML_SCALAR && event->type != FYET_SCALAR) return fail_at(reader, token, "a value is missing");
    mcl__yaml_node *node = mcl__yaml_new(reader->yaml, kind, reader->source);
    if (!node) return out_of_memory(reader);
    const struct fy_mark *mark = token ? fy_token_start_mark(token) : NULL;
    if (mark) node->line = mark->line + 1, node->column = mark->column + 1;
    *result = node;
    return kind == MCL__YAML_SCALAR ? take_scalar(reader, event, node)
         : kind == MCL__YAML_SEQUENCE ? read_sequence(reader, depth, node) : read_mapping(reader, depth, node);
}

/* The one document of the stream, or an empty mapping where there is none. */
static mcl_status read_stream(struct reader *reader, mcl__yaml_node **root)
{
    int documents = 0;
    *root = NULL;
    for (;;) {
        struct fy_event *event;
        MCL_TRY(next_event(reader, &event));
        enum fy_event_type type = event->type;
        mcl_status status = MCL_OK;
        if (type == FYET_DOCUMENT_START && ++documents > 1)
            status = fail_at(reader, fy_event_get_token(event), "a second document; one is expected");
        else if (type != FYET_STREAM_START && type != FYET_STREAM_END && type != FYET_DOCUMENT_START && type != FYET_DOCUMENT_END)
            status = read_node(reader, event, 0, root);
        fy_parser_event_free(reader->parser, event);
        if (status != MCL_OK) return status;
        if (type == FYET_STREAM_END) break;
    }
    if (!*root || mcl__yaml_is_null(*root)) {
        *root = mcl__yaml_new(reader->yaml, MCL__YAML_MAPPING, reader->source);
        if (!*root) return out_of_memory(reader);
        (*root)->line = (*root)->column = 1;
    }
    return MCL_OK;
}

mcl_status mcl__yaml_parse_into(mcl__yaml *yaml, const char *text, size_t bytes, const char *source, mcl__yaml_node **root,
                                mcl_error *error)
{
    mcl_status status;
    struct reader reader = {.yaml = yaml, .source = source, .error = error};
    struct fy_diag_cfg quiet;
    fy_diag_cfg_default(&quiet);
    quiet.fp = NULL;
    quiet.colorize = false;
    reader.diagnostics = fy_diag_create(&quiet);
    if (!reader.diagnostics) return out_of_memory(&reader);
    fy_diag_set_collect_errors(reader.diagnostics, true);
    struct fy_parse_cfg options = {.flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_JSON_NONE, .diag = reader.diagnostics};
    reader.parser = fy_parser_create(&options);
    if (!reader.parser || fy_parser_set_string(reader.parser, text, bytes) != 0) status = out_of_memory(&reader);
    else status = read_stream(&reader, root);
    if (reader.parser) fy_parser_destroy(reader.parser);
    fy_diag_destroy(reader.diagnostics);
    return status;
}

mcl_status mcl__yaml_parse(const char *text, size_t bytes, const char *name, mcl__yaml **result, mcl_error *error)
{
    mcl__yaml *yaml = calloc(1, sizeof *yaml);
    const char *source = yaml ? mcl__arena_copy(&yaml->arena, name, strlen(name)) : NULL;
    mcl_status status = source ? mcl__yaml_parse_into(yaml, text, bytes, source, &yaml->root, error)
                               : mcl__fail(error, MCL_ERROR_MEMORY, "%s: no memory", name);
    if (status == MCL_OK) *result = yaml;
    else mcl__yaml_destroy(yaml);
    return status;
}

mcl_status mcl__yaml_read(const char *path, mcl__yaml **yaml, mcl_error *error)
{
    char *text;
    size_t bytes;
    MCL_TRY(mcl__file_read(path, 1 << 20, &text, &bytes, error));
    mcl_status status = mcl__yaml_parse(text, bytes, path, yaml, error);
    free(text);
    return status;
}

void mcl__yaml_destroy(mcl__yaml *yaml)
{
    if (!yaml) return;
    mcl__arena_clear(&yaml->arena);
    free(yaml);
}
