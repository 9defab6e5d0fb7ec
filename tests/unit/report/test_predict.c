/* SPDX-License-Identifier: Apache-2.0 */
/* What o3 predict prints, and the machines it reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "report/text.h"

static o3_profile profile, back;
static o3_model model;
static o3_outlook outlook;
static o3_config config;
static o3_err err;

static o3_range about(double mid)
{
    return (o3_range){mid * 0.5, mid, mid * 2};
}

static o3_speed speed_of(int64_t num_ctx, int64_t depth)
{
    return (o3_speed){num_ctx, depth, about(300), about(70), about((double)depth * 1000 / 300)};
}

/* A described machine. */
static o3_status read_text(const char *text)
{
    json_error_t where;
    json_t *json = json_loads(text, 0, &where);
    if (!json)
        fail_msg("%s: %s", text, where.text);
    err.message[0] = '\0';
    o3_status status = o3_profile_from_json(&back, json, &config, &err);
    json_decref(json);
    return status;
}

static void a_short_description(void **state)
{
    (void)state;
    assert_int_equal(read_text("{\"cpu\": {\"usable\": 7.5}, \"memory\": {\"ram_bytes\": \"64GiB\", \"available_bytes\": "
                               "64424509440}, \"gpus\": [{\"name\": \"A\", \"vendor\": \"NVIDIA\", \"memory_bytes\": "
                               "\"24GiB\", \"bandwidth_bytes_per_s\": 1e12}, {\"unified\": true}, {\"unified\": true, "
                               "\"memory_bytes\": 1000}], \"process\": {\"env\": [\"A=1\", \"B=x y\"]}}"), O3_OK);
    assert_true(back.usable_cpus == 7.5 && back.engine_local && back.cores == -1);
    assert_int_equal(back.pool_count, 3);
    assert_string_equal(back.pools[0].name, "ram");
    assert_int_equal(back.pools[0].total_bytes, INT64_C(64) << 30);
    assert_int_equal(back.pools[0].used_bytes, INT64_C(4) << 30);
    assert_int_equal(back.pools[0].safe_bytes, (int64_t)(0.85 * (double)(INT64_C(64) << 30)));
    assert_int_equal(back.pools[1].safe_bytes, (int64_t)(0.90 * (double)(INT64_C(24) << 30)));
    assert_int_equal(back.pools[2].total_bytes, 1000);
    assert_int_equal(back.gpu_count, 3);
    assert_int_equal(back.gpus[0].pool, 1);
    assert_int_equal(back.gpus[0].vendor, O3_GPU_NVIDIA);
    assert_true(isnan(back.gpus[0].fp16_flops) && back.gpus[0].max_tensor_bytes == -1);
    assert_int_equal(back.gpus[1].pool, 0);
    assert_int_equal(back.gpus[2].pool, 2);
    assert_string_equal(back.engine_env, "A=1\nB=x y\n");
    assert_true(isnan(back.bandwidth.all_bytes_per_s) && back.bandwidth.measured_unix_ms == -1);
    assert_string_equal(back.fingerprint, "");
    /* nothing but the memory: its use is said to be unknown, and so is the speed of the CPU */
    assert_int_equal(read_text("{\"memory\": {\"ram_bytes\": \"1GiB\"}, \"cpu\": null}"), O3_OK);
    assert_int_equal(back.pools[0].used_bytes, 0);
    assert_int_equal(back.notes.count, 2);
    assert_true(isnan(back.usable_cpus));
    assert_int_equal(read_text("{\"memory\": {\"ram_bytes\": \"1GiB\"}, \"cpu\": {\"cores\": 4}}"), O3_OK);
    assert_true(back.usable_cpus == 4);
}

/* A reserve that the user set counts in full. */
static void a_reserve(void **state)
{
    (void)state;
    config.hardware_monitoring.resource_headroom.ram_reserve_mb = 512;
    config.hardware_monitoring.ram_reserve_is_users = true;
    assert_int_equal(read_text("{\"memory\": {\"ram_bytes\": \"1GiB\"}}"), O3_OK);
    assert_int_equal(back.pools[0].safe_bytes, 512 << 20);
    o3_config_defaults(&config);
}

