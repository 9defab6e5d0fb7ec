/* SPDX-License-Identifier: Apache-2.0 */
/* A smaller num_batch is pinned where its buffers are what keeps the window small, and only there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../predict/speed_models.h"
#include "tune/tune_impl.h"

#define MIB 1048576

typedef struct world {
    o3_request request;
    o3_config config;
    o3_result result;
    o3_profile profile;
    o3_model model;
    session session;
} world;

static int64_t ceiling_of(const world *w)
{
    return o3_predict_ceiling(&w->profile, &w->model, &w->session.setting, false, &w->session.calibration, NULL);
}

/* gemma3:270m, whose vocabulary makes a batch of logits half a gigabyte, in `mib` of memory. */
static world *world_of(int64_t mib)
{
    world *w = o3_alloc(1, sizeof(*w));
    o3_auto(free) o3_model *model = gemma3();
    o3_auto(free) o3_profile *profile = two_cores(true);
    o3_notes notes = {0};
    o3_config_defaults(&w->config);
    w->model = *model;
    O3_COPY(w->model.architecture, "gemma3");
    w->profile = *profile;
    w->profile.pool_count = 1;
    w->profile.pools[0] = (o3_pool){.name = "ram", .total_bytes = mib * MIB, .safe_bytes = mib * MIB * 85 / 100, .limit_frac = 0.85};
    w->session = (session){.request = &w->request, .config = &w->config, .result = &w->result, .profile = &w->profile,
                           .model = &w->model, .budget_s = 600, .started_ns = o3_now_ns(), .batch = O3_UNSET,
                           .cool_batch = O3_UNSET, .calibration = O3_CALIBRATION_NONE};
    o3_setting_of(&w->session.setting, "0.32.15", "", &notes);
    w->session.setting.knobs.num_batch = TUNE_BATCH;
    w->session.predicted_ceiling = ceiling_of(w);
    return w;
}

static void buffers_give_way_to_the_window(void **state)
{
    (void)state;
    o3_auto(free) world *w = world_of(480);
    int64_t before = ceiling_of(w);
    knobs_pin_batch(&w->session);
    assert_in_range(w->session.setting.knobs.num_batch, 128, TUNE_BATCH / 2);
    assert_true(ceiling_of(w) > before + before / 4);
    assert_int_equal(w->result.notes.count, 1);
    /* Shorter windows have the usual batch where it fits; the proven ceiling keeps its own. */
    assert_int_equal(knobs_for(&w->session, O3_CTX_GRID).num_batch, TUNE_BATCH);
    w->result.ceiling.proven_tokens = ceiling_of(w);
    assert_int_equal(knobs_for(&w->session, ceiling_of(w)).num_batch, w->session.setting.knobs.num_batch);
}

static void it_stays_where_that_gains_nothing(void **state)
{
    (void)state;
    o3_auto(free) world *roomy = world_of(16384), *asked = world_of(480);
    knobs_pin_batch(&roomy->session);
    assert_int_equal(roomy->session.setting.knobs.num_batch, TUNE_BATCH);
    assert_int_equal(roomy->session.batch, O3_UNSET);
    asked->request.keep_knobs = true;
    knobs_pin_batch(&asked->session);
    assert_int_equal(asked->session.setting.knobs.num_batch, TUNE_BATCH);
    assert_int_equal(asked->result.notes.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_give_way_to_the_window), cmocka_unit_test(it_stays_where_that_gains_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
