/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of tune/: the session of one `optimize`, and the visit. */
#ifndef O3_TUNE_IMPL_H
#define O3_TUNE_IMPL_H

#include "base/base.h"
#include "monitor/monitor.h"
#include "o3/preset.h"
#include "o3/tune.h"
#include "probe/probe.h"
#include "search/search.h"
#include "stats/stats.h"

#define TUNE_BATCH 512          /* num_batch is pinned: unset it would change with num_ctx, and with it the memory */
#define TUNE_BATCH_LEAST 128    /* below it prefill loses more than memory or heat gain */
#define TUNE_SPARE 1            /* sample more than asked for: one may go as an outlier, and enough must be left */
#define TUNE_FEW 3              /* samples of a rung that is handed out as a point of the curve only, or by its median */
#define TUNE_EQUAL_DEPTH 1024   /* tokens at which every row of a run is compared */
#define TUNE_BUSY_STREAK 12     /* disturbed samples in a row: the machine is busy for good, waiting helps nobody */
#define TUNE_AFFORDABLE 0.7     /* share of the time left that one fill may take */
#define TUNE_BUDGET_FRAC 0.94   /* of the budget is planned with: the last request may take longer than it was priced */
#define TUNE_LAST 0.8           /* the same of the rung that fills the window, and of a visit that proves again */
#define TUNE_RACE "race-"       /* purposes of the knobs' visits begin so */
#define TUNE_TRIALS_MAX 96
#define TUNE_CURVE_MAX 32

typedef struct curve { /* by depth, from the ceiling's ladder */
    int count;
    double depth[TUNE_CURVE_MAX], decode_per_s[TUNE_CURVE_MAX];
    double fill_s[TUNE_CURVE_MAX]; /* engine time to evaluate a prompt of this depth */
} curve;

#define TUNE_RATES_MAX 64
typedef struct rate_entry { int64_t tokens; double prefill_per_s, prefill_best_per_s, decode_per_s; } rate_entry;
typedef struct rate_memo {
    o3_calibration calibration; /* that they hold for */
    int count;                  /* added so far; the oldest goes */
    rate_entry items[TUNE_RATES_MAX];
} rate_memo;

typedef struct session {
    o3_world own_world;         /* the given one, without a store where none is wanted */
    const o3_world *world;
    o3_cancel *own_cancel;      /* NULL if the caller has one */
    const o3_request *request;
    const o3_config *config;
    o3_result *result;
    o3_profile *profile;
    o3_engine_caps caps;
    o3_model *model;
    o3_calibration calibration;
    o3_calibration began_with;  /* what was known of this model here before the run */
    o3_monitor *monitor;
    probe probe;
    o3_engine_loads others;     /* what was loaded before us */
    int server_pid;
    int samples;
    o3_setting setting;         /* of the server; knobs but num_ctx as they are pinned */
    int32_t batch;              /* num_batch for windows where it fits: the usual one or the one that won; O3_UNSET: the pinned one */
    int32_t cool_batch;         /* larger ones made the machine too hot; O3_UNSET: nothing did */
    bool still_hot;             /* the last pause did not cool it */
    char heat[O3_TEXT_MAX];     /* the reading that set cool_batch */
    bool unloaded;              /* others' models, by us */
    int64_t predicted_ceiling;  /* with the setting, before anything was loaded in this run; 0 none */
    double budget_s;
    int64_t started_ns;
    bool partial;               /* something was left out: not complete */
    char stage[O3_TEXT_MAX];    /* what is going on, for the live line */
    double expected_s;          /* of the whole run, refined on the way */
    bool blind;                 /* the sampler hangs */
    int busy_streak;            /* disturbed samples since the last quiet one */
    int reused;                 /* trials taken from the store */
    bool spill_expected;        /* no window lies on the devices alone: a spill is no failure */
    int visits;                 /* that were measured, not recalled */
    curve curve;
    rate_memo *rates;           /* cost.c; may be NULL: nothing is kept */
    const char *prefix;         /* of the purposes of the ceiling's visits: "" here, "own-ROW-" on a private server */
    int trial_count;
    o3_trial *trials[TUNE_TRIALS_MAX]; /* finished ones of this run */
} session;

/* tune.c, for the sessions on private servers too: the world is copied, the request must outlive the session */
session *session_new(const o3_world *given, const o3_request *request, o3_result *result, o3_profile *profile);
void session_free(session *s, bool own_profile);
O3_NODISCARD o3_status start_monitor(session *s, o3_err *err);

