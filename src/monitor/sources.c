/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "monitor/source_file.h"
#include "monitor/sources.h"

#define TEXT_BYTES 65536 /* /proc/stat of some 800 CPUs; everything else is far smaller */
#define CPUS_MAX 8192
#define TIMES_EVERY_NS (150 * O3_NS_PER_MS) /* CPU times come in ticks of 10 ms and are taken over 0.3 s and more */

typedef struct pool_source {
    source_file stat, kernel, usage; /* the last two of cgroups only */
    int version;                     /* 0 = /proc/meminfo */
    char dir[SOURCE_PATH_MAX];
} pool_source;

typedef struct process_source {
    int pid;
    int stat_fd, status_fd;
    int64_t ticks; /* utime + stime when last read; -1 not yet */
    bool gone;
} process_source;

enum { SELF, SERVER, RUNNER, PROCESSES };

struct monitor_sources {
    char root[SOURCE_PATH_MAX];
    int pool_count, sensor_count, cpus;
    bool all_cpus;
    uint64_t cpu_bits[CPUS_MAX / 64];
    pool_source pools[O3_POOLS_MAX];
    gpu_sources *gpus;          /* NULL: none is watched */
    int pool_gpu[O3_POOLS_MAX]; /* whose memory it is; -1 no GPU's */
    source_file stat, psi, vmstat, group_stat, group_events;
    cpu_source cpu;
    source_file sensors[SOURCE_SENSORS_MAX];
    process_source processes[PROCESSES];
    int64_t engine_ticks, fresh_from_ticks;
    monitor_reading last;
    char text[TEXT_BYTES];
};

static int64_t kib(const char *text, const char *key)
{
    int64_t value = o3_field_i64(text, key, -1);
    return value < 0 || value > INT64_MAX / 2048 ? -1 : value * 1024;
}

static int64_t meminfo_used(const char *text)
{
    int64_t total = kib(text, "MemTotal"), available = kib(text, "MemAvailable");
    if (available < 0) { /* before 3.14 */
        int64_t unused = kib(text, "MemFree"), cached = kib(text, "Cached"), shmem = kib(text, "Shmem");
        available = unused < 0 || cached < 0 || shmem < 0 ? -1 : unused + (cached > shmem ? cached - shmem : 0);
    }
    return total <= 0 || available < 0 || available > total ? -1 : total - available;
}

static int64_t pool_read(monitor_sources *s, pool_source *pool, bool *ret_gone)
{
    *ret_gone = false;
    if (!source_read(&pool->stat, s->text, sizeof(s->text))) {
        *ret_gone = pool->version && *pool->dir && access(pool->dir, F_OK) && errno == ENOENT;
        source_close(&pool->kernel);
        source_close(&pool->usage);
        return -1;
    }
    if (!pool->version)
        return meminfo_used(s->text);
    if (pool->usage.fd < 0) { /* the group came back */
        source_reopen(&pool->usage);
        source_reopen(&pool->kernel);
    }
    return o3_cgroup_count(pool->version, s->text, source_i64(&pool->kernel), source_i64(&pool->usage));
}

static void pool_open(monitor_sources *s, pool_source *pool, const o3_profile *profile, const o3_pool *from)
{
    pool->kernel.fd = pool->usage.fd = pool->stat.fd = -1;
    if (from->cgroup < 1 || from->cgroup > profile->cgroup_count) {
        if (!strcmp(from->name, "ram")) /* any other kind stays unread, which is unsafe and says so */
            source_open(&pool->stat, s->root, "/proc", "meminfo");
        return;
    }
    const o3_cgroup *group = &profile->cgroups[from->cgroup - 1];
    pool->version = group->version;
    O3_FORMAT(pool->dir, "%s%s", s->root, group->dir);
    source_open(&pool->stat, s->root, group->dir, "memory.stat");
    source_open(&pool->usage, s->root, group->dir, pool->version == 1 ? "memory.usage_in_bytes" : "memory.current");
    if (pool->version == 1)
        source_open(&pool->kernel, s->root, group->dir, "memory.kmem.usage_in_bytes");
}

/* user nice system idle iowait irq softirq steal [guest guest_nice: within user and nice] */
static bool add_ticks(const char *numbers, int64_t *busy, int64_t *all)
{
    enum { IDLE = 3, IOWAIT = 4, STEAL = 7 };
    char *end;
    for (int i = 0; i <= STEAL; i++, numbers = end) {
        long long value = strtoll(numbers, &end, 10);
        if (end == numbers || value < 0 || value > INT64_MAX / CPUS_MAX / 16)
            return i > IDLE && end == numbers; /* old kernels have fewer columns */
        *all += value;
        *busy += i == IDLE || i == IOWAIT ? 0 : value;
    }
    return true;
}

