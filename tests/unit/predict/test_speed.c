/* SPDX-License-Identifier: Apache-2.0 */
/* Speed before anything was measured: rates that were really taken lie inside the intervals, and what makes a machine
 * slower makes the prediction slower. */
#include "speed_models.h"

static const o3_calibration none = {.prefill_ratio = 1, .prefill_attention_ratio = 1, .decode_ratio = 1, .decode_kv_ratio = 1};

static o3_speed speed(const o3_profile *p, const o3_model *m, const o3_setting *s, int64_t depth)
{
    o3_speed v;
    o3_predict_speed(&v, p, m, s, depth, &none);
    return v;
}

static int count_inside(const o3_profile *p, const o3_model *m, const taken *rows, int count, double *widest)
{
    int inside = 0;
    for (int i = 0; i < count; i++) {
        o3_setting s = setting_at(rows[i].num_ctx);
        s.knobs.num_thread = rows[i].num_thread;
        o3_range r = speed(p, m, &s, rows[i].depth).decode_per_s;
        assert_true(r.low > 0 && r.low < r.mid && r.mid < r.high);
        *widest = fmax(*widest, r.high / r.low);
        inside += rows[i].decode_per_s >= r.low && rows[i].decode_per_s <= r.high;
    }
    return inside;
}

static void taken_rates_lie_inside(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(true);
    o3_auto(free) o3_model *small = smollm2(), *wide = gemma3();
    double widest = 0;
    int all = O3_COUNT(smollm2_taken) + O3_COUNT(gemma3_taken);
    int inside = count_inside(p, small, smollm2_taken, O3_COUNT(smollm2_taken), &widest) +
                 count_inside(p, wide, gemma3_taken, O3_COUNT(gemma3_taken), &widest);
    if (inside < 0.8 * all || widest > 2.5)
        fail_msg("%d of %d inside, high/low up to %.2f", inside, all, widest);
}

static void check_filled(const o3_profile *p, const o3_model *m, const filled *rows, int count)
{
    for (int i = 0; i < count; i++) {
        o3_setting s = setting_at(rows[i].num_ctx);
        s.knobs.num_batch = rows[i].num_batch;
        o3_range r = speed(p, m, &s, rows[i].tokens).prefill_per_s;
        double rate = rows[i].tokens / rows[i].seconds;
        if (rate < r.low || rate > r.high)
            fail_msg("prefill of %d tokens, batch %d: %.0f/s outside %.0f..%.0f", rows[i].tokens, rows[i].num_batch, rate,
                     r.low, r.high);
    }
}

static void fills_lie_inside(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(true);
    o3_auto(free) o3_model *small = smollm2(), *wide = gemma3();
    check_filled(p, small, smollm2_filled, O3_COUNT(smollm2_filled));
    check_filled(p, wide, gemma3_filled, O3_COUNT(gemma3_filled));
}

static void unmeasured_is_wider(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *known = two_cores(true), *guessed = two_cores(false);
    o3_auto(free) o3_model *m = smollm2();
    o3_setting s = setting_at(8192);
    o3_range k = speed(known, m, &s, 2048).decode_per_s, g = speed(guessed, m, &s, 2048).decode_per_s;
    assert_true(g.high / g.low > 1.5 * k.high / k.low);
    assert_true(g.low < 83.9 && 83.9 < g.high); /* as it was taken */
}

static void depth_costs(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(true);
    o3_auto(free) o3_model *small = smollm2(), *windowed = smollm2();
    o3_setting s = setting_at(8192);
    for (int i = 0; i < windowed->layers; i++)
        windowed->layer[i].window_tokens = 512;
    for (int64_t depth = 256; depth <= 8192; depth *= 2) {
        o3_speed near = speed(p, small, &s, depth / 2), far = speed(p, small, &s, depth);
        assert_true(far.decode_per_s.mid < near.decode_per_s.mid);
        assert_true(far.ttft_ms.mid > near.ttft_ms.mid);
        if (depth <= 1024) /* a prompt shorter than a batch is a small batch */
            continue;
        assert_true(far.prefill_per_s.mid < near.prefill_per_s.mid);
        assert_true(far.ttft_ms.mid > 1.9 * near.ttft_ms.mid);
    }
    double at_window = speed(p, windowed, &s, 512).decode_per_s.mid;
    assert_near(speed(p, windowed, &s, 8192).decode_per_s.mid, at_window, 1e-6 * at_window);
    assert_true(speed(p, windowed, &s, 256).decode_per_s.mid > at_window);
}

