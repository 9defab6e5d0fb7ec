/* SPDX-License-Identifier: Apache-2.0 */
/* What is there before anything is loaded: who answers, the machine, the models and what is known of one. */
#include <unistd.h>

#include "tune_impl.h"

const o3_engine_model *o3_survey_model(const o3_engine_models *models, const char *name)
{
    char latest[O3_NAME_MAX + 8];
    O3_FORMAT(latest, "%s:latest", name);
    for (int i = 0; i < models->count; i++)
        if (!strcmp(models->items[i].name, name) || !strcmp(models->items[i].name, latest))
            return &models->items[i];
    return NULL;
}

/* What the loaded models take is free at rest. The GPU part of a model counts where there is one GPU only; host memory
 * of a model that a GPU shares is mostly mapped file, which the pools do not count as used. */
static void count_loads(o3_profile *profile, const o3_engine_loads *loads)
{
    int64_t host = 0, device = 0;
    for (int i = 0; i < loads->count; i++) {
        int64_t size = loads->items[i].size_bytes, vram = loads->items[i].size_vram_bytes;
        if (vram > 0)
            device += vram;
        else if (size > 0)
            host += size;
    }
    if (profile->gpu_count != 1)
        device = 0;
    for (int i = 0; i < profile->pool_count; i++)
        profile->pools[i].models_bytes = o3_pool_is_device(profile, i) ? device : host;
}

o3_status o3_survey_read(const o3_world *world, o3_survey *ret_survey, o3_err *err)
{
    o3_survey *s = ret_survey;
    o3_status status = o3_look(world, &s->profile, &s->caps, err);
    if (!status)
        status = o3_engine_list(world->engine, &s->models, err);
    if (!status)
        status = o3_engine_loads_read(world->engine, &s->loads, err);
    if (!status)
        count_loads(&s->profile, &s->loads);
    return status;
}

/* ret_found false: not kept, or by another release. */
static o3_status recall(const o3_world *world, const o3_engine_model *entry, o3_model *model, bool *ret_found,
                        o3_err *err)
{
    o3_auto(free) char *text = NULL;
    *ret_found = false;
    o3_status status = o3_store_document_get(world->store, "model", entry->digest, &text, err);
    if (status || !text)
        return status;
    json_t *json = json_loads(text, 0, NULL);
    *ret_found = json && o3_model_from_json(model, json, NULL) == O3_OK;
    json_decref(json);
    if (*ret_found) { /* a digest may have several names */
        O3_COPY(model->name, entry->name);
        O3_COPY(model->digest, entry->digest);
        model->file_bytes = entry->size_bytes;
    }
    return O3_OK;
}

static o3_status keep(const o3_world *world, const o3_model *model, o3_err *err)
{
    json_t *json = o3_model_to_json(model);
    o3_auto(free) char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text ? o3_store_document_put(world->store, "model", model->digest, text, err) : O3_OK;
}

/* The file's header has the arrays that a plain answer lacks. A file of another user's server is often not readable. */
static bool arrays_from_file(const o3_model *model, json_t **show)
{
    json_t *header = NULL;
    int64_t bytes;
    if (!*model->blob_path || access(model->blob_path, R_OK) || o3_gguf_read(model->blob_path, &header, &bytes, NULL))
        return false;
    json_object_set(*show, "model_info", json_object_get(header, "model_info"));
    json_decref(header);
    return true;
}

static o3_status add_arrays(const o3_world *world, const char *name, const o3_engine_model *entry, json_t **show,
                            o3_model *model, o3_err *err)
{
    o3_status status = O3_OK;
    if (!arrays_from_file(model, show)) {
        json_t *full = NULL;
        status = o3_engine_show_arrays(world->engine, name, &full, err);
        if (status)
            return status;
        json_decref(*show);
        *show = full;
    }
    return o3_model_parse(model, name, *show, entry, err);
}

static o3_status ask(const o3_world *world, const char *name, const o3_engine_model *entry, o3_model *model, o3_err *err)
{
    json_t *show = NULL;
    bool remote = entry && entry->remote; /* a cloud name: nothing of it is here to be shown */
    o3_status status = O3_OK;
    if (remote)
        show = json_object();
    else
        status = o3_engine_show(world->engine, name, &show, err);
    if (status)
        return status;
    status = o3_model_parse(model, name, show, entry, err);
    if (!status && o3_model_wants_arrays(show))
        status = add_arrays(world, name, entry, &show, model, err);
    json_decref(show);
    return status;
}

o3_status o3_model_of(const o3_world *world, const char *name, const o3_engine_model *entry, o3_model *ret_model,
                      o3_err *err)
{
    bool kept = world->store && entry && *entry->digest, found = false;
    o3_status status = kept ? recall(world, entry, ret_model, &found, err) : O3_OK;
    if (status || found)
        return status;
    status = ask(world, entry ? entry->name : name, entry, ret_model, err);
    return status || !kept ? status : keep(world, ret_model, err);
}

/* 0.15.5 and later; a number this release cannot read counts as current. */
static bool has_tiers(const char *version)
{
    int major, minor, patch = 0;
    if (sscanf(version + (*version == 'v'), "%d.%d.%d", &major, &minor, &patch) < 2 || (major == 0 && minor == 0))
        return true;
    return major > 0 || minor > 15 || (minor == 15 && patch >= 5);
}

int64_t o3_default_window(const o3_profile *profile, const o3_model *model, const char *engine_version)
{
    static const struct {
        int64_t vram_gib, window;
    } tiers[] = {{47, 262144}, {23, 32768}, {0, 4096}}; /* routes.go of 0.32 */
    const char *name = "OLLAMA_CONTEXT_LENGTH=", *set = strstr(profile->engine_env, name);
    int64_t window = set ? strtoll(set + strlen(name), NULL, 10) : 0, vram = 0;
    for (int i = 0; i < profile->gpu_count; i++)
        vram += profile->pools[profile->gpus[i].pool].total_bytes;
    for (int i = 0; window <= 0 && i < O3_COUNT(tiers); i++)
        if (!tiers[i].vram_gib || (has_tiers(engine_version) && vram >= tiers[i].vram_gib << 30))
            window = tiers[i].window;
    return model->trained_tokens > 0 && model->trained_tokens < window ? model->trained_tokens : window;
}
