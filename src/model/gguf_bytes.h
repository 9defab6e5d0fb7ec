/* SPDX-License-Identifier: Apache-2.0 */
/* A file read forwards through one buffer. Nothing is mapped, so that a file cut short under us is an error and no
 * signal, and no length is believed before it was held against the bytes that are left. The first failure stays. */
#ifndef O3_GGUF_BYTES_H
#define O3_GGUF_BYTES_H

#include "base/base.h"

typedef struct gguf_bytes {
    const char *path;
    int fd;
    int64_t size, at;    /* of the file; the next byte */
    int64_t buffer_at;   /* where the buffer's first byte lies in the file */
    size_t buffer_len;
    uint8_t *buffer;
    o3_status status;
    o3_err *err;
} gguf_bytes;

bool gguf_open(gguf_bytes *b, const char *path, o3_err *err);
void gguf_close(gguf_bytes *b);
bool gguf_failed(const gguf_bytes *b);
bool gguf_fail(gguf_bytes *b, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* false; "PATH: ..." */
bool gguf_take(gguf_bytes *b, void *dst, size_t len);
bool gguf_skip(gguf_bytes *b, uint64_t len);
/* Little-endian numbers; 0 once something failed. */
uint32_t gguf_u32(gguf_bytes *b);
uint64_t gguf_u64(gguf_bytes *b);
/* Is there room for `count` things of at least `each` bytes? Says what is missing otherwise. */
bool gguf_room(gguf_bytes *b, uint64_t count, uint64_t each, const char *what);

#endif
