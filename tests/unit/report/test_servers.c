/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of the whole server in the answer: there and back through JSON, and the block for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "report/text.h"
#include "sample.h"

static void add_row(o3_result *r, const char *name, const char *env, int64_t window, const char *note)
{
    o3_server_row *row = &r->servers[r->server_count++];
    *row = o3_server_row_none;
    O3_COPY(row->name, name);
    O3_COPY(row->env, env);
    O3_COPY(row->note, note);
    row->predicted_tokens = window > 0 ? window + 256 : -1;
    row->window_tokens = window;
    row->measured = window > 0;
    row->wall_s = 12.5;
    if (!row->measured)
        return;
    row->turns = 4;
    row->compared_num_ctx = 4096;
    row->decode_per_s = sample_measure(50, 1.5, 0.02, 4, 2048);
    row->prefill_per_s = sample_measure(180, 4, 0.02, 4, 2048);
    O3_COPY(row->in_force, *env ? "KV q8_0, flash attention enabled, 1 slot" : "KV f16");
    if (*env) {
        row->decode_ratio = (o3_range){0.85, 0.90, 0.95};
        row->prefill_ratio = (o3_range){0.97, 1.0, 1.03};
    }
}

static o3_result *three_rows(void)
{
    o3_result *r = o3_alloc(1, sizeof(*r));
    sample_result(r);
    add_row(r, "as-is", "", 4096, "");
    add_row(r, "kv-q8_0", "OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE=q8_0", 6144, "");
    add_row(r, "spread", "OLLAMA_SCHED_SPREAD=1", -1, "left out: there are no GPUs\x1b[2J to spread over");
    r->servers_complete = true;
    return r;
}

static void there_and_back(void **state)
{
    o3_auto(free) o3_result *r = three_rows(), *back = o3_alloc(1, sizeof(*back));
    o3_err err;
    (void)state;
    json_t *json = o3_result_to_json(r, NULL);
    if (o3_result_from_json(back, json, &err))
        fail_msg("%s", err.message);
    assert_int_equal(back->server_count, 3);
    assert_true(back->servers_complete);
    assert_string_equal(back->servers[1].env, "OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE=q8_0");
    assert_int_equal(back->servers[1].window_tokens, 6144);
    assert_true(back->servers[1].decode_ratio.low == 0.85);
    assert_true(back->servers[1].decode_per_s.n == 4);
    assert_true(isnan(back->servers[0].decode_ratio.mid));
    assert_int_equal(back->servers[2].window_tokens, -1);
    assert_string_equal(back->servers[2].note, r->servers[2].note);
    json_t *again = o3_result_to_json(back, NULL);
    assert_true(json_equal(json, again));
    json_decref(again);
    json_decref(json);
}

static void older_and_oversized_documents(void **state)
{
    o3_auto(free) o3_result *r = three_rows(), *back = o3_alloc(1, sizeof(*back));
    o3_err err;
    (void)state;
    json_t *json = o3_result_to_json(r, NULL), *rows = json_object_get(json, "servers");
    for (int i = 0; i < O3_SERVERS_MAX; i++)
        json_array_append(rows, json_array_get(rows, 0));
    assert_int_equal(o3_result_from_json(back, json, &err), O3_E_PROTOCOL);
    assert_non_null(strstr(err.message, "servers"));
    json_object_set_new(json, "servers", json_string("many"));
    assert_int_equal(o3_result_from_json(back, json, &err), O3_E_PROTOCOL);
    json_object_del(json, "servers"); /* written before there were any */
    json_object_del(json, "servers_complete");
    assert_int_equal(o3_result_from_json(back, json, &err), O3_OK);
    assert_int_equal(back->server_count, 0);
    assert_false(back->servers_complete);
    json_decref(json);
}

static void block_for_people(void **state)
{
    o3_auto(free) o3_result *r = three_rows();
    (void)state;
    o3_auto(free) char *text = o3_result_summary(r, false, false);
    static const char *const wanted[] = {
        "Settings of the whole server", "6,144 (x1.50)", "x0.90 (0.85-0.95)", "2,048 tokens of depth, 4 visits",
        "kv-q8_0: set OLLAMA_FLASH_ATTENTION=1 OLLAMA_KV_CACHE_TYPE=q8_0", "quality not checked", "spread: left out",
    };
    o3_auto(free) char *flat = o3_alloc(1, strlen(text) + 1); /* wrapping undone */
    for (const char *p = text; *p; p++)
        if (*p > ' ' || p[1] > ' ')
            flat[strlen(flat)] = *p > ' ' || *p < 0 ? *p : ' ';
    for (int i = 0; i < O3_COUNT(wanted); i++)
        if (!strstr(flat, wanted[i]))
            fail_msg("no \"%s\" in\n%s", wanted[i], text);
    assert_null(strstr(text, "\x1b"));
    assert_null(strstr(text, "Not all"));
    r->servers_complete = false;
    o3_auto(free) char *partial = o3_result_summary(r, false, false);
    assert_non_null(strstr(partial, "Not all"));
    r->server_count = 0;
    o3_auto(free) char *none = o3_result_summary(r, false, false);
    assert_null(strstr(none, "whole server"));
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char one[512];
        O3_FORMAT(one, "%.*s", (int)strcspn(line, "\n"), line);
        if (text_width(one) > TEXT_WIDTH)
            fail_msg("wider than %d: %s", TEXT_WIDTH, one);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(older_and_oversized_documents),
        cmocka_unit_test(block_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
