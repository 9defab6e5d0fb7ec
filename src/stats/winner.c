/* SPDX-License-Identifier: Apache-2.0 */
/* The winner: what its estimate owes to having been chosen, and whether a fresh load agrees. */
#include "stats_impl.h"

/* DerSimonian & Laird 1986: the weighted spread of the estimates beyond what their errors explain. */
static double spread_between(const double *estimate, const double *se, int k, double *ret_centre)
{
    double weights = 0, squares = 0, sum = 0, excess = 0;
    int count = 0;
    for (int i = 0; i < k; i++) {
        if (!isfinite(estimate[i]) || !(se[i] > 0))
            continue;
        double w = 1 / (se[i] * se[i]);
        weights += w;
        squares += w * w;
        sum += w * estimate[i];
        count++;
    }
    *ret_centre = sum / weights;
    for (int i = 0; i < k; i++)
        if (isfinite(estimate[i]) && se[i] > 0)
            excess += pow((estimate[i] - *ret_centre) / se[i], 2);
    return count < 2 ? NAN : fmax(0, (excess - (count - 1)) / (weights - squares / weights));
}

/* The centre with the candidates' own spread in the weights. */
static double random_effects_centre(const double *estimate, const double *se, int k, double between)
{
    double weights = 0, sum = 0;
    for (int i = 0; i < k; i++) {
        if (!isfinite(estimate[i]) || !(se[i] > 0))
            continue;
        double w = 1 / (se[i] * se[i] + between);
        weights += w;
        sum += w * estimate[i];
    }
    return sum / weights;
}

stats_winner stats_winner_select(const double *estimate, const double *se, int k)
{
    stats_winner w = {.best = -1, .selected = NAN, .shrunk = NAN, .curse = NAN, .se = NAN};
    double centre;
    for (int i = 0; i < k; i++)
        if (isfinite(estimate[i]) && (w.best < 0 || estimate[i] > estimate[w.best]))
            w.best = i;
    if (w.best < 0)
        return w;
    w.selected = w.shrunk = estimate[w.best];
    w.se = se[w.best];
    w.curse = 0;
    double between = spread_between(estimate, se, k, &centre);
    if (isnan(between) || !(w.se > 0))
        return w;
    centre = random_effects_centre(estimate, se, k, between);
    double luck = w.se * w.se / (w.se * w.se + between);
    w.curse = fmax(0, luck * (w.selected - centre)); /* the best may lie below a mean that surer ones dominate */
    w.shrunk = w.selected - w.curse;
    return w;
}

stats_confirmation stats_winner_confirm(const stats_winner *winner, const stats_comparison *fresh)
{
    double measured = fresh->scale == STATS_RATIO ? log(fresh->mid) : fresh->mid;
    stats_confirmation c = {.fresh = measured, .drop = winner->selected - measured};
    /* The shrunk estimate's own error is at most that of the estimate. */
    double se = hypot(fresh->se, winner->se);
    double reach = fresh->df > 0 ? stats_t_quantile((1 + STATS_CONFIDENCE) / 2, fresh->df) * se : NAN;
    c.repeats = fabs(measured - winner->shrunk) <= reach;
    return c;
}
