/* SPDX-License-Identifier: Apache-2.0 */
/* What measured points teach: simulated machines with known ratios are found, through noise and past a bad point; and
 * rates that were really taken on one short ladder foretell those far beyond it. */
#include "speed_models.h"

#define ROUNDS 400

static double noise(o3_rng *rng, double spread) /* about normal, mean 1 */
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += o3_rng_unit(rng);
    return 1 + spread * (sum - 6);
}

static double true_s(const o3_profile *p, const o3_model *m, const o3_setting *s, int64_t depth, bool decode,
                     double base, double attention)
{
    o3_auto(free) o3_estimate *e = o3_alloc(1, sizeof(*e));
    e->setting = *s;
    speed_parts parts = decode ? speed_decode(e, p, m, (double)depth) : speed_prefill(e, p, m, (double)depth);
    return base * parts.base_s + attention * parts.attention_s;
}

static double error_at(const o3_profile *p, const o3_model *m, const o3_setting *s, int64_t depth,
                       const o3_calibration *c, double true_rate)
{
    o3_speed v;
    o3_predict_speed(&v, p, m, s, depth, c);
    return v.decode_per_s.mid / true_rate - 1;
}

static void check_sane(const o3_calibration *c)
{
    const double ratios[] = {c->prefill_ratio, c->prefill_attention_ratio, c->decode_ratio, c->decode_kv_ratio};
    for (int i = 0; i < O3_COUNT(ratios); i++)
        if (!isfinite(ratios[i]) || ratios[i] <= 0)
            fail_msg("ratio %d is %g", i, ratios[i]);
}

/* A ladder of five depths in a window of 8192. */
static const int64_t ladder[] = {512, 2048, 4096, 6144, 8160};

static void finds_simulated_ratios(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(true);
    o3_auto(free) o3_model *m = smollm2();
    o3_setting s = setting_at(8192);
    static const double truths[][2] = {{1, 1}, {0.4, 0.6}, {2.5, 1.2}, {1.3, 3}, {0.7, 0.3}};
    for (int t = 0; t < O3_COUNT(truths); t++) {
        o3_rate_point points[10];
        for (int i = 0; i < 10; i++)
            points[i] = (o3_rate_point){ladder[i % 5], true_s(p, m, &s, ladder[i % 5], i < 5, truths[t][0], truths[t][1]),
                                        i < 5};
        o3_calibration c = O3_CALIBRATION_NONE;
        o3_calibrate(&c, p, m, &s, points, 10);
        assert_int_equal(c.rates, 10);
        assert_near(c.decode_ratio / truths[t][0], 1, 0.05);
        assert_near(c.decode_kv_ratio / truths[t][1], 1, 0.05);
        assert_near(c.prefill_ratio / truths[t][0], 1, 0.05);
        assert_near(c.prefill_attention_ratio / truths[t][1], 1, 0.12); /* less of prefill is attention */
        assert_false(c.offset[0].known);
        assert_int_equal(c.loads, 0);
    }
}

/* 5 % of noise, three depths up to half of a 2048 window; and, of the five of a full ladder, one point ten times off. */
static void noise_and_a_bad_point(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(true);
    o3_auto(free) o3_model *m = smollm2();
    o3_setting s = setting_at(8192);
    o3_rng rng;
    int good = 0, good_with_bad = 0;
    o3_rng_seed(&rng, 7, 0);
    for (int round = 0; round < ROUNDS; round++) {
        double base = 0.5 + 1.5 * o3_rng_unit(&rng), attention = base * (0.7 + 0.6 * o3_rng_unit(&rng));
        double far = 1 / true_s(p, m, &s, 8000, true, base, attention), worst = 0;
        o3_rate_point points[5];
        o3_calibration c = O3_CALIBRATION_NONE;
        for (int i = 0; i < 3; i++)
            points[i] = (o3_rate_point){256 << i, noise(&rng, 0.05) * true_s(p, m, &s, 256 << i, true, base, attention),
                                        true};
        o3_calibrate(&c, p, m, &s, points, 3);
        check_sane(&c);
        for (int64_t depth = 128; depth <= 2048; depth *= 2)
            worst = fmax(worst, fabs(error_at(p, m, &s, depth, &c, 1 / true_s(p, m, &s, depth, true, base, attention))));
        good += worst < 0.15;
        for (int i = 0; i < 5; i++)
            points[i] = (o3_rate_point){ladder[i], noise(&rng, 0.05) * true_s(p, m, &s, ladder[i], true, base, attention),
                                        true};
        points[o3_rng_below(&rng, 5)].seconds *= round % 2 ? 10 : 0.1;
        c = O3_CALIBRATION_NONE;
        o3_calibrate(&c, p, m, &s, points, 5);
        check_sane(&c);
        good_with_bad += fabs(error_at(p, m, &s, 8000, &c, far)) < 0.15;
    }
    if (good < 0.95 * ROUNDS || good_with_bad < 0.95 * ROUNDS)
        fail_msg("within 15 %%: %d of %d with noise, %d with a bad point too", good, ROUNDS, good_with_bad);
}

