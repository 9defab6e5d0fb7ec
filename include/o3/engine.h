/* SPDX-License-Identifier: Apache-2.0 */
/* engine: the only room that speaks to an inference server. A handful of calls behind one table of functions, so
 * that another server is one more file; ollama.c is the first. It sends and reads the wire, tells facts with the
 * words of o3_outcome, and decides nothing. All calls end early when `cancel` is set. One engine = one thread. */
#ifndef O3_ENGINE_H
#define O3_ENGINE_H

#include <jansson.h>

#include "trial.h"

typedef struct o3_engine o3_engine;
struct o3_buf; /* base/base.h */

/* What this server can do, from its version and from probing. */
typedef struct o3_engine_caps {
    char version[32];        /* "0.32.15"; "unknown" */
    bool truncate_flag;      /* `truncate:false` refuses an over-long prompt instead of cutting it */
    bool refusal_counts;     /* the refusal names the exact token count */
    bool llama_server;       /* runner is llama-server: LLAMA_ARG_*, command line, host prompt cache */
} o3_engine_caps;

typedef struct o3_engine_model {
    char name[O3_NAME_MAX];
    char digest[80];
    int64_t size_bytes;
    char family[64], parameter_size[32], quantization[32], format[32];
    bool remote; /* a cloud name: never measured */
} o3_engine_model;

typedef struct o3_engine_loaded {
    char name[O3_NAME_MAX];
    char digest[80];
    int64_t size_bytes, size_vram_bytes, context_length; /* -1 if absent */
} o3_engine_loaded;

#define O3_LIST_MAX 2048
typedef struct o3_engine_models {
    int count, left_out; /* left_out: models past O3_LIST_MAX */
    o3_engine_model items[O3_LIST_MAX];
} o3_engine_models;
typedef struct o3_engine_loads {
    int count;
    o3_engine_loaded items[32];
} o3_engine_loads;

typedef struct o3_generate {
    const char *model;
    /* Writes the prompt the moment it is sent: text number `seed`, cut to about `chars`. NULL: load only. */
    void (*prompt)(struct o3_buf *ret_text, uint64_t seed, size_t chars);
    uint64_t prompt_seed;
    size_t prompt_chars;
    o3_knobs knobs;         /* unset knobs are not sent */
    int32_t num_predict;    /* >= 1 */
    double temperature;
    uint64_t seed;
    const char *keep_alive; /* "10m" */
    int64_t deadline_ns;    /* for the whole request; 0 = none */
    o3_cancel *cancel;      /* may be NULL */
    void (*on_wait)(void *ctx); /* about once a second while it runs; may be NULL */
    void *ctx;
} o3_generate;

typedef struct o3_reply {
    o3_outcome outcome;      /* OK, or why not; never a reason to lose the rest */
    char error[O3_TEXT_MAX]; /* the engine's text, one line; "" if none */
    int http_status;         /* 0 if no answer */
    bool done;               /* a final object with done:true came */
    char done_reason[24];
    int64_t refused_tokens;  /* exact size named by a refusal; -1 if none */
    int64_t prompt_tokens, eval_tokens;                            /* -1 if absent */
    int64_t load_ns, prompt_eval_ns, eval_ns, total_ns;            /* -1 if absent */
    int64_t ttft_ns, wall_ns; /* client clock; ttft_ns -1 if no token came */
    size_t prompt_chars;     /* characters of the prompt that was sent; 0 if none */
    int chunks;               /* non-empty ones; not a token count */
} o3_reply;

typedef struct o3_runner {
    int pid;             /* -1 not found */
    o3_knobs in_force;   /* from its command line; O3_UNSET where it does not say */
    int32_t parallel;    /* -np; -1 unknown */
    char kv_type[16], flash_attn[8]; /* "" unknown */
} o3_runner;

typedef void (*o3_progress_fn)(void *ctx, const char *status, int64_t done_bytes, int64_t total_bytes);

/* `url` as OLLAMA_HOST allows it (host, host:port, scheme). No traffic yet. */
O3_NODISCARD o3_status o3_engine_open(o3_engine **ret_engine, const char *url, o3_err *err);
void o3_engine_close(o3_engine *engine); /* NULL is fine */
/* Calls that only ask (version, list, show) return O3_E_CANCELLED once `cancel` is set; it outlives the engine. */
void o3_engine_interruptible(o3_engine *engine, o3_cancel *cancel);
const char *o3_engine_url(const o3_engine *engine);
bool o3_engine_is_local(const o3_engine *engine); /* loopback address */
int o3_engine_port(const o3_engine *engine);

