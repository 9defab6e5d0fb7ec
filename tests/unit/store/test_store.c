/* SPDX-License-Identifier: Apache-2.0 */
/* What the store gives back: every field, by run, by model, by knobs, from several processes and after kill -9.
 * What it does with bad files stands in test_place.c. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store_fixture.h"

#define UGLY "hf.co/\"o'Brien\"/Qwen 3:7b-Ω-模型; DROP TABLE run;--%s"

static o3_run_key key_of(const char *model)
{
    o3_run_key key = {.hardware = "cpu:zen4|ram:64", .engine_version = "0.32.15", .request = "samples=5 seed=1"};
    O3_COPY(key.model, model);
    O3_COPY(key.model_digest, "sha256:0011");
    return key;
}

/* Begins, stores every sample on its own, ends. */
static void store_trial(o3_store *store, const char *run_id, o3_trial *trial)
{
    o3_err err = {0};
    ok(o3_store_trial_begin(store, run_id, trial, &err), &err);
    for (int i = 0; i < trial->sample_count; i++)
        ok(o3_store_sample(store, trial, &trial->samples[i], &err), &err);
    ok(o3_store_trial_end(store, trial, &err), &err);
}

static o3_trial *new_trial(int samples)
{
    o3_trial *trial = o3_alloc(1, sizeof(*trial));
    fill_trial(trial, samples);
    return trial;
}

static void round_trip(void **state)
{
    fixture *f = *state;
    o3_store *store = open_store(f->path, NULL);
    o3_auto(free) o3_trial *trial = new_trial(O3_SAMPLES_MAX), *got = new_trial(0);
    o3_run_key key = key_of(UGLY);
    char id[40];
    bool found = false;
    o3_err err = {0};
    ok(o3_store_run_begin(store, &key, NULL, id, &err), &err);
    assert_int_equal(strlen(id), 32);
    store_trial(store, id, trial);
    assert_true(trial->id > 0);
    o3_store_close(store);

    store = open_store(f->path, NULL);
    ok(o3_store_trial_find(store, id, "proof-1", &trial->asked, got, &found, &err), &err);
    assert_true(found && got->id == trial->id);
    same_trial(got, trial);

    assert_int_equal(o3_store_sample(store, trial, &trial->samples[0], &err), O3_E_LIMIT);
    trial->samples[3].outlier = !trial->samples[3].outlier; /* marks decided at the end */
    trial->samples[4].disturbed = !trial->samples[4].disturbed;
    trial->outcome = O3_OUTCOME_OK;
    trial->peaks.temperature_c = 61.5;
    trial->peaks.pools[1].bytes = 77;
    ok(o3_store_trial_end(store, trial, &err), &err);
    ok(o3_store_trial_find(store, id, "proof-1", &trial->asked, got, &found, &err), &err);
    same_trial(got, trial);
    o3_store_close(store);
}

static void wrong_use_is_said(void **state)
{
    fixture *f = *state;
    o3_store *store = open_store(f->path, NULL);
    o3_auto(free) o3_trial *trial = new_trial(1);
    o3_err err = {0};
    assert_int_equal(o3_store_trial_begin(store, "no such run", trial, &err), O3_E_INTERNAL);
    trial->id = 4711;
    assert_int_equal(o3_store_sample(store, trial, &trial->samples[0], &err), O3_E_INTERNAL);
    assert_int_equal(o3_store_trial_end(store, trial, &err), O3_E_INTERNAL);
    assert_non_null(strstr(err.message, "4711"));
    assert_int_equal(o3_store_run_end(store, "nope", O3_RUN_COMPLETE, NULL, &err), O3_E_NOT_FOUND);
    assert_int_equal(o3_store_run_end(store, "nope", O3_RUN_OPEN, NULL, &err), O3_E_INTERNAL);
    assert_int_equal(count_rows(store, "trial"), 0);
    o3_store_close(store);
}

