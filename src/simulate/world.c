/* SPDX-License-Identifier: Apache-2.0 */
/* An engine that is a formula: it loads, clamps, refuses with token counts, caches prefixes, spills, and dies where
 * memory ends. One loaded model, one slot, as tune/ uses a server. */
#include "simulate_impl.h"

#define START_S 0.35           /* of a runner process */
#define CACHE_MAX_BYTES (8.0 * 1073741824.0) /* of the host prompt cache */
#define TEXT_SPREAD 0.02       /* texts differ in characters a token */
#define BURST_LONG_S 20.0
#define BATCH_TOKENS 512.0
#define CHARS_FLOOR 40.0       /* a template's tokens, in characters */

static sim_world *world_of(o3_engine *engine)
{
    return (sim_world *)engine;
}

/* A share of [now, now + seconds) that a burst of somebody else's work covers; the next burst is drawn as time goes. */
static double burst_overlap(sim_world *w, double seconds)
{
    double gap = w->truth->burst_gap_s;
    int64_t end = w->now_ns + (int64_t)(seconds * 1e9);
    if (isinf(gap) || seconds <= 0)
        return 0;
    while (w->burst_to_ns <= w->now_ns) {
        w->burst_from_ns = w->burst_to_ns + (int64_t)(-gap * log(1 - o3_rng_unit(&w->rng)) * 1e9);
        w->burst_to_ns = w->burst_from_ns + (int64_t)((2 + (BURST_LONG_S - 2) * o3_rng_unit(&w->rng)) * 1e9);
        w->burst_share = 0.2 + 0.4 * o3_rng_unit(&w->rng);
    }
    int64_t from = w->burst_from_ns > w->now_ns ? w->burst_from_ns : w->now_ns;
    int64_t to = w->burst_to_ns < end ? w->burst_to_ns : end;
    return to > from ? (double)(to - from) / (double)(end - w->now_ns) : 0;
}

/* What work of `seconds` takes this time. */
static double disturbed_s(sim_world *w, double seconds)
{
    const sim_truth *t = w->truth;
    double factor = w->load_factor * exp(t->noise * sim_normal(&w->rng));
    if (o3_rng_unit(&w->rng) < t->tail_share)
        factor *= 1 + 6 * t->noise * fabs(sim_normal(&w->rng));
    factor *= 1 + t->drift_per_hour * fmin((double)w->now_ns / 3.6e12, 1);
    factor *= w->busy_s > t->throttle_after_s ? t->throttle_factor : 1;
    double overlap = burst_overlap(w, seconds * factor), share = w->burst_share;
    factor *= 1 + overlap * share / (1 - fmin(share, 0.9));
    w->foreign_s += overlap * share * seconds * factor;
    w->busy_s += seconds * factor;
    return seconds * factor;
}

static void fail_reply(o3_reply *reply, o3_outcome outcome, const char *error)
{
    reply->outcome = outcome;
    O3_COPY(reply->error, error);
}

static void drop_runner(sim_world *w)
{
    memset(w->runner, 0, sizeof(w->runner));
    w->loaded = false;
    w->touched_frac = w->cache_bytes = 0;
    w->text_seed = 0;
    w->text_tokens = 0;
}

/* sim_pass that failed: the kernel killed, or the token is set. */
static void broken_off(sim_world *w, int64_t kills_before, o3_reply *reply)
{
    bool killed = w->oom_kills > kills_before;
    fail_reply(reply, killed ? O3_OUTCOME_CRASH : O3_OUTCOME_CANCELLED,
               killed ? "llama runner process has terminated: signal: killed" : "cancelled");
    if (killed)
        drop_runner(w);
}

static bool in_hole(const sim_world *w, bool at_run)
{
    const sim_truth *t = w->truth;
    return t->hole_at_run == at_run && w->in_force.num_ctx >= t->hole_low && w->in_force.num_ctx < t->hole_high;
}

