/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's plain calls. Replies are read tolerantly (fields come and go between releases), errors strictly. */
#include "engine_impl.h"

#define SHORT_NS (10 * O3_NS_PER_S) /* a call that loads nothing answers in milliseconds */

json_t *ollama_options(const o3_knobs *knobs)
{
    json_t *options = json_object();
    for (const o3_knob_field *f = o3_knob_fields; f->name; f++) {
        int32_t value = o3_knob_get(knobs, f);
        if (value != O3_UNSET)
            json_object_set_new(options, f->name, f->boolean ? json_boolean(value) : json_integer(value));
    }
    return options;
}

static const char *string_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static int64_t integer_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

static o3_status transport_error(const o3_engine *engine, const http_answer *answer, o3_err *err)
{
    switch (answer->end) {
    case HTTP_REFUSED:
        return o3_fail(err, O3_E_UNAVAILABLE, "no server at %s (%s); start it with `ollama serve` or check --host "
                       "and OLLAMA_HOST", engine->where, answer->error[0] ? answer->error : "cannot connect");
    case HTTP_DEADLINE:
        return o3_fail(err, O3_E_UNAVAILABLE, "%s accepts connections but did not answer in time; is the server "
                       "stuck, or is it another program (check --host and OLLAMA_HOST)?", engine->where);
    case HTTP_CANCELLED:
        return o3_fail(err, O3_E_CANCELLED, "interrupted");
    case HTTP_TOO_LARGE:
        return o3_fail(err, O3_E_PROTOCOL, "%s sends more than an Ollama would; check --host or OLLAMA_HOST",
                       engine->where);
    case HTTP_LOST:
    case HTTP_DONE:
        break;
    }
    return o3_fail(err, O3_E_UNAVAILABLE, "the connection to %s broke off (%s); is the server still running?",
                   engine->where, answer->error[0] ? answer->error : "no reason given");
}

static o3_status not_ollama(const o3_engine *engine, const http_answer *answer, o3_err *err)
{
    char what[96];
    if (answer->status != 200)
        O3_FORMAT(what, "HTTP %d", answer->status);
    else
        O3_FORMAT(what, "%.*s", (int)strcspn(answer->content_type, ";"), answer->content_type);
    return o3_fail(err, O3_E_PROTOCOL, "%s answers, but not like Ollama (%s); check --host or OLLAMA_HOST",
                   engine->where, what[0] ? what : "no content type");
}

/* A call that changes something, or confirms a change, is never cut short. */
static http_request whole(const char *method, const char *path, int64_t deadline_ns)
{
    return (http_request){.method = method, .path = path, .deadline_ns = deadline_ns};
}

/* One that only asks ends at once when the user does. */
static http_request asking(const o3_engine *engine, const char *method, const char *path, int64_t deadline_ns)
{
    return (http_request){.method = method, .path = path, .deadline_ns = deadline_ns, .cancel = engine->cancel};
}

/* One short call. *ret_json is NULL where the body is empty. Errors of the server (status >= 400) are O3_E_ENGINE
 * with its words in err and the HTTP status in *ret_http. */
static o3_status call(o3_engine *engine, http_request request, const json_t *body, int *ret_http, json_t **ret_json,
                      o3_err *err)
{
    o3_auto(free) char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body && !text)
        return o3_fail(err, O3_E_USAGE, "the name is not UTF-8; give it as the server lists it");
    http_answer answer;
    request.body = text;
    request.max_body = 32u << 20;
    http_run(engine->http, &request, &answer);
    o3_status status = O3_OK;
    *ret_http = answer.status;
    *ret_json = NULL;
    if (answer.end != HTTP_DONE) {
        status = transport_error(engine, &answer, err);
    } else if (answer.status >= 400) {
        char words[O3_TEXT_MAX];
        ollama_error_text(o3_buf_text(&answer.body), words, sizeof(words), NULL);
        bool json = strstr(answer.content_type, "json") != NULL;
        status = json ? o3_fail(err, O3_E_ENGINE, "%s: %s", engine->where, words) : not_ollama(engine, &answer, err);
    } else {
        *ret_json = json_loadb(o3_buf_text(&answer.body), answer.body.len, 0, NULL);
        if (!*ret_json && answer.body.len)
            status = not_ollama(engine, &answer, err);
    }
    http_answer_release(&answer);
    return status;
}

