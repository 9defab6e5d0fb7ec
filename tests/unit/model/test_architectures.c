/* SPDX-License-Identifier: Apache-2.0 */
/* What each family keeps, layer by layer. Expected numbers are worked out here from the dimensions and the rules of
 * llama.cpp's caches (docs/prediction.md), not by the code under test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "o3/model.h"

/* Layers, embedding and context of a model, then its own keys and tensors. A key is written without its prefix. */
static json_t *show_of(const char *architecture, int layers, int embedding, const char *keys, const char *tensors)
{
    char key[128];
    json_t *given = json_loads(keys, 0, NULL), *list = json_loads(tensors, 0, NULL), *info = json_object(), *value;
    const char *name;
    if (!given || !list)
        fail_msg("the test's own JSON of %s is wrong", architecture);
    json_object_foreach(given, name, value) {
        O3_FORMAT(key, "%s.%s", architecture, name);
        json_object_set(info, key, value);
    }
    json_object_set_new(info, "general.architecture", json_string(architecture));
    O3_FORMAT(key, "%s.block_count", architecture);
    json_object_set_new(info, key, json_integer(layers));
    O3_FORMAT(key, "%s.embedding_length", architecture);
    json_object_set_new(info, key, json_integer(embedding));
    O3_FORMAT(key, "%s.context_length", architecture);
    json_object_set_new(info, key, json_integer(131072));
    json_decref(given);
    return json_pack("{s:[s], s:o, s:o}", "capabilities", "completion", "model_info", info, "tensors", list);
}

static o3_model *parse(const char *architecture, int layers, int embedding, const char *keys, const char *tensors)
{
    o3_model *model = o3_alloc(1, sizeof(*model));
    json_t *show = show_of(architecture, layers, embedding, keys, tensors);
    o3_err err = {0};
    if (o3_model_parse(model, "m", show, NULL, &err))
        fail_msg("%s: %s", architecture, err.message);
    json_decref(show);
    return model;
}

static void layer_is(const o3_model *m, int i, int heads_kv, int key, int value, int window, int64_t state)
{
    const o3_layer *l = &m->layer[i];
    if (l->heads_kv != heads_kv || l->window_tokens != window || l->state_bytes != state ||
        (heads_kv && (l->key_dim != key || l->value_dim != value)))
        fail_msg("%s layer %d: heads %d of %d + %d, window %d, state %lld; wanted %d of %d + %d, %d, %lld",
                 m->architecture, i, l->heads_kv, l->key_dim, l->value_dim, l->window_tokens, (long long)l->state_bytes,
                 heads_kv, key, value, window, (long long)state);
}

static void exact(const o3_model *m, bool wanted)
{
    if (m->kv_exact != wanted)
        fail_msg("%s: KV is %s; first note: %s", m->architecture, wanted ? "not exact" : "taken for exact",
                 m->notes.count ? m->notes.text[0] : "none");
    if (!wanted)
        assert_true(m->notes.count > 0);
}

static void llama(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m =
        parse("llama", 2, 4096, "{\"attention.head_count\":32,\"attention.head_count_kv\":8,\"feed_forward_length\":14336,"
              "\"rope.scaling.type\":\"linear\",\"rope.scaling.factor\":8.0,\"attention.sliding_window\":4096}",
              "[{\"name\":\"token_embd.weight\",\"type\":\"F16\",\"shape\":[4096,128256]},"
              "{\"name\":\"v.blk.0.x\",\"type\":\"F16\",\"shape\":[10]},{\"name\":\"mm.0\",\"type\":\"F16\",\"shape\":[5]},"
              "{\"name\":\"blk.1.ffn_up.weight\",\"type\":\"F32\",\"shape\":[4096,2]}]");
    layer_is(m, 0, 8, 128, 128, 0, 0); /* the engine has no window for this architecture */
    layer_is(m, 1, 8, 128, 128, 0, 0);
    exact(m, true);
    assert_int_equal(m->vocab, 128256);
    assert_int_equal(m->head_dim, 128);
    assert_int_equal(m->projector_bytes, 30);
    assert_true(m->has_vision);
    assert_int_equal(m->weight_bytes, 4096 * 128256LL * 2 + 4096 * 2 * 4);
    assert_int_equal(m->largest_tensor_bytes, m->token_embd_bytes);
    assert_int_equal(m->output_bytes, 0); /* tied */
    assert_int_equal(m->layer[1].weight_bytes, 4096 * 2 * 4);
    assert_string_equal(m->rope_scaling, "linear");
    assert_float_equal(m->rope_factor, 8, 0);
    assert_false(m->fused_qkv);
    assert_int_equal(m->mixer, O3_MIXER_NONE);
}

