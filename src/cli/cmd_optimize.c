/* SPDX-License-Identifier: Apache-2.0 */
/* The talk of a run as it happens, then the answer. */
#include <time.h>

#include "cli.h"
#include "o3/report.h"

typedef struct talk {
    cli_terminal *terminal;
    const char *url;
    bool verbose;
    char stage[32];
    int trials, samples; /* kept by this call */
} talk;

static void say_machine(talk *t, const o3_event *event)
{
    char ram[32], safe[32], pools[256] = "", line[640];
    const o3_profile *p = event->profile;
    if (!p)
        return;
    const char *host = strstr(t->url, "://");
    for (int i = 0; i < p->pool_count; i++) {
        const o3_pool *pool = &p->pools[i];
        size_t len = strlen(pools);
        o3_fmt_bytes(safe, sizeof(safe), (double)pool->safe_bytes);
        o3_fmt_bytes(ram, sizeof(ram), (double)pool->total_bytes);
        o3_format(pools + len, sizeof(pools) - len, ", %s %s (limit %.0f %% = %s)",
                  strcmp(pool->name, "ram") ? pool->name : "RAM", ram, pool->limit_frac * 100, safe);
    }
    O3_FORMAT(line, "o3 " O3_VERSION " · Ollama %s at %.150s · %.3g usable core%s%s",
              event->caps && *event->caps->version ? event->caps->version : "(version unknown)",
              host ? host + 3 : t->url, p->usable_cpus, p->usable_cpus == 1 ? "" : "s", pools);
    cli_terminal_line(t->terminal, "", line);
}

static void range_text(char *dst, size_t size, const o3_range *r, const char *unit)
{
    if (isfinite(r->mid))
        o3_format(dst, size, "%.0f%s (%.0f..%.0f)", r->mid, unit, r->low, r->high);
    else
        o3_copy(dst, size, "unknown");
}

/* "312..330" where both ends have the unit that the reader has just seen. */
static void byte_range(char *dst, size_t size, const o3_range *bytes)
{
    char low[32], mid[32], high[32];
    o3_fmt_bytes(low, sizeof(low), bytes->low);
    o3_fmt_bytes(mid, sizeof(mid), bytes->mid);
    o3_fmt_bytes(high, sizeof(high), bytes->high);
    char *a = strchr(low, ' '), *b = strchr(mid, ' '), *c = strchr(high, ' ');
    if (a && b && c && !strcmp(a, b) && !strcmp(b, c))
        *a = *c = '\0';
    o3_format(dst, size, "%s..%s", low, high);
}

static void say_predicted(talk *t, const o3_event *event)
{
    char need[32], range[80], prefill[64], decode[64], line[512] = "";
    const o3_estimate *e = event->estimate;
    if (e) {
        o3_fmt_bytes(need, sizeof(need), e->total_bytes.mid);
        byte_range(range, sizeof(range), &e->total_bytes);
        range_text(prefill, sizeof(prefill), &e->prefill_per_s, "/s");
        range_text(decode, sizeof(decode), &e->decode_full_per_s, "/s");
        O3_FORMAT(line, "%d tokens need %s (%s) · prefill %s · decode %s at full window", e->setting.knobs.num_ctx, need,
                  range, prefill, decode);
        cli_terminal_line(t->terminal, "Predicted", line);
    }
    if (!event->result || !event->result->preset_count)
        return;
    line[0] = '\0';
    for (int i = 0; i < event->result->preset_count; i++) {
        const o3_preset *preset = &event->result->presets[i];
        size_t len = strlen(line);
        o3_format(line + len, sizeof(line) - len, "%s%s %d", i ? " · " : "", preset->name, preset->knobs.num_ctx);
    }
    size_t len = strlen(line);
    o3_format(line + len, sizeof(line) - len, " (predicted, nothing measured yet)");
    cli_terminal_line(t->terminal, "Presets", line);
}

