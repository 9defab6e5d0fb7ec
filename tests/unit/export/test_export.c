/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <yaml.h>

#include "../report/sample.h"
#include "o3/export.h"

static o3_result result;

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in:\n%s", part, text);
}

static void names(void **state)
{
    (void)state;
    const char *const rows[][3] = {
        {"smollm2:135m", "max_context", "smollm2:135m-o3-max-context"},
        {"smollm2", "fast_response", "smollm2:o3-fast-response"},
        {"localhost:5000/a/b", "balanced", "localhost:5000/a/b:o3-balanced"},
        {"hf.co/a/b:Q4_K_M", "my own", "hf.co/a/b:Q4_K_M-o3-my-own"},
    };
    for (int i = 0; i < O3_COUNT(rows); i++) {
        char name[O3_NAME_MAX];
        o3_preset_model_name(rows[i][0], rows[i][1], name);
        assert_string_equal(name, rows[i][2]);
    }
}

static void modelfile(void **state)
{
    (void)state;
    sample_result(&result);
    result.presets[0].knobs.num_batch = O3_UNSET;
    result.presets[0].knobs.use_mmap = 0;
    char *text = o3_exporter_find("modelfile")->write(&result, &result.presets[0]);
    has(text, "\nFROM smollm2:135m\nPARAMETER num_ctx 8192\nPARAMETER num_thread 2\nPARAMETER use_mmap false\n");
    has(text, "# run 7d1f0c2a, finished 2026-08-22T10:11:12Z\n");
    has(text, "# window proven: 7994 prompt tokens evaluated whole, 2 fills\n");
    has(text, "# decode 38.4 tokens/s at 4096 tokens (95 % interval 37.3 to 39.5, n 5)\n");
    assert_null(strstr(text, "num_batch"));
    assert_null(strstr(text, "num_gpu"));
    /* Every line is a comment, FROM or a PARAMETER that Ollama has. */
    for (char *rest = NULL, *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        assert_true(*line == '#' || !strncmp(line, "FROM ", 5) || !strncmp(line, "PARAMETER ", 10));
    free(text);
    result.presets[0].measured = result.presets[0].proven = false;
    text = o3_exporter_find("modelfile")->write(&result, &result.presets[0]);
    has(text, "# PREDICTED: nothing of it was measured\n");
    free(text);
}

/* A name cannot add a line of its own. */
static void no_line_of_its_own(void **state)
{
    (void)state;
    sample_result(&result);
    O3_COPY(result.model, "m\nFROM evil");
    O3_COPY(result.run_id, "x\nPARAMETER num_ctx 1");
    for (const o3_exporter *e = o3_exporters; e->name; e++) {
        char *text = e->write(&result, &result.presets[0]);
        assert_null(strstr(text, "\nFROM evil"));
        assert_null(strstr(text, "\nPARAMETER num_ctx 1\n"));
        free(text);
    }
}

static int yaml_events(const char *text)
{
    yaml_parser_t parser;
    yaml_event_t event;
    int count = 0;
    bool done = false;
    yaml_parser_initialize(&parser);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    while (!done) {
        if (!yaml_parser_parse(&parser, &event))
            fail_msg("line %zu: %s", parser.problem_mark.line + 1, parser.problem);
        done = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        count++;
    }
    yaml_parser_delete(&parser);
    return count;
}

static void yaml(void **state)
{
    (void)state;
    sample_result(&result);
    O3_COPY(result.presets[1].description, "quotes \" and \\ and: # - {tab\t}");
    result.presets[2].knobs = O3_KNOBS_DEFAULT;
    char *all = o3_exporter_find("yaml")->write(&result, NULL);
    has(all, "model: \"smollm2:135m\"\n");
    has(all, "  \"max_context\":\n");
    has(all, "    options:\n      num_ctx: 8192\n      num_batch: 512\n      num_thread: 2\n      use_mmap: true\n");
    has(all, "    options: {}\n");
    has(all, "\"quotes \\\" and \\\\ and: # - {tab\\x09}\"");
    int events = yaml_events(all);
    char *one = o3_exporter_find("yaml")->write(&result, &result.presets[1]);
    assert_true(yaml_events(one) < events);
    assert_null(strstr(one, "max_context"));
    free(one);
    free(all);
}

static void json(void **state)
{
    (void)state;
    sample_result(&result);
    result.presets[0].decode_per_s = O3_MEASURE_NONE;
    char *text = o3_exporter_find("json")->write(&result, NULL);
    json_t *document = json_loads(text, 0, NULL);
    assert_non_null(document);
    const json_t *presets = json_object_get(document, "presets"), *first = json_object_get(presets, "max_context");
    assert_int_equal(json_object_size(presets), 3);
    const json_t *options = json_object_get(first, "options");
    assert_int_equal(json_integer_value(json_object_get(options, "num_ctx")), 8192);
    assert_true(json_is_true(json_object_get(options, "use_mmap")));
    assert_null(json_object_get(options, "num_gpu")); /* a request with null would be no choice */
    assert_true(json_is_null(json_object_get(first, "decode_per_s")));
    json_decref(document);
    free(text);
}

static void the_table(void **state)
{
    (void)state;
    assert_null(o3_exporter_find("toml"));
    for (const o3_exporter *e = o3_exporters; e->name; e++) {
        assert_ptr_equal(o3_exporter_find(e->name), e);
        assert_non_null(e->help);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names), cmocka_unit_test(modelfile), cmocka_unit_test(no_line_of_its_own),
        cmocka_unit_test(yaml),  cmocka_unit_test(json),      cmocka_unit_test(the_table),
    };
    return cmocka_run_group_tests_name("export", tests, NULL, NULL);
}