static void qwen3moe(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m =
        parse("qwen3moe", 2, 2048, "{\"attention.head_count\":32,\"attention.head_count_kv\":4,"
              "\"attention.key_length\":128,\"attention.value_length\":128,\"feed_forward_length\":6144,"
              "\"expert_count\":128,\"expert_used_count\":8,\"expert_feed_forward_length\":768}",
              "[{\"name\":\"blk.0.ffn_gate_exps.weight\",\"type\":\"F16\",\"shape\":[2048,768,128]},"
              "{\"name\":\"blk.0.ffn_gate_inp.weight\",\"type\":\"F32\",\"shape\":[2048,128]},"
              "{\"name\":\"blk.1.ffn_up.3.weight\",\"type\":\"F16\",\"shape\":[2048,768]}]");
    layer_is(m, 1, 4, 128, 128, 0, 0);
    assert_int_equal(m->ff, 768);
    assert_int_equal(m->experts, 128);
    assert_int_equal(m->experts_used, 8);
    assert_int_equal(m->layer[0].expert_bytes, 2048 * 768 * 128LL * 2);
    assert_int_equal(m->layer[0].weight_bytes, m->layer[0].expert_bytes + 2048 * 128 * 4);
    assert_int_equal(m->layer[1].expert_bytes, 2048 * 768 * 2); /* as old files have them */
    exact(m, true);
}

static void sliding_windows(void **state)
{
    (void)state;
    static const struct {
        const char *architecture, *keys;
        int window;
        const char *pattern; /* w: window */
    } cases[] = {
        {"gemma2", "", 4096, "w-w-w-w-"}, /* its window has a default */
        {"gemma3", ",\"attention.sliding_window\":512", 512, "wwwww-ww"},
        {"gemma3", "", 0, "--------"},
        {"gemma3", ",\"attention.sliding_window\":512,\"attention.sliding_window_pattern\":2", 512, "w-w-w-w-"},
        {"gemma3n", ",\"attention.sliding_window\":512,\"attention.sliding_window_pattern\":null", 512, "wwww-www"},
        {"gpt-oss", ",\"attention.sliding_window\":128", 128, "w-w-w-w-"},
        {"gptoss", ",\"attention.sliding_window\":128", 128, "w-w-w-w-"},
        {"cohere2", ",\"attention.sliding_window\":4096", 4096, "www-www-"},
        {"olmo3", ",\"attention.sliding_window\":4096", 4096, "www-www-"},
        {"laguna", ",\"attention.sliding_window\":512", 512, "-www-www"},
        {"llama4", "", 8192, "www-www-"},
        {"llama4", ",\"attention.sliding_window\":0", 0, "--------"},
        {"exaone4", ",\"attention.sliding_window\":4096", 0, "--------"}, /* only its model of 64 layers */
        {"glm4", "", 0, "--------"},
        {"phi3", ",\"attention.sliding_window\":2047", 0, "--------"},    /* the engine ignores it */
        {"mimo2", ",\"attention.sliding_window\":128,\"attention.sliding_window_pattern\":[0,1,1,0,1,1,0,1]", 128,
         "-ww-ww-w"},
    };
    (void)state;
    for (int c = 0; c < O3_COUNT(cases); c++) {
        char keys[512];
        O3_FORMAT(keys, "{\"attention.head_count\":8,\"attention.head_count_kv\":2,\"attention.key_length\":64,"
                  "\"attention.value_length\":64%s}", cases[c].keys);
        o3_auto(free) o3_model *m = parse(cases[c].architecture, 8, 512, keys, "[]");
        for (int i = 0; i < 8; i++)
            layer_is(m, i, 2, 64, 64, cases[c].pattern[i] == 'w' ? cases[c].window : 0, 0);
        exact(m, true);
        assert_int_equal(m->fused_qkv, !strcmp(cases[c].architecture, "phi3"));
    }
}

