/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"
#include "o3/report.h"

static const char *const served_text[] = {
    [O3_SERVED_NOW] = "now",
    [O3_SERVED_LATER] = "later",
    [O3_SERVED_REPLACED] = "replaced",
};

typedef struct listing {
    const char *key; /* NULL: every one */
    bool all;
    json_t *list;    /* NULL: text */
    int shown, hidden;
    const char **names; /* of all options seen, for "did you mean" */
    int name_count, name_max;
} listing;

static bool wanted(const listing *l, const char *path)
{
    size_t len = l->key ? strlen(l->key) : 0;
    return !l->key || (!strncmp(path, l->key, len) && (!path[len] || path[len] == '.'));
}

static void add_name(listing *l, const char *path)
{
    if (l->name_count < l->name_max)
        l->names[l->name_count++] = o3_strdup(path);
}

/* Numbers, truth values and lists as such; an unset one is null. */
static json_t *value_json(const o3_option *option, const char *value)
{
    bool text = option->type == O3_OPT_TEXT || option->type == O3_OPT_CHOICE || option->type == O3_OPT_IGNORED;
    json_t *json = text ? json_string(value) : json_loads(value, JSON_DECODE_ANY, NULL);
    return json ? json : *value ? json_string(value) : json_null();
}

static void show_option(void *ctx, const o3_option *option, const char *path, const char *value, const char *origin)
{
    listing *l = ctx;
    bool built_in = !origin || !strcmp(origin, "built-in");
    add_name(l, path);
    if (!wanted(l, path))
        return;
    if (!l->all && !l->key && option->served != O3_SERVED_NOW && built_in) {
        l->hidden++;
        return;
    }
    l->shown++;
    if (l->list) {
        json_array_append_new(l->list, json_pack("{s:s, s:o, s:s, s:s?, s:s, s:s?}", "key", path, "value",
                                                 value_json(option, value), "origin", built_in ? "built-in" : origin,
                                                 "unit", option->unit && *option->unit ? option->unit : NULL, "served",
                                                 served_text[option->served], "help", option->help));
        return;
    }
    bool unset = !*value || !strcmp(value, "null");
    const char *unit = !unset && option->unit ? option->unit : "";
    printf("%s: %s%s%s   [%s]\n", path, unset ? "unset" : value, *unit ? " " : "", unit,
           built_in ? "built-in" : origin);
    if (option->served != O3_SERVED_NOW || l->key)
        printf("    %s%s\n", option->served == O3_SERVED_LATER ? "not in this release: " : "", option->help);
}

static o3_status unknown_key(const listing *l, o3_err *err)
{
    const char *near = o3_nearest(l->key, l->names, l->name_count);
    /* The last part alone often is what somebody remembers. */
    for (int i = 0; !near && i < l->name_count; i++) {
        const char *dot = strrchr(l->names[i], '.');
        if (dot && !strcmp(dot + 1, l->key))
            near = l->names[i];
    }
    if (near)
        return o3_fail(err, O3_E_NOT_FOUND, "%s is not an option (%s?)", l->key, near);
    return o3_fail(err, O3_E_NOT_FOUND, "%s is not an option; o3 config show --all lists them", l->key);
}

o3_status cmd_config_show(const cli_call *call, o3_err *err)
{
    enum { NAMES_MAX = 2048 };
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    listing l = {.key = call->count ? call->words[0] : NULL, .all = call->options.all, .name_max = NAMES_MAX};
    o3_status status = cli_open_config(session, err);
    if (status)
        return status;
    l.names = o3_alloc(NAMES_MAX, sizeof(*l.names));
    l.list = call->options.json ? json_array() : NULL;
    o3_config_each(&session->config, session->origins, show_option, &l);
    if (!l.shown && l.key)
        status = unknown_key(&l, err);
    if (l.list && !status)
        cli_print_json(json_pack("{s:i, s:s, s:o}", "schema", O3_SCHEMA, "source", session->config.source, "options",
                                 l.list));
    else
        json_decref(l.list);
    if (!call->options.json && !status && l.hidden)
        fprintf(stderr, "%d more are for a later release or were replaced (--all); file: %s\n", l.hidden,
                session->config.source);
    for (int i = 0; i < l.name_count; i++)
        free((char *)(uintptr_t)l.names[i]);
    free(l.names);
    return status;
}

typedef struct tally {
    int set;          /* keys that the file or the environment names */
    json_t *built_in; /* path: value; NULL while they are collected */
    json_t *idle;     /* keys that were changed and on which this release does not act */
} tally;

static void keep_value(void *ctx, const o3_option *option, const char *path, const char *value, const char *origin)
{
    (void)option;
    (void)origin;
    json_object_set_new(ctx, path, json_string(value));
}

/* A key that repeats the built-in value is no wish that goes unheard. */
static void count_option(void *ctx, const o3_option *option, const char *path, const char *value, const char *origin)
{
    tally *t = ctx;
    if (!origin || !strcmp(origin, "built-in"))
        return;
    t->set++;
    const char *usual = json_string_value(json_object_get(t->built_in, path));
    if (option->served == O3_SERVED_NOW || (usual && !strcmp(usual, value)))
        return;
    json_array_append_new(t->idle, json_pack("{s:s, s:s, s:s, s:s?}", "key", path, "origin", origin, "served",
                                             served_text[option->served], "help", option->help));
}

static void print_check(const cli_session *session, const tally *t)
{
    size_t i;
    json_t *row;
    printf("%s: good; %d key%s set%s\n", session->config.source, t->set, t->set == 1 ? "" : "s",
           json_array_size(t->idle) ? "; this release does not act on" : "");
    json_array_foreach(t->idle, i, row)
        printf("  %s: %s: %s\n", json_string_value(json_object_get(row, "origin")),
               json_string_value(json_object_get(row, "key")), json_string_value(json_object_get(row, "help")));
}

o3_status cmd_config_check(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) o3_config *built_in = o3_alloc(1, sizeof(*built_in));
    cli_call with_file = *call;
    if (call->count)
        with_file.options.config = call->words[0];
    session->call = &with_file;
    o3_status status = cli_open_config(session, err);
    if (status)
        return status;
    tally t = {.built_in = json_object(), .idle = json_array()};
    o3_config_defaults(built_in);
    o3_config_each(built_in, NULL, keep_value, t.built_in);
    o3_config_each(&session->config, session->origins, count_option, &t);
    if (call->options.json)
        cli_print_json(json_pack("{s:i, s:s, s:b, s:i, s:O}", "schema", O3_SCHEMA, "source", session->config.source,
                                 "ok", 1, "set", t.set, "not_served", t.idle));
    else
        print_check(session, &t);
    json_decref(t.built_in);
    json_decref(t.idle);
    return O3_OK;
}
