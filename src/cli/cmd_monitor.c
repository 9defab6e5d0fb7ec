/* SPDX-License-Identifier: Apache-2.0 */
/* o3 monitor: the sensors that guard a trial, to look at. */
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "o3/monitor.h"
#include "o3/report.h"

#define INTERVAL_MS 100
#define PLAIN_INTERVAL_MS 1000  /* where people read lines that stay */
#define DRAW_EVERY_NS (200 * O3_NS_PER_MS)
#define PAST_EVERY_NS O3_NS_PER_S
#define ASK_EVERY_NS (2 * O3_NS_PER_S)
#define ASK_SELDOM_NS (10 * O3_NS_PER_S) /* where nobody answers */
#define PAST 24

typedef struct monitoring {
    cli_session *session;
    o3_profile *profile;
    o3_watch *watch;
    o3_frame frame;
    int server_pid;
    int64_t ask_ns, draw_ns, past_ns; /* not before */
    int lines;                        /* of the view that is on the screen */
    o3_sight past[PAST];
} monitoring;

static bool alive(int pid)
{
    return pid > 0 && (!kill(pid, 0) || errno == EPERM);
}

/* A server may begin, end, or load another model while we watch. */
static void find_runner(monitoring *m)
{
    o3_runner runner = {.pid = -1};
    o3_err err;
    if (m->frame.server && !alive(m->server_pid))
        m->server_pid = o3_process_listening("/", o3_engine_port(m->session->engine));
    if (m->frame.model_count && m->server_pid > 0 && alive(m->frame.runner_pid))
        return;
    if (m->frame.model_count && m->server_pid > 0 &&
        o3_engine_runner(m->session->engine, m->server_pid, NULL, &runner, &err))
        runner.pid = -1; /* its memory is unknown then, and shown so */
    m->frame.runner_pid = runner.pid;
    o3_watch_engine(m->watch, m->server_pid, runner.pid);
}

static void ask(monitoring *m)
{
    o3_auto(free) o3_engine_loads *loads = o3_alloc(1, sizeof(*loads));
    o3_err err;
    m->frame.server = !o3_engine_loads_read(m->session->engine, loads, &err);
    m->frame.model_count = 0;
    for (int i = 0; m->frame.server && i < loads->count && i < O3_FRAME_MODELS_MAX; i++) {
        int at = m->frame.model_count++;
        O3_COPY(m->frame.models[at].name, loads->items[i].name);
        m->frame.models[at].num_ctx = loads->items[i].context_length;
        m->frame.models[at].size_bytes = loads->items[i].size_bytes;
        m->frame.models[at].size_vram_bytes = loads->items[i].size_vram_bytes;
    }
    find_runner(m);
    m->ask_ns = o3_now_ns() + (m->frame.server ? ASK_EVERY_NS : ASK_SELDOM_NS);
}

static void remember(monitoring *m, const o3_sight *sight)
{
    if (sight->t_ns < m->past_ns)
        return;
    if (m->frame.past_count == PAST)
        memmove(m->past, m->past + 1, sizeof(m->past) - sizeof(m->past[0]));
    m->frame.past_count += m->frame.past_count < PAST;
    m->past[m->frame.past_count - 1] = *sight;
    m->past_ns = sight->t_ns + PAST_EVERY_NS;
}

/* Bytes of the line that fill at most `width` columns; escape sequences fill none. */
static size_t cut_line(const char *line, int width)
{
    size_t len = 0;
    bool escape = false;
    for (; line[len] && line[len] != '\n'; len++) {
        bool column = !escape && line[len] != '\x1b' && (line[len] & 0xc0) != 0x80;
        escape = line[len] == '\x1b' || (escape && line[len] != 'm');
        if (column && width-- == 0)
            break;
    }
    return len;
}

/* Over the view before. A line that the terminal would wrap is cut, or the next view would land a line too low. */
static void draw(monitoring *m, const char *view)
{
    struct winsize size;
    bool known = !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col > 0;
    int width = known ? size.ws_col : 80, lines = 0, most = known && size.ws_row > 1 ? size.ws_row - 1 : 24;
    if (m->lines)
        printf("\x1b[%dA\r", m->lines);
    for (const char *line = view; *line && lines < most; lines++) {
        printf("%.*s\x1b[0m\x1b[K\n", (int)cut_line(line, width), line);
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    fputs("\x1b[J", stdout);
    m->lines = lines;
}

static void show_json(monitoring *m)
{
    json_t *json = o3_frame_to_json(&m->frame);
    o3_auto(free) char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(10));
    json_decref(json);
    if (text)
        puts(text);
}

