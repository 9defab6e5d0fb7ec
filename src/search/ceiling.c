/* SPDX-License-Identifier: Apache-2.0 */
/* The bookkeeping that all strategies share: what loaded, was filled, failed; and how the search is told about it. */
#include "search_impl.h"

#define FLOOR_WORTH 0.03 /* below it more of window than this share pays for another fill */
#define FLOOR_STEP 6     /* back from a window that was too slow: at least the window >> this, each time twice as much */
#define DEEP_FRAC 0.7 /* of the window: what broke before that broke at a depth */

void search_ceiling_init(search_ceiling *s, const o3_profile *profile, const o3_model *model,
                         const o3_setting *setting, int max_iterations, const o3_calibration *calibration)
{
    search_options options = {.max_iterations = max_iterations};
    search_ceiling_start(s, &search_predictive, profile, model, setting, &options, calibration);
}

/* A failure of an earlier run bounds this one from the start. */
static void heed(search_ceiling *s)
{
    int64_t low = 0, high = s->trained / O3_CTX_GRID;
    o3_setting at = o3_setting_at(&s->setting, high * O3_CTX_GRID);
    const search_failure *f = search_failures_find(&s->failures, s->profile, s->model, &at);
    if (!f)
        return;
    while (high - low > 1) { /* low does not fail (0 asks for nothing), high does */
        int64_t middle = (low + high) / 2;
        at = o3_setting_at(&s->setting, middle * O3_CTX_GRID);
        const search_failure *lower = search_failures_find(&s->failures, s->profile, s->model, &at);
        f = lower ? lower : f;
        *(lower ? &high : &low) = middle;
    }
    s->failed = high * O3_CTX_GRID;
    s->failed_kind = O3_STEP_MEASURED;
    s->hole_tried = true;
    O3_COPY(s->failed_reason, f->reason);
}

void search_ceiling_start(search_ceiling *s, const search_strategy *strategy, const o3_profile *profile,
                          const o3_model *model, const o3_setting *setting, const search_options *options,
                          const o3_calibration *calibration)
{
    *s = (search_ceiling){.strategy = strategy, .profile = profile, .model = model, .setting = *setting,
                          .calibration = *calibration, .options = *options, .failed_kind = O3_STEP_TRAINED,
                          .trained = search_grid(model->trained_tokens > 0 ? model->trained_tokens : 131072),
                          .max_iterations = options->max_iterations, .safe_cache = -1};
    search_size_forget(&s->load);
    for (int i = 0; i < O3_MEMORIES_MAX; i++)
        s->untouched_ratio[i] = NAN;
    s->failed = s->trained + O3_CTX_GRID;
    s->spill_expected = profile->gpu_count > 0 && search_spills(s, O3_CTX_GRID, true);
    if (options->known) {
        s->failures = *options->known;
        heed(s);
    }
}

void search_ceiling_batch(search_ceiling *s, int32_t num_batch)
{
    if (num_batch == s->setting.knobs.num_batch)
        return;
    s->setting.knobs.num_batch = num_batch;
    s->safe_cache = -1;
}

/* The very point failed before, here or in an earlier run: one step less. */
static int64_t beside_failures(const search_ceiling *s, int64_t num_ctx)
{
    for (int i = 0; i < s->failures.count; i++) {
        const search_failure *f = &s->failures.items[i];
        if (f->setting.knobs.num_ctx == num_ctx && f->setting.knobs.num_gpu == s->setting.knobs.num_gpu)
            return beside_failures(s, num_ctx - O3_CTX_GRID);
    }
    return num_ctx;
}

/* Too slow is not too big: nothing above keeps the floor either, and the rungs of the visit told about where it is
 * crossed, whatever the strategy. A window that keeps it ends the search, unless it was found to be much faster. */
static int64_t towards_floor(search_ceiling *s)
{
    int64_t high = search_top(s), next = s->keeps < high ? s->keeps : high;
    s->must_fill = true;
    if (s->proven && (s->fills > 1 || (double)(next - s->proven) < FLOOR_WORTH * (double)s->proven))
        return 0;
    return next;
}

int64_t search_ceiling_ask(search_ceiling *s)
{
    int64_t next = s->asked;
    if (s->placement == SEARCH_PLACE_NEXT)
        s->placement = SEARCH_PLACE_ASKED;
    else if (s->keeps)
        next = towards_floor(s);
    else
        next = beside_failures(s, s->strategy->ask(s));
    if (next <= 0)
        return s->asked = 0;
    s->iterations++;
    return s->asked = next;
}