/* "0.32.15", "v0.33.0-rc2" -> 32015 style number; -1 when it says nothing (a plain go build says 0.0.0). */
static int version_number(const char *text)
{
    int major = 0, minor = 0, patch = 0;
    if (sscanf(text + (*text == 'v'), "%d.%d.%d", &major, &minor, &patch) < 2)
        return -1;
    int number = major * 1000000 + minor * 1000 + patch;
    return number ? number : -1;
}

static o3_status caps(o3_engine *engine, o3_engine_caps *ret_caps, o3_err *err)
{
    int http;
    json_t *json;
    o3_status status = call(engine, asking(engine, "GET", "/api/version", SHORT_NS), NULL, &http, &json, err);
    if (status == O3_E_ENGINE)
        return o3_fail(err, O3_E_PROTOCOL, "%s answers /api/version with HTTP %d, which no Ollama does; check --host "
                       "or OLLAMA_HOST", engine->where, http);
    if (status)
        return status;
    const char *version = string_of(json, "version");
    if (!*version) {
        json_decref(json);
        return o3_fail(err, O3_E_PROTOCOL, "%s answers /api/version without a version, so it is no Ollama; check "
                       "--host or OLLAMA_HOST", engine->where);
    }
    /* truncate since 0.12.6, llama-server since 0.30.0. An unknown version is taken for a current one; every effect is
     * checked anyway. */
    int n = version_number(version);
    *ret_caps = (o3_engine_caps){.truncate_flag = n < 0 || n >= 12006, .refusal_counts = n < 0 || n >= 30000,
                                 .llama_server = n < 0 || n >= 30000};
    O3_COPY(ret_caps->version, version);
    json_decref(json);
    return O3_OK;
}

static void take_model(const json_t *item, o3_engine_model *ret_model)
{
    const json_t *details = json_object_get(item, "details");
    *ret_model = (o3_engine_model){.size_bytes = integer_of(item, "size")};
    O3_COPY(ret_model->name, string_of(item, "name"));
    O3_COPY(ret_model->digest, string_of(item, "digest"));
    O3_COPY(ret_model->family, string_of(details, "family"));
    O3_COPY(ret_model->parameter_size, string_of(details, "parameter_size"));
    O3_COPY(ret_model->quantization, string_of(details, "quantization_level"));
    O3_COPY(ret_model->format, string_of(details, "format"));
    ret_model->remote = *string_of(item, "remote_model") || *string_of(item, "remote_host");
}

static o3_status list(o3_engine *engine, o3_engine_models *ret_models, o3_err *err)
{
    int http;
    json_t *json;
    o3_status status = call(engine, asking(engine, "GET", "/api/tags", SHORT_NS), NULL, &http, &json, err);
    if (status)
        return status;
    const json_t *items = json_object_get(json, "models");
    int total = (int)json_array_size(items);
    ret_models->count = total < O3_LIST_MAX ? total : O3_LIST_MAX;
    ret_models->left_out = total - ret_models->count;
    for (int i = 0; i < ret_models->count; i++)
        take_model(json_array_get(items, (size_t)i), &ret_models->items[i]);
    json_decref(json);
    return O3_OK;
}