static void trials_by_identity(void **state)
{
    fixture *f = *state;
    o3_store *store = open_store(f->path, NULL);
    o3_auto(free) o3_trial *trial = new_trial(2), *got = new_trial(0);
    o3_run_key key = key_of("a:1");
    char id[40];
    bool found = true;
    o3_err err = {0};
    ok(o3_store_run_begin(store, &key, NULL, id, &err), &err);
    const o3_outcome unfinished[] = {O3_OUTCOME_NONE, O3_OUTCOME_CANCELLED};
    for (int i = 0; i < O3_COUNT(unfinished); i++) {
        trial->outcome = unfinished[i];
        store_trial(store, id, trial);
        ok(o3_store_trial_find(store, id, "proof-1", &trial->asked, got, &found, &err), &err);
        assert_false(found);
    }
    trial->outcome = O3_OUTCOME_OOM_LOAD;
    store_trial(store, id, trial);
    int64_t older = trial->id;
    trial->wall_ns = 5;
    store_trial(store, id, trial);
    ok(o3_store_trial_find(store, id, "proof-1", &trial->asked, got, &found, &err), &err);
    assert_true(found && got->id == trial->id && got->id != older && got->wall_ns == 5);

    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) { /* unset is no wildcard, nor is -1 */
        const int32_t others[] = {O3_UNSET, -1, 0, 99};
        for (int i = 0; i < O3_COUNT(others); i++) {
            o3_knobs knobs = trial->asked;
            o3_knob_set(&knobs, field, others[i]);
            ok(o3_store_trial_find(store, id, "proof-1", &knobs, got, &found, &err), &err);
            assert_int_equal(found, o3_knobs_equal(&knobs, &trial->asked));
        }
    }
    ok(o3_store_trial_find(store, id, "proof-2", &trial->asked, got, &found, &err), &err);
    assert_false(found);
    ok(o3_store_trial_find(store, "other", "proof-1", &trial->asked, got, &found, &err), &err);
    assert_false(found);
    trial->asked = O3_KNOBS_DEFAULT;
    store_trial(store, id, trial);
    ok(o3_store_trial_find(store, id, "proof-1", &O3_KNOBS_DEFAULT, got, &found, &err), &err);
    assert_true(found && got->id == trial->id);
    o3_store_close(store);
}

static void runs_by_key(void **state)
{
    fixture *f = *state;
    o3_store *store = open_store(f->path, NULL);
    o3_run_key key = key_of(UGLY);
    o3_run_state run_state = O3_RUN_COMPLETE;
    char first[40], second[40], got[40] = "x";
    o3_err err = {0};
    ok(o3_store_run_find(store, &key, got, &run_state, &err), &err);
    assert_string_equal(got, "");
    ok(o3_store_run_begin(store, &key, "{}", first, &err), &err);
    ok(o3_store_run_find(store, &key, got, &run_state, &err), &err);
    assert_true(!strcmp(got, first) && run_state == O3_RUN_OPEN);
    ok(o3_store_run_end(store, first, O3_RUN_PARTIAL, NULL, &err), &err);
    ok(o3_store_run_find(store, &key, got, &run_state, &err), &err);
    assert_int_equal(run_state, O3_RUN_PARTIAL);
    ok(o3_store_run_begin(store, &key, NULL, second, &err), &err);
    ok(o3_store_run_end(store, second, O3_RUN_COMPLETE, "{}", &err), &err);
    ok(o3_store_run_find(store, &key, got, &run_state, &err), &err);
    assert_true(!strcmp(got, second) && strcmp(first, second) && run_state == O3_RUN_COMPLETE);

    for (int part = 0; part < 6; part++) { /* each part counts, and absent ("") is a value */
        o3_run_key other = key;
        char *const parts[] = {other.model, other.model_digest, other.hardware,
                               other.engine_version, other.engine_env, other.request};
        parts[part][0] = parts[part][0] ? '\0' : 'x';
        ok(o3_store_run_find(store, &other, got, &run_state, &err), &err);
        assert_string_equal(got, "");
    }
    o3_run_key unknown = key_of("u");
    unknown.unknown = true;
    ok(o3_store_run_begin(store, &unknown, NULL, first, &err), &err);
    ok(o3_store_run_find(store, &unknown, got, &run_state, &err), &err);
    assert_string_equal(got, "");
    unknown.unknown = false; /* the stored one was unknown: never equal */
    ok(o3_store_run_find(store, &unknown, got, &run_state, &err), &err);
    assert_string_equal(got, "");
    o3_store_close(store);
}

