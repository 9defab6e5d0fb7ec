/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "o3/preset.h"

static o3_config config;

static void near(double got, double want)
{
    if (!(fabs(got - want) < 1e-9))
        fail_msg("got %.12g, expected %.12g", got, want);
}

static void candidates(void **state)
{
    (void)state;
    const struct {
        int64_t ceiling;
        int count;
        int64_t contexts[8];
    } rows[] = {
        {0, 0, {0}},
        {768, 1, {768}},
        {2048, 1, {2048}},
        {2304, 2, {2048, 2304}},
        {4608, 4, {2048, 3072, 4096, 4608}},
        {8192, 5, {2048, 3072, 4096, 6144, 8192}},
        {12288, 6, {2048, 3072, 4096, 6144, 8192, 12288}},
    };
    for (int i = 0; i < O3_COUNT(rows); i++) {
        int64_t got[32];
        assert_int_equal(o3_preset_candidates(rows[i].ceiling, got, 32), rows[i].count);
        for (int j = 0; j < rows[i].count; j++)
            assert_int_equal(got[j], rows[i].contexts[j]);
    }
    /* No room for all: the ceiling is never the one that is left out. */
    int64_t few[3];
    assert_int_equal(o3_preset_candidates(131072, few, 3), 3);
    assert_int_equal(few[0], 2048);
    assert_int_equal(few[2], 131072);
}

static void shipped_weights(void **state)
{
    (void)state;
    const struct {
        const char *name;
        double weights[3];
    } rows[] = {{"max_context", {0.8, 0.2, 0}}, {"balanced", {0.5, 0, 0.5}}, {"fast_response", {0, 0.7, 0.3}}};
    o3_config_defaults(&config);
    for (int i = 0; i < O3_COUNT(rows); i++) {
        double w[3];
        char why[O3_TEXT_MAX];
        const o3_category *category = o3_config_category(&config, rows[i].name);
        assert_non_null(category);
        o3_preset_weights(&config, category, "", w, why, sizeof(why));
        for (int j = 0; j < 3; j++)
            near(w[j], rows[i].weights[j]);
        assert_int_equal(strncmp(why, rows[i].name, strlen(rows[i].name)), 0);
    }
}

static void older_keys_and_use_cases(void **state)
{
    (void)state;
    double w[3];
    char why[O3_TEXT_MAX];
    o3_config_defaults(&config);
    o3_category mine = {.name = "max_context", .context_weight = NAN, .throughput_weight = 0.3, .ttft_weight = 0.2};
    config.objectives.max_context_priority = 0.5;
    o3_preset_weights(&config, &mine, NULL, w, why, sizeof(why));
    near(w[0], 0.5);
    near(w[1], 0.3);
    near(w[2], 0.2);
    assert_string_equal(why, "max_context 0.50 context + 0.30 throughput + 0.20 response");
    /* coding: 0.8 context, 0.5 throughput */
    mine = (o3_category){.name = "x", .context_weight = 0.5, .throughput_weight = 0.3, .ttft_weight = 0.2};
    o3_preset_weights(&config, &mine, "coding", w, why, sizeof(why));
    near(w[0], 0.4 / 0.65);
    near(w[1], 0.15 / 0.65);
    near(w[2], 0.1 / 0.65);
    assert_non_null(strstr(why, "tilted by use case coding"));
    o3_preset_weights(&config, &mine, "no such row", w, why, sizeof(why));
    near(w[0], 0.5);
    /* What has no weight gets none by a use case. */
    o3_preset_weights(&config, o3_config_category(&config, "fast_response"), "coding", w, NULL, 0);
    near(w[0], 0);
    near(w[1], 0.7);
    mine = (o3_category){.name = "x", .context_weight = NAN, .throughput_weight = NAN, .ttft_weight = NAN};
    o3_preset_weights(&config, &mine, NULL, w, why, sizeof(why));
    near(w[0] + w[1] + w[2], 1);
    assert_non_null(strstr(why, "equal parts"));
    o3_preset_weights(&config, &mine, NULL, w, why, 10); /* a small buffer is only cut */
    assert_int_equal(strlen(why), 9);
}

