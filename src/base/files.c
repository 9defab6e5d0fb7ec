/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"

static _Thread_local struct {
    o3_read_seen seen;
    void *ctx;
} watcher;

void o3_read_watch(o3_read_seen seen, void *ctx)
{
    watcher.seen = seen;
    watcher.ctx = ctx;
}

static int64_t got_text(const char *path, const char *dst, size_t len)
{
    int saved = errno;
    if (watcher.seen)
        watcher.seen(watcher.ctx, path, dst, len);
    errno = saved;
    return (int64_t)len;
}

static bool full_path(char full[PATH_MAX], const char *root, const char *path)
{
    int len = snprintf(full, PATH_MAX, "%s%s", root && strcmp(root, "/") ? root : "", path);
    return len >= 0 && len < PATH_MAX;
}

int64_t o3_read_link(const char *root, const char *path, char *dst, size_t dst_size)
{
    char full[PATH_MAX];
    dst[0] = '\0';
    if (!full_path(full, root, path))
        return -1;
    ssize_t len = readlink(full, dst, dst_size - 1);
    if (len < 0)
        return errno == EINVAL ? o3_read_text(root, path, dst, dst_size) : -1;
    dst[len] = '\0';
    return got_text(path, dst, (size_t)len);
}

int64_t o3_read_text(const char *root, const char *path, char *dst, size_t dst_size)
{
    char full[PATH_MAX];
    dst[0] = '\0';
    if (!full_path(full, root, path))
        return -1;
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t got = 0;
    ssize_t n = 0;
    while (got < dst_size - 1 && (n = read(fd, dst + got, dst_size - 1 - got)) > 0)
        got += (size_t)n;
    close(fd);
    dst[got] = '\0';
    return n < 0 ? -1 : got_text(path, dst, got);
}

int64_t o3_read_i64(const char *root, const char *path, int64_t missing)
{
    char text[64], *end;
    if (o3_read_text(root, path, text, sizeof(text)) <= 0)
        return missing;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return errno || end == text ? missing : (int64_t)value;
}

int64_t o3_field_i64(const char *text, const char *key, int64_t missing)
{
    size_t len = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (strncmp(line, key, len) || !strchr(" \t:=", line[len]) || !line[len])
            continue;
        const char *p = line + len + strspn(line + len, " \t:=");
        char *end;
        errno = 0;
        long long value = strtoll(p, &end, 10);
        return errno || end == p ? missing : (int64_t)value;
    }
    return missing;
}

bool o3_mkdirs(const char *path, unsigned mode)
{
    char part[PATH_MAX];
    struct stat st;
    if (strlen(path) >= sizeof(part))
        return false;
    O3_COPY(part, path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, mode) && errno != EEXIST)
            return false;
        *slash = '/';
    }
    if (mkdir(part, mode) && errno != EEXIST)
        return false;
    if (stat(part, &st))
        return false;
    if (!S_ISDIR(st.st_mode))
        errno = ENOTDIR;
    return S_ISDIR(st.st_mode);
}