/* "Ceiling: filling 7994 tokens" names its own label. */
static void say_progress(talk *t, const char *text, const o3_event *event)
{
    char label[32];
    const char *colon = strstr(text, ": ");
    O3_COPY(label, t->stage);
    if (colon && colon - text < 12) {
        O3_FORMAT(label, "%.*s", (int)(colon - text), text);
        text = colon + 2;
    }
    cli_terminal_progress(t->terminal, label, strcmp(text, label) ? text : "", event->done_frac, event->left_s);
}

static void say_trial(talk *t, const o3_event *event)
{
    char line[O3_TEXT_MAX + 400], knobs[160], wall[32], decode[48] = "";
    const o3_trial *trial = event->trial;
    if (!trial)
        return;
    t->trials += trial->outcome != O3_OUTCOME_CANCELLED && trial->outcome != O3_OUTCOME_NONE;
    bool bad = trial->outcome != O3_OUTCOME_OK && trial->outcome != O3_OUTCOME_CANCELLED;
    if (!t->verbose && !bad)
        return;
    o3_fmt_duration(wall, sizeof(wall), (double)trial->wall_ns / 1e9);
    for (int i = trial->sample_count - 1; i >= 0 && !*decode; i--)
        if (isfinite(trial->samples[i].decode_per_s))
            O3_FORMAT(decode, " · decode %.1f/s at %lld", trial->samples[i].decode_per_s,
                      (long long)trial->samples[i].depth_tokens);
    o3_knobs_text(&trial->asked, NULL, knobs, sizeof(knobs));
    O3_FORMAT(line, "%s, %s: %s%s%s%s%s · %s%s · %d sample%s", trial->purpose, *knobs ? knobs : "nothing set",
              bad ? "it " : "", bad ? o3_outcome_text(trial->outcome) : o3_outcome_name(trial->outcome),
              *trial->reason ? " (" : "", trial->reason, *trial->reason ? ")" : "", wall, decode, trial->sample_count,
              trial->sample_count == 1 ? "" : "s");
    cli_terminal_line(t->terminal, "Trial", line);
}

static void on_event(void *ctx, const o3_event *event)
{
    talk *t = ctx;
    const char *text = event->text ? event->text : "";
    switch (event->kind) {
    case O3_EVENT_MACHINE:
        say_machine(t, event);
        break;
    case O3_EVENT_PREFLIGHT:
        cli_terminal_line(t->terminal, "Pre-flight", text);
        break;
    case O3_EVENT_ANALYSIS:
        cli_terminal_line(t->terminal, "Analysis", text);
        break;
    case O3_EVENT_PREDICTED:
        say_predicted(t, event);
        break;
    case O3_EVENT_STAGE:
        cli_terminal_clear(t->terminal);
        O3_COPY(t->stage, text);
        break;
    case O3_EVENT_PROGRESS:
        say_progress(t, text, event);
        break;
    case O3_EVENT_TRIAL:
        say_trial(t, event);
        break;
    case O3_EVENT_SAMPLE:
        t->samples++;
        break;
    case O3_EVENT_PULL:
        cli_terminal_progress(t->terminal, "Pull", text, event->done_frac, NAN);
        break;
    case O3_EVENT_NOTE:
        cli_terminal_line(t->terminal, *t->stage ? t->stage : "Note", text);
        break;
    }
}

static bool confirm(void *ctx, const char *question)
{
    return cli_terminal_ask(((talk *)ctx)->terminal, question);
}

/* "2 days ago" of an ISO time in UTC; "" if it is none. */
static void age_text(char *dst, size_t size, const char *iso)
{
    struct tm parts = {0};
    dst[0] = '\0';
    if (!strptime(iso, "%Y-%m-%dT%H:%M:%S", &parts))
        return;
    double s = (double)o3_unix_ms() / 1000 - (double)timegm(&parts);
    const struct {
        double seconds;
        const char *name;
    } units[] = {{86400, "day"}, {3600, "hour"}, {60, "minute"}};
    for (int i = 0; i < O3_COUNT(units); i++) {
        int n = (int)(s / units[i].seconds);
        if (n >= 1) {
            o3_format(dst, size, " %d %s%s ago", n, units[i].name, n == 1 ? "" : "s");
            return;
        }
    }
    o3_copy(dst, size, " just now");
}

