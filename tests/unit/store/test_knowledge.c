/* SPDX-License-Identifier: Apache-2.0 */
/* Documents that can be made again, and predictions beside what was measured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "store_fixture.h"

static char *get(o3_store *store, const char *kind, const char *name)
{
    char *json = (char *)"untouched";
    o3_err err = {0};
    ok(o3_store_document_get(store, kind, name, &json, &err), &err);
    return json;
}

static void put(o3_store *store, const char *kind, const char *name, const char *json)
{
    o3_err err = {0};
    ok(o3_store_document_put(store, kind, name, json, &err), &err);
}

static void holds(o3_store *store, const char *kind, const char *name, const char *wanted)
{
    o3_auto(free) char *json = get(store, kind, name);
    if (wanted)
        assert_string_equal(json, wanted);
    else
        assert_null(json);
}

static void documents(void **state)
{
    fixture *f = *state;
    o3_store *store = open_store(f->path, NULL);
    holds(store, "model", "sha256:a", NULL);
    put(store, "model", "sha256:a", "{\"name\": \"ünder 'quoted' \\\"\"}");
    put(store, "bandwidth", "sha256:a", "{}");
    put(store, "model", "sha256:b", "{\"b\": 1}");
    holds(store, "model", "sha256:a", "{\"name\": \"ünder 'quoted' \\\"\"}");
    put(store, "model", "sha256:a", "{\"name\": \"again\"}");
    assert_int_equal(count_rows(store, "document"), 3);
    o3_store_close(store);
    store = open_store(f->path, NULL);
    holds(store, "model", "sha256:a", "{\"name\": \"again\"}");
    holds(store, "bandwidth", "sha256:a", "{}");
    holds(store, "model", "sha256:b", "{\"b\": 1}");
    holds(store, "bandwidth", "sha256:b", NULL);
    o3_store_close(store);
}

static void too_long(void **state)
{
    fixture *f = *state;
    o3_err err = {0};
    o3_auto(store) o3_store *store = open_store(f->path, NULL);
    o3_auto(free) char *text = o3_alloc(STORE_DOCUMENT_MAX + 2, 1);
    memset(text, ' ', STORE_DOCUMENT_MAX + 1);
    assert_int_equal(o3_store_document_put(store, "model", "sha256:a", text, &err), O3_E_LIMIT);
    assert_non_null(strstr(err.message, "sha256:a"));
    holds(store, "model", "sha256:a", NULL);
    text[STORE_DOCUMENT_MAX] = '\0';
    put(store, "model", "sha256:a", text);
    holds(store, "model", "sha256:a", text);
}

static o3_forecast forecast_of(int i)
{
    bool odd = i % 2;
    o3_forecast f = {.knobs = {odd ? O3_UNSET : 4096 + i, 512, odd ? -1 : O3_UNSET, O3_UNSET, odd ? 0 : O3_UNSET},
                     .parallel = 1 + i, .depth_tokens = odd ? -1 : 100 + i, .predicted = {90.5 + i, 1e11 / 3, 1e12},
                     .measured = odd ? NAN : 99.25, .learned_from = i, .measured_unix_ms = 1760000000000 + i};
    O3_FORMAT(f.model, "model-%d:latest", i % 3);
    O3_FORMAT(f.model_digest, "sha256:%d", i);
    O3_COPY(f.hardware, "hw1-ü");
    O3_COPY(f.engine_version, "0.32.15");
    O3_COPY(f.quantity, odd ? "size_bytes" : "decode_per_s");
    return f;
}

typedef struct walk {
    int seen, stop_after;
    int numbers[16];
} walk;

static bool each(void *ctx, const o3_forecast *read)
{
    walk *w = ctx;
    int number = read->parallel - 1;
    o3_forecast wrote = forecast_of(number), got = *read;
    same_double(got.measured, wrote.measured);
    assert_true(got.predicted.low == wrote.predicted.low && got.predicted.mid == wrote.predicted.mid &&
                got.predicted.high == wrote.predicted.high);
    assert_string_equal(got.model, wrote.model);
    assert_string_equal(got.model_digest, wrote.model_digest);
    assert_string_equal(got.hardware, wrote.hardware);
    assert_string_equal(got.engine_version, wrote.engine_version);
    assert_string_equal(got.quantity, wrote.quantity);
    assert_true(o3_knobs_equal(&got.knobs, &wrote.knobs) && got.depth_tokens == wrote.depth_tokens);
    assert_true(got.learned_from == wrote.learned_from && got.measured_unix_ms == wrote.measured_unix_ms);
    w->numbers[w->seen++] = number;
    return w->seen != w->stop_after;
}

static walk read_all(o3_store *store, const char *model, int stop_after)
{
    walk w = {.stop_after = stop_after};
    o3_err err = {0};
    ok(o3_store_forecasts(store, model, each, &w, &err), &err);
    return w;
}

static void forecasts(void **state)
{
    fixture *f = *state;
    o3_store *store = open_store(f->path, NULL);
    assert_int_equal(read_all(store, NULL, 0).seen, 0);
    for (int i = 0; i < 7; i++) {
        o3_forecast forecast = forecast_of(i);
        o3_err err = {0};
        ok(o3_store_forecast_add(store, &forecast, &err), &err);
    }
    o3_store_close(store);
    store = open_store(f->path, NULL);
    walk all = read_all(store, "", 0), one = read_all(store, "model-1:latest", 0);
    assert_int_equal(all.seen, 7);
    for (int i = 0; i < 7; i++)
        assert_int_equal(all.numbers[i], i);
    assert_int_equal(one.seen, 2);
    assert_int_equal(one.numbers[0], 1);
    assert_int_equal(one.numbers[1], 4);
    assert_int_equal(read_all(store, NULL, 3).seen, 3);
    assert_int_equal(read_all(store, "model-1", 0).seen, 0);
    o3_store_close(store);
}

/* A database of the release before these tables gets them, and keeps what it has. */
static void brought_up_to_date(void **state)
{
    fixture *f = *state;
    o3_notes notes = {0};
    sqlite3 *db = NULL;
    char path[512], sql[128];
    O3_FORMAT(path, "%s/old.db", f->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, store_migrations[0], NULL, NULL, NULL), SQLITE_OK);
    O3_FORMAT(sql, "PRAGMA application_id = %d; PRAGMA user_version = 1", STORE_APPLICATION_ID);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO run (id, state, started_unix_ms, model, model_digest, hardware, "
                                  "engine_version, engine_env, request, key_unknown) VALUES ('r', 'open', 1, 'm', '', '', "
                                  "'', '', '', 0)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    o3_auto(store) o3_store *store = open_store(path, &notes);
    assert_int_equal(notes.count, 0);
    assert_int_equal(count_rows(store, "run"), 1);
    assert_int_equal(count_rows(store, "forecast"), 0);
    put(store, "model", "sha256:a", "{}");
    holds(store, "model", "sha256:a", "{}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_make, fixture_remove)
        TEST(documents), TEST(too_long), TEST(forecasts), TEST(brought_up_to_date),
    };
    return cmocka_run_group_tests_name("knowledge", tests, NULL, NULL);
}