/* events.c */
void tune_event(const session *s, o3_event event);
void tune_say(session *s, o3_event_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void tune_progress(session *s);
double tune_elapsed_s(const session *s);
double tune_left_s(const session *s); /* of the budget */

/* What the user's speed floor is to a visit. */
typedef enum visit_floor {
    FLOOR_NOT_ASKED,
    FLOOR_KEPT,   /* below it the trial is slow */
    FLOOR_LENIENT /* the same, but what a busy neighbour explains is only noted: a deeper ladder kept it */
} visit_floor;

/* A visit: one load, in it unique prompts, then one growing prompt with decode samples on the way. */
typedef struct visit_plan {
    char purpose[O3_PURPOSE_MAX];
    o3_knobs knobs;
    int64_t fresh_tokens;
    int fresh_count;         /* wanted good samples; 0 none */
    int64_t rungs[8];        /* ascending */
    int rung_count;
    int decode_count[8];     /* decode samples wanted at each rung, the rung's own included */
    bool fill;               /* the last rung fills the window */
    double most_s;           /* unique prompts end after it, with as many samples as there are; 0 = no end of its own */
    visit_floor floor;
    bool race;               /* settings are compared: what spills is slow, not wrong */
    bool milder;             /* too hot: tried again with a smaller num_batch. Where settings are compared it ends there */
    search_ceiling *search;  /* asked after the load whether to go on; NULL = go on */
} visit_plan;
/* When the run is expected to end: after `visit` (may be NULL) and, from row >= 0 on, the presets, the default and the
 * comparison. */
void tune_expect(session *s, const visit_plan *visit, int row);
/* From this run's finished trials if it is there, else measured and stored. O3_OK even if the trial failed. */
O3_NODISCARD o3_status visit_run(session *s, const visit_plan *plan, const o3_trial **ret_trial, o3_err *err);
bool visit_known(session *s, const visit_plan *plan); /* measured before, successfully */
/* Peaks of the runner's own memory, by memory: gives back `ret`; and over all of them, -1 if the host's is unknown. */
const search_reading *visit_read(const session *s, const o3_trial *trial, search_reading *ret);
int64_t visit_runner_bytes(const session *s, const o3_trial *trial);

/* heat.c: after a trial that was stopped for heat (O3_OUTCOME_TOO_HOT). Waits until the machine is cool, a part of the
 * time left at most; what came of it is added to the trial's reason. O3_E_CANCELLED. */
O3_NODISCARD o3_status heat_pause(session *s, o3_trial *trial, o3_err *err);
void heat_recall(session *s, const o3_trial *trial); /* a stored trial: did that pause cool it? */
/* Is there a milder visit to try in its place? `plan` becomes that; later visits that may be milder begin so. */
bool heat_milder(session *s, const o3_trial *trial, visit_plan *plan);
int32_t heat_batch(const session *s, int32_t num_batch); /* no larger than what stays cool */
void heat_say(session *s, const o3_preset *row); /* a note, if its batch is what heat left */

/* cost.c */
double cost_fill_s(const session *s, int64_t tokens);  /* expected, by curve, calibration or prior */
/* By the rungs of one ladder, outside of them by the shape of the prediction: the same, and of one token at a depth. */
double cost_fill_by_s(const session *s, const curve *c, int64_t tokens);
double cost_token_by_s(const session *s, const curve *c, int64_t depth_tokens);
double cost_fill_least_s(const session *s, int64_t tokens); /* the same at best: a prior alone rules nothing out */
double cost_decode_s(const session *s, int64_t depth_tokens, int samples);
double cost_visit_s(const session *s, const visit_plan *plan);
curve cost_curve(const o3_trial *trial);
void cost_learn(session *s, const o3_trial *trial);    /* curve and rates from a ladder */
void cost_finish(session *s);                          /* totals and the lower bound into the result */

/* floor.c: the user's speed floor, a part of "stable" where there is one (objectives.min_decode_per_s, max_ttft_s). */
typedef struct pace { /* of a ladder at its deepest rung */
    int64_t tokens;      /* of its prompt; 0: no rung */
    double decode_per_s; /* median; NaN unknown */
    double ttft_s;       /* of that prompt from its first token on: what evaluating it took, rung by rung; NaN unknown */
    bool decode_disturbed, ttft_disturbed; /* nothing undisturbed was there */
} pace;
pace floor_pace(const o3_trial *trial);
bool floor_set(const session *s);
/* After a rung: a trial that is below the floor becomes O3_OUTCOME_SLOW. `last`: the rung that fills the window; the
 * others must be clearly below, for no deeper one is faster. */
void floor_check(session *s, o3_trial *trial, visit_floor strict, bool last);
bool floor_doubtful(const session *s, const o3_trial *trial); /* too slow, beside a busy neighbour */
/* The largest window, num_ctx at most, that is expected to keep it by a ladder's curve; 0 = none. Without a floor: num_ctx. */
int64_t floor_window(const session *s, const curve *c, int64_t num_ctx);
void floor_take(session *s); /* what the ceiling's full window gave, into the result */
/* O3_E_UNSAFE where the floor is what no window kept, with the fastest that was seen; else O3_OK. */
O3_NODISCARD o3_status floor_nothing(const session *s, o3_err *err);

/* look.c: what was measured on this machine earlier, into profile->bandwidth */
O3_NODISCARD o3_status look_bandwidth(const o3_world *world, o3_profile *profile, o3_err *err);

/* truth.c: predicted against measured into the store; what it teaches into s->calibration and the store. run_id: the run
 * that goes on, "" for a new one. */
O3_NODISCARD o3_status truth_begin(session *s, const char *run_id, o3_err *err);
O3_NODISCARD o3_status truth_take(session *s, const o3_trial *trial, o3_err *err); /* after a visit */
void truth_recall(session *s, const o3_trial *trial); /* a visit of an earlier part of this run */
O3_NODISCARD o3_status truth_keep(session *s, o3_err *err);

/* stages, in their order */
O3_NODISCARD o3_status stage_machine(session *s, o3_err *err);
O3_NODISCARD o3_status stage_model(session *s, o3_err *err);
O3_NODISCARD o3_status stage_known(session *s, bool *ret_known, o3_err *err);
O3_NODISCARD o3_status stage_preflight(session *s, o3_err *err);
void stage_predict(session *s);
/* A smaller num_batch than the usual one, where memory ends the window and its buffers are what is in the way; with it
 * goes the predicted ceiling. */
void knobs_pin_batch(session *s);
O3_NODISCARD o3_status stage_knobs(session *s, o3_err *err);
O3_NODISCARD o3_status stage_ceiling(session *s, o3_err *err);
O3_NODISCARD o3_status stage_quick(session *s, o3_err *err);
void ceiling_keep_predicted(session *s); /* takes out of the predicted presets what failed */
O3_NODISCARD o3_status stage_presets(session *s, o3_err *err);
O3_NODISCARD o3_status stage_baseline(session *s, o3_err *err);
O3_NODISCARD o3_status stage_compare(session *s, o3_err *err);
/* own_server.c: --own-server. Can it be done here at all? (starts one and ends it); then the rows of the result. */
O3_NODISCARD o3_status own_server_try(session *s, o3_err *err);
O3_NODISCARD o3_status stage_own_server(session *s, o3_err *err);
/* own_rows.c: what is worth trying, best first, predicted; left out with its reason. Row i starts from settings[i]. */
void own_rows_make(session *s, o3_setting settings[O3_SERVERS_MAX]);
void stage_restore(session *s); /* loads again what was loaded before */

/* knobs.c: what a row of this window is measured and handed out with. */
o3_knobs knobs_for(const session *s, int64_t num_ctx);

/* The visit that proves a context: its rungs climb to the whole window. */
visit_plan ceiling_ladder(const session *s, o3_knobs knobs, int64_t num_ctx);

/* presets.c, shared with the prediction */
void presets_choose(session *s, int64_t ceiling_tokens);
bool presets_wanted(const session *s, const char *name); /* by --preset */
int64_t presets_equal_depth(int64_t num_ctx);
int presets_prompts(const session *s, int64_t tokens); /* unique prompts of this length that a row takes */
/* Expected seconds of the visits from row `from` on, what baseline.c does included. */
double presets_rest_s(const session *s, int from);
/* The visit that measures a preset: unique prompts of the category's length, then a growing prompt to the depth all
 * rows share, half of the window, and (fill) the whole of it. category NULL: the baseline. */
visit_plan visit_preset_plan(const session *s, o3_knobs knobs, int64_t num_ctx, const o3_category *category, bool fill);
void visit_add_rung(visit_plan *plan, int64_t depth, int decodes); /* ascending; merges neighbours */
bool visit_filled(const o3_trial *trial, int64_t num_ctx);

/* rows.c: a row's numbers from the trials that measured it; at the depth that all rows share, from every trial that asked
 * for these knobs. */
void rows_take(session *s, o3_preset *row, const o3_trial *const *trials, int count);
int rows_trials_of(const session *s, const o3_knobs *asked, const o3_trial **ret_trials); /* they went well, oldest first */
void rows_take_equal(session *s, o3_preset *row, const o3_knobs *asked);

/* baseline.c: expected seconds of the defaults' visits and of the comparison. */
double baseline_rest_s(const session *s);

#endif
