/* Looking into a YAML tree: typed values, known keys, and complaints that say where. */
#include "base/yaml.h"
#include "base/yaml_tree.h"
#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

mcl__yaml_node *mcl__yaml_root(const mcl__yaml *yaml) { return yaml->root; }

const mcl__yaml_node *mcl__yaml_find(const mcl__yaml_node *mapping, const char *key)
{
    if (!mapping || mapping->kind != MCL__YAML_MAPPING) return NULL;
    for (const mcl__yaml_node *child = mapping->first; child; child = child->next)
        if (strcmp(child->key, key) == 0) return child;
    return NULL;
}

const mcl__yaml_node *mcl__yaml_at(const mcl__yaml_node *sequence, int index)
{
    if (!sequence || sequence->kind != MCL__YAML_SEQUENCE || index < 0) return NULL;
    const mcl__yaml_node *child = sequence->first;
    while (child && index-- > 0) child = child->next;
    return child;
}

static mcl_status fail_at(const char *source, int line, int column, mcl_error *error, const char *message)
{
    if (line == 0) return mcl__fail(error, MCL_ERROR_CONFIG, "%s: %s", source, message);
    return mcl__fail(error, MCL_ERROR_CONFIG, "%s:%d:%d: %s", source, line, column, message);
}

mcl_status mcl__yaml_fail(const mcl__yaml_node *node, mcl_error *error, const char *format, ...)
{
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return fail_at(node->source, node->line, node->column, error, message);
}

/* "key" must be ..., not "text" */
static mcl_status fail_type(const mcl__yaml_node *node, mcl_error *error, const char *wanted)
{
    static const char *const kinds[] = {"text", "a list", "a mapping"};
    char found[128];
    if (node->kind != MCL__YAML_SCALAR) snprintf(found, sizeof found, "%s", kinds[node->kind]);
    else if (mcl__yaml_is_null(node)) snprintf(found, sizeof found, "nothing");
    else snprintf(found, sizeof found, "%s\"%.100s\"", node->quoted ? "the text " : "", node->text);
    if (!node->key) return mcl__yaml_fail(node, error, "expected %s, not %s", wanted, found);
    return mcl__yaml_fail(node, error, "\"%s\" must be %s, not %s", node->key, wanted, found);
}

bool mcl__yaml_is_null(const mcl__yaml_node *node)
{
    if (!node) return true;
    if (node->kind != MCL__YAML_SCALAR || node->quoted) return false;
    return node->text[0] == 0 || strcmp(node->text, "~") == 0 || strcasecmp(node->text, "null") == 0;
}

mcl_status mcl__yaml_expect(const mcl__yaml_node *node, mcl__yaml_kind kind, mcl_error *error)
{
    static const char *const wanted[] = {"a single value", "a list", "a mapping (key: value)"};
    return !node || node->kind == kind ? MCL_OK : fail_type(node, error, wanted[kind]);
}

mcl_status mcl__yaml_text(const mcl__yaml_node *node, const char **value, mcl_error *error)
{
    if (!node) return MCL_OK;
    if (node->kind != MCL__YAML_SCALAR || mcl__yaml_is_null(node)) return fail_type(node, error, "text");
    *value = node->text;
    return MCL_OK;
}

mcl_status mcl__yaml_bool(const mcl__yaml_node *node, bool *value, mcl_error *error)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    if (!node) return MCL_OK;
    if (node->kind == MCL__YAML_SCALAR && !node->quoted)
        for (int i = 0; i < 6; i++)
            if (strcasecmp(node->text, words[i]) == 0) {
                *value = i % 2;
                return MCL_OK;
            }
    return fail_type(node, error, "true or false");
}