static void misfits(void **state)
{
    (void)state;
    const struct {
        const char *json, *message;
        o3_status status;
    } rows[] = {
        {"[]", "no JSON object", O3_E_CONFIG},
        {"{\"profile\": 3}", "no JSON object", O3_E_CONFIG},
        {"{}", "memory.ram_bytes", O3_E_CONFIG},
        {"{\"memroy\": {}}", "no memroy (did you mean memory?)", O3_E_CONFIG},
        {"{\"zzz\": 1}", "no zzz; docs/machine.md", O3_E_CONFIG},
        {"{\"memory\": 64}", "memory of the machine must be an object", O3_E_CONFIG},
        {"{\"memory\": {\"ram_bytes\": \"much\"}}", "memory.ram_bytes of the machine must be a number of bytes", O3_E_CONFIG},
        {"{\"memory\": {\"ram_bytes\": -1}}", "memory.ram_bytes", O3_E_CONFIG},
        {"{\"memory\": {\"ram_bytes\": 1e30}}", "memory.ram_bytes", O3_E_CONFIG},
        {"{\"cpu\": {\"usable\": 0}}", "cpu.usable of the machine must be a number above 0", O3_E_CONFIG},
        {"{\"cpu\": {\"cores\": 1.5}}", "cpu.cores of the machine must be a whole number", O3_E_CONFIG},
        {"{\"cpu\": {\"cores\": 99999999999}}", "cpu.cores", O3_E_CONFIG},
        {"{\"gpus\": {}}", "gpus of the machine must be a list", O3_E_CONFIG},
        {"{\"gpus\": [3]}", "gpus[0] of the machine must be an object", O3_E_CONFIG},
        {"{\"memory\": {\"ram_bytes\": 1}, \"gpus\": [{}]}", "gpus[0].memory_bytes", O3_E_CONFIG},
        {"{\"memory\": {\"ram_bytes\": 1}, \"gpus\": [{\"pool\": 1}]}", "gpus[0].pool 1 is not one", O3_E_CONFIG},
        {"{\"gpus\": [{\"vendor\": \"nvdia\"}]}", "gpus[0].vendor of the machine must be one of other, nvidia", O3_E_CONFIG},
        {"{\"gpus\": [{\"bandwidth\": 1}]}", "gpus[0].bandwidth", O3_E_CONFIG},
        {"{\"process\": {\"env\": [1]}}", "process.env of the machine must be a list of texts", O3_E_CONFIG},
        {"{\"gpus\": [{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]}", "gpus of the machine has 17", O3_E_LIMIT},
    };
    for (int i = 0; i < O3_COUNT(rows); i++) {
        assert_int_equal(read_text(rows[i].json), rows[i].status);
        if (!strstr(err.message, rows[i].message))
            fail_msg("%s: \"%s\" is not in: %s", rows[i].json, rows[i].message, err.message);
    }
}

static void sample_profile(void)
{
    profile = (o3_profile){.hostname = "box", .os = "Linux", .kernel = "6", .cpu_model = "C", .cpu_vendor = "V",
                           .cpus_online = 8, .packages = 1, .cores = 8, .threads_per_core = 1, .usable_cpus = 8,
                           .isa = "avx2 fma", .ram_bytes = INT64_C(32) << 30, .ram_available_bytes = INT64_C(30) << 30,
                           .swap_bytes = 0, .swap_free_bytes = -1, .engine_pid = 77, .engine_local = true,
                           .engine_env = "OLLAMA_HOST=x\n", .engine_env_known = true, .cgroup_count = 1, .pool_count = 2,
                           .gpu_count = 1, .bandwidth = O3_BANDWIDTH_NONE, .fingerprint = "hw1-abc"};
    profile.cgroups[0] = (o3_cgroup){.version = 2, .dir = "/sys/fs/cgroup/a", .limit_bytes = -1};
    profile.pools[0] = (o3_pool){.name = "ram", .total_bytes = INT64_C(32) << 30, .used_bytes = 3 << 20,
                                 .models_bytes = 1 << 20, .safe_bytes = INT64_C(20) << 30, .limit_frac = 0.85};
    profile.pools[1] = (o3_pool){.name = "vram", .total_bytes = INT64_C(8) << 30, .used_bytes = 0,
                                 .safe_bytes = INT64_C(7) << 30, .limit_frac = 0.9};
    profile.gpus[0] = (o3_gpu){.name = "G", .pci = "0000:01:00.0", .vendor = O3_GPU_AMD, .pool = 1,
                               .bandwidth_bytes_per_s = 5e11, .fp16_flops = NAN, .max_tensor_bytes = -1,
                               .own_bytes = -1, .shared_bytes = -1, .max_temperature_c = NAN};
    o3_note(&profile.notes, "a note");
}