static void one_point_moves_it(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(false);
    o3_auto(free) o3_model *m = gemma3();
    o3_setting s = setting_at(4096);
    o3_speed before, after;
    o3_calibration c = O3_CALIBRATION_NONE;
    o3_predict_speed(&before, p, m, &s, 1024, &c);
    o3_rate_point point = {1024, 3 / before.decode_per_s.mid, true};
    o3_calibrate(&c, p, m, &s, &point, 1);
    o3_predict_speed(&after, p, m, &s, 1024, &c);
    assert_near(after.decode_per_s.mid * 3 / before.decode_per_s.mid, 1, 0.05);
    assert_true(after.decode_per_s.high / after.decode_per_s.low < before.decode_per_s.high / before.decode_per_s.low / 2);
    assert_near(c.prefill_ratio, 1, 0); /* nothing was said of it */
}

/* What was learned gives way only in part to a single new point, and wholly to many. */
static void learned_values_hold(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(true);
    o3_auto(free) o3_model *m = smollm2();
    o3_setting s = setting_at(8192);
    o3_rate_point points[5];
    o3_calibration c = O3_CALIBRATION_NONE;
    for (int i = 0; i < 5; i++)
        points[i] = (o3_rate_point){ladder[i], true_s(p, m, &s, ladder[i], true, 1, 1), true};
    o3_calibrate(&c, p, m, &s, points, 5);
    points[0].seconds *= 1.3;
    o3_calibration single = c;
    o3_calibrate(&single, p, m, &s, points, 1);
    assert_true(single.decode_ratio > 1.05 && single.decode_ratio < 1.28);
    points[0].seconds /= 1.3;
    for (int times = 0; times < 6; times++) {
        for (int i = 0; i < 5; i++)
            points[i].seconds = true_s(p, m, &s, ladder[i], true, 1.6, 1.6);
        o3_calibrate(&c, p, m, &s, points, 5);
    }
    assert_near(c.decode_ratio, 1.6, 0.05);
    assert_near(c.decode_kv_ratio, 1.6, 0.05);
}

static void senseless_points(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(true);
    o3_auto(free) o3_model *m = smollm2();
    o3_setting s = setting_at(8192);
    o3_calibration c = O3_CALIBRATION_NONE;
    const o3_rate_point points[] = {{0, 1, true}, {100, 0, true}, {100, -1, false}, {100, NAN, true}, {100, INFINITY, false}};
    o3_calibrate(&c, p, m, &s, points, O3_COUNT(points));
    assert_int_equal(c.rates, 0);
    assert_near(c.decode_ratio, 1, 0);
    /* Faster with depth, and by a million: no sense, but no negative ratio either. */
    const o3_rate_point upside_down[] = {{256, 0.1, true}, {4096, 0.01, true}, {8000, 0.001, true}, {256, 10, false},
                                         {8000, 1e-6, false}};
    for (int times = 0; times < 20; times++)
        o3_calibrate(&c, p, m, &s, upside_down, O3_COUNT(upside_down));
    check_sane(&c);
}

/* Recorded: a ladder to half of a 2048 window, then everything else of that model in windows of 2048 and 8192. */
static void one_trial_foretells_the_rest(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(true);
    o3_auto(free) o3_model *small = smollm2(), *windowed = gemma3();
    const o3_rate_point small_points[] = {{239, 1 / 141.7, true}, {488, 1 / 115.1, true}, {1003, 1 / 108.8, true}};
    const o3_rate_point windowed_points[] = {{231, 1 / 84.8, true}, {485, 1 / 83.0, true}, {994, 1 / 84.6, true}};
    const struct {
        const o3_model *model;
        const o3_rate_point *points;
        const taken *rows;
        int count;
    } cases[] = {{small, small_points, smollm2_taken, O3_COUNT(smollm2_taken)},
                 {windowed, windowed_points, gemma3_taken, O3_COUNT(gemma3_taken)}};
    for (int k = 0; k < O3_COUNT(cases); k++) {
        o3_calibration c = O3_CALIBRATION_NONE;
        o3_setting s = setting_at(2048);
        o3_calibrate(&c, p, cases[k].model, &s, cases[k].points, 3);
        for (int i = 0; i < cases[k].count; i++) {
            const taken *row = &cases[k].rows[i];
            s = setting_at(row->num_ctx);
            s.knobs.num_thread = row->num_thread;
            double error = error_at(p, cases[k].model, &s, row->depth, &c, row->decode_per_s);
            if (fabs(error) > 0.15)
                fail_msg("case %d, num_ctx %d, depth %d: off by %.0f %%", k, row->num_ctx, row->depth, error * 100);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_simulated_ratios), cmocka_unit_test(noise_and_a_bad_point),
        cmocka_unit_test(one_point_moves_it),     cmocka_unit_test(learned_values_hold),
        cmocka_unit_test(senseless_points),       cmocka_unit_test(one_trial_foretells_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
