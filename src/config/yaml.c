/* SPDX-License-Identifier: Apache-2.0 */
/* One YAML document to options. Events are turned into dotted paths and handed to the option table at once: an unknown
 * key ends the reading where it stands, so nesting can never go deeper than the table's longest path. Aliases, anchors,
 * tags, merge keys and further documents are refused. */
#include <stdarg.h>

#include <yaml.h>

#include "config.h"

#define SEEN_MAX 1024 /* more than there are options, rows and groups */

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    const char *name, *text;
    size_t len;
    const config_target *target;
    o3_err *err;
    int seen_count;
    struct {
        uint64_t path;
        size_t line;
    } seen[SEEN_MAX];
} reader;

static size_t line_of(const reader *r)
{
    return r->event.start_mark.line + 1;
}

static o3_status fail_at(const reader *r, size_t line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static o3_status fail_at(const reader *r, size_t line, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return o3_fail(r->err, O3_E_CONFIG, "%.200s:%zu: %s", r->name, line, text);
}

/* A file that is no YAML. libyaml gives a line for what it scanned, a byte for what it could not even read. */
static o3_status fail_syntax(const reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_READER_ERROR) {
        size_t line = 1;
        for (size_t i = 0; i < p->problem_offset && i < r->len; i++)
            line += r->text[i] == '\n';
        return fail_at(r, line, "not readable as UTF-8 text (%s)", p->problem ? p->problem : "unknown problem");
    }
    size_t at = p->problem_mark.index;
    if (at < r->len && r->text[at] == '\t')
        return fail_at(r, p->problem_mark.line + 1, "a tab cannot indent in YAML, use spaces");
    return fail_at(r, p->problem_mark.line + 1, "not valid YAML, column %zu: %s", p->problem_mark.column + 1,
                   p->problem ? p->problem : "unknown problem");
}

static o3_status refuse_marks(const reader *r, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor)
        return fail_at(r, line_of(r), "anchors (&name) are not read, write the value out");
    if (tag)
        return fail_at(r, line_of(r), "tags (!name) are not read");
    return O3_OK;
}

