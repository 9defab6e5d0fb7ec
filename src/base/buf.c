/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include "base.h"

static bool reserve(o3_buf *buf, size_t more)
{
    if (more > buf->max - buf->len) {
        buf->overflow = true;
        return false;
    }
    size_t need = buf->len + more + 1;
    if (need > buf->cap) {
        size_t cap = buf->cap * 2 > need ? buf->cap * 2 : need + 256;
        char *data = o3_alloc(cap, 1);
        if (buf->len)
            memcpy(data, buf->data, buf->len);
        free(buf->data);
        buf->data = data;
        buf->cap = cap;
    }
    return true;
}

void o3_buf_add(o3_buf *buf, const void *bytes, size_t len)
{
    if (len > buf->max - buf->len) {
        buf->overflow = true;
        len = buf->max - buf->len;
    }
    if (!reserve(buf, len))
        return;
    if (len)
        memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void o3_buf_str(o3_buf *buf, const char *text)
{
    o3_buf_add(buf, text, strlen(text));
}

void o3_buf_printf(o3_buf *buf, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len >= 0 && reserve(buf, (size_t)len)) {
        vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

void o3_buf_clear(o3_buf *buf)
{
    buf->len = 0;
    buf->overflow = false;
    if (buf->data)
        buf->data[0] = '\0';
}

void o3_buf_release(o3_buf *buf)
{
    free(buf->data);
    *buf = O3_BUF(buf->max);
}

const char *o3_buf_text(const o3_buf *buf)
{
    return buf->data ? buf->data : "";
}
