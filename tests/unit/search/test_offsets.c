/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets by memory: what a load takes of the host says nothing of a GPU, and the other way round. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "search/search.h"

#define MIB 1048576.0
#define GIB 1073741824.0
#define PINNED 512

/* A card of 12 GiB beside 64 GiB of RAM, a model of 8B. */
typedef struct rig {
    o3_profile profile;
    o3_model model;
    o3_setting setting;
    double host_offset, device_offset; /* what the formula does not know */
} rig;

static rig *rig_new(double host_mib, double device_mib)
{
    rig *r = o3_alloc(1, sizeof(*r));
    r->profile.usable_cpus = 8;
    r->profile.pool_count = 2;
    r->profile.pools[0] = (o3_pool){.name = "ram", .total_bytes = (int64_t)(64 * GIB), .safe_bytes = (int64_t)(54 * GIB)};
    r->profile.pools[1] = (o3_pool){.name = "gpu0", .total_bytes = (int64_t)(12 * GIB), .used_bytes = (int64_t)(300 * MIB),
                                    .safe_bytes = (int64_t)(10.8 * GIB)};
    r->profile.gpu_count = 1;
    r->profile.gpus[0] = (o3_gpu){.vendor = O3_GPU_NVIDIA, .pool = 1, .max_tensor_bytes = -1};
    r->model = (o3_model){.layers = 32, .embedding = 4096, .heads = 32, .heads_kv = 8, .ff = 14336, .vocab = 128256,
                          .weight_bytes = (int64_t)4.9e9, .file_bytes = (int64_t)4.9e9, .parameters = (int64_t)8e9,
                          .trained_tokens = 131072, .kv_exact = true};
    for (int i = 0; i < r->model.layers; i++)
        r->model.layer[i] = (o3_layer){.heads_kv = 8, .key_dim = 128, .value_dim = 128};
    r->setting = (o3_setting){.knobs = {O3_UNSET, PINNED, O3_UNSET, O3_UNSET, O3_UNSET}, .parallel = 1,
                              .kv_type = &o3_kv_types[0], .flash_attention = true, .era = O3_ERA_C,
                              .fit_target_bytes = (int64_t)(1024 * MIB)};
    r->host_offset = host_mib * MIB;
    r->device_offset = device_mib * MIB;
    return r;
}

/* With all layers on the card: the host's compute buffer is written by the first batch, the card's is there at once. */
static search_reading truth(const rig *r, int64_t num_ctx, bool filled)
{
    search_reading read;
    o3_estimate e;
    o3_calibration none = O3_CALIBRATION_NONE;
    o3_setting at = o3_setting_at(&r->setting, num_ctx);
    at.knobs.num_gpu = r->model.layers + 1;
    o3_predict(&e, &r->profile, &r->model, &at, &none);
    for (int m = 0; m < O3_MEMORIES_MAX; m++)
        read.bytes[m] = NAN;
    for (int i = 0; i < e.pool_count; i++) {
        const o3_pool_estimate *p = &e.pools[i];
        double rest = p->weights_bytes + p->kv_bytes + p->state_bytes + p->output_bytes;
        bool host = p->gpu < 0;
        read.bytes[host ? 0 : 1 + p->gpu] = rest + (host && !filled ? 0 : p->compute_bytes) +
                                            (host ? r->host_offset : r->device_offset);
    }
    return read;
}

static bool spills(const rig *r, int64_t num_ctx)
{
    const o3_pool *p = &r->profile.pools[1];
    return truth(r, num_ctx, true).bytes[1] + (double)r->setting.fit_target_bytes > (double)(p->total_bytes - p->used_bytes);
}

static bool safe(const rig *r, int64_t num_ctx)
{
    return truth(r, num_ctx, true).bytes[1] <= (double)(r->profile.pools[1].safe_bytes - r->profile.pools[1].used_bytes);
}