static void gemma4_shares_and_narrows(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m =
        parse("gemma4", 4, 1024, "{\"attention.head_count\":8,\"attention.head_count_kv\":[4,1,4,1],"
              "\"attention.key_length\":512,\"attention.value_length\":512,\"attention.key_length_swa\":256,"
              "\"attention.value_length_swa\":256,\"attention.sliding_window\":1024,"
              "\"attention.sliding_window_pattern\":[true,false,true,false],\"attention.shared_kv_layers\":1,"
              "\"feed_forward_length\":[2048,4096,2048,4096]}", "[]");
    layer_is(m, 0, 4, 256, 256, 1024, 0);
    layer_is(m, 1, 1, 512, 512, 0, 0);
    layer_is(m, 2, 4, 256, 256, 1024, 0);
    layer_is(m, 3, 0, 0, 0, 0, 0);
    assert_int_equal(m->ff, 4096);
    assert_int_equal(m->heads_kv, 4);
    exact(m, true);
}

static void gemma3n_keeps_kv_in_20_layers(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m = parse("gemma3n", 30, 2048, "{\"attention.head_count\":8,\"attention.head_count_kv\":2,"
                                      "\"attention.key_length\":256,\"attention.value_length\":256,"
                                      "\"attention.sliding_window\":512}", "[]");
    layer_is(m, 18, 2, 256, 256, 512, 0);
    layer_is(m, 19, 2, 256, 256, 0, 0);
    layer_is(m, 20, 0, 0, 0, 0, 0);
}

static void mla(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m =
        parse("deepseek2", 3, 2048, "{\"attention.head_count\":16,\"attention.head_count_kv\":1,"
              "\"attention.key_length\":576,\"attention.value_length\":512,\"attention.kv_lora_rank\":512,"
              "\"rope.dimension_count\":64,\"attention.key_length_mla\":192,\"attention.value_length_mla\":128,"
              "\"expert_count\":64,\"expert_used_count\":6,\"expert_feed_forward_length\":1408,\"expert_shared_count\":2,"
              "\"feed_forward_length\":10944,\"leading_dense_block_count\":1,\"attention.q_lora_rank\":1536,"
              "\"nextn_predict_layers\":1}", "[]");
    layer_is(m, 0, 1, 576, 512, 0, 0);
    assert_int_equal(m->mixer, O3_MIXER_MLA);
    assert_int_equal(m->mla_kv_lora, 512);
    assert_int_equal(m->mla_rope, 64);
    assert_int_equal(m->mla_key, 192);
    assert_int_equal(m->mla_value, 128);
    assert_int_equal(m->experts_shared_ff, 2 * 1408);
    assert_int_equal(m->ff, 1408);
    assert_int_equal(m->dense_lead, 1);
    assert_int_equal(m->ff_dense, 10944);
    assert_int_equal(m->mla_q_lora, 1536);
    assert_int_equal(m->draft_layers, 1);
    assert_int_equal(m->notes.count, 1); /* what is not counted of the draft layer */
    exact(m, true);

    /* Ollama's GLM-4.7-flash: heads and widths before compression. */
    o3_auto(free) o3_model *glm =
        parse("glm4moelite", 2, 2048, "{\"attention.head_count\":20,\"attention.head_count_kv\":20,"
              "\"attention.key_length\":256,\"attention.value_length\":256,\"attention.kv_lora_rank\":512,"
              "\"rope.dimension_count\":64}", "[]");
    layer_is(glm, 1, 1, 576, 512, 0, 0);
    assert_int_equal(glm->mla_key, 256);
    assert_int_equal(glm->heads_kv, 1);
    exact(glm, true);

    /* A file from before the compressed cache keeps all heads. */
    o3_auto(free) o3_model *old =
        parse("deepseek2", 1, 2048, "{\"attention.head_count\":16,\"attention.head_count_kv\":16,"
              "\"attention.key_length\":192,\"attention.value_length\":128,\"attention.kv_lora_rank\":512}", "[]");
    layer_is(old, 0, 16, 192, 128, 0, 0);
    assert_int_equal(old->mixer, O3_MIXER_NONE);
    exact(old, true);
}

