/* SPDX-License-Identifier: Apache-2.0 */
/* Candidates, scores and choice of presets. */
#include "base/base.h"
#include "o3/preset.h"

int o3_preset_candidates(int64_t ceiling_tokens, int64_t *ret_contexts, int max)
{
    int count = 0;
    for (int64_t octave = 2048; octave < ceiling_tokens && count < max - 1; octave *= 2) {
        ret_contexts[count++] = octave;
        if (octave / 2 * 3 < ceiling_tokens && count < max - 1)
            ret_contexts[count++] = octave / 2 * 3;
    }
    if (ceiling_tokens > 0 && count < max)
        ret_contexts[count++] = ceiling_tokens;
    return count;
}

static const o3_use_case *use_case_by_name(const o3_config *config, const char *name)
{
    for (int i = 0; name && *name && i < config->use_case_count; i++)
        if (!strcmp(config->use_cases[i].name, name))
            return &config->use_cases[i];
    return NULL;
}

static bool positive(double x)
{
    return isfinite(x) && x > 0;
}

void o3_preset_weights(const o3_config *config, const o3_category *category, const char *use_case,
                       double ret_weights[3], char *ret_why, size_t why_size)
{
    double w[3] = {category->context_weight, category->throughput_weight, category->ttft_weight};
    /* The older place of that weight; the loader resolves it too, a config made by hand does not. */
    if (isnan(w[0]) && !strcmp(category->name, "max_context"))
        w[0] = config->objectives.max_context_priority;
    const o3_use_case *use = use_case_by_name(config, use_case);
    if (use) {
        /* A use case tilts a preset and leaves it what it is: what has no weight gets none. */
        double context = positive(use->context_weight) ? use->context_weight : 0;
        double speed = positive(use->throughput_weight) ? use->throughput_weight : 0;
        w[0] *= context;
        w[1] *= speed;
        w[2] *= speed;
    }
    double sum = 0;
    for (int i = 0; i < 3; i++)
        sum += w[i] = positive(w[i]) ? w[i] : 0;
    for (int i = 0; i < 3; i++)
        ret_weights[i] = sum > 0 ? w[i] / sum : 1.0 / 3;
    if (!ret_why)
        return;
    static const char *const names[] = {"context", "throughput", "response"};
    o3_format(ret_why, why_size, "%s", category->name);
    for (int i = 0, shown = 0; i < 3; i++) {
        size_t len = strlen(ret_why);
        if (ret_weights[i] > 0)
            o3_format(ret_why + len, why_size - len, "%s %.2f %s", shown++ ? " +" : "", ret_weights[i], names[i]);
    }
    size_t len = strlen(ret_why);
    o3_format(ret_why + len, why_size - len, "%s%s%s", use ? ", tilted by use case " : "", use ? use->name : "",
              sum > 0 ? "" : " (no weight is set: equal parts)");
}

static double context_part(const o3_category *category, int64_t num_ctx, int64_t ceiling_tokens)
{
    double tokens = (double)num_ctx;
    if (category->target_context_range.count == 2) {
        double low = (double)category->target_context_range.values[0];
        double high = (double)category->target_context_range.values[1];
        /* Halved for each octave outside: that is the plain ratio to the nearer end. */
        return tokens < low ? tokens / low : tokens > high ? high / tokens : 1;
    }
    return ceiling_tokens > 0 ? fmin(1, tokens / (double)ceiling_tokens) : 0;
}

void o3_preset_score(const o3_category *category, const double weights[3], int64_t ceiling_tokens,
                     const o3_candidate *candidates, int count, o3_score *ret_scores)
{
    double best_rate = NAN, best_ttft = NAN;
    for (int i = 0; i < count; i++) {
        if (positive(candidates[i].decode_half_per_s))
            best_rate = fmax(best_rate, candidates[i].decode_half_per_s);
        if (positive(candidates[i].ttft_ms))
            best_ttft = fmin(best_ttft, candidates[i].ttft_ms);
    }
    for (int i = 0; i < count; i++) {
        const o3_candidate *c = &candidates[i];
        o3_score s = {.w_context = weights[0], .w_throughput = weights[1], .w_response = weights[2]};
        s.context = context_part(category, c->num_ctx, ceiling_tokens);
        s.throughput = positive(c->decode_half_per_s) ? c->decode_half_per_s / best_rate : 0;
        s.response = positive(c->ttft_ms) ? best_ttft / c->ttft_ms : 0;
        s.total = s.w_context * s.context + s.w_throughput * s.throughput + s.w_response * s.response;
        /* Below the user's minimum a window is no candidate, unless the ceiling itself is below it. */
        if (category->target_context_min > 0 && c->num_ctx < category->target_context_min &&
            c->num_ctx < ceiling_tokens)
            s.total = NAN;
        ret_scores[i] = s;
    }
}

int o3_preset_best(const o3_score *scores, const o3_candidate *candidates, int count)
{
    int best = -1;
    for (int i = 0; i < count; i++) {
        if (best < 0) {
            best = i;
            continue;
        }
        double mine = isnan(scores[i].total) ? -1 : scores[i].total;
        double theirs = isnan(scores[best].total) ? -1 : scores[best].total;
        bool tie = fabs(mine - theirs) < 1e-9;
        if (tie ? candidates[i].num_ctx > candidates[best].num_ctx : mine > theirs)
            best = i;
    }
    return best;
}

int64_t o3_preset_ttft_tokens(const o3_category *category, int64_t num_ctx)
{
    int64_t wanted = category->ttft_prompt_tokens;
    /* One length for all candidates of a range (docs/decisions/0001), else a small window wins by its short prompt. */
    if (wanted <= 0 && category->target_context_range.count == 2)
        wanted = category->target_context_range.values[0] / 4;
    if (wanted <= 0)
        return num_ctx / 4;
    return wanted < num_ctx / 2 ? wanted : num_ctx / 2; /* room for an answer */
}