mcl_status mcl__yaml_int(const mcl__yaml_node *node, int64_t low, int64_t high, int64_t *value, mcl_error *error)
{
    if (!node) return MCL_OK;
    char wanted[128], *end = NULL;
    if (low == INT64_MIN && high == INT64_MAX) snprintf(wanted, sizeof wanted, "a whole number");
    else if (high == INT64_MAX) snprintf(wanted, sizeof wanted, "a whole number of at least %" PRId64, low);
    else snprintf(wanted, sizeof wanted, "a whole number from %" PRId64 " to %" PRId64, low, high);
    if (node->kind != MCL__YAML_SCALAR || node->quoted || node->text[strspn(node->text, "+-0123456789")] != 0)
        return fail_type(node, error, wanted);
    errno = 0;
    long long number = strtoll(node->text, &end, 10);
    if (end == node->text || *end || errno == ERANGE || number < low || number > high) return fail_type(node, error, wanted);
    *value = number;
    return MCL_OK;
}

/* Numbers in files have a point, whatever locale the program has chosen. */
static locale_t c_locale;
static void make_locale(void) { c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); }

static double parse_double(const char *text, char **end)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_locale);
    return c_locale ? strtod_l(text, end, c_locale) : strtod(text, end);
}

mcl_status mcl__yaml_double(const mcl__yaml_node *node, double low, double high, double *value, mcl_error *error)
{
    if (!node) return MCL_OK;
    char wanted[128], *end = NULL;
    if (low == -INFINITY && high == INFINITY) snprintf(wanted, sizeof wanted, "a number");
    else if (high == INFINITY) snprintf(wanted, sizeof wanted, "a number of at least %g", low);
    else snprintf(wanted, sizeof wanted, "a number from %g to %g", low, high);
    if (node->kind != MCL__YAML_SCALAR || node->quoted || node->text[strspn(node->text, "+-.eE0123456789")] != 0)
        return fail_type(node, error, wanted);
    double number = parse_double(node->text, &end);
    if (end == node->text || *end || !isfinite(number) || number < low || number > high) return fail_type(node, error, wanted);
    *value = number;
    return MCL_OK;
}

mcl_status mcl__yaml_choice(const mcl__yaml_node *node, const char *const *names, int count, int *value, mcl_error *error)
{
    if (!node) return MCL_OK;
    char wanted[512] = "";
    size_t used = 0;
    for (int i = 0; i < count; i++) {
        if (node->kind == MCL__YAML_SCALAR && strcmp(node->text, names[i]) == 0) {
            *value = i;
            return MCL_OK;
        }
        if (used < sizeof wanted)
            used += (size_t)snprintf(wanted + used, sizeof wanted - used, "%s%s", i == 0 ? "" : i == count - 1 ? " or " : ", ",
                                     names[i]);
    }
    return fail_type(node, error, wanted);
}

mcl_status mcl__yaml_check_keys(const mcl__yaml_node *mapping, const char *const *allowed, int count, mcl_error *error)
{
    if (!mapping) return MCL_OK;
    MCL_TRY(mcl__yaml_expect(mapping, MCL__YAML_MAPPING, error));
    for (const mcl__yaml_node *child = mapping->first; child; child = child->next) {
        int i = 0;
        while (i < count && strcmp(child->key, allowed[i]) != 0) i++;
        if (i < count) continue;
        char message[512];
        const char *near = mcl__nearest(child->key, allowed, count);
        snprintf(message, sizeof message, near ? "unknown key \"%.200s\"; did you mean \"%s\"?" : "unknown key \"%.200s\"",
                 child->key, near);
        return fail_at(child->source, child->key_line, child->key_column, error, message);
    }
    return MCL_OK;
}

/* Levenshtein's distance, a swap of neighbours counting one, of words shorter than 64. */
static int edit_distance(const char *a, const char *b)
{
    int rows[3][64], n = (int)strlen(b);
    for (int j = 0; j <= n; j++) rows[0][j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best) best = above[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
    }
    return rows[strlen(a) % 3][n];
}

const char *mcl__nearest(const char *word, const char *const *names, int count)
{
    const char *nearest = NULL;
    size_t length = strlen(word);
    if (length >= 64) return NULL;
    int best = length < 4 ? 2 : (int)length / 2 + 1; /* exclusive */
    if (best > 5) best = 5;
    for (int i = 0; i < count; i++) {
        if (strlen(names[i]) >= 64) continue;
        int distance = edit_distance(word, names[i]);
        if (distance < best) best = distance, nearest = names[i];
    }
    return nearest;
}
