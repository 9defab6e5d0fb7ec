/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdint.h>

#include "config.h"

static const config_rows row_kinds[] = {
    {.pattern = "preset_categories.*",
     .offset = offsetof(o3_config, categories),
     .stride = sizeof(o3_category),
     .count_at = offsetof(o3_config, category_count),
     .max = O3_CATEGORIES_MAX,
     .name_size = sizeof(((o3_category *)0)->name)},
    {.pattern = "model_intelligence.use_case_optimization.*",
     .offset = offsetof(o3_config, use_cases),
     .stride = sizeof(o3_use_case),
     .count_at = offsetof(o3_config, use_case_count),
     .max = O3_USE_CASES_MAX,
     .name_size = sizeof(((o3_use_case *)0)->name)},
};
_Static_assert(offsetof(o3_category, name) == 0 && offsetof(o3_use_case, name) == 0, "a row begins with its name");
_Static_assert(O3_CATEGORIES_MAX <= CONFIG_ROWS_MAX && O3_USE_CASES_MAX <= CONFIG_ROWS_MAX, "origins hold all rows");

const o3_option *o3_options(int *ret_count)
{
    *ret_count = config_option_count;
    return config_options;
}

/* Walks `path` along `pattern`, "*" taking any one part. Returns what is left of the pattern, "" if nothing; NULL if
 * the two part. */
static const char *follow(const char *pattern, const char *path, char ret_name[CONFIG_NAME_MAX])
{
    if (!*path)
        return pattern;
    for (;;) {
        size_t len = strcspn(path, ".");
        if (*pattern == '*') {
            o3_copy(ret_name, len + 1 < CONFIG_NAME_MAX ? len + 1 : CONFIG_NAME_MAX, path);
            pattern++;
        } else if (strncmp(pattern, path, len) || (pattern[len] && pattern[len] != '.')) {
            return NULL;
        } else {
            pattern += len;
        }
        path += len;
        if (!*path)
            return *pattern == '.' ? pattern + 1 : pattern;
        if (!*pattern)
            return NULL;
        path++;
        pattern++;
    }
}

const config_rows *config_rows_of(const o3_option *option)
{
    if (!strchr(option->path, '*'))
        return NULL;
    for (int i = 0; i < O3_COUNT(row_kinds); i++)
        if (!strncmp(option->path, row_kinds[i].pattern, strlen(row_kinds[i].pattern)))
            return &row_kinds[i];
    return NULL;
}

static int count_of(const o3_config *config, const config_rows *rows)
{
    int count;
    memcpy(&count, (const char *)config + rows->count_at, sizeof(count));
    return count;
}

static const char *name_of(const o3_config *config, const config_rows *rows, int row)
{
    return (const char *)config + rows->offset + (size_t)row * rows->stride;
}

int config_row_count(const o3_config *config, const o3_option *option)
{
    const config_rows *rows = config_rows_of(option);
    return rows ? count_of(config, rows) : 1;
}

size_t config_offset(const o3_option *option, int row)
{
    const config_rows *rows = config_rows_of(option);
    return option->offset + (rows ? rows->offset + (size_t)row * rows->stride : 0);
}

void config_slot_path(const o3_config *config, config_slot slot, char ret_path[CONFIG_PATH_MAX])
{
    const config_rows *rows = config_rows_of(slot.option);
    const char *path = slot.option->path, *star = strchr(path, '*');
    if (!rows)
        o3_copy(ret_path, CONFIG_PATH_MAX, path);
    else
        o3_format(ret_path, CONFIG_PATH_MAX, "%.*s%s%s", (int)(star - path), path, name_of(config, rows, slot.row),
                  star + 1);
}

const o3_option *config_find(const char *path, char ret_name[CONFIG_NAME_MAX])
{
    for (int i = 0; i < config_option_count; i++) {
        const char *const places[] = {config_options[i].path, config_options[i].alias};
        for (int p = 0; p < O3_COUNT(places) && places[p]; p++) {
            ret_name[0] = '\0';
            const char *rest = follow(places[p], path, ret_name);
            if (rest && !*rest)
                return &config_options[i];
        }
    }
    return NULL;
}

