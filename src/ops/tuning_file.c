/* Rows on disk. A file holds the rows of one device: JSON, one object a line, the first naming what they were measured on. What
 * is shipped, what the user's cache holds, and what is exported have the same form. */
#include "base/arena.h"
#include "base/embedded.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "ops/tuning.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <unistd.h>

enum { FORMAT = 1, FILE_MAX = 16 << 20 };

/* --- Which device --------------------------------------------------------------------------------------------------------- */

/* The number of threads counts where they compute. A library that makes products takes part in the choice. */
static json_t *header_json(mcl_device *device)
{
    const mcl_device_info *info = &device->info;
    bool host = info->type == MCL_DEVICE_CPU || info->type == MCL_DEVICE_NATIVE;
    const char *why;
    char kernels[33];
    mcl__kernels_hash(device, kernels);
    return json_pack("{s:i,s:s,s:s*,s:s,s:s,s:s,s:i,s:s}", "monocle_tuning", FORMAT, "device", info->name, "chip",
                     *info->chip ? info->chip : NULL, "driver", info->driver, "version", info->version, "kernels", kernels,
                     "threads", host ? device->threads : 0, "gemm", mcl__gemm_available(device, &why) ? "library" : "own");
}

const char *mcl__tuning_class(const mcl_device_info *info)
{
    static const struct { const char *vendor, *name; } vendors[] = {
        {"nvidia", "nvidia"}, {"advanced micro devices", "amd"}, {"amd", "amd"}, {"intel", "intel"}};
    if (info->type == MCL_DEVICE_NATIVE) return "native";
    if (info->type == MCL_DEVICE_CPU) return "cpu";
    for (size_t i = 0; i < sizeof vendors / sizeof *vendors; i++) {
        if (!strcasestr(info->vendor, vendors[i].vendor)) continue;
        if (strcmp(vendors[i].name, "amd") != 0) return vendors[i].name;
        return info->sub_group_sizes[0] == 32 ? "amd32" : "amd64";
    }
    return "other";
}

mcl_status mcl__tuning_path(mcl_device *device, char **path, mcl_error *error)
{
    char *folder = NULL, hex[33] = "";
    json_t *header = header_json(device);
    char *text = header ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!text) return mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the name of a tuning file");
    mcl__hash_hex(text, strlen(text), hex);
    free(text);
    MCL_TRY(mcl__cache_folder("tuning", &folder, error));
    *path = mcl__text("%s/%s.jsonl", folder, hex);
    free(folder);
    return *path ? MCL_OK : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for the name of a tuning file");
}

/* --- Reading -------------------------------------------------------------------------------------------------------------- */

static bool take_text(const json_t *object, const char *key, char *target, size_t room)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && *text && strlen(text) < room && strcpy(target, text);
}

static double take_seconds(const json_t *object, const char *key)
{
    double value = json_number_value(json_object_get(object, key)) * 1e-6;
    return value > 0 ? value : 0;
}

static bool row_parse(const json_t *object, mcl__tuning_row *row)
{
    json_int_t batch = json_integer_value(json_object_get(object, "batch"));
    *row = (mcl__tuning_row){.origin = MCL__TUNED, .batch = (int)batch, .seconds = take_seconds(object, "us"),
                             .usual_seconds = take_seconds(object, "default_us")};
    take_text(object, "default", row->usual, sizeof row->usual);
    if (json_object_get(object, "failed") && !take_text(object, "failed", row->failed, sizeof row->failed)) return false;
    return batch >= 1 && batch < INT32_MAX && take_text(object, "problem", row->problem, sizeof row->problem) &&
           take_text(object, "choice", row->choice, sizeof row->choice);
}

/* Where a line of a text is in a file, for messages. */
typedef struct place { const char *name; int line; } place;

