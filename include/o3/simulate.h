/* SPDX-License-Identifier: Apache-2.0 */
/* simulate: the very same tune/ against machines, models and an engine that are formulas, in simulated time. Thousands of
 * pairs tell what a search costs and whether it is safe before it meets hardware. Everything follows from the seed.
 * What the truth is made of, and what it leaves out: docs/simulation.md. */
#ifndef O3_SIMULATE_H
#define O3_SIMULATE_H

#include <jansson.h>

#include "core.h"

typedef struct o3_simulate_request {
    int64_t pairs;        /* machine x model x seed, each with at least one window that fits; >= 1 */
    uint64_t seed;
    double lying;         /* predictions of bytes are wrong by up to this share; 0 = only inside what they state */
    double noise;         /* spread (1 sigma) of a sample's time; 0.03 */
    char strategy[32];    /* "" = all that there are */
    char machines[32];    /* only those whose names begin so ("cpu", "cgroup", "gpu", "apu"); "" = all */
    int jobs;             /* threads; 0 = one a CPU */
    o3_cancel *cancel;    /* ends after the pairs that are running; may be NULL */
    void (*on_progress)(void *ctx, const char *strategy, int64_t done, int64_t pairs); /* may be NULL; from any thread,
                                                                                          one at a time */
    void *ctx;
} o3_simulate_request;

typedef struct o3_spread { double median, p95; } o3_spread; /* NaN without a value */

#define O3_SIMULATED_CLASSES 3 /* small, medium, large: o3_size_class */
typedef struct o3_simulated {
    char strategy[32];
    int64_t pairs;         /* that were run */
    int64_t timed_pairs;   /* of them, filling the true ceiling once takes over half of the budget: not in exact_frac */
    o3_spread loads, fills, iterations; /* until the ceiling was proven, both proofs included */
    double exact_frac;     /* ceiling is the true one or one grid step below, of the pairs that time does not limit */
    double room_frac;      /* mean share of the true ceiling that was proven, of the same pairs */
    int64_t unproven;      /* pairs without any proven window although one fits, of the same pairs */
    int64_t above_safe;    /* proven windows whose true peak is above a safe size */
    int64_t limits_broken; /* pairs in which a pool stayed above its limit after a reading saw it, or something was killed */
    int64_t killed;        /* of them, those in which the kernel killed the runner */
    int64_t misfits, misfits_broken; /* pairs where no window fits, run besides; those that broke a limit or proved one unsafely */
    o3_spread minutes[O3_SIMULATED_CLASSES]; /* simulated, whole runs */
    int64_t class_pairs[O3_SIMULATED_CLASSES], over_budget[O3_SIMULATED_CLASSES];
    double time_over_bound; /* median of the run's time / the least that its proofs and samples take */
    int64_t raced, helpless; /* pairs in which the knobs were raced; of them those where nothing helps */
    o3_spread knob_visits;
    o3_spread knob_regret;   /* share of the best score of all combinations that the chosen knobs lack, of raced pairs */
    double knob_near_frac;   /* share of them that lack at most 3 % */
    double false_winners;    /* share of the helpless ones in which something won that is no better */
    double gain_coverage;    /* share of the gains' 95 % intervals that hold the true gain */
    double pairs_per_s;     /* real time */
} o3_simulated;

#define O3_SIMULATED_MAX 8
typedef struct o3_simulation {
    o3_simulate_request request;
    int count;
    o3_simulated rows[O3_SIMULATED_MAX];
    bool complete; /* false: interrupted */
    o3_notes notes;
} o3_simulation;

/* O3_E_USAGE for a request out of range or a strategy that does not exist. Interrupted: O3_OK with what was finished. */
O3_NODISCARD o3_status o3_simulate(const o3_simulate_request *request, o3_simulation *ret_simulation, o3_err *err);
json_t *o3_simulation_to_json(const o3_simulation *simulation); /* new reference */
/* A table for people; markdown as docs/ has it. The caller frees it. */
char *o3_simulation_text(const o3_simulation *simulation, bool markdown);

#endif
