/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of simulate/: a machine, a model, the truth about them, and the engine and monitor that play it. */
#ifndef O3_SIMULATE_IMPL_H
#define O3_SIMULATE_IMPL_H

#include "base/base.h"
#include "engine/engine_impl.h"
#include "monitor/monitor.h"
#include "o3/predict.h"
#include "o3/simulate.h"
#include "o3/tune.h"

#define SIM_VERSION "0.32.15"

/* ---- machines.c */
typedef struct sim_machine {
    const char *name;
    int cores;
    double ram_gib, cgroup_mib;      /* cgroup 0 = none */
    int gpus;
    double gpu_gib;                  /* of each */
    bool unified;
    double ram_bytes_per_s, cpu_flops; /* what a runner gets of them in the mean */
    double gpu_bytes_per_s, gpu_flops;
} sim_machine;
extern const sim_machine sim_machines[];
extern const int sim_machine_count;
/* `rng` decides how much is in use by others. */
void sim_machine_profile(const sim_machine *machine, const o3_config *config, o3_rng *rng, o3_profile *ret_profile);

/* ---- models.c */
extern const int sim_model_count;
void sim_model_make(int index, o3_model *ret_model);

/* ---- truth.c: what is, and the predictor does not know */
typedef struct sim_truth {
    const sim_machine *machine;
    const o3_profile *profile;
    const o3_model *model;
    o3_setting setting;          /* of the server */
    /* bytes: formula x (1 + error) + overhead, by part */
    double fixed_error, kv_error, kv_power, compute_error, overhead_bytes;
    double hard_frac[O3_POOLS_MAX]; /* share of a pool that can be had at all */
    bool hard_is_refusal[O3_POOLS_MAX]; /* the allocation fails, nobody is killed */
    double thrash_frac, thrash_depth_frac, thrash_factor; /* of the safe size; deeper than; slower by. frac > 1: never */
    int64_t hole_low, hole_high; /* windows in [low, high) fail although memory would do; 0 = none */
    bool hole_at_run;
    bool spills_always;          /* no window lies on the devices alone: the pair is judged with its spill */
    int64_t clamp_tokens;        /* the server gives no larger window; INT64_MAX */
    int64_t ceiling_tokens;      /* sim_truth_ceiling at num_batch 512 */
    /* speed: seconds */
    double decode_s, decode_layer_s;   /* one token; more for each layer and token that it looks back on */
    double prefill_s, prefill_layer_s; /* the same of a token in a batch */
    double full_layers, window_layers, window; /* window: tokens that the window layers look back on */
    double load_bytes_per_s, request_s;
    /* disturbances */
    double noise, tail_share, load_spread, drift_per_hour, throttle_after_s, throttle_factor, burst_gap_s;
    double chars_per_token;
    /* knobs.c: what they do to speed */
    struct sim_knobs {
        bool helpless;      /* nothing is better than the default */
        double threads;     /* that the server starts with */
        double saturated;   /* decode gains nothing from more of them */
        double crowd;       /* what threads beyond that, or beyond the cores, cost */
        double batch_half;  /* tokens of a batch at which half of the arithmetic is used */
        double mapped;      /* speed with mapped weights / the default's */
    } knobs;
} sim_truth;
typedef struct sim_knobs sim_knobs;

typedef struct sim_bytes { /* of the runner in each pool of the profile, and over distinct memories */
    double pool[O3_POOLS_MAX], untouched[O3_POOLS_MAX]; /* untouched: of it reserved, written by the first full batch */
    double all, device;          /* over distinct memories; of it on devices */
    int64_t text_bytes_per_token; /* what a text that is left adds to the prompt cache */
    bool spilled;
} sim_bytes;


void sim_truth_make(sim_truth *ret_truth, const sim_machine *machine, const o3_profile *profile, const o3_model *model,
                    const o3_simulate_request *request, o3_rng *rng);
sim_bytes sim_truth_bytes(const sim_truth *truth, const o3_knobs *knobs);
bool sim_truth_safe(const sim_truth *truth, const o3_knobs *knobs); /* its peak is within every safe size */
/* The largest window on the grid that works with all of it used, by automatic placement; 0 = none. */
int64_t sim_truth_ceiling(const sim_truth *truth, const o3_knobs *knobs);
/* Seconds without any disturbance: of evaluating tokens [from, to), of one token at depth. */
double sim_prefill_s(const sim_truth *truth, double from, double to);
double sim_decode_s(const sim_truth *truth, double depth);
double sim_normal(o3_rng *rng);

/* ---- knobs.c */
void sim_knobs_draw(sim_truth *truth, o3_rng *rng);
void sim_knobs_tell(const sim_truth *truth, o3_profile *profile);
/* Of evaluating so many tokens at once (1: decode), against as many threads as usable CPUs, batches of 512, the default
 * mapping. */
double sim_knobs_speed(const sim_truth *truth, const o3_knobs *knobs, double tokens);

/* ---- world.c, watch.c: one pair in simulated time */
typedef struct sim_world {
    struct o3_engine engine;
    struct sim_sensors { struct o3_monitor base; struct sim_world *world; } sensors;
    o3_clock clock;
    o3_cancel *cancel;
    const sim_truth *truth;
    o3_rng rng;
    int64_t now_ns;
    /* the runner */
    bool loaded;
    o3_knobs in_force;
    sim_bytes bytes;
    double touched_frac;         /* of what was reserved */
    double load_factor;          /* this load is slower or faster than others by that */
    uint64_t text_seed;
    int64_t text_tokens;         /* in the slot's cache */
    double cache_bytes;          /* host prompt cache */
    int64_t loads;
    /* the machine */
    double runner[O3_POOLS_MAX]; /* bytes of the runner now */
    int64_t burst_from_ns, burst_to_ns;
    double burst_share, foreign_s; /* foreign: seconds of all CPUs taken by others so far */
    double busy_s;               /* since the last pause: heat */
    /* the monitor */
    o3_peaks peaks;
    int64_t mark_ns, over_since_ns; /* over_since -1: no pool is over its limit */
    double mark_foreign_s;
    int64_t oom_kills, mark_oom_kills;
    char stop_text[O3_TEXT_MAX];
    /* what the simulation counts */
    bool limit_broken, was_killed;
} sim_world;

void sim_world_start(sim_world *world, const sim_truth *truth, uint64_t seed, o3_cancel *cancel);
/* Time passes while the runner's memory changes by `delta` (NULL: stays); what readings and the kernel do about it
 * happens. False: the token was set or the runner was killed before the end. */
bool sim_pass(sim_world *world, double seconds, const double *delta);
extern const monitor_ops sim_monitor_ops;
double sim_level(const sim_world *world, int pool);

/* ---- summary.c */
typedef struct sim_run { /* of one pair under one strategy */
    bool done, timed, exact, unproven, above_safe, limit_broken, killed, misfit, misfit_broken;
    int size_class;
    double loads, fills, iterations, minutes, over_bound, room_frac;
    bool over_budget;
    bool raced, helpless, false_winner, gain_known, gain_covered; /* of the race for knobs */
    double knob_regret, knob_visits;
} sim_run;
void sim_knobs_judge(const sim_truth *truth, const o3_race *race, sim_run *run);
void sim_summarise(o3_simulated *ret_row, const sim_run *runs, int64_t count);

#endif