/* Who answers? O3_E_UNAVAILABLE nobody, O3_E_PROTOCOL somebody who is no Ollama. Cached after the first call. */
O3_NODISCARD o3_status o3_engine_caps_read(o3_engine *engine, o3_engine_caps *ret_caps, o3_err *err);
O3_NODISCARD o3_status o3_engine_list(o3_engine *engine, o3_engine_models *ret_models, o3_err *err);
/* The /api/show answer as JSON; the caller json_decref()s it. O3_E_NOT_FOUND names near matches. */
O3_NODISCARD o3_status o3_engine_show(o3_engine *engine, const char *model, json_t **ret_show, o3_err *err);
/* The same with its per-layer arrays (Ollama's verbose answer), without the vocabulary's: for where o3_model_wants_arrays
 * and the file cannot be read. Much slower: the server sends tens of MB. */
O3_NODISCARD o3_status o3_engine_show_arrays(o3_engine *engine, const char *model, json_t **ret_show, o3_err *err);
O3_NODISCARD o3_status o3_engine_loads_read(o3_engine *engine, o3_engine_loads *ret_loads, o3_err *err);

/* One streamed request. O3_OK whenever an o3_reply could be made, whatever its outcome. */
O3_NODISCARD o3_status o3_engine_generate(o3_engine *engine, const o3_generate *request, o3_reply *ret_reply,
                                          o3_err *err);
/* Asks for the unload and waits until /api/ps no longer lists the model (up to timeout_ns). */
O3_NODISCARD o3_status o3_engine_unload(o3_engine *engine, const char *model, int64_t timeout_ns, o3_err *err);
/* The runner of `model`: the child of the server whose command line names its blob, else its only runner. */
O3_NODISCARD o3_status o3_engine_runner(o3_engine *engine, int server_pid, const char *blob_path,
                                        o3_runner *ret_runner, o3_err *err);

O3_NODISCARD o3_status o3_engine_create(o3_engine *engine, const char *name, const char *from,
                                        const o3_knobs *parameters, o3_err *err);
O3_NODISCARD o3_status o3_engine_delete(o3_engine *engine, const char *name, o3_err *err);
O3_NODISCARD o3_status o3_engine_pull(o3_engine *engine, const char *name, o3_cancel *cancel,
                                      o3_progress_fn progress, void *ctx, o3_err *err);

/* ---- Ollama's log, with its runner's lines in it: what the last load came to. log.c */
typedef struct o3_log_facts {
    int loads;                       /* weights that were opened */
    double model_bytes, kv_bytes, compute_bytes; /* buffers of the last load, over all devices; NaN unknown */
    double host_bytes;               /* of them in the host's memory; NaN unknown */
    int layers, layers_offloaded;    /* output layer included; -1 unknown (no GPU) */
    int slots;                       /* -1 unknown */
    char kv_type[16], flash[16];     /* "q8_0"; "enabled", "disabled", "auto"; "" unknown */
    int64_t prompt_cache_bytes;      /* its limit; 0 off, -1 unknown */
    int64_t fit_target_bytes;        /* what the automatic placement leaves free; -1 unknown */
    char error[O3_TEXT_MAX];         /* its last error, else its last line; "" if it is empty */
} o3_log_facts;
void o3_log_read(const char *text, o3_log_facts *ret_facts);

/* ---- A private server: `ollama serve` of the user's own binary on a free loopback port, to try what is set for a whole
 * server. It reads the user's model store and writes nothing there, has a folder of its own for its log, and ends with
 * us, whatever ends us. private.c */
typedef struct o3_private o3_private;
typedef struct o3_private_options {
    const char *exe;         /* the binary; NULL or "": `ollama` on PATH */
    int like_pid;            /* the user's server, whose environment is taken over; -1 or not readable: ours, without
                                what is set for Ollama */
    const char *models;      /* the model store; NULL or "": as that environment says, else its HOME/.ollama/models */
    const char *model_file;  /* must be readable, or nothing can be loaded; NULL or "": not known */
    const char *cgroup_dir;  /* memory cgroup to live in, as o3_cgroup.dir; NULL or "": ours */
    const char *settings;    /* "K=V\n" laid over the environment; "K=\n" takes K away */
    int64_t timeout_ns;      /* until it answers; 0 = 60 s (finding GPUs takes a while) */
    o3_cancel *cancel;       /* ends the wait; may be NULL */
} o3_private_options;
/* Returns once it answers. O3_E_NOT_FOUND no binary or no store, O3_E_IMPOSSIBLE not allowed to run or read it,
 * O3_E_IO no folder for its log, O3_E_ENGINE it ended or never answered (with its own words), O3_E_CANCELLED. */
O3_NODISCARD o3_status o3_private_start(o3_private **ret_server, const o3_private_options *options, o3_err *err);
/* TERM to it, KILL to what is left of its process group after 5 s; returns when all of it is gone. NULL is fine. */
void o3_private_stop(o3_private *server);
o3_engine *o3_private_engine(o3_private *server); /* the server's: closed with it */
int o3_private_pid(const o3_private *server);
bool o3_private_joined(const o3_private *server); /* it lives in the cgroup that was asked for */
void o3_private_log(const o3_private *server, o3_log_facts *ret_facts);
/* "" while it runs; else how it ended and its last words. */
void o3_private_end(o3_private *server, char *dst, size_t size);

#endif