static void fail(search_ceiling *s, o3_outcome outcome, const char *reason)
{
    o3_trial trial = {.asked = s->setting.knobs, .outcome = outcome};
    trial.asked.num_ctx = (int32_t)s->asked;
    O3_COPY(trial.reason, reason);
    search_failures_learn(&s->failures, s->profile, s->model, &s->setting, &trial, false);
    s->surprised = true;
    s->last_failure = outcome;
    if (outcome != O3_OUTCOME_SLOW)
        s->keeps = 0; /* what failed is not about speed: the strategy goes on */
    if (s->asked < s->failed) {
        s->failed = s->asked;
        s->failed_kind = O3_STEP_MEASURED;
        O3_COPY(s->failed_reason, reason);
    }
    if (s->loadable >= s->failed)
        s->loadable = s->proven;
}

/* The server put layers elsewhere although all should fit: asking for all of them is another point. */
static bool try_placement(search_ceiling *s, o3_outcome outcome)
{
    if (s->placement == SEARCH_PLACE_ASKED) { /* that failed as well: as it was given */
        s->placement = SEARCH_PLACE_FAILED;
        s->setting.knobs.num_gpu = O3_UNSET;
        s->safe_cache = -1;
        return false;
    }
    if (outcome != O3_OUTCOME_SPILLED || !s->options.move_placement || s->placement != SEARCH_PLACE_GIVEN ||
        s->profile->gpu_count == 0 ||
        s->setting.knobs.num_gpu != O3_UNSET || s->model->layers <= 0)
        return false;
    s->placement = SEARCH_PLACE_NEXT;
    s->setting.knobs.num_gpu = s->model->layers + 1;
    s->safe_cache = -1;
    return true;
}

/* Only what failed above still bounds: below was a hole, or what a fill takes was not known when it was too dear. */
static void bound_above(search_ceiling *s)
{
    s->failed = s->trained + O3_CTX_GRID;
    s->failed_kind = O3_STEP_TRAINED;
    for (int i = 0; i < s->failures.count; i++) {
        const search_failure *f = &s->failures.items[i];
        if (f->setting.knobs.num_ctx <= s->asked || f->setting.knobs.num_ctx >= s->failed)
            continue;
        s->failed = f->setting.knobs.num_ctx;
        s->failed_kind = O3_STEP_MEASURED;
        O3_COPY(s->failed_reason, f->reason);
    }
    s->surprised = s->failed_kind == O3_STEP_MEASURED;
}

bool search_ceiling_loaded(search_ceiling *s, o3_outcome outcome, const char *reason, int64_t given,
                           const search_reading *read)
{
    if (outcome == O3_OUTCOME_SPILLED && s->asked == O3_CTX_GRID && s->profile->gpu_count > 0 &&
        s->setting.knobs.num_gpu < 0 && !s->spill_expected) {
        s->spill_expected = true; /* there is none that does not; this one is tried again as what it is */
        s->safe_cache = -1;
        return false;
    }
    if (outcome == O3_OUTCOME_SPILLED && s->spill_expected)
        outcome = O3_OUTCOME_OK;
    if (outcome == O3_OUTCOME_CLAMPED && given > s->loadable && given < s->asked) {
        s->given = search_grid(given);
        s->beyond = s->given + O3_CTX_GRID;
    }
    search_size_forget(&s->load);
    if (outcome != O3_OUTCOME_OK) {
        if (!try_placement(s, outcome))
            fail(s, outcome, reason);
        return false;
    }
    if (s->placement == SEARCH_PLACE_ASKED)
        s->placement = SEARCH_PLACE_WORKS;
    if (s->asked > s->failed)
        bound_above(s);
    if (s->asked > s->allocated)
        s->allocated = s->asked;
    if (s->asked > s->loadable)
        s->loadable = s->asked;
    search_size_tell(s, read, false);
    if (s->asked > search_top(s))
        return false;
    return s->must_fill || s->strategy->enough(s);
}

void search_ceiling_reached(search_ceiling *s, int64_t depth_tokens)
{
    s->deep = s->deep || (depth_tokens > 0 && (double)depth_tokens < DEEP_FRAC * (double)s->asked);
    if (depth_tokens > s->reached)
        s->reached = depth_tokens;
}

void search_ceiling_paced(search_ceiling *s, bool slow, int64_t keeps_tokens)
{
    int back = FLOOR_STEP - s->failed_fills;
    int64_t most = slow ? s->asked - (s->asked >> (back > 1 ? back : 1)) : s->failed - O3_CTX_GRID;
    if (!slow && !s->keeps)
        return;
    s->keeps = search_grid(keeps_tokens < most ? keeps_tokens : most);
    if (s->keeps < O3_CTX_GRID)
        s->keeps = O3_CTX_GRID;
}

