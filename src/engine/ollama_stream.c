/* SPDX-License-Identifier: Apache-2.0 */
/* One generate request: NDJSON lines in, an o3_reply out. HTTP 200 proves nothing here: the stream may end without a
 * final object (repeat guard), carry an error line, or the metrics may be absent. */
#include "engine_impl.h"

#define PROMPT_MAX_BYTES (64u << 20)
#define LINE_MAX_BYTES (1u << 20)

typedef struct stream {
    o3_reply *reply;
    o3_buf line;
    int64_t first_token_ns;
    bool loading;     /* no prompt: a load */
    bool error, junk; /* an error line came; something that is no JSON object came */
} stream;

/* Durations and counts must be positive to mean anything; anything else counts as absent. */
static int64_t positive(json_t *json, const char *key)
{
    json_t *value = json_object_get(json, key);
    if (!json_is_integer(value) || json_integer_value(value) <= 0)
        return -1;
    return json_integer_value(value);
}

static void take_final(o3_reply *reply, json_t *json)
{
    json_t *reason = json_object_get(json, "done_reason");
    reply->done = true;
    if (json_is_string(reason))
        O3_COPY(reply->done_reason, json_string_value(reason));
    reply->prompt_tokens = positive(json, "prompt_eval_count");
    reply->eval_tokens = positive(json, "eval_count");
    reply->prompt_eval_ns = positive(json, "prompt_eval_duration");
    reply->eval_ns = positive(json, "eval_duration");
    reply->load_ns = positive(json, "load_duration");
    reply->total_ns = positive(json, "total_duration");
}

static void take_line(stream *s, int64_t now_ns)
{
    o3_reply *reply = s->reply;
    if (!s->line.len)
        return;
    json_t *json = json_loadb(s->line.data, s->line.len, 0, NULL);
    json_t *text = json_object_get(json, "response"), *thought = json_object_get(json, "thinking");
    if (!json_is_object(json)) {
        s->junk = true;
    } else if (json_object_get(json, "error")) {
        s->error = true;
        ollama_error_text(s->line.data, reply->error, sizeof(reply->error), &reply->refused_tokens);
    } else {
        bool token = (json_is_string(text) && json_string_length(text)) ||
                     (json_is_string(thought) && json_string_length(thought));
        if (token) {
            reply->chunks++;
            if (!s->first_token_ns)
                s->first_token_ns = now_ns;
        }
        if (json_is_true(json_object_get(json, "done")))
            take_final(reply, json);
    }
    json_decref(json);
    o3_buf_clear(&s->line);
}

static bool on_bytes(void *ctx, int64_t now_ns, const char *bytes, size_t len)
{
    stream *s = ctx;
    while (len) {
        const char *newline = memchr(bytes, '\n', len);
        size_t part = newline ? (size_t)(newline - bytes) : len;
        o3_buf_add(&s->line, bytes, part);
        if (s->line.overflow) {
            O3_FORMAT(s->reply->error, "a line of the answer is longer than %u bytes", LINE_MAX_BYTES);
            s->error = true;
            return false;
        }
        if (newline) {
            take_line(s, now_ns);
            part++;
        }
        bytes += part;
        len -= part;
    }
    return true;
}

static char *body_of(const o3_generate *request, size_t *ret_chars)
{
    json_t *options = ollama_options(&request->knobs);
    json_t *body = json_pack("{s:s, s:s}", "model", request->model, "keep_alive", request->keep_alive);
    if (request->prompt) {
        json_object_set_new(options, "num_predict", json_integer(request->num_predict));
        json_object_set_new(options, "temperature", json_real(request->temperature));
        /* A seed is an int there; 31 bits are plenty. */
        json_object_set_new(options, "seed", json_integer((json_int_t)(request->seed & 0x7fffffff)));
        o3_auto(buf) o3_buf prompt = O3_BUF(PROMPT_MAX_BYTES);
        request->prompt(&prompt, request->prompt_seed, request->prompt_chars);
        *ret_chars = prompt.len;
        json_object_set_new(body, "prompt", json_stringn(o3_buf_text(&prompt), prompt.len));
        json_object_set_new(body, "raw", json_true());
        json_object_set_new(body, "truncate", json_false());
        json_object_set_new(body, "stream", json_true());
    } else {
        json_object_set_new(body, "stream", json_false());
    }
    json_object_set_new(body, "options", options);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    return text;
}

static o3_outcome judge(const stream *s, const http_answer *answer)
{
    const o3_reply *reply = s->reply;
    switch (answer->end) {
    case HTTP_CANCELLED:
        return O3_OUTCOME_CANCELLED;
    case HTTP_DEADLINE:
        return O3_OUTCOME_TIMEOUT;
    case HTTP_REFUSED:
    case HTTP_LOST:
        return O3_OUTCOME_SERVER_GONE;
    case HTTP_TOO_LARGE:
        return O3_OUTCOME_ERROR;
    case HTTP_DONE:
        break;
    }
    if (answer->status >= 400 || s->error)
        return ollama_classify(answer->status, reply->error, s->loading);
    if (answer->status != 200 || s->junk)
        return O3_OUTCOME_ERROR;
    return reply->done ? O3_OUTCOME_OK : O3_OUTCOME_REPEAT_ABORT;
}

o3_status ollama_generate(o3_engine *engine, const o3_generate *request, o3_reply *ret_reply, o3_err *err)
{
    (void)err;
    *ret_reply = (o3_reply){.refused_tokens = -1, .prompt_tokens = -1, .eval_tokens = -1, .load_ns = -1,
                            .prompt_eval_ns = -1, .eval_ns = -1, .total_ns = -1, .ttft_ns = -1, .wall_ns = -1};
    stream s = {.reply = ret_reply, .line = O3_BUF(LINE_MAX_BYTES), .loading = !request->prompt};
    o3_auto(free) char *body = body_of(request, &ret_reply->prompt_chars);
    http_answer answer;
    if (!body) { /* jansson refuses text that is not UTF-8: a model's name */
        ret_reply->outcome = O3_OUTCOME_ERROR;
        O3_COPY(ret_reply->error, "the request cannot be written as JSON (a name that is not UTF-8)");
        o3_buf_release(&s.line);
        return O3_OK;
    }
    http_run(engine->http,
             &(http_request){.method = "POST", .path = "/api/generate", .body = body, .cancel = request->cancel,
                             .deadline_ns = request->deadline_ns, .on_bytes = on_bytes, .ctx = &s,
                             .on_wait = request->on_wait, .wait_ctx = request->ctx},
             &answer);
    take_line(&s, answer.end_ns); /* a last line without its newline */
    ret_reply->http_status = answer.status;
    ret_reply->wall_ns = answer.end_ns - answer.sent_ns;
    if (s.first_token_ns)
        ret_reply->ttft_ns = s.first_token_ns - answer.sent_ns;
    if (answer.status >= 400)
        ollama_error_text(o3_buf_text(&answer.body), ret_reply->error, sizeof(ret_reply->error),
                          &ret_reply->refused_tokens);
    else if (answer.end != HTTP_DONE && !ret_reply->error[0])
        O3_COPY(ret_reply->error, answer.error);
    ret_reply->outcome = judge(&s, &answer);
    if (ret_reply->outcome == O3_OUTCOME_ERROR && !ret_reply->error[0])
        O3_FORMAT(ret_reply->error, "the answer is no stream of JSON objects (HTTP %d)", answer.status);
    http_answer_release(&answer);
    o3_buf_release(&s.line);
    return O3_OK;
}
