/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"
#include "o3/report.h"

/* "apply PRESET" means the only model that has results. */
static o3_status only_model(cli_session *session, char ret_model[O3_NAME_MAX], o3_err *err)
{
    o3_auto(free) cli_models *models = o3_alloc(1, sizeof(*models));
    o3_status status = cli_models_read(session, models, err);
    if (status)
        return status;
    if (models->count > 1)
        return o3_fail(err, O3_E_USAGE, "%d models have results, so name one: o3 apply %s %s", models->count,
                       models->names[0], session->call->words[0]);
    o3_copy(ret_model, O3_NAME_MAX, models->names[0]);
    return O3_OK;
}

static json_t *in_force_json(const o3_runner *runner)
{
    json_t *json = json_object();
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) {
        int32_t value = o3_knob_get(&runner->in_force, field);
        json_object_set_new(json, field->name, value == O3_UNSET ? json_null()
                                               : field->boolean  ? json_boolean(value)
                                                                 : json_integer(value));
    }
    return json;
}

static void print_applied(const cli_call *call, const o3_result *result, const o3_preset *preset, const char *name,
                          const o3_runner *runner)
{
    char knobs[256] = "";
    if (call->options.json) {
        cli_print_json(json_pack("{s:i, s:s, s:s, s:s, s:b, s:o}", "schema", O3_SCHEMA, "model", result->model,
                                 "preset", preset->name, "name", name, "proven", preset->proven, "in_force",
                                 in_force_json(runner)));
        return;
    }
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) {
        int32_t value = o3_knob_get(&runner->in_force, field);
        size_t len = strlen(knobs);
        if (value != O3_UNSET && field->boolean)
            o3_format(knobs + len, sizeof(knobs) - len, "%s%s %s", len ? ", " : "", field->name,
                      value ? "true" : "false");
        else if (value != O3_UNSET)
            o3_format(knobs + len, sizeof(knobs) - len, "%s%s %d", len ? ", " : "", field->name, value);
    }
    char unseen[128] = "";
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) {
        size_t len = strlen(unseen);
        if (o3_knob_get(&preset->knobs, field) != O3_UNSET && o3_knob_get(&runner->in_force, field) == O3_UNSET)
            o3_format(unseen + len, sizeof(unseen) - len, "%s%s", len ? ", " : "", field->name);
    }
    puts(name);
    if (*unseen)
        fprintf(stderr, "set but not checked, because this server's runner does not show it: %s\n", unseen);
    fprintf(stderr, "%s is on %s; read back: %s\nuse it by that name: ollama run %s\n", name, cli_host(call),
            *knobs ? knobs : "nothing (the server shows no runner)", name);
}

o3_status cmd_apply(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) o3_result *result = o3_alloc(1, sizeof(*result));
    const o3_preset *preset = NULL;
    char model[O3_NAME_MAX], name[O3_NAME_MAX];
    const char *wanted = call->words[call->count - 1];
    o3_runner runner = {.pid = -1, .in_force = O3_KNOBS_DEFAULT, .parallel = -1};
    o3_status status = cli_open_config(session, err);
    if (!status)
        status = cli_open_store(session, err);
    if (!status && call->count == 1)
        status = only_model(session, model, err);
    else
        O3_COPY(model, call->words[0]);
    if (!status)
        status = cli_result(session, model, result, NULL, err);
    if (!status)
        status = cli_preset(result, wanted, &preset, err);
    if (!status)
        status = cli_open_engine(session, err);
    if (status)
        return status;
    if (!preset->measured)
        fprintf(stderr, "o3: %s is predicted, nothing of it was measured; o3 optimize %s does\n", preset->name, model);
    o3_world world = cli_world(session);
    status = o3_apply(&world, result, preset->name, name, &runner, err);
    if (!status)
        print_applied(call, result, preset, name, &runner);
    return status;
}
