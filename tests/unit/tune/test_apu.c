/* SPDX-License-Identifier: Apache-2.0 */
/* What o3 predict says of a Strix Halo whose memory could be divided otherwise, read from its files. */
#include "../hardware/gpu_files.h"
#include "o3/tune.h"

#define STRIX "GPU AMD Radeon 8050S / 8060S (Strix Halo)"

static o3_outlook outlook;
static o3_model model;

/* 70B: 40 GiB of weights, 320 KiB a token. */
static void predict(const o3_profile *profile, int64_t trained)
{
    static o3_config config;
    const o3_calibration nothing_learned = O3_CALIBRATION_NONE;
    o3_setting setting;
    o3_notes notes = {0};
    o3_config_defaults(&config);
    model = (o3_model){.name = "m", .digest = "sha256:m", .architecture = "llama", .file_bytes = 40 * CARD_GIB,
                       .parameters = INT64_C(70000000000), .trained_tokens = trained, .layers = 80, .embedding = 8192,
                       .heads = 64, .heads_kv = 8, .ff = 28672, .vocab = 128256, .head_dim = 128, .rope_factor = NAN,
                       .token_embd_bytes = CARD_GIB / 2, .largest_tensor_bytes = CARD_GIB / 2, .kv_exact = true};
    for (int i = 0; i < model.layers; i++)
        model.layer[i] = (o3_layer){.weight_bytes = CARD_GIB / 2, .heads_kv = 8, .key_dim = 128, .value_dim = 128};
    model.weight_bytes = 40 * CARD_GIB;
    o3_setting_of(&setting, "0.32.15", "", &notes);
    setting.knobs.num_ctx = 8192;
    setting.knobs.num_batch = 512;
    o3_outlook_make(&outlook, &config, profile, &model, "0.32.15", &setting, &nothing_learned);
}

/* The note that begins so; "" if there is none. */
static const char *advice(const char *begin)
{
    for (int i = 0; i < outlook.notes.count; i++)
        if (!strncmp(outlook.notes.text[i], begin, strlen(begin)))
            return outlook.notes.text[i];
    return "";
}

/* 128 GB, of which the driver may map half: with more of it the whole trained window fits. The advised size, given to the
 * machine's own files, brings what was said, and then there is nothing left to advise. */
static void larger_gtt(void **state)
{
    static const char begin[] = STRIX ": its driver may map 62.0 GiB of the RAM (GTT); with ";
    long long pages, tokens, before;
    sysroot_machine(*state, 16);
    sysroot_meminfo(*state, 127900, 120000);
    card_apu(*state, 1, CARD_GIB / 2, 62 * CARD_GIB);
    o3_auto(free) o3_profile *half = gpu_profile(*state, NULL);
    predict(half, 131072);
    const char *text = advice(begin), *parameter = strstr(text, "ttm.pages_limit=");
    assert_non_null(parameter);
    assert_int_equal(sscanf(parameter, "ttm.pages_limit=%lld) the largest safe num_ctx is predicted to be %lld in place of %lld",
                            &pages, &tokens, &before), 3);
    assert_int_equal(before, outlook.ceiling_tokens);
    assert_true(before > 0 && tokens > before);
    card_apu(*state, 1, CARD_GIB / 2, pages * 4096);
    o3_auto(free) o3_profile *larger = gpu_profile(*state, NULL);
    predict(larger, 131072);
    assert_int_equal(outlook.ceiling_tokens, tokens);
    assert_string_equal(advice(STRIX ": its driver may"), "");
}

static void larger_carve_out(void **state)
{
    sysroot_machine(*state, 16);
    sysroot_meminfo(*state, 79900, 76000);
    card_apu(*state, 0, 48 * CARD_GIB, 16 * CARD_GIB);
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    predict(p, 131072);
    assert_non_null(strstr(advice(STRIX ": the BIOS keeps 48.0 GiB of the RAM for it; with 96.0 GiB"),
                           "the largest safe num_ctx is predicted to be"));
}

/* Nothing is gained where training bounds the window, nor on a card with memory of its own. */
static void nothing_to_gain(void **state)
{
    sysroot_machine(*state, 16);
    sysroot_meminfo(*state, 127900, 120000);
    card_apu(*state, 1, CARD_GIB / 2, 62 * CARD_GIB);
    o3_auto(free) o3_profile *apu = gpu_profile(*state, NULL);
    predict(apu, 8192);
    assert_int_equal(outlook.ceiling_tokens, 8192);
    assert_string_equal(advice(STRIX ": its driver"), "");
    sysroot_remove(*state, "/sys/class/drm");
    card_dgpu(*state, 1, "0000:03:00.0");
    o3_auto(free) o3_profile *card = gpu_profile(*state, NULL);
    predict(card, 131072);
    assert_string_equal(advice("GPU AMD"), "");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
    const struct CMUnitTest tests[] = {CASE(larger_gtt), CASE(larger_carve_out), CASE(nothing_to_gain)};
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
