/* SPDX-License-Identifier: Apache-2.0 */
/* What servers say when something goes wrong, and what O3 makes of it; addresses as OLLAMA_HOST allows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/engine_impl.h"

static void texts_and_their_classes(void **state)
{
    static const struct {
        int http;
        const char *body;
        bool loading;
        o3_outcome outcome;
        int64_t tokens;
    } cases[] = {
        {400, "{\"error\":\"{\\\"error\\\":{\\\"code\\\":400,\\\"message\\\":\\\"request (6236 tokens) exceeds the available "
              "context size (2048 tokens), try increasing it\\\",\\\"type\\\":\\\"exceed_context_size_error\\\","
              "\\\"n_prompt_tokens\\\":6236,\\\"n_ctx\\\":2048}}\"}", false, O3_OUTCOME_TOO_LONG, 6236},
        {400, "{\"error\":{\"code\":400,\"message\":\"x\",\"type\":\"exceed_context_size_error\",\"n_prompt_tokens\":9}}",
         false, O3_OUTCOME_TOO_LONG, 9},
        {400, "{\"error\":\"the input length exceeds the context length\"}", false, O3_OUTCOME_TOO_LONG, -1},
        {500, "{\"error\":\"llama-server process has terminated: signal: killed\"}", true, O3_OUTCOME_OOM_LOAD, -1},
        {500, "{\"error\":\"llama-server process has terminated: signal: killed\"}", false, O3_OUTCOME_OOM_RUN, -1},
        {500, "{\"error\":\"an error was encountered while running the model: unexpected EOF\"}", false,
         O3_OUTCOME_CRASH, -1},
        {500, "{\"error\":\"model requires more system memory (9 GiB) than is available (2 GiB)\"}", true,
         O3_OUTCOME_OOM_LOAD, -1},
        {503, "{\"error\":\"server busy, please try again.  maximum pending requests exceeded\"}", false,
         O3_OUTCOME_BUSY, -1},
        {404, "{\"error\":\"model 'x' not found\"}", false, O3_OUTCOME_MODEL_GONE, -1},
        {500, "not json at all", false, O3_OUTCOME_ERROR, -1},
        {500, "", false, O3_OUTCOME_ERROR, -1},
        {500, "{\"error\":{\"error\":{\"error\":\"deep\"}}}", false, O3_OUTCOME_ERROR, -1},
    };
    (void)state;
    for (int i = 0; i < O3_COUNT(cases); i++) {
        char text[O3_TEXT_MAX];
        int64_t tokens;
        ollama_error_text(cases[i].body, text, sizeof(text), &tokens);
        if (ollama_classify(cases[i].http, text, cases[i].loading) != cases[i].outcome || tokens != cases[i].tokens)
            fail_msg("case %d: '%s' is %s, %lld tokens", i, text,
                     o3_outcome_name(ollama_classify(cases[i].http, text, cases[i].loading)), (long long)tokens);
    }
}

static void addresses(void **state)
{
    static const struct {
        const char *given, *url; /* url NULL: refused */
        bool local;
    } cases[] = {
        {"127.0.0.1", "http://127.0.0.1:11434", true},
        {"localhost:1234", "http://localhost:1234", true},
        {"http://127.0.0.1:5/", "http://127.0.0.1:5", true},
        {"0.0.0.0:11435", "http://127.0.0.1:11435", true},
        {"[::1]:80", "http://[::1]:80", true},
        {"https://example.org", "https://example.org:443", false},
        {"http://box", "http://box:80", false},
        {":11436", "http://127.0.0.1:11436", true},
        {"", "http://127.0.0.1:11434", true},
        {"host:port", NULL, false},
        {"host:99999", NULL, false},
        {"ftp://host", NULL, false},
        {"user@host", NULL, false},
        {"a b", NULL, false},
        {" '127.0.0.1:5' ", "http://127.0.0.1:5", true},
        {"http://", NULL, false},
        {"http://[::1", NULL, false},
        {"[::1", NULL, false},
    };
    (void)state;
    for (int i = 0; i < O3_COUNT(cases); i++) {
        o3_engine *engine = NULL;
        o3_err err;
        o3_status status = o3_engine_open(&engine, cases[i].given, &err);
        if ((status == O3_OK) != (cases[i].url != NULL))
            fail_msg("'%s': %s", cases[i].given, status ? err.message : "was accepted");
        if (!engine)
            continue;
        assert_string_equal(o3_engine_url(engine), cases[i].url);
        assert_int_equal(o3_engine_is_local(engine), cases[i].local);
        o3_engine_close(engine);
    }
}

static void only_set_knobs_are_sent(void **state)
{
    (void)state;
    o3_knobs knobs = O3_KNOBS_DEFAULT;
    json_t *none = ollama_options(&knobs);
    assert_int_equal(json_object_size(none), 0);
    json_decref(none);
    knobs.num_ctx = 4096;
    knobs.use_mmap = 0;
    json_t *two = ollama_options(&knobs);
    assert_int_equal(json_object_size(two), 2);
    assert_int_equal(json_integer_value(json_object_get(two, "num_ctx")), 4096);
    assert_true(json_is_false(json_object_get(two, "use_mmap")));
    json_decref(two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(texts_and_their_classes), cmocka_unit_test(addresses),
                                       cmocka_unit_test(only_set_knobs_are_sent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