static o3_status unknown_model(o3_engine *engine, const char *model, o3_err *err)
{
    o3_auto(free) o3_engine_models *models = o3_alloc(1, sizeof(*models));
    const char *names[O3_LIST_MAX];
    if (list(engine, models, NULL))
        models->count = 0;
    for (int i = 0; i < models->count; i++)
        names[i] = models->items[i].name;
    const char *near = NULL;
    for (int i = 0; i < models->count && !near; i++) /* the tag was left out */
        if (!strncmp(names[i], model, strlen(model)) && names[i][strlen(model)] == ':')
            near = names[i];
    if (!near)
        near = o3_nearest(model, names, models->count);
    if (near)
        return o3_fail(err, O3_E_NOT_FOUND, "%s is not on this server (did you mean %s?); `ollama list` shows what is",
                       model, near);
    return o3_fail(err, O3_E_NOT_FOUND, "%s is not on this server; `ollama list` shows what is, `ollama pull` "
                   "fetches it (o3 optimize --pull too)",
                   model);
}

o3_status ollama_show(o3_engine *engine, const char *model, bool verbose,
                      bool (*on_bytes)(void *ctx, int64_t now_ns, const char *bytes, size_t len), void *ctx,
                      json_t **ret_show, o3_err *err)
{
    int http;
    json_t *body = verbose ? json_pack("{s:s, s:b}", "model", model, "verbose", 1) : json_pack("{s:s}", "model", model);
    if (!body)
        return o3_fail(err, O3_E_USAGE, "the model's name is not UTF-8; give it as `ollama list` shows it");
    http_request request = asking(engine, "POST", "/api/show", 6 * SHORT_NS);
    request.on_bytes = on_bytes;
    request.ctx = ctx;
    o3_status status = call(engine, request, body, &http, ret_show, err);
    json_decref(body);
    /* 400: a name that can be no model's ("a b", "x/y/z/w/v"). */
    if (status == O3_E_ENGINE && (http == 404 || http == 400))
        return unknown_model(engine, model, err);
    return status;
}

static o3_status show(o3_engine *engine, const char *model, json_t **ret_show, o3_err *err)
{
    o3_status status = ollama_show(engine, model, false, NULL, NULL, ret_show, err);
    if (!status && !json_is_object(*ret_show)) {
        json_decref(*ret_show);
        return o3_fail(err, O3_E_PROTOCOL, "%s answers /api/show without an object; check --host", engine->where);
    }
    return status;
}

static o3_status loads(o3_engine *engine, o3_engine_loads *ret_loads, o3_err *err)
{
    int http;
    json_t *json;
    o3_status status = call(engine, whole("GET", "/api/ps", SHORT_NS), NULL, &http, &json, err);
    if (status)
        return status;
    const json_t *items = json_object_get(json, "models");
    *ret_loads = (o3_engine_loads){0};
    for (size_t i = 0; i < json_array_size(items) && ret_loads->count < O3_COUNT(ret_loads->items); i++) {
        const json_t *item = json_array_get(items, i);
        o3_engine_loaded *l = &ret_loads->items[ret_loads->count++];
        O3_COPY(l->name, string_of(item, "name"));
        O3_COPY(l->digest, string_of(item, "digest"));
        l->size_bytes = integer_of(item, "size");
        l->size_vram_bytes = integer_of(item, "size_vram");
        l->context_length = integer_of(item, "context_length");
    }
    json_decref(json);
    return O3_OK;
}

/* ":latest" is implied in what users write and spelled out in what /api/ps lists. */
static bool same_name(const char *a, const char *b)
{
    size_t len = strlen(a);
    return !strcmp(a, b) || (!strncmp(a, b, len) && !strcmp(b + len, ":latest"));
}

static o3_status unload(o3_engine *engine, const char *model, int64_t timeout_ns, o3_err *err)
{
    int http;
    json_t *json, *body = json_pack("{s:s, s:i, s:b}", "model", model, "keep_alive", 0, "stream", 0);
    o3_status status = call(engine, whole("POST", "/api/generate", timeout_ns), body, &http, &json, err);
    json_decref(body);
    json_decref(json);
    if (status == O3_E_ENGINE && http == 404)
        return O3_OK; /* a deleted model is not loaded for long */
    for (int64_t end = o3_now_ns() + timeout_ns; !status; o3_sleep_ns(20 * O3_NS_PER_MS)) {
        o3_engine_loads now;
        bool there = false;
        status = loads(engine, &now, err);
        for (int i = 0; !status && i < now.count; i++)
            there = there || same_name(model, now.items[i].name);
        if (status || !there)
            return status;
        if (o3_now_ns() > end)
            return o3_fail(err, O3_E_UNAVAILABLE, "%s is still loaded %.0f s after its unload was asked for; another "
                           "client uses it", model, (double)timeout_ns / 1e9);
    }
    return status;
}

