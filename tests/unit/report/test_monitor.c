/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "o3/report.h"

#define MIB INT64_C(1048576)

static o3_profile profile;
static o3_sight sight, past[40];
static o3_frame frame;

/* A machine with RAM, a limit inside and a GPU, half of everything in use. */
static int fresh(void **state)
{
    (void)state;
    profile = (o3_profile){.pool_count = 3, .gpu_count = 1, .gpus_seen = 1};
    profile.pools[0] = (o3_pool){.name = "ram", .total_bytes = 16384 * MIB, .safe_bytes = 13000 * MIB, .limit_frac = 0.85};
    profile.pools[1] = (o3_pool){.name = "cgroup:/a, \"b\"", .total_bytes = 400 * MIB, .safe_bytes = 340 * MIB, .limit_frac = 0.85};
    profile.pools[2] = (o3_pool){.name = "gpu", .total_bytes = -1, .safe_bytes = -1, .limit_frac = 0.9};
    profile.gpus[0] = O3_GPU_UNKNOWN;
    profile.gpus[0].pool = 2;
    profile.gpus[0].max_temperature_c = 85;
    O3_COPY(profile.gpus[0].name, "Card");
    O3_COPY(profile.gpus[0].pci, "0000:03:00.0");
    sight = (o3_sight){.t_ns = 5, .tick = 7, .busy_frac = 0.5, .psi_cpu_some_frac = 0.25, .psi_memory_some_frac = NAN,
                       .psi_memory_full_frac = 0, .temperature_c = 86, .power_w = NAN, .throttle_events = -1,
                       .rss_anon_bytes = 200 * MIB, .rss_file_bytes = -1};
    sight.pool_bytes[0] = 8192 * MIB;
    sight.pool_bytes[1] = 341 * MIB;
    sight.pool_bytes[2] = -1;
    sight.gpus[0] = (o3_gpu_sight){.busy_frac = 0.75, .temperature_c = NAN, .power_w = 120, .throttled = -1, .age_s = 0.25};
    frame = (o3_frame){.profile = &profile, .sight = &sight, .max_temperature_c = 85, .server = true, .runner_pid = 43,
                       .model_count = 1, .past = past};
    frame.models[0].num_ctx = 8192;
    frame.models[0].size_bytes = 315 * MIB;
    frame.models[0].size_vram_bytes = -1;
    O3_COPY(frame.models[0].name, "m:\x1b[31m1b");
    for (int i = 0; i < O3_COUNT(past); i++)
        past[i] = sight;
    return 0;
}

static json_t *at(json_t *json, const char *list, size_t index, const char *name)
{
    json_t *part = json_object_get(json, list);
    return json_object_get(json_is_array(part) ? json_array_get(part, index) : part, name);
}

static void json(void **state)
{
    (void)state;
    json_t *json = o3_frame_to_json(&frame);
    assert_int_equal(json_integer_value(json_object_get(json, "t_ns")), 5);
    assert_int_equal(json_integer_value(at(json, "pools", 0, "used_bytes")), 8192 * MIB);
    assert_true(json_is_null(at(json, "pools", 2, "used_bytes"))); /* unknown is never 0 */
    assert_true(json_is_null(at(json, "pools", 2, "total_bytes")));
    assert_true(json_real_value(at(json, "cpu", 0, "busy_frac")) == 0.5);
    assert_true(json_real_value(at(json, "cpu", 0, "psi_some_frac")) == 0.25);
    assert_true(json_is_null(at(json, "cpu", 0, "power_w")));
    assert_true(json_is_null(at(json, "cpu", 0, "throttle_events")));
    assert_true(json_is_null(at(json, "memory", 0, "psi_some_frac")));
    assert_int_equal(json_integer_value(at(json, "runner", 0, "rss_anon_bytes")), 200 * MIB);
    assert_true(json_is_null(at(json, "runner", 0, "rss_file_bytes")));
    assert_true(json_real_value(at(json, "gpus", 0, "busy_frac")) == 0.75);
    assert_true(json_is_null(at(json, "gpus", 0, "temperature_c")));
    assert_true(json_is_null(at(json, "gpus", 0, "throttled")));
    assert_int_equal(json_integer_value(at(json, "models", 0, "num_ctx")), 8192);

    /* ram, cgroup, gpu, CPU's and GPU's temperature */
    static const int reached[] = {false, true, -1, true, -1};
    json_t *limits = json_object_get(json, "limits");
    assert_int_equal(json_array_size(limits), O3_COUNT(reached));
    for (int i = 0; i < O3_COUNT(reached); i++) {
        json_t *value = at(json, "limits", (size_t)i, "reached");
        assert_int_equal(json_is_null(value) ? -1 : json_is_true(value), reached[i]);
    }
    assert_int_equal(json_integer_value(at(json, "limits", 1, "limit_bytes")), 340 * MIB);
    assert_true(json_is_null(at(json, "limits", 2, "limit_bytes")));
    assert_true(json_real_value(at(json, "limits", 3, "limit_c")) == 85);
    json_decref(json);
}

