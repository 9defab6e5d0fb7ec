/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of engine/: the table an engine fills, and the HTTP client below it. */
#ifndef O3_ENGINE_IMPL_H
#define O3_ENGINE_IMPL_H

#include "base/base.h"
#include "o3/engine.h"

typedef struct http_client http_client;

typedef enum http_end {
    HTTP_DONE,      /* an answer came whole */
    HTTP_REFUSED,   /* nobody listens, name unknown, no route */
    HTTP_CANCELLED, /* the token was set */
    HTTP_DEADLINE,
    HTTP_LOST,      /* broke off in the middle */
    HTTP_TOO_LARGE, /* more than max_body */
} http_end;

typedef struct http_request {
    const char *method, *path; /* "POST", "/api/show" */
    const char *body;          /* NULL: none */
    o3_cancel *cancel;
    int64_t deadline_ns;       /* duration; 0 = none */
    size_t max_body;           /* of the kept body; 0 = 8 MiB */
    /* Streamed instead of kept, if not NULL: called with the moment the bytes were read; false ends the transfer. */
    bool (*on_bytes)(void *ctx, int64_t now_ns, const char *bytes, size_t len);
    void (*on_wait)(void *ctx); /* about once a second; may be NULL */
    void *ctx, *wait_ctx;
} http_request;

typedef struct http_answer {
    http_end end;
    int status;              /* 0 if none came */
    char content_type[64];
    char error[256];         /* curl's words */
    int64_t sent_ns, end_ns; /* monotonic: just before the request is handed to the socket; after the last byte */
    o3_buf body;
} http_answer;

http_client *http_open(const char *url, bool local);
void http_close(http_client *client);
void http_run(http_client *client, const http_request *request, http_answer *ret_answer);
void http_answer_release(http_answer *answer);

struct engine_ops {
    const char *name;
    o3_status (*caps)(o3_engine *, o3_engine_caps *, o3_err *);
    o3_status (*runner)(o3_engine *, int server_pid, const char *blob_path, o3_runner *, o3_err *);
    o3_status (*list)(o3_engine *, o3_engine_models *, o3_err *);
    o3_status (*show)(o3_engine *, const char *model, json_t **, o3_err *);
    o3_status (*show_arrays)(o3_engine *, const char *model, json_t **, o3_err *);
    o3_status (*loads)(o3_engine *, o3_engine_loads *, o3_err *);
    o3_status (*generate)(o3_engine *, const o3_generate *, o3_reply *, o3_err *);
    o3_status (*unload)(o3_engine *, const char *model, int64_t timeout_ns, o3_err *);
    o3_status (*create)(o3_engine *, const char *name, const char *from, const o3_knobs *, o3_err *);
    o3_status (*remove)(o3_engine *, const char *name, o3_err *);
    o3_status (*pull)(o3_engine *, const char *name, o3_cancel *, o3_progress_fn, void *ctx, o3_err *);
};

struct o3_engine {
    const struct engine_ops *ops;
    char url[O3_NAME_MAX + 64], where[O3_NAME_MAX + 16]; /* "http://127.0.0.1:11434", "127.0.0.1:11434" */
    bool local;
    int port;
    http_client *http;
    o3_cancel *cancel; /* ends calls that only ask; not owned; NULL = none */
    bool caps_known;
    o3_engine_caps caps;
};

extern const struct engine_ops engine_ollama;
/* By the process tree below the server (runner.c). */
o3_status runner_find(o3_engine *engine, int server_pid, const char *blob_path, o3_runner *ret_runner, o3_err *err);
/* /api/show. With on_bytes the answer is streamed to it and *ret_show is NULL. */
o3_status ollama_show(o3_engine *engine, const char *model, bool verbose,
                      bool (*on_bytes)(void *ctx, int64_t now_ns, const char *bytes, size_t len), void *ctx,
                      json_t **ret_show, o3_err *err);
o3_status ollama_show_arrays(o3_engine *engine, const char *model, json_t **ret_show, o3_err *err);
/* JSON text in, wherever it is split; out the same, with null for each array that a key "tokenizer..." names. */
typedef struct arrays_filter {
    o3_buf out;
    size_t depth;           /* of the brackets inside an array that is cut; 0 = passing */
    int matched;            /* characters of "tokenizer." that the last string began with; -1 another string */
    bool string, escaped, after_key;
} arrays_filter;
arrays_filter arrays_filter_new(size_t max_bytes);
bool arrays_filter_add(arrays_filter *filter, const char *bytes, size_t len); /* false: more than max_bytes passed */
/* One streamed generate over HTTP (ollama_stream.c). */
o3_status ollama_generate(o3_engine *engine, const o3_generate *request, o3_reply *ret_reply, o3_err *err);
/* {"num_ctx": ...} of the knobs that are set. New reference. */
json_t *ollama_options(const o3_knobs *knobs);
/* The text of an error body or line: {"error": "..."}, {"error": {"message"}}, nested JSON inside the string. */
void ollama_error_text(const char *body, char *dst, size_t dst_size, int64_t *ret_refused_tokens);
/* The class of an error, from HTTP status and text. */
o3_outcome ollama_classify(int http_status, const char *text, bool loading);

#endif
