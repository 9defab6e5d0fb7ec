/* SPDX-License-Identifier: Apache-2.0 */
/* A private `ollama serve`: started, waited for, ended whole. The environment is private_env.c's. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "private_impl.h"

#define START_NS (60 * O3_NS_PER_S)
#define TERM_NS (5 * O3_NS_PER_S)
#define TICK_NS (20 * O3_NS_PER_MS)
#define PORT_TRIES 5
#define LOG_TAIL (4u << 20) /* a load says some 20 kB; what lies further back is of no interest */

struct o3_private {
    o3_engine *engine;
    int pid; /* -1: not started, or gone and reaped */
    int port;
    bool joined;
    char dir[PATH_MAX], log[PATH_MAX + 8];
};

/* Of loopback, free a moment ago: somebody may still be faster, and then another is tried. */
static int free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = -1;
    if (fd >= 0 && !bind(fd, (struct sockaddr *)&at, size) && !getsockname(fd, (struct sockaddr *)&at, &size))
        port = ntohs(at.sin_port);
    if (fd >= 0)
        close(fd);
    return port;
}

static o3_status make_folder(o3_private *p, o3_err *err)
{
    const char *base = getenv("TMPDIR");
    base = base && *base ? base : "/tmp";
    if (strlen(base) > PATH_MAX - 32)
        return o3_fail(err, O3_E_LIMIT, "TMPDIR is too long for a path; set a shorter one");
    O3_FORMAT(p->dir, "%s/o3-private-XXXXXX", base);
    if (!mkdtemp(p->dir)) {
        p->dir[0] = '\0';
        return o3_fail(err, O3_E_IO, "no folder for the private server's log can be made in %s (%s); set TMPDIR to one "
                       "with room", base, strerror(errno));
    }
    O3_FORMAT(p->log, "%s/log", p->dir);
    return O3_OK;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    remove(path);
    return 0;
}

/* ---- the child; only what a signal handler may call, other threads may hold any lock */
typedef struct launch {
    const char *exe, *dir;
    char *const *env;
    int log_fd, group_fd, report_fd, parent;
} launch;

static _Noreturn void become_server(const launch *l)
{
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* it ends its runners on TERM, not on KILL */
    if (getppid() != l->parent)
        _exit(127);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    ssize_t joined = l->group_fd >= 0 ? write(l->group_fd, "0", 1) : 0;
    (void)joined; /* the parent looks whether it worked */
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, 0) < 0 || dup2(l->log_fd, 1) < 0 || dup2(l->log_fd, 2) < 0 || chdir(l->dir) < 0)
        goto failed;
    close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    execve(l->exe, (char *const[]){(char *)"ollama", (char *)"serve", NULL}, l->env);
failed:;
    int cause = errno;
    ssize_t told = write(l->report_fd, &cause, sizeof(cause));
    (void)told;
    _exit(127);
}

static bool in_group(const char *dir, int pid)
{
    char path[PATH_MAX], line[32];
    O3_FORMAT(path, "%s/cgroup.procs", dir);
    o3_auto(file) FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (atoi(line) == pid)
            return true;
    return false;
}