static void show_csv(monitoring *m)
{
    o3_auto(free) char *text = o3_frame_csv(&m->frame);
    fputs(text, stdout);
}

static void show_line(monitoring *m)
{
    o3_auto(free) char *text = o3_frame_line(&m->frame);
    fputs(text, stdout);
}

static void show_view(monitoring *m)
{
    if (m->frame.sight->t_ns < m->draw_ns)
        return;
    o3_auto(free) char *text = o3_frame_view(&m->frame, cli_colour());
    draw(m, text);
    m->draw_ns = m->frame.sight->t_ns + DRAW_EVERY_NS;
}

static o3_status look_first(monitoring *m, o3_err *err)
{
    o3_engine_caps caps;
    o3_world world = cli_world(m->session);
    if (!o3_engine_is_local(m->session->engine))
        return o3_fail(err, O3_E_IMPOSSIBLE, "%s is another machine, and the sensors here say nothing about it; run o3 "
                       "monitor there", cli_host(m->session->call));
    o3_status status = o3_look(&world, m->profile, &caps, err);
    if (status != O3_E_UNAVAILABLE && status != O3_E_PROTOCOL)
        return status;
    status = o3_look_alone(&world, m->profile, err);
    if (!status)
        fprintf(stderr, "o3: no Ollama answers at %s: no model is seen, and limits are those of this process\n",
                cli_host(m->session->call));
    return status;
}

static o3_status watch(monitoring *m, void (*show)(monitoring *), o3_err *err)
{
    const cli_options *options = &m->session->call->options;
    int interval_ms = show == show_line ? PLAIN_INTERVAL_MS : INTERVAL_MS;
    o3_sight sight;
    if (!isnan(options->interval_s))
        interval_ms = (int)(options->interval_s * 1000 + 0.5);
    o3_status status = o3_watch_open(&m->watch, m->profile, "/", interval_ms, err);
    if (status)
        return status;
    /* The look that falls on the end belongs to it. */
    int64_t until_ns = isnan(options->duration_s) ? INT64_MAX
                                                  : o3_now_ns() + (int64_t)(options->duration_s * 1e9) +
                                                        interval_ms * O3_NS_PER_MS / 2;
    m->frame.sight = &sight;
    ask(m);
    while (o3_watch_next(m->watch, m->session->call->cancel, until_ns, &sight)) {
        remember(m, &sight);
        show(m);
        if (fflush(stdout))
            break;
        if (sight.t_ns >= m->ask_ns)
            ask(m);
    }
    if (ferror(stdout) && errno == EPIPE)
        clearerr(stdout); /* a reader who has seen enough */
    o3_watch_close(m->watch);
    return O3_OK;
}

o3_status cmd_monitor(const cli_call *call, o3_err *err)
{
    o3_auto(cli_session) cli_session *session = cli_session_new(call);
    o3_auto(free) o3_profile *profile = o3_alloc(1, sizeof(*profile));
    o3_auto(free) monitoring *m = o3_alloc(1, sizeof(*m));
    if (call->options.json && call->options.csv)
        return o3_fail(err, O3_E_USAGE, "--json and --csv are two forms of the same lines; give one of them");
    m->session = session;
    m->profile = profile;
    o3_status status = cli_open_config(session, err);
    if (!status)
        status = cli_open_engine(session, err);
    if (!status)
        status = look_first(m, err);
    if (status)
        return status;
    m->server_pid = profile->engine_pid;
    m->frame.profile = profile;
    m->frame.max_temperature_c = session->config.hardware_monitoring.safety_thresholds.max_temperature_c;
    m->frame.runner_pid = -1;
    m->frame.past = m->past;
    if (call->options.csv) {
        o3_auto(free) char *head = o3_frame_csv_head(profile);
        fputs(head, stdout);
        return watch(m, show_csv, err);
    }
    if (call->options.json)
        return watch(m, show_json, err);
    return watch(m, isatty(STDOUT_FILENO) ? show_view : show_line, err);
}
