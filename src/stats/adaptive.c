/* SPDX-License-Identifier: Apache-2.0 */
/* How many repeats: a few looks that share the error among them. */
#include "stats_impl.h"

const stats_rule stats_rule_measure = {
    .looks = 4, .at = {5, 8, 12, 20}, .alpha = STATS_ALPHA, .precision_frac = 0.05, .reference = NAN, .margin = NAN};
const stats_rule stats_rule_compare = {
    .looks = 4, .at = {3, 5, 8, 12}, .alpha = STATS_ALPHA, .precision_frac = NAN, .reference = 0, .margin = 0.0296};

static bool usable(const stats_rule *rule)
{
    bool ok = rule->looks >= 1 && rule->looks <= STATS_LOOKS_MAX && rule->alpha > 0 && rule->alpha < 1;
    for (int i = 0; ok && i < rule->looks; i++)
        ok = rule->at[i] > (i ? rule->at[i - 1] : 1) && rule->at[i] <= STATS_MAX;
    return ok;
}

void stats_adaptive_start(stats_adaptive *s, const stats_rule *rule)
{
    *s = (stats_adaptive){.rule = *rule, .interval = STATS_INTERVAL_NONE};
    s->stop = usable(rule) ? STATS_GO_ON : STATS_CAP;
}

int stats_adaptive_ask(const stats_adaptive *s)
{
    return s->stop == STATS_GO_ON ? s->rule.at[s->look] - s->n : 0;
}

/* Missing wishes are NaN, and no comparison with NaN is true. */
static stats_stop seen(const stats_adaptive *s)
{
    const stats_rule *rule = &s->rule;
    const stats_interval *i = &s->interval;
    if (i->high - i->mid <= rule->precision_frac * fabs(i->mid))
        return STATS_PRECISE;
    if (i->low > rule->reference - rule->margin && i->high < rule->reference + rule->margin)
        return STATS_SAME;
    if (i->low > rule->reference || i->high < rule->reference)
        return i->low > rule->reference ? STATS_ABOVE : STATS_BELOW;
    return STATS_GO_ON;
}

void stats_adaptive_tell(stats_adaptive *s, double value)
{
    const stats_rule *rule = &s->rule;
    if (s->stop != STATS_GO_ON)
        return;
    s->attempts++;
    if (isfinite(value)) {
        double delta = value - s->mean;
        s->mean += delta / ++s->n;
        s->squares += delta * (value - s->mean);
    }
    if (isfinite(value) && s->n == rule->at[s->look]) {
        double se = sqrt(s->squares / (s->n - 1) / s->n);
        s->interval = stats_interval_about(s->mean, se, s->n - 1, 1 - rule->alpha / rule->looks);
        s->stop = seen(s);
        s->look++;
    }
    if (s->stop == STATS_GO_ON && (s->look == rule->looks || s->attempts >= 2 * rule->at[rule->looks - 1]))
        s->stop = STATS_CAP;
}