/* A device that cannot give what is asked for says so before anything is touched. */
static bool refused_by_device(const sim_world *w)
{
    const sim_truth *t = w->truth;
    for (int i = 0; i < t->profile->pool_count; i++)
        if (t->hard_is_refusal[i] && w->bytes.pool[i] > 0 && (double)t->profile->pools[i].used_bytes +
            w->bytes.pool[i] > t->hard_frac[i] * (double)t->profile->pools[i].total_bytes)
            return true;
    return false;
}

/* False with the reply filled if it does not come to anything. */
static bool load(sim_world *w, const o3_generate *request, o3_reply *reply)
{
    const sim_truth *t = w->truth;
    int64_t start = w->now_ns, kills = w->oom_kills;
    double delta[O3_POOLS_MAX], seconds = START_S + (double)t->model->weight_bytes / t->load_bytes_per_s;
    drop_runner(w);
    w->in_force = request->knobs;
    if (w->in_force.num_ctx == O3_UNSET)
        w->in_force.num_ctx = (int32_t)o3_default_window(t->profile, t->model, SIM_VERSION);
    int64_t most = t->model->trained_tokens < t->clamp_tokens ? t->model->trained_tokens : t->clamp_tokens;
    if (w->in_force.num_ctx > most)
        w->in_force.num_ctx = (int32_t)most;
    w->bytes = sim_truth_bytes(t, &w->in_force);
    w->load_factor = exp(t->load_spread * sim_normal(&w->rng));
    w->loads++;
    if (refused_by_device(w) || in_hole(w, false)) {
        sim_pass(w, seconds / 2, NULL);
        fail_reply(reply, in_hole(w, false) ? O3_OUTCOME_CRASH : O3_OUTCOME_OOM_LOAD,
                   "llama runner process has terminated: error loading model: unable to allocate buffer");
        return false;
    }
    for (int i = 0; i < t->profile->pool_count; i++)
        delta[i] = w->bytes.pool[i] - w->bytes.untouched[i];
    if (!sim_pass(w, disturbed_s(w, seconds), delta)) {
        broken_off(w, kills, reply);
        return false;
    }
    w->loaded = true;
    reply->load_ns = w->now_ns - start;
    return true;
}

/* The text's own density, the same each time it is sent. */
static int64_t count_tokens(const sim_world *w, uint64_t seed, size_t chars)
{
    o3_rng rng;
    o3_rng_seed(&rng, seed, 7);
    double density = w->truth->chars_per_token * (1 + TEXT_SPREAD * (2 * o3_rng_unit(&rng) - 1));
    return (int64_t)(((double)chars + CHARS_FLOOR) / density);
}

/* Another text than the one before: its cells move to the host prompt cache. */
static bool begin_text(sim_world *w, uint64_t seed)
{
    const o3_profile *p = w->truth->profile;
    double delta[O3_POOLS_MAX] = {0}, grown = 0;
    if (w->text_seed == seed)
        return true;
    if (w->text_tokens > 0) {
        grown = (double)(w->text_tokens * w->bytes.text_bytes_per_token);
        grown = fmax(0, fmin(grown, CACHE_MAX_BYTES - w->cache_bytes));
    }
    for (int i = 0; i < p->pool_count; i++) {
        delta[i] = grown;
        for (int g = 0; g < p->gpu_count; g++)
            delta[i] = p->gpus[g].pool == i ? 0 : delta[i];
    }
    w->cache_bytes += grown;
    w->text_seed = seed;
    w->text_tokens = 0;
    return sim_pass(w, 0.01 + grown / 4e9, delta);
}

/* The first full batch writes what the load only reserved. */
static bool touch(sim_world *w, double tokens, double *prefill_s)
{
    double share = fmin(1, tokens / BATCH_TOKENS), seconds = *prefill_s * fmin(1, BATCH_TOKENS / fmax(tokens, 1));
    double delta[O3_POOLS_MAX] = {0};
    if (share <= w->touched_frac)
        return true;
    for (int i = 0; i < w->truth->profile->pool_count; i++)
        delta[i] = (share - w->touched_frac) * w->bytes.untouched[i];
    w->touched_frac = share;
    *prefill_s -= seconds;
    return sim_pass(w, seconds, delta);
}

