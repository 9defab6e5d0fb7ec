/* SPDX-License-Identifier: Apache-2.0 */
/* Looks from the sampler's readings: counters become rates. */
#include "base/base.h"
#include "monitor/sampler.h"
#include "o3/monitor.h"

#define BUSY_WINDOW_NS (300 * O3_NS_PER_MS) /* CPU time is told in ticks of 10 ms */
#define CANCEL_EVERY_NS (50 * O3_NS_PER_MS) /* a cancel token is looked at this often while waiting */
#define HISTORY 64

typedef struct busy_point {
    int64_t at_ns, busy_ticks, all_ticks;
} busy_point;

struct o3_watch {
    o3_monitor *monitor;
    const o3_profile *profile;
    int64_t next;                  /* tick */
    int64_t throttle_first;        /* -1 unknown */
    cpu_reading cpu;               /* the last one that rates were made of; at_ns 0: none */
    double power_w, psi_cpu_some_frac;
    monitor_reading before;
    int history_count;             /* ever added */
    busy_point history[HISTORY];
};

void o3_watch_close(o3_watch *watch)
{
    if (watch)
        monitor_stop(watch->monitor);
    free(watch);
}

void o3_watch_engine(o3_watch *watch, int server_pid, int runner_pid)
{
    monitor_watch(watch->monitor, server_pid, runner_pid);
}

double o3_watch_cost_s(o3_watch *watch)
{
    return monitor_cost_s(watch->monitor);
}

/* The share of the time between two readings that a counter of microseconds grew by. */
static double share(int64_t now_us, int64_t then_us, int64_t elapsed_ns)
{
    if (now_us < 0 || then_us < 0 || elapsed_ns <= 0)
        return NAN;
    return fmin(fmax((double)(now_us - then_us) * 1000 / (double)elapsed_ns, 0), 1);
}

/* Over the shortest time of at least BUSY_WINDOW_NS that the history has. */
static double busy(o3_watch *w, const monitor_reading *r)
{
    double frac = NAN;
    int count = w->history_count < HISTORY ? w->history_count : HISTORY;
    for (int back = 1; back <= count; back++) {
        const busy_point *then = &w->history[(w->history_count - back) % HISTORY];
        if (r->at_ns - then->at_ns < BUSY_WINDOW_NS)
            continue;
        int64_t all = r->all_ticks - then->all_ticks;
        if (r->all_ticks >= 0 && then->all_ticks >= 0 && all > 0)
            frac = fmin(fmax((double)(r->busy_ticks - then->busy_ticks) / (double)all, 0), 1);
        break;
    }
    w->history[w->history_count++ % HISTORY] = (busy_point){r->at_ns, r->busy_ticks, r->all_ticks};
    return frac;
}

/* These are read more seldom than the rest: rates are those between their last two readings. */
static void take_cpu(o3_watch *w, const cpu_reading *now)
{
    int64_t elapsed_ns = now->at_ns - w->cpu.at_ns;
    if (!elapsed_ns)
        return;
    bool energy = w->cpu.at_ns && now->energy_uj >= 0 && w->cpu.energy_uj >= 0;
    w->power_w = energy ? (double)(now->energy_uj - w->cpu.energy_uj) * 1e3 / (double)elapsed_ns : (double)NAN;
    w->psi_cpu_some_frac = w->cpu.at_ns ? share(now->psi_some_us, w->cpu.psi_some_us, elapsed_ns) : (double)NAN;
    w->cpu = *now;
}

o3_status o3_watch_open(o3_watch **ret_watch, const o3_profile *profile, const char *root, int interval_ms, o3_err *err)
{
    o3_monitor_options options = O3_MONITOR_OPTIONS_DEFAULT;
    o3_watch *watch = o3_alloc(1, sizeof(*watch));
    options.root = root;
    options.interval_ms = interval_ms;
    watch->profile = profile;
    watch->power_w = watch->psi_cpu_some_frac = NAN;
    o3_status status = monitor_start(&watch->monitor, profile, &options, NULL, err);
    if (status) {
        free(watch);
        return status;
    }
    sampler_first(watch->monitor, &watch->before);
    busy(watch, &watch->before);
    take_cpu(watch, &watch->before.cpu);
    watch->throttle_first = watch->before.cpu.throttle_count;
    *ret_watch = watch;
    return O3_OK;
}

/* A chip without a sensor at its edge shows the one that is nearest to its limit. */
static o3_gpu_sight gpu_sight(const gpu_sample *gpu, int64_t now_ns)
{
    const gpu_reading *v = &gpu->values;
    bool alarm = v->throttle > 0 && v->throttle & (GPU_THROTTLE_THERMAL | GPU_THROTTLE_HARDWARE);
    return (o3_gpu_sight){.busy_frac = v->busy_frac,
                          .temperature_c = isnan(v->temperature_c) ? v->hot_c : v->temperature_c,
                          .power_w = v->power_w,
                          .throttled = v->throttle < 0 ? -1 : alarm,
                          .age_s = gpu->slow_at_ns ? (double)(now_ns - gpu->slow_at_ns) / (double)O3_NS_PER_S : (double)NAN};
}

static void describe(o3_watch *w, const monitor_reading *r, o3_sight *s)
{
    const monitor_reading *b = &w->before;
    int64_t elapsed_ns = r->at_ns - b->at_ns;
    s->t_ns = r->at_ns;
    for (int i = 0; i < O3_POOLS_MAX; i++)
        s->pool_bytes[i] = i < w->profile->pool_count ? r->pool_bytes[i] : -1;
    s->busy_frac = busy(w, r);
    take_cpu(w, &r->cpu);
    s->psi_cpu_some_frac = w->psi_cpu_some_frac;
    s->psi_memory_some_frac = share(r->psi_some_us, b->psi_some_us, elapsed_ns);
    s->psi_memory_full_frac = share(r->psi_full_us, b->psi_full_us, elapsed_ns);
    s->temperature_c = r->temperature_c;
    s->power_w = w->power_w;
    bool counted = r->cpu.throttle_count >= 0 && w->throttle_first >= 0;
    s->throttle_events = counted ? r->cpu.throttle_count - w->throttle_first : -1;
    s->rss_anon_bytes = r->runner_anon_bytes;
    s->rss_file_bytes = r->runner_file_bytes;
    for (int i = 0; i < O3_GPUS_MAX; i++)
        s->gpus[i] = gpu_sight(&r->gpus[i], r->at_ns);
}

bool o3_watch_next(o3_watch *watch, const o3_cancel *cancel, int64_t until_ns, o3_sight *ret_sight)
{
    monitor_reading reading;
    int64_t tick = -1;
    while (tick < 0) {
        int64_t now_ns = o3_now_ns();
        if (o3_cancel_get(cancel) != O3_CANCEL_NONE || now_ns >= until_ns)
            return false;
        int64_t wait_ns = now_ns + CANCEL_EVERY_NS;
        tick = sampler_take(watch->monitor, watch->next, wait_ns < until_ns ? wait_ns : until_ns, &reading);
    }
    describe(watch, &reading, ret_sight);
    ret_sight->tick = tick;
    watch->next = tick + 1;
    watch->before = reading;
    return true;
}