static void delta_net(void **state)
{
    (void)state;
    /* f32: 3 inputs of the convolution for 2 x 16 groups of 128 and 4096 values, and 128 x 4096 of state */
    int64_t s = 4 * (3 * (4096 + 2 * 16 * 128) + 128 * 4096);
    static const char *const heads[] = {"2", "[0,0,0,2,0,0,0,2]"}; /* llama.cpp's files, Ollama's own */
    for (int h = 0; h < O3_COUNT(heads); h++) {
        char keys[640];
        O3_FORMAT(keys, "{\"attention.head_count\":16,\"attention.head_count_kv\":%s,\"attention.key_length\":256,"
                  "\"attention.value_length\":256,\"full_attention_interval\":4,\"ssm.conv_kernel\":4,"
                  "\"ssm.inner_size\":4096,\"ssm.state_size\":128,\"ssm.time_step_rank\":32,\"ssm.group_count\":16}",
                  heads[h]);
        o3_auto(free) o3_model *m = parse(h ? "qwen35" : "qwen3next", 8, 2048, keys,
                                          "[{\"name\":\"blk.0.attn_qkv.weight\",\"type\":\"F32\",\"shape\":[2048,2]}]");
        for (int i = 0; i < 8; i++)
            layer_is(m, i, i % 4 == 3 ? 2 : 0, 256, 256, 0, i % 4 == 3 ? 0 : s);
        assert_int_equal(m->mixer, O3_MIXER_DELTA_NET);
        assert_true(m->one_slot);
        assert_false(m->fused_qkv); /* the one of the recurrent layers is another thing */
        exact(m, true);
    }
}

#define MAMBA "\"ssm.conv_kernel\":4,\"ssm.inner_size\":3072,\"ssm.state_size\":128,\"ssm.time_step_rank\":48," \
              "\"ssm.group_count\":1"

static void mamba_hybrids(void **state)
{
    (void)state;
    int64_t s = 4 * (3 * (3072 + 2 * 1 * 128) + 128 * 3072);
    o3_auto(free) o3_model *granite =
        parse("granitehybrid", 3, 1536, "{\"attention.head_count\":12,\"attention.head_count_kv\":[0,4,0]," MAMBA
              ",\"attention.key_length\":128,\"attention.value_length\":128,\"expert_count\":64,\"expert_used_count\":6,"
              "\"expert_feed_forward_length\":512,\"expert_shared_feed_forward_length\":1024}", "[]");
    layer_is(granite, 0, 0, 0, 0, 0, s);
    layer_is(granite, 1, 4, 128, 128, 0, 0);
    layer_is(granite, 2, 0, 0, 0, 0, s);
    assert_int_equal(granite->mixer, O3_MIXER_MAMBA);
    assert_int_equal(granite->ssm_inner, 3072);
    assert_int_equal(granite->ssm_dt_rank, 48);
    assert_int_equal(granite->experts_shared_ff, 1024);
    assert_false(granite->one_slot);
    exact(granite, true);

    /* Attention, Mamba or feed-forward alone in a layer. */
    o3_auto(free) o3_model *nemotron =
        parse("nemotron_h", 3, 1536, "{\"attention.head_count\":12,\"attention.head_count_kv\":[0,4,0]," MAMBA
              ",\"feed_forward_length\":[0,0,9000],\"attention.key_length\":128,\"attention.value_length\":128}", "[]");
    layer_is(nemotron, 0, 0, 0, 0, 0, s);
    layer_is(nemotron, 1, 4, 128, 128, 0, 0);
    layer_is(nemotron, 2, 0, 0, 0, 0, 0);
    assert_int_equal(nemotron->ff, 9000);
    exact(nemotron, true);

    o3_auto(free) o3_model *falcon = parse("falcon-h1", 2, 1536, "{\"attention.head_count\":12,"
                                           "\"attention.head_count_kv\":4," MAMBA ",\"attention.key_length\":128,"
                                           "\"attention.value_length\":128}", "[]");
    layer_is(falcon, 1, 4, 128, 128, 0, s);
    exact(falcon, true);

    o3_auto(free) o3_model *mamba = parse("mamba2", 2, 1536, "{" MAMBA "}", "[]");
    layer_is(mamba, 1, 0, 0, 0, 0, s);
    exact(mamba, true);
}

