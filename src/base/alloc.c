/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <unistd.h>

#include "base.h"

void *o3_alloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p) {
        static const char text[] = "o3: out of memory\n";
        if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
            _exit(1);
        _exit(1);
    }
    return p;
}

void *o3_alloc_dirty(size_t size)
{
    void *p = malloc(size ? size : 1);
    return p ? p : o3_alloc(1, size); /* says it and ends */
}

char *o3_strdup(const char *text)
{
    size_t len = strlen(text);
    char *copy = o3_alloc(len + 1, 1);
    memcpy(copy, text, len);
    return copy;
}

void o3_copy(char *dst, size_t dst_size, const char *src)
{
    size_t len = strnlen(src, dst_size - 1);
    memmove(dst, src, len);
    dst[len] = '\0';
}

void o3_format(char *dst, size_t dst_size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(dst, dst_size, fmt, args);
    va_end(args);
}
