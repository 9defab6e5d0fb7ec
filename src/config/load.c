/* SPDX-License-Identifier: Apache-2.0 */
/* Where values come from, weakest first: built-in, old Python literals, YAML file, environment. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "config.h"

extern char **environ;

#define MISSPELT_MIN 16 /* the shortest variable of an option has 23 characters */

o3_status config_slot_at(const config_target *target, const char *path, const char *where, config_slot *ret_slot,
                         o3_err *err)
{
    char name[CONFIG_NAME_MAX], why[256], shown[CONFIG_PATH_MAX];
    const o3_option *option = config_find(path, name);
    if (!option) {
        config_unknown(path, why, sizeof(why));
        return o3_fail(err, O3_E_CONFIG, "%s: %s", where, why);
    }
    config_slot slot = {option, (int)(option - config_options), 0};
    const config_rows *rows = config_rows_of(option);
    if (rows) {
        slot.row = config_row_add(target->config, rows, name, why, sizeof(why));
        O3_FORMAT(shown, "%.*s%s", (int)strlen(rows->pattern) - 1, rows->pattern, name);
        if (slot.row < 0)
            return o3_fail(err, O3_E_CONFIG, "%s: %s: %s", where, shown, why);
    }
    *ret_slot = slot;
    return O3_OK;
}

o3_status config_assign(const config_target *target, const char *path, const char *text, const char *where,
                        o3_err *err)
{
    config_slot slot;
    char why[256];
    o3_status status = config_slot_at(target, path, where, &slot, err);
    if (status)
        return status;
    void *field = (char *)target->config + config_offset(slot.option, slot.row);
    if (!config_parse(slot.option, field, text, why, sizeof(why)))
        return o3_fail(err, O3_E_CONFIG, "%s: %s: %s", where, path, why);
    /* An ignored key without a value asks for nothing. */
    if (slot.option->type != O3_OPT_IGNORED || *text)
        config_origin_set(target->origins, slot, where);
    return O3_OK;
}

void config_defaults_raw(o3_config *ret_config)
{
    char why[256];
    const config_target target = {.config = ret_config};
    *ret_config = (o3_config){.source = "built-in"};
    for (int i = 0; i < config_option_count; i++) {
        const o3_option *option = &config_options[i];
        if (config_rows_of(option))
            continue;
        bool ok = config_parse(option, (char *)ret_config + option->offset, option->fallback, why, sizeof(why));
        assert(ok);
        (void)ok;
    }
    for (int i = 0; i < config_shipped_count; i++) {
        o3_status status = config_assign(&target, config_shipped_rows[i].path, config_shipped_rows[i].text, "", NULL);
        assert(!status);
        (void)status;
    }
}

void o3_config_defaults(o3_config *ret_config)
{
    config_defaults_raw(ret_config);
    config_resolve(&(config_target){.config = ret_config});
}

void config_env_name(const char *path, char *dst, size_t dst_size)
{
    o3_format(dst, dst_size, "O3_%s", path);
    for (char *p = dst; *p; p++)
        *p = *p == '.' || *p == '-' ? '_' : (char)toupper((unsigned char)*p);
}

/* The value of NAME in the environment, NULL if it is not set or empty. */
static const char *env_value(char *const *environment, const char *name)
{
    size_t len = strlen(name);
    for (; *environment; environment++)
        if (!strncmp(*environment, name, len) && (*environment)[len] == '=' && (*environment)[len + 1])
            return *environment + len + 1;
    return NULL;
}

/* The variables of all options. */
typedef struct variables {
    int count;
    char (*names)[CONFIG_PATH_MAX];
    const char **pointers;
} variables;

static variables variables_new(const o3_config *config)
{
    char path[CONFIG_PATH_MAX];
    const size_t max = (size_t)config_option_count * CONFIG_ROWS_MAX;
    variables all = {.names = o3_alloc(max, sizeof(*all.names)), .pointers = o3_alloc(max, sizeof(*all.pointers))};
    for (int i = 0; i < config_option_count; i++) {
        for (int row = 0; row < config_row_count(config, &config_options[i]); row++) {
            config_slot_path(config, (config_slot){&config_options[i], i, row}, path);
            config_env_name(path, all.names[all.count], sizeof(all.names[0]));
            all.pointers[all.count] = all.names[all.count];
            all.count++;
        }
    }
    return all;
}

static bool is_variable(const variables *all, const char *name)
{
    for (int i = 0; i < all->count; i++)
        if (!strcmp(all->names[i], name))
            return true;
    return false;
}

