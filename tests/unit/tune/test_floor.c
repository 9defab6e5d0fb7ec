/* SPDX-License-Identifier: Apache-2.0 */
/* The speed floor against ladders made by hand: what is slow, what somebody else's work made slow, where it is crossed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tune/tune_impl.h"

static struct {
    session s;
    o3_config config;
    o3_request request;
    o3_result result;
    o3_profile profile;
    o3_model model;
} w;
static o3_trial trial;

static int fresh(void **state)
{
    (void)state;
    o3_notes notes = {0};
    memset(&w, 0, sizeof(w));
    o3_config_defaults(&w.config);
    w.profile = (o3_profile){.usable_cpus = 2, .cores = 2, .isa = "avx2", .engine_local = true, .bandwidth = O3_BANDWIDTH_NONE};
    w.model = (o3_model){.name = "m:1b", .quantization = "Q8_0", .parameters = 1000000000, .layers = 16, .embedding = 2048,
                         .heads = 32, .heads_kv = 8, .head_dim = 64, .ff = 8192, .vocab = 32000, .experts = -1,
                         .experts_used = -1, .weight_bytes = 1000000000, .token_embd_bytes = 60000000, .kv_exact = true};
    for (int i = 0; i < w.model.layers; i++)
        w.model.layer[i] = (o3_layer){.weight_bytes = 58000000, .heads_kv = 8, .key_dim = 64, .value_dim = 64};
    w.s = (session){.config = &w.config, .request = &w.request, .result = &w.result, .profile = &w.profile,
                    .model = &w.model, .calibration = O3_CALIBRATION_NONE};
    o3_setting_of(&w.s.setting, "0.32.15", "", &notes);
    trial = (o3_trial){.asked = O3_KNOBS_DEFAULT, .outcome = O3_OUTCOME_OK};
    return 0;
}

static o3_sample *add(o3_sample_kind kind, int64_t prompt, int64_t added, double prefill_s, double decode)
{
    o3_sample *sample = &trial.samples[trial.sample_count++];
    *sample = (o3_sample){.kind = kind, .outcome = O3_OUTCOME_OK, .prompt_tokens = prompt, .added_tokens = added,
                          .prompt_eval_ns = (int64_t)(prefill_s * 1e9), .prefill_per_s = (double)added / prefill_s,
                          .decode_per_s = decode, .depth_tokens = prompt + 16};
    return sample;
}

/* A token takes 10 ms and 2.5 us more for each token before it; a prompt token 1 ms. */
static void ladder(const int64_t *rungs, int count)
{
    int64_t before = 0;
    for (int i = 0; i < count; before = rungs[i++]) {
        double rate = 1 / (0.010 + 2.5e-6 * (double)rungs[i]);
        add(O3_SAMPLE_RUNG, rungs[i], rungs[i] - before, 0.001 * (double)(rungs[i] - before), rate);
        add(O3_SAMPLE_DECODE, rungs[i], 0, 0.001, rate);
        add(O3_SAMPLE_DECODE, rungs[i], 0, 0.001, rate);
    }
}

static void a_pace_is_of_the_deepest_rung(void **state)
{
    (void)state;
    assert_int_equal(floor_pace(&trial).tokens, 0);
    assert_true(isnan(floor_pace(&trial).decode_per_s) && isnan(floor_pace(&trial).ttft_s));
    ladder((int64_t[]){1000, 2000}, 2);
    pace p = floor_pace(&trial);
    assert_int_equal(p.tokens, 2000);
    assert_true(fabs(p.decode_per_s - 1 / 0.015) < 1e-9);
    assert_true(fabs(p.ttft_s - 2.0) < 1e-9);
    /* Of the undisturbed ones the median; unique prompts that follow are not of the ladder. */
    trial.samples[4].decode_per_s = 5;
    trial.samples[4].disturbed = true;
    add(O3_SAMPLE_PREFILL, 512, 512, 9, 90);
    p = floor_pace(&trial);
    assert_true(fabs(p.decode_per_s - 1 / 0.015) < 1e-9);
    assert_false(p.decode_disturbed || p.ttft_disturbed);
    /* A rung that was sent twice and answered from the cache costs what the one before it did. */
    trial.samples[3].warmup = true;
    trial.samples[3].prompt_eval_ns = 1000;
    assert_true(fabs(floor_pace(&trial).ttft_s - 2.0) < 1e-9);
    trial.samples[0].warmup = true;
    assert_true(isnan(floor_pace(&trial).ttft_s));
    /* The first: what the next one did. */
    trial.samples[3].warmup = false;
    trial.samples[3].prompt_eval_ns = 1000000000;
    assert_true(fabs(floor_pace(&trial).ttft_s - 2.0) < 1e-9);
}