static o3_status next(reader *r)
{
    yaml_event_delete(&r->event);
    if (!yaml_parser_parse(&r->parser, &r->event))
        return fail_syntax(r);
    switch (r->event.type) {
    case YAML_ALIAS_EVENT:
        return fail_at(r, line_of(r), "aliases (*name) are not read, write the value out");
    case YAML_SCALAR_EVENT:
        return refuse_marks(r, r->event.data.scalar.anchor, r->event.data.scalar.tag);
    case YAML_SEQUENCE_START_EVENT:
        return refuse_marks(r, r->event.data.sequence_start.anchor, r->event.data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return refuse_marks(r, r->event.data.mapping_start.anchor, r->event.data.mapping_start.tag);
    default:
        return O3_OK;
    }
}

static const char *scalar(const reader *r)
{
    return (const char *)r->event.data.scalar.value;
}

/* `key:` with nothing behind it, and the words YAML has for that. */
static bool is_null(const reader *r)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    if (r->event.type != YAML_SCALAR_EVENT || r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (int i = 0; i < O3_COUNT(words); i++)
        if (!strcmp(scalar(r), words[i]))
            return true;
    return false;
}

static o3_status once(reader *r, const char *path, size_t line)
{
    uint64_t hash = o3_hash(path, strlen(path), 0);
    for (int i = 0; i < r->seen_count; i++)
        if (r->seen[i].path == hash)
            return fail_at(r, line, "%s is set twice (first in line %zu)", path, r->seen[i].line);
    if (r->seen_count == SEEN_MAX)
        return fail_at(r, line, "more than %d keys", SEEN_MAX);
    r->seen[r->seen_count].path = hash;
    r->seen[r->seen_count++].line = line;
    return O3_OK;
}

/* A list as the text that the option's parser takes. Items are numbers: nothing in them may part or end a list. */
static o3_status read_list(reader *r, const char *path, o3_buf *ret_text)
{
    o3_status status;
    o3_buf_str(ret_text, "[");
    for (int count = 0; !(status = next(r)) && r->event.type != YAML_SEQUENCE_END_EVENT; count++) {
        if (r->event.type != YAML_SCALAR_EVENT || strpbrk(scalar(r), ",[]") ||
            strlen(scalar(r)) != r->event.data.scalar.length)
            return fail_at(r, line_of(r), "%s: item %d is not a plain value", path, count + 1);
        o3_buf_printf(ret_text, "%s%s", count ? ", " : "", scalar(r));
    }
    o3_buf_str(ret_text, "]");
    if (ret_text->overflow)
        return fail_at(r, line_of(r), "%s: the list is too long", path);
    return status;
}

static o3_status assign(reader *r, const o3_option *option, const char *path, const char *text, size_t line)
{
    char where[256], real[CONFIG_PATH_MAX];
    config_slot slot;
    O3_FORMAT(where, "%.200s:%zu", r->name, line);
    o3_status status = config_slot_at(r->target, path, where, &slot, r->err);
    if (status)
        return status;
    /* By its own path, so that an older place of the same key counts as the same key. */
    config_slot_path(r->target->config, slot, real);
    status = once(r, real, line);
    if (status)
        return status;
    if (option->type == O3_OPT_IGNORED && !strcmp(text, "[]"))
        text = "";
    return config_assign(r->target, path, text, where, r->err);
}

static o3_status read_option(reader *r, const o3_option *option, const char *path, size_t line)
{
    if (r->event.type == YAML_MAPPING_START_EVENT)
        return fail_at(r, line, "%s takes a value, not a group of keys", path);
    if (r->event.type == YAML_SEQUENCE_START_EVENT) {
        o3_auto(buf) o3_buf list = O3_BUF(4096);
        if (option->type != O3_OPT_INT_LIST && option->type != O3_OPT_IGNORED)
            return fail_at(r, line, "%s takes one value, not a list", path);
        o3_status status = read_list(r, path, &list);
        return status ? status : assign(r, option, path, o3_buf_text(&list), line);
    }
    if (strlen(scalar(r)) != r->event.data.scalar.length)
        return fail_at(r, line, "%s: has a zero byte", path);
    if (is_null(r)) {
        bool empty = option->type == O3_OPT_TEXT || option->type == O3_OPT_IGNORED;
        if (!empty && !config_nullable(option))
            return fail_at(r, line, "%s has no value", path);
        return assign(r, option, path, empty ? "" : "null", line);
    }
    if (option->type == O3_OPT_INT_LIST)
        return fail_at(r, line, "%s takes a list, as in [1, 2]", path);
    return assign(r, option, path, scalar(r), line);
}

static o3_status read_mapping(reader *r, const char *parent);

static o3_status read_group(reader *r, const char *path, size_t line)
{
    char name[CONFIG_NAME_MAX], why[256];
    o3_status status = once(r, path, line);
    if (status)
        return status;
    if (!is_null(r) && r->event.type != YAML_MAPPING_START_EVENT)
        return fail_at(r, line, "%s is a group of keys, not a value", path);
    const config_rows *rows = config_row_group(path, name);
    if (rows && config_row_add(r->target->config, rows, name, why, sizeof(why)) < 0)
        return fail_at(r, line, "%s: %s", path, why);
    return is_null(r) ? O3_OK : read_mapping(r, path);
}

/* The key under the cursor, joined to its parent. A dot inside a key would stand for two levels. */
static o3_status read_key(reader *r, const char *parent, char ret_path[CONFIG_PATH_MAX])
{
    char shown[64];
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail_at(r, line_of(r), "a key must be a plain word");
    const char *key = scalar(r);
    config_quote(shown, sizeof(shown), key);
    if (!strcmp(key, "<<"))
        return fail_at(r, line_of(r), "merge keys (<<) are not read, write the values out");
    if (!*key || strlen(key) >= CONFIG_NAME_MAX || strlen(key) != r->event.data.scalar.length ||
        strpbrk(key, ".* ") || !config_printable(key))
        return fail_at(r, line_of(r), "%s cannot be a key", shown);
    if (strlen(parent) + 1 + strlen(key) >= CONFIG_PATH_MAX)
        return fail_at(r, line_of(r), "%s is not an option", shown);
    o3_format(ret_path, CONFIG_PATH_MAX, "%s%s%s", parent, *parent ? "." : "", key);
    return O3_OK;
}

static o3_status read_mapping(reader *r, const char *parent)
{
    char path[CONFIG_PATH_MAX], name[CONFIG_NAME_MAX], why[512];
    o3_status status;
    while (!(status = next(r)) && r->event.type != YAML_MAPPING_END_EVENT) {
        size_t line = line_of(r);
        status = read_key(r, parent, path);
        if (status)
            return status;
        status = next(r);
        if (status)
            return status;
        const o3_option *option = config_find(path, name);
        if (option) {
            status = read_option(r, option, path, line);
        } else if (config_is_group(path)) {
            status = read_group(r, path, line);
        } else {
            config_unknown(path, why, sizeof(why));
            return fail_at(r, line, "%s", why);
        }
        if (status)
            return status;
    }
    return status;
}

static o3_status read_document(reader *r)
{
    o3_status status = next(r); /* stream start */
    if (!status)
        status = next(r);
    if (status || r->event.type == YAML_STREAM_END_EVENT)
        return status;
    status = next(r); /* past document start */
    if (status)
        return status;
    if (r->event.type == YAML_MAPPING_START_EVENT)
        status = read_mapping(r, "");
    else if (!is_null(r))
        return fail_at(r, line_of(r), "a configuration is a group of keys");
    if (!status)
        status = next(r); /* document end */
    if (!status)
        status = next(r);
    if (!status && r->event.type != YAML_STREAM_END_EVENT)
        return fail_at(r, line_of(r), "a second document: one file is one configuration");
    return status;
}

o3_status config_load_text(o3_config *config, const char *text, size_t len, const char *name,
                           o3_config_origins *origins, o3_notes *notes, o3_err *err)
{
    if (len > CONFIG_FILE_MAX)
        return o3_fail(err, O3_E_LIMIT, "%s: is larger than 1 MiB", name);
    const config_target target = {.config = config, .origins = origins, .notes = notes};
    o3_auto(free) reader *r = o3_alloc(1, sizeof(*r));
    r->name = name;
    r->text = text;
    r->len = len;
    r->target = &target;
    r->err = err;
    if (!yaml_parser_initialize(&r->parser))
        return o3_fail(err, O3_E_INTERNAL, "%s: the YAML parser cannot start", name);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, len);
    o3_status status = read_document(r);
    yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
    return status;
}
