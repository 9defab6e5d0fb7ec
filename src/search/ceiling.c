/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"
#include "search/search.h"

/* Once something is proven, less than this share more of window does not pay for another fill. */
#define WORTH_MOVING 0.03
#define FILLS_MAX 2 /* the second proof is the third full fill */

static int64_t grid(int64_t tokens)
{
    return tokens / O3_CTX_GRID * O3_CTX_GRID;
}

static int64_t predicted(const search_ceiling *s, int *ret_limiting)
{
    return o3_predict_ceiling(s->profile, s->model, &s->setting, false, &s->calibration, ret_limiting);
}

void search_ceiling_init(search_ceiling *s, const o3_profile *profile, const o3_model *model,
                         const o3_setting *setting, int max_iterations, const o3_calibration *calibration)
{
    *s = (search_ceiling){.profile = profile, .model = model, .setting = *setting, .calibration = *calibration,
                          .trained = grid(model->trained_tokens > 0 ? model->trained_tokens : 131072),
                          .max_iterations = max_iterations, .failed_kind = O3_STEP_TRAINED};
    s->failed = s->trained + O3_CTX_GRID;
}

/* Largest context that is still possible. */
static int64_t top(const search_ceiling *s)
{
    int64_t safe = predicted(s, NULL);
    return safe < s->failed ? safe : s->failed - O3_CTX_GRID;
}

int64_t search_ceiling_ask(search_ceiling *s)
{
    /* Where a fill failed although the load went well, loads say nothing any more: only fills halve what is left. */
    int64_t low = s->loadable > s->proven && !s->fill_failed ? s->loadable : s->proven;
    int64_t high = top(s), next = high;
    bool measured = s->failed_kind == O3_STEP_MEASURED;
    s->must_fill = s->fill_failed || s->iterations >= s->max_iterations || high <= low;
    if (s->fills >= FILLS_MAX || (s->fill_failed && s->iterations >= s->max_iterations))
        return s->asked = 0;
    if (s->given > 0 && s->given <= high)
        next = s->given;
    else if (s->beyond > 0 && s->beyond <= high)
        next = s->beyond; /* is it really the end? */
    else if (s->must_fill && !s->fill_failed)
        next = s->loadable < high ? s->loadable : high; /* not filled yet, if it is above what is proven */
    else if (measured) /* the prediction was wrong: halve what is left, by loads alone where they can tell */
        next = grid((low + high + O3_CTX_GRID) / 2);
    if (!s->given)
        s->beyond = 0;
    s->given = 0;
    if (next <= s->proven || (double)(next - s->proven) < WORTH_MOVING * (double)s->proven)
        return s->asked = 0;
    s->iterations++;
    return s->asked = next;
}

static void fail(search_ceiling *s, int64_t num_ctx, const char *reason)
{
    if (num_ctx < s->failed) {
        s->failed = num_ctx;
        s->failed_kind = O3_STEP_MEASURED;
        O3_COPY(s->failed_reason, reason);
    }
    if (s->loadable >= s->failed)
        s->loadable = s->proven;
}

/* The formula's slope is exact while num_batch is pinned, so one measured size fixes the offset. */
static void calibrate(search_ceiling *s, int64_t runner_bytes, bool compute_touched)
{
    o3_estimate e;
    if (runner_bytes <= 0)
        return;
    o3_setting at = o3_setting_at(&s->setting, s->asked);
    o3_calibration none = O3_CALIBRATION_NONE;
    o3_predict(&e, s->profile, s->model, &at, &none);
    double formula = e.weights_bytes.mid + e.kv_bytes.mid + e.state_bytes.mid + e.output_bytes.mid + e.compute_bytes.mid;
    /* After a load the compute buffer is reserved but not yet written; it will be by the first full batch. */
    double measured = (double)runner_bytes + (compute_touched ? 0 : e.compute_bytes.high);
    double offset = measured - formula;
    s->calibration.offset_bytes = offset;
    s->calibration.loads++;
}

bool search_ceiling_loaded(search_ceiling *s, o3_outcome outcome, const char *reason, int64_t given,
                           int64_t runner_bytes)
{
    if (outcome == O3_OUTCOME_CLAMPED && given > s->loadable && given < s->asked) {
        s->given = grid(given);
        s->beyond = s->given + O3_CTX_GRID;
    }
    if (outcome != O3_OUTCOME_OK) {
        fail(s, s->asked, reason);
        return false;
    }
    if (s->asked > s->allocated)
        s->allocated = s->asked;
    if (s->asked > s->loadable)
        s->loadable = s->asked;
    calibrate(s, runner_bytes, false);
    int64_t high = top(s);
    if (s->asked > high)
        return false;
    /* Where prediction is the bound, a little more is noise of the reading; where a failure is, the grid is exact. */
    bool predicted_bound = high < s->failed - O3_CTX_GRID;
    double more = (double)(high - s->asked);
    return s->must_fill || more <= (predicted_bound ? WORTH_MOVING * (double)s->asked : 0);
}

void search_ceiling_filled(search_ceiling *s, o3_outcome outcome, const char *reason, int64_t runner_bytes)
{
    if (outcome != O3_OUTCOME_OK) {
        s->fill_failed = true;
        if (s->proven >= s->asked) /* a later proof at the same size failed */
            s->proven = 0;
        fail(s, s->asked, reason);
        return;
    }
    s->fills++; /* one that broke off was no full fill */
    if (s->asked > s->proven)
        s->proven = s->asked;
    calibrate(s, runner_bytes, true);
}

void search_ceiling_budget(search_ceiling *s, int64_t affordable, const char *reason)
{
    s->iterations--; /* nothing was loaded */
    s->failed = affordable + O3_CTX_GRID;
    s->failed_kind = O3_STEP_BUDGET;
    if (s->loadable >= s->failed)
        s->loadable = s->proven;
    O3_COPY(s->failed_reason, reason);
}

/* "predicted 12 MiB over the safe size of cgroup:/x (272 MiB)" */
static void say_predicted(const search_ceiling *s, int64_t num_ctx, int limiting, o3_ceiling *ret)
{
    char over[32], safe[32];
    o3_estimate e;
    o3_setting at = o3_setting_at(&s->setting, num_ctx);
    o3_predict(&e, s->profile, s->model, &at, &s->calibration);
    o3_fmt_bytes(over, sizeof(over), e.total_bytes.high - (double)o3_pool_room(s->profile, limiting, false));
    o3_fmt_bytes(safe, sizeof(safe), (double)s->profile->pools[limiting].safe_bytes);
    ret->next_kind = O3_STEP_PREDICTED;
    O3_FORMAT(ret->next_reason, "predicted %s over the safe size of %s (%s)", over, s->profile->pools[limiting].name,
              safe);
}

void search_ceiling_result(const search_ceiling *s, o3_ceiling *ret_ceiling)
{
    int limiting;
    int64_t safe = predicted(s, &limiting);
    ret_ceiling->proven_tokens = s->proven;
    ret_ceiling->allocated_tokens = s->allocated;
    ret_ceiling->trained_tokens = s->model->trained_tokens;
    ret_ceiling->iterations = s->iterations;
    ret_ceiling->next_num_ctx = s->proven + O3_CTX_GRID;
    ret_ceiling->next_kind = O3_STEP_NONE;
    if (s->proven >= s->trained) {
        ret_ceiling->next_kind = O3_STEP_TRAINED;
        O3_FORMAT(ret_ceiling->next_reason, "the model was trained for %lld tokens", (long long)s->model->trained_tokens);
    } else if (ret_ceiling->next_num_ctx > safe && limiting >= 0) {
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
