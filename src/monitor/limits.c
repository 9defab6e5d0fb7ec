/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"
#include "monitor/limits.h"

#define RING_STEP_NS (40 * O3_NS_PER_MS) /* closer readings are not kept: 64 places then always span a second */
#define RING_FULL_NS (900 * O3_NS_PER_MS)
#define SLOW_STALE_S 1.0 /* sensors are asked every half second: two of those more than a pool has */

void limits_init(monitor_limits *limits, const o3_profile *profile, const o3_monitor_options *options, int64_t now_ns)
{
    *limits = (monitor_limits){.profile = profile, .options = *options, .pressure_from_ns = INT64_MAX};
    /* One reading that failed is never a lost sensor. */
    limits->options.stale_s = fmax(options->stale_s, 2.5e-3 * options->interval_ms);
    for (int i = 0; i < O3_POOLS_MAX; i++)
        limits->pool_seen_ns[i] = now_ns;
}

void limits_rearm(monitor_limits *limits, int64_t now_ns)
{
    limits->temperature_count = 0;
    for (int i = 0; i < O3_GPUS_MAX; i++)
        limits->gpus[i].temperature_count = limits->gpus[i].margin_count = 0;
    if (limits->pressure_from_ns != INT64_MAX)
        limits->pressure_from_ns = now_ns;
}

void limits_runner(monitor_limits *limits, bool there, int64_t now_ns)
{
    limits->pressure_from_ns = there ? now_ns : INT64_MAX;
}

/* Whose memory a pool is; -1: the host's. */
static int gpu_of(const monitor_limits *limits, int pool)
{
    for (int i = 0; i < limits->profile->gpu_count; i++)
        if (limits->profile->gpus[i].pool == pool && o3_pool_is_device(limits->profile, pool))
            return i;
    return -1;
}

static double every_s(const monitor_limits *limits, int gpu)
{
    return gpu < 0 ? 0 : (double)limits->last.gpus[gpu].every_ns / (double)O3_NS_PER_S;
}

/* A GPU's readings come when its driver gives them: each counts once. A sleeping one is as good as seen. */
static void heat_add(gpu_heat *heat, const gpu_sample *gpu, const gpu_sample *before)
{
    if (!gpu->slow_at_ns || gpu->slow_at_ns == before->slow_at_ns)
        return;
    if (!isnan(gpu->values.temperature_c) || !isnan(gpu->values.margin_c) || (gpu->values.asleep && heat->seen_ns))
        heat->seen_ns = gpu->slow_at_ns;
    if (!isnan(gpu->values.temperature_c))
        heat->temperatures[heat->temperature_count++ % LIMITS_TEMPERATURES] = gpu->values.temperature_c;
    if (!isnan(gpu->values.margin_c))
        heat->margins[heat->margin_count++ % LIMITS_TEMPERATURES] = gpu->values.margin_c;
}

void limits_add(monitor_limits *limits, const monitor_reading *reading, int what)
{
    for (int i = 0; i < limits->profile->pool_count; i++)
        if (reading->pool_bytes[i] >= 0)
            limits->pool_seen_ns[i] = gpu_of(limits, i) < 0 ? reading->at_ns : reading->gpus[gpu_of(limits, i)].at_ns;
    for (int i = 0; i < limits->profile->gpu_count; i++)
        heat_add(&limits->gpus[i], &reading->gpus[i], &limits->last.gpus[i]);
    if ((what & MONITOR_READ_TEMPERATURE) && !isnan(reading->temperature_c)) {
        limits->temperature_seen_ns = reading->at_ns;
        limits->temperatures[limits->temperature_count++ % LIMITS_TEMPERATURES] = reading->temperature_c;
    }
    int newest = (limits->ring_count + LIMITS_RING - 1) % LIMITS_RING;
    if (!limits->ring_count || reading->at_ns - limits->ring[newest].at_ns >= RING_STEP_NS) {
        int at = limits->ring_count++ % LIMITS_RING;
        limits->ring[at].at_ns = reading->at_ns;
        limits->ring[at].busy_ticks = reading->busy_ticks;
        limits->ring[at].all_ticks = reading->all_ticks;
        limits->ring[at].psi_full_us = reading->psi_full_us;
    }
    limits->last = *reading;
}

