/* SPDX-License-Identifier: Apache-2.0 */
/* One prompt sent, one sample kept. Every reply is checked before a number of it is believed: the prompt evaluated
 * whole, a final object, durations present. Retries take another text or seed and are samples of their own. */
#include <errno.h>
#include <signal.h>

#include "probe_impl.h"

#define TRIES 4               /* of one wanted sample, against repeat aborts and refusals */
#define FILL_SLACK_TOKENS 8   /* kept free of a full window besides the tokens to generate */
#define RELOAD_NS (250 * O3_NS_PER_MS) /* a loaded model is ready in a few ms */
#define COLLAPSE 0.33         /* of the rate that a deeper attention explains */

int64_t probe_deadline_ns(const probe *p, int64_t num_ctx, int64_t num_batch, int64_t new_tokens, int64_t eval_tokens)
{
    const o3_config *c = p->config;
    double ctx = num_ctx > 0 ? (double)num_ctx : 4096, batch = num_batch > 0 ? (double)num_batch : 512;
    double seconds = c->testing.adaptive_timeouts.base_timeout_s +
                     c->testing.adaptive_timeouts.context_multiplier * ctx / 1000 +
                     c->testing.adaptive_timeouts.batch_multiplier * batch;
    seconds = fmin(fmax(seconds, c->testing.adaptive_timeouts.min_timeout_s), c->testing.adaptive_timeouts.max_timeout_s);
    double expected = (double)new_tokens / p->prefill_per_s + (double)eval_tokens / p->decode_per_s;
    if (isfinite(expected))
        seconds = fmax(seconds, 2 * expected);
    return (int64_t)(seconds * 1e9);
}

/* A sample is not sent into a burst of somebody else's work: those pass. A machine that is busy for good is waited for
 * once and then taken as it is, marked. */
static void await_quiet(probe *p)
{
    p->foreign_before = NAN;
    while (p->monitor) {
        p->foreign_before = monitor_foreign(p->monitor, o3_now_ns() - PROBE_QUIET_NS);
        if (!(p->foreign_before > PROBE_DISTURBED_FRAC) || p->waits == PROBE_QUIET_WAITS)
            return;
        p->waits++;
        if (o3_wait(p->cancel, 100 * O3_NS_PER_MS))
            return;
    }
}

/* The worst of what others took just before the sample, in the whole of it, and in its decode, which the prefill of a
 * long prompt would hide and which alone is too short to be judged. */
static double foreign_of(const probe *p, const o3_reply *reply, const o3_window *window)
{
    int64_t decode_ns = reply->ttft_ns > 0 && reply->wall_ns > reply->ttft_ns ? reply->wall_ns - reply->ttft_ns : 0;
    double end = monitor_foreign(p->monitor, o3_now_ns() - decode_ns);
    return fmax(fmax(p->foreign_before, window->foreign_cpu_frac), end); /* of a NaN and a number the number */
}

