/* SPDX-License-Identifier: Apache-2.0 */
/* What a private server is started with. */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "private_impl.h"

#define ENVIRON_MAX 262144

static o3_status find_on_path(char *dst, size_t size, o3_err *err)
{
    const char *path = getenv("PATH");
    for (const char *p = path ? path : ""; *p; p += strcspn(p, ":"), p += *p == ':') {
        o3_format(dst, size, "%.*s/ollama", (int)strcspn(p, ":"), p);
        if (*p != ':' && !access(dst, X_OK))
            return O3_OK;
    }
    return o3_fail(err, O3_E_NOT_FOUND, "no ollama on PATH to start a private server with; install it here or add its "
                   "folder to PATH");
}

o3_status private_find_exe(const o3_private_options *options, char *dst, size_t size, o3_err *err)
{
    if (!options->exe || !*options->exe)
        return find_on_path(dst, size, err);
    o3_copy(dst, size, options->exe);
    if (!access(dst, X_OK))
        return O3_OK;
    if (errno == EACCES)
        return o3_fail(err, O3_E_IMPOSSIBLE, "%s, the binary that serves, may not be run by this user; run o3 as the user "
                       "that Ollama runs as", dst);
    return o3_fail(err, O3_E_NOT_FOUND, "%s, the binary that serves, is not there (%s); was it upgraded or does it run in a "
                   "container? Restart the server, or put ollama on PATH", dst, strerror(errno));
}

static int find(const private_env *env, const char *line)
{
    size_t len = strcspn(line, "=");
    for (int i = 0; i < env->count; i++)
        if (!strncmp(env->items[i], line, len) && env->items[i][len] == '=')
            return i;
    return -1;
}

void private_env_set(private_env *env, const char *line)
{
    int at = find(env, line);
    size_t len = strcspn(line, "=");
    bool value = line[len] && line[len + 1];
    if (at >= 0) {
        free(env->items[at]);
        env->items[at] = env->items[--env->count];
        env->items[env->count] = NULL;
    }
    if (value && len && env->count < PRIVATE_ENV_MAX)
        env->items[env->count++] = o3_strdup(line);
}

static const char *get(const private_env *env, const char *name)
{
    int at = find(env, name);
    return at < 0 ? "" : env->items[at] + strlen(name) + 1;
}

void private_env_free(private_env *env)
{
    for (int i = 0; i < env->count; i++)
        free(env->items[i]);
    *env = (private_env){0};
}

static bool of_engine(const char *line)
{
    return !strncmp(line, "OLLAMA_", 7) || !strncmp(line, "LLAMA_", 6) || !strncmp(line, "GGML_", 5);
}

/* The user's server's; where that is hidden from us, our own without what it says of Ollama: it is of another server. */
static void take_base(private_env *env, int like_pid)
{
    o3_auto(free) char *text = o3_alloc(1, ENVIRON_MAX);
    char path[64];
    O3_FORMAT(path, "/proc/%d/environ", like_pid);
    int64_t len = like_pid > 0 ? o3_read_text("/", path, text, ENVIRON_MAX) : -1;
    for (const char *p = text; len > 0 && p < text + len; p += strlen(p) + 1)
        private_env_set(env, p);
    for (char **line = environ; len <= 0 && *line; line++)
        if (!of_engine(*line))
            private_env_set(env, *line);
    /* What a service manager told the one that it started. */
    static const char *const foreign[] = {"NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC=", "LISTEN_PID=",
                                          "LISTEN_FDS=", "JOURNAL_STREAM=", "INVOCATION_ID=", "OLLAMA_DEBUG=",
                                          "OLLAMA_ORIGINS="};
    for (int i = 0; i < O3_COUNT(foreign); i++)
        private_env_set(env, foreign[i]);
}

static o3_status check_readable(const char *path, int mode, const char *what, o3_err *err)
{
    if (!access(path, mode))
        return O3_OK;
    if (errno == EACCES)
        return o3_fail(err, O3_E_IMPOSSIBLE, "%s %s may not be read by this user; run o3 as the user that Ollama runs as",
                       what, path);
    return o3_fail(err, O3_E_NOT_FOUND, "%s %s cannot be read (%s); does the server run in a container, or elsewhere?", what,
                   path, strerror(errno));
}

static o3_status set_store(private_env *env, const o3_private_options *options, o3_err *err)
{
    char line[PATH_MAX + 16], store[PATH_MAX];
    O3_COPY(store, get(env, "OLLAMA_MODELS"));
    if (options->models && *options->models)
        O3_COPY(store, options->models);
    if (!*store)
        O3_FORMAT(store, "%s/.ollama/models", get(env, "HOME"));
    O3_FORMAT(line, "OLLAMA_MODELS=%s", store);
    private_env_set(env, line);
    private_env_set(env, "OLLAMA_NOPRUNE=1");
    o3_status status = check_readable(store, R_OK | X_OK, "the model store", err);
    if (!status && options->model_file && *options->model_file)
        status = check_readable(options->model_file, R_OK, "the model's file", err);
    return status;
}

o3_status private_env_make(private_env *env, const o3_private_options *options, const char *home, o3_err *err)
{
    char line[PATH_MAX + 64];
    take_base(env, options->like_pid);
    o3_status status = set_store(env, options, err);
    /* A server makes itself a key in HOME unless there is one. */
    O3_FORMAT(line, "%s/.ollama/id_ed25519", get(env, "HOME"));
    if (access(line, R_OK)) {
        O3_FORMAT(line, "HOME=%s", home);
        private_env_set(env, line);
    }
    for (const char *p = options->settings ? options->settings : ""; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        O3_FORMAT(line, "%.*s", (int)strcspn(p, "\n"), p);
        private_env_set(env, line);
    }
    return status;
}
