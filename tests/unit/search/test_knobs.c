/* SPDX-License-Identifier: Apache-2.0 */
/* Candidates for the race, and the points that failed before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "machines.h"
#include "search/race.h"

typedef struct scene {
    machine m;
    o3_config config;
    o3_notes notes;
    search_candidate rows[SEARCH_CANDIDATES_MAX];
    int count;
} scene;

static void prepare(scene *s, double usable, int online, int cores, int threads_per_core)
{
    static const population drawn = {0};
    *s = (scene){.m = machine_draw(&drawn, 3)};
    o3_config_defaults(&s->config);
    s->m.profile->usable_cpus = usable;
    s->m.profile->engine_env_known = true;
    s->m.profile->cpus_online = online;
    s->m.profile->cores = cores;
    s->m.profile->threads_per_core = threads_per_core;
    s->m.profile->pools[0].safe_bytes = (int64_t)(2000 * GIB);
    s->m.setting.knobs.num_ctx = 4096;
}

static void list(scene *s, const search_failures *known)
{
    o3_calibration none = O3_CALIBRATION_NONE;
    s->count = search_knobs_candidates(s->rows, SEARCH_CANDIDATES_MAX, &s->config, s->m.profile, s->m.model,
                                       &s->m.setting, &none, known, (search_weights){1, 1}, &s->notes);
}

static bool has(const scene *s, const char *knob, int32_t value)
{
    for (int i = 1; i < s->count; i++)
        for (const o3_knob_field *f = o3_knob_fields; f->name; f++)
            if (!strcmp(f->name, knob) && o3_knob_get(&s->rows[i].knobs, f) == value &&
                o3_knob_get(&s->rows[0].knobs, f) != value)
                return true;
    return false;
}

static void one_knob_each(void **state)
{
    (void)state;
    scene s;
    prepare(&s, 8, 16, 8, 2);
    list(&s, NULL);
    assert_true(o3_knobs_equal(&s.rows[0].knobs, &s.m.setting.knobs));
    assert_in_range(s.count, 4, 10);
    for (int i = 1; i < s.count; i++) {
        int differ = 0;
        for (const o3_knob_field *f = o3_knob_fields; f->name; f++)
            differ += o3_knob_get(&s.rows[i].knobs, f) != o3_knob_get(&s.rows[0].knobs, f);
        assert_int_equal(differ, 1);
        assert_int_equal(s.rows[i].knobs.num_ctx, 4096);
        assert_true(isnan(s.rows[i].prior_ratio) || s.rows[i].prior_ratio > 0);
    }
    scene again;
    prepare(&again, 8, 16, 8, 2);
    list(&again, NULL);
    assert_int_equal(again.count, s.count);
    for (int i = 0; i < s.count; i++)
        assert_true(o3_knobs_equal(&again.rows[i].knobs, &s.rows[i].knobs));
    machine_free(&s.m);
    machine_free(&again.m);
}

/* The count of threads is never above what may be used, and the server's own choice is not offered twice. */
static void threads_by_what_is_usable(void **state)
{
    (void)state;
    static const struct { double usable; int online, cores, each, wanted, unwanted; } cases[] = {
        {2, 8, 4, 2, 2, 4},     /* affinity or quota: two of eight */
        {1.5, 8, 8, 1, 1, 2},   /* a quota of one and a half */
        {16, 16, 8, 2, 16, 8},  /* all of it: physical cores are the server's own choice */
        {24, 24, 16, 2, 8, 16}, /* eight fast cores with two threads each, eight slow ones */
        {0.5, 4, 4, 1, 1, 4},
    };
    for (int i = 0; i < O3_COUNT(cases); i++) {
        scene s;
        prepare(&s, cases[i].usable, cases[i].online, cases[i].cores, cases[i].each);
        list(&s, NULL);
        assert_true(has(&s, "num_thread", cases[i].wanted));
        assert_false(has(&s, "num_thread", cases[i].unwanted));
        for (int k = 1; k < s.count; k++)
            assert_true(s.rows[k].knobs.num_thread == O3_UNSET ||
                        s.rows[k].knobs.num_thread <= fmax(1, cases[i].usable));
        machine_free(&s.m);
    }
    scene told; /* its own choice is not the physical cores */
    prepare(&told, 16, 16, 8, 2);
    O3_COPY(told.m.profile->engine_env, "LLAMA_ARG_THREADS=32\n");
    list(&told, NULL);
    assert_true(has(&told, "num_thread", 8));
    machine_free(&told.m);
    scene unknown;
    prepare(&unknown, NAN, -1, -1, -1);
    list(&unknown, NULL);
    for (int k = 0; k < unknown.count; k++)
        assert_int_equal(unknown.rows[k].knobs.num_thread, O3_UNSET);
    machine_free(&unknown.m);
}

