/* SPDX-License-Identifier: Apache-2.0 */
/* monitor, inside: judges readings against the limits. Pure: readings in, a verdict with its sentence out. */
#ifndef O3_MONITOR_LIMITS_H
#define O3_MONITOR_LIMITS_H

#include "monitor/sources.h"

#define LIMITS_RING 64
#define LIMITS_TEMPERATURES 3

typedef struct gpu_heat {
    int64_t seen_ns; /* of its last reading; 0: never */
    double temperatures[LIMITS_TEMPERATURES], margins[LIMITS_TEMPERATURES];
    int temperature_count, margin_count;
} gpu_heat;

typedef struct monitor_limits {
    const o3_profile *profile;
    o3_monitor_options options;
    int64_t pool_seen_ns[O3_POOLS_MAX]; /* when its use was last known */
    int64_t temperature_seen_ns;        /* 0: never */
    int64_t pressure_from_ns;           /* waits before it do not count; INT64_MAX: no runner */
    double temperatures[LIMITS_TEMPERATURES];
    int temperature_count;
    gpu_heat gpus[O3_GPUS_MAX];
    struct { int64_t at_ns, busy_ticks, all_ticks, psi_full_us; } ring[LIMITS_RING]; /* of the last second and more */
    int ring_count; /* ever added */
    monitor_reading last;
} monitor_limits;

void limits_init(monitor_limits *limits, const o3_profile *profile, const o3_monitor_options *options, int64_t now_ns);
void limits_rearm(monitor_limits *limits, int64_t now_ns);
void limits_runner(monitor_limits *limits, bool there, int64_t now_ns);
/* Takes a reading in. what: MONITOR_READ_... flags it was made with. */
void limits_add(monitor_limits *limits, const monitor_reading *reading, int what);
/* The verdict on the last reading; text is written unless it is O3_STOP_NONE. */
o3_monitor_stop limits_check(const monitor_limits *limits, char *dst, size_t dst_size);
/* The temperatures of monitor_hot. */
bool limits_hot(const monitor_limits *limits, char *dst, size_t dst_size);
/* Will a pool reach its limit within the next interval or two, if it goes on growing as it did last? */
bool limits_near(const monitor_limits *limits, const monitor_reading *before);
/* Over the last second; NaN if that began before from_ns. */
double limits_busy_frac(const monitor_limits *limits, int64_t from_ns);

#endif
