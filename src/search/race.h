/* SPDX-License-Identifier: Apache-2.0 */
/* race: which knobs. A few candidates, the default first, are visited in turns (a visit = one load with a few samples
 * of decode and prefill); clear losers are dropped, the best values of each knob are put together, and that finalist
 * is measured against the default once more, on fresh loads in turns. Only those fresh visits decide, the visit being
 * the unit: what made it the finalist is luck as well. A tie keeps the default. Ask/tell and pure. */
#ifndef O3_SEARCH_RACE_H
#define O3_SEARCH_RACE_H

#include "search/search.h"
#include "stats/stats.h"

#define SEARCH_CANDIDATES_MAX 24
#define SEARCH_RACE_TRIALS 12  /* visits, the confirmation included */
#define SEARCH_RACE_FRESH_MIN 4 /* of them to confirm: two of the finalist, two of the default, where a gain is large; */
#define SEARCH_RACE_FRESH 6     /* three each where a knob makes a difference and its other values are worth a look; */
#define SEARCH_RACE_FRESH_MAX 8 /* four each where it is close */
#define SEARCH_RACE_ALPHA 0.072 /* of the fresh visits: 1 of 20 ways to deal three and three, 5 of 70 four and four. Less
                                   than 5 % of what is no better wins, as some is dropped after two pairs */
#define SEARCH_RACE_VISITS_MAX 6

typedef enum search_standing {
    SEARCH_STANDING_WAITING, SEARCH_STANDING_RUNNING, SEARCH_STANDING_DROPPED, SEARCH_STANDING_FAILED,
    SEARCH_STANDING_LEFT_OUT, /* no trial was left for it */
} search_standing;

typedef struct search_candidate {
    o3_knobs knobs;
    double prior_ratio; /* predicted score / the default's; NaN unknown */
    double cost_s;      /* predicted, of one visit; NaN unknown */
    /* from here on the race's */
    search_standing standing;
    char reason[O3_TEXT_MAX];                /* why it was dropped or failed */
    int visits, fresh_visits;
    double score[SEARCH_RACE_VISITS_MAX], se[SEARCH_RACE_VISITS_MAX]; /* ln of each visit's, and its error inside it */
    double fresh[SEARCH_RACE_VISITS_MAX];    /* scores, not logs, of the confirmation */
} search_candidate;

/* score = decode^w x prefill^(1-w): a ratio of scores is free of units and of what is called 100 %. */
typedef struct search_weights { double decode, prefill; } search_weights; /* >= 0, not both 0 */

#define SEARCH_RACE_HIDDEN 0.05 /* a gain that is worth having: undecided where the noise could hide it */

typedef struct search_race {
    int count, trials, max_trials, explore_trials, fresh_trials;
    search_candidate candidates[SEARCH_CANDIDATES_MAX]; /* [0] is the default */
    search_weights weights;
    int asked, finalist;        /* -1 none */
    bool confirming, over;
    stats_winner selected;      /* the finalist as it looked when it was chosen; logs */
    bool (*fits)(void *ctx, const o3_knobs *knobs); /* may a combination be loaded? NULL = yes */
    void *ctx;
} search_race;

typedef struct search_race_result {
    o3_race_verdict verdict;    /* O3_RACE_NOT_RUN: it is not over */
    int best;                   /* candidate to use: 0 unless there is a winner */
    o3_range gain;              /* score of the finalist / default, fresh visits alone, 95 %; NaN without a finalist */
    double promised, shrunk;    /* the same as it looked when chosen, and less its luck; NaN without a finalist */
    int trials;
    char why[O3_TEXT_MAX];
} search_race_result;

/* Copies the candidates ([0] the default, at most SEARCH_CANDIDATES_MAX); max_trials >= 2, at most
 * SEARCH_RACE_TRIALS. */
void search_race_start(search_race *r, const search_candidate *candidates, int count, int max_trials,
                       search_weights weights);
int search_race_ask(search_race *r); /* index of the candidate to visit next, on a fresh load; -1 = over */
/* The asked visit's samples per second (decode, prefill; NaN is missing). A weight without samples fails the visit. */
void search_race_tell(search_race *r, o3_outcome outcome, const char *reason, const double *decode, int decodes,
                      const double *prefill, int prefills);
void search_race_result_of(const search_race *r, search_race_result *ret_result); /* also before it is over */

/* ---- candidates: knobs.c */
/* Around the knobs of `setting` (num_ctx set), which come first: threads by the usable cores, num_batch by
 * search_strategy.batch_adaptation, num_gpu by the predicted placement, use_mmap; each differs in one knob, the best
 * prior of each knob first. Left out, with a note: what would not be safe at this num_ctx, and what failed before.
 * Returns how many. */
int search_knobs_candidates(search_candidate *ret_candidates, int max, const o3_config *config,
                            const o3_profile *profile, const o3_model *model, const o3_setting *setting,
                            const o3_calibration *calibration, const search_failures *known, search_weights weights,
                            o3_notes *notes);

#endif
