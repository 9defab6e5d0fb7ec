/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request at a time over a kept connection, ended early by a cancel token or a deadline. libcurl's multi
 * interface is used for that alone: its poll also watches the token's fd. */
#include <curl/curl.h>

#include "engine_impl.h"

struct http_client {
    CURLM *multi;
    CURL *easy;
    char url[O3_NAME_MAX + 64];
    bool local;
};

typedef struct transfer {
    const http_request *request;
    http_answer *answer;
    bool stopped; /* the receiver wants no more */
} transfer;

http_client *http_open(const char *url, bool local)
{
    http_client *client = o3_alloc(1, sizeof(*client));
    curl_global_init(CURL_GLOBAL_DEFAULT);
    client->multi = curl_multi_init();
    client->easy = curl_easy_init();
    if (!client->multi || !client->easy)
        abort(); /* libcurl fails here only without memory */
    O3_COPY(client->url, url);
    client->local = local;
    return client;
}

void http_close(http_client *client)
{
    if (!client)
        return;
    curl_easy_cleanup(client->easy);
    curl_multi_cleanup(client->multi);
    free(client);
}

static size_t on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    int64_t now = o3_now_ns(); /* before anything else: it is a measurement */
    transfer *t = ctx;
    size_t len = size * count;
    http_answer *answer = t->answer;
    if (t->request->on_bytes && answer->status < 300) {
        if (!t->request->on_bytes(t->request->ctx, now, bytes, len)) {
            t->stopped = true;
            return 0;
        }
        return len;
    }
    o3_buf_add(&answer->body, bytes, len);
    return answer->body.overflow ? 0 : len;
}

/* The status line comes first, so that on_body knows whether it sees an answer or an error text. */
static size_t on_header(char *bytes, size_t size, size_t count, void *ctx)
{
    transfer *t = ctx;
    size_t len = size * count;
    int status;
    char line[32];
    o3_format(line, sizeof(line), "%.*s", (int)(len < 31 ? len : 31), bytes);
    if (sscanf(line, "HTTP/%*s %d", &status) == 1)
        t->answer->status = status;
    return len;
}

static struct curl_slist *set_up(http_client *client, const http_request *request, transfer *t)
{
    CURL *easy = client->easy;
    char url[sizeof(client->url) + 128];
    O3_FORMAT(url, "%s%s", client->url, request->path);
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->answer->error);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "o3/" O3_VERSION);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    if (client->local)
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    /* "Expect:" off: a body over 1 MiB would otherwise wait a second for a 100-continue. */
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    if (request->body) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request->body));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
    }
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    return headers;
}

static http_end end_of(CURLcode code, const transfer *t)
{
    switch (code) {
    case CURLE_OK:
        return HTTP_DONE;
    case CURLE_WRITE_ERROR:
        return t->stopped ? HTTP_DONE : HTTP_TOO_LARGE;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_OPERATION_TIMEDOUT: /* only the connect has curl's own time-out */
        return HTTP_REFUSED;
    default:
        return HTTP_LOST;
    }
}

/* Runs until an end is reached; *code is set only for an end told by curl. */
static http_end drive(http_client *client, const http_request *request, transfer *t)
{
    int64_t deadline = request->deadline_ns ? t->answer->sent_ns + request->deadline_ns : INT64_MAX;
    int64_t next_wait = t->answer->sent_ns + O3_NS_PER_S;
    struct curl_waitfd extra = {.fd = o3_cancel_fd(request->cancel), .events = CURL_WAIT_POLLIN};
    for (;;) {
        int running, left;
        curl_multi_perform(client->multi, &running);
        for (CURLMsg *msg; (msg = curl_multi_info_read(client->multi, &left));)
            if (msg->msg == CURLMSG_DONE)
                return end_of(msg->data.result, t);
        if (o3_cancel_get(request->cancel) != O3_CANCEL_NONE)
            return HTTP_CANCELLED;
        int64_t now = o3_now_ns(), left_ns = deadline - now;
        if (left_ns <= 0)
            return HTTP_DEADLINE;
        if (request->on_wait && now >= next_wait) {
            request->on_wait(request->wait_ctx);
            next_wait = now + O3_NS_PER_S;
        }
        int wait_ms = left_ns > O3_NS_PER_S ? 1000 : (int)(left_ns / O3_NS_PER_MS) + 1;
        curl_multi_poll(client->multi, &extra, extra.fd >= 0 ? 1 : 0, wait_ms, NULL);
    }
}

void http_run(http_client *client, const http_request *request, http_answer *ret_answer)
{
    *ret_answer = (http_answer){.body = O3_BUF(request->max_body ? request->max_body : 8u << 20)};
    transfer t = {.request = request, .answer = ret_answer};
    struct curl_slist *headers = set_up(client, request, &t);
    ret_answer->sent_ns = o3_now_ns();
    curl_multi_add_handle(client->multi, client->easy);
    ret_answer->end = drive(client, request, &t);
    ret_answer->end_ns = o3_now_ns();
    const char *type = NULL;
    if (!curl_easy_getinfo(client->easy, CURLINFO_CONTENT_TYPE, &type) && type)
        O3_COPY(ret_answer->content_type, type);
    curl_multi_remove_handle(client->multi, client->easy);
    curl_easy_setopt(client->easy, CURLOPT_ERRORBUFFER, NULL); /* it points into the caller's answer */
    curl_slist_free_all(headers);
}

void http_answer_release(http_answer *answer)
{
    o3_buf_release(&answer->body);
}