static void expect_result(o3_store *store, const char *model, const char *run, const char *want)
{
    o3_auto(free) char *json = NULL;
    o3_err err = {0};
    o3_status status = o3_store_result(store, model, run, &json, &err);
    if (want) {
        ok(status, &err);
        assert_string_equal(json, want);
    } else {
        assert_int_equal(status, O3_E_NOT_FOUND);
        assert_null(json);
        assert_true(strstr(err.message, "o3 optimize") || strstr(err.message, "o3 history"));
    }
}

static void results(void **state)
{
    static const char one[] = "{\"ceiling\": {\"proven_tokens\": 8192}, \"name\": \"Ω 'x'\"}";
    static const char two[] = "{\"ceiling\": {\"proven_tokens\": null}}", three[] = "not json at all";
    fixture *f = *state;
    o3_store *store = open_store(f->path, NULL);
    o3_run_key a = key_of(UGLY), b = key_of("b");
    char ids[4][40];
    o3_err err = {0};
    o3_run_row rows[8];
    int count = -1;
    expect_result(store, "", NULL, NULL);
    ok(o3_store_run_begin(store, &a, NULL, ids[0], &err), &err);
    expect_result(store, UGLY, NULL, NULL); /* open */
    expect_result(store, NULL, ids[0], NULL);
    ok(o3_store_run_end(store, ids[0], O3_RUN_COMPLETE, one, &err), &err);
    ok(o3_store_run_begin(store, &b, NULL, ids[1], &err), &err);
    ok(o3_store_run_end(store, ids[1], O3_RUN_PARTIAL, two, &err), &err);
    expect_result(store, UGLY, NULL, one);
    expect_result(store, "b", NULL, two);
    expect_result(store, "", NULL, two);
    expect_result(store, NULL, NULL, two);
    expect_result(store, "b", ids[0], one); /* a run id rules */
    expect_result(store, "c", NULL, NULL);
    expect_result(store, "", "0123", NULL);
    ok(o3_store_run_begin(store, &a, NULL, ids[2], &err), &err);
    ok(o3_store_run_end(store, ids[2], O3_RUN_PARTIAL, NULL, &err), &err); /* ended with nothing */
    expect_result(store, UGLY, NULL, one);
    ok(o3_store_run_begin(store, &b, NULL, ids[3], &err), &err);
    ok(o3_store_run_end(store, ids[3], O3_RUN_PARTIAL, three, &err), &err);
    ok(o3_store_run_end(store, ids[3], O3_RUN_PARTIAL, NULL, &err), &err); /* resumed: keeps what it had */
    expect_result(store, "b", NULL, three);

    ok(o3_store_runs(store, NULL, rows, 8, &count, &err), &err);
    assert_int_equal(count, 4);
    for (int i = 0; i < count; i++)
        assert_string_equal(rows[i].id, ids[3 - i]);
    assert_true(rows[3].proven_tokens == 8192 && rows[2].proven_tokens == -1 && rows[0].proven_tokens == -1);
    assert_true(rows[3].state == O3_RUN_COMPLETE && rows[0].state == O3_RUN_PARTIAL);
    assert_true(rows[3].ended_unix_ms >= rows[3].started_unix_ms && rows[3].started_unix_ms > 1600000000000);
    assert_string_equal(rows[3].model, UGLY);
    ok(o3_store_runs(store, "b", rows, 1, &count, &err), &err);
    assert_true(count == 1 && !strcmp(rows[0].id, ids[3]));
    ok(o3_store_runs(store, "none", rows, 8, &count, &err), &err);
    assert_int_equal(count, 0);
    o3_store_close(store);
}

typedef struct walk {
    o3_store *store;
    const char *run_id;
    int seen, stop_after;
} walk;

static bool walk_trial(void *ctx, const o3_trial *trial)
{
    walk *w = ctx;
    o3_err err = {0};
    assert_int_equal(trial->loads, w->seen);
    same_sample(&trial->samples[0], &(o3_sample[]){sample_of(0)}[0]);
    ok(o3_store_sample(w->store, trial, &trial->samples[0], &err), &err); /* writing inside is legal */
    return ++w->seen < w->stop_after;
}

