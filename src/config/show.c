/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a configuration back: values as text, where each came from, rows by name. */
#include "config.h"

#define BUILT_IN "built-in"

struct o3_config_origins {
    int count; /* of options */
    char *text[]; /* [option * CONFIG_ROWS_MAX + row]; NULL: built-in */
};

o3_config_origins *o3_config_origins_new(void)
{
    size_t cells = (size_t)config_option_count * CONFIG_ROWS_MAX;
    o3_config_origins *origins = o3_alloc(1, sizeof(*origins) + cells * sizeof(origins->text[0]));
    origins->count = config_option_count;
    return origins;
}

void o3_config_origins_free(o3_config_origins *origins)
{
    if (!origins)
        return;
    for (int i = 0; i < origins->count * CONFIG_ROWS_MAX; i++)
        free(origins->text[i]);
    free(origins);
}

void config_origin_set(o3_config_origins *origins, config_slot slot, const char *text)
{
    if (!origins)
        return;
    char **cell = &origins->text[slot.index * CONFIG_ROWS_MAX + slot.row];
    char *copy = o3_strdup(text);
    free(*cell);
    *cell = copy;
}

const char *config_origin(const o3_config_origins *origins, config_slot slot)
{
    const char *text = origins ? origins->text[slot.index * CONFIG_ROWS_MAX + slot.row] : NULL;
    return text ? text : BUILT_IN;
}

/* Options of one kind of row stand together in the table: [first, ret) is such a run, or a single fixed option. */
static int run_end(int first)
{
    const config_rows *rows = config_rows_of(&config_options[first]);
    int end = first + 1;
    while (rows && end < config_option_count && config_rows_of(&config_options[end]) == rows)
        end++;
    return end;
}

void o3_config_each(const o3_config *config, const o3_config_origins *origins,
                    void (*each)(void *ctx, const o3_option *option, const char *path, const char *value,
                                 const char *origin),
                    void *ctx)
{
    char path[CONFIG_PATH_MAX], value[CONFIG_VALUE_MAX];
    for (int first = 0, end; first < config_option_count; first = end) {
        end = run_end(first);
        for (int row = 0; row < config_row_count(config, &config_options[first]); row++) {
            for (int i = first; i < end; i++) {
                config_slot slot = {&config_options[i], i, row};
                config_slot_path(config, slot, path);
                config_format(slot.option, (const char *)config + config_offset(slot.option, row), value,
                              sizeof(value));
                each(ctx, slot.option, path, value, config_origin(origins, slot));
            }
        }
    }
}

const o3_category *o3_config_category(const o3_config *config, const char *name)
{
    for (int i = 0; i < config->category_count; i++)
        if (!strcmp(config->categories[i].name, name))
            return &config->categories[i];
    return NULL;
}

const o3_use_case *o3_config_use_case(const o3_config *config, const char *name)
{
    for (int i = 0; i < config->use_case_count; i++)
        if (!strcmp(config->use_cases[i].name, name))
            return &config->use_cases[i];
    return NULL;
}
