/* SPDX-License-Identifier: Apache-2.0 */
/* Rates on private servers, in turns there and back (A B C C B A): a drift of the machine hits all rows alike, and each
 * visit is compared with the neighbour of the same turn. The visit is the unit, as everywhere between loads. */
#include "own_impl.h"

#define TURNS_FRAC 0.6 /* of the time that is left, for all of them: decides the depth */

static double median_near(const o3_trial *trial, int64_t depth, bool decode, bool *disturbed)
{
    double x[O3_SAMPLES_MAX];
    int n = 0;
    for (int pass = 0; pass < 2 && !n; pass++) {
        *disturbed = pass > 0;
        for (int i = 0; i < trial->sample_count; i++) {
            const o3_sample *sample = &trial->samples[i];
            double rate = decode ? sample->decode_per_s : sample->prefill_per_s;
            bool near = llabs((long long)(sample->prompt_tokens - depth)) * 8 <= depth;
            if (sample->outcome == O3_OUTCOME_OK && near && rate > 0 && (pass || !sample->disturbed))
                x[n++] = rate;
        }
    }
    return n ? stats_median(x, n) : (double)NAN;
}

visit_plan own_turn_plan(const own *o, int64_t depth, const char *prefix, int turn)
{
    visit_plan plan = {.knobs = o->s->setting.knobs, .race = true};
    plan.knobs.num_ctx = (int32_t)o->num_ctx;
    plan.knobs.num_batch = heat_batch(o->s, plan.knobs.num_batch);
    O3_FORMAT(plan.purpose, "%sturn-%d", prefix, turn + 1);
    visit_add_rung(&plan, depth, o->s->samples);
    return plan;
}

static o3_status take_turn(own *o, int index, o3_err *err)
{
    bool a, b;
    const o3_trial *trial;
    o3_server_row *row = &o->s->result->servers[index];
    int turn = o->taken[index];
    o3_status status = own_open(o, index, err);
    if (status)
        return status;
    visit_plan plan = own_turn_plan(o, o->depth, o->sub->prefix, turn);
    tune_say(o->sub, O3_EVENT_PROGRESS, "Servers: turn %d of %d", turn + 1, OWN_TURNS);
    status = visit_run(o->sub, &plan, &trial, err);
    if (!status && trial->outcome == O3_OUTCOME_OK)
        status = own_believe(o, trial, err);
    if (status || row->note[0])
        return status;
    if (trial->outcome != O3_OUTCOME_OK) {
        o->out_of_time = o->out_of_time || trial->outcome == O3_OUTCOME_CANCELLED;
        O3_FORMAT(row->note, "its rates: the visit %s (%.280s)", o3_outcome_text(trial->outcome), trial->reason);
        return O3_OK;
    }
    cost_learn(o->sub, trial);
    o->decode[index][turn] = median_near(trial, o->depth, true, &a);
    o->prefill[index][turn] = median_near(trial, o->depth, false, &b);
    o->disturbed[index] = o->disturbed[index] || a || b;
    o->taken[index]++;
    return O3_OK;
}

static bool compared(const own *o, int index)
{
    const o3_server_row *row = &o->s->result->servers[index];
    int64_t fits = row->window_tokens > 0 ? row->window_tokens : row->predicted_tokens;
    return !row->note[0] && fits >= o->num_ctx;
}

static int count_compared(const own *o)
{
    int count = 0;
    for (int i = 0; i < o->s->result->server_count; i++)
        count += compared(o, i);
    return count;
}

/* The depth of the turns: half of the window, where the cache weighs, or less if there is no time for it. */
static bool choose_depth(own *o)
{
    session *s = o->s;
    int64_t depths[] = {o->num_ctx / 2, o->num_ctx / 4, presets_equal_depth(o->num_ctx)};
    for (int i = 0; i < O3_COUNT(depths); i++) {
        o->depth = depths[i];
        visit_plan plan = own_turn_plan(o, o->depth, "", 0);
        double price = OWN_TURNS * count_compared(o) * (cost_visit_s(s, &plan) + o->start_s);
        if (price <= TURNS_FRAC * tune_left_s(s))
            return true;
    }
    return false;
}

o3_status own_take_turns(own *o, o3_err *err)
{
    o3_result *r = o->s->result;
    if (r->servers[0].window_tokens <= 0)
        return O3_OK;
    o->num_ctx = r->servers[0].window_tokens;
    if (count_compared(o) < 2)
        return O3_OK;
    if (!choose_depth(o)) {
        o->out_of_time = true;
        o3_note(&r->notes, "private servers: no time is left to compare their speed");
        return O3_OK;
    }
    for (int turn = 0; turn < OWN_TURNS; turn++) {
        for (int k = 0; k < r->server_count; k++) {
            int i = turn % 2 ? r->server_count - 1 - k : k;
            o3_err why = {0};
            int64_t begin = o3_now_ns();
            o3_status status = compared(o, i) ? take_turn(o, i, &why) : O3_OK;
            r->servers[i].wall_s += (double)(o3_now_ns() - begin) / 1e9;
            if (status)
                status = own_failed(o, i, status, why.message, err);
            if (status)
                return status;
        }
    }
    return O3_OK;
}

static o3_range ratio_of(const double *a, const double *b, int n)
{
    stats_comparison c = stats_paired(a, b, n, STATS_RATIO, STATS_CONFIDENCE);
    return n ? (o3_range){c.low, c.mid, c.high} : (o3_range){NAN, NAN, NAN};
}

void own_take_rates(own *o)
{
    o3_result *r = o->s->result;
    for (int i = 0; i < r->server_count; i++) {
        o3_server_row *row = &r->servers[i];
        int n = o->taken[i] < o->taken[0] ? o->taken[i] : o->taken[0];
        row->measured = row->window_tokens > 0 || n > 0;
        row->turns = n;
        if (!n)
            continue;
        row->compared_num_ctx = o->num_ctx;
        row->decode_per_s = stats_measure(o->decode[i], n, o->depth, false);
        row->prefill_per_s = stats_measure(o->prefill[i], n, o->depth, false);
        row->decode_per_s.disturbed = row->prefill_per_s.disturbed = o->disturbed[i] || o->disturbed[0];
        if (i) {
            row->decode_ratio = ratio_of(o->decode[i], o->decode[0], n);
            row->prefill_ratio = ratio_of(o->prefill[i], o->prefill[0], n);
        }
    }
}

