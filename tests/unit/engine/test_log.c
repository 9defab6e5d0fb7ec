/* SPDX-License-Identifier: Apache-2.0 */
/* What Ollama's log says of a load, by release. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "o3/engine.h"

#define MIB 1048576.0

static void near(double a, double mib)
{
    assert_true(fabs(a - mib * MIB) < 1);
}

static void current_release_on_cpu(void **state)
{
    o3_log_facts f;
    (void)state;
    o3_log_read("llama_model_loader: loaded meta data with 33 key-value pairs and 272 tensors from /m (version GGUF V3)\n"
                "load_tensors:          CPU model buffer size =    92.10 MiB\n"
                "llama_context: n_seq_max             = 2\n"
                "llama_context: flash_attn            = auto\n"
                "llama_kv_cache:        CPU KV buffer size =    47.81 MiB\n"
                "llama_kv_cache: size =   47.81 MiB (  4096 cells,  30 layers,  1/1 seqs), K (q8_0):   23.91 MiB, V (q8_0): 1\n"
                "sched_reserve:        CPU compute buffer size =    16.42 MiB\n"
                "sched_reserve: Flash Attention was auto, set to enabled\n"
                "common_params_fit_impl: will leave 23949 >= 512 MiB of system memory, no changes needed\n"
                "srv    load_model: prompt cache is enabled, size limit: 8192 MiB\n", &f);
    assert_int_equal(f.loads, 1);
    near(f.model_bytes, 92.10);
    near(f.kv_bytes, 47.81);
    near(f.compute_bytes, 16.42);
    near(f.host_bytes, 92.10 + 47.81 + 16.42);
    assert_int_equal(f.slots, 2);
    assert_string_equal(f.kv_type, "q8_0");
    assert_string_equal(f.flash, "enabled");
    assert_true(f.prompt_cache_bytes == INT64_C(8192) * 1048576);
    assert_true(f.fit_target_bytes == INT64_C(512) * 1048576);
    assert_int_equal(f.layers, -1);
}

static void spill_is_seen(void **state)
{
    o3_log_facts f;
    (void)state;
    o3_log_read("llama_model_loader: loaded meta data with 1 key-value pairs\n"
                "load_tensors: offloaded 19/31 layers to GPU\n"
                "load_tensors:   CPU_Mapped model buffer size =    40.00 MiB\n"
                "load_tensors:      Vulkan0 model buffer size =    60.00 MiB\n"
                "llama_kv_cache:    Vulkan0 KV buffer size =    10.00 MiB\n"
                "sched_reserve: Vulkan_Host compute buffer size =     5.00 MiB\n", &f);
    assert_int_equal(f.layers_offloaded, 19);
    assert_int_equal(f.layers, 31);
    near(f.model_bytes, 100);
    near(f.host_bytes, 45);
}

/* Only the last load counts, and a release that is silent leaves the rest unknown. */
static void last_load_counts(void **state)
{
    o3_log_facts f;
    (void)state;
    o3_log_read("llama_model_loader: loaded meta data with 1\nload_tensors: CPU model buffer size = 1.00 MiB\n"
                "srv    load_model: prompt cache is disabled - use `--cache-ram N` to enable it\n"
                "llama_model_loader: loaded meta data with 1\nload_tensors: CPU model buffer size = 2.00 MiB\n", &f);
    assert_int_equal(f.loads, 2);
    near(f.model_bytes, 2);
    assert_true(isnan(f.kv_bytes));
    assert_int_equal(f.prompt_cache_bytes, -1);
    o3_log_read("x prompt cache is disabled - use it\n", &f);
    assert_int_equal(f.prompt_cache_bytes, 0);
    o3_log_read("", &f);
    assert_string_equal(f.error, "");
    assert_string_equal(f.kv_type, "");
    assert_int_equal(f.slots, -1);
}

static void older_release(void **state)
{
    o3_log_facts f;
    (void)state;
    o3_log_read("time=x level=INFO source=runner.go msg=load request=\"{Operation:commit LoraPath:[] Parallel:4 BatchSize:512 "
                "FlashAttention:Enabled KvSize:4096 KvCacheType:q8_0 NumThreads:2 GPULayers:[]}\"\n", &f);
    assert_string_equal(f.kv_type, "q8_0");
    assert_string_equal(f.flash, "enabled");
    assert_int_equal(f.slots, 4);
}

static void last_words(void **state)
{
    o3_log_facts f;
    (void)state;
    o3_log_read("hello\nError: listen tcp 127.0.0.1:1: bind: address already in use\n\n", &f);
    assert_string_equal(f.error, "Error: listen tcp 127.0.0.1:1: bind: address already in use");
    o3_log_read("one\ntwo\tand\x01 three\n \n", &f);
    assert_string_equal(f.error, "two and  three");
    o3_log_read("time=1 level=ERROR msg=\"bad\"\nlater\n", &f);
    assert_string_equal(f.error, "time=1 level=ERROR msg=\"bad\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(current_release_on_cpu), cmocka_unit_test(spill_is_seen), cmocka_unit_test(last_load_counts),
        cmocka_unit_test(older_release), cmocka_unit_test(last_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