void search_ceiling_filled(search_ceiling *s, o3_outcome outcome, const char *reason, const search_reading *read)
{
    if (outcome != O3_OUTCOME_OK) {
        s->fill_failed = true;
        s->failed_fills++;
        if (s->proven >= s->asked) /* a later proof at the same size failed */
            s->proven = 0;
        fail(s, outcome, reason);
        return;
    }
    if (s->failed_kind == O3_STEP_BUDGET)
        bound_above(s);
    search_size_tell(s, read, true);
    if (s->asked <= s->setting.knobs.num_batch && s->strategy->careful && read && search_safe_misread(s, 1) < s->asked) {
        fail(s, O3_OUTCOME_OVER_LIMIT, "a whole batch would take it over a safe size");
        return;
    }
    s->fills++; /* one that broke off was no full fill */
    if (s->asked > s->proven)
        s->proven = s->asked;
}

void search_ceiling_budget(search_ceiling *s, int64_t affordable, const char *reason)
{
    s->iterations--; /* nothing was loaded */
    s->failed = affordable + O3_CTX_GRID;
    s->failed_kind = O3_STEP_BUDGET;
    s->hole_tried = true;
    if (s->loadable >= s->failed)
        s->loadable = s->proven;
    O3_COPY(s->failed_reason, reason);
}

/* "predicted 12 MiB over the safe size of cgroup:/x (272 MiB)", or that it would leave the devices. */
static void say_predicted(const search_ceiling *s, int64_t num_ctx, int limiting, o3_ceiling *ret)
{
    char over[32], safe[32];
    o3_estimate e;
    o3_setting at = search_setting_at(s, num_ctx);
    o3_calibration c = search_calibration_at(s, num_ctx);
    o3_predict_bytes(&e, s->profile, s->model, &at, &c);
    double need = e.total_bytes.high;
    for (int i = 0; i < e.pool_count; i++) /* of several memories, the one that is full */
        if (e.pools[i].pool == limiting)
            need = e.pools[i].total_bytes.high;
    ret->next_kind = O3_STEP_PREDICTED;
    if (limiting < 0 || need <= (double)o3_pool_room(s->profile, limiting, false)) {
        o3_fmt_bytes(safe, sizeof(safe), (double)s->setting.fit_target_bytes);
        O3_FORMAT(ret->next_reason, "predicted to spill: the server keeps %s of each device free", safe);
        return;
    }
    o3_fmt_bytes(over, sizeof(over), need - (double)o3_pool_room(s->profile, limiting, false));
    o3_fmt_bytes(safe, sizeof(safe), (double)s->profile->pools[limiting].safe_bytes);
    O3_FORMAT(ret->next_reason, "predicted %s over the safe size of %s (%s)", over, s->profile->pools[limiting].name,
              safe);
}

void search_ceiling_result(const search_ceiling *s, o3_ceiling *ret_ceiling)
{
    int limiting = s->limiting_cache;
    int64_t safe = s->safe_cache >= 0 ? s->safe_cache : search_safe_with(s, &limiting);
    ret_ceiling->proven_tokens = s->proven;
    ret_ceiling->allocated_tokens = s->allocated;
    ret_ceiling->trained_tokens = s->model->trained_tokens;
    ret_ceiling->iterations = s->iterations;
    ret_ceiling->next_num_ctx = s->proven + O3_CTX_GRID;
    ret_ceiling->next_kind = O3_STEP_NONE;
    if (s->proven >= s->trained) {
        ret_ceiling->next_kind = O3_STEP_TRAINED;
        O3_FORMAT(ret_ceiling->next_reason, "the model was trained for %lld tokens",
                  (long long)s->model->trained_tokens);
    } else if (ret_ceiling->next_num_ctx > safe && (limiting >= 0 || s->profile->gpu_count > 0)) {
        say_predicted(s, ret_ceiling->next_num_ctx, limiting, ret_ceiling);
    } else if (s->failed_kind != O3_STEP_TRAINED) {
        ret_ceiling->next_kind = s->failed_kind;
        if (s->failed > ret_ceiling->next_num_ctx) /* the steps between were not tried: loads and fills are counted */
            ret_ceiling->next_num_ctx = s->failed;
        O3_COPY(ret_ceiling->next_reason, s->failed_reason);
    } else {
        O3_FORMAT(ret_ceiling->next_reason, "not tried: it may fit, but another fill was not spent on it");
    }
}