static bool thrashing(const sim_world *w, double depth)
{
    const sim_truth *t = w->truth;
    for (int i = 0; i < t->profile->pool_count; i++)
        if (w->runner[i] > 0 && !t->hard_is_refusal[i] && sim_level(w, i) > t->thrash_frac * (double)t->profile->pools[i].safe_bytes)
            return depth > t->thrash_depth_frac * w->in_force.num_ctx;
    return false;
}

static bool evaluate(sim_world *w, const o3_generate *request, int64_t tokens, o3_reply *reply)
{
    const sim_truth *t = w->truth;
    bool known = w->text_seed == request->prompt_seed;
    double cached = known ? fmin((double)w->text_tokens, (double)tokens - 1) : 0, depth = (double)tokens;
    double slow = thrashing(w, depth) ? t->thrash_factor : 1;
    double prefill = sim_knobs_speed(t, &w->in_force, fmax(2, depth - cached)), decode = sim_knobs_speed(t, &w->in_force, 1);
    double prefill_s = disturbed_s(w, sim_prefill_s(t, cached, depth) / prefill + sim_decode_s(t, depth) / decode) * slow;
    double decode_s = disturbed_s(w, (request->num_predict - 1) * sim_decode_s(t, depth) / decode) * slow;
    double all_s = t->request_s + prefill_s + decode_s, deadline_s = (double)request->deadline_ns / 1e9, left_s = prefill_s;
    int64_t start = w->now_ns;
    if (all_s > 1 && request->on_wait)
        request->on_wait(request->ctx);
    if (deadline_s > 0 && all_s > deadline_s) {
        if (sim_pass(w, deadline_s, NULL))
            fail_reply(reply, O3_OUTCOME_TIMEOUT, "no answer within the deadline");
        return reply->error[0] != '\0';
    }
    if (!begin_text(w, request->prompt_seed) || !touch(w, depth - cached, &left_s) || !sim_pass(w, left_s, NULL))
        return false;
    if (in_hole(w, true) && depth > 0.8 * w->in_force.num_ctx) {
        fail_reply(reply, O3_OUTCOME_CRASH, "llama runner process no longer running");
        drop_runner(w);
        return true;
    }
    w->text_tokens = tokens;
    if (!sim_pass(w, t->request_s + decode_s, NULL))
        return false;
    reply->prompt_eval_ns = (int64_t)(prefill_s * 1e9);
    reply->eval_ns = (int64_t)(decode_s * 1e9);
    reply->ttft_ns = (int64_t)((t->request_s + prefill_s) * 1e9);
    reply->total_ns = reply->wall_ns = w->now_ns - start;
    return true;
}

static o3_status op_generate(o3_engine *engine, const o3_generate *request, o3_reply *ret_reply, o3_err *err)
{
    sim_world *w = world_of(engine);
    o3_reply *r = ret_reply;
    (void)err;
    *r = (o3_reply){.outcome = O3_OUTCOME_OK, .http_status = 200, .refused_tokens = -1, .prompt_tokens = -1,
                    .eval_tokens = -1, .load_ns = -1, .prompt_eval_ns = -1, .eval_ns = -1, .total_ns = -1,
                    .ttft_ns = -1, .wall_ns = -1, .prompt_chars = request->prompt ? request->prompt_chars : 0};
    int64_t kills = w->oom_kills;
    if (o3_cancel_get(request->cancel) != O3_CANCEL_NONE) {
        fail_reply(r, O3_OUTCOME_CANCELLED, "cancelled");
        return O3_OK;
    }
    if (!w->loaded && !load(w, request, r))
        return O3_OK;
    if (!request->prompt) {
        r->done = true;
        return O3_OK;
    }
    int64_t tokens = count_tokens(w, request->prompt_seed, request->prompt_chars);
    if (tokens >= w->in_force.num_ctx) {
        sim_pass(w, w->truth->request_s, NULL);
        r->refused_tokens = tokens;
        fail_reply(r, O3_OUTCOME_TOO_LONG, "the request exceeds the available context size");
        return O3_OK;
    }
    if (!evaluate(w, request, tokens, r)) {
        broken_off(w, kills, r);
        return O3_OK;
    }
    if (r->outcome == O3_OUTCOME_OK) {
        r->done = true;
        r->prompt_tokens = tokens;
        r->eval_tokens = r->chunks = request->num_predict;
    }
    return O3_OK;
}

