/* SPDX-License-Identifier: Apache-2.0 */
/* search: which context to try next, and which knobs. Ask/tell and pure: it never sees a server, so a formula can play
 * one in tests. The ceiling is sought by a strategy from one table (predictive unless the user says otherwise), knobs
 * by a race. What failed is kept as points, each with the memory it asked for. docs/search.md says why. */
#ifndef O3_SEARCH_H
#define O3_SEARCH_H

#include "o3/predict.h"
#include "o3/result.h"

/* ---- what an outcome says of the point that was tried: failures.c */
typedef enum search_effect {
    SEARCH_FITS,
    SEARCH_TOO_BIG, /* of memory: whatever asks for as much fails too, in the same placement */
    SEARCH_SMALLER, /* the server gave less than was asked for, or was slower than the user's floor */
    SEARCH_BROKEN,  /* this point does not work; it says nothing of others */
    SEARCH_NOTHING, /* of the server or of us, not of the point */
} search_effect;
search_effect search_effect_of(o3_outcome outcome);

/* A point that failed: a setting with its placement (num_gpu). */
typedef struct search_failure {
    o3_setting setting;
    int64_t demand_bytes; /* predicted without calibration; -1 unknown */
    int64_t room_bytes;   /* in the tightest pool then; -1 unknown */
    o3_outcome outcome;
    bool earlier;         /* in another run */
    char reason[O3_TEXT_MAX];
} search_failure;

#define SEARCH_FAILURES_MAX 32
typedef struct search_failures {
    int count;
    search_failure items[SEARCH_FAILURES_MAX]; /* the oldest goes first */
} search_failures;
/* Keeps a trial that failed; one that did not, or whose outcome says nothing of its knobs, is left out. `setting` is
 * the server's; the knobs are the trial's. earlier: its room is not known any more. */
void search_failures_learn(search_failures *failures, const o3_profile *profile, const o3_model *model,
                           const o3_setting *setting, const o3_trial *trial, bool earlier);
/* The failure that speaks against `setting`: the very point, or, where memory was short, the same placement with no
 * more memory asked for and no less room. NULL = none. */
const search_failure *search_failures_find(const search_failures *failures, const o3_profile *profile,
                                           const o3_model *model, const o3_setting *setting);

/* ---- the ceiling: ceiling.c, size.c */
typedef struct search_options {
    int max_iterations;       /* asks until what loads is filled */
    int64_t initial_probe;    /* tokens; binary_search */
    double factor;            /* > 1; binary_search */
    uint64_t seed;            /* random */
    bool blind;               /* but for predictive: know nothing of memory, as the old tools did. For simulations */
    bool move_placement;      /* where the server spills what should fit, ask for all layers on the device (num_gpu);
                                 the caller then takes its knobs from s->setting, for presets too */
    const search_failures *known; /* of earlier runs; may be NULL; copied */
} search_options;
search_options search_options_of(const o3_config *config, uint64_t seed);

typedef struct search_strategy search_strategy;
const search_strategy *search_strategy_find(const char *name); /* NULL if there is none */
const char *search_strategy_name(const search_strategy *strategy);
extern const char *const search_strategy_names[]; /* ends with NULL; the default first */

/* What the runner takes of each memory (o3_memory_of), unreclaimable; NaN = not read. */
typedef struct search_reading {
    double bytes[O3_MEMORIES_MAX];
} search_reading;

/* A measured size beside the formula's, by memory. */
typedef struct search_size {
    int64_t num_ctx;
    double formula_bytes[O3_MEMORIES_MAX], compute_bytes[O3_MEMORIES_MAX]; /* mid; compute is part of the formula */
    search_reading read;
    bool filled; /* else the host's compute buffer was reserved, but not yet written */
} search_size;

typedef enum search_placement {
    SEARCH_PLACE_GIVEN,  /* num_gpu as it was given */
    SEARCH_PLACE_NEXT,   /* the next ask is the same size with all layers asked for */
    SEARCH_PLACE_ASKED, SEARCH_PLACE_WORKS, SEARCH_PLACE_FAILED,
} search_placement;

