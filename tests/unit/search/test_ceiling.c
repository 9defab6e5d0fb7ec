/* SPDX-License-Identifier: Apache-2.0 */
/* The ceiling search against machines that are formulas: how many loads and fills, never past the limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "search/search.h"

#define MIB 1048576.0

typedef struct machine {
    double offset_bytes;  /* what the formula does not know: runner overhead */
    double slope;         /* of the truth against the formula; 1 = the formula is right */
    int64_t fails_above;  /* crash at or above this context; 0 = never */
    int64_t slow_above;   /* full windows above it are slower than the floor; 0 = none is */
    double told;          /* what the rungs tell of that window / the truth */
} machine;

typedef struct outcome {
    int64_t proven, above_safe;
    int loads, fills;
    o3_ceiling ceiling;
} outcome;

static o3_model *model_new(int64_t trained)
{
    o3_model *m = o3_alloc(1, sizeof(*m));
    *m = (o3_model){.layers = 30, .embedding = 576, .heads = 9, .heads_kv = 3, .ff = 1536, .vocab = 49152,
                    .weight_bytes = 96576768, .file_bytes = 98362745, .parameters = 134515008,
                    .trained_tokens = trained, .kv_exact = true};
    for (int i = 0; i < m->layers; i++)
        m->layer[i] = (o3_layer){.heads_kv = 3, .key_dim = 64, .value_dim = 64};
    return m;
}

static const o3_setting setting = {.knobs = {O3_UNSET, 512, O3_UNSET, O3_UNSET, O3_UNSET}, .parallel = 1,
                                   .kv_type = &o3_kv_types[0], .flash_attention = true, .era = O3_ERA_C};

static double truth(const machine *box, const o3_profile *profile, const o3_model *model, int64_t num_ctx,
                    double *ret_compute)
{
    o3_estimate e;
    o3_calibration none = O3_CALIBRATION_NONE;
    o3_setting at = o3_setting_at(&setting, num_ctx);
    o3_predict(&e, profile, model, &at, &none);
    if (ret_compute)
        *ret_compute = e.compute_bytes.mid;
    return e.weights_bytes.mid + e.output_bytes.mid + box->slope * (e.kv_bytes.mid + e.compute_bytes.mid) +
           box->offset_bytes;
}

static search_reading host_reading(double bytes)
{
    search_reading read;
    for (int m = 0; m < O3_MEMORIES_MAX; m++)
        read.bytes[m] = NAN;
    read.bytes[0] = bytes;
    return read;
}

/* Plays one search. A fill that passes the limit is stopped there, as the monitor would. */
static outcome play(const machine *box, int64_t safe_bytes, int64_t trained)
{
    outcome out = {0};
    o3_auto(free) o3_model *model = model_new(trained);
    o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
    profile->usable_cpus = 2;
    profile->pool_count = 1;
    profile->pools[0] = (o3_pool){.name = "cgroup:/test", .total_bytes = (int64_t)((double)safe_bytes / 0.85),
                                  .used_bytes = 0, .safe_bytes = safe_bytes};
    search_ceiling s;
    o3_calibration none = O3_CALIBRATION_NONE;
    search_ceiling_init(&s, profile, model, &setting, 7, &none);
    for (int64_t ctx; (ctx = search_ceiling_ask(&s)) > 0;) {
        double compute, bytes = truth(box, profile, model, ctx, &compute); /* compute is not yet written after a load */
        out.loads++;
        bool crash = box->fails_above && ctx >= box->fails_above;
        if (crash) {
            assert_false(search_ceiling_loaded(&s, O3_OUTCOME_OOM_LOAD, "out of memory", -1, NULL));
            continue;
        }
        search_reading read = host_reading(bytes - box->slope * compute);
        if (!search_ceiling_loaded(&s, O3_OUTCOME_OK, "", ctx, &read))
            continue;
        out.fills++;
        if (bytes > (double)safe_bytes + 0.5) {
            search_ceiling_filled(&s, O3_OUTCOME_OVER_LIMIT, "over the limit", NULL);
            continue;
        }
        if (box->slow_above)
            search_ceiling_paced(&s, ctx > box->slow_above, (int64_t)(box->told * (double)box->slow_above));
        if (box->slow_above && ctx > box->slow_above) {
            search_ceiling_filled(&s, O3_OUTCOME_SLOW, "too slow", NULL);
            continue;
        }
        read = host_reading(bytes);
        search_ceiling_filled(&s, O3_OUTCOME_OK, "", &read);
        if (bytes > (double)safe_bytes)
            out.above_safe++;
    }
    search_ceiling_result(&s, &out.ceiling);
    out.proven = s.proven;
    return out;
}

static void trained_is_the_end(void **state)
{
    (void)state;
    machine m = {.offset_bytes = 30 * MIB, .slope = 1};
    outcome out = play(&m, (int64_t)(20e9), 8192);
    assert_int_equal(out.proven, 8192);
    assert_int_equal(out.loads, 1);
    assert_int_equal(out.fills, 1);
    assert_int_equal(out.ceiling.next_kind, O3_STEP_TRAINED);
}