/* The youngest entry that is a second old; -1 if there is none yet. */
static int second_ago(const monitor_limits *limits)
{
    int count = limits->ring_count < LIMITS_RING ? limits->ring_count : LIMITS_RING;
    for (int back = 1; back <= count; back++) {
        int at = (limits->ring_count - back) % LIMITS_RING;
        if (limits->last.at_ns - limits->ring[at].at_ns >= RING_FULL_NS)
            return at;
    }
    return -1;
}

double limits_busy_frac(const monitor_limits *limits, int64_t from_ns)
{
    int at = second_ago(limits);
    if (at < 0 || limits->ring[at].at_ns < from_ns)
        return NAN;
    if (limits->last.all_ticks < 0 || limits->ring[at].all_ticks < 0)
        return NAN;
    int64_t busy = limits->last.busy_ticks - limits->ring[at].busy_ticks;
    int64_t all = limits->last.all_ticks - limits->ring[at].all_ticks;
    return all > 0 ? fmin(fmax((double)busy / (double)all, 0), 1) : NAN;
}

static double limit_bytes(const o3_pool *pool)
{
    return pool->total_bytes >= 0 ? (double)pool->total_bytes * pool->limit_frac : INFINITY;
}

static bool over_limit(const monitor_limits *limits, int i, char *dst, size_t dst_size)
{
    const o3_pool *pool = &limits->profile->pools[i];
    int64_t used = limits->last.pool_bytes[i];
    char used_text[32], total_text[32];
    /* One valid reading is enough: memory comes in jumps, and the next one may be the kernel's. */
    if (used < 0 || (double)used < limit_bytes(pool))
        return false;
    o3_fmt_bytes(used_text, sizeof(used_text), (double)used);
    o3_fmt_bytes(total_text, sizeof(total_text), (double)pool->total_bytes);
    o3_format(dst, dst_size, "%s at %s, %.0f %% of %s, over the limit of %.4g %%", pool->name, used_text,
              100 * (double)used / (double)pool->total_bytes, total_text, 100 * pool->limit_frac);
    return true;
}

/* Waits for memory. "full" is time in which everything that could run in the engine's cgroup (v1: on the host) stood
 * still for memory. It counts only when the whole second lies behind the moment the runner was named (or the monitor
 * armed again): while a model is loaded, pages are read and reclaimed by nature. Pages swapped in are marked in the
 * window and stop nothing by themselves: what was swapped out long ago may come back once without harm. */
static bool under_pressure(const monitor_limits *limits, char *dst, size_t dst_size)
{
    int at = second_ago(limits);
    if (at < 0 || limits->options.memory_psi_frac <= 0 || limits->ring[at].at_ns < limits->pressure_from_ns ||
        limits->last.psi_full_us < 0 || limits->ring[at].psi_full_us < 0)
        return false;
    double waited_us = (double)(limits->last.psi_full_us - limits->ring[at].psi_full_us);
    double frac = waited_us * 1000 / (double)(limits->last.at_ns - limits->ring[at].at_ns);
    if (frac <= limits->options.memory_psi_frac)
        return false;
    o3_format(dst, dst_size, "memory was waited for in %.0f %% of the last second, over the limit of %.4g %%",
              100 * fmin(frac, 1), 100 * limits->options.memory_psi_frac);
    return true;
}

/* NaN before there are three readings. */
static double median_of(const double t[LIMITS_TEMPERATURES], int count)
{
    return count < LIMITS_TEMPERATURES ? (double)NAN : fmax(fmin(t[0], t[1]), fmin(fmax(t[0], t[1]), t[2]));
}

static const char *gpu_name(const o3_gpu *gpu)
{
    return *gpu->pci ? gpu->pci : gpu->name;
}