static o3_status op_loads(o3_engine *engine, o3_engine_loads *ret_loads, o3_err *err)
{
    sim_world *w = world_of(engine);
    (void)err;
    ret_loads->count = w->loaded;
    if (!w->loaded)
        return O3_OK;
    o3_engine_loaded *l = &ret_loads->items[0];
    O3_COPY(l->name, w->truth->model->name);
    O3_COPY(l->digest, w->truth->model->digest);
    bool whole = w->truth->profile->gpu_count > 0 && !w->bytes.spilled;
    l->size_bytes = (int64_t)w->bytes.all;
    l->size_vram_bytes = whole ? l->size_bytes : (int64_t)w->bytes.device;
    l->context_length = w->in_force.num_ctx;
    return O3_OK;
}

static o3_status op_runner(o3_engine *engine, int server_pid, const char *blob_path, o3_runner *ret_runner, o3_err *err)
{
    sim_world *w = world_of(engine);
    (void)server_pid;
    (void)blob_path;
    (void)err;
    *ret_runner = (o3_runner){.pid = -1, .in_force = w->in_force, .parallel = 1};
    return O3_OK;
}

static o3_status op_unload(o3_engine *engine, const char *model, int64_t timeout_ns, o3_err *err)
{
    sim_world *w = world_of(engine);
    (void)model;
    (void)timeout_ns;
    (void)err;
    if (!w->loaded && w->runner[0] <= 0)
        return O3_OK;
    drop_runner(w);
    sim_pass(w, 0.3, NULL);
    return O3_OK;
}

/* Machine and model are given to tune/ (o3_world), so nothing is listed, shown, pulled or made here. */
static const struct engine_ops engine_simulated = {
    .name = "simulated", .runner = op_runner, .loads = op_loads, .generate = op_generate, .unload = op_unload,
};

static int64_t clock_now(void *ctx)
{
    return ((sim_world *)ctx)->now_ns;
}

static void clock_sleep(void *ctx, int64_t ns)
{
    sim_world *w = ctx;
    sim_pass(w, (double)ns / 1e9, NULL);
    w->busy_s = fmax(0, w->busy_s - 2 * (double)ns / 1e9); /* it cools down */
}

void sim_world_start(sim_world *world, const sim_truth *truth, uint64_t seed, o3_cancel *cancel)
{
    sim_world *w = world;
    *w = (sim_world){.truth = truth, .cancel = cancel, .load_factor = 1, .over_since_ns = -1};
    o3_rng_seed(&w->rng, seed, 3);
    w->engine.ops = &engine_simulated;
    w->engine.local = true;
    w->engine.caps_known = true;
    w->engine.caps = (o3_engine_caps){.truncate_flag = true, .refusal_counts = true, .llama_server = true};
    O3_COPY(w->engine.caps.version, SIM_VERSION);
    O3_COPY(w->engine.url, "simulated");
    w->sensors.base.ops = &sim_monitor_ops;
    w->sensors.world = w;
    w->clock = (o3_clock){.now_ns = clock_now, .sleep_ns = clock_sleep, .ctx = w};
}