/* The first line is all CPUs of the host; where the engine may run on some of them only, their lines are added up. */
static void stat_read(monitor_sources *s, monitor_reading *r)
{
    int64_t busy = 0, all = 0;
    bool found = false;
    r->busy_ticks = r->all_ticks = -1;
    if (!source_read(&s->stat, s->text, sizeof(s->text)))
        return;
    for (const char *line = s->text; !strncmp(line, "cpu", 3); line += strcspn(line, "\n"), line += *line == '\n') {
        char *end;
        bool total = line[3] == ' ';
        long cpu = total ? 0 : strtol(line + 3, &end, 10);
        if (total != s->all_cpus)
            continue;
        if (!total && (cpu < 0 || cpu >= CPUS_MAX || !(s->cpu_bits[cpu / 64] >> (cpu % 64) & 1)))
            continue;
        if (!add_ticks(total ? line + 3 : end, &busy, &all))
            return;
        found = true;
        if (total)
            break;
    }
    if (!found)
        return;
    r->busy_ticks = busy;
    r->all_ticks = all;
}

static void psi_read(monitor_sources *s, monitor_reading *r)
{
    bool there = source_read(&s->psi, s->text, sizeof(s->text));
    r->psi_full_us = there ? source_psi_us(s->text, "full") : -1;
    r->psi_some_us = there ? source_psi_us(s->text, "some") : -1;
}

static int64_t first_field(const char *text, const char *const *keys)
{
    int64_t value = -1;
    for (; *keys && value < 0; keys++)
        value = o3_field_i64(text, *keys, -1);
    return value;
}

static int64_t read_first(monitor_sources *s, source_file *file, const char *const *keys)
{
    return source_read(file, s->text, sizeof(s->text)) ? first_field(s->text, keys) : -1;
}

static void counters_read(monitor_sources *s, monitor_reading *r)
{
    static const char *const group_refaults[] = {"total_workingset_refault_file", "workingset_refault_file",
                                                 "total_workingset_refault", "workingset_refault", NULL};
    static const char *const host_refaults[] = {"workingset_refault_file", "workingset_refault", NULL};
    static const char *const kills[] = {"oom_kill", NULL}, *const swaps[] = {"pswpin", NULL};
    bool host = source_read(&s->vmstat, s->text, sizeof(s->text));
    r->swap_in_pages = host ? first_field(s->text, swaps) : -1;
    r->refault_file_pages = host ? first_field(s->text, host_refaults) : -1;
    r->oom_kills = host ? first_field(s->text, kills) : -1;
    if (s->group_stat.path[0])
        r->refault_file_pages = read_first(s, &s->group_stat, group_refaults);
    if (s->group_events.path[0])
        r->oom_kills = read_first(s, &s->group_events, kills);
}

static void temperature_read(monitor_sources *s, monitor_reading *r)
{
    r->temperature_c = NAN;
    for (int i = 0; i < s->sensor_count; i++) {
        double celsius = (double)source_i64(&s->sensors[i]) / 1000;
        if (celsius > 0 && celsius < 150 && !(celsius <= r->temperature_c))
            r->temperature_c = celsius;
    }
}

/* utime + stime of all threads, the start time, and whether it still lives (a zombie does not). */
static bool process_stat(monitor_sources *s, int fd, int64_t *ret_ticks, int64_t *ret_start)
{
    if (!source_fd_read(fd, s->text, 4096))
        return false;
    char *p = strrchr(s->text, ')'), state = '\0';
    long long utime, stime, start;
    /* fields 3 (state), 14, 15 (utime, stime), 22 (starttime) */
    static const char format[] = " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld %*d %*d %*d %*d %*d %*d %lld";
    if (!p || sscanf(p + 1, format, &state, &utime, &stime, &start) != 4)
        return false;
    if (state == 'Z' || state == 'X' || utime < 0 || stime < 0)
        return false;
    *ret_ticks = utime + stime;
    *ret_start = start;
    return true;
}

static void process_read(monitor_sources *s, process_source *process)
{
    int64_t ticks, start;
    if (process->pid < 0)
        return;
    if (!process_stat(s, process->stat_fd, &ticks, &start)) {
        process->gone = process->ticks >= 0;
        return;
    }
    process->gone = false;
    int64_t before = process->ticks >= 0 ? process->ticks : start >= s->fresh_from_ticks ? 0 : ticks;
    s->engine_ticks += ticks > before ? ticks - before : 0;
    process->ticks = ticks;
}