static int64_t best(const rig *r)
{
    int64_t found = 0;
    for (int64_t c = O3_CTX_GRID; c <= r->model.trained_tokens && safe(r, c) && !spills(r, c); c += O3_CTX_GRID)
        found = c;
    return found;
}

typedef struct played {
    int loads, fills;
    int64_t proven;
    o3_ceiling ceiling;
} played;

/* blind: the card cannot be read. */
static played play(const rig *r, bool blind)
{
    played out = {0};
    search_ceiling s;
    o3_calibration none = O3_CALIBRATION_NONE;
    search_ceiling_init(&s, &r->profile, &r->model, &r->setting, 7, &none);
    assert_false(s.spill_expected);
    for (int64_t c; (c = search_ceiling_ask(&s)) > 0;) {
        out.loads++;
        search_reading read = truth(r, c, false);
        read.bytes[1] = blind ? NAN : read.bytes[1];
        if (!search_ceiling_loaded(&s, spills(r, c) ? O3_OUTCOME_SPILLED : O3_OUTCOME_OK, "spilled", c,
                                   spills(r, c) ? NULL : &read))
            continue;
        assert_true(safe(r, c));
        out.fills++;
        read = truth(r, c, true);
        read.bytes[1] = blind ? NAN : read.bytes[1];
        search_ceiling_filled(&s, O3_OUTCOME_OK, "", &read);
    }
    search_ceiling_result(&s, &out.ceiling);
    out.proven = s.proven;
    assert_int_equal(s.calibration.offset[1].known, !blind);
    assert_true(s.calibration.offset[0].known);
    assert_true(fabs(s.calibration.offset[0].bytes - r->host_offset) < MIB);
    if (!blind)
        assert_true(fabs(s.calibration.offset[1].bytes - r->device_offset) < MIB);
    return out;
}

/* Whatever the driver takes: one load says it, the second is within the reading's error, at most one step short. */
static void a_card_of_its_own(void **state)
{
    (void)state;
    static const double offsets[] = {90, 250, 400, 600, 740};
    for (int i = 0; i < O3_COUNT(offsets); i++) {
        o3_auto(free) rig *r = rig_new(200, offsets[i]);
        int64_t end = best(r);
        played p = play(r, false);
        assert_in_range(p.proven, end - O3_CTX_GRID, end);
        assert_in_range(p.loads, 1, 2);
        assert_int_equal(p.fills, 1);
        assert_non_null(strstr(p.ceiling.next_reason, "gpu0"));
    }
}

/* A host that takes far more than was thought moves nothing on the card, and one that cannot be read keeps the
 * prediction's own interval. */
static void memories_do_not_mix(void **state)
{
    (void)state;
    o3_auto(free) rig *little = rig_new(20, 250), *much = rig_new(3000, 250);
    assert_int_equal(play(little, false).proven, play(much, false).proven);
    played blind = play(little, true);
    assert_int_equal(blind.proven, play(much, true).proven);
    assert_true(blind.proven < best(little) - O3_CTX_GRID);
    assert_int_equal(blind.loads, 1);
}

/* On a small card the engine's margin ends the window before the safe size does. */
static void the_fit_target_is_an_end(void **state)
{
    (void)state;
    o3_auto(free) rig *r = rig_new(200, 350);
    r->profile.pools[1].total_bytes = (int64_t)(8 * GIB);
    r->profile.pools[1].safe_bytes = (int64_t)(7.2 * GIB);
    int64_t end = best(r);
    assert_true(safe(r, end + O3_CTX_GRID) && spills(r, end + O3_CTX_GRID));
    played p = play(r, false);
    assert_in_range(p.proven, end - O3_CTX_GRID, end);
    assert_in_range(p.loads, 1, 2);
    assert_non_null(strstr(p.ceiling.next_reason, "predicted to spill"));
}

