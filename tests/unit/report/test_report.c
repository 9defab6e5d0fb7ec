/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "report/text.h"
#include "sample.h"

static o3_result result, back;
static o3_err err;

/* Every member in memory equal, NaN equal to NaN: the doubles are compared by the bits of their JSON. */
static void same_document(const o3_result *a, const o3_result *b)
{
    json_t *x = o3_result_to_json(a, NULL), *y = o3_result_to_json(b, NULL);
    assert_true(json_equal(x, y));
    json_decref(x);
    json_decref(y);
}

static json_t *reread(json_t *json)
{
    char *text = o3_json_text(json);
    json_decref(json);
    json = json_loads(text, 0, NULL);
    assert_non_null(json);
    free(text);
    return json;
}

static void round_trip(void **state)
{
    (void)state;
    sample_result(&result);
    result.presets[0].decode_per_s.mean = 0.1 + 0.2;
    result.presets[0].prefill_per_s.mean = 1.0 / 3;
    result.presets[1].ttft_ms = O3_MEASURE_NONE;
    result.presets[2].knobs = O3_KNOBS_DEFAULT;
    result.presets[2].knobs.num_gpu = -1;
    result.presets[2].knobs.use_mmap = 0;
    result.presets[2].peaks.temperature_c = 61.5;
    result.ceiling.next_num_ctx = 8448;
    result.ceiling.trained_tokens = -1;
    result.ceiling.full_decode_per_s = 38.25;
    result.ceiling.full_ttft_s = NAN;
    result.floor = (o3_floor){.min_decode_per_s = 30, .max_ttft_s = NAN};
    result.cost.lower_bound_s = NAN;
    result.known = true;
    json_t *json = reread(o3_result_to_json(&result, NULL));
    assert_int_equal(o3_result_from_json(&back, json, &err), O3_OK);
    json_decref(json);
    same_document(&result, &back);
    assert_true(back.presets[0].decode_per_s.mean == 0.1 + 0.2);
    assert_true(back.presets[0].prefill_per_s.mean == 1.0 / 3);
    assert_true(isnan(back.presets[1].ttft_ms.mean) && back.presets[1].ttft_ms.n == 0);
    assert_int_equal(back.presets[1].ttft_ms.depth_tokens, -1);
    assert_true(isnan(back.presets[0].score.response));
    assert_true(isnan(back.cost.lower_bound_s));
    assert_true(back.floor.min_decode_per_s == 30 && isnan(back.floor.max_ttft_s));
    assert_true(back.ceiling.full_decode_per_s == 38.25 && isnan(back.ceiling.full_ttft_s));
    assert_true(o3_knobs_equal(&back.presets[2].knobs, &result.presets[2].knobs));
    assert_int_equal(back.presets[2].knobs.num_ctx, O3_UNSET);
    assert_int_equal(back.presets[2].knobs.use_mmap, 0);
    assert_int_equal(back.ceiling.trained_tokens, -1);
    assert_int_equal(back.ceiling.next_kind, O3_STEP_TRAINED);
    assert_string_equal(back.presets[1].name, "balanced");
    assert_int_equal(back.presets[0].peaks.pools[0].runner_bytes, result.presets[0].peaks.pools[0].runner_bytes);
    assert_int_equal(back.notes.count, 2);
    assert_true(back.known && back.complete);
}

static void an_empty_result(void **state)
{
    (void)state;
    back = (o3_result){0};
    result = (o3_result){.model = "m", .ceiling = {.trained_tokens = -1, .next_num_ctx = -1}};
    json_t *json = reread(o3_result_to_json(&result, NULL));
    assert_int_equal(o3_result_from_json(&back, json, &err), O3_OK);
    assert_true(json_is_null(json_object_get(json, "run_id")));
    const json_t *decode = json_object_get(json_object_get(json, "baseline"), "decode_per_s");
    assert_true(json_is_null(json_object_get(decode, "mean")));
    char *text = o3_result_summary(&result, false, false);
    assert_non_null(strstr(text, "no presets"));
    assert_null(strstr(text, "Ollama default "));
    free(text);
    json_decref(json);
    same_document(&result, &back);
}

static void shortest_numbers(void **state)
{
    (void)state;
    json_t *json = json_pack("{s:f, s:f, s:f, s:i, s:s, s:f}", "a", 0.85, "b", 38.0, "c", 1e300, "d", 8192, "e",
                             "0.84999999999999998 \"x\\", "f", 0.1 + 0.2);
    char *text = o3_json_text(json);
    assert_non_null(strstr(text, "\"a\": 0.85,"));
    assert_non_null(strstr(text, "\"b\": 38.0,"));
    assert_non_null(strstr(text, "\"d\": 8192,"));
    assert_non_null(strstr(text, "\"0.84999999999999998 \\\"x\\\\\""));
    assert_non_null(strstr(text, "\"f\": 0.30000000000000004"));
    json_t *again = json_loads(text, 0, NULL);
    assert_true(json_equal(json, again));
    free(text);
    json_decref(json);
    json_decref(again);
}