static mcl_status line_parse(const char *line, size_t length, place at, json_t **object, mcl_error *error)
{
    json_error_t found;
    *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &found);
    if (json_is_object(*object)) return MCL_OK;
    json_decref(*object);
    return mcl__fail(error, MCL_ERROR_FORMAT, "%s:%d: not a line of a tuning file: %s", at.name, at.line,
                     *object ? "no JSON object" : found.text);
}

/* Is it the header of rows for this device? device NULL: any. */
static mcl_status check_header(const json_t *object, place at, mcl_device *device, mcl_error *error)
{
    const json_t *format = json_object_get(object, "monocle_tuning");
    if (!format) return mcl__fail(error, MCL_ERROR_FORMAT, "%s:%d: not a tuning file of Monocle", at.name, at.line);
    if (json_integer_value(format) != FORMAT)
        return mcl__fail(error, MCL_ERROR_FORMAT, "%s:%d: a tuning file of another version of Monocle", at.name, at.line);
    json_t *own = device ? header_json(device) : NULL, *value;
    const char *key;
    mcl_status status = MCL_OK;
    json_object_foreach(own, key, value) {
        const json_t *theirs = json_object_get(object, key);
        if (status != MCL_OK || json_equal(value, theirs)) continue;
        char *was = theirs ? json_dumps(theirs, JSON_ENCODE_ANY) : NULL, *is = json_dumps(value, JSON_ENCODE_ANY);
        status = mcl__fail(error, MCL_ERROR_INVALID, "%s:%d: measured with %s %s, here it is %s: these rows tell nothing here",
                           at.name, at.line, key, was ? was : "missing", is ? is : "");
        free(was);
        free(is);
    }
    json_decref(own);
    return status;
}

/* Adds the rows of a text, all or, after an error, a part. */
static mcl_status parse(const char *text, const char *name, mcl_device *device, mcl__origin origin, mcl__tuning *rows,
                        mcl_error *error)
{
    place at = {name, 0};
    for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
        json_t *object;
        mcl__tuning_row row;
        end = line + strcspn(line, "\n");
        at.line++;
        MCL_TRY(line_parse(line, (size_t)(end - line), at, &object, error));
        mcl_status status = at.line == 1 ? check_header(object, at, device, error) : MCL_OK;
        if (at.line > 1 && !row_parse(object, &row))
            status = mcl__fail(error, MCL_ERROR_FORMAT,
                               "%s:%d: a row needs problem, batch and choice, and where it failed a short reason", name, at.line);
        json_decref(object);
        MCL_TRY(status);
        if (at.line == 1) continue;
        row.origin = origin;
        MCL_TRY(mcl__tuning_add(rows, &row, error));
    }
    return at.line > 0 ? MCL_OK : mcl__fail(error, MCL_ERROR_FORMAT, "%s:1: an empty file", name);
}

static mcl_status read_file(const char *path, mcl_device *device, mcl__tuning *rows, mcl_error *error)
{
    char *text;
    size_t bytes;
    MCL_TRY(mcl__file_read(path, FILE_MAX, &text, &bytes, error));
    mcl__tuning found = {0};
    mcl_status status = parse(text, path, device, MCL__TUNED, &found, error);
    for (size_t i = 0; i < found.count && status == MCL_OK; i++) status = mcl__tuning_add(rows, &found.row[i], error);
    mcl__tuning_free(&found);
    free(text);
    return status;
}

/* The user's own; a file that is not there is none, and one that is damaged or cannot be read is told and left alone. Returns
 * whether it may be replaced. */
static bool read_own(mcl_device *device, const char *path, mcl__tuning *rows)
{
    mcl_error cause = {0};
    mcl_status status = read_file(path, device, rows, &cause);
    if (status == MCL_OK || status == MCL_ERROR_NOT_FOUND) return true;
    bool damaged = status == MCL_ERROR_FORMAT || status == MCL_ERROR_INVALID;
    mcl__log(MCL_LOG_WARNING, "%s; the file is ignored%s", cause.text, damaged ? ", `monocle tune` makes it anew" : "");
    return damaged;
}