/* Exactly, and without a file. */
static void self_read(monitor_sources *s)
{
    struct timespec t;
    int64_t hz = sysconf(_SC_CLK_TCK), *last = &s->processes[SELF].ticks;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    int64_t ticks = t.tv_sec * hz + t.tv_nsec / (1000000000 / hz);
    s->engine_ticks += *last >= 0 ? ticks - *last : 0;
    *last = ticks;
}

static void processes_read(monitor_sources *s, monitor_reading *r)
{
    int watched = 0, seen = 0;
    for (int i = 0; i < PROCESSES; i++) {
        /* A server without a runner of its own is both; its time counts once. */
        if (i == RUNNER && s->processes[RUNNER].pid == s->processes[SERVER].pid)
            continue;
        if (i == SELF && !*s->root)
            self_read(s);
        else
            process_read(s, &s->processes[i]);
        watched += i != SELF && s->processes[i].pid >= 0;
        seen += i != SELF && s->processes[i].ticks >= 0;
    }
    r->engine_ticks = s->engine_ticks;
    r->engine_known = watched > 0 && seen == watched;
    r->server_gone = s->processes[SERVER].gone;
}

static void runner_read(monitor_sources *s, monitor_reading *r)
{
    r->runner_bytes = r->runner_anon_bytes = r->runner_file_bytes = -1;
    if (source_fd_read(s->processes[RUNNER].status_fd, s->text, 8192)) {
        int64_t anon = kib(s->text, "RssAnon"), shmem = kib(s->text, "RssShmem");
        r->runner_bytes = anon < 0 ? -1 : anon + (shmem > 0 ? shmem : 0);
        r->runner_anon_bytes = anon;
        r->runner_file_bytes = kib(s->text, "RssFile");
    }
}

static void pools_read(monitor_sources *s, int what, monitor_reading *r)
{
    if (s->gpus)
        gpu_sources_read(s->gpus, what & MONITOR_READ_TEMPERATURE, s->processes[RUNNER].pid, r->gpus);
    for (int i = 0; i < s->pool_count; i++)
        r->pool_bytes[i] = s->pool_gpu[i] >= 0 ? r->gpus[s->pool_gpu[i]].values.used_bytes
                                               : pool_read(s, &s->pools[i], &r->pool_gone[i]);
}

void sources_read(monitor_sources *s, int what, monitor_reading *ret_reading)
{
    monitor_reading *r = &s->last;
    r->at_ns = o3_now_ns();
    pools_read(s, what, r);
    psi_read(s, r);
    runner_read(s, r);
    if (what & MONITOR_READ_COUNTERS || r->at_ns - r->times_at_ns >= TIMES_EVERY_NS) {
        r->times_at_ns = r->at_ns;
        stat_read(s, r);
        processes_read(s, r);
    }
    if (what & MONITOR_READ_COUNTERS)
        counters_read(s, r);
    if (what & MONITOR_READ_TEMPERATURE) {
        cpu_source_read(&s->cpu, &r->cpu);
        temperature_read(s, r);
    }
    *ret_reading = *r;
}