static void batch_keys_are_obeyed(void **state)
{
    (void)state;
    scene s;
    prepare(&s, 4, 4, 4, 1);
    list(&s, NULL);
    assert_true(has(&s, "num_batch", 2048) || has(&s, "num_batch", 1024));
    s.config.search_strategy.batch_adaptation.max_batch = 256; /* the user's own */
    list(&s, NULL);
    assert_true(has(&s, "num_batch", 256));
    for (int i = 1; i < s.count; i++)
        assert_true(s.rows[i].knobs.num_batch == 512 || s.rows[i].knobs.num_batch <= 256);
    s.config.search_strategy.batch_adaptation.enabled = false;
    list(&s, NULL);
    for (int i = 1; i < s.count; i++)
        assert_int_equal(s.rows[i].knobs.num_batch, 512);
    machine_free(&s.m);
}

/* A batch whose buffers would not be safe at this window is left out, and that is said. */
static void unsafe_is_left_out(void **state)
{
    (void)state;
    scene s;
    prepare(&s, 4, 4, 4, 1);
    o3_estimate small = machine_formula(&s.m, 4096);
    s.m.profile->pools[0].safe_bytes = (int64_t)(small.total_bytes.high + MIB);
    list(&s, NULL);
    for (int i = 1; i < s.count; i++)
        assert_true(s.rows[i].knobs.num_batch <= 512);
    assert_true(s.notes.count > 0);
    assert_non_null(strstr(s.notes.text[0], "num_batch"));
    machine_free(&s.m);
}

static o3_trial failed_trial(const scene *s, int32_t num_ctx, o3_outcome outcome)
{
    o3_trial trial = {.asked = s->m.setting.knobs, .outcome = outcome};
    trial.asked.num_ctx = num_ctx;
    O3_COPY(trial.reason, "out of memory");
    return trial;
}

static const search_failure *against(const scene *s, const search_failures *known, int32_t num_ctx, int32_t num_gpu)
{
    o3_setting at = o3_setting_at(&s->m.setting, num_ctx);
    at.knobs.num_gpu = num_gpu;
    return search_failures_find(known, s->m.profile, s->m.model, &at);
}

static void what_failed_is_remembered(void **state)
{
    (void)state;
    scene s;
    prepare(&s, 4, 4, 4, 1);
    static search_failures known;
    o3_trial oom = failed_trial(&s, 8192, O3_OUTCOME_OOM_LOAD), crash = failed_trial(&s, 2048, O3_OUTCOME_CRASH),
             busy = failed_trial(&s, 1024, O3_OUTCOME_BUSY), fine = failed_trial(&s, 512, O3_OUTCOME_OK);
    search_failures_learn(&known, s.m.profile, s.m.model, &s.m.setting, &oom, false);
    search_failures_learn(&known, s.m.profile, s.m.model, &s.m.setting, &crash, false);
    search_failures_learn(&known, s.m.profile, s.m.model, &s.m.setting, &busy, false);
    search_failures_learn(&known, s.m.profile, s.m.model, &s.m.setting, &fine, false);
    assert_int_equal(known.count, 2);
    assert_non_null(against(&s, &known, 8192, O3_UNSET));
    assert_non_null(against(&s, &known, 16384, O3_UNSET)); /* asks for more */
    assert_null(against(&s, &known, 7936, O3_UNSET));
    assert_null(against(&s, &known, 16384, 7));            /* another placement is another point */
    assert_non_null(against(&s, &known, 2048, O3_UNSET));
    assert_null(against(&s, &known, 2304, O3_UNSET));      /* a crash says nothing of its neighbours */
    s.m.profile->pools[0].safe_bytes += (int64_t)(500 * GIB);
    assert_null(against(&s, &known, 8448, O3_UNSET));      /* there is more room now */
    s.m.profile->pools[0].safe_bytes -= (int64_t)(1000 * GIB);
    assert_non_null(against(&s, &known, 1024, O3_UNSET));  /* and now much less */
    for (int i = 0; i < 3 * SEARCH_FAILURES_MAX; i++)
        search_failures_learn(&known, s.m.profile, s.m.model, &s.m.setting, &oom, true);
    assert_int_equal(known.count, SEARCH_FAILURES_MAX);
    assert_non_null(strstr(known.items[0].reason, "earlier run"));
    machine_free(&s.m);
}

