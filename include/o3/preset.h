/* SPDX-License-Identifier: Apache-2.0 */
/* preset: candidates, scores and choice (design.md section 6). Pure. */
#ifndef O3_PRESET_H
#define O3_PRESET_H

#include "config.h"
#include "result.h"

/* Contexts worth offering up to and including the ceiling: 2048, 3072, 4096, 6144, 8192, 12288 ... and the ceiling.
 * Returns the count (<= max). */
int o3_preset_candidates(int64_t ceiling_tokens, int64_t *ret_contexts, int max);

/* What is known of a candidate when it is scored. NaN = unknown, scores 0 in that part. */
typedef struct o3_candidate {
    int64_t num_ctx;
    double decode_half_per_s; /* decode rate at half of its window */
    double ttft_ms;           /* at the category's prompt length */
} o3_candidate;

/* Weights of a category after use case and older keys had their say; normalised to 1. ret_why: one sentence. */
void o3_preset_weights(const o3_config *config, const o3_category *category, const char *use_case,
                       double ret_weights[3], char *ret_why, size_t why_size);
/* Scores all candidates of one category; ret_scores[i] belongs to candidates[i]. */
void o3_preset_score(const o3_category *category, const double weights[3], int64_t ceiling_tokens,
                     const o3_candidate *candidates, int count, o3_score *ret_scores);
/* Index of the best total (the larger context on a tie), -1 if count is 0. */
int o3_preset_best(const o3_score *scores, const o3_candidate *candidates, int count);
/* Prompt length at which a category's TTFT is taken. */
int64_t o3_preset_ttft_tokens(const o3_category *category, int64_t num_ctx);

#endif