/* Each member is in the schema, and each required one in the document. */
static void agree(const json_t *root, const json_t *schema, const json_t *json)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref")), *name;
    json_t *value;
    size_t i;
    if (ref)
        schema = json_object_get(json_object_get(root, "$defs"), ref + strlen("#/$defs/"));
    assert_non_null(schema);
    for (i = 0; i < json_array_size(json); i++)
        agree(root, json_object_get(schema, "items"), json_array_get(json, i));
    if (!json_is_object(json))
        return;
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        if (!json_object_get(json_object_get(schema, "properties"), name))
            fail_msg("the schema lacks %s", name);
        agree(root, json_object_get(json_object_get(schema, "properties"), name), value);
    }
    const json_t *required = json_object_get(schema, "required");
    assert_true(json_array_size(required) > 0);
    for (i = 0; i < json_array_size(required); i++)
        assert_non_null(json_object_get(json, json_string_value(json_array_get(required, i))));
}

static void schema(void **state)
{
    (void)state;
    o3_auto(free) char *text = o3_alloc(1 << 17, 1);
    const char *root = getenv("O3_SOURCE_ROOT");
    assert_true(o3_read_text(root ? root : ".", "/docs/schema/monitor.schema.json", text, 1 << 17) > 0);
    json_t *described = json_loads(text, 0, NULL), *json = o3_frame_to_json(&frame);
    assert_non_null(described);
    agree(described, described, json);
    json_decref(json);
    json_decref(described);
}

/* As many cells in each line, whatever the names are. */
static int commas(const char *line)
{
    int count = 0;
    for (; *line; line++)
        count += *line == ',';
    return count;
}

static void csv(void **state)
{
    (void)state;
    o3_auto(free) char *head = o3_frame_csv_head(&profile), *line = NULL;
    line = o3_frame_csv(&frame);
    assert_string_equal(head,
                        "t_ns,tick,ram used_bytes,cgroup:/a_ _b_ used_bytes,gpu used_bytes,cpu_busy_frac,cpu_psi_some_frac,"
                        "memory_psi_some_frac,memory_psi_full_frac,cpu_temperature_c,cpu_power_w,throttle_events,"
                        "runner_rss_anon_bytes,runner_rss_file_bytes,0000:03:00.0 busy_frac,0000:03:00.0 temperature_c,"
                        "0000:03:00.0 power_w\n");
    assert_string_equal(line, "5,7,8589934592,357564416,,0.5,0.25,,0,86,,,209715200,,0.75,,120\n");
    assert_int_equal(commas(head), commas(line));
    free(line);
    line = NULL;
}

static int columns(const char *line, size_t len)
{
    int count = 0;
    for (size_t i = 0; i < len; i++)
        count += (line[i] & 0xc0) != 0x80;
    return count;
}

