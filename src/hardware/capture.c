/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps what is read while a profile is made, and writes it masked. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "hardware/archive.h"
#include "hardware/hardware_impl.h"

#define FILES_MAX 32768
#define BYTES_MAX (INT64_C(32) << 20)

typedef struct kept_file {
    char *path, *bytes; /* terminated behind len */
    size_t len;
    int order;
} kept_file;

struct o3_capture {
    kept_file *files;
    int count, room;
    int64_t bytes;
    bool full;
    hw_mask_names names;
};

static void keep(void *ctx, const char *path, const char *bytes, size_t len)
{
    o3_capture *capture = ctx;
    if (hw_mask_rule_of(path) == HW_MASK_DROP)
        return;
    capture->full |= capture->count == FILES_MAX || capture->bytes + (int64_t)len > BYTES_MAX;
    if (capture->full)
        return;
    if (capture->count == capture->room) {
        kept_file *larger = o3_alloc((size_t)(capture->room = 2 * capture->room + 64), sizeof(*larger));
        if (capture->count)
            memcpy(larger, capture->files, (size_t)capture->count * sizeof(*larger));
        free(capture->files);
        capture->files = larger;
    }
    kept_file *file = &capture->files[capture->count];
    *file = (kept_file){.path = o3_strdup(path), .bytes = o3_alloc(1, len + 1), .len = len, .order = capture->count++};
    memcpy(file->bytes, bytes, len);
    capture->bytes += (int64_t)len;
}

o3_capture *o3_capture_begin(void)
{
    o3_capture *capture = o3_alloc(1, sizeof(*capture));
    o3_read_watch(keep, capture);
    return capture;
}

void o3_capture_free(o3_capture *capture)
{
    o3_read_watch(NULL, NULL);
    for (int i = 0; capture && i < capture->count; i++) {
        free(capture->files[i].path);
        free(capture->files[i].bytes);
    }
    if (capture)
        free(capture->files);
    free(capture);
}

void o3_capture_mask(o3_capture *capture, o3_profile *profile)
{
    static const char *const users[] = {"USER", "LOGNAME", "SUDO_USER"};
    hw_mask_name(&capture->names, profile->hostname);
    hw_mask_name(&capture->names, profile->engine_user);
    for (int i = 0; i < O3_COUNT(users); i++) {
        const char *name = getenv(users[i]);
        hw_mask_name(&capture->names, name ? name : "");
    }
    hw_mask_profile(profile, &capture->names);
}

o3_status hw_archive_load(hw_archive_calls *ret_calls, o3_err *err)
{
    void *library = dlopen("libarchive.so.13", RTLD_NOW | RTLD_LOCAL);
    hw_archive_calls calls;
    if (!library)
        return o3_fail(err, O3_E_IMPOSSIBLE,
                       "captures need libarchive 3, which cannot be loaded here (%s); install libarchive13", dlerror());
#define HW_ARCHIVE_FIND(name)                                                                             \
    if (!(*(void **)(void *)&calls.name = dlsym(library, #name)))                                          \
        return o3_fail(err, O3_E_IMPOSSIBLE, "libarchive has no " #name "; captures need version 3.3 or later");
    HW_ARCHIVE_CALLS(HW_ARCHIVE_FIND)
#undef HW_ARCHIVE_FIND
    *ret_calls = calls;
    return O3_OK;
}

/* Of several readings of a file the longest, and of those the last. */
static int by_path(const void *a, const void *b)
{
    const kept_file *x = a, *y = b;
    int paths = strcmp(x->path, y->path);
    if (paths)
        return paths;
    return x->len != y->len ? (x->len < y->len) - (x->len > y->len) : y->order - x->order;
}

static bool write_file(const hw_archive_calls *calls, struct archive *archive, const char *path, const char *bytes,
                       size_t len)
{
    struct archive_entry *entry = calls->archive_entry_new();
    bool good = entry != NULL;
    if (good) {
        calls->archive_entry_set_pathname(entry, path);
        calls->archive_entry_set_size(entry, (int64_t)len);
        calls->archive_entry_set_filetype(entry, AE_IFREG);
        calls->archive_entry_set_perm(entry, 0644);
        good = calls->archive_write_header(archive, entry) == ARCHIVE_OK &&
               calls->archive_write_data(archive, bytes, len) == (la_ssize_t)len;
        calls->archive_entry_free(entry);
    }
    return good;
}

static bool write_all(const hw_archive_calls *calls, struct archive *archive, o3_capture *capture, const char *document,
                      int *ret_files)
{
    const char *before = "";
    bool good = write_file(calls, archive, O3_CAPTURE_DOCUMENT, document, strlen(document));
    qsort(capture->files, (size_t)capture->count, sizeof(capture->files[0]), by_path);
    *ret_files = 1;
    for (int i = 0; i < capture->count && good; i++) {
        kept_file *file = &capture->files[i];
        bool again = !strcmp(file->path, before);
        before = file->path;
        if (again)
            continue;
        char path[PATH_MAX];
        O3_COPY(path, file->path + 1); /* no slash in front */
        if (!strncmp(path, "sys/fs/cgroup/", 14))
            hw_mask_text(path, &capture->names);
        size_t len = hw_mask_file(file->path, file->bytes, file->len, &capture->names);
        good = write_file(calls, archive, path, file->bytes, len);
        ++*ret_files;
    }
    return good;
}

o3_status o3_capture_write(o3_capture *capture, const char *file, const char *document, bool force, int *ret_files,
                           o3_err *err)
{
    hw_archive_calls calls;
    o3_read_watch(NULL, NULL);
    if (capture->full)
        return o3_fail(err, O3_E_LIMIT, "this machine's files are more than a capture holds (%d files, %lld MiB)",
                       FILES_MAX, (long long)(BYTES_MAX >> 20));
    o3_status status = hw_archive_load(&calls, err);
    if (status)
        return status;
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL), 0600);
    if (fd < 0 && errno == EEXIST)
        return o3_fail(err, O3_E_USAGE, "%s is there already; name another file or give --force", file);
    if (fd < 0)
        return o3_fail(err, O3_E_IO, "%s cannot be written: %s", file, strerror(errno));
    struct archive *archive = calls.archive_write_new();
    bool good = archive && calls.archive_write_add_filter_gzip(archive) == ARCHIVE_OK &&
                calls.archive_write_set_format_pax_restricted(archive) == ARCHIVE_OK &&
                calls.archive_write_open_fd(archive, fd) == ARCHIVE_OK &&
                write_all(&calls, archive, capture, document, ret_files) &&
                calls.archive_write_close(archive) == ARCHIVE_OK;
    const char *why = archive && !good ? calls.archive_error_string(archive) : NULL;
    if (!good) {
        status = o3_fail(err, O3_E_IO, "%s cannot be written: %s", file, why ? why : "libarchive does not say why");
        unlink(file);
    }
    if (archive)
        calls.archive_write_free(archive);
    close(fd);
    return status;
}
