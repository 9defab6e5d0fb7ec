/* SPDX-License-Identifier: Apache-2.0 */
/* monitor, for who only watches: the sampler that guards the trials, one look after the other. Nothing is stopped here
 * and no limit is acted upon; what a limit is stands in the profile (o3_pool, hardware.h). */
#ifndef O3_MONITOR_PUBLIC_H
#define O3_MONITOR_PUBLIC_H

#include "hardware.h"

typedef struct o3_gpu_sight {
    double busy_frac;           /* as its driver averages it (1/6 to 1 s); NaN unknown */
    double temperature_c, power_w; /* NaN unknown */
    int throttled;              /* 1 its clock is held down by heat or power brake, 0 not, -1 unknown */
    double age_s;               /* of these four; NaN where there is none */
} o3_gpu_sight;

/* One look. Rates are over the time since an earlier look; NaN wherever unknown. */
typedef struct o3_sight {
    int64_t t_ns;               /* monotonic, when it began */
    int64_t tick;               /* 0, 1 ...: a gap = looks that were made and not taken in time */
    int64_t pool_bytes[O3_POOLS_MAX]; /* unreclaimable use, by profile.pools; -1 unknown */
    double busy_frac;           /* of the CPUs that the engine may run on, over 0.3 s or more */
    double psi_cpu_some_frac;   /* share of the time in which something waited for a CPU, over half a second */
    double psi_memory_some_frac, psi_memory_full_frac; /* waited for memory: something, everything */
    double temperature_c;       /* CPU, as of the last half second */
    double power_w;             /* of the CPU packages (RAPL, which mostly only root may read), over half a second */
    int64_t throttle_events;    /* of CPU cores and packages since the watch began; -1 unknown */
    int64_t rss_anon_bytes, rss_file_bytes; /* of the runner; -1 unknown or no runner */
    o3_gpu_sight gpus[O3_GPUS_MAX]; /* by profile.gpus */
} o3_sight;

typedef struct o3_watch o3_watch;

/* Starts the sampler. profile must outlive the watch. interval_ms 10 to 10000 (O3_E_USAGE); O3_E_INTERNAL. */
O3_NODISCARD o3_status o3_watch_open(o3_watch **ret_watch, const o3_profile *profile, const char *root, int interval_ms,
                                     o3_err *err);
void o3_watch_close(o3_watch *watch); /* NULL is fine */
/* Whose memory the runner's is; -1 none. Readings of it begin with the next look. */
void o3_watch_engine(o3_watch *watch, int server_pid, int runner_pid);
/* Waits for the next look, also through a hanging sensor; false once `cancel` (may be NULL) is set or until_ns
 * (monotonic; INT64_MAX: no end) has come. Looks are kept for about 6 s at 10 Hz while nobody takes them. */
bool o3_watch_next(o3_watch *watch, const o3_cancel *cancel, int64_t until_ns, o3_sight *ret_sight);
double o3_watch_cost_s(o3_watch *watch); /* CPU time of the sampler so far */

#endif
