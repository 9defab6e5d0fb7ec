/* SPDX-License-Identifier: Apache-2.0 */
/* The whole of optimize on simulated pairs: what must hold for any of them, and that the answer is the seed's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"
#include "o3/simulate.h"

#define PAIRS 300

static o3_simulation *run(o3_simulate_request request)
{
    o3_simulation *s = o3_alloc(1, sizeof(*s));
    o3_err err = {O3_OK, ""};
    if (o3_simulate(&request, s, &err))
        fail_msg("%s", err.message);
    return s;
}

/* All but the real time that it took. */
static char *numbers(const o3_simulation *s)
{
    json_t *json = o3_simulation_to_json(s), *strategies = json_object_get(json, "strategies"), *row;
    const char *name;
    assert_non_null(json);
    json_object_foreach(strategies, name, row)
        json_object_del(row, "pairs_per_s");
    char *text = json_dumps(json, JSON_SORT_KEYS);
    json_decref(json);
    return text;
}

static void good_predictions_find_the_ceiling(void **state)
{
    (void)state;
    o3_auto(free) o3_simulation *s = run((o3_simulate_request){.pairs = PAIRS, .seed = 7, .noise = 0.03,
                                                                .strategy = "predictive", .machines = "cpu"});
    const o3_simulated *r = &s->rows[0];
    assert_int_equal(r->pairs, PAIRS);
    assert_true(r->timed_pairs < PAIRS);
    assert_int_equal(r->above_safe, 0);
    assert_int_equal(r->limits_broken, 0);
    assert_int_equal(r->misfits_broken, 0);
    assert_true(r->exact_frac >= 0.95); /* 300 pairs; docs/simulation.md has thousands */
    assert_true(r->loads.median <= 2 && r->loads.p95 <= 4);
    assert_true(r->fills.p95 <= 3 && r->iterations.p95 <= 5);
}

/* The budgets of the three classes are kept on every kind of machine, spilled models and all. */
static void budgets_are_kept(void **state)
{
    (void)state;
    static const double minutes[O3_SIMULATED_CLASSES] = {10, 15, 20};
    o3_auto(free) o3_simulation *s = run((o3_simulate_request){.pairs = PAIRS, .seed = 11, .noise = 0.03,
                                                                .strategy = "predictive"});
    for (int c = 0; c < O3_SIMULATED_CLASSES; c++) {
        assert_true(s->rows[0].class_pairs[c] > 0);
        assert_true(s->rows[0].minutes[c].p95 <= minutes[c]);
    }
}

static void knobs_are_near_the_best(void **state)
{
    (void)state;
    o3_auto(free) o3_simulation *s = run((o3_simulate_request){.pairs = 2 * PAIRS, .seed = 12, .noise = 0.01,
                                                                .strategy = "predictive"});
    const o3_simulated *r = &s->rows[0];
    assert_true(r->raced > PAIRS && r->helpless > PAIRS / 4);
    assert_true(r->knob_visits.p95 <= 12);
    assert_true(r->knob_near_frac >= 0.95);
    assert_true(r->false_winners <= 0.05);
    assert_true(r->gain_coverage >= 0.93);
}

/* How close the ceiling comes on devices is in docs/simulation.md; that it is safe must hold here already. */
static void devices_are_not_filled_past_their_limits(void **state)
{
    (void)state;
    static const char *const machines[] = {"gpu", "apu", "cgroup"};
    for (int i = 0; i < O3_COUNT(machines); i++) {
        o3_simulate_request request = {.pairs = PAIRS / 3, .seed = 9, .noise = 0.03, .strategy = "predictive"};
        O3_COPY(request.machines, machines[i]);
        o3_auto(free) o3_simulation *s = run(request);
        const o3_simulated *r = &s->rows[0];
        assert_int_equal(r->pairs, PAIRS / 3);
        assert_int_equal(r->above_safe, 0);
        assert_int_equal(r->limits_broken, 0);
        assert_true(r->pairs - r->timed_pairs > 0 && r->room_frac > 0.5);
    }
}

static void lying_predictions_break_nothing(void **state)
{
    (void)state;
    o3_auto(free) o3_simulation *s = run((o3_simulate_request){.pairs = PAIRS, .seed = 8, .noise = 0.03, .lying = 0.3,
                                                                .strategy = "predictive"});
    const o3_simulated *r = &s->rows[0];
    assert_int_equal(r->above_safe, 0);
    assert_int_equal(r->limits_broken, 0);
    assert_true(r->loads.p95 <= 9 && r->fills.p95 <= 6);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    o3_simulate_request request = {.pairs = 60, .seed = 3, .noise = 0.1, .lying = 0.1, .strategy = "predictive", .jobs = 1};
    o3_auto(free) o3_simulation *one = run(request);
    request.jobs = 3;
    o3_auto(free) o3_simulation *three = run(request);
    request.seed = 4;
    o3_auto(free) o3_simulation *other = run(request);
    o3_auto(free) char *a = numbers(one);
    o3_auto(free) char *b = numbers(three);
    o3_auto(free) char *c = numbers(other);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
}

typedef struct stopper {
    o3_cancel *cancel;
    int64_t done;
} stopper;

static void stop_at_first(void *ctx, const char *strategy, int64_t done, int64_t pairs)
{
    stopper *s = ctx;
    (void)strategy;
    (void)pairs;
    s->done = done;
    o3_cancel_set(s->cancel, O3_CANCEL_USER);
}

static void interrupted_tells_what_was_finished(void **state)
{
    (void)state;
    stopper s = {.cancel = o3_cancel_new()};
    o3_auto(free) o3_simulation *result = run((o3_simulate_request){
        .pairs = 5000, .seed = 1, .noise = 0.03, .cancel = s.cancel, .on_progress = stop_at_first, .ctx = &s});
    assert_false(result->complete);
    assert_int_equal(result->count, 1);
    assert_true(result->rows[0].pairs >= s.done && result->rows[0].pairs < 5000);
    assert_true(!isnan(result->rows[0].loads.median));
    o3_cancel_free(s.cancel);
}

static void bad_requests_are_named(void **state)
{
    (void)state;
    static const struct {
        o3_simulate_request request;
        const char *word;
    } cases[] = {
        {{.pairs = 0}, "pairs"},
        {{.pairs = 1, .lying = 1.5}, "wrong by a share of 1.5"},
        {{.pairs = 1, .lying = -0.1}, "wrong by a share of -0.1"},
        {{.pairs = 1, .noise = 2}, "spread by a share of 2"},
        {{.pairs = 1, .noise = NAN}, "spread by a share of"},
        {{.pairs = 1, .machines = "abacus"}, "called abacus"},
        {{.pairs = 1, .strategy = "magic"}, "magic is no search strategy"},
    };
    o3_auto(free) o3_simulation *s = o3_alloc(1, sizeof(*s));
    for (int i = 0; i < O3_COUNT(cases); i++) {
        o3_err err;
        assert_int_equal(o3_simulate(&cases[i].request, s, &err), O3_E_USAGE);
        if (!strstr(err.message, cases[i].word))
            fail_msg("'%s' does not say '%s'", err.message, cases[i].word);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_predictions_find_the_ceiling), cmocka_unit_test(budgets_are_kept),
        cmocka_unit_test(knobs_are_near_the_best),
        cmocka_unit_test(devices_are_not_filled_past_their_limits), cmocka_unit_test(lying_predictions_break_nothing),
        cmocka_unit_test(threads_change_nothing), cmocka_unit_test(interrupted_tells_what_was_finished),
        cmocka_unit_test(bad_requests_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