static o3_status spawn(o3_private *p, const char *exe, char *const *env, const char *group, o3_err *err)
{
    int report[2], cause = 0;
    char procs[PATH_MAX];
    launch l = {.exe = exe, .dir = p->dir, .env = env, .group_fd = -1, .parent = getpid()};
    if (pipe2(report, O_CLOEXEC))
        return o3_fail(err, O3_E_IO, "no pipe for the private server (%s); close some programs", strerror(errno));
    l.report_fd = report[1];
    l.log_fd = open(p->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    O3_FORMAT(procs, "%s/cgroup.procs", group);
    if (*group)
        l.group_fd = open(procs, O_WRONLY | O_CLOEXEC);
    p->pid = l.log_fd < 0 ? -1 : fork();
    if (p->pid == 0)
        become_server(&l);
    cause = p->pid < 0 ? errno : 0;
    close(report[1]);
    if (p->pid > 0 && read(report[0], &cause, sizeof(cause)) != sizeof(cause)) /* closed by a successful exec */
        cause = 0;
    close(report[0]);
    close(l.log_fd);
    if (l.group_fd >= 0)
        close(l.group_fd);
    if (!cause) {
        p->joined = *group && in_group(group, p->pid);
        return O3_OK;
    }
    return o3_fail(err, cause == EACCES || cause == EPERM || cause == ENOEXEC ? O3_E_IMPOSSIBLE : O3_E_IO,
                   "%s serve cannot be started: %s", exe, strerror(cause));
}

/* Of a child of ours; stays a zombie, so that its number is nobody else's. */
static bool has_ended(const o3_private *p, int *ret_code, bool *ret_signal)
{
    siginfo_t info = {0};
    if (p->pid <= 0 || waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid == 0)
        return false;
    *ret_code = info.si_status;
    *ret_signal = info.si_code != CLD_EXITED;
    return true;
}

static char *log_text(const o3_private *p)
{
    char *text = o3_alloc(1, LOG_TAIL + 1);
    o3_auto(file) FILE *file = fopen(p->log, "re");
    if (file && !fseek(file, 0, SEEK_END)) {
        long size = ftell(file), from = size > (long)LOG_TAIL ? size - (long)LOG_TAIL : 0;
        size_t got = fseek(file, from, SEEK_SET) ? 0 : fread(text, 1, LOG_TAIL, file);
        for (size_t i = 0; i < got; i++)
            text[i] = text[i] ? text[i] : ' ';
        text[got] = '\0';
    }
    return text;
}

void o3_private_log(const o3_private *p, o3_log_facts *ret_facts)
{
    o3_auto(free) char *text = log_text(p);
    o3_log_read(text, ret_facts);
}

void o3_private_end(o3_private *p, char *dst, size_t size)
{
    o3_log_facts facts;
    int code;
    bool by_signal;
    dst[0] = '\0';
    if (!has_ended(p, &code, &by_signal))
        return;
    o3_private_log(p, &facts);
    o3_format(dst, size, "the private server ended (%s %d%s): %.250s", by_signal ? "signal" : "exit status", code,
              by_signal && code == SIGKILL ? ", killed from outside" : "",
              facts.error[0] ? facts.error : "its log is empty");
}

/* What its last words mean for the caller. O3_E_UNAVAILABLE is another try's business. */
static o3_status ended_early(o3_private *p, o3_err *err)
{
    static const struct {
        const char *words;
        o3_status status;
        const char *advice;
    } meanings[] = {
        {"address already in use", O3_E_UNAVAILABLE, "somebody took its port"},
        {"permission denied", O3_E_IMPOSSIBLE, "run o3 as the user that Ollama runs as"},
        {"read-only file system", O3_E_IMPOSSIBLE, "it must be able to write there"},
        {"no space left on device", O3_E_IO, "make room there"},
    };
    char end[O3_TEXT_MAX];
    o3_private_end(p, end, sizeof(end));
    for (int i = 0; i < O3_COUNT(meanings); i++)
        if (strcasestr(end, meanings[i].words))
            return o3_fail(err, meanings[i].status, "%s; %s", end, meanings[i].advice);
    return o3_fail(err, O3_E_ENGINE, "%s; start `ollama serve` by hand to see more", end);
}

static o3_status wait_ready(o3_private *p, const o3_private_options *options, o3_err *err)
{
    char url[32], listening[64];
    o3_engine_caps caps;
    int code;
    bool by_signal;
    int64_t limit_ns = options->timeout_ns > 0 ? options->timeout_ns : START_NS, end = o3_now_ns() + limit_ns;
    O3_FORMAT(url, "127.0.0.1:%d", p->port);
    O3_FORMAT(listening, "istening on %s ", url);
    o3_status status = o3_engine_open(&p->engine, url, err);
    if (status)
        return status;
    o3_engine_interruptible(p->engine, options->cancel);
    for (; !has_ended(p, &code, &by_signal); ) {
        o3_auto(free) char *text = log_text(p);
        /* Its own word that the port is its own: whoever else took it answers there too. */
        if (strstr(text, listening) && !o3_engine_caps_read(p->engine, &caps, NULL))
            return O3_OK;
        if (o3_wait(options->cancel, TICK_NS))
            return o3_fail(err, O3_E_CANCELLED, "interrupted");
        if (o3_now_ns() > end) {
            o3_log_facts facts;
            o3_private_log(p, &facts);
            return o3_fail(err, O3_E_ENGINE, "the private server does not answer within %.0f s; its last words: %.300s",
                           (double)limit_ns / 1e9, facts.error[0] ? facts.error : "none");
        }
    }
    return ended_early(p, err);
}

/* Ends what runs; the object may be used for another try. */
static void end_processes(o3_private *p)
{
    int code;
    bool by_signal;
    o3_engine_close(p->engine);
    p->engine = NULL;
    if (p->pid <= 0)
        return;
    if (!has_ended(p, &code, &by_signal))
        kill(p->pid, SIGTERM);
    for (int64_t end = o3_now_ns() + TERM_NS; !has_ended(p, &code, &by_signal) && o3_now_ns() < end;)
        o3_sleep_ns(TICK_NS);
    kill(-p->pid, SIGKILL); /* runners that it left behind; the number is still its own */
    waitpid(p->pid, NULL, 0);
    for (int64_t end = o3_now_ns() + TERM_NS; !kill(-p->pid, 0) && o3_now_ns() < end;)
        o3_sleep_ns(TICK_NS);
    p->pid = -1;
}

o3_status o3_private_start(o3_private **ret_server, const o3_private_options *options, o3_err *err)
{
    char exe[PATH_MAX];
    private_env env = {0};
    o3_private *p = o3_alloc(1, sizeof(*p));
    p->pid = -1;
    o3_status status = private_find_exe(options, exe, sizeof(exe), err);
    if (!status)
        status = make_folder(p, err);
    if (!status)
        status = private_env_make(&env, options, p->dir, err);
    for (int tries = 0; !status; tries++) {
        char host[64];
        p->port = free_port();
        O3_FORMAT(host, "OLLAMA_HOST=127.0.0.1:%d", p->port);
        private_env_set(&env, host);
        status = spawn(p, exe, env.items, options->cgroup_dir ? options->cgroup_dir : "", err);
        if (!status)
            status = wait_ready(p, options, err);
        if (!status || status != O3_E_UNAVAILABLE || tries + 1 == PORT_TRIES)
            break;
        end_processes(p);
        status = O3_OK;
    }
    private_env_free(&env);
    if (status)
        o3_private_stop(p);
    else
        *ret_server = p;
    return status;
}

void o3_private_stop(o3_private *p)
{
    if (!p)
        return;
    end_processes(p);
    if (p->dir[0])
        nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(p);
}

o3_engine *o3_private_engine(o3_private *p)
{
    return p->engine;
}

int o3_private_pid(const o3_private *p)
{
    return p->pid;
}

bool o3_private_joined(const o3_private *p)
{
    return p->joined;
}