static o3_status create(o3_engine *engine, const char *name, const char *from, const o3_knobs *parameters, o3_err *err)
{
    int http;
    json_t *json;
    json_t *body = json_pack("{s:s, s:s, s:o, s:b}", "model", name, "from", from, "parameters",
                             ollama_options(parameters), "stream", 0);
    o3_status status = call(engine, whole("POST", "/api/create", 6 * SHORT_NS), body, &http, &json, err);
    json_decref(body);
    if (!status && strcmp(string_of(json, "status"), "success"))
        status = o3_fail(err, O3_E_ENGINE, "creating %s ended with \"%s\" instead of success", name,
                         string_of(json, "status"));
    json_decref(json);
    return status;
}

static o3_status delete_model(o3_engine *engine, const char *name, o3_err *err)
{
    int http;
    json_t *json, *body = json_pack("{s:s}", "model", name);
    o3_status status = call(engine, whole("DELETE", "/api/delete", SHORT_NS), body, &http, &json, err);
    json_decref(body);
    json_decref(json);
    return status;
}

typedef struct pull_state {
    o3_progress_fn progress;
    void *ctx;
    o3_buf line;
    char last[O3_TEXT_MAX], error[O3_TEXT_MAX];
} pull_state;

static bool on_pull(void *ctx, int64_t now_ns, const char *bytes, size_t len)
{
    pull_state *pull = ctx;
    (void)now_ns;
    for (; len; bytes++, len--) {
        if (*bytes != '\n') {
            o3_buf_add(&pull->line, bytes, 1);
            continue;
        }
        json_t *json = json_loads(o3_buf_text(&pull->line), 0, NULL);
        O3_COPY(pull->error, string_of(json, "error"));
        O3_COPY(pull->last, string_of(json, "status"));
        if (pull->progress && !pull->error[0])
            pull->progress(pull->ctx, pull->last, integer_of(json, "completed"), integer_of(json, "total"));
        json_decref(json);
        o3_buf_clear(&pull->line);
        if (pull->error[0])
            return false;
    }
    return true;
}

static o3_status pull(o3_engine *engine, const char *name, o3_cancel *cancel, o3_progress_fn progress, void *ctx,
                      o3_err *err)
{
    json_t *json = json_pack("{s:s}", "model", name);
    o3_auto(free) char *body = json_dumps(json, JSON_COMPACT);
    pull_state state = {.progress = progress, .ctx = ctx, .line = O3_BUF(64u << 10)};
    http_answer answer;
    json_decref(json);
    http_run(engine->http, &(http_request){.method = "POST", .path = "/api/pull", .body = body, .cancel = cancel,
                                           .on_bytes = on_pull, .ctx = &state}, &answer);
    o3_buf_release(&state.line);
    o3_status status = O3_OK;
    if (answer.end != HTTP_DONE)
        status = transport_error(engine, &answer, err);
    else if (answer.status >= 400)
        ollama_error_text(o3_buf_text(&answer.body), state.error, sizeof(state.error), NULL);
    http_answer_release(&answer);
    if (!status && (state.error[0] || strcmp(state.last, "success")))
        status = o3_fail(err, O3_E_NOT_FOUND, "%s cannot be pulled: %s", name,
                         state.error[0] ? state.error : "the server ended without success");
    return status;
}

const struct engine_ops engine_ollama = {
    .name = "ollama",
    .caps = caps,
    .runner = runner_find,
    .list = list,
    .show = show,
    .show_arrays = ollama_show_arrays,
    .loads = loads,
    .generate = ollama_generate,
    .unload = unload,
    .create = create,
    .remove = delete_model,
    .pull = pull,
};
