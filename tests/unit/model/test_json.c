/* SPDX-License-Identifier: Apache-2.0 */
/* A model through the cache's JSON: the same afterwards, field by field; what is not ours is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "o3/model.h"

static const char show_text[] =
    "{\"modelfile\": \"FROM /blobs/sha256-abc\\n\", \"capabilities\": [\"completion\", \"vision\"],"
    " \"details\": {\"quantization_level\": \"Q4_K_M\"}, \"projector_info\": {\"a\": 1},"
    " \"model_info\": {\"general.architecture\": \"granitehybrid\", \"general.parameter_count\": 7000000000,"
    "  \"granitehybrid.context_length\": 131072, \"granitehybrid.block_count\": 40,"
    "  \"granitehybrid.embedding_length\": 1536, \"granitehybrid.attention.head_count\": 12,"
    "  \"granitehybrid.attention.head_count_kv\": [0,0,0,0,0,4], \"granitehybrid.ssm.conv_kernel\": 4,"
    "  \"granitehybrid.ssm.inner_size\": 3072, \"granitehybrid.ssm.state_size\": 128,"
    "  \"granitehybrid.rope.scaling.type\": \"yarn\", \"granitehybrid.rope.scaling.factor\": 2.5,"
    "  \"granitehybrid.nextn_predict_layers\": 1},"
    " \"tensors\": [{\"name\": \"blk.3.ffn_up_exps.weight\", \"type\": \"Q8_0\", \"shape\": [1536, 512, 64]}]}";

static o3_model *model_of(const char *text)
{
    o3_model *m = o3_alloc(1, sizeof(*m));
    json_t *show = json_loads(text, 0, NULL);
    o3_engine_model entry = {.size_bytes = 123456789012, .digest = "0123"};
    if (o3_model_parse(m, "m:1", show, &entry, NULL))
        fail_msg("the sample is not parsed");
    json_decref(show);
    return m;
}

static void there_and_back(void **state)
{
    (void)state;
    static const char *const bare = "{\"model_info\": {\"general.architecture\": \"new\"}}"; /* all unknown */
    static const char *const mla =
        "{\"model_info\": {\"general.architecture\": \"deepseek2\", \"deepseek2.block_count\": 27,"
        " \"deepseek2.attention.key_length_mla\": 192, \"deepseek2.attention.value_length_mla\": 128,"
        " \"deepseek2.attention.kv_lora_rank\": 512, \"deepseek2.attention.q_lora_rank\": 1536,"
        " \"deepseek2.rope.dimension_count\": 64, \"deepseek2.leading_dense_block_count\": 3,"
        " \"deepseek2.expert_count\": 64, \"deepseek2.expert_used_count\": 6, \"deepseek2.expert_shared_count\": 2,"
        " \"deepseek2.expert_feed_forward_length\": 1408, \"deepseek2.feed_forward_length\": 10944}}";
    const char *const samples[] = {show_text, mla, bare};
    for (int i = 0; i < O3_COUNT(samples); i++) {
        o3_auto(free) o3_model *m = model_of(samples[i]), *back = o3_alloc(1, sizeof(*back));
        json_t *json = o3_model_to_json(m);
        o3_auto(free) char *text = json_dumps(json, JSON_COMPACT);
        json_decref(json);
        json = json_loads(text, 0, NULL); /* as the cache does: through text */
        o3_err err = {0};
        if (o3_model_from_json(back, json, &err))
            fail_msg("%s", err.message);
        json_decref(json);
        if (isnan(m->rope_factor) && isnan(back->rope_factor))
            m->rope_factor = back->rope_factor = 0;
        if (memcmp(m, back, sizeof(*m)))
            fail_msg("sample %d came back different: %s", i, text);
        assert_true(strlen(text) < 4000); /* equal layers are counted, not repeated */
    }
}

static void refused(const char *field, json_t *value)
{
    o3_auto(free) o3_model *m = model_of(show_text), *back = o3_alloc(1, sizeof(*back));
    json_t *json = o3_model_to_json(m);
    o3_err err = {0};
    if (value)
        json_object_set_new(json, field, value);
    else
        json_object_del(json, field);
    if (o3_model_from_json(back, json, &err) != O3_E_PROTOCOL || !*err.message)
        fail_msg("%s was not refused", field);
    json_decref(json);
}

static void damage_is_refused(void **state)
{
    (void)state;
    refused("version", json_integer(999));
    refused("version", NULL);
    refused("layers", json_integer(O3_LAYERS_MAX + 1));
    refused("layers", json_integer(39)); /* the runs hold 40 */
    refused("layers", json_integer(-7));
    refused("heads", json_integer(INT64_MAX));
    refused("mixer", json_integer(99));
    refused("size_class", json_integer(3));
    refused("architecture", json_integer(3));
    refused("kv_exact", json_string("yes"));
    refused("weight_bytes", json_real(1e30));
    refused("layer", NULL);
    refused("layer", json_pack("[[i]]", 40));
    refused("layer", json_pack("[[I,i,i,i,i,i,i,i]]", (json_int_t)INT64_MAX, 1, 1, 1, 1, 1, 1, 1));
    refused("layer", json_pack("[[i,i,i,i,i,i,i,s]]", 40, 1, 1, 1, 1, 1, 1, "x"));
    o3_auto(free) o3_model *back = o3_alloc(1, sizeof(*back));
    assert_int_equal(o3_model_from_json(back, NULL, NULL), O3_E_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back), cmocka_unit_test(damage_is_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