static int proc_open(const monitor_sources *s, int pid, const char *name)
{
    char path[SOURCE_PATH_MAX + 64];
    if (pid < 0)
        O3_FORMAT(path, "%s/proc/self/%s", s->root, name);
    else
        O3_FORMAT(path, "%s/proc/%d/%s", s->root, pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static void process_close(process_source *process)
{
    if (process->stat_fd >= 0)
        close(process->stat_fd);
    if (process->status_fd >= 0)
        close(process->status_fd);
    *process = (process_source){.pid = -1, .stat_fd = -1, .status_fd = -1, .ticks = -1};
}

/* An open descriptor belongs to this very process, even when its number is given to another one. */
static void process_watch(monitor_sources *s, int which, int pid)
{
    process_source *process = &s->processes[which];
    if (process->pid == pid && !process->gone)
        return;
    process_close(process);
    if (pid <= 0)
        return;
    process->pid = pid;
    process->stat_fd = proc_open(s, pid, "stat");
    process->status_fd = which == RUNNER ? proc_open(s, pid, "status") : -1;
}

void sources_watch(monitor_sources *s, int server_pid, int runner_pid)
{
    process_watch(s, SERVER, server_pid);
    process_watch(s, RUNNER, runner_pid);
    s->last.times_at_ns = 0; /* to be read with the next look */
}

void sources_mark(monitor_sources *s)
{
    struct timespec t;
    long hz = sysconf(_SC_CLK_TCK);
    clock_gettime(CLOCK_BOOTTIME, &t);
    s->fresh_from_ticks = (int64_t)t.tv_sec * hz + t.tv_nsec / (1000000000 / hz);
}

static void cpus_open(monitor_sources *s, const o3_profile *profile)
{
    int count = 0;
    for (int cpu = 0; cpu < CPUS_MAX; cpu++) {
        if (!o3_cpu_list_has(profile->cpu_list, cpu))
            continue;
        s->cpu_bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
        count++;
    }
    s->all_cpus = !count || count >= profile->cpus_online;
    s->cpus = s->all_cpus ? profile->cpus_online : count;
}

static void group_open(monitor_sources *s, const o3_profile *profile)
{
    const o3_cgroup *group = profile->cgroup_count ? &profile->cgroups[0] : NULL;
    bool v2 = group && group->version == 2;
    if (group && group->version > 0) {
        source_open(&s->group_stat, s->root, group->dir, "memory.stat");
        source_open(&s->group_events, s->root, group->dir, v2 ? "memory.events" : "memory.oom_control");
    }
    /* The engine's own waits say more than the host's, where one busy neighbour is enough to hide a "full" stall. */
    if (v2)
        source_open(&s->psi, s->root, group->dir, "memory.pressure");
    if (!v2 || !source_read(&s->psi, s->text, sizeof(s->text))) {
        source_close(&s->psi);
        source_open(&s->psi, s->root, "/proc/pressure", "memory");
    }
}

static void gpus_open(monitor_sources *s, const o3_profile *profile)
{
    s->gpus = profile->gpu_count ? gpu_sources_open(s->root, profile) : NULL;
    for (int i = 0; i < O3_POOLS_MAX; i++)
        s->pool_gpu[i] = -1;
    for (int i = 0; i < O3_GPUS_MAX; i++)
        s->last.gpus[i].values = GPU_READING_UNKNOWN;
    for (int i = 0; i < profile->gpu_count; i++)
        if (o3_pool_is_device(profile, profile->gpus[i].pool))
            s->pool_gpu[profile->gpus[i].pool] = i;
}

monitor_sources *sources_open(const char *root, const o3_profile *profile)
{
    monitor_sources *s = o3_alloc(1, sizeof(*s));
    O3_COPY(s->root, root && strcmp(root, "/") ? root : "");
    s->psi.fd = s->group_stat.fd = s->group_events.fd = -1;
    for (int i = 0; i < PROCESSES; i++)
        s->processes[i] = (process_source){.pid = -1, .stat_fd = -1, .status_fd = -1, .ticks = -1};
    s->last.temperature_c = NAN;
    s->last.swap_in_pages = s->last.refault_file_pages = s->last.oom_kills = -1;
    s->pool_count = profile->pool_count < O3_POOLS_MAX ? profile->pool_count : O3_POOLS_MAX;
    for (int i = 0; i < s->pool_count; i++)
        pool_open(s, &s->pools[i], profile, &profile->pools[i]);
    gpus_open(s, profile);
    cpus_open(s, profile);
    source_open(&s->stat, s->root, "/proc", "stat");
    source_open(&s->vmstat, s->root, "/proc", "vmstat");
    group_open(s, profile);
    s->sensor_count = sensors_open(s->root, s->sensors);
    cpu_source_open(&s->cpu, s->root);
    s->last.cpu = (cpu_reading){.psi_some_us = -1, .throttle_count = -1, .energy_uj = -1};
    s->processes[SELF].pid = 0;
    s->processes[SELF].stat_fd = proc_open(s, -1, "stat");
    sources_mark(s);
    return s;
}

void sources_close(monitor_sources *s)
{
    if (!s)
        return;
    source_file *const singles[] = {&s->stat, &s->psi, &s->vmstat, &s->group_stat, &s->group_events};
    for (int i = 0; i < O3_COUNT(singles); i++)
        source_close(singles[i]);
    cpu_source_close(&s->cpu);
    gpu_sources_close(s->gpus);
    for (int i = 0; i < s->pool_count; i++) {
        source_close(&s->pools[i].stat);
        source_close(&s->pools[i].kernel);
        source_close(&s->pools[i].usage);
    }
    for (int i = 0; i < s->sensor_count; i++)
        source_close(&s->sensors[i]);
    for (int i = 0; i < PROCESSES; i++)
        process_close(&s->processes[i]);
    free(s);
}

int sources_cpus(const monitor_sources *s)
{
    return s->cpus;
}

double sources_cost_s(monitor_sources *s)
{
    return gpu_sources_cost_s(s->gpus);
}