/* A member of another type or size is named; one that an older version did not know is only missing. */
static void misfits(void **state)
{
    (void)state;
    const struct {
        const char *path[4];
        const char *json; /* NULL: the member is taken out */
        const char *message; /* NULL: it reads */
    } rows[] = {
        {{"schema"}, "2", "schema is not the one this version reads"},
        {{"model"}, NULL, "model is not there"},
        {{"ceiling"}, NULL, "ceiling is not there"},
        {{"complete"}, "\"yes\"", "complete is not true or false"},
        {{"ceiling", "proven_tokens"}, "\"8k\"", "ceiling.proven_tokens is not a whole number"},
        {{"ceiling", "next_step", "kind"}, "\"mood\"", "ceiling.next_step.kind is not a name"},
        {{"presets"}, "[]", "presets is not an object"},
        {{"presets", "balanced", "decode_per_s", "mean"},
         "true",
         "presets.balanced.decode_per_s.mean is not a number"},
        {{"presets", "balanced", "knobs", "num_ctx"}, "99999999999", "num_ctx is not a number of that size"},
        {{"presets", "balanced", "peaks", "ram"},
         "\"much\"",
         "presets.balanced.peaks.ram is not the bytes of a pool"},
        {{"notes"}, "[1]", "notes is not a list"},
        {{"digest"}, NULL, NULL},
        {{"weights"}, NULL, NULL},
        {{"presets", "balanced", "success"}, NULL, NULL},
        {{"presets", "balanced", "peaks"}, NULL, NULL},
        {{"future"}, "1", NULL},
    };
    for (int i = 0; i < O3_COUNT(rows); i++) {
        sample_result(&result);
        json_t *json = o3_result_to_json(&result, NULL), *at = json;
        int last = 0;
        for (; last < 3 && rows[i].path[last + 1]; last++)
            at = json_object_get(at, rows[i].path[last]);
        if (rows[i].json)
            json_object_set_new(at, rows[i].path[last], json_loads(rows[i].json, JSON_DECODE_ANY, NULL));
        else
            json_object_del(at, rows[i].path[last]);
        o3_status status = o3_result_from_json(&back, json, &err);
        assert_int_equal(status, rows[i].message ? O3_E_PROTOCOL : O3_OK);
        if (rows[i].message && !strstr(err.message, rows[i].message))
            fail_msg("%s: %s", rows[i].message, err.message);
        json_decref(json);
    }
}

static void texts_that_are_no_utf8(void **state)
{
    (void)state;
    sample_result(&result);
    O3_COPY(result.presets[0].description, "cut here \xe2\x82");
    O3_COPY(result.notes.text[0], "latin \xe9t\xe9 and \xed\xa0\x80");
    json_t *json = o3_result_to_json(&result, NULL);
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "notes"), 0)), "latin ?t? and ???");
    assert_int_equal(o3_result_from_json(&back, json, &err), O3_OK);
    assert_string_equal(back.presets[0].description, "cut here ??");
    json_decref(json);
}

/* The schema and the document have the same members, at every depth. */
static void walk(const json_t *schema, const json_t *json, const json_t *root, const char *path)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref")), *name;
    json_t *value;
    size_t i;
    if (ref)
        schema = json_object_get(json_object_get(root, "$defs"), ref + strlen("#/$defs/"));
    const json_t *properties = json_object_get(schema, "properties"),
                 *more = json_object_get(schema, "additionalProperties");
    const json_t *items = json_object_get(schema, "items");
    if (items)
        json_array_foreach((json_t *)(uintptr_t)json, i, value) walk(items, value, root, path);
    if (!properties || !json_is_object(json))
        return;
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        char deeper[256];
        O3_FORMAT(deeper, "%.180s.%.60s", path, name);
        const json_t *known = json_object_get(properties, name);
        if (!known && !json_is_object(more))
            fail_msg("the schema lacks %s", deeper);
        walk(known ? known : more, value, root, deeper);
    }
    json_object_foreach((json_t *)(uintptr_t)properties, name, value)
        if (!json_object_get(json, name))
            fail_msg("the document lacks %s.%s", path, name);
}

