/* SPDX-License-Identifier: Apache-2.0 */
/* The race: explore, put together, confirm. */
#include "search/race.h"
#include "search_impl.h"

#define LOAD_SPREAD 0.01  /* of a score between two loads of the same knobs, beyond the samples' own */
#define CLEAR_LOSS 0.03   /* a candidate is dropped if surely, and by at least this, behind the best of its knob */
#define TIE_FRAC 0.015     /* shown to differ by less: a tie */
#define ROUNDS_MAX 2      /* explored visits of one candidate */
#define STEEP 0.035        /* gain or loss of one value, in logs, from which on others of its knob are worth a visit */
#define LUCK_MAX 0.03     /* that is taken off for it: where noise is larger, three against three err less often than four */
#define LARGE 0.15        /* a gain that two visits against two can show */
#define ONLY_KNOB_MANY 99 /* of a candidate that differs from the default in several knobs */

/* The finalist first, then the default twice, and so on: what changes steadily with time cancels. */
static const bool fresh_order[SEARCH_RACE_FRESH_MAX] = {true, false, false, true, true, false, false, true};

/* Index of the one knob in which a candidate differs from the default; -1 none. */
static int knob_of(const search_race *r, int index)
{
    int knob = -1;
    for (int i = 0; o3_knob_fields[i].name; i++)
        if (o3_knob_get(&r->candidates[index].knobs, &o3_knob_fields[i]) !=
            o3_knob_get(&r->candidates[0].knobs, &o3_knob_fields[i]))
            knob = knob < 0 ? i : ONLY_KNOB_MANY;
    return knob;
}

/* How many knobs the candidates differ in. */
static int knobs_of(const search_race *r)
{
    int knobs = 0;
    for (int i = 1; i < r->count; i++) {
        bool first = true;
        for (int j = 1; j < i && first; j++)
            first = knob_of(r, j) != knob_of(r, i);
        knobs += first;
    }
    return knobs;
}

/* So many visits to confirm, the rest to explore. */
static void share_out(search_race *r, int fresh)
{
    int least = r->max_trials < 2 ? r->max_trials : 2;
    r->fresh_trials = fresh;
    r->explore_trials = r->max_trials - fresh > least ? r->max_trials - fresh : least;
}

void search_race_start(search_race *r, const search_candidate *candidates, int count, int max_trials,
                       search_weights weights)
{
    double sum = weights.decode + weights.prefill;
    *r = (search_race){.asked = -1, .finalist = -1, .selected = {.best = -1, .selected = NAN, .shrunk = NAN}};
    r->count = count < SEARCH_CANDIDATES_MAX ? count : SEARCH_CANDIDATES_MAX - 1; /* one is for the combination */
    r->max_trials = max_trials < SEARCH_RACE_TRIALS ? max_trials : SEARCH_RACE_TRIALS;
    r->weights = (search_weights){weights.decode / sum, weights.prefill / sum};
    for (int i = 0; i < r->count; i++) {
        search_candidate *c = &r->candidates[i];
        *c = (search_candidate){.knobs = candidates[i].knobs, .prior_ratio = candidates[i].prior_ratio,
                                .cost_s = candidates[i].cost_s};
    }
    bool close = 1 + knobs_of(r) + SEARCH_RACE_FRESH_MAX <= r->max_trials;
    share_out(r, close ? SEARCH_RACE_FRESH_MAX : SEARCH_RACE_FRESH);
}

static bool runs(const search_candidate *c)
{
    return c->standing == SEARCH_STANDING_RUNNING && c->visits > 0;
}

static double estimate(const search_candidate *c, double *ret_se)
{
    double sum = 0, variance = 0;
    for (int i = 0; i < c->visits; i++) {
        sum += c->score[i];
        variance += c->se[i] * c->se[i] + LOAD_SPREAD * LOAD_SPREAD;
    }
    *ret_se = c->visits ? sqrt(variance) / c->visits : NAN;
    return c->visits ? sum / c->visits : NAN;
}

