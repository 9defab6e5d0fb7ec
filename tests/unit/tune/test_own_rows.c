/* SPDX-License-Identifier: Apache-2.0 */
/* Which settings of the whole server are worth a private one: by machine, model, release and what is set already. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tune/tune_impl.h"

#define MIB INT64_C(1048576)

typedef struct world {
    o3_world world;
    o3_request request;
    o3_config config;
    o3_result result;
    o3_profile profile;
    o3_model model;
    o3_setting settings[O3_SERVERS_MAX];
    session session;
} world;

/* A small model in a small pool: memory binds. */
static world *open_world(int64_t pool_mib, const char *env)
{
    world *w = o3_alloc(1, sizeof(*w));
    o3_config_defaults(&w->config);
    w->profile = (o3_profile){.usable_cpus = 2, .cores = 2, .isa = "avx2", .engine_local = true, .engine_env_known = true,
                              .bandwidth = O3_BANDWIDTH_NONE, .pool_count = 1};
    w->profile.pools[0] = (o3_pool){.name = "ram", .total_bytes = pool_mib * MIB, .used_bytes = 0,
                                    .safe_bytes = pool_mib * MIB, .limit_frac = 0.85};
    O3_COPY(w->profile.engine_env, env);
    w->model = (o3_model){.name = "m:1b", .architecture = "llama", .parameters = 135000000, .layers = 30, .embedding = 576,
                          .heads = 9, .heads_kv = 3, .head_dim = 64, .ff = 1536, .vocab = 49152, .experts = -1,
                          .experts_used = -1, .weight_bytes = 92 * MIB, .token_embd_bytes = 18 * MIB,
                          .trained_tokens = 8192, .kv_exact = true};
    for (int i = 0; i < w->model.layers; i++)
        w->model.layer[i] = (o3_layer){.weight_bytes = 2 * MIB, .heads_kv = 3, .key_dim = 64, .value_dim = 64};
    w->session = (session){.world = &w->world, .request = &w->request, .result = &w->result, .profile = &w->profile,
                           .model = &w->model, .config = &w->config, .calibration = O3_CALIBRATION_NONE, .prefix = ""};
    w->session.caps.llama_server = true;
    O3_COPY(w->session.caps.version, "0.32.15");
    o3_notes notes = {0};
    o3_setting_of(&w->session.setting, "0.32.15", env, &notes);
    w->session.setting.knobs.num_batch = 512;
    return w;
}

static const o3_server_row *find(const world *w, const char *name)
{
    for (int i = 0; i < w->result.server_count; i++)
        if (!strcmp(w->result.servers[i].name, name))
            return &w->result.servers[i];
    fail_msg("no row %s", name);
    return NULL;
}

static bool tried(const world *w, const char *name)
{
    return !find(w, name)->note[0];
}

static void memory_binds(void **state)
{
    world *w = open_world(250, "");
    (void)state;
    own_rows_make(&w->session, w->settings);
    const o3_server_row *rows = w->result.servers;
    assert_string_equal(rows[0].name, "as-is");
    assert_true(rows[0].predicted_tokens > 1024 && rows[0].predicted_tokens < 8192);
    assert_string_equal(rows[1].name, "kv-q4_0"); /* the most window first */
    assert_string_equal(rows[2].name, "kv-q8_0");
    assert_true(rows[1].predicted_tokens > rows[2].predicted_tokens);
    assert_true(rows[2].predicted_tokens > rows[0].predicted_tokens);
    assert_string_equal(w->settings[1].kv_type->name, "q4_0");
    assert_true(w->settings[1].flash_attention);
    assert_int_equal(w->settings[1].knobs.num_batch, 512);
    assert_false(tried(w, "flash-on")); /* automatic is on */
    assert_true(tried(w, "flash-off"));
    assert_true(tried(w, "cache-off"));
    assert_false(tried(w, "spread"));
    assert_false(tried(w, "fit-512"));
    assert_non_null(strstr(find(w, "fit-512")->note, "no GPU"));
    assert_false(tried(w, "slots-1"));
    assert_true(tried(w, "slots-2"));
    assert_true(find(w, "slots-2")->predicted_tokens < rows[0].predicted_tokens);
    bool left = false;
    for (int i = 1; i < w->result.server_count; i++) { /* what is left out comes last, with its reason */
        assert_true(!left || rows[i].note[0]);
        left = rows[i].note[0] != '\0';
        assert_true(!left || !strncmp(rows[i].note, "left out: ", 10));
        assert_false(rows[i].measured);
        assert_true(rows[i].window_tokens == -1 && isnan(rows[i].decode_ratio.mid));
    }
    free(w);
}

static void training_binds(void **state)
{
    world *w = open_world(4096, "");
    (void)state;
    own_rows_make(&w->session, w->settings);
    assert_true(w->result.servers[0].predicted_tokens == 8192);
    assert_false(tried(w, "kv-q8_0"));
    assert_non_null(strstr(find(w, "kv-q8_0")->note, "trained"));
    assert_true(tried(w, "slots-4"));
    free(w);
}

static void what_is_set_is_not_tried(void **state)
{
    world *w = open_world(250, "LLAMA_ARG_CACHE_RAM=0\nOLLAMA_FLASH_ATTENTION=1\nOLLAMA_KV_CACHE_TYPE=q8_0\n"
                               "OLLAMA_NUM_PARALLEL=2\n");
    (void)state;
    own_rows_make(&w->session, w->settings);
    assert_false(tried(w, "kv-q8_0"));
    assert_true(tried(w, "kv-q4_0"));
    assert_true(tried(w, "kv-f16"));
    assert_false(tried(w, "cache-off"));
    assert_false(tried(w, "slots-2"));
    assert_true(tried(w, "slots-1"));
    assert_false(tried(w, "flash-off"));
    assert_non_null(strstr(find(w, "flash-off")->note, "needs flash attention"));
    free(w);
}

static void release_model_and_configuration(void **state)
{
    world *w = open_world(250, "");
    (void)state;
    w->session.caps.llama_server = false;
    O3_COPY(w->session.caps.version, "0.24.0");
    w->model.one_slot = true;
    own_rows_make(&w->session, w->settings);
    assert_false(tried(w, "cache-off"));
    assert_false(tried(w, "slots-2"));
    assert_non_null(strstr(find(w, "slots-2")->note, "one slot"));
    w->model.one_slot = false;
    O3_COPY(w->session.caps.version, "0.32.15");
    w->config.testing.concurrency_progression.levels = (o3_int_list){.count = 2, .values = {1, 2}};
    own_rows_make(&w->session, w->settings);
    assert_true(tried(w, "slots-2"));
    assert_non_null(strstr(find(w, "slots-4")->note, "no level"));
    free(w);
}

static void nothing_fits(void **state)
{
    world *w = open_world(90, "");
    (void)state;
    own_rows_make(&w->session, w->settings);
    assert_int_equal(w->result.servers[0].predicted_tokens, 0);
    for (int i = 1; i < w->result.server_count; i++)
        assert_true(w->result.servers[i].note[0]);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_binds), cmocka_unit_test(training_binds), cmocka_unit_test(what_is_set_is_not_tried),
        cmocka_unit_test(release_model_and_configuration), cmocka_unit_test(nothing_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