static void schema_agrees(void **state)
{
    (void)state;
    char *text = sample_file("/docs/schema/result.schema.json");
    assert_non_null(text);
    json_t *schema = json_loads(text, 0, NULL);
    assert_non_null(schema);
    o3_profile *profile = o3_alloc(1, sizeof(*profile));
    *profile = (o3_profile){.isa = "avx2 fma", .cgroup_count = 1, .pool_count = 1, .engine_pid = -1,
                            .engine_env_known = true, .engine_env = "OLLAMA_A=1\nOLLAMA_B=2\n", .notes = {.count = 1}};
    sample_result(&result);
    json_t *json = o3_result_to_json(&result, profile);
    walk(schema, json, schema, "result");
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(json_object_get(json, "profile"), "process"), "env")), 2);
    json_decref(json);
    json_decref(schema);
    free(profile);
    free(text);
}

static void trial_document(void **state)
{
    (void)state;
    o3_trial *trial = o3_alloc(1, sizeof(*trial));
    *trial = (o3_trial){.purpose = "proof-1",
                        .asked = O3_KNOBS_DEFAULT,
                        .in_force = O3_KNOBS_DEFAULT,
                        .size_bytes = -1,
                        .outcome = O3_OUTCOME_OOM_LOAD,
                        .sample_count = 1};
    trial->samples[0] =
        (o3_sample){.kind = O3_SAMPLE_RUNG, .text_seed = UINT64_MAX, .prefill_per_s = NAN, .ttft_ns = -1};
    json_t *json = o3_trial_to_json(trial);
    const json_t *sample = json_array_get(json_object_get(json, "samples"), 0);
    assert_string_equal(json_string_value(json_object_get(json, "outcome")), "oom-load");
    assert_true(json_is_null(json_object_get(json, "size_bytes")));
    assert_string_equal(json_string_value(json_object_get(sample, "kind")), "rung");
    assert_string_equal(json_string_value(json_object_get(sample, "text_seed")), "18446744073709551615");
    assert_true(json_is_null(json_object_get(sample, "prefill_per_s")));
    assert_true(json_is_null(json_object_get(sample, "ttft_ns")));
    json_decref(json);
    free(trial);
}

static void golden(const char *path, const char *text)
{
    char *wanted = sample_file(path);
    const char *root = getenv("O3_SOURCE_ROOT");
    if (getenv("O3_GOLDEN")) {
        char full[4096];
        O3_FORMAT(full, "%s%s", root ? root : ".", path);
        FILE *file = fopen(full, "w");
        assert_non_null(file);
        fputs(text, file);
        fclose(file);
    } else {
        assert_non_null(wanted);
        assert_string_equal(text, wanted);
    }
    free(wanted);
}

static void at_most_80_columns(const char *text)
{
    char *copy = o3_strdup(text), *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (text_width(line) > TEXT_WIDTH)
            fail_msg("%d columns: %s", text_width(line), line);
    free(copy);
}

static void summaries(void **state)
{
    (void)state;
    sample_result(&result);
    char *text = o3_result_summary(&result, false, false);
    at_most_80_columns(text);
    golden("/tests/fixtures/report/summary.txt", text);
    free(text);
    text = o3_result_summary(&result, false, true);
    at_most_80_columns(text);
    golden("/tests/fixtures/report/verbose.txt", text);
    free(text);
    result.baseline.measured = false; /* no time for it, but its window is known */
    text = o3_result_summary(&result, false, false);
    at_most_80_columns(text);
    assert_non_null(strstr(text, "max_context, balanced: window x2; the default's speed was not measured in this"));
    free(text);
    for (int i = 0; i < result.preset_count; i++) {
        o3_preset *p = &result.presets[i];
        p->measured = p->proven = false;
        p->decode_per_s = (o3_measure){27, 20, 38, NAN, 0, 0, p->knobs.num_ctx / 2, false};
        p->prefill_per_s = (o3_measure){110, 80, 160, NAN, 0, 0, p->knobs.num_ctx, false};
        p->ttft_ms = (o3_measure){7000, 5000, 9000, NAN, 0, 0, p->knobs.num_ctx / 4, false};
        p->decode_equal_per_s = O3_MEASURE_NONE;
        p->peaks.count = 0;
    }
    result.presets[1].knobs.num_thread = 4;
    result.baseline = (o3_preset){.knobs = O3_KNOBS_DEFAULT,
                                  .decode_per_s = O3_MEASURE_NONE,
                                  .ttft_ms = O3_MEASURE_NONE,
                                  .prefill_per_s = O3_MEASURE_NONE};
    result.complete = false;
    result.ceiling = (o3_ceiling){.trained_tokens = 8192, .next_num_ctx = -1};
    text = o3_result_summary(&result, false, false);
    at_most_80_columns(text);
    assert_null(strstr(text, "±"));
    assert_null(strstr(text, "✔"));
    golden("/tests/fixtures/report/predicted.txt", text);
    free(text);
}

