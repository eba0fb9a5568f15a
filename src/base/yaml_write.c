/* Changing a YAML tree by path, and writing it as text. */
#include "base/yaml_tree.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static mcl_status no_memory(mcl_error *error) { return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the configuration"); }

/* The child that one part of a path names, made where it is missing and the parent is a mapping. */
static mcl_status step_into(mcl__yaml *yaml, mcl__yaml_node *parent, const char *part, size_t length, const char *source,
                            mcl__yaml_node **result, mcl_error *error)
{
    if (length == 0) return mcl__fail(error, MCL_ERROR_CONFIG, "%s: an empty name in the path", source);
    int index = 0, counted = -1;
    if (parent->kind == MCL__YAML_SEQUENCE) {
        if (strspn(part, "0123456789") < length || length > 6)
            return mcl__fail(error, MCL_ERROR_CONFIG, "%s: \"%.*s\" should be the position in a list, from 0", source, (int)length,
                             part);
        index = (int)strtol(part, NULL, 10);
    }
    for (mcl__yaml_node *child = parent->first; child; child = child->next) {
        counted++;
        bool match = parent->kind == MCL__YAML_SEQUENCE ? counted == index
                   : strlen(child->key) == length && memcmp(child->key, part, length) == 0;
        if (!match) continue;
        *result = child;
        return MCL_OK;
    }
    if (parent->kind == MCL__YAML_SEQUENCE)
        return mcl__fail(error, MCL_ERROR_CONFIG, "%s: the list has %d entries, there is none at %d", source, parent->count, index);
    mcl__yaml_node *made = mcl__yaml_new(yaml, MCL__YAML_SCALAR, source);
    if (!made || !(made->key = mcl__arena_copy(&yaml->arena, part, length))) return no_memory(error);
    made->text = "";
    mcl__yaml_append(parent, made);
    *result = made;
    return MCL_OK;
}

/* A part of the path that is not the last must be a list or a mapping, and becomes one where it was nothing. */
static mcl_status open_up(mcl__yaml_node *node, const char *source, mcl_error *error)
{
    if (node->kind != MCL__YAML_SCALAR) return MCL_OK;
    if (!mcl__yaml_is_null(node)) return mcl__fail(error, MCL_ERROR_CONFIG, "%s: \"%s\" has a value (%s) and no keys", source,
                                                   node->key ? node->key : "", node->text);
    node->kind = MCL__YAML_MAPPING;
    node->text = NULL;
    return MCL_OK;
}

static mcl_status find_target(mcl__yaml *yaml, const char *path, const char *source, mcl__yaml_node **result, mcl_error *error)
{
    mcl__yaml_node *node = yaml->root;
    int depth = 0;
    for (const char *part = path;; part += strcspn(part, ".") + 1) {
        if (++depth > MCL__YAML_DEPTH) return mcl__fail(error, MCL_ERROR_CONFIG, "%s: nested too deeply", source);
        MCL_TRY(open_up(node, source, error));
        size_t length = strcspn(part, ".");
        MCL_TRY(step_into(yaml, node, part, length, source, &node, error));
        if (part[length] == 0) break;
    }
    *result = node;
    return MCL_OK;
}

static void replace(mcl__yaml_node *target, const mcl__yaml_node *value, const char *source)
{
    target->kind = value->kind;
    target->quoted = value->quoted;
    target->text = value->text;
    target->first = value->first;
    target->last = value->last;
    target->count = value->count;
    target->source = source;
    target->line = target->key_line = 0;
}

static mcl_status set_node(mcl__yaml *yaml, const char *path, const char *source, const mcl__yaml_node *value, mcl_error *error)
{
    mcl__yaml_node *target;
    MCL_TRY(find_target(yaml, path, source, &target, error));
    replace(target, value, source);
    return MCL_OK;
}

mcl_status mcl__yaml_set(mcl__yaml *yaml, const char *path, const char *value, mcl_error *error)
{
    const char *source = mcl__arena_text(&yaml->arena, "--set %s", path);
    char *copy = mcl__arena_copy(&yaml->arena, value, strlen(value));
    if (!source || !copy) return no_memory(error);
    mcl__yaml_node *parsed;
    MCL_TRY(mcl__yaml_parse_into(yaml, copy, strlen(copy), source, &parsed, error));
    if (parsed->kind == MCL__YAML_MAPPING && parsed->count == 0 && !strchr(value, '{')) { /* "" and "null" stay nothing */
        parsed->kind = MCL__YAML_SCALAR;
        parsed->text = "";
    }
    return set_node(yaml, path, source, parsed, error);
}

