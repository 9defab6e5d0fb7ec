/* SPDX-License-Identifier: Apache-2.0 */
/* What commands open, and the look-ups they share. */
#include <unistd.h>

#include "cli.h"
#include "o3/report.h"

cli_session *cli_session_new(const cli_call *call)
{
    cli_session *session = o3_alloc(1, sizeof(*session));
    session->call = call;
    session->origins = o3_config_origins_new();
    return session;
}

void cli_session_free(cli_session *session)
{
    if (session->engine)
        o3_engine_close(session->engine);
    if (session->store)
        o3_store_close(session->store);
    o3_config_origins_free(session->origins);
    free(session);
}

static void say_new_notes(cli_session *session, int from)
{
    for (int i = from; i < session->notes.count; i++)
        fprintf(stderr, "o3: %s\n", session->notes.text[i]);
}

o3_status cli_open_config(cli_session *session, o3_err *err)
{
    const cli_options *options = &session->call->options;
    int before = session->notes.count;
    o3_status status = o3_config_load(&session->config, options->config, options->legacy, session->origins,
                                      &session->notes, err);
    if (!status)
        say_new_notes(session, before);
    if (!status && options->min_decode_per_s > 0)
        session->config.objectives.min_decode_per_s = options->min_decode_per_s;
    if (!status && options->max_ttft_s > 0)
        session->config.objectives.max_ttft_s = options->max_ttft_s;
    return status;
}

const char *cli_host(const cli_call *call)
{
    const char *env = getenv("OLLAMA_HOST");
    if (call->options.host)
        return call->options.host;
    return env && *env ? env : "127.0.0.1:11434";
}

o3_status cli_open_engine(cli_session *session, o3_err *err)
{
    o3_status status = o3_engine_open(&session->engine, cli_host(session->call), err);
    if (!status)
        o3_engine_interruptible(session->engine, session->call->cancel);
    return status;
}

o3_status cli_open_store(cli_session *session, o3_err *err)
{
    int before = session->notes.count;
    o3_status status = o3_store_open(&session->store, NULL, &session->notes, err);
    if (!status)
        say_new_notes(session, before);
    return status;
}

o3_world cli_world(cli_session *session)
{
    return (o3_world){
        .engine = session->engine,
        .store = session->store,
        .config = &session->config,
        .root = "/",
        .cancel = session->call->cancel,
    };
}

static o3_status parse_result(const char *text, o3_result *ret_result, json_t **ret_json, o3_err *err)
{
    json_error_t where;
    json_t *json = json_loads(text, 0, &where);
    if (!json)
        return o3_fail(err, O3_E_IO, "the stored result is damaged (%s); o3 optimize --force makes a new one",
                       where.text);
    o3_status status = o3_result_from_json(ret_result, json, err);
    if (!status && ret_json)
        *ret_json = json_incref(json);
    json_decref(json);
    return status;
}

bool cli_latest(const char *model, char *dst, size_t size)
{
    const char *slash = strrchr(model, '/');
    if (strchr(slash ? slash : model, ':'))
        return false;
    o3_format(dst, size, "%s:latest", model);
    return true;
}

static o3_status not_stored(cli_session *session, const char *model, o3_err *err)
{
    o3_auto(free) cli_models *models = o3_alloc(1, sizeof(*models));
    const char *names[CLI_MODELS_MAX];
    o3_status status = cli_models_read(session, models, err);
    if (status)
        return status;
    for (int i = 0; i < models->count; i++)
        names[i] = models->names[i];
    const char *near = o3_nearest(model, names, models->count);
    if (near)
        return o3_fail(err, O3_E_NOT_FOUND,
                       "no result of %s is stored (did you mean %s?); o3 preset list shows what is", model, near);
    return o3_fail(err, O3_E_NOT_FOUND, "no result of %s is stored; o3 optimize %s makes one", model, model);
}

o3_status cli_result(cli_session *session, const char *model, o3_result *ret_result, json_t **ret_json, o3_err *err)
{
    o3_auto(free) char *text = NULL;
    char latest[O3_NAME_MAX + 8];
    o3_status status = o3_store_result(session->store, model, "", &text, err);
    if (status == O3_E_NOT_FOUND && cli_latest(model, latest, sizeof(latest)))
        status = o3_store_result(session->store, latest, "", &text, err);
    if (status == O3_E_NOT_FOUND)
        return not_stored(session, model, err);
    return status ? status : parse_result(text, ret_result, ret_json, err);
}

o3_status cli_models_read(cli_session *session, cli_models *ret_models, o3_err *err)
{
    enum { ROWS = 4096 };
    o3_auto(free) o3_run_row *rows = o3_alloc(ROWS, sizeof(*rows));
    int count;
    o3_status status = o3_store_runs(session->store, NULL, rows, ROWS, &count, err);
    if (status)
        return status;
    ret_models->count = 0;
    for (int i = 0; i < count && ret_models->count < CLI_MODELS_MAX; i++) {
        bool seen = rows[i].state == O3_RUN_OPEN;
        for (int j = 0; j < ret_models->count && !seen; j++)
            seen = !strcmp(ret_models->names[j], rows[i].model);
        if (!seen)
            O3_COPY(ret_models->names[ret_models->count++], rows[i].model);
    }
    if (!ret_models->count)
        return o3_fail(err, O3_E_NOT_FOUND, "nothing is stored yet; o3 optimize MODEL makes the first presets");
    return O3_OK;
}

o3_status cli_preset(const o3_result *result, const char *name, const o3_preset **ret_preset, o3_err *err)
{
    const char *names[O3_PRESETS_MAX];
    char list[512] = "";
    *ret_preset = o3_result_preset(result, name);
    if (*ret_preset)
        return O3_OK;
    for (int i = 0; i < result->preset_count; i++) {
        size_t len = strlen(list);
        names[i] = result->presets[i].name;
        o3_format(list + len, sizeof(list) - len, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = o3_nearest(name, names, result->preset_count);
    if (near)
        return o3_fail(err, O3_E_NOT_FOUND, "%s has no preset %s (did you mean %s?)", result->model, name, near);
    if (!result->preset_count)
        return o3_fail(err, O3_E_NOT_FOUND, "%s has no presets yet; o3 optimize %s goes on from there", result->model,
                       result->model);
    return o3_fail(err, O3_E_NOT_FOUND, "%s has no preset %s; it has %s", result->model, name, list);
}