/* Drops what is surely behind the best of its own knob; Holm over all of them, one-sided. */
static void drop_losers(search_race *r)
{
    double p[SEARCH_CANDIDATES_MAX], adjusted[SEARCH_CANDIDATES_MAX], loss[SEARCH_CANDIDATES_MAX];
    for (int i = 0; i < r->count; i++) {
        double se, best_se, mine = estimate(&r->candidates[i], &se);
        int best = -1;
        p[i] = loss[i] = NAN;
        for (int j = 0; j < r->count && i && runs(&r->candidates[i]); j++) {
            double at = estimate(&r->candidates[j], &best_se);
            if (runs(&r->candidates[j]) && (j == 0 || knob_of(r, j) == knob_of(r, i)) && at > mine &&
                (best < 0 || at > mine + loss[i])) {
                best = j;
                loss[i] = at - mine;
                p[i] = stats_normal_tail(loss[i] / hypot(se, best_se));
            }
        }
    }
    stats_holm(p, r->count, adjusted);
    for (int i = 1; i < r->count; i++) {
        search_candidate *c = &r->candidates[i];
        if (adjusted[i] < SEARCH_RACE_ALPHA && loss[i] > CLEAR_LOSS) {
            c->standing = SEARCH_STANDING_DROPPED;
            O3_FORMAT(c->reason, "%.0f %% behind the best of its knob", 100 * (1 - exp(-loss[i])));
        }
    }
}

/* Without a prior a candidate counts as the default's equal; of equals the cheaper goes first. */
static bool goes_before(const search_candidate *a, const search_candidate *b)
{
    double prior_a = isnan(a->prior_ratio) ? 1 : a->prior_ratio, prior_b = isnan(b->prior_ratio) ? 1 : b->prior_ratio;
    return prior_a > prior_b || (!(prior_a < prior_b) && a->cost_s < b->cost_s);
}

static bool knob_seen(const search_race *r, int knob)
{
    bool seen = false;
    for (int i = 1; i < r->count && !seen; i++)
        seen = r->candidates[i].standing != SEARCH_STANDING_WAITING && knob_of(r, i) == knob;
    return seen;
}

/* A value of each knob first: several of one that are all better would take the place of all others. */
static int next_waiting(const search_race *r)
{
    int best = -1;
    bool best_seen = false;
    if (r->candidates[0].standing == SEARCH_STANDING_WAITING)
        return 0;
    for (int i = 1; i < r->count; i++) {
        if (r->candidates[i].standing != SEARCH_STANDING_WAITING)
            continue;
        bool seen = knob_seen(r, knob_of(r, i));
        if (best < 0 || (best_seen && !seen) ||
            (seen == best_seen && goes_before(&r->candidates[i], &r->candidates[best]))) {
            best = i;
            best_seen = seen;
        }
    }
    return best;
}

/* Another round: the default, then those ahead. */
static int next_round(const search_race *r)
{
    int best = -1;
    double se, ahead = -INFINITY;
    for (int i = 0; i < r->count; i++) {
        const search_candidate *c = &r->candidates[i];
        if (!runs(c) || c->visits >= ROUNDS_MAX)
            continue;
        double at = i ? estimate(c, &se) : INFINITY;
        if (best < 0 || at > ahead) {
            best = i;
            ahead = at;
        }
    }
    return best;
}

/* The best value of each knob put together, or a candidate that does better as it is. Fills combined; returns what it
 * looked like, in logs. */