static void other_states(void **state)
{
    (void)state;
    o3_auto(free) o3_model *lfm =
        parse("lfm2", 3, 2048, "{\"attention.head_count\":32,\"attention.head_count_kv\":[0,0,8],\"shortconv.l_cache\":3,"
              "\"feed_forward_length\":12288}",
              "[{\"name\":\"blk.0.ffn_down.weight\",\"type\":\"F16\",\"shape\":[8192,2048]}]");
    layer_is(lfm, 1, 0, 0, 0, 0, 4 * 2048 * 2);
    layer_is(lfm, 2, 8, 64, 64, 0, 0);
    assert_int_equal(lfm->mixer, O3_MIXER_SHORTCONV);
    assert_int_equal(lfm->ff, 8192); /* the shape, not the wrong key of Ollama's files */
    assert_true(lfm->one_slot);
    exact(lfm, true);

    o3_auto(free) o3_model *rwkv = parse("rwkv7", 2, 2048, "{\"wkv.head_size\":64,\"attention.head_count_kv\":0}", "[]");
    layer_is(rwkv, 0, 0, 0, 0, 0, 4 * 2048 * (2 + 64));
    exact(rwkv, true);

    o3_auto(free) o3_model *kimi =
        parse("kimi-linear", 2, 2304, "{\"attention.head_count\":32,\"attention.head_count_kv\":[0,1],"
              "\"attention.key_length\":576,\"attention.value_length\":512,\"attention.kv_lora_rank\":512,"
              "\"attention.key_length_mla\":192,\"attention.value_length_mla\":128,\"kda.head_dim\":128,"
              "\"ssm.conv_kernel\":4,\"rope.dimension_count\":64}", "[]");
    layer_is(kimi, 0, 0, 0, 0, 0, 4 * 32 * (3 * 3 * 128 + 128 * 128));
    layer_is(kimi, 1, 1, 576, 512, 0, 0);
    exact(kimi, true);
}

static void an_unknown_architecture_is_an_upper_estimate(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m =
        parse("tomorrow", 4, 1024, "{\"attention.head_count\":16,\"attention.head_count_kv\":[0,2,0,4],"
              "\"attention.key_length\":64,\"attention.value_length\":32,\"attention.key_length_swa\":128,"
              "\"attention.sliding_window\":128,\"ssm.conv_kernel\":4,\"ssm.inner_size\":2048,\"ssm.state_size\":16}", "[]");
    for (int i = 0; i < 4; i++)
        layer_is(m, i, 4, 128, 32, 0, 4 * (3 * 2048 + 16 * 2048));
    exact(m, false);
    assert_non_null(strstr(m->notes.text[0], "tomorrow"));
}

/* Plain show has null where the file has an array. */
static void hidden_arrays(void **state)
{
    (void)state;
    static const char keys[] = "{\"attention.head_count\":12,\"attention.head_count_kv\":null," MAMBA
                               ",\"attention.key_length\":128,\"attention.value_length\":128}";
    json_t *show = show_of("granitehybrid", 3, 1536, keys, "[]");
    assert_true(o3_model_wants_arrays(show));
    json_decref(show);
    o3_auto(free) o3_model *m = parse("granitehybrid", 3, 1536, keys, "[]");
    for (int i = 0; i < 3; i++) /* each may be either */
        layer_is(m, i, 12, 128, 128, 0, 4 * (3 * (3072 + 2 * 1 * 128) + 128 * 3072));
    exact(m, false);

    o3_auto(free) o3_model *bounded = /* the tensors say that there are no more than 4 heads */
        parse("granitehybrid", 3, 1536, keys, "[{\"name\":\"blk.1.attn_k.weight\",\"type\":\"F16\",\"shape\":[1536,512]}]");
    assert_int_equal(bounded->layer[0].heads_kv, 4);
    exact(bounded, false);

    static const char widths[] =
        "{\"attention.head_count\":8,\"attention.head_count_kv\":2,\"attention.key_length\":512,"
        "\"attention.value_length\":512,\"attention.key_length_swa\":256,\"attention.value_length_swa\":256,"
        "\"attention.sliding_window\":1024,\"attention.sliding_window_pattern\":null}";
    o3_auto(free) o3_model *gemma = parse("gemma4", 2, 1024, widths, "[]");
    layer_is(gemma, 0, 2, 512, 512, 0, 0);
    exact(gemma, false);

    static const struct {
        const char *architecture, *key;
        bool wanted;
    } cases[] = {
        {"llama", "{\"attention.head_count_kv\":8}", false},
        {"llama", "{\"attention.head_count_kv\":[]}", true}, /* what some releases put instead */
        {"openelm", "{\"attention.head_count\":null}", true},
        {"gemma4", "{\"feed_forward_length\":null}", true},
        {"gemma4", "{\"attention.sliding_window_pattern\":null}", true},
        {"gemma3", "{\"attention.sliding_window_pattern\":null}", false}, /* fixed by its name */
        {"tomorrow", "{\"attention.sliding_window_pattern\":null}", true},
        {"qwen35", "{\"attention.recurrent_layers\":null}", true},
        {"llama", "{\"tokenizer.ggml.tokens\":null,\"rope.dimension_sections\":null}", false},
    };
    for (int c = 0; c < O3_COUNT(cases); c++) {
        json_t *one = show_of(cases[c].architecture, 2, 64, cases[c].key, "[]");
        if (o3_model_wants_arrays(one) != cases[c].wanted)
            fail_msg("case %d: %s %s", c, cases[c].architecture, cases[c].key);
        json_decref(one);
    }
}

