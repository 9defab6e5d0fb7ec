/* SPDX-License-Identifier: Apache-2.0 */
/* Many comparisons, one decision. The default has the benefit of the doubt. */
#include "stats_impl.h"

void stats_holm(const double *p, int m, double *ret_adjusted)
{
    struct { double p; int at; } ascending[STATS_COMPARISONS_MAX]; /* a copy: p and ret_adjusted may be one array */
    double highest = 0;
    int count = 0;
    for (int i = 0; i < m; i++) {
        double value = i < STATS_COMPARISONS_MAX ? p[i] : NAN;
        ret_adjusted[i] = NAN;
        if (isnan(value))
            continue;
        int at = count++;
        for (; at > 0 && ascending[at - 1].p > value; at--)
            ascending[at] = ascending[at - 1];
        ascending[at].p = value;
        ascending[at].at = i;
    }
    for (int rank = 0; rank < count; rank++) {
        highest = fmax(highest, fmin(1, (count - rank) * ascending[rank].p));
        ret_adjusted[ascending[rank].at] = highest;
    }
}

const char *stats_verdict_name(stats_verdict verdict)
{
    static const char *const names[] = {"undecided", "better", "worse", "tie"};
    return names[verdict];
}

int stats_choose(const stats_comparison *against_default, int m, double alpha, double margin,
                 stats_verdict *ret_verdicts)
{
    double differ[STATS_COMPARISONS_MAX] = {0}, same[STATS_COMPARISONS_MAX] = {0};
    int winner = -1, looked = m < STATS_COMPARISONS_MAX ? m : STATS_COMPARISONS_MAX;
    for (int i = 0; i < looked; i++) {
        differ[i] = against_default[i].p;
        same[i] = stats_equivalence_p(&against_default[i], margin);
    }
    stats_holm(differ, looked, differ);
    stats_holm(same, looked, same);
    for (int i = 0; i < m; i++) {
        const stats_comparison *c = &against_default[i];
        stats_verdict verdict = STATS_UNDECIDED;
        if (i < looked && same[i] <= alpha)
            verdict = STATS_TIE;
        else if (i < looked && differ[i] <= alpha)
            verdict = c->mid > (c->scale == STATS_RATIO ? 1 : 0) ? STATS_BETTER : STATS_WORSE;
        if (verdict == STATS_BETTER && (winner < 0 || c->mid > against_default[winner].mid))
            winner = i;
        if (ret_verdicts)
            ret_verdicts[i] = verdict;
    }
    return winner;
}