/* What is printed is read back: the whole document, and the profile alone. */
static void a_printed_profile(void **state)
{
    (void)state;
    sample_profile();
    json_t *json = o3_profile_to_json(&profile), *again;
    assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(json, "gpus"), 0), "memory_bytes")),
                     INT64_C(8) << 30);
    for (int whole = 0; whole < 2; whole++) {
        json_t *given = whole ? json_pack("{s:i, s:{s:s}, s:O}", "schema", O3_SCHEMA, "engine", "version", "0.32.15",
                                          "profile", json) : json_incref(json);
        assert_int_equal(o3_profile_from_json(&back, given, &config, &err), O3_OK);
        again = o3_profile_to_json(&back);
        assert_true(json_equal(json, again));
        json_decref(again);
        json_decref(given);
    }
    json_decref(json);
}

static void sample_outlook(void)
{
    sample_profile();
    model = (o3_model){.name = "smollm2:135m", .digest = "sha256:1", .architecture = "llama", .quantization = "Q4_1",
                       .parameters = 134515008, .trained_tokens = 8192, .layers = 30};
    outlook = (o3_outlook){.model = &model, .profile = &profile, .machine = "this machine", .engine_version = "0.32.15",
                           .size_bytes = {2.0e8, 2.1e8, 2.2e8}, .fits = true, .ceiling_tokens = 6144,
                           .ceiling_at_rest_tokens = 8192, .limiting = 0, .on_device_decode_per_s = about(200),
                           .optimize_s = 245, .row_count = 2};
    outlook.estimate = (o3_estimate){.setting = {.knobs = {4096, O3_UNSET, O3_UNSET, O3_UNSET, O3_UNSET}, .parallel = 2,
                                     .kv_type = o3_kv_type_find("q8_0"), .flash_attention = true, .era = O3_ERA_C},
                                     .pool_count = 1, .weights_bytes = about(9e7), .kv_bytes = about(5e7),
                                     .state_bytes = about(0), .compute_bytes = {100.4, 200.4, 300.4},
                                     .output_bytes = about(4e5), .overhead_bytes = about(3e7), .total_bytes = about(2e8),
                                     .spilled_frac = 0.25, .prompt_cache_bytes_per_token = 23040, .decode_per_s = about(70),
                                     .origin = "the sources"};
    outlook.estimate.pools[0] = (o3_pool_estimate){.name = "ram", .gpu = -1, .layers = 31, .weights_bytes = 9e7,
                                                   .kv_bytes = 5e7, .compute_bytes = 2e7, .output_bytes = 4e5,
                                                   .overhead_bytes = about(3e7), .total_bytes = about(2e8),
                                                   .room_bytes = INT64_MAX};
    outlook.rows[0] = (o3_outlook_row){.num_ctx = 4096, .total_bytes = about(2e8), .spilled_frac = 0.25, .fits = true,
                                       .half = speed_of(4096, 2048), .full = speed_of(4096, 4096)};
    outlook.rows[1] = (o3_outlook_row){.num_ctx = 8192, .total_bytes = about(3e8), .half = speed_of(8192, 4096),
                                       .full = speed_of(8192, 8192)};
    o3_note(&outlook.notes, "something to know");
}

static double real_at(const json_t *json, const char *a, const char *b)
{
    return json_number_value(json_object_get(json_object_get(json, a), b));
}

