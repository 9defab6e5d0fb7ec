/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"
#include "o3/report.h"

enum { RUNS_SHOWN = 200, RUNS_MAX = 4096, COLUMNS = 7 };

static const char *const states[] = {
    [O3_RUN_OPEN] = "open",
    [O3_RUN_COMPLETE] = "complete",
    [O3_RUN_PARTIAL] = "partial",
};

static json_t *time_json(int64_t unix_ms)
{
    char text[32];
    if (unix_ms < 0)
        return json_null();
    o3_iso_utc(unix_ms, text);
    return json_string(text);
}

static json_t *row_json(const o3_run_row *row)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:i, s:o}", "id", row->id, "model", row->model, "digest",
                     row->model_digest, "engine_version", row->engine_version, "state", states[row->state],
                     "started_at", time_json(row->started_unix_ms), "ended_at", time_json(row->ended_unix_ms),
                     "trials", row->trials, "proven_tokens",
                     row->proven_tokens < 0 ? json_null() : json_integer(row->proven_tokens));
}

static void row_cells(char (*cells)[64], const o3_run_row *row)
{
    int column = 0;
    O3_FORMAT(cells[column++], "%.12s", row->id);
    cli_time_text(cells[column++], sizeof(cells[0]), row->started_unix_ms);
    O3_FORMAT(cells[column++], "%.60s", row->model);
    O3_COPY(cells[column++], states[row->state]);
    O3_FORMAT(cells[column++], "%d", row->trials);
    if (row->proven_tokens > 0)
        O3_FORMAT(cells[column++], "%lld", (long long)row->proven_tokens);
    else
        O3_COPY(cells[column++], "-");
    O3_COPY(cells[column++], *row->engine_version ? row->engine_version : "unknown");
}

static void print_rows(const o3_run_row *rows, int count)
{
    static const char *const heads[COLUMNS] = {"run", "started", "model", "state", "trials", "proven", "Ollama"};
    static const bool right[COLUMNS] = {[4] = true, [5] = true};
    int shown = count < RUNS_SHOWN ? count : RUNS_SHOWN;
    char(*cells)[64] = o3_alloc((size_t)(shown + 1) * COLUMNS, sizeof(*cells));
    for (int c = 0; c < COLUMNS; c++)
        O3_COPY(cells[c], heads[c]);
    for (int i = 0; i < shown; i++)
        row_cells(cells + (size_t)(i + 1) * COLUMNS, &rows[i]);
    cli_print_table(stdout, COLUMNS, right, shown + 1, cells);
    free(cells);
    if (shown < count)
        printf("and %d older; --json has them\n", count - shown);
}

o3_status cmd_history(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) o3_run_row *rows = o3_alloc(RUNS_MAX, sizeof(*rows));
    char latest[O3_NAME_MAX + 8];
    int count = 0;
    o3_status status = cli_open_store(session, err);
    if (!status)
        status = o3_store_runs(session->store, call->count ? call->words[0] : NULL, rows, RUNS_MAX, &count, err);
    if (!status && !count && call->count && cli_latest(call->words[0], latest, sizeof(latest)))
        status = o3_store_runs(session->store, latest, rows, RUNS_MAX, &count, err);
    if (status)
        return status;
    if (call->options.json) {
        json_t *list = json_array();
        for (int i = 0; i < count; i++)
            json_array_append_new(list, row_json(&rows[i]));
        cli_print_json(json_pack("{s:i, s:o}", "schema", O3_SCHEMA, "runs", list));
    } else if (count) {
        print_rows(rows, count);
    } else if (call->count) {
        return o3_fail(err, O3_E_NOT_FOUND, "no run of %s is stored; o3 optimize %s makes one", call->words[0],
                       call->words[0]);
    } else {
        fprintf(stderr, "no runs yet; o3 optimize MODEL makes the first\n");
    }
    return O3_OK;
}

