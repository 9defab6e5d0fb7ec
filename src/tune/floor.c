/* SPDX-License-Identifier: Apache-2.0 */
/* The user's speed floor: a window that is slower than it when full is not stable. It is held against each rung of a
 * ladder, because no deeper one is faster, so what cannot keep it is not filled to the end. */
#include "tune_impl.h"

#define CLEARLY 0.02 /* a rung on the way is slow, and a window is expected to keep the floor, only by this share */

bool floor_set(const session *s)
{
    return s->config->objectives.min_decode_per_s > 0 || s->config->objectives.max_ttft_s > 0;
}

/* Median decode of rung `from` and its repeats; disturbed ones only if nothing else is there. */
static double decode_of(const o3_trial *trial, int from, bool *ret_disturbed)
{
    double rates[O3_SAMPLES_MAX];
    int count = 0;
    *ret_disturbed = false;
    for (int pass = 0; pass < 2 && !count; pass++) {
        *ret_disturbed = pass > 0;
        for (int i = from; i < trial->sample_count; i++) {
            const o3_sample *sample = &trial->samples[i];
            if (i > from && sample->kind != O3_SAMPLE_DECODE)
                break;
            if (sample->outcome == O3_OUTCOME_OK && !isnan(sample->decode_per_s) && !sample->warmup &&
                sample->disturbed == *ret_disturbed)
                rates[count++] = sample->decode_per_s;
        }
    }
    return count ? stats_median(rates, count) : NAN;
}

static bool is_priced(const o3_sample *s)
{
    return s->kind == O3_SAMPLE_RUNG && s->outcome == O3_OUTCOME_OK && !s->warmup && s->added_tokens > 0;
}

static double price_of(const o3_sample *s)
{
    return (double)s->prompt_eval_ns / 1e9 / (double)s->added_tokens; /* seconds a token */
}

pace floor_pace(const o3_trial *trial)
{
    pace p = {.decode_per_s = NAN, .ttft_s = NAN};
    double total_s = 0, token_s = NAN;
    int rung = -1;
    for (int i = trial->sample_count - 1; i >= 0; i--) /* of the first that was measured, for any before it */
        if (is_priced(&trial->samples[i]))
            token_s = price_of(&trial->samples[i]);
    for (int i = 0; i < trial->sample_count; i++) {
        const o3_sample *sample = &trial->samples[i];
        if (sample->kind != O3_SAMPLE_RUNG || sample->outcome != O3_OUTCOME_OK)
            continue;
        /* Sent a second time it was answered from the cache: its tokens cost about what those beside them did. */
        if (is_priced(sample))
            token_s = price_of(sample);
        total_s += token_s * (double)sample->added_tokens;
        p.ttft_disturbed = p.ttft_disturbed || sample->disturbed;
        p.tokens = sample->prompt_tokens;
        rung = i;
    }
    if (rung < 0)
        return p;
    p.ttft_s = total_s;
    p.decode_per_s = decode_of(trial, rung, &p.decode_disturbed);
    return p;
}

/* What is too slow, as a sentence; *ret_disturbed: and somebody else's work may be why. False: nothing is. */
static bool is_slow(const session *s, const o3_trial *trial, double slack, bool *ret_disturbed, char *dst, size_t size)
{
    double min_decode = s->config->objectives.min_decode_per_s, max_ttft = s->config->objectives.max_ttft_s;
    pace p = floor_pace(trial);
    if (p.decode_per_s < min_decode * (1 - slack)) {
        *ret_disturbed = p.decode_disturbed;
        o3_format(dst, size, "decode is %.1f tok/s at %lld tokens, and at least %g are asked for", p.decode_per_s,
                  (long long)p.tokens, min_decode);
        return true;
    }
    if (p.ttft_s > max_ttft * (1 + slack)) {
        *ret_disturbed = p.ttft_disturbed;
        o3_format(dst, size, "a prompt of %lld tokens takes %.3g s to its first token, and at most %g s are asked for",
                  (long long)p.tokens, p.ttft_s, max_ttft);
        return true;
    }
    return false;
}

