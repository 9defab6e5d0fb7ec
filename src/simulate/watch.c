/* SPDX-License-Identifier: Apache-2.0 */
/* Time, memory and who looks at it. A pool's level moves in straight lines, so the moment of a reading that sees a limit
 * crossed, or of the kernel's killing, is computed and not stepped to. */
#include "simulate_impl.h"

#define TICK_S 0.1
#define NEAR_TICK_S 0.025     /* while a pool nears its limit; needs two readings to be noticed */
#define NOTICE_S 0.2
#define STOP_S 0.05           /* from the reading to the closed connection */

double sim_level(const sim_world *w, int pool)
{
    return (double)w->truth->profile->pools[pool].used_bytes + w->runner[pool];
}

static double limit_of(const o3_pool *pool)
{
    return (double)pool->total_bytes * pool->limit_frac;
}

/* As a real monitor tells it: what lies on a GPU that shares the host's memory is no part of the runner's process. */
static int64_t runner_of(const sim_world *w, int pool)
{
    const o3_profile *p = w->truth->profile;
    double bytes = w->runner[pool];
    for (int g = 0; g < p->gpu_count && !o3_pool_is_device(p, pool); g++)
        bytes -= p->gpus[g].unified && o3_memory_of(p, g) ? w->runner[p->gpus[g].pool] : 0;
    return (int64_t)bytes;
}

static void raise_peaks(sim_world *w)
{
    for (int i = 0; i < w->peaks.count; i++) {
        o3_peak *peak = &w->peaks.pools[i];
        if ((int64_t)sim_level(w, i) > peak->bytes) {
            peak->bytes = (int64_t)sim_level(w, i);
            peak->runner_bytes = runner_of(w, i);
        }
    }
}

/* A reading: what the sampler would do with the levels as they are. */
static void look(sim_world *w)
{
    const o3_profile *profile = w->truth->profile;
    raise_peaks(w);
    if (o3_cancel_get(w->cancel) != O3_CANCEL_NONE)
        return;
    for (int i = 0; i < profile->pool_count; i++) {
        const o3_pool *pool = &profile->pools[i];
        if (sim_level(w, i) < limit_of(pool))
            continue;
        O3_FORMAT(w->stop_text, "%s at %.0f MiB, %.0f %% of %.0f MiB, over the limit of %.4g %%", pool->name,
                  sim_level(w, i) / 1048576, 100 * sim_level(w, i) / (double)pool->total_bytes,
                  (double)pool->total_bytes / 1048576, 100 * pool->limit_frac);
        o3_cancel_set(w->cancel, O3_CANCEL_SAFETY);
        return;
    }
}

/* Is a pool over its limit, and since when? Whoever goes on although readings have long seen it breaks the rule. */
static void judge_level(sim_world *w)
{
    bool over = false;
    for (int i = 0; i < w->truth->profile->pool_count; i++)
        over = over || (w->runner[i] > 0 && sim_level(w, i) >= limit_of(&w->truth->profile->pools[i]));
    if (!over)
        w->over_since_ns = -1;
    else if (w->over_since_ns < 0)
        w->over_since_ns = w->now_ns;
    else if ((double)(w->now_ns - w->over_since_ns) > 2 * TICK_S * 1e9)
        w->limit_broken = true;
}

static void move(sim_world *w, double seconds, double total_s, const double *delta)
{
    w->now_ns += (int64_t)(seconds * 1e9);
    for (int i = 0; delta && total_s > 0 && i < w->truth->profile->pool_count; i++)
        w->runner[i] += delta[i] * seconds / total_s;
    judge_level(w);
    raise_peaks(w);
}

static double next_tick_s(const sim_world *w, double after_s, double tick_s)
{
    double now = (double)w->now_ns / 1e9;
    return ceil((now + after_s) / tick_s) * tick_s - now;
}

/* Seconds until a reading sees a limit crossed, and until the kernel kills; INFINITY = not within this stretch. */
static void crossings(const sim_world *w, double seconds, const double *delta, double *ret_seen_s, double *ret_kill_s)
{
    *ret_seen_s = *ret_kill_s = INFINITY;
    for (int i = 0; i < w->truth->profile->pool_count; i++) {
        const o3_pool *pool = &w->truth->profile->pools[i];
        double level = sim_level(w, i), grow = delta ? delta[i] : 0, limit = limit_of(pool);
        double hard = w->truth->hard_frac[i] * (double)pool->total_bytes;
        if (level + fmax(grow, 0) < limit)
            continue;
        double cross = level >= limit ? 0 : seconds * (limit - level) / grow;
        double tick = grow > 0 && cross > NOTICE_S ? NEAR_TICK_S : TICK_S;
        *ret_seen_s = fmin(*ret_seen_s, next_tick_s(w, cross, tick));
        if (!w->truth->hard_is_refusal[i] && level + grow > hard)
            *ret_kill_s = fmin(*ret_kill_s, fmax(0, seconds * (hard - level) / grow));
    }
}

