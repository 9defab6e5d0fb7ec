/* SPDX-License-Identifier: Apache-2.0 */
/* One reply and what the sensors saw meanwhile, made into a sample: which marks it carries. The engine answers the same
 * every time, the monitor says what the row says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/engine_impl.h"
#include "probe/probe.h"

static o3_window seen;

static o3_status answer(o3_engine *engine, const o3_generate *request, o3_reply *ret_reply, o3_err *err)
{
    (void)engine, (void)err;
    *ret_reply = (o3_reply){.outcome = O3_OUTCOME_OK, .done = true, .refused_tokens = -1, .load_ns = 1,
                            .prompt_tokens = (int64_t)request->prompt_chars / 4, .eval_tokens = 32, .ttft_ns = 9,
                            .prompt_eval_ns = O3_NS_PER_S, .eval_ns = O3_NS_PER_S, .wall_ns = 2 * O3_NS_PER_S,
                            .prompt_chars = request->prompt_chars};
    return O3_OK;
}

static void nothing(o3_monitor *monitor)
{
    (void)monitor;
}

static void since_mark(o3_monitor *monitor, o3_window *ret_window)
{
    (void)monitor;
    *ret_window = seen;
}

static void no_peaks(o3_monitor *monitor, o3_peaks *ret_peaks)
{
    (void)monitor;
    *ret_peaks = (o3_peaks){.temperature_c = NAN, .cpu_frac = NAN};
}

static const struct engine_ops engine_ops = {.name = "test", .generate = answer};
static const monitor_ops watch_ops = {.mark = nothing, .since_mark = since_mark, .peaks = no_peaks};

static void marks(void **state)
{
    static const struct { bool gpu_throttled; double foreign; bool throttled, disturbed; } rows[] = {
        {false, 0.02, false, false}, {false, NAN, false, false}, {false, 0.4, false, true},
        {true, 0.02, true, true},    {true, NAN, true, true},    {true, 0.4, true, true},
    };
    (void)state;
    o3_engine engine = {.ops = &engine_ops};
    o3_monitor monitor = {.ops = &watch_ops};
    o3_auto(free) o3_model *model = o3_alloc(1, sizeof(*model));
    o3_auto(free) o3_config *config = o3_alloc(1, sizeof(*config));
    o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
    o3_auto(free) o3_trial *trial = o3_alloc(1, sizeof(*trial));
    probe p = {.engine = &engine, .model = model, .config = config, .profile = profile, .monitor = &monitor,
               .chars_per_token = 4, .window_tokens = 4096, .last_decode_per_s = NAN};
    trial->asked = O3_KNOBS_DEFAULT;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        seen = (o3_window){.foreign_cpu_frac = rows[i].foreign, .psi_memory_frac = NAN, .gpu_throttled = rows[i].gpu_throttled};
        assert_int_equal(probe_fresh(&p, trial, 400, NULL), O3_OK);
        assert_int_equal(trial->outcome, O3_OUTCOME_OK);
        assert_int_equal(trial->sample_count, i + 1);
        const o3_sample *sample = &trial->samples[i];
        assert_true(sample->decode_per_s > 30.9 && sample->decode_per_s < 31.1);
        assert_int_equal(sample->throttled, rows[i].throttled);
        assert_int_equal(sample->disturbed, rows[i].disturbed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(marks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