static void measure(probe *p, const o3_reply *reply, o3_sample *s)
{
    o3_window window = {.foreign_cpu_frac = NAN, .psi_memory_frac = NAN};
    p->foreign_during = NAN;
    s->outcome = reply->outcome;
    s->prompt_tokens = reply->prompt_tokens;
    s->eval_tokens = reply->eval_tokens;
    s->prompt_eval_ns = reply->prompt_eval_ns;
    s->eval_ns = reply->eval_ns;
    s->load_ns = reply->load_ns;
    s->ttft_ns = reply->ttft_ns;
    s->wall_ns = reply->wall_ns;
    s->prefill_per_s = s->decode_per_s = NAN;
    if (p->monitor && s->outcome != O3_OUTCOME_CANCELLED) { /* a stop unloads first and looks afterwards */
        monitor_since_mark(p->monitor, &window);
        p->foreign_during = window.foreign_cpu_frac;
        window.foreign_cpu_frac = foreign_of(p, reply, &window);
    }
    if (window.oom_kills > 0 && (s->outcome == O3_OUTCOME_CRASH || s->outcome == O3_OUTCOME_ERROR))
        s->outcome = O3_OUTCOME_OOM_RUN;
    s->foreign_cpu_frac = window.foreign_cpu_frac;
    s->psi_memory_frac = window.psi_memory_frac;
    s->throttled = window.gpu_throttled;
    s->disturbed = s->throttled || window.foreign_cpu_frac > PROBE_DISTURBED_FRAC;
    p->waits = window.foreign_cpu_frac <= PROBE_DISTURBED_FRAC ? 0 : p->waits;
    if (s->outcome != O3_OUTCOME_OK || s->prompt_tokens <= 0)
        return;
    int64_t before = s->kind == O3_SAMPLE_PREFILL ? 0 : p->text_tokens;
    s->added_tokens = s->prompt_tokens - before;
    s->depth_tokens = s->prompt_tokens + (s->eval_tokens > 0 ? s->eval_tokens / 2 : 0);
    /* Few added tokens measure the request, not the prefill. */
    if (s->kind != O3_SAMPLE_DECODE && !s->warmup && s->added_tokens >= 64 && s->prompt_eval_ns > 0)
        s->prefill_per_s = (double)s->added_tokens * 1e9 / (double)s->prompt_eval_ns;
    /* eval_duration covers n - 1 steps for n tokens. */
    if (s->eval_tokens >= PROBE_DECODE_MIN_TOKENS && s->eval_ns > 0)
        s->decode_per_s = (double)(s->eval_tokens - 1) * 1e9 / (double)s->eval_ns;
}

/* The count must fit the text, else it was cut without a word. A text sent again has its own count, a grown one its
 * own density; a new one is told by the mean of those before it, and the very first by a rough guess. */
static void least_tokens(const probe *p, const o3_sample *s, size_t chars, double *ret_expected, double *ret_least)
{
    double have = s->kind == O3_SAMPLE_PREFILL ? 0 : (double)p->text_tokens; /* counted before */
    double density = have > 0 ? (double)p->text_chars / have : p->chars_per_token;
    double added = have > 0 ? ((double)chars - (double)p->text_chars) / density : (double)chars / density;
    /* Prose differs by a few per cent from stretch to stretch; a cut takes more. */
    *ret_expected = have + added;
    *ret_least = have + (p->counted ? 0.88 : 0.35) * added - 2;
}

/* Says what a reply means for the trial; true if the sample is good. */
static bool judge_sample(probe *p, o3_trial *trial, o3_sample *s, const o3_reply *reply, size_t chars)
{
    if (s->outcome != O3_OUTCOME_OK) {
        probe_judge(trial, s->outcome, "%s", reply->error[0] ? reply->error : o3_outcome_text(s->outcome));
        return false;
    }
    double expected, least;
    least_tokens(p, s, chars, &expected, &least);
    if (s->prompt_tokens <= 0) {
        s->outcome = O3_OUTCOME_ERROR;
        probe_judge(trial, s->outcome, "the final object has no prompt_eval_count");
    } else if ((double)s->prompt_tokens < least) {
        s->outcome = O3_OUTCOME_TRUNCATED;
        probe_judge(trial, s->outcome, "%lld tokens were evaluated where about %.0f were sent", (long long)s->prompt_tokens,
                    expected);
    } else if (p->window_tokens > 0 && s->prompt_tokens > p->window_tokens) {
        s->outcome = O3_OUTCOME_ERROR;
        probe_judge(trial, s->outcome, "%lld tokens cannot have been evaluated in a window of %lld",
                    (long long)s->prompt_tokens, (long long)p->window_tokens);
    } else if (s->kind != O3_SAMPLE_DECODE && s->prompt_eval_ns < 0) {
        s->outcome = O3_OUTCOME_ERROR;
        probe_judge(trial, s->outcome, "the final object has no usable prompt_eval_duration");
    } else {
        return true;
    }
    return false;
}

/* A good answer of another runner than the one that was loaded and read back: its caches were empty, and nobody knows what
 * it measured. Where the runner cannot be seen, the request says how long it waited for a load. */
static bool loaded_anew(const probe *p, const o3_reply *reply)
{
    if (p->runner.pid > 0)
        return kill(p->runner.pid, 0) && errno == ESRCH;
    return reply->load_ns > RELOAD_NS && reply->load_ns > p->load_ns / 2;
}

