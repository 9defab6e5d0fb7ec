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
    o3_knobs knobs;            /* num_ctx is the search's */
    o3_calibration calibration;
    int64_t trained;           /* end of the grid */
    int64_t proven, loaded;    /* largest num_ctx filled / loaded as asked; 0 none */
    int64_t failed;            /* smallest num_ctx that failed; trained + one step if none */
    int64_t asked;             /* what the last ask gave */
    o3_step_reason failed_kind;
    char failed_reason[O3_TEXT_MAX];
    int iterations, max_iterations;
} search_ceiling;

/* `start` > 0 overrides the first prediction (a user's initial probe), cut to what is predicted safe. */
void search_ceiling_init(search_ceiling *s, const o3_profile *profile, const o3_model *model, const o3_knobs *knobs,
                         int64_t start, int max_iterations, const o3_calibration *calibration);
/* num_ctx to load next; 0 = nothing left that is worth a load. */
int64_t search_ceiling_ask(search_ceiling *s);
/* A load at the asked num_ctx ended. `runner_bytes`: the runner's unreclaimable memory after it, -1 unknown.
 * True: fill it. False: ask again (it failed, or what it took says that the ceiling lies elsewhere). */
bool search_ceiling_loaded(search_ceiling *s, o3_outcome outcome, const char *reason, int64_t runner_bytes);
/* A fill at the asked num_ctx ended; `runner_bytes` is its peak. */
void search_ceiling_filled(search_ceiling *s, o3_outcome outcome, const char *reason, int64_t runner_bytes);
/* Fills proven/allocated/trained, the next step and why it is out, iterations. */
void search_ceiling_result(const search_ceiling *s, o3_ceiling *ret_ceiling);

#endif