static void say_known(cli_terminal *terminal, const o3_result *result)
{
    char age[48], line[256];
    if (!result->known)
        return;
    age_text(age, sizeof(age), result->finished_at);
    O3_FORMAT(line,
              "Known: optimised%s on this machine, same engine and model. (o3 optimize --force measures again)",
              age);
    cli_terminal_line(terminal, "", line);
}

/* Names what the server has, so that the next command can be typed. */
static o3_status ask_for_model(cli_session *session, o3_err *err)
{
    o3_auto(free) o3_engine_models *models = o3_alloc(1, sizeof(*models));
    char list[400] = "";
    if (cli_open_engine(session, err) || o3_engine_list(session->engine, models, err) || !models->count)
        return o3_fail(err, O3_E_USAGE, "which model? o3 optimize MODEL, such as o3 optimize smollm2:135m");
    for (int i = 0; i < models->count && i < 6; i++) {
        size_t len = strlen(list);
        o3_format(list + len, sizeof(list) - len, "%s%.50s", i ? ", " : "", models->items[i].name);
    }
    return o3_fail(err, O3_E_USAGE, "which model? o3 optimize MODEL; this server has %s%s", list,
                   models->count > 6 ? " and more" : "");
}

static o3_request request_of(const cli_call *call)
{
    const cli_options *o = &call->options;
    o3_request request = {
        .budget_s = o->budget_s,
        .samples = (int)o->samples,
        .seed = o->seed > 0 ? (uint64_t)o->seed : 1,
        .quick = o->quick,
        .no_proof = o->no_proof,
        .keep_knobs = o->keep_knobs,
        .unload_others = o->unload_others,
        .force = o->force,
        .pull = o->pull,
        .own_server = o->own_server,
    };
    O3_COPY(request.model, call->words[0]);
    O3_COPY(request.preset, o->preset ? o->preset : "");
    O3_COPY(request.use_case, o->use_case ? o->use_case : "");
    return request;
}

/* Names of the configuration, checked before anything is asked of a server. */
static o3_status check_names(const o3_config *config, const cli_options *options, o3_err *err)
{
    const char *names[O3_CATEGORIES_MAX + 16];
    int count = 0;
    if (options->preset && !o3_config_category(config, options->preset)) {
        for (int i = 0; i < config->category_count; i++)
            names[count++] = config->categories[i].name;
        const char *near = o3_nearest(options->preset, names, count);
        return o3_fail(err, O3_E_USAGE, "--preset %s is no row of preset_categories%s%s%s", options->preset,
                       near ? " (did you mean " : "", near ? near : "", near ? "?)" : "; o3 config show lists them");
    }
    if (options->use_case && !o3_config_use_case(config, options->use_case)) {
        for (int i = 0; i < config->use_case_count; i++)
            names[count++] = config->use_cases[i].name;
        const char *near = o3_nearest(options->use_case, names, count);
        return o3_fail(err, O3_E_USAGE, "--use-case %s is no row of use_case_optimization%s%s%s", options->use_case,
                       near ? " (did you mean " : "", near ? near : "", near ? "?)" : "; o3 config show lists them");
    }
    return O3_OK;
}

static bool is_proven(const o3_result *result)
{
    return result->ceiling.proven_tokens > 0 && result->ceiling.proofs > 1;
}

static bool is_decided(const o3_result *result)
{
    return result->race.verdict != O3_RACE_UNDECIDED && result->race.verdict != O3_RACE_NOT_RUN;
}