static double combine(const search_race *r, o3_knobs *ret_knobs)
{
    double se, base = estimate(&r->candidates[0], &se), sum = 0, most = 0;
    const search_candidate *whole = NULL;
    *ret_knobs = r->candidates[0].knobs;
    if (isnan(base))
        base = -INFINITY; /* the default failed: anything that works is better */
    for (int knob = 0; o3_knob_fields[knob].name; knob++) {
        double best = 0; /* anything that looks better: the fresh visits decide */
        const search_candidate *chosen = NULL;
        for (int i = 1; i < r->count; i++) {
            double gain = estimate(&r->candidates[i], &se) - base;
            if (runs(&r->candidates[i]) && knob_of(r, i) == knob && gain > best) {
                best = gain;
                chosen = &r->candidates[i];
            }
        }
        if (!chosen)
            continue;
        sum += best;
        o3_knob_set(ret_knobs, &o3_knob_fields[knob], o3_knob_get(&chosen->knobs, &o3_knob_fields[knob]));
    }
    for (int i = 1; i < r->count; i++) {
        double gain = estimate(&r->candidates[i], &se) - base;
        /* Of several it is certain that they can be loaded together only where that was seen, or the caller says so. */
        if (runs(&r->candidates[i]) && gain > most) {
            most = gain;
            whole = &r->candidates[i];
        }
    }
    bool together = isfinite(base) && sum > most && (!r->fits || r->fits(r->ctx, ret_knobs));
    if (!together)
        *ret_knobs = whole ? whole->knobs : r->candidates[0].knobs;
    return together ? sum : most;
}

/* Are visits better spent on exploring than on confirming? Where a knob makes much of a difference, its other values may,
 * too, and fewer visits will show it; where nothing looks better, the default may have been lucky once. */
static bool look_further(search_race *r, bool nothing_better)
{
    double se, base_se, base = estimate(&r->candidates[0], &base_se), most = 0, least = 0;
    if (r->fresh_trials < SEARCH_RACE_FRESH_MAX || r->trials < r->explore_trials)
        return false;
    if (next_waiting(r) < 0 && next_round(r) < 0)
        return false; /* there is nothing to look at */
    for (int i = 1; i < r->count; i++) {
        if (r->candidates[i].visits == 0)
            continue;
        double gain = estimate(&r->candidates[i], &se) - base, luck = fmin(hypot(se, base_se), LUCK_MAX);
        most = fmax(most, gain - luck);
        least = fmin(least, gain + luck);
    }
    if (most > LARGE)
        share_out(r, SEARCH_RACE_FRESH_MIN);
    else if (most > STEEP || least < -STEEP || nothing_better)
        share_out(r, SEARCH_RACE_FRESH);
    return r->trials < r->explore_trials;
}

static void choose_finalist(search_race *r)
{
    double estimates[SEARCH_CANDIDATES_MAX], se[SEARCH_CANDIDATES_MAX], base_se;
    double base = estimate(&r->candidates[0], &base_se);
    o3_knobs knobs;
    double looked = combine(r, &knobs);
    bool none = o3_knobs_equal(&knobs, &r->candidates[0].knobs);
    if (look_further(r, none))
        return;
    for (int i = 1; i < r->count; i++)
        if (r->candidates[i].standing == SEARCH_STANDING_WAITING)
            r->candidates[i].standing = SEARCH_STANDING_LEFT_OUT;
    r->confirming = true;
    r->over = none;
    if (none)
        return;
    for (int i = 0; i < r->count && r->finalist < 0; i++)
        if (o3_knobs_equal(&r->candidates[i].knobs, &knobs))
            r->finalist = i;
    if (r->finalist < 0) {
        r->finalist = r->count++;
        r->candidates[r->finalist] = (search_candidate){.knobs = knobs, .prior_ratio = NAN, .cost_s = NAN,
                                                        .standing = SEARCH_STANDING_RUNNING};
    }
    for (int i = 1; i < r->count; i++) {
        estimates[i - 1] = runs(&r->candidates[i]) ? estimate(&r->candidates[i], &se[i - 1]) - base : NAN;
        se[i - 1] = estimates[i - 1] > -INFINITY ? hypot(se[i - 1], base_se) : NAN;
    }
    r->selected = stats_winner_select(estimates, se, r->count - 1);
    /* A combination promises the sum of its parts; luck is taken off as it would be off the best of them. */
    r->selected.shrunk += looked - r->selected.selected;
    r->selected.selected = looked;
}

