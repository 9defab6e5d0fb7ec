/* SPDX-License-Identifier: Apache-2.0 */
/* monitor: one thread that looks at the machine ten times a second while a trial runs. It keeps peaks per pool, tells
 * what others took of the CPU, and sets the cancel token (O3_CANCEL_SAFETY) when a limit is reached. It reads the
 * pools of the profile, through files kept open, and knows nothing of what is being measured.
 *
 * All functions may be called from any thread. Those that say "looks" take a reading themselves (some 50 us). */
#ifndef O3_MONITOR_H
#define O3_MONITOR_H

#include "o3/hardware.h"
#include "o3/trial.h"

typedef struct o3_monitor o3_monitor;

typedef struct o3_monitor_options {
    const char *root;        /* "/" */
    int interval_ms;         /* 100; 10 to 10000. Four times as often while a pool nears its limit */
    double memory_psi_frac;  /* stop when memory `full` waits pass this share over a second; 0 = off (0.05) */
    double stale_s;          /* a pool unread for longer is unsafe (1.0) */
    double max_temperature_c; /* 0 = off */
} o3_monitor_options;
#define O3_MONITOR_OPTIONS_DEFAULT                                                                              \
    ((o3_monitor_options){.root = "/", .interval_ms = 100, .memory_psi_frac = 0.05, .stale_s = 1.0,             \
                          .max_temperature_c = 85})

typedef struct o3_window {    /* between two marks; rates are NaN in windows shorter than 0.3 s */
    double seconds;           /* NaN before the first mark */
    double cpu_busy_frac;     /* of all CPUs the engine may run on (a quota does not narrow them); NaN unknown */
    double foreign_cpu_frac;  /* less server, runner and ourselves, as a share of the same CPUs; time stolen by a
                                 hypervisor is foreign. NaN unknown, also if no process of the engine is watched */
    double psi_memory_frac;   /* full, share of the window; NaN unknown */
    int64_t swap_in_pages;    /* -1 unknown */
    int64_t refault_file_pages; /* workingset_refault_file of the innermost cgroup or the host; -1 unknown */
    int64_t oom_kills;        /* by the kernel, in the innermost cgroup or the host; -1 unknown */
    bool gpu_throttled;       /* heat or the hardware's own alarm held a GPU's clock back */
} o3_window;

/* What set the token. */
typedef enum o3_monitor_stop {
    O3_STOP_NONE,
    O3_STOP_LIMIT,       /* a pool reached its limit */
    O3_STOP_PRESSURE,    /* waits for memory */
    O3_STOP_TEMPERATURE,
    O3_STOP_STALE,       /* a sensor is lost */
    O3_STOP_SERVER_GONE, /* the server ended and its cgroup with it: no limit was broken, no sensor failed */
} o3_monitor_stop;

/* The table an implementation fills; the thread of sampler.c is one, a simulated machine another. The calls are
 * described below, under the names the others use. */
typedef struct monitor_ops {
    void (*stop)(o3_monitor *);
    void (*watch)(o3_monitor *, int server_pid, int runner_pid);
    void (*peaks_reset)(o3_monitor *);
    void (*peaks)(o3_monitor *, o3_peaks *ret_peaks);
    void (*mark)(o3_monitor *);
    void (*since_mark)(o3_monitor *, o3_window *ret_window);
    double (*foreign)(o3_monitor *, int64_t since_ns); /* NULL: never known */
    o3_monitor_stop (*stop_reason)(o3_monitor *, char *dst, size_t dst_size);
    void (*rearm)(o3_monitor *);
    int64_t (*pool_bytes)(o3_monitor *, int pool);
    int64_t (*ticks)(o3_monitor *);
    double (*age_s)(o3_monitor *);
    double (*cost_s)(o3_monitor *);
    void (*notes)(o3_monitor *, o3_notes *notes); /* NULL: never has any */
    bool (*hot)(o3_monitor *, char *dst, size_t dst_size); /* NULL: never is */
} monitor_ops;
struct o3_monitor { /* what an implementation begins with */
    const monitor_ops *ops;
};

/* Starts the thread; the first reading is there on return. profile must outlive the monitor. cancel may be NULL
 * (watch only). O3_E_USAGE for an interval out of range, O3_E_INTERNAL if no thread can be had. */
O3_NODISCARD o3_status monitor_start(o3_monitor **ret_monitor, const o3_profile *profile,
                                     const o3_monitor_options *options, o3_cancel *cancel, o3_err *err);
void monitor_stop(o3_monitor *monitor); /* joins; NULL is fine */

/* The server and its runner (pids, -1 unknown or none): their CPU is ours, the runner's memory is told apart. Looks.
 * Waits for memory count from one second after a runner was named: a load reads, reclaims and waits by nature. */
void monitor_watch(o3_monitor *monitor, int server_pid, int runner_pid);
void monitor_peaks_reset(o3_monitor *monitor);                       /* looks: the present is part of the peaks */
void monitor_peaks(o3_monitor *monitor, o3_peaks *ret_peaks);        /* looks */
/* Opens a window / closes it. One at a time. Both look. */
void monitor_mark(o3_monitor *monitor);
void monitor_since_mark(o3_monitor *monitor, o3_window *ret_window);
/* What others took of the CPUs (o3_window.foreign_cpu_frac) since then, as far as the thread's last readings reach back:
 * never over less than 0.3 s, so a shorter time is judged with what was just before it. NaN unknown, also when the
 * engine's processes were named only meanwhile. Looks. */
double monitor_foreign(o3_monitor *monitor, int64_t since_ns);
/* The reading that set the token, as a sentence's end ("cgroup:/x at 275 MiB, 86 % of 320 MiB, over the limit of
 * 85 %"); "" if none. The first one stays until monitor_rearm. */
o3_monitor_stop monitor_stop_reason(o3_monitor *monitor, char *dst, size_t dst_size);
/* Forgets the reason and watches the limits anew. Call o3_cancel_clear first: a limit that is still broken then sets
 * the token again with the next reading. */
void monitor_rearm(o3_monitor *monitor);
/* After a stop for heat: is something still less than MONITOR_COOL_C below its limit, by three readings since the last
 * monitor_rearm, or not read that often yet? dst then says what ("CPU at 83 °C, to be below 75 °C"). Does not look. */
#define MONITOR_COOL_C 10 /* of a limit of 85 °C: no new test above 75 °C, or it would be stopped again at once */
bool monitor_hot(o3_monitor *monitor, char *dst, size_t dst_size);
/* Pool use now (last reading); -1 unknown. */
int64_t monitor_pool_bytes(o3_monitor *monitor, int pool);
int64_t monitor_ticks(o3_monitor *monitor); /* of the thread; readings asked for by others are not counted */
double monitor_age_s(o3_monitor *monitor);  /* since the last reading: large = the thread itself is stuck */
/* What a reader of the run's numbers should know of the watching itself: a driver that is slow is asked more seldom. */
void monitor_notes(o3_monitor *monitor, o3_notes *notes);
double monitor_cost_s(o3_monitor *monitor); /* CPU time the thread has used so far */

#endif