/* Numbers worked out by hand from the definitions. */
static void scores_by_hand(void **state)
{
    (void)state;
    const o3_candidate c[] = {{4096, 50, 2000}, {8192, 40, 4000}, {16384, 25, 8000}};
    o3_score s[3];
    o3_category plain = {.name = "max_context", .target_context_min = -1};
    o3_preset_score(&plain, (double[]){0.8, 0.2, 0}, 16384, c, 3, s);
    near(s[0].context, 0.25);
    near(s[0].throughput, 1);
    near(s[0].total, 0.8 * 0.25 + 0.2);
    near(s[2].context, 1);
    near(s[2].throughput, 0.5);
    near(s[2].response, 0.25);
    near(s[2].total, 0.8 + 0.1);
    near(s[2].w_context, 0.8);
    assert_int_equal(o3_preset_best(s, c, 3), 2);

    o3_category range = {.name = "balanced", .target_context_min = -1, .target_context_range = {2, {8192, 12288}}};
    o3_preset_score(&range, (double[]){0.5, 0, 0.5}, 16384, c, 3, s);
    near(s[0].context, 0.5); /* one octave below */
    near(s[1].context, 1);
    near(s[2].context, 0.75); /* log2(4/3) octaves above */
    near(s[0].total, 0.5 * 0.5 + 0.5);
    near(s[1].total, 0.5 + 0.5 * 0.5);
    assert_int_equal(o3_preset_best(s, c, 3), 1); /* 0.75 both: the larger context */
}

static void ties_minima_and_unknowns(void **state)
{
    (void)state;
    const o3_candidate c[] = {{4096, 50, 2000}, {8192, 50, 2000}, {2048, NAN, NAN}};
    o3_score s[3];
    o3_category any = {.name = "x", .target_context_min = -1};
    o3_preset_score(&any, (double[]){0, 0.7, 0.3}, 8192, c, 3, s);
    near(s[0].total, 1);
    near(s[2].total, 0);
    assert_int_equal(o3_preset_best(s, c, 3), 1);
    any.target_context_min = 4096;
    o3_preset_score(&any, (double[]){0, 0.7, 0.3}, 8192, c, 3, s);
    assert_true(isnan(s[2].total));
    /* A ceiling below the minimum is still the best there is. */
    const o3_candidate small[] = {{1024, 10, 100}, {2048, 9, 110}};
    any.target_context_min = 4096;
    o3_preset_score(&any, (double[]){0, 0.7, 0.3}, 2048, small, 2, s);
    assert_int_equal(o3_preset_best(s, small, 2), 1);
    assert_int_equal(o3_preset_best(s, small, 0), -1);
    /* Nothing measured: the context alone decides, unknown parts count nothing. */
    const o3_candidate dark[] = {{2048, NAN, NAN}, {4096, NAN, NAN}};
    any.target_context_min = -1;
    o3_preset_score(&any, (double[]){0.8, 0.2, 0}, 4096, dark, 2, s);
    near(s[1].total, 0.8);
    assert_int_equal(o3_preset_best(s, dark, 2), 1);
}

static void prompt_lengths(void **state)
{
    (void)state;
    o3_category quarter = {.ttft_prompt_tokens = 0}, fixed = {.ttft_prompt_tokens = 512};
    assert_int_equal(o3_preset_ttft_tokens(&quarter, 8192), 2048);
    assert_int_equal(o3_preset_ttft_tokens(&fixed, 8192), 512);
    assert_int_equal(o3_preset_ttft_tokens(&fixed, 1024), 512);
    assert_int_equal(o3_preset_ttft_tokens(&fixed, 768), 384); /* it must leave room for the answer */
    /* One length for all candidates of a range, else a small window would win by its short prompt. */
    o3_category range = {.target_context_range = {2, {8192, 12288}}};
    assert_int_equal(o3_preset_ttft_tokens(&range, 16384), 2048);
    assert_int_equal(o3_preset_ttft_tokens(&range, 8192), 2048);
    assert_int_equal(o3_preset_ttft_tokens(&range, 2048), 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(candidates),     cmocka_unit_test(shipped_weights),
        cmocka_unit_test(older_keys_and_use_cases), cmocka_unit_test(scores_by_hand),
        cmocka_unit_test(ties_minima_and_unknowns), cmocka_unit_test(prompt_lengths),
    };
    return cmocka_run_group_tests_name("preset", tests, NULL, NULL);
}