static void sizes_from_outside_stay_bounded(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "{\"attention.head_count\":16777216,\"attention.head_count_kv\":16777216,\"attention.key_length\":16777216,"
        "\"attention.value_length\":16777216,\"ssm.conv_kernel\":16777216,\"ssm.inner_size\":16777216,"
        "\"ssm.state_size\":16777216,\"ssm.group_count\":16777216}",
        "{\"attention.head_count\":-1,\"attention.head_count_kv\":1e300,\"attention.key_length\":99999999999,"
        "\"nextn_predict_layers\":500,\"attention.shared_kv_layers\":9000}",
        "{\"attention.head_count\":[],\"attention.head_count_kv\":[[1],{},\"x\",-5,1e99],"
        "\"attention.sliding_window\":\"512\",\"attention.sliding_window_pattern\":-3,\"full_attention_interval\":0}",
        "{\"attention.head_count\":0,\"attention.sliding_window\":5,\"attention.sliding_window_pattern\":0,"
        "\"kda.head_dim\":16777216,\"wkv.head_size\":16777216,\"expert_count\":5,\"expert_shared_count\":16777216,"
        "\"expert_feed_forward_length\":16777216}",
    };
    static const char *const names[] = {"llama", "gemma4", "granitehybrid", "qwen3next", "deepseek2", "glm4moelite",
                                        "rwkv7", "mimo2", "minimax-01", "glm-dsa", "tomorrow", "a b", "kimi-linear"};
    for (int k = 0; k < O3_COUNT(keys); k++) {
        for (int n = 0; n < O3_COUNT(names); n++) {
            o3_auto(free) o3_model *m = parse(names[n], O3_LAYERS_MAX, 1 << 24, keys[k], "[]");
            for (int i = 0; i < O3_LAYERS_MAX; i++) {
                assert_in_range(m->layer[i].state_bytes, 0, 1000000000000000);
                assert_in_range(m->layer[i].heads_kv, 0, 1 << 24);
                assert_in_range(m->layer[i].key_dim, 0, 1 << 26);
                assert_in_range(m->layer[i].value_dim, 0, 1 << 26);
                assert_in_range(m->layer[i].window_tokens, 0, 1 << 24);
            }
            assert_in_range(m->experts_shared_ff, 0, 1 << 24);
            assert_in_range(m->draft_layers, 0, O3_LAYERS_MAX);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama),
        cmocka_unit_test(qwen3moe),
        cmocka_unit_test(sliding_windows),
        cmocka_unit_test(gemma4_shares_and_narrows),
        cmocka_unit_test(gemma3n_keeps_kv_in_20_layers),
        cmocka_unit_test(mla),
        cmocka_unit_test(delta_net),
        cmocka_unit_test(mamba_hybrids),
        cmocka_unit_test(other_states),
        cmocka_unit_test(an_unknown_architecture_is_an_upper_estimate),
        cmocka_unit_test(hidden_arrays),
        cmocka_unit_test(sizes_from_outside_stay_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
