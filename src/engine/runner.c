/* SPDX-License-Identifier: Apache-2.0 */
/* The runner's command line: the only place that shows the knobs really in force. */
#include <ctype.h>
#include <dirent.h>

#include "engine_impl.h"

#define ARGS_BYTES 16384

typedef struct command {
    char text[ARGS_BYTES]; /* arguments, each terminated */
    size_t len;
} command;

/* The argument behind `flag`, or NULL. */
static const char *value_of(const command *cmd, const char *flag)
{
    for (const char *p = cmd->text; p < cmd->text + cmd->len; p += strlen(p) + 1) {
        const char *next = p + strlen(p) + 1;
        if (!strcmp(p, flag) && next < cmd->text + cmd->len)
            return next;
    }
    return NULL;
}

static int32_t number_of(const command *cmd, const char *flag, const char *other)
{
    const char *text = value_of(cmd, flag);
    if (!text && other)
        text = value_of(cmd, other);
    return text ? (int32_t)strtol(text, NULL, 10) : O3_UNSET;
}

static int parent_of(int pid)
{
    char path[64], text[512];
    O3_FORMAT(path, "/proc/%d/stat", pid);
    if (o3_read_text("/", path, text, sizeof(text)) <= 0)
        return -1;
    const char *p = strrchr(text, ')'); /* the name before it may hold anything */
    int parent = -1;
    return p && sscanf(p + 1, " %*c %d", &parent) == 1 ? parent : -1;
}

static bool is_runner(const command *cmd, const char *blob_path)
{
    const char *model = value_of(cmd, "--model");
    return model && (!blob_path || !*blob_path || !strcmp(model, blob_path));
}

static void take(const command *cmd, int pid, o3_runner *ret_runner)
{
    int32_t ctx = number_of(cmd, "-c", "--ctx-size"), parallel = number_of(cmd, "-np", "--parallel");
    const char *mode = value_of(cmd, "--load-mode"), *kv = value_of(cmd, "--cache-type-k");
    const char *flash = value_of(cmd, "--flash-attn");
    ret_runner->pid = pid;
    ret_runner->parallel = parallel == O3_UNSET ? -1 : parallel;
    /* -c is the total over the slots */
    ret_runner->in_force.num_ctx = ctx == O3_UNSET || parallel < 1 ? ctx : ctx / parallel;
    ret_runner->in_force.num_batch = number_of(cmd, "-b", "--batch-size");
    ret_runner->in_force.num_gpu = number_of(cmd, "-ngl", "--n-gpu-layers");
    ret_runner->in_force.num_thread = number_of(cmd, "-t", "--threads");
    if (mode)
        ret_runner->in_force.use_mmap = strcmp(mode, "none") != 0;
    if (kv)
        O3_COPY(ret_runner->kv_type, kv);
    if (flash)
        O3_COPY(ret_runner->flash_attn, flash);
}

o3_status runner_find(o3_engine *engine, int server_pid, const char *blob_path, o3_runner *ret_runner, o3_err *err)
{
    *ret_runner = (o3_runner){.pid = -1, .in_force = O3_KNOBS_DEFAULT, .parallel = -1};
    if (!engine->local)
        return O3_OK;
    DIR *dir = opendir("/proc");
    if (!dir)
        return o3_fail(err, O3_E_IO, "/proc cannot be read; the knobs in force cannot be checked");
    o3_auto(free) command *cmd = o3_alloc(1, sizeof(*cmd));
    for (struct dirent *entry; (entry = readdir(dir)) && ret_runner->pid < 0;) {
        char path[64];
        int pid = isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : -1;
        /* Without the server's pid the blob's path must decide: another server may run other models. */
        if (pid < 0 || (server_pid > 0 && parent_of(pid) != server_pid) || (server_pid <= 0 && !(blob_path && *blob_path)))
            continue;
        O3_FORMAT(path, "/proc/%d/cmdline", pid);
        int64_t len = o3_read_text("/", path, cmd->text, sizeof(cmd->text));
        cmd->len = len > 0 ? (size_t)len : 0;
        if (cmd->len && is_runner(cmd, blob_path))
            take(cmd, pid, ret_runner);
    }
    closedir(dir);
    return O3_OK;
}