typedef struct search_ceiling {
    const search_strategy *strategy;
    const o3_profile *profile; /* must outlive the search */
    const o3_model *model;
    o3_setting setting;        /* its num_ctx is the search's; its num_gpu moves with the placement */
    o3_calibration calibration;
    search_options options;
    search_failures failures;
    int64_t trained;           /* end of the grid */
    int64_t proven, allocated; /* largest num_ctx filled / loaded as asked; 0 none */
    int64_t loadable;          /* largest one that loaded and has not failed since */
    int64_t failed;            /* smallest num_ctx that bounds the search; trained + one step if none */
    int64_t given, beyond;     /* what a clamping server gave and the step beyond it: tried next; 0 none */
    int64_t asked;             /* what the last ask gave */
    bool fill_failed;          /* something that loaded could not be filled */
    bool must_fill;            /* no load is left for looking further up */
    bool surprised;            /* something failed that was predicted to fit */
    int64_t reached;           /* longest prompt that was evaluated, in whatever window; 0 none */
    bool deep;                 /* a fill broke at a depth far from its end: the prompt was too long, not the window */
    bool hole_tried;           /* a point above a failure was tried once: feasibility need not be monotone */
    int64_t keeps;             /* largest window that is expected to keep the speed floor; 0 = none was too slow */
    bool spill_expected;       /* not even the smallest window fits the devices: a spill is no failure */
    search_placement placement;
    o3_outcome last_failure;
    o3_step_reason failed_kind;
    char failed_reason[O3_TEXT_MAX];
    int iterations, max_iterations, fills, failed_fills, gallops;
    int sizes;                 /* measured ones below */
    search_size size[2];       /* the last two of different num_ctx: offset, and the slope if the formula's is off */
    search_reading load;       /* as read after the last load */
    double untouched_ratio[O3_MEMORIES_MAX]; /* what a fill touched that its load had not / compute buffer; NaN until
                                                one was seen */
    int64_t safe_cache;        /* of search_safe; -1 = to be computed */
    int limiting_cache;        /* the pool that limits it */
} search_ceiling;

/* Starts the predictive strategy: */
void search_ceiling_init(search_ceiling *s, const o3_profile *profile, const o3_model *model,
                         const o3_setting *setting, int max_iterations, const o3_calibration *calibration);
/* or any. */
void search_ceiling_start(search_ceiling *s, const search_strategy *strategy, const o3_profile *profile,
                          const o3_model *model, const o3_setting *setting, const search_options *options,
                          const o3_calibration *calibration);
/* From here on loads have this num_batch: what is predicted and learned is of it. */
void search_ceiling_batch(search_ceiling *s, int32_t num_batch);
/* num_ctx to load next, with the knobs of s->setting; 0 = nothing left that is worth a load. The caller prices the
 * fill before it loads, and tells search_ceiling_budget where it is too dear. */
int64_t search_ceiling_ask(search_ceiling *s);
/* A load at the asked num_ctx ended. `given`: the context in force, of a clamp. `read`: after it; NULL = nothing was
 * read. True: fill it. False: ask again (it failed, or the ceiling lies elsewhere: loads are cheap, so they find the
 * largest that loads before anything is filled). */
bool search_ceiling_loaded(search_ceiling *s, o3_outcome outcome, const char *reason, int64_t given,
                           const search_reading *read);
/* A fill at the asked num_ctx ended; `read` are its peaks; NULL = nothing was read. */
void search_ceiling_filled(search_ceiling *s, o3_outcome outcome, const char *reason, const search_reading *read);
/* Said before a fill that failed is told: the longest prompt that was evaluated in it. */
void search_ceiling_reached(search_ceiling *s, int64_t depth_tokens);
/* Where there is a speed floor, said before a fill is told: whether it fell below, and the largest window that is
 * expected to keep it, as the rungs of the visit show. */
void search_ceiling_paced(search_ceiling *s, bool slow, int64_t keeps_tokens);
/* There is no time for the asked num_ctx; `affordable` is the largest that there is time for (0 = none). */
void search_ceiling_budget(search_ceiling *s, int64_t affordable, const char *reason);
/* Fills proven/allocated/trained, the next step and why it is out, iterations. */
void search_ceiling_result(const search_ceiling *s, o3_ceiling *ret_ceiling);

#endif
