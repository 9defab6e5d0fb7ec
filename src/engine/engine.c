/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an engine by its URL, and the way from the public calls to the table. */
#include <ctype.h>
#include <strings.h>

#include "engine_impl.h"

/* As Ollama reads OLLAMA_HOST: [scheme://]host[:port][/path]; the default port is 11434, but 80 and 443 behind an
 * explicit scheme (envconfig/config.go). */
static bool parse_url(o3_engine *engine, const char *given)
{
    char host[O3_NAME_MAX], url[O3_NAME_MAX];
    /* Quotes and blanks around the value are what an environment file leaves; Ollama drops them too. */
    static const char around[] = " \t\r\n'\"";
    const char *begin = given + strspn(given, around);
    O3_COPY(url, begin);
    for (size_t end = strlen(url); end && strchr(around, url[end - 1]); end--)
        url[end - 1] = '\0';
    if (strlen(begin) >= sizeof(url))
        return false;
    const char *scheme = "http", *rest = strstr(url, "://");
    int port = 11434;
    if (rest) {
        bool https = !strncasecmp(url, "https:", 6);
        if (!https && strncasecmp(url, "http:", 5))
            return false;
        scheme = https ? "https" : "http";
        port = https ? 443 : 80;
        rest += 3;
        if (!*rest || *rest == '/')
            return false;
    } else {
        rest = url;
    }
    size_t len = strcspn(rest, "/");
    if (len >= sizeof(host))
        return false;
    o3_format(host, sizeof(host), "%.*s", (int)len, rest);
    char *colon = strrchr(host, ':');
    if (colon && !strchr(colon, ']') && (host[0] == '[' || strchr(host, ':') == colon)) {
        char *end;
        long value = strtol(colon + 1, &end, 10);
        if (*end || end == colon + 1 || value < 1 || value > 65535)
            return false;
        port = (int)value;
        *colon = '\0';
    }
    if ((host[0] == '[') != (host[0] && host[strlen(host) - 1] == ']'))
        return false;
    for (const char *p = host; *p; p++)
        if (isspace((unsigned char)*p) || strchr("@?#\"'<>\\", *p))
            return false;
    /* What a server binds to is not what a client connects to. */
    if (!*host || !strcmp(host, "0.0.0.0") || !strcmp(host, "[::]"))
        O3_COPY(host, "127.0.0.1");
    engine->port = port;
    engine->local = !strcasecmp(host, "localhost") || !strncmp(host, "127.", 4) || !strcmp(host, "[::1]");
    O3_FORMAT(engine->where, "%s:%d", host, port);
    O3_FORMAT(engine->url, "%s://%s:%d", scheme, host, port);
    return true;
}

o3_status o3_engine_open(o3_engine **ret_engine, const char *url, o3_err *err)
{
    o3_engine *engine = o3_alloc(1, sizeof(*engine));
    if (!parse_url(engine, url)) {
        free(engine);
        return o3_fail(err, O3_E_USAGE, "'%s' is not a server address; write host, host:port or http://host:port", url);
    }
    engine->ops = &engine_ollama;
    engine->http = http_open(engine->url, engine->local);
    *ret_engine = engine;
    return O3_OK;
}

void o3_engine_close(o3_engine *engine)
{
    if (!engine)
        return;
    http_close(engine->http);
    free(engine);
}

const char *o3_engine_url(const o3_engine *engine)
{
    return engine->url;
}

bool o3_engine_is_local(const o3_engine *engine)
{
    return engine->local;
}

int o3_engine_port(const o3_engine *engine)
{
    return engine->port;
}

void o3_engine_interruptible(o3_engine *engine, o3_cancel *cancel)
{
    engine->cancel = cancel;
}

o3_status o3_engine_caps_read(o3_engine *engine, o3_engine_caps *ret_caps, o3_err *err)
{
    if (!engine->caps_known) {
        o3_status status = engine->ops->caps(engine, &engine->caps, err);
        if (status)
            return status;
        engine->caps_known = true;
    }
    *ret_caps = engine->caps;
    return O3_OK;
}

o3_status o3_engine_list(o3_engine *engine, o3_engine_models *ret_models, o3_err *err)
{
    return engine->ops->list(engine, ret_models, err);
}

o3_status o3_engine_show(o3_engine *engine, const char *model, json_t **ret_show, o3_err *err)
{
    return engine->ops->show(engine, model, ret_show, err);
}

o3_status o3_engine_show_arrays(o3_engine *engine, const char *model, json_t **ret_show, o3_err *err)
{
    return engine->ops->show_arrays(engine, model, ret_show, err);
}

o3_status o3_engine_loads_read(o3_engine *engine, o3_engine_loads *ret_loads, o3_err *err)
{
    return engine->ops->loads(engine, ret_loads, err);
}

o3_status o3_engine_generate(o3_engine *engine, const o3_generate *request, o3_reply *ret_reply, o3_err *err)
{
    return engine->ops->generate(engine, request, ret_reply, err);
}

o3_status o3_engine_unload(o3_engine *engine, const char *model, int64_t timeout_ns, o3_err *err)
{
    return engine->ops->unload(engine, model, timeout_ns, err);
}

o3_status o3_engine_runner(o3_engine *engine, int server_pid, const char *blob_path, o3_runner *ret_runner, o3_err *err)
{
    return engine->ops->runner(engine, server_pid, blob_path, ret_runner, err);
}

o3_status o3_engine_create(o3_engine *engine, const char *name, const char *from, const o3_knobs *parameters,
                           o3_err *err)
{
    return engine->ops->create(engine, name, from, parameters, err);
}

o3_status o3_engine_delete(o3_engine *engine, const char *name, o3_err *err)
{
    return engine->ops->remove(engine, name, err);
}

o3_status o3_engine_pull(o3_engine *engine, const char *name, o3_cancel *cancel, o3_progress_fn progress, void *ctx,
                         o3_err *err)
{
    return engine->ops->pull(engine, name, cancel, progress, ctx, err);
}