static bool gpu_too_hot(const monitor_limits *limits, int i, char *dst, size_t dst_size)
{
    const gpu_heat *heat = &limits->gpus[i];
    const o3_gpu *gpu = &limits->profile->gpus[i];
    double celsius = median_of(heat->temperatures, heat->temperature_count);
    double margin = median_of(heat->margins, heat->margin_count);
    if (celsius >= limits->options.max_temperature_c) {
        o3_format(dst, dst_size, "GPU %s at %.0f °C (median of three readings), over the limit of %.4g °C",
                  gpu_name(gpu), celsius, limits->options.max_temperature_c);
        return true;
    }
    if (!(margin <= 0))
        return false;
    o3_format(dst, dst_size, "GPU %s is within five degrees of a limit of its own (a sensor at %.0f °C)",
              gpu_name(gpu), limits->last.gpus[i].values.hot_c);
    return true;
}

static bool too_hot(const monitor_limits *limits, char *dst, size_t dst_size)
{
    double median = median_of(limits->temperatures, limits->temperature_count);
    if (limits->options.max_temperature_c <= 0 || !(median >= limits->options.max_temperature_c))
        return false;
    o3_format(dst, dst_size, "CPU at %.0f °C (median of three readings), over the limit of %.4g °C", median,
              limits->options.max_temperature_c);
    return true;
}

/* Not known to be cool: `last` is shown where there are no three readings yet. */
static bool is_hot(const char *what, double median, double last, double below_c, char *dst, size_t dst_size)
{
    double now = isnan(median) ? last : median;
    if (median < below_c)
        return false;
    if (isnan(now))
        o3_format(dst, dst_size, "the temperature of %s is being read", what);
    else
        o3_format(dst, dst_size, "%s at %.0f °C, to be below %.4g °C", what, now, below_c);
    return true;
}

static bool gpu_is_hot(const monitor_limits *limits, int i, double below_c, char *dst, size_t dst_size)
{
    const gpu_heat *heat = &limits->gpus[i];
    const gpu_reading *last = &limits->last.gpus[i].values;
    double margin = median_of(heat->margins, heat->margin_count);
    char what[160];
    O3_FORMAT(what, "GPU %s", gpu_name(&limits->profile->gpus[i]));
    if (!heat->seen_ns || last->asleep)
        return false;
    bool own_limit_only = !heat->temperature_count && !isnan(margin);
    if (!own_limit_only && is_hot(what, median_of(heat->temperatures, heat->temperature_count), last->temperature_c,
                                  below_c, dst, dst_size))
        return true;
    if (!(margin < MONITOR_COOL_C))
        return false;
    o3_format(dst, dst_size, "%s has a sensor at %.0f °C, to be %.0f degrees cooler", what, last->hot_c,
              MONITOR_COOL_C - margin);
    return true;
}

bool limits_hot(const monitor_limits *limits, char *dst, size_t dst_size)
{
    double below_c = limits->options.max_temperature_c - MONITOR_COOL_C;
    if (limits->options.max_temperature_c <= 0)
        return false;
    for (int i = 0; i < limits->profile->gpu_count; i++)
        if (gpu_is_hot(limits, i, below_c, dst, dst_size))
            return true;
    return limits->temperature_seen_ns && is_hot("CPU", median_of(limits->temperatures, limits->temperature_count),
                                                 limits->last.temperature_c, below_c, dst, dst_size);
}

static double age_s(const monitor_limits *limits, int64_t seen_ns)
{
    return (double)(limits->last.at_ns - seen_ns) / (double)O3_NS_PER_S;
}

/* One whose use could not be read at the start is not watched; the profile's notes say so. */
static bool never_told(const monitor_limits *limits, int pool)
{
    return gpu_of(limits, pool) >= 0 && limits->profile->pools[pool].used_bytes < 0;
}