static int fresh_visits(const search_race *r)
{
    return r->finalist < 0 ? 0 : r->candidates[r->finalist].fresh_visits + r->candidates[0].fresh_visits;
}

static stats_comparison fresh_comparison(const search_race *r)
{
    const search_candidate *f = &r->candidates[r->finalist], *d = &r->candidates[0];
    return stats_welch(f->fresh, f->fresh_visits, d->fresh, d->fresh_visits, STATS_RATIO, 0.95);
}

static int ask_fresh(search_race *r)
{
    int done = fresh_visits(r);
    bool alone = r->candidates[0].standing == SEARCH_STANDING_FAILED;
    if (r->finalist < 0 || r->candidates[r->finalist].standing == SEARCH_STANDING_FAILED || done == r->fresh_trials ||
        (alone && done > 0))
        return -1;
    if (done == 4 && !(fresh_comparison(r).mid > 1)) /* two pairs, and not even ahead: no third will show it */
        return -1;
    return alone || fresh_order[done] ? r->finalist : 0;
}

/* The next to explore; -1: that is over. */
static int ask_exploring(const search_race *r)
{
    int next = next_waiting(r);
    return r->trials >= r->explore_trials ? -1 : next < 0 ? next_round(r) : next;
}

int search_race_ask(search_race *r)
{
    r->asked = -1;
    if (r->over || r->trials >= r->max_trials) {
        r->over = true;
        return -1;
    }
    while (!r->confirming && !r->over && r->asked < 0) {
        r->asked = ask_exploring(r);
        if (r->asked < 0)
            choose_finalist(r);
    }
    if (r->confirming && !r->over)
        r->asked = ask_fresh(r);
    r->over = r->asked < 0;
    return r->asked;
}

/* Mean log of the samples that are no outliers, and its error; false without any. */
static bool log_mean(const double *x, int n, double *ret_mean, double *ret_variance)
{
    bool keep[STATS_MAX];
    double logs[STATS_MAX];
    int count = 0, looked = n < STATS_MAX ? n : STATS_MAX;
    stats_outliers(x, looked, STATS_OUTLIER_SHARE, keep);
    for (int i = 0; i < looked; i++)
        if (keep[i] && x[i] > 0)
            logs[count++] = log(x[i]);
    double sd = stats_sd(logs, count);
    *ret_mean = stats_mean(logs, count);
    *ret_variance = isnan(sd) ? 0 : sd * sd / count;
    return count > 0;
}

void search_race_tell(search_race *r, o3_outcome outcome, const char *reason, const double *decode, int decodes,
                      const double *prefill, int prefills)
{
    search_candidate *c = &r->candidates[r->asked];
    double means[2] = {0, 0}, variances[2] = {0, 0};
    search_weights w = r->weights;
    r->trials++;
    bool measured = (log_mean(decode, decodes, &means[0], &variances[0]) || !(w.decode > 0)) &
                    (log_mean(prefill, prefills, &means[1], &variances[1]) || !(w.prefill > 0));
    if (outcome != O3_OUTCOME_OK || !measured) {
        c->standing = SEARCH_STANDING_FAILED;
        O3_FORMAT(c->reason, "it %s%s%s",
                  outcome != O3_OUTCOME_OK ? o3_outcome_text(outcome) : "gave no rate to judge by", *reason ? ": " : "",
                  reason);
        return;
    }
    double score = (w.decode > 0 ? w.decode * means[0] : 0) + (w.prefill > 0 ? w.prefill * means[1] : 0);
    c->standing = SEARCH_STANDING_RUNNING;
    if (r->confirming) {
        c->fresh[c->fresh_visits++] = exp(score);
        return;
    }
    c->score[c->visits] = score;
    c->se[c->visits++] = sqrt((w.decode > 0 ? w.decode * w.decode * variances[0] : 0) +
                              (w.prefill > 0 ? w.prefill * w.prefill * variances[1] : 0));
    drop_losers(r);
}