static void outlook_json(void **state)
{
    (void)state;
    sample_outlook();
    json_t *json = o3_outlook_to_json(&outlook);
    const json_t *memory = json_object_get(json, "memory"), *speed = json_object_get(json, "speed");
    assert_int_equal(json_integer_value(json_object_get(json, "ceiling_tokens")), 6144);
    assert_string_equal(json_string_value(json_object_get(json, "limited_by")), "ram");
    assert_true(json_is_integer(json_object_get(memory, "kv_bytes")));
    assert_true(real_at(memory, "compute_bytes", "low") == 100 && real_at(memory, "compute_bytes", "high") == 300);
    assert_true(real_at(memory, "size_bytes", "mid") == 2.1e8);
    const json_t *pool = json_array_get(json_object_get(memory, "pools"), 0);
    assert_true(json_integer_value(json_object_get(pool, "weights_bytes")) == 90000000);
    assert_true(real_at(pool, "total_bytes", "high") == 4e8);
    assert_true(json_is_null(json_object_get(pool, "room_bytes")));
    assert_int_equal(json_array_size(speed), 4);
    const json_t *last = json_array_get(speed, 3);
    assert_int_equal(json_integer_value(json_object_get(last, "depth_tokens")), 8192);
    assert_true(real_at(last, "decode_per_s", "low") == 35);
    const json_t *setting = json_object_get(json, "setting");
    assert_true(json_is_null(json_object_get(setting, "num_batch")));
    assert_int_equal(json_integer_value(json_object_get(setting, "parallel")), 2);
    json_decref(json);
    /* unknown is null, never a number */
    outlook.ceiling_tokens = outlook.ceiling_at_rest_tokens = outlook.limiting = -1;
    outlook.optimize_s = outlook.on_device_decode_per_s.mid = NAN;
    outlook.engine_version[0] = '\0';
    model.parameters = -1;
    json = o3_outlook_to_json(&outlook);
    static const char *const nulls[] = {"ceiling_tokens", "ceiling_at_rest_tokens", "limited_by", "optimize_s",
                                        "on_device_decode_per_s", "engine_version", "parameters"};
    for (int i = 0; i < O3_COUNT(nulls); i++)
        assert_true(json_is_null(json_object_get(json, nulls[i])));
    json_decref(json);
}

static void narrow(const char *text)
{
    o3_auto(free) char *copy = o3_strdup(text);
    char *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (text_width(line) > TEXT_WIDTH)
            fail_msg("%d columns: %s", text_width(line), line);
}

static void strip(char *text)
{
    char *to = text;
    for (const char *p = text; *p; p++)
        if (*p == 0x1b)
            p += strcspn(p, "m");
        else
            *to++ = *p;
    *to = '\0';
}

/* Wherever the lines break. */
static void contains(const char *text, const char *wanted)
{
    o3_auto(buf) o3_buf flat = O3_BUF(1 << 16);
    for (const char *p = text; *p; p++)
        if (*p == '\n' && p[1] == ' ')
            p += strspn(p + 1, " "), o3_buf_str(&flat, " ");
        else
            o3_buf_add(&flat, p, 1);
    if (!strstr(o3_buf_text(&flat), wanted))
        fail_msg("\"%s\" is not in:\n%s", wanted, text);
}

static void outlook_text(void **state)
{
    (void)state;
    sample_outlook();
    o3_auto(free) char *plain = o3_outlook_summary(&outlook, false);
    o3_auto(free) char *coloured = o3_outlook_summary(&outlook, true);
    static const char *const wanted[] = {"smollm2:135m on this machine", "0.32.15", "135M parameters", "8,192 once",
                                         "6,144 now", "(ram ends there)", "over limit", "25 % in RAM", "2 slots",
                                         "KV cache q8_0", "22 MiB of RAM", "4 min 5 s", "the sources", "something to know"};
    assert_null(strchr(plain, 0x1b));
    assert_non_null(strchr(coloured, 0x1b));
    narrow(plain);
    for (int i = 0; i < O3_COUNT(wanted); i++)
        contains(plain, wanted[i]);
    strip(coloured);
    assert_string_equal(plain, coloured);
    outlook.estimate.prompt_cache_bytes_per_token = 0; /* releases that keep no prompts on the host */
    o3_auto(free) char *old = o3_outlook_summary(&outlook, false);
    assert_null(strstr(old, "Prompt cache"));
    outlook.ceiling_tokens = outlook.ceiling_at_rest_tokens = 0;
    o3_auto(free) char *nothing = o3_outlook_summary(&outlook, false);
    contains(nothing, "Largest safe num_ctx: none (ram ends there)");
}

static o3_outlook_line line_of(const char *name, int64_t parameters, int64_t now, int64_t at_rest, const char *why_not)
{
    o3_outlook_line l = {.size_bytes = 1 << 30, .parameters = parameters, .trained_tokens = 8192, .ceiling_tokens = now,
                         .ceiling_at_rest_tokens = at_rest, .total_bytes = about(2e8), .speed = speed_of(4096, 2048)};
    O3_COPY(l.name, name);
    O3_COPY(l.why_not, why_not);
    return l;
}