static void view(void **state)
{
    (void)state;
    for (frame.past_count = 0; frame.past_count <= O3_COUNT(past); frame.past_count += 20) {
        char *text = o3_frame_view(&frame, false);
        assert_null(strchr(text, '\x1b')); /* no colour, and no name brings its own */
        for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
            assert_true(columns(line, strcspn(line, "\n")) <= 80);
        assert_non_null(strstr(text, "8.0 GiB of 16.0 GiB, 50 %"));
        assert_non_null(strstr(text, "██████████░░░░░░░┃░░"));
        assert_non_null(strstr(text, "unknown of unknown, unknown"));
        assert_non_null(strstr(text, "CPU 86 °C (limit 85 °C)"));
        assert_non_null(strstr(text, "for memory unknown"));
        assert_non_null(strstr(text, "75 %, ? °C, 120 W"));
        assert_non_null(strstr(text, "own memory 200 MiB · of files unknown"));
        free(text);
    }
    frame.past_count = 0;
    char *coloured = o3_frame_view(&frame, true);
    assert_non_null(strchr(coloured, '\x1b'));
    free(coloured);
    frame.server = false;
    frame.model_count = 0;
    frame.runner_pid = -1;
    char *text = o3_frame_view(&frame, false);
    assert_non_null(strstr(text, "unknown: no server answers"));
    assert_null(strstr(text, "runner"));
    free(text);
}

static void line(void **state)
{
    (void)state;
    char *text = o3_frame_line(&frame);
    assert_string_equal(text, "ram 8.0 GiB (50 %), cgroup:/a, \"b\" 341 MiB (85 %), gpu unknown (unknown), CPU 50 %, "
                              "waits 25 %, 86 °C, GPU 0 75 % ? °C, runner 200 MiB\n");
    free(text);
}

/* What o3 hardware prints can be read again, and says the same. */
static void profile_round_trip(void **state)
{
    (void)state;
    static o3_profile back;
    static o3_config config;
    o3_err err;
    O3_COPY(profile.pools[1].name, "cgroup:/a");
    profile.pools[2].total_bytes = 1000 * MIB;
    profile.pools[2].safe_bytes = 900 * MIB;
    profile.engine_local = true;
    profile.engine_pid = profile.engine_uid = 42;
    O3_COPY(profile.engine_unit, "ollama.service");
    profile.cpus_online = profile.cores = profile.packages = profile.threads_per_core = 2;
    profile.usable_cpus = 1.5;
    profile.bandwidth = O3_BANDWIDTH_NONE;
    profile.ram_bytes = profile.ram_available_bytes = profile.swap_bytes = profile.swap_free_bytes = -1;
    profile.kind_count = profile.cache_count = profile.node_count = 1;
    profile.kinds[0] = (o3_cpu_kind){.name = "P", .cpus = 2, .cores = -1, .list = "0-1"};
    profile.caches[0] = (o3_cache){.level = 3, .type = "unified", .size_bytes = 32 * MIB, .count = 1};
    profile.nodes[0] = (o3_node){.id = 0, .cpus = "0-1", .total_bytes = 5, .free_bytes = -1};
    profile.limit_count = 2;
    profile.limits[0] = (o3_limit){.whose = "server", .group = "/a", .file = "memory.swap.max", .bytes = 0, .cpus = NAN};
    profile.limits[1] = (o3_limit){.whose = "o3", .group = "/", .file = "cpu.max", .bytes = -1, .cpus = 1.5};
    json_t *json = o3_profile_to_json(&profile);
    if (o3_profile_from_json(&back, json, &config, &err))
        fail_msg("%s", err.message);
    json_t *again = o3_profile_to_json(&back);
    if (!json_equal(json, again)) {
        o3_auto(free) char *a = o3_json_text(json), *b = NULL;
        b = o3_json_text(again);
        fail_msg("%s\n%s", a, b);
    }
    assert_int_equal(back.limits[0].bytes, 0);
    assert_int_equal(back.limits[1].bytes, -1);
    json_decref(json);
    json_decref(again);
    char *text = o3_profile_summary(&profile, false);
    assert_non_null(strstr(text, "1.5 CPUs"));
    assert_non_null(strstr(text, "uid 42 · ollama.service"));
    assert_non_null(strstr(text, "limit 85 %"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(json, fresh), cmocka_unit_test_setup(schema, fresh), cmocka_unit_test_setup(csv, fresh), cmocka_unit_test_setup(view, fresh),
        cmocka_unit_test_setup(line, fresh), cmocka_unit_test_setup(profile_round_trip, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