/* No finalist: could the noise of the exploration hide one? */
static o3_race_verdict explored_verdict(const search_race *r)
{
    double se, base_se;
    estimate(&r->candidates[0], &base_se);
    for (int i = 1; i < r->count; i++) {
        estimate(&r->candidates[i], &se);
        if (runs(&r->candidates[i]) && stats_normal_quantile(0.975) * hypot(se, base_se) > 2 * SEARCH_RACE_HIDDEN)
            return O3_RACE_UNDECIDED;
    }
    return O3_RACE_DEFAULT;
}

void search_race_result_of(const search_race *r, search_race_result *ret_result)
{
    search_race_result *out = ret_result;
    bool alone = r->candidates[0].standing == SEARCH_STANDING_FAILED;
    *out = (search_race_result){.gain = {NAN, NAN, NAN}, .promised = NAN, .shrunk = NAN, .trials = r->trials};
    if (!r->over) {
        O3_FORMAT(out->why, "the race is not over: the default is kept");
        return;
    }
    if (r->finalist < 0) {
        out->verdict = explored_verdict(r);
        O3_FORMAT(out->why, alone ? "nothing that was tried works" : out->verdict == O3_RACE_DEFAULT ?
                  "nothing looked better than the default" : "too noisy to tell: the default is kept");
        return;
    }
    const search_candidate *f = &r->candidates[r->finalist];
    if (alone) {
        bool works = f->standing == SEARCH_STANDING_RUNNING && f->fresh_visits > 0;
        out->verdict = works ? O3_RACE_FALLBACK : O3_RACE_UNDECIDED;
        out->best = works ? r->finalist : 0;
        O3_FORMAT(out->why, "the default failed: %s", r->candidates[0].reason);
        return;
    }
    stats_comparison fresh = fresh_comparison(r);
    out->gain = (o3_range){fresh.low, fresh.mid, fresh.high};
    out->promised = exp(r->selected.selected);
    out->shrunk = exp(r->selected.shrunk);
    /* Two against two can be dealt in too few ways: there the distribution has to be assumed, and both
     * sides are counted. */
    double p = r->fresh_trials == SEARCH_RACE_FRESH_MIN ? fresh.p
               : stats_permutation_p(f->fresh, f->fresh_visits, r->candidates[0].fresh, r->candidates[0].fresh_visits);
    bool confirmed = f->standing == SEARCH_STANDING_RUNNING && fresh_visits(r) == r->fresh_trials &&
                     p <= SEARCH_RACE_ALPHA && fresh.mid >= 1 + TIE_FRAC;
    bool repeats = stats_winner_confirm(&r->selected, &fresh).repeats;
    out->best = confirmed ? r->finalist : 0;
    out->verdict = confirmed ? O3_RACE_WINNER : f->standing == SEARCH_STANDING_FAILED ? O3_RACE_DEFAULT :
                   fresh.high < 1 + SEARCH_RACE_HIDDEN || fresh.mid <= 1 - TIE_FRAC ? O3_RACE_DEFAULT : O3_RACE_UNDECIDED;
    if (f->standing == SEARCH_STANDING_FAILED)
        O3_FORMAT(out->why, "what looked best failed on a fresh load: %s", f->reason);
    else
        O3_FORMAT(out->why, "%+.1f %% on fresh loads (95 %%: %+.1f to %+.1f; p %.2g), %+.1f %% when it was chosen%s: %s",
                  100 * (fresh.mid - 1), 100 * (fresh.low - 1), 100 * (fresh.high - 1), p >= 0 ? p : 1, 100 * (out->promised - 1), repeats || isnan(fresh.low) ? "" : " (more than luck explains)",
                  confirmed ? "taken" : "not shown to be better, the default is kept");
}
