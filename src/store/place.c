/* SPDX-License-Identifier: Apache-2.0 */
/* Where the database lies: directories, the lock of the opening, and moving a bad file aside. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store.h"

#define ELSEWHERE "make it writable, or choose another place with XDG_DATA_HOME"
#define LOCK_STEP_NS (20 * O3_NS_PER_MS)

static o3_status default_path(char *dst, size_t dst_size, o3_err *err)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    /* The XDG base directory specification: a relative path is to be ignored. */
    if (data && data[0] == '/')
        o3_format(dst, dst_size, "%s/o3/o3.db", data);
    else if (home && home[0] == '/')
        o3_format(dst, dst_size, "%s/.local/share/o3/o3.db", home);
    else
        return o3_fail(err, O3_E_IO, "no place to remember results: neither XDG_DATA_HOME nor HOME is set to an "
                                     "absolute path; set one, as in XDG_DATA_HOME=/var/lib o3 ...");
    return O3_OK;
}

static void parent_of(const char *path, char ret_parent[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    o3_format(ret_parent, PATH_MAX, "%.*s", slash ? (int)(slash > path ? slash - path : 1) : 1, slash ? path : ".");
}

o3_status store_place(const char *path, char **ret_path, o3_err *err)
{
    char full[PATH_MAX], parent[PATH_MAX];
    o3_status status = O3_OK;
    if (!path || !path[0])
        status = default_path(full, sizeof(full), err);
    else /* SQLite gives names like ":memory:" a meaning of their own */
        O3_FORMAT(full, "%s%s", path[0] == ':' ? "./" : "", path);
    if (status != O3_OK)
        return status;
    /* Room for the longest suffix, that of a file moved aside. */
    if (strlen(full) > sizeof(full) - 64)
        return o3_fail(err, O3_E_LIMIT, "the store's path is longer than %zu bytes: choose a shorter XDG_DATA_HOME",
                       sizeof(full) - 64);
    parent_of(full, parent);
    if (!o3_mkdirs(parent, 0700))
        return o3_fail(err, O3_E_IO, "cannot make the directory %s for the store: %s; " ELSEWHERE, parent,
                       strerror(errno));
    *ret_path = o3_strdup(full);
    return O3_OK;
}

/* The file is opened here only when it is new: closing any descriptor of a file drops all POSIX locks that this
 * process holds on it, those of another open store included. */
o3_status store_check_place(const char *path, o3_err *err)
{
    char parent[PATH_MAX];
    struct stat st;
    parent_of(path, parent);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    else if (errno != EEXIST || stat(path, &st))
        return o3_fail(err, O3_E_IO, "cannot make the store %s: %s; " ELSEWHERE, path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        return o3_fail(err, O3_E_IO, "cannot open the store %s: it is %s; move it away, or choose another place with "
                                     "XDG_DATA_HOME", path, S_ISDIR(st.st_mode) ? "a directory" : "no regular file");
    else if (access(path, R_OK | W_OK))
        return o3_fail(err, O3_E_IO, "cannot open the store %s: %s; " ELSEWHERE, path, strerror(errno));
    if (access(parent, W_OK | X_OK)) /* the -wal and -shm files are made there */
        return o3_fail(err, O3_E_IO, "cannot write to the store's directory %s: %s; " ELSEWHERE, parent,
                       strerror(errno));
    return O3_OK;
}

/* Two processes must not both find a file bad (the second would move the first one's fresh file), nor both switch it
 * to WAL (SQLite does not wait there). Where the file system has no locks, we go on without. */
int store_lock(const char *path)
{
    char lock[PATH_MAX];
    O3_FORMAT(lock, "%s.lock", path);
    o3_auto(fd) int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    int64_t give_up_ns = o3_now_ns() + STORE_BUSY_MS * O3_NS_PER_MS;
    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || o3_now_ns() > give_up_ns)
            return -1;
        o3_sleep_ns(LOCK_STEP_NS);
    }
    return o3_take_fd(&fd);
}

static o3_status move_one(const char *path, const char *aside, const char *suffix, o3_err *err)
{
    char from[PATH_MAX], to[PATH_MAX];
    O3_FORMAT(from, "%s%s", path, suffix);
    O3_FORMAT(to, "%s%s", aside, suffix);
    if (rename(from, to) && errno != ENOENT)
        return o3_fail(err, O3_E_IO, "cannot move the store %s aside to %s: %s; move it away yourself", from, to,
                       strerror(errno));
    return O3_OK;
}

static void aside_name(const char *path, char ret_aside[PATH_MAX])
{
    char stamp[32];
    time_t now = (time_t)(o3_unix_ms() / 1000);
    struct tm parts;
    gmtime_r(&now, &parts);
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &parts);
    o3_format(ret_aside, PATH_MAX, "%s.aside-%s", path, stamp);
    /* rename() would overwrite one of the same second. */
    for (int again = 2; !access(ret_aside, F_OK) && again < 1000; again++)
        o3_format(ret_aside, PATH_MAX, "%s.aside-%s-%d", path, stamp, again);
}

o3_status store_set_aside(const char *path, const char *why, o3_notes *notes, o3_err *err)
{
    /* The database last: a kill in between leaves it to be found bad again, and no -wal that SQLite would delete. */
    static const char *const suffixes[] = {"-wal", "-shm", ""};
    char aside[PATH_MAX];
    o3_status status = O3_OK;
    aside_name(path, aside);
    for (int i = 0; i < O3_COUNT(suffixes) && status == O3_OK; i++)
        status = move_one(path, aside, suffixes[i], err);
    if (status == O3_OK)
        o3_note(notes, "the store %s %s; it was moved to %s and a new one was made", path, why, aside);
    return status;
}
