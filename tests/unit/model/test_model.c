/* SPDX-License-Identifier: Apache-2.0 */
/* /api/show answers, written here, and what is read out of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "o3/model.h"

static const char plain[] =
    "{\"modelfile\": \"# x\\nFROM /models/blobs/sha256-abc\\n\", \"capabilities\": [\"completion\"],"
    " \"details\": {\"format\": \"gguf\", \"quantization_level\": \"Q4_1\"},"
    " \"model_info\": {\"general.architecture\": \"llama\", \"general.parameter_count\": 134515008,"
    "  \"llama.context_length\": 8192, \"llama.block_count\": 2, \"llama.embedding_length\": 576,"
    "  \"llama.attention.head_count\": 9, \"llama.attention.head_count_kv\": 3, \"llama.feed_forward_length\": 1536,"
    "  \"llama.vocab_size\": 49152},"
    " \"tensors\": [{\"name\": \"token_embd.weight\", \"type\": \"Q8_0\", \"shape\": [576, 49152]},"
    "  {\"name\": \"blk.0.ffn_up.weight\", \"type\": \"Q4_1\", \"shape\": [576, 1536]},"
    "  {\"name\": \"blk.1.ffn_up.weight\", \"type\": \"F32\", \"shape\": [576]}]}";

static o3_status parse(const char *text, o3_model *model, o3_err *err)
{
    json_t *show = json_loads(text, 0, NULL);
    o3_status status = o3_model_parse(model, "m:1", show, NULL, err);
    json_decref(show);
    return status;
}

static void plain_attention(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m = o3_alloc(1, sizeof(*m));
    o3_err err = {0};
    if (parse(plain, m, &err))
        fail_msg("%s", err.message);
    assert_string_equal(m->architecture, "llama");
    assert_string_equal(m->blob_path, "/models/blobs/sha256-abc");
    assert_int_equal(m->trained_tokens, 8192);
    assert_int_equal(m->layer[0].heads_kv, 3);
    assert_int_equal(m->layer[0].key_dim, 64);
    assert_int_equal(m->layer[0].weight_bytes, 576 * 1536 / 32 * 20);
    assert_int_equal(m->layer[1].weight_bytes, 576 * 4);
    assert_int_equal(m->token_embd_bytes, 576 * 49152 / 32 * 34);
    assert_int_equal(m->weight_bytes, m->token_embd_bytes + m->layer[0].weight_bytes + m->layer[1].weight_bytes);
    assert_false(m->has_output_tensor);
    assert_true(m->kv_exact);
    assert_int_equal(m->notes.count, 0);
}

static void sliding_windows_follow_their_architecture(void **state)
{
    (void)state;
    o3_auto(free) o3_model *m = o3_alloc(1, sizeof(*m));
    assert_int_equal(parse("{\"capabilities\":[\"completion\"],\"model_info\":{\"general.architecture\":\"gemma3\","
                           "\"gemma3.block_count\":7,\"gemma3.embedding_length\":640,\"gemma3.attention.head_count\":4,"
                           "\"gemma3.attention.head_count_kv\":1,\"gemma3.attention.key_length\":256,"
                           "\"gemma3.attention.value_length\":256,\"gemma3.attention.sliding_window\":512}}", m, NULL),
                     O3_OK);
    for (int i = 0; i < 7; i++)
        assert_int_equal(m->layer[i].window_tokens, i == 5 ? 0 : 512);
    assert_true(m->kv_exact);
}

static void refusals(void **state)
{
    static const struct {
        const char *show, *words;
    } cases[] = {
        {"{\"capabilities\":[\"embedding\"],\"model_info\":{\"general.architecture\":\"bert\"}}", "embeddings"},
        {"{\"model_info\":{\"general.architecture\":\"bert\",\"bert.pooling_type\":1}}", "embeddings"},
        {"{\"remote_model\":\"big\",\"capabilities\":[\"completion\"],\"model_info\":{}}", "cloud"},
        {"{\"details\":{\"format\":\"safetensors\"},\"capabilities\":[\"completion\"],\"model_info\":{}}", "safetensors"},
        {"{\"capabilities\":[\"completion\"],\"model_info\":{}}", "architecture"},
        {"{\"model_info\":{\"general.architecture\":\"clip\"}}", "image projector"},
        {"{}", "architecture"},
        {"[]", "architecture"},
    };
    (void)state;
    o3_auto(free) o3_model *m = o3_alloc(1, sizeof(*m));
    for (int i = 0; i < O3_COUNT(cases); i++) {
        o3_err err = {0};
        if (parse(cases[i].show, m, &err) != O3_E_IMPOSSIBLE || !strstr(err.message, cases[i].words))
            fail_msg("case %d: %s", i, err.message);
    }
}

static void garbage_is_bounded(void **state)
{
    (void)state;
    static const char *const shows[] = {
        "{\"capabilities\":[\"completion\"],\"model_info\":{\"general.architecture\":\"llama\",\"llama.block_count\":99999999,"
        "\"llama.attention.head_count\":-3,\"llama.context_length\":\"x\"}}",
        "{\"capabilities\":[\"completion\"],\"model_info\":{\"general.architecture\":\"llama\",\"llama.block_count\":3},"
        "\"tensors\":[{\"name\":\"blk.77.x\",\"type\":\"Q4_0\",\"shape\":[1e30,5]},{\"name\":5},{}]}",
        "{\"capabilities\":[\"completion\"],\"model_info\":{\"general.architecture\":\"llama\",\"llama.block_count\":1},"
        "\"tensors\":[{\"name\":\"blk.0.x\",\"type\":\"Q99\",\"shape\":[32]}]}",
        "{\"capabilities\":[\"completion\"],\"model_info\":{\"general.architecture\":\"somethingnew\","
        "\"somethingnew.block_count\":1}}",
    };
    o3_auto(free) o3_model *m = o3_alloc(1, sizeof(*m));
    for (int i = 0; i < O3_COUNT(shows); i++) {
        assert_int_equal(parse(shows[i], m, NULL), O3_OK);
        assert_true(m->notes.count > 0); /* what could not be read is said */
        assert_true(m->layers <= O3_LAYERS_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_attention), cmocka_unit_test(sliding_windows_follow_their_architecture),
        cmocka_unit_test(refusals), cmocka_unit_test(garbage_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