mcl_status mcl__yaml_assign(mcl__yaml *yaml, const char *assignment, mcl_error *error)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return mcl__fail(error, MCL_ERROR_CONFIG, "--set %s: expected key.path=value", assignment);
    char *path = mcl__arena_copy(&yaml->arena, assignment, (size_t)(equals - assignment));
    if (!path) return no_memory(error);
    return mcl__yaml_set(yaml, path, equals + 1, error);
}

mcl_status mcl__yaml_set_text(mcl__yaml *yaml, const char *path, const char *text, mcl_error *error)
{
    const char *source = mcl__arena_text(&yaml->arena, "--set %s", path);
    mcl__yaml_node value = {.kind = MCL__YAML_SCALAR, .quoted = true, .text = mcl__arena_copy(&yaml->arena, text, strlen(text))};
    if (!source || !value.text) return no_memory(error);
    return set_node(yaml, path, source, &value, error);
}

/* Text that a reader takes for the same text without quotes: words, names, paths; nothing that is a number, a boolean,
 * null or an indicator when it must stay text. */
static bool is_plain(const char *text)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+";
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"};
    if (text[0] == 0 || text[strspn(text, safe)] != 0 || text[0] == '-' || text[0] == '.') return false;
    if (text[strspn(text, "+-.eE0123456789")] == 0) return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(text, words[i]) == 0) return false;
    return true;
}

static void put_text(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text; text++) {
        unsigned char letter = (unsigned char)*text;
        if (letter == '"' || letter == '\\') fprintf(out, "\\%c", letter);
        else if (letter == '\n') fputs("\\n", out);
        else if (letter == '\t') fputs("\\t", out);
        else if (letter < 32 || letter == 127) fprintf(out, "\\x%02x", letter);
        else putc(letter, out);
    }
    putc('"', out);
}

/* A plain scalar was plain when read, but perhaps in a block, where commas and brackets do not end it. */
static void put_scalar(FILE *out, const mcl__yaml_node *node)
{
    if (mcl__yaml_is_null(node)) fputs("null", out);
    else if (node->quoted ? is_plain(node->text) : !strpbrk(node->text, ",[]{}:#\n\"'\\&*!|>%@`")) fputs(node->text, out);
    else put_text(out, node->text);
}

static void put_key(FILE *out, const char *key)
{
    if (is_plain(key)) fputs(key, out);
    else put_text(out, key);
}

static bool is_flow(const mcl__yaml_node *node)
{
    if (node->count == 0) return true;
    if (node->kind != MCL__YAML_SEQUENCE) return false;
    for (const mcl__yaml_node *child = node->first; child; child = child->next)
        if (child->kind != MCL__YAML_SCALAR) return false;
    return true;
}

static void put_node(FILE *out, const mcl__yaml_node *node, int indent, bool in_line);

static void put_flow(FILE *out, const mcl__yaml_node *node)
{
    if (node->kind == MCL__YAML_SCALAR) {
        put_scalar(out, node);
        return;
    }
    if (node->kind == MCL__YAML_MAPPING) {
        fputs("{}", out);
        return;
    }
    putc('[', out);
    for (const mcl__yaml_node *child = node->first; child; child = child->next) {
        put_scalar(out, child);
        if (child->next) fputs(", ", out);
    }
    putc(']', out);
}

static void put_value(FILE *out, const mcl__yaml_node *child, int indent)
{
    bool flow = child->kind == MCL__YAML_SCALAR || is_flow(child);
    putc(flow ? ' ' : '\n', out);
    if (flow) put_flow(out, child), putc('\n', out);
    else put_node(out, child, indent, false);
}

/* in_line: the first line stands behind a "- " already. */
static void put_node(FILE *out, const mcl__yaml_node *node, int indent, bool in_line)
{
    for (const mcl__yaml_node *child = node->first; child; child = child->next) {
        if (!in_line || child != node->first) fprintf(out, "%*s", indent, "");
        if (node->kind == MCL__YAML_MAPPING) {
            put_key(out, child->key);
            putc(':', out);
            put_value(out, child, indent + 2);
        } else if (child->kind == MCL__YAML_SCALAR || is_flow(child)) {
            fputs("- ", out);
            put_flow(out, child);
            putc('\n', out);
        } else {
            fputs("- ", out);
            put_node(out, child, indent + 2, true);
        }
    }
}

char *mcl__yaml_emit(const mcl__yaml *yaml)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return NULL;
    if (yaml->root->kind == MCL__YAML_SCALAR || is_flow(yaml->root)) put_flow(out, yaml->root), putc('\n', out);
    else put_node(out, yaml->root, 0, false);
    bool good = !ferror(out);
    if (fclose(out) != 0) good = false;
    if (good) return text;
    free(text);
    return NULL;
}