/* What is left to judge by beside a neighbour: threads wait for each other, so a light one costs up to two thirds, and a
 * heavy one (a second model being answered: 99 tok/s fell to 0.7) explains everything. So does a clock held back. */
static double explained(const probe *p, const o3_sample *s)
{
    return s->throttled ? 0 : !(p->foreign_during > PROBE_DISTURBED_FRAC) ? 1 : p->foreign_during < 0.3 ? 0.3 : 0;
}

/* A token at depth d costs at most a + b d: falling much faster than 1/d, and than others' load explains, is paging. */
static void check_collapse(probe *p, o3_trial *trial, o3_sample *s)
{
    if (isnan(s->decode_per_s))
        return;
    double floor = p->last_decode_per_s * COLLAPSE * explained(p, s);
    if (s->depth_tokens > p->last_depth_tokens && p->last_depth_tokens > 0)
        floor *= (double)p->last_depth_tokens / (double)s->depth_tokens;
    if (s->decode_per_s < floor) {
        s->outcome = O3_OUTCOME_THRASHING;
        probe_judge(trial, s->outcome, "decode collapsed to %.1f tok/s at %lld tokens after %.1f at %lld",
                    s->decode_per_s, (long long)s->depth_tokens, p->last_decode_per_s, (long long)p->last_depth_tokens);
        return;
    }
    /* A slow one would hide what follows; one that kept its speed beside a neighbour tells as much as a quiet one. */
    double kept = p->last_decode_per_s * sqrt((double)p->last_depth_tokens / (double)s->depth_tokens);
    if (s->disturbed && s->decode_per_s < kept)
        return;
    p->last_decode_per_s = s->decode_per_s;
    p->last_depth_tokens = s->depth_tokens;
}

static o3_status keep(probe *p, o3_trial *trial, o3_sample *s, o3_err *err)
{
    if (trial->sample_count < O3_SAMPLES_MAX)
        trial->samples[trial->sample_count++] = *s;
    if (s->outcome == O3_OUTCOME_OK && s->prompt_tokens > trial->depth_tokens)
        trial->depth_tokens = s->prompt_tokens;
    if (p->monitor && !p->peaks_frozen && s->outcome != O3_OUTCOME_CANCELLED)
        monitor_peaks(p->monitor, &trial->peaks);
    return p->on_sample ? p->on_sample(p->ctx, trial, s, err) : O3_OK;
}

/* Texts differ by a few per cent in characters a token: what the next one will have is best told by their mean. */
static void learn_density(probe *p, double chars_per_token)
{
    p->chars_per_token = p->counted ? 0.7 * p->chars_per_token + 0.3 * chars_per_token : chars_per_token;
    p->counted = true;
}

/* A connection may break while the server lives on. */
static bool still_there(probe *p)
{
    o3_engine_loads loads;
    return o3_engine_loads_read(p->engine, &loads, NULL) == O3_OK;
}

/* Sends `chars` of text `seed` once. *ret_refused: tokens named by a refusal, 0 if it was refused without a number,
 * -1 if it was not refused. */