/* A floor there is, and every preset's own window was seen to keep it. */
static bool is_fast(const o3_result *result)
{
    const o3_ceiling *c = &result->ceiling;
    const o3_floor *f = &result->floor;
    bool fast = c->proven_tokens > 0 && (f->min_decode_per_s > 0 || f->max_ttft_s > 0) &&
                !(f->min_decode_per_s > 0 && !(c->full_decode_per_s >= f->min_decode_per_s)) &&
                !(f->max_ttft_s > 0 && !(c->full_ttft_s <= f->max_ttft_s));
    for (int i = 0; i < result->preset_count; i++)
        fast = fast && result->presets[i].proven;
    return fast;
}

static const struct gate {
    const char *name;
    bool (*holds)(const o3_result *result);
    const char *says;
    size_t why; /* offset of a text in the result that says more; 0 none */
} gates[] = {
    {"proven", is_proven, "no context was proven twice", 0},
    {"decided", is_decided, "the knobs were not decided", offsetof(o3_result, race.why)},
    {"floor", is_fast, "no speed floor (--min-decode, --max-ttft) was asked for that every preset was seen to keep",
     0},
};

/* result NULL: only the names are checked. */
static o3_status check_gates(const char *wanted, const o3_result *result, o3_err *err)
{
    for (const char *p = wanted; p && *p; p += strcspn(p, ","), p += *p == ',') {
        int len = (int)strcspn(p, ","), i = 0;
        while (i < O3_COUNT(gates) && (strncmp(gates[i].name, p, (size_t)len) || gates[i].name[len]))
            i++;
        if (i == O3_COUNT(gates))
            return o3_fail(err, O3_E_USAGE, "--gate %.*s is none; there are proven, decided and floor", len, p);
        if (!result || gates[i].holds(result))
            continue;
        const char *why = gates[i].why ? (const char *)result + gates[i].why : "";
        return o3_fail(err, O3_E_GATE, "gate %s: %s%s%s", gates[i].name, gates[i].says, *why ? ": " : "", why);
    }
    return O3_OK;
}

static void print_answer(const cli_call *call, const o3_result *result, const o3_profile *profile)
{
    if (call->options.json) {
        cli_print_json(o3_result_to_json(result, *profile->fingerprint || profile->pool_count ? profile : NULL));
        return;
    }
    o3_auto(free) char *summary = o3_result_summary(result, cli_colour(), call->options.verbose);
    fputs(summary, stdout);
}

static void say_stopped(const talk *t)
{
    if (t->trials || t->samples)
        fprintf(stderr, "stopped; %d trial%s and %d sample%s kept · the same command goes on from there\n", t->trials,
                t->trials == 1 ? "" : "s", t->samples, t->samples == 1 ? "" : "s");
    else
        fprintf(stderr, "stopped; nothing was measured yet · the same command starts again\n");
}

o3_status cmd_optimize(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) o3_result *result = o3_alloc(1, sizeof(*result));
    o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
    talk t = {.verbose = call->options.verbose};
    o3_status status = cli_open_config(session, err);
    if (!status && !call->count)
        status = ask_for_model(session, err);
    if (!status)
        status = check_names(&session->config, &call->options, err);
    if (!status)
        status = check_gates(call->options.gate, NULL, err);
    if (!status)
        status = cli_open_engine(session, err);
    if (!status)
        status = cli_open_store(session, err);
    if (status)
        return status;
    t.terminal = cli_terminal_new(stderr);
    t.url = o3_engine_url(session->engine);
    o3_world world = cli_world(session);
    world.on_event = on_event;
    world.confirm = confirm;
    world.ctx = &t;
    o3_request request = request_of(call);
    status = o3_optimize(&world, &request, result, profile, err);
    cli_terminal_clear(t.terminal);
    if (!status)
        say_known(t.terminal, result);
    cli_terminal_free(t.terminal);
    if (!status || result->ceiling.proven_tokens > 0 || result->ceiling.allocated_tokens > 0)
        print_answer(call, result, profile);
    if (status == O3_E_CANCELLED) {
        say_stopped(&t);
        if (err)
            err->message[0] = '\0';
    }
    return status ? status : check_gates(call->options.gate, result, err);
}
