/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's process: who listens on its port, what it was started with. */
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <unistd.h>

#include "hardware/hardware_impl.h"

#define HOLDERS_MAX 64
#define ENVIRON_MAX 262144
#define PASSWD_MAX 262144
#define VARIABLES_MAX 64

bool hw_full_path(char *dst, size_t dst_size, const char *root, const char *path)
{
    if (!root || !strcmp(root, "/"))
        root = "";
    if (strlen(root) + strlen(path) >= dst_size)
        return false;
    o3_format(dst, dst_size, "%s%s", root, path);
    return true;
}

void hw_pid_path(char *dst, size_t dst_size, int pid, const char *file)
{
    if (pid < 0)
        o3_format(dst, dst_size, "/proc/self/%s", file);
    else
        o3_format(dst, dst_size, "/proc/%d/%s", pid, file);
}

/* These hold a port for somebody else. */
static const char *const forwarders[] = {
    "docker-proxy", "rootlessport", "rootlesskit", "slirp4netns", "pasta", "conmon", "ssh", "sshd", "socat", "kubectl",
    "nginx", "caddy", "haproxy", "envoy", "traefik", "systemd", "init", "tailscaled",
};

static bool is_forwarder(const char *root, int pid)
{
    char path[64], comm[64];
    hw_pid_path(path, sizeof(path), pid, "comm");
    if (!hw_read_line(root, path, comm, sizeof(comm)))
        return false;
    for (int i = 0; i < O3_COUNT(forwarders); i++)
        if (!strcmp(comm, forwarders[i]))
            return true;
    return false;
}

static bool holds_socket(const char *root, int pid, uint64_t inode)
{
    char path[64], full[PATH_MAX], link[64], wanted[64];
    hw_pid_path(path, sizeof(path), pid, "fd");
    DIR *dir = hw_full_path(full, sizeof(full), root, path) ? opendir(full) : NULL;
    bool found = false;
    O3_FORMAT(wanted, "socket:[%llu]", (unsigned long long)inode);
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
        ssize_t len = readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1);
        if (len <= 0)
            continue;
        link[len] = '\0';
        found = !strcmp(link, wanted);
    }
    if (dir)
        closedir(dir);
    return found;
}

static int parent_of(const char *root, int pid)
{
    char path[64], text[4096];
    hw_pid_path(path, sizeof(path), pid, "status");
    return o3_read_text(root, path, text, sizeof(text)) > 0 ? (int)o3_field_i64(text, "PPid", -1) : -1;
}

/* A child may have inherited the socket: the holder whose parent holds it not is the server. */
static int root_holder(const char *root, const int *holders, int count)
{
    for (int i = 0; i < count; i++) {
        int parent = parent_of(root, holders[i]);
        bool inherited = false;
        for (int j = 0; j < count; j++)
            inherited |= holders[j] == parent && j != i;
        if (!inherited)
            return holders[i];
    }
    return count ? holders[0] : -1;
}

static int holder_of(const char *root, uint64_t inode)
{
    char full[PATH_MAX];
    int holders[HOLDERS_MAX], count = 0;
    DIR *dir = hw_full_path(full, sizeof(full), root, "/proc") ? opendir(full) : NULL;
    for (struct dirent *entry; dir && count < HOLDERS_MAX && (entry = readdir(dir));) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        if (!isdigit((unsigned char)entry->d_name[0]) || *end || pid <= 0 || pid > INT_MAX)
            continue;
        if (holds_socket(root, (int)pid, inode) && !is_forwarder(root, (int)pid))
            holders[count++] = (int)pid;
    }
    if (dir)
        closedir(dir);
    return root_holder(root, holders, count);
}

int o3_process_listening(const char *root, int port)
{
    hw_sockets set;
    if (port <= 0 || port > 65535)
        return -1;
    hw_sockets_read(&set, root, port);
    for (int i = 0; i < set.count; i++) {
        int pid = holder_of(root, set.at[i].inode);
        if (pid > 0)
            return pid;
    }
    return -1;
}

static bool has_suffix(const char *text, size_t len, const char *suffix)
{
    size_t suffix_len = strlen(suffix);
    return len >= suffix_len && !strncmp(text + len - suffix_len, suffix, suffix_len);
}

