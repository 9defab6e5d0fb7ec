/* SPDX-License-Identifier: Apache-2.0 */
/* What a visit leaves behind: forecasts made before it beside what it measured, and a calibration that the next
 * prediction starts from, but the same run, going on, does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "tune/tune_impl.h"

#define WINDOW 4096

typedef struct world {
    char dir[64], path[128];
    o3_world world;
    o3_request request;
    o3_result result;
    o3_profile profile;
    o3_model model;
    session session;
} world;

static world *open_world(void)
{
    world *w = o3_alloc(1, sizeof(*w));
    o3_notes notes = {0};
    o3_err err = {0};
    O3_COPY(w->dir, "/tmp/o3-truth-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    O3_FORMAT(w->path, "%s/o3.db", w->dir);
    if (o3_store_open(&w->world.store, w->path, &notes, &err))
        fail_msg("%s", err.message);
    w->profile = (o3_profile){.usable_cpus = 2, .cores = 2, .isa = "avx2", .fingerprint = "hw1-x", .engine_local = true,
                              .bandwidth = O3_BANDWIDTH_NONE};
    w->model = (o3_model){.name = "m:1b", .digest = "d1", .quantization = "Q8_0", .parameters = 1000000000, .layers = 16,
                          .embedding = 2048, .heads = 32, .heads_kv = 8, .head_dim = 64, .ff = 8192, .vocab = 32000,
                          .experts = -1, .experts_used = -1, .weight_bytes = 1000000000, .token_embd_bytes = 60000000,
                          .kv_exact = true};
    for (int i = 0; i < w->model.layers; i++)
        w->model.layer[i] = (o3_layer){.weight_bytes = 58000000, .heads_kv = 8, .key_dim = 64, .value_dim = 64};
    w->session = (session){.world = &w->world, .request = &w->request, .result = &w->result, .profile = &w->profile,
                           .model = &w->model, .calibration = O3_CALIBRATION_NONE};
    o3_setting_of(&w->session.setting, "0.32.15", "", &notes);
    O3_COPY(w->session.caps.version, "0.32.15");
    O3_COPY(w->result.run_id, "run-1");
    return w;
}

static void close_world(world *w)
{
    char path[160];
    o3_store_close(w->world.store);
    for (int i = 0; i < 3; i++) {
        O3_FORMAT(path, "%s%s", w->path, (const char *[]){"", "-wal", "-shm"}[i]);
        unlink(path);
    }
    rmdir(w->dir);
    free(w);
}

static void add_sample(o3_trial *t, o3_sample_kind kind, int64_t prompt, int64_t added, double prefill, double decode,
                       bool disturbed)
{
    t->samples[t->sample_count++] = (o3_sample){
        .kind = kind, .outcome = O3_OUTCOME_OK, .prompt_tokens = prompt, .added_tokens = added, .depth_tokens = prompt + 16,
        .prompt_eval_ns = (int64_t)((double)added / prefill * 1e9), .decode_per_s = decode,
        .prefill_per_s = kind == O3_SAMPLE_DECODE ? (double)NAN : prefill, .disturbed = disturbed};
}

/* 100 tokens of prefill a second, 10 and 8 of decoding at two depths; one disturbed repeat. */
static o3_trial *ladder(void)
{
    o3_trial *t = o3_alloc(1, sizeof(*t));
    *t = (o3_trial){.asked = {WINDOW, 512, O3_UNSET, O3_UNSET, O3_UNSET}, .in_force = O3_KNOBS_DEFAULT,
                    .size_bytes = 1200000000, .size_vram_bytes = 0, .fills = 1, .outcome = O3_OUTCOME_OK,
                    .peaks = {.count = 1, .pools = {{.pool = "ram", .bytes = 2000000000, .runner_bytes = 1250000000}}}};
    add_sample(t, O3_SAMPLE_RUNG, 1000, 1000, 100, 10, false);
    add_sample(t, O3_SAMPLE_DECODE, 1000, 0, NAN, 10.2, false);
    add_sample(t, O3_SAMPLE_DECODE, 1000, 0, NAN, 1, true);
    add_sample(t, O3_SAMPLE_DECODE, 1000, 0, NAN, 9.8, false);
    add_sample(t, O3_SAMPLE_RUNG, 3000, 2000, 100, 8, false);
    return t;
}

