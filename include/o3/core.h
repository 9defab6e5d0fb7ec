/* SPDX-License-Identifier: Apache-2.0 */
/* O3 core: what every other header speaks in: status and error, cancellation, the missing value.
 *
 * Conventions of the whole library:
 *  - every fallible function returns o3_status and takes `o3_err *err` last (may be NULL);
 *    outputs named ret_x are set only on O3_OK;
 *  - units are in names: _ns, _ms, _bytes, _tokens, _per_s, _frac (0..1), _c (degrees Celsius);
 *  - missing is NaN (doubles), O3_UNSET (knobs) or -1 (counts and bytes that cannot be negative); never 0;
 *  - structs are plain, valid when zeroed unless said otherwise, and owned by the caller. */
#ifndef O3_CORE_H
#define O3_CORE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define O3_VERSION "0.1.0"

/* X(code, exit status, text). Codes say what the caller can do. */
#define O3_STATUS_MAP(X)                                                       \
    X(O3_OK, 0, "success")                                                     \
    X(O3_E_INTERNAL, 1, "internal error")                                      \
    X(O3_E_IO, 1, "input/output error")                                        \
    X(O3_E_ENGINE, 1, "the engine reported an error")                          \
    X(O3_E_USAGE, 2, "usage error")                                            \
    X(O3_E_CONFIG, 2, "invalid configuration")                                 \
    X(O3_E_LIMIT, 2, "input exceeds a limit")                                  \
    X(O3_E_NOT_FOUND, 3, "not found")                                          \
    X(O3_E_UNAVAILABLE, 4, "server unreachable or busy")                       \
    X(O3_E_PROTOCOL, 4, "the server does not answer like an Ollama")           \
    X(O3_E_GATE, 5, "a gate or finding")                                       \
    X(O3_E_UNSAFE, 6, "stopped by a safety limit with nothing proven")         \
    X(O3_E_CANCELLED, 7, "interrupted, results kept")                          \
    X(O3_E_IMPOSSIBLE, 8, "not possible here")

typedef enum o3_status {
#define O3_STATUS_ENUM(code, exit_status, text) code,
    O3_STATUS_MAP(O3_STATUS_ENUM)
#undef O3_STATUS_ENUM
} o3_status;

#define O3_NODISCARD __attribute__((warn_unused_result))

typedef struct o3_err {
    o3_status status;
    char message[768]; /* one sentence: the thing, the bad value, what to do next */
} o3_err;

/* Writes the text at the cause and returns `status`. */
o3_status o3_fail(o3_err *err, o3_status status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "context: " in front of the text already in err and returns its status (or `status` if err is NULL). */
o3_status o3_fail_in(o3_err *err, o3_status status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int o3_status_exit(o3_status status);         /* process exit status of the design */
const char *o3_status_text(o3_status status); /* static text */

/* A cancel token: set once, from any thread or a signal handler; wakes whoever polls its fd.
 * The first reason wins. `reason` is one of the texts below (static strings only). */
typedef struct o3_cancel o3_cancel;
typedef enum o3_cancel_reason {
    O3_CANCEL_NONE = 0,
    O3_CANCEL_USER,      /* Ctrl-C, TERM */
    O3_CANCEL_SAFETY,    /* the monitor saw a limit */
    O3_CANCEL_BUDGET,    /* the run's time is over in the middle of a request */
} o3_cancel_reason;
o3_cancel *o3_cancel_new(void);
void o3_cancel_free(o3_cancel *cancel);
void o3_cancel_set(o3_cancel *cancel, o3_cancel_reason reason); /* async-signal-safe */
o3_cancel_reason o3_cancel_get(const o3_cancel *cancel);        /* O3_CANCEL_NONE if not set or NULL */
void o3_cancel_clear(o3_cancel *cancel, o3_cancel_reason only); /* clears if set for this reason */
int o3_cancel_fd(const o3_cancel *cancel);                      /* readable once set; -1 if cancel is NULL */

#define O3_NAME_MAX 256 /* model names, with their terminating 0 */
#define O3_TEXT_MAX 384 /* one sentence for a person */
#define O3_NOTES_MAX 32
#define O3_POOLS_MAX 18

/* Degradations and facts that are not errors ("no temperature sensor"): they travel with the document. */
typedef struct o3_notes {
    int count;
    char text[O3_NOTES_MAX][O3_TEXT_MAX];
} o3_notes;
void o3_note(o3_notes *notes, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* once per text */

/* low/mid/high: of a prediction its 90 % interval, of a measurement its 95 % confidence interval. */
typedef struct o3_range {
    double low, mid, high;
} o3_range;

#endif
