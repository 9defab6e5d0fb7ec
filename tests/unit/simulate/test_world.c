/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated engine and monitor: what they answer can be worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "simulate/simulate_impl.h"

#define GIB 1073741824.0

typedef struct fixture {
    o3_config config;
    o3_profile profile;
    o3_model model;
    sim_truth truth;
    sim_world world;
    o3_cancel *cancel;
} fixture;

/* A calm pair: no noise, no cliff, no error; the tests add what they need. */
static fixture *calm(const char *machine_name, int model)
{
    static const o3_simulate_request request = {.pairs = 1, .seed = 1};
    fixture *f = o3_alloc(1, sizeof(*f));
    o3_rng rng;
    o3_rng_seed(&rng, 1, 1);
    int i = 0;
    while (strcmp(sim_machines[i].name, machine_name))
        i++;
    o3_config_defaults(&f->config);
    sim_machine_profile(&sim_machines[i], &f->config, &rng, &f->profile);
    sim_model_make(model, &f->model);
    sim_truth_make(&f->truth, &sim_machines[i], &f->profile, &f->model, &request, &rng);
    f->truth.thrash_frac = 2;
    f->truth.hole_low = f->truth.hole_high = 0;
    f->truth.clamp_tokens = INT64_MAX;
    f->truth.tail_share = f->truth.load_spread = f->truth.noise = 0;
    f->cancel = o3_cancel_new();
    sim_world_start(&f->world, &f->truth, 1, f->cancel);
    return f;
}

static void drop(fixture *f)
{
    o3_cancel_free(f->cancel);
    free(f);
}

static void text(o3_buf *ret_text, uint64_t seed, size_t chars)
{
    (void)ret_text;
    (void)seed;
    (void)chars;
    fail_msg("%s", "a simulated engine reads no text");
}

static o3_reply ask(fixture *f, int64_t num_ctx, uint64_t seed, int64_t tokens)
{
    o3_reply reply;
    o3_generate request = {.model = f->model.name, .knobs = O3_KNOBS_DEFAULT, .num_predict = 32, .cancel = f->cancel};
    request.knobs.num_ctx = (int32_t)num_ctx;
    request.knobs.num_batch = 512;
    if (tokens) {
        request.prompt = text;
        request.prompt_seed = seed;
        request.prompt_chars = (size_t)((double)tokens * f->truth.chars_per_token);
    }
    assert_int_equal(o3_engine_generate(&f->world.engine, &request, &reply, NULL), O3_OK);
    return reply;
}

static void a_load_takes_its_bytes_and_its_time(void **state)
{
    (void)state;
    fixture *f = calm("cpu-16", 0);
    o3_knobs knobs = {.num_ctx = 4096, .num_batch = 512, .num_gpu = O3_UNSET, .num_thread = O3_UNSET, .use_mmap = O3_UNSET};
    sim_bytes bytes = sim_truth_bytes(&f->truth, &knobs);
    double before = sim_level(&f->world, 0);
    assert_int_equal(ask(f, 4096, 0, 0).outcome, O3_OUTCOME_OK);
    assert_true(bytes.untouched[0] > 0);
    assert_true(fabs(sim_level(&f->world, 0) - before - (bytes.pool[0] - bytes.untouched[0])) < 1);
    assert_true(f->world.now_ns > 350 * O3_NS_PER_MS);
    assert_int_equal(ask(f, 4096, 1, 2000).outcome, O3_OUTCOME_OK); /* a full batch writes the compute buffer */
    assert_true(fabs(sim_level(&f->world, 0) - before - bytes.pool[0]) < 1);
    assert_int_equal(o3_engine_unload(&f->world.engine, f->model.name, 0, NULL), O3_OK);
    assert_true(fabs(sim_level(&f->world, 0) - before) < 1);
    drop(f);
}

static void a_prefix_is_not_evaluated_again(void **state)
{
    (void)state;
    fixture *f = calm("cpu-16", 0);
    o3_reply first = ask(f, 8192, 1, 4000), same = ask(f, 8192, 1, 4000), longer = ask(f, 8192, 1, 6000);
    assert_int_equal(first.prompt_tokens, same.prompt_tokens);
    assert_true(same.prompt_eval_ns * 20 < first.prompt_eval_ns);
    assert_true(longer.prompt_tokens > first.prompt_tokens && longer.prompt_eval_ns < first.prompt_eval_ns);
    double level = sim_level(&f->world, 0);
    ask(f, 8192, 2, 1000); /* another text: the old one goes to the prompt cache */
    assert_true(sim_level(&f->world, 0) > level);
    drop(f);
}

static void too_long_is_refused_with_the_count(void **state)
{
    (void)state;
    fixture *f = calm("cpu-16", 0);
    o3_reply reply = ask(f, 2048, 1, 4000);
    assert_int_equal(reply.outcome, O3_OUTCOME_TOO_LONG);
    assert_true(llabs((long long)reply.refused_tokens - 4000) < 200);
    drop(f);
}

static void a_server_clamps_without_a_word(void **state)
{
    (void)state;
    fixture *f = calm("cpu-16", 0);
    o3_engine_loads loads;
    f->truth.clamp_tokens = 3000;
    assert_int_equal(ask(f, 8192, 0, 0).outcome, O3_OUTCOME_OK);
    assert_int_equal(o3_engine_loads_read(&f->world.engine, &loads, NULL), O3_OK);
    assert_int_equal(loads.items[0].context_length, 3000);
    drop(f);
}

