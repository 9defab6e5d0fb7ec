/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a capture apart, into a directory of its own that is removed again. It comes from somebody else: nothing of it
 * may lie outside of that directory, and it may not fill the disk. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hardware/archive.h"
#include "hardware/hardware_impl.h"

#define FILES_MAX 65536
#define BYTES_MAX (INT64_C(64) << 20)
#define NAME_BYTES_MAX 1024

typedef struct taking {
    const hw_archive_calls *calls;
    struct archive *archive;
    const char *path, *dir; /* the capture, where it goes */
    int64_t bytes;
    int files;
} taking;

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void o3_replay_close(o3_replay *replay)
{
    if (replay->temporary)
        nftw(replay->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    replay->temporary = false;
}

static o3_status damaged(const taking *t, o3_err *err)
{
    const char *why = t->calls->archive_error_string(t->archive);
    return o3_fail(err, O3_E_IO, "%s is no whole capture (%s); ask for it again", t->path,
                   why ? why : "it ends too early");
}

static bool leads_out(const char *name)
{
    if (*name == '/' || strlen(name) > NAME_BYTES_MAX)
        return true;
    for (const char *part = name; *part; part += strcspn(part, "/"), part += *part == '/') {
        size_t len = strcspn(part, "/");
        if (len == 2 && !strncmp(part, "..", 2))
            return true;
    }
    return false;
}

static o3_status copy_data(taking *t, int fd, const char *name, o3_err *err)
{
    char bytes[65536];
    la_ssize_t got;
    while ((got = t->calls->archive_read_data(t->archive, bytes, sizeof(bytes))) > 0) {
        t->bytes += got;
        if (t->bytes > BYTES_MAX)
            return o3_fail(err, O3_E_LIMIT, "%s unpacks to more than %lld MiB; captures are far smaller", t->path,
                           (long long)(BYTES_MAX >> 20));
        if (write(fd, bytes, (size_t)got) != got)
            return o3_fail(err, O3_E_IO, "%s of %s cannot be written to %s: %s", name, t->path, t->dir, strerror(errno));
    }
    return got < 0 ? damaged(t, err) : O3_OK;
}

static o3_status take_file(taking *t, const char *name, o3_err *err)
{
    char full[PATH_MAX], folder[PATH_MAX];
    O3_FORMAT(full, "%s/%s", t->dir, name);
    O3_COPY(folder, full);
    *strrchr(folder, '/') = '\0';
    int fd = o3_mkdirs(folder, 0700) ? open(full, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return o3_fail(err, errno == EEXIST || errno == ENOTDIR || errno == EISDIR ? O3_E_CONFIG : O3_E_IO,
                       "%s of %s cannot be taken out: %s", name, t->path, strerror(errno));
    o3_status status = copy_data(t, fd, name, err);
    close(fd);
    return status;
}

static o3_status take_entry(taking *t, struct archive_entry *entry, o3_err *err)
{
    const char *name = t->calls->archive_entry_pathname(entry);
    if (!name || !*name || leads_out(name))
        return o3_fail(err, O3_E_CONFIG, "%s holds a name that leads out of it (%.80s); it is no capture of o3", t->path,
                       name ? name : "none");
    if (t->calls->archive_entry_filetype(entry) == AE_IFDIR)
        return O3_OK; /* made when a file needs it */
    if (t->calls->archive_entry_filetype(entry) != AE_IFREG || t->calls->archive_entry_hardlink(entry))
        return o3_fail(err, O3_E_CONFIG, "%s holds %.80s, which is no plain file; it is no capture of o3", t->path, name);
    if (++t->files > FILES_MAX)
        return o3_fail(err, O3_E_LIMIT, "%s holds more than %d files; captures have far fewer", t->path, FILES_MAX);
    return take_file(t, name, err);
}

static o3_status take_all(taking *t, o3_err *err)
{
    const hw_archive_calls *c = t->calls;
    struct archive_entry *entry;
    int code = ARCHIVE_FATAL;
    o3_status status = O3_OK;
    t->archive = c->archive_read_new();
    if (!t->archive || c->archive_read_support_filter_gzip(t->archive) < ARCHIVE_WARN ||
        c->archive_read_support_format_tar(t->archive) < ARCHIVE_WARN)
        status = o3_fail(err, O3_E_IMPOSSIBLE, "this libarchive reads no .tar.gz, so %s cannot be looked into", t->path);
    else if (c->archive_read_open_filename(t->archive, t->path, 65536) != ARCHIVE_OK)
        status = damaged(t, err);
    while (!status && (code = c->archive_read_next_header(t->archive, &entry)) == ARCHIVE_OK)
        status = take_entry(t, entry, err);
    if (!status && (code != ARCHIVE_EOF || !t->files))
        status = damaged(t, err);
    if (t->archive)
        c->archive_read_free(t->archive);
    return status;
}

o3_status o3_replay_open(o3_replay *ret_replay, const char *path, o3_err *err)
{
    o3_replay replay = {.temporary = true};
    hw_archive_calls calls;
    struct stat st;
    if (stat(path, &st))
        return o3_fail(err, errno == ENOENT ? O3_E_NOT_FOUND : O3_E_IO, "%s cannot be opened: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        if (strlen(path) >= sizeof(replay.root))
            return o3_fail(err, O3_E_LIMIT, "%.60s...: the name is too long (%zu bytes are the most)", path,
                           sizeof(replay.root) - 1);
        O3_COPY(ret_replay->root, path);
        ret_replay->temporary = false;
        return O3_OK;
    }
    o3_status status = hw_archive_load(&calls, err);
    if (status)
        return status;
    const char *temporary = getenv("TMPDIR");
    O3_FORMAT(replay.root, "%.200s/o3-capture-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(replay.root))
        return o3_fail(err, O3_E_IO, "no directory can be made below %s to take %s apart: %s", replay.root, path,
                       strerror(errno));
    taking t = {.calls = &calls, .path = path, .dir = replay.root};
    status = take_all(&t, err);
    if (status)
        o3_replay_close(&replay);
    else
        *ret_replay = replay;
    return status;
}