static void memory_is_the_end(void **state)
{
    (void)state;
    static const double offsets[] = {5, 15, 30, 45, 60, 90};
    for (int i = 0; i < O3_COUNT(offsets); i++) {
        machine m = {.offset_bytes = offsets[i] * MIB, .slope = 1};
        outcome out = play(&m, (int64_t)(272 * MIB), 8192);
        assert_int_equal(out.above_safe, 0);
        assert_in_range(out.loads, 1, 4);
        assert_in_range(out.fills, 1, 3);
        assert_true(out.proven > 0);
        /* within 3 % and two grid steps of what is really the largest safe window */
        o3_auto(free) o3_model *model = model_new(8192);
        o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
        int64_t best = 0;
        for (int64_t c = 256; c <= 8192; c += 256)
            if (truth(&m, profile, model, c, NULL) <= 272 * MIB)
                best = c;
        assert_true(out.proven <= best);
        assert_true((double)(best - out.proven) <= 0.03 * (double)best + 512);
        assert_int_equal(out.ceiling.next_kind, O3_STEP_PREDICTED);
        assert_non_null(strstr(out.ceiling.next_reason, "cgroup:/test"));
    }
}

static void a_wrong_formula_is_corrected(void **state)
{
    (void)state;
    static const double slopes[] = {0.7, 0.85, 1.15, 1.3};
    for (int i = 0; i < O3_COUNT(slopes); i++) {
        machine m = {.offset_bytes = 30 * MIB, .slope = slopes[i]};
        outcome out = play(&m, (int64_t)(272 * MIB), 8192);
        assert_int_equal(out.above_safe, 0);
        assert_true(out.proven > 0);
        assert_in_range(out.loads, 1, 7);
    }
}

static void a_crash_is_bisected(void **state)
{
    (void)state;
    machine m = {.offset_bytes = 30 * MIB, .slope = 1, .fails_above = 5000};
    outcome out = play(&m, (int64_t)(20e9), 8192);
    assert_int_equal(out.proven, 4864);
    assert_int_equal(out.fills, 1); /* loads alone find it */
    assert_int_equal(out.ceiling.next_num_ctx, 5120);
    assert_int_equal(out.ceiling.next_kind, O3_STEP_MEASURED);
    assert_string_equal(out.ceiling.next_reason, "out of memory");
    assert_in_range(out.loads, 2, 7);
}

static void nothing_fits(void **state)
{
    (void)state;
    machine m = {.offset_bytes = 30 * MIB, .slope = 1};
    outcome out = play(&m, (int64_t)(64 * MIB), 8192);
    assert_int_equal(out.proven, 0);
    assert_int_equal(out.loads, 0);
    assert_int_equal(out.ceiling.next_kind, O3_STEP_PREDICTED);
}

/* The rungs tell where the floor is crossed: one step there, whether memory ends the search or training. */
static void a_floor_is_met_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        machine m = {.offset_bytes = 30 * MIB, .slope = 1, .slow_above = 20000, .told = 1};
        outcome out = play(&m, i ? (int64_t)(800 * MIB) : (int64_t)20e9, i ? 131072 : 32768);
        assert_int_equal(out.proven, 20000 / 256 * 256);
        assert_in_range(out.fills, 2, 2);
        assert_int_equal(out.ceiling.next_kind, O3_STEP_MEASURED);
        assert_string_equal(out.ceiling.next_reason, "too slow");
    }
}

/* They tell too much: it goes further down each time. Too little: what passes ends it, a larger step up is tried once. */
static void a_floor_that_is_told_wrongly(void **state)
{
    (void)state;
    machine m = {.offset_bytes = 30 * MIB, .slope = 1, .slow_above = 20000, .told = 1.5};
    outcome out = play(&m, (int64_t)20e9, 32768);
    assert_in_range(out.proven, 10000, 20000);
    assert_in_range(out.fills, 2, 7);
    m.told = 0.8;
    out = play(&m, (int64_t)20e9, 32768);
    assert_int_equal(out.proven, 16000 / 256 * 256);
    assert_int_equal(out.fills, 2);
}

static void no_window_keeps_the_floor(void **state)
{
    (void)state;
    machine m = {.offset_bytes = 30 * MIB, .slope = 1, .slow_above = 1, .told = 0};
    outcome out = play(&m, (int64_t)20e9, 32768);
    assert_int_equal(out.proven, 0);
    assert_int_equal(out.fills, 2); /* the largest and the smallest */
    assert_int_equal(out.ceiling.next_kind, O3_STEP_MEASURED);
}

/* Below a window that is too slow something else fails: the strategy takes over, and ends. */
static void a_crash_below_the_floor(void **state)
{
    (void)state;
    machine m = {.offset_bytes = 30 * MIB, .slope = 1, .slow_above = 20000, .told = 1, .fails_above = 15000};
    outcome out = play(&m, (int64_t)20e9, 32768);
    assert_in_range(out.proven, 13000, 15000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trained_is_the_end), cmocka_unit_test(memory_is_the_end),
        cmocka_unit_test(a_wrong_formula_is_corrected), cmocka_unit_test(a_crash_is_bisected),
        cmocka_unit_test(nothing_fits), cmocka_unit_test(a_floor_is_met_at_once),
        cmocka_unit_test(a_floor_that_is_told_wrongly), cmocka_unit_test(no_window_keeps_the_floor),
        cmocka_unit_test(a_crash_below_the_floor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