typedef struct seen {
    int count;
    o3_forecast rows[32];
} seen;

static bool see(void *ctx, const o3_forecast *forecast)
{
    seen *s = ctx;
    assert_true(s->count < O3_COUNT(s->rows));
    s->rows[s->count++] = *forecast;
    return true;
}

static const o3_forecast *find(const seen *s, const char *quantity, int64_t depth)
{
    for (int i = 0; i < s->count; i++)
        if (!strcmp(s->rows[i].quantity, quantity) && s->rows[i].depth_tokens == depth)
            return &s->rows[i];
    fail_msg("no forecast of %s at %lld", quantity, (long long)depth);
    return NULL;
}

static void take(world *w, const o3_trial *trial)
{
    o3_err err = {0};
    if (truth_take(&w->session, trial, &err))
        fail_msg("%s", err.message);
}

static o3_calibration known(world *w, const char *version)
{
    o3_calibration c;
    o3_err err = {0};
    if (o3_calibration_of(&w->world, &w->profile, &w->model, version, &c, &err))
        fail_msg("%s", err.message);
    return c;
}

static bool same(const o3_calibration *a, const o3_calibration *b)
{
    for (int m = 0; m < O3_MEMORIES_MAX; m++)
        if (a->offset[m].known != b->offset[m].known || a->offset[m].bytes != b->offset[m].bytes)
            return false;
    return a->loads == b->loads && a->prefill_ratio == b->prefill_ratio &&
           a->prefill_attention_ratio == b->prefill_attention_ratio && a->decode_ratio == b->decode_ratio &&
           a->decode_kv_ratio == b->decode_kv_ratio && a->rates == b->rates;
}

static void forecasts_stand_beside(void **state)
{
    (void)state;
    world *w = open_world();
    o3_auto(free) o3_trial *trial = ladder();
    o3_auto(free) seen *s = o3_alloc(1, sizeof(*s));
    o3_speed before;
    o3_setting setting = w->session.setting;
    setting.knobs = trial->asked;
    o3_predict_speed(&before, &w->profile, &w->model, &setting, 1016, &w->session.calibration);
    take(w, trial);
    assert_int_equal(o3_store_forecasts(w->world.store, "m:1b", see, s, NULL), O3_OK);
    assert_int_equal(s->count, 6); /* size, runner, two rates at two depths */
    const o3_forecast *decode = find(s, "decode_per_s", 1016);
    assert_true(fabs(decode->measured - 10) < 1e-9); /* the disturbed one has no say */
    assert_true(decode->predicted.mid == before.decode_per_s.mid && decode->learned_from == 0);
    assert_true(fabs(find(s, "decode_per_s", 3016)->measured - 8) < 1e-9);
    assert_true(fabs(find(s, "prefill_per_s", 3000)->measured - 100) < 1e-6);
    assert_true(find(s, "size_bytes", -1)->measured == 1200000000);
    assert_true(find(s, "runner_bytes", -1)->measured == 1250000000);
    assert_int_equal(find(s, "size_bytes", -1)->knobs.num_ctx, WINDOW);
    /* What was learned makes the next forecast of the same better, and it says so. */
    s->count = 0;
    take(w, trial);
    assert_int_equal(o3_store_forecasts(w->world.store, "m:1b", see, s, NULL), O3_OK);
    assert_int_equal(s->count, 12);
    memmove(s->rows, s->rows + 6, 6 * sizeof(s->rows[0]));
    s->count = 6;
    decode = find(s, "decode_per_s", 1016);
    assert_int_equal(decode->learned_from, 4);
    assert_true(fabs(decode->predicted.mid / 10 - 1) < 0.1);
    assert_true(fabs(find(s, "prefill_per_s", 3000)->predicted.mid / 100 - 1) < 0.1);
    close_world(w);
}