/* A ceiling search does not offer again what ran out of memory in an earlier run, and names it as the reason. */
static void a_failure_bounds_the_next_run(void **state)
{
    (void)state;
    scene s;
    prepare(&s, 4, 4, 4, 1);
    s.m.model->trained_tokens = 32768;
    static search_failures known;
    o3_trial oom = failed_trial(&s, 20480, O3_OUTCOME_OOM_LOAD);
    search_failures_learn(&known, s.m.profile, s.m.model, &s.m.setting, &oom, true);
    search_options options = {.max_iterations = 7, .known = &known};
    o3_calibration none = O3_CALIBRATION_NONE;
    static search_ceiling search;
    search_ceiling_start(&search, search_strategy_find("predictive"), s.m.profile, s.m.model, &s.m.setting, &options,
                         &none);
    assert_int_equal(search_ceiling_ask(&search), 20224);
    assert_true(search_ceiling_loaded(&search, O3_OUTCOME_OK, "", 20224, NULL));
    search_ceiling_filled(&search, O3_OUTCOME_OK, "", NULL);
    assert_int_equal(search_ceiling_ask(&search), 0);
    o3_ceiling ceiling;
    search_ceiling_result(&search, &ceiling);
    assert_int_equal(ceiling.next_num_ctx, 20480);
    assert_int_equal(ceiling.next_kind, O3_STEP_MEASURED);
    assert_non_null(strstr(ceiling.next_reason, "earlier run"));

    known.count = 0; /* a crash: the very point is stepped over, nothing else */
    o3_trial crash = failed_trial(&s, 32768, O3_OUTCOME_CRASH);
    search_failures_learn(&known, s.m.profile, s.m.model, &s.m.setting, &crash, true);
    search_ceiling_start(&search, search_strategy_find("predictive"), s.m.profile, s.m.model, &s.m.setting, &options,
                         &none);
    assert_int_equal(search_ceiling_ask(&search), 32512);
    machine_free(&s.m);
}

static void known_failures_are_no_candidates(void **state)
{
    (void)state;
    scene s;
    prepare(&s, 4, 4, 4, 1);
    list(&s, NULL);
    assert_true(has(&s, "num_batch", 1024));
    static search_failures known;
    o3_trial oom = failed_trial(&s, 4096, O3_OUTCOME_OOM_LOAD);
    oom.asked.num_batch = 1024;
    search_failures_learn(&known, s.m.profile, s.m.model, &s.m.setting, &oom, true);
    list(&s, &known);
    assert_false(has(&s, "num_batch", 1024));
    assert_false(has(&s, "num_batch", 2048));
    assert_non_null(strstr(s.notes.text[0], "failed: in an earlier run"));
    machine_free(&s.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_knob_each), cmocka_unit_test(threads_by_what_is_usable),
        cmocka_unit_test(batch_keys_are_obeyed), cmocka_unit_test(unsafe_is_left_out),
        cmocka_unit_test(what_failed_is_remembered), cmocka_unit_test(a_failure_bounds_the_next_run),
        cmocka_unit_test(known_failures_are_no_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