static o3_monitor_stop pool_lost(const monitor_limits *limits, int i, char *dst, size_t dst_size)
{
    const o3_pool *pool = &limits->profile->pools[i];
    double age = age_s(limits, limits->pool_seen_ns[i]);
    /* A pool of unknown size has no limit to be held against. */
    if (pool->total_bytes < 0 || never_told(limits, i))
        return O3_STOP_NONE;
    int gpu = gpu_of(limits, i);
    if (gpu >= 0 && limits->last.gpus[gpu].values.lost) {
        o3_format(dst, dst_size, "the driver has lost %s; the machine may have to be restarted", pool->name);
        return O3_STOP_STALE;
    }
    if (age <= fmax(limits->options.stale_s, 2.5 * every_s(limits, gpu))) /* one that is asked seldom is old later */
        return O3_STOP_NONE;
    if (!limits->last.pool_gone[i]) {
        o3_format(dst, dst_size, "%s could not be read for %.1f s, so its limit cannot be watched", pool->name, age);
        return O3_STOP_STALE;
    }
    if (limits->last.server_gone) {
        o3_format(dst, dst_size, "the server ended and %s with it; no limit was reached", pool->name);
        return O3_STOP_SERVER_GONE;
    }
    o3_format(dst, dst_size, "%s does not exist any more, so the limit of the server cannot be watched", pool->name);
    return O3_STOP_STALE;
}

static bool gpu_sensor_lost(const monitor_limits *limits, int i, char *dst, size_t dst_size)
{
    const gpu_heat *heat = &limits->gpus[i];
    double age = age_s(limits, heat->seen_ns);
    if (limits->options.max_temperature_c <= 0 || !heat->seen_ns ||
        age <= fmax(limits->options.stale_s, 2.5 * every_s(limits, i)) + SLOW_STALE_S)
        return false;
    o3_format(dst, dst_size, "the temperature of GPU %s could not be read for %.1f s, so it cannot be watched",
              limits->profile->gpus[i].pci, age);
    return true;
}

static bool sensor_lost(const monitor_limits *limits, char *dst, size_t dst_size)
{
    for (int i = 0; i < limits->profile->gpu_count; i++)
        if (gpu_sensor_lost(limits, i, dst, dst_size))
            return true;
    double age = age_s(limits, limits->temperature_seen_ns);
    if (limits->options.max_temperature_c <= 0 || !limits->temperature_seen_ns ||
        age <= limits->options.stale_s + SLOW_STALE_S)
        return false;
    o3_format(dst, dst_size, "the CPU's temperature could not be read for %.1f s, so it cannot be watched", age);
    return true;
}

o3_monitor_stop limits_check(const monitor_limits *limits, char *dst, size_t dst_size)
{
    for (int i = 0; i < limits->profile->pool_count; i++)
        if (over_limit(limits, i, dst, dst_size))
            return O3_STOP_LIMIT;
    if (under_pressure(limits, dst, dst_size))
        return O3_STOP_PRESSURE;
    if (too_hot(limits, dst, dst_size))
        return O3_STOP_TEMPERATURE;
    for (int i = 0; i < limits->profile->gpu_count && limits->options.max_temperature_c > 0; i++)
        if (gpu_too_hot(limits, i, dst, dst_size))
            return O3_STOP_TEMPERATURE;
    for (int i = 0; i < limits->profile->pool_count; i++) {
        o3_monitor_stop lost = pool_lost(limits, i, dst, dst_size);
        if (lost != O3_STOP_NONE)
            return lost;
    }
    return sensor_lost(limits, dst, dst_size) ? O3_STOP_STALE : O3_STOP_NONE;
}

bool limits_near(const monitor_limits *limits, const monitor_reading *before)
{
    double elapsed = (double)(limits->last.at_ns - before->at_ns);
    for (int i = 0; i < limits->profile->pool_count && elapsed > 0; i++) {
        double now = (double)limits->last.pool_bytes[i], then = (double)before->pool_bytes[i];
        double growth = (now - then) / elapsed * (double)limits->options.interval_ms * (double)O3_NS_PER_MS;
        if (now >= 0 && then >= 0 && growth > 0 && now + 2 * growth >= limit_bytes(&limits->profile->pools[i]))
            return true;
    }
    return false;
}
