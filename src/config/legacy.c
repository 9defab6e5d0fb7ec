/* SPDX-License-Identifier: Apache-2.0 */
/* The old o3_config.py: `NAME = literal` at the left margin, nothing is ever executed. Names that have a place in the
 * option table go there; the others become notes that say what took their place. */
#include <ctype.h>

#include "config.h"

static const struct {
    const char *name, *path, *instead;
} known[] = {
    {.name = "DEFAULT_CONCURRENCY_LEVELS", .path = "testing.concurrency_progression.levels"},
    {.name = "DEFAULT_REPETITIONS", .path = "testing.statistical_validation.min_samples_per_config"},
    {.name = "DEFAULT_TIMEOUT", .path = "testing.adaptive_timeouts.base_timeout"},
    {.name = "MAX_VRAM_USAGE_PERCENT", .path = "hardware_monitoring.safety_thresholds.max_vram_percent"},
    {.name = "MAX_RAM_USAGE_PERCENT", .path = "hardware_monitoring.safety_thresholds.max_ram_percent"},
    {.name = "TEMPERATURE_THRESHOLD", .path = "hardware_monitoring.safety_thresholds.max_temperature_c"},
    {.name = "CUSTOM_MODEL_CONFIGS", .instead = "grids are replaced by the search, which needs none"},
    {.name = "AMD_GPU_SETTINGS", .instead = "commands are never run, the driver's own interface is read instead"},
    {.name = "NVIDIA_GPU_SETTINGS", .instead = "commands are never run, the driver's own interface is read instead"},
    {.name = "OUTPUT_FORMATS", .instead = "replaced by o3 export and --json"},
    {.name = "GENERATE_PLOTS", .instead = "comes with the report"},
};

typedef struct scanner {
    const char *p, *stop, *name;
    size_t line;
    const config_target *target;
    o3_err *err;
} scanner;

static void step(scanner *s)
{
    s->line += *s->p == '\n';
    s->p++;
}

static void skip_line(scanner *s)
{
    while (s->p < s->stop && *s->p != '\n')
        s->p++;
}

/* Past a quoted text, triple quotes included; what is between is added to `text`. False: it does not end. */
static bool read_quoted(scanner *s, o3_buf *text)
{
    const char quote = *s->p;
    size_t width = s->stop - s->p >= 3 && s->p[1] == quote && s->p[2] == quote ? 3 : 1;
    o3_buf_add(text, s->p, width);
    s->p += width;
    while (s->p < s->stop) {
        size_t same = 0;
        while (same < width && (size_t)(s->stop - s->p) > same && s->p[same] == quote)
            same++;
        if (same == width) {
            o3_buf_add(text, s->p, width);
            s->p += width;
            return true;
        }
        if (*s->p == '\n' && width == 1)
            return false;
        size_t bytes = *s->p == '\\' && s->stop - s->p > 1 ? 2 : 1;
        o3_buf_add(text, s->p, bytes);
        while (bytes--)
            step(s);
    }
    return false;
}

/* The rest of a logical line without comments: brackets, quotes and a backslash carry it over line ends. */
static o3_status read_logical_line(scanner *s, o3_buf *text)
{
    const size_t first = s->line;
    int depth = 0;
    while (s->p < s->stop && (*s->p != '\n' || depth > 0)) {
        if (*s->p == '#') {
            skip_line(s);
        } else if (*s->p == '"' || *s->p == '\'') {
            if (!read_quoted(s, text))
                return o3_fail(s->err, O3_E_CONFIG, "%s:%zu: a quoted text does not end", s->name, first);
        } else if (*s->p == '\\' && s->stop - s->p > 1 && s->p[1] == '\n') {
            step(s);
            step(s);
        } else {
            depth += strchr("([{", *s->p) && *s->p ? 1 : strchr(")]}", *s->p) && *s->p ? -1 : 0;
            o3_buf_add(text, *s->p == '\n' || *s->p == '\r' ? " " : s->p, 1);
            step(s);
        }
    }
    if (depth > 0)
        return o3_fail(s->err, O3_E_CONFIG, "%s:%zu: a bracket is not closed", s->name, first);
    return O3_OK;
}

/* Splits "NAME = value" or "NAME: type = value" in place; false if it is something else. */
static bool split(char *line, char **ret_name, char **ret_value)
{
    size_t len = 0;
    while (isalnum((unsigned char)line[len]) || line[len] == '_')
        len++;
    char *after = line + len + strspn(line + len, " \t");
    if (!len || isdigit((unsigned char)*line))
        return false;
    if (*after == ':')
        after = after + strcspn(after, "=");
    if (*after != '=' || after[1] == '=')
        return false;
    line[len] = '\0';
    after++;
    after += strspn(after, " \t");
    size_t end = strlen(after);
    while (end && isspace((unsigned char)after[end - 1]))
        end--;
    after[end] = '\0';
    if (end >= 2 && (*after == '\'' || *after == '"') && after[end - 1] == *after) {
        after[end - 1] = '\0';
        after++;
    }
    *ret_name = line;
    *ret_value = after;
    return true;
}

static o3_status take(const scanner *s, const char *name, const char *value, size_t line)
{
    char where[256];
    O3_FORMAT(where, "%.200s:%zu", s->name, line);
    for (int i = 0; i < O3_COUNT(known); i++) {
        if (strcmp(name, known[i].name))
            continue;
        if (known[i].instead) {
            o3_note(s->target->notes, "%s: %s: %s", where, name, known[i].instead);
            return O3_OK;
        }
        return config_assign(s->target, known[i].path, value, where, s->err);
    }
    o3_note(s->target->notes, "%s: %.64s is not known and was not read", where, name);
    return O3_OK;
}

o3_status config_load_legacy(o3_config *config, const char *text, size_t len, const char *name,
                             o3_config_origins *origins, o3_notes *notes, o3_err *err)
{
    const config_target target = {.config = config, .origins = origins, .notes = notes};
    scanner s = {.p = text, .stop = text + len, .name = name, .line = 1, .target = &target, .err = err};
    o3_auto(buf) o3_buf line = O3_BUF(CONFIG_FILE_MAX);
    char *key, *value;
    int others = 0;
    size_t first_other = 0;
    if (memchr(text, '\0', len))
        return o3_fail(err, O3_E_CONFIG, "%s: has a zero byte, is no Python text", name);
    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
        s.p += 3;
    while (s.p < s.stop) {
        const size_t at = s.line;
        o3_buf_clear(&line);
        o3_status status = read_logical_line(&s, &line);
        if (status)
            return status;
        if (s.p < s.stop)
            step(&s);
        char *start = line.data;
        if (!start || !start[strspn(start, " \t")] || *start == '"' || *start == '\'')
            continue; /* empty, a comment, a docstring */
        if (split(start, &key, &value))
            status = take(&s, key, value, at);
        else if (!others++)
            first_other = at;
        if (status)
            return status;
    }
    if (others)
        o3_note(notes, "%s:%zu: only assignments of literals are read; %d other statements were not", name,
                first_other, others);
    return O3_OK;
}
