/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"
#include "o3/report.h"

static void print_head(const o3_result *result)
{
    printf("%s%s%s%s%.10s\n", result->model, *result->engine_version ? " · Ollama " : "", result->engine_version,
           *result->finished_at ? " · " : "", result->finished_at);
}

/* One model: as a block of the list. The stored document is printed whole in JSON, its profile too. */
static o3_status list_one(cli_session *session, const char *model, bool first, json_t *list, o3_err *err)
{
    o3_auto(free) o3_result *result = o3_alloc(1, sizeof(*result));
    json_t *json = NULL;
    o3_status status = cli_result(session, model, result, &json, err);
    if (status)
        return status;
    if (list) {
        json_array_append_new(list, json);
        return O3_OK;
    }
    json_decref(json);
    if (!first)
        putchar('\n');
    print_head(result);
    o3_auto(free) char *table = o3_result_table(result, cli_colour());
    fputs(table, stdout);
    return O3_OK;
}

o3_status cmd_preset_list(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) cli_models *models = o3_alloc(1, sizeof(*models));
    o3_status status = cli_open_store(session, err);
    if (!status && call->count) {
        models->count = 1;
        O3_COPY(models->names[0], call->words[0]);
    } else if (!status) {
        status = cli_models_read(session, models, err);
    }
    if (status)
        return status;
    json_t *list = call->options.json ? json_array() : NULL;
    for (int i = 0; i < models->count && !status; i++)
        status = list_one(session, models->names[i], i == 0, list, err);
    if (list && !status)
        cli_print_json(json_pack("{s:i, s:o}", "schema", O3_SCHEMA, "results", list));
    else
        json_decref(list);
    return status;
}

static void print_preset(const cli_call *call, const o3_result *result, const o3_preset *preset, const json_t *json)
{
    if (call->options.json) {
        cli_print_json(json_pack("{s:i, s:O, s:O, s:O, s:O}", "schema", O3_SCHEMA, "model",
                                 json_object_get(json, "model"), "run_id", json_object_get(json, "run_id"),
                                 "finished_at", json_object_get(json, "finished_at"), "preset",
                                 json_object_get(json_object_get(json, "presets"), preset->name)));
        return;
    }
    print_head(result);
    o3_auto(free) char *detail = o3_preset_detail(preset, cli_colour());
    fputs(detail, stdout);
    printf("Next: o3 apply %s %s\n      o3 export %s modelfile --preset %s\n", result->model, preset->name,
           result->model, preset->name);
}

o3_status cmd_preset_show(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) o3_result *result = o3_alloc(1, sizeof(*result));
    const o3_preset *preset = NULL;
    json_t *json = NULL;
    o3_status status = cli_open_store(session, err);
    if (!status)
        status = cli_result(session, call->words[0], result, &json, err);
    if (!status && call->count > 1)
        status = cli_preset(result, call->words[1], &preset, err);
    if (status) {
        json_decref(json);
        return status;
    }
    if (preset) {
        print_preset(call, result, preset, json);
    } else if (call->options.json) {
        cli_print_json(json_incref(json));
    } else {
        result->known = true;
        o3_auto(free) char *summary = o3_result_summary(result, cli_colour(), call->options.verbose);
        fputs(summary, stdout);
    }
    json_decref(json);
    return O3_OK;
}