static void all_models(void **state)
{
    (void)state;
    o3_outlook_line lines[] = {
        line_of("embed", -1, -1, -1, "embed only makes embeddings"), line_of("huge", 70000000000, 0, 0, ""),
        line_of("small", 135000000, 8192, 8192, ""), line_of("later", 9000000000, 0, 4096, ""),
        line_of("registry.example/a-name-that-is-far-longer-than-any-table-has-room-for:8b-instruct", 8000000000, 8192,
                8192, ""),
    };
    static const char *const order[] = {"registry", "small", "later", "huge", "embed"};
    o3_outlook_rank(lines, O3_COUNT(lines));
    for (int i = 0; i < O3_COUNT(lines); i++)
        assert_true(!strncmp(lines[i].name, order[i], strlen(order[i])));
    o3_auto(free) char *text = o3_outlook_table(lines, O3_COUNT(lines), false);
    narrow(text);
    contains(text, "…");
    contains(text, "Not predicted: embed only makes embeddings");
    json_t *json = o3_outlook_table_to_json(lines, O3_COUNT(lines));
    const json_t *models = json_object_get(json, "models");
    static const bool runs[] = {true, true, false, false, false};
    for (size_t i = 0; i < json_array_size(models); i++)
        assert_int_equal(json_is_true(json_object_get(json_array_get(models, i), "runs")), runs[i]);
    assert_true(json_is_null(json_object_get(json_array_get(models, 4), "speed")));
    json_decref(json);
    o3_auto(free) char *none = o3_outlook_table(lines, 0, false);
    assert_string_equal(none, "no models\n");
}

static o3_forecast forecast_of(const char *quantity, double mid, double measured, int learned_from)
{
    o3_forecast f = {.predicted = {mid - 10, mid, mid + 10}, .measured = measured, .learned_from = learned_from};
    O3_COPY(f.quantity, quantity);
    return f;
}

static void near(double a, double b)
{
    if (!(fabs(a - b) < 1e-12))
        fail_msg("%.15g is not %.15g", a, b);
}

static void accuracy(void **state)
{
    (void)state;
    /* errors of size_bytes: -0.2, -0.05, 0, +0.05, +0.5; inside: all but the first and the last */
    const o3_forecast forecasts[] = {
        forecast_of("decode_per_s", 120, 100, 1), forecast_of("size_bytes", 150, 100, 0),
        forecast_of("size_bytes", 95, 100, 0),    forecast_of("size_bytes", 105, 100, 0),
        forecast_of("size_bytes", 80, 100, 0),    forecast_of("size_bytes", 100, 100, 0),
        forecast_of("size_bytes", 100, NAN, 0),   forecast_of("size_bytes", NAN, 100, 0),
    };
    o3_accuracy a;
    o3_accuracy_of(&a, forecasts, O3_COUNT(forecasts));
    assert_int_equal(a.count, 2);
    const o3_accuracy_row *r = &a.rows[0];
    assert_string_equal(r->quantity, "size_bytes");
    assert_int_equal(r->count, 5);
    assert_false(r->learned);
    near(r->median_frac, 0.05);
    near(r->p95_frac, 0.5);
    near(r->worst_frac, 0.5);
    near(r->bias_frac, 0);
    near(r->inside_frac, 0.6);
    assert_true(r->inside_low > 0.2 && r->inside_high < 0.9);
    assert_true(a.rows[1].learned);
    near(a.rows[1].worst_frac, 0.2);
    near(a.rows[1].inside_frac, 0);
    o3_auto(free) char *text = o3_accuracy_table(&a, false);
    narrow(text);
    contains(text, "decode_per_s, learned");
    contains(text, "+50.0 %");
    json_t *json = o3_accuracy_to_json(&a);
    near(real_at(json_array_get(json_object_get(json, "quantities"), 0), "inside", "frac"), 0.6);
    json_decref(json);
    o3_accuracy_of(&a, forecasts, 0);
    assert_int_equal(a.count, 0);
}

