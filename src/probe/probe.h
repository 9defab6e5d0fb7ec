/* SPDX-License-Identifier: Apache-2.0 */
/* probe: sends the requests of one load and turns each reply into a sample. It sizes prompts in tokens, knows which
 * part of a prompt was cached, marks what was disturbed, and ends a trial the moment its outcome is clear. It never
 * decides what to try. Texts are varied prose from a seeded generator; word lists set off the repeat guard. */
#ifndef O3_PROBE_H
#define O3_PROBE_H

#include "base/base.h"
#include "monitor/monitor.h"
#include "o3/config.h"
#include "o3/engine.h"
#include "o3/model.h"

#define PROBE_DECODE_TOKENS 32   /* of one decode sample; below 16 a rate says nothing */
#define PROBE_DECODE_MIN_TOKENS 16
#define PROBE_DISTURBED_FRAC 0.10 /* foreign share of the usable CPUs that spoils a sample */
#define PROBE_QUIET_NS (300 * O3_NS_PER_MS) /* that it is looked for in before a sample */
#define PROBE_QUIET_WAITS 10 /* of 100 ms for a quiet moment; then none until a sample was quiet */

typedef struct probe {
    /* given; all outlive the probe */
    o3_engine *engine;
    const o3_engine_caps *caps;
    const o3_model *model;
    const o3_config *config;
    const o3_profile *profile;
    o3_monitor *monitor;         /* NULL: no local sensors */
    o3_cancel *cancel;
    int server_pid;              /* -1 unknown */
    uint64_t seed;
    bool prompt_cache;           /* the server keeps old prompts in RAM */
    int64_t cache_bytes_per_token;
    double prefill_per_s, decode_per_s; /* slowest rates to expect: for deadlines */
    o3_status (*on_sample)(void *ctx, o3_trial *trial, o3_sample *sample, o3_err *err); /* an error ends the run */
    void (*on_wait)(void *ctx);  /* about once a second while a request runs */
    void *ctx;
    /* its state */
    o3_runner runner;
    int64_t load_ns;             /* what the load took, by our clock */
    double chars_per_token;      /* measured; 4.0 before */
    bool counted;                /* an engine's count stands behind it */
    uint64_t texts;              /* texts begun */
    uint64_t text_seed;          /* of the current text */
    size_t text_chars;           /* sent of it and evaluated */
    int64_t text_tokens;         /* the engine's count for that */
    int64_t window_tokens;       /* num_ctx in force */
    int waits;                   /* for a quiet moment, since the last quiet sample */
    double foreign_before;       /* share of the CPUs that others had just before the sample; NaN unknown */
    double foreign_during;       /* and in all of it; NaN also where it was too short to tell */
    bool peaks_frozen;           /* samples no longer raise the trial's peaks */
    double last_decode_per_s;    /* of the previous, shallower depth in this load; NaN */
    int64_t last_depth_tokens;
} probe;

/* All return O3_OK as long as the run can go on; trial->outcome and ->reason tell how it went. O3_E_CANCELLED (user),
 * O3_E_UNAVAILABLE (server gone) and O3_E_NOT_FOUND (model gone) end the run. */

/* Unloads what is there, loads trial->asked, reads back what is in force: clamps, spills, sizes. */
O3_NODISCARD o3_status probe_load(probe *p, o3_trial *trial, o3_err *err);
/* A text unique from its first token, `tokens` long: prefill and TTFT. Reloads first where the prompt cache would
 * grow past the safe size. */
O3_NODISCARD o3_status probe_fresh(probe *p, o3_trial *trial, int64_t tokens, o3_err *err);
/* Grows the current text to `tokens` (starts one in a fresh load). `fill`: aim at the whole window exactly. */
O3_NODISCARD o3_status probe_grow(probe *p, o3_trial *trial, int64_t tokens, bool fill, o3_err *err);
/* The current text again: decode at its depth. */
O3_NODISCARD o3_status probe_again(probe *p, o3_trial *trial, o3_err *err);
/* The cancel token was set outside a request: unloads, judges the trial, re-arms the sensors. */
O3_NODISCARD o3_status probe_stopped(probe *p, o3_trial *trial, o3_err *err);
/* Unloads after a stop or an end. */
O3_NODISCARD o3_status probe_unload(probe *p, o3_err *err);

/* The first `chars` of text number `seed`, cut back to the end of a word; a longer one begins with the shorter. */
void probe_text(o3_buf *ret_text, uint64_t seed, size_t chars);

/* Deadline of a request by the configuration's formula, never below twice the expected time. */
int64_t probe_deadline_ns(const probe *p, int64_t num_ctx, int64_t num_batch, int64_t new_tokens, int64_t eval_tokens);

#endif