/* Each memory by the pool's name, whoever told it: the host's pools see one process, a GPU's its own; unknown stays so. */
static void readings_are_by_memory(void **state)
{
    (void)state;
    world *w = open_world();
    o3_auto(free) o3_trial *trial = ladder();
    search_reading read;
    static const char *const names[] = {"ram", "gpu:0000:03:00.0", "gpu:0000:05:00.0", "gpu:0000:83:00.0"};
    static const int64_t runner[] = {500, 7000, 300, -1};
    w->profile.gpu_count = 3;
    w->profile.pool_count = trial->peaks.count = 4;
    for (int i = 0; i < 4; i++) {
        O3_COPY(w->profile.pools[i].name, names[i]);
        O3_COPY(trial->peaks.pools[i].pool, names[i]);
        trial->peaks.pools[i].runner_bytes = runner[i];
        trial->peaks.pools[i].bytes = i == 2 ? -1 : 9000; /* Intel's driver does not tell the use of all */
    }
    for (int g = 0; g < 3; g++)
        w->profile.gpus[g] = (o3_gpu){.vendor = g == 1 ? O3_GPU_INTEL : O3_GPU_AMD, .pool = g + 1};
    visit_read(&w->session, trial, &read);
    assert_true(read.bytes[0] == 500 && read.bytes[1] == 7000 && read.bytes[2] == 300 && isnan(read.bytes[3]));
    assert_int_equal(visit_runner_bytes(&w->session, trial), 7800);
    close_world(w);
}

static void failures_teach_no_rates(void **state)
{
    (void)state;
    world *w = open_world();
    o3_auto(free) o3_trial *trial = ladder();
    o3_auto(free) seen *s = o3_alloc(1, sizeof(*s));
    trial->outcome = O3_OUTCOME_THRASHING;
    take(w, trial);
    assert_int_equal(o3_store_forecasts(w->world.store, "", see, s, NULL), O3_OK);
    assert_int_equal(s->count, 2); /* the bytes are true all the same */
    assert_int_equal(w->session.calibration.rates, 0);
    close_world(w);
}

static void calibration_outlives_the_run(void **state)
{
    (void)state;
    world *w = open_world();
    o3_auto(free) o3_trial *trial = ladder();
    assert_int_equal(known(w, "0.32.15").rates, 0);
    assert_int_equal(truth_begin(&w->session, "", NULL), O3_OK);
    take(w, trial);
    w->session.calibration.offset[0] = (o3_offset){12345, true};
    w->session.calibration.offset[2] = (o3_offset){-678, true}; /* of the first GPU nothing was read */
    w->session.calibration.loads = 2;
    assert_int_equal(truth_keep(&w->session, NULL), O3_OK);
    o3_calibration c = known(w, "0.32.15");
    assert_true(same(&c, &w->session.calibration));
    assert_int_equal(known(w, "0.24.0").rates, 0); /* another engine */
    O3_COPY(w->profile.fingerprint, "hw1-y");
    assert_int_equal(known(w, "0.32.15").rates, 0); /* another machine */
    O3_COPY(w->profile.fingerprint, "hw1-x");
    /* A run that goes on starts from where it began; another one from what was learned. */
    o3_calibration learned = w->session.calibration;
    assert_int_equal(truth_begin(&w->session, "run-1", NULL), O3_OK);
    assert_int_equal(w->session.calibration.rates, 0);
    truth_recall(&w->session, trial);
    assert_true(w->session.calibration.decode_ratio == learned.decode_ratio);
    assert_int_equal(truth_begin(&w->session, "run-2", NULL), O3_OK);
    assert_int_equal(w->session.calibration.loads, 2);
    assert_true(w->session.calibration.decode_kv_ratio == learned.decode_kv_ratio);
    close_world(w);
}