static o3_status send_once(probe *p, o3_trial *trial, o3_sample *s, size_t chars, int num_predict, uint64_t seed,
                           int64_t *ret_refused, o3_err *err)
{
    o3_reply reply;
    int64_t expected = (int64_t)((double)chars / p->chars_per_token);
    int64_t added = s->kind == O3_SAMPLE_PREFILL ? expected : expected > p->text_tokens ? expected - p->text_tokens : 0;
    o3_generate request = {
        .model = p->model->name, .prompt = probe_text, .prompt_seed = s->text_seed,
        .prompt_chars = chars, .knobs = trial->asked, .num_predict = num_predict,
        .temperature = 0.8, .seed = seed, .keep_alive = "30m", .cancel = p->cancel,
        .on_wait = p->on_wait, .ctx = p->ctx,
        .deadline_ns = probe_deadline_ns(p, p->window_tokens, trial->asked.num_batch, added, num_predict)};
    await_quiet(p);
    if (p->monitor)
        monitor_mark(p->monitor);
    o3_status status = o3_engine_generate(p->engine, &request, &reply, err);
    if (status)
        return status;
    chars = reply.prompt_chars; /* cut back to the end of a word */
    trial->requests++;
    *ret_refused = reply.outcome == O3_OUTCOME_TOO_LONG ? (reply.refused_tokens > 0 ? reply.refused_tokens : 0) : -1;
    if (*ret_refused >= 0) { /* not a sample: nothing was evaluated; the number is a gift */
        s->outcome = O3_OUTCOME_TOO_LONG;
        if (*ret_refused > 0) {
            p->chars_per_token = (double)chars / (double)*ret_refused;
            p->counted = true;
        }
        return O3_OK;
    }
    s->sent_tokens = expected;
    if (reply.outcome == O3_OUTCOME_SERVER_GONE && still_there(p))
        reply.outcome = O3_OUTCOME_ERROR; /* one connection broke off: tried again */
    measure(p, &reply, s);
    bool good = judge_sample(p, trial, s, &reply, chars);
    if (good && loaded_anew(p, &reply)) {
        s->outcome = O3_OUTCOME_RELOADED;
        probe_judge(trial, s->outcome, "the runner of this visit is gone, and a new one answered: another client asked for %s "
                    "with other settings, or it crashed between two requests", p->model->name);
    } else if (good) {
        trial->outcome = O3_OUTCOME_OK;
        trial->reason[0] = '\0';
        learn_density(p, (double)chars / (double)s->prompt_tokens);
        check_collapse(p, trial, s);
        if (s->kind != O3_SAMPLE_DECODE) {
            p->text_chars = chars;
            p->text_tokens = s->prompt_tokens;
        }
    }
    /* A stop first lets go of the memory, then keeps the books. */
    o3_status stopped = s->outcome == O3_OUTCOME_CANCELLED ? probe_stopped(p, trial, err) : O3_OK;
    status = keep(p, trial, s, stopped ? NULL : err);
    if (stopped || status)
        return stopped ? stopped : status;
    return probe_fatal(p, trial, err);
}

/* Characters that make the current text `tokens` long. */
static size_t chars_for(const probe *p, const o3_sample *s, int64_t tokens)
{
    int64_t have = s->kind == O3_SAMPLE_PREFILL ? 0 : p->text_tokens;
    /* A text goes on at its own density. */
    double density = have ? (double)p->text_chars / (double)have : p->chars_per_token;
    double chars = (have ? (double)p->text_chars : 0) + (double)(tokens - have) * density;
    return chars > 1 ? (size_t)chars : 1;
}

static bool retryable(o3_outcome outcome)
{
    return outcome == O3_OUTCOME_REPEAT_ABORT || outcome == O3_OUTCOME_TOO_LONG || outcome == O3_OUTCOME_ERROR;
}