/* The start of an id is enough where it is the start of one only. */
static o3_status find_run(cli_session *session, const char *start, o3_run_row *ret_row, o3_err *err)
{
    o3_auto(free) o3_run_row *rows = o3_alloc(RUNS_MAX, sizeof(*rows));
    int count = 0, found = 0;
    o3_status status = o3_store_runs(session->store, NULL, rows, RUNS_MAX, &count, err);
    if (status)
        return status;
    for (int i = 0; i < count; i++) {
        if (strncmp(rows[i].id, start, strlen(start)))
            continue;
        *ret_row = rows[i];
        found++;
    }
    if (found > 1)
        return o3_fail(err, O3_E_USAGE, "%d runs begin with %s; give more of the id", found, start);
    if (!found)
        return o3_fail(err, O3_E_NOT_FOUND, "no run begins with %s; o3 history lists them", start);
    return O3_OK;
}

typedef struct walk {
    bool verbose;
    json_t *list; /* NULL: text */
    int count;
} walk;

static void number(char *dst, size_t size, double value, int decimals)
{
    if (isfinite(value))
        o3_format(dst, size, "%.*f", decimals, value);
    else
        o3_copy(dst, size, "-");
}

static void print_sample(const o3_sample *s)
{
    char prefill[32], decode[32], ttft[32], marks[64];
    number(prefill, sizeof(prefill), s->prefill_per_s, 1);
    number(decode, sizeof(decode), s->decode_per_s, 1);
    number(ttft, sizeof(ttft), s->ttft_ns < 0 ? NAN : (double)s->ttft_ns / 1e6, 0);
    O3_FORMAT(marks, "%s%s%s", s->warmup ? " warm-up" : "", s->throttled ? " throttled" : s->disturbed ? " disturbed" : "",
              s->outlier ? " outlier" : "");
    printf("    %-8s %-8s prompt %6lld  prefill %8s/s  decode %7s/s  TTFT %7s ms%s\n", o3_sample_kind_name(s->kind),
           o3_outcome_name(s->outcome), (long long)s->prompt_tokens, prefill, decode, ttft, marks);
}

static bool print_trial(void *ctx, const o3_trial *trial)
{
    walk *w = ctx;
    char wall[32], knobs[128] = "";
    w->count++;
    if (w->list) {
        json_array_append_new(w->list, o3_trial_to_json(trial));
        return true;
    }
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) {
        int32_t value = o3_knob_get(&trial->asked, field);
        size_t len = strlen(knobs);
        if (value != O3_UNSET)
            o3_format(knobs + len, sizeof(knobs) - len, " %s %d", field->name, value);
    }
    o3_fmt_duration(wall, sizeof(wall), trial->wall_ns < 0 ? NAN : (double)trial->wall_ns / 1e9);
    printf("  %-10s %-9s%s\n             %s · %d load%s, %d fill%s, %d sample%s%s%s\n", trial->purpose,
           o3_outcome_name(trial->outcome), *knobs ? knobs : " Ollama's defaults", wall, trial->loads,
           trial->loads == 1 ? "" : "s", trial->fills, trial->fills == 1 ? "" : "s", trial->sample_count,
           trial->sample_count == 1 ? "" : "s", *trial->reason ? " · " : "", trial->reason);
    for (int i = 0; w->verbose && i < trial->sample_count; i++)
        print_sample(&trial->samples[i]);
    return true;
}

static json_t *result_json(cli_session *session, const char *run_id)
{
    o3_auto(free) char *text = NULL;
    json_t *json = o3_store_result(session->store, "", run_id, &text, NULL) ? NULL : json_loads(text, 0, NULL);
    return json ? json : json_null();
}

o3_status cmd_history_show(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_run_row row = {0};
    walk w = {.verbose = call->options.verbose};
    o3_status status = cli_open_store(session, err);
    if (!status)
        status = find_run(session, call->words[0], &row, err);
    if (status)
        return status;
    w.list = call->options.json ? json_array() : NULL;
    if (!w.list) {
        char started[32];
        cli_time_text(started, sizeof(started), row.started_unix_ms);
        printf("run %.12s · %s · Ollama %s · %s · %s\n", row.id, row.model,
               *row.engine_version ? row.engine_version : "unknown", started, states[row.state]);
    }
    status = o3_store_trials(session->store, row.id, print_trial, &w, err);
    if (w.list && !status)
        cli_print_json(json_pack("{s:i, s:o, s:o, s:o}", "schema", O3_SCHEMA, "run", row_json(&row), "trials", w.list,
                                 "result", result_json(session, row.id)));
    else if (w.list)
        json_decref(w.list);
    else if (!status && !w.count)
        puts("  no trials");
    return status;
}