static json_t *documented(const char *path)
{
    o3_auto(free) char *text = o3_alloc(1 << 17, 1);
    const char *root = getenv("O3_SOURCE_ROOT");
    json_t *json = o3_read_text(root ? root : ".", path, text, 1 << 17) > 0 ? json_loads(text, 0, NULL) : NULL;
    if (!json)
        fail_msg("%s cannot be read", path);
    return json;
}

/* The schema and the document have the same members, at every depth; a member that may be null may be anything. */
static void agree(const json_t *root, const json_t *schema, const json_t *json, const char *path)
{
    const char *ref = json_string_value(json_object_get(schema, "$ref")), *name;
    json_t *value;
    size_t i;
    if (json_object_get(schema, "anyOf"))
        schema = json_array_get(json_object_get(schema, "anyOf"), 0), ref = json_string_value(json_object_get(schema, "$ref"));
    if (ref)
        schema = json_object_get(json_object_get(root, "$defs"), ref + strlen("#/$defs/"));
    assert_non_null(schema);
    json_array_foreach((json_t *)(uintptr_t)json, i, value)
        agree(root, json_object_get(schema, "items"), value, path);
    if (!json_is_object(json))
        return;
    const json_t *properties = json_object_get(schema, "properties");
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        char deeper[256];
        O3_FORMAT(deeper, "%.180s.%.60s", path, name);
        if (!json_object_get(properties, name))
            fail_msg("the schema lacks %s", deeper);
        agree(root, json_object_get(properties, name), value, deeper);
    }
    if (json_object_size(properties) != json_object_size(json))
        fail_msg("%s lacks members of the schema", path);
}

static void schemas(void **state)
{
    (void)state;
    json_t *schema = documented("/docs/schema/predict.schema.json"), *defs = json_object_get(schema, "$defs");
    o3_outlook_line lines[] = {line_of("a", 1, 1, 1, ""), line_of("b", 1, 1, 1, "why not")};
    const o3_forecast forecast = forecast_of("size_bytes", 100, 99, 0);
    o3_accuracy a;
    sample_outlook();
    o3_accuracy_of(&a, &forecast, 1);
    json_t *documents[] = {o3_outlook_to_json(&outlook), o3_outlook_table_to_json(lines, 2), o3_accuracy_to_json(&a)};
    static const char *const names[] = {"prediction", "table", "accuracy"};
    for (int i = 0; i < O3_COUNT(documents); i++) {
        agree(schema, json_object_get(defs, names[i]), documents[i], names[i]);
        json_decref(documents[i]);
    }
    json_decref(schema);
    schema = documented("/docs/schema/result.schema.json");
    json_t *json = o3_profile_to_json(&profile);
    agree(schema, json_object_get(json_object_get(schema, "$defs"), "profile"), json, "profile");
    json_decref(json);
    json_decref(schema);
}

/* The examples of docs/machine.md are what it says they are. */
static void documented_machines(void **state)
{
    (void)state;
    const char *root = getenv("O3_SOURCE_ROOT");
    char *text = o3_alloc(1 << 16, 1);
    int examples = 0;
    assert_true(o3_read_text(root ? root : ".", "/docs/machine.md", text, 1 << 16) > 0);
    for (char *p = strstr(text, "```json\n"); p; p = strstr(p, "```json\n")) {
        char *end = strstr(p += strlen("```json\n"), "```");
        assert_non_null(end);
        *end = '\0';
        if (read_text(p))
            fail_msg("%s", err.message);
        assert_int_equal(back.gpu_count, 1);
        assert_int_equal(back.gpus[0].unified, examples);
        assert_int_equal(back.pools[back.gpus[0].pool].total_bytes, INT64_C(24) << (examples ? 32 : 30)); /* 24, 96 GiB */
        assert_true(back.bandwidth.all_bytes_per_s > 1e10 && back.gpus[0].fp16_flops > 1e13);
        examples++;
        p = end + 1;
    }
    assert_int_equal(examples, 2);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_short_description), cmocka_unit_test(a_reserve), cmocka_unit_test(misfits),
        cmocka_unit_test(a_printed_profile), cmocka_unit_test(outlook_json), cmocka_unit_test(outlook_text),
        cmocka_unit_test(all_models), cmocka_unit_test(accuracy), cmocka_unit_test(schemas),
        cmocka_unit_test(documented_machines),
    };
    o3_config_defaults(&config);
    return cmocka_run_group_tests_name("predict", tests, NULL, NULL);
}
