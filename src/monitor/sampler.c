/* SPDX-License-Identifier: Apache-2.0 */
/* The thread and what others ask of it. Two locks: `io` is held while files are read, by whoever reads; `lock` only
 * for copying. The reason and the age of the last reading can be had even while a read hangs in the kernel; peaks and
 * marks look themselves and wait. `io` comes first. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "monitor/limits.h"
#include "monitor/sampler.h"

#define SLOW_NS (500 * O3_NS_PER_MS)
#define NEAR_PARTS 4            /* of an interval, while a pool nears its limit */
#define NEAR_HOLD_NS O3_NS_PER_S /* growth comes in bursts: stay close for a while */
#define RATE_WINDOW_S 0.3       /* CPU time is told in ticks of 10 ms */

typedef struct sampler {
    o3_monitor base;
    pthread_t thread;
    pthread_mutex_t io, lock;
    pthread_cond_t wake, ticked;
    int64_t interval_ns;
    o3_cancel *cancel;
    const o3_profile *profile;

    /* under io */
    monitor_sources *sources;
    monitor_reading mark;
    bool marked;
    int runner_pid;
    int64_t watched_ns;               /* since then the same processes are the engine's */

    /* under lock */
    monitor_limits limits;
    o3_peaks peaks;
    o3_monitor_stop stop;
    char reason[O3_TEXT_MAX];
    int64_t ticks, near_until_ns, peaks_from_ns;
    int64_t rest_bytes[O3_POOLS_MAX]; /* the least use of a GPU's memory while no runner was watched; -1 not known */
    int64_t slowest_every_ns[O3_GPUS_MAX]; /* how seldom a GPU had to be asked */
    int gpu_throttle;                 /* seen since the mark */
    monitor_reading first, kept[SAMPLER_KEPT]; /* kept: of the last ticks, by their number */
    bool stopping;
} sampler;