mcl_status mcl__tuning_open(mcl_device *device, mcl__tuning *tuning, mcl_error *error)
{
    char name[32], *path;
    *tuning = (mcl__tuning){0};
    if (device->options.tuning == MCL_TUNING_OFF) return MCL_OK;
    snprintf(name, sizeof name, "%s.jsonl", mcl__tuning_class(&device->info));
    for (const mcl__embedded *file = mcl__embedded_tuning; file->name; file++)
        if (strcmp(file->name, name) == 0)
            MCL_TRY(parse((const char *)file->text, file->name, NULL, MCL__SHIPPED, tuning, error));
    if (device->options.tuning != MCL_TUNING_AUTO || device->options.no_cache) return MCL_OK;
    if (mcl__tuning_path(device, &path, NULL) != MCL_OK) return MCL_OK; /* no cache, no rows */
    read_own(device, path, tuning);
    free(path);
    return MCL_OK;
}

mcl_status mcl__tuning_import(mcl_device *device, const char *path, mcl__tuning *rows, mcl_error *error)
{
    return read_file(path, device, rows, error);
}

/* --- Writing -------------------------------------------------------------------------------------------------------------- */

static json_t *row_json(const mcl__tuning_row *row)
{
    json_t *object = json_pack("{s:s,s:i,s:s}", "problem", row->problem, "batch", row->batch, "choice", row->choice);
    if (*row->failed) json_object_set_new(object, "failed", json_string(row->failed));
    if (row->seconds > 0) json_object_set_new(object, "us", json_real(1e6 * row->seconds));
    if (*row->usual) json_object_set_new(object, "default", json_string(row->usual));
    if (row->usual_seconds > 0) json_object_set_new(object, "default_us", json_real(1e6 * row->usual_seconds));
    return object;
}

static bool print_line(FILE *file, json_t *object)
{
    bool fine = object && json_dumpf(object, file, JSON_COMPACT | JSON_REAL_PRECISION(5)) == 0 && fputc('\n', file) != EOF;
    json_decref(object);
    return fine;
}

mcl_status mcl__tuning_export(mcl_device *device, const mcl__tuning *rows, const char *path, mcl_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    bool fine = file && print_line(file, header_json(device));
    for (size_t i = 0; i < rows->count && fine; i++)
        if (rows->row[i].origin == MCL__TUNED) fine = print_line(file, row_json(&rows->row[i]));
    if (file && fclose(file) != 0) fine = false;
    mcl_status status =
        fine ? mcl__file_write(path, text, bytes, error) : mcl__fail(error, MCL_ERROR_MEMORY, "no memory for tuning rows");
    free(text);
    return status;
}

/* Reading, merging and writing are one: a lock beside the file keeps other processes out meanwhile. */
static mcl_status merge(mcl_device *device, const char *path, const mcl__tuning *rows, const char *renewed, mcl_error *error)
{
    mcl__tuning all = {0};
    mcl_status status = MCL_OK;
    if (!read_own(device, path, &all)) return mcl__fail(error, MCL_ERROR_IO, "%s cannot be read, so nothing is added to it", path);
    if (renewed) mcl__tuning_forget_failures(&all, renewed);
    for (size_t i = 0; i < rows->count && status == MCL_OK; i++) status = mcl__tuning_add(&all, &rows->row[i], error);
    if (status == MCL_OK) status = mcl__tuning_export(device, &all, path, error);
    mcl__tuning_free(&all);
    return status;
}

mcl_status mcl__tuning_keep(mcl_device *device, const mcl__tuning *rows, const char *renewed, mcl_error *error)
{
    char *path;
    MCL_TRY(mcl__tuning_path(device, &path, error));
    char *name = mcl__text("%s.lock", path);
    int lock = name ? open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (lock >= 0) flock(lock, LOCK_EX);
    mcl_status status = merge(device, path, rows, renewed, error);
    if (lock >= 0) close(lock);
    free(name);
    free(path);
    return status;
}