void floor_check(session *s, o3_trial *trial, visit_floor strict, bool last)
{
    char slow[O3_TEXT_MAX];
    bool disturbed;
    if (strict == FLOOR_NOT_ASKED || !is_slow(s, trial, last ? 0 : CLEARLY, &disturbed, slow, sizeof(slow)))
        return;
    if (strict == FLOOR_LENIENT && disturbed) {
        o3_note(&s->result->notes, "%d tokens: %s, but something else used the CPU meanwhile",
                trial->asked.num_ctx, slow);
        return;
    }
    trial->outcome = O3_OUTCOME_SLOW;
    O3_FORMAT(trial->reason, "%.400s%s", slow, disturbed ? ", beside something else that used the CPU" : "");
}

bool floor_doubtful(const session *s, const o3_trial *trial)
{
    char slow[O3_TEXT_MAX];
    bool disturbed = false;
    return floor_set(s) && is_slow(s, trial, 0, &disturbed, slow, sizeof(slow)) && disturbed;
}

static bool keeps(const session *s, const curve *c, int64_t num_ctx)
{
    double min_decode = s->config->objectives.min_decode_per_s, max_ttft = s->config->objectives.max_ttft_s;
    return !(1 / cost_token_by_s(s, c, num_ctx) < min_decode * (1 + CLEARLY)) &&
           !(cost_fill_by_s(s, c, num_ctx) > max_ttft / (1 + CLEARLY));
}

int64_t floor_window(const session *s, const curve *c, int64_t num_ctx)
{
    int64_t low = 0, high = num_ctx / O3_CTX_GRID;
    if (!floor_set(s) || keeps(s, c, num_ctx))
        return num_ctx;
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (keeps(s, c, middle * O3_CTX_GRID))
            low = middle;
        else
            high = middle - 1;
    }
    return low * O3_CTX_GRID;
}

void floor_take(session *s)
{
    o3_ceiling *c = &s->result->ceiling;
    for (int t = 0; t < s->trial_count; t++) {
        const o3_trial *trial = s->trials[t];
        if (trial->asked.num_ctx != c->proven_tokens || trial->outcome != O3_OUTCOME_OK || !visit_filled(trial, c->proven_tokens))
            continue;
        pace p = floor_pace(trial);
        c->full_decode_per_s = fmin(c->full_decode_per_s, p.decode_per_s); /* of a NaN and a number the number */
        c->full_ttft_s = fmax(c->full_ttft_s, p.ttft_s);
    }
}

o3_status floor_nothing(const session *s, o3_err *err)
{
    double min_decode = s->config->objectives.min_decode_per_s, max_ttft = s->config->objectives.max_ttft_s;
    const o3_trial *last = s->trial_count ? s->trials[s->trial_count - 1] : NULL;
    pace fastest = {.decode_per_s = NAN, .ttft_s = NAN};
    char wanted[96] = "", answer[64] = "", took[64] = "";
    if (!last || last->outcome != O3_OUTCOME_SLOW)
        return O3_OK;
    for (int t = 0; t < s->trial_count; t++) {
        pace p = floor_pace(s->trials[t]);
        if (s->trials[t]->outcome == O3_OUTCOME_SLOW && !(p.decode_per_s < fastest.decode_per_s))
            fastest = p;
    }
    if (min_decode > 0)
        O3_FORMAT(wanted, "at least %g tok/s%s", min_decode, max_ttft > 0 ? " and " : "");
    if (max_ttft > 0)
        O3_FORMAT(answer, "at most %g s to the first token", max_ttft);
    if (isfinite(fastest.ttft_s))
        O3_FORMAT(took, " and takes %.3g s to the first token", fastest.ttft_s);
    return o3_fail(err, O3_E_UNSAFE, "no window of %s keeps the speed floor of %s%s when it is full: the fastest that was "
                   "seen decodes %.1f tok/s%s at %lld tokens; ask for less, or try a smaller model",
                   s->model->name, wanted, answer, fastest.decode_per_s, took, (long long)fastest.tokens);
}