/* One wanted sample: sent again with another seed or a shorter text until it is good or the tries are used up. */
static o3_status take(probe *p, o3_trial *trial, o3_sample_kind kind, int64_t tokens, int num_predict, o3_err *err)
{
    int64_t refused = -1, wanted = tokens;
    bool evaluated = false; /* an earlier try of this text: the engine has it cached */
    if (trial->sample_count == O3_SAMPLES_MAX)
        probe_judge(trial, O3_OUTCOME_ERROR, "more than %d samples in one trial; ask for fewer with --samples",
                    O3_SAMPLES_MAX);
    for (int tries = 0; tries < TRIES && trial->sample_count < O3_SAMPLES_MAX; tries++) {
        o3_sample s = {.kind = kind, .text_seed = p->text_seed, .sent_tokens = -1, .prompt_tokens = -1,
                       .eval_tokens = -1, .prompt_eval_ns = -1, .eval_ns = -1, .load_ns = -1, .ttft_ns = -1,
                       .wall_ns = -1, .prefill_per_s = NAN, .decode_per_s = NAN, .foreign_cpu_frac = NAN,
                       .psi_memory_frac = NAN};
        size_t chars = kind == O3_SAMPLE_DECODE ? p->text_chars : chars_for(p, &s, wanted);
        uint64_t seed = p->seed + (uint64_t)trial->sample_count * 7919 + (uint64_t)tries;
        s.warmup = evaluated && kind == O3_SAMPLE_RUNG; /* its prefill was answered from the cache */
        o3_status status = send_once(p, trial, &s, chars, num_predict, seed, &refused, err);
        if (status || s.outcome == O3_OUTCOME_OK)
            return status;
        if (s.outcome == O3_OUTCOME_TOO_LONG)
            probe_judge(trial, O3_OUTCOME_TOO_LONG, "a prompt meant for %lld tokens was refused as too long",
                        (long long)wanted);
        if (!retryable(s.outcome))
            return O3_OK;
        evaluated = evaluated || s.outcome != O3_OUTCOME_TOO_LONG;
        /* Refused with a count: an unsized text has its exact density now, a grown one gives way by what it was too
         * long. Without a count: by a hundredth. */
        if (refused > 0 && p->text_tokens > 0)
            wanted -= refused > tokens ? refused - tokens + 2 : 2;
        else if (refused == 0)
            wanted -= wanted / 100 + 1;
        if (s.outcome != O3_OUTCOME_TOO_LONG && kind == O3_SAMPLE_PREFILL) /* it may lie in the cache now */
            p->text_seed = p->seed * 1000003 + ++p->texts;
    }
    return O3_OK;
}

/* Leaves the current text: its KV goes to the server's prompt cache. */
static void leave_text(probe *p)
{
    p->text_seed = p->seed * 1000003 + ++p->texts;
    p->text_chars = 0;
    p->text_tokens = 0;
    p->last_decode_per_s = NAN;
    p->last_depth_tokens = 0;
}

/* Would the prompt cache push a pool past its safe size when the current text is left for one of `tokens`? It lies on
 * the host. */
static bool cache_needs_reload(const probe *p, int64_t tokens)
{
    if (!p->prompt_cache || !p->monitor)
        return false;
    int64_t growth = (p->text_tokens + tokens) * p->cache_bytes_per_token;
    for (int i = 0; i < p->profile->pool_count; i++) {
        int64_t used = monitor_pool_bytes(p->monitor, i), safe = p->profile->pools[i].safe_bytes;
        if (!o3_pool_is_device(p->profile, i) && safe > 0 && used >= 0 && used + growth > safe)
            return p->text_tokens > 0;
    }
    return false;
}

o3_status probe_fresh(probe *p, o3_trial *trial, int64_t tokens, o3_err *err)
{
    if (o3_cancel_get(p->cancel) != O3_CANCEL_NONE)
        return probe_stopped(p, trial, err);
    if (cache_needs_reload(p, tokens)) {
        o3_status status = probe_load(p, trial, err);
        if (status || trial->outcome != O3_OUTCOME_OK)
            return status;
    }
    leave_text(p);
    return take(p, trial, O3_SAMPLE_PREFILL, tokens, PROBE_DECODE_TOKENS, err);
}

o3_status probe_grow(probe *p, o3_trial *trial, int64_t tokens, bool fill, o3_err *err)
{
    int64_t full = p->window_tokens - PROBE_DECODE_TOKENS - FILL_SLACK_TOKENS;
    if (p->text_tokens == 0)
        leave_text(p);
    /* A text goes on at its density to about 1 %: with the answer past the window the engine shifts its cache, and every repeat
     * evaluates the whole prompt anew. */
    full -= (full - p->text_tokens) / 128;
    int before = trial->sample_count;
    o3_status status = take(p, trial, O3_SAMPLE_RUNG, fill || tokens > full ? full : tokens, PROBE_DECODE_TOKENS, err);
    if (!status && fill && trial->outcome == O3_OUTCOME_OK && trial->sample_count > before)
        trial->fills++;
    return status;
}

o3_status probe_again(probe *p, o3_trial *trial, o3_err *err)
{
    return take(p, trial, O3_SAMPLE_DECODE, p->text_tokens, PROBE_DECODE_TOKENS, err);
}
