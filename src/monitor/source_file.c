/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "monitor/source_file.h"

void source_reopen(source_file *file)
{
    source_close(file);
    if (*file->path)
        file->fd = open(file->path, O_RDONLY | O_CLOEXEC);
}

void source_open(source_file *file, const char *root, const char *dir, const char *name)
{
    file->fd = -1;
    file->path[0] = '\0';
    if (strlen(root) + strlen(dir) + strlen(name) + 2 > sizeof(file->path))
        return;
    O3_FORMAT(file->path, "%s%s/%s", root, dir, name);
    source_reopen(file);
}

void source_close(source_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* Files of /proc that are longer than a page come in pieces of nearly a page: read on to the end. A smaller piece is
 * the last; asking again would double the calls of a tick. */
#define LAST_PIECE_BELOW 2048

bool source_fd_read(int fd, char *text, size_t size)
{
    size_t got = 0;
    ssize_t n = fd < 0 ? -1 : LAST_PIECE_BELOW;
    while (n >= LAST_PIECE_BELOW && got < size - 1) {
        n = pread(fd, text + got, size - 1 - got, (off_t)got);
        got += n > 0 ? (size_t)n : 0;
    }
    text[got] = '\0';
    return got > 0 && n >= 0;
}

bool source_read(source_file *file, char *text, size_t size)
{
    if (source_fd_read(file->fd, text, size))
        return true;
    source_reopen(file);
    return source_fd_read(file->fd, text, size);
}

int64_t source_i64(source_file *file)
{
    char text[64], *end;
    if (!source_fd_read(file->fd, text, sizeof(text)))
        return -1;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return errno || end == text || value < 0 ? -1 : (int64_t)value;
}
