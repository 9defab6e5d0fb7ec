/* SPDX-License-Identifier: Apache-2.0 */
/* search: which context to try next. Ask/tell and pure: it never sees a server, so a formula can play one in tests.
 * It starts at the prediction, corrects it by what real loads and fills took, and bisects only where that fails. */
#ifndef O3_SEARCH_H
#define O3_SEARCH_H

#include "o3/predict.h"
#include "o3/result.h"

typedef struct search_ceiling {
    const o3_profile *profile; /* must outlive the search */
    const o3_model *model;
    o3_setting setting;        /* its num_ctx is the search's */
    o3_calibration calibration;
    int64_t trained;           /* end of the grid */
    int64_t proven, allocated; /* largest num_ctx filled / loaded as asked; 0 none */
    int64_t loadable;          /* largest one that loaded and has not failed since */
    int64_t failed;            /* smallest num_ctx that failed; trained + one step if none */
    int64_t given, beyond;     /* what a clamping server gave and the step beyond it: tried next; 0 none */
    int64_t asked;             /* what the last ask gave */
    bool fill_failed;          /* something that loaded could not be filled */
    bool must_fill;            /* no load is left for looking further up */
    o3_step_reason failed_kind;
    char failed_reason[O3_TEXT_MAX];
    int iterations, max_iterations, fills;
} search_ceiling;

void search_ceiling_init(search_ceiling *s, const o3_profile *profile, const o3_model *model,
                         const o3_setting *setting, int max_iterations, const o3_calibration *calibration);
/* num_ctx to load next; 0 = nothing left that is worth a load. */
int64_t search_ceiling_ask(search_ceiling *s);
/* A load at the asked num_ctx ended. `given`: the context in force, of a clamp. `runner_bytes`: the runner's
 * unreclaimable memory after it, -1 unknown. True: fill it. False: ask again (it failed, or the ceiling lies
 * elsewhere: loads are cheap, so they find the largest that loads before anything is filled). */
bool search_ceiling_loaded(search_ceiling *s, o3_outcome outcome, const char *reason, int64_t given,
                           int64_t runner_bytes);
/* A fill at the asked num_ctx ended; `runner_bytes` is its peak. */
void search_ceiling_filled(search_ceiling *s, o3_outcome outcome, const char *reason, int64_t runner_bytes);
/* There is no time for the asked num_ctx; `affordable` is the largest that there is time for (0 = none). */
void search_ceiling_budget(search_ceiling *s, int64_t affordable, const char *reason);
/* Fills proven/allocated/trained, the next step and why it is out, iterations. */
void search_ceiling_result(const search_ceiling *s, o3_ceiling *ret_ceiling);

#endif