static void trials_in_order(void **state)
{
    fixture *f = *state;
    o3_store *store = open_store(f->path, NULL);
    o3_auto(free) o3_trial *trial = new_trial(1);
    o3_run_key key = key_of("a");
    char id[40], other[40];
    o3_err err = {0};
    o3_run_row row;
    int count;
    ok(o3_store_run_begin(store, &key, NULL, id, &err), &err);
    ok(o3_store_run_begin(store, &key, NULL, other, &err), &err);
    for (int i = 0; i < 5; i++) {
        trial->loads = i;
        trial->started_unix_ms = 1760000000000 - i; /* a clock that steps back changes no order */
        store_trial(store, id, trial);
        store_trial(store, other, trial);
    }
    walk all = {.store = store, .stop_after = 99}, some = {.store = store, .stop_after = 2};
    ok(o3_store_trials(store, id, walk_trial, &all, &err), &err);
    ok(o3_store_trials(store, id, walk_trial, &some, &err), &err);
    assert_true(all.seen == 5 && some.seen == 2);
    all.seen = 0;
    ok(o3_store_trials(store, "nope", walk_trial, &all, &err), &err);
    assert_int_equal(all.seen, 0);
    ok(o3_store_runs(store, "a", &row, 1, &count, &err), &err);
    assert_int_equal(row.trials, 5);
    o3_store_close(store);
}

/* The child tells through the pipe after each sample that was accepted, and is killed in the middle of it. */
static void endless_child(const char *path, int told)
{
    o3_store *store = NULL;
    o3_err err = {0};
    o3_run_key key = key_of("killed");
    o3_trial *trial = new_trial(0);
    char id[40];
    trial->outcome = O3_OUTCOME_NONE;
    if (o3_store_open(&store, path, NULL, &err) || o3_store_run_begin(store, &key, NULL, id, &err) ||
        o3_store_trial_begin(store, id, trial, &err))
        _exit(1);
    for (int i = 0; i < O3_SAMPLES_MAX; i++) {
        o3_sample sample = sample_of(i);
        if (o3_store_sample(store, trial, &sample, &err) || write(told, "s", 1) != 1)
            _exit(1);
    }
    pause();
    _exit(0);
}

static bool copy_trial(void *ctx, const o3_trial *trial)
{
    *(o3_trial *)ctx = *trial;
    return true;
}

static void killed_between_samples(void **state)
{
    fixture *f = *state;
    const int waits[] = {0, 1, 2, 7, 40, O3_SAMPLES_MAX};
    o3_auto(free) o3_trial *got = new_trial(0);
    for (int round = 0; round < O3_COUNT(waits); round++) {
        int pipes[2], status;
        char byte, id[40];
        assert_int_equal(pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0)
            endless_child(f->path, pipes[1]);
        close(pipes[1]);
        int told = 0;
        for (; told < waits[round] && read(pipes[0], &byte, 1) == 1; told++)
            ;
        assert_int_equal(told, waits[round]);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        while (read(pipes[0], &byte, 1) == 1)
            told++;
        close(pipes[0]);

        o3_notes notes = {0};
        o3_store *store = open_store(f->path, &notes);
        o3_run_key key = key_of("killed");
        o3_run_state run_state = O3_RUN_COMPLETE;
        o3_err err = {0};
        assert_int_equal(notes.count, 0);
        ok(o3_store_run_find(store, &key, id, &run_state, &err), &err);
        *got = (o3_trial){.id = -1};
        if (id[0])
            ok(o3_store_trials(store, id, copy_trial, got, &err), &err);
        if (waits[round]) {
            assert_true(id[0] && run_state == O3_RUN_OPEN && got->outcome == O3_OUTCOME_NONE);
            /* The one being written may be there although it was not told any more. */
            assert_true(got->sample_count == told || got->sample_count == told + 1);
            for (int i = 0; i < got->sample_count; i++)
                same_sample(&got->samples[i], &(o3_sample[]){sample_of(i)}[0]);
        }
        o3_store_close(store);
    }
}

