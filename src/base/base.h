/* SPDX-License-Identifier: Apache-2.0 */
/* base: the few helpers every room may use: allocation that cannot fail, bounded text buffers, one clock, seeded
 * random numbers, files below a root, units for people. It knows nothing of O3's purpose. */
#ifndef O3_BASE_H
#define O3_BASE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "o3/core.h"

/* Out of memory ends the process with a message (every outside size is bounded first). Zeroed. */
void *o3_alloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *o3_alloc_dirty(size_t size); /* the same, but not zeroed: for what is written before it is read */
char *o3_strdup(const char *text) __attribute__((malloc, returns_nonnull));
/* Copies and cuts at the destination's size; always terminated. */
void o3_copy(char *dst, size_t dst_size, const char *src);
#define O3_COPY(dst, src) o3_copy((dst), sizeof(dst), (src))
void o3_format(char *dst, size_t dst_size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define O3_FORMAT(dst, ...) o3_format((dst), sizeof(dst), __VA_ARGS__)
#define O3_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* Cleanup on scope exit: o3_auto(free) char *p = ...;  hand on with O3_TAKE(p). */
#define o3_auto(kind) __attribute__((cleanup(o3_auto_##kind)))
#define O3_AUTO_DEFINE(kind, type, function)     \
    static inline void o3_auto_##kind(type *p)   \
    {                                            \
        if (*p)                                  \
            function(*p);                        \
    }
#define O3_TAKE(p)                   \
    __extension__({                  \
        __typeof__(p) taken_ = (p);  \
        (p) = NULL;                  \
        taken_;                      \
    })
static inline void o3_auto_free(void *p)
{
    free(*(void **)p);
}
static inline void o3_auto_file(FILE **p)
{
    if (*p)
        fclose(*p);
}
static inline int o3_take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* A growable text that must be given its maximum. Passing it sets `overflow` and keeps what fits. */
typedef struct o3_buf {
    char *data; /* always terminated once anything was added; NULL before */
    size_t len, cap, max;
    bool overflow;
} o3_buf;
#define O3_BUF(max_bytes) ((o3_buf){.max = (max_bytes)})
void o3_buf_add(o3_buf *buf, const void *bytes, size_t len);
void o3_buf_str(o3_buf *buf, const char *text);
void o3_buf_printf(o3_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void o3_buf_clear(o3_buf *buf);
void o3_buf_release(o3_buf *buf);
static inline void o3_auto_buf(o3_buf *buf)
{
    o3_buf_release(buf);
}
const char *o3_buf_text(const o3_buf *buf); /* "" when empty */

/* One clock for all durations: monotonic ns. The simulator puts its own under a thread. */
typedef struct o3_clock {
    int64_t (*now_ns)(void *ctx);
    void (*sleep_ns)(void *ctx, int64_t ns);
    void *ctx;
} o3_clock;
void o3_clock_use(const o3_clock *clock); /* for this thread, from now on; NULL = the real one */
bool o3_clock_simulated(void);
int64_t o3_now_ns(void);          /* monotonic */
void o3_sleep_ns(int64_t ns);
int64_t o3_unix_ms(void);         /* wall time, recorded once per run or trial */
/* Sleeps, or returns early (true) once `cancel` is set. */
bool o3_wait(const o3_cancel *cancel, int64_t ns);
void o3_iso_utc(int64_t unix_ms, char ret_text[32]);
#define O3_NS_PER_S INT64_C(1000000000)
#define O3_NS_PER_MS INT64_C(1000000)

/* splitmix64 / xoshiro256**: one stream per purpose. */
typedef struct o3_rng { uint64_t s[4]; } o3_rng;
void o3_rng_seed(o3_rng *rng, uint64_t seed, uint64_t stream);
uint64_t o3_rng_u64(o3_rng *rng);
uint32_t o3_rng_below(o3_rng *rng, uint32_t bound); /* 0 <= x < bound; bound > 0 */
double o3_rng_unit(o3_rng *rng);                    /* [0, 1) */
uint64_t o3_hash(const void *bytes, size_t len, uint64_t seed); /* FNV-1a mixed; for identities, not security */

/* Files below a root ("/" or a capture). Return -1 / NAN-free -1 on any failure; text is cut at the size. */
int64_t o3_read_text(const char *root, const char *path, char *dst, size_t dst_size); /* bytes read, -1 */
int64_t o3_read_i64(const char *root, const char *path, int64_t missing);
/* Where a symbolic link points, -1 if it is none. In a capture, which has no links, a file with that text. */
int64_t o3_read_link(const char *root, const char *path, char *dst, size_t dst_size);
/* Calls `seen` with all that this thread reads by these functions from now on; NULL = nobody wants to know. */
typedef void (*o3_read_seen)(void *ctx, const char *path, const char *bytes, size_t len);
void o3_read_watch(o3_read_seen seen, void *ctx);
int64_t o3_field_i64(const char *text, const char *key, int64_t missing); /* "key  123 kB" or "key: 123" -> 123 */
bool o3_mkdirs(const char *path, unsigned mode); /* all parents; true if it is there in the end */

/* For people: "315 MiB", "1.5 GiB"; "2:10", "6 min 41 s"; "unknown" for negative or NaN. */
void o3_fmt_bytes(char *dst, size_t dst_size, double bytes);
void o3_fmt_duration(char *dst, size_t dst_size, double seconds);
bool o3_parse_duration(const char *text, double *ret_seconds); /* "90", "90s", "15m", "1h30m", "100ms" */
bool o3_parse_bytes(const char *text, int64_t *ret_bytes);     /* "320M", "4096", "1.5GiB" */
/* The nearest of `names` within a third of its length, or NULL (did you mean). */
const char *o3_nearest(const char *wanted, const char *const *names, int count);

#endif
