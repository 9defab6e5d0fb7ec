/* SPDX-License-Identifier: Apache-2.0 */
/* apply: a preset becomes a model of its own on the server, and is believed only after it was loaded. */
#include "o3/export.h"
#include "tune_impl.h"

static o3_status check(const o3_knobs *asked, const o3_knobs *got, const char *name, o3_err *err)
{
    for (const o3_knob_field *f = o3_knob_fields; f->name; f++) {
        int32_t want = o3_knob_get(asked, f), have = o3_knob_get(got, f);
        /* A knob that the runner's command line does not show cannot be held against it. */
        if (want != O3_UNSET && have != O3_UNSET && want != have)
            return o3_fail(err, O3_E_ENGINE, "%s was created, but %s is %d instead of %d when it is loaded; "
                           "`ollama rm %s` removes it", name, f->name, have, want, name);
    }
    return O3_OK;
}

/* Path of the weights: which of several runners is ours. "" if it cannot be told. */
static void blob_of(o3_engine *engine, const char *name, char *dst, size_t size)
{
    json_t *show = NULL;
    o3_auto(free) o3_model *model = o3_alloc(1, sizeof(*model));
    if (!o3_engine_show(engine, name, &show, NULL) && !o3_model_parse(model, name, show, NULL, NULL))
        o3_copy(dst, size, model->blob_path);
    else
        dst[0] = '\0';
    json_decref(show);
}

/* Loads the new model without any option: what is in force then comes from the preset alone. */
static o3_status load_and_check(const o3_world *world, const char *name, const o3_knobs *asked, o3_runner *ret_runner,
                                o3_err *err)
{
    o3_engine *engine = world->engine;
    o3_engine_loads loads;
    o3_reply reply;
    o3_generate load = {.model = name, .knobs = O3_KNOBS_DEFAULT, .keep_alive = "1m", .cancel = world->cancel,
                        .deadline_ns = 300 * O3_NS_PER_S};
    o3_status status = o3_engine_generate(engine, &load, &reply, err);
    if (!status && reply.outcome == O3_OUTCOME_CANCELLED)
        status = o3_fail(err, O3_E_CANCELLED, "interrupted; %s was created but not checked", name);
    if (!status && reply.outcome != O3_OUTCOME_OK)
        status = o3_fail(err, O3_E_ENGINE, "%s was created, but loading it %s: %s", name,
                         o3_outcome_text(reply.outcome), reply.error);
    if (!status)
        status = o3_engine_loads_read(engine, &loads, err);
    if (status)
        return status;
    int pid = o3_engine_is_local(engine) ? o3_process_listening(world->root, o3_engine_port(engine)) : -1;
    char blob[512];
    blob_of(engine, name, blob, sizeof(blob));
    status = o3_engine_runner(engine, pid, blob, ret_runner, err);
    int32_t context = O3_UNSET;
    for (int i = 0; i < loads.count; i++)
        if (!strcmp(loads.items[i].name, name) && loads.items[i].context_length > 0)
            context = (int32_t)loads.items[i].context_length;
    if (context != O3_UNSET)
        ret_runner->in_force.num_ctx = context;
    return status ? status : check(asked, &ret_runner->in_force, name, err);
}

o3_status o3_apply(const o3_world *world, const o3_result *result, const char *preset, char ret_name[O3_NAME_MAX],
                   o3_runner *ret_runner, o3_err *err)
{
    const o3_preset *row = o3_result_preset(result, preset);
    o3_engine_caps caps;
    if (!row)
        return o3_fail(err, O3_E_NOT_FOUND, "%s has no preset %s; `o3 preset list %s` shows what it has", result->model,
                       preset, result->model);
    o3_preset_model_name(result->model, preset, ret_name);
    o3_status status = o3_engine_caps_read(world->engine, &caps, err);
    if (!status)
        status = o3_engine_create(world->engine, ret_name, result->model, &row->knobs, err);
    if (status)
        return status;
    status = load_and_check(world, ret_name, &row->knobs, ret_runner, err);
    o3_status unloaded = o3_engine_unload(world->engine, ret_name, 30 * O3_NS_PER_S, status ? NULL : err);
    return status ? status : unloaded;
}
