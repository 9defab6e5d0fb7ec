/* SPDX-License-Identifier: Apache-2.0 */
/* What o3 predict answers is put together right; the numbers themselves are predict's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "o3/tune.h"

#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

static o3_profile profile;
static o3_model model;
static o3_outlook outlook;
static o3_config config;
static o3_setting setting;
static o3_calibration nothing_learned;

/* smollm2:135m on two cores with this much RAM, some of it in use by others and by loaded models. */
static void scene(int64_t ram, int64_t used, int64_t models)
{
    o3_notes notes = {0};
    nothing_learned = O3_CALIBRATION_NONE;
    o3_config_defaults(&config);
    profile = (o3_profile){.usable_cpus = 2, .engine_local = true, .engine_pid = -1, .ram_bytes = ram, .pool_count = 1,
                           .bandwidth = O3_BANDWIDTH_NONE};
    profile.pools[0] = (o3_pool){.name = "ram", .total_bytes = ram, .used_bytes = used, .models_bytes = models,
                                 .safe_bytes = (int64_t)(0.85 * (double)ram), .limit_frac = 0.85};
    model = (o3_model){.name = "m", .digest = "sha256:m", .architecture = "llama", .file_bytes = 98 * MIB,
                       .parameters = 134515008, .trained_tokens = 8192, .layers = 30, .embedding = 576, .heads = 9,
                       .heads_kv = 3, .ff = 1536, .vocab = 49152, .head_dim = 64, .rope_factor = NAN,
                       .token_embd_bytes = 30 * MIB, .largest_tensor_bytes = 30 * MIB, .kv_exact = true};
    for (int i = 0; i < model.layers; i++)
        model.layer[i] = (o3_layer){.weight_bytes = 2 * MIB, .heads_kv = 3, .key_dim = 64, .value_dim = 64};
    model.weight_bytes = 90 * MIB;
    o3_setting_of(&setting, "0.32.15", "", &notes);
    setting.knobs.num_ctx = 4096;
}

static void make(void)
{
    o3_outlook_make(&outlook, &config, &profile, &model, "0.32.15", &setting, &nothing_learned);
}

static void default_windows(void **state)
{
    (void)state;
    scene(64 * GIB, 0, 0);
    model.trained_tokens = 1 << 20;
    assert_int_equal(o3_default_window(&profile, &model, "0.32.15"), 4096);
    profile.pools[1] = (o3_pool){.total_bytes = 24 * GIB};
    profile.pool_count = 2;
    profile.gpus[0].pool = profile.gpus[1].pool = 1;
    profile.gpu_count = 1;
    static const struct {
        const char *version;
        int gpus;
        int64_t window;
    } rows[] = {{"0.32.15", 1, 32768}, {"0.15.5", 1, 32768}, {"0.15.4", 1, 4096}, {"0.9.6", 2, 4096},
                {"v0.16.0-rc1", 2, 262144}, {"0.0.0", 2, 262144}, {"", 1, 32768}, {"1.0.0", 1, 32768}};
    for (int i = 0; i < O3_COUNT(rows); i++) {
        profile.gpu_count = rows[i].gpus;
        assert_int_equal(o3_default_window(&profile, &model, rows[i].version), rows[i].window);
    }
    O3_COPY(profile.engine_env, "A=1\nOLLAMA_CONTEXT_LENGTH=16384\nB=2\n");
    assert_int_equal(o3_default_window(&profile, &model, "0.32.15"), 16384);
    model.trained_tokens = 8192;
    assert_int_equal(o3_default_window(&profile, &model, "0.32.15"), 8192);
}

static bool noted(const char *words)
{
    for (int i = 0; i < outlook.notes.count; i++)
        if (strstr(outlook.notes.text[i], words))
            return true;
    return false;
}

/* Between the full speed of one row and of the next. */
static void a_floor(void **state)
{
    (void)state;
    scene(64 * GIB, 0, 0);
    make();
    assert_false(noted("floor"));
    const o3_outlook_row *rows = outlook.rows;
    double between = (rows[2].full.decode_per_s.mid + rows[3].full.decode_per_s.mid) / 2;
    double long_s = (rows[1].full.ttft_ms.mid + rows[2].full.ttft_ms.mid) / 2000;
    assert_int_equal(rows[2].num_ctx, 4096);
    config.objectives.min_decode_per_s = between;
    make();
    assert_true(noted("up to num_ctx 4096"));
    config.objectives.max_ttft_s = long_s;
    make();
    assert_true(noted("up to num_ctx 3072"));
    config.objectives.min_decode_per_s = 1e6;
    make();
    assert_true(noted("no window"));
}

static void the_table(void **state)
{
    (void)state;
    static const int64_t wanted[] = {2048, 3072, 4096, 5000, 6144, 8192};
    scene(64 * GIB, 0, 0);
    setting.knobs.num_ctx = 5000;
    make();
    assert_int_equal(outlook.row_count, O3_COUNT(wanted));
    for (int i = 0; i < outlook.row_count; i++) {
        const o3_outlook_row *row = &outlook.rows[i];
        assert_int_equal(row->num_ctx, wanted[i]);
        assert_true(row->fits && row->half.depth_tokens == wanted[i] / 2 && row->full.depth_tokens == wanted[i]);
    }
    assert_int_equal(outlook.ceiling_tokens, 8192);
    assert_int_equal(outlook.ceiling_at_rest_tokens, 8192);
    assert_int_equal(outlook.limiting, -1);
    assert_true(outlook.optimize_s > 1 && outlook.optimize_s < 86400);
    assert_true(isnan(outlook.on_device_decode_per_s.mid));
    setting.knobs.num_ctx = 100; /* before the first row */
    make();
    assert_int_equal(outlook.rows[0].num_ctx, 100);
}