#define WRITERS 4
#define WRITER_TRIALS 10

static int writer(const char *path, int number, int go)
{
    char byte, id[40], model[16];
    o3_store *store = NULL;
    o3_err err = {0};
    if (read(go, &byte, 1) < 0) /* all at once: the end of the pipe */
        return 1;
    o3_auto(free) o3_trial *trial = new_trial(5);
    O3_FORMAT(model, "w%d", number);
    o3_run_key key = key_of(model);
    o3_status status = o3_store_open(&store, path, NULL, &err);
    if (status == O3_OK)
        status = o3_store_run_begin(store, &key, NULL, id, &err);
    for (int i = 0; i < WRITER_TRIALS && status == O3_OK; i++) {
        status = o3_store_trial_begin(store, id, trial, &err);
        for (int j = 0; j < trial->sample_count && status == O3_OK; j++)
            status = o3_store_sample(store, trial, &trial->samples[j], &err);
        if (status == O3_OK)
            status = o3_store_trial_end(store, trial, &err);
    }
    if (status == O3_OK)
        status = o3_store_run_end(store, id, O3_RUN_COMPLETE, "{}", &err);
    if (status != O3_OK)
        fprintf(stderr, "writer %d: %s\n", number, err.message);
    o3_store_close(store);
    return status != O3_OK;
}

static void writers(const char *path)
{
    int go[2];
    pid_t children[WRITERS];
    assert_int_equal(pipe(go), 0);
    for (int i = 0; i < WRITERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            close(go[1]);
            _exit(writer(path, i, go[0]));
        }
    }
    close(go[0]);
    close(go[1]);
    for (int i = 0; i < WRITERS; i++) {
        int status = -1;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
}

static void concurrent_writers(void **state)
{
    fixture *f = *state;
    for (int round = 0; round < 8; round++) { /* all of them create it; in odd rounds it is damaged before */
        char path[600];
        O3_FORMAT(path, "%s/%d/o3.db", f->dir, round);
        if (round % 2) {
            o3_store_close(open_store(path, NULL));
            write_file(path, "this was a database", 19);
        }
        writers(path);
        o3_store *store = open_store(path, NULL);
        assert_int_equal(count_rows(store, "run"), WRITERS);
        assert_int_equal(count_rows(store, "trial"), WRITERS * WRITER_TRIALS);
        assert_int_equal(count_rows(store, "sample"), WRITERS * WRITER_TRIALS * 5);
        assert_int_equal(count_rows(store, "peak"), WRITERS * WRITER_TRIALS * 3);
        assert_int_equal(count_aside(path), round % 2);
        o3_store_close(store);
    }
}

static void names(void **state)
{
    (void)state;
    o3_outcome outcome;
    o3_sample_kind kind;
    for (int i = 0; i <= O3_OUTCOME_ERROR; i++)
        assert_true(o3_outcome_parse(o3_outcome_name((o3_outcome)i), &outcome) && outcome == (o3_outcome)i);
    for (int i = 0; i <= O3_SAMPLE_DECODE; i++)
        assert_true(o3_sample_kind_parse(o3_sample_kind_name((o3_sample_kind)i), &kind) && kind == (o3_sample_kind)i);
    assert_false(o3_outcome_parse("fine", &outcome) || o3_sample_kind_parse("", &kind));
    assert_string_equal(o3_outcome_name((o3_outcome)99), "unknown");
    assert_string_equal(o3_step_reason_name(O3_STEP_BUDGET), "budget");
    o3_auto(free) o3_result *result = o3_alloc(1, sizeof(*result));
    result->preset_count = 2;
    O3_COPY(result->presets[1].name, "balanced");
    assert_ptr_equal(o3_result_preset(result, "balanced"), &result->presets[1]);
    assert_null(o3_result_preset(result, "max_context"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_make, fixture_remove)
        TEST(names), TEST(round_trip), TEST(wrong_use_is_said), TEST(trials_by_identity), TEST(runs_by_key),
        TEST(results), TEST(trials_in_order), TEST(killed_between_samples), TEST(concurrent_writers),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