/* Other O3_ variables exist (tests, scripts): only what looks like a misspelt option is worth a word. */
static void note_misspelt(const config_target *target, char *const *environment)
{
    char name[CONFIG_PATH_MAX];
    const variables all = variables_new(target->config);
    for (; *environment; environment++) {
        size_t len = strcspn(*environment, "=");
        if (strncmp(*environment, "O3_", 3) || len < MISSPELT_MIN || len >= sizeof(name))
            continue;
        o3_copy(name, len + 1, *environment);
        const char *guess = o3_nearest(name, all.pointers, all.count);
        if (guess && !is_variable(&all, name))
            o3_note(target->notes, "%s is no option and was not read (%s?)", name, guess);
    }
    free(all.names);
    free(all.pointers);
}

o3_status config_load_env(const config_target *target, char *const *environment, o3_err *err)
{
    char path[CONFIG_PATH_MAX], name[CONFIG_PATH_MAX];
    for (int i = 0; i < config_option_count; i++) {
        for (int row = 0; row < config_row_count(target->config, &config_options[i]); row++) {
            config_slot_path(target->config, (config_slot){&config_options[i], i, row}, path);
            config_env_name(path, name, sizeof(name));
            const char *text = env_value(environment, name);
            o3_status status = text ? config_assign(target, path, text, name, err) : O3_OK;
            if (status)
                return status;
        }
    }
    note_misspelt(target, environment);
    return O3_OK;
}

static o3_status read_file(o3_buf *ret_text, const char *path, o3_err *err)
{
    o3_auto(free) char *text = o3_alloc(CONFIG_FILE_MAX + 2, 1);
    errno = 0;
    int64_t len = o3_read_text(NULL, path, text, CONFIG_FILE_MAX + 2);
    if (len < 0)
        return o3_fail(err, errno == ENOENT ? O3_E_NOT_FOUND : O3_E_IO, "%s: %s", path,
                       errno ? strerror(errno) : "cannot be read");
    if (len > CONFIG_FILE_MAX)
        return o3_fail(err, O3_E_LIMIT, "%s: is larger than 1 MiB", path);
    o3_buf_add(ret_text, text, (size_t)len);
    return O3_OK;
}

typedef o3_status (*text_loader)(o3_config *config, const char *text, size_t len, const char *name,
                                 o3_config_origins *origins, o3_notes *notes, o3_err *err);

static o3_status load_file(const config_target *target, const char *path, text_loader load, o3_err *err)
{
    o3_auto(buf) o3_buf text = O3_BUF(CONFIG_FILE_MAX);
    o3_status status = read_file(&text, path, err);
    if (status)
        return status;
    return load(target->config, o3_buf_text(&text), text.len, path, target->origins, target->notes, err);
}

/* False if there is no file to be found; one that is there and cannot be read is the loader's to report. */
static bool search(char *ret_path, size_t size)
{
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    o3_copy(ret_path, size, CONFIG_FILE_NAME);
    if (!access(ret_path, F_OK))
        return true;
    if (xdg && *xdg == '/')
        o3_format(ret_path, size, "%s/o3/" CONFIG_FILE_NAME, xdg);
    else if (home && *home)
        o3_format(ret_path, size, "%s/.config/o3/" CONFIG_FILE_NAME, home);
    else
        return false;
    return !access(ret_path, F_OK);
}

static o3_status load_all(const config_target *target, const char *path, const char *legacy, o3_err *err)
{
    char found[PATH_MAX];
    o3_status status = O3_OK;
    if (legacy)
        status = load_file(target, legacy, config_load_legacy, err);
    if (!status && !path && search(found, sizeof(found)))
        path = found;
    if (!status && path)
        status = load_file(target, path, config_load_text, err);
    if (!status && (path || legacy))
        O3_COPY(target->config->source, path ? path : legacy);
    if (!status)
        status = config_load_env(target, environ, err);
    return status ? status : config_finish(target, err);
}

o3_status o3_config_load(o3_config *ret_config, const char *path, const char *legacy, o3_config_origins *origins,
                         o3_notes *notes, o3_err *err)
{
    o3_config *config = o3_alloc(1, sizeof(*config));
    /* The checks name where a value came from, so origins are kept even if the caller does not want them. */
    o3_config_origins *own = origins ? NULL : o3_config_origins_new();
    config_defaults_raw(config);
    o3_status status =
        load_all(&(config_target){.config = config, .origins = origins ? origins : own, .notes = notes}, path, legacy,
                 err);
    if (!status)
        *ret_config = *config;
    o3_config_origins_free(own);
    free(config);
    return status;
}