/* Llama 3.1 8B in 8 GiB with a window of 64k: 12 GiB. The load passes the limit at its own pace, a reading sees it. */
static void a_limit_stops_before_anything_dies(void **state)
{
    (void)state;
    fixture *f = calm("cpu-2", 9);
    f->truth.load_bytes_per_s = 0.8e9;
    monitor_peaks_reset(&f->world.sensors.base);
    o3_reply reply = ask(f, 16384, 0, 0);
    assert_int_equal(reply.outcome, O3_OUTCOME_CANCELLED);
    assert_int_equal(o3_cancel_get(f->cancel), O3_CANCEL_SAFETY);
    char why[O3_TEXT_MAX];
    assert_int_equal(monitor_stop_reason(&f->world.sensors.base, why, sizeof(why)), O3_STOP_LIMIT);
    assert_non_null(strstr(why, "ram at"));
    assert_false(f->world.limit_broken || f->world.was_killed);
    assert_true(sim_level(&f->world, 0) < (double)f->profile.pools[0].total_bytes);
    drop(f);
}

/* Too fast for any reading: the kernel comes first, and it is counted. */
static void a_jump_past_the_pool_kills(void **state)
{
    (void)state;
    fixture *f = calm("cpu-2", 9);
    f->truth.load_bytes_per_s = 1e13;
    o3_window window;
    monitor_mark(&f->world.sensors.base);
    o3_reply reply = ask(f, 131072, 0, 0);
    assert_int_equal(reply.outcome, O3_OUTCOME_CRASH);
    monitor_since_mark(&f->world.sensors.base, &window);
    assert_int_equal(window.oom_kills, 1);
    assert_true(f->world.was_killed && f->world.limit_broken);
    drop(f);
}

/* Whoever goes on above a limit after readings saw it is found out. */
static void ignoring_a_limit_is_counted(void **state)
{
    (void)state;
    fixture *f = calm("cpu-16", 0);
    assert_int_equal(ask(f, 4096, 0, 0).outcome, O3_OUTCOME_OK);
    f->world.runner[0] = 0.83 * 64 * GIB; /* others use 3 to 15 % */
    assert_false(sim_pass(&f->world, 1, NULL));
    assert_int_equal(o3_cancel_get(f->cancel), O3_CANCEL_SAFETY);
    assert_false(f->world.limit_broken);
    for (int i = 0; i < 10; i++)
        sim_pass(&f->world, 0.09, NULL);
    assert_true(f->world.limit_broken);
    drop(f);
}

/* The ceiling of the truth against each step of the grid. */
static void the_ceiling_is_the_largest_step_that_works(void **state)
{
    (void)state;
    fixture *f = calm("cgroup-320m", 0);
    o3_knobs knobs = {.num_batch = 512, .num_gpu = O3_UNSET, .num_thread = O3_UNSET, .use_mmap = O3_UNSET};
    int64_t ceiling = sim_truth_ceiling(&f->truth, &knobs), largest = 0;
    for (int64_t w = O3_CTX_GRID; w <= f->model.trained_tokens; w += O3_CTX_GRID) {
        knobs.num_ctx = (int32_t)w;
        sim_bytes b = sim_truth_bytes(&f->truth, &knobs);
        bool fits = true;
        for (int i = 0; i < f->profile.pool_count; i++)
            fits = fits && (double)f->profile.pools[i].used_bytes + b.pool[i] <= (double)f->profile.pools[i].safe_bytes;
        largest = fits ? w : largest;
        assert_int_equal(fits, sim_truth_safe(&f->truth, &knobs));
    }
    assert_true(largest > 0 && largest < f->model.trained_tokens);
    assert_int_equal(ceiling, largest);
    f->truth.hole_low = ceiling - O3_CTX_GRID;
    f->truth.hole_high = ceiling + O3_CTX_GRID;
    assert_int_equal(sim_truth_ceiling(&f->truth, &knobs), ceiling - 2 * O3_CTX_GRID);
    drop(f);
}

/* Evaluating in two parts takes as long as in one; deeper costs more; a window bends the line. */
static void time_adds_up(void **state)
{
    (void)state;
    for (int model = 0; model < sim_model_count; model++) {
        fixture *f = calm("cpu-32", model);
        double whole = sim_prefill_s(&f->truth, 0, 30000);
        double parts = sim_prefill_s(&f->truth, 0, 700) + sim_prefill_s(&f->truth, 700, 30000);
        assert_true(fabs(whole - parts) < 1e-9 * whole);
        assert_true(sim_prefill_s(&f->truth, 20000, 30000) > sim_prefill_s(&f->truth, 0, 10000));
        assert_true(sim_decode_s(&f->truth, 30000) > sim_decode_s(&f->truth, 100));
        drop(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_load_takes_its_bytes_and_its_time), cmocka_unit_test(a_prefix_is_not_evaluated_again),
        cmocka_unit_test(too_long_is_refused_with_the_count), cmocka_unit_test(a_server_clamps_without_a_word),
        cmocka_unit_test(a_limit_stops_before_anything_dies), cmocka_unit_test(a_jump_past_the_pool_kills),
        cmocka_unit_test(ignoring_a_limit_is_counted), cmocka_unit_test(the_ceiling_is_the_largest_step_that_works),
        cmocka_unit_test(time_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
