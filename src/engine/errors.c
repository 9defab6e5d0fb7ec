/* SPDX-License-Identifier: Apache-2.0 */
/* What the texts of Ollama's errors mean. They are the only way to tell, and they changed over the releases. */
#include <strings.h>

#include "engine_impl.h"

static const struct {
    const char *words;
    o3_outcome loading, running;
} meanings[] = {
    {"exceed_context_size", O3_OUTCOME_TOO_LONG, O3_OUTCOME_TOO_LONG},
    {"exceeds the available context size", O3_OUTCOME_TOO_LONG, O3_OUTCOME_TOO_LONG},
    {"input length exceeds the context length", O3_OUTCOME_TOO_LONG, O3_OUTCOME_TOO_LONG}, /* <= 0.24 */
    {"longer than the context length", O3_OUTCOME_TOO_LONG, O3_OUTCOME_TOO_LONG},
    /* llm/status.go: the words Ollama itself takes for out of memory */
    {"out of memory", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"out-of-memory", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"out of device memory", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"cudamalloc failed", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"hipmalloc failed", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"failed to allocate", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"allocation failed", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"not enough memory", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"insufficient memory", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"outofdevicememory", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"out_of_device_memory", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"requires more system memory", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN}, /* <= 0.24 */
    {"memory layout cannot be allocated", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN},
    {"resource limitations", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_CRASH},
    {"signal: killed", O3_OUTCOME_OOM_LOAD, O3_OUTCOME_OOM_RUN}, /* the kernel's out-of-memory killer */
    {"has terminated", O3_OUTCOME_CRASH, O3_OUTCOME_CRASH},
    {"unexpectedly stopped", O3_OUTCOME_CRASH, O3_OUTCOME_CRASH},
    {"error was encountered while running", O3_OUTCOME_CRASH, O3_OUTCOME_CRASH},
    {"timed out waiting for llama", O3_OUTCOME_TIMEOUT, O3_OUTCOME_TIMEOUT},
    {"server busy", O3_OUTCOME_BUSY, O3_OUTCOME_BUSY},
};

o3_outcome ollama_classify(int http_status, const char *text, bool loading)
{
    for (int i = 0; i < O3_COUNT(meanings); i++)
        if (strcasestr(text, meanings[i].words))
            return loading ? meanings[i].loading : meanings[i].running;
    if (http_status == 503)
        return O3_OUTCOME_BUSY;
    if (http_status == 404)
        return O3_OUTCOME_MODEL_GONE;
    return O3_OUTCOME_ERROR;
}

static void take(json_t *json, char *dst, size_t dst_size, int64_t *ret_refused_tokens, int depth)
{
    json_t *error = json_object_get(json, "error");
    json_t *tokens = json_object_get(json, "n_prompt_tokens"), *message = json_object_get(json, "message");
    json_t *type = json_object_get(json, "type");
    if (json_is_integer(tokens))
        *ret_refused_tokens = json_integer_value(tokens);
    if (json_is_string(message))
        o3_format(dst, dst_size, "%s%s%s%s", json_string_value(message), json_is_string(type) ? " (" : "",
                  json_is_string(type) ? json_string_value(type) : "", json_is_string(type) ? ")" : "");
    if (json_is_object(error)) {
        take(error, dst, dst_size, ret_refused_tokens, depth);
    } else if (json_is_string(error)) {
        o3_copy(dst, dst_size, json_string_value(error));
        json_t *inner = depth < 3 ? json_loads(json_string_value(error), 0, NULL) : NULL;
        take(inner, dst, dst_size, ret_refused_tokens, depth + 1);
        json_decref(inner);
    }
}

void ollama_error_text(const char *body, char *dst, size_t dst_size, int64_t *ret_refused_tokens)
{
    int64_t ignored;
    json_t *json = json_loads(body, JSON_DISABLE_EOF_CHECK, NULL);
    if (!ret_refused_tokens)
        ret_refused_tokens = &ignored;
    *ret_refused_tokens = -1;
    dst[0] = '\0';
    take(json, dst, dst_size, ret_refused_tokens, 0);
    json_decref(json);
    if (!dst[0])
        o3_copy(dst, dst_size, body);
    for (char *p = dst; *p; p++)
        if ((unsigned char)*p < ' ')
            *p = ' ';
}