bool config_is_group(const char *path)
{
    char name[CONFIG_NAME_MAX];
    for (int i = 0; i < config_option_count; i++) {
        const char *rest = follow(config_options[i].path, path, name);
        if (!(rest && *rest) && config_options[i].alias)
            rest = follow(config_options[i].alias, path, name);
        if (rest && *rest)
            return true;
    }
    return false;
}

const config_rows *config_row_group(const char *path, char ret_name[CONFIG_NAME_MAX])
{
    for (int i = 0; i < O3_COUNT(row_kinds); i++) {
        const char *rest = follow(row_kinds[i].pattern, path, ret_name);
        if (rest && !*rest)
            return &row_kinds[i];
    }
    return NULL;
}

/* Names end up in file names, model names and environment variables. */
static bool is_name(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '-')
            return false;
    return *name != '\0';
}

int config_row_add(o3_config *config, const config_rows *rows, const char *name, char *ret_why, size_t why_size)
{
    int count = count_of(config, rows);
    for (int row = 0; row < count; row++)
        if (!strcmp(name_of(config, rows, row), name))
            return row;
    if (!is_name(name) || strlen(name) >= rows->name_size) {
        o3_format(ret_why, why_size, "a name has 1 to %zu letters, digits, - and _", rows->name_size - 1);
        return -1;
    }
    if (count >= rows->max) {
        o3_format(ret_why, why_size, "there is room for %d only", rows->max);
        return -1;
    }
    char *row = (char *)config + rows->offset + (size_t)count * rows->stride;
    memset(row, 0, rows->stride);
    o3_copy(row, rows->name_size, name);
    for (int i = 0; i < config_option_count; i++)
        if (config_rows_of(&config_options[i]) == rows)
            config_parse(&config_options[i], row + config_options[i].offset, config_options[i].fallback, ret_why,
                         why_size);
    count++;
    memcpy((char *)config + rows->count_at, &count, sizeof(count));
    return count - 1;
}

/* The options' parts right below `parent`, each once. */
typedef struct name_list {
    int count;
    char text[128][CONFIG_NAME_MAX];
    const char *pointers[128];
} name_list;

static void add_part(name_list *list, const char *text)
{
    char part[CONFIG_NAME_MAX];
    size_t len = strcspn(text, ".");
    o3_copy(part, len + 1 < sizeof(part) ? len + 1 : sizeof(part), text);
    if (!strcmp(part, "*") || list->count >= O3_COUNT(list->text))
        return;
    for (int i = 0; i < list->count; i++)
        if (!strcmp(list->text[i], part))
            return;
    O3_COPY(list->text[list->count], part);
    list->pointers[list->count] = list->text[list->count];
    list->count++;
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* Where an option with about this last part stands; NULL if none is like it. */
static const char *find_elsewhere(const char *leaf)
{
    const char **leaves = o3_alloc((size_t)config_option_count, sizeof(*leaves)), *path = NULL;
    for (int i = 0; i < config_option_count; i++)
        leaves[i] = last_part(config_options[i].path);
    const char *guess = o3_nearest(leaf, leaves, config_option_count);
    for (int i = 0; guess && !path && i < config_option_count; i++)
        if (!strcmp(leaves[i], guess))
            path = config_options[i].path;
    free(leaves);
    return path;
}

void config_unknown(const char *path, char *dst, size_t dst_size)
{
    name_list near = {0};
    const char *leaf = last_part(path);
    char parent[CONFIG_PATH_MAX], name[CONFIG_NAME_MAX];
    o3_copy(parent, leaf > path && (size_t)(leaf - path) < sizeof(parent) ? (size_t)(leaf - path) : 1, path);
    for (int i = 0; i < config_option_count; i++) {
        const char *rest = follow(config_options[i].path, parent, name);
        if (rest && *rest)
            add_part(&near, rest);
    }
    const char *guess = o3_nearest(leaf, near.pointers, near.count);
    if (!guess)
        guess = find_elsewhere(leaf);
    if (guess)
        o3_format(dst, dst_size, "%s is not an option (%s?)", path, guess);
    else
        o3_format(dst, dst_size, "%s is not an option", path);
}
