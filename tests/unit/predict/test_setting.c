/* SPDX-License-Identifier: Apache-2.0 */
/* What a server's version and environment say, and what the model makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "predict/predict_impl.h"

static void eras(void **state)
{
    (void)state;
    static const struct {
        const char *version;
        o3_era era;
    } rows[] = {{"0.24.0", O3_ERA_A},      {"v0.6.2", O3_ERA_A},  {"0.30.0", O3_ERA_MIDDLE}, {"0.30.4", O3_ERA_MIDDLE},
                {"0.30.5", O3_ERA_C},      {"0.32.15", O3_ERA_C}, {"0.33.0-rc1", O3_ERA_C},  {"1.0.0", O3_ERA_C},
                {"0.0.0", O3_ERA_C},       {"", O3_ERA_C},        {"unknown", O3_ERA_C}};
    for (int i = 0; i < O3_COUNT(rows); i++)
        assert_int_equal(o3_era_of(rows[i].version), rows[i].era);
}

static void environment(void **state)
{
    (void)state;
    o3_notes notes = {0};
    o3_setting s;
    o3_setting_of(&s, "0.32.15", "", &notes);
    assert_int_equal(s.parallel, 1);
    assert_true(s.flash_attention && s.flash_auto && !s.kv_unified);
    assert_string_equal(s.kv_type->name, "f16");
    assert_int_equal(s.fit_target_bytes, 1024L << 20);
    assert_int_equal(s.threads, 0);
    o3_setting_of(&s, "0.32.15", "LLAMA_ARG_FIT_TARGET=1850\nLLAMA_ARG_THREADS=4\nLLAMA_ARG_KV_UNIFIED=1\nOLLAMA_FLASH_ATTENTION=\"false\"\n"
                  "OLLAMA_KV_CACHE_TYPE=F16\nOLLAMA_NUM_PARALLEL= 4 \n", &notes);
    assert_int_equal(s.parallel, 4);
    assert_true(!s.flash_attention && !s.flash_auto && s.kv_unified);
    assert_int_equal(s.fit_target_bytes, 1850L << 20);
    assert_int_equal(s.threads, 4);
    assert_int_equal(notes.count, 0);
    o3_setting_of(&s, "0.32.15", "OLLAMA_KV_CACHE_TYPE=q3_7\n", &notes);
    assert_string_equal(s.kv_type->name, "f16");
    assert_int_equal(notes.count, 1);
    o3_setting_of(&s, "0.32.15", "OLLAMA_KV_CACHE_TYPE=q8_0\nOLLAMA_FLASH_ATTENTION=0\n", &notes);
    assert_int_equal(notes.count, 2); /* loads will fail */
}

static o3_model *model_new(const char *architecture, int head)
{
    o3_model *m = o3_alloc(1, sizeof(*m));
    *m = (o3_model){.layers = 2, .heads = 8, .heads_kv = 8, .head_dim = head, .embedding = 8 * head, .kv_exact = true};
    O3_COPY(m->architecture, architecture);
    for (int i = 0; i < m->layers; i++)
        m->layer[i] = (o3_layer){.heads_kv = 8, .key_dim = head, .value_dim = head};
    return m;
}

typedef struct row {
    const char *version, *env, *architecture;
    int head;
    bool one_slot, fused;
    const char *kv;   /* what it comes to */
    int parallel;
    bool flash;
    const char *said; /* in the only note; NULL = none */
} row;

static const row rows[] = {
    {"0.32.15", "OLLAMA_NUM_PARALLEL=4\n", "qwen3next", 256, true, false, "f16", 1, true, "one slot"},
    {"0.32.15", "OLLAMA_NUM_PARALLEL=4\n", "llama", 128, false, false, "f16", 4, true, NULL},
    {"0.32.15", "OLLAMA_KV_CACHE_TYPE=q8_0\n", "llama", 80, false, false, "q8_0", 1, true, "blocks of 32"},
    {"0.32.15", "OLLAMA_KV_CACHE_TYPE=q8_0\nOLLAMA_NUM_PARALLEL=2\n", "phi3", 128, false, true, "q8_0", 2, true, "aborts"},
    {"0.32.15", "OLLAMA_KV_CACHE_TYPE=q8_0\nOLLAMA_NUM_PARALLEL=2\nLLAMA_ARG_KV_UNIFIED=1\n", "phi3", 128, false, true,
     "q8_0", 2, true, NULL},
    {"0.32.15", "OLLAMA_KV_CACHE_TYPE=q8_0\n", "phi3", 128, false, true, "q8_0", 1, true, NULL},
    /* heads of 96 are not turned: phi3-mini loads */
    {"0.32.15", "OLLAMA_KV_CACHE_TYPE=q8_0\nOLLAMA_NUM_PARALLEL=2\n", "phi3", 96, false, true, "q8_0", 2, true, NULL},
    {"0.32.15", "OLLAMA_KV_CACHE_TYPE=q4_0\n", "granitemoe", 64, false, false, "q4_0", 1, true, "aborts"},
    /* before 0.30: quantised caches only with flash attention, which llama.cpp's models must be asked for */
    {"0.24.0", "OLLAMA_KV_CACHE_TYPE=q8_0\n", "llama", 64, false, false, "f16", 1, true, "ignores"},
    {"0.24.0", "OLLAMA_KV_CACHE_TYPE=q8_0\nOLLAMA_FLASH_ATTENTION=1\n", "llama", 64, false, false, "q8_0", 1, true, NULL},
    {"0.24.0", "OLLAMA_KV_CACHE_TYPE=q5_1\nOLLAMA_FLASH_ATTENTION=1\n", "llama", 64, false, false, "f16", 1, true, "ignores"},
    {"0.24.0", "OLLAMA_KV_CACHE_TYPE=q8_0\n", "gemma3", 256, false, false, "q8_0", 1, true, NULL},
    {"0.24.0", "", "llama4", 128, false, false, "f16", 1, false, NULL},
};

static void by_model(void **state)
{
    (void)state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        const row *r = &rows[i];
        o3_auto(free) o3_model *m = model_new(r->architecture, r->head);
        o3_notes notes = {0};
        o3_setting s;
        m->one_slot = r->one_slot;
        m->fused_qkv = r->fused;
        o3_setting_of(&s, r->version, r->env, &notes);
        o3_setting_for(&s, m, &notes);
        assert_string_equal(s.kv_type->name, r->kv);
        assert_int_equal(s.parallel, r->parallel);
        assert_int_equal(s.flash_attention, r->flash);
        if (notes.count != (r->said != NULL) || (r->said && !strstr(notes.text[0], r->said)))
            fail_msg("row %d: %d notes, %s", i, notes.count, notes.count ? notes.text[0] : "none");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(eras), cmocka_unit_test(environment), cmocka_unit_test(by_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