static void threads_and_batches(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(true);
    o3_auto(free) o3_model *m = smollm2();
    o3_setting one = setting_at(2048), two = setting_at(2048), four = setting_at(2048);
    one.knobs.num_thread = 1;
    two.knobs.num_thread = 2;
    four.knobs.num_thread = 4;
    double best = speed(p, m, &two, 1000).decode_per_s.mid;
    assert_true(speed(p, m, &one, 1000).decode_per_s.mid < best);
    assert_true(speed(p, m, &four, 1000).decode_per_s.mid < best / 2); /* 29 against 75 tok/s, 41 against 109 */
    p->usable_cpus = 1; /* a quota that the engine does not see: two threads wait for one CPU */
    assert_true(speed(p, m, &two, 1000).decode_per_s.mid < best / 2);
    p->usable_cpus = 2;
    double last = 0;
    for (int batch = 8; batch <= 2048; batch *= 4) {
        two.knobs.num_batch = batch;
        double rate = speed(p, m, &two, 2048).prefill_per_s.mid;
        assert_true(rate > last);
        last = rate;
    }
    /* One token a batch cannot be faster than reading the weights each time. */
    two.knobs.num_batch = 1;
    assert_true(speed(p, m, &two, 2048).prefill_per_s.mid < 45e9 / (30 * 2216448.0));
}

static void experts_are_read_in_part(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(true);
    o3_auto(free) o3_model *dense = smollm2(), *mixture = smollm2();
    o3_setting s = setting_at(2048);
    mixture->experts = 16;
    mixture->experts_used = 2;
    for (int i = 0; i < 30; i++) {
        dense->layer[i].weight_bytes = mixture->layer[i].weight_bytes = 100000000;
        mixture->layer[i].expert_bytes = 80000000;
    }
    double ratio = speed(p, mixture, &s, 16).decode_per_s.mid / speed(p, dense, &s, 16).decode_per_s.mid;
    assert_true(ratio > 2.5 && ratio < 100.0 / 30); /* 20 + 80/8 of 100 MB; the rest of a token costs the same */
    assert_true(speed(p, mixture, &s, 2048).prefill_per_s.mid > speed(p, dense, &s, 2048).prefill_per_s.mid);
}

/* The estimate that a placement would make: so many layers on the host, the rest and the output on a GPU. */
static double split_rate(const o3_profile *p, const o3_model *m, int host_layers)
{
    o3_auto(free) o3_estimate *e = o3_alloc(1, sizeof(*e));
    o3_setting s = setting_at(4096);
    e->setting = s;
    e->pool_count = 2;
    e->pools[0] = (o3_pool_estimate){.gpu = -1, .layers = host_layers};
    e->pools[1] = (o3_pool_estimate){.gpu = 0, .layers = m->layers + 1 - host_layers};
    speed_parts parts = speed_decode(e, p, m, 2048);
    return 1 / (parts.base_s + parts.attention_s);
}

static void the_slow_device_dominates(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = two_cores(true);
    o3_auto(free) o3_model *m = smollm2();
    m->embedding = 4096;
    m->token_embd_bytes = 300000000;
    for (int i = 0; i < m->layers; i++)
        m->layer[i].weight_bytes = 130000000; /* a 7B */
    p->gpu_count = 1;
    p->gpus[0] = (o3_gpu){.vendor = O3_GPU_NVIDIA, .bandwidth_bytes_per_s = 1008e9, .fp16_flops = 165e12};
    double gpu = split_rate(p, m, 0), third = split_rate(p, m, 10), host = split_rate(p, m, 31);
    assert_true(gpu > 100 && gpu < 250); /* an RTX 4090: 187.7 tok/s measured of 3.56 GiB */
    assert_true(host < gpu / 10);
    assert_true(third < 4 * host && third > 2.5 * host); /* a third of the layers takes nearly all of the time */
}

static void unknown_numbers_stay_finite(void **state)
{
    (void)state;
    o3_auto(free) o3_profile *p = o3_alloc(1, sizeof(*p));
    o3_auto(free) o3_model *m = o3_alloc(1, sizeof(*m));
    o3_setting s = setting_at(4096);
    *p = (o3_profile){.usable_cpus = NAN, .cores = -1, .cpus_online = -1, .bandwidth = O3_BANDWIDTH_NONE};
    *m = (o3_model){.layers = -1, .embedding = -1, .heads = -1, .heads_kv = -1, .ff = -1, .vocab = -1, .experts = -1,
                    .experts_used = -1, .parameters = -1, .weight_bytes = -1, .token_embd_bytes = -1,
                    .output_bytes = -1};
    for (int64_t depth = 0; depth <= 4096; depth += 2048) {
        o3_speed v = speed(p, m, &s, depth);
        assert_true(isfinite(v.decode_per_s.high) && v.decode_per_s.low > 0);
        assert_true(isfinite(v.prefill_per_s.high) && v.prefill_per_s.low > 0);
        assert_true(isfinite(v.ttft_ms.high) && v.ttft_ms.low > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken_rates_lie_inside), cmocka_unit_test(fills_lie_inside),
        cmocka_unit_test(unmeasured_is_wider),    cmocka_unit_test(depth_costs),
        cmocka_unit_test(threads_and_batches),    cmocka_unit_test(experts_are_read_in_part),
        cmocka_unit_test(the_slow_device_dominates), cmocka_unit_test(unknown_numbers_stay_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