static void peaks_clear(sampler *m)
{
    m->peaks_from_ns = o3_now_ns();
    m->peaks = (o3_peaks){.count = m->profile->pool_count, .temperature_c = NAN, .cpu_frac = NAN};
    for (int i = 0; i < m->peaks.count; i++) {
        O3_COPY(m->peaks.pools[i].pool, m->profile->pools[i].name);
        m->peaks.pools[i].bytes = m->peaks.pools[i].runner_bytes = -1;
    }
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Of a GPU's memory: what its driver says of the process, else what it grew by since there was none. */
static int64_t runner_bytes_of(sampler *m, const monitor_reading *reading, int pool)
{
    int64_t now = reading->pool_bytes[pool], *rest = &m->rest_bytes[pool];
    if (!o3_pool_is_device(m->profile, pool))
        return reading->runner_bytes;
    for (int i = 0; i < m->profile->gpu_count; i++)
        if (m->profile->gpus[i].pool == pool && reading->gpus[i].values.runner_bytes >= 0)
            return reading->gpus[i].values.runner_bytes;
    if (m->runner_pid > 0)
        return now >= 0 && *rest >= 0 ? larger(now - *rest, 0) : -1;
    if (now >= 0 && (*rest < 0 || now < *rest))
        *rest = now;
    return -1;
}

static void peaks_add(sampler *m, const monitor_reading *reading)
{
    for (int i = 0; i < m->peaks.count; i++) {
        m->peaks.pools[i].bytes = larger(m->peaks.pools[i].bytes, reading->pool_bytes[i]);
        m->peaks.pools[i].runner_bytes = larger(m->peaks.pools[i].runner_bytes, runner_bytes_of(m, reading, i));
    }
    /* Of a number and a NaN, fmax takes the number. */
    m->peaks.temperature_c = fmax(m->peaks.temperature_c, reading->temperature_c);
    for (int i = 0; i < m->profile->gpu_count; i++) {
        m->peaks.temperature_c = fmax(m->peaks.temperature_c, reading->gpus[i].values.temperature_c);
        m->slowest_every_ns[i] = larger(m->slowest_every_ns[i], reading->gpus[i].every_ns);
        m->gpu_throttle |= reading->gpus[i].values.throttle > 0 ? reading->gpus[i].values.throttle : 0;
    }
    m->peaks.cpu_frac = fmax(m->peaks.cpu_frac, limits_busy_frac(&m->limits, m->peaks_from_ns));
}

/* Takes a reading and acts on it. io is held. */
static void look(sampler *m, int what, monitor_reading *ret_reading)
{
    sources_read(m->sources, what, ret_reading);
    pthread_mutex_lock(&m->lock);
    const monitor_reading before = m->limits.last;
    limits_add(&m->limits, ret_reading, what);
    peaks_add(m, ret_reading);
    if (before.at_ns && limits_near(&m->limits, &before))
        m->near_until_ns = ret_reading->at_ns + NEAR_HOLD_NS;
    if (m->stop == O3_STOP_NONE) {
        m->stop = limits_check(&m->limits, m->reason, sizeof(m->reason));
        if (m->stop != O3_STOP_NONE)
            o3_cancel_set(m->cancel, O3_CANCEL_SAFETY);
    }
    pthread_mutex_unlock(&m->lock);
}

static void look_for(sampler *m, int what)
{
    monitor_reading reading;
    pthread_mutex_lock(&m->io);
    look(m, what, &reading);
    pthread_mutex_unlock(&m->io);
}

/* Waits until the deadline or until monitor_stop; the lock is held. A condition variable with an absolute deadline on
 * the monotonic clock instead of clock_nanosleep: stopping does not have to wait for the next tick. */
static void wait_until(sampler *m, int64_t deadline_ns)
{
    struct timespec t = {.tv_sec = (time_t)(deadline_ns / O3_NS_PER_S), .tv_nsec = (long)(deadline_ns % O3_NS_PER_S)};
    while (!m->stopping && pthread_cond_timedwait(&m->wake, &m->lock, &t) != ETIMEDOUT)
        ;
}

static void *run(void *arg)
{
    sampler *m = arg;
    monitor_reading reading;
    int64_t next_ns = o3_now_ns() + m->interval_ns, slow_ns = next_ns;
    pthread_mutex_lock(&m->lock);
    for (;;) {
        int64_t near_ns = o3_now_ns() + m->interval_ns / NEAR_PARTS;
        wait_until(m, m->near_until_ns >= near_ns && near_ns < next_ns ? near_ns : next_ns);
        if (m->stopping)
            break;
        pthread_mutex_unlock(&m->lock);

        int64_t now_ns = o3_now_ns();
        bool slow = now_ns >= slow_ns;
        pthread_mutex_lock(&m->io);
        look(m, slow ? MONITOR_READ_TEMPERATURE : 0, &reading); /* counters are read at the ends of windows */
        pthread_mutex_unlock(&m->io);
        if (slow)
            slow_ns = now_ns + SLOW_NS - m->interval_ns / 2;
        /* Ticks that were missed are not made up for. */
        for (now_ns = o3_now_ns(); next_ns <= now_ns;)
            next_ns += (1 + (now_ns - next_ns) / m->interval_ns) * m->interval_ns;

        pthread_mutex_lock(&m->lock);
        m->kept[m->ticks++ % SAMPLER_KEPT] = reading;
        pthread_mutex_unlock(&m->lock);
        pthread_cond_broadcast(&m->ticked); /* who wakes finds the lock free */
        pthread_mutex_lock(&m->lock);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

static void dispose(sampler *m)
{
    sources_close(m->sources);
    pthread_cond_destroy(&m->wake);
    pthread_cond_destroy(&m->ticked);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->io);
    free(m);
}

static void sampler_stop(o3_monitor *monitor)
{
    sampler *m = (sampler *)monitor;
    pthread_mutex_lock(&m->lock);
    m->stopping = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    dispose(m);
}

static void sampler_watch(o3_monitor *monitor, int server_pid, int runner_pid)
{
    sampler *m = (sampler *)monitor;
    monitor_reading reading;
    pthread_mutex_lock(&m->io);
    sources_watch(m->sources, server_pid, runner_pid);
    if (runner_pid != m->runner_pid) {
        pthread_mutex_lock(&m->lock);
        limits_runner(&m->limits, runner_pid > 0, o3_now_ns());
        for (int i = 0; i < O3_POOLS_MAX && runner_pid <= 0; i++)
            m->rest_bytes[i] = -1; /* found anew: the last runner is going */
        m->runner_pid = runner_pid;
        pthread_mutex_unlock(&m->lock);
    }
    look(m, 0, &reading);
    m->watched_ns = reading.at_ns;
    pthread_mutex_unlock(&m->io);
}

static void sampler_peaks_reset(o3_monitor *monitor)
{
    sampler *m = (sampler *)monitor;
    monitor_reading reading;
    pthread_mutex_lock(&m->io);
    pthread_mutex_lock(&m->lock);
    peaks_clear(m);
    pthread_mutex_unlock(&m->lock);
    look(m, 0, &reading);
    pthread_mutex_unlock(&m->io);
}

static void sampler_peaks(o3_monitor *monitor, o3_peaks *ret_peaks)
{
    sampler *m = (sampler *)monitor;
    look_for(m, 0);
    pthread_mutex_lock(&m->lock);
    *ret_peaks = m->peaks;
    pthread_mutex_unlock(&m->lock);
}

static void sampler_mark(o3_monitor *monitor)
{
    sampler *m = (sampler *)monitor;
    pthread_mutex_lock(&m->io);
    sources_mark(m->sources);
    pthread_mutex_lock(&m->lock);
    m->gpu_throttle = 0;
    pthread_mutex_unlock(&m->lock);
    look(m, MONITOR_READ_COUNTERS, &m->mark);
    m->marked = true;
    pthread_mutex_unlock(&m->io);
}

static int64_t difference(int64_t now, int64_t then)
{
    return now < 0 || then < 0 ? -1 : now > then ? now - then : 0;
}

static void window_cpu(const sampler *m, const monitor_reading *then, const monitor_reading *now, o3_window *window)
{
    int64_t busy = difference(now->busy_ticks, then->busy_ticks);
    int64_t all = difference(now->all_ticks, then->all_ticks);
    int cpus = sources_cpus(m->sources);
    double seconds = (double)(now->times_at_ns - then->times_at_ns) / (double)O3_NS_PER_S;
    if (busy < 0 || seconds < RATE_WINDOW_S || (cpus < 1 && all <= 0))
        return;
    /* CPUs x time where both are known: the kernel's sum of all columns is coarser on sleeping CPUs. */
    double possible = cpus > 0 ? cpus * seconds * (double)sysconf(_SC_CLK_TCK) : (double)all;
    double engine = (double)(now->engine_ticks - then->engine_ticks);
    window->cpu_busy_frac = fmin((double)busy / possible, 1);
    if (now->engine_known)
        window->foreign_cpu_frac = fmin(fmax(((double)busy - engine) / possible, 0), 1);
}

static void sampler_since_mark(o3_monitor *monitor, o3_window *ret_window)
{
    sampler *m = (sampler *)monitor;
    monitor_reading now;
    *ret_window = (o3_window){.seconds = NAN, .cpu_busy_frac = NAN, .foreign_cpu_frac = NAN, .psi_memory_frac = NAN,
                              .swap_in_pages = -1, .refault_file_pages = -1, .oom_kills = -1};
    pthread_mutex_lock(&m->io);
    look(m, MONITOR_READ_COUNTERS, &now);
    if (m->marked) {
        ret_window->seconds = (double)(now.at_ns - m->mark.at_ns) / (double)O3_NS_PER_S;
        window_cpu(m, &m->mark, &now, ret_window);
        int64_t waited_us = difference(now.psi_full_us, m->mark.psi_full_us);
        if (waited_us >= 0 && ret_window->seconds >= RATE_WINDOW_S)
            ret_window->psi_memory_frac = fmin((double)waited_us / 1e6 / ret_window->seconds, 1);
        ret_window->swap_in_pages = difference(now.swap_in_pages, m->mark.swap_in_pages);
        ret_window->refault_file_pages = difference(now.refault_file_pages, m->mark.refault_file_pages);
        ret_window->gpu_throttled = m->gpu_throttle & (GPU_THROTTLE_THERMAL | GPU_THROTTLE_HARDWARE);
        ret_window->oom_kills = difference(now.oom_kills, m->mark.oom_kills);
    }
    pthread_mutex_unlock(&m->io);
}

/* From the thread's own readings: whoever asks did not know beforehand that it would. */
static double sampler_foreign(o3_monitor *monitor, int64_t since_ns)
{
    sampler *m = (sampler *)monitor;
    monitor_reading now, then = {.at_ns = 0};
    o3_window window = {.foreign_cpu_frac = NAN};
    pthread_mutex_lock(&m->io);
    look(m, MONITOR_READ_COUNTERS, &now);
    int64_t latest_ns = now.at_ns - (int64_t)(RATE_WINDOW_S * (double)O3_NS_PER_S);
    pthread_mutex_lock(&m->lock);
    int64_t oldest = m->ticks > SAMPLER_KEPT ? m->ticks - SAMPLER_KEPT : 0;
    for (int64_t tick = m->ticks; tick-- > oldest && (!then.at_ns || then.at_ns > since_ns);) {
        const monitor_reading *kept = &m->kept[tick % SAMPLER_KEPT];
        if (kept->at_ns <= latest_ns && kept->at_ns >= m->watched_ns)
            then = *kept;
    }
    pthread_mutex_unlock(&m->lock);
    if (then.at_ns)
        window_cpu(m, &then, &now, &window);
    pthread_mutex_unlock(&m->io);
    return window.foreign_cpu_frac;
}

static o3_monitor_stop sampler_stop_reason(o3_monitor *monitor, char *dst, size_t dst_size)
{
    sampler *m = (sampler *)monitor;
    pthread_mutex_lock(&m->lock);
    o3_monitor_stop stop = m->stop;
    if (dst_size)
        o3_copy(dst, dst_size, m->reason);
    pthread_mutex_unlock(&m->lock);
    return stop;
}

static void sampler_rearm(o3_monitor *monitor)
{
    sampler *m = (sampler *)monitor;
    pthread_mutex_lock(&m->lock);
    m->stop = O3_STOP_NONE;
    m->reason[0] = '\0';
    limits_rearm(&m->limits, o3_now_ns());
    pthread_mutex_unlock(&m->lock);
}

static bool sampler_hot(o3_monitor *monitor, char *dst, size_t dst_size)
{
    sampler *m = (sampler *)monitor;
    pthread_mutex_lock(&m->lock);
    bool hot = limits_hot(&m->limits, dst, dst_size);
    pthread_mutex_unlock(&m->lock);
    return hot;
}

static int64_t sampler_pool_bytes(o3_monitor *monitor, int pool)
{
    sampler *m = (sampler *)monitor;
    pthread_mutex_lock(&m->lock);
    int64_t bytes = pool >= 0 && pool < m->profile->pool_count ? m->limits.last.pool_bytes[pool] : -1;
    pthread_mutex_unlock(&m->lock);
    return bytes;
}

static int64_t sampler_ticks(o3_monitor *monitor)
{
    sampler *m = (sampler *)monitor;
    pthread_mutex_lock(&m->lock);
    int64_t ticks = m->ticks;
    pthread_mutex_unlock(&m->lock);
    return ticks;
}

int64_t sampler_take(o3_monitor *monitor, int64_t tick, int64_t until_ns, monitor_reading *ret_reading)
{
    sampler *m = (sampler *)monitor;
    struct timespec t = {.tv_sec = (time_t)(until_ns / O3_NS_PER_S), .tv_nsec = (long)(until_ns % O3_NS_PER_S)};
    pthread_mutex_lock(&m->lock);
    while (m->ticks <= tick && pthread_cond_timedwait(&m->ticked, &m->lock, &t) != ETIMEDOUT)
        ;
    int64_t oldest = m->ticks > SAMPLER_KEPT ? m->ticks - SAMPLER_KEPT : 0;
    int64_t taken = tick >= m->ticks ? -1 : tick < oldest ? oldest : tick;
    if (taken >= 0)
        *ret_reading = m->kept[taken % SAMPLER_KEPT];
    pthread_mutex_unlock(&m->lock);
    return taken;
}

void sampler_first(o3_monitor *monitor, monitor_reading *ret_reading)
{
    *ret_reading = ((sampler *)monitor)->first;
}

static double sampler_age_s(o3_monitor *monitor)
{
    sampler *m = (sampler *)monitor;
    pthread_mutex_lock(&m->lock);
    int64_t at_ns = m->limits.last.at_ns;
    pthread_mutex_unlock(&m->lock);
    return (double)(o3_now_ns() - at_ns) / (double)O3_NS_PER_S;
}

static double sampler_cost_s(o3_monitor *monitor)
{
    sampler *m = (sampler *)monitor;
    struct timespec t = {0};
    clockid_t clock;
    if (pthread_getcpuclockid(m->thread, &clock) || clock_gettime(clock, &t))
        return NAN;
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9 + sources_cost_s(m->sources);
}

static void sampler_notes(o3_monitor *monitor, o3_notes *notes)
{
    sampler *m = (sampler *)monitor;
    int64_t every_ns[O3_GPUS_MAX];
    pthread_mutex_lock(&m->lock);
    memcpy(every_ns, m->slowest_every_ns, sizeof(every_ns));
    pthread_mutex_unlock(&m->lock);
    for (int i = 0; i < m->profile->gpu_count; i++)
        if (every_ns[i] > m->interval_ns)
            o3_note(notes, "%s answers slowly for GPU %s: its memory was at times read every %.1f s only",
                    m->profile->gpus[i].source, m->profile->gpus[i].pci, (double)every_ns[i] / (double)O3_NS_PER_S);
}

static const monitor_ops sampler_ops = {
    .stop = sampler_stop,
    .watch = sampler_watch,
    .peaks_reset = sampler_peaks_reset,
    .peaks = sampler_peaks,
    .mark = sampler_mark,
    .since_mark = sampler_since_mark,
    .foreign = sampler_foreign,
    .stop_reason = sampler_stop_reason,
    .rearm = sampler_rearm,
    .pool_bytes = sampler_pool_bytes,
    .ticks = sampler_ticks,
    .age_s = sampler_age_s,
    .cost_s = sampler_cost_s,
    .notes = sampler_notes,
    .hot = sampler_hot,
};

static sampler *create(const o3_profile *profile, const o3_monitor_options *options, o3_cancel *cancel)
{
    sampler *m = o3_alloc(1, sizeof(*m));
    pthread_condattr_t attr;
    m->base.ops = &sampler_ops;
    m->profile = profile;
    m->cancel = cancel;
    m->interval_ns = options->interval_ms * O3_NS_PER_MS;
    m->runner_pid = -1;
    for (int i = 0; i < O3_POOLS_MAX; i++)
        m->rest_bytes[i] = -1;
    m->sources = sources_open(options->root, profile);
    limits_init(&m->limits, profile, options, o3_now_ns());
    peaks_clear(m);
    pthread_mutex_init(&m->io, NULL);
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&m->wake, &attr);
    pthread_cond_init(&m->ticked, &attr);
    pthread_condattr_destroy(&attr);
    return m;
}

o3_status monitor_start(o3_monitor **ret_monitor, const o3_profile *profile, const o3_monitor_options *options,
                        o3_cancel *cancel, o3_err *err)
{
    sigset_t all, old;
    if (options->interval_ms < 10 || options->interval_ms > 10000)
        return o3_fail(err, O3_E_USAGE, "a sampling interval of %d ms is not possible: give 10 to 10000 ms",
                       options->interval_ms);
    sampler *m = create(profile, options, cancel);
    look_for(m, MONITOR_READ_TEMPERATURE);
    m->first = m->limits.last;
    /* Signals are the program's: none may be handled here. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&m->thread, NULL, run, m);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failed) {
        dispose(m);
        return o3_fail(err, O3_E_INTERNAL, "the monitor's thread cannot be started: %s", strerror(failed));
    }
    pthread_setname_np(m->thread, "o3-sampler");
    *ret_monitor = &m->base;
    return O3_OK;
}