/* Only the upper end of the prediction is over: the smallest window tells. */
static void the_smallest_window_first(void **state)
{
    (void)state;
    o3_auto(free) rig *r = rig_new(200, 90);
    o3_calibration none = O3_CALIBRATION_NONE;
    /* The formula's middle (400 MiB of overhead) fits, its upper end (750) does not, and 90 are taken. */
    r->profile.pools[1].safe_bytes = (int64_t)(truth(r, O3_CTX_GRID, true).bytes[1] + (320 + 300) * MIB);
    search_ceiling s;
    search_ceiling_init(&s, &r->profile, &r->model, &r->setting, 7, &none);
    assert_int_equal(search_ceiling_ask(&s), O3_CTX_GRID);
    search_reading read = truth(r, O3_CTX_GRID, false);
    assert_false(search_ceiling_loaded(&s, O3_OUTCOME_OK, "", O3_CTX_GRID, &read));
    int64_t next = search_ceiling_ask(&s);
    assert_in_range(next, best(r) - O3_CTX_GRID, best(r));
    /* No window is whole: then a spill is no failure. */
    search_ceiling_init(&s, &r->profile, &r->model, &r->setting, 7, &none);
    assert_int_equal(search_ceiling_ask(&s), O3_CTX_GRID);
    assert_false(search_ceiling_loaded(&s, O3_OUTCOME_SPILLED, "spilled", O3_CTX_GRID, NULL));
    assert_true(s.spill_expected);
    /* Even the middle is over: nothing is loaded. */
    r->profile.pools[1].safe_bytes -= (int64_t)(400 * MIB);
    search_ceiling_init(&s, &r->profile, &r->model, &r->setting, 7, &none);
    assert_int_equal(search_ceiling_ask(&s), 0);
}

/* A reading that cannot be of this card, the host's by mistake, say, is not believed. */
static void what_cannot_be_is_not_believed(void **state)
{
    (void)state;
    o3_auto(free) rig *r = rig_new(200, 350);
    o3_calibration none = O3_CALIBRATION_NONE;
    search_ceiling s;
    search_ceiling_init(&s, &r->profile, &r->model, &r->setting, 7, &none);
    int64_t asked = search_ceiling_ask(&s);
    search_reading read = truth(r, asked, false);
    read.bytes[1] = read.bytes[0];
    search_ceiling_loaded(&s, O3_OUTCOME_OK, "", asked, &read);
    assert_true(s.calibration.offset[0].known);
    assert_false(s.calibration.offset[1].known);
}

/* A GPU that works in the host's memory is read with it. */
static void shared_memory_is_one(void **state)
{
    (void)state;
    o3_auto(free) rig *r = rig_new(0, 0);
    o3_estimate before, after;
    r->profile.pool_count = 1;
    r->profile.gpus[0].pool = 0;
    r->profile.gpus[0].unified = true;
    assert_int_equal(o3_memory_of(&r->profile, 0), 0);
    assert_int_equal(o3_memory_of(&r->profile, -1), 0);
    o3_calibration c = O3_CALIBRATION_NONE;
    o3_setting at = o3_setting_at(&r->setting, 8192);
    at.knobs.num_gpu = r->model.layers + 1;
    o3_predict(&before, &r->profile, &r->model, &at, &c);
    c.offset[0] = (o3_offset){100 * MIB, true};
    o3_predict(&after, &r->profile, &r->model, &at, &c);
    double parts = before.total_bytes.mid - before.overhead_bytes.mid;
    assert_true(fabs(after.total_bytes.mid - parts - 100 * MIB) < 1); /* counted once */
    assert_true(after.total_bytes.high - after.total_bytes.mid <= o3_reading_error_bytes(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_card_of_its_own), cmocka_unit_test(memories_do_not_mix),
        cmocka_unit_test(the_fit_target_is_an_end), cmocka_unit_test(the_smallest_window_first),
        cmocka_unit_test(what_cannot_be_is_not_believed), cmocka_unit_test(shared_memory_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
