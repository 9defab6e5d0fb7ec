/* SPDX-License-Identifier: Apache-2.0 */
/* Where the start ends. Two questions kept apart: MSER alone would cut good samples away, because some cut always has
 * the least variance, and a test alone finds that there is a start but not its end. */
#include "stats_impl.h"

#define REST_MIN 3

/* p of "the first `cut` samples come from where the rest does"; the rest alone gives the spread. */
static double start_p(const double *x, int n, int cut)
{
    double head, rest, unused, squares;
    int left = n - cut;
    stats_moments(x, cut, &head, &unused);
    stats_moments(x + cut, left, &rest, &squares);
    double se = sqrt(squares / (left - 1) * (1.0 / cut + 1.0 / left)), distance = fabs(head - rest);
    return se > 0 ? 2 * stats_t_tail(distance / se, left - 1) : distance > 0 ? 0 : 1;
}

static double rest_variance(const double *x, int n, int cut)
{
    double mean, squares;
    stats_moments(x + cut, n - cut, &mean, &squares);
    return squares / (n - cut) / (n - cut);
}

stats_steady stats_steady_find(const double *x, int n, double alpha)
{
    double values[STATS_MAX];
    int count = stats_finite(x, n, values), cut_max = count / 2 < count - REST_MIN ? count / 2 : count - REST_MIN;
    stats_steady found = {.p = NAN};
    if (cut_max < 1)
        return found;
    int best = 1;
    for (int cut = 1; cut <= cut_max; cut++) {
        found.p = fmin(found.p, cut_max * start_p(values, count, cut)); /* fmin passes over the NaN it starts from */
        if (rest_variance(values, count, cut) < rest_variance(values, count, best))
            best = cut;
    }
    int cut = found.p <= alpha ? best : 0;
    found.p = fmin(found.p, 1);
    stats_drift rest = stats_drift_find(NULL, values + cut, count - cut);
    found.steady = (cut == 0 || cut < cut_max) && !(rest.p <= STATS_ALPHA);
    for (int left = cut; left > 0; found.warmup++) /* in places of x, where missing samples count */
        left -= isfinite(x[found.warmup]);
    return found;
}
