/* SPDX-License-Identifier: Apache-2.0 */
/* Outliers: a rule from the median and the MAD, which the outliers themselves cannot move. */
#include "stats_impl.h"

#define MAD_TO_SD 1.4826        /* 1 / quantile(0.75) of the normal: Rousseeuw & Croux 1993 */
#define MEAN_AD_TO_SD 1.253314  /* sqrt(pi / 2): the same for the mean absolute deviation */
#define OUTLIER_Z 3.5           /* Iglewicz & Hoaglin 1993, "How to Detect and Handle Outliers" */

/* With half of the samples equal the MAD is 0 and everything else would look infinitely far: then the mean absolute
 * deviation stands in. 0 = all samples are equal. */
double stats_outlier_limit(const double *x, int n, double centre)
{
    double mad = stats_mad(x, n), sum = 0;
    int count = 0;
    if (mad > 0)
        return OUTLIER_Z * MAD_TO_SD * mad;
    for (int i = 0; i < n; i++) {
        if (isfinite(x[i])) {
            sum += fabs(x[i] - centre);
            count++;
        }
    }
    return count ? OUTLIER_Z * MEAN_AD_TO_SD * sum / count : 0;
}

int stats_outliers(const double *x, int n, double max_share, bool *keep)
{
    int looked = n < STATS_MAX ? n : STATS_MAX, finite = 0, removed = 0;
    for (int i = 0; i < n; i++) {
        keep[i] = i < looked && isfinite(x[i]);
        finite += keep[i];
    }
    if (finite < 4)
        return 0;
    double centre = stats_median(x, looked), limit = stats_outlier_limit(x, looked, centre);
    /* 0.2 x 5 may be a hair below 1. */
    int allowed = max_share > 0 ? (int)floor(fmin(max_share, 1) * finite + 1e-9) : 0;
    while (removed < allowed) {
        int farthest = -1;
        for (int i = 0; i < looked; i++)
            if (keep[i] && fabs(x[i] - centre) > limit &&
                (farthest < 0 || fabs(x[i] - centre) > fabs(x[farthest] - centre)))
                farthest = i;
        if (farthest < 0)
            break;
        keep[farthest] = false;
        removed++;
    }
    return removed;
}
