/* SPDX-License-Identifier: Apache-2.0 */
#include "gguf_bytes.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10)

bool gguf_open(gguf_bytes *b, const char *path, o3_err *err)
{
    struct stat st;
    *b = (gguf_bytes){.path = path, .err = err};
    b->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold us up */
    if (b->fd < 0 || fstat(b->fd, &st)) {
        b->status = o3_fail(err, errno == ENOENT ? O3_E_NOT_FOUND : O3_E_IO, "%s cannot be read (%s); name a GGUF file "
                            "that this user may open", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        b->status = o3_fail(err, O3_E_IO, "%s is no regular file; name a GGUF file", path);
    } else {
        b->size = st.st_size;
        b->buffer = o3_alloc(BUFFER_BYTES, 1);
    }
    return !b->status;
}

void gguf_close(gguf_bytes *b)
{
    if (b->fd >= 0)
        close(b->fd);
    free(b->buffer);
    *b = (gguf_bytes){.fd = -1, .status = b->status};
}

bool gguf_failed(const gguf_bytes *b)
{
    return b->status != O3_OK;
}

bool gguf_fail(gguf_bytes *b, const char *fmt, ...)
{
    char text[O3_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (!b->status)
        b->status = o3_fail(b->err, O3_E_PROTOCOL, "%.*s %s", 300, b->path, text);
    return false;
}

static bool fill(gguf_bytes *b)
{
    ssize_t got;
    do
        got = pread(b->fd, b->buffer, BUFFER_BYTES, b->at);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        if (!b->status)
            b->status = o3_fail(b->err, O3_E_IO, "%s cannot be read (%s)", b->path, strerror(errno));
        return false;
    }
    if (got == 0)
        return gguf_fail(b, "ends at byte %lld, in the middle of its header; download it again", (long long)b->at);
    b->buffer_at = b->at;
    b->buffer_len = (size_t)got;
    return true;
}

bool gguf_take(gguf_bytes *b, void *dst, size_t len)
{
    while (len && !b->status) {
        int64_t in = b->at - b->buffer_at;
        if (in < 0 || in >= (int64_t)b->buffer_len) {
            if (!fill(b))
                return false;
            continue;
        }
        size_t part = b->buffer_len - (size_t)in < len ? b->buffer_len - (size_t)in : len;
        memcpy(dst, b->buffer + in, part);
        dst = (char *)dst + part;
        b->at += (int64_t)part;
        len -= part;
    }
    return !b->status;
}

bool gguf_room(gguf_bytes *b, uint64_t count, uint64_t each, const char *what)
{
    uint64_t left = b->at < b->size ? (uint64_t)(b->size - b->at) : 0;
    if (b->status)
        return false;
    if (each && count > left / each)
        return gguf_fail(b, "announces %llu %s at byte %lld, more than its %lld bytes can hold; it is damaged or cut "
                         "short, download it again", (unsigned long long)count, what, (long long)b->at,
                         (long long)b->size);
    return true;
}

bool gguf_skip(gguf_bytes *b, uint64_t len)
{
    if (!gguf_room(b, len, 1, "bytes"))
        return false;
    b->at += (int64_t)len;
    return true;
}

uint32_t gguf_u32(gguf_bytes *b)
{
    uint32_t x = 0;
    return gguf_take(b, &x, sizeof(x)) ? le32toh(x) : 0;
}

uint64_t gguf_u64(gguf_bytes *b)
{
    uint64_t x = 0;
    return gguf_take(b, &x, sizeof(x)) ? le64toh(x) : 0;
}