/* The estimate in every row is predict's own. */
static void rows_are_predictions(void **state)
{
    (void)state;
    scene(64 * GIB, 0, 0);
    make();
    for (int i = 0; i < outlook.row_count; i++) {
        o3_estimate e;
        o3_setting at = o3_setting_at(&setting, outlook.rows[i].num_ctx);
        o3_predict(&e, &profile, &model, &at, &nothing_learned);
        assert_true(e.total_bytes.high == outlook.rows[i].total_bytes.high);
    }
}

static void what_others_use(void **state)
{
    (void)state;
    scene(GIB, 700 * MIB, 400 * MIB); /* 870 MiB are safe: 170 now, 570 without the loaded models */
    make();
    assert_int_equal(outlook.limiting, 0);
    assert_true(outlook.ceiling_tokens < 4096);
    assert_int_equal(outlook.ceiling_at_rest_tokens, 8192);
    assert_false(outlook.fits);
    const o3_outlook_row *last = &outlook.rows[outlook.row_count - 1];
    assert_int_equal(last->num_ctx, 4096); /* what was asked for is shown, also past the ceiling */
    assert_false(last->fits);
    for (int i = 0; i < outlook.row_count; i++)
        assert_int_equal(outlook.rows[i].fits, outlook.rows[i].num_ctx <= outlook.ceiling_tokens);
    scene(GIB, 860 * MIB, 0);
    make();
    assert_int_equal(outlook.ceiling_tokens, 0);
    assert_int_equal(outlook.ceiling_at_rest_tokens, 0);
    assert_true(isnan(outlook.optimize_s));
}

static void above_the_trained_context(void **state)
{
    (void)state;
    scene(64 * GIB, 0, 0);
    setting.knobs.num_ctx = 1 << 30;
    make();
    assert_int_equal(outlook.estimate.setting.knobs.num_ctx, 8192);
    assert_int_equal(outlook.rows[outlook.row_count - 1].num_ctx, 8192);
    bool said = false;
    for (int i = 0; i < outlook.notes.count; i++)
        said = said || strstr(outlook.notes.text[i], "1073741824");
    assert_true(said);
}

/* No pool is known (the server is elsewhere): no ceiling is claimed, and the table ends at the trained context. */
static void no_limit_known(void **state)
{
    (void)state;
    o3_outlook_line line;
    scene(64 * GIB, 0, 0);
    profile.pool_count = 0;
    make();
    assert_int_equal(outlook.ceiling_tokens, -1);
    assert_int_equal(outlook.ceiling_at_rest_tokens, -1);
    assert_true(outlook.fits && isnan(outlook.optimize_s));
    assert_int_equal(outlook.rows[outlook.row_count - 1].num_ctx, 8192);
    model.trained_tokens = -1;
    make();
    assert_int_equal(outlook.rows[outlook.row_count - 1].num_ctx, 4096);
    o3_outlook_line_make(&line, &profile, &model, "0.32.15", &setting, &nothing_learned);
    assert_int_equal(line.ceiling_tokens, -1);
    assert_int_equal(line.speed.num_ctx, 4096);
}

/* Only llama-server keeps prompts on the host. */
static void prompt_cache(void **state)
{
    (void)state;
    scene(64 * GIB, 0, 0);
    make();
    assert_int_equal(outlook.estimate.prompt_cache_bytes_per_token, 30 * 3 * 128 * 2);
    setting.era = O3_ERA_A;
    make();
    assert_int_equal(outlook.estimate.prompt_cache_bytes_per_token, 0);
}

/* A line speaks of a window that the machine can hold. */
static void lines(void **state)
{
    (void)state;
    o3_outlook_line line;
    scene(64 * GIB, 0, 0);
    setting.knobs.num_ctx = O3_UNSET;
    o3_outlook_line_make(&line, &profile, &model, "0.32.15", &setting, &nothing_learned);
    assert_int_equal(line.speed.num_ctx, 4096);
    assert_int_equal(line.speed.depth_tokens, 2048);
    assert_int_equal(line.ceiling_tokens, 8192);
    scene(GIB, 700 * MIB, 0);
    setting.knobs.num_ctx = O3_UNSET;
    o3_outlook_line_make(&line, &profile, &model, "0.32.15", &setting, &nothing_learned);
    assert_true(line.ceiling_tokens < 4096);
    assert_int_equal(line.speed.num_ctx, line.ceiling_tokens > 0 ? line.ceiling_tokens : 4096);
}

static void names(void **state)
{
    (void)state;
    o3_auto(free) o3_engine_models *models = o3_alloc(1, sizeof(*models));
    models->count = 3;
    O3_COPY(models->items[0].name, "ab:latest");
    O3_COPY(models->items[1].name, "a:latest");
    O3_COPY(models->items[2].name, "a:8b");
    assert_ptr_equal(o3_survey_model(models, "a"), &models->items[1]);
    assert_ptr_equal(o3_survey_model(models, "a:8b"), &models->items[2]);
    assert_ptr_equal(o3_survey_model(models, "ab:latest"), &models->items[0]);
    assert_null(o3_survey_model(models, "b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_windows), cmocka_unit_test(a_floor), cmocka_unit_test(the_table), cmocka_unit_test(rows_are_predictions),
        cmocka_unit_test(what_others_use), cmocka_unit_test(above_the_trained_context), cmocka_unit_test(no_limit_known),
        cmocka_unit_test(prompt_cache), cmocka_unit_test(lines), cmocka_unit_test(names),
    };
    return cmocka_run_group_tests_name("outlook", tests, NULL, NULL);
}