static void colour_only_adds(void **state)
{
    (void)state;
    sample_result(&result);
    char *plain = o3_result_summary(&result, false, true), *colour = o3_result_summary(&result, true, true);
    assert_null(strchr(plain, '\x1b'));
    assert_non_null(strchr(colour, '\x1b'));
    char *to = colour;
    for (const char *p = colour; *p; p++) {
        if (*p == '\x1b')
            p += strcspn(p, "m");
        else
            *to++ = *p;
    }
    *to = '\0';
    assert_string_equal(plain, colour);
    free(plain);
    free(colour);
}

/* Faster and slower are said only where the intervals are apart. */
static void words_of_a_comparison(void **state)
{
    (void)state;
    const struct {
        o3_measure mine;
        const char *words;
    } rows[] = {
        {{90, 88, 92, 0.02, 5, 0, 1000, false}, "decodes 20 % faster"},
        {{60, 58, 62, 0.02, 5, 0, 1000, false}, "decodes 20 % slower"},
        {{78, 76, 80, 0.02, 5, 0, 1000, false}, "no difference in decode shown"},
        {{90, 88, 92, 0.02, 5, 0, 2000, false}, "speed not compared at equal depth"},
        {{90, 88, 92, 0.02, 0, 0, 1000, false}, "speed not compared at equal depth"},
        {{90, NAN, NAN, NAN, 1, 0, 1000, false}, "speed not compared at equal depth"},
    };
    for (int i = 0; i < O3_COUNT(rows); i++) {
        sample_result(&result);
        result.preset_count = 1;
        result.presets[0].decode_equal_per_s = rows[i].mine;
        char *text = o3_result_summary(&result, false, false);
        for (char *p = text; *p; p++)
            if (*p == '\n')
                *p = ' ';
        char *joined = o3_strdup(text), *to = joined;
        for (const char *p = text; *p; p++)
            if (*p != ' ' || p[1] != ' ')
                *to++ = *p;
        *to = '\0';
        if (!strstr(joined, rows[i].words))
            fail_msg("%s: %s", rows[i].words, joined);
        free(joined);
        free(text);
    }
}

static void nothing_steers_the_terminal(void **state)
{
    (void)state;
    sample_result(&result);
    O3_COPY(result.model, "evil\x1b[2Jmodel\r\nFROM x");
    O3_COPY(result.presets[0].name, "a\x1b]0;b\a");
    o3_note(&result.notes, "error: \x1b[31mred\x1b[0m\nsecond line");
    char *text = o3_result_summary(&result, false, true);
    assert_null(strpbrk(text, "\x1b\r\a"));
    free(text);
}

static void numbers_for_people(void **state)
{
    (void)state;
    const struct {
        o3_measure measure;
        const char *text;
    } rows[] = {
        {{118.4, 112.4, 124.4, 0.1, 5, 0, 1, false}, "118 ± 6"},  {{38.41, 37.3, 39.5, 0.1, 5, 0, 1, false}, "38.4 ± 1.1"},
        {{1.52, 1.5, 1.54, 0.1, 5, 0, 1, false}, "1.52 ± 0.02"},   {{244, 243.8, 244.2, 0.1, 5, 0, 1, false}, "244.0 ± 0.2"},
        {{118.4, NAN, NAN, NAN, 1, 0, 1, false}, "118"},           {{27, 20, 38, NAN, 0, 0, 1, false}, "20..38"},
        {{NAN, NAN, NAN, NAN, 0, 0, -1, false}, "-"},              {{3, 2.14, 5.1, NAN, 0, 0, 1, false}, "2.1..5.1"},
    };
    char text[64];
    for (int i = 0; i < O3_COUNT(rows); i++) {
        text_rate(text, sizeof(text), &rows[i].measure);
        assert_string_equal(text, rows[i].text);
    }
    text_tokens(text, sizeof(text), 1234567);
    assert_string_equal(text, "1,234,567");
    text_tokens(text, sizeof(text), 999);
    assert_string_equal(text, "999");
    text_tokens(text, sizeof(text), -1);
    assert_string_equal(text, "unknown");
    text_short_ms(text, sizeof(text), 125000);
    assert_string_equal(text, "2:05");
    text_clean(text, 8, "abcdef\xe2\x82\xac");
    assert_string_equal(text, "abcdef");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),          cmocka_unit_test(an_empty_result),
        cmocka_unit_test(shortest_numbers),    cmocka_unit_test(misfits),
        cmocka_unit_test(texts_that_are_no_utf8), cmocka_unit_test(schema_agrees),
        cmocka_unit_test(trial_document),      cmocka_unit_test(summaries),
        cmocka_unit_test(colour_only_adds),    cmocka_unit_test(words_of_a_comparison),
        cmocka_unit_test(nothing_steers_the_terminal), cmocka_unit_test(numbers_for_people),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