bool sim_pass(sim_world *w, double seconds, const double *delta)
{
    double seen, kill;
    if (seconds <= 0)
        return true;
    judge_level(w);
    crossings(w, seconds, delta, &seen, &kill);
    double stop = fmax(seen, 0) + STOP_S;
    if (kill < fmin(stop, seconds)) {
        move(w, kill, seconds, delta);
        look(w);
        w->oom_kills++;
        w->was_killed = w->limit_broken = true;
        return false;
    }
    if (seen < seconds) {
        move(w, fmin(stop, seconds), seconds, delta);
        look(w);
        return false;
    }
    move(w, seconds, seconds, delta);
    return true;
}

static sim_world *world_of(o3_monitor *monitor)
{
    return ((struct sim_sensors *)monitor)->world;
}

static void op_stop(o3_monitor *monitor)
{
    (void)monitor;
}

static void op_watch(o3_monitor *monitor, int server_pid, int runner_pid)
{
    (void)server_pid;
    (void)runner_pid;
    look(world_of(monitor));
}

static void op_peaks_reset(o3_monitor *monitor)
{
    sim_world *w = world_of(monitor);
    w->peaks = (o3_peaks){.count = w->truth->profile->pool_count, .temperature_c = NAN, .cpu_frac = NAN};
    for (int i = 0; i < w->peaks.count; i++) {
        O3_COPY(w->peaks.pools[i].pool, w->truth->profile->pools[i].name);
        w->peaks.pools[i].bytes = -1;
    }
    look(w);
}

static void op_peaks(o3_monitor *monitor, o3_peaks *ret_peaks)
{
    look(world_of(monitor));
    *ret_peaks = world_of(monitor)->peaks;
}

static void op_mark(o3_monitor *monitor)
{
    sim_world *w = world_of(monitor);
    look(w);
    w->mark_ns = w->now_ns;
    w->mark_foreign_s = w->foreign_s;
    w->mark_oom_kills = w->oom_kills;
}

static void op_since_mark(o3_monitor *monitor, o3_window *ret_window)
{
    sim_world *w = world_of(monitor);
    double seconds = (double)(w->now_ns - w->mark_ns) / 1e9;
    look(w);
    *ret_window = (o3_window){.seconds = seconds, .cpu_busy_frac = NAN, .foreign_cpu_frac = NAN, .psi_memory_frac = NAN,
                              .swap_in_pages = -1, .refault_file_pages = -1,
                              .oom_kills = w->oom_kills - w->mark_oom_kills};
    if (seconds >= 0.3)
        ret_window->foreign_cpu_frac = (w->foreign_s - w->mark_foreign_s) / seconds;
}

static o3_monitor_stop op_stop_reason(o3_monitor *monitor, char *dst, size_t dst_size)
{
    o3_copy(dst, dst_size, world_of(monitor)->stop_text);
    return *dst ? O3_STOP_LIMIT : O3_STOP_NONE;
}

static void op_rearm(o3_monitor *monitor)
{
    world_of(monitor)->stop_text[0] = '\0';
    look(world_of(monitor));
}

static int64_t op_pool_bytes(o3_monitor *monitor, int pool)
{
    return (int64_t)sim_level(world_of(monitor), pool);
}

static int64_t op_ticks(o3_monitor *monitor)
{
    return world_of(monitor)->now_ns / (int64_t)(TICK_S * 1e9);
}

static double op_zero(o3_monitor *monitor)
{
    (void)monitor;
    return 0;
}

const monitor_ops sim_monitor_ops = {
    .stop = op_stop, .watch = op_watch, .peaks_reset = op_peaks_reset, .peaks = op_peaks, .mark = op_mark,
    .since_mark = op_since_mark, .stop_reason = op_stop_reason, .rearm = op_rearm, .pool_bytes = op_pool_bytes,
    .ticks = op_ticks, .age_s = op_zero, .cost_s = op_zero,
};