bool hw_variable_is_ours(const char *name, size_t len)
{
    static const char *const prefixes[] = {"OLLAMA_", "LLAMA_", "GGML_"};
    for (int i = 0; i < O3_COUNT(prefixes); i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
            return true;
    return has_suffix(name, len, "_VISIBLE_DEVICES");
}

/* The profile is stored and shown to others. */
bool hw_variable_is_secret(const char *name, size_t len)
{
    static const char *const words[] = {"KEY", "TOKEN", "SECRET", "PASSWORD"};
    for (int i = 0; i < O3_COUNT(words); i++)
        if (has_suffix(name, len, words[i]))
            return true;
    return false;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void read_environment(o3_profile *profile, const char *root, int pid)
{
    o3_auto(free) char *text = o3_alloc(1, ENVIRON_MAX);
    char path[64], *variables[VARIABLES_MAX];
    int count = 0;
    bool cut = false;
    hw_pid_path(path, sizeof(path), pid, "environ");
    int64_t len = o3_read_text(root, path, text, ENVIRON_MAX);
    profile->engine_env_known = len >= 0;
    for (char *p = text, *end = text + (len > 0 ? len : 0); p < end; p += strlen(p) + 1) {
        size_t name_len = strcspn(p, "=");
        if (!p[name_len] || !hw_variable_is_ours(p, name_len))
            continue;
        for (char *c = p; *c; c++)
            *c = iscntrl((unsigned char)*c) ? '?' : *c;
        if (count < VARIABLES_MAX)
            variables[count++] = p;
        else
            cut = true;
    }
    qsort(variables, (size_t)count, sizeof(variables[0]), by_text);
    for (int i = 0; i < count; i++) {
        size_t used = strlen(profile->engine_env), room = sizeof(profile->engine_env) - used;
        size_t name_len = strcspn(variables[i], "=");
        const char *value = hw_variable_is_secret(variables[i], name_len) ? "(hidden)" : variables[i] + name_len + 1;
        if (name_len + strlen(value) + 3 > room)
            cut = true;
        else
            o3_format(profile->engine_env + used, room, "%.*s=%s\n", (int)name_len, variables[i], value);
    }
    if (cut)
        o3_note(&profile->notes, "the engine's environment is longer than what is kept of it");
}

/* "name:x:uid:..." */
static void read_user(o3_profile *profile, const char *root)
{
    o3_auto(free) char *text = o3_alloc(1, PASSWD_MAX);
    char *rest = text, *line;
    o3_read_text(root, "/etc/passwd", text, PASSWD_MAX);
    while ((line = strsep(&rest, "\n"))) {
        char *name = strsep(&line, ":"), *password = strsep(&line, ":"), *uid = strsep(&line, ":");
        if (password && uid && *uid && strtol(uid, NULL, 10) == profile->engine_uid) {
            O3_COPY(profile->engine_user, name);
            return;
        }
    }
}

/* The innermost service or scope in the path that systemd gave the process: "0::/system.slice/ollama.service". */
static void read_unit(o3_profile *profile, const char *root, int pid)
{
    static const char *const kinds[] = {".service", ".scope"};
    char path[64], text[16384], *rest = text, *line, *part;
    hw_pid_path(path, sizeof(path), pid, "cgroup");
    if (o3_read_text(root, path, text, sizeof(text)) <= 0)
        return;
    while ((line = strsep(&rest, "\n")) && !*profile->engine_unit) {
        if (strncmp(line, "0::", 3) && !strstr(line, ":name=systemd:"))
            continue;
        while ((part = strsep(&line, "/")))
            for (int i = 0; i < O3_COUNT(kinds); i++)
                if (has_suffix(part, strlen(part), kinds[i]))
                    O3_COPY(profile->engine_unit, part);
    }
}

static void read_owner(o3_profile *profile, const char *root, int pid)
{
    char path[64], text[4096];
    hw_pid_path(path, sizeof(path), pid, "status");
    if (o3_read_text(root, path, text, sizeof(text)) > 0)
        profile->engine_uid = (int)o3_field_i64(text, "Uid", -1);
    if (profile->engine_uid >= 0)
        read_user(profile, root);
    read_unit(profile, root, pid);
}

void hw_process_read(o3_profile *profile, const char *root, int pid)
{
    char path[64];
    read_environment(profile, root, pid);
    read_owner(profile, root, pid);
    if (!profile->engine_env_known)
        o3_note(&profile->notes, "the environment of the engine (process %d, another user's) cannot be read", pid);
    hw_pid_path(path, sizeof(path), pid, "exe");
    if (o3_read_link(root, path, profile->engine_exe, sizeof(profile->engine_exe)) <= 0) { /* not ours to follow; the command line is open to everybody */
        hw_pid_path(path, sizeof(path), pid, "cmdline");
        o3_read_text(root, path, profile->engine_exe, sizeof(profile->engine_exe));
    }
}