static void a_window_below_the_floor_is_slow(void **state)
{
    (void)state;
    ladder((int64_t[]){1000, 2000}, 2); /* 66.7 tok/s, 2 s */
    floor_check(&w.s, &trial, FLOOR_KEPT, true);
    assert_int_equal(trial.outcome, O3_OUTCOME_OK); /* there is none */
    w.config.objectives.min_decode_per_s = 67;
    floor_check(&w.s, &trial, FLOOR_NOT_ASKED, true);
    assert_int_equal(trial.outcome, O3_OUTCOME_OK);
    floor_check(&w.s, &trial, FLOOR_KEPT, false); /* on the way it must be clear */
    assert_int_equal(trial.outcome, O3_OUTCOME_OK);
    floor_check(&w.s, &trial, FLOOR_KEPT, true);
    assert_int_equal(trial.outcome, O3_OUTCOME_SLOW);
    assert_non_null(strstr(trial.reason, "66.7 tok/s at 2000 tokens, and at least 67"));
    assert_false(floor_doubtful(&w.s, &trial));
    trial.outcome = O3_OUTCOME_OK;
    w.config.objectives.min_decode_per_s = NAN;
    w.config.objectives.max_ttft_s = 1.5;
    floor_check(&w.s, &trial, FLOOR_KEPT, false);
    assert_int_equal(trial.outcome, O3_OUTCOME_SLOW);
    assert_non_null(strstr(trial.reason, "at most 1.5 s"));
}

static void a_busy_neighbour_is_no_verdict(void **state)
{
    (void)state;
    ladder((int64_t[]){1000, 2000}, 2);
    for (int i = 0; i < trial.sample_count; i++)
        trial.samples[i].disturbed = true;
    w.config.objectives.min_decode_per_s = 70;
    floor_check(&w.s, &trial, FLOOR_LENIENT, true);
    assert_int_equal(trial.outcome, O3_OUTCOME_OK);
    assert_int_equal(w.result.notes.count, 1);
    floor_check(&w.s, &trial, FLOOR_KEPT, true);
    assert_int_equal(trial.outcome, O3_OUTCOME_SLOW);
    assert_true(floor_doubtful(&w.s, &trial));
}

static void where_it_is_crossed(void **state)
{
    (void)state;
    ladder((int64_t[]){1000, 4000, 8000, 12000}, 4);
    curve c = cost_curve(&trial);
    assert_int_equal(floor_window(&w.s, &c, 12000), 12000); /* no floor */
    w.config.objectives.min_decode_per_s = 40;              /* 25 ms: at 6000 */
    assert_in_range(floor_window(&w.s, &c, 12288), 5376, 6000);
    w.config.objectives.max_ttft_s = 3; /* at 3000 */
    assert_in_range(floor_window(&w.s, &c, 12288), 2816, 3000);
    w.config.objectives.min_decode_per_s = 99; /* not even at 256: 10.6 ms */
    assert_int_equal(floor_window(&w.s, &c, 12288), 0);
    w.config.objectives.min_decode_per_s = 20;
    w.config.objectives.max_ttft_s = 1000; /* kept by all that was seen, and beyond by the prediction's shape */
    int64_t beyond = floor_window(&w.s, &c, 131072);
    assert_in_range(beyond, 12000, 131072);
}

static void what_is_said_of_nothing(void **state)
{
    (void)state;
    o3_err err = {0};
    o3_trial second;
    w.s.trials[w.s.trial_count++] = &trial;
    ladder((int64_t[]){1000, 4000}, 2);
    assert_int_equal(floor_nothing(&w.s, &err), O3_OK);
    trial.outcome = O3_OUTCOME_SLOW;
    second = trial;
    second.sample_count = 3;
    w.s.trials[w.s.trial_count++] = &second;
    w.config.objectives.min_decode_per_s = 500;
    assert_int_equal(floor_nothing(&w.s, &err), O3_E_UNSAFE);
    assert_non_null(strstr(err.message, "at least 500 tok/s when"));
    assert_non_null(strstr(err.message, "80.0 tok/s and takes 1 s to the first token at 1000 tokens"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_pace_is_of_the_deepest_rung, fresh),
        cmocka_unit_test_setup(a_window_below_the_floor_is_slow, fresh),
        cmocka_unit_test_setup(a_busy_neighbour_is_no_verdict, fresh),
        cmocka_unit_test_setup(where_it_is_crossed, fresh),
        cmocka_unit_test_setup(what_is_said_of_nothing, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
