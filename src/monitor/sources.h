/* SPDX-License-Identifier: Apache-2.0 */
/* monitor, inside: the files that are looked at. Opened once, read at offset 0 ever after, nothing allocated while
 * reading. Judges nothing. One thread at a time. */
#ifndef O3_MONITOR_SOURCES_H
#define O3_MONITOR_SOURCES_H

#include "monitor/monitor.h"
#include "monitor/source_cpu.h"
#include "monitor/source_gpu.h"

typedef struct monitor_sources monitor_sources;

typedef struct monitor_reading {
    int64_t at_ns;
    /* These up to server_gone as of the last look that was due for them, or asked for counters. */
    int64_t times_at_ns;           /* when busy_ticks, all_ticks and engine_ticks were read: not with every tick */
    int64_t busy_ticks, all_ticks; /* since boot, of the CPUs the engine may run on; -1 unknown */
    int64_t engine_ticks;          /* server, runner and ourselves, counted up since the start */
    bool engine_known;             /* at least one process of the engine is watched, and each watched one was read */
    bool server_gone;              /* it was there and is not any more */
    int64_t runner_bytes;          /* RssAnon + RssShmem; -1 unknown */
    int64_t runner_anon_bytes, runner_file_bytes; /* RssAnon, RssFile; -1 unknown */
    int64_t psi_full_us, psi_some_us; /* waits for memory; -1 unknown */
    cpu_reading cpu;
    int64_t pool_bytes[O3_POOLS_MAX]; /* -1 unreadable */
    gpu_sample gpus[O3_GPUS_MAX];     /* by profile.gpus; they say when they were read: maybe at an earlier tick */
    bool pool_gone[O3_POOLS_MAX];     /* unreadable because its directory is not there any more */
    double temperature_c;             /* these four, and cpu, as of the last reading that asked for them */
    int64_t swap_in_pages, refault_file_pages, oom_kills; /* -1 unknown */
} monitor_reading;

enum {
    MONITOR_READ_COUNTERS = 1,    /* also CPU times, vmstat, refaults, kills: for the ends of a window */
    MONITOR_READ_TEMPERATURE = 2, /* also `cpu` and the sensors, which may go through firmware */
};

monitor_sources *sources_open(const char *root, const o3_profile *profile);
void sources_close(monitor_sources *sources);
void sources_watch(monitor_sources *sources, int server_pid, int runner_pid);
/* Processes that start after this call count with all they have used when they are first seen. */
void sources_mark(monitor_sources *sources);
void sources_read(monitor_sources *sources, int what, monitor_reading *ret_reading);
double sources_cost_s(monitor_sources *sources); /* CPU time of threads of its own */
int sources_cpus(const monitor_sources *sources); /* how many CPUs the ticks are of; -1 unknown */

#endif