/* Releases that knew one offset for all memories: their rates stand, the offset is of no memory. */
static void one_offset_for_all_is_left_out(void **state)
{
    (void)state;
    static const char text[] =
        "{\"run\": \"r\", \"now\": {\"offset_bytes\": 4.5e7, \"loads\": 3, \"prefill_ratio\": 1.5, "
        "\"prefill_attention_ratio\": 1, \"decode_ratio\": 2, \"decode_kv_ratio\": 1, \"rates\": 7}}";
    world *w = open_world();
    assert_int_equal(o3_store_document_put(w->world.store, "calibration", "hw1-x d1 0.32.15", text, NULL), O3_OK);
    o3_calibration c = known(w, "0.32.15");
    assert_int_equal(c.rates, 7);
    assert_true(c.decode_ratio == 2);
    assert_int_equal(c.loads, 0);
    for (int m = 0; m < O3_MEMORIES_MAX; m++)
        assert_false(c.offset[m].known);
    close_world(w);
}

static void damaged_documents_count_as_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"{}", "no", "{\"now\": {\"rates\": 3}}",
        "{\"run\": 1, \"now\": {\"offset_bytes\": 0, \"loads\": 1, \"prefill_ratio\": -1, \"prefill_attention_ratio\": 1, "
        "\"decode_ratio\": 1, \"decode_kv_ratio\": 0, \"rates\": 1}}",
        "{\"run\": 1, \"now\": {\"offset_bytes\": [1, \"2\"], \"loads\": 1, \"prefill_ratio\": 1, "
        "\"prefill_attention_ratio\": 1, \"decode_ratio\": 1, \"decode_kv_ratio\": 1, \"rates\": 1}}",
        "{\"run\": 1, \"now\": {\"offset_bytes\": {}, \"loads\": 1, \"prefill_ratio\": 1, "
        "\"prefill_attention_ratio\": 1, \"decode_ratio\": 1, \"decode_kv_ratio\": 1, \"rates\": 1}}"};
    world *w = open_world();
    for (int i = 0; i < O3_COUNT(texts); i++) {
        assert_int_equal(o3_store_document_put(w->world.store, "calibration", "hw1-x d1 0.32.15", texts[i], NULL), O3_OK);
        o3_calibration c = known(w, "0.32.15"), none = O3_CALIBRATION_NONE;
        assert_true(same(&c, &none));
        assert_int_equal(o3_store_document_put(w->world.store, "bandwidth", "hw1-x", texts[i], NULL), O3_OK);
        assert_int_equal(look_bandwidth(&w->world, &w->profile, NULL), O3_OK);
        assert_true(isnan(w->profile.bandwidth.all_bytes_per_s));
    }
    close_world(w);
}

static void bandwidth_is_kept(void **state)
{
    (void)state;
    static const char text[] = "{\"one_bytes_per_s\": 1e10, \"half_bytes_per_s\": 2e10, \"all_bytes_per_s\": 3e10, "
                               "\"flops_per_s\": 4e11, \"measured_unix_ms\": 5}";
    world *w = open_world();
    assert_int_equal(o3_store_document_put(w->world.store, "bandwidth", "hw1-x", text, NULL), O3_OK);
    assert_int_equal(look_bandwidth(&w->world, &w->profile, NULL), O3_OK);
    assert_true(w->profile.bandwidth.all_bytes_per_s == 3e10 && w->profile.bandwidth.measured_unix_ms == 5);
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forecasts_stand_beside),       cmocka_unit_test(readings_are_by_memory), cmocka_unit_test(failures_teach_no_rates),
        cmocka_unit_test(calibration_outlives_the_run), cmocka_unit_test(damaged_documents_count_as_none), cmocka_unit_test(one_offset_for_all_is_left_out),
        cmocka_unit_test(bandwidth_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
